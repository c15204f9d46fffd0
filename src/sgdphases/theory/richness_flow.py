"""Trajectories and times of the toy network of `theory.richness`: how long its plateau is, how many steps it needs.

With x = ln(1 + γf) gradient flow is dx/d(ηt) = −ℓ'(f) (L/γ) e^{x(1 − 2/L)}; discrete steps are those of the universal
map u ← u − s u^{L−1}(u^L − 1), the squared error's, for all γ and η with one s. Rich networks wait near f = 0 for
ηt = γ/((L − 2)|ℓ'(0)|), or γ ln γ/(2|ℓ'(0)|) for L = 2: the least learning rate for T steps is ∝ γ/T, the largest
∝ γ^{2/L}, and the two meet at a richness ∝ T^{L/(L − 2)}.

All of it is derived here from the toy model of Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642, section 4; the
clock ηt/γ and the triangle that closes are theirs.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate
from scipy.optimize import elementwise

from sgdphases.theory.richness import (
    SOFT_LABEL,
    Floats,
    checked,
    final_sharpness,
    largest_learning_rate,
    loss_curvature,
    loss_slope,
)

_LOG_RICHNESS = (-35.0, 690.0)
"""Where `closing_richness` looks; beyond, γ is no floating-point number."""


def step_size(learning_rate: ArrayLike, richness: ArrayLike, depth: ArrayLike) -> Floats:
    """Step s = ηλ*/L of the universal map, λ* the final sharpness of the squared error.

    Args:
        learning_rate: η.
        richness: γ.
        depth: L.

    Returns:
        s; the minimum is stable below `largest_step_size`.
    """
    gamma, layers = checked(richness, depth)
    return np.asarray(learning_rate, dtype=np.float64) * final_sharpness(gamma, layers) / layers


def largest_step_size(depth: ArrayLike) -> Floats:
    """Step 2/L below which the universal map converges. Two layers stay bounded up to twice that, then blow up."""
    return 2 / checked(1.0, depth)[1]


def universal_start(richness: ArrayLike, depth: ArrayLike) -> Floats:
    """Start u = (1 + γ)^{−1/L} of the universal map: γ is nothing but the initial weight."""
    gamma, layers = checked(richness, depth)
    return np.exp(-np.log1p(gamma) / layers)


def universal_map(weight: ArrayLike, step_size: ArrayLike, depth: ArrayLike) -> Floats:
    """One gradient step u − s u^{L−1}(u^L − 1) of the squared error, u the weight over that at the minimum.

    Args:
        weight: u.
        step_size: s.
        depth: L, a whole number if u may be negative.

    Returns:
        The next u.
    """
    u, layers = np.asarray(weight, dtype=np.float64), checked(1.0, depth)[1]
    return u - np.asarray(step_size, dtype=np.float64) * u ** (layers - 1) * (u**layers - 1)


def output_trajectory(
    learning_rate: ArrayLike, richness: ArrayLike, depth: ArrayLike, *, steps: int, loss: str = "half_squared_error"
) -> Floats:
    """Outputs f of gradient descent on L equal weights, w ← w − ηℓ'(f) w^{L−1}/γ from w = 1.

    Args:
        learning_rate: η.
        richness: γ.
        depth: L, a whole number.
        steps: Number of steps.
        loss: A word of `theory.richness.TOY_LOSSES`.

    Returns:
        Array (steps + 1, ...), from f = 0 on; infinite or NaN once it has diverged.
    """
    gamma, layers = checked(richness, depth)
    rate = np.asarray(learning_rate, dtype=np.float64)
    found = np.zeros((steps + 1, *np.broadcast_shapes(gamma.shape, layers.shape, rate.shape)))
    # The weight's distance from 1 is followed, not the weight: f = (w^L - 1)/γ would lose its digits at small γ.
    distance = np.zeros(found.shape[1:])
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(steps):
            slope = loss_slope(found[step], loss) * (1 + distance) ** (layers - 1)
            distance = distance - rate * slope / gamma
            found[step + 1] = _power_less_one(distance, layers) / gamma
    return found


def flow_time(
    richness: ArrayLike, depth: ArrayLike, *, output: ArrayLike = 0.5, loss: str = "half_squared_error"
) -> Floats:
    """Time ηt in which gradient flow brings the output from 0 to f: ∫ df/(|ℓ'(f)| Θ(f)), Θ the tangent kernel.

    Args:
        richness: γ.
        depth: L.
        output: f in [0, 1).
        loss: A word of `theory.richness.TOY_LOSSES`.

    Returns:
        ηt; over γ it is `theory.richness.early_time`.
    """
    gamma, layers = checked(richness, depth)
    end = _checked_output(output)

    def integrand(part: Floats, stop: Floats, gamma: Floats, layers: Floats) -> Floats:
        x = part * stop
        return np.exp((2 / layers - 1) * x) / -loss_slope(np.expm1(x) / gamma, loss)

    gamma, layers, stop = np.broadcast_arrays(gamma, layers, np.log1p(gamma * end))
    mean = integrate.tanhsinh(integrand, 0.0, 1.0, args=(stop, gamma, layers), rtol=1e-13).integral
    return mean * stop * gamma / layers


def two_layer_flow_time(richness: ArrayLike, *, output: ArrayLike = 0.5) -> Floats:
    """Closed form γ² ln((1 + γf)/(1 − f))/(2(1 + γ)) of `flow_time` for L = 2 and the squared error.

    Args:
        richness: γ.
        output: f in [0, 1).

    Returns:
        ηt, for f = ½ γ² ln(2 + γ)/(2(1 + γ)).
    """
    gamma, end = checked(richness, 2)[0], _checked_output(output)
    return gamma**2 * (np.log1p(gamma * end) - np.log1p(-end)) / (2 * (1 + gamma))


def lazy_flow_time(
    richness: ArrayLike, depth: ArrayLike, *, output: ArrayLike = 0.5, loss: str = "half_squared_error"
) -> Floats:
    """Limit of `flow_time` for γ → 0, where the kernel rests: γ²/L ∫ df/|ℓ'(f)|, for the squared error γ² ln 2/L.

    Args:
        richness: γ.
        depth: L.
        output: f in [0, 1).
        loss: A word of `theory.richness.TOY_LOSSES`.

    Returns:
        ηt.
    """
    gamma, layers = checked(richness, depth)
    end = _checked_output(output)
    alone = -np.log1p(-end)
    if loss == "cross_entropy":
        p, q = SOFT_LABEL, 1 - SOFT_LABEL
        alone = (end + np.log((p - q) / (p - q * np.exp(end))) / q) / p
    return gamma**2 / layers * alone


def rich_flow_time(richness: ArrayLike, depth: ArrayLike, *, loss: str = "half_squared_error") -> Floats:
    """Leading term of `flow_time` for γ → ∞, the same for every f: γ/((L − 2)|ℓ'(0)|), γ ln γ/(2|ℓ'(0)|) for L = 2.

    Args:
        richness: γ.
        depth: L, at least 2.
        loss: A word of `theory.richness.TOY_LOSSES`.

    Returns:
        ηt. What is missing is, relatively, of the order γ^{−(1 − 2/L)}, or 1/ln γ for L = 2.
    """
    gamma, layers = checked(richness, depth, least=2)
    deep = layers > 2
    return gamma / -loss_slope(0.0, loss) * np.where(deep, 1 / np.where(deep, layers - 2, 1), np.log(gamma) / 2)


def least_learning_rate(
    steps: ArrayLike, richness: ArrayLike, depth: ArrayLike, *, loss: str = "half_squared_error"
) -> Floats:
    """Least learning rate `flow_time`/T that brings the output to ½ in T steps: ∝ γ²/T lazy, γ/T rich.

    Args:
        steps: T.
        richness: γ.
        depth: L.
        loss: A word of `theory.richness.TOY_LOSSES`.

    Returns:
        η_min of gradient flow; its limits are `lazy_flow_time`/T and `rich_flow_time`/T.
    """
    return flow_time(richness, depth, loss=loss) / np.asarray(steps, dtype=np.float64)


def plateau_steps(
    richness: ArrayLike, depth: ArrayLike, *, share: ArrayLike = 1.0, loss: str = "half_squared_error"
) -> Floats:
    """Steps of gradient flow to f = ½ at a share of the largest learning rate: ∝ γ^{1 − 2/L} rich, ln γ for L = 2.

    Args:
        richness: γ.
        depth: L.
        share: η/η_max.
        loss: A word of `theory.richness.TOY_LOSSES`.

    Returns:
        Number of steps, not rounded.
    """
    whole = flow_time(richness, depth, loss=loss) / largest_learning_rate(richness, depth, loss=loss)
    return whole / np.asarray(share, dtype=np.float64)


def closing_richness(steps: ArrayLike, depth: ArrayLike, *, loss: str = "half_squared_error") -> Floats:
    """Richness where `least_learning_rate` for T steps meets `largest_learning_rate`: beyond, nothing trains in time.

    Args:
        steps: T.
        depth: L, at least 2.
        loss: A word of `theory.richness.TOY_LOSSES`.

    Returns:
        γ_c; 0 if T steps are too few for any γ, infinite beyond floating point.

    Raises:
        ValueError: If a number of steps is not positive.
    """
    layers, wanted = np.broadcast_arrays(checked(1.0, depth, least=2)[1], np.asarray(steps, dtype=np.float64))
    if not np.all(wanted > 0):
        raise ValueError("steps must be greater than 0")

    def excess(log_richness: Floats, layers: Floats, wanted: Floats) -> Floats:
        return np.log(plateau_steps(np.exp(log_richness), layers, loss=loss)) - np.log(wanted)

    low, high = (np.full(wanted.shape, end) for end in _LOG_RICHNESS)
    root = elementwise.find_root(excess, (low, high), args=(layers, wanted), tolerances={"xrtol": 1e-14}).x
    outside = np.where(excess(low, layers, wanted) >= 0, 0.0, np.inf)
    return np.where(np.isfinite(root), np.exp(root), outside)


def leading_closing_richness(steps: ArrayLike, depth: ArrayLike, *, loss: str = "half_squared_error") -> Floats:
    """Leading term of `closing_richness` for many steps, (2(L − 2)T/L)^{L/(L − 2)}, e^{2T} for L = 2.

    The cross-entropy has T|ℓ'(0)|/ℓ''(1) in place of T.

    Args:
        steps: T.
        depth: L, at least 2.
        loss: A word of `theory.richness.TOY_LOSSES`.

    Returns:
        γ_c.
    """
    layers = checked(1.0, depth, least=2)[1]
    time = np.asarray(steps, dtype=np.float64) * -loss_slope(0.0, loss) / loss_curvature(1.0, loss)
    deep = layers > 2
    safe = np.where(deep, layers, 3.0)
    with np.errstate(over="ignore"):
        return np.where(deep, (2 * (safe - 2) * time / safe) ** (safe / (safe - 2)), np.exp(2 * time))


def _power_less_one(distance: Floats, layers: Floats) -> Floats:
    """(1 + distance)^L − 1 without loss of digits at small distances."""
    near = np.abs(distance) < 0.5
    exact = np.expm1(layers * np.log1p(np.where(near, distance, 0.0)))
    return np.where(near, exact, (1 + distance) ** layers - 1)


def _checked_output(output: ArrayLike) -> Floats:
    end = np.asarray(output, dtype=np.float64)
    if not np.all((end >= 0) & (end < 1)):
        raise ValueError("output must be at least 0 and less than 1")
    return end
