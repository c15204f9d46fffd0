"""What of a cube a figure shows: a step, a cell, an average over replicas, and one table of values a panel."""

import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.figures.registry import one_of
from sgdphases.figures.style import label, value_label
from sgdphases.storage.cube import NO_VALUE

Values = np.ndarray
STATISTICS = ("mean", "median")
_NOT_GRID = ("replica", "step", "mode")


@dataclass(frozen=True)
class Panel:
    """One table of values over two coordinates, both ascending.

    Attributes:
        values: Shape (y, x), NaN where there is none.
        x: Coordinate along the columns, with its attributes.
        y: Coordinate along the rows, with its attributes.
        title: Symbols and values of what tells this panel from its neighbours.
        place: Dimension to index of what tells this panel from its neighbours.
    """

    values: Values
    x: xr.DataArray
    y: xr.DataArray
    title: str
    place: dict[Hashable, int]


def variable_of(cube: xr.Dataset, word: str) -> xr.DataArray:
    """A measured variable.

    Raises:
        ValueError: If the cube does not hold it; the message lists what it holds.
    """
    return cube[one_of(word, map(str, cube.data_vars), "variable")]


def coordinate_of(cube: xr.Dataset | xr.DataArray, word: str) -> xr.DataArray:
    """A coordinate.

    Raises:
        ValueError: If the cube does not have it; the message lists what it has.
    """
    return cube.coords[one_of(word, map(str, cube.coords), "coordinate")]


def at_step(array: xr.DataArray, step: str | int) -> xr.DataArray:
    """The array at one recorded step.

    Args:
        array: With or without the dimension `step`.
        step: "first", "last", or a number, for which the nearest recorded step is taken.

    Returns:
        The array without the dimension.

    Raises:
        ValueError: If the step is none of these.
    """
    if isinstance(step, str):
        place = {"first": 0, "last": -1}.get(step)
        if place is None:
            raise ValueError(f"unknown step {step!r}; allowed: first, last, or a number")
    if "step" not in array.dims:
        return array
    return array.isel(step=place) if isinstance(step, str) else array.sel(step=step, method="nearest")


def at_values(cube: Any, values: Mapping[str, float]) -> Any:
    """A dataset or array at given values of coordinates.

    Args:
        cube: Dataset or array.
        values: Coordinate to value; a coordinate over two dimensions needs one of them fixed as well.

    Returns:
        The same without the dimensions of those coordinates.

    Raises:
        ValueError: If the grid has no such value; the message lists those it has.
    """
    for word in sorted(values, key=lambda name: coordinate_of(cube, name).ndim):
        along = coordinate_of(cube, word)
        if along.ndim > 1:
            raise ValueError(f"{word} changes along {', '.join(map(str, along.dims))}; choose one of these as well")
        near = np.isclose(along.values, values[word], rtol=1e-6, atol=0)
        if not near.any():
            known = ", ".join(f"{value:g}" for value in np.unique(along.values))
            raise ValueError(f"the grid has no {word} = {values[word]!r}; it has {known}")
        if along.ndim:
            cube = cube.isel({along.dims[0]: int(np.flatnonzero(near)[0])})
    return cube


def as_numbers(array: xr.DataArray) -> xr.DataArray:
    """Floating-point values, NaN where a flag says that there is no value."""
    if array.dtype.kind in "iu" and "flag_values" in array.attrs:
        return array.where(array != NO_VALUE).astype(float).assign_attrs(array.attrs)
    return array.astype(float) if array.dtype.kind != "f" else array


def spans_decades(array: xr.DataArray, decades: float = 2.0) -> bool:
    """Whether all values are positive and their replica medians reach over more than so many powers of ten."""
    values = array.median("replica", skipna=True).values if "replica" in array.dims else array.values
    values = values[np.isfinite(values)]
    return bool(values.size and values.min() > 0 and values.max() / values.min() > 10**decades)


def averaged(array: xr.DataArray, statistic: str) -> xr.DataArray:
    """Mean or median over the replicas that have a value.

    Raises:
        ValueError: If the statistic is neither.
    """
    one_of(statistic, STATISTICS, "statistic")
    if "replica" not in array.dims:
        return array
    reduced = array.quantile(0.5, "replica", skipna=True) if statistic == "median" else array.sum("replica", skipna=True)
    if statistic == "mean":
        reduced = reduced / array.notnull().sum("replica").where(lambda count: count > 0)
    return reduced.assign_attrs(array.attrs).rename(array.name)


def on_grid(array: xr.DataArray, word: str) -> tuple[xr.DataArray, Hashable]:
    """The array with a dimension along the coordinate `word`, and that dimension's name.

    A coordinate that is constant gets a dimension of length one.

    Raises:
        ValueError: If the coordinate lies along no dimension that a map can have.
    """
    along = coordinate_of(array, word)
    if not along.ndim:
        return array.drop_vars(word).expand_dims({word: [along.item()]}).assign_coords(
            {word: (word, [along.item()], along.attrs)}
        ), word
    if "point" in along.dims:
        raise ValueError(f"{word} belongs to a star of points; a map needs a grid")
    if word in along.dims:
        return array, word
    return array, max(along.dims, key=lambda dim: (array.sizes[dim], dim))


def panels(array: xr.DataArray, x: str, y: str) -> list[Panel]:
    """One table of values for every combination of what is left beside x and y.

    Args:
        array: Over grid axes and `layer` only.
        x: Coordinate along the columns.
        y: Coordinate along the rows; may depend on what tells panels apart.

    Returns:
        Panels, the last of the remaining dimensions running fastest.

    Raises:
        ValueError: If x and y lie along the same dimension.
    """
    array, column = on_grid(array, x)
    array, row = on_grid(array, y)
    if row == column:
        raise ValueError(f"{x} and {y} lie along the same axis, {row}; choose two that do not")
    rest = [dim for dim in array.dims if dim not in (row, column)]
    found = []
    for combination in itertools.product(*(range(array.sizes[dim]) for dim in rest)):
        place = dict(zip(rest, combination, strict=True))
        part = array.isel(place).transpose(row, column)
        part = part.isel({row: np.argsort(part[y].values), column: np.argsort(part[x].values)})
        title = ", ".join(_value(part, array, dim) for dim in rest)
        found.append(Panel(part.values, part[x], part[y], title, place))
    return found


def _value(part: xr.DataArray, array: xr.DataArray, dim: Hashable) -> str:
    named = f"{dim}_name"
    if named in part.coords:
        return str(part[named].item())
    return value_label(array[dim], part[dim].item()) if dim in array.coords else f"{dim} {part[dim].item()}"


def arranged(found: list[Panel]) -> tuple[int, int]:
    """Rows and columns of the figure: one row a value of the first leftover dimension, or up to three in a row."""
    dims = list(found[0].place)
    if len(dims) < 2:
        columns = min(len(found), 3)
        return -(-len(found) // columns), columns
    columns = 1 + max(panel.place[dims[-1]] for panel in found)
    return len(found) // columns, columns


def edges(values: Values, *, logarithmic: bool) -> Values:
    """Borders of the cells around ascending values: midway between neighbours, geometrically on a logarithmic axis."""
    places = np.log2(values) if logarithmic else np.asarray(values, dtype=float)
    half = np.diff(places) / 2 if len(places) > 1 else np.array([0.5])
    borders = np.concatenate([[places[0] - half[0]], places[:-1] + half[: len(places) - 1], [places[-1] + half[-1]]])
    return 2.0**borders if logarithmic else borders


def is_logarithmic(array: xr.DataArray) -> bool:
    """Whether an axis of this coordinate is drawn logarithmically: its attribute says so and its values allow it."""
    return array.attrs.get("axis_scale") == "log" and bool((np.isfinite(array.values) & (array.values > 0)).all())


def replica_note(array: xr.DataArray, statistic: str) -> str:
    """How many replicas an average is over, in words."""
    count = array.sizes.get("replica", 1)
    return f"{statistic} of {count} replicas" if count > 1 else ""


def labels(array: xr.DataArray, x: str, y: str) -> tuple[str, str]:
    """Labels of the two axes of a map."""
    return label(coordinate_of(array, x)), label(coordinate_of(array, y))
