"""A random matrix iterated as a map, x -> tanh(W x), over the plane of its mean and its disorder (arXiv 2107.09437).

Nothing is trained. A "network" of the ensemble is a cell of the plane: one matrix W = J (G + (J0/J) / N), N x N, with
J = `init_scale` and J0/J = `coupling_ratio`; a step is one iteration. G is Gaussian of variance 1/N and the same for
all cells of a replica, so that one product serves them all:

    h = W x = J (G x + (J0/J) sum(x) / N).

Every cell carries three vectors: an orbit that starts from N(0, 1), the same start displaced by 1e-4 N(0, 1), and a
tangent vector v -> (1 - tanh(h)^2) W v, scaled back to length 1 after every step (Benettin et al. 1980). They are rows
of blocks of one shape, so that a cell's bits do not depend on its company. A cell whose orbits have come to rest stays
as it is; of it only the tangent vector moves on.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import torch

from sgdphases.ensemble.groups import Group
from sgdphases.ensemble.networks import initial_weights
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.state import ALIVE, State
from sgdphases.ensemble.streams import NOISE, generator

Array = np.ndarray

DISPLACEMENT = 1e-4
"""Standard deviation of every component of the first difference of the two orbits (arXiv 2107.09437, its code)."""

TRANSIENT = 100
"""Most steps that are left out of the Lyapunov exponent; never more than a fifth of all."""

STILL = 1e-14
"""Orbits are at rest when none of their components has moved by more than this in a step: what rounding does to
components of order one."""

REACHED = 1e-12
"""Distance at which two orbits are one, up to what rounding does to N components."""

ORDERED_TIMES = 25.0
CHAOTIC_TIMES = 10.0
"""Steps, in units of 1 / |lambda|, after which a cell counts as converged: e^-25 is what rounding leaves of a first
distance of DISPLACEMENT; in chaos 1e-4 has grown to order one by then."""

PERIOD = 10
"""Steps from one look at which cells are at rest to the next."""

CELLS = 64
"""Cells in a block on a CPU: three rows of each fill the matrix units, and any width keeps whole vector registers."""

CUDA_CELLS = 8192

VECTORS = ("orbit", "perturbed", "tangent")
SUMS = ("distance_sums", "growth_sums", "norm_sums")


def averaged(step: int) -> int:
    """Number of states before and at a recorded step that distance and Jacobian norm are averaged over: a fifth."""
    return max(1, step // 5)


def transient(step: int) -> int:
    """Number of first steps that the Lyapunov exponent of a recorded step leaves out."""
    return min(TRANSIENT, step // 5)


def first_state(shard: Shard) -> State:
    """The state before the first iteration.

    Args:
        shard: The cells; each draws its starts from its seed_noise.

    Returns:
        A state at step 0: orbit, perturbed and tangent (cells, N), resting (cells,), and the sums of the averages of
        every recorded step but 0, (cells, records).
    """
    count, width = len(shard), shard.network.widths[0]
    seeds = shard.networks["seed_noise"].tolist()
    numbers = {seed: generator(seed, NOISE, 0).standard_normal((3, width)) for seed in set(seeds)}
    start, displacement, tangent = np.stack([numbers[seed] for seed in seeds], axis=1)
    vectors = (start, start + DISPLACEMENT * displacement, tangent / np.linalg.norm(tangent, axis=1, keepdims=True))
    arrays = {name: vector.astype(shard.dtype) for name, vector in zip(VECTORS, vectors, strict=True)}
    arrays["resting"] = np.zeros(count, dtype=bool)
    arrays |= {name: np.zeros((count, len(shard.record_steps) - 1)) for name in SUMS}
    return State(0, arrays, np.full(count, ALIVE, dtype=np.int64))


def groups_by_matrix(shard: Shard, threads: int) -> list[Array]:
    """Part the cells of a shard into groups of one matrix, each matrix's cells evenly among the workers.

    Args:
        shard: The cells.
        threads: Workers that take groups side by side.

    Returns:
        Places of the cells in the shard, group by group; neighbours in the plane, which come to rest together, are
        dealt out in turn.
    """
    seeds = shard.networks["seed_weights"]
    found = []
    for seed in dict.fromkeys(seeds.tolist()):
        rows = np.flatnonzero(seeds == seed)
        hands = max(1, min(threads, len(rows) // CELLS))
        found += [rows[hand::hands] for hand in range(hands)]
    return found


class IterationGroup(Group):
    """Cells of one matrix, iterated side by side.

    Args:
        shard: The cells.
        rows: Places of this group's cells in the shard.
        device: Where the group computes.

    Raises:
        ValueError: If the network is not one square tanh layer without bias that starts from Gaussians, or the cells
            have different matrices.
    """

    def __init__(self, shard: Shard, rows: Array, device: torch.device) -> None:
        network = shard.network
        if network.layers != 1 or network.widths[0] != network.widths[1] or any(network.bias):
            raise ValueError(f"an iterated map is one square layer without bias, not widths {list(network.widths)}")
        if network.activation != "tanh" or network.init[0] != "gaussian":
            raise ValueError("the iterated map is tanh(W x) with a Gaussian W")
        if len(set(shard.networks["seed_weights"][rows].tolist())) > 1:
            raise ValueError("cells of one group have one matrix")
        super().__init__(shard, rows, (*VECTORS, "resting", *SUMS), device, alone=True)

    def build(self) -> None:
        """Bring the matrix to the device, and what the Jacobian's norm needs of it."""
        shard, width = self.shard, self.shard.network.widths[0]
        unit = initial_weights(shard.network, int(self.column("seed_weights")[0]), 0)
        rows = np.stack([(unit**2).sum(axis=1), 2 / width * unit.sum(axis=1), np.full(width, 1 / width)], axis=1)
        self.matrix, self.row_sums = self._tensor(unit.T.copy()), self._tensor(rows)
        self.scale, self.ratio = (self._tensor(self.column(name)) for name in ("init_scale", "coupling_ratio"))
        self.cells = CELLS if self.device.type == "cpu" else min(CUDA_CELLS, len(self.rows))
        shape = (3 * self.cells, width)
        self.buffers = tuple(torch.empty(shape, dtype=self.matrix.dtype, device=self.device) for _ in range(2))
        self.slopes = torch.empty_like(self.buffers[0])

    def drop(self) -> None:
        """Let go of the matrix and the buffers."""
        self.matrix = self.row_sums = self.scale = self.ratio = self.buffers = self.slopes = None

    def advance(self, state: State, stop: int, *, accumulate: bool) -> None:
        """Iterate from the state's step to `stop`; components of tanh stay within 1, so nothing diverges."""
        self.window(state.step, stop, accumulate=accumulate)

    def sound(self) -> torch.Tensor:
        """All rows."""
        return torch.ones(len(self.rows), dtype=torch.bool, device=self.device)

    def window(self, start: int, stop: int, *, accumulate: bool) -> None:
        """Do the iterations start .. stop - 1, in pieces between the steps at which cells may be found at rest."""
        looks = range(start // PERIOD * PERIOD + PERIOD, stop, PERIOD)
        for first, last in pairwise([start, *looks, stop]):
            resting = self.tensors["resting"].clone()
            for chosen in _chunks(torch.nonzero(~resting)[:, 0], self.cells):
                self._iterate(_Block(self, chosen, self.cells), first, last)
            for chosen in _chunks(torch.nonzero(resting)[:, 0], 3 * self.cells):
                self._turn(_Block(self, chosen, 3 * self.cells), first, last)

    def _iterate(self, block: "_Block", first: int, last: int) -> None:
        """Iterate orbits and tangent vectors of moving cells from step `first` to `last`."""
        cells, (now, then) = self.cells, self.buffers
        for place, name in enumerate(VECTORS):
            torch.index_select(self.tensors[name], 0, block.places, out=now[place * cells : (place + 1) * cells])
        scale, ratio = block.scale.repeat(3, 1), block.mean.repeat(3, 1)
        slope = self.slopes[:cells]
        for step in range(first + 1, last + 1):
            self._product(now, then, scale, ratio)
            then[: 2 * cells].tanh_()
            _slope(then[:cells], slope)
            growth = _normalised(then[2 * cells :].mul_(slope))
            block.grow(step, growth)
            if block.wants_states(step):
                block.add_states(step, then[cells : 2 * cells] - then[:cells], slope)
            now, then = then, now
        if last % PERIOD == 0:
            moved = (now[: 2 * cells] - then[: 2 * cells]).abs_().amax(dim=1) <= STILL
            block.put("resting", moved[:cells] & moved[cells:])
        for place, name in enumerate(VECTORS):
            block.put(name, now[place * cells : (place + 1) * cells])
        block.put_sums()

    def _turn(self, block: "_Block", first: int, last: int) -> None:
        """Move the tangent vectors of resting cells from step `first` to `last`."""
        now, then = self.buffers
        torch.index_select(self.tensors["tangent"], 0, block.places, out=now)
        orbit = torch.index_select(self.tensors["orbit"], 0, block.places, out=then)
        _slope(orbit, self.slopes)
        difference = torch.index_select(self.tensors["perturbed"], 0, block.places).sub_(orbit)
        for step in range(first + 1, last + 1):
            self._product(now, then, block.scale, block.mean)
            block.grow(step, _normalised(then.mul_(self.slopes)))
            if block.wants_states(step):
                block.add_states(step, difference, self.slopes)
            now, then = then, now
        block.put("tangent", now)
        block.put_sums()

    def _product(self, rows: torch.Tensor, out: torch.Tensor, scale: torch.Tensor, mean: torch.Tensor) -> None:
        """W times every row: J G x + (J0 / N) sum(x)."""
        torch.mm(rows, self.matrix, out=out)
        out.mul_(scale).add_(rows.sum(dim=1, keepdim=True).mul_(mean))

    def _tensor(self, values: Array) -> torch.Tensor:
        return torch.as_tensor(values, dtype=getattr(torch, self.shard.dtype), device=self.device)


class _Block:
    """Some cells of a group as rows of a buffer, filled up with copies of the first, and their sums.

    Attributes:
        places: Places in the group, (rows,).
        scale: J of every row, (rows, 1).
        mean: J0 / N of every row, (rows, 1).
    """

    def __init__(self, group: IterationGroup, chosen: torch.Tensor, rows: int) -> None:
        self.group, self.count = group, len(chosen)
        self.places = torch.cat([chosen, chosen[:1].expand(rows - len(chosen))])
        self.scale, self._ratio = group.scale[self.places][:, None], group.ratio[self.places][:, None]
        self.mean = self.scale * self._ratio / group.shard.network.widths[0]
        self._sums = {name: group.tensors[name][self.places] for name in SUMS}
        self._states: tuple[torch.Tensor, torch.Tensor] | None = None

    def grow(self, step: int, growth: torch.Tensor) -> None:
        """Add the logarithm of a step's growth to the averages that it belongs to."""
        for place, record in self._records:
            if transient(record) < step <= record:
                self._sums["growth_sums"][:, place] += growth

    def wants_states(self, step: int) -> bool:
        """Whether the state of a step belongs to an average."""
        return any(record - averaged(record) < step <= record for _, record in self._records)

    def add_states(self, step: int, difference: torch.Tensor, slope: torch.Tensor) -> None:
        """Add distance and logarithm of the Jacobian's norm of a state to the averages that it belongs to.

        ||J||_F^2 / N with J_ij = slope_i W_ij takes the sums of squares of the rows of W, J^2 (sum_j G_ij^2
        + 2 (J0/J) / N sum_j G_ij + (J0/J)^2 / N).
        """
        parts = torch.mm(slope * slope, self.group.row_sums)
        ratio = self._ratio[:, 0]
        mean_square = (parts[:, 0] + ratio * parts[:, 1] + ratio * ratio * parts[:, 2]) * self.scale[:, 0] ** 2
        norm = torch.log(mean_square / slope.shape[1])
        distance = torch.linalg.vector_norm(difference, dim=1)
        for place, record in self._records:
            if record - averaged(record) < step <= record:
                self._sums["norm_sums"][:, place] += norm
                self._sums["distance_sums"][:, place] += distance

    def put(self, name: str, values: torch.Tensor) -> None:
        """Write one of the group's tensors back."""
        self.group.tensors[name][self.places[: self.count]] = values[: self.count]

    def put_sums(self) -> None:
        """Write the sums back."""
        for name, values in self._sums.items():
            self.put(name, values)

    @property
    def _records(self) -> Iterator[tuple[int, int]]:
        return enumerate(self.group.shard.record_steps[1:])


def measured(shard: Shard) -> Mapping[str, Callable[[State], Array]]:
    """What the iteration measures at every recorded step: NaN at step 0, where nothing has been iterated.

    Args:
        shard: The cells.

    Returns:
        Word to a function of the state that gives (cells,): `asymptotic_distance` ||x' - x|| (arithmetic mean over the
        last fifth of the steps), `jacobian_norm` ||J||_F / sqrt(N) (geometric mean over the same states), `lyapunov`,
        the mean growth of the tangent vector's logarithm per step, and `converged`, 1 or 0.
    """

    def mean(state: State, name: str, terms: int) -> Array:
        if state.step == 0:
            return np.full(len(shard), np.nan)
        return state.arrays[name][:, shard.record_steps.index(state.step) - 1] / terms

    def distance(state: State) -> Array:
        return mean(state, "distance_sums", averaged(state.step))

    def lyapunov(state: State) -> Array:
        return mean(state, "growth_sums", state.step - transient(state.step))

    def converged(state: State) -> Array:
        if state.step == 0:
            return np.full(len(shard), np.nan)
        return settled(lyapunov(state), distance(state), state.step).astype(float)

    return {
        "asymptotic_distance": distance,
        "lyapunov": lyapunov,
        "jacobian_norm": lambda state: np.exp(mean(state, "norm_sums", 2 * averaged(state.step))),
        "converged": converged,
    }


def settled(lyapunov: Array, distance: Array, steps: int) -> Array:
    """Whether a distance after so many steps is the asymptotic one.

    Args:
        lyapunov: Measured exponents per step.
        distance: Measured distances.
        steps: Number of iterations.

    Returns:
        Boolean array: in order at least 25 / |lambda| steps were done, or the orbits are one already; in chaos at
        least 10 / lambda. What satisfies neither is critical: it cannot be told from so many steps.
    """
    times = steps * np.abs(lyapunov)
    return np.where(lyapunov < 0, (times >= ORDERED_TIMES) | (distance <= REACHED), times >= CHAOTIC_TIMES)


def _chunks(places: torch.Tensor, size: int) -> tuple[torch.Tensor, ...]:
    return places.split(size) if len(places) else ()


def _slope(states: torch.Tensor, out: torch.Tensor) -> None:
    """The derivative of tanh where its value is known: 1 - x^2."""
    torch.mul(states, states, out=out)
    torch.sub(out.new_ones(()), out, out=out)


def _normalised(vectors: torch.Tensor) -> torch.Tensor:
    """Scale rows to length 1 where they lie; gives the logarithms of their lengths before, (rows,)."""
    # Saturated units have no slope in floating point: a row of zeros stays one, its logarithm is -inf.
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    vectors.div_(lengths.clamp(min=torch.finfo(lengths.dtype).tiny)[:, None])
    return lengths.log()
