"""The minimum that a start is polished to, and what surrounds it, against dense matrices and single gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sgdphases.datasets.images import digits
from sgdphases.datasets.registry import resolve
from sgdphases.datasets.task import Task
from sgdphases.ensemble.networks import initial_weights
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import Start
from sgdphases.observables import surroundings as module
from sgdphases.observables.minimum import decaying, polished, value_and_gradient
from sgdphases.observables.surroundings import landscape_of, surroundings

EXACT = {"batches": 0, "batch_size": 32}


def shard_of(widths, *, bias=True, loss="cross_entropy", kind="mlp", **more):
    layers = 4 if kind == "cnn" else len(widths) - 1
    network = {
        "kind": kind,
        "widths": list(widths),
        "activation": "tanh",
        "bias": [bias] * layers,
        "trained": [True] * layers,
    }
    columns = {name: [1] for name in ("seed_task", "seed_weights", "seed_order", "seed_noise")}
    columns |= {"learning_rate": [0.1], "loss": [loss], "output_scale": [1.5]}
    steps = {"batch_size": 1, "steps": 0, "record_steps": [0]}
    return Shard.from_dict({"dataset": {"name": "none"}, "network": network | more, "networks": columns, **steps})


def start_of(shard, seed=1, scale=1.0):
    network = shard.network
    layers = range(network.layers)
    biases = {layer: 0.1 * np.arange(network.shape(layer)[0]) for layer in layers if network.bias[layer]}
    return Start("made", {layer: scale * initial_weights(network, seed, layer) for layer in layers}, biases)


def made_task(widths, samples=40, seed=0):
    numbers = np.random.default_rng(seed)
    inputs, targets = numbers.standard_normal((samples, widths[0])), numbers.integers(widths[-1], size=samples)
    return Task(inputs, targets, inputs, targets)


def made_landscape(widths=(4, 5, 3), **more):
    shard = shard_of(widths, **more)
    return landscape_of(shard, made_task(widths), start_of(shard))


def dense(landscape):
    """The Hessian by differences of gradients."""
    flat, none, found = landscape.flat, np.zeros(len(landscape.flat)), []
    for move in 1e-5 * np.eye(len(flat)):
        up, down = (value_and_gradient(landscape.moved(flat + sign * move), none)[1] for sign in (1, -1))
        found.append((up - down) / 2e-5)
    return np.array(found)


@pytest.fixture(scope="module")
def minimum():
    """A small network at the minimum of its loss on images of digits."""
    task = digits(resolve({"name": "digits", "samples": 100, "targets": "classes"}), seed=0)
    shard = shard_of((64, 4, 10))
    return polished(landscape_of(shard, task, start_of(shard)), 1e-2, 1e-13)


def test_polishing_ends_at_a_minimum(minimum):
    decay = 1e-2 * decaying(minimum)
    value, gradient = value_and_gradient(minimum, decay)
    assert np.linalg.norm(gradient) <= 1e-13
    matrix = minimum.hessian().to_scipy().matmat(np.eye(len(decay))) + np.diag(decay)
    # One number added to all biases of the output changes no probability, and biases do not decay.
    assert np.sort(np.linalg.eigvalsh(matrix))[1] > 0
    assert value < value_and_gradient(minimum.moved(np.zeros(len(decay))), decay)[0]


def test_polishing_goes_past_a_saddle():
    landscape = made_landscape(bias=False)
    at_zero = landscape.moved(1e-9 * landscape.flat)
    found = polished(at_zero, 1e-3, 1e-12)
    decay = 1e-3 * decaying(found)
    assert np.linalg.norm(value_and_gradient(found, decay)[1]) < 1e-12
    assert np.linalg.norm(found.flat) > 1
    matrix = found.hessian().to_scipy().matmat(np.eye(len(decay))) + np.diag(decay)
    assert np.linalg.eigvalsh(matrix)[0] > -1e-9


def test_a_loss_without_a_minimum_is_refused(monkeypatch):
    monkeypatch.setattr("sgdphases.observables.minimum.DESCENTS", 20)
    monkeypatch.setattr("sgdphases.observables.minimum.NEWTON_STEPS", 3)
    with pytest.raises(ValueError, match="polish: the gradient's norm stays"):
        polished(made_landscape(), 0.0, 1e-13)


def test_parameters_go_layer_by_layer(minimum):
    landscape = made_landscape()
    shard = shard_of((4, 5, 3))
    np.testing.assert_array_equal(landscape.flat, start_of(shard).flat)
    moved = landscape.moved(np.arange(len(landscape.flat), dtype=float))
    assert moved.weights[0][1, 2] == 6
    assert moved.biases[0][0] == 20
    np.testing.assert_array_equal(moved.flat, np.arange(len(moved.flat)))
    np.testing.assert_array_equal(decaying(landscape)[[0, 19, 20, 24, 25]], [1, 1, 0, 0, 1])


@pytest.mark.parametrize("loss", ["cross_entropy", "half_squared_error"])
@pytest.mark.parametrize("lanczos", [False, True])
def test_directions_are_those_of_the_hessian(monkeypatch, loss, lanczos):
    monkeypatch.setattr(module, "DENSE", 0 if lanczos else 10_000)
    landscape = made_landscape((6, 8, 3), loss=loss)
    directions, found = surroundings(landscape, hessian=5, random=3, weight_decay=0.1, noise=EXACT, seed=3)
    matrix = dense(landscape)
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    np.testing.assert_allclose(found["curvature"][:5], values[::-1][:5], rtol=1e-6)
    np.testing.assert_allclose(np.abs((directions[:, :5] * vectors[:, ::-1][:, :5]).sum(0)), 1, atol=1e-6)
    np.testing.assert_allclose(directions.T @ directions, np.eye(8), atol=1e-12)
    assert (found["curvature_residual"][:5] < 1e-5 * values[-1]).all()
    rest = directions[:, 5:]
    np.testing.assert_allclose(found["curvature"][5:], (rest * (matrix @ rest)).sum(0), rtol=1e-5, atol=1e-7)
    error = 5 * found["curvature_trace_error"] + 1e-6 * abs(values).sum()
    assert abs(found["curvature_trace"] - values.sum()) < error
    if not lanczos:
        np.testing.assert_allclose(found["curvature_bottom"], values[0], rtol=1e-5)
    _, gradient = value_and_gradient(landscape, 0.1 * decaying(landscape))
    np.testing.assert_allclose(found["gradient"], directions.T @ gradient, rtol=1e-12)
    np.testing.assert_allclose(found["start_gradient_norm"], np.linalg.norm(gradient), rtol=1e-12)
    np.testing.assert_allclose(found["start_weight_norm"], landscape.flat @ landscape.flat)
    output = landscape.model()(landscape.inputs)
    np.testing.assert_allclose(found["start_loss"], landscape.loss_of(output, landscape.targets).item(), rtol=1e-12)


def single(landscape):
    """Gradients of single samples (samples, parameters)."""
    none = np.zeros(len(landscape.flat))
    pairs = zip(landscape.inputs, landscape.targets, strict=True)
    return np.stack(
        [value_and_gradient(replace(landscape, inputs=x[None], targets=y[None]), none)[1] for x, y in pairs]
    )


@pytest.mark.parametrize(
    "landscape",
    [
        made_landscape(),
        made_landscape(loss="mean_squared_error", bias=False),
        made_landscape((256, 2, 2, 4, 3), kind="cnn", bias=False),
    ],
)
def test_noise_is_the_covariance_of_single_gradients(monkeypatch, landscape):
    monkeypatch.setattr(module, "CHUNK", 7 * len(landscape.flat))
    directions, found = surroundings(landscape, hessian=2, random=4, weight_decay=0, noise=EXACT, seed=0)
    gradients = single(landscape)
    matrix = np.cov(gradients.T, bias=True)
    np.testing.assert_allclose(found["noise_trace"], np.trace(matrix), rtol=1e-10)
    np.testing.assert_allclose(found["noise_matrix"], directions.T @ matrix @ directions, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found["noise"], np.diag(found["noise_matrix"]))


def test_batches_estimate_the_same_noise():
    landscape = made_landscape()
    how = {"hessian": 0, "random": 4, "weight_decay": 0, "seed": 0}
    _, exact = surroundings(landscape, noise=EXACT, **how)
    _, found = surroundings(landscape, noise={"batches": 1500, "batch_size": 8}, **how)
    np.testing.assert_allclose(found["noise"], exact["noise"], rtol=0.15)
    np.testing.assert_allclose(found["noise_trace"], exact["noise_trace"], rtol=0.05)


def test_the_same_start_has_the_same_bits():
    how = {"hessian": 3, "random": 2, "weight_decay": 0.1, "noise": EXACT, "seed": 5}
    (first, found), (second, again) = (surroundings(made_landscape(), **how) for _ in range(2))
    assert np.array_equal(first, second)
    assert all(np.array_equal(values, again[name]) for name, values in found.items())


def test_more_directions_than_parameters_are_refused():
    with pytest.raises(ValueError, match="more than 43 parameters"):
        surroundings(made_landscape(), hessian=40, random=4, weight_decay=0, noise=EXACT, seed=0)


def test_a_maximum_is_said_to_be_none(caplog):
    landscape = made_landscape(loss="half_squared_error")
    surroundings(landscape.moved(5 * landscape.flat), hessian=1, random=0, weight_decay=0, noise=EXACT, seed=0)
    assert "the start is no minimum" in caplog.text


def test_torch_keeps_its_threads():
    before = torch.get_num_threads()
    surroundings(made_landscape(), hessian=1, random=0, weight_decay=0, noise=EXACT, seed=0)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_noise_at_the_minimum_is_that_of_the_residuals_there(decay):
    """Of a linear network with an input that is always 0: least squares, whatever the start."""
    shard = shard_of((5, 3), bias=False, loss="half_squared_error")
    task = made_task((5, 3), samples=60)
    task = replace(task, inputs=task.inputs * [1, 1, 1, 1, 0])
    landscape = landscape_of(shard, task, start_of(shard, scale=4.0))
    inputs, targets = 1.5 * task.inputs, np.eye(3)[task.targets]  # the output's scale
    square = inputs.T @ inputs / 60 + np.diag([decay, decay, decay, decay, 1])
    weights = np.linalg.solve(square, inputs.T @ targets / 60).T
    gradients = ((inputs @ weights.T - targets)[:, :, None] * inputs[:, None]).reshape(60, -1)
    how = {"hessian": 4, "random": 3, "weight_decay": decay, "seed": 0}
    directions, found = surroundings(landscape, noise=EXACT | {"at": "minimum"}, **how)
    expected = directions.T @ np.cov(gradients.T, bias=True) @ directions
    np.testing.assert_allclose(found["noise_matrix"], expected, rtol=1e-8, atol=1e-12)
    _, at_start = surroundings(landscape, noise=EXACT, **how)
    assert at_start["noise_trace"] > 5 * found["noise_trace"]
    for name in set(found) - {"noise", "noise_matrix", "noise_trace"}:
        np.testing.assert_array_equal(found[name], at_start[name])


def test_a_parabola_without_a_minimum_is_refused(monkeypatch):
    landscape = made_landscape(loss="half_squared_error")
    how = {"hessian": 1, "random": 0, "weight_decay": 0, "noise": EXACT | {"at": "minimum"}, "seed": 0}
    with pytest.raises(ValueError, match="there is no minimum, the lowest curvature is -"):
        surroundings(landscape.moved(5 * landscape.flat), **how)
    monkeypatch.setattr("sgdphases.observables.minimum.DENSE", 42)
    with pytest.raises(ValueError, match="at most 42 parameters, not 43"):
        surroundings(landscape, **how)
