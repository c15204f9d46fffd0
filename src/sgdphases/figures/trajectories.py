"""Levels in time, cell by cell, with what the Langevin equation says of their velocities."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from sgdphases.figures import selection
from sgdphases.figures.options import Trajectories
from sgdphases.figures.style import (
    INK,
    THEORY,
    kind,
    label,
    legend_below,
    new_figure,
    series_colours,
    value_label,
    wrapped,
)


@kind
def trajectories(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Trajectories) -> Figure:
    """Levels against a clock, one column a cell; below, how they move compared with what a fit predicts.

    Thin lines are the modes of one replica, bands the middle 68 % of the largest and of the smallest mode over the
    replicas, dashes at the right the target's levels, dark strokes where the equation expects the levels at the next
    record.

    Args:
        cube: The cube.
        fits: Fits by name; `options.prediction` is read if it is there.
        options: What the card says.

    Returns:
        The figure.
    """
    fit = fits.get(options.prediction)
    cells = [selection.at_values(cube, {**options.at, **cell}) for cell in options.cells]
    columns = len(cells)
    size = {"width": max(4.0, 0.8 + 2.5 * columns), "height": 2.9 if fit is None else 4.8}
    figure, axes = new_figure(1 if fit is None else 2, columns, **size, sharex="col")
    for place, (cell, said) in enumerate(zip(cells, options.cells, strict=True)):
        predicted = None if fit is None else selection.at_values(fit, {**options.at, **said})
        _draw_levels(axes[0, place], cell, predicted, options)
        values = ", ".join(value_label(cube[word], value) for word, value in said.items())
        axes[0, place].set_title(selection.majority_word(cell, options.label), loc="left", fontweight="bold")
        axes[0, place].set_title(values, loc="right", fontsize=8)
        if predicted is not None:
            _draw_ratios(axes[1, place], cell, predicted, options)
        axes[-1, place].set_xlabel(label(selection.coordinate_of(cube, options.x)))
        for ax in axes[:, place] if place else ():
            ax.set_ylabel("")
    legend_below(figure, *axes[:, 0])
    return figure


def _clock(cell: xr.Dataset, word: str) -> np.ndarray:
    """Times of the records of a cell."""
    clock = selection.coordinate_of(cell, word)
    if clock.dims != ("step",):
        rest = [str(dim) for dim in clock.dims if dim != "step"]
        raise ValueError(f"{word} changes along {', '.join(rest) or 'no step'}; say in cells which value is meant")
    return clock.values.astype(float)


def _levels(cell: xr.Dataset, word: str) -> xr.DataArray:
    """Levels of a cell over replica, step and mode.

    Args:
        cell: One cell of the cube.
        word: The variable.

    Returns:
        The levels, without modes that are padding.

    Raises:
        ValueError: If the cell leaves another axis open.
    """
    levels = selection.variable_of(cell, word)
    rest = [str(dim) for dim in levels.dims if dim not in ("replica", "step", "mode")]
    if rest or "mode" not in levels.dims:
        raise ValueError(f"{word} has the axes {', '.join(map(str, levels.dims))}; say in cells which {rest} is meant")
    return levels.transpose("replica", "step", "mode").dropna("mode", how="all")


def _draw_levels(ax: Axes, cell: xr.Dataset, predicted: xr.Dataset | None, options: Trajectories) -> None:
    """Draw modes, bands, target and expected positions of one cell."""
    levels, times = _levels(cell, options.variable), _clock(cell, options.x)
    levels = levels.where(levels > 0)
    later = times > 0
    colours = series_colours(levels.sizes["mode"])
    one = selection.at_values(levels, {"replica": options.replica})
    for mode, colour in enumerate(colours):
        ax.plot(times[later], one.values[later, mode], color=colour, lw=0.8)
    if levels.sizes["replica"] > 1:
        for mode in (0, -1):
            low, high = (
                part.values[later] for part in selection.quantiles(levels.isel(mode=mode), "replica", 0.16, 0.84)
            )
            ax.fill_between(times[later], low, high, color=colours[mode], alpha=0.25, lw=0)
    ax.set(xscale="log", yscale="log", ylabel=wrapped(label(cell[options.variable]), 28))
    for ruler in (ax.xaxis, ax.yaxis):
        ruler.set_major_locator(LogLocator(base=10, numticks=6))
    if predicted is not None and "predicted_eigenvalues" in predicted:
        _draw_expected(ax, one, times, selection.at_values(predicted, {"replica": options.replica}))
    _mark_target(ax, cell, options)


def _draw_expected(ax: Axes, one: xr.DataArray, times: np.ndarray, predicted: xr.Dataset) -> None:
    """Draw a stroke from each level to where it is expected at the next record."""
    ahead = predicted["predicted_eigenvalues"].transpose("step", "mode").values
    now = one.values[:-1, : ahead.shape[1]]
    known = (times[:-1, None] > 0) & np.isfinite(ahead) & (ahead > 0) & (now > 0)
    start = np.broadcast_to(times[:-1, None], now.shape)
    end = np.broadcast_to(times[1:, None], now.shape)
    strokes = np.stack([np.stack([start, now], -1), np.stack([end, ahead], -1)], axis=-2)[known]
    said = label(predicted["predicted_eigenvalues"])
    ax.add_collection(LineCollection(list(strokes), colors=INK, linewidths=0.6, label=said), autolim=False)


def _mark_target(ax: Axes, cell: xr.Dataset, options: Trajectories) -> None:
    """Mark the levels of the target at the right border."""
    word = next((word for word in options.target if word in cell), None)
    if word is None:
        return
    target = selection.at_step(cell[word], "last")
    if "replica" in target.dims:
        target = selection.at_values(target, {"replica": options.replica})
    for place, level in enumerate(np.ravel(target.values)):
        if np.isfinite(level) and level > 0:
            ax.axhline(level, xmin=0.94, color=THEORY, lw=0.9, label=label(target) if not place else None)


def _draw_ratios(ax: Axes, cell: xr.Dataset, predicted: xr.Dataset, options: Trajectories) -> None:
    """Draw how measured velocities and variances compare with the predicted ones; they agree at one."""
    times = _clock(cell.sel(step=predicted["step"]), options.x)
    colours = series_colours(max(2, len(options.ratios)))
    for place, word in enumerate(options.ratios):
        ratio = selection.variable_of(predicted, word)
        if ratio.dims != ("step",):
            raise ValueError(
                f"{word} has the axes {', '.join(map(str, ratio.dims))}; say in cells which value is meant"
            )
        known = (times > 0) & np.isfinite(ratio.values)
        look = {"color": colours[place], "label": label(ratio), "lw": 1}
        if f"{word}_error" not in predicted:
            ax.plot(times[known], ratio.values[known], ls=(0, (1, 1.4)), **look)
            continue
        spread = np.nan_to_num(predicted[f"{word}_error"].values[known])
        marks = {"marker": "os^D"[place % 4], "ls": "none", "ms": 3.5, "elinewidth": 0.8}
        ax.errorbar(times[known], ratio.values[known], yerr=spread, **marks, **look)
    ax.axhline(1, color=INK, lw=0.8)
    ax.set_ylim(*options.ratio_limits)
    ax.set_ylabel("ratio")
