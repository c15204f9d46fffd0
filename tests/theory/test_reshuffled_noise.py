import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_modes import RATES, modes
from sgdphases.theory import momentum_sgd, reshuffled_noise

PERIOD = {"steps_per_epoch": 56}
EPOCHS = 56 * np.array([1, 2, 10, 400])


def position(curvature, momentum, steps=EPOCHS):
    words = {"learning_rate": 0.05, "momentum": momentum, **PERIOD}
    return reshuffled_noise.reshuffled_covariance(steps, curvature, 1.0, **words)[:, 0, 0]


def whole_covariance(curvature, rates, noise_covariance):
    """Of the state after len(noise_covariance) steps, by summing every pair of noises."""
    count = len(noise_covariance)
    steps = momentum_sgd.propagator(np.arange(count)[::-1], curvature, **rates) @ [rates["learning_rate"], 1]
    return steps.T @ noise_covariance @ steps


def epoch_noise(epochs, period, *, fixed=False):
    """Covariance of all noises of some epochs."""
    bridge = period / (period - 1) * (np.eye(period) - 1 / period)
    return np.kron(np.ones((epochs, epochs)) if fixed else np.eye(epochs), bridge)


def test_oracle_o9_without_momentum_a_flat_mode_returns():
    np.testing.assert_allclose(position(0, 0.0), 0, atol=1e-12)
    own = position(0, 0.0, np.array([14, 28, 56 + 14, 5600 + 28]))
    np.testing.assert_allclose(own, [0.0267272727, 0.0356363636, 0.0267272727, 0.0356363636], atol=6e-11)
    steps = np.arange(57)
    bridge = 0.05**2 * steps * (1 - steps / 56) * 56 / 55
    words = {"learning_rate": 0.05, **PERIOD}
    inside = reshuffled_noise.epoch_covariance(steps, 0, 1.0, **words)[:, 0, 0]
    np.testing.assert_allclose(inside, bridge, atol=1e-15)


def test_oracle_o9_with_momentum():
    np.testing.assert_allclose(position(0, 0.9), [0.71899159, 0.71899698, 0.71899698, 0.71899698], atol=6e-9)
    assert pytest.approx(14) == 0.05**2 * 56 / (1 - 0.9) ** 2
    np.testing.assert_allclose(position(0.0244, 0.9), [0.35719895, 0.48525179, 0.5197903, 0.51979041], atol=6e-9)
    assert position(0.2154, 0.9)[-1] == pytest.approx(0.79345907, abs=6e-9)
    assert position(2, 0.9)[-1] == pytest.approx(0.12647624, abs=6e-9)
    assert momentum_sgd.position_variance(0.0244, 1.0, **RATES) == pytest.approx(10.249192, abs=6e-7)
    ratio = reshuffled_noise.replacement_ratio(np.array([0.0244, 0.2154, 2]), **RATES, **PERIOD)
    assert (np.abs(ratio - [0.0507, 0.682, 0.985]) < [6e-5, 6e-4, 6e-4]).all()


def test_crossover():
    own = reshuffled_noise.crossover_curvature(steps_per_epoch=5005, learning_rate=[1e-4, 1e-3], momentum=0.9)
    np.testing.assert_allclose(own, [0.20, 0.020], rtol=2e-3)
    cifar = reshuffled_noise.crossover_curvature(steps_per_epoch=50000 / 256, learning_rate=1e-4, momentum=0.9)
    assert cifar == pytest.approx(5.1, abs=0.03)
    crossover = reshuffled_noise.crossover_curvature(**RATES, **PERIOD)
    ratio = reshuffled_noise.replacement_ratio(crossover * np.array([0.01, 1, 100]), **RATES, **PERIOD)
    assert ratio[0] < 0.02
    assert 0.05 < ratio[1] < 0.6
    assert 0.95 < ratio[2] < 1.01


def test_noise_of_a_batch_by_drawing():
    rng = np.random.default_rng(6)
    gradients = rng.normal(size=12)
    orders = rng.permuted(np.tile(gradients, (40000, 1)), axis=1).reshape(-1, 4, 3).mean(axis=2)
    own = reshuffled_noise.batch_noise(gradients.var(), batch_size=3, samples=12)
    covariance = np.cov(orders.T)
    np.testing.assert_allclose(covariance, own * epoch_noise(1, 4), atol=4 * own * np.sqrt(2 / 40000))
    assert reshuffled_noise.batch_noise(1.0, batch_size=12, samples=12) == 0


def test_autocorrelation():
    lags = np.arange(12)
    own = reshuffled_noise.noise_autocorrelation(lags, steps_per_epoch=8)
    noise = epoch_noise(60, 8)
    means = [np.mean([noise[i, i + j] for i in range(400)]) for j in lags]
    np.testing.assert_allclose(own, means, rtol=1e-12, atol=1e-15)
    assert own[0] + 2 * own[1:].sum() == pytest.approx(0, abs=1e-14)


@settings(max_examples=40, deadline=None)
@given(modes(), st.integers(2, 9), st.integers(0, 30))
def test_against_the_sum_over_all_pairs_of_noises(mode, period, steps):
    curvature, noise, rates = mode
    epochs = steps // period + 1
    for fixed, law in (
        (False, reshuffled_noise.reshuffled_covariance),
        (True, reshuffled_noise.fixed_order_covariance),
    ):
        covariance = noise * epoch_noise(epochs, period, fixed=fixed)[:steps, :steps]
        expected = whole_covariance(curvature, rates, covariance)
        scale = momentum_sgd.covariance(steps + 1, curvature, noise, **rates).max() * epochs
        own = law(steps, curvature, noise, steps_per_epoch=period, **rates)
        np.testing.assert_allclose(own / scale, expected / scale, atol=1e-10)


def test_by_simulation_of_both_samplers():
    rng = np.random.default_rng(7)
    runs, period, rates = 20000, 6, {"learning_rate": 0.2, "momentum": 0.6}
    gradients = rng.normal(size=period)
    gradients -= gradients.mean()
    noise = gradients.var()
    for fixed, law in (
        (False, reshuffled_noise.reshuffled_covariance),
        (True, reshuffled_noise.fixed_order_covariance),
    ):
        x, v = np.zeros((2, runs))
        order = rng.permuted(np.tile(gradients, (runs, 1)), axis=1)
        for step in range(3 * period + 2):
            if step % period == 0 and not fixed:
                order = rng.permuted(order, axis=1)
            v = 0.6 * v - 0.4 * x - order[:, step % period]
            x = x + 0.2 * v
        own = law(3 * period + 2, 0.4, noise, steps_per_epoch=period, **rates)
        scale = np.sqrt(np.outer(np.diag(own), np.diag(own)))
        np.testing.assert_allclose(np.cov(x, v) / scale, own / scale, atol=4 * np.sqrt(2 / runs))


@settings(max_examples=40, deadline=None)
@given(modes(), st.integers(2, 60), st.floats(0, 1))
def test_stationary_state_is_where_epochs_lead(mode, period, share):
    curvature, noise, rates = mode
    phase = int(share * period)
    words = {"steps_per_epoch": period, **rates}
    late = reshuffled_noise.reshuffled_covariance(2**30 * period + phase, curvature, noise, **words)
    own = reshuffled_noise.stationary_covariance(curvature, noise, phase=phase, **words)
    scale = momentum_sgd.stationary_covariance(curvature, noise, **rates)
    scale = np.sqrt(np.outer(np.diag(scale), np.diag(scale)))
    np.testing.assert_allclose(own / scale, late / scale, atol=1e-8)
    assert reshuffled_noise.replacement_ratio(curvature, **words) > -1e-9


def test_long_epochs_are_independent_noise():
    own = reshuffled_noise.replacement_ratio(2.0, steps_per_epoch=10**6, phase=10**5, **RATES)
    assert own == pytest.approx(1, abs=1e-4)


def test_arrays_are_broadcast():
    own = reshuffled_noise.stationary_covariance(
        np.array([0.1, 1]), np.array([[1], [2], [3]]), steps_per_epoch=[8, 56], phase=np.array([[1], [2], [8]]), **RATES
    )
    assert own.shape == (3, 2, 2, 2)
    single = reshuffled_noise.stationary_covariance(1.0, 3.0, steps_per_epoch=56, phase=8, **RATES)
    np.testing.assert_allclose(own[2, 1], single, rtol=1e-12)
    fixed = reshuffled_noise.fixed_order_covariance(
        [3, 9], 1.0, 1.0, steps_per_epoch=8, learning_rate=[0.05, 0.1], momentum=0.9
    )
    assert fixed.shape == (2, 2, 2)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="must not exceed"):
        reshuffled_noise.epoch_covariance(9, 1.0, 1.0, steps_per_epoch=8, **RATES)
    with pytest.raises(ValueError, match="steps_per_epoch must be whole numbers of at least 2"):
        reshuffled_noise.epoch_covariance(1, 1.0, 1.0, steps_per_epoch=1, **RATES)
    with pytest.raises(ValueError, match="less than stability_bound"):
        reshuffled_noise.stationary_covariance(0.0, 1.0, **RATES, **PERIOD)
