"""Networks of one shard at one recorded step, with what observables share computed once.

`Part` is what does not change from step to step (data, frozen layers, the start), `Snapshot` one step of a part.
Everything is evaluated when it is first asked for, so an observable that reads weights alone costs no forward pass.
Letters in shapes: r network, n sample, o output, m mode.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch

from sgdphases.datasets.synthetic import are_classes
from sgdphases.datasets.task import Task
from sgdphases.ensemble.losses import as_numbers
from sgdphases.ensemble.networks import Passes
from sgdphases.ensemble.passes import Data, Evaluation, Stack, evaluate, output_gradient, prepared
from sgdphases.ensemble.reference import START, referred, starts
from sgdphases.ensemble.shard import Shard
from sgdphases.observables.controls import CONTROLS, controlled
from sgdphases.observables.drift import LevelDynamics, level_dynamics
from sgdphases.observables.dynamics import map_layers
from sgdphases.observables.kernels import PROBES
from sgdphases.observables.orbits import IMAGES, ORBITS, Asymptotics, Attractor, SquareMap, asymptotics, attractor
from sgdphases.observables.spectra import decomposition, levels
from sgdphases.observables.tangent import tangent_kernel

FEATURE_SAMPLES = 1024
"""Test samples, from the first on, on which features and per-sample gradients are measured, in float64."""

Array = np.ndarray


class Part:
    """Some networks of one shard, trained with one loss, over all steps: their data, their frozen layers, their start.

    Args:
        shard: The whole shard.
        networks: Places of these networks in the shard (r,).
        tasks: The task of each of them; empty if only weights are measured.
        weights: Weights at step 0 of the whole shard, layer to (R, out, in): all trained layers, and frozen layers that
            the tasks do not hold.
    """

    def __init__(self, shard: Shard, networks: Array, tasks: Sequence[Task], weights: Mapping[int, Array]) -> None:
        self.shard, self.networks, self.tasks = shard, networks, tasks
        self.initial = {layer: matrix[networks] for layer, matrix in weights.items()}

    def column(self, name: str) -> Array:
        """One hyperparameter or seed of every network (r,)."""
        return self.shard.networks[name][self.networks]

    @cached_property
    def first(self) -> int:
        """The first layer that is not evaluated once for all: everything below is frozen by the task."""
        network, known = self.shard.network, [set(task.frozen) for task in self.tasks]
        layer = 0
        while not (network.trained[layer] or network.bias[layer]) and all(layer in frozen for frozen in known):
            layer += 1
        return layer

    @property
    def loss(self) -> str:
        """Word of the loss that these networks were trained with."""
        return str(self.column("loss")[0])

    @cached_property
    def frozen(self) -> dict[int, Array]:
        """Weights of the frozen layers (r or 1, out, in)."""
        found = {}
        for layer, trained in enumerate(self.shard.network.trained):
            if not trained and all(layer in task.frozen for task in self.tasks):
                found[layer] = _stacked([task.frozen[layer] for task in self.tasks])
            elif not trained and layer in self.initial:
                found[layer] = self.initial[layer]
            elif not trained:
                raise ValueError(f"layer {layer} is frozen, but neither the task nor the start has its weights")
        return found

    @cached_property
    def frozen_singular(self) -> dict[int, tuple[Array, Array, Array]]:
        """Thin singular value decompositions of the frozen layers (r or 1, ...), float64."""
        return {layer: decomposition(matrix) for layer, matrix in self.frozen.items()}

    @cached_property
    def train_data(self) -> Data:
        """The whole training set, in the shard's floating-point type."""
        return self._data([(task.inputs, task.targets) for task in self.tasks], self.dtype)

    @cached_property
    def test_data(self) -> Data:
        """The whole test set, in the shard's floating-point type."""
        return self._data([(task.test_inputs, task.test_targets) for task in self.tasks], self.dtype)

    @cached_property
    def labels(self) -> dict[str, Data | None]:
        """Training samples by what was done to their labels: clean, shuffled, and shuffled with their true labels."""
        clean, shuffled, corrected = [], [], []
        for task in self.tasks:
            mixed = np.zeros(len(task.inputs), dtype=bool) if task.shuffled is None else task.shuffled
            clean.append((task.inputs[~mixed], task.targets[~mixed]))
            shuffled.append((task.inputs[mixed], task.targets[mixed]))
            true = task.targets if task.clean_targets is None else task.clean_targets
            corrected.append((task.inputs[mixed], true[mixed]))
        chosen = {"clean": clean, "shuffled": shuffled, "corrected": corrected}
        return {
            kind: self._data(sets, self.dtype) if all(len(targets) for _, targets in sets) else None
            for kind, sets in chosen.items()
        }

    @cached_property
    def feature_data(self) -> Data:
        """The first test samples in float64."""
        sets = {id(task.test_inputs): (task.test_inputs, task.test_targets) for task in self.tasks}
        some = {key: (inputs[:FEATURE_SAMPLES], aim[:FEATURE_SAMPLES]) for key, (inputs, aim) in sets.items()}
        return self._data([some[id(task.test_inputs)] for task in self.tasks], torch.float64)

    @cached_property
    def images(self) -> list[Array]:
        """First test inputs (n, w) of every network, float64: where the orbits of its square map start."""
        return [np.asarray(task.test_inputs[:IMAGES], dtype=np.float64) for task in self.tasks]

    @property
    def dtype(self) -> torch.dtype:
        """The shard's floating-point type."""
        return getattr(torch, self.shard.dtype)

    @cached_property
    def initial_levels(self) -> dict[int, Array]:
        """Squared singular values at step 0, trained layer to (r, m)."""
        return {layer: levels(self.initial[layer]) for layer in self.shard.network.trained_layers}

    @cached_property
    def initial_features(self) -> Array:
        """Activations of the last hidden layer at step 0 (r, n, w), float64. Biases start at zero."""
        return Snapshot(self, self.initial, {}).features

    @cached_property
    def initial_tangent_kernel(self) -> Array:
        """`Snapshot.tangent_kernel` at step 0."""
        return Snapshot(self, self.initial, {}).tangent_kernel

    @cached_property
    def teacher_levels(self) -> dict[int, Array]:
        """Squared singular values of the teacher, trained layer to (r, m); NaN without one."""
        found = {}
        for layer in self.shard.network.trained_layers:
            shape = self.shard.network.shape(layer)
            teachers = [task.teacher.get(layer, np.zeros(shape)) for task in self.tasks]
            missing = np.array([layer not in task.teacher for task in self.tasks])
            found[layer] = np.where(missing[:, None], np.nan, levels(np.stack(teachers)))
        return found

    def _data(self, sets: Sequence[tuple[Array, Array]], dtype: torch.dtype) -> Data:
        outputs = self.shard.network.widths[-1]
        # Class numbers become rows only once per set, not once per network.
        rows = {id(targets): as_numbers(targets, outputs) for _, targets in sets}
        data = prepared(
            _stacked([inputs for inputs, _ in sets]),
            _stacked([rows[id(targets)] for _, targets in sets]),
            dtype=dtype,
            leading=[torch.as_tensor(self.frozen[layer]) for layer in range(self.first)],
            activation=self.shard.network.activation,
        )
        if not self.shard.network.centered:
            return data
        return referred(self.shard, data, starts({name: self.column(name) for name in START}))


class Snapshot:
    """The networks of one part at one step.

    Args:
        part: What does not change.
        weights: Layer to (r, out, in) of the trained layers.
        biases: Layer to (r, out), where layers have them.
    """

    def __init__(self, part: Part, weights: Mapping[int, Array], biases: Mapping[int, Array]) -> None:
        self.part, self.shard = part, part.shard
        self.weights = {layer: weights[layer] for layer in part.shard.network.trained_layers}
        self.biases = dict(biases)

    def column(self, name: str) -> Array:
        """One hyperparameter or seed of every network (r,)."""
        return self.part.column(name)

    @cached_property
    def singular(self) -> dict[int, tuple[Array, Array, Array]]:
        """Thin singular value decompositions of the trained layers, float64."""
        return {layer: decomposition(matrix) for layer, matrix in self.weights.items()}

    @cached_property
    def levels(self) -> dict[int, Array]:
        """Squared singular values, descending, trained layer to (r, m)."""
        return {layer: levels(matrix) for layer, matrix in self.weights.items()}

    @property
    def initial_levels(self) -> dict[int, Array]:
        """Squared singular values at step 0, trained layer to (r, m)."""
        return self.part.initial_levels

    @property
    def teacher_levels(self) -> dict[int, Array]:
        """Squared singular values of the teacher, trained layer to (r, m)."""
        return self.part.teacher_levels

    @cached_property
    def passes(self) -> Passes:
        """Forward pass of the first test samples, float64, padding included."""
        return self.stack(torch.float64).forward(self.part.feature_data)

    @cached_property
    def features(self) -> Array:
        """Activations s of the last hidden layer on the first test samples (r, n, w), float64."""
        return self.passes.activations[-2][:, : self.part.feature_data.samples].numpy()

    @property
    def initial_features(self) -> Array:
        """`features` at step 0."""
        return self.part.initial_features

    @property
    def targets(self) -> Array:
        """Targets y of the first test samples (r or 1, n, o), classes as rows of zeros and a one."""
        return self.part.feature_data.targets.numpy()

    @cached_property
    def field(self) -> Array:
        """Field Z^T y with the present last layer Z, output scale included (r, n, w)."""
        stack = self.stack(torch.float64)
        last = stack.weights[-1] * stack.output_scale[:, None, None]
        return torch.matmul(self.part.feature_data.targets, last).numpy()

    @property
    def has_classes(self) -> bool:
        """Whether the test targets are classes."""
        return all(are_classes(task.test_targets) for task in self.part.tasks)

    @cached_property
    def train(self) -> Evaluation:
        """The card's loss and its gradients over the whole training set."""
        layers = self.shard.network.trained_layers
        return evaluate(self.stack(self.part.dtype), self.part.train_data, self.part.loss, layers=layers)

    def labels_learned(self, kind: str) -> Array:
        """Accuracy on part of the training set; NaN where there are no such samples.

        Args:
            kind: clean (labels left alone), shuffled (shuffled labels as they are), corrected (their true labels).

        Returns:
            In [0, 1] (r,).
        """
        found = self.part.labels[kind]
        if found is None:
            return np.full(len(self.part.networks), np.nan)
        return evaluate(self.stack(self.part.dtype), found, self.part.loss).correct

    @cached_property
    def test_evaluation(self) -> Evaluation:
        """Squared error summed over outputs (cross-entropy where that is trained) over the whole test set."""
        loss = "cross_entropy" if self.part.loss == "cross_entropy" else "squared_error"
        return evaluate(self.stack(self.part.dtype), self.part.test_data, loss)

    @cached_property
    def deltas(self) -> dict[int, Array]:
        """Derivative of every test sample's loss by the pre-activations, trained layer to (r, n, w), float64."""
        data, passes = self.part.feature_data, self.passes
        slope = output_gradient(passes.output, data.targets, self.part.loss)
        found = self.stack(torch.float64).deltas(passes, slope, self.shard.network.trained_layers)
        return {layer: delta[:, : data.samples].numpy() for layer, delta in found.items()}

    @cached_property
    def tangent_kernel(self) -> Array:
        """Neural tangent kernel on the first test samples, summed over outputs (r, p, p), float64."""
        probes = min(PROBES, self.part.feature_data.samples)
        return tangent_kernel(self.stack(torch.float64), self.passes, self.shard.network, probes).numpy()

    @cached_property
    def dynamics(self) -> dict[int, LevelDynamics]:
        """Langevin terms of the levels of every trained layer, from the first test samples."""
        return {
            layer: level_dynamics(
                np.asarray(matrix, dtype=np.float64),
                self.hidden(layer),
                -self.deltas[layer],
                singular=self.singular[layer],
                weight_decay=self.column("weight_decay"),
            )
            for layer, matrix in self.weights.items()
        }

    @cached_property
    def square_maps(self) -> list[list[SquareMap]]:
        """The square map of every network under every control, in the order of `CONTROLS`."""
        return [[self._square_map(row, name) for name in CONTROLS] for row in range(len(self.part.networks))]

    @cached_property
    def asymptotics(self) -> list[list[Asymptotics]]:
        """Where the first test images go under every map of every network."""
        rows = zip(self.square_maps, self.part.images, self.column("seed_weights").tolist(), strict=True)
        return [[asymptotics(square, images, seed=seed) for square in maps] for maps, images, seed in rows]

    @cached_property
    def attractors(self) -> list[list[Attractor]]:
        """What the first of these orbits do from there on."""
        rows = zip(self.square_maps, self.asymptotics, self.column("seed_weights").tolist(), strict=True)
        return [
            [attractor(square, past.states[:ORBITS], seed=seed) for square, past in zip(maps, found, strict=True)]
            for maps, found, seed in rows
        ]

    def _square_map(self, row: int, control: str) -> SquareMap:
        """The square map of one network under one control; biases stay what they are."""
        seed, matrices, biases = int(self.column("seed_weights")[row]), [], []
        for layer in range(map_layers(self.shard.network.widths)):
            frozen = layer in self.part.frozen
            whole = (self.part.frozen if frozen else self.weights)[layer]
            singular = (self.part.frozen_singular if frozen else self.singular)[layer]
            place = row if len(whole) > 1 else 0  # what all networks share is there once
            parts = tuple(part[place] for part in singular)
            matrices.append(controlled(whole[place], parts, control, seed=seed, layer=layer))
            biases.append(self.biases[layer][row] if layer in self.biases else None)
        return SquareMap(matrices, biases, self.shard.network.activation)

    def hidden(self, layer: int) -> Array:
        """What a layer reads on the first test samples (r or 1, n, w): one copy where the networks share it."""
        data, first = self.part.feature_data, self.part.first
        hidden = data.inputs if layer == first else self.passes.activations[layer - first]
        return hidden[:, : data.samples].numpy()

    def stack(self, dtype: torch.dtype) -> Stack:
        """Layers from the part's first on as tensors, one row a network."""
        matrices, networks = {**self.part.frozen, **self.weights}, len(self.part.networks)
        layers = range(self.part.first, self.shard.network.layers)
        weights = [torch.as_tensor(matrices[layer]).to(dtype) for layer in layers]
        return Stack(
            first=self.part.first,
            weights=[matrix.expand(networks, -1, -1) for matrix in weights],
            biases=[torch.as_tensor(self.biases[n]).to(dtype) if n in self.biases else None for n in layers],
            activation=self.shard.network.activation,
            output_scale=torch.as_tensor(self.shard.output_factor[self.part.networks]).to(dtype),
            geometries=self.shard.network.geometries,
        )


def _stacked(arrays: Sequence[Array]) -> Array:
    """One array for all networks: (1, ...) if it is one and the same, else (r, ...)."""
    shared = all(array is arrays[0] for array in arrays)
    return arrays[0][None] if shared else np.stack(arrays)
