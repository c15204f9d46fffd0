"""Curvature against richness at the start and at the end, and the learning rate that it allows.

Source: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642, Figs. 3 and 4; the powers are those of `theory.richness`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdphases.ensemble.status import TRAINED
from sgdphases.figures import selection
from sgdphases.figures.diagram import keep_outer_labels
from sgdphases.figures.richness_options import Sharpness
from sgdphases.figures.style import (
    HATCH,
    INK,
    PAPER,
    THEORY,
    kind,
    label,
    legend_below,
    log_ticks,
    new_figure,
    series_colours,
    value_label,
)

DASHES: tuple[Any, ...] = ((0, (4, 1.4)), (0, (1, 1.1)), (0, (5, 1.4, 1, 1.4)))
WORDS = {
    "start": r"largest, $N\lambda_\mathrm{max}$, at the start",
    "end": r"largest, $N\lambda_\mathrm{max}$, at the end",
    "bottom": r"lowest, $N|\lambda_\mathrm{min}|$, at the start",
}
MARKS = {"start": "o", "end": "s", "bottom": "v"}


@kind
def sharpness(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Sharpness) -> Figure:
    """Above the ends of the Hessian's spectrum, below the learning rates that they allow; a column for each depth.

    Args:
        cube: Its `status` says which networks of the card's learning rates have trained.
        fits: Fits by name; the curvatures are read, and the largest learning rates where they are there.
        options: What the card says.

    Returns:
        The figure.
    """
    fit = selection.at_values(selection.fit_of(fits, options.fit), options.at)
    cell = selection.at_values(cube, {name: value for name, value in options.at.items() if name in cube.coords})
    depths = np.atleast_1d(fit["depth"].values) if "depth" in fit.coords else np.array([0])
    size = {"width": 1.2 + 2.4 * len(depths), "height": 6.2}
    figure, axes = new_figure(2, len(depths), **size, sharex=True, sharey="row")
    edges = fits.get(options.edges)
    for depth, (above, below) in zip(depths, axes.T, strict=True):
        part, own = (each.sel(depth=depth) if "depth" in each.dims else each for each in (fit, cell))
        layers = selection.layers_of(cube, depth)
        _draw_curvatures(above, part, layers)
        _draw_trained(below, own)
        _draw_rates(below, part, layers)
        if edges is not None:
            _draw_measured(below, edges, depth, options)
        above.set_title(value_label(fit["depth"], depth) if "depth" in fit.coords else "")
        below.set_xlabel(label(fit["richness"]))
        for ax in (above, below):
            ax.set(xscale="log", yscale="log")
            log_ticks(ax.xaxis, fit["richness"].values)
            log_ticks(ax.yaxis, np.array(ax.get_ylim()))
    axes[0, 0].set_ylabel("eigenvalue of the Hessian")
    axes[1, 0].set_ylabel(r"learning rate $\eta$")
    keep_outer_labels(axes, axes.size)
    legend_below(figure, *axes.flat)
    return figure


def _draw_curvatures(ax: Axes, part: xr.Dataset, layers: int) -> None:
    """Draw the eigenvalues and their powers of the richness."""
    top = part["start_hessian_top"]
    end = part["best_end_hessian_top"]
    colours = dict(zip(("start", "end", "bottom"), series_colours(3), strict=True))
    found = {"start": (top, part["start_hessian_top_error"]), "end": (end, part["best_end_hessian_top_error"])}
    if "start_ratio" in part:
        found["bottom"] = (np.abs(part["start_ratio"]) * top, np.abs(part["start_ratio_error"]) * top)
    for word, (values, error) in found.items():
        look = {"color": colours[word], "ms": 4.5, "elinewidth": 1, "mec": PAPER, "mew": 0.4, "zorder": 3}
        look |= {"fmt": MARKS[word], "label": WORDS[word]}
        if word != "end":
            # Open, so that what lies on the same place can be seen.
            look |= {"mfc": "none", "mec": colours[word], "mew": 1.0, "ms": 6.5}
        ax.errorbar(values["richness"], values, yerr=np.nan_to_num(error), **look)
    deep = r"^{-2/L}"
    for values, regime, power, said in (
        (top, "lazy", -2.0, r"$\propto\gamma^{-2}$"),
        (top, "rich", -1.0, r"$\propto\gamma^{-1}$"),
        (end, "rich", -2.0 / layers, rf"$\propto\gamma{deep}$"),
    ):
        place = {-2.0: 0, -1.0: 1}[power] if values is top else 2
        _draw_power(ax, values, part, regime, power, f"{said} ({regime}, prefactor fitted)", DASHES[place])


def _draw_power(
    ax: Axes, values: xr.DataArray, part: xr.Dataset, regime: str, power: float, said: str, dashes: Any
) -> None:
    """Draw a power through the geometric mean of one regime's values, a little beyond both ends."""
    x = np.log10(values["richness"].values.astype(float))
    positive = values.values > 0
    y = np.log10(values.values, out=np.full(x.shape, np.nan), where=positive)
    bound = np.log10(part.attrs[f"{regime}_richness"])
    there = (x <= bound + 1e-6) if regime == "lazy" else (x >= bound - 1e-6)
    there &= positive
    if not there.any():
        return
    height = (y - power * x)[there].mean()
    ends = np.array([x[there].min() - 0.3, x[there].max() + 0.3])
    ax.plot(10**ends, 10 ** (height + power * ends), color=THEORY, lw=1.2, ls=dashes, label=said, zorder=2)


def _draw_rates(ax: Axes, part: xr.Dataset, layers: int) -> None:
    """Draw the learning rate that the curvature at the end allows, and its powers of the richness."""
    decades, error = part["best_predicted_log_rate"], np.nan_to_num(part["best_predicted_log_rate_error"])
    rate = 10.0**decades
    bars = [rate - 10 ** (decades - error), 10 ** (decades + error) - rate]
    look = {
        "fmt": "s",
        "color": series_colours(3)[1],
        "ms": 4.5,
        "elinewidth": 1,
        "mec": PAPER,
        "mew": 0.4,
        "zorder": 3,
    }
    ax.errorbar(rate["richness"], rate, yerr=bars, label=r"predicted by the end, $2/(N\lambda_\mathrm{max})$", **look)
    _draw_power(ax, rate, part, "lazy", 2.0, r"$\propto\gamma^2$ (lazy, prefactor fitted)", DASHES[0])
    _draw_power(ax, rate, part, "rich", 2.0 / layers, r"$\propto\gamma^{2/L}$ (rich, prefactor fitted)", DASHES[2])


def _draw_trained(ax: Axes, cell: xr.Dataset) -> None:
    """Mark which networks of the card's learning rates have trained."""
    if "status" not in cell:
        return
    status = selection.at_step(cell["status"], "last")
    good = (status >= TRAINED).all("replica") if "replica" in status.dims else status >= TRAINED
    rate, richness, good = xr.broadcast(cell["learning_rate"], cell["richness"], good)
    for which, mark, said in ((good.values, "+", "trained"), (~good.values, "x", "not trained")):
        if which.any():
            look = {"ls": "none", "marker": mark, "ms": 4, "color": HATCH if mark == "x" else INK, "mew": 0.8}
            ax.plot(richness.values[which], rate.values[which], label=f"learning rates of the card: {said}", **look)


def _draw_measured(ax: Axes, edges: xr.Dataset, depth: float, options: Sharpness) -> None:
    """Draw the largest learning rate that was measured."""
    part = edges.sel(depth=depth) if "depth" in edges.dims else edges
    part = selection.at_values(part, {name: value for name, value in options.at.items() if name in part.coords})
    names = [str(name) for name in part["criterion_name"].values]
    at = {"criterion": names.index(options.criterion)}
    decades, error = (part[f"log_largest_rate{end}"].isel(at).isel(step=-1) for end in ("", "_error"))
    rate, error = 10.0**decades, np.nan_to_num(error)
    bars = [rate - 10 ** (decades - error), 10 ** (decades + error) - rate]
    look = {"fmt": "o", "color": INK, "ms": 7, "elinewidth": 1, "mfc": "none", "zorder": 4}
    said = rf"measured, $\eta_\mathrm{{max}}$ ({options.criterion})"
    ax.errorbar(rate["richness"], rate, yerr=bars, label=said, **look)
