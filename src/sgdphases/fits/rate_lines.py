"""Lines of learning rates in the richness, both in decades: of lazy or of rich networks, and where two lines cross."""

import math
from dataclasses import dataclass

import numpy as np

from sgdphases.fits.arrays import Floats
from sgdphases.fits.interval_lines import bootstrapped_lines, interval_lines
from sgdphases.fits.intervals import Estimate
from sgdphases.fits.strips import Strips


@dataclass(frozen=True)
class Ends:
    """What is known of one learning rate of every strip.

    Attributes:
        low: Lower ends of its intervals, (R, O, G, ...).
        high: Upper ends.
        error: Standard error that it has beside its interval, (O, G, ...), or 0.
    """

    low: Floats
    high: Floats
    error: Floats | float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, ...)."""
        return self.low.shape[1], *self.low.shape[3:]

    def cells(self, chosen: np.ndarray) -> tuple[Floats, Floats, Floats | float]:
        """Low and high ends (R, points, columns) and errors (points, columns) for some values of the richness."""
        low, high = (_columns(end, chosen) for end in (self.low, self.high))
        return low, high, _columns(self.error[None], chosen)[0] if isinstance(self.error, np.ndarray) else self.error


@dataclass(frozen=True)
class RateLines:
    """Lines of one regime with their errors; every part (O, ...).

    Attributes:
        slope: Power of the richness.
        height: Decades of the learning rate at richness 1.
        there: The same at a place that was asked for.
    """

    slope: Estimate
    height: Estimate
    there: Estimate


def plain_lines(strips: Strips, ends: Ends, regime: str) -> tuple[Floats, Floats, np.ndarray]:
    """Lines without errors.

    Args:
        strips: The strips.
        ends: What is fitted.
        regime: lazy or rich.

    Returns:
        (slope, height at richness 1, intervals used), each (O, ...).
    """
    chosen = strips.regime(regime)
    low, high, _ = ends.cells(chosen)
    x = np.tile(strips.richness[chosen], len(low))
    lines = interval_lines(x, *(end.reshape(len(x), end.shape[-1]) for end in (low, high)))
    return tuple(part.reshape(ends.shape) for part in (lines.slope, lines.height, lines.points))


def rate_lines(strips: Strips, ends: Ends, regime: str, place: Floats) -> RateLines:
    """Lines with errors.

    Args:
        strips: The strips.
        ends: What is fitted.
        regime: lazy or rich.
        place: Decades of the richness at which the height is wanted too, (O, ...).

    Returns:
        The lines.
    """
    chosen = strips.regime(regime)
    low, high, error = ends.cells(chosen)
    found = bootstrapped_lines(strips.richness[chosen], low, high, place=place.reshape(-1), error=error)
    return RateLines(*(shaped(estimate, ends.shape) for estimate in found))


def crossing(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Floats:
    """Where two lines (slope, height) have the same height; NaN where they are parallel."""
    apart = first[0] - second[0]
    return (second[1] - first[1]) / np.where(apart != 0, apart, np.nan)


def crossed(place: Floats, first: RateLines, second: RateLines) -> Estimate:
    """A crossing with its error, from those of the lines' heights `there`, taken as independent."""
    apart = np.abs(first.slope.value - second.slope.value)
    apart = np.where(apart > 0, apart, np.nan)
    error = np.hypot(first.there.error, second.there.error) / apart
    reach = np.hypot(*((line.there.high - line.there.low) / 2 for line in (first, second))) / apart
    return Estimate(place, error, place - reach, place + reach)


def shaped(estimate: Estimate, shape: tuple[int, ...]) -> Estimate:
    """An estimate in another shape."""
    parts = (np.asarray(part) for part in (estimate.value, estimate.error, estimate.low, estimate.high))
    return Estimate(*(part.reshape(shape) for part in parts))


def _columns(values: Floats, chosen: np.ndarray) -> Floats:
    """(R, O, G, ...) as (R, points, columns)."""
    moved = np.moveaxis(values, 2, 1)[:, chosen]
    return moved.reshape(*moved.shape[:2], math.prod(moved.shape[2:]))
