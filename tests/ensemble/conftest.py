"""Small shards and tasks for the trainer's tests, and one network in plain numpy as their oracle."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from sgdphases.ensemble.networks import initial_weights
from sgdphases.ensemble.sampler import Sampler
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.trainer import train


@dataclass(frozen=True, eq=False)
class PlainTask:
    inputs: np.ndarray
    targets: np.ndarray
    test_inputs: np.ndarray
    test_targets: np.ndarray
    frozen: dict[int, np.ndarray] = field(default_factory=dict)
    teacher: dict[int, np.ndarray] = field(default_factory=dict)


def make_shard(
    widths=(3, 32, 16, 1),
    count=4,
    *,
    steps=20,
    record_steps=None,
    trained=None,
    columns=None,
    network=None,
    **settings,
) -> Shard:
    """A shard whose networks differ in everything they may differ in without changing kind."""
    depth = len(widths) - 1
    trained = trained or [True] * depth
    numbers = np.arange(count)
    value = {
        "dataset": {"name": "none"},
        "network": {
            "widths": list(widths),
            "activation": "tanh",
            "bias": [False] * depth,
            "trained": list(trained),
            **(network or {}),
        },
        "batch_size": 4,
        "steps": steps,
        "record_steps": record_steps or sorted({0, steps}),
        "networks": {
            "learning_rate": (0.05 * (1 + numbers % 5)).tolist(),
            "init_scale": (0.5 + 0.25 * (numbers % 3)).tolist(),
            "seed_task": (100 + numbers % 3).tolist(),
            "seed_weights": (200 + numbers).tolist(),
            "seed_order": (300 + numbers).tolist(),
            "seed_noise": (400 + numbers).tolist(),
            **(columns or {}),
        },
        **settings,
    }
    return Shard.from_dict(value)


def make_task(widths, seed, *, trained, samples=40, classes=False, activation=np.tanh) -> PlainTask:
    """A teacher of the same shape, with tanh units."""
    numbers = np.random.default_rng(seed)
    inputs = hidden = numbers.standard_normal((samples, widths[0]))
    matrices = {}
    for layer, (fan_in, out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        matrices[layer] = numbers.standard_normal((out, fan_in)) / np.sqrt(fan_in)
        hidden = hidden @ matrices[layer].T
        if layer < len(widths) - 2:
            hidden = activation(hidden)
    targets = hidden.argmax(axis=1) if classes else hidden
    return PlainTask(
        inputs=inputs,
        targets=targets,
        test_inputs=inputs[::3],
        test_targets=targets[::3],
        frozen={layer: matrix for layer, matrix in matrices.items() if not trained[layer]},
        teacher={layer: matrix for layer, matrix in matrices.items() if trained[layer]},
    )


def make_tasks(shard: Shard, *, samples=40, classes=False) -> dict[int, PlainTask]:
    """A task for each task seed of a shard."""
    network = shard.network
    return {
        seed: make_task(network.widths, seed, trained=network.trained, samples=samples, classes=classes)
        for seed in set(shard.networks["seed_task"].tolist())
    }


def record_all(shard, tasks, **settings):
    """Train, and return the final state and all records."""
    records = []
    state = train(shard, tasks, device=settings.pop("device", "cpu"), on_record=records.append, **settings)
    return state, records


def naive_loss(output, target, loss):
    """Loss of a batch and its derivative by the output, as the definitions say."""
    samples = len(output)
    if loss == "cross_entropy":
        exponentials = np.exp(output - output.max(axis=1, keepdims=True))
        probability = exponentials / exponentials.sum(axis=1, keepdims=True)
        hot = np.eye(output.shape[1])[target]
        return -np.mean(np.log(probability[np.arange(samples), target])), (probability - hot) / samples
    error = output - target
    factor = {"half_squared_error": 0.5, "squared_error": 1.0, "mean_squared_error": 1 / output.shape[1]}[loss]
    return factor * np.mean(np.sum(error**2, axis=1)), 2 * factor * error / samples


class Naive:
    """One network of a shard, as a researcher would write it."""

    bend = {
        "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "relu": (lambda z: np.maximum(z, 0), lambda z: 1.0 * (z > 0)),
        "linear": (lambda z: z, np.ones_like),
    }

    def __init__(self, shard, row, task):
        self.shard, self.task, self.network = shard, task, shard.network
        self.own = {name: column[row].item() for name, column in shard.networks.items()}
        self.weights, self.biases, self.velocity, self.bias_velocity = [], [], [], []
        self.moments = {}
        for layer, trained in enumerate(shard.network.trained):
            scale = self.own["init_scale"] if shard.network.init[layer] == "gaussian" else 1
            start = scale * initial_weights(shard.network, self.own["seed_weights"], layer)
            self.weights.append(start if trained else task.frozen[layer].copy())
            self.biases.append(np.zeros(shard.network.widths[layer + 1]))
            self.velocity.append(np.zeros_like(self.weights[-1]))
            self.bias_velocity.append(np.zeros_like(self.biases[-1]))

    def gradient(self, inputs, targets):
        """Loss, and gradients by weights and biases."""
        function, slope = self.bend[self.network.activation]
        hidden, bent = [inputs], []
        for layer, weight in enumerate(self.weights):
            bent.append(np.einsum("ni,oi->no", hidden[-1], weight) + self.biases[layer])
            hidden.append(function(bent[-1]))
        loss, delta = naive_loss(self.own["output_scale"] * bent[-1], targets, self.own["loss"])
        delta = delta * self.own["output_scale"]
        gradients, bias_gradients = [], []
        for layer in range(len(self.weights) - 1, -1, -1):
            gradients.insert(0, np.einsum("no,ni->oi", delta, hidden[layer]))
            bias_gradients.insert(0, delta.sum(axis=0))
            if layer:
                delta = np.einsum("no,oi->ni", delta, self.weights[layer]) * slope(bent[layer - 1])
        return loss, gradients, bias_gradients

    def run(self, steps):
        """Train; returns losses and gradients of all batches, and the weights before each."""
        shard, history = self.shard, []
        keep_last, samples = shard.last_batch == "keep", len(self.task.inputs)
        sampler = Sampler(shard.sampler, samples, shard.batch_size, shard.steps, keep_last=keep_last)
        self.before, self.velocity_norms = [], [[0.0] * self.network.layers]
        for step in range(steps):
            epoch, batch = divmod(step, sampler.batches)
            rows = sampler.order(self.own["seed_order"], epoch)[batch]
            if sampler.rest and batch == sampler.batches - 1:
                rows = rows[: sampler.rest]
            self.before.append(self.weights.copy())
            loss, gradients, bias_gradients = self.gradient(self.task.inputs[rows], self.task.targets[rows])
            history.append((loss, gradients))
            for layer in self.network.trained_layers:
                push = gradients[layer] + self.own["weight_decay"] * self.weights[layer]
                if shard.update == "adam":
                    self.adapt("weights", layer, push, step)
                    self.adapt("biases", layer, bias_gradients[layer] * self.network.bias[layer], step)
                    continue
                self.velocity[layer] = self.own["momentum"] * self.velocity[layer] - push
                self.weights[layer] = self.weights[layer] + self.own["learning_rate"] * self.velocity[layer]
                if self.network.bias[layer]:
                    self.bias_velocity[layer] = self.own["momentum"] * self.bias_velocity[layer] - bias_gradients[layer]
                    self.biases[layer] = self.biases[layer] + self.own["learning_rate"] * self.bias_velocity[layer]
            self.velocity_norms.append([np.sum(velocity**2) for velocity in self.velocity])
        return history

    def adapt(self, name, layer, gradient, step):
        """Adam, algorithm 1 of arXiv 1412.6980."""
        first, second = self.moments.get((name, layer), (0, 0))
        beta = self.own["momentum"]
        first, second = beta * first + (1 - beta) * gradient, 0.999 * second + 0.001 * gradient**2
        self.moments[name, layer] = first, second
        mean, square = first / (1 - beta ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        array = getattr(self, name)
        array[layer] = array[layer] - self.own["learning_rate"] * mean / (np.sqrt(square) + 1e-7)


@pytest.fixture(scope="session")
def build():
    """The functions of this file."""
    return SimpleNamespace(
        shard=make_shard, task=make_task, tasks=make_tasks, train=record_all, Naive=Naive, Task=PlainTask
    )
