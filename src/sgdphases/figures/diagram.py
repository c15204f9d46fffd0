"""The phase diagram: the label that most replicas have, how many agree, and the boundaries between the phases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy import ndimage

from sgdphases.figures import selection
from sgdphases.figures.boundaries import Chosen, draw_boundaries, draw_peak_lines
from sgdphases.figures.options import kind
from sgdphases.figures.selection import Panel
from sgdphases.figures.style import INK, PAPER, halo, new_figure, phase_colours, rule_axes

UNDECIDED = "undecided"
LEAST_CELLS = 4
"""A region smaller than this is not named inside the diagram; the legend names it."""


@dataclass(frozen=True)
class Votes:
    """What the replicas of every cell say.

    Attributes:
        majority: The most frequent label; undecided wins only where no other label has as many.
        share: Share of the replicas that have it.
        words: Label to its word.
    """

    majority: xr.DataArray
    share: xr.DataArray
    words: dict[int, str]


@kind
def phase_diagram(
    cube: xr.Dataset,
    fits: Mapping[str, xr.Dataset],
    *,
    variable: str = "phase",
    x: str = "inverse_init_scale",
    y: str = "temperature",
    step: str | int = "last",
    at: Mapping[str, float] | None = None,
    boundaries: Chosen = True,
    published: bool = True,
    peak_lines: Sequence[float] = (),
    names: bool = True,
) -> Figure:
    """The majority label over the replicas of every cell, pale where few agree, with the boundaries.

    Args:
        cube: The cube.
        fits: Fits by name; `boundaries` and `published` are read if they are there.
        variable: The label.
        x: Coordinate along the columns.
        y: Coordinate along the rows.
        step: "first", "last" or the step whose nearest record is shown.
        at: Coordinate to value, for axes that shall be no panels.
        boundaries: True for all fitted boundaries, or their names.
        published: Mark the published boundaries.
        peak_lines: Mean squares of the layer's inputs for which to draw where features turn from one peak to two.
        names: Write the phases' names into their regions.

    Returns:
        The figure.

    Raises:
        ValueError: If the variable is no label.
    """
    array = selection.variable_of(cube, variable)
    if not is_label(array):
        raise ValueError(f"{variable} is no label; the figure phase_map shows numbers")
    votes = vote(selection.at_step(selection.at_values(array, at or {}), step))
    found = selection.panels(votes.majority, x, y)
    shares = selection.panels(votes.share, x, y)
    rows, columns = selection.arranged(found)
    figure, axes = _figure(rows, columns)
    for place, (panel, share, ax) in enumerate(zip(found, shares, axes.flat, strict=False)):
        draw_phases(ax, panel, share, votes.words, names=names)
        draw_boundaries(ax, fits, panel, fitted=boundaries, published=published)
        draw_peak_lines(ax, panel, peak_lines)
        ax.set_title(panel.title)
        ax.label_outer(remove_inner_ticks=True) if place + columns < len(found) or place % columns else None
    for ax in axes.flat[len(found) :]:
        ax.remove()
    _legends(figure, axes.flat[0], votes, array.sizes.get("replica", 1))
    return figure
