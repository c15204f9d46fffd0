import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.theory import weight_growth

SAMPLES = 60000
BASE = {"learning_rate": 0.02, "batch_size": 32, "momentum": 0.5}

# Growth of J² per epoch as the authors recorded it.
RATES = np.array([0.0005, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02, 0.05, 0.1])
BY_RATE = np.array([0.000170, 0.000338, 0.000681, 0.00103, 0.00172, 0.00242, 0.00342, 0.00688, 0.0171, 0.0345])
MOMENTA = np.array([0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95])
BY_MOMENTUM = np.array([0.00342, 0.00493, 0.00701, 0.00863, 0.0117, 0.0173, 0.0231, 0.0350, 0.0523, 0.0765])
SIZES = np.array([4, 8, 16, 24, 32, 64, 128, 192, 256, 512])
BY_SIZE = np.array([0.0280, 0.0138, 0.00693, 0.00461, 0.00342, 0.00172, 0.000856, 0.000573, 0.000425, 0.000212])

strengths = st.just(0.0) | st.floats(1e-6, 1e-3)


def test_growth_law_gives_the_recorded_slopes():
    np.testing.assert_allclose(weight_growth.growth_per_epoch(RATES, 32), BY_RATE, rtol=0.025)
    np.testing.assert_allclose(weight_growth.growth_per_epoch(0.01, SIZES), BY_SIZE, rtol=0.025)
    by_momentum = weight_growth.growth_per_epoch(0.01, 32, momentum=MOMENTA)
    np.testing.assert_allclose(by_momentum[:8], BY_MOMENTUM[:8], rtol=0.025)
    # The two largest momenta grow faster than the law.
    np.testing.assert_allclose(BY_MOMENTUM[8:] / by_momentum[8:], 1.08, atol=0.035)


def test_growth_constant_of_the_recorded_slopes():
    constants = np.concatenate([BY_RATE * 32 / RATES, BY_MOMENTUM * 32 * (1 - MOMENTA) / 0.01, BY_SIZE * SIZES / 0.01])
    assert np.median(constants) == pytest.approx(weight_growth.GROWTH_CONSTANT, abs=0.03)
    assert constants.mean() == pytest.approx(11.08, abs=0.01)
    assert constants.std(ddof=1) == pytest.approx(0.27, abs=0.01)


def test_recorded_exponents():
    for values, slopes, exponent, tolerance in (
        (RATES, BY_RATE, 1.003, 1e-3),
        (1 / SIZES, BY_SIZE, 1.005, 1e-3),
        (1 / (1 - MOMENTA[:8]), BY_MOMENTUM[:8], 1.006, 2e-3),
        (1 / (1 - MOMENTA), BY_MOMENTUM, 1.027, 2e-3),
    ):
        assert np.polyfit(np.log(values), np.log(slopes), 1)[0] == pytest.approx(exponent, abs=tolerance)


def test_base_run():
    assert weight_growth.growth_per_epoch(0.02, 32, momentum=0.5) == pytest.approx(0.01375)
    # 54.4 epochs with k = 11.02.
    epochs = weight_growth.edge_epoch(**BASE, growth_constant=11.02)
    assert epochs == pytest.approx(54.4, abs=0.06)
    assert weight_growth.epoch_time(epochs, **BASE) == pytest.approx(0.068, abs=6e-4)
    assert weight_growth.edge_epoch(**BASE) == pytest.approx(54.4, abs=0.2)


def test_edge_epoch_from_other_starts():
    assert weight_growth.edge_epoch(**BASE, initial_squared_coupling=1.2) == 0
    once = weight_growth.edge_epoch(**BASE, critical_coupling=1.3, initial_squared_coupling=0.09)
    time = weight_growth.flow_time(once * SAMPLES / 32, learning_rate=0.02, momentum=0.5)
    square = weight_growth.squared_coupling(time, samples=SAMPLES, initial_squared_coupling=0.09)
    assert square == pytest.approx(1.69)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-4, 0.1), st.integers(1, 512), st.floats(0, 0.95), st.floats(0.1, 500))
def test_flow_time_is_epoch_time_times_samples(rate, size, momentum, epoch):
    words = {"learning_rate": rate, "momentum": momentum}
    flow = weight_growth.flow_time(epoch * SAMPLES / size, **words)
    time = weight_growth.epoch_time(epoch, batch_size=size, **words)
    assert flow == pytest.approx(SAMPLES * time)
    grown = weight_growth.squared_coupling(flow, samples=SAMPLES) - 0.25
    assert grown == pytest.approx(epoch * weight_growth.growth_per_epoch(rate, size, momentum=momentum))


@settings(max_examples=50, deadline=None)
@given(strengths, st.floats(0.01, 2), st.floats(1, 20000))
def test_solution_of_the_rate_equation(strength, start, time):
    words = {"samples": SAMPLES, "l2_strength": strength}
    step = 1e-3
    before, now, after = (
        weight_growth.squared_coupling(time + shift, initial_squared_coupling=start, **words)
        for shift in (-step, 0, step)
    )
    rate = weight_growth.squared_coupling_rate(now, **words)
    assert (after - before) / (2 * step) == pytest.approx(rate, abs=1e-11)
    assert weight_growth.squared_coupling(0, initial_squared_coupling=start, **words) == pytest.approx(start)


def test_decay_switches_on_smoothly():
    time = np.linspace(0, 1e4, 9)
    almost = weight_growth.squared_coupling(time, samples=SAMPLES, l2_strength=1e-13)
    np.testing.assert_allclose(almost, weight_growth.squared_coupling(time, samples=SAMPLES), rtol=1e-8)


def test_stationary_law_and_guideline():
    strength = weight_growth.stationary_l2_strength(SAMPLES)
    assert strength == pytest.approx(4.58e-5, abs=1e-7)
    assert strength == pytest.approx(4.6e-5, rel=0.03)
    assert weight_growth.stationary_squared_coupling(strength, samples=SAMPLES) == pytest.approx(1)
    naive = weight_growth.stationary_squared_coupling([0, 4.6e-5, 9e-5, 5e-4], samples=SAMPLES)
    np.testing.assert_allclose(naive, [np.inf, 1.00, 0.51, 0.092], atol=0.005)
    far = weight_growth.squared_coupling(1e8, samples=SAMPLES, l2_strength=9e-5)
    assert far == pytest.approx(naive[2], rel=0.01)
    assert weight_growth.squared_coupling_rate(far, samples=SAMPLES, l2_strength=9e-5) == pytest.approx(0, abs=1e-12)
    # What was measured needs the larger constant, and gives twice the strength.
    constant = weight_growth.STATIONARY_GROWTH_CONSTANT
    assert weight_growth.stationary_l2_strength(SAMPLES, growth_constant=constant) / strength == pytest.approx(
        2, abs=0.4
    )
    measured = weight_growth.stationary_squared_coupling(5e-4, samples=SAMPLES, growth_constant=constant)
    assert measured == pytest.approx(0.157, rel=0.1)


def test_relaxation():
    epochs = weight_growth.relaxation_epochs([9e-5, 5e-4, 0], samples=SAMPLES, **BASE)
    np.testing.assert_allclose(epochs, [37, 6.7, np.inf], rtol=0.01)
    start, end = (weight_growth.squared_coupling(part, samples=SAMPLES, l2_strength=9e-5) for part in (0, 1e9))
    time = epochs[0] * SAMPLES * weight_growth.epoch_time(1, **BASE)
    now = weight_growth.squared_coupling(time, samples=SAMPLES, l2_strength=9e-5)
    assert (now - end) / (start - end) == pytest.approx(np.exp(-1))


@pytest.mark.parametrize(
    ("rate", "strength", "factor"), [(0.02, 9e-5, 0.973361), (0.02, 5e-4, 0.860700), (0.05, 9e-5, 0.934726)]
)
def test_decay_of_an_epoch(rate, strength, factor):
    words = {"learning_rate": rate, "momentum": 0.5, "batch_size": 32, "samples": SAMPLES}
    assert weight_growth.decay_per_epoch(strength, **words) == pytest.approx(factor, abs=6e-7)
    assert weight_growth.approximate_decay_per_epoch(strength, **words) == pytest.approx(factor, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 0.3), st.floats(0, 0.99), st.floats(1e-3, 1))
def test_decay_of_a_step_is_the_largest_eigenvalue(strength, momentum, rate):
    step = 2 * rate * strength
    eigenvalues = np.linalg.eigvals([[1 - step, momentum], [-step, momentum]])
    factor = weight_growth.decay_per_step(strength, learning_rate=rate, momentum=momentum)
    assert factor == pytest.approx(np.abs(eigenvalues).max(), abs=1e-7)
    assert weight_growth.decay_per_step(strength, learning_rate=rate) == pytest.approx(1 - step)


def test_heavy_ball_by_hand():
    """v ← αv − η(g + 2λw), w ← w + v: the velocity under a constant gradient, and the decay of w alone."""
    rate, momentum, strength, gradient = 0.02, 0.5, 5e-4, 3.0
    velocity = 0.0
    for _ in range(60):
        velocity = momentum * velocity - rate * gradient
    assert -velocity == pytest.approx(gradient * weight_growth.effective_learning_rate(rate, momentum))
    weight, velocity, weights = 1.0, 0.0, []
    for _ in range(400):
        velocity = momentum * velocity - rate * weight_growth.l2_strength(2 * strength) * 2 * weight
        weight += velocity
        weights.append(weight)
    factor = weight_growth.decay_per_step(strength, learning_rate=rate, momentum=momentum)
    assert (weights[-1] / weights[-101]) ** 0.01 == pytest.approx(factor, rel=1e-12)


def test_penalty_and_coefficient():
    np.testing.assert_array_equal(weight_growth.l2_strength([0, 1.8e-4]), [0, 9e-5])


def test_laws_take_arrays():
    square = weight_growth.squared_coupling(
        np.linspace(0, 100, 4)[:, None], samples=SAMPLES, l2_strength=np.array([0, 1e-5, 1e-3])
    )
    assert square.shape == (4, 3)
    assert np.all(np.diff(square, axis=1)[1:] < 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weight_growth.growth_per_epoch(0.1, 32, momentum=1), "momentum must be at least 0 and less than 1"),
        (lambda: weight_growth.growth_per_epoch(-0.1, 32), "learning_rate must be at least 0"),
        (lambda: weight_growth.growth_per_epoch(0.1, 0), "batch_size must be greater than 0"),
        (lambda: weight_growth.squared_coupling(1, samples=0), "samples must be greater than 0"),
        (lambda: weight_growth.stationary_squared_coupling(-1, samples=1), "l2_strength must be at least 0"),
        (lambda: weight_growth.decay_per_step(0.1, learning_rate=0.1, momentum=-0.5), "momentum must be at least 0"),
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
