"""Levels along their trajectories beside what the eigenvalue Langevin equation predicts from projected gradients.

Between two records the drift of a level is predicted by `predicted_velocity` times the flow time τ, and its variance by
T `noise` τ. Both come from M test samples (128 in the paper; the cube's attribute `feature_samples`), while training
averages over its own: a window of n batches of B samples has, beside the noise of the batches, the sampling error of
the predicted drift, so that the residual's variance is

    T V_ii τ (1 + n B / M).

Within an epoch of fixed order this is exact to leading order: batches are drawn without replacement, which takes off
n B/N of the variance, and the training set's own sampling error adds as much. A prediction counts where one step is
small against the gaps (`peclet` at most 0.2) and the drift in the window stays below 0.3 of the gap; the noise where
moreover the window has at least 5 steps and less than an epoch. When measured velocities are held against predicted
ones, the sampling error of the predicted drift would pull their ratio below one; its known square is taken off, and
where it is more than half of the predicted drift's square there is no ratio. Replicas start from different matrices, so
that the Kramers-Moyal coefficients are taken of the residuals, never of the increments themselves.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import estimated, labelled
from sgdphases.fits.intervals import Estimate, student_estimate
from sgdphases.fits.kramers_moyal import UNUSABLE_SHARE, kramers_moyal

NEEDED = ("eigenvalues", "predicted_velocity", "noise", "peclet")
GAP_SHARE = 0.3
LEAST_STEPS = 5
LEAST_SIGNAL = 0.5
"""Least share of the predicted drift's square that must not be sampling error."""


class Windows(NamedTuple):
    """Windows between records, labelled by the step at which they start.

    Attributes:
        levels: At the start (grid, replica, step, mode).
        moves: Measured increments.
        drift: Predicted increments.
        variance: Predicted variance of the residual.
        sampling: Square of the sampling error of the predicted increment.
        valid: Whether the prediction of the drift holds.
        noisy: Whether that of the noise holds as well.
        time: Flow time of the window (grid, step).
    """

    levels: xr.DataArray
    moves: xr.DataArray
    drift: xr.DataArray
    variance: xr.DataArray
    sampling: xr.DataArray
    valid: xr.DataArray
    noisy: xr.DataArray
    time: xr.DataArray


def langevin(cube: xr.Dataset) -> xr.Dataset:
    """Measured and predicted drift and diffusion of the levels, window by window.

    Args:
        cube: With `eigenvalues`, `predicted_velocity`, `noise` and `peclet`.

    Returns:
        Over grid, `step` (the window's start) and mode, means over the replicas for which the prediction is valid:
        `measured_velocity`, `predicted_velocity`; `measured_diffusion` (of the residuals; its interval is that of a χ²
        variable) and `predicted_diffusion` where all replicas are valid. Over grid and step: `valid_share` of all
        levels, `velocity_ratio` (measured on predicted, weighted; 1 if the equation holds) with `signal_share`, and
        `noise_ratio` (mean square residual over the predicted one). All that is measured has `_error`, `_low`, `_high`.
        `predicted_eigenvalues` and `predicted_deviation` at the window's end, for every replica, NaN where not valid.

    Raises:
        ValueError: If an observable is missing.
    """
    missing = [name for name in NEEDED if name not in cube]
    if missing:
        raise ValueError(f"fit langevin needs the observables {', '.join(missing)}")
    windows = _windows(cube)
    found = _velocities(windows) | _diffusion(windows) | _ratios(windows) | _ahead(windows)
    made = labelled(cube, found, "drift and diffusion of levels, measured and predicted")
    return made.assign_coords(step=windows.levels["step"])


def _windows(cube: xr.Dataset) -> Windows:
    start, steps = cube.isel(step=slice(None, -1)), cube["step"].values
    long = xr.DataArray(np.diff(steps), coords={"step": start["step"]}, dims="step")
    time = (cube["learning_rate"] * long).astype(float)
    moves = cube["eigenvalues"].diff("step", label="lower")
    drift = start["predicted_velocity"] * time
    seen, samples = cube.attrs["feature_samples"], cube.attrs["samples"]
    variance = cube["temperature"] * start["noise"] * time * (1 + long * cube["batch_size"] / seen)
    sampling = start["noise"] * time**2 * (1 / seen + 1 / samples)
    gap = _nearest(start["eigenvalues"])
    finite = np.isfinite(moves) & np.isfinite(drift)
    valid = finite & (start["peclet"] <= UNUSABLE_SHARE) & (np.abs(drift) < GAP_SHARE * gap)
    epoch = samples / cube["batch_size"]
    noisy = valid & (long >= LEAST_STEPS) & (long < epoch) & (variance > 0)
    order = start["eigenvalues"].dims
    return Windows(
        *(part.transpose(*order) for part in (start["eigenvalues"], moves, drift, variance, sampling, valid, noisy)),
        time,
    )


def _nearest(levels: xr.DataArray) -> xr.DataArray:
    """Distance of each level, sorted along `mode`, to its nearest neighbour."""
    gap = np.abs(np.diff(levels.transpose(..., "mode").values, axis=-1))
    far = np.full((*gap.shape[:-1], 1), np.inf)
    # Padding behind the last mode of a narrow layer is no neighbour.
    gap = np.where(np.isnan(gap), np.inf, gap)
    nearest = np.minimum(np.concatenate([far, gap], axis=-1), np.concatenate([gap, far], axis=-1))
    dims = [dim for dim in levels.dims if dim != "mode"] + ["mode"]
    return xr.DataArray(nearest, dims=dims).transpose(*levels.dims)


def _velocities(windows: Windows) -> dict[str, tuple]:
    moves = (windows.moves / windows.time).where(windows.valid)
    predicted = (windows.drift / windows.time).where(windows.valid)
    count = windows.valid.sum("replica")
    order = [dim for dim in windows.levels.dims if dim != "replica"]
    residual = moves - predicted
    # Replicas have different drifts: the error is that of the residual, not of the drift.
    spread = (residual.std("replica", ddof=1, skipna=True) / np.sqrt(count.where(count > 1))).transpose(*order)
    mean, expected = (part.mean("replica", skipna=True).transpose(*order) for part in (moves, predicted))
    attrs = {"long_name": "velocity of a level", "symbol": r"\Delta x/\tau"}
    freedom = (count - 1).transpose(*order).values
    measured = student_estimate(mean.values, spread.values, freedom=freedom)
    found = estimated("measured_velocity", measured, order, attrs=attrs, interval=True)
    found["predicted_velocity"] = (order, expected.values, _words("predicted velocity of a level", "dx/dt"))
    return found


def _diffusion(windows: Windows) -> dict[str, tuple]:
    """Kramers-Moyal diffusion of the residuals over replicas, where the noise of all of them is predicted."""
    order = [dim for dim in windows.levels.dims if dim != "replica"]
    if windows.levels.sizes["replica"] < 2:
        return {}
    every = windows.noisy.all("replica").transpose(*order).values
    residual = (windows.moves - windows.drift).where(windows.noisy, 0.0).transpose("replica", *order)
    time = windows.time.broadcast_like(windows.levels.isel(mode=0, replica=0, drop=True))
    flow = time.transpose(*order[:-1]).values
    spread = kramers_moyal(residual.values, flow_time=flow).diffusion
    predicted = (windows.variance.where(windows.noisy) / (2 * windows.time)).mean("replica").transpose(*order)
    parts = (spread.value, spread.error, spread.low, spread.high)
    measured = Estimate(*(np.where(every, part, np.nan) for part in parts))
    attrs = {"long_name": "diffusion of a level", "symbol": "D_2"}
    found = estimated("measured_diffusion", measured, order, attrs=attrs, interval=True)
    words = _words("predicted diffusion of a level", r"T V_{ii}/2")
    found["predicted_diffusion"] = (order, np.where(every, predicted.values, np.nan), words)
    return found


def _ratios(windows: Windows) -> dict[str, tuple]:
    """How measured and predicted compare, all levels of a window together; errors by leaving out replicas."""
    order = [dim for dim in windows.levels.dims if dim not in ("replica", "mode")]
    weight = (1 / windows.variance).where(windows.valid & (windows.variance > 0))
    above = (weight * windows.moves * windows.drift).sum("mode").transpose("replica", *order).values
    whole = (weight * windows.drift**2).sum("mode").transpose("replica", *order).values
    below = whole - (weight * windows.sampling).sum("mode").transpose("replica", *order).values
    square = ((windows.moves - windows.drift) ** 2 / windows.variance).where(windows.noisy)
    squares = square.sum("mode").transpose("replica", *order).values
    counts = windows.noisy.sum("mode").transpose("replica", *order).values.astype(float)
    real = np.isfinite(windows.levels)
    share = (windows.valid & real).sum(["replica", "mode"]) / real.sum(["replica", "mode"])
    words = _words("share of replicas and levels for which the prediction holds", r"P_\mathrm{valid}")
    found = {"valid_share": (order, share.transpose(*order).values, words)}
    attrs = {"long_name": "measured over predicted velocity", "symbol": r"\Delta x/\langle\Delta x\rangle"}
    ratio, signal = _quotient(above, below), _quotient(below, whole)
    told = signal.value > LEAST_SIGNAL
    found |= estimated("velocity_ratio", ratio.times(np.where(told, 1.0, np.nan)), order, attrs=attrs, interval=True)
    words = _words("share of the predicted drift's square that is no sampling error", "P_s")
    found["signal_share"] = (order, np.maximum(signal.value, 0.0), words)
    attrs = {"long_name": "measured over predicted variance", "symbol": r"\mathrm{Var}/T V \tau"}
    noise = _quotient(squares, counts, positive=True)
    return found | estimated("noise_ratio", noise, order, attrs=attrs, interval=True)


def _ahead(windows: Windows) -> dict[str, tuple]:
    """Where each level is expected at the end of its window."""
    order = windows.levels.dims
    ahead, spread = (
        (windows.levels + windows.drift).where(windows.valid),
        np.sqrt(windows.variance).where(windows.valid),
    )
    return {
        "predicted_eigenvalues": (order, ahead.values, _words("level expected at the window's end", "x")),
        "predicted_deviation": (order, spread.values, _words("deviation expected at the window's end", r"\delta x")),
    }


def _quotient(above: np.ndarray, below: np.ndarray, *, positive: bool = False) -> Estimate:
    """Quotient of sums over replicas with its jackknife error and Student's interval."""
    whole, parts = above.sum(axis=0), below.sum(axis=0)
    value = np.divide(whole, parts, out=np.full(parts.shape, np.nan), where=parts > 0)
    rest = parts - below
    left_out = np.divide(whole - above, rest, out=np.full(rest.shape, np.nan), where=rest > 0)
    count = len(above)
    error = np.sqrt((count - 1) * left_out.var(axis=0)) if count > 1 else np.full(value.shape, np.nan)
    return student_estimate(value, error, freedom=count - 1, positive=positive)


def _words(long_name: str, symbol: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1", "symbol": symbol}
