"""What of a cube a figure shows: a step, a cell, an average over replicas, and one table of values a panel."""

import itertools
from collections.abc import Container, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.choices import one_of
from sgdphases.figures.style import value_label
from sgdphases.storage.cube import NO_VALUE, clock_of

Values = np.ndarray


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

    Args:
        cube: The cube.
        word: The variable's name.

    Returns:
        The variable.

    Raises:
        ValueError: If the cube does not hold it; the message lists what it holds.
    """
    return cube[one_of(word, map(str, cube.data_vars), "variable")]


def coordinate_of(cube: xr.Dataset | xr.DataArray, word: str) -> xr.DataArray:
    """A coordinate.

    Args:
        cube: The cube or one of its variables.
        word: The coordinate's name.

    Returns:
        The coordinate.

    Raises:
        ValueError: If the cube does not have it; the message lists what it has.
    """
    return cube.coords[one_of(word, map(str, cube.coords), "coordinate")]


def at_step(array: xr.DataArray, step: str | float) -> xr.DataArray:
    """The array at one recorded time.

    Args:
        array: With or without a dimension for time.
        step: "first", "last", or a number in the card's clock, for which the nearest recorded time is taken.

    Returns:
        The array without the dimension.
    """
    clock = clock_of(array)
    if clock not in array.dims:
        return array
    if isinstance(step, str):
        return array.isel({clock: {"first": 0, "last": -1}[step]})
    return array.sel({clock: step}, method="nearest")


def at_values(cube: Any, values: Mapping[str, float | str]) -> Any:
    """A dataset or array at given values of coordinates.

    Args:
        cube: Dataset or array.
        values: Coordinate to value, a word where it holds words; a coordinate over two dimensions needs one of them
            fixed as well.

    Returns:
        The same without the dimensions of those coordinates.

    Raises:
        ValueError: If the grid has no such value; the message lists those it has.
    """
    for word in sorted(values, key=lambda name: coordinate_of(cube, name).ndim):
        along = coordinate_of(cube, word)
        if along.ndim > 1:
            raise ValueError(f"{word} changes along {', '.join(map(str, along.dims))}; choose one of these as well")
        near = _near(along, values[word])
        if not near.any():
            known = (str(value) if along.dtype.kind in "OUS" else f"{value:g}" for value in np.unique(along.values))
            raise ValueError(f"the grid has no {word} = {values[word]!r}; it has {', '.join(known)}")
        if along.ndim:
            cube = cube.isel({along.dims[0]: int(np.flatnonzero(near)[0])})
    return cube


def _near(along: xr.DataArray, value: float | str) -> np.ndarray:
    """Where a coordinate has a value, numbers to within round-off."""
    if along.dtype.kind in "OUS":
        return along.values.astype(str) == str(value)
    return np.zeros(along.shape, bool) if isinstance(value, str) else np.isclose(along.values, value, rtol=1e-6, atol=0)


def as_numbers(array: xr.DataArray) -> xr.DataArray:
    """Floating-point values, NaN where a flag says that there is no value."""
    if array.dtype.kind in "iu" and "flag_values" in array.attrs:
        return array.where(array != NO_VALUE).astype(float).assign_attrs(array.attrs)
    return array.astype(float) if array.dtype.kind != "f" else array


def squared(array: xr.DataArray) -> xr.DataArray:
    """The square of a variable, named as such."""
    words = {"symbol": f"{array.attrs.get('symbol', array.name)}^2", "units": _squared_units(array)}
    words["long_name"] = f"square of the {array.attrs.get('long_name', array.name)}"
    return (array**2).rename(f"{array.name}_squared").assign_attrs(array.attrs | words)


def _squared_units(array: xr.DataArray) -> str:
    units = str(array.attrs.get("units", "1"))
    return units if units in ("1", "") else f"({units})2"


def layer_of(array: xr.DataArray, layer: int) -> xr.DataArray:
    """A variable of one layer; the whole variable where it has no layers."""
    return at_values(array, {"layer": layer}) if "layer" in array.dims else array


def place_words(cube: xr.Dataset, at: Mapping[str, float | str], *, skip: Container[str] = ()) -> str:
    """What a title says of chosen places: names where places have names, else symbols and values.

    Args:
        cube: The cube, or a fit, before or after the choice.
        at: Coordinate to value.
        skip: Coordinates that are not told.

    Returns:
        The words, with commas between.
    """
    said = []
    for word, value in at.items():
        if word in skip:
            continue
        named = f"{word}_name"
        if named in cube.coords:
            chosen = at_values(cube[named], {word: value}) if cube[named].ndim else cube[named]
            name = str(chosen.item()).replace("_", " ")
            what = str(cube[word].attrs.get("long_name", word))
            said.append(name if name.startswith(what) else f"{what}: {name}")
        else:
            said.append(value_label(coordinate_of(cube, word), value))
    return ", ".join(said)


def layers_of(cube: xr.Dataset, depth: float | None = None) -> int:
    """Layers of a network: its depth, or where that is 0, or no coordinate, those of the card's widths.

    Args:
        cube: With the attribute widths.
        depth: The depth; if not given that of the cube, which then has only one.

    Returns:
        Their number.
    """
    if depth is None:
        depth = float(cube["depth"]) if "depth" in cube.coords else 0
    return int(depth) or len(np.atleast_1d(cube.attrs["widths"])) - 1


def spans_decades(array: xr.DataArray, decades: float = 2.0) -> bool:
    """Whether no value is negative and their replica medians reach over more than so many powers of ten."""
    values = averaged(array, "median").values
    values = values[np.isfinite(values)]
    signed = bool((array < 0).any())
    return bool(values.size and not signed and values.min() > 0 and values.max() / values.min() > 10**decades)


def averaged(array: xr.DataArray, statistic: str) -> xr.DataArray:
    """Mean or median over the replicas that have a value.

    Args:
        array: With or without the dimension `replica`.
        statistic: "mean" or "median".

    Returns:
        Without `replica`, NaN where no replica has a value.
    """
    if "replica" not in array.dims:
        return array
    known = array.notnull().any("replica")
    # A cell without values is filled for the reduction, which would warn of it, and emptied again.
    filled = array.where(known, 0.0)
    reduced = filled.median("replica") if statistic == "median" else filled.mean("replica")
    return reduced.where(known).assign_attrs(array.attrs).rename(array.name)


def on_grid(array: xr.DataArray, word: str) -> tuple[xr.DataArray, Hashable]:
    """The array with a dimension along the coordinate `word`, and that dimension's name.

    A coordinate that is constant gets a dimension of length one.

    Args:
        array: The array.
        word: The coordinate.

    Returns:
        Array and dimension.

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
    if clock_of(array) in along.dims:
        return array, clock_of(array)
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
        ValueError: If x and y lie along the same dimension, or one of them changes along both.
    """
    array, column = on_grid(array, x)
    array, row = on_grid(array, y)
    if row == column:
        raise ValueError(f"{x} and {y} lie along the same axis, {row}; choose two that do not")
    for word in (x, y):
        if {row, column} <= set(array[word].dims):
            raise ValueError(f"{word} changes along both {row} and {column}; choose an axis of the grid")
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


def replica_note(array: xr.DataArray, statistic: str) -> str:
    """How many replicas an average is over, in words."""
    count = array.sizes.get("replica", 1)
    return f"{statistic} of {count} replicas" if count > 1 else ""


def majority_word(cube: xr.Dataset, word: str) -> str:
    """The most frequent label over everything that a selection still holds, at its last step; empty without labels."""
    if word not in cube or "flag_meanings" not in cube[word].attrs:
        return ""
    array = at_step(cube[word], "last")
    words = dict(zip(np.ravel(array.attrs["flag_values"]).tolist(), array.attrs["flag_meanings"].split(), strict=True))
    counts = {said: int((array == value).sum()) for value, said in words.items()}
    return max(counts, key=lambda said: counts[said]).replace("_", " ")


def quantiles(array: xr.DataArray, dim: Hashable, *shares: float) -> list[xr.DataArray]:
    """Quantiles over one dimension of the values that are there, NaN where there are none."""
    known = array.notnull().any(dim)
    filled = array.where(known, 0.0)
    return [filled.quantile(share, dim).where(known).drop_vars("quantile") for share in shares]


def fit_of(fits: Mapping[str, xr.Dataset], name: str) -> xr.Dataset:
    """A fit by name.

    Args:
        fits: Fits by name.
        name: The fit.

    Returns:
        The fit.

    Raises:
        ValueError: If the card asks for no such fit; the message lists those that it asks for.
    """
    if name not in fits:
        raise ValueError(f"the figure needs the fit {name!r}; the card asks for: {', '.join(sorted(fits)) or 'none'}")
    return fits[name]
