"""Anomalous diffusion: how spectra, drift and inertia set the power c of the mean square displacement ∝ t^c.

For lags t ≫ 1/(1 − β) a mode of curvature h relaxes by ηh/(1 − β) per step, and displacements are sums of
2 Var x (1 − e^{−rt}). Spectra of many scales give powers below 1, drift gives powers above it. Derived; Kunin et al.,
arXiv 2107.09133, give no closed form of c. Displacements at finite η are in `momentum_displacement`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.theory.langevin import checked, damping_rate, damping_ratio, mass, position_variance

Floats = NDArray[np.float64]


def effective_temperature(learning_rate: ArrayLike, batch_size: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """η/(S(1 − β)), to which position variances are proportional.

    Args:
        learning_rate: η.
        batch_size: S.
        momentum: β.

    Returns:
        Temperature.
    """
    rate, inertia = checked(learning_rate, momentum)
    return rate / (np.asarray(batch_size, dtype=np.float64) * (1 - inertia))


def relaxation_rate(curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Rate r = ηh/(1 − β) per step of a mode that is far from underdamped.

    Args:
        curvature: h.
        learning_rate: η.
        momentum: β.

    Returns:
        r.
    """
    rate, inertia = checked(learning_rate, momentum)
    return rate * np.asarray(curvature, dtype=np.float64) / (1 - inertia)


def overdamped_displacement(
    steps: ArrayLike, curvature: ArrayLike, noise: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """2 Var x (1 − e^{−rt}) of the stationary state of one mode, for t ≫ 1/(1 − β).

    Args:
        steps: t.
        curvature: h > 0.
        noise: s, variance of the gradient of a batch.
        learning_rate: η.
        momentum: β.

    Returns:
        Mean square; sums over modes are what exponents belong to.
    """
    words = {"learning_rate": learning_rate, "momentum": momentum}
    relaxed = -np.expm1(-relaxation_rate(curvature, **words) * np.asarray(steps, dtype=np.float64))
    return 2 * position_variance(curvature, noise, **words) * relaxed


def diffusion_exponent(rank_power: ArrayLike, *, noise_power: ArrayLike = 1.0) -> Floats:
    """Power c = 1 + 1/p − g, at least 0 and at most 1, of curvatures ∝ rank^{−p} with noise ∝ curvature^g.

    Holds between the relaxation times of the steepest and the flattest mode, without weight decay; it is approached
    slowly near its two ends.

    Args:
        rank_power: p > 0; the density of curvatures is ∝ h^{−1−1/p}.
        noise_power: g; 1 in the paper's Assumption 5, so that c = min(1, 1/p).

    Returns:
        c.
    """
    return np.clip(1 + 1 / np.asarray(rank_power, dtype=np.float64) - np.asarray(noise_power), 0.0, 1.0)


def drift_exponent(rank_power: ArrayLike, *, start_power: ArrayLike) -> Floats:
    """Power c = q + 1/p, at least 0 and at most 2, of modes that relax from squared distances ∝ curvature^{−q}.

    Args:
        rank_power: p > 0 of curvatures ∝ rank^{−p}.
        start_power: q.

    Returns:
        c of the squared mean displacement.
    """
    return np.clip(np.asarray(start_power, dtype=np.float64) + 1 / np.asarray(rank_power, dtype=np.float64), 0.0, 2.0)


def local_exponent(steps: ArrayLike, displacement: ArrayLike) -> Floats:
    """Local power d ln E‖Δ‖²/d ln t along a curve, by second-order differences.

    Args:
        steps: t > 0, ascending, shape (times,).
        displacement: E‖Δ‖² > 0, shape (..., times).

    Returns:
        Shape (..., times).
    """
    logarithm = np.log(np.asarray(displacement, dtype=np.float64))
    return np.gradient(logarithm, np.log(np.asarray(steps, dtype=np.float64)), axis=-1, edge_order=2)


def drift_diffusion(time: ArrayLike, *, diffusion: ArrayLike, speed: ArrayLike) -> Floats:
    """E‖Δ‖² = Dt + V²t² of free diffusion on a steady drift.

    Args:
        time: t, in steps or epochs.
        diffusion: D, per unit of t.
        speed: V.

    Returns:
        Mean square.
    """
    t = np.asarray(time, dtype=np.float64)
    return np.asarray(diffusion, dtype=np.float64) * t + np.asarray(speed, dtype=np.float64) ** 2 * t**2


def drift_diffusion_exponent(time: ArrayLike, drift_ratio: ArrayLike) -> Floats:
    """Local power (1 + 2rt)/(1 + rt) of `drift_diffusion`, from 1 to 2, with r = V²/D.

    Args:
        time: t.
        drift_ratio: r, per unit of t; drift overtakes diffusion at t = 1/r.

    Returns:
        Power.
    """
    share = np.asarray(time, dtype=np.float64) * np.asarray(drift_ratio, dtype=np.float64)
    return (1 + 2 * share) / (1 + share)


def free_diffusion_ratio(
    displacement: ArrayLike, steps: ArrayLike, one_step_displacement: ArrayLike, *, momentum: ArrayLike = 0.0
) -> Floats:
    """E‖Δ_t‖²(1 − β)/((1 + β) t E‖δ‖²): 1 for free Brownian motion, less where confined, more where drifting.

    Args:
        displacement: E‖Δ_t‖².
        steps: t ≫ `persistence_steps`.
        one_step_displacement: E‖δ‖².
        momentum: β.

    Returns:
        Ratio.
    """
    free = 2 * persistence_steps(momentum) * np.asarray(steps) * np.asarray(one_step_displacement, dtype=np.float64)
    return np.asarray(displacement, dtype=np.float64) / free


def persistence_steps(momentum: ArrayLike) -> Floats:
    """τ = (1 + β)/(2(1 − β)) steps, by which inertia lets the local power of free diffusion be 1 + τ/t.

    Args:
        momentum: β.

    Returns:
        Steps; half the mean square per step of free diffusion over E‖δ‖².
    """
    _, inertia = checked(1.0, momentum)
    return (1 + inertia) / (2 * (1 - inertia))


def zero_crossing_lag(curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """First lag at which the velocity correlation of `langevin` is 0: in every confined mode it turns negative.

    Overdamped artanh(α/γ)/(ηα), critical 1/(ηγ), underdamped arctan(α/γ)/(ηα), α = √|γ² − ω²|.

    Args:
        curvature: h ≥ 0.
        learning_rate: η.
        momentum: β.

    Returns:
        Lag in steps, infinite in flat modes; for ζ ≫ 1 about (1 + β)/(1 − β) ln(2ζ).
    """
    rate = damping_rate(learning_rate, momentum)
    square = np.asarray(curvature, dtype=np.float64) / mass(learning_rate, momentum)
    ratio = square / rate**2
    share = np.sqrt(np.abs(1 - ratio))
    with np.errstate(divide="ignore"):
        # Both are artanh(share): one is exact where it is small, one where it is large.
        far = np.log1p(share) - np.log(ratio) / 2
    creeping = np.where(share < 0.5, np.arctanh(np.minimum(share, 0.5)), far)
    turn = np.where(ratio > 1, np.arctan(share), creeping) / np.where(share > 0, share, 1.0)
    return np.where(share > 0, turn, 1.0) / (rate * np.asarray(learning_rate, dtype=np.float64))


def zero_crossing_estimate(curvature: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """(1 + β)/(1 − β) ln(2ζ), the lag of `zero_crossing_lag` far from critical damping.

    Args:
        curvature: h ≥ 0, overdamped.
        learning_rate: η.
        momentum: β.

    Returns:
        Lag in steps.
    """
    ratio = damping_ratio(curvature, learning_rate=learning_rate, momentum=momentum)
    return 2 * persistence_steps(momentum) * np.log(2 * ratio)
