"""A cube of the richness study as strips: networks that differ in nothing but the learning rate.

Letters in shapes: R replicas, O other axes of the grid (depth, loss, ...) as one, G values of the richness, E places on
the axis of learning rates, T recorded steps, U updates. Learning rates and richness are logarithms to base 10, called
decades. Source: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.ensemble.status import TRAINED
from sgdphases.fits.arrays import Floats, labelled, logarithm, replica_mean, slopes
from sgdphases.fits.curves import mean_over
from sgdphases.fits.grid import attributes_of, numbers
from sgdphases.fits.intervals import Estimate, normal_estimate
from sgdphases.quantities import HYPERPARAMETERS, QUANTITIES, RATE_AXES, attributes

RATES = ("learning_rate", *RATE_AXES)
"""What an axis of learning rates may count in."""

LAZY, RICH = -1.5, 1.0
"""Decades of the richness up to which networks are lazy, and from which on they are rich; between lies a bump."""

TOLERANCE = 1e-6

REGIMES = {"lazy": (-np.inf, LAZY + TOLERANCE), "rich": (RICH - TOLERANCE, np.inf)}

REGIME = {
    "regime": ("regime", np.arange(len(REGIMES)), {"long_name": "regime", "units": "1"}),
    "regime_name": ("regime", list(REGIMES), {"long_name": "whether networks are lazy or rich"}),
}
"""Coordinates of the dimension `regime`."""


@dataclass(frozen=True)
class Strips:
    """A cube in the order of its strips.

    Attributes:
        cube: The cube with `richness` and the axis of learning rates as ascending dimensions.
        rate_axis: The latter's name.
        dims: Other axes of the grid.
        shape: Their lengths.
        richness: Decades, (G,).
        rates: Decades of the learning rate, (O, G, E).
        depth: Layers of the network, (O,).
        steps: Recorded steps, (T,).
    """

    cube: xr.Dataset
    rate_axis: str
    dims: tuple[Hashable, ...]
    shape: tuple[int, ...]
    richness: Floats
    rates: Floats
    depth: np.ndarray
    steps: np.ndarray

    def values(self, name: str, *last: str) -> np.ndarray:
        """A variable, (R, O, G, E, last...), and then the dimensions of its own that are not named."""
        variable = self.cube[name].variable
        grid = [*self.dims, "richness", self.rate_axis]
        own = [dim for dim in variable.dims if dim not in ("replica", *grid, *last)]
        order = ("replica", *grid, *last, *own)
        variable = variable.set_dims({**{dim: self.cube.sizes[dim] for dim in grid}, **variable.sizes})
        values = variable.transpose(*order).values
        return values.reshape(len(values), math.prod(self.shape), *values.shape[1 + len(self.dims) :])

    def trained(self) -> np.ndarray:
        """Which networks have learned by each recorded step, (R, O, G, E, T)."""
        return self.values("status", "step") >= TRAINED

    def regime(self, name: str) -> np.ndarray:
        """Which values of the richness are lazy or rich, (G,)."""
        low, high = REGIMES[name]
        return (self.richness >= low) & (self.richness <= high)

    def described(
        self, name: str, estimate: Estimate, words: tuple[str, str], *own: str, interval: bool = False
    ) -> dict[str, tuple]:
        """An estimate (O, own...) as variables of a dataset."""
        parts = (np.asarray(part) for part in (estimate.value, estimate.error, estimate.low, estimate.high))
        shaped = Estimate(*(part.reshape((*self.shape, *part.shape[1:])) for part in parts))
        return numbers(name, shaped, words, *self.dims, *own, interval=interval)

    def plain(self, name: str, values: np.ndarray, words: tuple[str, str], *own: str) -> dict[str, tuple]:
        """Numbers (O, own...) without an error as a variable of a dataset."""
        return {name: ((*self.dims, *own), values.reshape((*self.shape, *values.shape[1:])), attributes_of(words))}

    def finished(
        self,
        found: Mapping[str, tuple],
        about: str,
        coordinates: Mapping[str, Any] | None = None,
        reasons: Sequence[str] = (),
    ) -> xr.Dataset:
        """The dataset of a fit: estimates, coordinates, and what could not be had."""
        made = labelled(self.cube, found, about)
        own = dict(coordinates or {})
        if "step" in made.dims:
            own["step"] = ("step", self.steps, attributes("step"))
        return made.assign_coords(own).assign_attrs(
            rate_axis=self.rate_axis,
            lazy_richness=10.0**LAZY,
            rich_richness=10.0**RICH,
            reason="; ".join(dict.fromkeys(reasons)),
        )


def strips_of(cube: xr.Dataset, fit: str, *needs: str) -> Strips:
    """The strips of a cube.

    Args:
        cube: The cube.
        fit: Name of the fit, for messages.
        *needs: Variables that the fit cannot do without.

    Returns:
        The strips; a richness or learning rate of which there is one value is an axis of length one.

    Raises:
        ValueError: If a variable, replicas, steps or learning rates are missing, or if the networks are no grid.
    """
    missing = [name for name in needs if name not in cube]
    if missing:
        raise ValueError(f"fit {fit} needs {' and '.join(missing)} in the cube")
    if "point" in cube.dims or "step" not in cube.dims or "replica" not in cube.dims:
        raise ValueError(f"fit {fit} needs a grid of networks over replica and step, not over {', '.join(cube.dims)}")
    if "richness" not in cube.coords:
        cube = cube.assign_coords(richness=QUANTITIES["richness"].neutral)
    axes = [name for name in RATES if name in cube.dims]
    axes += [name for name in RATES if name in cube.coords and not cube[name].ndim]
    if not axes:
        raise ValueError(f"fit {fit} needs learning rates on an axis of their own: {', '.join(RATES)}")
    rate_axis = axes[0]
    for axis in ("richness", rate_axis):
        cube = cube if axis in cube.dims else cube.expand_dims(axis)
    cube = cube.sortby(["richness", rate_axis])
    dims = tuple(dim for dim in cube.dims if dim in HYPERPARAMETERS and dim not in ("richness", rate_axis))
    sizes = {dim: cube.sizes[dim] for dim in (*dims, "richness", rate_axis)}
    rates = cube["learning_rate"].variable.set_dims(sizes).values.astype(np.float64)
    return Strips(
        cube,
        rate_axis,
        dims,
        tuple(sizes[dim] for dim in dims),
        np.log10(cube["richness"].values.astype(np.float64)),
        np.log10(rates).reshape(math.prod(rates.shape[: len(dims)]), *rates.shape[len(dims) :]),
        _depth(cube, {dim: sizes[dim] for dim in dims}),
        cube["step"].values,
    )


def _depth(cube: xr.Dataset, sizes: Mapping[Hashable, int]) -> np.ndarray:
    """Number of layers, (O,): what the grid says, else what the card's widths say."""
    own = len(np.atleast_1d(cube.attrs["widths"])) - 1 if "widths" in cube.attrs else 0
    depth = cube["depth"].variable.set_dims(dict(sizes)).values if "depth" in cube.coords else np.full((), 0)
    depth = np.broadcast_to(depth, tuple(sizes.values())).reshape(-1)
    return np.where(depth == 0, own, depth)


def best_places(loss: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Where on each strip the replicas' mean of the logarithm of the loss is least.

    Args:
        loss: Test loss, (R, ..., E).
        trained: Whether each network has learned; only where all replicas have is a place taken.

    Returns:
        Places, (...); -1 where there is none.
    """
    usable = (trained & (loss > 0)).all(axis=0)
    height = mean_over(np.log(np.where(trained & (loss > 0), loss, 1.0)))
    place = np.where(usable, height, np.inf).argmin(axis=-1)
    return np.where(usable.any(axis=-1), place, -1)


def compared_places(strips: Strips) -> np.ndarray:
    """Which network stands for each strip where strips are compared with each other at the last step.

    Where the axis counts learning rates in powers of the richness, one place for all: curvature and outputs at the end
    depend on the learning rate, and the best one changes from strip to strip by chance. It is the place at which the
    most strips have learned, and of those the one with the least test loss. Elsewhere it is the best of each strip.

    Args:
        strips: Of a cube with `status` and `test_loss`.

    Returns:
        Places, (O, G); -1 where that network has not learned.
    """
    loss, learned = strips.values("test_loss", "step")[..., -1].astype(np.float64), strips.trained()[..., -1]
    if strips.rate_axis not in RATE_AXES:
        return best_places(loss, learned)
    usable = (learned & (loss > 0)).all(axis=0)
    height = mean_over(np.log(np.where(usable, loss, 1.0)))
    count = usable.sum(axis=1)
    mean = np.where(usable, height, 0.0).sum(axis=1) / np.maximum(count, 1)
    place = np.where(count == count.max(axis=-1, keepdims=True), mean, np.inf).argmin(axis=-1)
    known = np.take_along_axis(usable, place[:, None, None], axis=-1)[..., 0]
    return np.where(known, place[:, None], -1)


def at_places(values: np.ndarray, places: np.ndarray) -> Floats:
    """Values at one place on each strip.

    Args:
        values: (R, O, G, E, ...).
        places: (O, G); -1 for none.

    Returns:
        (R, O, G, ...), NaN where there is no place.
    """
    index = np.maximum(places, 0).reshape(1, *places.shape, *[1] * (values.ndim - places.ndim - 1))
    chosen = np.take_along_axis(values, index, axis=places.ndim + 1)
    chosen = np.squeeze(chosen, axis=places.ndim + 1).astype(np.float64)
    return np.where((places >= 0).reshape(places.shape + (1,) * (chosen.ndim - places.ndim - 1)), chosen, np.nan)


def at_least(estimate: Estimate, error: Floats) -> Estimate:
    """The estimate with an error that is no smaller than another one, and an interval that holds those of both."""
    known = np.isfinite(estimate.value)
    other = normal_estimate(estimate.value, np.where(known, error, np.nan))
    larger = np.where(known, np.fmax(estimate.error, other.error), np.nan)
    return Estimate(estimate.value, larger, np.fmin(estimate.low, other.low), np.fmax(estimate.high, other.high))


def geometric(values: Floats) -> Estimate:
    """Geometric mean over the first axis with the standard error of the replicas' scatter; NaN are left out."""
    mean = replica_mean(logarithm(values))
    value, low, high = (np.exp(part) for part in (mean.value, mean.low, mean.high))
    return Estimate(value, value * mean.error, low, high)


@dataclass(frozen=True)
class Straight:
    """Straight lines of least squares, every part (...).

    Attributes:
        slope: NaN with fewer than two points.
        height: At x = 0.
        slope_error: Standard error by the scatter about the line; NaN with fewer than three points.
        height_error: The same.
        explained: Share R² of the variance of y that the line explains.
    """

    slope: Floats
    height: Floats
    slope_error: Floats
    height_error: Floats
    explained: Floats


def straight(x: Floats, y: Floats) -> Straight:
    """Straight lines along the last axis; points that are NaN are left out.

    Args:
        x: (n,), or (..., n).
        y: (..., n).

    Returns:
        The lines.
    """
    x, y = np.broadcast_arrays(x, y)
    known = np.isfinite(x) & np.isfinite(y)
    count = known.sum(axis=-1)
    slope = slopes(x, y)
    centre, middle = (mean_over(np.moveaxis(np.where(known, values, np.nan), -1, 0)) for values in (x, y))
    height = middle - slope * centre
    residual = np.where(known, y - height[..., None] - slope[..., None] * x, 0.0)
    lever = (np.where(known, x - centre[..., None], 0.0) ** 2).sum(axis=-1)
    total = (np.where(known, y - middle[..., None], 0.0) ** 2).sum(axis=-1)
    left = (residual**2).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(count > 2, left / (count - 2), np.nan)
        own = np.sqrt(variance / lever)
        return Straight(slope, height, own, np.sqrt(variance / count + centre**2 * own**2), 1 - left / total)
