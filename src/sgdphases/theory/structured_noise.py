"""Stationary SGD with momentum where noise is not one number per mode: it correlates modes, or grows with distance.

Steps and words are those of `momentum_sgd`; noise is independent from step to step. Derived (the paper that this
completes, Kunin et al., arXiv 2107.09133, assumes that the noise is constant and commutes with the Hessian).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.theory.momentum_sgd import position_variance, propagator

Floats = NDArray[np.float64]


def correlated_covariance(
    curvature: ArrayLike, noise_covariance: ArrayLike, *, learning_rate: float, momentum: float = 0.0
) -> Floats:
    """Stationary covariance P_ij = M_i P_ij M_jᵀ + s_ij nnᵀ of all pairs of modes, one linear solve of 4 × 4 each.

    Args:
        curvature: h of each mode, shape (modes,); modes are eigenvectors of the Hessian.
        noise_covariance: s_ij = Σ_ij/S in that basis, shape (modes, modes).
        learning_rate: η.
        momentum: β.

    Returns:
        E[z_i z_jᵀ] of z = (x, v), shape (modes, modes, 2, 2).

    Raises:
        ValueError: If a mode has no stationary state.
    """
    h, s = np.asarray(curvature, dtype=np.float64), np.asarray(noise_covariance, dtype=np.float64)
    words = {"learning_rate": learning_rate, "momentum": momentum}
    _check_stationary(position_variance(h, 1.0, **words))
    maps = propagator(1, h, **words)
    count = len(h)
    # vec(MPNᵀ) = (M ⊗ N) vec P, rows first.
    both = np.einsum("iab,jcd->ijacbd", maps, maps).reshape(count, count, 4, 4)
    direction = np.array([learning_rate, 1.0])
    kick = s[..., None] * np.outer(direction, direction).ravel()
    return np.linalg.solve(np.eye(4) - both, kick[..., None]).reshape(count, count, 2, 2)


def multiplicative_position_variance(
    curvature: ArrayLike,
    label_variance: ArrayLike,
    *,
    batch_size: ArrayLike,
    learning_rate: float,
    momentum: float = 0.0,
) -> Floats:
    """Stationary Var x_i of online linear regression on Gaussian inputs, whose gradient noise grows with the distance.

    Inputs have covariance H = diag h, labels noise of variance σ². Then s_i = [h_i² X_i + (Σ_j h_j X_j) h_i + σ²h_i]/S
    with X_i = a_i s_i, a_i = Var x for s = 1. These equations are linear: with b_i = (a_i h_i/S)/(1 − a_i h_i²/S) they
    give X_i = b_i σ²/(1 − Σ_j h_j b_j).

    Args:
        curvature: h of each mode, without weight decay, shape (..., modes).
        label_variance: σ², shape (...).
        batch_size: S, shape (...).
        learning_rate: η.
        momentum: β.

    Returns:
        X, shape (..., modes).

    Raises:
        ValueError: If noise feeds itself, so that there is no stationary state.
    """
    h, size = np.asarray(curvature, dtype=np.float64), np.asarray(batch_size, dtype=np.float64)[..., None]
    unit = position_variance(h, 1.0, learning_rate=learning_rate, momentum=momentum)
    _check_stationary(unit)
    own = 1 - unit * h**2 / size
    if not np.all(own > 0):
        raise ValueError("no stationary state: the noise of a mode feeds itself")
    gain = unit * h / size / own
    rest = 1 - (h * gain).sum(axis=-1, keepdims=True)
    if not np.all(rest > 0):
        raise ValueError("no stationary state: the noise of all modes feeds itself")
    return gain * np.asarray(label_variance, dtype=np.float64)[..., None] / rest


def _check_stationary(variance: Floats) -> None:
    if not np.all(np.isfinite(variance)):
        raise ValueError("curvature must be greater than 0 and less than stability_bound")
