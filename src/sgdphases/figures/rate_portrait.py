"""The portrait of a richness study: what networks reach over richness and learning rate, and the edges of what trains.

Source: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642, Fig. 1.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdphases.choices import one_of
from sgdphases.ensemble.status import CATAPULTED, NONFINITE, UNTRAINED_SHARE, UNTRIED
from sgdphases.figures import selection
from sgdphases.figures.diagram import keep_outer_labels
from sgdphases.figures.maps import beyond, draw_map, norm_of
from sgdphases.figures.rate_laws import DASHES, fitted_laws, toy_laws
from sgdphases.figures.richness_options import RatePortrait
from sgdphases.figures.selection import Panel
from sgdphases.figures.style import (
    HATCH,
    INK,
    NOTHING,
    PAPER,
    THEORY,
    cell_borders,
    cover,
    halo,
    hatch_cells,
    headline,
    kind,
    label,
    legend_below,
    new_figure,
    wrapped,
)

SHARE = {"long_name": "test loss over that of the best constant answer", "symbol": r"L_\mathrm{test}/L_c", "units": "1"}
MAJORITY = 0.5
"""Share of the replicas from which on a cell is marked."""
CRITERIA = {"finite": ("^", "that stays finite"), "trained": ("o", "that trains"), "calm": ("v", "without a catapult")}
"""Mark of the largest learning rate, and what it is the largest of."""
GOLD = "#ffd447"
LOOKS: dict[str, dict[str, Any]] = {
    "log_best_rate": {"fmt": "D", "color": INK, "mfc": GOLD, "mec": INK},
    "log_smallest_rate": {"fmt": "s", "color": INK, "mfc": PAPER, "mec": INK},
}
"""The other learning rates' marks."""


@kind
def rate_portrait(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: RatePortrait) -> Figure:
    """Test loss over richness and learning rate with its edges and their laws; depth, loss and steps are panels.

    Cells that most replicas did not survive are hatched, cells that were not tried stay white.

    Args:
        cube: With `status`, `constant_loss` and the variable.
        fits: Fits by name; the edges are read, and the closing of their strip where it is there.
        options: What the card says.

    Returns:
        The figure.
    """
    cells = _cells(cube, options)
    tables = {name: selection.panels(cells[name], "richness", "learning_rate") for name in cells}
    found = tables["share"]
    figure, axes = _figure(*selection.arranged(found))
    norm = norm_of([panel.values for panel in found], "log", options.limits or _limits(found))
    edges = selection.fit_of(fits, options.edges)
    for place, (panel, ax) in enumerate(zip(found, axes.flat, strict=False)):
        mesh = _draw_cells(ax, {name: table[place] for name, table in tables.items()}, norm, options)
        here = _here(edges, panel)
        depth = panel.x["depth"].item() if "depth" in panel.x.coords else 0
        _draw_laws(ax, here, panel, selection.layers_of(cube, depth), options)
        _draw_closing(ax, fits.get(options.closing), panel, here)
        _draw_edges(ax, here.sel(step=_steps(panel)), options)
        ax.set_title(panel.title)
    headline(figure, selection.place_words(cube, options.at))
    cover(axes.flat[: len(found)], [(panel.x, panel.y) for panel in found])
    _crop(axes.flat[: len(found)], found[0].y, [panel.values for panel in tables["untried"]])
    keep_outer_labels(axes, len(found))
    legend_below(figure, *axes.flat[: len(found)])
    ends = beyond(np.concatenate([panel.values.ravel() for panel in found]), norm)
    bar = figure.colorbar(mesh, ax=list(axes.flat[: len(found)]), pad=0.02, aspect=28 * len(axes), extend=ends)
    notes = [selection.replica_note(cube["status"], "median")]
    notes += [f"$t = {_steps(found[0]):g}$"] if len(options.steps) == 1 else []
    bar.set_label(wrapped(label(cells["share"]), 44) + "\n(" + ", ".join(filter(None, notes)) + ")")
    bar.ax.axhline(UNTRAINED_SHARE, color=INK, lw=0.8)
    bar.outline.set_visible(False)
    return figure


def _cells(cube: xr.Dataset, options: RatePortrait) -> xr.Dataset:
    """Loss, and which cells were lost, not tried, or went through a catapult; over the grid and the chosen steps."""
    words = (options.variable, "status", "constant_loss")
    chosen = selection.at_values(xr.Dataset({word: selection.variable_of(cube, word) for word in words}), options.at)
    recorded = selection.coordinate_of(chosen, "step").values
    places = [selection.at_step(chosen["step"], step).item() for step in options.steps]
    places = [int(np.flatnonzero(recorded == place)[0]) for place in dict.fromkeys(places)]
    chosen = chosen.isel(step=places if len(places) > 1 else places[0])
    status = chosen["status"] if "replica" in chosen.dims else chosen["status"].expand_dims("replica")
    tried = status != UNTRIED
    count = tried.sum("replica")
    lost = ((status == NONFINITE) & tried).sum("replica") >= np.maximum(MAJORITY * count, MAJORITY)
    jumped = (status == CATAPULTED).sum("replica") >= np.maximum(MAJORITY * count, MAJORITY)
    ratio = (chosen[options.variable] / chosen["constant_loss"]).where((status != NONFINITE) & tried)
    loss = selection.averaged(ratio.rename(options.variable), "median").where(~lost).assign_attrs(SHARE)
    return xr.Dataset({"share": loss, "lost": lost, "untried": count == 0, "catapult": jumped})


def _limits(found: list[Panel]) -> list[float]:
    """From the least loss to that of the best constant answer."""
    known = np.concatenate([panel.values.ravel() for panel in found])
    known = known[np.isfinite(known) & (known > 0)]
    return [min(known.min(), 0.5) if known.size else 0.1, 1.0]


def _figure(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    width = {1: 6.4, 2: 7.6}.get(columns, 1.5 + 2.3 * columns)
    side = (width - 1.5) / columns
    return new_figure(rows, columns, width=width, height=1.5 + rows * side * 1.1, sharex=True, sharey=True)


def _draw_cells(ax: Axes, panels: dict[str, Panel], norm: Any, options: RatePortrait) -> Any:
    """Draw the cells of one panel, tell apart those without a loss, and mark catapults."""
    loss = panels["share"]
    mesh = draw_map(ax, loss, norm, options.palette)
    borders = [cell_borders(axis.values, logarithmic=True) for axis in (loss.x, loss.y)]
    hatch_cells(ax, *borders, panels["lost"].values, said="not finite", fill=NOTHING)
    hatch_cells(ax, *borders, panels["untried"].values, fill=PAPER, hatch=None)
    if panels["untried"].values.any():
        ax.fill([], [], facecolor=PAPER, edgecolor=HATCH, lw=0.6, label="not tried")
    row, column = np.nonzero(panels["catapult"].values)
    if row.size:
        look = {"ls": "none", "marker": "o", "ms": 2, "mfc": PAPER, "mec": INK, "mew": 0.4, "zorder": 2}
        ax.plot(loss.x.values[column], loss.y.values[row], label="trained after a catapult", **look)
    return mesh


def _steps(panel: Panel) -> float:
    return float(panel.x["step"])


def _here(fit: xr.Dataset, panel: Panel) -> xr.Dataset:
    """A fit at the panel's place: over richness, step and dimensions of its own."""
    at = {}
    for dim in fit.dims:
        if dim in panel.x.coords and dim not in ("richness", "step"):
            at[str(dim)] = panel.x[dim].item()
    return selection.at_values(fit, at)


def _draw_laws(ax: Axes, here: xr.Dataset, panel: Panel, layers: int, options: RatePortrait) -> None:
    """Draw the lines of theory."""
    if options.theory == "none":
        return
    limits = tuple(np.log10(cell_borders(panel.x.values, logarithmic=True)[[0, -1]]))
    known = {"depth": layers, "loss": str(panel.x["loss"].item()), "steps": _steps(panel)}
    if options.theory == "toy":
        laws = toy_laws(limits, **known)
    else:
        laws = fitted_laws(here.isel(step=-1), limits, **known, last=float(here["step"][-1]))
    for law in laws:
        look = {"color": THEORY, "lw": 1.3, "ls": DASHES[law.kind], "path_effects": halo(2.4), "zorder": 4}
        ax.plot(10**law.richness, 10**law.rates, label=law.said, **look)


def _draw_closing(ax: Axes, fit: xr.Dataset | None, panel: Panel, edges: xr.Dataset) -> None:
    """Mark where the strip closes, if a fit knows it, at the height of the richest networks' best rate."""
    if fit is None or "closing" not in fit:
        return
    here = _here(fit, panel).sel(step=_steps(panel))
    place, error = float(here["closing"]), float(np.nan_to_num(here["closing_error"]))
    edges = edges.sel(step=_steps(panel))
    middle = edges["log_best_rate"]
    known = np.isfinite(middle.values)
    ends = np.log10(cell_borders(panel.x.values, logarithmic=True)[[0, -1]])
    if not (ends[0] < place < ends[1] and known.any()):
        return
    height = 10 ** float(middle.values[known][-1])
    spread = [[10**place - 10 ** (place - error)], [10 ** (place + error) - 10**place]]
    look = {"fmt": ">", "ms": 7, "color": THEORY, "mec": PAPER, "mew": 0.6, "elinewidth": 1.2, "zorder": 6}
    ax.errorbar([10**place], [height], xerr=spread, label="the strip closes, as fitted", **look)


def _draw_edges(ax: Axes, edges: xr.Dataset, options: RatePortrait) -> None:
    """Draw largest, best and smallest learning rate with their errors."""
    names = [str(name) for name in edges["criterion_name"].values]
    for criterion in options.criteria:
        mark, said = CRITERIA[criterion]
        at = {"criterion": names.index(one_of(criterion, names, "criterion"))}
        look = {"fmt": mark, "color": INK, "mec": PAPER}
        _draw_edge(ax, edges, "log_largest_rate", at, f"largest {said}", look)
    _draw_edge(ax, edges, "log_best_rate", {}, "least test loss", LOOKS["log_best_rate"])
    _draw_edge(ax, edges, "log_smallest_rate", {}, "smallest that trains", LOOKS["log_smallest_rate"])


def _draw_edge(
    ax: Axes, edges: xr.Dataset, word: str, at: Mapping[str, int], said: str, look: Mapping[str, Any]
) -> None:
    edge, error = selection.variable_of(edges, word).isel(at), edges[f"{word}_error"].isel(at)
    known = np.isfinite(edge.values)
    place, spread = edge.values[known], np.nan_to_num(error.values[known])
    bars = [10**place - 10 ** (place - spread), 10 ** (place + spread) - 10**place]
    symbol = str(edge.attrs.get("symbol", "")).removeprefix(r"\log_{10}")
    drawn = {"ms": 3.6, "mew": 0.6, "elinewidth": 0.9, "ls": "none", "zorder": 5, **look}
    ax.errorbar(edge["richness"].values[known], 10**place, yerr=bars, label=f"${symbol}$: {said}", **drawn)


def _crop(axes: Any, rates: xr.DataArray, untried: list[np.ndarray]) -> None:
    """Leave out learning rates that were tried nowhere."""
    tried = np.flatnonzero(~np.all(untried, axis=(0, 2)))
    if not tried.size:
        return
    borders = cell_borders(rates.values, logarithmic=True)
    for ax in axes:
        ax.set_ylim(borders[tried[0]], borders[tried[-1] + 1])
