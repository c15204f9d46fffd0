import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.theory import edge_of_chaos, meanfield
from sgdphases.theory.gaussian_averages import AVERAGES

ODD = ("erf", "hard_tanh", "tanh")

couplings = st.floats(0.05, 12)
ratios = st.floats(-2, 2)
biases = st.just(0.0) | st.floats(0.01, 1)

# Published J are 1/J on a grid of step 0.02: 1.3514 is 1/0.74.
COUPLINGS = np.array([0.8, 1.05, 1.2, 1 / 0.74, 1.5, 1 / 0.58, 2, 1 / 0.34, 3, 1 / 0.18, 10, 50])


def test_table_without_mean_coupling():
    squares = [0, 0.04830, 0.17327, 0.27350, 0.35260, 0.44564, 0.53037, 0.69400, 0.70060, 0.84626, 0.91705, 0.98392]
    growths = [0.64, 1.002876, 1.033501, 1.082238, 1.139323, 1.235260, 1.362673, 1.829828, 1.859855, 3.192749, 5.544854]
    norms = [0.8, 1.001437, 1.016613, 1.040307, 1.067391, 1.111422, 1.167336, 1.352711, 1.363765, 1.786826, 2.354751]
    exponents = [-0.22314, 0.001436, 0.016476, 0.039516, 0.065217, 0.105641, 0.154724, 0.302111, 0.310249, 0.580441]
    mean, square = meanfield.order_parameters(COUPLINGS)
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_allclose(square, squares, atol=6e-6)
    np.testing.assert_allclose(meanfield.perturbation_growth(COUPLINGS), [*growths, 26.81091], atol=6e-7, rtol=2e-7)
    np.testing.assert_allclose(meanfield.jacobian_norm(COUPLINGS), [*norms, 5.177925], atol=6e-7)
    lyapunov = meanfield.lyapunov_exponent(COUPLINGS)
    np.testing.assert_allclose(lyapunov[1:], [*exponents[1:], 0.856435, 1.644404], atol=6e-7)
    assert lyapunov[0] == pytest.approx(-0.22314, abs=6e-6)


@pytest.mark.parametrize(
    ("square_coupling", "square_bias", "variance", "growth", "depth"),
    [
        (1.5, 0.05, 0.418037, 0.938636, 1.6828),
        (1.7, 0.05, 0.533076, 0.986741, 1.5583),
        (1.9, 0.05, 0.657112, 1.028452, 1.4409),
        (4, 0, 2.121474, 1.362673, 0.9044),
        (6.25, 0.09, 4.079124, 1.585225, 0.6883),
    ],
)
def test_table_with_biases(square_coupling, square_bias, variance, growth, depth):
    coupling, words = np.sqrt(square_coupling), {"bias_scale": np.sqrt(square_bias)}
    field = meanfield.field_moments(coupling, **words)
    assert field.mean == 0
    assert field.variance == pytest.approx(variance, abs=6e-7)
    assert meanfield.perturbation_growth(coupling, **words) == pytest.approx(growth, abs=6e-7)
    assert meanfield.mean_square_depth_scale(coupling, **words) == pytest.approx(depth, abs=6e-5)


def test_examples_of_poole():
    growth = meanfield.perturbation_growth([1.3, 2.5, 4], bias_scale=0.3)
    assert growth[0] < 1 < growth[1] < growth[2]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ODD), couplings, ratios, biases)
def test_the_state_satisfies_its_own_equations(word, coupling, ratio, bias):
    mean_coupling = ratio * coupling
    words = {"activation": word, "bias_scale": bias}
    u, q = meanfield.order_parameters(coupling, mean_coupling, **words)
    field = meanfield.field_moments(coupling, mean_coupling, **words)
    assert u >= 0
    assert field.mean == pytest.approx(abs(mean_coupling) * u, abs=1e-10)
    assert field.variance == pytest.approx(coupling**2 * q + bias**2, rel=1e-10, abs=1e-10)
    # The equations with the trapezoidal rule of the dossier; closed forms where a kink would spoil it.
    if word == "hard_tanh":
        m, s = np.atleast_1d(field.mean), np.sqrt(np.atleast_1d(field.variance))
        expected = AVERAGES[word].mean(m, s)[0], AVERAGES[word].mean_square(m, s)[0]
    else:
        z = np.linspace(-12, 12, 4801)
        weights = (z[1] - z[0]) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        value = AVERAGES[word].value(field.mean + np.sqrt(field.variance) * z)
        expected = weights @ value, weights @ value**2
    np.testing.assert_allclose((u, q), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("coupling", "mean_coupling", "bias"), [(3, 4.2, 0), (1.4, 1.3, 0.2), (0.7, 1.6, 0), (2, 0, 0.5)]
)
def test_iterating_the_equations_leads_to_the_same_state(coupling, mean_coupling, bias):
    z = np.linspace(-12, 12, 4801)
    weights = (z[1] - z[0]) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    u, q = 0.5, 0.5
    for _ in range(2000):
        value = np.tanh(mean_coupling * u + np.sqrt(coupling**2 * q + bias**2) * z)
        u, q = weights @ value, weights @ value**2
    state = meanfield.order_parameters(coupling, mean_coupling, bias_scale=bias)
    np.testing.assert_allclose(state, (u, q), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ODD), couplings, ratios, biases)
def test_odd_activations_do_not_see_the_sign_of_the_mean_coupling(word, coupling, ratio, bias):
    words = {"activation": word, "bias_scale": bias}
    for law in (
        meanfield.perturbation_growth,
        meanfield.order_parameters,
        meanfield.relaxation_depth_scale,
        meanfield.phase,
    ):
        np.testing.assert_array_equal(
            law(coupling, ratio * coupling, **words), law(coupling, -ratio * coupling, **words)
        )


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ODD), couplings, ratios, biases)
def test_words_of_phases(word, coupling, ratio, bias):
    words = {"activation": word, "bias_scale": bias}
    name = meanfield.phase(coupling, ratio * coupling, **words)
    growth = meanfield.perturbation_growth(coupling, ratio * coupling, **words)
    mean = meanfield.order_parameters(coupling, ratio * coupling, **words).mean
    assert (name == "chaos") == (growth > 1) == (meanfield.lyapunov_exponent(coupling, ratio * coupling, **words) > 0)
    if name == "para":
        assert mean == 0
    if name == "ferro":
        assert mean > 0


@pytest.mark.parametrize("word", ODD)
def test_the_state_attracts(word):
    """Off the lines where a mode is marginal, u and q relax to what the solver gives."""
    coupling, mean_coupling = np.array([0.53, 0.81, 1.37, 2.3, 5.1])[:, None], np.linspace(-4.03, 4.07, 30)
    for bias in (0.0, 0.3):
        scale = meanfield.relaxation_depth_scale(coupling, mean_coupling, activation=word, bias_scale=bias)
        assert np.all(np.isfinite(scale))


def test_the_three_phases_meet_at_one_point():
    around = meanfield.phase([0.9, 0.9, 1.1, 1.0, 1.3], [0.9, 1.1, 0.9, 1.0, 1.8])
    np.testing.assert_array_equal(around, ["para", "ferro", "chaos", "para", "ferro"])


def test_nothing_survives_up_to_the_edge():
    mean, square = meanfield.order_parameters([0, 0.3, 0.999999, 1], [0, -1, 0.5, 1])
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(square, 0)


def test_digits_are_kept_close_to_the_edge():
    """1/J² = E[tanh²]/s² = 1 − 2s² + (17/3)s⁴ from tanh²x = x² − (2/3)x⁴ + (17/45)x⁶."""
    excess = np.array([1e-9, 1e-7, 1e-5])
    variance = meanfield.field_moments(1 + excess).variance
    np.testing.assert_allclose(2 * variance - 17 / 3 * variance**2, 1 - 1 / (1 + excess) ** 2, rtol=1e-5)


def test_excess_of_the_growth_beside_the_edge():
    couplings = np.array([1.001, 1.003, 1.01, 1.03])
    excess = (meanfield.perturbation_growth(couplings) - 1) / (edge_of_chaos.near_edge_growth(couplings) - 1)
    np.testing.assert_allclose(excess, [0.997, 0.990, 0.968, 0.912], atol=6e-4)
    # The same 4/3 for erf, whose edge is at √π/2.
    edge = np.sqrt(np.pi) / 2
    erf = meanfield.perturbation_growth(edge * 1.001, activation="erf") - 1
    assert erf == pytest.approx(edge_of_chaos.near_edge_growth(edge * 1.001, activation="erf") - 1, rel=5e-3)
    assert edge_of_chaos.near_edge_growth(0.8) == pytest.approx(0.64)


def test_a_state_without_disorder():
    """J = 0 is a ferromagnet: u = tanh(J0 u)."""
    mean, square = meanfield.order_parameters(0, 2)
    assert mean == pytest.approx(np.tanh(2 * mean), abs=1e-14)
    assert square == pytest.approx(mean**2, abs=1e-14)
    assert meanfield.lyapunov_exponent(0, 2) == -np.inf
    assert meanfield.phase(0, 2) == "ferro"


def test_relu():
    words = {"activation": "relu"}
    np.testing.assert_allclose(meanfield.perturbation_growth([0.5, 1, 2, 9], **words), [0.125, 0.5, 2, 40.5])
    # Without J0 the variance of the field is σ_b²/(1 − σ_w²/2).
    field = meanfield.field_moments([0.5, 1.2, 1.5, 1], bias_scale=[0.3, 0.3, 0.3, 0], **words)
    np.testing.assert_allclose(field.variance, [0.09 / 0.875, 0.09 / 0.28, np.inf, 0])
    np.testing.assert_array_equal(field.mean, 0)
    u, q = meanfield.order_parameters(1.2, bias_scale=0.3, **words)
    assert u == pytest.approx(np.sqrt(0.09 / 0.28 / (2 * np.pi)))
    assert q == pytest.approx(0.09 / 0.28 / 2)
    phases = meanfield.phase([1, 2, 0.5, 1.2, 0.5], [0, 0, 1.5, -1, 0.5], bias_scale=[0, 0, 0, 0, 0.1], **words)
    np.testing.assert_array_equal(phases, ["para", "chaos", "ferro", "para", "ferro"])


@pytest.mark.parametrize(("coupling", "mean_coupling", "bias"), [(1.1, 0.2, 0.3), (1.6, -1.9, 0.3), (0.5, -0.4, 1.0)])
def test_relu_with_a_mean_coupling(coupling, mean_coupling, bias):
    words = {"activation": "relu", "bias_scale": bias}
    u, q = meanfield.order_parameters(coupling, mean_coupling, **words)
    field = meanfield.field_moments(coupling, mean_coupling, **words)
    assert field.mean == pytest.approx(mean_coupling * u)
    assert field.variance == pytest.approx(coupling**2 * q + bias**2)
    m, s = np.atleast_1d(field.mean), np.sqrt(np.atleast_1d(field.variance))
    assert AVERAGES["relu"].mean(m, s)[0] == pytest.approx(u)
    assert AVERAGES["relu"].mean_square(m, s)[0] == pytest.approx(q)


def test_a_relu_that_runs_away():
    mean, square = meanfield.order_parameters([0.5, 2], [1.2, 0], activation="relu")
    np.testing.assert_array_equal([mean, square], np.inf)
    assert meanfield.perturbation_growth(0.5, 1.2, activation="relu") == 0.25


def test_depth_scales_diverge_where_they_should():
    para = meanfield.relaxation_depth_scale(0.5, [0.2, 0.999, 1.0, 1.001])
    assert para[0] == pytest.approx(-1 / np.log(0.25))
    assert para[1] == pytest.approx(1000, rel=1e-2)
    assert para[2] == np.inf
    # Beyond the line the mean relaxes twice as fast as at the same distance before it.
    assert para[3] == pytest.approx(500, rel=1e-2)
    assert meanfield.mean_square_depth_scale(1.0) == np.inf
    # A symmetric state without bias: the modes do not mix.
    assert meanfield.relaxation_depth_scale(2, 0) == meanfield.mean_square_depth_scale(2, 0)


def test_relaxation_depth_scale_against_the_map_itself():
    coupling, mean_coupling = 1.6, 2.4
    z = np.linspace(-12, 12, 4801)
    weights = (z[1] - z[0]) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    state = np.array(meanfield.order_parameters(coupling, mean_coupling))
    point, distances = state + 1e-3, []
    for _ in range(30):
        value = np.tanh(mean_coupling * point[0] + coupling * np.sqrt(point[1]) * z)
        point = np.array([weights @ value, weights @ value**2])
        distances.append(np.linalg.norm(point - state))
    rate = np.log(distances[9] / distances[14]) / 5
    assert meanfield.relaxation_depth_scale(coupling, mean_coupling) == pytest.approx(1 / rate, rel=1e-2)


def test_a_whole_phase_diagram_in_a_shape():
    inverse, ratio = np.linspace(0.02, 2, 12)[:, None], np.linspace(-1, 2, 16)
    growth = meanfield.perturbation_growth(1 / inverse, ratio / inverse)
    assert growth.shape == (12, 16)
    assert growth[3, 5] == meanfield.perturbation_growth(1 / inverse[3, 0], ratio[5] / inverse[3, 0])
    edge = edge_of_chaos.critical_coupling(ratio)
    np.testing.assert_array_equal(meanfield.phase(1 / inverse, ratio / inverse) == "chaos", 1 / inverse > edge)


@pytest.mark.parametrize(
    ("arguments", "words", "message"),
    [
        ((-1,), {}, "coupling must be at least 0, not -1"),
        ((1, np.nan), {}, "mean_coupling must be finite"),
        ((np.inf,), {}, "coupling must be finite"),
        ((1,), {"bias_scale": -0.1}, "bias_scale must be at least 0"),
        ((1,), {"activation": "tahn"}, "did you mean 'tanh'"),
    ],
)
def test_nonsense_is_refused(arguments, words, message):
    with pytest.raises(ValueError, match=message):
        meanfield.order_parameters(*arguments, **words)


def test_the_expansion_is_refused_for_kinks():
    with pytest.raises(ValueError, match="allowed: erf, tanh"):
        edge_of_chaos.near_edge_growth(1.1, activation="hard_tanh")
