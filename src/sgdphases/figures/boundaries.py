"""Lines and marks on a map: fitted boundaries with errors, published ones, and the change of the features' shape.

A boundary over the map's rows y is a variable whose name ends in "_<y>", such as `growth_temperature` on a map against
temperature. It lies along the dimension of the columns, or comes with a variable of the same beginning that ends in
"_<x>". What a legend says is the variable's long name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from sgdphases.choices import one_of
from sgdphases.figures.option_parts import Chosen
from sgdphases.figures.options import OnGrid
from sgdphases.figures.selection import Panel, panels
from sgdphases.figures.style import INK, PAPER, halo
from sgdphases.theory.tanh_features import critical_init_scale

_LINES: tuple[tuple[str, Any], ...] = ((INK, "-"), (INK, (0, (4, 1.6))), (PAPER, "-"), (PAPER, (0, (4, 1.6))))
_MARKS = ((INK, "o"), (PAPER, "D"), (INK, "s"), (PAPER, "^"))


def boundary_words(fit: xr.Dataset | None, chosen: Chosen, y: str) -> list[str]:
    """The boundaries of a fit that a map against `y` can show.

    Args:
        fit: The fit; None if the card asks for none.
        chosen: All, none, or the named ones.
        y: Coordinate along the map's rows.

    Returns:
        Names of variables.

    Raises:
        ValueError: If a named one is not there.
    """
    known = [] if fit is None else [str(word) for word in fit.data_vars if str(word).endswith(f"_{y}")]
    if isinstance(chosen, bool):
        return known if chosen else []
    return [one_of(word, known, f"boundary over {y} (from the fit boundaries)") for word in chosen]


def draw_boundaries(
    ax: Axes, fits: Mapping[str, xr.Dataset], panel: Panel, options: OnGrid, *, size: float = 1
) -> None:
    """Draw fitted and published boundaries on one map.

    Args:
        ax: Where the map is.
        fits: Fits by name; `boundaries` and `published` are read.
        panel: The map.
        options: Which boundaries.
        size: Of lines and marks, 1 for a map that fills a figure.
    """
    limits = ax.get_xlim(), ax.get_ylim()
    words = boundary_words(fits.get("boundaries"), options.boundaries, str(panel.y.name))
    for place, word in enumerate(words):
        _draw_line(ax, fits["boundaries"], word, panel, style=(*_LINES[place % len(_LINES)], size))
    told = fits.get("published")
    if options.published and told is not None:
        for place, word in enumerate(boundary_words(told, True, str(panel.y.name))):
            colour, mark = (_LINES[words.index(word)][0], "D") if word in words else _MARKS[place % len(_MARKS)]
            _draw_marks(ax, told, word, panel, style=(colour, mark, size))
    ax.set(xlim=limits[0], ylim=limits[1])


def draw_peak_lines(ax: Axes, panel: Panel, mean_squares: Sequence[float]) -> None:
    """Draw where the features turn from one peak to two (arXiv 2509.01349, Fig. 1), on a map against the initial scale.

    Args:
        ax: Where the map is.
        panel: The map; nothing is drawn unless its columns are the initial scale or its inverse.
        mean_squares: Mean squares of the layer's inputs, one line each; 1 is the published line.
    """
    for place, mean_square in enumerate(mean_squares):
        scale = float(critical_init_scale(mean_square))
        at = {"init_scale": scale, "inverse_init_scale": 1 / scale}.get(str(panel.x.name))
        if at is None:
            return
        words = f"one peak to two, $\\langle h^2\\rangle={mean_square:.3g}$"
        ax.axvline(at, color=INK, lw=1.1, ls=[(0, (1, 1.4)), (0, (5, 2, 1, 2))][place % 2], label=words)


def published_panels(fits: Mapping[str, xr.Dataset], variable: str, x: str, y: str) -> list[Panel]:
    """The published map of a variable, if there is one."""
    told = fits.get("published")
    if told is None or variable not in told:
        return []
    return panels(told[variable], x, y)


def _draw_line(ax: Axes, fit: xr.Dataset, word: str, panel: Panel, *, style: tuple[str, Any, float]) -> None:
    """Draw a fitted boundary: a line through what is known to a factor of two, crosses for the rest."""
    found = _along(fit, word, panel)
    if found is None:
        return
    places, heights = found
    colour, dashes, size = style
    rim = halo(1.5 * size + 1.1, PAPER if colour == INK else INK)
    look = {"color": colour, "path_effects": rim, "zorder": 3}
    name = fit[word].attrs.get("long_name", word.replace("_", " "))
    errors = _along(fit, f"{word}_error", panel) if f"{word}_error" in fit else None
    known = np.isfinite(heights)
    if errors is not None:
        known = known & (errors[1] <= heights)
        spread = np.where(known, np.minimum(errors[1], 0.999 * heights), 0)
        bars = ax.errorbar(places, np.where(known, heights, np.nan), yerr=spread, fmt="none", ecolor=colour, zorder=3)
        bars.lines[2][0].set(path_effects=rim, linewidth=size)
    unsure = np.isfinite(heights) & ~known
    said = f"{name} (×: error above a factor 2)" if unsure.any() else name
    line = np.where(known, heights, np.nan)
    ax.plot(places, line, ls=dashes, lw=1.5 * size, marker=".", ms=4 * size, label=said, **look)
    ax.plot(places[unsure], heights[unsure], ls="none", marker="x", ms=4 * size, **look)


def _draw_marks(ax: Axes, told: xr.Dataset, word: str, panel: Panel, *, style: tuple[str, str, float]) -> None:
    """Draw a published boundary as marks."""
    partner = f"{word.removesuffix(str(panel.y.name))}{panel.x.name}"
    found = (told[partner].values, told[word].values) if partner in told else _along(told, word, panel)
    if found is None:
        return
    colour, mark, size = style
    name = told[word].attrs.get("long_name", word.replace("_", " "))
    look = {"mfc": colour, "mec": PAPER if colour == INK else INK, "mew": 0.8 * size}
    ax.plot(*found, ls="none", marker=mark, ms=5 * size, label=name, zorder=4, **look)


def _along(fit: xr.Dataset, word: str, panel: Panel) -> tuple[np.ndarray, np.ndarray] | None:
    """Places along the columns and heights of a boundary, ascending; None if it does not belong on this map."""
    line = fit[word]
    for dim in line.dims:
        if dim not in panel.x.dims and dim in panel.x.coords and dim in line.coords:
            line = line.sel({dim: panel.x[dim].item()})
    if line.ndim != 1:
        return None
    if panel.x.name in line.coords:
        places = line[panel.x.name].values
    elif line.dims[0] in panel.x.dims and line.dims[0] in line.coords:
        places = panel.x.sel({line.dims[0]: line[line.dims[0]].values}, method="nearest").values
    else:
        return None
    order = np.argsort(places)
    return places[order], line.values[order]
