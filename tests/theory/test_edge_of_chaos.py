import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.theory import edge_of_chaos, meanfield

EDGES = {"tanh": 1.0, "hard_tanh": 1.0, "erf": np.sqrt(np.pi) / 2}
ODD = tuple(EDGES)


def test_critical_line_with_biases():
    biases = np.array([0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 2])
    couplings = [1, 1.042126, 1.122539, 1.193401, 1.304146, 1.395584, 1.549674, 1.681759, 1.855589, 2.325025]
    squares = [1, 1.086026, 1.260094, 1.424205, 1.700796, 1.947655, 2.401489, 2.828312, 3.443211, 5.405741]
    variances = [0, 0.045709, 0.153692, 0.273301, 0.512079, 0.763475, 1.317939, 1.947255, 3.036396, 7.947507]
    edge = edge_of_chaos.critical_coupling(bias_scale=biases)
    np.testing.assert_allclose(edge, couplings, atol=6e-7)
    np.testing.assert_allclose(edge**2, squares, atol=6e-7)
    np.testing.assert_allclose(meanfield.field_moments(edge, bias_scale=biases).variance, variances, atol=6e-7)
    # The same line by its parameter.
    line = edge_of_chaos.critical_line(meanfield.field_moments(edge, bias_scale=biases).variance)
    np.testing.assert_allclose(line, (edge, biases), atol=1e-8)


def test_critical_line_by_variance_of_the_bias():
    edge = edge_of_chaos.critical_coupling(bias_scale=np.sqrt([0.05, 0.1, 0.5]))
    np.testing.assert_allclose(edge**2, [1.760955, 1.986073, 2.843167], atol=6e-7)


def test_bent_edge():
    ratios = np.array([1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0])
    inverses = [0.76338, 0.66279, 0.52308, 0.42085, 0.34026, 0.27503, 0.22170, 0.14226, 0.08948]
    couplings = [1.30996, 1.50878, 1.91174, 2.37614, 2.93889, 3.63598, 4.51066, 7.02946, 11.17539]
    means = [0.14794, 0.25802, 0.43620, 0.57270, 0.67693, 0.75609, 0.81600, 0.89545, 0.94081]
    squares = [0.28203, 0.41984, 0.61109, 0.73910, 0.82643, 0.88572, 0.92555, 0.96939, 0.98793]
    edge = edge_of_chaos.critical_coupling(ratios)
    np.testing.assert_allclose(1 / edge, inverses, atol=6e-6)
    np.testing.assert_allclose(edge, couplings, atol=6e-6)
    np.testing.assert_allclose(meanfield.order_parameters(edge, ratios * edge), (means, squares), atol=6e-6)
    np.testing.assert_array_equal(edge_of_chaos.critical_coupling(-ratios), edge)


def test_straight_edge():
    ratios = np.linspace(-1, 1, 9)
    for word, edge in EDGES.items():
        np.testing.assert_allclose(edge_of_chaos.critical_coupling(ratios, activation=word), edge, rtol=1e-14)
        assert edge_of_chaos.ferromagnetic_mean_coupling(0.4, activation=word) == pytest.approx(edge, rel=1e-14)


@pytest.mark.parametrize("word", ODD)
def test_the_bent_edge_begins_where_the_straight_one_ends(word):
    ratios = 1 + np.array([0, 1e-12, 1e-9, 1e-6, 1e-4, 1e-3])
    edge = edge_of_chaos.critical_coupling(ratios, activation=word) / EDGES[word]
    assert edge[0] == pytest.approx(1, abs=1e-14)
    assert np.all(np.diff(edge) > 0)
    assert edge[1] < 1 + 1e-5


def test_edge_of_relu():
    ratios = np.array([-5, -3, -2, -1, 0, 0.5, 1, 1.4, 2])
    inverses = [0.3920, 0.4631, 0.5152, 0.5887, 0.7071, 0.8061, 1, 1, 1]
    edge = edge_of_chaos.critical_coupling(ratios, activation="relu")
    np.testing.assert_allclose(1 / edge, inverses, atol=6e-5)
    np.testing.assert_array_equal(edge_of_chaos.critical_coupling(ratios, activation="relu", bias_scale=0.4), edge)
    assert edge[4] == pytest.approx(np.sqrt(2), rel=1e-14)
    line = edge_of_chaos.critical_line([0.5, 3], activation="relu")
    np.testing.assert_allclose(line, [[np.sqrt(2)] * 2, [0, 0]], atol=1e-7)


@pytest.mark.parametrize("word", [*ODD, "relu"])
@pytest.mark.parametrize("bias", [0.0, 0.05, 1.0])
def test_the_edge_is_where_the_word_changes(word, bias):
    """On every ray J0/J there is order below the edge, all the way, and chaos above."""
    ratio = np.linspace(-2, 2.4, 23)[:, None]
    factor = np.concatenate([np.linspace(0.02, 0.999, 20), np.linspace(1.001, 8, 20)])
    edge = edge_of_chaos.critical_coupling(ratio, activation=word, bias_scale=bias)
    np.testing.assert_allclose(growth(edge, ratio, word, bias), 1, rtol=1e-12)
    words = meanfield.phase(edge * factor, ratio * edge * factor, activation=word, bias_scale=bias)
    np.testing.assert_array_equal(words == "chaos", np.broadcast_to(factor > 1, words.shape))


def growth(coupling, ratio, word, bias):
    return meanfield.perturbation_growth(coupling, ratio * coupling, activation=word, bias_scale=bias)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([*ODD, "relu"]), st.floats(-2, 2), st.just(0.0) | st.floats(0.01, 1))
def test_growth_is_one_on_the_edge(word, ratio, bias):
    edge = edge_of_chaos.critical_coupling(ratio, activation=word, bias_scale=bias)
    assert growth(edge, ratio, word, bias) == pytest.approx(1, abs=1e-9)
    # Hard tanh leaves χ₁ = 1 as slowly as a Gaussian tail.
    assert growth(edge * 0.9, ratio, word, bias) < 1 < growth(edge * 1.2, ratio, word, bias)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ODD), st.floats(0, 10), st.just(0.0) | st.floats(0.01, 1))
def test_a_mean_appears_at_the_ferromagnetic_line(word, coupling, bias):
    line = edge_of_chaos.ferromagnetic_mean_coupling(coupling, activation=word, bias_scale=bias)
    words = {"activation": word, "bias_scale": bias}
    assert meanfield.order_parameters(coupling, line * (1 - 1e-6), **words).mean == 0
    assert meanfield.order_parameters(coupling, line * 1.01, **words).mean > 0


def test_para_ends_at_mean_coupling_one():
    couplings = np.array([0.0, 0.3, 0.99])
    np.testing.assert_array_equal(edge_of_chaos.ferromagnetic_mean_coupling(couplings), 1)
    np.testing.assert_array_equal(meanfield.phase(couplings, 0.9999), "para")
    np.testing.assert_array_equal(meanfield.phase(couplings, 1.0001), "ferro")
    # In chaos the line goes on, to J0/J = √(π/2) for large J.
    assert edge_of_chaos.ferromagnetic_mean_coupling(1e4) / 1e4 == pytest.approx(np.sqrt(np.pi / 2), rel=1e-3)
    assert edge_of_chaos.ferromagnetic_mean_coupling(1e4, activation="relu") == 1


def test_steep_edges():
    """For large J the edge is J = (3/4)√(2π) exp(x²/2), x = J0/J."""
    steep = edge_of_chaos.critical_coupling([4, 5, 6])
    np.testing.assert_allclose(steep / (0.75 * np.sqrt(2 * np.pi) * np.exp(np.array([8, 12.5, 18]))), 1, rtol=1e-2)


@pytest.mark.parametrize(
    ("arguments", "words", "message"),
    [
        ((7.5,), {}, "within ±7, not ±7.5"),
        ((np.nan,), {}, "coupling_ratio must be finite"),
        ((0,), {"bias_scale": -1}, "bias_scale must be at least 0"),
        ((0,), {"activation": "gelu"}, "unknown activation 'gelu'"),
    ],
)
def test_nonsense_is_refused(arguments, words, message):
    with pytest.raises(ValueError, match=message):
        edge_of_chaos.critical_coupling(*arguments, **words)
    with pytest.raises(ValueError, match="field_variance must be at least 0"):
        edge_of_chaos.critical_line(-1)
