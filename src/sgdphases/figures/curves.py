"""Measured or estimated numbers against one coordinate or in time, line by line."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdphases.figures import selection
from sgdphases.figures.marks import draw_fitted, draw_levels, draw_marks
from sgdphases.figures.options import Curves
from sgdphases.figures.style import (
    INK,
    headline,
    is_logarithmic,
    kind,
    label,
    new_figure,
    series_colours,
    value_label,
    value_ticks,
    wrapped,
)
from sgdphases.storage.cube import clock_of

DASHES = ("-", (0, (3, 1.4)), (0, (1, 1.2)), (0, (5, 2, 1, 2)))
"""Of the variables that share a panel."""


@kind
def curves(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Curves) -> Figure:
    """Variables against a coordinate: median of the replicas and their middle 68 %, one line a series.

    Args:
        cube: The cube.
        fits: Fits by name; those that the options name are read.
        options: What the card says.

    Returns:
        The figure.
    """
    source = cube if options.fit is None else selection.fit_of(fits, options.fit)
    source = selection.at_values(source, options.at)
    count = len(options.variables)
    columns = min(count, 3)
    rows = -(-count // columns)
    size = {"width": {1: 4.8, 2: 7.2}.get(columns, 9.0), "height": 0.6 + 2.6 * rows}
    figure, axes = new_figure(rows, columns, **size, sharex=True)
    for ax in axes.flat[count:]:
        ax.remove()
    for said, ax in zip(options.variables, axes.flat, strict=False):
        words = [said] if isinstance(said, str) else said
        _draw_panel(ax, source, fits, words, options)
        draw_marks(ax, fits, options)
        ax.set_xlabel(wrapped(label(selection.coordinate_of(source, options.x)), 34))
    headline(figure, selection.place_words(source, options.at, skip=("layer",)))
    _set_legend(figure, axes.flat[:count], source, options)
    return figure


def _draw_panel(
    ax: Axes, source: xr.Dataset, fits: Mapping[str, xr.Dataset], words: list[str], options: Curves
) -> None:
    """Draw the variables of one panel with what is said about each."""
    arrays = [_values(source, word, options) for word in words]
    looks = [
        {"color": colour, "linestyle": DASHES[place % len(DASHES)]}
        for place, colour in enumerate(series_colours(len(words)))
    ]
    for word, array, look in zip(words, arrays, looks, strict=True):
        error = None if word in options.squared else source.get(f"{word}_error")
        _draw_lines(ax, array, error, look, options)
        draw_levels(ax, options.levels.get(word, []))
        if word in options.fitted:
            draw_fitted(ax, source, selection.fit_of(fits, options.fitted[word]), options.x, options.at)
        if word in options.published:
            _draw_published(ax, fits, options.published[word], options)
    if words[0] in options.limits:
        ax.set_ylim(*options.limits[words[0]])
    if len(arrays) == 1:
        ax.set_ylabel(wrapped(label(arrays[0]), 32))
        return
    ax.set_ylabel(", ".join(dict.fromkeys(label(array, short=True) for array in arrays)))
    for array, look in zip(arrays, looks, strict=True):
        ax.plot([], [], label=label(array), **(look if options.series is None else look | {"color": INK}))


def _values(source: xr.Dataset, word: str, options: Curves) -> xr.DataArray:
    """Numbers of one variable: at one time, unless time is what they are drawn against."""
    array = _at_time(selection.as_numbers(selection.variable_of(source, word)), options)
    return selection.squared(array) if word in options.squared else array


def _at_time(array: xr.DataArray, options: Curves) -> xr.DataArray:
    """The array at one time, unless time lies along the axis or tells lines apart."""
    words = [options.x] if options.series is None else [options.x, options.series]
    if any(clock_of(array) in selection.coordinate_of(array, word).dims for word in words):
        return array
    return selection.at_step(array, options.step)


def _draw_lines(
    ax: Axes, array: xr.DataArray, error: xr.DataArray | None, look: dict[str, Any], options: Curves
) -> None:
    """Draw all series of one variable; colours tell them apart, where there are any."""
    array, column = selection.on_grid(array, options.x)
    array = _chosen_series(array, options)
    _refuse_open_axes(array, column, options)
    words = [options.x] if options.series is None else [options.x, options.series]
    frame = array.to_dataframe(name="value").reset_index()[[*words, "value"]].dropna()
    if options.scale == "log":
        frame = frame[frame["value"] > 0]
    if options.x_scale == "log":
        frame = frame[frame[options.x] > 0]
    in_time = column == clock_of(array)
    bars = {"err_style": "bars", "marker": "o", "markeredgecolor": "white", "markeredgewidth": 0.4}
    many = {"replica", *options.pool} & set(array.dims)
    drawn = look | {"estimator": "median", "errorbar": ("pi", 68) if many else None, "legend": False}
    drawn |= {"err_style": "band"} if in_time else bars
    if options.series is not None:
        names = np.unique(array[options.series].values)
        drawn |= {"hue": options.series, "palette": dict(zip(names, series_colours(len(names)), strict=True))}
    if len(frame):
        sns.lineplot(frame, x=options.x, y="value", ax=ax, **drawn)
        if error is not None and "replica" not in array.dims:
            _draw_errors(ax, array, _at_time(error, options), look["color"], options)
    ax.set(yscale=options.scale, ylabel="")
    along = array[options.x]
    if is_logarithmic(along) or options.x_scale == "log":
        ax.set_xscale("log")
        value_ticks(ax.xaxis, np.unique(along.values[along.values > 0]), decades=2)


def _chosen_series(array: xr.DataArray, options: Curves) -> xr.DataArray:
    """The array with a dimension along the series, where there is one, at the values that the card chooses."""
    if options.series is None:
        return array
    array, row = selection.on_grid(array, options.series)
    if not options.values:
        return array
    known = [selection.at_values(array, {options.series: value})[options.series].item() for value in options.values]
    return array.isel({row: np.isin(array[options.series].values, known)})


def _refuse_open_axes(array: xr.DataArray, column: Hashable, options: Curves) -> None:
    """Raise for an axis of which no line knows what to do."""
    taken = {column, "replica", *options.pool}
    if options.series is not None:
        taken |= {options.series, selection.on_grid(array, options.series)[1]}
    rest = [str(dim) for dim in array.dims if dim not in taken]
    if rest:
        raise ValueError(f"{array.name} also changes along {', '.join(rest)}; use the options at or pool")


def _draw_errors(ax: Axes, array: xr.DataArray, error: xr.DataArray, colour: object, options: Curves) -> None:
    """Draw the errors of estimates: bands around lines in time, bars elsewhere."""
    in_time = selection.on_grid(array, options.x)[1] == clock_of(array)
    # The error knows series that are not drawn.
    array, error = xr.broadcast(*xr.align(array, error, join="left"))
    if options.series is None:
        parts, colours = [{}], [colour]
    else:
        row = selection.on_grid(array, options.series)[1]
        order = np.argsort(array[options.series].values)
        parts, colours = [{row: place} for place in order], series_colours(len(order))
    for part, shade in zip(parts, colours, strict=True):
        line, spread = array.isel(part), error.isel(part).values
        along = line[options.x].broadcast_like(line).values
        known = np.isfinite(along) & np.isfinite(spread) & ((along > 0) | (options.x_scale != "log"))
        places, heights, spread = along[known], line.values[known], spread[known]
        if in_time:
            ax.fill_between(places, heights - spread, heights + spread, color=shade, alpha=0.2, lw=0)
        else:
            ax.errorbar(places, heights, yerr=spread, fmt="none", ecolor=shade, elinewidth=1)


def _draw_published(ax: Axes, fits: Mapping[str, xr.Dataset], word: str, options: Curves) -> None:
    """Mark published values that lie along the same coordinate."""
    told = selection.variable_of(selection.fit_of(fits, "published"), word)
    if options.x not in told.coords or told.ndim != 1:
        along = ", ".join(map(str, told.dims))
        raise ValueError(f"the published {word} lies along {along}, not along {options.x}")
    look = {"ls": "none", "marker": "D", "mfc": "white", "mec": INK, "ms": 4.5, "zorder": 4}
    ax.plot(told[options.x].values, told.values, label=f"published: {label(told)}", **look)


def _set_legend(figure: Figure, axes: np.ndarray, source: xr.Dataset, options: Curves) -> None:
    """Name the series and all marks at the right of all panels."""
    named: dict[str, object] = {}
    if options.series is not None:
        along = selection.coordinate_of(source, options.series)
        values = np.unique(options.values or along.values)
        colours = series_colours(len(values))
        for value, colour in list(zip(values, colours, strict=True))[::-1]:
            named[value_label(along, value)] = Line2D([], [], marker="o", color=colour)
    for ax in axes:
        for handle, said in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault(wrapped(said, 24), handle)
    if named:
        figure.legend(list(named.values()), list(named), loc="outside right upper", alignment="left")
