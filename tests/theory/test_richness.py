import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.theory import richness

gammas = st.floats(-6, 6).map(lambda power: 10.0**power)
depths = st.integers(1, 8)


def toy_hessian(gamma, depth, weight, loss):
    """Hessian of the loss by the L weights of the chain, all equal to `weight`, term by term."""
    f = (weight**depth - 1) / gamma
    gradient = np.full(depth, weight ** (depth - 1) / gamma)
    second = np.full((depth, depth), weight ** (depth - 2) / gamma) if depth > 1 else np.zeros((1, 1))
    np.fill_diagonal(second, 0.0)
    outer = np.outer(gradient, gradient)
    return richness.loss_curvature(f, loss) * outer + richness.loss_slope(f, loss) * second


@settings(max_examples=60, deadline=None)
@given(gammas, depths, st.sampled_from(richness.TOY_LOSSES))
def test_sharpness_is_that_of_the_hessian(gamma, depth, loss):
    levels = np.linalg.eigvalsh(toy_hessian(gamma, depth, 1.0, "half_squared_error"))
    scale = np.abs(levels).max() * 1e-13
    assert richness.lowest_initial_sharpness(gamma, depth) == pytest.approx(levels[0], abs=scale)
    assert richness.initial_sharpness(gamma, depth) == pytest.approx(levels[-1], abs=scale)
    end = np.linalg.eigvalsh(toy_hessian(gamma, depth, float(richness.minimiser(gamma, depth)), loss))
    # At the minimum the loss has no slope but for rounding, which 1/γ makes larger.
    assert richness.final_sharpness(gamma, depth, loss=loss) == pytest.approx(end[-1], rel=1e-8)


def test_sharpness_at_the_start_changes_its_power_at_richness_1():
    gamma = np.array([1e-3, 1, 1e3])
    np.testing.assert_allclose(richness.initial_sharpness(gamma, 3), [3e6 - 2e3, 1, 1e-3])
    np.testing.assert_allclose(richness.lowest_initial_sharpness(gamma, 3), [1e3, 1, 3e-6 - 2e-3])
    assert richness.initial_sharpness(10, 1) == richness.lowest_initial_sharpness(10, 1) == pytest.approx(0.01)


@given(gammas, st.floats(1, 9))
def test_largest_learning_rate_is_a_smooth_broken_power_law(gamma, depth):
    rate = richness.largest_learning_rate(gamma, depth)
    assert rate == pytest.approx(2 / depth * gamma**2 * (1 + gamma) ** (2 / depth - 2))
    above, below = (np.log(richness.largest_learning_rate(gamma * np.exp(shift), depth)) for shift in (1e-5, -1e-5))
    assert (above - below) / 2e-5 == pytest.approx(richness.largest_learning_rate_slope(gamma, depth), abs=1e-6)
    entropy = richness.largest_learning_rate(gamma, depth, loss="cross_entropy")
    assert entropy * richness.loss_curvature(1, "cross_entropy") == pytest.approx(rate)


def test_slopes_are_those_of_the_table_far_from_richness_1():
    for depth in (2, 3, 4, 7):
        for regime, gamma in (("lazy", 1e-9), ("rich", 1e9)):
            exponents = richness.learning_rate_exponents(depth, loss="half_squared_error", regime=regime)
            assert richness.largest_learning_rate_slope(gamma, depth) == pytest.approx(exponents.largest, abs=1e-8)
            assert exponents.critical == exponents.largest


def test_table():
    words = {"loss": "mean_squared_error"}
    assert richness.learning_rate_exponents(3, regime="lazy", **words) == (2, 2, 2)
    assert richness.learning_rate_exponents(3, regime="rich", **words) == pytest.approx((1, 2 / 3, 2 / 3))
    words = {"loss": "cross_entropy"}
    assert richness.learning_rate_exponents(4, regime="lazy", **words) == (2, 2, 1)
    assert richness.learning_rate_exponents(4, regime="rich", **words) == (1, 0.5, 0.5)
    np.testing.assert_allclose(richness.plateau_exponent([2, 3, 4]), [0, 1 / 3, 1 / 2])
    np.testing.assert_array_equal(richness.closing_exponent([2, 3, 4]), [np.inf, 3, 2])


@given(st.floats(-30, 30), st.sampled_from(richness.TOY_LOSSES))
def test_losses_have_their_slope_and_curvature_and_their_minimum_at_1(output, loss):
    step = 1e-4
    values, slopes = (
        [function(output + shift, loss) for shift in (-step, 0, step)]
        for function in (richness.loss_value, richness.loss_slope)
    )
    assert (values[2] - values[0]) / (2 * step) == pytest.approx(slopes[1], abs=1e-6)
    assert (slopes[2] - slopes[0]) / (2 * step) == pytest.approx(richness.loss_curvature(output, loss), abs=1e-6)
    assert np.sign(richness.loss_slope(output, loss)) == np.sign(output - 1)


def relu_losses(rng, *, gamma, learning_rate, init_scale, steps=40):
    """Losses of a centred three-layer ReLU network without biases, half the mean square, full batch."""
    weights = [init_scale * rng.standard_normal(shape) for shape in ((6, 3), (6, 6), (1, 6))]
    inputs, targets = rng.standard_normal((8, 3)), rng.standard_normal((8, 1))

    def passed(weights):
        hidden = [inputs]
        for layer, matrix in enumerate(weights):
            field = hidden[-1] @ matrix.T / np.sqrt(matrix.shape[1])
            hidden.append(field if layer == 2 else np.maximum(field, 0))
        return hidden

    reference, losses = passed(weights)[-1], []
    for _ in range(steps):
        hidden = passed(weights)
        error = (hidden[-1] - reference) / gamma - targets
        losses.append(np.mean(error**2) / 2)
        delta = error / len(inputs) / gamma
        for layer in (2, 1, 0):
            root = np.sqrt(weights[layer].shape[1])
            gradient, delta = delta.T @ hidden[layer] / root, delta @ weights[layer] / root * (hidden[layer] > 0)
            weights[layer] = weights[layer] - learning_rate * gradient
    return np.array(losses)


@pytest.mark.parametrize("gamma", [0.05, 5.0, 300.0])
def test_a_homogeneous_network_at_unit_richness_trains_alike(gamma):
    rate = 0.3 * float(richness.largest_learning_rate(gamma, 3))
    one, eta, scale = richness.equivalent_at_unit_richness(gamma, rate, 1.2, depth=3)
    assert one == 1
    words = {"gamma": gamma, "learning_rate": rate, "init_scale": 1.2}
    found = relu_losses(np.random.default_rng(5), **words)
    same = relu_losses(np.random.default_rng(5), gamma=1.0, learning_rate=eta, init_scale=scale)
    np.testing.assert_allclose(same, found, rtol=1e-9)
    other = relu_losses(np.random.default_rng(5), gamma=1.0, learning_rate=rate * gamma ** (-2 / 4), init_scale=scale)
    assert np.abs(other / found - 1).max() > 1e-4


def test_clocks():
    np.testing.assert_allclose(richness.early_time([0, 10], learning_rate=4.0, richness=20.0), [0, 2])
    late = richness.late_time(10, learning_rate=4.0, richness=8.0, depth=np.array([2, 3]))
    np.testing.assert_allclose(late, [5, 10])


def test_laws_take_arrays():
    gamma, depth = np.geomspace(0.1, 10, 5)[:, None], np.array([2, 3, 4])
    for law in (richness.minimiser, richness.initial_sharpness, richness.final_sharpness):
        assert law(gamma, depth).shape == (5, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: richness.final_sharpness(0, 2), "richness must be greater than 0"),
        (lambda: richness.minimiser(1, 0.5), "depth must be at least 1"),
        (lambda: richness.closing_exponent(1), "depth must be at least 2"),
        (lambda: richness.loss_slope(1, "cross_entropi"), "unknown toy loss 'cross_entropi' .did you mean"),
        (lambda: richness.learning_rate_exponents(2, loss="hinge", regime="rich"), "unknown loss 'hinge'"),
        (lambda: richness.learning_rate_exponents(2, loss="cross_entropy", regime="deep"), "unknown regime"),
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
