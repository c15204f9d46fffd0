"""How high the loss of lazy networks shoots up before it falls, against the richness.

Source: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642, Fig. 4a; the power -2 follows from `theory.catapult`.
"""

import itertools
from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdphases.ensemble.status import CATAPULT, TRAINED
from sgdphases.figures import selection
from sgdphases.figures.richness_options import CatapultPeaks
from sgdphases.figures.series import name_series
from sgdphases.figures.style import (
    INK,
    PAPER,
    THEORY,
    headline,
    kind,
    label,
    log_ticks,
    new_figure,
    series_colours,
    value_label,
)

SCALED = {"long_name": "learning rate over squared richness", "symbol": r"\eta/\gamma^2", "axis_scale": "log"}
WORDS = ("log_peak", "learning_rate", "richness", "learned")
MAJORITY = 0.5
DIGITS = 3
"""Decimals of the decades of it up to which two are one."""


@kind
def catapult_peaks(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: CatapultPeaks) -> Figure:
    """Peaks of the loss over its start against the richness, one line for each learning rate over squared richness.

    Only peaks of more than twice the start are shown; medians over replicas; further axes are panels. Marks are full
    where most replicas have learned after it.

    Args:
        cube: Its `status` says who has learned.
        fits: Fits by name; `options.fit` holds the peaks.
        options: What the card says.

    Returns:
        The figure.
    """
    fit = selection.at_values(selection.fit_of(fits, options.fit), options.at)
    peak = selection.variable_of(fit, "log_peak")
    fit = fit.assign(learned=_learned(cube, options).broadcast_like(peak))
    dims = [dim for dim in peak.dims if dim not in ("richness", fit.attrs["rate_axis"], "replica")]
    places = [dict(zip(dims, at, strict=True)) for at in itertools.product(*(range(peak.sizes[dim]) for dim in dims))]
    tables = [_table(fit.isel(place), options) for place in places]
    kinds = np.unique(np.concatenate([table["scaled"].values for table in tables]))
    richness = fit["richness"].values
    shown = richness[richness <= max(options.largest * (1 + 1e-6), richness.min())]
    columns = min(len(places), 3)
    size = {"width": 2.6 + 2.3 * columns, "height": 0.8 + 2.6 * -(-len(places) // columns)}
    figure, axes = new_figure(-(-len(places) // columns), columns, **size, sharex=True, sharey=True)
    for place, table, ax in zip(places, tables, axes.flat, strict=False):
        _draw(ax, table, dict(zip(kinds, series_colours(len(kinds)), strict=True)))
        _draw_power(ax, table, options.power)
        ax.set(xscale="log", yscale="log", xlabel=label(fit["richness"]))
        ax.set_title(_title(fit, place))
        ax.set_xlim(shown.min() / 2, shown.max() * 2)
        log_ticks(ax.xaxis, shown)
        if not kinds.size:
            ax.set_ylim(1.0, 10.0)
    for ax in axes.flat[len(places) :]:
        ax.remove()
    for row in axes:
        row[0].set_ylabel(r"peak of the loss over its start $L_\mathrm{max}/L_0$")
    headline(figure, selection.place_words(fit, options.at))
    name_series(figure, axes[:, :columns], xr.DataArray(10.0**kinds, dims="scaled", name="scaled", attrs=SCALED))
    return figure


def _learned(cube: xr.Dataset, options: CatapultPeaks) -> xr.DataArray:
    """Whether networks have learned at the end, over the grid and replica."""
    status = selection.at_step(selection.variable_of(cube, "status"), "last")
    known = {name: value for name, value in options.at.items() if name in status.coords}
    return (selection.at_values(status, known) >= TRAINED).drop_vars("step", errors="ignore")


def _table(fit: xr.Dataset, options: CatapultPeaks) -> xr.Dataset:
    """Decades of the richness, of the learning rate over its square and of the peak; the share that has learned."""
    peak, rate, richness, learned = xr.broadcast(*(fit[word] for word in WORDS))
    shot = selection.averaged(peak.where(peak > np.log10(CATAPULT)), "median")
    share = selection.averaged(learned.where(peak > np.log10(CATAPULT)), "mean")
    rest = [array.isel(replica=0) if "replica" in array.dims else array for array in (rate, richness)]
    place = np.log10(rest[1].values.ravel())
    scaled = np.round(np.log10(rest[0].values.ravel()) - 2 * place, DIGITS)
    height, share = (array.transpose(*rest[1].dims).values.ravel() for array in (shot, share))
    known = np.isfinite(height) & (place <= np.log10(options.largest) + 1e-6)
    columns = {"richness": place, "scaled": scaled, "peak": height, "learned": share}
    return xr.Dataset({name: ("row", values[known]) for name, values in columns.items()}).sortby("richness")


def _draw(ax: Axes, table: xr.Dataset, colours: Mapping[float, tuple]) -> None:
    """Draw the peaks, those of one learning rate over squared richness joined."""
    for scaled, colour in colours.items():
        part = table.isel(row=table["scaled"].values == scaled)
        x, y = (10.0 ** part[name].values for name in ("richness", "peak"))
        ax.plot(x, y, color=colour, lw=0.9)
        full = part["learned"].values >= MAJORITY
        for which, fill in ((full, colour), (~full, PAPER)):
            look = {"ls": "none", "marker": "o", "ms": 4, "mec": colour, "mew": 0.8, "mfc": fill}
            ax.plot(x[which], y[which], **look)
    for fill, said in ((INK, "has learned at the end"), (PAPER, "has not")):
        ax.plot([], [], ls="none", marker="o", ms=4, mec=INK, mew=0.8, mfc=fill, label=said)


def _draw_power(ax: Axes, table: xr.Dataset, power: float) -> None:
    """Draw a power through the middle of all points: that below which half of them lie."""
    if not table.sizes["row"]:
        return
    x = table["richness"].values
    height = np.median(table["peak"].values - power * x)
    ends = np.array([x.min() - 0.2, x.max() + 0.2])
    said = rf"$\propto\gamma^{{{power:g}}}$"
    ax.plot(10**ends, 10 ** (height + power * ends), color=THEORY, lw=1.3, ls=(0, (4, 1.4)), label=said, zorder=1)


def _title(fit: xr.Dataset, place: Mapping[Hashable, int]) -> str:
    """The panel's place and the fitted exponent."""
    part = fit.isel(place)
    words = [value_label(part[dim], part[dim].item()) for dim in place]
    power, error = float(part["scaled_peak_exponent"]), float(part["scaled_peak_exponent_error"])
    if np.isfinite(power):
        words.append(rf"exponent ${power:.2f}\pm{error:.2f}$")
    return ", ".join(words)
