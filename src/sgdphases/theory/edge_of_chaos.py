"""The edge of chaos χ₁ = J²E[φ'²] = 1 in mean-field theory, and the line where a mean appears, by root finding.

The words are those of `meanfield`. Along the edge of a bounded odd activation J is known from the deviation s of the
field, J = 1/√E[φ'²], and the mean m from s² = J²E[φ²] + bias_scale², so that one root in s gives the edge at a given
J0/J. Its published drawing (Zhang, Feng, Chen, Lai, arXiv 2107.09437, Fig. 1b) thresholds |χ₁ − 1| and was edited by
hand: χ₁ − 1 ≈ (4/3)(J − 1)² is too flat for a mask.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.choices import one_of
from sgdphases.theory.gaussian_averages import AVERAGES, GaussianAverages
from sgdphases.theory.stationary_field import check_numbers, falling_root, fixed_point

Floats = NDArray[np.float64]

LARGEST_COUPLING_RATIO = 7.0
"""J0/J up to which the edge is solved for; it lies at J ~ exp(J0²/2J²)."""

SMALLEST_MEAN, SMALLEST_DEVIATION, LARGEST_DEVIATION = 1e-9, 1e-5, 1e12
"""Brackets of the field along the edge."""


def critical_coupling(
    coupling_ratio: ArrayLike = 0.0, *, activation: str = "tanh", bias_scale: ArrayLike = 0.0
) -> Floats:
    """J at the edge of chaos χ₁ = 1, at a given J0/J.

    Without bias 1/φ'(0) up to J0/J = 1; beyond, where u ≠ 0, the edge bends to larger J. For relu (any bias) it solves
    J²Φ(r) = 1 with r = m/s = J0(rΦ(r) + density(r)) and reaches 1 at J0/J = 1; the state itself is finite there for
    J0 < 0 only.

    Args:
        coupling_ratio: J0/J, within ±7 unless the activation is relu.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        J; below it perturbations die out.

    Raises:
        ValueError: If the ratio is beyond `LARGEST_COUPLING_RATIO`, or a number or the activation is not allowed.
    """
    averages = AVERAGES[one_of(activation, AVERAGES, "activation")]
    ratio, bias = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (coupling_ratio, bias_scale)))
    check_numbers(coupling_ratio=ratio, bias_scale=bias)
    if averages.homogeneous:
        return _homogeneous_edge(averages, ratio.ravel()).reshape(ratio.shape)[()]
    size = np.abs(ratio)
    if np.any(size > LARGEST_COUPLING_RATIO):
        raise ValueError(f"coupling_ratio must be within ±{LARGEST_COUPLING_RATIO:g}, not ±{size.max():g}")
    return _saturating_edge(averages, size.ravel(), bias.ravel()).reshape(ratio.shape)[()]


def critical_line(field_variance: ArrayLike, *, activation: str = "tanh") -> tuple[Floats, Floats]:
    """Edge of chaos without J0 by the variance s² of the field: J² = 1/E[φ'²] and bias_scale² = s² − J²E[φ²].

    Args:
        field_variance: s² ≥ 0, the q* of deep random networks.
        activation: tanh, erf, hard_tanh or relu (a single point, whatever s²).

    Returns:
        (coupling, bias_scale), that is σ_w and σ_b.
    """
    averages = AVERAGES[one_of(activation, AVERAGES, "activation")]
    variance = np.asarray(field_variance, dtype=np.float64)
    check_numbers(field_variance=variance)
    mean, deviation = np.zeros(variance.shape), np.sqrt(variance)
    square = 1 / averages.square_slope(mean, deviation)
    left = variance - square * averages.mean_square(mean, deviation)
    return np.sqrt(square)[()], np.sqrt(np.maximum(left, 0.0))[()]


def ferromagnetic_mean_coupling(
    coupling: ArrayLike, *, activation: str = "tanh", bias_scale: ArrayLike = 0.0
) -> Floats:
    """J0 from which on u ≠ 0, 1/E[φ']: the line J0 = 1/φ'(0) from para to ferro, and its continuation through chaos.

    Args:
        coupling: J ≥ 0.
        activation: tanh, erf or hard_tanh; for relu the J0 at which the mean runs away, 1.
        bias_scale: Standard deviation of the biases.

    Returns:
        J0 > 0; at −J0 the mean appears with alternating sign.
    """
    state = fixed_point(coupling, 0.0, activation=activation, bias_scale=bias_scale)
    slope = state.averages.slope(state.mean, state.deviation)
    return state.shaped(1 / slope if state.averages.odd else np.ones(slope.shape))


def near_edge_growth(coupling: ArrayLike, *, activation: str = "tanh") -> Floats:
    """χ₁ beside the edge J = 1/φ'(0) without J0 and bias: (Jφ'(0))² below it, 1 + (4/3)(Jφ'(0) − 1)² above.

    The coefficient 4/3 is that of every smooth odd activation: the fifth derivative drops out. For tanh the excess is
    1 % too large at J = 1.003, 10 % at 1.03. So flat an edge needs a root finder, not a threshold on |χ₁ − 1|.

    Args:
        coupling: J ≥ 0.
        activation: tanh or erf.

    Returns:
        χ₁ to leading order.

    Raises:
        ValueError: If the activation has kinks, or J is negative or not finite.
    """
    averages = AVERAGES[one_of(activation, [word for word, known in AVERAGES.items() if known.smooth], "activation")]
    j = np.asarray(coupling, dtype=np.float64)
    check_numbers(coupling=j)
    slope = j * averages.origin_slope
    return np.where(slope > 1, 1 + 4 / 3 * (slope - 1) ** 2, slope**2)[()]


def _homogeneous_edge(averages: GaussianAverages, coupling_ratio: Floats) -> Floats:
    """The edge by r = m/s, with J = 1/√Φ(r) and J0 = r/(rΦ(r) + density(r))."""

    def excess(r: Floats, target: Floats) -> Floats:
        one = np.ones(r.shape)
        return target - r * np.sqrt(averages.square_slope(r, one)) / averages.mean(r, one)

    # Between them J0/J goes from −1e9 to 1, which is its limit for large r.
    low, high = np.full((2, *coupling_ratio.shape), [[-8.0], [8.0]])
    root = falling_root(excess, low, high, coupling_ratio)
    return 1 / np.sqrt(averages.square_slope(root, np.ones(root.shape)))


def _saturating_edge(averages: GaussianAverages, coupling_ratio: Floats, bias_scale: Floats) -> Floats:
    zero = np.zeros(coupling_ratio.shape)
    deviation = zero.copy()
    biased = bias_scale > 0
    bias = bias_scale[biased]
    found = falling_root(lambda s, b: -_surplus(averages, 0.0, s, b), np.log(bias), np.log(2 * bias + 4), bias)
    deviation[biased] = np.exp(found)

    def excess(logarithm: Floats, target: Floats, bias: Floats) -> Floats:
        return target - _edge_ratio(averages, logarithm, bias)[0]

    mean = zero.copy()
    polar = coupling_ratio * averages.slope(zero, deviation) > np.sqrt(averages.square_slope(zero, deviation))
    low = np.log(np.maximum(deviation[polar], SMALLEST_DEVIATION))
    high = np.full(low.shape, np.log(LARGEST_DEVIATION))
    found = falling_root(excess, low, high, coupling_ratio[polar], bias_scale[polar])
    mean[polar] = _edge_ratio(averages, found, bias_scale[polar])[1]
    deviation[polar] = np.exp(found)
    return 1 / np.sqrt(averages.square_slope(mean, deviation))


def _surplus(averages: GaussianAverages, mean: Floats | float, log_deviation: Floats, bias_scale: Floats) -> Floats:
    """How far s² exceeds J²E[φ²] + bias_scale² where χ₁ = 1, over J²s²; falls with m."""
    s = np.exp(log_deviation)
    m = np.broadcast_to(mean, s.shape)
    return (1 - (bias_scale / s) ** 2) * averages.square_slope(m, s) - averages.mean_square(m, s) / s**2


def _edge_ratio(averages: GaussianAverages, log_deviation: Floats, bias_scale: Floats) -> tuple[Floats, Floats]:
    """J0/J and the mean m on the edge at a given deviation of the field."""
    s = np.exp(log_deviation)
    low = np.full(s.shape, np.log(SMALLEST_MEAN))
    high = np.log(12 * s + 20)
    m = np.exp(falling_root(lambda x, d, b: _surplus(averages, np.exp(x), d, b), low, high, log_deviation, bias_scale))
    # E[φ]/m loses digits where m is small, but is E[φ'] there up to m².
    gain = np.where(m > 1e-6, averages.mean(m, s) / m, averages.slope(np.zeros(s.shape), s))
    return np.sqrt(averages.square_slope(m, s)) / gain, m
