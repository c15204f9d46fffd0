"""What changes in training, against several clocks: steps, and those in which networks of every richness should agree.

Source: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642 (the clock ηt/γ; Figs. 2 and 4).
"""

import itertools
from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdphases.figures import selection
from sgdphases.figures.richness_options import ClockCurves
from sgdphases.figures.series import name_series
from sgdphases.figures.style import (
    INK,
    headline,
    kind,
    label,
    new_figure,
    series_colours,
    value_label,
    wrapped,
)
from sgdphases.fits.drops import BASELINES, smoothed
from sgdphases.quantities import RATE_AXES, attributes
from sgdphases.theory.richness import early_time, late_time

PLACES = 400
"""Times of a smooth line that are drawn, evenly in their logarithm."""
CONSTANT = "loss of the best constant answer"
FIRST = 0.95
"""Share of the baseline at the first drop, from which the late clock counts."""
CLOCKS = {
    "step": attributes("step"),
    "flow_time": {"long_name": "gradient-flow time", "symbol": r"\eta t", "units": "1"},
    "early_time": {"long_name": "early clock", "symbol": r"\tau=\eta t/\gamma", "units": "1"},
    "late_time": {"long_name": "late clock", "symbol": r"\eta\gamma^{-2/L}(t-t_1)", "units": "1"},
}


class Line(NamedTuple):
    """One line of a panel.

    Attributes:
        place: Number of its value among the series'.
        step: SGD steps, (n,).
        height: Median of the replicas that live, (n,).
        rate: Learning rate.
        richness: Feature-learning strength.
        depth: Layers.
        dropped: Step of the first drop; NaN where it is not known.
    """

    place: int
    step: np.ndarray
    height: np.ndarray
    rate: float
    richness: float
    depth: int
    dropped: float


@kind
def clock_curves(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: ClockCurves) -> Figure:
    """Variables against clocks: median of the replicas, one line a value of the series, a row for what is left over.

    Args:
        cube: The cube.
        fits: Fits by name; those that the options need are read.
        options: What the card says.

    Returns:
        The figure.
    """
    cell = _chosen(cube, fits, options)
    along = selection.coordinate_of(cell, options.series)
    drops = selection.fit_of(fits, options.drops) if "late_time" in options.clocks else None
    rows = [(variable, at) for at in _places(cell, options) for variable in options.variables]
    columns = len(options.clocks)
    size = {"width": 1.6 + 2.9 * columns, "height": 0.6 + 2.4 * len(rows)}
    figure, axes = new_figure(len(rows), columns, **size, sharex="col", sharey="row")
    found = [_lines(cell.isel(at), variable, drops, options) for variable, at in rows]
    seen = sorted({line.place for lines in found for line in lines})
    colours = dict(zip(seen, series_colours(len(seen)), strict=True))
    for (variable, at), lines, line_of_axes in zip(rows, found, axes, strict=True):
        for clock, ax in zip(options.clocks, line_of_axes, strict=True):
            for line in lines:
                times = _clocked(line, clock)
                if np.isfinite(times).any():
                    ax.plot(times, line.height, color=colours[line.place], lw=1.1)
            if variable.endswith("loss") and "constant_loss" in cell:
                _draw_constant(ax, cell["constant_loss"].isel(at))
            ax.set_title(_title(cell.isel(at), at))
            _scale(ax, variable, clock, options)
        line_of_axes[0].set_ylabel(wrapped(label(cell[variable]), 30))
    headline(figure, selection.place_words(cell, options.at))
    for clock, ax in zip(options.clocks, axes[-1], strict=True):
        ax.set_xlabel(label(xr.DataArray(0.0, attrs=CLOCKS[clock])))
    name_series(figure, axes, along.isel({along.dims[0]: seen}))
    return figure


def _chosen(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: ClockCurves) -> xr.Dataset:
    """The variables at the chosen places, with a dimension along the series, ascending."""
    words = [selection.variable_of(cube, word).name for word in options.variables]
    cell = cube[[*words, *(word for word in ("constant_loss",) if word in cube and word not in words)]]
    cell = selection.at_values(cell, options.at)
    if options.rate == "best":
        cell = _at_best(cell, selection.fit_of(fits, options.edges))
    cell, row = selection.on_grid(cell, options.series)
    cell = cell.sortby(options.series)
    if options.values:
        known = [selection.at_values(cell, {options.series: value})[options.series].item() for value in options.values]
        cell = cell.isel({row: np.isin(cell[options.series].values, known)})
    return cell


def _at_best(cell: xr.Dataset, edges: xr.Dataset) -> xr.Dataset:
    """The networks whose learning rate is next to the best one at the last step."""
    (axis,) = [dim for dim in ("learning_rate", *RATE_AXES) if dim in cell.dims] or [None]
    if axis is None:
        return cell
    known = {dim: cell[dim].item() for dim in edges.dims if dim in cell.coords and not cell[dim].ndim}
    best = selection.at_values(edges["log_best_rate"].isel(step=-1), known).squeeze(drop=True)
    apart = np.abs(np.log10(cell["learning_rate"]) - best)
    place = apart.fillna(np.inf).argmin(axis)
    return cell.isel({axis: place}).where(best.notnull())


def _places(cell: xr.Dataset, options: ClockCurves) -> list[dict[Hashable, int]]:
    """Index of every value of the axes that are neither time, replica nor series."""
    taken = {"replica", "step", "update", selection.on_grid(cell, options.series)[1]}
    dims = [dim for dim in dict.fromkeys(d for word in options.variables for d in cell[word].dims) if dim not in taken]
    return [dict(zip(dims, place, strict=True)) for place in itertools.product(*(range(cell.sizes[d]) for d in dims))]


def _title(part: xr.Dataset, at: Mapping[Hashable, int]) -> str:
    return ", ".join(value_label(part[dim], part[dim].item()) for dim in at)


def _lines(cell: xr.Dataset, variable: str, drops: xr.Dataset | None, options: ClockCurves) -> list[Line]:
    """All lines of a panel that have a value."""
    row = selection.on_grid(cell, options.series)[1]
    time = "update" if "update" in cell[variable].dims else "step"
    found = []
    for place in range(cell.sizes[row]):
        part = cell.isel({row: place})
        array = part[variable] if "replica" in part[variable].dims else part[variable].expand_dims("replica")
        values, steps = array.transpose("replica", time), part[time].values.astype(np.float64)
        if time == "update" and options.smooth:
            steps, means = smoothed(values.values)
            chosen = _thinned(steps)
            steps, values = steps[chosen], xr.DataArray(means[:, chosen], dims=values.dims, name=variable)
        height = selection.averaged(values.drop_vars(time, errors="ignore"), "median").values
        if not np.isfinite(height).any():
            continue
        rate, richness = (float(part[word]) if word in part.coords else 1.0 for word in ("learning_rate", "richness"))
        layers = selection.layers_of(part) if "late_time" in options.clocks else 0
        found.append(Line(place, steps, height, rate, richness, layers, _dropped(drops, part, options)))
    return found


def _thinned(steps: np.ndarray) -> np.ndarray:
    """Places of about `PLACES` times, evenly in their logarithm."""
    if steps.size <= PLACES:
        return np.arange(steps.size)
    return np.unique(np.searchsorted(steps, np.geomspace(max(steps[0], 0.5), steps[-1], PLACES)))


def _dropped(drops: xr.Dataset | None, part: xr.Dataset, options: ClockCurves) -> float:
    """Step of the first drop of the networks of one line."""
    if drops is None:
        return np.nan
    first = {"level": FIRST, "baseline": BASELINES.index(options.baseline)}
    known = {str(dim): part[dim].item() for dim in drops["drop_step"].dims if dim in part.coords}
    return float(selection.at_values(drops["drop_step"], known | first).squeeze())


def _clocked(line: Line, clock: str) -> np.ndarray:
    """The line's times by a clock."""
    if clock == "step":
        return line.step
    if clock == "flow_time":
        return line.rate * line.step
    known = {"learning_rate": line.rate, "richness": line.richness}
    if clock == "early_time":
        return early_time(line.step, **known)
    since = line.step - line.dropped
    return late_time(np.where(since > 0, since, np.nan), **known, depth=line.depth)


def _draw_constant(ax: Axes, constant: xr.DataArray) -> None:
    """Mark the loss of the best constant answer, where it is one number."""
    values = np.unique(constant.values)
    if np.ptp(values) <= 0.02 * values[0]:
        ax.axhline(float(values.mean()), color=INK, lw=0.7, zorder=1, label=CONSTANT)


def _scale(ax: Axes, variable: str, clock: str, options: ClockCurves) -> None:
    """Scales and limits of one panel; time is logarithmic, so that step 0 is not shown."""
    ax.set_xscale("log", nonpositive="mask")
    ax.set_yscale("linear" if variable in options.linear else "log")
    if variable in options.limits:
        ax.set_ylim(*options.limits[variable])
    if clock in options.times:
        ax.set_xlim(*options.times[clock])
