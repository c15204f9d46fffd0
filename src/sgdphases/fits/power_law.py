"""Exponents: straight lines in doubly logarithmic axes, with errors."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.intervals import Estimate, reach_of

Floats = NDArray[np.float64]
Average = Literal["mean", "median", "geometric"]


@dataclass(frozen=True)
class PowerLaw:
    """Fit of y = prefactor · x^exponent.

    Attributes:
        exponent: With standard error and interval.
        prefactor: y at x = 1, with standard error and interval (symmetric in its logarithm).
        points: Number of points used.
    """

    exponent: Estimate
    prefactor: Estimate
    points: int


def fit_power_law(
    x: ArrayLike,
    y: ArrayLike,
    *,
    error: ArrayLike | None = None,
    window: tuple[float, float] | None = None,
    confidence: float = 0.95,
) -> PowerLaw:
    """Weighted least squares of ln y on ln x.

    With `error` the weights are (y/error)² and the errors follow from them; without, all points count alike and the
    errors follow from the scatter about the line (Student's t intervals).

    Args:
        x: Shape (n,).
        y: Shape (n,). Points where x or y is not positive and finite are left out.
        error: Standard error of y, shape (n,); points without a positive finite error are left out.
        window: Range of x to use, ends included.
        confidence: Probability inside the intervals.

    Returns:
        The fit; NaN with fewer than two points, NaN errors where the data do not give them.
    """
    abscissa, ordinate = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    used = _usable(abscissa, window) & (ordinate > 0) & np.isfinite(ordinate)
    weight = np.ones_like(ordinate)
    if error is not None:
        spread = np.broadcast_to(np.asarray(error, dtype=np.float64), ordinate.shape)
        used &= (spread > 0) & np.isfinite(spread)
        weight = np.divide(ordinate, spread, out=np.zeros_like(ordinate), where=used)
    points = int(used.sum())
    if points < 2 or np.ptp(abscissa[used]) == 0:
        nothing = Estimate(*(np.asarray(np.nan) for _ in range(4)))
        return PowerLaw(nothing, nothing, points)
    logarithms = np.log(abscissa[used]), np.log(ordinate[used])
    coefficients, covariance = _line(*logarithms, weight[used], known=error is not None)
    return _power_law(coefficients, covariance, points, known=error is not None, confidence=confidence)


def _usable(x: Floats, window: tuple[float, float] | None) -> NDArray[np.bool_]:
    """Where x is positive, finite and, up to rounding, inside the window."""
    low, high = window or (0.0, np.inf)
    return (x > 0) & np.isfinite(x) & (x >= low * (1 - 1e-12)) & (x <= high * (1 + 1e-12))


def _line(x: Floats, y: Floats, weight: Floats, *, known: bool) -> tuple[Floats, Floats]:
    """Slope and intercept at x = 0 with their covariance (from the weights if known, else from the scatter)."""
    # Centred, so that the two coefficients hardly correlate and rounding stays small.
    middle = np.average(x, weights=weight**2)
    if known:
        (slope, height), centred = np.polyfit(x - middle, y, 1, w=weight, cov="unscaled")
    elif len(x) > 2:
        (slope, height), centred = np.polyfit(x - middle, y, 1, w=weight, cov=True)
    else:
        (slope, height), centred = np.polyfit(x - middle, y, 1, w=weight), np.full((2, 2), np.nan)
    shift = np.array([[1.0, 0.0], [-middle, 1.0]])
    return np.array([slope, height - slope * middle]), shift @ centred @ shift.T


def _power_law(coefficients: Floats, covariance: Floats, points: int, *, known: bool, confidence: float) -> PowerLaw:
    """Turn a line in logarithms into exponent and prefactor with intervals."""
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    reach = reach_of(np.inf if known else max(points - 2, 1), confidence=confidence)
    low, high = coefficients - reach * deviation, coefficients + reach * deviation
    exponent = Estimate(coefficients[0], deviation[0], low[0], high[0])
    prefactor = np.exp(coefficients[1])
    return PowerLaw(exponent, Estimate(prefactor, prefactor * deviation[1], np.exp(low[1]), np.exp(high[1])), points)


def replica_average(values: ArrayLike, average: Average = "mean") -> Floats:
    """Average over the first axis, leaving out NaN.

    Args:
        values: Replicas first.
        average: `mean`, `median` or `geometric` (positive values only; others are left out).

    Returns:
        Shape without the first axis, NaN where no replica has a value.

    Raises:
        ValueError: If the average is unknown.
    """
    samples = np.asarray(values, dtype=np.float64)
    if average == "geometric":
        logarithms = np.full_like(samples, np.nan)
        np.log(samples, out=logarithms, where=samples > 0)
        return np.exp(replica_average(logarithms, "mean"))
    if average not in {"mean", "median"}:
        raise ValueError(f"unknown average {average!r}; known: mean, median, geometric")
    empty = np.isnan(samples).all(axis=0)
    filled = np.where(empty, 0.0, samples)
    return np.where(empty, np.nan, (np.nanmean if average == "mean" else np.nanmedian)(filled, axis=0))


def replica_exponent(
    x: ArrayLike,
    y: ArrayLike,
    *,
    average: Average = "median",
    window: tuple[float, float] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Exponent of the average curve over replicas, with the error of a bootstrap over replicas.

    The points of one replica's curve are correlated (it is a trajectory), so the scatter about the line says little;
    replicas are independent.

    Args:
        x: Shape (n,), the same for all replicas.
        y: Shape (replicas, n).
        average: How replicas are averaged before the fit.
        window: Range of x to use, ends included.
        resamples: Number of resamples.
        confidence: Probability inside the interval.
        seed: Seed of the resampling.

    Returns:
        The exponent.
    """

    def exponent(replicas: Floats) -> Floats:
        return fit_power_law(x, replica_average(replicas, average), window=window).exponent.value

    widened = average != "median"
    return bootstrap(exponent, y, resamples=resamples, confidence=confidence, widened=widened, seed=seed)


def local_exponents(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Exponents d ln y / d ln x between neighbouring points.

    Args:
        x: Shape (n,), positive.
        y: Shape (..., n); exponents are NaN where y is not positive.

    Returns:
        (geometric midpoints of x, exponents), shapes (n − 1,) and (..., n − 1).
    """
    abscissa, ordinate = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    logarithms = np.full_like(ordinate, np.nan)
    np.log(ordinate, out=logarithms, where=ordinate > 0)
    return np.sqrt(abscissa[1:] * abscissa[:-1]), np.diff(logarithms, axis=-1) / np.diff(np.log(abscissa))
