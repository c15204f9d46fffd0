import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from sgdphases.theory import tanh_features


@settings(max_examples=25, deadline=None)
@given(st.floats(0.02, 4))
def test_density_integrates_to_one(variance):
    # In z = atanh φ the integrand is smooth, and the trapezoidal rule converges to rounding; dφ = (1 − φ²) dz.
    z = np.linspace(-8.5, 8.5, 2001) * np.sqrt(variance)
    z = z[np.abs(z) < 17.0]
    phi = np.tanh(z)
    total = integrate.trapezoid(tanh_features.tanh_density(phi, variance) * (1 - phi**2), z)
    assert total == pytest.approx(1, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 10))
def test_curvature_is_the_second_derivative_of_the_density(variance):
    step = 1e-3
    low, middle, high = tanh_features.tanh_density([-step, 0.0, step], variance)
    curvature = tanh_features.tanh_density_curvature(variance)
    scale = middle * (2 + 1 / variance)
    assert (low - 2 * middle + high) / step**2 == pytest.approx(curvature, abs=1e-3 * scale)


def test_two_peaks_above_one_half():
    assert tanh_features.tanh_density_curvature(tanh_features.CRITICAL_VARIANCE) == 0
    below, above = tanh_features.tanh_density_curvature([0.49, 0.51])
    assert below < 0 < above
    grid = np.linspace(-0.99, 0.99, 397)
    assert abs(grid[np.argmax(tanh_features.tanh_density(grid, 0.4))]) < 0.01
    assert abs(grid[np.argmax(tanh_features.tanh_density(grid, 1.0))]) > 0.5


@settings(max_examples=30, deadline=None)
@given(st.floats(-12, 12))
def test_mean_square_of_tanh_against_quadrature(logarithm):
    variance = float(np.exp(logarithm))
    deviation = np.sqrt(variance)

    def integrand(z):
        return np.tanh(z) ** 2 * np.exp(-(z**2) / (2 * variance)) / (np.sqrt(2 * np.pi) * deviation)

    points = [-20.0, -1.0, 0.0, 1.0, 20.0] if deviation > 3 else [0.0]
    expected = integrate.quad(integrand, -10 * deviation, 10 * deviation, points=points, limit=400, epsrel=1e-10)[0]
    assert tanh_features.mean_square_tanh(variance) == pytest.approx(expected, rel=1e-7)


def test_mean_square_of_tanh_is_continuous_and_starts_at_zero():
    values = tanh_features.mean_square_tanh([0.0, 1 - 1e-12, 1 + 1e-12])
    assert values[0] == 0
    assert values[1] == pytest.approx(values[2], abs=1e-11)


@pytest.mark.parametrize(("width", "scale"), [(3, 1.0), (10, 2.0), (1, 0.5)])
def test_first_features_by_draws(width, scale):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200000, width))
    matrix = rng.normal(size=(200000, width)) * scale / np.sqrt(width)
    measured = np.tanh((inputs * matrix).sum(axis=1)) ** 2
    expected = tanh_features.first_feature_mean_square(width, init_scale=scale)
    assert measured.mean() == pytest.approx(expected, abs=5 * measured.std() / np.sqrt(200000))


def test_critical_scale_makes_the_preactivation_variance_one_half():
    assert tanh_features.critical_init_scale() == pytest.approx(1 / np.sqrt(2))
    assert tanh_features.critical_init_scale(0.343) ** 2 * 0.343 == pytest.approx(0.5)


def test_initial_overlap_of_given_inputs_by_draws():
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(64, 4))
    totals = np.zeros(3)
    scales = np.array([0.5, 2.0, 8.0])
    for _ in range(300):
        first = np.tanh(inputs @ rng.normal(size=(4, 400)) / 2)
        second = first @ rng.normal(size=(400, 30)) / 20
        totals += [(np.tanh(scale * second) ** 2).mean() for scale in scales]
    expected = tanh_features.initial_overlap(scales, input_mean_square=(inputs**2).mean(axis=1))
    np.testing.assert_allclose(totals / 300, expected, atol=0.006)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 20))
def test_overlap_never_exceeds_its_bound(seed, scale):
    rng = np.random.default_rng(seed)
    first, now = np.tanh(scale * rng.normal(size=(20, 4))), np.tanh(rng.normal(size=(20, 4)))
    bound = tanh_features.overlap_bound((first**2).mean(), (now**2).mean())
    assert abs((first * now).mean()) <= bound * (1 + 1e-12)
    assert (now * now).mean() == pytest.approx(tanh_features.overlap_bound((now**2).mean(), (now**2).mean()))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_alignment_at_zero_loss_is_exact(seed, scale):
    rng = np.random.default_rng(seed)
    features, readout = np.tanh(scale * rng.normal(size=(30, 5))), rng.normal(size=5)
    targets = features @ readout
    field = targets[:, None] * readout
    cosine = (field * features).sum() / np.linalg.norm(field) / np.linalg.norm(features)
    expected = tanh_features.zero_loss_alignment(
        np.linalg.norm(targets), np.linalg.norm(readout), np.linalg.norm(features)
    )
    assert cosine == pytest.approx(expected, rel=1e-10)
