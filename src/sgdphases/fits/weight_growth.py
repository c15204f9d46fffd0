"""Growth of J² in a fixed window of flow time: its slope, the time to the edge, and the slope's exponents.

Sources: Zhang, Feng, Chen, Lai, arXiv 2107.09437, Eqs. 4 and 5, Fig. 3. The window matters: J² grows twice as fast in
the first epoch and bends upwards later, so that the slope of another window is another number.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, replica_mean, slopes
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.curves import (
    REACHED,
    finished,
    growth_window,
    mean_over,
    rises,
    squared_coupling,
)
from sgdphases.fits.grid import Grid, alike, described, grid_of, hidden, numbers, part_of
from sgdphases.fits.intervals import Estimate
from sgdphases.theory.weight_growth import epoch_time

FIT_POINTS = 25
"""Times of a fit, window · i/25 for i from 0 to 24: of the base run the even epochs 0 to 48, the authors' own."""

LEAST_POINTS = 5
EARLY = (0.1, 0.6)
"""Share of the window that leaves the first transient out: tau from 0.00625 to 0.0375."""

LARGEST_MOMENTUM = 0.9
"""Up to which the power law in 1/(1 - momentum) is claimed; the published slopes lie above it from 0.93 on."""

COLDEST_SWEEPS = 0.1 / 32
"""Largest learning_rate / ((1 - momentum) batch_size) of the sweeps from which Figure 3 of the paper reports exponents:
learning rate 0.1 or momentum 0.9 at 0.01, batch size 32. Past it the noise of SGD adds to the growth."""

LAWS = {"learning_rate": r"\eta", "momentum": r"1/(1-\beta)", "batch_size": "1/B"}


@dataclass(frozen=True)
class Lines:
    """Straight lines through J² in the window.

    Attributes:
        slope: dJ²/dτ, (replicas, points); NaN where the network diverged or the window is not reached.
        intercept: J² at τ = 0, (replicas, points).
        early: Slope in the early part of the window, (replicas, points).
        residual: Largest distance of the replicas' mean from its line, (points,).
        points: Recorded times used, (points,).
    """

    slope: Floats
    intercept: Floats
    early: Floats
    residual: Floats
    points: np.ndarray


def weight_growth(cube: xr.Dataset) -> xr.Dataset:
    """Slope of J² of the hidden square layer in the growth window, and the time at which J² comes to 1.

    Times are recorded ones, the nearest to 25 evenly spaced in the window; nothing is interpolated. An epoch is S/B
    updates, whatever a smaller last batch makes of it.

    Args:
        cube: With `coupling`, and `mean_coupling` where it was recorded.

    Returns:
        Over the grid `growth_constant` (k = dJ²/dτ, with interval), `early_growth_constant`, `growth_rate` (k/S),
        `slope_per_epoch` (A = kη/((1 - momentum)B)), `intercept`, each with `_error`; `largest_residual`,
        `window_points`, `replicas`; `edge_epoch` (first recorded epoch with J² ≥ 1), `edge_epoch_time` (interpolated),
        both only where all replicas pass 1; `start_squared_coupling`, `end_squared_coupling`, and
        `start_mean_coupling`, `largest_mean_coupling` (of J0, over time and replicas).

    Raises:
        ValueError: If the cube has no `coupling`.
    """
    grid = grid_of(cube)
    square = squared_coupling(cube, grid)
    lines = window_lines(square, grid, growth_window(cube, grid))
    found = _growth(cube, grid, lines)
    found |= _edge(cube, grid, square)
    found |= _ends(grid, square)
    if "mean_coupling" in cube:
        found |= _mean_coupling(grid, grid.curves(hidden(cube["mean_coupling"])))
    return finished(cube, grid, found, "growth of the hidden layer's disorder", reasons=_reasons(grid, lines))


def window_lines(square: Floats, grid: Grid, window: float) -> Lines:
    """Straight lines through J² in the window, replica by replica.

    Args:
        square: J², (replicas, points, times).
        grid: The points.
        window: Its end in s.

    Returns:
        The lines.
    """
    replicas, points, _ = square.shape
    slope, intercept, early = (np.full((replicas, points), np.nan) for _ in range(3))
    residual, used = np.full(points, np.nan), np.zeros(points, dtype=np.int64)
    for point, passed in enumerate(grid.flow_time):
        chosen = _chosen(passed, window)
        used[point] = chosen.size
        if passed[-1] < REACHED * window or chosen.size < LEAST_POINTS:
            continue
        time, values = passed[chosen] / grid.samples[point], square[:, point, chosen]
        slope[:, point] = _whole_slopes(time, values)
        intercept[:, point] = values.mean(axis=-1) - slope[:, point] * time.mean()
        mean = mean_over(values)
        residual[point] = np.abs(mean - mean.mean() - slopes(time, mean) * (time - time.mean())).max()
        start, end = (share * window * (1 + side * 1e-9) for share, side in zip(EARLY, (-1, 1), strict=True))
        inside = (passed >= start) & (passed <= end)
        early[:, point] = _whole_slopes(passed[inside] / grid.samples[point], square[:, point, inside])
    return Lines(slope, intercept, early, residual, used)


def _chosen(passed: Floats, window: float) -> np.ndarray:
    """Places of the recorded times that are nearest to evenly spaced ones."""
    inside = np.flatnonzero(passed <= window * (1 + 1e-3))
    wanted = window * np.arange(FIT_POINTS) / FIT_POINTS
    return np.unique(inside[np.abs(passed[inside, None] - wanted).argmin(axis=0)])


def _whole_slopes(time: Floats, values: Floats) -> Floats:
    """Slopes of the replicas that have a value at every time."""
    return np.where(np.isfinite(values).all(axis=-1), slopes(time, values), np.nan)


def per_epoch(cube: xr.Dataset, grid: Grid) -> Floats:
    """τ of an epoch of S/B updates, (points,)."""
    rate, size, momentum = (grid.on_points(cube[name]) for name in ("learning_rate", "batch_size", "momentum"))
    return epoch_time(1.0, learning_rate=rate, batch_size=size, momentum=momentum)


def _growth(cube: xr.Dataset, grid: Grid, lines: Lines) -> dict[str, tuple]:
    constant, factor = replica_mean(lines.slope), per_epoch(cube, grid)
    early, intercept = (replica_mean(values) for values in (lines.early, lines.intercept))
    window = "growth constant of the squared disorder"
    found = described(grid, "growth_constant", constant, (window, "k=dJ^2/d\\tau"), interval=True)
    found |= described(grid, "early_growth_constant", early, (f"{window}, early in the window", "k"))
    rate, slope = _times(constant, 1 / grid.samples), _times(constant, factor)
    found |= described(grid, "growth_rate", rate, ("growth of the squared disorder in flow time", "dJ^2/ds"))
    found |= described(grid, "slope_per_epoch", slope, ("growth of the squared disorder in an epoch", "A"))
    found |= described(grid, "intercept", intercept, ("squared disorder at the start by the line", "J^2(0)"))
    residual = {"long_name": "largest distance of the replicas' mean from its line", "units": "1", "symbol": "J^2"}
    points = {"long_name": "recorded times in the line", "units": "1", "symbol": "n"}
    count = {"long_name": "replicas in the line", "units": "1", "symbol": "R"}
    whole = np.isfinite(lines.slope).sum(axis=0)
    for name, values, attrs in (
        ("largest_residual", lines.residual, residual),
        ("window_points", lines.points, points),
        ("replicas", whole, count),
    ):
        found[name] = (grid.dims, values.reshape(grid.shape), attrs)
    return found


def _times(estimate: Estimate, factor: Floats) -> Estimate:
    return Estimate(*(part * factor for part in (estimate.value, estimate.error, estimate.low, estimate.high)))


def _edge(cube: xr.Dataset, grid: Grid, square: Floats) -> dict[str, tuple]:
    """When J² passes 1: the mean over replicas, where all that have not diverged do."""
    time = rises(grid.epoch_time, square, 1.0)
    passing = (np.isfinite(time) == np.isfinite(square[..., -1])).all(axis=0) & np.isfinite(time).any(axis=0)
    first = np.argmax(square >= 1.0, axis=-1)
    epoch = np.take_along_axis(grid.in_time(cube["epoch"])[None], first[..., None], axis=-1)[..., 0]
    found: dict[str, tuple] = {}
    for name, values, words in (
        ("edge_epoch", epoch, ("first epoch with $J^2 \\geq 1$", r"t_e")),
        ("edge_epoch_time", time, ("flow time per sample at a squared disorder of 1", r"\tau_e")),
    ):
        each = np.where(passing & np.isfinite(time), values, np.nan)
        found |= described(grid, name, replica_mean(each), words)
    return found


def _ends(grid: Grid, square: Floats) -> dict[str, tuple]:
    found: dict[str, tuple] = {}
    for name, place in (("start", 0), ("end", -1)):
        words = (f"squared disorder at the {name}", "J^2")
        found |= described(grid, f"{name}_squared_coupling", replica_mean(square[..., place]), words)
    return found


def _mean_coupling(grid: Grid, mean: Floats) -> dict[str, tuple]:
    start = replica_mean(mean[..., 0])
    found = described(grid, "start_mean_coupling", start, ("mean of the weights at the start", "J_0"))
    largest = np.where(np.isfinite(mean), np.abs(mean), 0.0).max(axis=(0, 2)).reshape(grid.shape)
    words = {"long_name": "largest mean of the weights, over time and replicas", "units": "1", "symbol": "|J_0|"}
    return found | {"largest_mean_coupling": (grid.dims, largest, words)}


def _reasons(grid: Grid, lines: Lines) -> list[str]:
    """Why slopes are missing."""
    reasons = []
    missing = np.isnan(lines.slope).all(axis=0)
    if missing.any():
        few = f"fewer than {LEAST_POINTS} recorded times in the growth window, or it is not reached"
        reasons.append(f"{int(missing.sum())} of {missing.size} points: {few}, or all replicas diverged")
    return reasons


def growth_exponents(cube: xr.Dataset) -> xr.Dataset:
    """Exponents of the slope A per epoch in η, 1/(1 - momentum) and 1/B, regressed together over all points.

    ln A is a sum of these logarithms; a point weighs as many replicas as it has, because two or three of them do not
    give it an error of its own. Only points without weight decay count, and of those the largest group that differs in
    nothing but η, momentum and B.

    Args:
        cube: With `coupling`.

    Returns:
        `learning_rate_exponent`, `momentum_exponent`, `batch_size_exponent` with `_error`, `_low`, `_high`, from points
        with momentum ≤ 0.9, and the same with the suffix `_all` from all of them and `_cold` from those as
        cold as the paper's own sweeps, η / ((1 - momentum) B) ≤ 0.1 / 32; NaN where the points do not tell
        (one value only, or two that always change together). `growth_constant_mean`, `growth_constant_median` and
        `growth_constant_deviation` over the points, `points`, `largest_relative_residual`, also with these suffixes.

    Raises:
        ValueError: If the cube has no `coupling`.
    """
    grid = grid_of(cube)
    lines = window_lines(squared_coupling(cube, grid), grid, growth_window(cube, grid))
    plain = grid.on_points(cube["weight_decay"]) == 0
    momentum = grid.on_points(cube["momentum"])
    heat = grid.on_points(cube["learning_rate"]) / ((1 - momentum) * grid.on_points(cube["batch_size"]))
    usual, cold = momentum <= LARGEST_MOMENTUM * (1 + 1e-12), heat <= COLDEST_SWEEPS * (1 + 1e-9)
    found: dict[str, tuple] = {}
    reasons = _reasons(grid, lines)
    for suffix, chosen in {"": usual, "_all": np.ones_like(usual), "_cold": usual & cold}.items():
        group = alike(cube, grid, tuple(LAWS), plain & chosen)
        used = group & np.isfinite(lines.slope).any(axis=0)
        found |= _exponents(cube, grid, lines.slope, used, suffix)
        reasons += [
            f"no {name}_exponent{suffix} from {used.sum()} points"
            for name in LAWS
            if np.isnan(found[f"{name}_exponent{suffix}"][1])
        ]
    return finished(cube, grid, found, "exponents of the growth of the hidden layer's disorder", reasons=reasons)


def _design(cube: xr.Dataset, grid: Grid, used: np.ndarray) -> Floats:
    """Logarithms of η, 1/(1 - momentum) and 1/B, (points, 3), each about its mean."""
    rate, momentum, size = (grid.on_points(cube[name])[used] for name in LAWS)
    logarithms = np.stack([np.log(rate), -np.log1p(-momentum), -np.log(size)], axis=1)
    return logarithms - logarithms.mean(axis=0) if used.any() else logarithms


def _exponents(cube: xr.Dataset, grid: Grid, slope: Floats, used: np.ndarray, suffix: str) -> dict[str, tuple]:
    """All scalars of one group of points."""
    design, factor = _design(cube, grid, used), per_epoch(cube, grid)[used]

    def exponents(constants: Floats) -> Floats:
        return _regressed(mean_over(constants) * factor, design, np.isfinite(constants).sum(axis=0))

    estimate = bootstrap(exponents, slope[:, used])
    found: dict[str, tuple] = {}
    for place, (name, symbol) in enumerate(LAWS.items()):
        words = (f"exponent of the growth in an epoch in {symbol}", rf"d\ln A/d\ln({symbol})")
        found |= numbers(f"{name}_exponent{suffix}", part_of(estimate, place), words, interval=True)
    words = {"long_name": "largest relative distance of a slope from the power law", "units": "1", "symbol": "A"}
    found[f"largest_relative_residual{suffix}"] = ((), estimate.value[3], words)
    return found | _constants(slope[:, used], suffix)


def _regressed(growth: Floats, design: Floats, replicas: np.ndarray) -> Floats:
    """Exponents (3) and the largest residual of ln A, by least squares with the replicas as weights."""
    found = np.full(len(LAWS) + 1, np.nan)
    known = growth > 0
    tells = [bool(np.ptp(column)) if known.any() else False for column in design[known].T]
    columns = np.column_stack([np.ones(known.sum()), design[known][:, tells]])
    if len(columns) < columns.shape[1]:
        return found
    height, weight = np.log(growth[known]), np.sqrt(replicas[known])
    fitted, _, rank, _ = np.linalg.lstsq(columns * weight[:, None], height * weight, rcond=1e-9)
    if rank == columns.shape[1]:
        found[:-1][tells] = fitted[1:]
        found[-1] = np.abs(height - columns @ fitted).max(initial=0.0)
    return found


def _constants(slope: Floats, suffix: str) -> dict[str, tuple]:
    """Mean, median and deviation of k over points."""

    def averages(constants: Floats) -> Floats:
        each = mean_over(constants)
        each = each[np.isfinite(each)]
        return np.array([each.mean(), np.median(each)]) if each.size else np.full(2, np.nan)

    estimate = bootstrap(averages, slope)
    found: dict[str, tuple] = {}
    for place, name in enumerate(("mean", "median")):
        words = (f"{name} growth constant of the points", "k")
        found |= numbers(f"growth_constant_{name}{suffix}", part_of(estimate, place), words, interval=True)
    each = mean_over(slope)
    known = each[np.isfinite(each)]
    words = {"long_name": "standard deviation of the growth constant over points", "units": "1", "symbol": "k"}
    found[f"growth_constant_deviation{suffix}"] = ((), known.std(ddof=1) if known.size > 1 else np.nan, words)
    words = {"long_name": "points in the regression", "units": "1", "symbol": "n"}
    found[f"points{suffix}"] = ((), int(known.size), words)
    return found
