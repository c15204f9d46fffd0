"""Speed and displacement of networks that walk away from one start, beside fitted laws and predictions.

Figure 1 of Kunin et al., arXiv 2107.09133: the squared length of a step stays what it is, and the squared distance
grows as a power of time.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from sgdphases.choices import one_of
from sgdphases.figures import selection
from sgdphases.figures.diffusion_options import Displacements
from sgdphases.figures.style import INK, headline, kind, label, new_figure, series_colours, value_label, wrapped

DASHES = {"exact": (0, (4, 1.4)), "tail": (0, (5, 2, 1, 2)), "paper": (0, (1, 1.2))}
"""Of ways to predict, in both panels."""
FITTED = {"color": INK, "lw": 1.1, "ls": "-", "zorder": 4}
SPEED, PLACE = "local_displacement", "mean_displacement"
BINS = 12
"""Means of a decade of time that a line of speeds has: single records scatter by more than it moves."""

Line = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Times, values and their errors."""


@kind
def displacements(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Displacements) -> Figure:
    """Squared length of a step and squared distance from the start against time, one colour a series.

    Bands are standard errors over the replicas. Of the speed, the level that theory expects is drawn with each way to
    predict; of the distance, the fitted power in its window, and the predicted distances.

    Args:
        cube: With `local_displacement`.
        fits: Fits by name; `options.fit`, and `options.prediction` where ways to predict are chosen.
        options: What the card says.

    Returns:
        The figure.

    Raises:
        ValueError: If an axis of the grid is left open.
    """
    fit = selection.at_values(selection.fit_of(fits, options.fit), options.at)
    cell = selection.at_values(cube, options.at)
    told = selection.at_values(selection.fit_of(fits, options.prediction), options.at) if options.methods else None
    along = selection.coordinate_of(fit, options.series)
    figure, axes = new_figure(1, 2, width=8.4, height=3.6)
    named: dict[str, Line2D] = {}
    places = _places(along, options)
    for place, colour in zip(places, series_colours(len(places)), strict=True):
        at = {along.dims[0]: int(place)} if along.ndim else {}
        parts = [None if part is None else part.isel(at) for part in (cell, fit, told)]
        words = value_label(along, float(np.atleast_1d(along.values)[place])) + _draw_series(
            axes[0], parts, colour, options
        )
        named[words] = Line2D([], [], color=colour)
    named = dict(reversed(named.items()))
    if options.protocol != "none":
        named[f"fitted power ({options.protocol.replace('_', ' ')})"] = Line2D([], [], **FITTED)
    for method in options.methods:
        named[f"predicted: {method}"] = Line2D([], [], color=INK, lw=1.1, ls=DASHES[method])
    for ax, word in zip(axes[0], (cell[SPEED], fit[PLACE]), strict=True):
        ax.set(xscale="log", yscale="log", xlabel=label(selection.coordinate_of(cell, "step")))
        ax.set_ylabel(wrapped(label(word), 40))
        for ruler in (ax.xaxis, ax.yaxis):
            ruler.set_major_locator(LogLocator(base=10, numticks=7))
    headline(figure, selection.place_words(cube, options.at))
    figure.legend(list(named.values()), list(named), loc="outside right upper", alignment="left")
    return figure


def _places(along: xr.DataArray, options: Displacements) -> np.ndarray:
    """Places of the lines along their coordinate, in its order."""
    values = np.atleast_1d(along.values)
    chosen = [float(selection.at_values(along, {options.series: value})) for value in options.values]
    places = np.argsort(values)
    return places[np.isin(values[places], chosen)] if chosen else places


def _draw_series(axes: np.ndarray, parts: list[xr.Dataset | None], colour: Any, options: Displacements) -> str:
    """Draw one line of both panels with its laws; what the legend adds to its name."""
    cell, fit, told = parts
    _draw_line(axes[0], _speeds(cell), colour)
    _draw_line(axes[1], _line(fit[PLACE], fit[f"{PLACE}_error"]), colour)
    for method in options.methods:
        row = _row(told, "method", method)
        look = {"color": colour, "lw": 1.1, "ls": DASHES[method], "zorder": 3}
        axes[0].axhline(float(_closed(told["predicted_one_step"].isel(method=row))), **look)
        times, values, _ = _line(told["predicted_displacement"].isel(method=row), None)
        axes[1].plot(times, values, **look)
    return "" if options.protocol == "none" else _draw_power(axes[1], fit, options.protocol)


def _speeds(cell: xr.Dataset) -> Line:
    """Squared lengths of steps, records of similar times together, with the error over replicas."""
    array = selection.variable_of(cell, SPEED)
    rest = [str(dim) for dim in array.dims if dim not in ("replica", "step")]
    if rest:
        raise ValueError(f"{SPEED} also changes along {', '.join(rest)}; choose with the option at")
    step = selection.coordinate_of(array, "step").values.astype(float)
    values = array.transpose("replica", "step").values
    values = values[np.isfinite(values).all(axis=1)][:, step > 0]
    step = step[step > 0]
    edges = np.unique(np.floor(np.log10(step) * BINS), return_inverse=True)[1]
    count = np.bincount(edges)
    means = np.stack([np.bincount(edges, row) / count for row in values]) if len(values) else np.empty((0, len(count)))
    spread = means.std(axis=0, ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.zeros(len(count))
    middle = np.exp(np.bincount(edges, np.log(step)) / count)
    return middle, means.mean(axis=0) if len(means) else np.full(len(count), np.nan), spread


def _closed(array: xr.DataArray) -> xr.DataArray:
    """The array, if only time is left of its axes."""
    rest = [str(dim) for dim in array.dims if dim != "step"]
    if rest:
        raise ValueError(f"{array.name} also changes along {', '.join(rest)}; choose with the option at")
    return array


def _line(array: xr.DataArray, error: xr.DataArray | None) -> Line:
    """A variable of a fit against time, from the first step on."""
    step = selection.coordinate_of(_closed(array), "step").values.astype(float)
    later = (step > 0) & np.isfinite(array.values)
    spread = np.zeros(later.sum()) if error is None else np.nan_to_num(error.values[later])
    return step[later], array.values[later], spread


def _draw_line(ax: Axes, line: Line, colour: Any) -> None:
    """Draw a line with its band."""
    times, values, spread = line
    ax.plot(times, values, color=colour)
    ax.fill_between(times, np.maximum(values - spread, 0.5 * values), values + spread, color=colour, alpha=0.25, lw=0)


def _draw_power(ax: Axes, fit: xr.Dataset, protocol: str) -> str:
    """Draw the fitted power in its window, through the middle of the displacement there; say the exponent."""
    at = fit.isel(protocol=_row(fit, "protocol", protocol))
    power, error, start, end = (
        float(_closed(at[word])) for word in ("exponent", "exponent_error", "window_start", "window_end")
    )
    times, values, _ = _line(fit[PLACE], None)
    if not np.isfinite(power) or not len(times):
        return ""
    lattice = np.geomspace(max(start, times[0]), min(end, times[-1]), 50)
    height = np.interp(np.log(lattice), np.log(times), np.log(values)).mean() - power * np.log(lattice).mean()
    ax.plot(lattice[[0, -1]], np.exp(height) * lattice[[0, -1]] ** power, **FITTED)
    digits = max(2, -int(np.floor(np.log10(error)))) if error > 0 else 2
    return rf", $c = {power:.{digits}f}\pm{error:.{digits}f}$"


def _row(fit: xr.Dataset, axis: str, word: str) -> int:
    """Place of a named row of a fit."""
    known = list(map(str, selection.coordinate_of(fit, f"{axis}_name").values))
    return known.index(one_of(word, known, f"{axis} of the fit"))
