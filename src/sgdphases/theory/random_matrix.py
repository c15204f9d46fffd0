"""Universal statistics of neighbouring levels: Wigner's surmises and ratios of gaps.

Ensembles by name: `orthogonal` (GOE, real symmetric, β = 1), `unitary` (GUE, β = 2), `poisson` (independent levels).
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]
Ensemble = Literal["orthogonal", "unitary", "poisson"]

REPULSION = {"orthogonal": 1, "unitary": 2}
"""Dyson index β: the density of small spacings grows as s^β."""


def _shape(ensemble: Ensemble) -> tuple[float, float]:
    """Power β and rate b of the surmise ∝ s^β exp(−b s²) with unit mean."""
    if ensemble not in REPULSION:
        raise ValueError(f"unknown ensemble {ensemble!r}; known: orthogonal, unitary, poisson")
    beta = REPULSION[ensemble]
    return beta, (special.gamma(beta / 2 + 1) / special.gamma((beta + 1) / 2)) ** 2


def spacing_density(spacing: ArrayLike, ensemble: Ensemble = "orthogonal") -> Floats:
    """Wigner's surmise for the spacing s of neighbours in units of its mean.

    Orthogonal (π/2) s exp(−πs²/4), unitary (32/π²) s² exp(−4s²/π), Poisson exp(−s). The surmise is exact for 2 × 2
    matrices and within 2 % for large ones.

    Args:
        spacing: s ≥ 0.
        ensemble: Which ensemble.

    Returns:
        Density per unit of s.
    """
    s = np.asarray(spacing, dtype=np.float64)
    if ensemble == "poisson":
        return np.exp(-s)
    beta, rate = _shape(ensemble)
    return 2 * rate ** ((beta + 1) / 2) / special.gamma((beta + 1) / 2) * s**beta * np.exp(-rate * s**2)


def spacing_distribution(spacing: ArrayLike, ensemble: Ensemble = "orthogonal") -> Floats:
    """Integral of `spacing_density` from 0 to s; orthogonal 1 − exp(−πs²/4).

    Args:
        spacing: s ≥ 0, in units of the mean.
        ensemble: Which ensemble.

    Returns:
        Share of spacings below s.
    """
    s = np.asarray(spacing, dtype=np.float64)
    if ensemble == "poisson":
        return -np.expm1(-s)
    beta, rate = _shape(ensemble)
    return special.gammainc((beta + 1) / 2, rate * s**2)


def spacing_moment(order: float, ensemble: Ensemble = "orthogonal") -> float:
    """Moment E[s^n] of the surmise; order 1 is 1 by definition, the second orthogonal one 4/π.

    Args:
        order: n > −1.
        ensemble: Which ensemble.

    Returns:
        The moment.
    """
    if ensemble == "poisson":
        return float(special.gamma(order + 1))
    beta, rate = _shape(ensemble)
    return float(rate ** (-order / 2) * special.gamma((beta + 1 + order) / 2) / special.gamma((beta + 1) / 2))


def spacing_variance(ensemble: Ensemble = "orthogonal") -> float:
    """Variance of the surmise: 4/π − 1 = 0.2732 (orthogonal), 3π/8 − 1 = 0.1781 (unitary), 1 (Poisson).

    Args:
        ensemble: Which ensemble.

    Returns:
        Variance of the spacing in units of the squared mean.
    """
    return spacing_moment(2, ensemble) - 1


def spacing_skewness(ensemble: Ensemble = "orthogonal") -> float:
    """Skewness of the surmise: 0.631 (orthogonal), 2 (Poisson).

    Args:
        ensemble: Which ensemble.

    Returns:
        Third central moment over the variance to the power 3/2.
    """
    second, third = spacing_moment(2, ensemble), spacing_moment(3, ensemble)
    return (third - 3 * second + 2) / (second - 1) ** 1.5


def spacing_median(ensemble: Ensemble = "orthogonal") -> float:
    """Median of the surmise: 2√(ln 2/π) = 0.9394 (orthogonal).

    Args:
        ensemble: Which ensemble.

    Returns:
        Spacing that half of the pairs do not reach.
    """
    if ensemble == "poisson":
        return math.log(2)
    beta, rate = _shape(ensemble)
    return float(np.sqrt(special.gammaincinv((beta + 1) / 2, 0.5) / rate))


def gap_ratio_density(ratio: ArrayLike, ensemble: Ensemble = "orthogonal") -> Floats:
    """Density of the ratio r̃ = min(s, s')/max(s, s') of neighbouring gaps, exact for three levels.

    2(r + r²)^β / (Z (1 + r + r²)^{1 + 3β/2}) on [0, 1] with Z = 8/27 (orthogonal), 4π/(81√3) (unitary); Poisson
    2/(1 + r)². Atas, Bogomolny, Giraud, Roux, Phys. Rev. Lett. 110, 084101 (2013).

    Args:
        ratio: r̃.
        ensemble: Which ensemble.

    Returns:
        Density per unit of r̃, zero outside [0, 1].
    """
    r = np.asarray(ratio, dtype=np.float64)
    inside = np.clip(r, 0.0, 1.0)
    if ensemble == "poisson":
        values = 2 / (1 + inside) ** 2
    else:
        beta = _shape(ensemble)[0]
        norm = 8 / 27 if beta == 1 else 4 * np.pi / (81 * np.sqrt(3))
        values = 2 * (inside + inside**2) ** beta / (norm * (1 + inside + inside**2) ** (1 + 1.5 * beta))
    return np.where((r >= 0) & (r <= 1), values, 0.0)


def mean_gap_ratio(ensemble: Ensemble = "orthogonal", *, levels: Literal["three", "many"] = "three") -> float:
    """Mean of the ratio r̃ of neighbouring gaps.

    Three levels, exact: 4 − 2√3 = 0.5359 (orthogonal), 2√3/π − 1/2 = 0.6027 (unitary), 2 ln 2 − 1 = 0.3863 (Poisson).
    Many levels, numerical: 0.5307 and 0.5996 (Atas et al. 2013); at 16 levels 0.530 for GOE.

    Args:
        ensemble: Which ensemble.
        levels: Size of the matrices; Poisson does not depend on it.

    Returns:
        Mean r̃ in [0, 1].
    """
    if ensemble == "poisson":
        return 2 * math.log(2) - 1
    many = levels == "many"
    if _shape(ensemble)[0] == 1:
        return 0.5307 if many else 4 - 2 * math.sqrt(3)
    return 0.5996 if many else 2 * math.sqrt(3) / math.pi - 0.5
