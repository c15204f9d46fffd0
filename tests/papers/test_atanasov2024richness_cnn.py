"""The convolutional network of arXiv 2410.04642 against its released parametrisation in torch's own layers."""

import copy

import numpy as np
import pytest
import torch

from sgdphases.datasets.task import Task
from sgdphases.ensemble.reference import starting_outputs, starts
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.state import initial_state
from sgdphases.ensemble.trainer import train
from sgdphases.observables.measurement import Measurement

GREY, COLOUR, SMALL = (784, 2, 4, 16, 3), (300, 3, 6, 24, 4), (100, 2, 3, 4, 3)
BATCH = 8


class Released(torch.nn.Module):
    """conv3x3(C -> N), ReLU, mean over 2x2, conv3x3(N -> 2N), ReLU, mean over 2x2, dense 8N, ReLU, read-out.

    All weights are N(0, 1) and biases 0; a convolution is divided by sqrt(channels), a hidden dense layer by
    sqrt(fan-in), the read-out by its fan-in, biases alike. Less a frozen copy of itself, over the richness.
    """

    def __init__(self, network, richness, thetas, biases):
        super().__init__()
        channels, (_, first, second, hidden, outputs) = network.channels, network.widths
        side = int((network.widths[0] / channels) ** 0.5)
        self.shape, self.richness = (channels, side, side), richness
        made = [
            torch.nn.Conv2d(channels, first, 3),
            torch.nn.Conv2d(first, second, 3),
            torch.nn.LazyLinear(hidden),
            torch.nn.Linear(hidden, outputs),
        ]
        self.layers = torch.nn.ModuleList(made).double()
        self._run(torch.zeros((1, network.widths[0]), dtype=torch.float64))
        for layer, theta, bias in zip(self.layers, thetas, biases, strict=True):
            layer.weight.data = torch.as_tensor(theta).reshape(layer.weight.shape)
            layer.bias.data = torch.as_tensor(bias)
        self.copies = [copy.deepcopy(self.layers)] if network.centered else []

    def _run(self, inputs, layers=None):
        first, second, hidden, readout = self.layers if layers is None else layers
        images = inputs.reshape(-1, *self.shape)
        images = torch.nn.functional.avg_pool2d(torch.relu(first(images) / first.in_channels**0.5), 2)
        images = torch.nn.functional.avg_pool2d(torch.relu(second(images) / second.in_channels**0.5), 2)
        features = torch.relu(hidden(images.flatten(1)) / hidden.in_features**0.5)
        return readout(features) / readout.in_features

    def forward(self, inputs):
        output = self._run(inputs)
        for frozen in self.copies:
            output = output - self._run(inputs, frozen).detach()
        return output / self.richness


def shard_of(widths, *, channels=1, richness=(0.1, 1.0, 10.0), rates=(0.02, 0.5, 2.0), bias=True, **more):
    count = len(richness)
    network = {
        "kind": "cnn",
        "widths": list(widths),
        "activation": "relu",
        "bias": [bias] * 4,
        "trained": [True] * 4,
        "parametrisation": "mean_field",
        "centered": True,
    }
    network |= {"channels": channels} | more.pop("network", {})
    steps = more.pop("steps", 12)
    seeds = {f"seed_{stream}": list(range(count)) for stream in ("weights", "order", "noise")}
    columns = {"richness": list(richness), "learning_rate": list(rates), "loss": ["mean_squared_error"] * count}
    columns |= seeds | {"seed_task": [7] * count} | more.pop("columns", {})
    return Shard.from_dict(
        {
            "dataset": {"name": "none"},
            "network": network,
            "batch_size": BATCH,
            "sampler": "one_pass",
            "steps": steps,
            "record_steps": list(range(steps + 1)),
            "running": ["test_loss", "test_accuracy", "batch_loss"],
            "networks": columns,
            **more,
        }
    )


def task_of(shard, samples, seed=0):
    numbers, (inputs, *_, outputs) = np.random.default_rng(seed), shard.network.widths
    classes = [numbers.integers(outputs, size=count) for count in (samples, 70)]
    images = [numbers.standard_normal((count, inputs)) for count in (samples, 70)]
    hot = np.eye(outputs)
    return Task(images[0], hot[classes[0]], images[1], hot[classes[1]])


def released(shard, row, arrays=None):
    """The network of one row, at its start or with other arrays."""
    arrays, network = arrays or initial_state(shard).arrays, shard.network
    units = [network.unit(layer) for layer in range(4)]
    thetas = [arrays[f"weights_{layer}"][row] / units[layer] for layer in range(4)]
    zeros = [np.zeros((len(shard), theta.shape[0])) for theta in thetas]
    biases = [arrays.get(f"bias_{layer}", zeros[layer])[row] / units[layer] for layer in range(4)]
    return Released(network, float(shard.networks["richness"][row]), thetas, biases)


def mean_squared_error(network, inputs, targets):
    return ((network(torch.as_tensor(inputs)) - torch.as_tensor(targets)) ** 2).mean()


@pytest.mark.parametrize(("widths", "channels"), [(GREY, 1), (COLOUR, 3)])
@pytest.mark.parametrize("columns", [{}, {"momentum": [0.9, 0.5, 0.0], "learning_rate": [0.005, 0.2, 1.0]}])
@pytest.mark.parametrize("centered", [True, False])
def test_training_follows_the_released_parametrisation(widths, channels, columns, centered):
    """Plain descent with the learning rate times N, the channels of the first convolution, step by step."""
    shard = shard_of(widths, channels=channels, columns=columns, network={"centered": centered})
    task, records = task_of(shard, shard.steps * BATCH), []
    train(shard, {7: task}, device="cpu", on_record=records.append)
    for row in range(len(shard)):
        network, momentum = released(shard, row), float(shard.networks["momentum"][row])
        rate = widths[1] * float(shard.networks["learning_rate"][row])
        optimiser = torch.optim.SGD(network.layers.parameters(), lr=rate, momentum=momentum)
        losses = [mean_squared_error(network, task.test_inputs, task.test_targets).item()]
        for step in range(shard.steps):
            batch = slice(step * BATCH, (step + 1) * BATCH)
            optimiser.zero_grad()
            mean_squared_error(network, task.inputs[batch], task.targets[batch]).backward()
            optimiser.step()
            losses.append(mean_squared_error(network, task.test_inputs, task.test_targets).item())
        np.testing.assert_allclose([record.scalars["test_loss"][row] for record in records], losses, rtol=1e-10)
        assert abs(losses[-1] / losses[0] - 1) > 1e-3  # it has moved
        for number, layer in enumerate(network.layers):
            theta = records[-1].weights[number][row] / shard.network.unit(number)
            expected = layer.weight.detach().reshape(theta.shape)
            np.testing.assert_allclose(theta, expected, rtol=1e-9, atol=1e-12)


def test_centred_networks_start_at_zero():
    shard = shard_of(GREY)
    task, records = task_of(shard, shard.steps * BATCH), []
    state = train(shard, {7: task}, device="cpu", on_record=records.append)
    baseline = 1 / 3  # one of three targets is 1, and the answer 0
    np.testing.assert_allclose(records[0].scalars["test_loss"], baseline, rtol=1e-12)
    np.testing.assert_allclose(state.arrays["batch_loss"][:, 0], baseline, rtol=1e-6)
    found = starting_outputs(shard, starts(shard.networks)[1], torch.as_tensor(task.test_inputs))
    plain = released(shard_of(GREY, network={"centered": False}), 1)
    torch.testing.assert_close(found, plain(torch.as_tensor(task.test_inputs)).detach(), rtol=1e-12, atol=1e-13)


def test_large_richness_is_a_small_start():
    """Without biases the network is homogeneous of degree four (dossier 2.1a)."""
    richness, rate = 30.0, 1.0
    shard = shard_of(
        SMALL,
        richness=(richness, 1.0),
        rates=(rate, rate * richness ** (-2 / 4)),
        bias=False,
        columns={"init_scale": [1.0, richness ** (-1 / 4)], "seed_weights": [5, 5]},
        steps=40,
    )
    found = train(shard, {7: task_of(shard, 320)}, device="cpu").arrays["batch_loss"]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert found[0, -1] != found[0, 0]


def flat(network):
    """Parameters one after another, and the output as a function of them."""
    names, parameters = zip(*network.layers.named_parameters(), strict=True)
    point = torch.cat([parameter.detach().ravel() for parameter in parameters])

    def outputs(where, inputs):
        parts = torch.split(where, [parameter.numel() for parameter in parameters])
        named = {f"layers.{n}": p.reshape(q.shape) for n, p, q in zip(names, parts, parameters, strict=True)}
        return torch.func.functional_call(network, named, (inputs,))

    return point, outputs


def test_curvature_and_kernel_are_those_of_whole_matrices():
    shard = shard_of(SMALL, richness=(0.5, 20.0), rates=(0.1, 1.0))
    task = task_of(shard, shard.steps * BATCH)
    records = []
    state = train(shard, {7: task}, device="cpu", on_record=records.append)
    words = ["hessian_top", "hessian_bottom", "gauss_newton_top", "ntk_growth", "ntk_alignment", "outputs"]
    words += ["train_loss", "gradient_norm", "feature_alignment", "overlap", "weight_movement", "eigenvalues"]
    measurement = Measurement(shard, {7: task}, initial_weights=records[0].weights, words=words)
    found = measurement.at(records[-1].weights, records[-1].biases)
    inputs, targets = torch.as_tensor(task.test_inputs), torch.as_tensor(task.test_targets)
    factor = shard.network.rate_factor
    for row in range(len(shard)):
        network = released(shard, row)  # its frozen copy is the start
        kernels = []
        for arrays in (initial_state(shard).arrays, state.arrays):
            moved = released(shard, row, arrays)
            network.layers = moved.layers
            point, outputs = flat(network)
            jacobian = torch.autograd.functional.jacobian(lambda where: outputs(where, inputs), point)  # noqa: B023
            kernels.append(torch.einsum("nop,mop->nm", jacobian, jacobian))
        hessian = torch.autograd.functional.hessian(
            lambda where: ((outputs(where, inputs) - targets) ** 2).mean(),  # noqa: B023
            point,
        )
        values = factor * np.linalg.eigvalsh(hessian)
        assert found["hessian_top"][row] == pytest.approx(values[-1], rel=1e-3)
        assert found["hessian_bottom"][row] == pytest.approx(values[0], rel=1e-2)
        whole = jacobian.reshape(-1, len(point))
        top = np.linalg.eigvalsh(whole @ whole.T)[-1] * 2 / len(whole)
        assert found["gauss_newton_top"][row] == pytest.approx(factor * top, rel=1e-3)
        growth = torch.linalg.norm(kernels[1]) / torch.linalg.norm(kernels[0])
        assert found["ntk_growth"][row] == pytest.approx(growth.item(), rel=1e-9)
        np.testing.assert_allclose(found["outputs"][row], outputs(point, inputs), rtol=1e-9, atol=1e-11)
        loss = mean_squared_error(network, task.inputs, task.targets)
        gradients = torch.autograd.grad(loss, [layer.weight for layer in network.layers])
        assert found["train_loss"][row] == pytest.approx(loss.item(), rel=1e-10)
        units = [shard.network.unit(layer) for layer in range(4)]
        norms = [gradient.norm().item() / unit for gradient, unit in zip(gradients, units, strict=True)]
        assert found["gradient_norm"][row] == pytest.approx(np.linalg.norm(norms), rel=1e-9)
    assert found["feature_alignment"].shape == (2, 4)
    assert np.isfinite(found["overlap"]).all()


@pytest.mark.parametrize("word", ["drift", "criterion_corrected", "lyapunov"])
def test_what_dense_layers_alone_have_is_refused(word):
    shard = shard_of(SMALL)
    task = task_of(shard, shard.steps * BATCH)
    start = {layer: initial_state(shard).arrays[f"weights_{layer}"] for layer in range(4)}
    with pytest.raises(ValueError, match=f"cannot measure {word}: in networks of kind cnn"):
        Measurement(shard, {7: task}, initial_weights=start, words=[word])
