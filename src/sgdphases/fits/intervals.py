"""Values with errors, and the one place that turns them into intervals.

An error is one standard error, whatever it was made from. An interval holds the truth in 95 % of cases, and of an error
that comes from few replicas it reaches further than 1.96 errors: by the quantile of Student's t for their degrees of
freedom (4.30, 2.78, 2.36 and 2.13 errors of 3, 5, 8 and 16 replicas).
"""

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

    def times(self, factor: ArrayLike) -> "Estimate":
        """The same in other units, the interval too."""
        value, error, low, high = (np.asarray(part) for part in (self.value, self.error, self.low, self.high))
        ends = low * factor, high * factor
        return Estimate(value * factor, error * np.abs(factor), np.minimum(*ends), np.maximum(*ends))


def reach_of(freedom: ArrayLike, *, confidence: float = 0.95) -> Floats:
    """Standard errors to either side of an estimate that hold the truth with a probability, by Student's t.

    Args:
        freedom: Degrees of freedom of the error; infinite where it is as good as known.
        confidence: The probability.

    Returns:
        Shape of the degrees of freedom; NaN where there is less than one.
    """
    known = np.asarray(freedom, dtype=np.float64)
    return stats.t.ppf(0.5 + confidence / 2, np.where(known >= 1, known, np.nan))


def student_estimate(
    value: ArrayLike, error: ArrayLike, *, freedom: ArrayLike, confidence: float = 0.95, positive: bool = False
) -> Estimate:
    """Estimate with the interval of Student's t.

    Args:
        value: The estimate.
        error: Its standard error.
        freedom: Degrees of freedom of the error: replicas less one, points of a line less two.
        confidence: Probability inside the interval.
        positive: Whether the interval is symmetric in the logarithm, as that of a variance should be, whose error is
            small where it is.

    Returns:
        The estimate with value ± quantile · error; NaN ends where there is less than one degree of freedom.
    """
    centre, width = np.asarray(value, dtype=np.float64), np.asarray(error, dtype=np.float64)
    reach = reach_of(freedom, confidence=confidence) * width
    if not positive:
        return Estimate(centre, width, centre - reach, centre + reach)
    share = reach / np.where(centre > 0, centre, np.nan)
    with np.errstate(over="ignore"):  # an error many times the value says nothing
        return Estimate(centre, width, centre * np.exp(-share), centre * np.exp(share))


def normal_estimate(value: ArrayLike, error: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Estimate with the interval of a normal distribution, for errors that are as good as known.

    Args:
        value: The estimate.
        error: Its standard error.
        confidence: Probability inside the interval.

    Returns:
        The estimate with value ± quantile · error.
    """
    return student_estimate(value, error, freedom=np.inf, confidence=confidence)


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
