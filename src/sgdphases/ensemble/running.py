"""Running observables: what training itself measures at every recorded step, where weights are too large to keep.

Some are read off the present weights or from a pass over held-out data, some are sums that the updates make as they go:
over the current epoch (`epoch_...`), or from the first step on (`weight_work`).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch

from sgdphases.ensemble import displacements, iteration, starting
from sgdphases.ensemble.evaluation import evaluate_modular
from sgdphases.ensemble.kinds import gradient_unit
from sgdphases.ensemble.losses import as_numbers, loss_factor
from sgdphases.ensemble.passes import Data, Stack, evaluate, prepared
from sgdphases.ensemble.reference import Start, referred, starts
from sgdphases.ensemble.shard import WHOLE_RUNNING, Shard
from sgdphases.ensemble.state import State

Array = np.ndarray


def coupling(weights: Array) -> Array:
    """J = sigma_w sqrt(fan-in): population standard deviation of all entries, in float64 (arXiv 2107.09437).

    Args:
        weights: (..., out, in).

    Returns:
        Array (...).
    """
    return np.std(weights, axis=(-2, -1), dtype=np.float64) * math.sqrt(weights.shape[-1])


def mean_coupling(weights: Array) -> Array:
    """J_0 = mean entry times fan-in, in float64 (arXiv 2107.09437).

    Args:
        weights: (..., out, in).

    Returns:
        Array (...).
    """
    return np.mean(weights, axis=(-2, -1), dtype=np.float64) * weights.shape[-1]


class Running:
    """The running observables of one shard.

    Args:
        shard: What is trained; its `running` says what is asked for.
        tasks: Task per task seed.
        batches: Batches of an epoch.
        device: Where passes over held-out data run.
        start: Weights that all networks started from; None where each had its own.

    Raises:
        ValueError: If a held-out set is asked for that the data set does not have.
    """

    def __init__(
        self,
        shard: Shard,
        tasks: Mapping[int, Any],
        batches: int,
        device: torch.device,
        start: starting.Start | None = None,
    ) -> None:
        self.shard, self.tasks, self.batches, self.device = shard, tasks, batches, device
        self._functions: dict[str, Callable[[State], Array]] = {
            "epoch_train_loss": self._epoch_loss,
            "epoch_train_accuracy": self._epoch_accuracy,
            "epoch_gradient_norm": self._epoch_gradient_norm,
            "weight_work": self._weight_work,
            "weight_diffusion": self._weight_diffusion,
            "coupling": lambda state: self._of_weights(state, coupling),
            "mean_coupling": lambda state: self._of_weights(state, mean_coupling),
            **iteration.measured(shard),
            **displacements.measured(shard, start),
        }
        self._held_out: dict[tuple[str, int], Any] = {}
        self._references: dict[tuple[int, Start], Data] = {}
        self._starts = starts(shard.networks)
        for part in ("test", "validation"):
            if any(word.startswith(f"{part}_") for word in shard.running):
                self._prepare(part)

    def at(self, state: State) -> dict[str, Array]:
        """Measure what the shard asks for.

        Args:
            state: Where the training stands, with all groups' arrays brought back.

        Returns:
            Word to float64 (networks, ...): with the trained layers for those that each layer has, and the axes of
            `starting.OWN_AXES`; NaN for networks that have diverged, and at step 0 for means over an epoch.
        """
        found = {}
        passes = {part: self._passes(state, part) for part in dict.fromkeys(key[0] for key in self._held_out)}
        for word in self.shard.running:
            if word in WHOLE_RUNNING:
                continue
            part, _, kind = word.partition("_")
            values = passes[part][kind] if part in passes else self._functions[word](state)
            found[word] = np.full(values.shape, math.nan)
            found[word][state.alive] = values[state.alive]
        return found

    def _epoch_batches(self, state: State) -> int:
        """Batches of the current epoch up to the state's step; 0 at the very beginning."""
        return state.step - max(state.step - 1, 0) // self.batches * self.batches

    def _epoch_mean(self, state: State, values: Iterable[float]) -> Array:
        batches = self._epoch_batches(state)
        sums = np.array(list(values))
        return sums / batches if batches else np.full(len(sums), math.nan)

    def _epoch_loss(self, state: State) -> Array:
        outputs = self.shard.network.widths[-1]
        words = self.shard.networks["loss"].tolist()
        factors = [loss_factor(word, self.shard.batch_size, outputs) for word in words]
        pairs = zip(state.arrays["terms"], factors, strict=True)
        return self._epoch_mean(state, (np.sum(terms) * factor for terms, factor in pairs))

    def _epoch_accuracy(self, state: State) -> Array:
        hits = state.arrays["hits"]
        return self._epoch_mean(state, (np.sum(row) / self.shard.batch_size for row in hits))

    def _epoch_gradient_norm(self, state: State) -> Array:
        sums = [state.arrays[f"gradient_{layer}"] for layer in self.shard.network.trained_layers]
        squares = [sum(float(np.sum(layer[row] ** 2)) for layer in sums) for row in range(len(self.shard))]
        unit = np.abs(gradient_unit(self.shard))
        pairs = zip(squares, unit, strict=True)
        return self._epoch_mean(state, (math.sqrt(square) / size for square, size in pairs))

    def _weight_work(self, state: State) -> Array:
        """Sums of -<W, gradient> times learning_rate / (1 - momentum), per layer."""
        columns = self.shard.networks
        factor = columns["learning_rate"] / (1 - columns["momentum"]) / -gradient_unit(self.shard)
        sums = [state.arrays[f"work_{layer}"][:, 0] * factor for layer in self.shard.network.trained_layers]
        return np.stack(sums, axis=1)

    def _weight_diffusion(self, state: State) -> Array:
        """Sums of c^2 (|v_t+1|^2 - momentum^2 |v_t|^2) with c = learning_rate / (1 - momentum), per layer."""
        # U = W + learning_rate momentum v / (1 - momentum) moves by c times minus the gradient and the decay of W, so
        # that |U|^2 grows by twice the work on W, decay included, and by this.
        columns = self.shard.networks
        momentum = columns["momentum"]
        factor = (columns["learning_rate"] / (1 - momentum) / gradient_unit(self.shard)) ** 2
        found = []
        for layer in self.shard.network.trained_layers:
            sums = (1 - momentum**2) * state.arrays[f"squares_{layer}"][:, 0]
            if f"velocity_{layer}" in state.arrays:
                velocity = state.arrays[f"velocity_{layer}"]
                last = np.array([np.vdot(row, row) for row in velocity.astype(np.float64)])
                sums = sums + momentum**2 * last
            found.append(factor * sums)
        return np.stack(found, axis=1)

    def _of_weights(self, state: State, function: Callable[[Array], Array]) -> Array:
        layers = self.shard.network.trained_layers
        return np.stack([function(state.arrays[f"weights_{layer}"]) for layer in layers], axis=1)

    def _prepare(self, part: str) -> None:
        """Bring the test or validation set of every task to the device; tasks that share arrays share memory.

        Those of modular networks stay where they are: they may be as large as the training set.

        Raises:
            ValueError: If the data set has no such part.
        """
        dtype, outputs = getattr(torch, self.shard.dtype), self.shard.network.widths[-1]
        known: dict[tuple[int, int], Data] = {}
        for seed, task in self.tasks.items():
            inputs, targets = (getattr(task, f"{part}_{what}", None) for what in ("inputs", "targets"))
            if inputs is None:
                raise ValueError(f"{part}_loss and {part}_accuracy need a {part} set, which the card's data set lacks")
            if self.shard.network.modular:
                self._held_out[part, seed] = task
                continue
            key = (id(inputs), id(targets))
            if key not in known:
                data = prepared(inputs[None], as_numbers(targets, outputs)[None], dtype=dtype)
                known[key] = Data(data.inputs.to(self.device), data.targets.to(self.device))
            self._held_out[part, seed] = known[key]

    def _passes(self, state: State, part: str) -> dict[str, Array]:
        """Loss and accuracy of every living network on one held-out set, each network by itself."""
        found = {"loss": np.full(len(self.shard), math.nan), "accuracy": np.full(len(self.shard), math.nan)}
        for row in np.flatnonzero(state.alive):
            if self.shard.network.modular:
                task = self.tasks[int(self.shard.networks["seed_task"][row])]
                one = evaluate_modular(self.shard, state, row, task, part, self.device)
                found["loss"][row], found["accuracy"][row] = one["loss"], one["accuracy"]
                continue
            data = self._referred(part, int(self.shard.networks["seed_task"][row]), self._starts[row])
            evaluation = evaluate(self._stack(state, row), data, str(self.shard.networks["loss"][row]))
            found["loss"][row], found["accuracy"][row] = evaluation.loss[0], evaluation.correct[0]
        return found

    def _referred(self, part: str, seed: int, start: Start) -> Data:
        """One task's held-out set with what networks of one start subtract on it, if they do."""
        data = self._held_out[part, seed]
        if not self.shard.network.centered:
            return data
        key = (id(data.inputs), start)
        if key not in self._references:
            self._references[key] = referred(self.shard, data, [start])
        return self._references[key]

    def _stack(self, state: State, row: int) -> Stack:
        """All layers of one network."""
        network, dtype = self.shard.network, getattr(torch, self.shard.dtype)
        frozen = self.tasks[int(self.shard.networks["seed_task"][row])].frozen

        def tensor(array: Array) -> torch.Tensor:
            return torch.as_tensor(array, dtype=dtype, device=self.device)[None]

        return Stack(
            first=0,
            weights=[
                tensor(state.arrays[f"weights_{layer}"][row] if network.trained[layer] else frozen[layer])
                for layer in range(network.layers)
            ],
            biases=[
                tensor(state.arrays[f"bias_{layer}"][row]) if f"bias_{layer}" in state.arrays else None
                for layer in range(network.layers)
            ],
            activation=network.activation,
            output_scale=tensor(self.shard.output_factor[row]),
            geometries=network.geometries,
        )
