import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from sgdphases.theory import marchenko_pastur

ratios = st.floats(0.02, 1.0)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.02, 0.98) | st.just(1.0), st.floats(0.1, 5))
def test_density_has_its_moments(ratio, variance):
    lower, upper = (float(edge) for edge in marchenko_pastur.edges(ratio, variance))

    def moment(power):
        # x = middle − half·cos(angle) takes the square roots out of the edges.
        def integrand(angle):
            level = (lower + upper) / 2 - (upper - lower) / 2 * np.cos(angle)
            jacobian = (upper - lower) / 2 * np.sin(angle)
            return level**power * marchenko_pastur.density(level, ratio, variance=variance) * jacobian

        return integrate.quad(integrand, 0, np.pi, limit=200)[0]

    assert moment(0) == pytest.approx(1, abs=1e-6)
    assert moment(1) == pytest.approx(variance, rel=1e-6)
    assert moment(2) == pytest.approx(variance**2 * (1 + ratio), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(ratios, st.floats(0.01, 0.99), st.floats(0.1, 5))
def test_distribution_is_the_integral_of_the_density(ratio, share, variance):
    lower, upper = (float(edge) for edge in marchenko_pastur.edges(ratio, variance))
    level = lower + share * (upper - lower)
    top = integrate.quad(lambda x: float(marchenko_pastur.density(x, ratio, variance=variance)), level, upper)[0]
    value = marchenko_pastur.distribution(level, ratio, variance=variance)
    assert 1 - value == pytest.approx(top, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(ratios)
def test_distribution_rises_from_zero_to_one(ratio):
    lower, upper = (float(edge) for edge in marchenko_pastur.edges(ratio))
    values = marchenko_pastur.distribution(np.linspace(lower - 0.1, upper + 0.1, 300), ratio)
    assert values[0] == 0
    assert values[-1] == 1
    assert np.all(np.diff(values) >= -1e-12)


@settings(max_examples=25, deadline=None)
@given(ratios, st.floats(0.1, 5))
def test_median_halves_the_bulk(ratio, variance):
    middle = marchenko_pastur.median(ratio, variance=variance)
    assert marchenko_pastur.distribution(middle, ratio, variance=variance) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize(("rows", "columns", "variance"), [(16, 32, 1.0), (8, 40, 2.5), (20, 20, 0.7)])
def test_finite_matrices(rows, columns, variance):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3000, rows, columns)) * np.sqrt(variance / columns)
    levels = np.linalg.eigvalsh(weights @ np.swapaxes(weights, 1, 2))
    first, second = marchenko_pastur.moments(rows, columns, variance=variance)
    assert levels.mean() == pytest.approx(first, rel=0.01)
    assert (levels**2).mean() == pytest.approx(second, rel=0.015)
    mean, deviation = marchenko_pastur.largest_level_moments(rows, columns, variance=variance)
    assert levels[:, -1].mean() == pytest.approx(mean, rel=0.015)
    assert levels[:, -1].std() == pytest.approx(deviation, rel=0.12)
    outside = levels[:, -1] > marchenko_pastur.outlier_threshold(rows, rows / columns, variance=variance)
    assert outside.mean() < 0.01


def test_exact_second_moment_of_the_paper():
    assert marchenko_pastur.moments(16, 32)[1] == 1.53125


@pytest.mark.parametrize(("rows", "columns"), [(30, 90), (90, 30)])
def test_both_orientations(rows, columns):
    rng = np.random.default_rng(1)
    singular = np.linalg.svd(rng.normal(size=(40, rows, columns)) * 1.5 / np.sqrt(columns), compute_uv=False)
    variance, ratio = marchenko_pastur.bulk_parameters(rows, columns, 1.5)
    assert (singular**2).mean() == pytest.approx(float(variance), rel=0.02)
    assert np.median(singular**2) == pytest.approx(marchenko_pastur.median(ratio, variance=float(variance)), rel=0.03)
