"""Values with errors, and confidence intervals of fractions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error and a confidence interval; numbers or arrays of one shape.

    Attributes:
        value: The estimate.
        error: One standard error. NaN where the data do not give one.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: Floats
    error: Floats
    low: Floats
    high: Floats


def normal_estimate(value: ArrayLike, error: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Estimate with the symmetric interval of a normal distribution.

    Args:
        value: The estimate.
        error: Its standard error.
        confidence: Probability inside the interval.

    Returns:
        The estimate with value ± quantile · error.
    """
    centre, width = np.asarray(value, dtype=np.float64), np.asarray(error, dtype=np.float64)
    reach = stats.norm.ppf(0.5 + confidence / 2) * width
    return Estimate(centre, width, centre - reach, centre + reach)


def wilson_interval(successes: ArrayLike, trials: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Fraction of successes with Wilson's score interval, for arrays.

    Centre (p + z²/2n)/(1 + z²/n), half-width z√(p(1 − p)/n + z²/4n²)/(1 + z²/n). E. B. Wilson, J. Am. Stat. Assoc. 22,
    209 (1927). It contains the fraction, stays inside [0, 1] and is useful at 0 and n successes, where the plain
    standard error vanishes.

    Args:
        successes: Number of successes.
        trials: Number of trials; where it is 0 everything is NaN.
        confidence: Probability inside the interval.

    Returns:
        The fraction; its error is the half-width of the interval of one standard deviation.

    Raises:
        ValueError: If there are more successes than trials, or fewer than none.
    """
    count, total = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    if np.any(count < 0) or np.any(count > total):
        raise ValueError("successes must lie between 0 and the number of trials")
    size = np.where(total > 0, total, np.nan)
    fraction = count / size
    centre, half = _score(fraction, size, stats.norm.ppf(0.5 + confidence / 2))
    # Rounding must not push the ends past 0, 1 or the fraction itself.
    low = np.clip(np.minimum(centre - half, fraction), 0, 1)
    high = np.clip(np.maximum(centre + half, fraction), 0, 1)
    return Estimate(fraction, _score(fraction, size, 1.0)[1], low, high)


def stacked(estimates: Sequence[Estimate], axis: int = 0) -> Estimate:
    """Several estimates of one shape as one.

    Args:
        estimates: At least one.
        axis: Where the new axis goes.

    Returns:
        One estimate.
    """
    parts = ("value", "error", "low", "high")
    return Estimate(*(np.stack([np.asarray(getattr(e, part)) for e in estimates], axis=axis) for part in parts))


def _score(fraction: Floats, size: Floats, quantile: float) -> tuple[Floats, Floats]:
    """Centre and half-width of the score interval at `quantile` standard deviations."""
    scale = 1 + quantile**2 / size
    half = quantile * np.sqrt(fraction * (1 - fraction) / size + quantile**2 / (4 * size**2)) / scale
    return (fraction + quantile**2 / (2 * size)) / scale, half
