"""Measuring a shard: its networks split into parts by task, every observable on every part, put back in order."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sgdphases.datasets.task import Task
from sgdphases.ensemble.shard import Shard
from sgdphases.observables.dynamics import map_layers
from sgdphases.observables.registry import DENSE, Observable, selected
from sgdphases.observables.snapshot import FEATURE_SAMPLES, Part, Snapshot

PART_ELEMENTS = 2**22
"""Numbers in one float64 array of features of a part (32 MiB); more networks make more parts."""

FEW = 4
"""Fewer networks than this on one task are pooled with others, each with its own copy of its data."""

Array = np.ndarray


class Measurement:
    """What is measured on one shard, step after step.

    Args:
        shard: The shard.
        tasks: Task of every `seed_task`; what they share had better be one array. Not needed for weights alone.
        initial_weights: Weights at step 0, layer to (R, out, in): the trained layers, and frozen ones that no task has.
        words: Observables by name.

    Raises:
        ValueError: If a word is unknown, or asks for what these networks cannot give.
    """

    def __init__(
        self, shard: Shard, tasks: Mapping[int, Task], *, initial_weights: Mapping[int, Array], words: Sequence[str]
    ) -> None:
        self.shard, self.observables = shard, selected(words)
        _possible(shard, self.observables)
        asked = any(observable.needs for observable in self.observables)
        seeds = shard.networks["seed_task"]
        self._parts = [
            Part(shard, networks, [tasks[int(seed)] for seed in seeds[networks]] if asked else [], initial_weights)
            for networks in self._split(tasks)
        ]

    def at(
        self, weights: Mapping[int, Array], biases: Mapping[int, Array] | None = None, *, alive: Array | None = None
    ) -> dict[str, Array]:
        """Measure one recorded step.

        Args:
            weights: Layer to (R, out, in) of the trained layers.
            biases: Layer to (R, out) of trained layers that have them.
            alive: Which networks have not diverged (R,); networks with a weight that is not finite count as diverged.

        Returns:
            Word to (R, ...axes of the observable); NaN (-1 for whole numbers) for networks that have diverged.
        """
        biases = biases or {}
        living = np.ones(len(self.shard), dtype=bool) if alive is None else np.asarray(alive, dtype=bool).copy()
        for array in (*weights.values(), *biases.values()):
            living &= np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        found: dict[str, Array] = {}
        for part in self._parts:
            here = living[part.networks]
            own = [_alive_only(arrays, part.networks, here) for arrays in (weights, biases)]
            snapshot = Snapshot(part, *own)
            for observable in self.observables:
                values = self._values(observable, snapshot)
                values[~here] = observable.missing
                whole = found.setdefault(observable.name, np.empty((len(living), *values.shape[1:]), values.dtype))
                whole[part.networks] = values
        return found

    @staticmethod
    def _values(observable: Observable, snapshot: Snapshot) -> Array:
        # Hot networks overflow legitimately: what is not finite is the result, not an accident.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return np.array(observable.function(snapshot), dtype=observable.dtype)

    def _split(self, tasks: Mapping[int, Task]) -> Iterator[Array]:
        """Networks of each part: one loss, and one task unless too few networks share it."""
        if not any(observable.needs for observable in self.observables):
            yield np.arange(len(self.shard))
            return
        columns, network = self.shard.networks, self.shard.network
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, (seed, loss) in enumerate(zip(columns["seed_task"], columns["loss"], strict=True)):
            groups[str(loss), *_data_of(tasks[int(seed)])].append(place)
        pooled: dict[str, list[int]] = defaultdict(list)
        for (loss, *_), places in groups.items():
            if len(places) < FEW:
                pooled[loss] += places
            else:
                yield from _pieces(places, FEATURE_SAMPLES * network.largest)
        samples = max(max(len(task.inputs), FEATURE_SAMPLES) for task in tasks.values())
        for places in pooled.values():
            yield from _pieces(places, samples * max(network.widths[0], network.largest))


def _data_of(task: Task) -> tuple[int, ...]:
    """What tells tasks apart: arrays that are the same objects are the same data."""
    arrays = (task.inputs, task.targets, task.test_inputs, task.test_targets, *task.frozen.values())
    return tuple(id(array) for array in arrays)


def _pieces(places: Sequence[int], elements: int) -> Iterator[Array]:
    """Runs of places with at most `PART_ELEMENTS` numbers, at `elements` a place."""
    most = max(1, PART_ELEMENTS // elements)
    for start in range(0, len(places), most):
        yield np.array(places[start : start + most])


def _alive_only(arrays: Mapping[int, Array], networks: Array, alive: Array) -> dict[int, Array]:
    """The part's rows, zero for networks that have diverged."""
    found = {}
    for layer, array in arrays.items():
        found[layer] = array[networks]
        found[layer][~alive] = 0
    return found


def _possible(shard: Shard, observables: Sequence[Observable]) -> None:
    """Refuse observables that this architecture or update rule cannot give."""
    if shard.update == "contrastive_divergence":
        asking = [o.name for o in observables if o.needs]
        _refuse(asking, "networks trained by contrastive divergence have no outputs")
    if shard.network.layers < 2:
        asking = [o.name for o in observables if "features" in o.needs]
        _refuse(asking, "a network of one layer has no hidden features")
    if shard.network.kind == "cnn":
        asking = [o.name for o in observables if DENSE & set(o.needs)]
        _refuse(asking, "in networks of kind cnn no sample's gradient is one outer product, and no layers are a map")
    if not map_layers(shard.network.widths):
        asking = [o.name for o in observables if "map" in o.needs]
        _refuse(asking, "no hidden layer is as wide as the input, so the network has no square map to iterate")


def _refuse(asking: Sequence[str], why: str) -> None:
    """Refuse these observables, if there are any."""
    if asking:
        raise ValueError(f"cannot measure {', '.join(asking)}: {why}")
