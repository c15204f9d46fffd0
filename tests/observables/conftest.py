"""Small shards and tasks, and a network written sample by sample as the oracle."""

from collections.abc import Callable
from math import erf, exp, pi, sqrt
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sgdphases.datasets.task import Task
from sgdphases.ensemble.shard import Shard
from sgdphases.observables.snapshot import Part, Snapshot

WIDTHS = [3, 6, 5, 2]


class Naive:
    """One network, one sample at a time."""

    activations = {
        "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
        "erf": (np.vectorize(erf), np.vectorize(lambda z: 2 / sqrt(pi) * exp(-z * z))),
        "linear": (lambda z: z, np.ones_like),
    }

    def __init__(
        self, weights: list[np.ndarray], biases: list[np.ndarray], activation: str, output_scale: float
    ) -> None:
        self.weights, self.biases, self.scale = weights, biases, output_scale
        self.active, self.slope = self.activations[activation]

    def trace(self, sample: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """What every layer reads, its pre-activations, and the output."""
        hidden, fields = [sample], []
        for weights, bias in zip(self.weights, self.biases, strict=True):
            fields.append(weights @ hidden[-1] + bias)
            hidden.append(self.active(fields[-1]))
        return hidden[:-1], fields, self.scale * fields[-1]

    @staticmethod
    def loss(output: np.ndarray, target: np.ndarray, word: str) -> float:
        """Loss of one sample."""
        error = output - target
        if word == "cross_entropy":
            return float(np.log(np.sum(np.exp(output))) - output @ target)
        return float(error @ error * {"half_squared_error": 0.5, "squared_error": 1.0}.get(word, 1 / len(error)))

    def deltas(self, sample: np.ndarray, target: np.ndarray, word: str) -> list[np.ndarray]:
        """Derivatives of the sample's loss by every pre-activation."""
        _, fields, output = self.trace(sample)
        factor = {"half_squared_error": 1.0, "squared_error": 2.0, "mean_squared_error": 2 / len(output)}
        error = output - target
        if word == "cross_entropy":
            error = np.exp(output) / np.exp(output).sum() - target
        delta = error * factor.get(word, 1.0) * self.scale
        found = [delta]
        for layer in range(len(self.weights) - 1, 0, -1):
            delta = (self.weights[layer].T @ delta) * self.slope(fields[layer - 1])
            found.insert(0, delta)
        return found

    def evaluate(self, inputs: np.ndarray, targets: np.ndarray, word: str) -> tuple[float, list[np.ndarray]]:
        """Mean loss and gradients over samples."""
        loss, gradients = 0.0, [np.zeros_like(weights) for weights in self.weights]
        for sample, target in zip(inputs, targets, strict=True):
            hidden, _, output = self.trace(sample)
            loss += self.loss(output, target, word) / len(inputs)
            for gradient, delta, seen in zip(gradients, self.deltas(sample, target, word), hidden, strict=True):
                gradient += np.outer(delta, seen) / len(inputs)
        return loss, gradients


def _shard(networks: int = 3, **settings: Any) -> Shard:
    columns = {name: settings.pop(name) for name in list(settings) if name in COLUMNS}
    for name in ("seed_task", "seed_weights", "seed_order", "seed_noise"):
        columns.setdefault(name, list(range(networks)))
    columns.setdefault("learning_rate", [0.5] * networks)
    network = {"kind": "mlp", "widths": WIDTHS, "activation": "tanh"} | settings.pop("network", {})
    layers = len(network["widths"]) - 1
    network.setdefault("bias", [False] * layers)
    network.setdefault("trained", [True] * layers)
    common = {"dataset": {"name": "none"}, "batch_size": 4, "steps": 10, "record_steps": [0, 10]}
    return Shard.from_dict({**common, **settings, "network": network, "networks": columns})


COLUMNS = (
    "learning_rate",
    "momentum",
    "weight_decay",
    "init_scale",
    "output_scale",
    "richness",
    "noise_scale",
    "loss",
    "seed_task",
    "seed_weights",
    "seed_order",
    "seed_noise",
)


def _task(shard: Shard, seed: int = 0, *, samples: int = 37, test: int = 21, classes: bool = False) -> Task:
    rng, network = np.random.default_rng(seed), shard.network
    frozen = {n: rng.standard_normal(network.shape(n)) for n, trained in enumerate(network.trained) if not trained}
    teacher = {layer: rng.standard_normal(network.shape(layer)) for layer in network.trained_layers}
    inputs, tests = (rng.standard_normal((count, network.widths[0])) for count in (samples, test))
    aims = [rng.standard_normal((count, network.widths[-1])) for count in (samples, test)]
    if classes:
        aims = [rng.integers(network.widths[-1], size=count) for count in (samples, test)]
    return Task(inputs, aims[0], tests, aims[1], frozen=frozen, teacher=teacher)


def _weights(shard: Shard, seed: int = 5) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        layer: rng.standard_normal((len(shard), *shard.network.shape(layer))) for layer in shard.network.trained_layers
    }


def _outputs(snapshot: Snapshot, row: int, flat: torch.Tensor, inputs: np.ndarray, task: Task) -> torch.Tensor:
    """Output of one network whose trained weights and biases, over their unit, lie one after another in `flat`."""
    network, at, hidden = snapshot.shard.network, 0, torch.as_tensor(inputs)
    bend = {"tanh": torch.tanh, "relu": torch.relu, "erf": torch.erf, "linear": lambda z: z}[network.activation]

    def taken(count: int) -> torch.Tensor:
        nonlocal at
        at += count
        return flat[at - count : at]

    for layer in range(network.layers):
        out, fan_in = network.shape(layer)
        if network.trained[layer]:
            weights = network.unit(layer) * taken(out * fan_in).reshape(out, fan_in)
        else:
            weights = torch.as_tensor(task.frozen[layer])
        hidden = hidden @ weights.T
        if network.trained[layer] and network.bias[layer]:
            hidden = hidden + network.unit(layer) * taken(out)
        if layer < network.layers - 1:
            hidden = bend(hidden)
    assert at == len(flat)
    return hidden * float(snapshot.shard.output_factor[row])


def _parameters(snapshot: Snapshot, row: int) -> torch.Tensor:
    """The trained weights and biases over their unit, one after another."""
    network, parts = snapshot.shard.network, []
    for layer, matrix in snapshot.weights.items():
        parts.append(matrix[row].ravel() / network.unit(layer))
        if network.bias[layer]:
            parts.append(snapshot.biases[layer][row] / network.unit(layer))
    return torch.as_tensor(np.concatenate(parts))


def _snapshot(*, seed: int = 0, classes: bool = False, test: int = 21, **more: Any) -> tuple[Snapshot, Task]:
    """Two networks at some weights and biases, on one task."""
    shard = _shard(networks=2, output_scale=[1.3, 0.6], **more)
    task, rng = _task(shard, seed, classes=classes, test=test), np.random.default_rng(seed)
    biases = {
        layer: rng.standard_normal((2, shard.network.widths[layer + 1]))
        for layer in shard.network.trained_layers
        if shard.network.bias[layer]
    }
    weights = _weights(shard, seed + 1)
    return Snapshot(Part(shard, np.arange(2), [task] * 2, _weights(shard, 8)), weights, biases), task


@pytest.fixture
def make() -> SimpleNamespace:
    """Factories `shard`, `task`, `weights`, `snapshot`, and the oracles `naive` and `outputs` (of `parameters`)."""

    def naive(shard: Shard, task: Task, weights: dict[int, np.ndarray], network: int, **more: Any) -> Naive:
        shape, biases = shard.network, more.get("biases", {})
        matrices = [weights[n][network] if n in weights else task.frozen[n] for n in range(shape.layers)]
        vectors = [biases[n][network] if n in biases else np.zeros(shape.widths[n + 1]) for n in range(shape.layers)]
        return Naive(matrices, vectors, shape.activation, float(shard.networks["output_scale"][network]))

    functions: dict[str, Callable[..., Any]] = {"shard": _shard, "task": _task, "weights": _weights, "naive": naive}
    functions |= {"snapshot": _snapshot, "parameters": _parameters, "outputs": _outputs}
    return SimpleNamespace(**functions)
