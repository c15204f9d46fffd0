"""Catapults: two weights u, v with the output f = (uv − u₀v₀)/γ, target 1, losses as in `theory.richness`.

With the kernel S = u² + v² (the tangent kernel times γ²), the rate c = η/γ² and the squared error, e = f − 1 obeys
e ← e(1 − cS + c²γe uv), S ← S − 4cγe uv + c²γ²e²S. The start is stable for cS < 2; above, e grows until it has made S
small enough: a catapult. With y = γ + u₀v₀, the product at the minimum, Φ = 4 − cS + c²yγe keeps its sign, since a step
multiplies it by 1 + c²γe uv. A stable minimum has Φ > 2 and cy < 1: from Φ < 0 there is no way to it, from Φ > 0 (and
cy < 1) almost every start gets there. Both bounds on η are ∝ γ² where γ ≪ 1. Equal weights cannot catapult: they
converge up to c = 1/y and blow up from 2/y on.

The cross-entropy has a bounded slope, and weights move by themselves in one step where η ∼ γ: a lazy network catapults
from γ² to γ, if it starts from uv = 0 (as wide ones nearly do).

Source: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642, appendix, for the phenomenon and the powers of γ; derived
here: the exact maps, Φ (Liang and Montúfar, arXiv 2509.25351, have such a critical step for factorisations) and the
constants of the cross-entropy.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from sgdphases.theory.richness import SOFT_LABEL, Floats, checked, critical_learning_rate, loss_curvature, loss_slope

WIDE = (np.sqrt(2.0), 0.0)
"""Initial weights with uv = 0 and the kernel 2 that two weights of 1 have: the case of wide networks."""

_SETTLED = 1e-12


class Flight(NamedTuple):
    """Where gradient descent on two weights has come to.

    Attributes:
        output: f; infinite or NaN if it has diverged.
        kernel: S = u² + v².
        peak: Largest |f − 1| on the way, the start included.
    """

    output: Floats
    kernel: Floats
    peak: Floats


def flight(
    learning_rate: ArrayLike,
    richness: ArrayLike,
    *,
    weights: tuple[ArrayLike, ArrayLike] = WIDE,
    steps: int,
    loss: str = "half_squared_error",
) -> Flight:
    """Gradient descent on two weights.

    Args:
        learning_rate: η.
        richness: γ.
        weights: u and v at the start.
        steps: Number of steps; fewer are made if every f is at 1, or beyond all numbers, before.
        loss: A word of `theory.richness.TOY_LOSSES`.

    Returns:
        State after the last step.
    """
    gamma = checked(richness, 2)[0]
    rate = np.asarray(learning_rate, dtype=np.float64)
    u, v, gamma, rate = np.broadcast_arrays(*(np.asarray(weight, dtype=np.float64) for weight in weights), gamma, rate)
    start, output = u * v, np.zeros(u.shape)
    peak = np.abs(output - 1)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            move = rate / gamma * loss_slope(output, loss)
            u, v = u - move * v, v - move * u
            output = (u * v - start) / gamma
            peak = np.fmax(peak, np.abs(output - 1))
            if np.all((np.abs(output - 1) < _SETTLED) | ~np.isfinite(output)):
                break
        return Flight(output, u**2 + v**2, peak)


def error_map(
    error: ArrayLike, kernel: ArrayLike, *, rate: ArrayLike, richness: ArrayLike, product: ArrayLike = 0.0
) -> tuple[Floats, Floats]:
    """One step of the squared error in e and S alone.

    Args:
        error: e = f − 1.
        kernel: S.
        rate: c = η/γ².
        richness: γ.
        product: u₀v₀.

    Returns:
        The next e and S. Where |e| ≫ 1 they are e(1 − cS + c²γ²e²) and S + cγ²e²(cS − 4).
    """
    gamma, c = checked(richness, 2)[0], np.asarray(rate, dtype=np.float64)
    e, s = np.asarray(error, dtype=np.float64), np.asarray(kernel, dtype=np.float64)
    both = gamma * (e + 1) + np.asarray(product, dtype=np.float64)
    return e * (1 - c * s + c**2 * gamma * e * both), s - 4 * c * gamma * e * both + (c * gamma * e) ** 2 * s


def catapult_margin(
    error: ArrayLike, kernel: ArrayLike, *, rate: ArrayLike, richness: ArrayLike, product: ArrayLike = 0.0
) -> Floats:
    """Φ = 4 − cS + c²yγe, y = γ + u₀v₀, whose sign no step of the squared error changes while cy < 2.

    Args:
        error: e = f − 1.
        kernel: S.
        rate: c = η/γ².
        richness: γ.
        product: u₀v₀.

    Returns:
        Negative where no stable minimum can be reached.
    """
    gamma, c = checked(richness, 2)[0], np.asarray(rate, dtype=np.float64)
    goal = gamma + np.asarray(product, dtype=np.float64)
    return 4 - c * np.asarray(kernel, dtype=np.float64) + c**2 * goal * gamma * np.asarray(error, dtype=np.float64)


def largest_catapult_learning_rate(richness: ArrayLike, *, weights: tuple[ArrayLike, ArrayLike] = WIDE) -> Floats:
    """Learning rate up to which the squared error converges, γ² min(1/y, 8/(S + √(S² + 16γy))), y = γ + u₀v₀.

    Args:
        richness: γ.
        weights: u and v at the start, with y > 0.

    Returns:
        η; 4γ²/S for γ ≪ 1 and uv = 0, twice what is stable at the start; γ²/y for γ ≫ 1, and for equal weights.
    """
    gamma, (u, v) = checked(richness, 2)[0], (np.asarray(weight, dtype=np.float64) for weight in weights)
    goal, kernel = gamma + u * v, u**2 + v**2
    return gamma**2 * np.minimum(1 / goal, 8 / (kernel + np.sqrt(kernel**2 + 16 * gamma * goal)))


class Converging(NamedTuple):
    """Which of some learning rates converge.

    Attributes:
        largest: The largest that does; an island if smaller ones do not. NaN if none does.
        unbroken: The largest up to which all do; NaN if the smallest does not.
    """

    largest: float
    unbroken: float


def converging_learning_rates(
    candidates: ArrayLike,
    richness: float,
    *,
    weights: tuple[float, float] = WIDE,
    loss: str = "half_squared_error",
    steps: int = 20_000,
) -> Converging:
    """Scan learning rates for those that bring the output to within 0.001 of 1.

    Args:
        candidates: Learning rates, ascending (n,).
        richness: γ.
        weights: u and v at the start.
        loss: A word of `theory.richness.TOY_LOSSES`.
        steps: Number of steps.

    Returns:
        What was found; the edge is fractal, so a finer scan may find larger ones.
    """
    rates = np.asarray(candidates, dtype=np.float64)
    output = flight(rates, richness, weights=weights, steps=steps, loss=loss).output
    good = np.abs(output - 1) < 1e-3
    unbroken = np.logical_and.accumulate(good)
    return Converging(*(float(rates[which].max()) if which.any() else float("nan") for which in (good, unbroken)))


def cross_entropy_band(richness: ArrayLike, *, kernel: ArrayLike = 2.0) -> tuple[Floats, Floats]:
    """Learning rates between which a lazy cross-entropy with uv = 0 catapults: 2γ²/(ℓ''(1) S) and `BAND_END` γ.

    Args:
        richness: γ, small.
        kernel: S at the start.

    Returns:
        η_crit and the end of the unbroken band, in enough steps: see `kernel_decay_steps`. Above it there are islands,
        the last near `LANDING` γ for γ → 0.
    """
    gamma = checked(richness, 2)[0]
    critical = critical_learning_rate(np.asarray(kernel, dtype=np.float64) / gamma**2, loss="cross_entropy")
    return critical, np.broadcast_to(BAND_END * gamma, critical.shape)


def kernel_decay_steps(learning_rate: ArrayLike, richness: ArrayLike) -> Floats:
    """Steps γ²/(ℓ''(1) η²) in which a lazy cross-entropy that catapults, η ≪ γ, lets its kernel fall by a factor e.

    S must fall to 2γ²/(ℓ''(1) η), so that T steps leave learning rates from η_crit to about γ/√T untrained.

    Args:
        learning_rate: η.
        richness: γ.

    Returns:
        Number of steps, not rounded.
    """
    rate = np.asarray(learning_rate, dtype=np.float64) / checked(richness, 2)[0]
    return 1 / (loss_curvature(1.0, "cross_entropy") * rate**2)


def _growth_at_balance(rate: float) -> float:
    """Positive where u + v and u − v, kept equally large by f's changes of sign, shrink together."""
    # For γ → 0 the slope is 1 - p or -p. A step with f > 0 multiplies u + v by 1 - c(1 - p) and u - v by 1 + c(1 - p),
    # one with f < 0 by 1 + cp and 1 - cp, with c = η/γ. The share of steps with f > 0 that gives both the same growth
    # gives no growth where the product of the logarithms of the two that shrink is that of the two that grow.
    p = SOFT_LABEL
    shrink = np.log(abs(1 - rate * (1 - p))) * np.log(abs(1 - rate * p))
    return float(shrink - np.log(1 + rate * (1 - p)) * np.log(1 + rate * p))


BAND_END = float(optimize.brentq(_growth_at_balance, 1.5, 3.5, xtol=1e-14))
"""η/γ = 2.1996 up to which every lazy cross-entropy with uv = 0 converges, for γ → 0."""

LANDING = float(-1 / loss_slope(0.0, "cross_entropy"))
"""η/γ = 4.3279 at which the first step from v = 0 makes the weights equal: it converges whatever γ ≪ 1."""

EQUAL_END = 2 / (1 - SOFT_LABEL)
"""η/γ = 7.4366 up to which equal weights stay finite under the cross-entropy, whether they train or not."""
