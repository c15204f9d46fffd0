"""The order-chaos diagram: J0/J against 1/J, the edge of chaos, and the way of trained weights through it.

Where the cube holds a map of random matrices, that is the background, hatched where it has not converged; elsewhere it
is what mean-field theory says of Gaussian weights (arXiv 2107.09437, Figs 1b and 2a).
"""

import itertools
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from sgdphases.figures import selection
from sgdphases.figures.diagram import write_name
from sgdphases.figures.dynamics import SHOWN, law, shown
from sgdphases.figures.maps import beyond, draw_map, norm_of
from sgdphases.figures.options import PhasePlane
from sgdphases.figures.selection import Panel
from sgdphases.figures.style import (
    INK,
    PAPER,
    SEQUENTIAL,
    THEORY,
    halo,
    hatch_cells,
    kind,
    label,
    legend_below,
    new_figure,
    rule_axes,
    series_colours,
    value_label,
    wrapped,
)
from sgdphases.storage.cube import clock_of
from sgdphases.theory.edge_of_chaos import LARGEST_COUPLING_RATIO, critical_coupling, ferromagnetic_mean_coupling
from sgdphases.theory.meanfield import phase

RATIO = {"long_name": "mean over disorder of the weights", "symbol": "J_0/J", "units": "1"}
INVERSE = {"long_name": "inverse disorder of the weights", "symbol": "1/J", "units": "1"}
LIMITS = {"asymptotic_distance": [-4.0, 0.2]}
"""Ends of the colours where the card names none: unrelated orbits are at most sqrt(2 N) apart on average."""
CALCULATED_WORDS = {
    "asymptotic_distance": {"long_name": "asymptotic distance", "symbol": r"d_\infty", "units": "1"},
    "jacobian_norm": {"long_name": "norm of the Jacobian", "symbol": r"\|J^\ast\|_F/\sqrt{N}", "units": "1"},
    "lyapunov": {"long_name": "largest Lyapunov exponent", "symbol": r"\lambda_\mathrm{max}", "units": "1"},
}
"""What a calculated background shows: no cube holds it."""
CALCULATED = "Greys"
"""Colours of a calculated background, on which ways stand out."""
HIGHEST = 2.2
"""Largest 1/J shown where no way goes beyond."""
PHASES = ("para", "ferro", "chaos")
MOST = 5000
"""Places on all ways together up to which they are lines in a drawing; more are a picture."""


@kind
def phase_plane(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: PhasePlane) -> Figure:
    """The plane of J0/J and 1/J: background, edge of chaos, line from para to ferro, ways of trained weights.

    Args:
        cube: A map of random matrices (axes coupling_ratio and init_scale), or trained networks with `coupling` and
            `mean_coupling`.
        fits: Fits by name; `options.optimum` is read if it is there.
        options: What the card says.

    Returns:
        The figure.
    """
    figure, axes = new_figure(1, 1, width=6.4, height=4.9)
    ax = axes[0, 0]
    measured = options.variable in cube and {"coupling_ratio", "init_scale"} <= set(cube.dims)
    ways = None if measured else _ways(cube, options)
    array = _measured(cube, options) if measured else _calculated(cube, ways, options)
    note = selection.replica_note(cube[options.variable], "median") if measured else "mean field"
    (panel,) = selection.panels(selection.averaged(array, "median"), "coupling_ratio", "inverse_init_scale")
    norm = norm_of([panel.values], "linear", options.limits or LIMITS.get(options.variable))
    mesh = draw_map(ax, panel, norm, options.palette or (None if measured else CALCULATED))
    bar = figure.colorbar(mesh, ax=ax, pad=0.02, aspect=30, extend=beyond(panel.values, norm))
    bar.set_label(wrapped(label(array), 34) + f"\n({note})")
    bar.outline.set_visible(False)
    if measured:
        _hatch(ax, cube, options)
    _draw_lines(ax, INK if measured else THEORY)
    _write_phases(ax)
    if ways is not None:
        _draw_ways(ax, cube, ways, options)
        _mark_optimum(ax, ways, fits, options)
    legend_below(figure, ax)
    return figure


def _measured(cube: xr.Dataset, options: PhasePlane) -> xr.DataArray:
    """The measured map, over replica and the two axes, on linear axes."""
    array = selection.variable_of(cube, options.variable)
    array = selection.at_step(selection.at_values(array, options.at), options.step)
    return _on_plane(shown(selection.as_numbers(array), cube))


def _on_plane(array: xr.DataArray) -> xr.DataArray:
    """The array with the plane's words for its coordinates."""
    words = {"coupling_ratio": RATIO, "inverse_init_scale": INVERSE}
    return array.assign_coords(
        {name: array[name].assign_attrs(said, axis_scale="linear") for name, said in words.items()}
    )


def _calculated(cube: xr.Dataset, ways: xr.Dataset, options: PhasePlane) -> xr.DataArray:
    """Mean-field theory on a table of cells that holds the ways."""
    top = max(HIGHEST, 1.08 * float(ways["y"].max()))
    low, high = options.y_limits or [0.0, top]
    count = options.cells
    x = _centres(*options.x_limits, count)
    y = _centres(max(low, 0.0), high, count)
    values = law(options.variable, 1 / y[:, None], x / y[:, None])
    attrs = CALCULATED_WORDS[options.variable] | SHOWN.get(options.variable, {})
    coordinates = {"coupling_ratio": ("coupling_ratio", x), "inverse_init_scale": ("inverse_init_scale", y)}
    dims = ("inverse_init_scale", "coupling_ratio")
    return _on_plane(xr.DataArray(values, coordinates, dims, name=options.variable, attrs=attrs))


def _centres(low: float, high: float, count: int) -> np.ndarray:
    return low + (np.arange(count) + 0.5) * (high - low) / count


def _hatch(ax: Axes, cube: xr.Dataset, options: PhasePlane) -> None:
    """Hatch the cells in which some replica has not converged."""
    if "converged" not in cube:
        return
    flags = selection.at_step(selection.at_values(cube["converged"], options.at), options.step)
    share = selection.averaged(selection.as_numbers(flags), "mean")
    (panel,) = selection.panels(_on_plane(share), "coupling_ratio", "inverse_init_scale")
    hatch_cells(ax, *rule_axes(ax, panel.x, panel.y), ~(panel.values >= 1), said="not converged")


def _draw_lines(ax: Axes, colour: str) -> None:
    """Draw the edge of chaos, solid, and the line from para to ferro, dotted."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    reach = LARGEST_COUPLING_RATIO
    ratios = np.linspace(max(left, -reach), min(right, reach), 400)
    look = {"color": colour, "lw": 1.7, "path_effects": halo(3.2), "label": "edge of chaos $\\chi_1=1$"}
    ax.plot(ratios, 1 / critical_coupling(ratios), **look)
    heights = np.linspace(1.0, max(high, 1.0), 60)
    border = ferromagnetic_mean_coupling(1 / heights) * heights
    look = {"color": INK, "lw": 1.3, "ls": (0, (1, 1.3)), "path_effects": halo(2.6)}
    for edge in (border, -border):
        if ((left < edge) & (edge < right)).any():
            ax.plot(edge, heights, label="para to ferro $|J_0|=1$", **look)
    ax.set(xlim=(left, right), ylim=(low, high))


def _write_phases(ax: Axes) -> None:
    """Name the phases where there is room beside the axis J0 = 0, along which training goes."""
    x, y = (_centres(*limits, 40) for limits in (ax.get_xlim(), ax.get_ylim()))
    words = phase(1 / np.maximum(y, 1e-3)[:, None], x / np.maximum(y, 1e-3)[:, None])
    table = Panel(words, xr.DataArray(x), xr.DataArray(y), "", {})
    aside = np.abs(x) > 0.12 * np.ptp(x)
    for word in PHASES:
        region = (words == word) & aside
        if region.mean() > 0.02:
            write_name(ax, table, region, word, size=10)


def _ways(cube: xr.Dataset, options: PhasePlane) -> xr.Dataset:
    """Ways of all networks: x = J0/J and y = 1/J over grid, replica and time, with the clock."""
    cell = selection.at_values(cube, options.at)
    coupling, mean = (
        selection.layer_of(selection.variable_of(cell, word), options.layer) for word in ("coupling", "mean_coupling")
    )
    clock = selection.coordinate_of(cell, options.time)
    return xr.Dataset({"x": mean / coupling, "y": 1 / coupling}).assign(time=clock)


def _draw_ways(ax: Axes, cube: xr.Dataset, ways: xr.Dataset, options: PhasePlane) -> None:
    """Draw every network's way, coloured by time or by a coordinate, with a ring at its start."""
    x, y, time = xr.broadcast(ways["x"], ways["y"], ways["time"])
    clock = clock_of(x)
    others = [dim for dim in x.dims if dim != clock]
    norm = Normalize(0.0, float(ways["time"].max()))
    shades = _shades(ways, options)
    for place in itertools.product(*(range(x.sizes[dim]) for dim in others)):
        at = dict(zip(others, place, strict=True))
        points = np.stack([x.isel(at).values, y.isel(at).values], axis=-1)
        ax.plot(*points.T, color=PAPER, lw=3.2, zorder=3)
        if shades is None:
            parts = np.stack([points[:-1], points[1:]], axis=1)
            look = {"cmap": SEQUENTIAL, "norm": norm, "array": time.isel(at).values[1:], "rasterized": x.size > MOST}
            ax.add_collection(LineCollection(list(parts), lw=1.6, zorder=4, **look), autolim=False)
        else:
            value = ways[options.series].isel({dim: at[dim] for dim in ways[options.series].dims}).item()
            colour, said = shades[value]
            ax.plot(*points.T, color=colour, lw=1.6, zorder=4, label=said)
        ring = {"marker": "o", "ms": 5, "mfc": PAPER, "mec": INK, "ls": "none", "zorder": 5}
        ax.plot(*points[0], label="start", **ring)
    if shades is None:
        ruler = mpl.cm.ScalarMappable(norm, SEQUENTIAL)
        bar = ax.figure.colorbar(ruler, ax=ax, pad=0.02, aspect=30)
        bar.set_label(wrapped(label(cube[options.time]), 34))
        bar.outline.set_visible(False)


def _shades(ways: xr.Dataset, options: PhasePlane) -> dict[float, tuple] | None:
    """Value of the series to its colour and words; None if time colours the ways."""
    if options.series is None:
        return None
    along = selection.coordinate_of(ways, options.series)
    values = np.unique(along.values)
    colours = series_colours(len(values))
    return {value: (colour, value_label(along, value)) for value, colour in zip(values, colours, strict=True)}


def _mark_optimum(ax: Axes, ways: xr.Dataset, fits: Mapping[str, xr.Dataset], options: PhasePlane) -> None:
    """Mark where the replicas' mean way is at the time of the best test loss."""
    fit = fits.get(options.optimum)
    if fit is None:
        return
    best = selection.variable_of(fit, "optimum_epoch_time")
    best = selection.at_values(best, {name: value for name, value in options.at.items() if name in best.coords})
    mean = ways[["x", "y"]].mean("replica")
    clock = clock_of(mean)
    for place in itertools.product(*(range(best.sizes[dim]) for dim in best.dims)):
        at = dict(zip(best.dims, place, strict=True))
        here = mean.isel({dim: index for dim, index in at.items() if dim in mean.dims})
        rest = [str(dim) for dim in here.dims if dim != clock]
        if rest:
            raise ValueError(f"the fit {options.optimum} lacks the axis {', '.join(rest)}")
        when = float(best.isel(at))
        if not np.isfinite(when):
            continue
        times = here["epoch_time"].values
        spot = [np.interp(when, times, here[name].values) for name in ("x", "y")]
        look = {"marker": "*", "ms": 12, "mfc": "#ffd447", "mec": INK, "mew": 0.8, "ls": "none", "zorder": 6}
        ax.plot(*spot, label="best test loss", **look)
