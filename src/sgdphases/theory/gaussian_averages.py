"""Gaussian averages of activations: all that mean-field theory asks of φ.

The field of a unit is h = m + s z with z ~ N(0, 1); m is `field_mean` and s `field_deviation`. Two copies of it have
the correlation 1 − gap. For smooth activations the trapezoidal rule converges to rounding for any s: up to s = 1 its
points follow z, from there on they follow h, over which only what decays with |h| is averaged (1 − φ² instead of φ²).
Kinked activations have closed forms. Absolute errors are below 1e-12; near s = 0 the relative ones are too, which is
what the edge of chaos needs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

ROWS = 1024
"""Averages taken at once: what keeps their points in the cache."""

NARROW_POINTS = np.linspace(-12.0, 12.0, 161)
NARROW_WEIGHTS = (NARROW_POINTS[1] - NARROW_POINTS[0]) * np.exp(-(NARROW_POINTS**2) / 2) / np.sqrt(2 * np.pi)
WIDE_POINTS = np.linspace(-18.0, 18.0, 161)
WIDE_STEP = WIDE_POINTS[1] - WIDE_POINTS[0]
COMMON_POINTS = np.linspace(-1.0, 1.0, 97)
PRICE_POINTS, PRICE_WEIGHTS = special.roots_legendre(48)
SMALL = 1e-100
"""Stands in for zero where it divides."""


class GaussianAverages(ABC):
    """The averages of one activation φ over its field.

    All arguments are arrays that broadcast, all results have their common shape.

    Attributes:
        odd: Whether φ(−h) = −φ(h).
        homogeneous: Whether φ(ah) = aφ(h) for a > 0.
        smooth: Whether φ has all derivatives.
        origin_slope: φ'(0) (for a kink at 0, the slope to its right).
    """

    odd = True
    homogeneous = False
    smooth = False
    origin_slope = 1.0

    @abstractmethod
    def value(self, field: Floats) -> Floats:
        """φ(h)."""

    @abstractmethod
    def mean(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ]."""

    @abstractmethod
    def mean_square(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ²]."""

    @abstractmethod
    def slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ'], the derivative of E[φ] by m."""

    @abstractmethod
    def square_slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ'²]."""

    @abstractmethod
    def curvature(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ''], twice the derivative of E[φ] by s²."""

    @abstractmethod
    def value_slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φφ'], half the derivative of E[φ²] by m."""

    @abstractmethod
    def spread_response(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ'² + φφ''], the derivative of E[φ²] by s²."""

    @abstractmethod
    def slope_correlation(self, field_mean: Floats, field_deviation: Floats, gap: Floats) -> Floats:
        """E[φ'(h₁)φ'(h₂)] of two fields with correlation 1 − gap."""

    def half_square_difference(self, field_mean: Floats, field_deviation: Floats, gap: Floats) -> Floats:
        """½E[(φ(h₁) − φ(h₂))²] = E[φ²] − E[φ(h₁)φ(h₂)] of two fields with correlation 1 − gap.

        Its derivative by the gap is s²E[φ'(h₁)φ'(h₂)] (Price's theorem), here integrated from 0, so that small gaps
        lose no digits. gap = sinh²(v)/κ² spreads out the scale 1/s² at which the two fields part for large s.

        Args:
            field_mean: m.
            field_deviation: s.
            gap: Between 0 and 1.

        Returns:
            Between 0 and the variance of φ.
        """
        m, s, upper = (part[..., None] for part in np.broadcast_arrays(field_mean, field_deviation, gap))
        scale = np.maximum(np.sqrt(2) * s, 1.0)
        end = np.arcsinh(scale * np.sqrt(upper))
        angle = end * (PRICE_POINTS + 1) / 2
        rate = np.sinh(2 * angle) * self.slope_correlation(m, s, (np.sinh(angle) / scale) ** 2)
        return (rate @ PRICE_WEIGHTS) * (end / 2 * (s / scale) ** 2)[..., 0]


@dataclass(frozen=True)
class Saturating(GaussianAverages):
    """A smooth odd activation between −1 and 1, whose distance to ±1 decays at least as exp(−2|h|).

    Attributes:
        function: φ.
        first: φ'.
        second: φ''.
        deficit: 1 − φ².
        steepness: Of the error function that is subtracted from φ, so that the rest decays: its slope at 0 over 2/√π.
    """

    function: Callable[[Floats], Floats]
    first: Callable[[Floats], Floats]
    second: Callable[[Floats], Floats]
    deficit: Callable[[Floats], Floats]
    steepness: float
    smooth = True

    @property
    def origin_slope(self) -> float:
        """φ'(0)."""
        return float(self.first(np.zeros(())))

    def value(self, field: Floats) -> Floats:
        """φ(h)."""
        return self.function(field)

    def mean(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ]; that of the error function is known."""
        steep = self.steepness
        rest = _average(lambda h: self.function(h) - special.erf(steep * h), field_mean, field_deviation)
        return special.erf(steep * field_mean / np.sqrt(1 + 2 * (steep * field_deviation) ** 2)) + rest

    def mean_square(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ²]."""
        return _by_rows(self._mean_square_rows, field_mean, field_deviation)

    def slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ']."""
        return _average(self.first, field_mean, field_deviation)

    def square_slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ'²]."""
        return _average(lambda h: self.first(h) ** 2, field_mean, field_deviation)

    def curvature(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ'']."""
        return _average(self.second, field_mean, field_deviation)

    def value_slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φφ']."""
        return _average(lambda h: self.function(h) * self.first(h), field_mean, field_deviation)

    def spread_response(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ'² + φφ'']."""
        return _average(lambda h: self.first(h) ** 2 + self.function(h) * self.second(h), field_mean, field_deviation)

    def slope_correlation(self, field_mean: Floats, field_deviation: Floats, gap: Floats) -> Floats:
        """E[φ'(h₁)φ'(h₂)]: the square of the mean slope given what the fields have in common."""
        return _over_common_part(lambda m, s: self.slope(m, s) ** 2, field_mean, field_deviation, gap)

    def half_square_difference(self, field_mean: Floats, field_deviation: Floats, gap: Floats) -> Floats:
        """½E[(φ(h₁) − φ(h₂))²]: the variance of φ given what the fields have in common."""
        return _over_common_part(self._variance, field_mean, field_deviation, gap)

    def _mean_square_rows(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        return _average_rows(
            field_mean, field_deviation, lambda h: self.function(h) ** 2, wide=lambda h: -self.deficit(h)
        ) + np.where(field_deviation > 1, 1.0, 0.0)

    def _variance(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        return _by_rows(self._variance_rows, field_mean, field_deviation)

    def _variance_rows(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        result = np.empty(field_mean.shape)
        wide = field_deviation > 1
        m, s = field_mean[wide], field_deviation[wide]
        result[wide] = self.mean_square(m, s) - self.mean(m, s) ** 2
        # In two passes, because for small s the difference of the moments would have no digits left.
        values = self.function(field_mean[~wide, None] + field_deviation[~wide, None] * NARROW_POINTS)
        values -= (values @ NARROW_WEIGHTS)[:, None]
        result[~wide] = values**2 @ NARROW_WEIGHTS
        return result


class HardTanh(GaussianAverages):
    """φ(h) = h between −1 and 1, ±1 outside; a field has slope 1 with the probability to lie inside."""

    def value(self, field: Floats) -> Floats:
        """φ(h)."""
        return np.clip(field, -1.0, 1.0)

    def mean(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ]."""
        lower, upper = _kinks(field_mean, field_deviation)
        inside = field_mean * self.slope(field_mean, field_deviation)
        return inside + field_deviation * (_normal(lower) - _normal(upper)) + special.ndtr(-upper) - special.ndtr(lower)

    def mean_square(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ²]."""
        lower, upper = _kinks(field_mean, field_deviation)
        inside = (field_mean**2 + field_deviation**2) * self.slope(field_mean, field_deviation)
        cross = 2 * field_mean * field_deviation * (_normal(lower) - _normal(upper))
        spread = field_deviation**2 * (lower * _normal(lower) - upper * _normal(upper))
        return inside + cross + spread + special.ndtr(-upper) + special.ndtr(lower)

    def slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ']."""
        lower, upper = _kinks(field_mean, field_deviation)
        return special.ndtr(upper) - special.ndtr(lower)

    def square_slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ'²], which is E[φ']."""
        return self.slope(field_mean, field_deviation)

    def curvature(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ''], from the kinks."""
        lower, upper = _kinks(field_mean, field_deviation)
        return (_normal(lower) - _normal(upper)) / np.maximum(field_deviation, SMALL)

    def value_slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φφ']."""
        lower, upper = _kinks(field_mean, field_deviation)
        inside = field_mean * self.slope(field_mean, field_deviation)
        return inside + field_deviation * (_normal(lower) - _normal(upper))

    def spread_response(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ'² + φφ'']."""
        lower, upper = _kinks(field_mean, field_deviation)
        kinks = (_normal(lower) + _normal(upper)) / np.maximum(field_deviation, SMALL)
        return self.slope(field_mean, field_deviation) - kinks

    def slope_correlation(self, field_mean: Floats, field_deviation: Floats, gap: Floats) -> Floats:
        """E[φ'(h₁)φ'(h₂)]: the probability that both fields lie inside."""
        lower, upper = _kinks(field_mean, field_deviation)
        corners = _both_below(upper, upper, gap) - 2 * _both_below(lower, upper, gap) + _both_below(lower, lower, gap)
        return np.maximum(corners, 0.0)


class Relu(GaussianAverages):
    """φ(h) = max(h, 0), a function of the ratio m/s up to its scale."""

    odd = False
    homogeneous = True

    def value(self, field: Floats) -> Floats:
        """φ(h)."""
        return np.maximum(field, 0.0)

    def mean(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ]."""
        ratio = _ratio(field_mean, field_deviation)
        return field_mean * special.ndtr(ratio) + field_deviation * _normal(ratio)

    def mean_square(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ²]."""
        square = (field_mean**2 + field_deviation**2) * self.slope(field_mean, field_deviation)
        return square + field_mean * field_deviation * _normal(_ratio(field_mean, field_deviation))

    def slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ']."""
        return special.ndtr(_ratio(field_mean, field_deviation))

    def square_slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ'²], which is E[φ']."""
        return self.slope(field_mean, field_deviation)

    def curvature(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ''], from the kink."""
        return _normal(_ratio(field_mean, field_deviation)) / np.maximum(field_deviation, SMALL)

    def value_slope(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φφ'], which is E[φ]."""
        return self.mean(field_mean, field_deviation)

    def spread_response(self, field_mean: Floats, field_deviation: Floats) -> Floats:
        """E[φ'² + φφ''], which is E[φ']."""
        return self.slope(field_mean, field_deviation)

    def slope_correlation(self, field_mean: Floats, field_deviation: Floats, gap: Floats) -> Floats:
        """E[φ'(h₁)φ'(h₂)]: the probability that both fields are positive."""
        ratio = _ratio(field_mean, field_deviation)
        return _both_below(ratio, ratio, gap)


def _by_rows(function: Callable[..., Floats], *arrays: Floats) -> Floats:
    """Values of a function of one-dimensional arrays, a few rows at a time."""
    parts = np.broadcast_arrays(*arrays)
    flat = [part.ravel() for part in parts]
    result = np.empty(parts[0].size)
    for start in range(0, result.size, ROWS):
        rows = slice(start, start + ROWS)
        result[rows] = function(*(part[rows] for part in flat))
    return result.reshape(parts[0].shape)


def _average(function: Callable[[Floats], Floats], field_mean: Floats, field_deviation: Floats) -> Floats:
    """Average of a function that decays with |h|."""
    return _by_rows(lambda m, s: _average_rows(m, s, function, wide=function), field_mean, field_deviation)


def _average_rows(
    field_mean: Floats,
    field_deviation: Floats,
    narrow: Callable[[Floats], Floats],
    *,
    wide: Callable[[Floats], Floats],
) -> Floats:
    """Average of `narrow` where s ≤ 1 and of `wide`, which decays with |h|, elsewhere."""
    result = np.empty(field_mean.shape)
    broad = field_deviation > 1
    m, s = field_mean[~broad, None], field_deviation[~broad, None]
    # Exact at s = 0, because J = 1 without a field is neither order nor chaos.
    result[~broad] = np.where(s[:, 0] > 0, narrow(m + s * NARROW_POINTS) @ NARROW_WEIGHTS, narrow(m[:, 0]))
    m, s = field_mean[broad, None], field_deviation[broad, None]
    density = np.exp(-(((WIDE_POINTS - m) / s) ** 2) / 2)
    result[broad] = density @ wide(WIDE_POINTS) * (WIDE_STEP / (np.sqrt(2 * np.pi) * s[:, 0]))
    return result


def _over_common_part(
    function: Callable[[Floats, Floats], Floats], field_mean: Floats, field_deviation: Floats, gap: Floats
) -> Floats:
    """Average of function(y, own) over the common part y ~ N(m, s²(1 − gap)) of two fields; own = s√gap."""
    # The function decays beyond |y| = 10 + 9 own, so the points cover that or ten deviations of y.
    m, s, distance = (part[..., None] for part in np.broadcast_arrays(field_mean, field_deviation, gap))
    common, own = s * np.sqrt(1 - distance), s * np.sqrt(distance)
    reach = 10 + 9 * own
    narrow = 10 * common <= reach
    points = np.where(narrow, m + 10 * common * COMMON_POINTS, reach * COMMON_POINTS)
    spread = np.maximum(common, SMALL)
    standard = np.where(narrow, 10 * COMMON_POINTS, (reach * COMMON_POINTS - m) / spread)
    width = np.where(narrow, 10.0, reach / spread) * (COMMON_POINTS[1] - COMMON_POINTS[0])
    return (width * _normal(standard) * function(points, np.broadcast_to(own, points.shape))).sum(axis=-1)


def _normal(standard: Floats) -> Floats:
    """Density of N(0, 1), zero beyond 40 deviations."""
    return np.exp(-(np.clip(standard, -40.0, 40.0) ** 2) / 2) / np.sqrt(2 * np.pi)


def _ratio(field_mean: Floats, field_deviation: Floats) -> Floats:
    return np.clip(field_mean / np.maximum(field_deviation, SMALL), -40.0, 40.0)


def _kinks(field_mean: Floats, field_deviation: Floats) -> tuple[Floats, Floats]:
    """The kinks −1 and 1 in deviations from the mean."""
    return _ratio(-1 - field_mean, field_deviation), _ratio(1 - field_mean, field_deviation)


def _both_below(first: Floats, second: Floats, gap: Floats) -> Floats:
    """P(z₁ < first, z₂ < second) of unit normals with correlation 1 − gap."""
    # D. B. Owen, Ann. Math. Statist. 27, 1075 (1956). His function divides by the limits, which are shifted off zero.
    a, b = (np.where(limit == 0, SMALL, limit) for limit in (first, second))
    distance = np.maximum(gap, SMALL)
    root = np.sqrt(distance * (2 - distance))
    edges = special.owens_t(a, ((b - a) / a + distance) / root) + special.owens_t(b, ((a - b) / b + distance) / root)
    return (special.ndtr(a) + special.ndtr(b)) / 2 - edges - np.where(a * b < 0, 0.5, 0.0)


def _sech_square(field: Floats) -> Floats:
    """1 − tanh², by exponentials that do not overflow."""
    decay = np.exp(-2 * np.abs(field))
    return 4 * decay / (1 + decay) ** 2


def _bell(field: Floats) -> Floats:
    """Derivative of the error function."""
    return 2 / np.sqrt(np.pi) * np.exp(-(field**2))


AVERAGES: dict[str, GaussianAverages] = {
    "tanh": Saturating(
        function=np.tanh,
        first=_sech_square,
        second=lambda field: -2 * np.tanh(field) * _sech_square(field),
        deficit=_sech_square,
        steepness=np.sqrt(np.pi) / 2,
    ),
    "erf": Saturating(
        function=special.erf,
        first=_bell,
        second=lambda field: -2 * field * _bell(field),
        deficit=lambda field: 1 - special.erf(field) ** 2,
        steepness=1.0,
    ),
    "hard_tanh": HardTanh(),
    "relu": Relu(),
}
"""The averages by the activation's word."""
