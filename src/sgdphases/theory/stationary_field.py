"""Stationary states of x ← φ(xW + b) in mean-field theory: the field h = m + s z of a unit, z ~ N(0, 1).

The entries of W are N(J0/N, J²/N), those of b N(0, bias_scale²). With u = E[φ(h)] and q = E[φ²(h)] the state obeys
m = J0 u and s² = J²q + bias_scale². `meanfield` says what follows from it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.choices import one_of
from sgdphases.theory.gaussian_averages import AVERAGES, GaussianAverages

Floats = NDArray[np.float64]

SMALLEST_DEVIATION, SMALLEST_MEAN = 1e-9, 1e-7
"""Where the brackets of s and m begin; rounding would hide smaller ones."""

SMALLEST_COUPLING = 1e-100
"""Below it J is no disorder at all."""

SIGNED = ("mean_coupling", "coupling_ratio")

RUNAWAY = 1e100
"""Stands in for an infinite ratio m/s."""


@dataclass(frozen=True)
class FixedPoint:
    """A stationary state as the laws of this room need it: flat arrays of equal length.

    Attributes:
        averages: Gaussian averages of the activation.
        coupling: J.
        mean_coupling: J0; its size where φ is odd.
        bias_scale: Standard deviation of the biases.
        mean: m over `scale`.
        deviation: s over `scale`.
        scale: 1, or s where φ is homogeneous (0 or infinite without bias, when m and s alone would lose their ratio).
        shape: Of the arguments, broadcast.
    """

    averages: GaussianAverages
    coupling: Floats
    mean_coupling: Floats
    bias_scale: Floats
    mean: Floats
    deviation: Floats
    scale: Floats
    shape: tuple[int, ...]

    @property
    def growth(self) -> Floats:
        """χ₁ = J²E[φ'²]."""
        return self.coupling**2 * self.averages.square_slope(self.mean, self.deviation)

    def shaped(self, values: NDArray) -> NDArray:
        """Flat values in the shape of the arguments."""
        return values.reshape(self.shape)[()]


def fixed_point(
    coupling: ArrayLike,
    mean_coupling: ArrayLike = 0.0,
    *,
    activation: str = "tanh",
    bias_scale: ArrayLike = 0.0,
) -> FixedPoint:
    """Stable stationary state, by bracketing: iterating would stall at the edge.

    At fixed m the equation of s² has one positive solution at most, because E[φ²]/s² falls with s if φ is concave above
    0; with it E[φ]/m falls with m. So u ≠ 0 exists, is stable and is unique where |J0|E[φ'] > 1 at m = 0.

    Args:
        coupling: J ≥ 0.
        mean_coupling: J0.
        activation: tanh, erf, hard_tanh or relu.
        bias_scale: Standard deviation of the biases.

    Returns:
        The state.

    Raises:
        ValueError: If a number is not finite, or negative where it must not be, or the activation is unknown.
    """
    averages = AVERAGES[one_of(activation, AVERAGES, "activation")]
    parts = (np.asarray(part, dtype=np.float64) for part in (coupling, mean_coupling, bias_scale))
    j, j0, bias = np.broadcast_arrays(*parts)
    check_numbers(coupling=j, mean_coupling=j0, bias_scale=bias)
    shape = j.shape
    j, j0, bias = j.ravel(), np.abs(j0.ravel()) if averages.odd else j0.ravel(), bias.ravel()
    solve = _homogeneous_state if averages.homogeneous else _saturating_state
    return FixedPoint(averages, j, j0, bias, *solve(averages, j, j0, bias), shape)


def falling_root(function: Callable[..., Floats], low: Floats, high: Floats, *args: Floats) -> Floats:
    """Root in [low, high] of a function that falls, elementwise; the nearer end where the root lies outside.

    Args:
        function: Of the unknown and `args`, elementwise.
        low: Lower ends, one-dimensional.
        high: Upper ends.
        args: Further arguments, each of the same shape.

    Returns:
        Roots to rounding.
    """
    from scipy.optimize import elementwise  # here, because words of cards are checked without scipy's start-up

    low, high, *rest = (np.asarray(part, dtype=np.float64) for part in np.broadcast_arrays(low, high, *args))
    above = function(low, *rest) > 0
    root = np.where(above, high, low)
    inside = above & (function(high, *rest) < 0)
    if inside.any():
        ends = low[inside], high[inside]
        root[inside] = elementwise.find_root(function, ends, args=tuple(part[inside] for part in rest)).x
    return root


def check_numbers(**numbers: Floats) -> None:
    """Refuse what no coupling can be.

    Args:
        numbers: Arrays by the name of their argument.

    Raises:
        ValueError: If a number is not finite, or negative where it must not be.
    """
    for name, values in numbers.items():
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{name} must be finite")
        if name not in SIGNED and np.any(values < 0):
            raise ValueError(f"{name} must be at least 0, not {values.min():g}")


def saturating_deviation(averages: GaussianAverages, coupling: Floats, mean: Floats, bias_scale: Floats) -> Floats:
    """Deviation s of the field at a given mean m ≥ 0: the root of s² = J²E[φ²(m + s z)] + bias_scale².

    Args:
        averages: Of an odd activation between −1 and 1.
        coupling: J.
        mean: m.
        bias_scale: Standard deviation of the biases.

    Returns:
        s; 0 where nothing keeps the field away from it.
    """

    def excess(logarithm: Floats, j: Floats, m: Floats, bias: Floats) -> Floats:
        s = np.exp(logarithm)
        return (j / s) ** 2 * averages.mean_square(m, s) + (bias / s) ** 2 - 1

    result = bias_scale.copy()
    open_bracket = (coupling > SMALLEST_COUPLING) & (
        (bias_scale > 0) | (mean > 0) | (coupling * averages.origin_slope > 1)
    )
    j, m, bias = coupling[open_bracket], mean[open_bracket], bias_scale[open_bracket]
    # Half of the fields exceed their mean, so that E[φ²] ≥ φ(m)²/2.
    low = np.maximum(np.hypot(j * averages.value(m) / np.sqrt(2), bias), SMALLEST_DEVIATION * np.minimum(j, 1.0))
    high = np.hypot(j, bias)
    result[open_bracket] = np.exp(falling_root(excess, np.log(low), np.log(high), j, m, bias))
    return result


def _saturating_state(
    averages: GaussianAverages, coupling: Floats, mean_coupling: Floats, bias_scale: Floats
) -> tuple[Floats, Floats, Floats]:
    """Mean, deviation and scale of the field for a bounded odd activation."""

    def excess(logarithm: Floats, j: Floats, j0: Floats, bias: Floats) -> Floats:
        m = np.exp(logarithm)
        return j0 * averages.mean(m, saturating_deviation(averages, j, m, bias)) / m - 1

    mean = np.zeros(coupling.shape)
    deviation = saturating_deviation(averages, coupling, mean, bias_scale)
    polar = mean_coupling * averages.slope(mean, deviation) > 1
    j, j0, bias = coupling[polar], mean_coupling[polar], bias_scale[polar]
    low = np.full(j.shape, np.log(SMALLEST_MEAN))
    root = falling_root(excess, low, np.log(j0), j, j0, bias)
    mean[polar] = np.where(root > low, np.exp(root), 0.0)
    deviation[polar] = saturating_deviation(averages, j, mean[polar], bias)
    return mean, deviation, np.ones(mean.shape)


def _homogeneous_state(
    averages: GaussianAverages, coupling: Floats, mean_coupling: Floats, bias_scale: Floats
) -> tuple[Floats, Floats, Floats]:
    """Mean and deviation of the field over its deviation, and that deviation, for relu."""
    # r = m/s is the root of r = J0 E[φ(r + z)], finite for J0 < 1, and s² = κs² + bias_scale² with κ = J²E[φ²(r + z)].
    one = np.ones(coupling.shape)
    runaway = mean_coupling >= 1
    j0 = np.where(runaway, 0.0, mean_coupling)
    low, high = np.minimum(j0, 0.0), np.maximum(j0, 0.0) / (1 - j0)
    ratio = falling_root(lambda r, gain: gain * averages.mean(r, np.ones(r.shape)) - r, low, high, j0)
    ratio = np.where(runaway, RUNAWAY, ratio)
    norm_growth = coupling**2 * averages.mean_square(ratio, one)
    bounded = norm_growth < 1
    finite = bias_scale / np.sqrt(1 - np.where(bounded, norm_growth, 0.0))
    kept = (norm_growth <= 1) & (bias_scale == 0)
    return ratio, one, np.where((bounded | kept) & ~runaway, finite, np.inf)
