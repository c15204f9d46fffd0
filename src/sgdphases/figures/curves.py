"""Measured numbers against one coordinate, line by line."""

from collections.abc import Mapping

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdphases.figures import selection
from sgdphases.figures.options import Curves
from sgdphases.figures.style import (
    INK,
    is_logarithmic,
    kind,
    label,
    log_ticks,
    new_figure,
    series_colours,
    value_label,
    wrapped,
)


@kind
def curves(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Curves) -> Figure:
    """Variables against a coordinate: median of the replicas, bars over their middle 68 %, one line a series.

    Args:
        cube: The cube.
        fits: Fits by name; `published` is read for marks.
        options: What the card says.

    Returns:
        The figure.
    """
    count = len(options.variables)
    columns = min(count, 3)
    rows = -(-count // columns)
    size = {"width": {1: 4.8, 2: 7.2}.get(columns, 9.0), "height": 0.6 + 2.6 * rows}
    figure, axes = new_figure(rows, columns, **size, sharex=True)
    for ax in axes.flat[count:]:
        ax.remove()
    for word, ax in zip(options.variables, axes.flat, strict=False):
        array = selection.variable_of(cube, word)
        array = selection.as_numbers(selection.at_step(selection.at_values(array, options.at), options.step))
        _draw_lines(ax, array, options)
        if word in options.published:
            _draw_published(ax, fits, options.published[word], options)
        ax.set(ylabel=wrapped(label(array), 32), xlabel=label(selection.coordinate_of(cube, options.x)))
    _set_legend(figure, axes, cube, options)
    return figure


def _draw_lines(ax: Axes, array: xr.DataArray, options: Curves) -> None:
    """Draw all series of one variable."""
    array, column = selection.on_grid(array, options.x)
    if options.series is not None:
        array, row = selection.on_grid(array, options.series)
        if options.values:
            known = [
                selection.at_values(array, {options.series: value})[options.series].item() for value in options.values
            ]
            array = array.isel({row: np.isin(array[options.series].values, known)})
    rest = [dim for dim in array.dims if dim not in (column, "replica", *options.pool, options.series)]
    rest = [dim for dim in rest if options.series is None or dim != row]
    if rest:
        raise ValueError(f"{array.name} also changes along {', '.join(map(str, rest))}; use the options at or pool")
    words = [options.x] if options.series is None else [options.x, options.series]
    frame = array.to_dataframe(name="value").reset_index()[[*words, "value"]].dropna()
    if options.scale == "log":
        frame = frame[frame["value"] > 0]
    look = {"estimator": "median", "errorbar": ("pi", 68), "err_style": "bars", "marker": "o", "legend": False}
    if options.series is None:
        look["color"] = series_colours(1)[0]
    else:
        names = np.unique(array[options.series].values)
        look |= {"hue": options.series, "palette": dict(zip(names, series_colours(len(names)), strict=True))}
    if len(frame):
        sns.lineplot(frame, x=options.x, y="value", ax=ax, markeredgecolor="white", markeredgewidth=0.4, **look)
    ax.set_yscale(options.scale)
    along = array[options.x]
    if is_logarithmic(along):
        ax.set_xscale("log")
        log_ticks(ax.xaxis, along.values)


def _draw_published(ax: Axes, fits: Mapping[str, xr.Dataset], word: str, options: Curves) -> None:
    """Mark published values that lie along the same coordinate."""
    told = selection.variable_of(selection.fit_of(fits, "published"), word)
    if options.x not in told.coords or told.ndim != 1:
        along = ", ".join(map(str, told.dims))
        raise ValueError(f"the published {word} lies along {along}, not along {options.x}")
    look = {"ls": "none", "marker": "D", "mfc": "white", "mec": INK, "ms": 4.5, "zorder": 4}
    ax.plot(told[options.x].values, told.values, label=label(told), **look)


def _set_legend(figure: Figure, axes: np.ndarray, cube: xr.Dataset, options: Curves) -> None:
    """Name the series and the published marks at the right of all panels."""
    handles: list[Line2D] = []
    names: list[str] = []
    if options.series is not None:
        along = selection.coordinate_of(cube, options.series)
        values = np.unique(options.values or along.values)
        handles = [Line2D([], [], marker="o", color=colour) for colour in series_colours(len(values))][::-1]
        names = [value_label(along, value) for value in values][::-1]
    for ax in axes.flat:
        found, said = ax.get_legend_handles_labels()
        handles += found
        names += [wrapped(f"published: {word}", 20) for word in said]
    if handles:
        figure.legend(handles, names, loc="outside right upper", alignment="left")
