import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from sgdphases.fits.power_law import fit_power_law, local_exponents, replica_average, replica_exponent


@given(st.floats(-4, 4), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_exact_power_laws_are_recovered(exponent, prefactor, points):
    x = np.geomspace(0.01, 300, points)
    fit = fit_power_law(x, prefactor * x**exponent)
    assert fit.exponent.value == pytest.approx(exponent, abs=1e-9)
    assert fit.prefactor.value == pytest.approx(prefactor, rel=1e-8)
    assert fit.points == points
    np.testing.assert_allclose(local_exponents(x, prefactor * x**exponent)[1], exponent, atol=1e-9)


@given(st.floats(-2, 2), st.floats(0.1, 10))
def test_units_change_the_prefactor_alone(exponent, unit):
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 100, 8)
    y = x**exponent * np.exp(0.1 * rng.normal(size=8))
    once, scaled = fit_power_law(x, y, error=0.1 * y), fit_power_law(unit * x, y, error=0.1 * y)
    assert scaled.exponent.value == pytest.approx(once.exponent.value, abs=1e-9)
    assert scaled.exponent.error == pytest.approx(once.exponent.error)


def test_weights_and_errors_against_curve_fit():
    rng = np.random.default_rng(1)
    x = np.geomspace(1, 1000, 15)
    error = x**0.7 * rng.uniform(0.02, 0.3, size=15)
    y = x**0.7 + error * rng.normal(size=15) * 0.5
    fit = fit_power_law(x, y, error=error)
    values, covariance = optimize.curve_fit(
        lambda u, a, b: a * u + b, np.log(x), np.log(y), sigma=error / y, absolute_sigma=True
    )
    assert fit.exponent.value == pytest.approx(values[0], rel=1e-6)
    assert fit.exponent.error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-4)
    assert fit.prefactor.error == pytest.approx(np.exp(values[1]) * np.sqrt(covariance[1, 1]), rel=1e-4)


@pytest.mark.parametrize("known", [True, False])
def test_intervals_cover_as_often_as_they_say(known):
    rng = np.random.default_rng(2)
    x, covered = np.geomspace(1, 50, 6), 0
    for _ in range(400):
        y = 2 * x**-0.8 * np.exp(0.05 * rng.normal(size=6))
        fit = fit_power_law(x, y, error=0.05 * y if known else None, confidence=0.9)
        covered += fit.exponent.low <= -0.8 <= fit.exponent.high
    assert covered / 400 == pytest.approx(0.9, abs=0.05)


def test_window_keeps_its_ends():
    x = 2.0 ** np.arange(-3, 9)
    y = np.where(x >= 2, x**1.07, 2**1.07)
    fit = fit_power_law(x, y, window=(2, 256))
    assert fit.exponent.value == pytest.approx(1.07)
    assert fit.points == 8


def test_points_without_a_logarithm_are_left_out():
    x = np.array([0.0, 1, 2, 4, 8, np.nan])
    y = np.array([1.0, 1, 4, np.nan, 64, 2])
    assert fit_power_law(x, y).exponent.value == pytest.approx(2)
    assert fit_power_law(x, -y).points == 0
    error = np.array([1.0, 0.1, 0.1, 0.1, 0.0, 0.1])
    assert fit_power_law(x, y, error=error).points == 2


def test_too_few_points_say_so():
    nothing = fit_power_law([1.0], [2.0])
    assert np.isnan(nothing.exponent.value)
    two = fit_power_law([1.0, 2.0], [1.0, 4.0])
    assert two.exponent.value == pytest.approx(2)
    assert np.isnan(two.exponent.error)
    assert np.isnan(fit_power_law([2.0, 2.0], [1.0, 4.0]).exponent.value)


def test_averages_leave_out_missing_replicas():
    values = np.array([[1.0, np.nan, np.nan], [4.0, 2.0, np.nan], [16.0, 8.0, np.nan]])
    np.testing.assert_allclose(replica_average(values, "mean")[:2], [7, 5])
    np.testing.assert_allclose(replica_average(values, "median")[:2], [4, 5])
    np.testing.assert_allclose(replica_average(values, "geometric")[:2], [4, 4])
    assert np.isnan(replica_average(values, "mean")[2])
    with pytest.raises(ValueError, match="unknown average"):
        replica_average(values, "mode")


def test_replica_exponent_sees_the_scatter_between_replicas():
    rng = np.random.default_rng(3)
    x = np.geomspace(1, 100, 10)
    exponents = 0.5 + 0.1 * rng.normal(size=60)
    estimate = replica_exponent(x, x ** exponents[:, None], average="geometric", resamples=300)
    assert estimate.value == pytest.approx(exponents.mean())
    assert estimate.error == pytest.approx(exponents.std() / np.sqrt(60), rel=0.2)


def test_local_exponents_of_a_bend():
    x = np.array([1.0, 4.0, 16.0])
    middle, slopes = local_exponents(x, np.array([[1.0, 4.0, 8.0], [0.0, 1.0, 1.0]]))
    np.testing.assert_allclose(middle, [2, 8])
    np.testing.assert_allclose(slopes, [[1, 0.5], [np.nan, 0]])
