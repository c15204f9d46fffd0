from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sgdphases.ensemble import passes
from sgdphases.ensemble.buffers import LANE
from sgdphases.ensemble.passes import Stack, evaluate, output_gradient, prepared

LOSSES = ("half_squared_error", "squared_error", "mean_squared_error", "cross_entropy")


def stack_of(shard, weights, biases, scale) -> Stack:
    layers = range(shard.network.layers)
    return Stack(
        first=0,
        weights=[torch.as_tensor(weights[n]) for n in layers],
        biases=[torch.as_tensor(biases[n]) if n in biases else None for n in layers],
        activation=shard.network.activation,
        output_scale=torch.as_tensor(scale),
    )


@pytest.mark.parametrize("activation", ["tanh", "relu", "erf", "linear"])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradients_agree_with_a_network_taken_sample_by_sample(
    make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, activation: str, loss: str
) -> None:
    monkeypatch.setattr(passes, "CHUNK", LANE)  # so that 150 samples need three chunks, the last one ragged
    scale = np.array([0.7, 1.0, 2.5])
    shard = make.shard(network={"activation": activation, "bias": [True, False, True]}, output_scale=scale.tolist())
    rng, weights = np.random.default_rng(1), make.weights(shard)
    biases = {0: rng.standard_normal((3, 6)), 2: rng.standard_normal((3, 2))}
    inputs, classes = rng.standard_normal((150, 3)), rng.integers(2, size=150)
    targets = np.eye(2)[classes] if loss == "cross_entropy" else rng.standard_normal((150, 2))
    data = prepared(inputs[None], targets[None], dtype=torch.float64)
    found = evaluate(stack_of(shard, weights, biases, scale), data, loss, layers=(0, 1, 2))
    for network in range(3):
        naive = make.naive(shard, None, weights, network, biases=biases)
        value, gradients = naive.evaluate(inputs, targets, loss)
        assert found.loss[network] == pytest.approx(value, rel=1e-12)
        for layer in range(3):
            np.testing.assert_allclose(found.gradients[layer][network], gradients[layer], rtol=1e-10, atol=1e-13)
        outputs = np.array([naive.trace(sample)[2] for sample in inputs])
        assert found.correct[network] == np.mean(outputs.argmax(1) == targets.argmax(1))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_agree_with_finite_differences(make: SimpleNamespace, loss: str) -> None:
    shard, step = make.shard(networks=2), 1e-5
    weights, rng = make.weights(shard), np.random.default_rng(2)
    targets = np.eye(2)[rng.integers(2, size=20)]
    data = prepared(rng.standard_normal((1, 20, 3)), targets[None], dtype=torch.float64)
    gradients = evaluate(stack_of(shard, weights, {}, np.ones(2)), data, loss, layers=(0, 1, 2)).gradients
    for layer in range(3):
        for row, column in ((0, 0), (1, 2)):
            losses = []
            for sign in (1, -1):
                moved = {n: matrix.copy() for n, matrix in weights.items()}
                moved[layer][:, row, column] += sign * step
                losses.append(evaluate(stack_of(shard, moved, {}, np.ones(2)), data, loss).loss)
            difference = (losses[0] - losses[1]) / (2 * step)
            np.testing.assert_allclose(gradients[layer][:, row, column], difference, rtol=1e-6, atol=1e-9)


def test_float32_networks_are_summed_in_float64(make: SimpleNamespace) -> None:
    shard = make.shard(networks=1)
    weights = {n: matrix.astype(np.float32) for n, matrix in make.weights(shard).items()}
    rng = np.random.default_rng(3)
    inputs, targets = rng.standard_normal((1, 3000, 3)), rng.standard_normal((1, 3000, 2))
    narrow, wide = (
        evaluate(
            stack_of(shard, {n: w.astype(kind) for n, w in weights.items()}, {}, np.ones(1, dtype=kind)),
            prepared(inputs, targets, dtype=getattr(torch, np.dtype(kind).name)),
            "half_squared_error",
            layers=(0,),
        )
        for kind in (np.float32, np.float64)
    )
    assert narrow.loss.dtype == narrow.gradients[0].dtype == np.float64
    np.testing.assert_allclose(narrow.loss, wide.loss, rtol=3e-7)
    np.testing.assert_allclose(narrow.gradients[0], wide.gradients[0], rtol=1e-4, atol=1e-6)


def test_padding_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    data = prepared(rng.standard_normal((1, 70, 3)), rng.standard_normal((1, 70, 2)), dtype=torch.float64)
    assert data.inputs.shape == (1, 2 * LANE, 3)
    assert data.samples == 70
    gradient = output_gradient(torch.ones(2, 2 * LANE, 2, dtype=torch.float64), data.targets, "half_squared_error")
    assert (gradient[:, 70:] == 0).all()
    np.testing.assert_array_equal(gradient[:, :70].numpy(), np.broadcast_to(1 - data.targets.numpy(), (2, 70, 2)))


def test_shared_layers_are_applied_once_to_the_inputs() -> None:
    rng = np.random.default_rng(5)
    inputs, first, second = rng.standard_normal((9, 3)), rng.standard_normal((4, 3)), rng.standard_normal((5, 4))
    data = prepared(
        inputs[None],
        np.zeros((1, 9, 1)),
        dtype=torch.float64,
        leading=[torch.as_tensor(first[None]), torch.as_tensor(second[None])],
        activation="tanh",
    )
    expected = np.tanh(np.tanh(inputs @ first.T) @ second.T)
    np.testing.assert_allclose(data.inputs[0, :9].numpy(), expected, rtol=1e-13)
