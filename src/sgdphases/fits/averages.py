"""Averages over replicas with errors: final losses and gradients point by point, and the state before training."""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, estimated, labelled, replicas_first
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.intervals import Estimate
from sgdphases.fits.power_law import Average, replica_average

MEDIANS = {
    "train_loss": ("training loss", "L"),
    "epoch_train_loss": ("training loss over the last epoch", "L"),
    "gradient_norm": ("gradient norm", r"\|\nabla L\|"),
    "epoch_gradient_norm": ("norm of the last epoch's mean gradient", r"\|\nabla L\|"),
    "test_loss": ("test loss", r"L_\mathrm{test}"),
}
SPREAD = (16.0, 84.0)
"""Percentiles of the replicas that published bars span."""


def averages(cube: xr.Dataset) -> xr.Dataset:
    """Medians of the replicas at the last step, and averages over all networks of one initial scale at step 0.

    Args:
        cube: With any of `train_loss`, `epoch_train_loss`, `gradient_norm`, `epoch_gradient_norm`, `test_loss`, and at
            step 0 `gradient_norm`, `overlap`, `eigenvalues`.

    Returns:
        Over the grid `<variable>_median` with `_error` (bootstrap over replicas) and `_low`, `_high` (16th and 84th
        percentile of the replicas). Over init_scale (and layer) `initial_gradient_norm` (median), `initial_overlap`
        (mean). Over all networks, in units of init_scale², `initial_largest_level`, `initial_smallest_level`,
        `initial_width` (means, one trained layer only), each with `_error`; `initial_networks`, how many a scale has.
    """
    end, start = cube.isel(step=-1), cube.isel(step=0)
    found: dict[str, tuple] = {}
    for name, words in MEDIANS.items():
        if name in end:
            found |= _median(name, end[name], words)
    if "init_scale" in cube.dims:
        found |= _initial(start)
    return labelled(cube, found, "averages over replicas at the last step and before training")


def _median(name: str, variable: xr.DataArray, words: tuple[str, str]) -> dict[str, tuple]:
    values, dims = replicas_first(variable)
    middle = bootstrap(lambda sample: replica_average(sample, "median"), values, resamples=200, widened=False)
    empty = np.isnan(values).all(axis=0)
    low, high = np.where(empty, np.nan, np.nanpercentile(np.where(empty, 0.0, values), SPREAD, axis=0))
    attrs = {"long_name": f"median {words[0]}", "symbol": words[1]}
    found = estimated(
        f"{name}_median", Estimate(middle.value, middle.error, low, high), dims, attrs=attrs, interval=True
    )
    for end, share in (("low", SPREAD[0]), ("high", SPREAD[1])):
        found[f"{name}_median_{end}"][2]["long_name"] = f"{words[0]}, percentile {share:g} of the replicas"
    return found


def _initial(start: xr.Dataset) -> dict[str, tuple]:
    """Averages before training; a replica's networks share their data, so whole replicas are resampled."""
    rest = [dim for dim in start.dims if dim not in ("replica", "init_scale", "layer", "mode")]
    networks = start.sizes["replica"] * int(np.prod([start.sizes[dim] for dim in rest], dtype=int))
    words = {"long_name": "networks of one initial scale", "units": "1", "symbol": "n"}
    found: dict[str, tuple] = {"initial_networks": ((), networks, words)}
    if "gradient_norm" in start:
        attrs = {"long_name": "median gradient norm at the start", "symbol": r"\|\nabla L\|_0"}
        found |= _pooled("initial_gradient_norm", start["gradient_norm"], rest, attrs, "median")
    if "overlap" in start:
        attrs = {"long_name": "mean square of the initial features", "symbol": "q(0)"}
        found |= _pooled("initial_overlap", start["overlap"], rest, attrs, "mean")
    if "eigenvalues" in start and "layer" not in start["eigenvalues"].dims:
        found |= _spectrum(start, [*rest, "init_scale"])
    return found


def _pooled(
    name: str, variable: xr.DataArray, rest: list[str], attrs: dict[str, str], average: Average
) -> dict[str, tuple]:
    values, dims = replicas_first(variable, *rest)
    values = values.reshape(*values.shape[: values.ndim - len(rest)], -1)

    def pooled(sample: Floats) -> Floats:
        return replica_average(np.moveaxis(sample, -1, 0).reshape(-1, *sample.shape[1:-1]), average)

    return estimated(name, bootstrap(pooled, values, resamples=200, widened=average != "median"), dims, attrs=attrs)


def _spectrum(start: xr.Dataset, rest: list[str]) -> dict[str, tuple]:
    """Mean edges of the initial spectra in units of their variance."""
    scaled = start["eigenvalues"] / start["init_scale"] ** 2
    largest, smallest = scaled.max("mode"), scaled.min("mode")
    found: dict[str, tuple] = {}
    for name, variable, symbol in (
        ("initial_largest_level", largest, r"x_\mathrm{max}/\sigma^2"),
        ("initial_smallest_level", smallest, r"x_\mathrm{min}/\sigma^2"),
        ("initial_width", largest - smallest, r"\Delta x/\sigma^2"),
    ):
        values = variable.transpose("replica", *rest).values.reshape(-1)
        # Every network draws its initial weights anew, unlike its data.
        mean, error = values.mean(), values.std(ddof=1) / np.sqrt(values.size)
        attrs = {"long_name": name.replace("_", " "), "symbol": symbol}
        found |= estimated(name, Estimate(*map(np.asarray, (mean, error, mean, mean))), (), attrs=attrs)
    return found
