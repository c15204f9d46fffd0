import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from made_modes import CURVATURE, HESSIAN, NOISE, RATES, modes
from sgdphases.theory import langevin, langevin_displacement, momentum_sgd
from sgdphases.theory import published_diffusion as paper

RESNET = {"learning_rate": 1e-4, "momentum": 0.9}


def generator(curvature, rates):
    """A of one mode."""
    m = rates["learning_rate"] * (1 + rates["momentum"]) / 2
    return np.array([[0, -1], [curvature / m, (1 - rates["momentum"]) / m]])


def transient(time, curvature, noise, rates):
    """Covariance from rest by one matrix exponential (Van Loan), which knows no cases."""
    a, m = generator(curvature, rates), rates["learning_rate"] * (1 + rates["momentum"]) / 2
    heat = np.diag([0, rates["learning_rate"] * noise / m**2])
    block = expm(time * np.block([[a, heat], [np.zeros((2, 2)), -a.T]]))
    return block[2:, 2:].T @ block[:2, 2:]


def test_oracle_o1_stationary_moments_and_damping():
    np.testing.assert_allclose(
        langevin.position_variance(CURVATURE, NOISE, **RATES),
        [0.00195117382617, 0.00193378712871, 0.00162760416667],
        rtol=1e-11,
    )
    velocity = langevin.velocity_variance(NOISE, momentum=0.9)
    np.testing.assert_allclose(velocity, [0.411184210526, 0.0411184210526, 0.00205592105263], rtol=2e-12)
    ratio = langevin.damping_ratio(CURVATURE, **RATES)
    np.testing.assert_allclose(ratio, [0.072511378, 0.22827719, 0.93658581], atol=6e-9)
    phase = 0.05 * langevin.oscillation_frequency(CURVATURE, **RATES)
    np.testing.assert_allclose(phase, [0.72392819, 0.2244723, 0.019692934], atol=6e-9)
    assert 0.05 * langevin.critical_curvature(**RATES) == pytest.approx(0.0026315789, abs=6e-11)
    displacement = langevin_displacement.one_step_displacement(NOISE, **RATES).sum()
    assert displacement == pytest.approx(0.001135896381578948, rel=1e-14)
    assert langevin_displacement.noise_trace(displacement, batch_size=32, **RATES) == pytest.approx(
        0.25 * HESSIAN.sum()
    )


def test_oracle_o2_displacement_of_equation_13_and_of_the_process():
    steps = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])[:, None]
    sums = [0.0011358964, 0.0038284275, 0.0091313901, 0.0080252801, 0.0104043772, 0.0115799582, 0.0132502693]
    sums += [0.0152690557, 0.0213440598, 0.0314691293, 0.0517192685, 0.1124696858]
    own = langevin_displacement.displacement(steps, CURVATURE, NOISE, **RATES).sum(axis=-1)
    np.testing.assert_allclose(own, sums, atol=6e-11)
    process = [0.0010541011, 0.003614475, 0.0087244427, 0.0076743608, 0.0097805605, 0.010375879, 0.0110304194]
    process += [0.0110251726] + [0.0110251302] * 4
    own = langevin.stationary_displacement(0.05 * steps, CURVATURE, NOISE, **RATES).sum(axis=-1)
    np.testing.assert_allclose(own, process, atol=6e-11)


def test_oracle_o3_transient_of_the_process():
    mean = langevin.expected_state(10 * 0.05, [1, 0], CURVATURE[1], **RATES)
    np.testing.assert_allclose(mean, [-0.26044484662, -2.18635025229], atol=6e-12)
    own = langevin.covariance(10 * 0.05, CURVATURE[1], NOISE[1], **RATES)
    cross = 9.152226623172e-4
    expected = [[1.367884647435e-3, cross], [cross, 2.252236632178e-2]]
    np.testing.assert_allclose(own, expected, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.01, 1), st.floats(0, 0.99), st.floats(0, 3) | st.just(1.0), st.floats(0, 4))
def test_all_cases_of_damping_against_the_matrix_exponential(rate, momentum, stiffness, time):
    rates = {"learning_rate": rate, "momentum": momentum}
    # In units of the critical curvature and of the damping time; 0 is a free particle.
    curvature = stiffness * langevin.critical_curvature(**rates)
    time = time / langevin.damping_rate(**rates)
    own = langevin.propagator(time, curvature, **rates)
    scale = 1 / langevin.damping_rate(**rates) ** np.array([[0, 1], [-1, 0]])
    np.testing.assert_allclose(own / scale, expm(-time * generator(curvature, rates)) / scale, atol=1e-11)
    scale = langevin.velocity_variance(1.0, momentum=momentum) / langevin.damping_rate(**rates) ** [[2, 1], [1, 0]]
    own = langevin.covariance(time, curvature, 1.0, **rates)
    np.testing.assert_allclose(own / scale, transient(time, curvature, 1.0, rates) / scale, atol=1e-10)


def test_critical_damping_is_met_from_both_sides():
    critical = langevin.critical_curvature(**RATES)
    times = np.linspace(0, 5, 11)[:, None]
    near = critical * np.array([1 - 1e-9, 1, 1 + 1e-9])
    own = langevin.propagator(times, near, **RATES)
    np.testing.assert_allclose(own, np.broadcast_to(own[:, 1:2], own.shape), atol=1e-8)
    # e^{−γt}(1 + γt)
    rate = langevin.damping_rate(**RATES)
    np.testing.assert_allclose(own[:, 1, 0, 0], (np.exp(-rate * times) * (1 + rate * times))[:, 0], rtol=1e-12)
    assert langevin.damping_ratio(critical, **RATES) == pytest.approx(1)
    assert langevin.oscillation_frequency(0.9 * critical, **RATES) == 0


def test_free_particle_and_very_flat_modes():
    times = np.array([0.1, 1, 30])[:, None]
    flat = langevin.covariance(times, np.array([0, 1e-13]), 1.0, **RATES)
    np.testing.assert_allclose(flat[:, 0], flat[:, 1], rtol=1e-9)
    # By the free velocity's own variance, and diffusion ηs/(1 − β)² in the end.
    drag = 2 * langevin.damping_rate(**RATES)
    velocity = langevin.velocity_variance(1.0, momentum=0.9)
    np.testing.assert_allclose(flat[:, 0, 1, 1], velocity * (1 - np.exp(-2 * drag * times[:, 0])), rtol=1e-12)
    late = langevin.stationary_displacement([1e6, 2e6], 0.0, 1.0, **RATES)
    assert late[1] - late[0] == pytest.approx(1e6 * 0.05 / 0.1**2, rel=1e-9)
    assert langevin.position_variance([0, -1, 0], [1, 1, 0], **RATES).tolist() == [np.inf, np.inf, 0]
    assert langevin.damping_ratio(0.0, **RATES) == np.inf


@settings(max_examples=60, deadline=None)
@given(modes())
def test_equipartition_and_late_covariance(mode):
    curvature, noise, rates = mode
    position = langevin.position_variance(curvature, noise, **rates)
    velocity = langevin.velocity_variance(noise, momentum=rates["momentum"])
    ratio = langevin.equipartition_ratio(position, velocity, curvature, **rates)
    assert ratio == pytest.approx(1)
    energy = langevin.stationary_energy(noise, **rates)
    assert energy == pytest.approx(curvature * position / 2)
    assert energy == pytest.approx(rates["learning_rate"] * noise / (4 * (1 - rates["momentum"])))
    late = 50 * (1 / langevin.damping_rate(**rates) + 1 / (curvature / (1 - rates["momentum"])))
    own = langevin.covariance(late, curvature, noise, **rates)
    np.testing.assert_allclose(own, np.diag([position, velocity]), rtol=1e-9, atol=1e-9 * np.sqrt(position * velocity))
    assert langevin.stationary_displacement(late, curvature, noise, **rates) == pytest.approx(2 * position)


@settings(max_examples=40, deadline=None)
@given(modes(largest_share=0.2))
def test_velocity_correlation_is_the_curvature_of_the_displacement(mode):
    curvature, noise, rates = mode
    times = np.linspace(0, 6, 2001) / langevin.frequency(curvature, **rates)
    displacement = langevin.stationary_displacement(times, curvature, noise, **rates)
    correlation = langevin_displacement.velocity_correlation(times, curvature, **rates)
    # d²/dt² E[(x(t) − x(0))²] = 2 Var v C(t)
    gap = times[1] - times[0]
    seconds = np.diff(displacement, 2) / gap**2 / (2 * langevin.velocity_variance(noise, momentum=rates["momentum"]))
    stiff = max(1.0, langevin.damping_ratio(curvature, **rates))
    np.testing.assert_allclose(seconds, correlation[1:-1], atol=1e-5 * stiff**2)


@pytest.mark.parametrize(("momentum", "raw", "matched"), [(0.9, 2.6, 0.15), (0.99, 4.5, 0.28), (0.999, 5.1, 1.2)])
def test_start_at_half_a_step_follows_the_discrete_mean(momentum, raw, matched):
    rates, curvature, steps = {"learning_rate": 1e-5, "momentum": momentum}, 917.0, np.arange(393)
    exact = momentum_sgd.expected_state(steps, [1, 0], curvature, **rates)
    start = langevin.half_step_start([1, 0], curvature, momentum=momentum)
    for begin, error in (([1, 0], raw), (start, matched)):
        own = langevin.expected_state(1e-5 * steps, begin, curvature, **rates)
        assert 100 * np.abs(own - exact)[:, 0].max() == pytest.approx(error, abs=0.05 if error > 1 else 0.005)
    # Velocities belong to half steps.
    half = langevin.expected_state(1e-5 * (steps[1:] - 0.5), start, curvature, **rates)[:, 1]
    late = langevin.expected_state(1e-5 * steps[1:], start, curvature, **rates)[:, 1]
    errors = [np.abs(own - exact[1:, 1]).max() for own in (half, late)]
    assert errors[0] < errors[1] / 3


def test_half_step_start_is_of_second_order():
    errors = []
    for turn in (0.02, 0.01):
        # Frequency and damping in one step fall together.
        rates, begin = {"learning_rate": turn**2, "momentum": 1 - turn}, [1, -0.5 / turn]
        start = langevin.half_step_start(begin, 1.3, momentum=1 - turn)
        exact = momentum_sgd.expected_state(2 / turn, begin, 1.3, **rates)[0]
        errors.append([langevin.expected_state(2 * turn, one, 1.3, **rates)[0] - exact for one in (begin, start)])
    ratio = np.divide(*errors)
    np.testing.assert_allclose(ratio, [2, 4], rtol=0.1)


def test_displacement_as_printed_is_brownian():
    steps, h = np.array([10, 1000]), 52.8
    once = langevin_displacement.one_step_displacement(1.0, **RESNET)
    printed = langevin_displacement.displacement(steps, h, 1.0, **RESNET, literal=True)
    np.testing.assert_allclose(printed, steps * once, rtol=1e-12)
    mended = langevin_displacement.displacement(steps, h, 1.0, **RESNET)
    assert mended[0] > 5 * printed[0]
    assert mended[1] < printed[1] / 2


def test_displacement_by_its_double_sum():
    lags = np.arange(1, 30)
    correlation = langevin_displacement.velocity_correlation(0.05 * lags, CURVATURE[1], **RATES)
    plain = 30 + 2 * ((30 - lags) * correlation).sum()
    own = langevin_displacement.displacement(30, CURVATURE[1], NOISE[1], **RATES)
    assert own == pytest.approx(plain * langevin_displacement.one_step_displacement(NOISE[1], **RATES), rel=1e-12)


def test_displacement_never_saturates():
    spurious = langevin_displacement.spurious_displacement(NOISE[0], **RATES)
    assert spurious == pytest.approx(1.80e-5, abs=6e-8)
    late = langevin_displacement.displacement([4000, 5000], CURVATURE[0], NOISE[0], **RATES)
    assert (late[1] - late[0]) / 1000 == pytest.approx(1.84e-5, abs=6e-8)
    steps = langevin_displacement.reliable_steps(np.array([52.8, 8.7]), **RESNET)
    np.testing.assert_allclose(steps, [2.0e4, 1.2e5], rtol=0.04)
    # To leading order.
    small = {"learning_rate": 2e-4, "momentum": 0.9}
    late = np.diff(langevin_displacement.displacement([40000, 50000], 1.0, 1.0, **small))[0] / 1e4
    assert late == pytest.approx(langevin_displacement.spurious_displacement(1.0, **small), rel=1e-3)


def test_simulation_of_the_equation():
    rng = np.random.default_rng(0)
    rates, curvature, noise, gap, count = {"learning_rate": 0.1, "momentum": 0.5}, 2.0, 0.7, 1e-3, 20000
    m = langevin.mass(**rates)
    x, v = np.zeros((2, count))
    for _ in range(500):
        x = x + gap / 2 * v
        v = v + gap / m * (-curvature * x - 0.5 * v) + np.sqrt(gap * 0.1 * noise) / m * rng.normal(size=count)
        x = x + gap / 2 * v
    own = langevin.covariance(0.5, curvature, noise, **rates)
    scale = np.sqrt(np.outer(np.diag(own), np.diag(own)))
    # Four standard errors, and half of what v loses in a step.
    error = 4 * np.sqrt(2 / count) + gap * langevin.damping_rate(**rates)
    np.testing.assert_allclose(np.cov(x, v) / scale, own / scale, atol=error)


def test_published_values_of_resnet():
    first, last = 52.8, 8.73
    turns = 1e-4 * langevin.frequency(np.array([first, last]), **RESNET)
    np.testing.assert_allclose(turns, [0.0746, 0.0303], atol=6e-5)
    np.testing.assert_allclose(langevin.damping_ratio(np.array([first, last]), **RESNET), [0.706, 1.7362], atol=6e-5)
    # 3 % is the error of the digitised curves.
    expected = dict(zip(paper.NETWORKS, (6.2e3, 7.6e3, 1.37e4, 8.5e3, 7.9e3), strict=True))
    for name, setting in paper.SETTINGS.items():
        words = {"learning_rate": setting.learning_rate, "momentum": setting.momentum}
        words["batch_size"] = setting.batch_size
        assert langevin_displacement.noise_trace(paper.ONE_STEP_DISPLACEMENT[name], **words) == pytest.approx(
            expected[name], rel=0.01
        )


def test_published_oscillations_of_linear_regression():
    curvature = 917.0
    rates = [{"learning_rate": 1e-5, "momentum": momentum} for momentum in paper.REGRESSION_MOMENTA]
    damping = [1e-5 * langevin.damping_rate(**words) for words in rates]
    np.testing.assert_allclose(damping, [0.0526, 0.00503, 0.00050], rtol=2e-3)
    turns = [1e-5 * langevin.frequency(curvature, **words) for words in rates]
    np.testing.assert_allclose(turns, [0.0984, 0.0961, 0.0959], rtol=3e-3)
    periods = [2 * np.pi / (1e-5 * langevin.oscillation_frequency(curvature, **words)) for words in rates]
    np.testing.assert_allclose(periods, paper.REGRESSION_PERIODS, rtol=3e-3)


@pytest.mark.parametrize(
    ("rates", "match"),
    [
        ({"learning_rate": 0.0, "momentum": 0.9}, "learning_rate must be greater than 0"),
        ({"learning_rate": 0.1, "momentum": 1.0}, "momentum must be at least 0 and less than 1"),
        ({"learning_rate": 0.1, "momentum": -0.1}, "momentum must be at least 0 and less than 1"),
    ],
)
def test_rates_are_checked(rates, match):
    with pytest.raises(ValueError, match=match):
        langevin.propagator(1.0, 1.0, **rates)


def test_negative_curvature():
    with pytest.raises(ValueError, match="curvature must be at least 0"):
        langevin.frequency(-1.0, **RATES)
    own = langevin.propagator(0.3, -1.0, **RATES)
    np.testing.assert_allclose(own, expm(-0.3 * generator(-1.0, RATES)), rtol=1e-10)
    assert own[0, 0] > 1
