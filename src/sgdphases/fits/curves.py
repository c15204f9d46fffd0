"""Curves of the chaos study: its windows in flow time, moving means, rises through a level."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, labelled
from sgdphases.fits.grid import Grid, hidden

GROWTH_WINDOWS = {"fashion_mnist": 3750.0, "digits": 20.0}
"""End in s of the window in which J² is fitted by a line, by data set; elsewhere the whole schedule.

3750 is tau = 0.0625 of 60000 samples, about where J² comes to 1 (arXiv 2107.09437; the authors' window of 50 epochs of
their base run, whose length in epochs they must have scaled). It is one of flow time, not of epochs: a smaller training
set does not move it. On the digits J² is no straight line; s = 20 is where learning rates and batch sizes are compared.
"""

SMOOTHING_SHARE = 0.224
"""Width of the moving mean in growth windows: tau = 0.014 on Fashion-MNIST, 11 epochs of the base run."""

REACHED = 1 - 1e-3
"""Share of a window that must be recorded for it to count as reached: times are rounded to whole steps."""


def squared_coupling(cube: xr.Dataset, grid: Grid) -> Floats:
    """J² of the hidden square layer, (replicas, points, times); NaN throughout where a network has diverged.

    Args:
        cube: With `coupling`.
        grid: Its points.

    Returns:
        J².

    Raises:
        ValueError: If the cube has no `coupling`.
    """
    if "coupling" not in cube:
        raise ValueError("this fit needs coupling among the running observables")
    square = grid.curves(hidden(cube["coupling"])) ** 2
    return np.where(np.isfinite(square[..., -1:]), square, np.nan)


def growth_window(cube: xr.Dataset, grid: Grid) -> float:
    """End of the growth window in s: that of the data set, else that of the schedule which all points reach."""
    return GROWTH_WINDOWS.get(cube.attrs.get("dataset", ""), float(grid.flow_time[:, -1].min()))


def smoothing_width(cube: xr.Dataset, grid: Grid) -> float:
    """Full width of the moving mean, in s."""
    return SMOOTHING_SHARE * growth_window(cube, grid)


def moving_mean(time: Floats, values: Floats, width: float) -> Floats:
    """Mean over the records within half a width of each, NaN where the width reaches beyond the run.

    Args:
        time: (points, times).
        values: (..., points, times).
        width: Full width, in units of time.

    Returns:
        Shape of the values; NaN where a record inside is.
    """
    smooth = np.empty_like(values)
    slack = width * 1e-6
    for point, places in enumerate(time):
        inside = (np.abs(places[:, None] - places) <= width / 2 + slack).astype(np.float64)
        known = np.isfinite(values[..., point, :])
        total = np.where(known, values[..., point, :], 0.0) @ inside.T
        whole = (places - width / 2 >= places[0] - slack) & (places + width / 2 <= places[-1] + slack)
        whole = whole & (known @ inside.T == inside.sum(axis=1))
        smooth[..., point, :] = np.where(whole, total / inside.sum(axis=1), np.nan)
    return smooth


def rise(places: Floats, values: Floats, level: float, *, lasting: bool = False) -> Floats:
    """Where a curve rises through a level, interpolated between neighbouring records.

    Args:
        places: Abscissae, one or several, (..., n).
        values: (n,); records that are NaN are skipped.
        level: The level.
        lasting: The last rise, and only if the curve then stays at or above the level to its end; else the first.

    Returns:
        The abscissae there, (...); NaN if the curve does not rise through the level.
    """
    known = np.isfinite(values)
    height, where = values[known] - level, places[..., known]
    found = np.flatnonzero((height[:-1] < 0) & (height[1:] >= 0))
    if not found.size or (lasting and height[-1] < 0):
        return np.full(places.shape[:-1], np.nan)
    index = found[-1 if lasting else 0]
    share = height[index] / (height[index] - height[index + 1])
    return where[..., index] + share * (where[..., index + 1] - where[..., index])


def rises(time: Floats, values: Floats, level: float) -> Floats:
    """First rise through a level of every curve.

    Args:
        time: (points, times).
        values: (replicas, points, times).
        level: The level.

    Returns:
        Times, (replicas, points), NaN where a curve does not rise through the level.
    """
    return np.array([[rise(t, row, level) for t, row in zip(time, rows, strict=True)] for rows in values])


def interpolated(time: Floats, values: Floats, places: Floats) -> Floats:
    """Curves at times of their own, NaN outside what is recorded.

    Args:
        time: (points, times).
        values: (replicas, points, times).
        places: (replicas, points).

    Returns:
        Shape (replicas, points).
    """
    found = np.full(places.shape, np.nan)
    for replica, point in np.ndindex(*places.shape):
        place, curve = places[replica, point], values[replica, point]
        known = np.isfinite(curve)
        if np.isfinite(place) and known.any():
            found[replica, point] = np.interp(place, time[point, known], curve[known], left=np.nan, right=np.nan)
    return found


def mean_over(values: Floats) -> Floats:
    """Mean over the first axis, leaving out NaN; NaN where nothing is left."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def finished(
    cube: xr.Dataset, grid: Grid, found: Mapping[str, tuple], about: str, reasons: Sequence[str] = ()
) -> xr.Dataset:
    """The dataset of a chaos fit: estimates, coordinates, the windows that it used, and what it could not do.

    Args:
        cube: Where the estimates come from.
        grid: Its points.
        found: Name to (dimensions, values, attributes).
        about: One line about the fit.
        reasons: Why estimates are missing.

    Returns:
        The dataset.
    """
    made = labelled(cube, found, about)
    if grid.clock in made.dims:
        times = (name for name in ("step", "epoch") if name in cube.coords)
        made = made.assign_coords({n: cube[n] for n in times if set(cube[n].dims) <= set(made.dims)})
    return made.assign_attrs(
        window_flow_time=growth_window(cube, grid),
        smoothing_flow_time=smoothing_width(cube, grid),
        reason="; ".join(dict.fromkeys(reasons)),
    )
