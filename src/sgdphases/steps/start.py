"""Make the weights that all networks of an experiment start from, and measure what surrounds them."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sgdphases.files import read_json
from sgdphases.steps.command import begin, events
from sgdphases.steps.train import set_threads

if TYPE_CHECKING:
    from sgdphases.datasets.task import Task
    from sgdphases.ensemble.shard import Shard
    from sgdphases.ensemble.starting import Start

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, polish, look around, write one file; a job that was killed begins anew."""
    parser = argparse.ArgumentParser(prog="python -m sgdphases.steps.start", description=__doc__)
    parser.add_argument("--content", required=True, help="what to make (JSON)")
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--start", required=True, help="file to write (NetCDF)")
    parser.add_argument("--data", required=True, help="data directory")
    parser.add_argument("--manifest", help="file that says what the data set is")
    parser.add_argument("--spool", help="file that takes tracking events")
    arguments = begin("start", parser, argv)
    set_threads(1)
    from sgdphases.ensemble.shard import Shard  # noqa: PLC0415 - numpy, too, only after the threads are set
    from sgdphases.observables.surroundings import landscape_of, surroundings  # noqa: PLC0415
    from sgdphases.storage.start import write_start  # noqa: PLC0415

    content = read_json(arguments.content)
    shard, wanted, name = Shard.from_dict(content["shard"]), content["start"], content["name"]
    job = (arguments.experiment, "start", arguments.experiment)
    with events(arguments.spool, *job, dataset=shard.dataset["name"]) as spool:
        task = _task(shard, arguments)
        start = trained(shard, task, wanted, name)
        landscape = landscape_of(shard, task, start)
        if wanted["polish"] is not None:
            start, landscape = _polished(landscape, wanted, name)
        how = {**wanted["directions"], "weight_decay": wanted["weight_decay"], "noise": wanted["noise"]}
        directions, found = surroundings(landscape, **how, seed=wanted["seed"])
        write_start(arguments.start, replace(start, directions=directions), found, samples=len(task.inputs))
        numbers = {word: float(values) for word, values in found.items() if values.ndim == 0}
        spool.params({"parameters": len(directions), **wanted["directions"], "polish": wanted["polish"]})
        spool.metrics(numbers, step=0)
        log.info("; ".join(f"{word} {value:.6g}" for word, value in numbers.items()))


def trained(shard: "Shard", task: "Task", wanted: dict[str, Any], name: str) -> "Start":
    """Initial weights of one network, or what training makes of them.

    Args:
        shard: The network, as a shard of no steps.
        task: What it is trained on.
        wanted: What the card says of the start.
        name: The start's digest.

    Returns:
        Weights and biases, without directions.

    Raises:
        ValueError: If the network diverges.
    """
    from sgdphases.ensemble.starting import Start  # noqa: PLC0415 - after the threads are set
    from sgdphases.ensemble.trainer import train  # noqa: PLC0415

    if wanted["train"] is not None:
        steps = wanted["train"]["epochs"] * (len(task.inputs) // shard.batch_size)
        shard = replace(shard, steps=steps, record_steps=tuple(sorted({0, steps})), weight_steps=())
    state = train(shard, {int(shard.networks["seed_task"][0]): task}, device="cpu")
    if not state.alive.all():
        raise ValueError(f"start.train: the network diverged at step {state.diverged_at[0]}")
    layers = range(shard.network.layers)
    weights = {layer: state.arrays[f"weights_{layer}"][0] for layer in layers}
    biases = {layer: state.arrays[f"bias_{layer}"][0] for layer in layers if shard.network.bias[layer]}
    return Start(name, weights, biases)


def _polished(landscape: Any, wanted: dict[str, Any], name: str) -> tuple["Start", Any]:
    """The minimum near a start, and the loss around it."""
    from sgdphases.ensemble.starting import Start  # noqa: PLC0415 - after the threads are set
    from sgdphases.observables.minimum import polished  # noqa: PLC0415

    landscape = polished(landscape, wanted["weight_decay"], wanted["polish"])
    weights = {layer: matrix.numpy() for layer, matrix in enumerate(landscape.weights)}
    biases = {layer: bias.numpy() for layer, bias in enumerate(landscape.biases) if bias is not None}
    return Start(name, weights, biases), landscape


def _task(shard: "Shard", arguments: argparse.Namespace) -> "Task":
    """What the network is trained on."""
    from sgdphases.datasets.loading import load  # noqa: PLC0415 - after the threads are set
    from sgdphases.datasets.table_folder import check_digest  # noqa: PLC0415

    network = shard.network
    if arguments.manifest is not None:
        check_digest(shard.dataset, arguments.data, read_json(arguments.manifest))
    return load(
        shard.dataset,
        widths=network.widths,
        trained=network.trained,
        activation=network.activation,
        seed=int(shard.networks["seed_task"][0]),
        directory=arguments.data,
    )


if __name__ == "__main__":
    main()
