"""Exponents of the dyson study: how the cold loss falls, how hot levels grow, and how growth depends on the grid."""

from collections.abc import Hashable

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, estimated, labelled, replica_mean, replicas_first, slopes
from sgdphases.storage.temperature import temperature_dimension

DECADES = 2.0
"""Length of a window of steps, in powers of ten."""

FIRST_WINDOW = 100
HOT_TEMPERATURES = (8.0, np.inf)
"""Where the largest level grows as a power of time, and growth is a power of the temperature (claims 10 and 16)."""
NARROW_INIT_SCALES = (0.0, 1.0)


def power_laws(cube: xr.Dataset) -> xr.Dataset:
    """Exponents with their errors over replicas; a replica's exponent is a straight line in logarithms.

    Args:
        cube: With any of `train_loss`, `eigenvalues`, `log_spread_growth`.

    Returns:
        `train_loss_exponent` and `largest_level_exponent` in the step, over the grid and windows of two decades
        (`window_start`, `window_end`); `hot_growth_exponent`, the latter's mean over T ≥ 8 and init_scale ≤ 1;
        `inverse_init_scale_exponent`, the slope of log_spread_growth in ln(1/init_scale) over all scales; and
        `temperature_exponent`, its slope in ln T over T ≥ 8, both at the last step. Each with `_error`.

    Raises:
        ValueError: If the cube has none of these variables.
    """
    found: dict[str, tuple] = {}
    windows = _windows(cube)
    if "train_loss" in cube:
        words = ("exponent of the training loss in time", r"d\ln L/d\ln t")
        found |= _in_time("train_loss_exponent", cube["train_loss"], windows, words)
    if "eigenvalues" in cube:
        words = ("exponent of the largest level in time", r"d\ln x_\mathrm{max}/d\ln t")
        largest = cube["eigenvalues"].max("mode")
        found |= _in_time("largest_level_exponent", largest, windows, words)
        found |= _hot_growth(cube, largest, windows)
    if "log_spread_growth" in cube:
        found |= _over_the_grid(cube)
    if not found:
        raise ValueError("fit power_laws needs train_loss, eigenvalues or log_spread_growth among the observables")
    made = labelled(cube, found, "exponents")
    if "window" not in made.dims:
        return made
    ends = {"window_start": [w[0] for w in windows], "window_end": [w[1] for w in windows]}
    return made.assign_coords(
        {
            name: ("window", np.array(values, dtype=np.int64), {"long_name": name.replace("_", " "), "units": "1"})
            for name, values in ends.items()
        }
    )


def _windows(cube: xr.Dataset) -> list[tuple[int, int]]:
    """Windows of two decades that start at a power of ten and end within the schedule."""
    last = int(cube["step"][-1])
    starts = 10 ** np.arange(int(np.log10(FIRST_WINDOW)), 16)
    return [(int(start), int(start * 10**DECADES)) for start in starts if start * 10**DECADES <= last]


def _per_replica(variable: xr.DataArray, windows: list[tuple[int, int]]) -> tuple[Floats, list[Hashable]]:
    """Exponent of every replica in every window, replicas first, windows last."""
    values, dims = replicas_first(variable, "step")
    steps = variable["step"].values
    logarithm = np.full_like(values, np.nan)
    np.log(values, out=logarithm, where=values > 0)
    time = np.log(np.maximum(steps, 1).astype(float))
    parts = [slopes(time[inside], logarithm[..., inside]) for inside in _inside(steps, windows)]
    return (np.stack(parts, axis=-1) if parts else np.empty((*values.shape[:-1], 0))), dims


def _inside(steps: np.ndarray, windows: list[tuple[int, int]]) -> list[np.ndarray]:
    return [(steps >= start) & (steps <= end) for start, end in windows]


def _in_time(
    name: str, variable: xr.DataArray, windows: list[tuple[int, int]], words: tuple[str, str]
) -> dict[str, tuple]:
    exponents, dims = _per_replica(variable, windows)
    attrs = {"long_name": words[0], "symbol": words[1]}
    return estimated(name, replica_mean(exponents), [*dims, "window"], attrs=attrs)


def _hot_growth(cube: xr.Dataset, largest: xr.DataArray, windows: list[tuple[int, int]]) -> dict[str, tuple]:
    """Exponent of the largest level, averaged over the hot part of the grid replica by replica."""
    if "temperature" not in cube.coords or "layer" in largest.dims or "init_scale" not in largest.dims:
        return {}
    hot = _between(cube["temperature"], HOT_TEMPERATURES) & _between(cube["init_scale"], NARROW_INIT_SCALES)
    if not hot.any():
        return {}
    exponents, dims = _per_replica(largest, windows)
    grid = hot.broadcast_like(largest.isel(replica=0, step=0, drop=True)).transpose(*dims).values
    attrs = {"long_name": "exponent of the largest level in time, T at least 8, init_scale at most 1"}
    # Replicas share their task over the grid: cells are averaged within a replica before replicas are compared.
    mean = replica_mean(exponents[:, grid].mean(axis=1))
    return estimated("hot_growth_exponent", mean, ["window"], attrs=attrs | {"symbol": r"d\ln x_\mathrm{max}/d\ln t"})


def _over_the_grid(cube: xr.Dataset) -> dict[str, tuple]:
    """Slopes of the growth in the logarithms of the inverse initial scale and of the temperature."""
    growth = cube["log_spread_growth"].isel(step=-1)
    found: dict[str, tuple] = {}
    if "init_scale" in growth.dims and (growth["init_scale"] > 0).all():
        values, dims = replicas_first(growth, "init_scale")
        slope = slopes(-np.log(growth["init_scale"].values), values)
        attrs = {"long_name": "slope of the spread's growth in the inverse initial scale"}
        attrs["symbol"] = r"\partial G/\partial\ln(1/\sigma_W)"
        found |= estimated("inverse_init_scale_exponent", replica_mean(slope), dims, attrs=attrs)
    if cube["temperature"].ndim != 1 or "point" in growth.dims:
        return found
    axis = temperature_dimension(growth)
    hot = _between(cube["temperature"], HOT_TEMPERATURES).values
    if hot.sum() >= 2:
        values, dims = replicas_first(growth, axis)
        slope = slopes(np.log(cube["temperature"].values[hot]), values[..., hot])
        attrs = {"long_name": "slope of the spread's growth in the temperature, T at least 8"}
        attrs["symbol"] = r"\partial G/\partial\ln T"
        found |= estimated("temperature_exponent", replica_mean(slope), dims, attrs=attrs)
    return found


def _between(values: xr.DataArray, ends: tuple[float, float]) -> xr.DataArray:
    return (values >= ends[0] * (1 - 1e-9)) & (values <= ends[1] * (1 + 1e-9))
