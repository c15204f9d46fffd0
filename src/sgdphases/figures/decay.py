"""Weight decay: the ways of J², where they end, and what that does to the accuracy."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdphases.choices import one_of
from sgdphases.figures import selection
from sgdphases.figures.marks import MARKS, draw_levels, draw_mark, scalar
from sgdphases.figures.options import Decay
from sgdphases.figures.style import (
    INK,
    PAPER,
    THEORY,
    kind,
    label,
    legend_below,
    new_figure,
    series_colours,
    value_label,
    value_ticks,
    wrapped,
)
from sgdphases.quantities import HYPERPARAMETERS
from sgdphases.storage.cube import clock_of

ACCURACIES = ("end_test_accuracy", "largest_test_accuracy")
SERIES = "l2_strength"
"""Strength of decay in the words of the law."""
STRENGTHS = ("l2_formula", "l2_empirical")
"""Where the law puts the edge, and where it was found."""


@kind
def decay(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Decay) -> Figure:
    """J² in time for every strength of decay; J² at the end beside the laws; accuracies (arXiv 2107.09437, Fig. 6).

    Args:
        cube: The cube, with the axis weight_decay or a star of points; of these those are drawn that the fit took.
        fits: Fits by name; `options.fit` is read.
        options: What the card says.

    Returns:
        The figure.
    """
    fit = selection.fit_of(fits, options.fit)
    cell = _fitted_points(selection.at_values(cube, options.at), fit)
    found = selection.at_values(fit, {word: value for word, value in options.at.items() if word in fit.coords})
    figure, axes = new_figure(1, 3, width=9.6, height=4.0)
    _draw_ways(axes[0, 0], cell, options)
    _draw_ends(axes[0, 1], found, options)
    _draw_accuracies(axes[0, 2], found, options)
    legend_below(figure, *axes[0])
    return figure


def _fitted_points(cell: xr.Dataset, fit: xr.Dataset) -> xr.Dataset:
    """Of a star of points those whose hyperparameters the fit holds."""
    if "point" not in cell.dims:
        return cell
    shared = [word for word in HYPERPARAMETERS if word in fit.coords and "point" in cell.coords[word].dims]
    taken = [np.isin(cell[word].values, fit[word].values) for word in shared]
    return cell.isel(point=np.flatnonzero(np.all(taken, axis=0)))


def _draw_ways(ax: Axes, cell: xr.Dataset, options: Decay) -> None:
    """Draw J² against time, median and middle 68 % of the replicas, one line a strength."""
    square = selection.squared(selection.layer_of(selection.variable_of(cell, "coupling"), options.layer))
    strengths = selection.coordinate_of(square, SERIES)
    clock = clock_of(square)
    rest = [str(dim) for dim in square.dims if dim not in ("replica", clock, *strengths.dims)]
    if rest or strengths.ndim != 1:
        raise ValueError(f"coupling also changes along {', '.join(rest)}; choose with the option at")
    (row,) = strengths.dims
    order = np.argsort(strengths.values)
    for place, colour in zip(order, series_colours(len(order)), strict=True):
        line = square.isel({row: place})
        times = selection.coordinate_of(line, options.x).values
        low, middle, high = (part.values for part in selection.quantiles(line, "replica", 0.16, 0.5, 0.84))
        ax.fill_between(times, low, high, color=colour, alpha=0.25, lw=0)
        ax.plot(times, middle, color=colour, label=value_label(strengths, strengths.values[place]))
    draw_levels(ax, [1.0])
    ax.set(xlabel=label(selection.coordinate_of(cell, options.x)), ylabel=wrapped(label(square), 32))


def _draw_ends(ax: Axes, fit: xr.Dataset, options: Decay) -> None:
    """Draw J² at the end with the laws λ*/λ of both strengths; open marks are still on their way."""
    end = selection.variable_of(fit, "end_squared_coupling")
    strength = _strengths(end)
    moving = fit["stationary"].values == 0 if "stationary" in fit else np.zeros(len(strength), dtype=bool)
    spread = fit["end_squared_coupling_error"].values
    for chosen, face, said in ((~moving, INK, "at the end"), (moving, PAPER, "at the end, still moving")):
        if chosen.any():
            look = {"ls": "none", "marker": "o", "color": INK, "mfc": face, "ms": 5, "elinewidth": 0.9, "zorder": 4}
            ax.errorbar(strength[chosen], end.values[chosen], yerr=spread[chosen], label=said, **look)
    positive = strength[strength > 0]
    fine = np.geomspace(positive.min() / 1.5, positive.max() * 1.5, 100)
    for word, look in zip(STRENGTHS, MARKS, strict=False):
        edge = scalar(fit, word, options.at)
        if np.isfinite(edge):
            symbol = str(fit[word].attrs.get("symbol", word)).partition("=")[0]
            ax.plot(fine, edge / fine, lw=1.1, zorder=2, label=rf"$J^2 = {symbol}/\lambda_{{L_2}}$", **look)
            ax.plot(edge, 1.0, marker="x", ms=6, mew=1.5, color=look["color"], zorder=5)
    draw_levels(ax, [1.0])
    _rule_strengths(ax, strength)
    ax.set(yscale="log", xlabel=label(end[SERIES]), ylabel=wrapped(label(end), 32))
    known = np.concatenate([end.values, [1.0]])
    ax.set_ylim(0.6 * np.nanmin(known), 2.2 * np.nanmax(known))


def _draw_accuracies(ax: Axes, fit: xr.Dataset, options: Decay) -> None:
    """Draw accuracies against the strength of decay, and mark both strengths."""
    drawn = [word for word in ACCURACIES if word in fit]
    if not drawn:
        one_of(ACCURACIES[0], map(str, fit.data_vars), f"estimate of the fit {options.fit}")
    for word, mark, colour in zip(drawn, "os", (THEORY, "#31518c"), strict=False):
        strength = _strengths(fit[word])
        spread = np.nan_to_num(fit[f"{word}_error"].values)
        look = {"marker": mark, "color": colour, "ms": 4.5, "lw": 1, "elinewidth": 0.9, "label": label(fit[word])}
        ax.errorbar(strength, fit[word].values, yerr=spread, **look)
    for word, look in zip(STRENGTHS, MARKS, strict=False):
        draw_mark(ax, fit, word, options.at, look=look)
    _rule_strengths(ax, strength)
    ax.set(xlabel=label(fit[SERIES]), ylabel="accuracy")


def _strengths(array: xr.DataArray) -> np.ndarray:
    """Strengths of decay along the only axis of an estimate."""
    along = selection.coordinate_of(array, SERIES)
    if along.dims != array.dims:
        rest = [str(dim) for dim in array.dims if dim not in along.dims]
        raise ValueError(f"{array.name} also changes along {', '.join(rest)}; choose with the option at")
    return along.values


def _rule_strengths(ax: Axes, strengths: np.ndarray) -> None:
    """A logarithmic axis with a place for zero."""
    positive = strengths[strengths > 0]
    ax.set_xscale("symlog", linthresh=float(positive.min()) / 2, linscale=0.4)
    ax.set_xlim(-0.1 * positive.min() if (strengths == 0).any() else positive.min() / 1.5, positive.max() * 1.5)
    powers = 10.0 ** np.arange(-12, 4)
    places = np.sort(np.concatenate([powers, 3 * powers]))
    inside = (places >= positive.min() / 1.4) & (places <= positive.max() * 1.4)
    value_ticks(ax.xaxis, np.concatenate([[0.0] * bool((strengths == 0).any()), places[inside]]))
