"""SGD with momentum on a quadratic loss, step by step: exact at every stable learning rate.

In a mode of `curvature` h = ρ + λ (eigenvalue of the Hessian plus weight decay), with x the distance to the mean and
independent gradient noise ξ of variance s (`noise`: Σ_ii/S of per-example covariance Σ and batch size S), one step is

    v ← βv − hx − ξ,   x ← x + ηv,   that is z ← Mz − nξ,   M = [[1 − ηh, ηβ], [−h, β]],   n = (η, 1).

Functions are elementwise in modes and steps, which are broadcast; values belong to one mode, and those of a network are
sums over modes. States (x, v) have shape (..., 2), covariances (..., 2, 2). Flat modes (h = 0) are allowed where a
limit exists. Derived; the limit of small η is `langevin`, the theory of Kunin et al., arXiv 2107.09133. Displacements
are in `momentum_displacement`, other kinds of noise in `structured_noise` and `reshuffled_noise`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.theory.langevin import checked, frequency
from sgdphases.theory.linear_recursion import Accumulated, accumulate, two_by_two

Floats = NDArray[np.float64]


def stability_bound(learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Curvature 2(1 + β)/η from which on the steps run away.

    Args:
        learning_rate: η.
        momentum: β.

    Returns:
        h.
    """
    rate, inertia = checked(learning_rate, momentum)
    return 2 * (1 + inertia) / rate


def underdamped_bounds(learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> tuple[Floats, Floats]:
    """Curvatures (1 ∓ √β)²/η between which the mean oscillates, shrinking by exactly √β per step.

    Args:
        learning_rate: η.
        momentum: β.

    Returns:
        The least and the largest h.
    """
    rate, inertia = checked(learning_rate, momentum)
    return (1 - np.sqrt(inertia)) ** 2 / rate, (1 + np.sqrt(inertia)) ** 2 / rate


def roots(curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> NDArray[np.complex128]:
    """Eigenvalues of M, the roots of z² − (1 + β − ηh)z + β.

    Args:
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        Shape (..., 2): the larger one, or that of positive phase, first.
    """
    rate, inertia = checked(learning_rate, momentum)
    step = rate * np.asarray(curvature, dtype=np.float64)
    # (1 + β − ηh)² − 4β in factors, so that it is exact near critical damping.
    inner = np.sqrt((step - (1 - np.sqrt(inertia)) ** 2) * (step - (1 + np.sqrt(inertia)) ** 2) + 0j)
    return np.stack([(1 + inertia - step + inner) / 2, (1 + inertia - step - inner) / 2], axis=-1)


def decay_per_step(curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Factor max |z| of the mean in a step; 1 or more where there is no stationary state.

    Args:
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        Factor.
    """
    return np.abs(roots(curvature, learning_rate=learning_rate, momentum=momentum)).max(axis=-1)


def phase_per_step(curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Phase φ of the mean in a step, cos φ = (1 + β − ηh)/(2√β) where it oscillates.

    Args:
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        Radians; 0 where it creeps, π where its sign alternates.
    """
    return np.angle(roots(curvature, learning_rate=learning_rate, momentum=momentum)[..., 0])


def propagator(
    steps: ArrayLike, curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Mᵏ.

    Args:
        steps: k.
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        What takes the mean state (x, v) through k steps, shape (..., 2, 2).
    """
    return step_sums(steps, curvature, learning_rate=learning_rate, momentum=momentum).power


def step_sums(
    steps: ArrayLike,
    curvature: ArrayLike,
    noise: ArrayLike = 0.0,
    *,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Accumulated:
    """Mᵏ, Σ_{j<k} Mʲ and the covariance s Σ_{j<k} (Mʲn)(Mʲn)ᵀ, from one doubling.

    Args:
        steps: k, whole numbers.
        curvature: h.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        All three, each of shape (..., 2, 2).
    """
    rate, inertia = checked(learning_rate, momentum)
    h, s = np.asarray(curvature, dtype=np.float64), np.asarray(noise, dtype=np.float64)
    matrix = two_by_two(1 - rate * h, rate * inertia, -h, inertia)
    return accumulate(steps, matrix, two_by_two(s * rate**2, s * rate, s * rate, s))


def expected_state(
    steps: ArrayLike, start: ArrayLike, curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Mean state Mᵏ z₀ after k steps.

    Args:
        steps: k.
        start: State (x, v) before the first step, shape (..., 2).
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        Shape (..., 2).
    """
    map_ = propagator(steps, curvature, learning_rate=learning_rate, momentum=momentum)
    return (map_ @ np.asarray(start, dtype=np.float64)[..., None])[..., 0]


def covariance(
    steps: ArrayLike, curvature: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Covariance of a state that was known k steps ago.

    Args:
        steps: k.
        curvature: h, 0 for a free mode.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Shape (..., 2, 2).
    """
    return step_sums(steps, curvature, noise, learning_rate=learning_rate, momentum=momentum).covariance


def velocity_variance(
    curvature: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Stationary Var v = 2s/((1 − β)(2(1 + β) − ηh)).

    Args:
        curvature: h.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Var v; infinite where h < 0 or not less than `stability_bound`, unless there is no noise.
    """
    rate, inertia = checked(learning_rate, momentum)
    h, s = np.asarray(curvature, dtype=np.float64), np.asarray(noise, dtype=np.float64)
    room = np.where(h >= 0, np.maximum(2 * (1 + inertia) - rate * h, 0.0), 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(s == 0, 0.0, 2 * s / ((1 - inertia) * room))[()]


def position_variance(
    curvature: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Stationary Var x = η(1 + β) Var v/(2h): equipartition is exact.

    Args:
        curvature: h.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Var x; infinite where h ≤ 0 or not less than `stability_bound`, unless there is no noise.
    """
    rate, inertia = checked(learning_rate, momentum)
    velocity = velocity_variance(curvature, noise, learning_rate=rate, momentum=inertia)
    h = np.maximum(np.asarray(curvature, dtype=np.float64), 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(velocity == 0, 0.0, rate * (1 + inertia) * velocity / (2 * h))[()]


def stationary_covariance(
    curvature: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Stationary P = MPMᵀ + s nnᵀ, with Cov(x_k, v_k) = η Var v/2.

    Args:
        curvature: h.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Shape (..., 2, 2).
    """
    words = {"learning_rate": learning_rate, "momentum": momentum}
    velocity = velocity_variance(curvature, noise, **words)
    cross = np.asarray(learning_rate, dtype=np.float64) * velocity / 2
    return two_by_two(position_variance(curvature, noise, **words), cross, cross, velocity)


def half_step_covariance(covariance: ArrayLike, *, learning_rate: ArrayLike) -> Floats:
    """Covariance of ((x_k + x_{k−1})/2, v_k), given that of (x_k, v_k); in the stationary state it is diagonal.

    Args:
        covariance: Of theory or measured, shape (..., 2, 2).
        learning_rate: η.

    Returns:
        Shape (..., 2, 2).
    """
    back = two_by_two(1.0, -np.asarray(learning_rate, dtype=np.float64) / 2, 0.0, 1.0)
    return back @ np.asarray(covariance, dtype=np.float64) @ np.swapaxes(back, -1, -2)


def correlation(
    lag: ArrayLike, curvature: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """R(k) = E[z_{j+k} z_jᵀ] = MᵏP of the stationary state.

    Args:
        lag: k.
        curvature: h.
        noise: s.
        learning_rate: η.
        momentum: β.

    Returns:
        Shape (..., 2, 2): rows are the later state.
    """
    words = {"learning_rate": learning_rate, "momentum": momentum}
    return propagator(lag, curvature, **words) @ stationary_covariance(curvature, noise, **words)


def velocity_correlation(
    lag: ArrayLike, curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """R_v(k)/Var v: β − ηh/2 at lag 1; 1 + 2 Σ_{k≥1} of it is 0 in every mode with h > 0, and βᵏ where h = 0.

    Args:
        lag: k.
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        Correlation.
    """
    last = propagator(lag, curvature, learning_rate=learning_rate, momentum=momentum)[..., 1, :]
    return last[..., 0] * np.asarray(learning_rate, dtype=np.float64) / 2 + last[..., 1]


def rotation_per_step(curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """E[x_k v_{k+1} − v_k x_{k+1}]/√(Var x Var v) = −ηω(1 + β − ηh/2) of the stationary state: clockwise.

    Args:
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        Rotation; a pure number.
    """
    rate, inertia = checked(learning_rate, momentum)
    turn = rate * frequency(curvature, learning_rate=rate, momentum=inertia)
    return -turn * (1 + inertia - rate * np.asarray(curvature, dtype=np.float64) / 2)


def curvature_error(
    steps: ArrayLike, curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Relative standard error √(2(1 − β)/(nηh)) of h regressed from n steps of βv_k − v_{k+1} on x_k; derived.

    Args:
        steps: n.
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        Standard deviation over h, for n ≫ (1 − β)/(ηh); the bias is about 2.5 times its square, upwards.
    """
    rate, inertia = checked(learning_rate, momentum)
    number = np.asarray(steps, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.sqrt(2 * (1 - inertia) / (number * rate * np.asarray(curvature, dtype=np.float64)))
