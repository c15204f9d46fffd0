"""Displacements of SGD with momentum on a quadratic loss: exact at every stable learning rate, flat modes included.

Words and shapes are those of `momentum_sgd`: modes of `curvature` h with gradients of variance s (`noise`), broadcast
with steps; values belong to one mode, and those of a network are sums over modes. Derived; the limit of small η is
Kunin et al., arXiv 2107.09133, Eqs. 12 and 13 (`langevin_displacement`).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.theory.langevin import checked
from sgdphases.theory.momentum_sgd import step_sums, velocity_variance

Floats = NDArray[np.float64]


def one_step_displacement(
    curvature: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """E δ² = η² Var v of the stationary state.

    Args:
        curvature: h.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Mean square of one step.
    """
    velocity = velocity_variance(curvature, noise, learning_rate=learning_rate, momentum=momentum)
    return np.asarray(learning_rate, dtype=np.float64) ** 2 * velocity


def stationary_displacement(
    steps: ArrayLike, curvature: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """E[(x_{k+t} − x_k)²] = 2[Var x − (MᵗP)_xx] of the stationary state.

    With Var x = η(1 + β) Var v/(2h), Cov = η Var v/2 and (1 − Mᵗ)_xx = h(ηG_xx + G_xv), G = Σ_{j<t} Mʲ, the curvature
    drops out, so that flat modes lose no digits.

    Args:
        steps: t.
        curvature: h, 0 for a free mode.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Mean square after t steps; saturates at 2 Var x.
    """
    rate, inertia = checked(learning_rate, momentum)
    sums = step_sums(steps, curvature, learning_rate=rate, momentum=inertia)
    reach = (1 + inertia) * _impulse(sums.total, rate) - sums.power[..., 0, 1]
    return rate * reach * velocity_variance(curvature, noise, learning_rate=rate, momentum=inertia)


def displacement_from_rest(
    steps: ArrayLike,
    curvature: ArrayLike,
    noise: ArrayLike,
    *,
    gradient: ArrayLike = 0.0,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Floats:
    """E[(x_t − x_0)²] of a network that starts from a known place with v = 0, as pre-trained weights do.

    Args:
        steps: t.
        curvature: h, 0 for a free mode.
        noise: s.
        gradient: Mean gradient hx₀ at the start, what makes the mode drift; of a free mode the constant one.
        learning_rate: η.
        momentum: β.

    Returns:
        Mean square after t steps, drift and diffusion.
    """
    rate, inertia = checked(learning_rate, momentum)
    sums = step_sums(steps, curvature, noise, learning_rate=rate, momentum=inertia)
    drift = _impulse(sums.total, rate) * np.asarray(gradient, dtype=np.float64)
    return drift**2 + sums.covariance[..., 0, 0]


def free_displacement(
    steps: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Var x_t = η²s Σ_{j≤t} ((1 − βʲ)/(1 − β))² of a flat mode from rest: t³ at first, then η²st/(1 − β)².

    Args:
        steps: t.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Mean square after t steps.
    """
    rate, inertia = checked(learning_rate, momentum)
    number = np.asarray(steps, dtype=np.float64)
    once, twice = ((1 - inertia ** (power * number)) / (1 - inertia**power) for power in (1, 2))
    # Of 1 − 2βʲ + β²ʲ each is a geometric sum.
    total = number - 2 * inertia * once + inertia**2 * twice
    return rate**2 * np.asarray(noise, dtype=np.float64) * total / (1 - inertia) ** 2


def _impulse(total: Floats, learning_rate: Floats) -> Floats:
    """What the mean gradient of the start moves x back by, per unit: (1 − Mᵗ)_xx/h."""
    return learning_rate * total[..., 0, 0] + total[..., 0, 1]
