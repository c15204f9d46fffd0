"""Weight decay: where J² comes to rest, and the strength that lets it rest at the edge, by formula and as found.

The guideline λ* = k/(4S) takes k from a run without decay; with decay the loss gradient stays larger, so that the
constant of the resting state, 4SλJ²(∞), is another one. Both are given, never mixed. λ is `l2_strength`, half of
`weight_decay`. Sources: Zhang, Feng, Chen, Lai, arXiv 2107.09437, Eqs. 6 to 9, Fig. 6.
"""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, replica_mean, slopes
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.curves import (
    finished,
    growth_window,
    interpolated,
    mean_over,
    rise,
    squared_coupling,
)
from sgdphases.fits.grid import Grid, alike, described, grid_of, numbers, part_of
from sgdphases.fits.optimum import least, smoothed_levels
from sgdphases.fits.weight_growth import window_lines
from sgdphases.storage.cube import NO_VALUE
from sgdphases.theory.weight_growth import l2_strength, stationary_l2_strength

TIMES = (0.031, 0.063, 0.125, 0.19, 0.24)
"""τ at which J² is given."""

LAST = 0.2
"""Share of the run at its end over which a drift is measured."""

REST = 0.05
"""Relative change of J² over the last fifth below which it is said to rest."""

FLAGS = {0: "moving", 1: "at_rest"}

LAWS = {
    "growth_constant": ("growth constant without decay", "k"),
    "l2_formula": ("L2 strength of the guideline", r"\lambda^*=k/4S"),
    "l2_empirical": ("L2 strength at which the squared disorder ends at 1", r"\lambda_1"),
    "l2_ratio": ("L2 strength found over that of the guideline", r"\lambda_1/\lambda^*"),
}


def decay(cube: xr.Dataset) -> xr.Dataset:
    """J² under weight decay, λJ² and its constant, and the strengths that put it at the edge.

    Args:
        cube: With `coupling` over `weight_decay` (an axis, or among the points of a star); `test_accuracy`,
            `test_loss`.

    Returns:
        Over weight_decay, with `l2_strength`: `end_squared_coupling`, `end_drift` (relative change over the last fifth
        of the run), `stationary` (flag), `squared_coupling_at` (also over `at_epoch_time`), `l2_times_squared_coupling`
        (λJ² at the end), `end_growth_constant` (4SλJ²), and, smoothed, `end_test_accuracy`, `end_test_loss` (the last
        full width), `largest_test_accuracy`. `growth_constant` (k of the growth window at λ = 0), `l2_formula`
        (k/4S), `l2_empirical` (J² at the end is 1; ln J² is interpolated in ln λ), `l2_ratio`, `best_l2` (of the
        largest `end_test_accuracy`). With `_error`, numbers also with `_low`, `_high`.

    Raises:
        ValueError: If the cube has no `coupling` or no two values of weight_decay that differ in nothing else.
    """
    line = _line(cube)
    grid = grid_of(line)
    square = squared_coupling(line, grid)
    strength = l2_strength(grid.on_points(line["weight_decay"]))
    found = _ends(grid, square, strength)
    found |= _at(grid, square)
    found |= _levels(line, grid, square, strength)
    laws, reasons = _laws(grid, square, strength, growth_window(line, grid))
    made = finished(line, grid, found | laws, "where weight decay brings the hidden layer's disorder", reasons)
    words = {"long_name": "flow time per sample", "units": "1", "symbol": r"\tau"}
    return made.assign_coords(at_epoch_time=("at_epoch_time", list(TIMES), words))


def _line(cube: xr.Dataset) -> xr.Dataset:
    """The cube along weight_decay alone: the largest group of points that differ in nothing else."""
    grid = grid_of(cube)
    group = np.flatnonzero(alike(cube, grid, ("weight_decay",), np.ones(grid.flow_time.shape[0], dtype=bool)))
    if group.size < 2:
        raise ValueError("fit decay needs several values of weight_decay that differ in nothing else")
    places = np.unravel_index(group, grid.shape)
    axis = next(dim for dim, place in zip(grid.dims, places, strict=True) if np.ptp(place))
    line = cube.isel({dim: place if dim == axis else place[0] for dim, place in zip(grid.dims, places, strict=True)})
    line = line.swap_dims({axis: "weight_decay"}) if axis != "weight_decay" else line
    line = line.sortby("weight_decay")
    return line if "l2_strength" in line.coords else line.assign_coords(l2_strength=line["weight_decay"] / 2)


def _ends(grid: Grid, square: Floats, strength: Floats) -> dict[str, tuple]:
    """J² at the end, whether it rests, and λJ²."""
    end = replica_mean(square[..., -1])
    product = bootstrap(lambda s: mean_over(s) * strength, square[..., -1])
    constant = bootstrap(lambda s: 4 * grid.samples * mean_over(s) * strength, square[..., -1])
    drift = replica_mean(_drift(grid, square))
    found = described(grid, "end_squared_coupling", end, ("squared disorder at the end", "J^2"))
    words = ("relative change of the squared disorder over the last fifth of the run", r"\Delta J^2/J^2")
    found |= described(grid, "end_drift", drift, words)
    found |= described(
        grid, "l2_times_squared_coupling", product, ("L2 strength times the final squared disorder", r"\lambda J^2")
    )
    words = ("growth constant that the decay balances at the end", r"4S\lambda J^2")
    found |= described(grid, "end_growth_constant", constant, words)
    flag = np.where(np.isfinite(drift.value), np.abs(drift.value) < REST, NO_VALUE).astype(np.int8)
    attrs = {"flag_values": np.array(list(FLAGS), dtype=np.int8), "flag_meanings": " ".join(FLAGS.values())}
    attrs |= {"long_name": "whether the squared disorder rests", "units": "1", "symbol": "i"}
    found["stationary"] = (grid.dims, flag, attrs | {"_FillValue": np.int8(NO_VALUE)})
    return found


def _drift(grid: Grid, square: Floats) -> Floats:
    """Slope over the last fifth, times its length, over J² at the end: (replicas, points)."""
    found = np.full(square.shape[:2], np.nan)
    for point, passed in enumerate(grid.flow_time):
        late = passed >= (1 - LAST) * passed[-1] * (1 - 1e-9)
        if late.sum() > 1:
            length = LAST * passed[-1]
            found[:, point] = slopes(passed[late], square[:, point, late]) * length / square[:, point, -1]
    return found


def _at(grid: Grid, square: Floats) -> dict[str, tuple]:
    """J² at given times."""
    each = [interpolated(grid.epoch_time, square, np.full(square.shape[:2], time)) for time in TIMES]
    estimate = replica_mean(np.stack(each, axis=-1))
    words = ("squared disorder at a flow time per sample", r"J^2(\tau)")
    return described(grid, "squared_coupling_at", estimate, words, "at_epoch_time")


def _levels(cube: xr.Dataset, grid: Grid, square: Floats, strength: Floats) -> dict[str, tuple]:
    """Test accuracy and loss against λ."""
    smooth = smoothed_levels(cube, grid, square)
    found: dict[str, tuple] = {}
    for name, words in (
        ("test_accuracy", ("test accuracy at the end", "a")),
        ("test_loss", ("test loss at the end", r"L_\mathrm{test}")),
    ):
        if name in smooth:
            found |= described(grid, f"end_{name}", replica_mean(_last(smooth[name])), words)
    if "test_accuracy" not in smooth:
        return found

    def largest(accuracy: Floats) -> Floats:
        place, _ = least(-accuracy)
        return np.take_along_axis(mean_over(accuracy), place[:, None], axis=-1)[:, 0]

    def best(last: Floats) -> Floats:
        mean = mean_over(last)
        return strength[np.nanargmax(mean)] if np.isfinite(mean).any() else np.nan

    estimate = bootstrap(largest, smooth["test_accuracy"])
    found |= described(grid, "largest_test_accuracy", estimate, ("largest test accuracy", "a"))
    words = ("L2 strength of the best test accuracy at the end", r"\lambda_\mathrm{best}")
    estimate = bootstrap(best, _last(smooth["test_accuracy"]))
    return found | numbers("best_l2", estimate, words, interval=True)


def _last(smooth: Floats) -> Floats:
    """The last smoothed value, (replicas, points)."""
    known = np.isfinite(smooth)
    place = known.shape[-1] - 1 - known[..., ::-1].argmax(axis=-1)
    return np.take_along_axis(smooth, place[..., None], axis=-1)[..., 0]


def _laws(grid: Grid, square: Floats, strength: Floats, window: float) -> tuple[dict[str, tuple], list[str]]:
    """λ of the guideline and λ as found, with the reasons why one is missing."""
    plain = np.flatnonzero(strength == 0)
    samples = grid.samples[0]
    missing = np.full(len(square), np.nan)
    constant = window_lines(square, grid, window).slope[:, plain[0]] if plain.size else missing

    def laws(end: Floats, constants: Floats) -> Floats:
        k = float(mean_over(constants[:, None])[0])
        formula = stationary_l2_strength(samples, growth_constant=k)
        empirical = _empirical(strength, mean_over(end))
        return np.array([k, formula, empirical, empirical / formula])

    estimate = bootstrap(laws, (square[..., -1], constant))
    found: dict[str, tuple] = {}
    for place, (name, words) in enumerate(LAWS.items()):
        found |= numbers(name, part_of(estimate, place), words, interval=True)
    reasons = [] if plain.size else ["no run without weight decay: no l2_formula"]
    if plain.size and np.isnan(estimate.value[0]):
        reasons.append("the run without weight decay does not give a growth constant: no l2_formula")
    if np.isnan(estimate.value[2]):
        reasons.append("the final squared disorder does not pass 1 between two weight decays: no l2_empirical")
    return found, reasons


def _empirical(strength: Floats, end: Floats) -> float:
    """λ at which the final J² is 1."""
    usable = (strength > 0) & (end > 0)
    # From strong to weak, so that J² rises.
    places, heights = np.log(strength[usable])[::-1], np.log(end[usable])[::-1]
    return float(np.exp(rise(places, heights, 0.0)))
