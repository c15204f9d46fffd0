"""The network that a claim is about: one point of a grid, found by the values of its hyperparameters."""

from collections.abc import Iterable, Mapping
from itertools import product

import numpy as np
import xarray as xr

from sgdphases.quantities import QUANTITIES

Point = Mapping[str, float | tuple[float, ...]]
"""Hyperparameter to value, or to several of which the first that there is counts."""


class NotReached(Exception):
    """The experiment cannot measure this claim; the message says what is missing."""


def close(coordinate: xr.DataArray, value: float | str) -> xr.DataArray:
    """Where a coordinate has a value, up to the rounding of a number."""
    if isinstance(value, str):
        return coordinate == value
    return xr.apply_ufunc(np.isclose, coordinate, value, kwargs={"rtol": 1e-6, "atol": 0})


def where(labelled: xr.Dataset | xr.DataArray, point: Mapping[str, float]) -> xr.DataArray:
    """Which points of a grid have these values.

    Args:
        labelled: A cube, a fit of one, or a variable. A hyperparameter that it does not name has its neutral value;
            the number of training samples is then the attribute `samples`, where it has that.
        point: Hyperparameter to value.

    Returns:
        Boolean array over those axes along which the hyperparameters change.
    """
    found = xr.DataArray(True)
    for word, value in point.items():
        if word in labelled.coords:
            found = found & close(labelled[word], value)
        elif word == "samples":
            found = found & (labelled.attrs.get("samples", value) == value)
        else:
            found = found & (QUANTITIES[word].neutral == value)
    return found


def network_at(labelled: xr.Dataset, point: Point) -> xr.Dataset:
    """A cube, or a fit of one, at one point of its grid.

    Args:
        labelled: The cube or the fit.
        point: Hyperparameter to value or values.

    Returns:
        The same without the axes of the grid along which the point's hyperparameters change.

    Raises:
        NotReached: If there is no such point, or more than one.
    """
    lists = [value if isinstance(value, tuple) else (value,) for value in point.values()]
    for values in product(*lists):
        mask = where(labelled, dict(zip(point, values, strict=True)))
        places = np.argwhere(mask.values)
        if len(places) == 1:
            return labelled.isel({dim: int(place) for dim, place in zip(mask.dims, places[0], strict=True)})
        if len(places) > 1:
            raise NotReached(f"needs one network, {len(places)} have {_words(point.items())}")
    absent = [item for item in point.items() if not _there(labelled, *item)]
    raise NotReached(f"needs {_words(absent)}" if absent else f"needs the point {_words(point.items())}")


def _there(labelled: xr.Dataset, word: str, value: float | tuple[float, ...]) -> bool:
    """Whether some network has the value, or one of the values."""
    values = value if isinstance(value, tuple) else (value,)
    return any(bool(where(labelled, {word: one}).any()) for one in values)


def _words(items: Iterable[tuple[str, float | tuple[float, ...]]]) -> str:
    """Hyperparameters with their values, for people."""
    parts = []
    for word, value in items:
        values = value if isinstance(value, tuple) else (value,)
        parts.append(f"{word} {' or '.join(f'{one:g}' for one in values)}")
    return ", ".join(parts)
