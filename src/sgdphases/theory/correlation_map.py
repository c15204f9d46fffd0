"""Two orbits of x ← φ(xW + b) in mean-field theory: what correlation they keep, and how far apart they end.

The words are those of `meanfield`. Two copies of the stationary state with the same W, b and mean have fields of
correlation c = 1 − gap. An iteration takes c to (J²E[φ(h₁)φ(h₂)] + bias_scale²)/s², with slope χ₁ at c = 1: in the
ordered phases the copies meet (c* = 1), in chaos they stay apart (c* < 1). The map is convex, so that there is no
third fixed point. c* is found from J²·½E[(φ(h₁) − φ(h₂))²] = s² gap, which keeps its digits beside the edge. An odd
activation without bias and mean has c* = 0; where u ≠ 0 it is larger, since both copies share the mean.

Sources: Zhang, Feng, Chen, Lai, arXiv 2107.09437 (asymptotic distance, J0; the theory of it is derived here); Poole et
al., arXiv 1606.05340, and Schoenholz et al., arXiv 1611.01232 (correlation map, its depth scale).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.theory.gaussian_averages import GaussianAverages
from sgdphases.theory.meanfield import decay_length, lyapunov_exponent
from sgdphases.theory.stationary_field import FixedPoint, falling_root, fixed_point

Floats = NDArray[np.float64]

SMALLEST_GAP = 1e-14
"""Where the bracket of the gap begins."""


def correlation_map(
    correlation: ArrayLike,
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> Floats:
    """Correlation of the fields of two copies of the stationary state after one more iteration.

    Args:
        correlation: c now, between 0 and 1.
        coupling: J ≥ 0; with c and the others it broadcasts.
        mean_coupling: J0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        c'; where the state has no field, its limit for a vanishing bias, 1 − χ₁(1 − c).

    Raises:
        ValueError: If a correlation is not between 0 and 1, or a coupling is not allowed.
    """
    c = np.asarray(correlation, dtype=np.float64)
    if not np.all((c >= 0) & (c <= 1)):
        raise ValueError("correlation must be between 0 and 1")
    c, j, j0, bias = np.broadcast_arrays(c, coupling, mean_coupling, bias_scale)
    state = fixed_point(j, j0, activation=activation, bias_scale=bias)
    gap = 1 - c.ravel()
    return state.shaped(1 - gap * _gap_growth(state.averages, gap, *_map_parameters(state)))


def stationary_correlation(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> Floats:
    """Stable fixed point c* of the correlation map of the fields.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        c*: 1 in the ordered phases and at the edge, below 1 in chaos.
    """
    state = fixed_point(coupling, mean_coupling, activation=activation, bias_scale=bias_scale)
    return state.shaped(1 - _stationary_gap(state))


def asymptotic_distance(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    width: ArrayLike = 1,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> Floats:
    """Distance d∞ = √(2N(q − q₁₂)) at which two orbits end, with the overlap q₁₂ = E[φ(h₁)φ(h₂)] at c*.

    √(2Nq(1 − c*)) without bias and mean, √(2Nq) for an odd activation then. A finite matrix reaches it after
    `saturation_time`, which is why simulations draw the edge of chaos too far inside.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        width: N; 1 for the distance over √N.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        Euclidean distance, 0 outside chaos; infinite where relu diverges.

    Raises:
        ValueError: If the width is not positive, or a coupling is not allowed.
    """
    size = np.asarray(width, dtype=np.float64)
    if not np.all(size > 0):
        raise ValueError("width must be positive")
    state = fixed_point(coupling, mean_coupling, activation=activation, bias_scale=bias_scale)
    chaotic = state.growth > 1
    bounded = chaotic & np.isfinite(state.scale)
    distance = np.where(chaotic, np.inf, 0.0)
    spread = state.scale[bounded] * state.deviation[bounded] / state.coupling[bounded]
    distance[bounded] = spread * np.sqrt(2 * _stationary_gap(state)[bounded])
    return np.sqrt(size) * state.shaped(distance)


def saturation_time(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    perturbation: ArrayLike = 1e-4,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> Floats:
    """Iterations ln(d∞/(√N ε))/λ_max in which a perturbation ε of each unit grows to the asymptotic distance.

    For tanh without J0 and ε = 1e-4: 60 at J = 2, 530 at 1.2, 5600 at 1.05.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        perturbation: ε > 0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        Iterations; infinite outside chaos, 0 where ε is beyond d∞ already.

    Raises:
        ValueError: If the perturbation is not positive, or a coupling is not allowed.
    """
    size = np.asarray(perturbation, dtype=np.float64)
    if not np.all(size > 0):
        raise ValueError("perturbation must be positive")
    words = {"activation": activation, "bias_scale": bias_scale}
    distance = asymptotic_distance(coupling, mean_coupling, **words)
    exponent = lyapunov_exponent(coupling, mean_coupling, **words)
    stretch = np.log(np.maximum(distance / size, 1.0))
    return np.where(exponent > 0, stretch / np.where(exponent > 0, exponent, 1.0), np.inf)[()]


def correlation_depth_scale(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> Floats:
    """Iterations ξ_c in which the correlation relaxes to c* by a factor e.

    −1/ln χ₁ in the ordered phases, −1/ln(J²E[φ'(h₁)φ'(h₂)]) at c* in chaos; infinite at the edge.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        ξ_c.
    """
    state = fixed_point(coupling, mean_coupling, activation=activation, bias_scale=bias_scale)
    gap = _stationary_gap(state)
    j, m, s, norm_growth = _map_parameters(state)
    slope = state.growth / norm_growth
    apart = gap > 0
    joint = state.averages.slope_correlation(m[apart], s[apart], gap[apart])
    slope[apart] = j[apart] ** 2 * joint / norm_growth[apart]
    return state.shaped(decay_length(slope))


def _map_parameters(state: FixedPoint) -> tuple[Floats, Floats, Floats, Floats]:
    """J, m, s and the growth of s² in one iteration, which is not 1 where relu diverges."""
    norm_growth = np.ones(state.coupling.shape)
    if state.averages.homogeneous:
        norm_growth = np.maximum(state.coupling**2 * state.averages.mean_square(state.mean, state.deviation), 1.0)
    return state.coupling, state.mean, state.deviation, norm_growth


def _gap_growth(
    averages: GaussianAverages, gap: Floats, j: Floats, m: Floats, s: Floats, norm_growth: Floats
) -> Floats:
    """Factor by which one iteration multiplies the gap: χ₁ for a small gap, falling with it."""
    result = j**2 * averages.square_slope(m, s) / norm_growth
    apart = (gap > 0) & (s > 0)
    j, m, s, distance = j[apart], m[apart], s[apart], gap[apart]
    difference = averages.half_square_difference(m, s, distance)
    result[apart] = j**2 * difference / (s**2 * distance * norm_growth[apart])
    return result


def _stationary_gap(state: FixedPoint) -> Floats:
    """1 − c*, flat."""
    parameters = _map_parameters(state)
    gap = np.zeros(state.coupling.shape)
    chaotic = state.growth > parameters[-1]
    symmetric = state.averages.odd & (state.mean == 0) & (state.bias_scale == 0)
    gap[chaotic & symmetric] = 1.0
    sought = chaotic & ~symmetric
    low = np.full(np.count_nonzero(sought), np.log(SMALLEST_GAP))
    gap[sought] = np.exp(
        falling_root(
            lambda logarithm, *rest: _gap_growth(state.averages, np.exp(logarithm), *rest) - 1,
            low,
            np.zeros(low.shape),
            *(part[sought] for part in parameters),
        )
    )
    return gap
