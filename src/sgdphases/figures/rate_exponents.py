"""Powers of the richness in learning rates, by depth, beside those of theory.

Source: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642: 2 of lazy networks, 2/L of rich ones; smallest 2 and 1.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdphases.figures import selection
from sgdphases.figures.diagram import keep_outer_labels
from sgdphases.figures.richness_options import RateExponents
from sgdphases.figures.style import PAPER, THEORY, kind, label, legend_below, new_figure, series_colours
from sgdphases.quantities import attributes
from sgdphases.theory.richness import learning_rate_exponents

MARKS = {"finite": "^", "trained": "o", "calm": "v", "best": "D", "smallest": "s"}
SAID = {
    "finite": r"$\eta_\mathrm{max}$: largest that stays finite",
    "trained": r"$\eta_\mathrm{max}$: largest that trains",
    "calm": r"$\eta_\mathrm{max}$: largest without a catapult",
    "best": r"$\eta^\ast$: least test loss",
    "smallest": r"$\eta_\mathrm{min}$: smallest that trains",
}
HALF = 0.36
"""Half the width of the lines of theory, in layers; points stand beside each other within."""


@kind
def rate_exponents(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: RateExponents) -> Figure:
    """Exponents of the largest, best and smallest learning rate against depth: lazy and rich are columns, losses rows.

    Args:
        cube: Says the loss and, where depth is no axis, the layers.
        fits: Fits by name; `options.fit` holds the exponents.
        options: What the card says.

    Returns:
        The figure.
    """
    fit = selection.at_values(selection.fit_of(fits, options.fit), options.at)
    losses = np.atleast_1d(fit["loss"].values) if "loss" in fit.coords else np.array(["mean_squared_error"])
    known = np.atleast_1d(fit["depth"].values) if "depth" in fit.coords else np.array([0])
    depths = np.array([selection.layers_of(cube, depth) for depth in known])
    regimes = [str(name) for name in fit["regime_name"].values]
    figure, axes = new_figure(len(losses), len(regimes), width=7.2, height=1.3 + 2.5 * len(losses), sharex=True)
    words = [*options.criteria, *options.others]
    for loss, row in zip(losses, axes, strict=True):
        part = fit.sel(loss=loss) if "loss" in fit.dims else fit
        for place, (regime, ax) in enumerate(zip(regimes, row, strict=True)):
            found = {word: _exponents(part.isel(regime=place), word, options) for word in words}
            _draw_theory(ax, depths, str(loss), regime, smallest="smallest" in words)
            for number, (word, values) in enumerate(found.items()):
                shift = HALF * 0.8 * (2 * number / max(len(words) - 1, 1) - 1) if len(words) > 1 else 0.0
                _draw_points(ax, word, depths + shift, *values, colour=series_colours(len(words))[number])
            ax.set_title(f"{regime}, {str(loss).replace('_', ' ')}" if len(losses) > 1 else regime)
        row[0].set_ylabel(r"exponent $d\ln\eta/d\ln\gamma$")
    for ax in axes[-1]:
        ax.set_xlabel(label(xr.DataArray(0.0, attrs=attributes("depth"))))
    keep_outer_labels(axes, axes.size)
    for row in axes:
        row[0].set_ylabel(r"exponent $d\ln\eta/d\ln\gamma$")
    legend_below(figure, *axes.flat)
    return figure


def _exponents(part: xr.Dataset, word: str, options: RateExponents) -> tuple[np.ndarray, np.ndarray]:
    """Exponents of one learning rate and their standard errors, (depths,) each."""
    name = f"{word}_exponent" if word in options.others else "largest_exponent"
    chosen = [selection.at_step(selection.variable_of(part, one), options.step) for one in (name, f"{name}_error")]
    if word not in options.others and "criterion" in chosen[0].dims:
        place = [str(each) for each in part["criterion_name"].values].index(word)
        chosen = [array.isel(criterion=place) for array in chosen]
    rest = [str(dim) for dim in chosen[0].dims if dim != "depth"]
    if rest:
        raise ValueError(f"{name} also changes along {', '.join(rest)}; choose with the option at")
    return np.atleast_1d(chosen[0].values), np.atleast_1d(chosen[1].values)


def _draw_theory(ax: Axes, depths: np.ndarray, loss: str, regime: str, *, smallest: bool) -> None:
    """Draw the exponents of theory as short lines at each depth."""
    ax.set_xticks(depths)
    ax.set_xlim(depths.min() - 0.6, depths.max() + 0.6)
    for depth in depths:
        law = learning_rate_exponents(float(depth), loss=loss, regime=regime)
        lines: list[tuple[float, Any, str]] = [(law.largest, "-", r"theory of $\eta_\mathrm{max}$")]
        lines += (
            [(law.critical, (0, (1, 1.1)), r"theory of $\eta_\mathrm{max}$ without a catapult")]
            if law.critical != law.largest
            else []
        )
        lines += [(law.least, (0, (4, 1.4)), r"theory of $\eta_\mathrm{min}$")] if smallest else []
        for height, dashes, said in lines:
            look = {"color": THEORY, "lw": 1.6, "ls": dashes, "zorder": 1, "label": said}
            ax.plot([depth - HALF, depth + HALF], [height, height], **look)


def _draw_points(
    ax: Axes, word: str, places: np.ndarray, exponent: np.ndarray, error: np.ndarray, *, colour: Any
) -> None:
    """Draw one learning rate's exponents with their errors."""
    look = {"fmt": MARKS[word], "color": colour, "ms": 5, "mec": PAPER, "mew": 0.5, "elinewidth": 1.1, "zorder": 3}
    ax.errorbar(places, exponent, yerr=np.nan_to_num(error), label=SAID[word], **look)
