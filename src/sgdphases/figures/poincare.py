"""Poincaré sections: the state of the iterated hidden layer against its state one iteration before."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sgdphases.figures import selection
from sgdphases.figures.options import Poincare
from sgdphases.figures.style import INK, kind, label, new_figure, number, series_colours, value_label, wrapped
from sgdphases.storage.cube import clock_of

COLUMNS = 4
ESCAPED = 1e6
"""Size past which an orbit counts as escaped: a map with relu has no bound, and one such orbit would hide the rest."""


@kind
def poincare(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Poincare) -> Figure:
    """Neighbouring iterations of some orbits of one replica, one colour an image, one panel a time of training.

    A fixed point is a dot on the diagonal, a cycle a few dots beside it, quasi-periodic motion a closed line, chaos a
    cloud (arXiv 1909.05176, Fig. 2).

    Args:
        cube: The cube.
        fits: Not read.
        options: What the card says.

    Returns:
        The figure.

    Raises:
        ValueError: If the variable was not measured at one of the times; the message lists those at which it was.
    """
    cell = selection.at_values(cube, {**options.at, "replica": options.replica})
    places = _places(cell, options)
    columns = min(len(places), COLUMNS)
    rows = -(-len(places) // columns)
    figure, axes = new_figure(rows, columns, width=max(3.6, 0.5 + 2.25 * columns), height=0.4 + 2.5 * rows)
    sections = [cell.isel({clock_of(cell): place}) for place in places]
    orbits = [_bounded(here[options.variable].isel(image=slice(options.images))) for here in sections]
    # What has come to rest to rounding is one point; axes that resolved it would show rounding.
    sizes = [float(np.abs(section).max()) for section in orbits]
    least = max(0.02 * np.nanmax([*sizes, 0.0]), 1e-3)
    for here, section, ax in zip(sections, orbits, axes.flat, strict=False):
        _draw_section(ax, section, least)
        lost = int(section.isnull().all("iteration").sum())
        lines = [_title(here, options), *([f"{lost} of {section.sizes['image']} escape"] if lost else [])]
        ax.set_title("\n".join(lines), loc="left")
    for ax in axes.flat[len(places) :]:
        ax.remove()
    symbol = cell[options.variable].attrs.get("symbol", "X_t").replace("_t", "_{t+1}")
    for place in range(len(places)):
        axes.flat[place].set_xlabel(
            wrapped(label(cell[options.variable]), 22) if place + columns >= len(places) else ""
        )
        axes.flat[place].set_ylabel(f"${symbol}$" if place % columns == 0 else "")
    return figure


def _places(cell: xr.Dataset, options: Poincare) -> list[int]:
    """Places along the clock of the times that the card chooses."""
    array = selection.variable_of(cell, options.variable)
    clock = clock_of(cell)
    rest = [str(dim) for dim in array.dims if dim not in (clock, "image", "iteration")]
    if rest or "iteration" not in array.dims:
        raise ValueError(
            f"{options.variable} has the axes {', '.join(map(str, array.dims))}; choose with the option at"
        )
    times = selection.coordinate_of(array, options.x)
    known = array.notnull().any([dim for dim in array.dims if dim != clock]).values
    found = []
    for time in options.times:
        near = np.isclose(times.values, time, rtol=1e-6, atol=1e-9) & known
        if not near.any():
            there = ", ".join(f"{value:g}" for value in times.values[known]) or "none"
            raise ValueError(f"{options.variable} was not measured at {options.x} = {time:g}; it was at {there}")
        found.append(int(np.flatnonzero(near)[0]))
    return found


def _bounded(section: xr.DataArray) -> xr.DataArray:
    """The orbits that stay within bounds; the others are NaN."""
    return section.where((np.abs(section) <= ESCAPED).all("iteration"))


def _draw_section(ax: Axes, section: xr.DataArray, least: float) -> None:
    """Draw all orbits at one time on equal axes, at least `least` to both sides, with the diagonal."""
    values = section.transpose("image", "iteration").values
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 0.0)
    half = max(0.55 * (high - low), least)
    limits = (low + high) / 2 - half, (low + high) / 2 + half
    ax.plot(limits, limits, color=INK, lw=0.6, zorder=1)
    for orbit, colour in zip(values, series_colours(len(values)), strict=True):
        ax.plot(orbit[:-1], orbit[1:], ls="none", marker="o", ms=2.6, mew=0, color=colour, zorder=2)
    ax.set(xlim=limits, ylim=limits)
    ax.set_box_aspect(1)
    for ruler in (ax.xaxis, ax.yaxis):
        ruler.set_major_locator(MaxNLocator(3))


def _title(here: xr.Dataset, options: Poincare) -> str:
    """Time, J² and the kind of the dynamics."""
    lines = [value_label(here[options.x], here[options.x].item())]
    if "coupling" in here:
        square = selection.squared(selection.layer_of(here["coupling"], options.layer))
        lines[0] += f", ${square.attrs['symbol']} = {number(square.item())}$"
    if "dynamics" in here:
        kinds = here["dynamics"]
        kinds = kinds.isel(control=0) if "control" in kinds.dims else kinds
        words = dict(
            zip(np.ravel(kinds.attrs["flag_values"]).tolist(), kinds.attrs["flag_meanings"].split(), strict=True)
        )
        lines.append(words.get(kinds.item(), "").replace("_", " "))
    return "\n".join(lines)
