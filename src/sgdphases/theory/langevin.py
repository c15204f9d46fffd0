"""Underdamped Langevin equation of SGD with momentum, mode by mode of the Hessian.

One step v ← βv − g, θ ← θ + ηv (β `momentum`, η `learning_rate`) is, to first order in η, a particle of `mass`
m = η(1 + β)/2 and `friction` 1 − β in time t = η × steps. With x the distance of θ to the mean, in a mode of
`curvature` h = ρ + λ (eigenvalue of the Hessian plus weight decay) and with gradients of variance s (`noise`: Σ_ii/S of
per-example covariance Σ and batch size S)

    dx = v dt,   m dv = −(h x + (1 − β)v) dt + √(ηs) dW.

All functions are elementwise in modes and times, which are broadcast; flat modes (h = 0) are allowed where a limit
exists. States (x, v) have shape (..., 2), covariances (..., 2, 2). Source: Kunin et al., arXiv 2107.09133, re-derived.
`langevin_displacement` has its displacements by steps, `momentum_sgd` what is exact at finite η.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import exprel

from sgdphases.theory.linear_recursion import two_by_two

Floats = NDArray[np.float64]


def checked(learning_rate: ArrayLike, momentum: ArrayLike) -> tuple[Floats, Floats]:
    """Positive learning rate and momentum in [0, 1), as float64.

    Args:
        learning_rate: η.
        momentum: β.

    Returns:
        Both.

    Raises:
        ValueError: Otherwise.
    """
    rate, inertia = np.asarray(learning_rate, dtype=np.float64), np.asarray(momentum, dtype=np.float64)
    if not np.all(rate > 0):
        raise ValueError("learning_rate must be greater than 0")
    if not np.all((inertia >= 0) & (inertia < 1)):
        raise ValueError("momentum must be at least 0 and less than 1")
    return rate, inertia


def mass(learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Mass m = η(1 + β)/2 of the particle; arXiv 2107.09133, from the difference equation to second order.

    Args:
        learning_rate: η.
        momentum: β.

    Returns:
        In units of time.
    """
    rate, inertia = checked(learning_rate, momentum)
    return rate * (1 + inertia) / 2


def friction(momentum: ArrayLike) -> Floats:
    """1 − β."""
    return 1 - np.asarray(momentum, dtype=np.float64)


def damping_rate(learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """γ = (1 − β)/(η(1 + β)), half of friction over mass.

    Args:
        learning_rate: η.
        momentum: β.

    Returns:
        Rate per unit of time; times η per step.
    """
    return friction(momentum) / (2 * mass(learning_rate, momentum))


def frequency(curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """ω = √(h/m), at which the stationary state rotates in phase space, whatever the friction.

    Args:
        curvature: h ≥ 0.
        learning_rate: η.
        momentum: β.

    Returns:
        Radians per unit of time; times η per step.

    Raises:
        ValueError: If a curvature is negative.
    """
    h = np.asarray(curvature, dtype=np.float64)
    if not np.all(h >= 0):
        raise ValueError("curvature must be at least 0")
    return np.sqrt(h / mass(learning_rate, momentum))


def damping_ratio(curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """ζ = γ/ω: below 1 the mean oscillates (underdamped), above it creeps (overdamped).

    Args:
        curvature: h ≥ 0.
        learning_rate: η.
        momentum: β.

    Returns:
        ζ, infinite in flat modes.
    """
    with np.errstate(divide="ignore"):
        return damping_rate(learning_rate, momentum) / frequency(
            curvature, learning_rate=learning_rate, momentum=momentum
        )


def oscillation_frequency(curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """√(ω² − γ²) of the mean; 0 where it does not oscillate.

    Args:
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        Radians per unit of time.
    """
    square = np.asarray(curvature, dtype=np.float64) / mass(learning_rate, momentum)
    return np.sqrt(np.maximum(square - damping_rate(learning_rate, momentum) ** 2, 0.0))


def critical_curvature(learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Curvature h = (1 − β)²/(2η(1 + β)) of critical damping, ζ = 1.

    Args:
        learning_rate: η.
        momentum: β.

    Returns:
        h; more is underdamped.
    """
    return friction(momentum) ** 2 / (4 * mass(learning_rate, momentum))


def position_variance(
    curvature: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Stationary Var x = ηs/(2(1 − β)h); arXiv 2107.09133, Eq. 8.

    Args:
        curvature: h.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Var x; infinite where h ≤ 0, unless there is no noise.
    """
    rate, inertia = checked(learning_rate, momentum)
    s, h = np.asarray(noise, dtype=np.float64), np.maximum(np.asarray(curvature, dtype=np.float64), 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(s == 0, 0.0, rate * s / (2 * (1 - inertia)) / h)[()]


def velocity_variance(noise: ArrayLike, *, momentum: ArrayLike = 0.0) -> Floats:
    """Stationary Var v = s/(1 − β²), of every curvature; arXiv 2107.09133, Eq. 8.

    Args:
        noise: s.
        momentum: β.

    Returns:
        Var v.
    """
    _, inertia = checked(1.0, momentum)
    return np.asarray(noise, dtype=np.float64) / (1 - inertia**2)


def equipartition_ratio(
    position_variance: ArrayLike,
    velocity_variance: ArrayLike,
    curvature: ArrayLike,
    *,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Floats:
    """Potential over kinetic energy, h Var x/(m Var v): 1 in the stationary state, at finite η as well.

    Args:
        position_variance: Var x, of theory or measured.
        velocity_variance: Var v.
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        Ratio.
    """
    kinetic = mass(learning_rate, momentum) * np.asarray(velocity_variance, dtype=np.float64)
    return np.asarray(curvature, dtype=np.float64) * np.asarray(position_variance, dtype=np.float64) / kinetic


def stationary_energy(noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Mean loss ½h Var x = ηs/(4(1 − β)) above the minimum, the same as the mean kinetic energy.

    Args:
        noise: s; its sum over modes gives the whole loss.
        learning_rate: η.
        momentum: β.

    Returns:
        Energy.
    """
    return mass(learning_rate, momentum) * velocity_variance(noise, momentum=momentum) / 2


def _solution(
    time: ArrayLike, curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike
) -> tuple[Floats, ...]:
    """Position a, position b and velocity d after a unit start of x, of v and of v, and (1 − a)/ω²; no cancellation."""
    t, square = np.asarray(time, dtype=np.float64), np.asarray(curvature) / mass(learning_rate, momentum)
    rate = damping_rate(learning_rate, momentum)
    inner = np.sqrt(np.maximum(rate**2 - square, 0.0))
    # Overdamped and critical: the slow rate γ − α and 2α more.
    fast = rate + inner
    rings = square > rate**2
    slow = np.where(rings, 0.0, square) / fast
    kick = t * np.exp(-slow * t) * exprel(-2 * inner * t)
    creeping = (
        np.exp(-slow * t) + slow * kick,
        kick,
        np.exp(-fast * t) - slow * kick,
        (t * exprel(-slow * t) - kick) / fast,
    )
    outer = np.sqrt(np.maximum(square - rate**2, 0.0))
    kick, even = np.exp(-rate * t) * t * np.sinc(outer * t / np.pi), np.exp(-rate * t) * np.cos(outer * t)
    position = even + rate * kick
    lag = (1 - position) / np.where(rings, square, 1.0)
    ringing = (position, kick, even - rate * kick, lag)
    return tuple(np.where(rings, left, right) for left, right in zip(ringing, creeping, strict=True))


def propagator(time: ArrayLike, curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """e^{−At} of a mode, in all three cases of damping; arXiv 2107.09133, Appendix.

    Args:
        time: t = η × steps.
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        What takes the mean state (x, v) through the time t, shape (..., 2, 2).
    """
    a, b, d, _ = _solution(time, curvature, learning_rate=learning_rate, momentum=momentum)
    square = np.asarray(curvature, dtype=np.float64) / mass(learning_rate, momentum)
    return two_by_two(a, b, -square * b, d)


def expected_state(
    time: ArrayLike, start: ArrayLike, curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Mean state e^{−At} z₀ after the time t.

    Args:
        time: t = η × steps.
        start: State (x, v) at t = 0, shape (..., 2).
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        Shape (..., 2).
    """
    map_ = propagator(time, curvature, learning_rate=learning_rate, momentum=momentum)
    return (map_ @ np.asarray(start, dtype=np.float64)[..., None])[..., 0]


def half_step_start(start: ArrayLike, curvature: ArrayLike, *, momentum: ArrayLike = 0.0) -> Floats:
    """State (x₀, v₀(1 + β)/2 − h x₀/2) from which the mean follows the discrete one more closely; derived.

    The v of a step is the slope between two positions, so v_k belongs to the time η(k − ½). The error is of second
    order in ηω and 1 − β, where a start at (x₀, v₀) has one of first order.

    Args:
        start: State (x₀, v₀) before the first step, shape (..., 2).
        curvature: h.
        momentum: β.

    Returns:
        State at t = 0, shape (..., 2).
    """
    state, inertia = np.asarray(start, dtype=np.float64), np.asarray(momentum, dtype=np.float64)
    x, v = state[..., 0], state[..., 1]
    velocity = v * (1 + inertia) / 2 - np.asarray(curvature, dtype=np.float64) * x / 2
    return np.stack(np.broadcast_arrays(x, velocity), axis=-1)


def covariance(
    time: ArrayLike, curvature: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Covariance κ⁻¹(B − e^{−At} B e^{−Aᵀt}) of a state that was known at t = 0.

    Args:
        time: t = η × steps.
        curvature: h, 0 for a free particle.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Shape (..., 2, 2).
    """
    a, b, d, lag = _solution(time, curvature, learning_rate=learning_rate, momentum=momentum)
    square = np.asarray(curvature, dtype=np.float64) / mass(learning_rate, momentum)
    cross = 2 * damping_rate(learning_rate, momentum) * b**2
    unit = two_by_two(lag * (1 + a) - b**2, cross, cross, 1 - d**2 - square * b**2)
    return unit * velocity_variance(noise, momentum=momentum)[..., None, None]


def stationary_displacement(
    time: ArrayLike, curvature: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """E[(x(t) − x(0))²] = 2 Var x (1 − a(t)) of the stationary state, a the correlation of x; derived.

    Args:
        time: t = η × steps.
        curvature: h, 0 for a free particle.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Mean square of one mode; saturates at 2 Var x.
    """
    lag = _solution(time, curvature, learning_rate=learning_rate, momentum=momentum)[3]
    return 2 * lag * velocity_variance(noise, momentum=momentum)
