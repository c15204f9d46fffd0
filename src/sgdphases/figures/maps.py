"""Maps: one variable over two grid axes, alone or as a set."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from sgdphases.figures import selection
from sgdphases.figures.boundaries import Chosen, draw_boundaries, published_panels
from sgdphases.figures.diagram import draw_phases, is_label, vote
from sgdphases.figures.options import kind
from sgdphases.figures.registry import one_of
from sgdphases.figures.selection import Panel
from sgdphases.figures.style import DIVERGING, PAPER, SEQUENTIAL, colour_map, label, new_figure, rule_axes

COLOURS = ("auto", "linear", "log")


@kind
def phase_map(
    cube: xr.Dataset,
    fits: Mapping[str, xr.Dataset],
    *,
    variable: str,
    x: str = "inverse_init_scale",
    y: str = "temperature",
    step: str | int = "last",
    at: Mapping[str, float] | None = None,
    statistic: str | None = None,
    colour: str = "auto",
    limits: Sequence[float] | None = None,
    palette: str | None = None,
    boundaries: Chosen = False,
    published: bool = False,
) -> Figure:
    """One variable over two grid axes; further axes and layers become panels.

    Args:
        cube: The cube.
        fits: Fits by name; `boundaries` is read for lines, `published` for the published map and lines.
        variable: What is shown.
        x: Coordinate along the columns.
        y: Coordinate along the rows.
        step: "first", "last" or the step whose nearest record is shown.
        at: Coordinate to value, for axes that shall be no panels.
        statistic: "mean" or "median" of the replicas; if not given the median with logarithmic colours, else the mean.
        colour: "linear", "log", or "auto": logarithmic for positive values that span two decades.
        limits: Least and largest value of the colours.
        palette: Name of a colour map.
        boundaries: True for all fitted boundaries, or their names.
        published: Show the published map beside the measured one, and the published boundaries on it.

    Returns:
        The figure.
    """
    array, colour, statistic = chosen_values(cube, variable, step, at, colour, statistic)
    found = selection.panels(selection.averaged(array, statistic), x, y)
    told = published_panels(fits, variable, x, y) if published else []
    rows, columns = (1, 1 + len(told)) if told else selection.arranged(found)
    figure, axes = map_figure(rows, columns)
    norm = norm_of([panel.values for panel in [*found, *told]], colour, limits)
    for place, (panel, ax) in enumerate(zip([*found, *told], axes.flat, strict=False)):
        mesh = draw_map(ax, panel, norm, palette)
        ax.set_title(panel.title or (("published" if place else "measured") if told else ""))
        draw_boundaries(ax, fits, panel, fitted=boundaries, published=published)
    finish(axes, len(found) + len(told), legend=bool(boundaries))
    note = selection.replica_note(array, statistic)
    bar = figure.colorbar(mesh, ax=[ax for ax in axes.flat if ax in figure.axes], pad=0.02, aspect=30)
    bar.set_label(label(array) + (f"\n({note})" if note else ""))
    bar.outline.set_visible(False)
    return figure


@kind
def maps_overview(
    cube: xr.Dataset,
    fits: Mapping[str, xr.Dataset],
    *,
    variables: Sequence[str],
    x: str = "inverse_init_scale",
    y: str = "temperature",
    step: str | int = "last",
    at: Mapping[str, float] | None = None,
    columns: int = 4,
    palette: str | None = None,
    boundaries: Chosen = False,
    published: bool = False,
) -> Figure:
    """Maps of several variables in one figure, axes shared, each with its own colours; phases as majority colours.

    Args:
        cube: The cube.
        fits: Fits by name; `boundaries` and `published` are read for lines.
        variables: What is shown, in reading order.
        x: Coordinate along the columns.
        y: Coordinate along the rows.
        step: "first", "last" or the step whose nearest record is shown.
        at: Coordinate to value, for every axis beside x and y.
        columns: Maps in a row.
        palette: Name of a colour map.
        boundaries: True for all fitted boundaries, or their names.
        published: Mark the published boundaries.

    Returns:
        The figure.
    """
    rows = -(-len(variables) // columns)
    columns = min(columns, len(variables))
    figure, axes = new_figure(rows, columns, width=0.5 + 2.35 * columns, height=0.4 + 2.3 * rows, sharex=True, sharey=True)
    for place, (word, ax) in enumerate(zip(variables, axes.flat, strict=False)):
        panel = _one_map(ax, cube, word, (x, y), (step, at, palette))
        draw_boundaries(ax, fits, panel, fitted=boundaries, published=published)
        ax.set_title(f"{chr(ord('a') + place)}  ", loc="left", fontweight="bold", pad=4)
        ax.set_title(_wrapped(label(cube[word])), pad=4)
    finish(axes, len(variables), legend=bool(boundaries))
    return figure


def _one_map(ax: Axes, cube: xr.Dataset, word: str, axes: tuple[str, str], choice: tuple) -> Panel:
    """Draw one map of the overview with its colour bar."""
    step, at, palette = choice
    if is_label(selection.variable_of(cube, word)):
        votes = vote(selection.at_step(selection.at_values(cube[word], at or {}), step))
        panel = _only(votes.majority, axes)
        share = _only(votes.share, axes)
        draw_phases(ax, panel, share, votes.words)
        return panel
    array, colour, statistic = chosen_values(cube, word, step, at, "auto", None)
    panel = _only(selection.averaged(array, statistic), axes)
    mesh = draw_map(ax, panel, norm_of([panel.values], colour, _flag_limits(array)), palette)
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02, aspect=22)
    bar.outline.set_visible(False)
    return panel


def _only(array: xr.DataArray, axes: tuple[str, str]) -> Panel:
    found = selection.panels(array, *axes)
    if len(found) > 1:
        raise ValueError(
            f"{array.name} has {len(found)} maps, over {', '.join(map(str, found[0].place))}; choose one with the option at"
        )
    return found[0]


def _wrapped(text: str, width: int = 26) -> str:
    """A title on two lines where it is long, broken before its symbol."""
    head, mark, symbol = text.partition(" $")
    return f"{head}\n{mark.strip()}{symbol}" if len(head) + len(symbol) > width and mark else text


def chosen_values(
    cube: xr.Dataset, word: str, step: str | int, at: Mapping[str, float] | None, colour: str, statistic: str | None
) -> tuple[xr.DataArray, str, str]:
    """Values of a variable at a step and place, with the colours and the average that suit them.

    Args:
        cube: The cube.
        word: The variable.
        step: As in `selection.at_step`.
        at: As in `selection.at_values`.
        colour: "auto", "linear" or "log".
        statistic: "mean", "median" or None for the one that goes with the colours.

    Returns:
        Array over grid axes and replica, "linear" or "log", "mean" or "median".

    Raises:
        ValueError: If the variable is a label or has levels, or a word is unknown.
    """
    one_of(colour, COLOURS, "colour scale")
    array = selection.variable_of(cube, word)
    if is_label(array):
        raise ValueError(f"{word} is a label, not a number; the figure phase_diagram shows it")
    if "mode" in array.dims:
        raise ValueError(f"{word} has a value for every mode; the figure trajectories shows it")
    array = selection.as_numbers(selection.at_step(selection.at_values(array, at or {}), step))
    if colour == "auto":
        colour = "log" if selection.spans_decades(array) else "linear"
    return array, colour, statistic or ("median" if colour == "log" else "mean")


def map_figure(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
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
    """Draw one table of values as cells around their coordinates.

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
    return ax.pcolormesh(columns, rows, values, norm=norm, cmap=chosen, edgecolors=PAPER, linewidth=0.3, antialiased=True)


def finish(axes: np.ndarray, used: int, *, legend: bool) -> None:
    """Remove unused axes, keep only outer labels, and set one legend of the lines below all.

    Args:
        axes: Shape (rows, columns).
        used: Number of axes in use, in reading order.
        legend: Whether lines were drawn that need names.
    """
    columns = axes.shape[1]
    for place, ax in enumerate(axes.flat):
        if place >= used:
            ax.remove()
            continue
        if place % columns:
            ax.set_ylabel("")
        if place + columns < used:
            ax.set_xlabel("")
        else:
            ax.tick_params(labelbottom=True)
    handles, words = axes.flat[0].get_legend_handles_labels()
    if legend and handles:
        axes.flat[0].figure.legend(handles, words, loc="outside lower center", ncols=min(3, len(words)))


def _flag_limits(array: xr.DataArray) -> tuple[float, float] | None:
    return (0.0, 1.0) if "flag_values" in array.attrs else None
