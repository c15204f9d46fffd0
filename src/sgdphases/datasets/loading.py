"""From what a card says to the arrays of a network's task."""

import importlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sgdphases.datasets.registry import depends_on_seed, find, resolve
from sgdphases.datasets.synthetic import layer_matrix
from sgdphases.datasets.task import Task


def load(
    dataset: Mapping[str, Any],
    *,
    widths: Sequence[int],
    trained: Sequence[bool],
    activation: str,
    seed: int,
    directory: str | Path,
) -> Task:
    """The task of one network.

    Layers that are not trained get their weights here, entries N(0, 1/fan_in), whatever the data set.

    Args:
        dataset: `name` and parameters, as in an experiment card.
        widths: The network's widths, inputs first.
        trained: For each layer, whether it is trained.
        activation: The network's activation (a teacher's is the same).
        seed: Task seed. Fixed data ignore it, a seeded subset and frozen layers aside.
        directory: The data directory, where downloaded data sets lie.

    Returns:
        The task; its shapes fit the network's widths.

    Raises:
        ValueError: If the data set, a parameter or the network does not fit.
    """
    if len(trained) != len(widths) - 1:
        raise ValueError(f"trained has {len(trained)} entries for {len(widths) - 1} layers")
    known = {"widths": widths, "trained": trained, "activation": activation, "seed": seed, "directory": Path(directory)}
    task = _arrays(dataset, known)
    _check_widths(task, dataset["name"], widths)
    return replace(task, frozen=_frozen(seed, widths, trained))


def load_tasks(
    dataset: Mapping[str, Any],
    *,
    widths: Sequence[int],
    trained: Sequence[bool],
    activation: str,
    seeds: Iterable[int],
    directory: str | Path,
) -> dict[int, Task]:
    """The tasks of many networks; data that do not depend on the seed are read once and shared in memory.

    Args:
        dataset: As for `load`.
        widths: As for `load`.
        trained: As for `load`.
        activation: As for `load`.
        seeds: Task seeds; repeated ones count once.
        directory: As for `load`.

    Returns:
        The task of each seed, equal to what `load` gives.
    """
    network = {"widths": widths, "trained": trained, "activation": activation, "directory": directory}
    seeds = list(dict.fromkeys(int(seed) for seed in seeds))
    if depends_on_seed(dataset) or not seeds:
        return {seed: load(dataset, seed=seed, **network) for seed in seeds}
    common = load(dataset, seed=seeds[0], **network)
    return {seed: replace(common, frozen=_frozen(seed, widths, trained)) for seed in seeds}


def _arrays(dataset: Mapping[str, Any], known: Mapping[str, Any]) -> Task:
    """Call the data set's own loader, with those of the known things that it asks for by name."""
    parameters = resolve(dataset)
    module, function = find(dataset["name"]).loader.split(":")
    loader = getattr(importlib.import_module(module), function)
    wanted = [name for name in inspect.signature(loader).parameters if name != "parameters"]
    return loader(parameters, **{name: known[name] for name in wanted})


def _frozen(seed: int, widths: Sequence[int], trained: Sequence[bool]) -> dict[int, Any]:
    """The weights of the layers that are not trained."""
    return {layer: layer_matrix(seed, layer, widths) for layer, learns in enumerate(trained) if not learns}


def _check_widths(task: Task, name: str, widths: Sequence[int]) -> None:
    """Raise a ValueError if the network cannot read the inputs or give the outputs."""
    if task.inputs.shape[1] != widths[0]:
        raise ValueError(f"dataset {name} has {task.inputs.shape[1]} inputs, the network's first width is {widths[0]}")
    classes = task.targets.ndim == 1
    outputs = int(task.targets.max()) + 1 if classes else task.targets.shape[1]
    if outputs > widths[-1] or (outputs < widths[-1] and not classes):
        raise ValueError(f"dataset {name} has {outputs} outputs, the network's last width is {widths[-1]}")
