"""The grid of a chaos cube as one axis of points, each with its own flow time, and the way back.

A cube's clock is `step` or `flow_time`. Times are read as s = learning_rate step/(1 - momentum) from the recorded
steps, so that a flow time that was rounded to a whole step counts as what it is.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, estimated, replicas_first
from sgdphases.fits.intervals import Estimate
from sgdphases.quantities import HYPERPARAMETERS
from sgdphases.storage.cube import clock_of
from sgdphases.theory.weight_growth import flow_time

AXES = (*HYPERPARAMETERS, "temperature", "point")
"""Dimensions of a cube that are its grid."""


@dataclass(frozen=True)
class Grid:
    """The points of a cube on one axis.

    Attributes:
        clock: Dimension of the cube's times.
        dims: Its hyperparameter axes, in the order in which points are counted.
        shape: Their lengths.
        flow_time: s of every point and recorded time, (points, times).
        samples: Training samples of every point, (points,).
    """

    clock: str
    dims: tuple[Hashable, ...]
    shape: tuple[int, ...]
    flow_time: Floats
    samples: Floats

    @property
    def epoch_time(self) -> Floats:
        """τ = s/S, (points, times)."""
        return self.flow_time / self.samples[:, None]

    def curves(self, variable: xr.DataArray) -> Floats:
        """Values of a variable, (replicas, points, ...), the times last but for the variable's own dimensions."""
        last = [self.clock] if self.clock in variable.dims else []
        own = [dim for dim in variable.dims if dim not in ("replica", *self.dims, *last)]
        values, _ = replicas_first(variable.transpose("replica", *self.dims, ...), *last, *own)
        return values.reshape(len(values), -1, *values.shape[1 + len(self.dims) :])

    def shaped(self, estimate: Estimate) -> Estimate:
        """An estimate (points, ...) as one (grid..., ...)."""
        parts = (np.asarray(part) for part in (estimate.value, estimate.error, estimate.low, estimate.high))
        return Estimate(*(part.reshape((*self.shape, *part.shape[1:])) for part in parts))

    def on_points(self, coordinate: xr.DataArray) -> Floats:
        """A coordinate of the points, (points,)."""
        return _spread(coordinate, dict(zip(self.dims, self.shape, strict=True))).reshape(-1)

    def in_time(self, coordinate: xr.DataArray) -> Floats:
        """A coordinate of points and times, (points, times)."""
        sizes = dict(zip(self.dims, self.shape, strict=True)) | {self.clock: self.flow_time.shape[1]}
        return _spread(coordinate, sizes).reshape(-1, self.flow_time.shape[1])


def grid_of(cube: xr.Dataset) -> Grid:
    """The points of a cube.

    Args:
        cube: With the coordinates of the trainer's hyperparameters.

    Returns:
        The grid.
    """
    dims = [dim for dim in cube.dims if dim in AXES]
    sizes = {dim: cube.sizes[dim] for dim in dims}
    clock = clock_of(cube)
    times = sizes | {clock: cube.sizes[clock]}
    step, rate, momentum = (_spread(cube[name], times) for name in ("step", "learning_rate", "momentum"))
    passed = flow_time(step, learning_rate=rate, momentum=momentum)
    samples = cube["samples"] if "samples" in cube.coords else xr.DataArray(cube.attrs["samples"])
    return Grid(
        clock,
        tuple(dims),
        tuple(sizes.values()),
        passed.reshape(-1, cube.sizes[clock]),
        _spread(samples, sizes).reshape(-1),
    )


def alike(cube: xr.Dataset, grid: Grid, free: Sequence[str], among: np.ndarray) -> np.ndarray:
    """The largest group of points that differ in some hyperparameters only.

    Args:
        cube: The cube.
        grid: Its points.
        free: The hyperparameters that may differ.
        among: Which points may be taken, (points,).

    Returns:
        Whether each point belongs to the group; of equal groups the first.
    """
    fixed = [cube[name] for name in HYPERPARAMETERS if name in cube.coords and name not in free]
    sizes = dict(zip(grid.dims, grid.shape, strict=True))
    columns = [coordinate.variable.set_dims(sizes).values.reshape(-1).tolist() for coordinate in fixed]
    groups: dict[tuple, list[int]] = {}
    for point in np.flatnonzero(among):
        groups.setdefault(tuple(column[point] for column in columns), []).append(int(point))
    chosen = np.zeros(len(among), dtype=bool)
    chosen[max(groups.values(), key=len, default=[])] = True
    return chosen


def _spread(coordinate: xr.DataArray, sizes: Mapping[Hashable, int]) -> Floats:
    """A coordinate over all of some dimensions."""
    return coordinate.variable.set_dims(dict(sizes)).values.astype(np.float64)


def hidden(variable: xr.DataArray) -> xr.DataArray:
    """A variable of the hidden square layer, the first that is trained."""
    return variable.isel(layer=0, drop=True) if "layer" in variable.dims else variable


def attributes_of(words: tuple[str, str], units: str = "1") -> dict[str, str]:
    """Attributes of a variable by its long name and symbol."""
    return {"long_name": words[0], "symbol": words[1], "units": units}


def described(
    grid: Grid, name: str, estimate: Estimate, words: tuple[str, str], *own: str, interval: bool = False
) -> dict[str, tuple]:
    """An estimate (points, own...) as variables of a dataset.

    Args:
        grid: The points.
        name: Name of the value.
        estimate: The estimate.
        words: Its long name and symbol.
        *own: Its dimensions after the grid's.
        interval: Also write the ends of the interval.

    Returns:
        Variables by name.
    """
    attrs = {"long_name": words[0], "symbol": words[1]}
    return estimated(name, grid.shaped(estimate), [*grid.dims, *own], attrs=attrs, interval=interval)


def numbers(
    name: str, estimate: Estimate, words: tuple[str, str], *dims: str, interval: bool = False
) -> dict[str, tuple]:
    """An estimate that belongs to all points together as variables of a dataset.

    Args:
        name: Name of the value.
        estimate: The estimate.
        words: Its long name and symbol.
        *dims: Its dimensions.
        interval: Also write the ends of the interval.

    Returns:
        Variables by name.
    """
    return estimated(name, estimate, dims, attrs={"long_name": words[0], "symbol": words[1]}, interval=interval)


def part_of(estimate: Estimate, place: int | slice | tuple[Any, ...]) -> Estimate:
    """Some elements of an estimate."""
    return Estimate(*(np.asarray(p)[place] for p in (estimate.value, estimate.error, estimate.low, estimate.high)))
