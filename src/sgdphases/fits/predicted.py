"""Ways to predict displacements from what was measured once at the start.

Exact: every eigenvector is a mode of the exact recursion from rest, with its curvature, its noise and the gradient at
the start; noise and gradient that no mode has count as those of flat directions, which weight decay alone confines.
Tail: the noise that no mode has goes with the curvature that no mode has, σ²ρ, along curvatures that fall with their
rank as a power law from the last eigenvector on, so that they add up to the trace. Of batches without replacement the
noise cancels over an epoch. Paper: stationary motion with noise σ²H, σ² calibrated by the speed at one point (Kunin et
al., arXiv 2107.09133, Eqs. 12 and 13).
"""

import numpy as np
from scipy import optimize
from scipy.special import exprel

from sgdphases.fits.arrays import Floats
from sgdphases.fits.one_step import exact_one_step, paper_one_step, speed_trace
from sgdphases.fits.walks import Walks
from sgdphases.theory import langevin_displacement, momentum_displacement, reshuffled_noise

GROUPS = 60
"""Groups of ranks that stand for the tail."""

STEEPEST = 40.0
"""Largest power of the rank that is tried."""

Predicted = tuple[Floats, Floats]
"""E‖Δ‖² at the records, (P, T), and E‖δ‖², (P,)."""


def exact(walks: Walks) -> Predicted:
    """The exact recursion from rest, with the rest of the noise in flat directions.

    Args:
        walks: With `curvature`, `noise` and `noise_trace`.

    Returns:
        The prediction.
    """
    return _recursion(walks, np.zeros(1), np.ones(1)), exact_one_step(walks)


def tail(walks: Walks) -> Predicted:
    """The exact recursion from rest, with the rest of the noise along a tail of curvatures.

    Args:
        walks: With `curvature`, `noise`, `noise_trace`, `curvature_trace` and the attribute `parameters`.

    Returns:
        The prediction; NaN where curvatures that fall from the last eigenvector on cannot make the trace.
    """
    curvature, share = tail_curvatures(walks)
    if not len(curvature):
        return np.full(walks.step.shape, np.nan), np.full(walks.points, np.nan)
    rest = max(float(walks.start("noise_trace")) - walks.start("noise")[walks.eigenvectors()].sum(), 0.0)
    words = {"learning_rate": walks.learning_rate[:, None], "momentum": walks.momentum[:, None]}
    noise, h = walks.batch_noise(rest * share), curvature + walks.weight_decay[:, None]
    flat = momentum_displacement.one_step_displacement(walks.weight_decay[:, None], noise, **words)
    curved = momentum_displacement.one_step_displacement(h, noise, **words)
    return _recursion(walks, curvature, share), exact_one_step(walks) + (curved - flat).sum(axis=-1)


def tail_curvatures(walks: Walks) -> Predicted:
    """Curvatures ρ_M (i/M)^{-p} of ranks i beyond the M eigenvectors, p so that all add up to the trace.

    Args:
        walks: With `curvature`, `curvature_trace` and the attribute `parameters`.

    Returns:
        Mean curvature of groups of ranks, and their shares of the rest of the trace, (groups,); empty where there is no
        such p.
    """
    own = np.sort(walks.start("curvature")[walks.eigenvectors()])[::-1]
    number, rest = int(walks.cube.attrs.get("parameters", 0)), float(walks.start("curvature_trace")) - own.sum()
    if not len(own) or own[-1] <= 0 or number <= len(own) or not rest > 0:
        return np.empty(0), np.empty(0)
    edges = np.unique(np.rint(np.geomspace(len(own), number, GROUPS + 1)))
    width = np.diff(np.log(edges))

    def sums(power: float) -> Floats:
        return own[-1] * len(own) ** power * edges[:-1] ** (1 - power) * width * exprel((1 - power) * width)

    if not sums(STEEPEST).sum() < rest < sums(0.0).sum():
        return np.empty(0), np.empty(0)
    found = sums(optimize.brentq(lambda power: sums(power).sum() - rest, 0.0, STEEPEST))
    return found / np.diff(edges), found / rest


def _recursion(walks: Walks, curvature: Floats, share: Floats) -> Floats:
    """E‖Δ‖² of all modes from rest, the rest of the noise along other curvatures by their shares of it, (P, T)."""
    own = walks.eigenvectors()
    noise = walks.start("noise")[own]
    gradient = walks.start("gradient")[own] if "gradient" in walks.cube else np.zeros(own.sum())
    whole = float(walks.start("start_gradient_norm")) ** 2 if "start_gradient_norm" in walks.cube else 0.0
    rest = max(float(walks.start("noise_trace")) - noise.sum(), 0.0)
    # The last one is flat, for the drift that no mode has.
    drift = np.sqrt(max(whole - (gradient**2).sum(), 0.0))
    gradients = np.concatenate([gradient, np.zeros(len(share)), [drift]])
    noises = walks.batch_noise(np.concatenate([noise, rest * share, [0.0]]))
    base = np.concatenate([walks.start("curvature")[own], curvature, [0.0]])
    return np.stack(
        [_from_rest(walks, p, base + walks.weight_decay[p], noises[p], gradients) for p in range(walks.points)]
    )


def _from_rest(walks: Walks, point: int, curvature: Floats, noise: Floats, gradient: Floats) -> Floats:
    """Sum over modes of drift and of what the sampler's noise leaves, (T,)."""
    words, steps = walks.words(point), walks.step[point].astype(np.int64)[:, None]
    period = int(walks.period[point])
    independent = walks.with_replacement or period < 2
    found = momentum_displacement.displacement_from_rest(
        steps, curvature, noise if independent else 0.0, gradient=gradient, **words
    )
    if not independent:
        law = reshuffled_noise.reshuffled_covariance
        law = law if walks.sampler == "reshuffle" else reshuffled_noise.fixed_order_covariance
        found = found + law(steps, curvature, noise, steps_per_epoch=period, **words)[..., 0, 0]
    return found.sum(axis=-1)


def paper(walks: Walks, level: Floats) -> Predicted:
    """Eqs. 12 and 13 with σ² from the speed at the reference point.

    Args:
        walks: With `curvature`, and `curvature_trace` for Eq. 13.
        level: Measured E‖δ‖², (P,).

    Returns:
        The prediction; displacements are NaN without the trace.
    """
    own = walks.eigenvectors() & (walks.start("curvature") > 0)
    rho, trace = walks.start("curvature")[own], walks.start("curvature_trace")
    strength = speed_trace(walks, level)[walks.reference] / trace
    found = np.full(walks.step.shape, np.nan)
    if np.isfinite(strength):
        noises = walks.batch_noise(strength * np.maximum(np.append(rho, trace - rho.sum()), 0.0))
        steps = walks.step.astype(np.int64)[..., None]
        for point in range(walks.points):
            curvature = np.append(rho, 0.0) + walks.weight_decay[point]
            each = langevin_displacement.displacement(steps[point], curvature, noises[point], **walks.words(point))
            found[point] = each.sum(axis=-1)
    return found, paper_one_step(walks, level)
