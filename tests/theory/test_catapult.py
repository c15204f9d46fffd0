import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.theory import catapult, richness, richness_flow

gammas = st.floats(-4, 1).map(lambda power: 10.0**power)
starts = st.tuples(st.floats(0.3, 2), st.floats(0, 2))


@settings(max_examples=60, deadline=None)
@given(starts, st.floats(-2, 2), st.floats(-2, 1).map(lambda power: 10.0**power), st.floats(0, 5))
def test_error_and_kernel_are_a_map_of_their_own(weights, product, gamma, share):
    u, v = weights
    rate = share / (u**2 + v**2)
    e = (u * v - product) / gamma - 1
    after = u - rate * gamma * e * v, v - rate * gamma * e * u
    found = catapult.error_map(e, u**2 + v**2, rate=rate, richness=gamma, product=product)
    assert found[0] == pytest.approx((after[0] * after[1] - product) / gamma - 1, rel=1e-9, abs=1e-9)
    assert found[1] == pytest.approx(after[0] ** 2 + after[1] ** 2, rel=1e-9, abs=1e-9)


@given(st.floats(1e3, 1e5), st.floats(0.5, 3))
def test_large_errors_of_a_lazy_network_forget_the_target(error, kernel):
    gamma, rate = 1e-3, 1.3
    e, s = catapult.error_map(error, kernel, rate=rate, richness=gamma)
    square = (rate * gamma * error) ** 2
    assert e == pytest.approx(error * (1 - rate * kernel + square), abs=1.01 * square)
    assert s == pytest.approx(kernel + square / rate * (rate * kernel - 4), abs=5 * rate * gamma**2 * error)


@settings(max_examples=60, deadline=None)
@given(st.floats(-50, 50), st.floats(0.1, 10), gammas, st.floats(0, 3), st.floats(0.01, 1.99))
def test_margin_keeps_its_sign(error, kernel, gamma, product, share):
    rate = share / (gamma + product)
    words = {"rate": rate, "richness": gamma, "product": product}
    before = catapult.catapult_margin(error, kernel, **words)
    after = catapult.catapult_margin(*catapult.error_map(error, kernel, **words), **words)
    factor = 1 + rate**2 * gamma * error * (gamma * (error + 1) + product)
    assert factor > 0
    size = 4 + rate * kernel + rate**2 * (gamma + product) * gamma * abs(error)
    assert after == pytest.approx(before * factor, abs=1e-11 * size * (1 + factor))


@settings(max_examples=25, deadline=None)
@given(starts, st.floats(-2, 0.7).map(lambda power: 10.0**power))
def test_squared_error_converges_up_to_the_largest_catapult(weights, gamma):
    edge = catapult.largest_catapult_learning_rate(gamma, weights=weights)
    # Generic starts: on a set of measure zero descent ends in a saddle point or runs along the boundary.
    flight = catapult.flight(np.array([0.5, 0.9, 0.98]) * edge, gamma, weights=weights, steps=40_000)
    np.testing.assert_allclose(flight.output, 1, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.3, 2), st.floats(-3, -0.5).map(lambda power: 10.0**power))
def test_lazy_squared_error_blows_up_beyond(weight, gamma):
    weights = (weight, 0.0)
    edge = float(catapult.largest_catapult_learning_rate(gamma * weight**2, weights=weights))
    flight = catapult.flight(1.02 * edge, gamma * weight**2, weights=weights, steps=20_000)
    assert not np.isfinite(flight.output)
    assert 2 * gamma**2 * weight**2 * 0.7 < edge / 2 < 2 * gamma**2 * weight**2


def test_band_is_twice_the_critical_learning_rate_where_lazy():
    gamma = np.array([1e-5, 1e-3])
    critical = richness.critical_learning_rate(2 / gamma**2)
    np.testing.assert_allclose(catapult.largest_catapult_learning_rate(gamma), 2 * critical, rtol=3e-6)
    # Below, the error never grows; above, it grows to the order 1/γ and the kernel falls below stability.
    calm = catapult.flight(0.95 * critical, gamma, steps=5000)
    np.testing.assert_allclose(calm.peak, 1.0)
    wild = catapult.flight(1.5 * critical, gamma, steps=5000)
    assert np.all(wild.peak * gamma > 0.3)
    np.testing.assert_allclose(wild.output, 1)
    assert np.all(1.5 * wild.kernel < 2)


def test_peak_loss_goes_as_the_inverse_square_of_richness():
    gamma = np.geomspace(1e-5, 1e-2, 13)
    peak = catapult.flight(1.5 * gamma**2, gamma, steps=5000).peak
    slope = np.polyfit(np.log(gamma), np.log(richness.loss_value(1 + peak)), 1)[0]
    assert slope == pytest.approx(-2, abs=0.05)


def test_rich_networks_are_bound_by_the_minimum():
    gamma = np.array([10, 1e4])
    edge = catapult.largest_catapult_learning_rate(gamma)
    np.testing.assert_allclose(edge, gamma)  # γ²/y with y = γ
    np.testing.assert_allclose(
        catapult.largest_catapult_learning_rate(gamma, weights=(1, 1)), richness.largest_learning_rate(gamma, 2)
    )


@pytest.mark.parametrize("loss", richness.TOY_LOSSES)
def test_equal_weights_are_the_chain_of_two_layers(loss):
    gamma = np.array([0.1, 1.0, 20.0])
    rate = 0.4 * richness.largest_learning_rate(gamma, 2, loss=loss)
    chain = richness_flow.output_trajectory(rate, gamma, 2, steps=12, loss=loss)
    found = catapult.flight(rate, gamma, weights=(1.0, 1.0), steps=12, loss=loss)
    np.testing.assert_allclose(found.output, chain[-1], rtol=1e-10)
    np.testing.assert_allclose(found.peak, np.abs(chain - 1).max(axis=0))


def test_band_of_the_cross_entropy():
    constants = catapult.BAND_END, catapult.LANDING, catapult.EQUAL_END
    assert constants == pytest.approx((2.199612, 4.327907, 7.436564), abs=1e-6)
    for gamma in (1e-3, 1e-5):
        critical, end = catapult.cross_entropy_band(gamma)
        words = {"loss": "cross_entropy", "steps": 20_000}
        # Just above the critical learning rate the way to 1 takes more than these steps.
        inside = catapult.converging_learning_rates(np.geomspace(0.05 * end, 0.99 * end, 60), gamma, **words)
        assert inside.unbroken == inside.largest == pytest.approx(0.99 * end)
        below = catapult.converging_learning_rates(np.array([0.5, 0.98]) * critical, gamma, **words)
        assert below.unbroken == pytest.approx(0.98 * critical)
        beyond = catapult.converging_learning_rates(np.linspace(1.02, 1.3, 40) * end, gamma, **words)
        assert np.isnan(beyond.largest)
        island = catapult.converging_learning_rates([catapult.LANDING * gamma], gamma, **words)
        assert island.largest == pytest.approx(catapult.LANDING * gamma)
        calm, wild = (catapult.flight(x * critical, gamma, **words).peak for x in (0.5, 3))
        assert calm == 1
        assert wild > 10


def test_cross_entropy_sheds_its_kernel():
    gamma, rates = 1e-5, np.array([0.02, 0.05, 0.1, 0.3]) * 1e-5
    steps = catapult.kernel_decay_steps(rates, gamma)
    np.testing.assert_allclose(steps[2], 508.6, atol=0.1)
    for rate, one in zip(rates, steps, strict=True):
        flight = catapult.flight(rate, gamma, steps=round(2 * one), loss="cross_entropy")
        assert np.log(2 / flight.kernel) == pytest.approx(2, rel=0.05)


def test_first_step_at_the_landing_makes_the_weights_equal():
    flight = catapult.flight(catapult.LANDING * 0.01, 0.01, steps=1, loss="cross_entropy")
    # u = √2 stays, v becomes √2.
    assert flight.kernel == pytest.approx(4)
    assert flight.output == pytest.approx(200)


def test_broken_scans():
    assert np.isnan(catapult.converging_learning_rates([9.0, 10.0], 1.0, steps=100)).all()
    scan = catapult.converging_learning_rates([0.1, 0.5, 9.0], 1.0, steps=1000)
    assert scan == (0.5, 0.5)
