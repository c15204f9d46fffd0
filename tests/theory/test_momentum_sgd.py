import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_discrete_lyapunov

from made_modes import CURVATURE, NOISE, RATES, modes
from sgdphases.theory import langevin, momentum_sgd
from sgdphases.theory import published_diffusion as paper

RESNET = {"learning_rate": 1e-4, "momentum": 0.9}


def step_matrix(curvature, rates):
    rate, momentum = rates["learning_rate"], rates["momentum"]
    return np.array([[1 - rate * curvature, rate * momentum], [-curvature, momentum]])


def kick(noise, rates):
    direction = np.array([rates["learning_rate"], 1])
    return noise * np.outer(direction, direction)


def test_oracle_o1_stationary_state():
    own = momentum_sgd.stationary_covariance(CURVATURE, NOISE, **RATES)
    np.testing.assert_allclose(own[:, 0, 0], [0.00224714670085, 0.00195983226806, 0.00162889013256], rtol=3e-12)
    np.testing.assert_allclose(own[:, 0, 1], [0.0118389149871, 0.00104180557408, 5.14386357651e-05], rtol=5e-12)
    np.testing.assert_allclose(own[:, 1, 1], [0.473556599485, 0.0416722229631, 0.0020575454306], rtol=3e-11)
    ratio = own[:, 0, 0] / langevin.position_variance(CURVATURE, NOISE, **RATES)
    np.testing.assert_allclose(ratio, [1.15168964995, 1.01346846246, 1.00079009745], rtol=5e-12)
    np.testing.assert_allclose(ratio, own[:, 1, 1] / langevin.velocity_variance(NOISE, momentum=0.9), rtol=1e-13)
    np.testing.assert_allclose(ratio, 1 / (1 - CURVATURE / momentum_sgd.stability_bound(**RATES)), rtol=1e-13)
    for mode, curvature, noise in zip(own, CURVATURE, NOISE, strict=True):
        solved = solve_discrete_lyapunov(step_matrix(curvature, RATES), kick(noise, RATES))
        np.testing.assert_allclose(mode, solved, rtol=1e-9)


def test_oracle_o1_roots_and_rotation():
    np.testing.assert_allclose(momentum_sgd.decay_per_step(CURVATURE, **RATES), [np.sqrt(0.9)] * 3, rtol=1e-14)
    phase = momentum_sgd.phase_per_step(CURVATURE, **RATES)
    np.testing.assert_allclose(phase, [0.7412853333, 0.2250986685, 0.0196580433], atol=6e-11)
    lower, upper = momentum_sgd.underdamped_bounds(**RATES)
    assert 0.05 * lower == pytest.approx(0.0026334039, abs=6e-11)
    # The third mode is just underdamped.
    assert langevin.critical_curvature(**RATES) < lower < CURVATURE[2] < 1.2 * lower
    assert momentum_sgd.phase_per_step(0.999 * lower, **RATES) == 0
    assert momentum_sgd.phase_per_step(1.001 * lower, **RATES) > 0
    assert momentum_sgd.phase_per_step(1.001 * upper, **RATES) == pytest.approx(np.pi)
    rotation = momentum_sgd.rotation_per_step(CURVATURE, **RATES)
    np.testing.assert_allclose(rotation, [-1.1974527213087525, -0.4322422833, -0.1066864898], atol=6e-11)
    assert rotation[0] == pytest.approx(-1.1974527213087525, rel=1e-14)


def test_oracle_o3_transient():
    start, mode = [1, 0], (CURVATURE[1], NOISE[1])
    means = [
        (1, [0.9495, -1.01], 1e-14),
        (5, [0.41204691507, -3.30784338240], 6e-12),
        (10, [-0.31772452089, -2.18971542328], 6e-12),
        (40, [-0.10516384826, -0.23689927863], 6e-12),
    ]
    for step, mean, error in means:
        own = momentum_sgd.expected_state(step, start, mode[0], **RATES)
        np.testing.assert_allclose(own, mean, rtol=0, atol=error)
    covariances = {
        1: (1.953125e-5, 3.90625e-4, 7.8125e-3),
        5: (5.954086164593e-4, 2.578657033120e-3, 1.934760470526e-2),
        40: (1.935827881977e-3, 1.034153764259e-3, 4.093634230849e-2),
    }
    own = momentum_sgd.covariance(list(covariances), *mode, **RATES)
    expected = [[[position, cross], [cross, velocity]] for position, cross, velocity in covariances.values()]
    np.testing.assert_allclose(own, expected, rtol=5e-13)


def test_oracle_o7_error_of_the_regressed_curvature():
    assert momentum_sgd.curvature_error(25000, 52.8, **RESNET) == pytest.approx(0.0389, abs=6e-5)
    np.testing.assert_allclose(
        momentum_sgd.curvature_error(25025, np.array([52.8, 8.73]), **RESNET), [0.039, 0.096], atol=6e-4
    )


def test_oracle_o7_by_simulation():
    rng = np.random.default_rng(1)
    runs, steps, curvature, rates = 2000, 4000, 52.8, RESNET
    cholesky = np.linalg.cholesky(momentum_sgd.stationary_covariance(curvature, 1.0, **rates))
    x, v = cholesky @ rng.normal(size=(2, runs))
    sums = np.zeros((4, runs))
    for _ in range(steps):
        gradient = curvature * x + rng.normal(size=runs)
        sums += x, gradient, x * x, x * gradient
        v = 0.9 * v - gradient
        x = x + 1e-4 * v
    x_mean, gradient_mean, square, product = sums / steps
    slopes = (product - x_mean * gradient_mean) / (square - x_mean**2) / curvature
    error = momentum_sgd.curvature_error(steps, curvature, **rates)
    # Four standard errors; the law leaves out terms of relative order error².
    assert slopes.std() == pytest.approx(error, rel=4 / np.sqrt(2 * runs) + error**2)
    assert slopes.mean() - 1 == pytest.approx(2.5 * error**2, abs=4 * error / np.sqrt(runs))


@settings(max_examples=80, deadline=None)
@given(modes())
def test_oracle_o13_stationary_identities(mode):
    curvature, noise, rates = mode
    own = momentum_sgd.stationary_covariance(curvature, noise, **rates)
    step = step_matrix(curvature, rates)
    again = step @ own @ step.T + kick(noise, rates)
    np.testing.assert_allclose(again, own, rtol=1e-9)
    ratio = langevin.equipartition_ratio(own[0, 0], own[1, 1], curvature, **rates)
    assert ratio == pytest.approx(1, rel=1e-12)
    half = momentum_sgd.half_step_covariance(own, learning_rate=rates["learning_rate"])
    assert abs(half[0, 1]) <= 1e-14 * np.sqrt(own[0, 0] * own[1, 1])
    assert half[1, 1] == own[1, 1]
    assert 0 < half[0, 0] < own[0, 0]


@settings(max_examples=80, deadline=None)
@given(modes())
def test_oracle_o13_sum_of_velocity_correlations(mode):
    curvature, noise, rates = mode
    # All steps until the mean is gone, but the sum itself only where that is soon.
    decay = momentum_sgd.decay_per_step(curvature, **rates)
    steps = int(np.ceil(-40 / np.log(decay))) if decay > 0 else 2
    total = momentum_sgd.step_sums(steps, curvature, **rates).total[1]
    half = total @ [rates["learning_rate"] / 2, 1]
    assert half == pytest.approx(0.5, abs=1e-8)
    if steps < 5000:
        own = momentum_sgd.velocity_correlation(np.arange(1, steps), curvature, **rates)
        assert 1 + 2 * own.sum() == pytest.approx(0, abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(modes(), st.integers(0, 40))
def test_oracle_o13_correlations(mode, lag):
    curvature, noise, rates = mode
    own = momentum_sgd.correlation(lag, curvature, noise, **rates)
    variance = momentum_sgd.velocity_variance(curvature, noise, **rates)
    unit = momentum_sgd.velocity_correlation(lag, curvature, **rates)
    assert own[1, 1] == pytest.approx(unit * variance, rel=1e-9, abs=1e-12 * variance)
    first = rates["momentum"] - rates["learning_rate"] * curvature / 2
    assert momentum_sgd.velocity_correlation(1, curvature, **rates) == pytest.approx(first, rel=1e-9, abs=1e-12)
    # E[x_k v_{k+1} − v_k x_{k+1}]
    one = momentum_sgd.correlation(1, curvature, noise, **rates)
    spread = np.sqrt(momentum_sgd.position_variance(curvature, noise, **rates) * variance)
    rotation = momentum_sgd.rotation_per_step(curvature, **rates)
    assert one[1, 0] - one[0, 1] == pytest.approx(rotation * spread, rel=1e-6)
    assert rotation < 0


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 1.0), st.floats(0.01, 0.98), st.floats(0.1, 3))
def test_oracle_o13_without_momentum(rate, share, noise):
    curvature, words = share * 2 / rate, {"learning_rate": rate, "momentum": 0.0}
    room = 2 - rate * curvature
    own = momentum_sgd.stationary_covariance(curvature, noise, **words)
    assert own[0, 0] == pytest.approx(rate * noise / (curvature * room))
    assert own[1, 1] == pytest.approx(2 * noise / room)
    assert momentum_sgd.velocity_correlation(1, curvature, **words) == pytest.approx(-rate * curvature / 2)


def test_oracle_o13_ends_of_the_stable_range():
    bound = momentum_sgd.stability_bound(**RATES)
    shares = np.array([0.9, 0.99, 0.999])
    own = momentum_sgd.position_variance(shares * bound, 1.0, **RATES) * (1 - shares) * shares
    np.testing.assert_allclose(own, own[0], rtol=1e-9)
    beyond = bound * np.array([1.0001, 1.1])
    assert np.isinf(momentum_sgd.velocity_variance(beyond, 1.0, **RATES)).all()
    assert np.isinf(momentum_sgd.position_variance([*beyond, 0, -1], 1.0, **RATES)).all()
    assert momentum_sgd.position_variance(beyond, 0.0, **RATES).tolist() == [0, 0]
    assert momentum_sgd.velocity_variance(0.0, 1.0, **RATES) == pytest.approx(1 / 0.19)
    decay = momentum_sgd.decay_per_step(bound * np.array([0.999, 1, 1.001]), **RATES)
    assert decay[0] < 1 < decay[2]
    assert decay[1] == pytest.approx(1)
    # η → 0
    small = {"learning_rate": 1e-7, "momentum": 0.9}
    own = momentum_sgd.stationary_covariance(CURVATURE, NOISE, **small)
    np.testing.assert_allclose(own[:, 0, 0], langevin.position_variance(CURVATURE, NOISE, **small), rtol=1e-6)
    np.testing.assert_allclose(own[:, 1, 1], langevin.velocity_variance(NOISE, momentum=0.9), rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(modes(), st.integers(0, 60))
def test_transients_against_single_steps(mode, steps):
    curvature, noise, rates = mode
    matrix, power, plain = step_matrix(curvature, rates), np.eye(2), np.zeros((2, 2))
    for _ in range(steps):
        power, plain = matrix @ power, matrix @ plain @ matrix.T + kick(noise, rates)
    scale = np.outer([rates["learning_rate"], 1], [rates["learning_rate"], 1]) * noise * (steps + 1)
    own = momentum_sgd.covariance(steps, curvature, noise, **rates)
    np.testing.assert_allclose(own / scale, plain / scale, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(momentum_sgd.propagator(steps, curvature, **rates), power, rtol=1e-8, atol=1e-10)


def test_critical_damping_by_its_own_formula():
    curvature = momentum_sgd.underdamped_bounds(**RATES)[0]
    steps = np.arange(200)
    # Mᵏ = kz^{k−1} M − (k − 1)z^k where both roots are z.
    root = np.sqrt(0.9)
    matrix = step_matrix(curvature, RATES)
    terms = (steps * root ** (steps - 1.0))[:, None, None] * matrix
    expected = terms - ((steps - 1) * root**steps)[:, None, None] * np.eye(2)
    own = momentum_sgd.propagator(steps, curvature, **RATES)
    np.testing.assert_allclose(own, expected, atol=1e-13)
    late = momentum_sgd.covariance(2000, curvature, 1.0, **RATES)
    np.testing.assert_allclose(late, momentum_sgd.stationary_covariance(curvature, 1.0, **RATES), rtol=1e-11)


def test_mean_square_in_a_simulation():
    rng = np.random.default_rng(2)
    x, v, runs = np.ones(20000), np.zeros(20000), 20000
    for _ in range(12):
        v = 0.9 * v - CURVATURE[0] * x - np.sqrt(NOISE[0]) * rng.normal(size=runs)
        x = x + 0.05 * v
    mean = momentum_sgd.expected_state(12, [1, 0], CURVATURE[0], **RATES)
    own = momentum_sgd.covariance(12, CURVATURE[0], NOISE[0], **RATES)
    deviations = np.sqrt(np.diag(own))
    assert (abs(np.array([x.mean(), v.mean()]) - mean) < 4 * deviations / np.sqrt(runs)).all()
    scale = np.outer(deviations, deviations)
    np.testing.assert_allclose(np.cov(x, v) / scale, own / scale, atol=4 * np.sqrt(2 / runs))


def test_published_rotation_of_resnet():
    curvature = np.sort(paper.HESSIAN_EIGENVALUES)[[-1, 0]] + 1e-4
    np.testing.assert_allclose(momentum_sgd.rotation_per_step(curvature, **RESNET), [-0.1415, -0.0576], atol=6e-5)
    # The first mode oscillates, the thirtieth does not.
    phase = momentum_sgd.phase_per_step(curvature, **RESNET)
    assert phase[0] > 0 == phase[1]
    ratio = momentum_sgd.velocity_variance(52.8, 1.0, **RESNET) / langevin.velocity_variance(1.0, momentum=0.9)
    assert ratio == pytest.approx(1.0014, abs=5e-5)
