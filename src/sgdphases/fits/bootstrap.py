"""Errors by resampling replicas: bootstrap and jackknife of any statistic.

Replicas are the first axis of every array. A replica is drawn whole, with everything that was measured on it, so that
correlations between grid points, steps and levels are kept.
"""

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from sgdphases.fits.intervals import Estimate, normal_estimate

Floats = NDArray[np.float64]
Statistic = Callable[..., ArrayLike]
Samples = ArrayLike | tuple[ArrayLike, ...]

LEAST_VALID = 0.5
"""Share of resamples that must give a number before an interval is quoted."""


def bootstrap(
    statistic: Statistic,
    samples: Samples,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    method: Literal["percentile", "BCa"] = "percentile",
    seed: int = 0,
) -> Estimate:
    """Bootstrap a statistic over replicas with scipy.stats.bootstrap.

    Resamples in which the statistic is NaN (a curve that no longer crosses a level) are left out; if more than half of
    them are, the error and the interval are NaN.

    Args:
        statistic: Takes the arrays of `samples`, replicas first, and returns a number or an array.
        samples: One array, or a tuple of arrays whose replicas are resampled together.
        resamples: Number of resamples.
        confidence: Probability inside the interval.
        method: `percentile`, or `BCa` (bias-corrected and accelerated; better for skewed statistics and few replicas).
        seed: Seed of the resampling.

    Returns:
        The statistic of all replicas, the standard deviation over resamples, and the interval. With a single replica
        error and interval are NaN.
    """
    arrays, count = _paired(samples)
    value = np.asarray(statistic(*arrays), dtype=np.float64)
    if count < 2:
        missing = np.full_like(value, np.nan)
        return Estimate(value, missing, missing, missing)
    with warnings.catch_warnings():
        # Constant statistics are legal here; their interval is the value itself.
        warnings.filterwarnings("ignore", category=stats.DegenerateDataWarning)
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="scipy")
        result = stats.bootstrap(
            (np.arange(count),),
            lambda index: np.asarray(statistic(*(array[index] for array in arrays)), dtype=np.float64),
            n_resamples=resamples,
            confidence_level=confidence,
            method=method,
            vectorized=False,
            axis=0,
            rng=np.random.default_rng(seed),
        )
    error, low, high = _summary(result.bootstrap_distribution, confidence)
    if method == "BCa":
        interval = result.confidence_interval
        low = np.where(np.isfinite(interval.low), interval.low, low)
        high = np.where(np.isfinite(interval.high), interval.high, high)
    return Estimate(value, error, low, high)


def jackknife(
    statistic: Statistic, samples: Samples, *, groups: int | None = None, confidence: float = 0.95
) -> Estimate:
    """Leave-one-group-out error of a statistic, error² = (G − 1)/G Σ_g (θ_g − ⟨θ⟩)².

    Right for smooth statistics (means, fits), wrong for medians and other order statistics.

    Args:
        statistic: Takes the arrays of `samples`, replicas first, and returns a number or an array.
        samples: One array, or a tuple of arrays whose replicas belong together.
        groups: Number of groups of consecutive replicas to leave out in turn; None leaves out one replica at a time.
        confidence: Probability inside the (normal) interval.

    Returns:
        The statistic of all replicas with the jackknife error; NaN error with fewer than two replicas.
    """
    arrays, count = _paired(samples)
    value = np.asarray(statistic(*arrays), dtype=np.float64)
    number = min(count, groups or count)
    if number < 2:
        return normal_estimate(value, np.full_like(value, np.nan), confidence=confidence)
    blocks = np.array_split(np.arange(count), number)
    left_out = np.stack([np.asarray(statistic(*(np.delete(a, block, axis=0) for a in arrays))) for block in blocks])
    error = np.sqrt((number - 1) * left_out.var(axis=0))
    return normal_estimate(value, error, confidence=confidence)


def _paired(samples: Samples) -> tuple[list[NDArray], int]:
    """The arrays of `samples` and their common number of replicas."""
    arrays = [np.asarray(array) for array in (samples if isinstance(samples, tuple) else (samples,))]
    counts = {len(array) for array in arrays}
    if len(counts) != 1:
        raise ValueError(f"samples differ in their number of replicas: {sorted(counts)}")
    return arrays, counts.pop()


def _summary(distribution: Floats, confidence: float) -> tuple[Floats, Floats, Floats]:
    """Deviation and percentile interval over the last axis, leaving out what is not a number."""
    draws = np.asarray(distribution, dtype=np.float64)
    enough = np.isfinite(draws).mean(axis=-1) >= LEAST_VALID
    draws = np.where(np.isfinite(draws) & enough[..., None], draws, np.nan)
    usable = np.where(enough[..., None], draws, 0.0)
    tail = 50 * (1 - confidence)
    low, high = np.nanpercentile(usable, [tail, 100 - tail], axis=-1)
    results = np.nanstd(usable, axis=-1, ddof=1), low, high
    return tuple(np.where(enough, result, np.nan) for result in results)
