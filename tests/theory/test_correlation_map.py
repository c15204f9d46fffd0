import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from sgdphases.theory import correlation_map, edge_of_chaos, meanfield
from sgdphases.theory.gaussian_averages import AVERAGES

ODD = ("erf", "hard_tanh", "tanh")


def test_distances_without_mean_coupling():
    couplings = np.array([0.8, 1.05, 1.2, 1 / 0.74, 1.5, 1 / 0.58, 2, 1 / 0.34, 3, 1 / 0.18, 10, 50])
    table = [0, 0.310805, 0.588681, 0.739589, 0.839764, 0.944073, 1.029921, 1.178135, 1.183720, 1.300969, 1.354290]
    distance = correlation_map.asymptotic_distance(couplings)
    np.testing.assert_allclose(distance, [*table, 1.402794], atol=3e-6)
    np.testing.assert_allclose(distance, np.sqrt(2 * meanfield.order_parameters(couplings).mean_square), rtol=1e-13)
    np.testing.assert_allclose(correlation_map.asymptotic_distance(couplings, width=10**4), 100 * distance)


def test_distances_of_the_authors():
    """Stored by the authors for N = 10⁴: within 0.6 % for J ≥ 1.72, 1.0 % at 1.515, 1.6 % at 1.35."""
    inverse = np.array([0.74, 0.66, 0.58, 0.5, 0.34, 0.18, 0.1, 0.02])
    stored = [75.16, 83.98, 94.45, 102.5, 117.2, 129.9, 135.6, 140.2]
    deviation = correlation_map.asymptotic_distance(1 / inverse, width=10**4) / stored - 1
    assert np.all(np.abs(deviation) < [0.0165, 0.0105, *[0.006] * 6])


@pytest.mark.parametrize(
    ("square_coupling", "square_bias", "correlation", "depth"),
    [
        (1.5, 0.05, 1, 15.791),
        (1.7, 0.05, 1, 74.918),
        (1.9, 0.05, 0.838201, 39.352),
        (4, 0, 0, 7.980),
        (6.25, 0.09, 0.122104, 5.109),
    ],
)
def test_table_with_biases(square_coupling, square_bias, correlation, depth):
    coupling, words = np.sqrt(square_coupling), {"bias_scale": np.sqrt(square_bias)}
    assert correlation_map.stationary_correlation(coupling, **words) == pytest.approx(correlation, abs=6e-7)
    assert correlation_map.correlation_depth_scale(coupling, **words) == pytest.approx(depth, abs=6e-4)


def test_time_to_saturate():
    times = correlation_map.saturation_time([2, 1.2, 1.05, 0.8])
    np.testing.assert_allclose(times, [60, 530, 5600, np.inf], rtol=0.01)
    assert correlation_map.saturation_time(2, perturbation=10) == 0


@pytest.mark.parametrize(
    ("word", "coupling", "mean_coupling", "bias"),
    [
        ("tanh", 3.0, 4.2, 0.0),
        ("tanh", 2.5, 0.3, 0.4),
        ("erf", 3.0, -4.1, 0.0),
    ],
)
def test_distance_with_a_mean_by_direct_integration(word, coupling, mean_coupling, bias):
    """q₁₂ with both copies sharing u, found by iterating the map with an adaptive double integral's values."""
    words = {"activation": word, "bias_scale": bias}
    assert meanfield.phase(coupling, mean_coupling, **words) == "chaos"
    field, function = meanfield.field_moments(coupling, mean_coupling, **words), AVERAGES[word].value
    s, c = np.sqrt(field.variance), correlation_map.stationary_correlation(coupling, mean_coupling, **words)

    def integrand(y, x):
        first, second = field.mean + s * x, field.mean + s * (c * x + np.sqrt(1 - c**2) * y)
        return function(first) * function(second) * np.exp(-(x**2 + y**2) / 2) / (2 * np.pi)

    overlap = integrate.dblquad(integrand, -8, 8, -8, 8, epsabs=1e-7, epsrel=1e-7)[0]
    assert (coupling**2 * overlap + bias**2) / field.variance == pytest.approx(c, abs=1e-7)
    square = meanfield.order_parameters(coupling, mean_coupling, **words).mean_square
    distance = correlation_map.asymptotic_distance(coupling, mean_coupling, **words)
    assert distance == pytest.approx(np.sqrt(2 * (square - overlap)), rel=1e-5)


def test_distance_with_a_mean_by_simulation():
    """Four matrices deep in chaos with a mean: the distance is far below √(2Nq)."""
    rng = np.random.default_rng(0)
    width, coupling, mean_coupling = 600, 6.0, 8.0
    distances = []
    for _ in range(4):
        weights = rng.normal(size=(width, width)) * coupling / np.sqrt(width)
        weights += mean_coupling / width - weights.mean()
        state = rng.normal(size=width) + 1.0
        states = np.stack([state, state + 1e-4 * rng.normal(size=width)])
        for step in range(150):
            states = np.tanh(states @ weights)
            if step >= 80:
                distances.append(np.linalg.norm(states[0] - states[1]))
    predicted = correlation_map.asymptotic_distance(coupling, mean_coupling, width=width)
    assert np.mean(distances) == pytest.approx(predicted, rel=0.08)
    square = meanfield.order_parameters(coupling, mean_coupling).mean_square
    assert predicted < 0.6 * np.sqrt(2 * width * square)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([*ODD, "relu"]), st.floats(0.1, 8), st.floats(-2, 2), st.just(0.0) | st.floats(0.01, 1))
def test_stationary_correlation_is_a_fixed_point(word, coupling, ratio, bias):
    words = {"activation": word, "bias_scale": bias}
    mean_coupling = ratio * coupling
    c = correlation_map.stationary_correlation(coupling, mean_coupling, **words)
    again = correlation_map.correlation_map(c, coupling, mean_coupling, **words)
    assert again == pytest.approx(c, abs=1e-10)
    assert 0 <= c <= 1
    chaos = meanfield.phase(coupling, mean_coupling, **words) == "chaos"
    distance = correlation_map.asymptotic_distance(coupling, mean_coupling, **words)
    if not chaos:
        assert c == 1
        assert distance == 0
    elif word != "relu":
        assert c < 1
        square = meanfield.order_parameters(coupling, mean_coupling, **words).mean_square
        assert 0 < distance <= np.sqrt(2 * square) * (1 + 1e-12)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(ODD), st.floats(0.3, 5), st.floats(0, 2), st.floats(0.01, 1))
def test_slope_and_convexity_of_the_map(word, coupling, ratio, bias):
    words = {"activation": word, "bias_scale": bias}
    c = np.array([0, 0.2, 0.4, 0.6, 0.8, 1 - 1e-7, 1])
    mapped = correlation_map.correlation_map(c, coupling, ratio * coupling, **words)
    assert mapped[-1] == 1
    slopes = np.diff(mapped) / np.diff(c)
    assert np.all(np.diff(slopes) > -1e-7)
    growth = meanfield.perturbation_growth(coupling, ratio * coupling, **words)
    # A kink's map has a square-root cusp in its slope.
    assert slopes[-1] == pytest.approx(growth, rel=1e-2 if word == "hard_tanh" else 1e-4)


def test_depth_scale_is_the_rate_of_the_map():
    coupling, words = 1.7, {"bias_scale": 0.2}
    c = correlation_map.stationary_correlation(coupling, **words)
    step = 1e-5
    upper, lower = correlation_map.correlation_map([c + step, c - step], coupling, **words)
    rate = -1 / np.log((upper - lower) / (2 * step))
    assert correlation_map.correlation_depth_scale(coupling, **words) == pytest.approx(rate, rel=1e-6)
    edge = edge_of_chaos.critical_coupling(bias_scale=0.2)
    scales = correlation_map.correlation_depth_scale(edge * np.array([0.999, 1.001]), **words)
    assert np.all(scales > 200)
    assert correlation_map.correlation_depth_scale(1.0) == np.inf


def test_distance_beside_the_bent_edge_rises_from_zero():
    ratio = 1.4
    edge = edge_of_chaos.critical_coupling(ratio)
    excess = np.array([1e-7, 1e-6, 1e-5, 1e-4, 1e-3])
    coupling = edge * (1 + excess)
    distance = correlation_map.asymptotic_distance(coupling, ratio * coupling)
    # The gap is proportional to χ₁ − 1, which is proportional to the excess here.
    np.testing.assert_allclose(distance / np.sqrt(excess), distance[2] / np.sqrt(excess[2]), rtol=5e-3)
    assert correlation_map.asymptotic_distance(edge * 0.999, ratio * edge * 0.999) == 0


def test_relu_has_no_distance_of_its_own():
    words = {"activation": "relu"}
    distance = correlation_map.asymptotic_distance(
        [1.2, 1.5, 1.6, 1.6], [0, 0, -1.9, -1.9], bias_scale=[0.3, 0, 0, 0.3], **words
    )
    np.testing.assert_array_equal(distance[:3], [0, np.inf, 0])
    assert meanfield.phase(2.5, -5, bias_scale=0.3, **words) == "chaos"
    assert 0 < correlation_map.asymptotic_distance(2.5, -5, bias_scale=0.3, **words) < np.inf
    # Where the norm diverges the angle still has its map; without J0 it closes.
    assert correlation_map.stationary_correlation(2, **words) == 1
    c = 0.3
    kernel = (np.sqrt(1 - c**2) + c * (np.pi - np.arccos(c))) / np.pi
    assert correlation_map.correlation_map(c, 2, **words) == pytest.approx(kernel, abs=1e-13)


def test_laws_take_arrays():
    coupling, mean_coupling = np.array([0.5, 1.5, 3.0])[:, None], np.array([0.0, 1.0, 4.2, 6.0])
    for law in (
        correlation_map.stationary_correlation,
        correlation_map.asymptotic_distance,
        correlation_map.correlation_depth_scale,
        correlation_map.saturation_time,
    ):
        values = law(coupling, mean_coupling, bias_scale=0.1)
        assert values.shape == (3, 4)
        assert values[2, 1] == pytest.approx(law(3.0, 1.0, bias_scale=0.1), rel=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: correlation_map.correlation_map(1.2, 1), "between 0 and 1"),
        (lambda: correlation_map.asymptotic_distance(2, width=0), "width must be positive"),
        (lambda: correlation_map.saturation_time(2, perturbation=0), "perturbation must be positive"),
        (lambda: correlation_map.stationary_correlation(-2), "coupling must be at least 0"),
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
