"""Cubes of the richness study whose laws are known: strips with edges, plateaus, peaks and curvatures of a toy.

The laws are those of the balanced toy of arXiv 2410.04642: the largest learning rate is (2/L) γ² (1 + γ)^{2/L - 2}, the
loss drops at ηt/γ = τ(γ), the curvature at the end is 2 over the largest learning rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.ensemble import status as states
from sgdphases.quantities import attributes, rate_units

BASELINE = 0.09
RICHNESS = 10.0 ** np.arange(-3.5, 4.0, 0.5)
LATTICE = 10.0 ** np.arange(-9.0, 5.0, 0.25)
STEPS = (0, 1, 10, 100, 200, 400)

OWN_AXES = {
    "batch_loss": ("update",),
    "diverged_at": (),
    "constant_loss": (),
    "outputs": ("step", "probe", "output"),
    "feature_alignment": ("step", "layer"),
}
"""Dimensions of variables after the replicas; `step` if not named."""


def largest_rate(richness: Any, depth: Any) -> Any:
    """Largest stable learning rate of the toy."""
    return (2 / depth) * richness**2 * (1 + richness) ** (2 / depth - 2)


def drop_tau(richness: Any, depth: int) -> Any:
    """ηt/γ at the drop: grows as ln γ for L = 2, else comes to 1/(L - 2) with a rest of γ^{-(L - 2)/L}."""
    if depth == 2:
        return richness * np.log(2 + richness) / (2 * (1 + richness))
    return (1 - (1 + richness) ** (-(depth - 2) / depth)) / (depth - 2)


@dataclass(frozen=True)
class Toy:
    """Networks that train between the toy's smallest and largest learning rate.

    Attributes:
        scatter: Standard deviation of every strip's edges, in decades.
        seed: Of the scatter and the noise.
        finite: Decades beyond the edge up to which networks stay finite.
        calm: Decades beyond the edge from which on they catapult.
        noise: Relative noise of batch losses.
        stair: Loss before the first stair; equal to the baseline there is none.
        peak: Peak of the loss over its start at η = γ² = 1; it goes as η/γ^4.
    """

    scatter: float = 0.0
    seed: int = 0
    finite: float = 0.3
    calm: float = -0.2
    noise: float = 0.0
    stair: float = BASELINE
    peak: float = 0.05

    def edges(self, point: Mapping[str, Any], replica: int) -> tuple[float, float, float]:
        """Decades of the largest learning rate that is finite, that trains, and that is calm."""
        top = np.log10(largest_rate(float(point["richness"]), int(point["depth"]))) + self._shifts(point, replica)[0]
        return top + self.finite, top, top + self.calm

    def drop(self, point: Mapping[str, Any], replica: int) -> float:
        """Step of the drop."""
        richness, depth = float(point["richness"]), int(point["depth"])
        return 10 ** self._shifts(point, replica)[1] * richness * drop_tau(richness, depth) / point["learning_rate"]

    def _shifts(self, point: Mapping[str, Any], replica: int) -> np.ndarray:
        # Networks of other batch sizes are other draws: many made sets in one cube.
        key = [self.seed, replica, int(point["depth"]), round(1000 + 10 * np.log10(point["richness"]))]
        key.append(int(point.get("batch_size", 0)))
        return self.scatter * np.random.default_rng(key).standard_normal(2)

    def loss(self, point: Mapping[str, Any], replica: int, time: np.ndarray) -> np.ndarray:
        """The loss: a stair until half of the drop, a plateau until the drop, then a fall."""
        dropped, place = self.drop(point, replica), np.log10(point["learning_rate"]) - self.edges(point, replica)[1]
        if place > 0:
            return np.full(time.shape, self.stair)
        best = 0.02 + 0.002 * (place + 0.35) ** 2
        left = self.left(point, dropped, np.maximum(time, dropped))
        return np.where(time < dropped / 2, self.stair, best + (BASELINE - best) * left)

    def left(self, point: Mapping[str, Any], dropped: float, time: np.ndarray) -> np.ndarray:
        """Share of the plateau that is left after the drop."""
        return (dropped / time) ** 4

    def __call__(self, point: Mapping[str, Any], replica: int, steps: np.ndarray) -> dict[str, Any]:
        finite, _, calm = self.edges(point, replica)
        rate = np.log10(point["learning_rate"])
        batch, test = (self.loss(point, replica, time.astype(float)) for time in (np.arange(steps[-1]), steps))
        batch = batch * np.exp(self.noise * np.random.default_rng([self.seed, replica, 7]).standard_normal(batch.size))
        lost = 5 if rate > finite else -1
        if rate > calm:
            batch[3] = batch[0] * max(3.0, self.peak * point["learning_rate"] / point["richness"] ** 4)
        if lost >= 0:
            batch[lost:], test = np.nan, np.where(steps >= lost, np.nan, test)
        return {"test_loss": test, "test_accuracy": 1 - test, "batch_loss": batch, "diverged_at": lost}


def richness_cube(
    course: Any,
    *,
    rates: Any = LATTICE,
    rate_axis: str = "learning_rate",
    steps: Any = STEPS,
    replicas: int = 2,
    constant: float = BASELINE,
    **axes: Any,
) -> xr.Dataset:
    """A cube over depth, loss, richness and an axis of learning rates as merging would leave it.

    `course` makes the variables of one network from its point, its replica and the steps. Axes with one value are
    scalar coordinates.
    """
    grid = {"depth": [3], "loss": ["mean_squared_error"], "richness": RICHNESS} | axes | {rate_axis: rates}
    grid = {name: np.asarray(values) for name, values in grid.items()}
    shape = tuple(len(values) for values in grid.values())
    steps, rows, rate = np.asarray(steps), [], []
    for values in product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        unit = {"learning_rate": 1.0} | rate_units(float(point["richness"]), int(point["depth"]))
        point["learning_rate"] = float(point[rate_axis]) * unit[rate_axis]
        rate.append(point["learning_rate"])
        rows += [{"constant_loss": constant} | dict(course(point, replica, steps)) for replica in range(replicas)]
    variables = {}
    for name in rows[0]:
        values = np.stack([np.asarray(row[name]) for row in rows])
        own = OWN_AXES.get(name, ("step",))
        variables[name] = ((*grid, "replica", *own), values.reshape(*shape, replicas, *values.shape[1:]))
    losses = (variables[name][1] for name in ("test_loss", "constant_loss", "diverged_at"))
    growth = states.loss_growth(variables["batch_loss"][1], steps.tolist())
    variables["status"] = ((*grid, "replica", "step"), states.status(*losses, growth, steps.tolist()))
    coordinates = {name: (name, values, attributes(name)) for name, values in grid.items()}
    coordinates |= {"replica": np.arange(replicas), "step": steps, "update": np.arange(steps[-1])}
    if rate_axis != "learning_rate":
        coordinates["learning_rate"] = (tuple(grid), np.reshape(rate, shape), attributes("learning_rate"))
    cube = xr.Dataset(variables, coords=coordinates).squeeze([name for name in grid if len(grid[name]) == 1])
    return cube.assign_attrs(experiment="made", study="richness", widths=[64, 128, 10])


def searched(cube: xr.Dataset, toy: Toy, *, width: float = 0.02, below: float = 2.25) -> xr.Dataset:
    """The cube as a search would leave it: little tried beside what trains, edges known to `width` decades."""
    dims = [dim for dim in cube["diverged_at"].dims if dim != "learning_rate"]
    status = cube["status"].transpose(*dims, "learning_rate", "step").copy()
    bracket = np.full((*status.shape[:-1], 3, 2), np.nan)
    random, rates = np.random.default_rng(5), np.log10(cube["learning_rate"].values)
    alone = {name: cube[name].item() for name in ("depth", "richness") if not cube[name].ndim}
    for place in np.ndindex(bracket.shape[:-3]):
        point = {dim: cube[dim].values[index] for dim, index in zip(dims, place, strict=True)}
        edges = np.array(toy.edges(alone | point, int(point["replica"])))
        status.values[place][(rates > edges[0] + 1) | (rates < edges[1] - below)] = states.UNTRIED
        low = edges - width * random.random(3)
        cells = np.searchsorted(rates, edges) - 1
        bracket[(*place, cells, range(3))] = 10 ** np.stack([low, low + width], axis=-1)
    brackets = ((*dims, "learning_rate", "criterion", "side"), bracket)
    return cube.assign(status=status, bracket=brackets)
