"""The phase diagram: the label that most replicas have, how many agree, and the boundaries between the phases."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Patch
from scipy import ndimage

from sgdphases.figures import selection
from sgdphases.figures.boundaries import draw_boundaries, draw_peak_lines
from sgdphases.figures.options import PhaseDiagram
from sgdphases.figures.selection import Panel
from sgdphases.figures.style import (
    HATCH,
    INK,
    PAPER,
    cover,
    halo,
    hatch_cells,
    kind,
    new_figure,
    phase_colours,
    rule_axes,
    wrapped,
)

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
def phase_diagram(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: PhaseDiagram) -> Figure:
    """The majority label over the replicas of every cell, pale where few agree, with the boundaries.

    Args:
        cube: The cube.
        fits: Fits by name; `boundaries` and `published` are read if they are there.
        options: What the card says.

    Returns:
        The figure; further axes and layers are panels.

    Raises:
        ValueError: If the variable is no label.
    """
    array = selection.variable_of(cube, options.variable)
    if not is_label(array):
        raise ValueError(f"{options.variable} is no label; the figure phase_map shows numbers")
    votes = vote(selection.at_step(selection.at_values(array, options.at), options.step))
    found = selection.panels(votes.majority, options.x, options.y)
    shares = selection.panels(votes.share, options.x, options.y)
    figure, axes = _figure(*selection.arranged(found))
    size = 10 if len(found) == 1 else 7
    for panel, share, ax in zip(found, shares, axes.flat, strict=False):
        draw_phases(ax, panel, share, votes.words, names=size if options.names else 0)
        draw_boundaries(ax, fits, panel, options, size=1 if len(found) == 1 else 0.7)
        draw_peak_lines(ax, panel, options.peak_lines)
        ax.set_title(panel.title)
    cover(axes.flat[: len(found)], [(panel.x, panel.y) for panel in found])
    keep_outer_labels(axes, len(found))
    _set_legend(figure, axes.flat[0], votes, array.sizes.get("replica", 1), beside=len(found) == 1)
    return figure


def is_label(array: xr.DataArray) -> bool:
    """Whether a variable is a label of three or more words (a flag of two is a number: its mean is a share)."""
    return np.size(array.attrs.get("flag_values", ())) > 2


def vote(array: xr.DataArray) -> Votes:
    """Count the labels of the replicas.

    Args:
        array: Labels with the attributes flag_values and flag_meanings; what is no flag value counts as undecided.

    Returns:
        Majority and share, without the dimension `replica`.
    """
    words = dict(zip(np.ravel(array.attrs["flag_values"]).tolist(), array.attrs["flag_meanings"].split(), strict=True))
    neutral = next((value for value, word in words.items() if word == UNDECIDED), None)
    order = [value for value in words if value != neutral] + ([] if neutral is None else [neutral])
    labels = array if "replica" in array.dims else array.expand_dims("replica")
    if neutral is not None:
        labels = labels.where(labels.isin(order), neutral)
    counts = xr.concat([(labels == value).sum("replica") for value in order], dim="label")
    majority = xr.DataArray(np.array(order)[counts.argmax("label").values], dims=counts.dims[1:], coords=counts.coords)
    share = counts.max("label") / labels.sizes["replica"]
    return Votes(majority.rename(array.name), share.rename(array.name), words)


def draw_phases(ax: Axes, panel: Panel, share: Panel, words: Mapping[int, str], *, names: float = 0) -> None:
    """Draw one table of labels as cells: the label's colour, paler the fewer replicas agree; undecided is hatched.

    Args:
        ax: Where to draw.
        panel: Labels.
        share: Share of the replicas that agree, same shape.
        words: Label to its word.
        names: Size in points of the phases' names in their regions; 0 for none.
    """
    colours = phase_colours(words)
    columns, rows = rule_axes(ax, panel.x, panel.y)
    picture = np.array([[colours[int(value)] for value in line] for line in panel.values])
    strength = _strength(share.values)[..., None]
    picture = strength * picture + (1 - strength) * np.array(to_rgb(PAPER))
    ax.pcolormesh(columns, rows, picture, edgecolors=PAPER, linewidth=0.4, antialiased=True)
    for value, word in words.items():
        region = panel.values == value
        if word == UNDECIDED:
            hatch_cells(ax, columns, rows, region)
        elif names and region.sum() >= LEAST_CELLS:
            write_name(ax, panel, region, word.replace("_", " "), size=names)


def keep_outer_labels(axes: np.ndarray, used: int) -> None:
    """Remove unused axes and keep axis labels only at the left and below the lowest map of each column.

    Args:
        axes: Shape (rows, columns).
        used: Number of axes in use, in reading order.
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


def write_name(ax: Axes, panel: Panel, region: np.ndarray, name: str, *, size: float) -> None:
    """Write a name at the place of a region that is farthest from its border.

    Args:
        ax: Where to write.
        panel: The table.
        region: Shape of the table, true inside the region.
        name: What to write.
        size: Points.
    """
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    deepest = np.argwhere(depth == depth.max())
    row, column = deepest[np.argmin(((deepest - deepest.mean(axis=0)) ** 2).sum(axis=1))]
    at = panel.x.values[column], panel.y.values[row]
    look = {"color": INK, "fontweight": "bold", "fontsize": size, "path_effects": halo(2.2), "zorder": 5}
    ax.text(*at, name, ha="center", va="center", **look)


def _strength(share: np.ndarray) -> np.ndarray:
    """Strength of the colour: full if all agree, a quarter at a third."""
    return 0.25 + 0.75 * np.clip((share - 1 / 3) / (2 / 3), 0, 1)


def _figure(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    if rows == columns == 1:
        return new_figure(1, 1, width=7.2, height=4.4)
    width = 1.0 + 2.4 * columns
    return new_figure(rows, columns, width=width, height=1.3 + 2.1 * rows, sharex=True, sharey=True)


def _set_legend(figure: Figure, ax: Axes, votes: Votes, replicas: int, *, beside: bool) -> None:
    """One legend outside: phases in three strengths, then the lines."""
    colours = phase_colours(votes.words)
    order = sorted(votes.words, key=lambda value: votes.words[value] == UNDECIDED)
    seen = [value for value in order if (votes.majority == value).any()]
    shares = (1 / 3, 2 / 3, 1.0) if replicas > 1 else (1.0,)
    swatches = [tuple(_swatch(votes.words[value], colours[value], share) for share in shares) for value in seen]
    names = [votes.words[value].replace("_", " ") for value in seen]
    lines, said = ax.get_legend_handles_labels()
    where = "outside right upper" if beside else "outside lower center"
    title = f"majority of {replicas} replicas\n(pale to full: 1/3, 2/3, all)" if replicas > 1 else None
    figure.legend(
        [*swatches, *lines],
        [*names, *(wrapped(word, 26) for word in said)],
        loc=where,
        ncols=1 if beside else 3,
        title=title,
        alignment="left",
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
        handlelength=2.6,
        labelspacing=0.7,
    )


def _swatch(word: str, colour: tuple[float, float, float], share: float) -> Patch:
    strength = float(_strength(np.array(share)))
    mixed = strength * np.array(colour) + (1 - strength) * np.array(to_rgb(PAPER))
    return Patch(facecolor=mixed, edgecolor=HATCH, lw=0, hatch="////" if word == UNDECIDED else None)
