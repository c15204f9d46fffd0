import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from made_modes import RATES, modes, slope
from sgdphases.theory import diffusion_exponents, langevin, langevin_displacement, momentum_displacement
from sgdphases.theory import published_diffusion as paper

SMALL = {"learning_rate": 1e-4, "momentum": 0.9}


def refit(length, ratio):
    """The exponent as the paper fits it: samples at every twentieth epoch, the first third left out."""
    times = np.arange(21, 20 * length) / 20
    times = times[len(times) // 3 :]
    return slope(times, diffusion_exponents.drift_diffusion(times, diffusion=1.0, speed=np.sqrt(ratio)))


def test_oracle_o12_drift_explains_the_growing_exponent():
    own = np.array([refit(int(length), paper.DRIFT_RATIO) for length in paper.EPOCHS])
    expected = [1.086, 1.122, 1.155, 1.186, 1.214, 1.241, 1.266, 1.289, 1.310]
    np.testing.assert_allclose(own, expected, atol=6e-4)
    assert np.sqrt(((own - paper.EXPONENT_BY_EPOCHS) ** 2).mean()) == pytest.approx(0.0066, abs=2e-4)
    # No other ratio fits better.
    errors = [
        sum(
            (refit(int(length), ratio) - published) ** 2
            for length, published in zip(paper.EPOCHS, paper.EXPONENT_BY_EPOCHS, strict=True)
        )
        for ratio in paper.DRIFT_RATIO * np.array([0.98, 1, 1.02])
    ]
    assert errors[1] < min(errors[0], errors[2])
    # Drift overtakes at 1/r.
    assert pytest.approx(136, abs=0.5) == 1 / paper.DRIFT_RATIO
    assert diffusion_exponents.drift_diffusion_exponent(1 / paper.DRIFT_RATIO, paper.DRIFT_RATIO) == 1.5


@pytest.mark.parametrize(("power", "exponent"), [(1.5, 0.667), (2, 0.5), (3, 0.333)])
def test_power_of_rank_laws(power, exponent):
    curvature = np.arange(1, 30001.0) ** -power
    law = diffusion_exponents.diffusion_exponent(power)
    assert law == pytest.approx(exponent, abs=5e-4)
    # In the middle of the window between 1/r of the steepest and of the flattest mode.
    slow = diffusion_exponents.relaxation_rate(curvature[-1], **SMALL)
    fast = diffusion_exponents.relaxation_rate(curvature[0], **SMALL)
    steps = np.geomspace((fast * slow) ** -0.5 / 3, (fast * slow) ** -0.5 * 3, 15)
    own = diffusion_exponents.overdamped_displacement(steps[:, None], curvature, curvature, **SMALL).sum(axis=-1)
    assert slope(steps, own) == pytest.approx(law, abs=0.02)
    local = diffusion_exponents.local_exponent(steps, own)
    np.testing.assert_allclose(local, law, atol=0.04)


@pytest.mark.parametrize(
    ("noise_power", "exponent"), [(0.75, 0.75), (1, 0.5), (1.25, 0.25), (1.5, 0), (2, 0), (0.2, 1)]
)
def test_power_with_noise_of_another_power(noise_power, exponent):
    law = diffusion_exponents.diffusion_exponent(2, noise_power=noise_power)
    assert law == pytest.approx(exponent)
    curvature = np.arange(1, 100001.0) ** -2
    steps = np.geomspace(1e7, 1e9, 15)
    noise = curvature**noise_power
    own = diffusion_exponents.overdamped_displacement(steps[:, None], curvature, noise, **SMALL).sum(axis=-1)
    assert slope(steps, own) == pytest.approx(exponent, abs=0.03 if 0.2 < exponent < 1 else 0.12)


@pytest.mark.parametrize(("start_power", "exponent"), [(0.0, 0.5), (0.7, 1.2), (1.2, 1.7), (2.5, 2)])
def test_power_of_a_drift(start_power, exponent):
    law = diffusion_exponents.drift_exponent(2, start_power=start_power)
    assert law == pytest.approx(exponent)
    curvature = np.arange(1, 100001.0) ** -2
    rate, steps = diffusion_exponents.relaxation_rate(curvature, **SMALL), np.geomspace(1e7, 1e8, 10)
    own = (curvature**-start_power * np.expm1(-rate * steps[:, None]) ** 2).sum(axis=-1)
    assert slope(steps, own) == pytest.approx(exponent, abs=0.05)


def test_powers_of_one_curvature():
    steps = np.array([1e3, 1e4, 1e5])[:, None] * [1, 1.01]
    own = momentum_displacement.stationary_displacement(np.rint(steps), 1e-3, 1.0, **SMALL)
    local = np.log(own[:, 1] / own[:, 0]) / np.log(1.01)
    np.testing.assert_allclose(local, 1, atol=0.06)
    flat = diffusion_exponents.local_exponent([1e9, 2e9, 3e9], [5.0, 5.0, 5.0])
    np.testing.assert_allclose(flat, 0, atol=1e-14)


def test_overdamped_displacement_is_the_late_one():
    curvature = np.geomspace(1e-3, 1, 7) * langevin.critical_curvature(**SMALL) / 100
    steps = np.array([3000, 30000, 3000000])[:, None]
    own = diffusion_exponents.overdamped_displacement(steps, curvature, 1.0, **SMALL)
    exact = momentum_displacement.stationary_displacement(steps, curvature, 1.0, **SMALL)
    np.testing.assert_allclose(own, exact, rtol=0.01)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.floats(1e-3, 10), st.floats(1e-3, 10))
def test_local_power_of_drift_and_diffusion(time, diffusion, speed):
    near = time * np.array([0.999, 1, 1.001])
    curve = diffusion_exponents.drift_diffusion(near, diffusion=diffusion, speed=speed)
    law = diffusion_exponents.drift_diffusion_exponent(time, speed**2 / diffusion)
    assert diffusion_exponents.local_exponent(near, curve)[1] == pytest.approx(law, abs=1e-6)
    assert 1 < law < 2


def test_inertia_of_a_free_particle():
    persistence = diffusion_exponents.persistence_steps(0.9)
    assert persistence == pytest.approx(9.5)
    steps = np.array([1000, 1001])
    free = momentum_displacement.stationary_displacement(steps, 0.0, 1.0, **RATES)
    assert (slope(steps, free) - 1) * 1000 == pytest.approx(persistence, rel=0.02)
    late = momentum_displacement.stationary_displacement([5000, 5001], 0.0, 1.0, **RATES)
    assert slope([5000, 5001], late) - 1 < 0.002
    once = momentum_displacement.one_step_displacement(0.0, 1.0, **RATES)
    ratio = diffusion_exponents.free_diffusion_ratio(late, [5000, 5001], once, momentum=0.9)
    np.testing.assert_allclose(ratio, 1, atol=0.002)
    confined = momentum_displacement.stationary_displacement(5000, 0.1, 1.0, **RATES)
    assert diffusion_exponents.free_diffusion_ratio(confined, 5000, once, momentum=0.9) < 0.05


def test_published_free_diffusion_ratios():
    expected = [(1.26, 1.32), (1.29, 1.36), (1.32, 3.5), (4.5, 9.5), (4.5, 9.4)]
    for name, ratios in zip(paper.NETWORKS, expected, strict=True):
        own = diffusion_exponents.free_diffusion_ratio(
            paper.DISPLACEMENT[name], paper.DISPLACEMENT_STEPS, paper.ONE_STEP_DISPLACEMENT[name], momentum=0.9
        )
        np.testing.assert_allclose(own, ratios, rtol=0.01)


@settings(max_examples=80, deadline=None)
@given(st.floats(1e-3, 1), st.floats(0, 0.99), st.floats(1e-6, 50) | st.just(1.0) | st.floats(0.999, 1.001))
def test_first_zero_of_the_velocity_correlation(rate, momentum, stiffness):
    rates = {"learning_rate": rate, "momentum": momentum}
    curvature = stiffness * langevin.critical_curvature(**rates)
    lag = diffusion_exponents.zero_crossing_lag(curvature, **rates)

    def correlation(share):
        return float(langevin_displacement.velocity_correlation(share * lag * rate, curvature, **rates))

    assert correlation(0.99) > 0 > correlation(1.01)
    assert brentq(correlation, 0.5, 1.2, xtol=1e-12) == pytest.approx(1, abs=1e-6)


def test_zero_crossing_far_from_critical_and_in_flat_modes():
    curvature = langevin.critical_curvature(**SMALL) * np.array([1e-2, 1e-4, 1e-12])
    own = diffusion_exponents.zero_crossing_lag(curvature, **SMALL)
    estimate = diffusion_exponents.zero_crossing_estimate(curvature, **SMALL)
    assert (np.abs(own / estimate - 1) < [0.01, 1e-4, 1e-9]).all()
    np.testing.assert_allclose(estimate, 19 * np.log(2 * langevin.damping_ratio(curvature, **SMALL)), rtol=1e-12)
    assert diffusion_exponents.zero_crossing_lag(0.0, **SMALL) == np.inf
    # 1/(ηγ) steps at critical damping.
    assert diffusion_exponents.zero_crossing_lag(langevin.critical_curvature(**SMALL), **SMALL) == pytest.approx(19)


@settings(max_examples=40, deadline=None)
@given(modes())
def test_temperature_sets_positions(mode):
    curvature, _, rates = mode
    temperature = diffusion_exponents.effective_temperature(batch_size=16, **rates)
    # Noise as the Hessian, without weight decay.
    position = langevin.position_variance(curvature, curvature / 16, **rates)
    assert position == pytest.approx(temperature / 2)
    assert temperature == pytest.approx(rates["learning_rate"] / (16 * (1 - rates["momentum"])))


def test_stationary_theory_stays_below_the_published_powers():
    top = np.sort(paper.HESSIAN_EIGENVALUES)[::-1]
    steps = paper.STEPS_PER_EPOCH * np.array([1, 2])
    ends = {(1e-3, 0.9): (0.68, 0.77), (1e-4, 0.9): (0.79, 0.87), (1e-5, 0.9): (0.81, 0.94), (1e-4, 0.99): (0.69, 0.78)}
    tails = [top[-1] * (30 / np.arange(31, 1e6)) ** power for power in (0.8, 1, 1.2)]
    published = {1e-3: paper.GRID_EXPONENT[2, 1], 1e-4: paper.GRID_EXPONENT[1, 1], 1e-5: paper.GRID_EXPONENT[0, 1]}
    for (rate, momentum), (low, high) in ends.items():
        own = []
        for tail in tails:
            hessian, words = np.concatenate([top, tail]), {"learning_rate": rate, "momentum": momentum}
            moved = [
                diffusion_exponents.overdamped_displacement(step, hessian + 1e-4, hessian, **words).sum()
                for step in steps
            ]
            own.append(np.log2(moved[1] / moved[0]))
        assert (min(own), max(own)) == pytest.approx((low, high), abs=0.011)
        assert max(own) < published[rate][1 if momentum == 0.9 else 2]
