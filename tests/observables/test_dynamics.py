"""The dynamics of square maps: exact oracles, published values, phases, controls."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sgdphases.observables import dynamics
from sgdphases.observables.controls import CONTROLS, bulk_edge, controlled, random_frame
from sgdphases.observables.measurement import Measurement
from sgdphases.observables.orbits import (
    AVERAGED,
    ITERATIONS,
    LAST,
    PERTURBATION,
    SquareMap,
    asymptotics,
    attractor,
)
from sgdphases.observables.snapshot import Part, Snapshot
from sgdphases.theory import correlation_map, meanfield

WORDS = [
    "excess_kurtosis",
    "spectral_radius",
    "top_singular_values",
    "asymptotic_distance",
    "jacobian_norm",
    "lyapunov",
    "lyapunov_error",
    "dynamics",
    "poincare",
]


def orbits_of(matrices, *, activation="tanh", biases=None, starts=10, seed=3):
    """Both runs of a map from Gaussian starts."""
    square = SquareMap(matrices, biases or [None] * len(matrices), activation)
    images = np.random.default_rng(seed).standard_normal((starts, square.width))
    found = asymptotics(square, images, seed=seed)
    return found, attractor(square, found.states, seed=seed)


def rotation(angle):
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


@pytest.mark.parametrize("scale", [0.95, 0.99])
def test_a_scaled_orthogonal_matrix_is_exact(scale):
    """Dossier 5.6: every measure of s Q in the linear map is known to rounding."""
    matrix = scale * random_frame(np.random.default_rng(1), 50, 50)
    found, along = orbits_of([matrix], activation="linear")
    np.testing.assert_allclose(found.jacobian_norm, scale, rtol=1e-12)
    np.testing.assert_allclose(along.exponent, math.log(scale), rtol=1e-10)
    last = np.arange(ITERATIONS - LAST + 1, ITERATIONS + 1)
    expected = PERTURBATION * math.sqrt(50) * np.mean(scale**last)
    np.testing.assert_allclose(found.distance, expected, rtol=0.35)  # a chi distribution with 50 degrees of freedom
    np.testing.assert_allclose(found.distance.mean(), expected, rtol=0.1)
    assert dynamics._spectral_radius(SquareMap([matrix], [None], "linear").product) == pytest.approx(scale)


def test_exponents_of_several_layers_multiply():
    numbers = np.random.default_rng(2)
    first, second = 0.9 * random_frame(numbers, 20, 20), 1.05 * random_frame(numbers, 20, 20)
    found, along = orbits_of([first, second], activation="linear")
    np.testing.assert_allclose(along.exponent, math.log(0.9 * 1.05), rtol=1e-10)
    np.testing.assert_allclose(found.jacobian_norm, 0.945, rtol=0.05)  # by random probes


@pytest.mark.parametrize(("growth", "label"), [(0.9, dynamics.ZERO), (1.2, dynamics.QUASI_PERIODIC)])
def test_a_rotation_goes_round_from_one_on(growth, label):
    """Dossier 5.7: x -> tanh(a R x) in the plane has a Neimark-Sacker bifurcation at a = 1."""
    _, along = orbits_of([growth * rotation(1.0)])
    assert dynamics.phase(along) == label
    expected = math.log(growth) if growth < 1 else 0.0
    np.testing.assert_allclose(along.exponent, expected, atol=2e-3)


@pytest.mark.parametrize(
    ("matrix", "label", "period"),
    [
        (0.5 * np.eye(6), dynamics.ZERO, None),
        (1.5 * np.eye(6), dynamics.FIXED_POINT, 1),
        (-1.5 * np.eye(6), dynamics.CYCLE, 2),
        (1.5 * np.roll(np.eye(6), 1, axis=0), dynamics.CYCLE, 6),
    ],
)
def test_orbits_that_close_are_told_apart(matrix, label, period):
    _, along = orbits_of([matrix])
    assert dynamics.phase(along) == label
    assert period is None or np.median(along.period) == period
    assert (along.exponent < 0).all()


def test_both_signs_of_a_fixed_point_are_no_chaos():
    """The map is odd: a perturbation across a basin's edge makes a distance, but no exponent."""
    square = SquareMap([1.5 * np.eye(4)], [None], "tanh")
    images = np.full((6, 4), 1e-6)
    found = asymptotics(square, images, seed=0)
    assert np.median(found.distance) > 1
    along = attractor(square, found.states, seed=0)
    assert (along.exponent < -0.1).all()
    assert dynamics.phase(along) == dynamics.FIXED_POINT


@pytest.mark.parametrize(("coupling", "tolerance"), [(2.0, 0.005), (3.0, 0.006)])
def test_random_matrices_have_mean_fields_values(coupling, tolerance):
    """Dossier 5.4 and 5.5 at N = 784: distance within 2 %, exponent within .005 plus its scatter over matrices."""
    gaussian = np.random.default_rng(7).standard_normal((784, 784)) / 28
    found, along = orbits_of([coupling * gaussian])
    theory = float(correlation_map.asymptotic_distance(coupling, width=784))
    assert np.median(found.distance) == pytest.approx(theory, rel=0.02)
    assert along.exponent.mean() == pytest.approx(float(meanfield.lyapunov_exponent(coupling)), abs=tolerance)
    assert found.jacobian_norm.mean() == pytest.approx(float(meanfield.jacobian_norm(coupling)), rel=0.02)
    assert dynamics.phase(along) == dynamics.CHAOS


def test_below_the_edge_the_spectral_radius_tells_the_exponent():
    gaussian = np.random.default_rng(8).standard_normal((200, 200)) / math.sqrt(200)
    matrix = 0.8 * gaussian
    found, along = orbits_of([matrix])
    radius = np.abs(np.linalg.eigvals(matrix)).max()
    assert along.exponent.mean() == pytest.approx(math.log(radius), abs=5e-3)
    np.testing.assert_allclose(found.jacobian_norm, np.linalg.norm(matrix) / math.sqrt(200), rtol=1e-6)
    assert (found.distance < 1e-12).all()
    assert dynamics.phase(along) == dynamics.ZERO


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_jacobian_norm_of_several_layers_is_that_of_autograd(activation):
    numbers = np.random.default_rng(4)
    shapes = [(30, 30), (12, 30), (30, 12)]
    matrices = [numbers.standard_normal(shape) * 1.2 / math.sqrt(shape[1]) for shape in shapes]
    biases = [0.1 * numbers.standard_normal(shape[0]) for shape in shapes]
    square = SquareMap(matrices, biases, activation)
    state = torch.tensor(numbers.standard_normal((1, 30)))
    jacobian = torch.autograd.functional.jacobian(lambda row: square.step(row[None])[0][0], state[0])
    exact = float(jacobian.square().sum()) / 30
    gains = [float(square.gain(state, np.random.default_rng(seed))[0]) for seed in range(200)]
    assert np.mean(gains) == pytest.approx(exact, rel=4 * np.std(gains) / exact / math.sqrt(200))
    tangent = torch.tensor(numbers.standard_normal((1, 30)))
    np.testing.assert_allclose(square.step(state, tangent)[1][0], jacobian @ tangent[0], rtol=1e-10)


def test_a_map_that_explodes_has_no_phase():
    found, along = orbits_of([3 * np.eye(5)], activation="relu")
    assert np.isnan(found.distance).any() or not np.isfinite(found.states).all() or (along.end > 1e100).any()
    assert dynamics.phase(along) in (dynamics.NO_PHASE, dynamics.ZERO, dynamics.CRITICAL)


def test_controls_keep_what_they_say_and_nothing_else():
    numbers = np.random.default_rng(5)
    matrix = 0.1 * numbers.standard_normal((60, 60)) + np.outer(numbers.standard_normal(60), np.ones(60)) / 60
    singular = np.linalg.svd(matrix, full_matrices=False)
    made = {name: controlled(matrix, singular, name, seed=9, layer=0) for name in CONTROLS}
    assert made["trained"] is not None
    np.testing.assert_array_equal(made["trained"], matrix)
    np.testing.assert_array_equal(np.sort(made["shuffled"], axis=None), np.sort(matrix, axis=None))
    assert not np.allclose(made["shuffled"], matrix)
    np.testing.assert_allclose(np.linalg.svd(made["same_spectrum"], compute_uv=False), singular[1], rtol=1e-10)
    capped = np.linalg.svd(made["outliers_removed"], compute_uv=False)
    np.testing.assert_allclose(capped, np.minimum(singular[1], bulk_edge(matrix)), rtol=1e-9)
    assert capped[0] < singular[1][0]
    assert made["gaussian"].mean() == pytest.approx(matrix.mean(), abs=1e-12)
    assert made["gaussian"].std() == pytest.approx(matrix.std(), rel=1e-10)
    again = controlled(matrix, singular, "shuffled", seed=9, layer=0)
    np.testing.assert_array_equal(again, made["shuffled"])
    with pytest.raises(ValueError, match="control 'turned' is unknown"):
        controlled(matrix, singular, "turned", seed=9, layer=0)


def test_the_map_is_the_largest_square_one():
    assert dynamics.map_layers([784, 784, 10]) == 1
    assert dynamics.map_layers([784, 784, 100, 784, 10]) == 3
    assert dynamics.map_layers([784, 100, 10]) == 0


def small(make: SimpleNamespace, networks: int = 3) -> tuple:
    shard = make.shard(networks=networks, network={"widths": [8, 8, 2]})
    return shard, {seed: make.task(shard, seed) for seed in range(networks)}, make.weights(shard)


def test_a_network_measures_the_same_alone(make: SimpleNamespace) -> None:
    shard, tasks, weights = small(make)
    whole = Measurement(shard, tasks, initial_weights=weights, words=WORDS).at(weights)
    alone = shard.select([1])
    part = {layer: matrix[1:2] for layer, matrix in weights.items()}
    single = Measurement(alone, tasks, initial_weights=part, words=WORDS).at(part)
    for word, values in single.items():
        np.testing.assert_array_equal(values[0], whole[word][1], err_msg=word)
    assert whole["lyapunov"].shape == (3, len(CONTROLS))
    assert whole["asymptotic_distance"].shape[:2] == (3, len(CONTROLS))
    assert whole["excess_kurtosis"].shape == (3, 2)
    assert set(np.unique(whole["dynamics"])) <= {-1, *dynamics.PHASES}


def test_kurtosis(make: SimpleNamespace) -> None:
    shard, tasks, weights = small(make, networks=1)
    snapshot = Snapshot(Part(shard, np.arange(1), list(tasks.values()), weights), weights, {})
    entries = weights[0][0].ravel()
    centred = entries - entries.mean()
    assert dynamics.excess_kurtosis(snapshot)[0, 0] == pytest.approx(np.mean(centred**4) / np.var(entries) ** 2 - 3)


def test_networks_without_a_square_map_are_refused(make: SimpleNamespace) -> None:
    shard = make.shard(networks=1)
    with pytest.raises(ValueError, match="cannot measure lyapunov: no hidden layer is as wide as the input"):
        Measurement(shard, {0: make.task(shard)}, initial_weights=make.weights(shard), words=["lyapunov"])


def test_a_short_rise_is_no_certain_chaos():
    """The convergence rule: an exponent that would part orbits by fewer than ten e-folds stays critical."""
    open_orbit = SimpleNamespace(
        exponent=np.full(10, 5 / AVERAGED) + 1e-5 * np.arange(10),
        period=np.zeros(10),
        start=np.ones(10),
        end=np.ones(10),
        early=np.ones(10),
        late=np.ones(10),
        averaged=AVERAGED,
    )
    assert dynamics.phase(open_orbit) == dynamics.CRITICAL
    open_orbit.exponent = np.full(10, 20 / AVERAGED) + 1e-5 * np.arange(10)
    assert dynamics.phase(open_orbit) == dynamics.CHAOS
