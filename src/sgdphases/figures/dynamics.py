"""What trained weights do when their hidden layer is iterated as a map, beside controls and mean-field theory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from sgdphases.choices import one_of
from sgdphases.figures import selection
from sgdphases.figures.marks import draw_levels, draw_marks
from sgdphases.figures.options import Dynamics
from sgdphases.figures.style import INK, PAPER, THEORY, kind, label, legend_below, new_figure, wrapped
from sgdphases.storage.cube import clock_of
from sgdphases.theory.correlation_map import asymptotic_distance
from sgdphases.theory.meanfield import jacobian_norm, lyapunov_exponent

FLOOR = 1e-4
"""What is added to a distance over √N before its logarithm is drawn (arXiv 2107.09437, its code)."""

LAWS = {"asymptotic_distance": asymptotic_distance, "jacobian_norm": jacobian_norm, "lyapunov": lyapunov_exponent}
"""Variables with a law of J and J0 (distances over √N)."""

SHOWN = {"asymptotic_distance": {"symbol": r"\log_{10}(d_\infty/\sqrt{N} + 10^{-4})", "units": "1"}}
"""How measures are shown that are not shown as they are."""

EDGES = {"jacobian_norm": [1.0], "lyapunov": [0.0], "spectral_radius": [1.0]}
"""Heights at which chaos begins or the zero state loses its stability."""

COLOURS = {
    "trained": "#0b0b0b",
    "shuffled": "#d1731f",
    "same_spectrum": "#3c7ab5",
    "outliers_removed": "#5a9e6f",
    "gaussian": "#a56fb0",
}
MARKERS = {"trained": "o", "shuffled": "s", "same_spectrum": "^", "outliers_removed": "v", "gaussian": "D"}


@kind
def dynamics(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Dynamics) -> Figure:
    """Measures of the iterated layers against J² or time, trained weights beside their controls and mean-field theory.

    Points are means over the replicas, bars their standard deviations (with one replica, of exponents, the error over
    its orbits). Distances are averaged in the logarithm that is drawn, over images their median is taken.

    Args:
        cube: The cube.
        fits: Fits by name; `edges` is read for where measures cross, if it is there.
        options: What the card says.

    Returns:
        The figure.

    Raises:
        ValueError: If a variable is missing or nothing of it was measured.
    """
    cell = selection.at_values(cube, options.at)
    along = _abscissa(cell, options)
    count = len(options.variables)
    columns = min(count, 3)
    rows = -(-count // columns)
    size = {"width": {1: 4.8, 2: 7.2}.get(columns, 9.0), "height": 0.7 + 2.7 * rows}
    figure, axes = new_figure(rows, columns, **size)
    for word, ax in zip(options.variables, axes.flat, strict=False):
        _draw_measure(ax, cell, along, word, options)
        _draw_crossings(ax, fits, word, options)
        draw_marks(ax, fits, options)
        ax.set(xlabel=wrapped(label(along), 34))
    for ax in axes.flat[count:]:
        ax.remove()
    legend_below(figure, *axes.flat[:count])
    return figure


def shown(array: xr.DataArray, cube: xr.Dataset) -> xr.DataArray:
    """A measure of the iterated map as figures show it.

    Args:
        array: The measure.
        cube: Its attribute `widths` says how many units the map has.

    Returns:
        log10(d/√N + 1e-4) for asymptotic distances, everything else as it is.
    """
    if array.name != "asymptotic_distance":
        return array
    units = int(np.ravel(cube.attrs["widths"])[0])
    return np.log10(array / np.sqrt(units) + FLOOR).assign_attrs(array.attrs | SHOWN["asymptotic_distance"])


def law(word: str, coupling: ArrayLike, mean_coupling: ArrayLike = 0.0) -> NDArray[np.float64]:
    """What mean-field theory says of a measure, as figures show it.

    Args:
        word: A name of `LAWS`.
        coupling: J.
        mean_coupling: J0.

    Returns:
        The values.

    Raises:
        ValueError: If the measure has no law.
    """
    values = LAWS[one_of(word, LAWS, "measure with a mean-field law")](coupling, mean_coupling)
    return np.log10(values + FLOOR) if word == "asymptotic_distance" else values


def _abscissa(cell: xr.Dataset, options: Dynamics) -> xr.DataArray:
    """J², or the time that the card names."""
    if options.x != "coupling":
        return selection.coordinate_of(cell, options.x)
    return selection.squared(selection.layer_of(selection.variable_of(cell, "coupling"), options.layer))


def _draw_measure(ax: Axes, cell: xr.Dataset, along: xr.DataArray, word: str, options: Dynamics) -> None:
    """Draw one measure: every control, the mean-field curve, and the height at which chaos begins."""
    array = _per_network(cell, word)
    controls = _controls(array, options)
    for place, name in controls.items():
        part = array if place is None else array.isel(control=place)
        _draw_control(ax, part, along, _orbit_error(cell, word, place), name)
    low, high = ax.get_xlim()
    if word in LAWS and options.x == "coupling":
        places = np.linspace(max(low, 1e-3), high, 200)
        ax.plot(places, law(word, np.sqrt(places)), color=THEORY, lw=1.2, label="mean field, $J_0=0$", zorder=1)
    draw_levels(ax, EDGES.get(word, []))
    if options.x == "coupling":
        ax.axvline(1, color=INK, lw=0.7, ls=(0, (1, 1.4)), zorder=1)
    ax.set(xlim=(low, high), ylim=options.limits.get(word), ylabel=wrapped(label(array), 32))


def _per_network(cell: xr.Dataset, word: str) -> xr.DataArray:
    """A measure over replica, time and control as it is shown: over images the median of distances, else the mean."""
    array = shown(selection.as_numbers(selection.variable_of(cell, word)), cell)
    if not array.notnull().any():
        raise ValueError(f"{word} has no value; it is measured where the card records weights")
    if "image" in array.dims:
        known = array.notnull().any("image")
        filled = array.where(known, 0.0)
        reduced = filled.median("image") if word == "asymptotic_distance" else filled.mean("image")
        array = reduced.where(known).assign_attrs(array.attrs).rename(word)
    rest = [str(dim) for dim in array.dims if dim not in ("replica", "control", clock_of(array))]
    if rest:
        raise ValueError(f"{word} also changes along {', '.join(rest)}; choose with the option at")
    return array


def _controls(array: xr.DataArray, options: Dynamics) -> dict[int | None, str]:
    """Place along `control` to name, those of the card; trained weights alone where the measure has no controls."""
    if "control" not in array.dims:
        return {None: "trained"}
    names = [str(name) for name in array["control_name"].values]
    chosen = [one_of(name, names, "control") for name in options.controls] or names
    return {names.index(name): name for name in chosen}


def _orbit_error(cell: xr.Dataset, word: str, place: int | None) -> xr.DataArray | None:
    error = cell.get(f"{word}_error")
    return error if error is None or place is None else error.isel(control=place)


def _draw_control(
    ax: Axes, array: xr.DataArray, along: xr.DataArray, orbit_error: xr.DataArray | None, name: str
) -> None:
    """Draw the mean over the replicas against the mean of the abscissa, with bars."""
    clock = clock_of(array)
    both = xr.broadcast(array, along)
    values, places = (part.transpose(clock, "replica").values for part in both)
    seen = np.isfinite(values).any(axis=1)
    values, places = values[seen], np.where(np.isfinite(values[seen]), places[seen], np.nan)
    spread = np.zeros(len(values))
    if values.shape[1] > 1:
        spread = np.nanstd(values, axis=1, ddof=0)
    elif orbit_error is not None:
        spread = orbit_error.transpose(clock, "replica").values[seen, 0]
    colour = COLOURS.get(name, INK)
    look: dict[str, Any] = {"color": colour, "marker": MARKERS.get(name, "o"), "ms": 4, "lw": 1, "elinewidth": 0.9}
    look |= {"markeredgecolor": PAPER, "markeredgewidth": 0.4, "zorder": 4 if name == "trained" else 3}
    ax.errorbar(
        np.nanmean(places, axis=1), np.nanmean(values, axis=1), yerr=spread, label=name.replace("_", " "), **look
    )


def _draw_crossings(ax: Axes, fits: Mapping[str, xr.Dataset], word: str, options: Dynamics) -> None:
    """Draw where a fit found that measures pass the height at which chaos begins, with their intervals."""
    fit = fits.get("edges")
    crossing = f"{word}_edge" if options.x == "coupling" else f"{word}_edge_{options.x}"
    if fit is None or crossing not in fit:
        return
    found = selection.at_values(fit, {name: value for name, value in options.at.items() if name in fit.coords})
    edge = found[crossing]
    for place, name in _controls(edge, options).items():
        at, low, high = (
            float(found[f"{crossing}{end}"].isel({} if place is None else {"control": place}))
            for end in ("", "_low", "_high")
        )
        if not np.isfinite(at):
            continue
        height, colour = EDGES[word][0], COLOURS.get(name, INK)
        if np.isfinite([low, high]).all():
            ax.plot([low, high], [height, height], color=colour, lw=3.5, alpha=0.5, solid_capstyle="butt", zorder=2)
        ax.plot(at, height, ls="none", marker="|", ms=10, mew=1.6, color=colour, zorder=5)
