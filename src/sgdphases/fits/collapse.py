"""Do all learning rates, momenta and batch sizes lie on one curve J²(τ), and how far do they fan out past the edge?

Sources: Zhang, Feng, Chen, Lai, arXiv 2107.09437, Figs. 4 and 5.
"""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.curves import finished, growth_window, mean_over, rise, squared_coupling
from sgdphases.fits.grid import Grid, alike, described, grid_of, numbers, part_of
from sgdphases.fits.optimum import least, smoothed_levels
from sgdphases.quantities import attributes

FREE = ("learning_rate", "momentum", "batch_size")
EDGE, FAR = 1.0, 1.5
"""J² up to which the curves fall on one, and from which they are said to fan out."""

SCORES = {
    "spread_below": ("largest spread up to a squared disorder of 1", r"\Delta J^2/J^2"),
    "deviation_below": ("largest deviation up to a squared disorder of 1", r"\delta J^2/J^2"),
    "spread_window": ("largest spread in the growth window", r"\Delta J^2/J^2"),
    "spread_above": ("largest spread from a squared disorder of 1.5 on", r"\Delta J^2/J^2"),
    "edge_flow_time": ("flow time at which the mean curve passes 1", "s_e"),
    "edge_epoch_time": ("flow time per sample at which the mean curve passes 1", r"\tau_e"),
}


def collapse(cube: xr.Dataset) -> xr.Dataset:
    """Spread of J² over the points at common flow times, and of their least test losses.

    Only points without weight decay count, and of those the largest group that differs in nothing but learning rate,
    momentum and batch size. Times are those of the flow-time clock, or of the point that was recorded least often, up
    to the shortest run; the other curves are interpolated.

    Args:
        cube: With `coupling`, and `test_loss` for the minima.

    Returns:
        Over `flow_time` (with `epoch_time`): `squared_coupling`, mean over points, `spread` ((max - min)/mean of the
        points' replica means), `deviation` (standard deviation over mean), each with `_error`, and
        `deviation_of_replicas`, what the scatter of the replicas alone would make of the latter. The scores
        `spread_below`, `deviation_below` (largest at s > 0 while J² ≤ 1), `spread_window`, `spread_above` (J² ≥ 1.5),
        `edge_flow_time`, `edge_epoch_time`, with `_error`. Over the grid `minimal_test_loss` (smoothed; NaN where the
        minimum is at an end) and `minimal_test_loss_spread`, its largest less its smallest value. `points`.

    Raises:
        ValueError: If the cube has no `coupling`.
    """
    grid = grid_of(cube)
    square = squared_coupling(cube, grid)
    plain = grid.on_points(cube["weight_decay"]) == 0
    used = alike(cube, grid, FREE, plain) & np.isfinite(square[..., -1]).any(axis=0)
    words = {"long_name": "points on the curve", "units": "1", "symbol": "n"}
    found: dict[str, tuple] = {"points": ((), int(used.sum()), words)}
    reasons = []
    if used.sum() > 1:
        found |= _curves(cube, grid, square, used)
        missing = [name for name in SCORES if np.isnan(found[name][1])]
        reasons += [f"{name}: the curve does not come there" for name in missing]
    else:
        reasons.append("fewer than two points that differ in learning rate, momentum or batch size")
    if "test_loss" in cube:
        found |= _minima(cube, grid, square, used)
    made = finished(cube, grid, found, "one curve of the disorder in flow time", reasons)
    return _timed(made, _times(cube, grid, used), grid.samples[used]) if used.sum() > 1 else made


def _timed(made: xr.Dataset, times: Floats, samples: Floats) -> xr.Dataset:
    clocks = {"flow_time": times, "epoch_time": times / samples[0]}
    return made.assign_coords({name: ("flow_time", clock, attributes(name)) for name, clock in clocks.items()})


def _times(cube: xr.Dataset, grid: Grid, used: np.ndarray) -> Floats:
    """Common times in s."""
    shortest = grid.flow_time[used, -1].min()
    if grid.clock == "flow_time":
        # The last time of a point may be rounded to a step before the nominal one.
        return np.minimum(cube["flow_time"].values.astype(np.float64), shortest)
    rare = (grid.flow_time[used] <= shortest * (1 + 1e-9)).sum(axis=1).argmin()
    times = grid.flow_time[used][rare]
    return np.unique(np.append(times[times <= shortest], shortest))


def _curves(cube: xr.Dataset, grid: Grid, square: Floats, used: np.ndarray) -> dict[str, tuple]:
    times = _times(cube, grid, used)
    common = np.stack(
        [
            [np.interp(times, t, row) for t, row in zip(grid.flow_time[used], rows, strict=True)]
            for rows in square[:, used]
        ]
    )
    window, samples = growth_window(cube, grid), float(grid.samples[used][0])

    def read(curves: Floats) -> Floats:
        """Mean, spread and deviation over times, and the scores, in one row."""
        each = mean_over(curves)
        each = each[np.isfinite(each).all(axis=-1)]
        if len(each) < 2:
            return np.full(3 * times.size + len(SCORES), np.nan)
        mean = each.mean(axis=0)
        spread, deviation = np.ptp(each, axis=0) / mean, each.std(axis=0, ddof=1) / mean
        return np.concatenate([mean, spread, deviation, _scores(times, mean, spread, deviation, window, samples)])

    estimate = bootstrap(read, common)
    found: dict[str, tuple] = {}
    for place, (name, words) in enumerate(
        {
            "squared_coupling": ("squared disorder, mean over points", "J^2"),
            "spread": ("spread of the points over their mean", r"\Delta J^2/J^2"),
            "deviation": ("standard deviation of the points over their mean", r"\delta J^2/J^2"),
        }.items()
    ):
        part = part_of(estimate, slice(place * times.size, (place + 1) * times.size))
        found |= numbers(name, part, words, "flow_time")
    for place, (name, words) in enumerate(SCORES.items()):
        found |= numbers(name, part_of(estimate, 3 * times.size + place), words)
    words = {"long_name": "deviation that the replicas' scatter alone gives", "units": "1", "symbol": r"\delta J^2/J^2"}
    found["deviation_of_replicas"] = (("flow_time",), _of_replicas(common), words)
    return found


def _scores(
    times: Floats, mean: Floats, spread: Floats, deviation: Floats, window: float, samples: float
) -> list[float]:
    """Values of `SCORES`."""

    def largest(values: Floats, where: np.ndarray) -> float:
        return float(values[where].max()) if where.any() else np.nan

    moving = times > 0
    below = moving & (mean <= EDGE)
    edge = float(rise(times, mean, EDGE))
    window_spread = largest(spread, moving & (times <= window * (1 + 1e-9)))
    return [
        largest(spread, below),
        largest(deviation, below),
        window_spread,
        largest(spread, mean >= FAR),
        edge,
        edge / samples,
    ]


def _of_replicas(common: Floats) -> Floats:
    """Deviation of means of replicas that scatter about one curve, (times,)."""
    known = np.isfinite(common)
    count = known.sum(axis=0)
    centre = mean_over(common)
    square = np.where(known, common - centre, 0.0) ** 2
    freedom = count * (count - 1)
    variance = np.divide(square.sum(axis=0), freedom, out=np.full(count.shape, np.nan), where=freedom > 0)
    return np.sqrt(mean_over(variance)) / mean_over(centre)


def _minima(cube: xr.Dataset, grid: Grid, square: Floats, used: np.ndarray) -> dict[str, tuple]:
    """Least smoothed test losses of the points that are compared."""
    smooth = smoothed_levels(cube, grid, square)["test_loss"]

    def read(loss: Floats) -> Floats:
        """Minimum of each point, then their spread."""
        place, inside = least(loss)
        minimum = np.take_along_axis(mean_over(loss), place[:, None], axis=-1)[:, 0]
        minimum = np.where(inside & used, minimum, np.nan)
        known = minimum[np.isfinite(minimum)]
        return np.append(minimum, np.ptp(known) if known.size > 1 else np.nan)

    estimate = bootstrap(read, smooth)
    symbol = r"\min L_\mathrm{test}"
    found = described(grid, "minimal_test_loss", part_of(estimate, slice(0, -1)), ("least test loss", symbol))
    words = ("largest less smallest least test loss of the points", rf"\Delta {symbol}")
    return found | numbers("minimal_test_loss_spread", part_of(estimate, -1), words)
