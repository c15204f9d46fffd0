"""Growth of the weights at many settings, on one clock."""

import itertools
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdphases.figures import selection
from sgdphases.figures.marks import MARKS, draw_levels, draw_mark
from sgdphases.figures.options import Collapse
from sgdphases.figures.style import INK, THEORY, kind, label, legend_below, new_figure, series_colours, value_label
from sgdphases.storage.cube import clock_of

WINDOW = "#e8eef6"
"""The window of the growth law."""


@kind
def collapse(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Collapse) -> Figure:
    """J² of every point, mean over its replicas, against one clock; and how far each is from the mean of all.

    Points with weight decay, which go another way, are left out, as in the fit.

    Args:
        cube: The cube.
        fits: Fits by name; `options.fit` gives the mean.
        options: What the card says.

    Returns:
        The figure.
    """
    fit = selection.fit_of(fits, options.fit)
    mean = selection.variable_of(fit, "squared_coupling")
    cell = _without_decay(selection.at_values(cube, options.at))
    square = selection.squared(selection.layer_of(selection.variable_of(cell, "coupling"), options.layer))
    square = selection.averaged(square, "mean")
    times = selection.coordinate_of(square, options.x)
    figure, axes = new_figure(1, 2, width=7.6, height=3.9, sharex=True)
    above, residual = axes[0]
    for passed, values, look in _lines(square, times, options):
        above.plot(passed, values, lw=1, alpha=0.9, **look)
        shift = _deviation(passed, values, mean[options.x].values, mean.values)
        residual.plot(mean[options.x].values, 100 * shift, lw=1, alpha=0.9, **look)
    above.plot(mean[options.x].values, mean.values, color=INK, lw=1.2, ls=(0, (3, 1.6)), label="mean of all points")
    draw_levels(above, [1.0])
    above.set(ylabel=label(square), xlabel=label(times))
    residual.set(ylabel="deviation from the mean [%]", xlabel=label(times))
    band = 100 * options.tolerance
    for side in (-band, band):
        residual.axhline(side, color=THEORY, lw=1, ls=(0, (1, 1.2)), label=rf"$\pm{band:g}\,\%$")
    draw_levels(residual, [0.0])
    _mark_times(axes[0], fit, times, options)
    residual.set_ylim(*_residual_limits(residual, fit, mean, options))
    legend_below(figure, *axes[0])
    return figure


def _without_decay(cell: xr.Dataset) -> xr.Dataset:
    """The points at which weights do not decay."""
    strength = selection.coordinate_of(cell, "weight_decay")
    return cell.isel({dim: np.flatnonzero(strength.values == 0) for dim in strength.dims})


def _lines(square: xr.DataArray, times: xr.DataArray, options: Collapse) -> list[tuple]:
    """Times, values, and colour and words of every point."""
    clock = clock_of(square)
    square, times = xr.broadcast(square, times)
    dims = [dim for dim in square.dims if dim != clock]
    group = None if options.group is None else selection.coordinate_of(square, options.group)
    values = [] if group is None else np.unique(group.values)
    count = int(np.prod([square.sizes[dim] for dim in dims])) if group is None else len(values)
    colours = series_colours(count)
    found = []
    for number, place in enumerate(itertools.product(*(range(square.sizes[dim]) for dim in dims))):
        at = dict(zip(dims, place, strict=True))
        look = {"color": colours[number]} if group is None else {}
        if group is not None:
            value = group.isel({dim: at[dim] for dim in group.dims}).item()
            look = {"color": colours[int(np.searchsorted(values, value))], "label": value_label(group, value)}
        found.append((times.isel(at).values, square.isel(at).values, look))
    return found


def _deviation(passed: np.ndarray, values: np.ndarray, times: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Share of the mean by which a curve exceeds it, at the mean's times; NaN beyond the curve's end."""
    known = np.isfinite(values)
    here = np.interp(times, passed[known], values[known], left=np.nan, right=np.nan)
    return here / mean - 1


def _mark_times(axes: np.ndarray, fit: xr.Dataset, times: xr.DataArray, options: Collapse) -> None:
    """Mark the window of the growth law and the time at which the mean passes one."""
    window = fit.attrs.get("window_flow_time", np.nan)
    if options.x == "epoch_time":
        rates = (times / times["flow_time"]).values if "flow_time" in times.coords else np.array([np.nan])
        rates = rates[np.isfinite(rates)]
        same = rates.size and np.allclose(rates, rates[0])
        window = window * rates[0] if same else np.nan
    for ax in axes:
        if np.isfinite(window):
            ax.axvspan(0, window, color=WINDOW, lw=0, zorder=0, label="window of the growth law")
        draw_mark(ax, fit, f"edge_{options.x}", options.at, look=MARKS[0])


def _residual_limits(ax: Axes, fit: xr.Dataset, mean: xr.DataArray, options: Collapse) -> tuple[float, float]:
    """Ends of the residuals' axis, in per cent."""
    if options.residuals is not None:
        return 100 * options.residuals[0], 100 * options.residuals[1]
    ordered = (mean.values <= 1) & (mean["flow_time"].values > 0)
    heights = [np.abs(line.get_ydata()[ordered]) for line in ax.lines if len(line.get_ydata()) == len(ordered)]
    known = np.concatenate([*heights, [100 * options.tolerance]])
    largest = 1.6 * float(known[np.isfinite(known)].max())
    return -largest, largest
