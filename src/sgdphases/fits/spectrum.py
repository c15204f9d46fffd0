"""Spectra as a whole: bulk and outliers, ratios of gaps, the shape of a degenerate level."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from sgdphases.fits.bootstrap import bootstrap, jackknife
from sgdphases.fits.intervals import Estimate
from sgdphases.theory import marchenko_pastur
from sgdphases.theory.coulomb_gas import degenerate_level_density

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bulk:
    """Marchenko-Pastur bulk of spectra.

    Attributes:
        variance: σ² of the bulk, by its median, shape (...).
        lower: Lower edge, shape (...).
        upper: Upper edge, shape (...).
        outliers: Number of levels above the threshold, shape (...).
        inside: Whether a level counts to the bulk, shape (..., K).
    """

    variance: Floats
    lower: Floats
    upper: Floats
    outliers: NDArray[np.int64]
    inside: NDArray[np.bool_]


def marchenko_pastur_bulk(levels: ArrayLike, ratio: float) -> Bulk:
    """Bulk of each spectrum: the variance whose Marchenko-Pastur median is the spectrum's median.

    A few outliers do not move the median, so no cut has to be guessed first. Levels above the upper edge times
    1 + 2.5 K^{−2/3} are outliers.

    Args:
        levels: Shape (..., K).
        ratio: K/L in (0, 1], as of `marchenko_pastur.bulk_parameters`.

    Returns:
        The bulk.
    """
    x = np.asarray(levels, dtype=np.float64)
    variance = np.median(x, axis=-1) / marchenko_pastur.median(ratio)
    lower, upper = marchenko_pastur.edges(ratio, variance)
    outside = x > marchenko_pastur.outlier_threshold(x.shape[-1], ratio, variance=variance)[..., None]
    inside = ~outside
    return Bulk(variance, lower, upper, outside.sum(axis=-1), inside)


def gap_ratios(levels: ArrayLike) -> Floats:
    """Ratios min(s, s')/max(s, s') of all neighbouring gaps s, s'.

    Needs no unfolding, so that spectra of any density can be compared (`random_matrix.mean_gap_ratio`).

    Args:
        levels: Shape (..., K), in any order, K ≥ 3; NaN (padding) is ignored.

    Returns:
        Shape (..., K − 2), NaN where a gap is missing or both vanish.
    """
    gaps = np.diff(np.sort(np.asarray(levels, dtype=np.float64), axis=-1), axis=-1)
    small, large = np.minimum(gaps[..., 1:], gaps[..., :-1]), np.maximum(gaps[..., 1:], gaps[..., :-1])
    return np.divide(small, large, out=np.full_like(small, np.nan), where=large > 0)


def mean_gap_ratio(levels: ArrayLike, *, resamples: int = 500, seed: int = 0) -> Estimate:
    """Mean ratio of neighbouring gaps over spectra, with the error of a bootstrap over them.

    Args:
        levels: Shape (replicas, ..., K).
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        A number between 0 and 1.
    """
    return bootstrap(np.nanmean, gap_ratios(levels), resamples=resamples, seed=seed)


def degenerate_level_fit(levels: ArrayLike, *, groups: int = 20) -> tuple[Estimate, Estimate]:
    """Centre and width of a doubly degenerate level: most likely parameters of its density, with jackknife errors.

    Args:
        levels: The two levels of each replica, shape (replicas, 2).
        groups: Groups of replicas that the jackknife leaves out in turn.

    Returns:
        (centre, width); √π · width predicts the mean spacing.
    """

    def most_likely(sample: Floats) -> Floats:
        values = sample.reshape(-1)
        middle, scale = values.mean(), values.std() / np.sqrt(1.5)
        # Standardised, so that the minimiser's steps and tolerances fit any unit.
        standard = (values - middle) / scale
        result = optimize.minimize(_negative_log_likelihood, np.zeros(2), args=(standard,), method="BFGS")
        return np.array([middle + scale * result.x[0], scale * np.exp(result.x[1])])

    both = jackknife(most_likely, np.asarray(levels, dtype=np.float64), groups=groups)
    parts = both.value, both.error, both.low, both.high
    return tuple(Estimate(*(part[index] for part in parts)) for index in (0, 1))


def _negative_log_likelihood(parameters: Floats, values: Floats) -> float:
    """Mean of −ln ρ; parameters are the centre and the logarithm of the width."""
    density = degenerate_level_density(values, centre=parameters[0], width=float(np.exp(parameters[1])))
    return -float(np.log(np.maximum(density, 1e-300)).mean())


def mean_spacing(levels: ArrayLike, *, resamples: int = 500, seed: int = 0) -> Estimate:
    """Mean spacing of two levels over replicas.

    Args:
        levels: Shape (replicas, 2).
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        The mean, in units of the levels.
    """
    return bootstrap(np.mean, _spacings(levels), resamples=resamples, seed=seed)


def normalised_spacing_variance(levels: ArrayLike, *, resamples: int = 500, seed: int = 0) -> Estimate:
    """Variance of the spacing in units of its squared mean, to compare with `random_matrix.spacing_variance`.

    Args:
        levels: Shape (replicas, 2).
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        The variance; 0.2732 for Wigner's surmise of the orthogonal ensemble.
    """
    return bootstrap(lambda s: s.var(ddof=1) / s.mean() ** 2, _spacings(levels), resamples=resamples, seed=seed)


def _spacings(levels: ArrayLike) -> Floats:
    """Distance of the two levels of every replica."""
    return np.abs(np.diff(np.asarray(levels, dtype=np.float64), axis=-1))[..., 0]
