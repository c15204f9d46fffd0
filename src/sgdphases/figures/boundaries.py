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

from sgdphases.figures.options import Chosen
from sgdphases.figures.registry import one_of
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


def draw_boundaries(ax: Axes, fits: Mapping[str, xr.Dataset], panel: Panel, *, fitted: Chosen, published: bool) -> None:
    """Draw fitted and published boundaries on one map.

    Args:
        ax: Where the map is.
        fits: Fits by name; `boundaries` and `published` are read.
        panel: The map.
        fitted: Which fitted boundaries.
        published: Whether to mark the published ones.
    """
    limits = ax.get_xlim(), ax.get_ylim()
    words = boundary_words(fits.get("boundaries"), fitted, str(panel.y.name))
    for place, word in enumerate(words):
        _draw_line(ax, fits["boundaries"], word, panel, style=_LINES[place % len(_LINES)])
    told = fits.get("published")
    if published and told is not None:
        for place, word in enumerate(boundary_words(told, True, str(panel.y.name))):
            style = (_LINES[words.index(word)][0], "D") if word in words else _MARKS[place % len(_MARKS)]
            _draw_marks(ax, told, word, panel, style=style)
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


def _draw_line(ax: Axes, fit: xr.Dataset, word: str, panel: Panel, *, style: tuple[str, Any]) -> None:
    found = _along(fit, word, panel)
    if found is None:
        return
    places, heights = found
    colour, dashes = style
    rim = halo(2.6, PAPER if colour == INK else INK)
    name = fit[word].attrs.get("long_name", word.replace("_", " "))
    ax.plot(places, heights, color=colour, ls=dashes, lw=1.5, path_effects=rim, label=name, zorder=3)
    errors = _along(fit, f"{word}_error", panel) if f"{word}_error" in fit else None
    if errors is not None:
        above = np.nan_to_num(errors[1])
        below = np.minimum(above, 0.999 * np.nan_to_num(heights))
        bars = ax.errorbar(places, heights, yerr=[below, above], fmt="none", ecolor=colour, zorder=3)
        bars.lines[2][0].set(path_effects=rim, linewidth=1)


def _draw_marks(ax: Axes, told: xr.Dataset, word: str, panel: Panel, *, style: tuple[str, str]) -> None:
    partner = f"{word.removesuffix(str(panel.y.name))}{panel.x.name}"
    found = (told[partner].values, told[word].values) if partner in told else _along(told, word, panel)
    if found is None:
        return
    colour, mark = style
    name = told[word].attrs.get("long_name", word.replace("_", " "))
    edge = PAPER if colour == INK else INK
    ax.plot(*found, ls="none", marker=mark, ms=5, mfc=colour, mec=edge, mew=0.8, label=name, zorder=4)


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
