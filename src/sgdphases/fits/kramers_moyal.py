"""Drift and diffusion of levels: from gradients, from trajectories, and the regression that compares them.

Two roads lead to the coefficients of the eigenvalue Langevin equation (`theory/dyson.py`). Gradients of many samples at
one state give K_ij and V_ij directly (`projected_moments`). Trajectories of several replicas from one state, or windows
of one trajectory, give the Kramers-Moyal coefficients (`kramers_moyal`): drift D1 = ⟨Δx⟩/τ, diffusion D2 = Var(Δx)/(2τ)
with τ the flow time of a window, learning_rate × steps. The Langevin equation predicts 2 D2_i = T V_ii.

Levels are tracked by rank (they repel and do not cross), never by eigenvector. Under a fixed order of the data the
noise repeats every epoch: windows of one trajectory must be shorter than an epoch, and whole epochs have no noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from scipy import stats

from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.intervals import Estimate, normal_estimate, student_estimate
from sgdphases.theory.dyson import coulomb_sum, level_differences

Floats = NDArray[np.float64]

UNUSABLE_SHARE = 0.2
"""Share of levels whose steps are too large, above which projected gradients must not be used."""


@dataclass(frozen=True)
class KramersMoyal:
    """First two Kramers-Moyal coefficients of each level.

    Attributes:
        drift: D1 = ⟨Δx⟩/τ, shape (..., K).
        diffusion: D2 = Var(Δx)/(2τ), shape (..., K); the variance grows at the rate 2 D2.
        covariance: Covariance of the drift estimates of all levels, shape (..., K, K).
    """

    drift: Estimate
    diffusion: Estimate
    covariance: Floats


@dataclass(frozen=True)
class Regression:
    """Drift as a sum of terms with fitted coefficients.

    Attributes:
        coefficients: Estimate by name of the term.
        covariance: Covariance of the coefficients, in the order of the names.
        chi_square: Weighted sum of squared residuals.
        degrees: Degrees of freedom; chi_square is about this large if the terms suffice.
        condition: Condition number of the weighted terms, each scaled to unit length; large means that they cannot be
            told apart.
    """

    coefficients: dict[str, Estimate]
    covariance: Floats
    chi_square: float
    degrees: int
    condition: float


@dataclass(frozen=True)
class StepSize:
    """How large steps are against the distances between levels.

    Attributes:
        ratio: Step over distance to the nearest level, shape (..., K).
        violating: Share of levels with too large a ratio, shape (...).
        usable: Whether that share is small enough to trust perturbation theory, shape (...).
    """

    ratio: Floats
    violating: Floats
    usable: NDArray[np.bool_]


def projected_moments(
    drives: ArrayLike, *, resamples: int = 200, confidence: float = 0.95, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """Drift K_ij and diffusion V_ij from per-sample drives, with errors by a bootstrap over samples.

    Args:
        drives: A_n already rotated into the eigenbasis of X, shape (samples, K, K).
        resamples: Number of resamples.
        confidence: Probability inside the intervals.
        seed: Seed of the resampling.

    Returns:
        (K, V), shapes (K, K). V is the unbiased variance.
    """

    def both(sample: Floats) -> Floats:
        # A resample repeats samples; its plain variance estimates the same quantity as the original's plain variance.
        return np.stack([sample.mean(axis=0), sample.var(axis=0)])

    count = len(np.asarray(drives))
    scale = np.array([1.0, count / max(count - 1, 1)])[:, None, None]
    result = bootstrap(both, drives, resamples=resamples, confidence=confidence, seed=seed).times(scale)
    parts = result.value, result.error, result.low, result.high
    return tuple(Estimate(*(part[index] for part in parts)) for index in (0, 1))


def window_increments(levels: ArrayLike, stride: int) -> tuple[Floats, Floats]:
    """Starts and increments of the windows that tile a trajectory.

    Args:
        levels: Sorted levels at equally spaced steps, shape (..., steps, K).
        stride: Records per window.

    Returns:
        (levels at the starts, increments), shapes (..., windows, K).

    Raises:
        ValueError: If not even one window fits.
    """
    x = np.asarray(levels, dtype=np.float64)
    if not 0 < stride < x.shape[-2]:
        raise ValueError(f"a window of {stride} records does not fit into {x.shape[-2]}")
    ends = x[..., ::stride, :]
    return ends[..., :-1, :], np.diff(ends, axis=-2)


def window_steps(
    levels: ArrayLike, drift: ArrayLike, *, learning_rate: float, share: float = 0.3, least: int = 5
) -> int:
    """Longest window over which no level drifts by more than a share of the distance to its neighbour.

    Args:
        levels: Shape (K,), K ≥ 2.
        drift: d⟨x_i⟩/dt, shape (K,).
        learning_rate: ε.
        share: Largest allowed |drift| · n · ε over the distance.
        least: Fewest steps that make a window.

    Returns:
        Steps n, or 0 if even the shortest window is too long.
    """
    speed = np.abs(np.asarray(drift, dtype=np.float64)) * learning_rate
    longest = np.min(np.divide(share * _nearest(levels), speed, out=np.full_like(speed, np.inf), where=speed > 0))
    limit = np.iinfo(np.int64).max
    steps = limit if longest >= limit else int(longest)
    return steps if steps >= least else 0


def kramers_moyal(increments: ArrayLike, *, flow_time: ArrayLike, confidence: float = 0.95) -> KramersMoyal:
    """Drift and diffusion from the increments of replicas that start from one state.

    D1 = ⟨Δx⟩/τ with standard error √(2 D2/(τ R)) and the interval of Student's t; D2 = Var(Δx)/(2τ) with relative
    standard error √(2/(R − 1)) and the interval of a χ² variable (Gaussian increments).

    Args:
        increments: Δx, replicas (or windows) first, shape (replicas, ..., K).
        flow_time: τ, learning_rate × steps of a window; a number or shape (...).
        confidence: Probability inside the intervals.

    Returns:
        Coefficients per unit of flow time.

    Raises:
        ValueError: If there are fewer than two replicas.
    """
    moves = np.asarray(increments, dtype=np.float64)
    replicas = len(moves)
    if replicas < 2:
        raise ValueError("drift and diffusion need at least two replicas")
    time = np.asarray(flow_time, dtype=np.float64)[..., None]
    centred = moves - moves.mean(axis=0)
    covariance = np.einsum("r...i,r...j->...ij", centred, centred) / (replicas - 1)
    diffusion = np.diagonal(covariance, axis1=-2, axis2=-1) / (2 * time)
    freedom, error = replicas - 1, np.sqrt(2 * diffusion / (time * replicas))
    drift = student_estimate(moves.mean(axis=0) / time, error, freedom=freedom, confidence=confidence)
    low, high = (freedom / stats.chi2.ppf(0.5 + side * confidence / 2, freedom) for side in (1, -1))
    spread = Estimate(diffusion, diffusion * np.sqrt(2 / freedom), diffusion * low, diffusion * high)
    return KramersMoyal(drift, spread, covariance / (time[..., None] ** 2 * replicas))


def rounding_floor(levels: ArrayLike, *, learning_rate: float, steps: int = 1, dtype: DTypeLike = np.float64) -> Floats:
    """Drift that rounding alone can produce in a window: machine precision · x/(learning_rate · steps).

    At interpolation the gradient noise vanishes, and drift and diffusion below this floor say nothing.

    Args:
        levels: Shape (..., K).
        learning_rate: ε.
        steps: Steps of the window.
        dtype: Precision in which the weights were stored.

    Returns:
        Shape (..., K), per unit of flow time.
    """
    return np.finfo(dtype).eps * np.abs(np.asarray(levels, dtype=np.float64)) / (learning_rate * steps)


def step_size(
    levels: ArrayLike,
    drift: ArrayLike,
    *,
    diffusion: ArrayLike,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    limit: float = 0.3,
) -> StepSize:
    """Validity test of the Langevin equation: one step against the distance to the nearest level.

    Ratio max(ε√(V_ii/B), ε|K_ii|)/min_j |x_i − x_j|, a Péclet number of the step size. Perturbation theory needs it
    small; where more than a fifth of the levels exceed the limit, projected gradients must not be used.

    Args:
        levels: Shape (..., K), K ≥ 2.
        drift: K_ii, shape (..., K).
        diffusion: V_ii, shape (..., K).
        learning_rate: ε, a number or shape (...).
        batch_size: B, a number or shape (...).
        limit: Largest ratio that counts as small.

    Returns:
        Ratios, the violating share, and whether the state is usable.
    """
    rate = np.asarray(learning_rate, dtype=np.float64)[..., None]
    noise = np.sqrt(np.asarray(diffusion, dtype=np.float64) / np.asarray(batch_size, dtype=np.float64)[..., None])
    step = rate * np.maximum(noise, np.abs(np.asarray(drift, dtype=np.float64)))
    gaps = _nearest(levels)
    # A step of exactly zero is small against any gap, also against a vanishing one.
    ratio = np.where(step == 0, 0.0, np.divide(step, gaps, out=np.full_like(step, np.inf), where=gaps > 0))
    violating = (ratio > limit).mean(axis=-1)
    return StepSize(ratio, violating, violating <= UNUSABLE_SHARE)


def _nearest(levels: ArrayLike) -> Floats:
    """Distance of each level to its nearest neighbour."""
    return np.abs(level_differences(levels)).min(axis=-1)


def langevin_terms(
    levels: ArrayLike,
    *,
    drift: ArrayLike | None = None,
    diffusion: ArrayLike,
    gradient_variance: ArrayLike | None = None,
) -> dict[str, Floats]:
    """The terms of the eigenvalue Langevin equation, to regress a measured drift on.

    Expected coefficients: 1 for `drift` (K_ii), the temperature for `coulomb` (Σ_j V_ij/(x_i − x_j)) and for `ito`
    (C_ii). With V_ij = x_i + x_j and C = 1 of the Wishart process: g² and g²L.

    Args:
        levels: Shape (..., K).
        drift: K_ii, shape (..., K); no such term if None.
        diffusion: V_ij, shape (..., K, K).
        gradient_variance: C_ii, shape (..., K) or a number; no such term if None.

    Returns:
        Terms of shape (..., K) by name.
    """
    terms = {"coulomb": coulomb_sum(levels, diffusion)}
    shape = terms["coulomb"].shape
    if drift is not None:
        terms["drift"] = np.broadcast_to(np.asarray(drift, dtype=np.float64), shape)
    if gradient_variance is not None:
        terms["ito"] = np.broadcast_to(np.asarray(gradient_variance, dtype=np.float64), shape)
    return terms


def orthogonal_coulomb_term(levels: ArrayLike, diffusion: ArrayLike) -> Floats:
    """Coulomb term Σ_j D2_i/(x_i − x_j) if the noise is of the orthogonal type; its coefficient is the Dyson index β.

    Args:
        levels: Shape (..., K).
        diffusion: D2_i of `kramers_moyal`, shape (..., K).

    Returns:
        Shape (..., K).
    """
    return np.asarray(diffusion, dtype=np.float64) * coulomb_sum(levels, 1.0)


def regress_drift(
    drift: ArrayLike,
    terms: Mapping[str, ArrayLike],
    *,
    error: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    freedom: float = np.inf,
    confidence: float = 0.95,
) -> Regression:
    """Weighted least squares of measured drifts on the terms of the Langevin equation.

    Errors measured on few replicas are too small for some points, and these count too much. With f degrees of freedom
    of each, n points and p terms the squared errors of the coefficients are larger by 1 + 4/f (1 - p/n); for a mean
    P. Meier, Biometrics 9, 59 (1953).

    Args:
        drift: Measured D1 of all levels and states, any shape; all axes are points of the regression.
        terms: Terms by name, each of the drift's shape. No intercept is added.
        error: Standard errors of the drift, the drift's shape.
        covariance: Covariance of the drifts of one state, shape (..., K, K), instead of the errors: levels of one state
            are correlated, states are independent.
        freedom: Degrees of freedom of every error, replicas less one; infinite if errors are known.
        confidence: Probability inside the intervals.

    Returns:
        Coefficients with errors from those of the drift (not from the scatter; compare chi_square with degrees).

    Raises:
        ValueError: If not exactly one of error and covariance is given, or there are fewer points than terms.
    """
    target = np.asarray(drift, dtype=np.float64)
    table = np.stack([np.broadcast_to(np.asarray(term, dtype=np.float64), target.shape) for term in terms.values()], -1)
    if (error is None) == (covariance is None):
        raise ValueError("give either the errors of the drift or its covariance")
    if target.size < len(terms):
        raise ValueError(f"{target.size} drifts cannot fix {len(terms)} coefficients")
    if covariance is None:
        scale = np.asarray(error, dtype=np.float64)
        target, table = target / scale, table / scale[..., None]
    else:
        factor = np.linalg.cholesky(np.asarray(covariance, dtype=np.float64))
        target = np.linalg.solve(factor, target[..., None])[..., 0]
        table = np.linalg.solve(factor, table)
    uneven = 1 + 4 / freedom * (1 - len(terms) / target.size)
    return _least_squares(target.reshape(-1), table.reshape(-1, len(terms)), list(terms), uneven, confidence)


def _least_squares(target: Floats, table: Floats, names: list[str], uneven: float, confidence: float) -> Regression:
    """Least squares of points with unit errors, the squares of the coefficients' larger by a factor."""
    length = np.linalg.norm(table, axis=0)
    length = np.where(length > 0, length, 1.0)
    left, singular, right = np.linalg.svd(table / length, full_matrices=False)
    kept = singular > singular[0] * np.finfo(np.float64).eps * max(table.shape)
    inverse = np.divide(1.0, singular, out=np.zeros_like(singular), where=kept)
    values = (right.T * inverse) @ (left.T @ target) / length
    covariance = uneven * (right.T * inverse**2) @ right / np.outer(length, length)
    if not kept.all():
        covariance = np.full_like(covariance, np.nan)
    errors = np.sqrt(np.diag(covariance))
    estimates = {name: normal_estimate(values[i], errors[i], confidence=confidence) for i, name in enumerate(names)}
    residual = target - table @ values
    condition = float(singular[0] / singular[-1]) if singular[-1] > 0 else float("inf")
    return Regression(estimates, covariance, float(residual @ residual), len(target) - len(names), condition)


def deviation_probability(estimate: Estimate, expected: ArrayLike) -> Floats:
    """Probability of so large a deviation if the expected value is true (two-sided, normal).

    The test of the Coulomb term: its coefficient against the temperature.

    Args:
        estimate: Value with standard error.
        expected: Value under the null hypothesis.

    Returns:
        Between 0 and 1; NaN without an error.
    """
    return 2 * stats.norm.sf(np.abs((estimate.value - np.asarray(expected, dtype=np.float64)) / estimate.error))
