"""Measure the observables of a card on the recorded networks of one shard."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from sgdphases.config import read_card
from sgdphases.datasets.loading import load_tasks
from sgdphases.datasets.task import Task
from sgdphases.ensemble import status
from sgdphases.ensemble.architecture import Network
from sgdphases.ensemble.shard import GRADIENT_UPDATES, WHOLE_RUNNING, Shard
from sgdphases.ensemble.starting import OWN_AXES
from sgdphases.observables.controls import CONTROLS
from sgdphases.observables.measurement import Measurement
from sgdphases.observables.registry import Observable, running_attributes, selected
from sgdphases.observables.snapshot import FEATURE_SAMPLES
from sgdphases.quantities import HYPERPARAMETERS
from sgdphases.steps.command import begin, events
from sgdphases.storage import cube
from sgdphases.storage.records import open_records

if TYPE_CHECKING:
    from sgdphases.storage.records import Records


def main(argv: Sequence[str] | None = None) -> None:
    """Read records, measure step after step, write one labelled file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", required=True)
    parser.add_argument("--card", required=True)
    parser.add_argument("--measured", required=True)
    parser.add_argument("--data", default="data")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--spool")
    arguments = begin("measure", parser, argv)
    torch.set_num_threads(arguments.threads)
    threadpool_limits(arguments.threads)  # NumPy's own; spectra of wide layers are far slower when threads contend
    card, job = read_card(arguments.card), (Path(arguments.card).stem, "measure", Path(arguments.records).stem)
    words = card.analysis.observables
    with (
        events(arguments.spool, *job, dataset=card.ensemble.dataset["name"]) as spool,
        open_records(arguments.records) as records,
    ):
        found, tasks = _measure(records, words, arguments.data)
        labelled = _labelled(records, selected(words), found, tasks)
        cube.write(labelled, arguments.measured)
        spool.params(
            {"networks": len(records.diverged_at), "records": len(records.steps), "observables": ", ".join(words)}
        )


def _measure(records: "Records", words: list[str], data: str) -> tuple[dict[str, np.ndarray], dict[int, Task]]:
    """Every observable at every step with weights, (networks, steps, ...axes), and the tasks it was measured on."""
    shard = Shard.from_dict(records.shard)
    layers = shard.network.trained_layers
    tasks = load_tasks(
        shard.dataset,
        widths=shard.network.widths,
        trained=shard.network.levels_trained,
        activation=shard.network.activation,
        seeds=shard.networks["seed_task"],
        directory=data,
    )
    if not words:
        return {}, tasks
    initial = {layer: records.weights(layer, 0) for layer in layers}
    measurement = Measurement(shard, tasks, initial_weights=initial, words=words)
    found: dict[str, np.ndarray] = {}
    missing = {observable.name: observable.missing for observable in selected(words)}
    for place, step in enumerate(records.weight_steps):
        weights = {layer: records.weights(layer, place) for layer in layers}
        biases = {layer: records.bias(layer, place) for layer in layers if shard.network.bias[layer]}
        alive = (records.diverged_at < 0) | (records.diverged_at > step)
        for name, values in measurement.at(weights, biases, alive=alive).items():
            shape = (len(shard), len(records.steps), *values.shape[1:])
            blank = np.full(shape, missing[name], dtype=values.dtype) if name not in found else None
            found.setdefault(name, blank)[:, np.searchsorted(records.steps, step)] = values
    return found, tasks


def _labelled(
    records: "Records", observables: list[Observable], found: dict[str, np.ndarray], tasks: dict[int, Task]
) -> Any:
    """The measured values with names for their axes; an axis of one trained layer is left out."""
    shard = Shard.from_dict(records.shard)
    layers = shard.network.trained_layers
    variables: dict[str, Any] = {}
    for observable in observables:
        axes, values = observable.axes, found[observable.name]
        if len(layers) == 1 and "layer" in axes:
            axes, values = tuple(axis for axis in axes if axis != "layer"), values.squeeze(axis=2)
        variables[observable.name] = (("network", "step", *axes), values, observable.attributes)
    for name in shard.running:
        if name in WHOLE_RUNNING:
            variables[name] = (("network", "update"), records.whole(name), running_attributes(name))
            continue
        values = np.moveaxis(records.scalar(name), 0, 1)
        axes = OWN_AXES.get(name, ("layer",)[: values.ndim - 2])
        if axes == ("layer",) and len(layers) == 1:
            axes, values = (), values.squeeze(axis=2)
        variables[name] = (("network", "step", *axes), values, running_attributes(name))
    if shard.update in GRADIENT_UPDATES:
        meta = {"long_name": "loss of the best constant answer", "units": "1", "symbol": "L_c"}
        variables["constant_loss"] = (("network",), status.constant_losses(shard.networks, tasks), meta)
    meta = {"long_name": "step at which the network diverged, -1 if it did not", "units": "1", "symbol": "t_d"}
    variables["diverged_at"] = (("network",), np.asarray(records.diverged_at), meta)
    variables |= _searched(records, shard) | _status(records, variables)
    columns = {name: shard.networks[name] for name in ("replica", *HYPERPARAMETERS) if name in shard.networks}
    columns["batch_size"] = np.full(len(shard), shard.batch_size)
    return cube.measured(
        columns,
        variables,
        steps=records.steps,
        layers={layer: shard.network.shape(layer) for layer in layers},
        controls=CONTROLS,
        attrs={
            "dataset": shard.dataset["name"],
            "update": shard.update,
            "network": shard.network.kind,
            "widths": list(shard.network.widths),
            **_normalisation(shard.network),
            "last_batch": shard.last_batch,
            "sampler": shard.sampler,
            **_samples(shard, tasks),
        },
    )


def _normalisation(network: Network) -> dict[str, str | int]:
    """How hidden layers are normalised, and in how many parts of a batch; nothing where they are not."""
    if network.norm == "none":
        return {}
    return {"norm": network.norm, "ghosts": network.ghosts}


def _searched(records: "Records", shard: Shard) -> dict[str, Any]:
    """Which networks a search has tried, and where it has found the edges of the stable range."""
    if shard.search is None:
        return {}
    tried = {"long_name": "whether the search tried the network", "units": "1", "symbol": r"\chi"}
    tried |= {"flag_values": np.array([0, 1], dtype=np.int8), "flag_meanings": "left_out tried"}
    edge = {"long_name": "learning rates on both sides of an edge", "units": "1", "symbol": r"\eta_\mathrm{max}"}
    return {
        "tried": (("network",), records.whole("tried"), tried),
        "bracket": (("network", "criterion", "side"), records.whole("bracket"), edge),
    }


def _status(records: "Records", variables: dict[str, Any]) -> dict[str, Any]:
    """What has become of every network by each recorded step, where training has measured what tells it."""
    if not {"test_loss", "batch_loss"} <= set(records.variables):
        return {}
    growth = status.loss_growth(variables["batch_loss"][1], records.steps)
    losses = (variables[name][1] for name in ("test_loss", "constant_loss", "diverged_at"))
    found = status.status(*losses, growth, records.steps)
    if "tried" in records.variables:
        found[records.whole("tried") == 0] = status.UNTRIED
    meta = {"long_name": "what has become of the network", "units": "1", "symbol": "s"}
    meta |= {"flag_values": np.array(list(status.STATUS), dtype=np.int8), "_FillValue": np.int8(status.UNTRIED)}
    return {"status": (("network", "step"), found, meta | {"flag_meanings": " ".join(status.STATUS.values())})}


def _samples(shard: Shard, tasks: dict[int, Task]) -> dict[str, int]:
    """How many samples networks are trained on, and how many features and per-sample gradients are measured on."""
    if shard.update not in GRADIENT_UPDATES:
        return {}  # the task is a kernel or nothing, not samples
    task = next(iter(tasks.values()))
    return {"samples": len(task.inputs), "feature_samples": min(len(task.test_inputs), FEATURE_SAMPLES)}


if __name__ == "__main__":
    main()
