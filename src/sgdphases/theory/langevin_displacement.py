"""Displacements of the Langevin equation of SGD: of one step, of many, and where the published sum goes wrong.

Words and shapes are those of `langevin`: modes of `curvature` h with gradients of variance s (`noise`), broadcast with
steps or times; values belong to one mode, and those of a network are sums over modes. Source: Kunin et al., arXiv
2107.09133, Eqs. 12 and 13; their corrections are derived. `momentum_sgd` has the exact displacements.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.theory.langevin import checked, friction, position_variance, propagator, velocity_variance
from sgdphases.theory.linear_recursion import accumulate, whole

Floats = NDArray[np.float64]


def velocity_correlation(
    time: ArrayLike, curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """C(t) = e^{−γt}(c − (γ/α)s), the stationary correlation of v with itself; arXiv 2107.09133, Eq. 13.

    Args:
        time: Lag t = η × steps.
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        C, 1 at t = 0; its integral over all lags is 0 in every mode with h > 0.
    """
    return propagator(time, curvature, learning_rate=learning_rate, momentum=momentum)[..., 1, 1]


def one_step_displacement(noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """E δ² = η²s/(1 − β²) of a mode in one step; summed over modes arXiv 2107.09133, Eq. 12.

    Args:
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Mean square of one step.
    """
    rate, inertia = checked(learning_rate, momentum)
    return rate**2 * velocity_variance(noise, momentum=inertia)


def noise_trace(
    displacement: ArrayLike, *, learning_rate: ArrayLike, batch_size: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Trace S(1 − β²)E‖δ‖²/η² of the per-example gradient covariance (σ² tr H of the paper): Eq. 12 inverted.

    Args:
        displacement: E‖δ‖² of one step.
        learning_rate: η.
        batch_size: S.
        momentum: β.

    Returns:
        Trace.
    """
    unit = one_step_displacement(1.0, learning_rate=learning_rate, momentum=momentum)
    return np.asarray(displacement, dtype=np.float64) * np.asarray(batch_size) / unit


def displacement(
    steps: ArrayLike,
    curvature: ArrayLike,
    noise: ArrayLike,
    *,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
    literal: bool = False,
) -> Floats:
    """E Δ_t² = η² Var v [t + 2 Σ_{k<t} (t − k) C(ηk)] of a mode; arXiv 2107.09133, Eq. 13.

    The paper prints C(k), with rates per unit of time and lags in steps, which leaves plain Brownian motion. Even with
    C(ηk) the sum over whole steps never saturates: see `spurious_displacement` and `langevin.stationary_displacement`.

    Args:
        steps: t, whole numbers.
        curvature: h.
        noise: s.
        learning_rate: η.
        momentum: β.
        literal: Whether lags are as printed.

    Returns:
        Mean square after t steps of the stationary state.
    """
    number = whole(steps, "steps")
    lag = np.asarray(1.0 if literal else learning_rate, dtype=np.float64)
    once = propagator(lag, curvature, learning_rate=learning_rate, momentum=momentum)
    # The upper right block of the j-th power of [[Φ, Φ], [0, 1]] is Φ + ... + Φʲ.
    above = np.concatenate([once, once], axis=-1)
    below = np.broadcast_to(np.eye(4)[2:], above.shape)
    correlations = accumulate(number, np.concatenate([above, below], axis=-2)).total[..., 1, 3]
    unit = one_step_displacement(noise, learning_rate=learning_rate, momentum=momentum)
    return unit * (number + 2 * correlations)


def spurious_displacement(noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Growth η² Var v (1 − β)/(3(1 + β)) per step that `displacement` keeps for ever; derived (Euler-Maclaurin).

    The integral of C over time is 0, its sum over whole steps is not: 1 + 2 Σ C(ηk) = γη/3 + ....

    Args:
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Mean square per step, of every confined mode, to leading order in ηγ and ηω.
    """
    unit = one_step_displacement(noise, learning_rate=learning_rate, momentum=momentum)
    return unit * friction(momentum) / (3 * (1 + np.asarray(momentum, dtype=np.float64)))


def reliable_steps(curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Steps 3(1 + β)²/(ηh(1 − β)) in which `spurious_displacement` comes to 2 Var x; derived.

    Args:
        curvature: h > 0.
        learning_rate: η.
        momentum: β.

    Returns:
        Steps; `displacement` is right for far fewer only.
    """
    words = {"learning_rate": learning_rate, "momentum": momentum}
    return 2 * position_variance(curvature, 1.0, **words) / spurious_displacement(1.0, **words)
