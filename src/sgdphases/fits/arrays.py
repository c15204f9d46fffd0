"""From a cube's labelled variables to plain arrays for the estimators, and back to a labelled, described dataset."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sgdphases.fits.intervals import Estimate, student_estimate
from sgdphases.storage.cube import NO_VALUE

Floats = NDArray[np.float64]


def flags(variable: xr.DataArray) -> xr.DataArray:
    """A flag as numbers, NaN where there is no value."""
    return variable.where(variable != NO_VALUE).astype(np.float64)


def replicas_first(variable: xr.DataArray, *last: str) -> tuple[Floats, list[Hashable]]:
    """The values with the replicas on the first axis and the dimensions `last` on the last ones.

    Args:
        variable: A variable with the dimension `replica`.
        *last: Dimensions to put last, in this order.

    Returns:
        The values, and the dimensions between.
    """
    between = [dim for dim in variable.dims if dim not in ("replica", *last)]
    return variable.transpose("replica", *between, *last).values.astype(np.float64), between


def replica_mean(values: Floats) -> Estimate:
    """Mean over the first axis with the standard error of the replicas' scatter; NaN are left out.

    Args:
        values: Replicas first.

    Returns:
        The mean with the interval of Student's t; its error is NaN with fewer than two replicas.
    """
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    square = np.where(known, values - mean, 0.0) ** 2
    freedom = count * (count - 1)
    variance = np.divide(square.sum(axis=0), freedom, out=np.full(count.shape, np.nan), where=freedom > 0)
    return student_estimate(mean, np.sqrt(variance), freedom=count - 1)


def logarithm(values: Floats) -> Floats:
    """Natural logarithm of what is positive, else NaN; shaped like the values."""
    return np.log(values, out=np.full(values.shape, np.nan), where=values > 0)


def slopes(x: Floats, y: Floats) -> Floats:
    """Slope of a straight line through the last axis of y; points that are NaN are left out.

    The slope is linear in y: the mean of the replicas' slopes is the slope of the replicas' mean.

    Args:
        x: Shape (n,).
        y: Shape (..., n).

    Returns:
        Shape (...); NaN with fewer than two points.
    """
    known = np.isfinite(y) & np.isfinite(x)
    count = known.sum(axis=-1, keepdims=True)
    centre = np.divide(
        np.where(known, x, 0.0).sum(-1, keepdims=True), count, out=np.zeros(count.shape), where=count > 0
    )
    arm = np.where(known, x - centre, 0.0)
    lever = (arm**2).sum(axis=-1)
    return np.divide((arm * np.where(known, y, 0.0)).sum(-1), lever, out=np.full(lever.shape, np.nan), where=lever > 0)


def estimated(
    name: str, estimate: Estimate, dims: Sequence[Hashable], *, attrs: Mapping[str, str], interval: bool = False
) -> dict[str, tuple]:
    """An estimate as variables of a dataset: its value, its standard error and, if asked for, its interval.

    Args:
        name: Name of the value.
        estimate: The estimate.
        dims: Its dimensions.
        attrs: long_name, units and symbol of the value.
        interval: Also write `name_low` and `name_high`.

    Returns:
        Variables by name.
    """
    found = {
        name: (tuple(dims), estimate.value, {"units": "1", **attrs}),
        f"{name}_error": (
            tuple(dims),
            estimate.error,
            {"units": attrs.get("units", "1")}
            | {"long_name": f"standard error of {attrs['long_name']}", "symbol": rf"\delta {attrs['symbol']}"},
        ),
    }
    if interval:
        for end, values in (("low", estimate.low), ("high", estimate.high)):
            words = {"long_name": f"{attrs['long_name']}, {end} end of the 95 % interval", "symbol": attrs["symbol"]}
            found[f"{name}_{end}"] = (tuple(dims), values, {"units": attrs.get("units", "1"), **words})
    return found


def labelled(cube: xr.Dataset, variables: Mapping[str, tuple], about: str) -> xr.Dataset:
    """A dataset of estimates with those of the cube's coordinates that fit their dimensions.

    Args:
        cube: Where the estimates come from.
        variables: Name to (dimensions, values, attributes).
        about: One line about the fit.

    Returns:
        The dataset.
    """
    made = xr.Dataset(dict(variables))
    shared = {
        name: coordinate
        for name, coordinate in cube.coords.items()
        if all(made.sizes.get(dim) == cube.sizes[dim] for dim in coordinate.dims) and name not in ("step", "epoch")
    }
    kept = {key: cube.attrs[key] for key in ("experiment", "study", "references", "dataset") if key in cube.attrs}
    return made.assign_coords(shared).assign_attrs(kept, title=about, schedule=int(cube["step"].max()))
