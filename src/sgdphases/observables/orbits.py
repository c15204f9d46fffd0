"""Orbits of a network's square map: its first layers, as far as they lead back to the width of the input.

x_{t+1} = f(... f(W_0 x_t + b_0) ...), in float64. All orbits of a map are rows of one product, and so are the tangent
vectors that are carried along them. The lengths of runs are those of arXiv 1909.05176, 2107.09437 and their released
programs. Letters in shapes: p image, o orbit, n component of a state, k probe.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sgdphases.ensemble.networks import activate, slope
from sgdphases.ensemble.streams import generator

IMAGES = 20
"""First test images, where orbits start: medians over them are good to a tenth of their spread."""
PERTURBATION = 1e-4
"""Standard deviation of what is added to every component of a start (2107.09437)."""
ITERATIONS = 500
"""Iterations of the map until its state counts as asymptotic (both papers)."""
LAST = ITERATIONS // 5
"""Last iterations over which the distance is averaged (2107.09437)."""
JACOBIAN_STATES = 100
"""Last states whose Jacobians are averaged, geometrically: an orbit that does not rest has no one Jacobian."""
SECTION_START = ITERATIONS // 2 - 1
"""First iteration of the Poincare section; it ends with iteration `ITERATIONS` - 1 (1909.05176)."""

PROBES = 20
"""Random vectors of a state's Jacobian norm in maps of several layers: 2000 over all `JACOBIAN_STATES`, under 2 %."""

ORBITS = 10
"""Images, from the first on, along whose orbits the Lyapunov exponent is measured; its error is from their spread."""
DISCARDED, AVERAGED = 100, 900
"""Iterations on the attractor until the tangent vector counts as aligned, and those whose growth is averaged."""
LONGEST_CYCLE = 64
"""Longest period that is looked for."""
CLOSED = 1e-8
"""Distance of two states, relative to their norm where that is above one, that makes them the same."""

TINY = 1e-150
"""What is smaller is zero: its square leaves the range of float64, and denormal numbers are a hundred times slower."""

KICK, TANGENT, PROBE = 2011, 2012, 2013
"""Tags of the streams (`ensemble.streams`): all maps of one network get the same numbers."""

Array = np.ndarray


class SquareMap:
    """The map of one network, of states that are rows.

    Args:
        weights: W_l of its layers, the first first, (out, in); the last has as many outputs as the first has inputs.
        biases: b_l (out,), or None for a layer without.
        activation: Word of the activation after every layer.
    """

    def __init__(self, weights: Sequence[Array], biases: Sequence[Array | None], activation: str) -> None:
        # Copies of one layout and alignment, for the same bits wherever the weights came from.
        matrices = [torch.tensor(np.ascontiguousarray(matrix.T), dtype=torch.float64) for matrix in weights]
        vectors = [None if bias is None else torch.tensor(bias, dtype=torch.float64) for bias in biases]
        self._layers, self._activation = list(zip(matrices, vectors, strict=True)), activation

    @property
    def width(self) -> int:
        """Components N of a state."""
        return len(self._layers[0][0])

    @cached_property
    def product(self) -> Array:
        """Product of the weights of all layers (n, n), the map's Jacobian where all slopes are one."""
        whole = self._layers[0][0]
        for matrix, _ in self._layers[1:]:
            whole = whole @ matrix
        return whole.numpy().T

    def step(self, states: Tensor, tangents: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the map once.

        Args:
            states: x_t (o, n).
            tangents: One tangent vector to every state (o, n).

        Returns:
            x_{t+1} (o, n), and the tangents, each multiplied by the Jacobian at its state, the first layer's first.
        """
        count = len(states)
        rows = states if tangents is None else torch.cat([states, tangents])
        for matrix, bias in self._layers:
            rows = rows @ matrix
            field = rows[:count] if bias is None else rows[:count] + bias
            active = activate(field, self._activation)
            carried = rows[count:] if tangents is None else rows[count:] * slope(field, self._activation)
            rows = torch.cat([active, carried])
        return torch.nn.functional.hardshrink(rows[:count], TINY), rows[count:]

    def gain(self, states: Tensor, numbers: np.random.Generator) -> Tensor:
        """Mean square gain ||J||_F^2 / N of the Jacobian J at every state.

        Args:
            states: x (o, n).
            numbers: For maps of several layers: there the norm is the mean of ||J v||^2 over random v (Hutchinson).

        Returns:
            Array (o,); exact for one layer, where J_ij = f'(z_i) W_ij.
        """
        if len(self._layers) == 1:
            return self._slopes(states, 0)[1].square() @ self._squares / self.width
        carried = torch.tensor(numbers.standard_normal((1, PROBES, self.width)))
        for layer, (matrix, _) in enumerate(self._layers):
            states, slopes = self._slopes(states, layer)
            carried = carried @ matrix * slopes[:, None, :]
        return carried.square().sum(dim=2).mean(dim=1) / self.width

    @cached_property
    def _squares(self) -> Tensor:
        """Sum of the squared weights of every unit of the first layer."""
        return self._layers[0][0].square().sum(dim=0)

    def _slopes(self, states: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Activations and slopes of one layer."""
        matrix, bias = self._layers[layer]
        field = states @ matrix if bias is None else states @ matrix + bias
        return activate(field, self._activation), slope(field, self._activation)


@dataclass(frozen=True, eq=False)
class Asymptotics:
    """Where orbits are after `ITERATIONS` iterations; NaN where an orbit left the range of float64.

    Attributes:
        distance: Mean Euclidean distance to the perturbed orbit over the last iterations (p,).
        jacobian_norm: ||J||_F / sqrt(N), of the fixed point or as geometric mean along the orbit (p,).
        section: Projections on the direction of the mean image from iteration `SECTION_START` on (p, iterations).
        states: The last states (p, n).
    """

    distance: Array
    jacobian_norm: Array
    section: Array
    states: Array


def asymptotics(square_map: SquareMap, images: Array, *, seed: int) -> Asymptotics:
    """Iterate a map from images and from perturbed images.

    Args:
        square_map: The map.
        images: x_0 (p, n).
        seed: Seed of the network's initial weights: the perturbation and the probes are drawn from it.

    Returns:
        What is asymptotic about the orbits.
    """
    count = len(images)
    kicked = images + PERTURBATION * generator(seed, KICK, 0).standard_normal(images.shape)
    both, probes = torch.tensor(np.concatenate([images, kicked])), generator(seed, PROBE, 0)
    direction = torch.nn.functional.normalize(both[:count].mean(dim=0), dim=0)
    section, gains, distances = [], [], []
    for iteration in range(ITERATIONS):
        states = both[:count]
        if iteration >= SECTION_START:
            section.append(states @ direction)
        if iteration >= ITERATIONS - JACOBIAN_STATES:
            gains.append(square_map.gain(states, probes))
        both, _ = square_map.step(both)
        if iteration >= ITERATIONS - LAST:
            distances.append(_norm(both[count:] - both[:count]))
    rests = _same(states, both[:count])
    gain = torch.stack(gains)
    # At rest all gains are of one Jacobian, and only the probes differ: their plain mean has no bias.
    mean = torch.where(rests, gain.mean(dim=0), gain.log().mean(dim=0).exp())
    found = (torch.stack(distances).mean(dim=0), mean.sqrt(), torch.stack(section, dim=1))
    return Asymptotics(*(_finite(values) for values in found), states=both[:count].numpy())


@dataclass(frozen=True, eq=False)
class Attractor:
    """What orbits do on their attractor, orbit by orbit.

    Attributes:
        exponent: Largest Lyapunov exponent, natural logarithm per iteration (o,); NaN where there is none, as where the
            tangent vector vanishes or the orbit left the range of float64.
        period: Iterations after which the orbit is back where it was, 0 if more than `LONGEST_CYCLE` or none (o,).
        start: Root mean square of the components before the run (o,).
        end: The same after it.
        early: Mean length ||x_{t+1} - x_t|| of a step in the first fifth of the run (o,).
        late: The same in the last fifth.
        averaged: Iterations over which the exponents are averaged.
    """

    exponent: Array
    period: Array
    start: Array
    end: Array
    early: Array
    late: Array
    averaged: int = AVERAGED


def attractor(square_map: SquareMap, states: Array, *, seed: int) -> Attractor:
    """Follow orbits that have arrived, each with one tangent vector (Benettin et al., Meccanica 15, 9, 1980).

    Args:
        square_map: The map.
        states: Asymptotic states (o, n).
        seed: Seed of the network's initial weights: the tangent vectors are drawn from it.

    Returns:
        Exponents, from the growth of the tangent vector, which is made a unit vector after every iteration; and how the
        orbits end.
    """
    now = torch.tensor(states)
    start, total = _norm(now), torch.zeros(len(now), dtype=torch.float64)
    tangents, growth = _unit(torch.tensor(generator(seed, TANGENT, 0).standard_normal(states.shape)))
    recent, lengths = deque([now], maxlen=LONGEST_CYCLE + 1), []
    for iteration in range(DISCARDED + AVERAGED):
        before = now
        now, tangents = square_map.step(before, tangents)
        tangents, growth = _unit(tangents)
        if iteration >= DISCARDED:
            total += growth.log()
        recent.append(now)
        lengths.append(_norm(now - before))
    moved, fifth, scale = torch.stack(lengths), len(lengths) // 5, square_map.width**-0.5
    return Attractor(
        exponent=_finite(total / AVERAGED),
        period=_period(torch.stack(list(recent))),
        start=(start * scale).numpy(),
        end=(_norm(now) * scale).numpy(),
        early=moved[:fifth].mean(dim=0).numpy(),
        late=moved[-fifth:].mean(dim=0).numpy(),
    )


def _period(states: Tensor) -> Array:
    """Least number of iterations after which the last of the states (iterations, o, n) came back, or 0."""
    same = _same(states[:-1], states[-1]).flip(0)
    first = same.to(torch.int64).argmax(dim=0) + 1
    return torch.where(same.any(dim=0), first, 0).numpy()


def _same(states: Tensor, others: Tensor) -> Tensor:
    """Whether states are closer than `CLOSED`."""
    return _norm(states - others) < CLOSED * _norm(others).clamp(min=1.0)


def _norm(states: Tensor) -> Tensor:
    return torch.linalg.vector_norm(states, dim=-1)


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of norm one, and the norms they had; what has vanished stays zero."""
    norm = _norm(vectors)
    return vectors / torch.where(norm > 0, norm, 1.0)[:, None], norm


def _finite(values: Tensor) -> Array:
    return torch.where(values.isfinite(), values, torch.nan).numpy()
