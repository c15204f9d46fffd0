"""Where the test loss is least on a network's way through the order-chaos diagram, and whether it is at the edge.

Losses are smoothed by a moving mean in flow time, because the minimum is flat and single epochs scatter by a part of
its depth. Sources: Zhang, Feng, Chen, Lai, arXiv 2107.09437, Fig. 2 (the optimum lies near J = 1; one run).
"""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, replica_mean
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.curves import (
    finished,
    interpolated,
    mean_over,
    moving_mean,
    rises,
    smoothing_width,
    squared_coupling,
)
from sgdphases.fits.grid import Grid, described, grid_of, part_of
from sgdphases.storage.cube import NO_VALUE

EDGE, BEFORE = 1.0, 0.8
"""J² at the edge, and where the flat minimum of the paper's base run begins."""

RESAMPLES = 500
VERDICTS = {0: "undecided", 1: "lower_at_edge", 2: "lower_before"}
"""CF flag values and meanings of the paired difference of test losses."""

PLACES = {
    "epoch": ("epoch", r"t_\mathrm{opt}"),
    "epoch_time": ("flow time per sample", r"\tau_\mathrm{opt}"),
    "flow_time": ("flow time", r"s_\mathrm{opt}"),
    "squared_coupling": ("squared disorder", r"J^2_\mathrm{opt}"),
    "coupling": ("disorder", r"J_\mathrm{opt}"),
}
LEVELS = {
    "test_loss": ("test loss", r"L_\mathrm{test}"),
    "test_accuracy": ("test accuracy", "a"),
    "validation_loss": ("validation loss", r"L_\mathrm{val}"),
    "validation_accuracy": ("validation accuracy", r"a_\mathrm{val}"),
}
ENDS = {
    "test_loss": ("test loss", r"L_\mathrm{test}"),
    "test_accuracy": ("test accuracy", "a"),
    "epoch_train_loss": ("training loss", "L"),
    "epoch_train_accuracy": ("training accuracy", r"a_\mathrm{train}"),
}


def optimum(cube: xr.Dataset) -> xr.Dataset:
    """The least smoothed test loss of the replicas' mean, and what the network is there, at the edge and at the end.

    Args:
        cube: With `coupling` and `test_loss`; any of `test_accuracy`, `validation_loss`, `validation_accuracy`,
            `epoch_train_loss`, `epoch_train_accuracy`.

    Returns:
        Over the grid, with `_error`, `_low`, `_high`: `optimum_epoch`, `optimum_epoch_time`, `optimum_flow_time`,
        `optimum_squared_coupling`, `optimum_coupling`, NaN where the minimum lies at an end of the smoothed run
        (`optimum_inside` then 0); `optimum_test_loss`, `optimum_test_accuracy` and what else was recorded;
        the same with `validation_optimum_` for the least validation loss. `edge_...` (smoothed, at J² = 1),
        `end_...` (the last record), `largest_test_accuracy` (smoothed) and `largest_test_accuracy_epoch`, with
        `_error`. `loss_difference`, the test loss at J² = 0.8 less that at J² = 1, paired by replica, with Student's
        interval, and its flag `loss_difference_verdict`. `replicas`.

    Raises:
        ValueError: If the cube has no `coupling` or no `test_loss`.
    """
    if "test_loss" not in cube:
        raise ValueError("fit optimum needs test_loss")
    grid = grid_of(cube)
    square = squared_coupling(cube, grid)
    smooth = smoothed_levels(cube, grid, square)
    found: dict[str, tuple] = {}
    for prefix, by in (("optimum", "test_loss"), ("validation_optimum", "validation_loss")):
        if by in smooth:
            found |= _optimum(cube, grid, square, smooth, prefix=prefix, by=by)
    found |= _edge(grid, square, smooth) | _end(cube, grid, square)
    if "test_accuracy" in smooth:
        found |= _largest(cube, grid, smooth["test_accuracy"])
    found |= _difference(grid, square, smooth["test_loss"])
    count = {"long_name": "replicas that have not diverged", "units": "1", "symbol": "R"}
    found["replicas"] = (grid.dims, np.isfinite(square[..., -1]).sum(axis=0).reshape(grid.shape), count)
    return finished(cube, grid, found, "where the test loss is least", reasons=_reasons(found))


def smoothed_levels(cube: xr.Dataset, grid: Grid, square: Floats) -> dict[str, Floats]:
    """Losses and accuracies after the moving mean.

    Args:
        cube: The cube.
        grid: Its points.
        square: J², (replicas, points, times); what has diverged is left out.

    Returns:
        Name to (replicas, points, times); NaN where the width reaches beyond the run.
    """
    width = smoothing_width(cube, grid)
    alive = np.isfinite(square)
    return {
        name: moving_mean(grid.flow_time, np.where(alive, grid.curves(cube[name]), np.nan), width)
        for name in LEVELS
        if name in cube
    }


def least(values: Floats) -> tuple[np.ndarray, np.ndarray]:
    """Place of the least mean over replicas.

    Args:
        values: (replicas, points, times).

    Returns:
        (place, whether it lies inside the values that there are), both (points,); place 0 where there are none.
    """
    mean = mean_over(values)
    known = np.isfinite(mean)
    place = np.where(known, mean, np.inf).argmin(axis=-1)
    first, last = known.argmax(axis=-1), known.shape[-1] - 1 - known[..., ::-1].argmax(axis=-1)
    return place, known.any(axis=-1) & (place > first) & (place < last)


def _optimum(
    cube: xr.Dataset, grid: Grid, square: Floats, smooth: dict[str, Floats], *, prefix: str, by: str
) -> dict[str, tuple]:
    """The place of the least `by`, and everything there; one bootstrap, so that errors belong together."""
    names = list(smooth)
    clocks = np.stack([grid.in_time(cube["epoch"]), grid.epoch_time, grid.flow_time])

    def read(loss: Floats, squares: Floats, *levels: Floats) -> Floats:
        """(places and levels, points)."""
        place, inside = least(loss)

        def there(curve: Floats) -> Floats:
            return np.take_along_axis(curve, place[:, None], axis=-1)[:, 0]

        mean = there(mean_over(squares))
        places = np.stack([*(there(clock) for clock in clocks), mean, np.sqrt(mean)])
        return np.concatenate([np.where(inside, places, np.nan), [there(mean_over(level)) for level in levels]])

    samples = (smooth[by], square, *(smooth[name] for name in names))
    estimate = bootstrap(read, samples, resamples=RESAMPLES)
    words = PLACES | {name: LEVELS[name] for name in names}
    found: dict[str, tuple] = {}
    for index, (name, (long_name, symbol)) in enumerate(words.items()):
        where = f"{long_name} where the {LEVELS[by][0]} is least"
        found |= described(grid, f"{prefix}_{name}", part_of(estimate, index), (where, symbol), interval=True)
    known = np.isfinite(smooth[by]).any(axis=(0, 2))
    flag = np.where(known, least(smooth[by])[1], NO_VALUE)
    found[f"{prefix}_inside"] = _flag(grid, flag, f"least {LEVELS[by][0]} lies inside the run", {0: "no", 1: "yes"})
    return found


def _flag(grid: Grid, values: np.ndarray, long_name: str, meanings: dict[int, str]) -> tuple:
    attrs = {"flag_values": np.array(list(meanings), dtype=np.int8), "flag_meanings": " ".join(meanings.values())}
    attrs |= {"long_name": long_name, "units": "1", "symbol": "i", "_FillValue": np.int8(NO_VALUE)}
    return grid.dims, values.astype(np.int8).reshape(grid.shape), attrs


def _edge(grid: Grid, square: Floats, smooth: dict[str, Floats]) -> dict[str, tuple]:
    """Losses and accuracies where each replica's J² passes 1."""
    time = rises(grid.flow_time, square, EDGE)
    found: dict[str, tuple] = {}
    for name, values in smooth.items():
        each = interpolated(grid.flow_time, values, time)
        words = (f"{LEVELS[name][0]} at a squared disorder of 1", LEVELS[name][1])
        found |= described(grid, f"edge_{name}", replica_mean(each), words)
    return found


def _end(cube: xr.Dataset, grid: Grid, square: Floats) -> dict[str, tuple]:
    """The last record."""
    alive = np.isfinite(square[..., -1])
    words = ("squared disorder at the end", "J^2")
    found = described(grid, "end_squared_coupling", replica_mean(square[..., -1]), words)
    for name, (long_name, symbol) in ENDS.items():
        if name in cube:
            last = np.where(alive, grid.curves(cube[name])[..., -1], np.nan)
            words = (f"{long_name} at the end", symbol)
            found |= described(grid, f"end_{name.removeprefix('epoch_')}", replica_mean(last), words)
    return found


def _largest(cube: xr.Dataset, grid: Grid, accuracy: Floats) -> dict[str, tuple]:
    """The largest smoothed test accuracy of the replicas' mean, and its epoch."""
    epoch = grid.in_time(cube["epoch"])

    def read(values: Floats) -> Floats:
        place, _ = least(-values)
        mean = mean_over(values)
        curves = (mean, np.where(np.isfinite(mean), epoch, np.nan))
        return np.stack([np.take_along_axis(curve, place[:, None], axis=-1)[:, 0] for curve in curves])

    estimate = bootstrap(read, accuracy, resamples=RESAMPLES)
    found: dict[str, tuple] = {}
    for index, (name, words) in enumerate(
        (
            ("largest_test_accuracy", ("largest test accuracy", "a")),
            ("largest_test_accuracy_epoch", ("epoch of the largest test accuracy", "t")),
        )
    ):
        found |= described(grid, name, part_of(estimate, index), words)
    return found


def _difference(grid: Grid, square: Floats, loss: Floats) -> dict[str, tuple]:
    """Test loss at J² = 0.8 less that at J² = 1, replica by replica."""
    places = (rises(grid.flow_time, square, level) for level in (BEFORE, EDGE))
    before, edge = (interpolated(grid.flow_time, loss, place) for place in places)
    estimate = replica_mean(before - edge)
    attrs = ("test loss at a squared disorder of 0.8 less that at 1", r"L(J^2=0.8)-L(J^2=1)")
    verdict = np.select([np.isnan(estimate.low), estimate.low > 0, estimate.high < 0], [NO_VALUE, 1, 2], 0)
    found = described(grid, "loss_difference", estimate, attrs, interval=True)
    words = "where the test loss is lower: at a squared disorder of 1, or of 0.8"
    return found | {"loss_difference_verdict": _flag(grid, verdict, words, VERDICTS)}


def _reasons(found: dict[str, tuple]) -> list[str]:
    """Why places are missing."""
    inside = found["optimum_inside"][1]
    reasons = []
    if (inside == 0).any():
        reasons.append(f"least test loss at an end of the smoothed run: {(inside == 0).sum()} of {inside.size} points")
    if (inside == NO_VALUE).any():
        missing = (inside == NO_VALUE).sum()
        reasons.append(f"run shorter than the smoothing, or diverged: {missing} of {inside.size} points")
    unseen = np.isnan(found["loss_difference"][1])
    if unseen.any():
        reasons.append(f"squared disorder does not rise through 0.8 and 1: {unseen.sum()} of {unseen.size} points")
    return reasons
