import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from sgdphases.theory import richness, richness_flow

gammas = st.floats(-5, 5).map(lambda power: 10.0**power)
losses = st.sampled_from(richness.TOY_LOSSES)


@settings(max_examples=40, deadline=None)
@given(gammas, st.integers(1, 6), st.floats(0.05, 0.95))
def test_flow_time_is_the_integral_in_the_weight(gamma, depth, output):
    """t = (1/s) ∫ du/(u^{L−1}(1 − u^L)), u the weight over that at the minimum."""
    start, stop = (((1 + gamma * f) / (1 + gamma)) ** (1 / depth) for f in (0.0, output))
    whole = quad(lambda u: 1 / (u ** (depth - 1) * (1 - u**depth)), start, stop, epsrel=1e-12, limit=400)[0]
    s = richness_flow.step_size(1.0, gamma, depth)
    # The limits of this integral lose digits where γ is small.
    assert richness_flow.flow_time(gamma, depth, output=output) == pytest.approx(whole / s, rel=1e-8)


@settings(max_examples=40, deadline=None)
@given(gammas, st.floats(0, 1 - 1e-6))
def test_two_layers_have_a_closed_form(gamma, output):
    found = richness_flow.flow_time(gamma, 2, output=output)
    assert found == pytest.approx(richness_flow.two_layer_flow_time(gamma, output=output), rel=1e-9)
    half = gamma**2 * np.log(2 + gamma) / (2 * (1 + gamma))
    assert richness_flow.two_layer_flow_time(gamma) == pytest.approx(half)


@settings(max_examples=25, deadline=None)
@given(st.floats(-2, 2).map(lambda power: 10.0**power), st.integers(1, 4), st.floats(0.1, 0.9), losses)
def test_small_steps_follow_the_flow(gamma, depth, output, loss):
    time = float(richness_flow.flow_time(gamma, depth, output=output, loss=loss))
    ends = [richness_flow.output_trajectory(time / n, gamma, depth, steps=n, loss=loss)[-1] for n in (2000, 4000)]
    # Euler's error is of first order in the step, so twice the finer result less the coarser one is of second.
    assert 2 * ends[1] - ends[0] == pytest.approx(output, rel=2e-4)


@pytest.mark.parametrize("loss", richness.TOY_LOSSES)
def test_lazy_limit(loss):
    depth, output = np.array([1, 2, 3, 4])[:, None], np.array([0.2, 0.5, 0.9])
    limit = richness_flow.lazy_flow_time(1e-7, depth, output=output, loss=loss)
    np.testing.assert_allclose(richness_flow.flow_time(1e-7, depth, output=output, loss=loss), limit, rtol=1e-6)
    alone = quad(lambda f: -1 / richness.loss_slope(f, loss), 0, 0.5, epsrel=1e-12)[0]
    assert richness_flow.lazy_flow_time(3.0, 4, loss=loss) == pytest.approx(9 / 4 * alone)
    assert richness_flow.lazy_flow_time(3.0, 4) == pytest.approx(9 / 4 * np.log(2))


@pytest.mark.parametrize("loss", richness.TOY_LOSSES)
def test_rich_limit(loss):
    slope = abs(richness.loss_slope(0, loss))
    gamma = np.array([1e10, 1e12])
    for depth in (3, 4, 6):
        limit = richness_flow.rich_flow_time(gamma, depth, loss=loss)
        assert limit[0] == pytest.approx(1e10 / (depth - 2) / slope)
        missing = 1 - richness_flow.flow_time(gamma, depth, loss=loss) / limit
        assert missing[1] / missing[0] == pytest.approx(100 ** -richness.plateau_exponent(depth), rel=0.01)
    found, limit = (
        function(gamma, 2, loss=loss) for function in (richness_flow.flow_time, richness_flow.rich_flow_time)
    )
    np.testing.assert_allclose(limit, gamma * np.log(gamma) / 2 / slope)
    # The two differ by a multiple of γ that does not depend on γ.
    difference = (found - limit) / gamma
    assert difference[0] == pytest.approx(difference[1], abs=1e-6)
    assert abs(difference[0]) < 2 / slope


@settings(max_examples=40, deadline=None)
@given(gammas, st.integers(1, 6), st.integers(1, 10**5), losses)
def test_least_learning_rate_is_that_of_the_steps(gamma, depth, steps, loss):
    least = richness_flow.least_learning_rate(steps, gamma, depth, loss=loss)
    assert steps * least == pytest.approx(richness_flow.flow_time(gamma, depth, loss=loss))
    share = least / richness.largest_learning_rate(gamma, depth, loss=loss)
    assert richness_flow.plateau_steps(gamma, depth, share=share, loss=loss) == pytest.approx(steps)


def test_plateau_lasts_longer_the_richer():
    gamma = np.geomspace(1e-6, 1e14, 200)
    for loss in richness.TOY_LOSSES:
        for depth in (2, 2.5, 3, 4, 12):
            steps = richness_flow.plateau_steps(gamma, depth, loss=loss)
            assert np.all(np.diff(steps) > 0)
            slope = np.log(steps[-1] / steps[-2]) / np.log(gamma[-1] / gamma[-2])
            if depth >= 3:
                assert slope == pytest.approx(richness.plateau_exponent(depth), abs=2e-4)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 2000), st.integers(3, 7), losses)
def test_triangle_closes_where_the_least_learning_rate_meets_the_largest(steps, depth, loss):
    gamma = richness_flow.closing_richness(steps, depth, loss=loss)
    least = richness_flow.least_learning_rate(steps, gamma, depth, loss=loss)
    assert least == pytest.approx(richness.largest_learning_rate(gamma, depth, loss=loss), rel=1e-9)


def test_closing_richness_of_two_layers_is_exponential():
    steps = np.array([0.4, 1, 5, 40, 300])
    np.testing.assert_allclose(richness_flow.closing_richness(steps, 2), np.exp(2 * steps) - 2, rtol=1e-10)
    np.testing.assert_allclose(richness_flow.leading_closing_richness(steps, 2), np.exp(2 * steps))
    assert richness_flow.closing_richness([0.3, 400], 2).tolist() == [0, np.inf]


@pytest.mark.parametrize("loss", richness.TOY_LOSSES)
def test_closing_richness_grows_by_its_power(loss):
    steps = np.array([1e5, 4e5])
    for depth in (3, 4, 6):
        found = richness_flow.closing_richness(steps, depth, loss=loss)
        power = np.log(found[1] / found[0]) / np.log(4)
        assert power == pytest.approx(richness.closing_exponent(depth), abs=1e-3)
        leading = richness_flow.leading_closing_richness(steps, depth, loss=loss)
        np.testing.assert_allclose(found, leading, rtol=2e-3)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 1), st.integers(1, 6), st.floats(0.02, 0.98))
def test_universal_map_converges_below_its_largest_step(start, depth, share):
    u, s = start, share * richness_flow.largest_step_size(depth)
    first = u
    for _ in range(20_000):
        last, u = u, float(richness_flow.universal_map(u, s, depth))
        if abs(u - last) < 1e-13:
            break
    wait = first ** (depth - 2) * s * 20_000
    assert u == pytest.approx(1, abs=1e-6) or (wait < 50 and u < 1)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 1.2), st.floats(1.0, 1.99))
def test_two_layers_stay_bounded_up_to_twice_the_largest_step(start, step):
    u, largest = start, 0.0
    for _ in range(300):
        u = float(richness_flow.universal_map(u, step, 2))
        largest = max(largest, abs(u))
    assert largest < np.sqrt(1 + 2 / step)


@settings(max_examples=30, deadline=None)
@given(gammas, st.integers(1, 6), st.floats(0.05, 0.9))
def test_trajectories_with_one_step_size_are_one_map(gamma, depth, share):
    rate = share * richness.largest_learning_rate(gamma, depth)
    found = richness_flow.output_trajectory(rate, gamma, depth, steps=30)
    u, s = richness_flow.universal_start(gamma, depth), richness_flow.step_size(rate, gamma, depth)
    assert s == pytest.approx(share * richness_flow.largest_step_size(depth))
    for f in found:
        assert ((1 + gamma) * u**depth - 1) / gamma == pytest.approx(f, rel=1e-6, abs=1e-9 / min(gamma, 1))
        u = richness_flow.universal_map(u, s, depth)


def test_trajectories_keep_their_digits_where_the_network_is_lazy():
    # γ → 0: f is that of the linearised network, 1 − (1 − ηL/γ²)^t.
    gamma = 1e-13
    rate = 0.3 * gamma**2 / 3
    found = richness_flow.output_trajectory(rate, gamma, 3, steps=10)
    np.testing.assert_allclose(found, 1 - 0.7 ** np.arange(11), rtol=1e-12)


def test_trajectories_take_arrays():
    gamma, depth = np.geomspace(0.1, 10, 5)[:, None], np.array([2, 3, 4])
    rate = 0.5 * richness.largest_learning_rate(gamma, depth)
    found = richness_flow.output_trajectory(rate, gamma, depth, steps=7)
    assert found.shape == (8, 5, 3)
    one = richness_flow.output_trajectory(rate[2, 1], gamma[2, 0], 3, steps=7)
    np.testing.assert_array_equal(found[:, 2, 1], one)
    assert richness_flow.flow_time(gamma, depth).shape == (5, 3)
    assert richness_flow.closing_richness(np.array([10.0, 20.0])[:, None], depth).shape == (2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: richness_flow.flow_time(1, 2, output=1), "output must be at least 0 and less than 1"),
        (lambda: richness_flow.rich_flow_time(1, 1), "depth must be at least 2"),
        (lambda: richness_flow.closing_richness(0, 3), "steps must be greater than 0"),
        (lambda: richness_flow.plateau_steps(-1, 3), "richness must be greater than 0"),
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
