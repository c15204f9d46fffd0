import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from sgdphases.theory.gaussian_averages import AVERAGES

FUNCTIONS = {
    "tanh": np.tanh,
    "erf": special.erf,
    "hard_tanh": lambda h: np.clip(h, -1, 1),
    "relu": lambda h: np.maximum(h, 0),
}
SLOPES = {
    "tanh": lambda h: 1 - np.tanh(h) ** 2,
    "erf": lambda h: 2 / np.sqrt(np.pi) * np.exp(-(h**2)),
    "hard_tanh": lambda h: (np.abs(h) < 1).astype(float),
    "relu": lambda h: (h > 0).astype(float),
}
KINKS = {"tanh": [], "erf": [], "hard_tanh": [-1.0, 1.0], "relu": [0.0]}

activations = st.sampled_from(sorted(AVERAGES))
means = st.floats(-6, 6)
deviations = st.floats(0.02, 30)


def panels(low, high, kinks, width):
    """Gauss-Legendre points on panels that end at the kinks, and their weights."""
    edges = np.unique(
        np.concatenate([np.linspace(low, high, int((high - low) / width) + 2), np.clip(kinks, low, high)])
    )
    x, w = special.roots_legendre(24)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (x + 1)).ravel(), (half * w).ravel()


def direct_average(function, mean, deviation, kinks=()):
    """Average over N(mean, deviation²) in the field itself, panel by panel: no trick of the module is in it."""
    width = min(deviation, 0.5)
    low, high = max(mean - 12 * deviation, -25), min(mean + 12 * deviation, 25)
    total = 0.0
    if low < high:
        h, w = panels(low, high, kinks, width)
        density = np.exp(-(((h - mean) / deviation) ** 2) / 2) / np.sqrt(2 * np.pi) / deviation
        total = (w * density) @ function(h)
    # Beyond |h| = 25 bounded activations are ±1 to rounding; relu is not asked there.
    outside = special.ndtr((mean - 25) / deviation) * function(25.0) + special.ndtr(
        -(mean + 25) / deviation
    ) * function(-25.0)
    return total + outside


def direct_joint_average(function, mean, deviation, gap, kinks=()):
    """E[f(h₁)f(h₂)] by two nested Gauss-Legendre rules in z₁ and z₂, broken at the kinks."""
    c, root = 1 - gap, np.sqrt(gap * (2 - gap))
    width = min(0.5, 0.5 / deviation)
    x, weights = panels(-9.5, 9.5, [(kink - mean) / deviation for kink in kinks], width)
    total = 0.0
    for point, weight in zip(x, weights * np.exp(-(x**2) / 2), strict=True):
        common = mean + deviation * c * point
        y, inner = panels(-9.5, 9.5, [(kink - common) / (deviation * root) for kink in kinks], width)
        values = function(common + deviation * root * y)
        total += weight * function(mean + deviation * point) * (inner @ (np.exp(-(y**2) / 2) * values))
    return total / (2 * np.pi)


def evaluated(word, law, *arguments):
    return float(getattr(AVERAGES[word], law)(*(np.array([part]) for part in arguments))[0])


@pytest.mark.parametrize(
    ("variance", "square", "slope_square"),
    [
        (0.1, 0.0842139284, 0.8492070684),
        (0.5, 0.2736763079, 0.5924257934),
        (1, 0.3942944904, 0.4644029024),
        (2, 0.5199757457, 0.3495082977),
        (10, 0.7572662769, 0.1655724208),
    ],
)
def test_tanh_integrals(variance, square, slope_square):
    assert evaluated("tanh", "mean_square", 0, np.sqrt(variance)) == pytest.approx(square, abs=6e-11)
    assert evaluated("tanh", "square_slope", 0, np.sqrt(variance)) == pytest.approx(slope_square, abs=6e-11)
    assert evaluated("tanh", "slope", 0, np.sqrt(variance)) == pytest.approx(1 - square, abs=6e-11)


@pytest.mark.parametrize(
    ("variance", "square", "slope_square"), [(0.5, 1 / 3, 0.735105), (1, 0.464559, 0.569410), (2, 0.590334, 0.424413)]
)
def test_erf_integrals(variance, square, slope_square):
    assert evaluated("erf", "mean_square", 0, np.sqrt(variance)) == pytest.approx(square, abs=6e-7)
    assert evaluated("erf", "square_slope", 0, np.sqrt(variance)) == pytest.approx(slope_square, abs=6e-7)


def test_hard_tanh_integrals():
    assert evaluated("hard_tanh", "square_slope", 0, 1) == pytest.approx(0.682689, abs=6e-7)
    assert evaluated("hard_tanh", "mean_square", 0, 1) == pytest.approx(0.516059, abs=6e-7)


@settings(max_examples=60, deadline=None)
@given(st.floats(-4, 4), deviations)
def test_erf_has_closed_forms(mean, deviation):
    spread = 1 + 2 * deviation**2
    standard, slope = np.sqrt(2 / spread) * mean, 1 / np.sqrt(1 + 4 * deviation**2)
    closed = {
        "mean": special.erf(mean / np.sqrt(spread)),
        "mean_square": 1 - 8 * special.owens_t(standard, slope),
        "slope": 2 / np.sqrt(np.pi * spread) * np.exp(-(mean**2) / spread),
        "square_slope": 4 / np.pi * slope * np.exp(-2 * mean**2 * slope**2),
    }
    for law, value in closed.items():
        assert evaluated("erf", law, mean, deviation) == pytest.approx(value, abs=2e-13)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.02, 30), st.floats(0, 1))
def test_joint_averages_of_erf_have_closed_forms(deviation, gap):
    """Without a mean, E[erf erf] = (2/π) asin(2cs²/(1 + 2s²))."""
    spread, joint = 1 + 2 * deviation**2, 2 * deviation**2 * (1 - gap)
    overlap = 2 / np.pi * np.arcsin(joint / spread)
    square = evaluated("erf", "mean_square", 0, deviation)
    measured = evaluated("erf", "half_square_difference", 0, deviation, gap)
    assert square - measured == pytest.approx(overlap, abs=1e-12)
    slopes = 4 / np.pi / np.sqrt(spread**2 - joint**2)
    assert evaluated("erf", "slope_correlation", 0, deviation, gap) == pytest.approx(slopes, abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["tanh", "erf", "hard_tanh"]), means, deviations)
def test_averages_against_direct_integrals(word, mean, deviation):
    function, slope, kinks = FUNCTIONS[word], SLOPES[word], KINKS[word]
    for law, integrand in {
        "mean": function,
        "mean_square": lambda h: function(h) ** 2,
        "slope": slope,
        "square_slope": lambda h: slope(h) ** 2,
        "value_slope": lambda h: function(h) * slope(h),
    }.items():
        direct = direct_average(integrand, mean, deviation, kinks)
        assert evaluated(word, law, mean, deviation) == pytest.approx(direct, abs=2e-12)


@settings(max_examples=30, deadline=None)
@given(means, st.floats(0.1, 5))
def test_relu_against_direct_integrals(mean, deviation):
    h, weights = panels(0, max(mean, 0) + 12 * deviation, [], deviation / 2)
    density = np.exp(-(((h - mean) / deviation) ** 2) / 2) / np.sqrt(2 * np.pi) / deviation

    def average(power):
        return (weights * density) @ h**power

    for law, power in {"slope": 0, "mean": 1, "mean_square": 2, "value_slope": 1, "square_slope": 0}.items():
        assert evaluated("relu", law, mean, deviation) == pytest.approx(average(power), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(activations, st.floats(-3, 3), st.floats(0.2, 8))
def test_derivatives_by_mean_and_variance(word, mean, deviation):
    """d/dm and d/ds² of the averages, which hold for kinks too."""
    step = 1e-4

    def by_mean(law):
        upper, lower = (evaluated(word, law, mean + shift, deviation) for shift in (step, -step))
        return (upper - lower) / (2 * step)

    def by_variance(law):
        upper, lower = (evaluated(word, law, mean, np.sqrt(deviation**2 + shift)) for shift in (step, -step))
        return (upper - lower) / (2 * step)

    tolerance = 1e-5
    assert evaluated(word, "slope", mean, deviation) == pytest.approx(by_mean("mean"), abs=tolerance)
    assert 2 * evaluated(word, "value_slope", mean, deviation) == pytest.approx(by_mean("mean_square"), abs=tolerance)
    assert evaluated(word, "curvature", mean, deviation) / 2 == pytest.approx(by_variance("mean"), abs=tolerance)
    response = evaluated(word, "spread_response", mean, deviation)
    assert response == pytest.approx(by_variance("mean_square"), abs=tolerance)


@pytest.mark.parametrize(
    ("word", "mean", "deviation", "gap"),
    [
        ("tanh", 0.7, 0.5, 0.3),
        ("tanh", 1.9, 2.5, 0.02),
        ("tanh", 0.0, 4.0, 0.8),
        ("erf", 1.1, 1.4, 0.1),
        ("hard_tanh", 0.4, 0.3, 0.6),
        ("hard_tanh", 1.0, 1.7, 0.05),
        ("hard_tanh", 3.1, 3.0, 0.9),
        ("relu", -0.8, 1.3, 0.2),
        ("relu", 0.5, 0.4, 0.9),
    ],
)
def test_joint_averages_against_nested_integrals(word, mean, deviation, gap):
    function, kinks = FUNCTIONS[word], KINKS[word]
    joint = direct_joint_average(function, mean, deviation, gap, kinks)
    difference = evaluated(word, "half_square_difference", mean, deviation, gap)
    assert evaluated(word, "mean_square", mean, deviation) - difference == pytest.approx(joint, abs=1e-11)
    slopes = direct_joint_average(SLOPES[word], mean, deviation, gap, kinks)
    assert evaluated(word, "slope_correlation", mean, deviation, gap) == pytest.approx(slopes, abs=1e-11)


@settings(max_examples=40, deadline=None)
@given(activations, st.floats(-3, 3), st.floats(0.05, 20), st.floats(1e-13, 1e-9))
def test_small_gaps_keep_their_digits(word, mean, deviation, gap):
    """D ≈ s²E[φ'²]·gap; what it misses is of the order s√gap (kinks)."""
    difference = evaluated(word, "half_square_difference", mean, deviation, gap)
    leading = deviation**2 * evaluated(word, "square_slope", mean, deviation) * gap
    assert difference == pytest.approx(leading, rel=1e-2 * deviation, abs=1e-15 * gap)


@pytest.mark.parametrize("word", sorted(AVERAGES))
def test_ends_of_the_gap(word):
    mean, deviation = np.array([0.3, 1.4, 0.0]), np.array([0.6, 5.0, 2.0])
    averages = AVERAGES[word]
    apart = averages.half_square_difference(mean, deviation, np.ones(3))
    variance = averages.mean_square(mean, deviation) - averages.mean(mean, deviation) ** 2
    np.testing.assert_allclose(apart, variance, rtol=1e-11)
    assert np.all(averages.half_square_difference(mean, deviation, np.zeros(3)) < 1e-28)
    joint = averages.slope_correlation(mean, deviation, np.array([1e-12, 1.0, 1.0]))
    np.testing.assert_allclose(joint[1:], averages.slope(mean, deviation)[1:] ** 2, rtol=1e-10)
    np.testing.assert_allclose(joint[0], averages.square_slope(mean, deviation)[0], rtol=1e-5)


@pytest.mark.parametrize("word", sorted(AVERAGES))
def test_without_a_spread_the_averages_are_values(word):
    mean, none = np.array([-0.4, 0.0, 0.7, 30.0]), np.zeros(4)
    averages, function = AVERAGES[word], FUNCTIONS[word]
    np.testing.assert_allclose(averages.mean(mean, none), function(mean), atol=1e-15)
    np.testing.assert_allclose(averages.mean_square(mean, none), function(mean) ** 2, atol=1e-15)
    np.testing.assert_allclose(averages.value(mean), function(mean))
    assert averages.origin_slope == pytest.approx(SLOPES[word](np.array(1e-9)), rel=1e-8)
    # Exactly: χ₁ = 1 at J = 1 would be chaos by a rounding error.
    if word in {"tanh", "hard_tanh"}:
        assert averages.square_slope(np.zeros(1), np.zeros(1)) == 1


def test_averages_broadcast_and_come_in_blocks():
    mean, deviation = np.linspace(0, 3, 70)[:, None], np.linspace(0, 4, 40)
    whole = AVERAGES["tanh"].mean_square(mean, deviation)
    assert whole.shape == (70, 40)
    np.testing.assert_allclose(whole[69, 39], evaluated("tanh", "mean_square", 3.0, 4.0), rtol=1e-14)
    assert AVERAGES["tanh"].mean(np.zeros((0,)), np.zeros((0,))).shape == (0,)
