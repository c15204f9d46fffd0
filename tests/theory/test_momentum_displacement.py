import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_modes import CURVATURE, NOISE, RATES, modes, slope
from sgdphases.theory import momentum_displacement, momentum_sgd

SPECTRUM = 100 * np.arange(1, 201.0) ** -2
SPECTRUM_RATES = {"learning_rate": 1e-3, "momentum": 0.9}
WINDOW = np.unique(np.rint(np.geomspace(60, 2000, 40)))


def test_oracle_o1_one_step():
    own = momentum_displacement.one_step_displacement(CURVATURE, NOISE, **RATES).sum()
    assert own == pytest.approx(0.0012932159196960879, rel=1e-14)


def test_oracle_o2_stationary_displacement():
    steps = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])[:, None]
    sums = [0.0012932159, 0.0043164062, 0.0096240562, 0.0085503142, 0.0109763319, 0.010762624, 0.0116509617]
    sums += [0.0116719924] + [0.0116717382] * 4
    own = momentum_displacement.stationary_displacement(steps, CURVATURE, NOISE, **RATES).sum(axis=-1)
    np.testing.assert_allclose(own, sums, atol=6e-11)
    plateau = 2 * momentum_sgd.position_variance(CURVATURE, NOISE, **RATES).sum()
    assert own[-1] == pytest.approx(plateau, rel=1e-13)


def test_oracle_o2_local_powers():
    # In 40 digits 0.61496898846, 0.08420629821, 0.00017553304: the last digit of the second was noted as 3.
    for first, last, power, error in (
        (1, 10, 0.6149689885, 6e-11),
        (10, 100, 0.0842062982, 6e-11),
        (100, 1000, 1.7553e-4, 6e-9),
        (5000, 10000, 0, 1e-12),
    ):
        steps = np.arange(first, last + 1)
        own = momentum_displacement.stationary_displacement(steps[:, None], CURVATURE, NOISE, **RATES).sum(axis=-1)
        assert slope(steps, own) == pytest.approx(power, abs=error), first


def test_oracle_o6_power_of_a_spectrum():
    own = momentum_displacement.stationary_displacement(WINDOW[:, None], SPECTRUM, SPECTRUM / 32, **SPECTRUM_RATES)
    total = own.sum(axis=-1)
    assert len(WINDOW) == 40
    # In 40 digits 0.48713613438283: noted as ...384.
    assert slope(WINDOW, total) == pytest.approx(0.487136134383, abs=6e-13)
    assert (total[0], total[-1]) == pytest.approx((0.0038835352016, 0.0215215258458), rel=3e-12)
    once = momentum_displacement.one_step_displacement(SPECTRUM, SPECTRUM / 32, **SPECTRUM_RATES).sum()
    assert once == pytest.approx(2.7453158850e-5, rel=2e-11)


def test_oracle_o6_by_simulation():
    rng = np.random.default_rng(3)
    runs, deviation = 64, np.sqrt(SPECTRUM / 32)
    cholesky = np.linalg.cholesky(momentum_sgd.stationary_covariance(SPECTRUM, SPECTRUM / 32, **SPECTRUM_RATES))
    x, v = np.einsum("mab,bmr->arm", cholesky, rng.normal(size=(2, len(SPECTRUM), runs)))
    start, squares, wanted = x.copy(), [], set(WINDOW.astype(int))
    for step in range(1, 2001):
        v = 0.9 * v - SPECTRUM * x - deviation * rng.normal(size=x.shape)
        x = x + 1e-3 * v
        if step in wanted:
            squares.append(((x - start) ** 2).sum(axis=1))
    squares = np.array(squares)
    draws = [slope(WINDOW, squares[:, rng.integers(runs, size=runs)].mean(axis=1)) for _ in range(200)]
    assert np.std(draws) < 0.015
    assert slope(WINDOW, squares.mean(axis=1)) == pytest.approx(0.487136134384, abs=4 * np.std(draws))


@settings(max_examples=60, deadline=None)
@given(modes(), st.integers(0, 300))
def test_oracle_o13_displacement_by_its_definition(mode, steps):
    curvature, noise, rates = mode
    own = momentum_displacement.stationary_displacement(steps, curvature, noise, **rates)
    lost = momentum_sgd.correlation([0, steps], curvature, noise, **rates)[:, 0, 0]
    assert own == pytest.approx(2 * (lost[0] - lost[1]), rel=1e-7, abs=1e-11 * lost[0])
    once = momentum_displacement.one_step_displacement(curvature, noise, **rates)
    assert momentum_displacement.stationary_displacement(1, curvature, noise, **rates) == pytest.approx(once)


def test_closed_form_with_both_roots():
    roots = momentum_sgd.roots(CURVATURE, **RATES)
    own = momentum_sgd.stationary_covariance(CURVATURE, NOISE, **RATES)
    first = (1 - 0.05 * CURVATURE) * own[:, 0, 0] + 0.05 * 0.9 * own[:, 0, 1]
    share = (first - roots[:, 1] * own[:, 0, 0]) / (roots[:, 0] - roots[:, 1])
    steps = np.arange(60)[:, None]
    correlation = share * roots[:, 0] ** steps + (own[:, 0, 0] - share) * roots[:, 1] ** steps
    expected = 2 * (own[:, 0, 0] - correlation.real)
    displacement = momentum_displacement.stationary_displacement(steps, CURVATURE, NOISE, **RATES)
    np.testing.assert_allclose(displacement, expected, atol=1e-14)


def test_flat_modes_lose_no_digits():
    steps = np.array([1, 10, 1000, 100000])[:, None]
    flat = momentum_displacement.stationary_displacement(steps, np.array([0, 1e-12]), 1.0, **RATES)
    np.testing.assert_allclose(flat[:, 0], flat[:, 1], rtol=1e-6)
    # η² Var v [t + 2 Σ (t − k)βᵏ]
    t = steps[:, 0]
    total = t * 1.9 / 0.1 - 2 * 0.9 * (1 - 0.9**t) / 0.1**2
    np.testing.assert_allclose(flat[:, 0], 0.05**2 / 0.19 * total, rtol=1e-12)


def test_from_rest_by_definition():
    for gradient in (0.0, 0.7):
        own = momentum_displacement.displacement_from_rest(25, CURVATURE, NOISE, gradient=gradient, **RATES)
        start = np.stack([gradient / CURVATURE, np.zeros(3)], axis=-1)
        moved = momentum_sgd.expected_state(25, start, CURVATURE, **RATES)[:, 0] - start[:, 0]
        spread = momentum_sgd.covariance(25, CURVATURE, NOISE, **RATES)[:, 0, 0]
        np.testing.assert_allclose(own, moved**2 + spread, rtol=1e-10)


def test_free_mode_from_rest():
    steps = np.array([0, 1, 2, 5, 100, 3000])
    own = momentum_displacement.free_displacement(steps, 0.3, **RATES)
    plain = [0.05**2 * 0.3 * sum(((1 - 0.9**j) / 0.1) ** 2 for j in range(1, t + 1)) for t in steps]
    np.testing.assert_allclose(own, plain, rtol=1e-10)
    np.testing.assert_allclose(own, momentum_displacement.displacement_from_rest(steps, 0, 0.3, **RATES), rtol=1e-10)
    # t³ at first, where velocity only grows; η²st/(1 − β)² in the end.
    early = momentum_displacement.free_displacement([100, 200], 1.0, learning_rate=1.0, momentum=0.9999)
    assert np.log2(early[1] / early[0]) == pytest.approx(3, abs=0.05)
    assert own[-1] == pytest.approx(0.05**2 * 0.3 * 3000 / 0.1**2, rel=0.02)
    drift = momentum_displacement.displacement_from_rest([1000, 2000], 0, 0, gradient=0.2, **RATES)
    assert np.log2(drift[1] / drift[0]) == pytest.approx(2, abs=0.02)
    assert np.sqrt(drift[1]) == pytest.approx(0.2 * 0.05 * 2000 / 0.1, rel=0.01)


def test_from_rest_by_simulation():
    rng = np.random.default_rng(4)
    runs, curvature, gradient = 20000, 0.3, 0.4
    x, v = np.full(runs, gradient / curvature), np.zeros(runs)
    start = x[0]
    for _ in range(30):
        v = 0.9 * v - curvature * x - 0.5 * rng.normal(size=runs)
        x = x + 0.05 * v
    squares = (x - start) ** 2
    own = momentum_displacement.displacement_from_rest(30, curvature, 0.25, gradient=gradient, **RATES)
    assert squares.mean() == pytest.approx(own, abs=4 * squares.std() / np.sqrt(runs))
