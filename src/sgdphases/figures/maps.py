"""Maps: one variable over two grid axes, alone or as a set."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from sgdphases.figures import selection
from sgdphases.figures.boundaries import draw_boundaries, published_panels
from sgdphases.figures.diagram import draw_phases, is_label, keep_outer_labels, vote
from sgdphases.figures.options import MapsOverview, OnGrid, PhaseMap
from sgdphases.figures.selection import Panel
from sgdphases.figures.style import (
    DIVERGING,
    PAPER,
    SEQUENTIAL,
    colour_map,
    cover,
    kind,
    label,
    legend_below,
    new_figure,
    rule_axes,
    wrapped,
)

MOST_CELLS = 2000
"""Cells of a map that are drawn one by one, with borders."""


@kind
def phase_map(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: PhaseMap) -> Figure:
    """One variable over two grid axes; further axes and layers become panels.

    Args:
        cube: The cube.
        fits: Fits by name; `boundaries` is read for lines, `published` for the published map and lines.
        options: What the card says.

    Returns:
        The figure.
    """
    source = cube if options.fit is None else selection.fit_of(fits, options.fit)
    array = measured_values(source, options.variable, options)
    colour = _colour(array, options.limits) if options.colour == "auto" else options.colour
    statistic = options.statistic or _statistic(colour)
    measured = selection.panels(selection.averaged(array, statistic), options.x, options.y)
    told = published_panels(fits, options.variable, options.x, options.y) if options.published else []
    found = [*measured, *told]
    figure, axes = _figure(*((1, len(found)) if told else selection.arranged(found)))
    norm = norm_of([panel.values for panel in found], colour, options.limits)
    for place, (panel, ax) in enumerate(zip(found, axes.flat, strict=False)):
        mesh = draw_map(ax, panel, norm, options.palette)
        ax.set_title(panel.title or (("published" if place else "measured") if told else ""))
        draw_boundaries(ax, fits, panel, options, size=0.8)
    cover(axes.flat[: len(found)], [(panel.x, panel.y) for panel in found])
    keep_outer_labels(axes, len(found))
    legend_below(figure, axes.flat[0])
    note = selection.replica_note(array, statistic)
    ends = beyond(np.concatenate([panel.values.ravel() for panel in found]), norm)
    bar = figure.colorbar(mesh, ax=list(axes.flat[: len(found)]), pad=0.02, aspect=30, extend=ends)
    bar.set_label(wrapped(label(array), 32) + (f"\n({note})" if note else ""))
    bar.outline.set_visible(False)
    return figure


@kind
def maps_overview(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: MapsOverview) -> Figure:
    """Maps of several variables in one figure, axes shared, each with its own colours; phases as majority colours.

    Args:
        cube: The cube.
        fits: Fits by name; `boundaries` and `published` are read for lines.
        options: What the card says.

    Returns:
        The figure.
    """
    words = options.variables
    columns = min(options.columns, len(words))
    rows = -(-len(words) // columns)
    size = {"width": 0.5 + 2.35 * columns, "height": 0.4 + 2.3 * rows}
    figure, axes = new_figure(rows, columns, **size, sharex=True, sharey=True)
    for place, (word, ax) in enumerate(zip(words, axes.flat, strict=False)):
        panel = _one_map(ax, cube, word, options)
        draw_boundaries(ax, fits, panel, options, size=0.6)
        ax.set_title(f"{chr(ord('a') + place)}  ", loc="left", fontweight="bold", pad=4)
        ax.set_title(wrapped(label(cube[word]), 28), pad=4)
    keep_outer_labels(axes, len(words))
    legend_below(figure, axes.flat[0])
    return figure


def _one_map(ax: Axes, cube: xr.Dataset, word: str, options: MapsOverview) -> Panel:
    """Draw one map of the overview with its colour bar."""
    if is_label(selection.variable_of(cube, word)):
        votes = vote(selection.at_step(selection.at_values(cube[word], options.at), options.step))
        panel = _only(votes.majority, options)
        draw_phases(ax, panel, _only(votes.share, options), votes.words, names=7)
        return panel
    array = measured_values(cube, word, options)
    limits = options.limits.get(word, [0.0, 1.0] if "flag_values" in array.attrs else None)
    colour = _colour(array, limits)
    panel = _only(selection.averaged(array, _statistic(colour)), options)
    norm = norm_of([panel.values], colour, limits)
    mesh = draw_map(ax, panel, norm, options.palette)
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02, aspect=22, extend=beyond(panel.values, norm))
    bar.outline.set_visible(False)
    return panel


def _only(array: xr.DataArray, options: OnGrid) -> Panel:
    found = selection.panels(array, options.x, options.y)
    if len(found) > 1:
        rest = ", ".join(map(str, found[0].place))
        raise ValueError(f"{array.name} has {len(found)} maps, over {rest}; choose one with the option at")
    return found[0]


def measured_values(cube: xr.Dataset, word: str, options: OnGrid) -> xr.DataArray:
    """Values of a variable at the step and place that a card chooses.

    Args:
        cube: The cube.
        word: The variable.
        options: Of the figure.

    Returns:
        Array over grid axes, layer and replica.

    Raises:
        ValueError: If the variable is a label or has levels.
    """
    array = selection.variable_of(cube, word)
    if is_label(array):
        raise ValueError(f"{word} is a label, not a number; the figure phase_diagram shows it")
    if "mode" in array.dims:
        raise ValueError(f"{word} has a value for every mode; the figure trajectories shows it")
    return selection.as_numbers(selection.at_step(selection.at_values(array, options.at), options.step))


def _colour(array: xr.DataArray, limits: Sequence[float] | None) -> str:
    return "log" if selection.spans_decades(array) and (limits is None or limits[0] > 0) else "linear"


def beyond(values: np.ndarray, norm: Normalize) -> str:
    """At which ends of a colour bar values lie outside.

    Args:
        values: What is shown.
        norm: From values to colours.

    Returns:
        "neither", "min", "max" or "both", as `Figure.colorbar` takes them.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return "neither"
    low, high = known.min() < norm.vmin, known.max() > norm.vmax
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((low, high), "neither")


def _statistic(colour: str) -> str:
    """A mean over values that span decades is that of the largest; a median is not."""
    return "median" if colour == "log" else "mean"


def _figure(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Figure and axes for a table of maps with one colour bar."""
    width = {1: 4.8, 2: 7.2}.get(columns, 1.4 + 2.3 * columns)
    side = (width - 1.5) / columns
    return new_figure(rows, columns, width=width, height=0.75 + rows * side * 0.92, sharex=True, sharey=True)


def norm_of(values: Sequence[np.ndarray], colour: str, limits: Sequence[float] | None) -> Normalize:
    """From values to colours.

    Args:
        values: All values that share the colours.
        colour: "linear" or "log".
        limits: Least and largest, or None for those of the values.

    Returns:
        The norm; on a linear scale with values well on both sides of zero it is symmetric.
    """
    known = np.concatenate([np.ravel(part) for part in values])
    known = known[np.isfinite(known) & ((known > 0) | (colour != "log"))]
    low, high = limits or ((known.min(), known.max()) if known.size else (0.1, 1.0))
    if colour == "log":
        return LogNorm(low, high if high > low else 10 * low)
    if not limits and low < -0.25 * high:
        low, high = -max(-low, high), max(-low, high)
    return Normalize(low, high if high > low else low + 1)


def draw_map(ax: Axes, panel: Panel, norm: Normalize, palette: str | None = None) -> QuadMesh:
    """Draw one table of values as cells around their coordinates; many cells stand without borders, as a picture.

    Args:
        ax: Where to draw.
        panel: The table.
        norm: From values to colours.
        palette: Name of a colour map.

    Returns:
        The cells, for a colour bar.
    """
    both_signs = not isinstance(norm, LogNorm) and norm.vmin == -norm.vmax
    chosen = colour_map(palette or (DIVERGING if both_signs else SEQUENTIAL))
    columns, rows = rule_axes(ax, panel.x, panel.y)
    values = np.ma.masked_invalid(panel.values)
    look = {"edgecolors": PAPER, "linewidth": 0.3, "antialiased": True}
    if values.size > MOST_CELLS:
        look = {"rasterized": True}
    return ax.pcolormesh(columns, rows, values, norm=norm, cmap=chosen, **look)
