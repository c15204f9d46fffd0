"""What is marked on panels beside the data: heights, places that a fit found, and a fitted growth law."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from sgdphases.figures import selection
from sgdphases.figures.options import Curves, Dynamics
from sgdphases.figures.style import INK, THEORY, label

MARKS = (
    {"color": INK, "ls": (0, (4, 1.6))},
    {"color": "#2f7d5b", "ls": (0, (1, 1.2))},
    {"color": "#8a5a00", "ls": (0, (5, 2, 1, 2))},
)
"""Places that are marked by vertical lines, in the order of the card."""


def draw_levels(ax: Axes, heights: list[float]) -> None:
    """Draw thin horizontal lines."""
    for height in heights:
        ax.axhline(height, color=INK, lw=0.7, zorder=1)


def draw_mark(ax: Axes, fit: xr.Dataset, word: str, at: Mapping[str, float], *, look: Mapping[str, object]) -> None:
    """Mark a place that a fit found by a vertical line, its standard error by a band.

    Args:
        ax: Where.
        fit: The fit.
        word: The variable, a single number at the chosen values; nothing is drawn where it is NaN.
        at: Coordinate to value, for axes of the fit.
        look: Colour and dashes.

    Raises:
        ValueError: If the fit has no such variable, or an axis is left open.
    """
    place = scalar(fit, word, at)
    if not np.isfinite(place):
        return
    spread = scalar(fit, f"{word}_error", at) if f"{word}_error" in fit else np.nan
    if np.isfinite(spread):
        ax.axvspan(place - spread, place + spread, color=look["color"], alpha=0.15, lw=0, zorder=0)
    ax.axvline(place, lw=1.1, label=label(fit[word]), zorder=1, **look)


def draw_marks(ax: Axes, fits: Mapping[str, xr.Dataset], options: Curves | Dynamics) -> None:
    """Mark all places that a card names in its option `marks`.

    Args:
        ax: Where.
        fits: Fits by name.
        options: With `marks`, `x` and `at`.
    """
    named = [(fit, mark) for fit, marks in options.marks.items() for mark in marks]
    for place, (fit, mark) in enumerate(named):
        look = MARKS[place % len(MARKS)]
        draw_mark(ax, selection.fit_of(fits, fit), f"{mark}_{options.x}", options.at, look=look)


def draw_fitted(ax: Axes, source: xr.Dataset, fit: xr.Dataset, x: str, at: Mapping[str, float]) -> None:
    """Draw the fitted law of growth, intercept + growth_constant epoch_time, within the fit's window.

    Args:
        ax: Where.
        source: Has the coordinates `epoch_time`, `flow_time` and `x`, at the chosen values along time only.
        fit: `weight_growth`.
        x: Coordinate along the axis.
        at: Coordinate to value, for axes of the fit.

    Raises:
        ValueError: If an axis is left open.
    """
    constant, start = scalar(fit, "growth_constant", at), scalar(fit, "intercept", at)
    along, times = (selection.coordinate_of(source, word) for word in (x, "epoch_time"))
    if times.ndim != 1:
        raise ValueError(f"the fitted line needs one clock; epoch_time changes along {', '.join(map(str, times.dims))}")
    inside = selection.coordinate_of(source, "flow_time").values <= fit.attrs["window_flow_time"] * (1 + 1e-9)
    law = start + constant * times.values
    words = rf"fitted, ${fit['growth_constant'].attrs.get('symbol', 'k')} = {_number(fit, 'growth_constant', at)}$"
    ax.plot(along.values[inside], law[inside], color=THEORY, lw=1.4, ls=(0, (4, 1.4)), label=words, zorder=3)


def scalar(fit: xr.Dataset, word: str, at: Mapping[str, float]) -> float:
    """One number of a fit.

    Args:
        fit: The fit.
        word: The variable.
        at: Coordinate to value; those that the fit does not have are left out.

    Returns:
        The number.

    Raises:
        ValueError: If the fit has no such variable, or the variable has axes that `at` leaves open.
    """
    variable = selection.variable_of(fit, word)
    known = {name: value for name, value in at.items() if name in variable.coords}
    chosen = selection.at_values(variable, known)
    if chosen.ndim:
        raise ValueError(f"{word} changes along {', '.join(map(str, chosen.dims))}; choose with the option at")
    return float(chosen)


def _number(fit: xr.Dataset, word: str, at: Mapping[str, float]) -> str:
    """A number with its error in a formula, as many digits as the error allows."""
    value = scalar(fit, word, at)
    spread = scalar(fit, f"{word}_error", at) if f"{word}_error" in fit else np.nan
    if not (np.isfinite(spread) and spread > 0):
        return f"{value:.3g}"
    digits = max(0, -int(np.floor(np.log10(spread))))
    return rf"{value:.{digits}f}\pm {spread:.{digits}f}"
