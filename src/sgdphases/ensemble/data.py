"""The training data of all networks on the device, and how a batch gets to a group of networks.

Frozen layers that nothing trained precedes are applied to the whole data once, so that training starts at the first
trained layer. Tasks that share arrays share memory.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from sgdphases.ensemble.architecture import Network
from sgdphases.ensemble.buffers import Buffer
from sgdphases.ensemble.losses import as_numbers
from sgdphases.ensemble.networks import activate
from sgdphases.ensemble.reference import starting_outputs, starts
from sgdphases.ensemble.sampler import Sampler
from sgdphases.ensemble.shard import Shard


class Data:
    """Features and targets of all tasks of a shard.

    Args:
        shard: What is trained.
        tasks: Task per seed, with `inputs`, `targets` and `frozen`.
        device: Where the data go.

    Attributes:
        sampler: The order of the data.
        index: Number of the data set of each task seed.
        features: Inputs of the first trained layer: (batches, sets, batch, width) where the order is the same for all,
            else (sets * samples, width).
        targets: Targets, laid out alike.
        references: Outputs at the start of centred networks, laid out alike with one set for every start and data set
            (`reference_index` numbers these); None for others.
    """

    def __init__(self, shard: Shard, tasks: Mapping[int, Any], device: torch.device) -> None:
        network = shard.network
        self.lowest = network.trained_layers[0]
        self.index, chosen = _distinct(tasks, self.lowest)
        samples = {len(task.inputs) for task in chosen}
        if len(samples) != 1:
            raise ValueError(f"tasks of one shard must have equally many samples, not {sorted(samples)}")
        keep_last = shard.last_batch == "keep"
        self.sampler = Sampler(shard.sampler, samples.pop(), shard.batch_size, shard.steps, keep_last=keep_last)
        dtype = getattr(torch, shard.dtype)
        features = (_features(network, task, self.lowest, dtype) for task in chosen)
        outputs = network.widths[-1]
        targets = (torch.tensor(as_numbers(task.targets, outputs), dtype=dtype) for task in chosen)
        self.features = self._laid(features, len(chosen), device)
        self.targets = self._laid(targets, len(chosen), device)
        self.references, self.reference_index = None, {}
        if network.centered:
            self._refer(shard, chosen, dtype, device)

    def _refer(self, shard: Shard, chosen: list[Any], dtype: torch.dtype, device: torch.device) -> None:
        """Compute what the centred networks subtract, once for every start and data set."""
        sets = (self.index[seed] for seed in shard.networks["seed_task"].tolist())
        keys = list(dict.fromkeys(zip(starts(shard.networks), sets, strict=True)))
        self.reference_index = {key: number for number, key in enumerate(keys)}
        inputs = {number: torch.tensor(task.inputs, dtype=dtype, device=device) for number, task in enumerate(chosen)}
        tables = (starting_outputs(shard, start, inputs[number]).to(dtype) for start, number in keys)
        self.references = self._laid(tables, len(keys), device)

    def _laid(self, tables: Iterator[torch.Tensor], sets: int, device: torch.device) -> torch.Tensor:
        """Put the tables of all sets side by side, batch by batch if all networks see the same order."""
        sampler, laid = self.sampler, None
        for number, table in enumerate(tables):
            if sampler.seeded:
                if sets == 1:
                    return table.to(device)
                laid = torch.empty((sets, *table.shape), dtype=table.dtype) if laid is None else laid
                laid[number] = table
                continue
            table = table[sampler.order(0, 0).ravel()]
            table = table.reshape(sampler.batches, sampler.batch_size, -1)
            if sets == 1:
                return table[:, None].to(device)
            if laid is None:
                laid = torch.empty((len(table), sets, *table.shape[1:]), dtype=table.dtype)
            laid[:, number] = table
        return (laid.flatten(0, 1) if sampler.seeded else laid).to(device)

    def batches(self, columns: Mapping[str, np.ndarray], device: torch.device) -> "Batches":
        """The batches of some networks.

        Args:
            columns: Their rows of the shard's columns.
            device: Where the data are.

        Returns:
            What fetches them.
        """
        sets = np.array([self.index[seed] for seed in columns["seed_task"].tolist()])
        references = None
        if self.references is not None:
            keys = zip(starts(columns), sets.tolist(), strict=True)
            references = np.array([self.reference_index[key] for key in keys])
        return Batches(self, sets, columns["seed_order"], device, references)


class Batches:
    """Brings the batch of each step to a group of networks.

    Attributes:
        inputs: Input of the first trained layer, (networks, batch, width); one batch for all where they share it.
        targets: Targets, (networks, batch, outputs).
        reference: What centred networks subtract, (networks, batch, outputs); None for others.
    """

    def __init__(
        self,
        data: Data,
        sets: np.ndarray,
        orders: np.ndarray,
        device: torch.device,
        references: np.ndarray | None = None,
    ) -> None:
        self.data, self.orders, self.sets = data, orders, sets
        seeded = data.sampler.seeded
        self.shared = len(set(sets.tolist())) == 1 and (not seeded or len(set(orders.tolist())) == 1)
        count, size = len(sets), data.sampler.batch_size
        stored = 1 if self.shared else count
        self._inputs = Buffer((stored, size, data.features.shape[-1]), data.features.dtype, device).view
        self._targets = Buffer((stored, size, data.targets.shape[-1]), data.targets.dtype, device).view
        self.inputs = self._inputs.expand(count, -1, -1)
        self.targets = self._targets.expand(count, -1, -1)
        self._device = device
        self._start = 0
        self._rows: tuple[torch.Tensor, ...] = ()
        self._reference_rows: tuple[torch.Tensor, ...] = ()
        self._orders: dict[tuple[int, int], np.ndarray] = {}
        self.fetch: Callable[[int], None] = self._fetch_rows if seeded else self._fetch_set
        if not seeded:
            chosen = sets[:1] if self.shared else sets
            self._chosen = torch.as_tensor(chosen, device=device)
            self._feature_batches, self._target_batches = data.features.unbind(0), data.targets.unbind(0)
        self.reference = None
        if references is not None:
            self._refer(references)

    def _refer(self, references: np.ndarray) -> None:
        """Let each batch bring what the networks subtract, once if it is the same for all."""
        table, alike = self.data.references, self.shared and len(set(references.tolist())) == 1
        self._reference_sets = references[:1] if alike else references
        self._reference_chosen = torch.as_tensor(self._reference_sets, device=self._device)
        shape = (len(self._reference_sets), self.data.sampler.batch_size, table.shape[-1])
        self._reference = Buffer(shape, table.dtype, self._device).view
        self.reference = self._reference.expand(len(references), -1, -1)

    def prepare(self, start: int, stop: int) -> None:
        """Make the sample numbers of steps start .. stop - 1 ready."""
        if not self.data.sampler.seeded:
            return
        self._start = start
        self._rows = self._rows_of(self.sets[: self._inputs.shape[0]], start, stop)
        if self.reference is not None:
            self._reference_rows = self._rows_of(self._reference_sets, start, stop)

    def _rows_of(self, sets: np.ndarray, start: int, stop: int) -> tuple[torch.Tensor, ...]:
        """Rows of some tables, laid one after the other, that the networks see: (networks * batch,) for each step."""
        sampler, known = self.data.sampler, {}
        rows = np.empty((stop - start, len(sets), sampler.batch_size), dtype=np.int64)
        for place, number in enumerate(sets):
            seed = int(self.orders[place])
            if seed not in known:
                known[seed] = self._numbers(seed, start, stop)
            rows[:, place] = known[seed] + number * sampler.samples
        return torch.as_tensor(rows.reshape(stop - start, -1), device=self._device).unbind(0)

    def _numbers(self, seed: int, start: int, stop: int) -> np.ndarray:
        """Sample numbers of one order stream, (steps, batch)."""
        sampler = self.data.sampler
        epochs = range(start // sampler.batches, (stop - 1) // sampler.batches + 1)
        for epoch in epochs:
            if (seed, epoch) not in self._orders:
                self._orders[seed, epoch] = sampler.order(seed, epoch)
        self._orders = {key: order for key, order in self._orders.items() if key[1] >= epochs[0]}
        numbers = np.concatenate([self._orders[seed, epoch] for epoch in epochs])
        first = epochs[0] * sampler.batches
        return numbers[start - first : stop - first]

    def _fetch_set(self, step: int) -> None:
        """Batch of a step where the order is the same for all networks."""
        batch = step % self.data.sampler.batches
        torch.index_select(self._feature_batches[batch], 0, self._chosen, out=self._inputs)
        torch.index_select(self._target_batches[batch], 0, self._chosen, out=self._targets)
        if self.reference is not None:
            torch.index_select(self.data.references[batch], 0, self._reference_chosen, out=self._reference)

    def _fetch_rows(self, step: int) -> None:
        """Batch of a step where networks have orders of their own."""
        rows = self._rows[step - self._start]
        torch.index_select(self.data.features, 0, rows, out=self._inputs.view(-1, self._inputs.shape[-1]))
        torch.index_select(self.data.targets, 0, rows, out=self._targets.view(-1, self._targets.shape[-1]))
        if self.reference is not None:
            rows, out = self._reference_rows[step - self._start], self._reference.view(-1, self._reference.shape[-1])
            torch.index_select(self.data.references, 0, rows, out=out)


def _distinct(tasks: Mapping[int, Any], lowest: int) -> tuple[dict[int, int], list[Any]]:
    """Number of the data set of each task seed, and one task for each; tasks with the same arrays are one."""
    numbers: dict[tuple[int, ...], int] = {}
    index, chosen = {}, []
    for seed, task in tasks.items():
        key = (id(task.inputs), id(task.targets), *(id(task.frozen[layer]) for layer in range(lowest)))
        if key not in numbers:
            numbers[key] = len(chosen)
            chosen.append(task)
        index[seed] = numbers[key]
    return index, chosen


def _features(network: Network, task: Any, lowest: int, dtype: torch.dtype) -> torch.Tensor:
    """The inputs of the first trained layer for all samples of a task."""
    hidden = torch.tensor(task.inputs, dtype=dtype)
    for layer in range(lowest):
        weights = torch.tensor(task.frozen[layer], dtype=dtype)
        if weights.shape != network.shape(layer):
            raise ValueError(f"frozen weights {tuple(weights.shape)} do not fit layer {layer}")
        hidden = activate(torch.mm(hidden, weights.T), network.activation)
    if hidden.shape[1] != network.widths[lowest]:
        raise ValueError(f"inputs of width {hidden.shape[1]} do not fit the width {network.widths[lowest]}")
    return hidden
