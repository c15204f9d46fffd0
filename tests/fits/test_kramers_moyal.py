"""The Wishart process is the oracle: drift, diffusion and all coefficients are known exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.kramers_moyal import (
    deviation_probability,
    kramers_moyal,
    langevin_terms,
    orthogonal_coulomb_term,
    projected_moments,
    regress_drift,
    rounding_floor,
    step_size,
    window_increments,
    window_steps,
)
from sgdphases.theory import dyson


def descending_levels(weights):
    return np.linalg.eigvalsh(weights @ np.swapaxes(weights, -1, -2))[..., ::-1]


def wishart_increments(rng, *, columns, noise, time, states=6, replicas=15000, rows=4):
    """Levels of some states, shape (states, K), and one-step increments of their replicas, (replicas, states, K)."""
    starts = rng.normal(size=(states, rows, columns)) * np.linspace(0.3, 2, rows)[:, None]
    kicks = noise * np.sqrt(time) * rng.normal(size=(replicas, states, rows, columns))
    levels = descending_levels(starts)
    return levels, descending_levels(starts + kicks) - levels


@pytest.mark.parametrize(("columns", "noise", "temperature_seed"), [(8, 0.7, 1), (13, 1.6, 2)])
def test_step_c_recovers_the_wishart_process(columns, noise, temperature_seed):
    rng = np.random.default_rng(temperature_seed)
    time = 1e-3 / noise**2
    levels, increments = wishart_increments(rng, columns=columns, noise=noise, time=time)
    measured = kramers_moyal(increments, flow_time=time)
    expected = np.diagonal(dyson.wishart_diffusion(levels, noise), axis1=-2, axis2=-1)
    np.testing.assert_allclose(2 * measured.diffusion.value, expected, rtol=0.07)
    exact = dyson.wishart_drift(levels, columns=columns, noise_scale=noise)
    deviation = (measured.drift.value - exact) / measured.drift.error
    assert np.abs(deviation).max() < 4
    # Unit noise strength in the terms: the Coulomb coefficient must come out as g², the Itô one as g² L.
    terms = langevin_terms(levels, diffusion=dyson.wishart_diffusion(levels, 1.0), gradient_variance=1.0)
    for how in ({"error": measured.drift.error}, {"covariance": measured.covariance}):
        fit = regress_drift(measured.drift.value, terms, **how)
        for name, value in {"coulomb": noise**2, "ito": noise**2 * columns}.items():
            estimate = fit.coefficients[name]
            assert abs(estimate.value - value) < 3.5 * estimate.error
            assert estimate.error < 0.15 * value
            assert deviation_probability(estimate, value) > 1e-4
            assert deviation_probability(estimate, 2 * value) < 1e-4
        assert fit.chi_square < fit.degrees + 5 * np.sqrt(2 * fit.degrees)
        assert fit.condition < 100


def test_without_the_ito_term_the_regression_fails():
    rng = np.random.default_rng(3)
    levels, increments = wishart_increments(rng, columns=8, noise=1.0, time=1e-3)
    measured = kramers_moyal(increments, flow_time=1e-3)
    terms = langevin_terms(levels, diffusion=dyson.wishart_diffusion(levels, 1.0))
    fit = regress_drift(measured.drift.value, terms, error=measured.drift.error)
    assert fit.chi_square > 10 * fit.degrees


def test_step_b_recovers_the_wishart_diffusion_from_gradients():
    rng = np.random.default_rng(4)
    rows, columns, noise, samples = 4, 8, 0.6, 3000
    weights = rng.normal(size=(rows, columns))
    vectors = np.linalg.eigh(weights @ weights.T)[1][:, ::-1]
    gradients = 0.2 * weights + noise * rng.normal(size=(samples, rows, columns))
    drives = vectors.T @ (weights @ np.swapaxes(gradients, 1, 2) + gradients @ weights.T) @ vectors
    drift, diffusion = projected_moments(drives)
    levels = descending_levels(weights)
    assert np.abs((drift.value - np.diag(0.4 * levels)) / drift.error).max() < 4
    assert np.abs((diffusion.value - dyson.wishart_diffusion(levels, noise)) / diffusion.error).max() < 4
    np.testing.assert_allclose(drift.error, np.sqrt(diffusion.value / samples), rtol=0.25)
    np.testing.assert_allclose(diffusion.value, drives.var(axis=0, ddof=1))


def test_both_roads_agree_for_sgd_on_a_pool_of_samples():
    """Projected gradients of a finite pool predict the drift and diffusion of replicas that draw batches from it."""
    rng = np.random.default_rng(5)
    pool, batch_size, rate = 60, 4, 1e-3
    weights = np.linalg.qr(rng.normal(size=(6, 3)))[0].T * np.array([[3.0], [2.0], [1.0]])
    gradients = rng.normal(size=(pool, 3, 6)) + 0.3 * weights
    batches = rng.integers(pool, size=(20000, batch_size))
    increments = descending_levels(weights + rate * gradients[batches].mean(axis=1)) - descending_levels(weights)
    measured = kramers_moyal(increments, flow_time=rate)
    vectors = np.linalg.eigh(weights @ weights.T)[1][:, ::-1]
    drift, diffusion = dyson.eigenbasis_moments(weights @ np.swapaxes(gradients, 1, 2) + gradients @ weights.T, vectors)
    temperature = rate / batch_size
    np.testing.assert_allclose(2 * measured.diffusion.value, temperature * np.diag(diffusion), rtol=0.06)
    predicted = dyson.eigenvalue_drift(
        descending_levels(weights),
        np.diag(drift),
        diffusion=diffusion,
        gradient_variance=(vectors.T @ gradients).var(axis=0).sum(axis=-1),
        temperature=temperature,
    )
    assert np.all(np.abs(measured.drift.value - predicted) < 4 * measured.drift.error)
    validity = step_size(
        descending_levels(weights),
        np.diag(drift),
        diffusion=np.diag(diffusion),
        learning_rate=rate,
        batch_size=batch_size,
    )
    assert validity.usable
    assert validity.violating == 0


def test_errors_of_drift_and_diffusion_cover():
    rng = np.random.default_rng(6)
    increments = 0.3 * 0.1 + np.sqrt(2 * 0.5 * 0.1) * rng.normal(size=(25, 400, 3))
    measured = kramers_moyal(increments, flow_time=0.1, confidence=0.9)
    for estimate, truth in ((measured.drift, 0.3), (measured.diffusion, 0.5)):
        assert ((estimate.low <= truth) & (truth <= estimate.high)).mean() == pytest.approx(0.9, abs=0.035)
    assert measured.diffusion.value.std() == pytest.approx(measured.diffusion.error.mean(), rel=0.1)


def test_drift_errors_agree_with_the_bootstrap():
    rng = np.random.default_rng(7)
    increments = rng.normal(size=(300, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    measured = kramers_moyal(increments, flow_time=2.0)
    resampled = bootstrap(lambda s: kramers_moyal(s, flow_time=2.0).drift.value, increments, resamples=400)
    np.testing.assert_allclose(resampled.error, measured.drift.error, rtol=0.12)
    np.testing.assert_allclose(np.sqrt(np.diag(measured.covariance)), measured.drift.error)
    assert measured.covariance[0, 1] / np.prod(measured.drift.error) == pytest.approx(0.8, abs=0.1)


def test_one_replica_is_refused():
    with pytest.raises(ValueError, match="two replicas"):
        kramers_moyal(np.ones((1, 3)), flow_time=1.0)


def test_orthogonal_form_gives_the_dyson_index():
    """Dyson Brownian motion of symmetric matrices: the drift over the D2 form of the Coulomb term is β = 1."""
    rng = np.random.default_rng(8)
    start, time = np.array([4.0, 2.5, 1.0, 0.0]), 1e-3
    noise = rng.normal(size=(40000, 4, 4))
    matrices = np.diag(start) + np.sqrt(time / 2) * (noise + np.swapaxes(noise, 1, 2))
    measured = kramers_moyal(np.linalg.eigvalsh(matrices)[:, ::-1] - start, flow_time=time)
    term = orthogonal_coulomb_term(start, measured.diffusion.value)
    estimate = regress_drift(measured.drift.value, {"index": term}, error=measured.drift.error).coefficients["index"]
    assert estimate.error < 0.3
    assert abs(estimate.value - 1) < 3.5 * estimate.error


@given(st.integers(0, 10**6))
def test_regression_is_exact_without_noise(seed):
    rng = np.random.default_rng(seed)
    terms = {name: rng.normal(size=(3, 4)) for name in ("drift", "coulomb", "ito")}
    target = 1.5 * terms["drift"] - 0.2 * terms["coulomb"] + 40 * terms["ito"]
    root = rng.normal(size=(3, 4, 4)) / 4 + np.eye(4)
    for how in ({"error": rng.uniform(0.1, 1, (3, 4))}, {"covariance": root @ np.swapaxes(root, 1, 2)}):
        fit = regress_drift(target, terms, **how)
        found = [fit.coefficients[name].value for name in terms]
        np.testing.assert_allclose(found, [1.5, -0.2, 40], rtol=1e-6)
        assert fit.degrees == 9


def test_regression_coefficients_cover():
    rng = np.random.default_rng(9)
    terms = {"one": rng.normal(size=20), "two": rng.normal(size=20) * 100}
    error = rng.uniform(0.5, 2, size=20)
    covered = []
    for _ in range(400):
        fit = regress_drift(terms["one"] + terms["two"] + error * rng.normal(size=20), terms, error=error)
        covered.append([c.low <= 1 <= c.high for c in fit.coefficients.values()])
    np.testing.assert_allclose(np.mean(covered, axis=0), 0.95, atol=0.03)


def test_terms_that_cannot_be_told_apart_have_no_error():
    fit = regress_drift(np.ones(5), {"a": np.ones(5), "b": 2 * np.ones(5)}, error=np.ones(5))
    assert np.isnan(fit.coefficients["a"].error)
    assert fit.condition > 1e10


def test_regression_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="either"):
        regress_drift(np.ones(3), {"a": np.ones(3)})
    with pytest.raises(ValueError, match="cannot fix 2"):
        regress_drift(np.ones(1), {"a": np.ones(1), "b": np.ones(1)}, error=np.ones(1))


def test_windows_tile_a_trajectory():
    levels = np.arange(22.0).reshape(11, 2) ** 2
    starts, increments = window_increments(levels, 5)
    np.testing.assert_array_equal(starts, levels[[0, 5]])
    np.testing.assert_array_equal(increments, levels[[5, 10]] - levels[[0, 5]])
    with pytest.raises(ValueError, match="does not fit"):
        window_increments(levels, 11)


def test_windows_of_a_stationary_level():
    """Windows of one long relaxing trajectory give the noise strength and the restoring drift."""
    rng = np.random.default_rng(10)
    path = np.zeros(200001)
    noise = np.sqrt(2 * 0.5 * 1e-3) * rng.normal(size=200000)
    for step in range(200000):
        path[step + 1] = path[step] * (1 - 1e-3) + noise[step]
    starts, increments = window_increments(path[:, None], 20)
    high = starts[:, 0] > 0.5
    measured = kramers_moyal(increments[high], flow_time=0.02)
    assert measured.diffusion.value[0] == pytest.approx(0.5, rel=0.1)
    assert abs(measured.drift.value[0] + starts[high].mean()) < 4 * measured.drift.error[0]


@given(st.floats(0.01, 10), st.floats(1e-4, 0.1))
def test_window_is_the_longest_that_stays_within_the_gap(speed, rate):
    levels = np.array([3.0, 2.0, 0.5])
    steps = window_steps(levels, [speed, -speed / 3, 0.0], learning_rate=rate)
    if steps:
        assert speed * rate * steps <= 0.3 * 1.0 * (1 + 1e-12)
        assert speed * rate * (steps + 1) > 0.3 * (1 - 1e-12)
    else:
        assert speed * rate * 5 > 0.3 * (1 - 1e-12)


def test_window_of_levels_at_rest_is_unbounded():
    assert window_steps([2.0, 1.0], [0.0, 0.0], learning_rate=0.1) > 10**15


def test_step_size_by_hand():
    levels, drift, diffusion = np.array([4.0, 1.0, 0.5]), np.array([1.0, -2.0, 0.0]), np.array([16.0, 4.0, 0.0])
    result = step_size(levels, drift, diffusion=diffusion, learning_rate=0.1, batch_size=4)
    np.testing.assert_allclose(result.ratio, [0.2 / 3, 0.4, 0.0])
    assert result.violating == pytest.approx(1 / 3)
    assert not result.usable
    batch = step_size(
        np.stack([levels, levels]), drift, diffusion=diffusion, learning_rate=[0.1, 0.01], batch_size=[4, 1]
    )
    np.testing.assert_array_equal(batch.usable, [False, True])


def test_coinciding_levels_violate_any_step():
    result = step_size([1.0, 1.0, 0.0], [1e-9, 0.0, 0.0], diffusion=np.zeros(3), learning_rate=1.0, batch_size=1)
    np.testing.assert_array_equal(result.ratio, [np.inf, 0, 0])


def test_rounding_floor():
    assert rounding_floor([2.0], learning_rate=0.5, steps=10)[0] == pytest.approx(2 * 2.2e-16 / 5, rel=0.02)
    assert rounding_floor([2.0], learning_rate=0.5, dtype=np.float32) > 1e-7
