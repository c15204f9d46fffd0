"""Mean-field theory of x ← φ(xW + b): order parameters, growth of perturbations, phases and depth scales.

The entries of W are N(J0/N, J²/N), those of b N(0, bias_scale²), N is large. J is `coupling`, J0 `mean_coupling`,
J0/J `coupling_ratio`; with J0 = 0 they are σ_w and σ_b of deep random networks, one iteration being one layer. In the
stationary state u = E[φ(h)] and q = E[φ²(h)] with the field h = m + s z, z ~ N(0, 1), m = J0 u, s² = J²q + bias_scale².

Phases: para (u = 0, perturbations die out), ferro (u ≠ 0, they die out) and chaos (they grow: χ₁ = J²E[φ'²] > 1).
tanh, erf and hard tanh are odd: −J0 gives the same state with a mean that changes its sign in each iteration, so u is
given as its size. For relu without bias the state has no scale of its own: it is the limit of a vanishing bias, zero or
infinite, and χ₁ depends on m/s only. All laws broadcast over their arguments.

Sources: Zhang, Feng, Chen, Lai, arXiv 2107.09437 (J0; its edge drawn there by a mask is solved for here); Poole et al.,
arXiv 1606.05340, and Schoenholz et al., arXiv 1611.01232 (bias, χ₁, depth scales).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.theory.stationary_field import fixed_point

Floats = NDArray[np.float64]


class OrderParameters(NamedTuple):
    """The stationary state.

    Attributes:
        mean: u = E[φ(h)], its size where φ is odd.
        mean_square: q = E[φ²(h)].
    """

    mean: Floats
    mean_square: Floats


class FieldMoments(NamedTuple):
    """The field h of the stationary state.

    Attributes:
        mean: m = J0 u, its size where φ is odd.
        variance: s² = J²q + bias_scale², the q* of the networks without J0.
    """

    mean: Floats
    variance: Floats


def order_parameters(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> OrderParameters:
    """Order parameters u and q of the stable stationary state.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        (mean, mean_square); infinite where relu diverges.
    """
    state = fixed_point(coupling, mean_coupling, activation=activation, bias_scale=bias_scale)
    mean = state.averages.mean(state.mean, state.deviation) * state.scale
    square = state.averages.mean_square(state.mean, state.deviation) * state.scale**2
    if state.averages.odd:
        mean = np.where(state.mean > 0, mean, 0.0)
        square = np.where((state.deviation > 0) | (state.mean > 0), square, 0.0)
    return OrderParameters(state.shaped(mean), state.shaped(square))


def field_moments(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> FieldMoments:
    """Mean m and variance s² of the field in the stable stationary state.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        (mean, variance); infinite where relu diverges.
    """
    state = fixed_point(coupling, mean_coupling, activation=activation, bias_scale=bias_scale)
    mean = np.multiply(state.mean, state.scale, out=np.zeros(state.mean.shape), where=state.mean != 0)
    return FieldMoments(state.shaped(mean), state.shaped((state.deviation * state.scale) ** 2))


def perturbation_growth(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> Floats:
    """Growth χ₁ = J²E[φ'²(h)] of the square of a small perturbation in one iteration; the edge of chaos is χ₁ = 1.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        χ₁, also the slope of the correlation map at 1.
    """
    state = fixed_point(coupling, mean_coupling, activation=activation, bias_scale=bias_scale)
    return state.shaped(state.growth)


def jacobian_norm(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> Floats:
    """Mean asymptotic norm ‖∂x'/∂x‖_F/√N = √χ₁ of the Jacobian of one iteration.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        Norm, to leading order in 1/N.
    """
    return np.sqrt(perturbation_growth(coupling, mean_coupling, activation=activation, bias_scale=bias_scale))


def lyapunov_exponent(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> Floats:
    """Largest Lyapunov exponent λ_max = ½ ln χ₁ per iteration.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        λ_max; minus infinity where χ₁ = 0.
    """
    with np.errstate(divide="ignore"):
        return np.log(perturbation_growth(coupling, mean_coupling, activation=activation, bias_scale=bias_scale)) / 2


def phase(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> NDArray[np.str_]:
    """Word of the phase: chaos where χ₁ > 1, else ferro where u ≠ 0, else para.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases; with biases relu has a mean, and para is empty.

    Returns:
        "para", "ferro" or "chaos".
    """
    state = fixed_point(coupling, mean_coupling, activation=activation, bias_scale=bias_scale)
    ordered = state.mean > 0 if state.averages.odd else state.scale > 0
    return state.shaped(np.where(state.growth > 1, "chaos", np.where(ordered, "ferro", "para")))


def mean_square_depth_scale(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> Floats:
    """Iterations ξ_q = −1/ln(J²E[φ'² + φφ'']) in which q relaxes by a factor e at a fixed mean.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0; where u ≠ 0 the two order parameters relax together, see `relaxation_depth_scale`.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        ξ_q; infinite where q does not relax.
    """
    state = fixed_point(coupling, mean_coupling, activation=activation, bias_scale=bias_scale)
    return state.shaped(decay_length(state.coupling**2 * state.averages.spread_response(state.mean, state.deviation)))


def relaxation_depth_scale(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> Floats:
    """Iterations in which the slower mode of (u, q) relaxes by a factor e; infinite on the line from para to ferro.

    From the eigenvalues of the linearised map, [[J0E[φ'], J²E[φ'']/2], [2J0E[φφ'], J²E[φ'² + φφ'']]].

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        Iterations; infinite where the state is not stable (relu with large or very negative J0).
    """
    state = fixed_point(coupling, mean_coupling, activation=activation, bias_scale=bias_scale)
    averages, m, s, j0, square = state.averages, state.mean, state.deviation, state.mean_coupling, state.coupling**2
    first, last = j0 * averages.slope(m, s), square * averages.spread_response(m, s)
    # Without a mean or a spread the modes do not mix, and E[φ''] of a kink has no limit.
    mixed = np.where((m != 0) & (s > 0), j0 * square * averages.curvature(m, s) * averages.value_slope(m, s), 0.0)
    half = np.sqrt(((first - last) / 2) ** 2 + mixed + 0j)
    slowest = np.maximum(np.abs((first + last) / 2 + half), np.abs((first + last) / 2 - half))
    return state.shaped(decay_length(slowest))


def decay_length(factor: Floats) -> Floats:
    """Iterations −1/ln|factor| in which what is multiplied by `factor` in each decays by a factor e.

    Args:
        factor: Any sign.

    Returns:
        Infinite where |factor| ≥ 1, 0 where it is 0.
    """
    size = np.abs(factor)
    with np.errstate(divide="ignore"):
        return np.where(size < 1, 1 / -np.log(np.where(size < 1, size, 0.5)), np.inf)
