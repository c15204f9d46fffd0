"""Marchenko-Pastur: the spectrum of a random matrix before it has learned anything.

X = W Wᵀ with W of K rows and L ≥ K columns and independent entries of variance σ²/L. `ratio` is K/L in (0, 1],
`variance` is σ². A matrix with more rows than columns has the non-zero spectrum of its transpose: `bulk_parameters`
gives the two numbers for any shape.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

TRACY_WIDOM_MEAN = -1.2065335745820
TRACY_WIDOM_DEVIATION = 1.2679785
"""Moments of the Tracy-Widom law, β = 1 (F. Bornemann, Markov Process. Relat. Fields 16, 803, 2010)."""


def bulk_parameters(rows: int, columns: int, init_scale: ArrayLike = 1.0) -> tuple[Floats, float]:
    """Variance and ratio of the Marchenko-Pastur law of a fresh layer, for either orientation.

    Args:
        rows: Outputs of the layer.
        columns: Its fan-in; entries have variance init_scale²/columns.
        init_scale: σ.

    Returns:
        (variance, ratio): (σ², rows/columns), or (σ² rows/columns, columns/rows) if there are more rows than columns.
    """
    square = np.asarray(init_scale, dtype=np.float64) ** 2
    if rows <= columns:
        return square, rows / columns
    return square * rows / columns, columns / rows


def edges(ratio: ArrayLike, variance: ArrayLike = 1.0) -> tuple[Floats, Floats]:
    """Edges σ²(1 ∓ √ratio)² of the bulk.

    Args:
        ratio: K/L in (0, 1].
        variance: σ².

    Returns:
        (lower, upper).
    """
    root, square = np.sqrt(np.asarray(ratio, dtype=np.float64)), np.asarray(variance, dtype=np.float64)
    return square * (1 - root) ** 2, square * (1 + root) ** 2


def density(level: ArrayLike, ratio: float, *, variance: float = 1.0) -> Floats:
    """Density √((b − x)(x − a)) / (2π σ² ratio x) between the edges a and b.

    Args:
        level: x.
        ratio: K/L in (0, 1].
        variance: σ².

    Returns:
        Density per unit of the level, zero outside the edges.
    """
    x = np.asarray(level, dtype=np.float64)
    lower, upper = edges(ratio, variance)
    inside = (x > lower) & (x < upper)
    safe = np.where(inside, x, upper)
    return np.where(inside, np.sqrt((upper - safe) * (safe - lower)) / (2 * np.pi * variance * ratio * safe), 0.0)


def distribution(level: ArrayLike, ratio: float, *, variance: float = 1.0) -> Floats:
    """Integral of `density` up to x, in closed form.

    Args:
        level: x.
        ratio: K/L in (0, 1].
        variance: σ².

    Returns:
        Share of the levels below x.
    """
    lower, upper = edges(ratio, 1.0)
    u = np.asarray(level, dtype=np.float64) / variance
    x = np.clip(u, lower, upper)
    below, above = x - lower, upper - x
    # With r² = (b − x)/(x − a) the textbook arctangents diverge at the edges; arctan2 of their two parts does not.
    root = np.sqrt(above * below)
    first = np.arctan2(above - below, 2 * root)
    second = np.arctan2(lower * above - upper * below, 2 * (1 - ratio) * root)
    inside = (np.pi * ratio + root - (1 + ratio) * first + (1 - ratio) * second) / (2 * np.pi * ratio)
    return np.where(u <= lower, 0.0, np.where(u >= upper, 1.0, np.clip(inside, 0.0, 1.0)))


def median(ratio: float, *, variance: float = 1.0) -> float:
    """Median of the Marchenko-Pastur law, which a few outliers do not move.

    Args:
        ratio: K/L in (0, 1].
        variance: σ².

    Returns:
        Level below which half of the bulk lies.
    """
    from scipy import optimize  # here, because words of cards are checked without scipy's second of start-up

    lower, upper = edges(ratio, 1.0)
    middle = optimize.brentq(lambda x: float(distribution(x, ratio)) - 0.5, float(lower), float(upper), xtol=1e-14)
    return float(variance) * middle


def moments(rows: int, columns: int, *, variance: ArrayLike = 1.0) -> tuple[Floats, Floats]:
    """Exact finite-size E[tr X]/K = σ² and E[tr X²]/K = σ⁴(K + L + 1)/L for Gaussian entries.

    For large matrices the variance of a level is σ⁴K/L.

    Args:
        rows: K.
        columns: L (entries have variance σ²/L).
        variance: σ².

    Returns:
        First and second moment of a level.
    """
    square = np.asarray(variance, dtype=np.float64)
    return square, square**2 * (rows + columns + 1) / columns


def largest_level_moments(rows: int, columns: int, *, variance: float = 1.0) -> tuple[float, float]:
    """Mean and standard deviation of the largest level of a finite Gaussian matrix (Tracy-Widom).

    Centre (√(L−½) + √(K−½))², scale (√(L−½) + √(K−½))(1/√(L−½) + 1/√(K−½))^{1/3}, over L: I. Johnstone, Ann. Statist.
    29, 295 (2001), with the half-integer shifts of Ma (2012).

    Args:
        rows: K.
        columns: L (entries have variance σ²/L).
        variance: σ².

    Returns:
        (mean, deviation). At 16 × 32 within 1 % and 7 % of the true ones.
    """
    sides = np.sqrt(columns - 0.5), np.sqrt(rows - 0.5)
    total = sides[0] + sides[1]
    scale = total * (1 / sides[0] + 1 / sides[1]) ** (1 / 3)
    unit = variance / columns
    return float(unit * (total**2 + TRACY_WIDOM_MEAN * scale)), float(unit * TRACY_WIDOM_DEVIATION * scale)


def outlier_threshold(levels: int, ratio: float, *, variance: ArrayLike = 1.0) -> Floats:
    """Level above which an eigenvalue counts as outside the bulk: upper edge · (1 + 2.5 K^{−2/3}).

    Args:
        levels: K, the number of levels.
        ratio: K/L in (0, 1].
        variance: σ² of the bulk.

    Returns:
        Threshold in units of the levels.
    """
    return edges(ratio, variance)[1] * (1 + 2.5 * levels ** (-2 / 3))
