import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_modes import CURVATURE, NOISE, RATES
from sgdphases.theory import momentum_sgd, structured_noise

STEEP = np.array([1, 0.3, 0.05])


def test_oracle_o11_noise_that_does_not_commute():
    noise = np.array([[0.5, 0.1], [0.1, 0.2]]) / 16
    own = structured_noise.correlated_covariance([2, 0.3], noise, **RATES)
    assert own[0, 0, 0, 0] == pytest.approx(0.0040118243243, abs=6e-14)
    assert own[1, 1, 0, 0] == pytest.approx(0.0104579480405, abs=6e-14)
    expected = [[0.0003423176708, 0.0031168924762], [-0.0027025079274, 0.0082876909772]]
    np.testing.assert_allclose(own[0, 1], expected, atol=6e-14)
    np.testing.assert_allclose(own[1, 0], own[0, 1].T, rtol=1e-12)


def test_commuting_noise_is_that_of_single_modes():
    own = structured_noise.correlated_covariance(CURVATURE, np.diag(NOISE), **RATES)
    single = momentum_sgd.stationary_covariance(CURVATURE, NOISE, **RATES)
    for i in range(3):
        for j in range(3):
            np.testing.assert_allclose(own[i, j], single[i] if i == j else 0, rtol=1e-10, atol=1e-17)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_covariance_of_all_modes_is_stationary(seed):
    rng = np.random.default_rng(seed)
    curvature, root = rng.uniform(0.1, 5, size=4), rng.normal(size=(4, 4))
    own = structured_noise.correlated_covariance(curvature, root @ root.T, **RATES)
    whole = own.transpose(0, 2, 1, 3).reshape(8, 8)
    step, direction = np.zeros((8, 8)), np.zeros((8, 4))
    for i, h in enumerate(curvature):
        step[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[1 - 0.05 * h, 0.05 * 0.9], [-h, 0.9]]
        direction[2 * i : 2 * i + 2, i] = [0.05, 1]
    again = step @ whole @ step.T + direction @ root @ root.T @ direction.T
    np.testing.assert_allclose(again, whole, rtol=1e-8, atol=1e-9 * np.abs(whole).max())
    assert np.linalg.eigvalsh(whole)[0] > -1e-9


def test_oracle_o8_multiplicative_noise():
    own = structured_noise.multiplicative_position_variance(STEEP, 0.25, batch_size=8, **RATES)
    np.testing.assert_allclose(own, [0.0085497815955, 0.0082804185814, 0.0081882850194], atol=6e-14)
    additive = momentum_sgd.position_variance(STEEP, 0.25 * STEEP / 8, **RATES)
    np.testing.assert_allclose(additive, [0.0079166666667, 0.0078434610304, 0.0078176431863], atol=6e-14)
    own = structured_noise.multiplicative_position_variance(STEEP, 0.25, batch_size=1, learning_rate=0.02)
    np.testing.assert_allclose(own, [0.0025865143447, 0.0025500845652, 0.0025373213792], atol=6e-14)


def test_multiplicative_noise_is_the_fixed_point_of_its_iteration():
    words = {"learning_rate": 0.1, "momentum": 0.5}
    position = np.zeros(3)
    for _ in range(500):
        noise = (STEEP**2 * position + (STEEP @ position) * STEEP + 0.4 * STEEP) / 2
        position = momentum_sgd.position_variance(STEEP, noise, **words)
    own = structured_noise.multiplicative_position_variance(STEEP, 0.4, batch_size=2, **words)
    np.testing.assert_allclose(own, position, rtol=1e-12)
    sizes = structured_noise.multiplicative_position_variance(STEEP, [0.4, 0.8], batch_size=[2, 1000], **words)
    np.testing.assert_allclose(sizes[0], own, rtol=1e-15)
    np.testing.assert_allclose(sizes[1], momentum_sgd.position_variance(STEEP, 0.8 * STEEP / 1000, **words), rtol=2e-3)


def test_multiplicative_noise_in_online_regression():
    rng = np.random.default_rng(5)
    curvature, runs, rates = np.array([1.0, 0.5]), 40000, {"learning_rate": 0.15, "momentum": 0.5}
    x, v = np.zeros((2, runs, 2))
    for _ in range(120):
        inputs = np.sqrt(curvature) * rng.normal(size=(runs, 2))
        error = (inputs * x).sum(axis=1) - 0.5 * rng.normal(size=runs)
        v = 0.5 * v - error[:, None] * inputs
        x = x + 0.15 * v
    own = structured_noise.multiplicative_position_variance(curvature, 0.25, batch_size=1, **rates)
    additive = momentum_sgd.position_variance(curvature, 0.25 * curvature, **rates)
    squares = x**2
    errors = 4 * squares.std(axis=0) / np.sqrt(runs)
    assert (np.abs(squares.mean(axis=0) - own) < errors).all()
    assert (own - additive > 4 * errors).all()


def test_no_stationary_state():
    for bad in (0.0, 1.01 * momentum_sgd.stability_bound(**RATES)):
        with pytest.raises(ValueError, match="less than stability_bound"):
            structured_noise.correlated_covariance([1.0, bad], np.eye(2), **RATES)
    with pytest.raises(ValueError, match="noise of a mode feeds itself"):
        structured_noise.multiplicative_position_variance([1.0], 0.1, batch_size=1, learning_rate=1.5)
    with pytest.raises(ValueError, match="noise of all modes feeds itself"):
        structured_noise.multiplicative_position_variance(np.ones(50), 0.1, batch_size=1, learning_rate=0.1)
