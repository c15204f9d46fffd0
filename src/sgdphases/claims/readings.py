"""How a claim's quantity is read: from a fit, from cells of the grid at the last step, or from theory alone."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.claims.claim import Fits, Measurement, NotReached
from sgdphases.claims.network import Point, close, network_at
from sgdphases.storage.temperature import on_temperature

Measure = Callable[[xr.Dataset, Fits], Measurement]
Region = Callable[[xr.Dataset], xr.DataArray]


def at(array: xr.DataArray, places: Mapping[str, float | str]) -> xr.DataArray:
    """An array at given values of coordinates, each along one dimension.

    Args:
        array: The array.
        places: Coordinate to value, a number or a word.

    Returns:
        The array without those dimensions.

    Raises:
        NotReached: If there is no such value.
    """
    for word, value in places.items():
        wanted = f"needs {word} {value}" if isinstance(value, str) else f"needs {word} {value:g}"
        if word not in array.coords or array[word].ndim != 1:
            raise NotReached(wanted)
        found = np.flatnonzero(close(array[word], value))
        if not found.size:
            raise NotReached(wanted)
        array = array.isel({array[word].dims[0]: int(found[0])})
    return array


def fitted(fit: str, name: str, *, absent: str = "", point: Point | None = None, **places: float | str) -> Measure:
    """A variable of a fit, with its error.

    Args:
        fit: Name of the fit.
        name: Name of the variable.
        absent: What it means that there is no value, where that is a finding (the claim then fails); empty: the
            claim is then not measured.
        point: The network, where the fit has several; None: the fit gives one value.
        **places: Coordinate to value.

    Returns:
        The reading.
    """

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = network_at(fits[fit], point or {})
        if name not in found:
            raise NotReached(f"the fit {fit} gives no {name} here")
        array = at(found[name], places)
        if array.ndim:
            raise NotReached(f"the fit {fit} gives {name} of several networks, over {', '.join(map(str, array.dims))}")
        value = float(array)
        error = float(at(found[f"{name}_error"], places)) if f"{name}_error" in found else math.nan
        if not math.isfinite(value) and not absent:
            why = f" ({found.attrs['reason']})" if found.attrs.get("reason") else ""
            raise NotReached(f"the fit {fit} gives no value of {name} here{why}")
        return Measurement(value, error, absent if not math.isfinite(value) else "")

    return measure


def over_replicas(values: xr.DataArray) -> tuple[float, float]:
    """Mean over everything with the standard error of the replicas' own means; NaN are left out."""
    each = values.mean([dim for dim in values.dims if dim != "replica"], skipna=True).values
    each = each[np.isfinite(each)]
    if not each.size:
        raise NotReached("no replica has a value here")
    error = each.std(ddof=1) / np.sqrt(each.size) if each.size > 1 else math.nan
    return float(each.mean()), float(error)


def averaged(name: str, region: Region, *, drifting: str = "") -> Measure:
    """Mean of an observable at the last step over cells of the grid and replicas.

    Args:
        name: The observable.
        region: Which cells, from the cube with `temperature` as a dimension.
        drifting: What to say, beside the rate, where it still changes; empty: nothing.

    Returns:
        The reading; its error is that of the replicas' means over the cells.
    """

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        grid = on_temperature(cube)
        if name not in grid:
            raise NotReached(f"needs observable {name}")
        cells = grid[name].where(region(grid))
        return Measurement(*over_replicas(cells.isel(step=-1)), still_changing(cells, drifting) if drifting else "")

    return measure


def still_changing(cells: xr.DataArray, words: str) -> str:
    """A remark on how fast a quantity still changes, empty where the replicas do not show that it does.

    Args:
        cells: The observable over replicas, steps and cells.
        words: What it means.

    Returns:
        The change over the last decade of steps, where it is more than three of its standard errors.
    """
    steps = cells["step"].values
    before = int(np.abs(steps - steps[-1] / 10).argmin())
    if steps[before] <= 0 or before == len(steps) - 1:
        return ""
    decades = np.log10(steps[-1] / steps[before])
    change, error = over_replicas((cells.isel(step=-1) - cells.isel(step=before)) / decades)
    return f"{words}: {change:+.2g} per decade of steps" if abs(change) > 3 * error else ""


def cell(temperature: float, init_scale: float) -> Region:
    """One cell of the grid."""

    def region(grid: xr.Dataset) -> xr.DataArray:
        near = np.abs(grid["temperature"] / temperature - 1) < 1e-6
        return near & (np.abs(grid["init_scale"] / init_scale - 1) < 1e-6)

    return region


def theoretical(value: Callable[[], tuple[float, float]], remark: str = "") -> Measure:
    """A number that needs no run: (value, error)."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        return Measurement(*value(), remark)

    return measure


def unreachable(reason: str) -> Measure:
    """A claim that no card can reach."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        raise NotReached(reason)

    return measure


def difference(first: Measure, second: Measure) -> Measure:
    """One reading less another of different networks."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        one, other = first(cube, fits), second(cube, fits)
        return Measurement(one.value - other.value, math.hypot(one.error, other.error))

    return measure


def remarked(measure: Measure, remark: Callable[[xr.Dataset, Fits], str]) -> Measure:
    """A reading with a remark of its own."""

    def both(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = measure(cube, fits)
        words: list[Any] = [text for text in (found.remark, remark(cube, fits)) if text]
        return Measurement(found.value, found.error, "; ".join(words))

    return both
