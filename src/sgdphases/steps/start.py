"""Make the weights that all networks of an experiment start from, and measure what surrounds them."""

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sgdphases.files import read_json
from sgdphases.steps.command import begin, events
from sgdphases.steps.train import Signals, set_threads

if TYPE_CHECKING:
    from sgdphases.datasets.task import Task
    from sgdphases.ensemble.checkpoint import Checkpoints
    from sgdphases.ensemble.shard import Shard
    from sgdphases.ensemble.starting import Start
    from sgdphases.ensemble.state import State

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, polish, move away, look around, write one file; a job that was killed goes on from its last checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m sgdphases.steps.start", description=__doc__)
    parser.add_argument("--content", required=True, help="what to make (JSON)")
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--start", required=True, help="file to write (NetCDF)")
    parser.add_argument("--data", required=True, help="data directory")
    parser.add_argument("--manifest", help="file that says what the data set is")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--checkpoints", required=True, help="folder for this job's checkpoints")
    parser.add_argument("--checkpoint-seconds", type=float, default=60.0)
    parser.add_argument("--spool", help="file that takes tracking events")
    arguments = begin("start", parser, argv)
    set_threads(1)
    from sgdphases.ensemble.shard import Shard  # noqa: PLC0415 - numpy, too, only after the threads are set
    from sgdphases.observables.plane import over_plane  # noqa: PLC0415
    from sgdphases.observables.surroundings import landscape_of, surroundings  # noqa: PLC0415
    from sgdphases.storage.start import write_start  # noqa: PLC0415

    content = read_json(arguments.content)
    shard, wanted, name = Shard.from_dict(content["shard"]), content["start"], content["name"]
    job = (arguments.experiment, "start", arguments.experiment)
    with events(arguments.spool, *job, dataset=shard.dataset["name"]) as spool:
        task = _task(shard, arguments)
        start, checkpoints = trained(shard, task, wanted, name, arguments)
        known = {"samples": wanted.get("samples"), "together": wanted["noise"]["batch_size"]}
        known |= {"device": device_of(shard, arguments.device)}
        landscape = landscape_of(shard, task, start, **known)
        moved = _moved(landscape, wanted)
        if moved is not landscape:
            landscape, start = moved, _around(moved, name)
        how = {**wanted["directions"], "weight_decay": wanted["weight_decay"], "noise": wanted["noise"]}
        how |= {"probes": wanted["probes"]} if "probes" in wanted else {}
        directions, found = surroundings(landscape, **how, seed=wanted["seed"])
        if "plane" in wanted:
            found |= over_plane(landscape, task, directions, found, wanted["plane"], decay=wanted["weight_decay"])
        start = replace(start, directions=directions)
        write_start(arguments.start, start, found, samples=len(landscape.inputs), made=_made(wanted))
        numbers = {word: float(values) for word, values in found.items() if values.ndim == 0}
        spool.params({"parameters": len(directions), **wanted["directions"], "polish": wanted["polish"]})
        spool.metrics(numbers, step=0)
        log.info("; ".join(f"{word} {value:.6g}" for word, value in numbers.items()))
        checkpoints.remove()


def device_of(shard: "Shard", word: str) -> str:
    """Where a start is made.

    Args:
        shard: The network.
        word: auto, cpu or cuda.

    Returns:
        cpu for all but modular networks: small ones in float64 have nothing to gain elsewhere.
    """
    from sgdphases.ensemble.device import choose_device  # noqa: PLC0415 - after the threads are set

    return choose_device(word).word if shard.network.modular else "cpu"


def trained(
    shard: "Shard", task: "Task", wanted: dict[str, Any], name: str, arguments: argparse.Namespace
) -> tuple["Start", "Checkpoints"]:
    """Initial weights of one network, or what training makes of them.

    Args:
        shard: The network, as a shard of no steps.
        task: What it is trained on.
        wanted: What the card says of the start.
        name: The start's digest.
        arguments: device, checkpoints and checkpoint_seconds count.

    Returns:
        Weights and biases, without directions; and the checkpoints, to be removed once these are written.

    Raises:
        ValueError: If the network diverges.
        SystemExit: With 128 + signal after SIGTERM or SIGINT; a checkpoint was written before.
    """
    from sgdphases.ensemble.checkpoint import Checkpoints  # noqa: PLC0415 - after the threads are set
    from sgdphases.ensemble.starting import Start  # noqa: PLC0415
    from sgdphases.ensemble.trainer import train  # noqa: PLC0415

    if wanted["train"] is not None:
        steps = wanted["train"]["epochs"] * (len(task.inputs) // shard.batch_size)
        shard = replace(shard, steps=steps, record_steps=tuple(sorted({0, steps})), weight_steps=())
    checkpoints = Checkpoints(f"{arguments.checkpoints}-{name}")
    with Signals() as signals:
        state = train(
            shard,
            {int(shard.networks["seed_task"][0]): task},
            device=device_of(shard, arguments.device),
            state=checkpoints.resume(shard.record_steps),
            on_record=lambda record: checkpoints.add(record.number, {"diverged_at": record.diverged_at}),
            **_saving(checkpoints, signals, arguments.checkpoint_seconds),
        )
    if not state.alive.all():
        raise ValueError(f"start.train: the network diverged at step {state.diverged_at[0]}")
    layers = range(shard.network.layers)
    weights = {layer: state.arrays[f"weights_{layer}"][0] for layer in layers}
    biases = {layer: state.arrays[f"bias_{layer}"][0] for layer in layers if shard.network.bias[layer]}
    return Start(name, weights, biases), checkpoints


def _saving(checkpoints: "Checkpoints", signals: Signals, every: float) -> dict[str, Any]:
    """Let training save its state from time to time, and once more before it ends because it was asked to."""
    saved = time.monotonic()

    def save(state: "State") -> None:
        nonlocal saved
        checkpoints.save(state)
        saved = time.monotonic()
        if signals.received:
            log.warning("signal %d: stopped at step %d; the same command goes on there", signals.received, state.step)
            raise SystemExit(128 + signals.received)

    late = lambda progress: bool(signals.received) or time.monotonic() - saved > every  # noqa: E731 - one expression
    return {"on_checkpoint": save, "on_progress": late}


def _moved(landscape: Any, wanted: dict[str, Any]) -> Any:
    """The loss around the minimum, and then away from it, where the card says so."""
    from sgdphases.observables.minimum import polished  # noqa: PLC0415 - after the threads are set
    from sgdphases.observables.surroundings import displaced  # noqa: PLC0415

    if wanted["polish"] is not None:
        landscape = polished(landscape, wanted["weight_decay"], wanted["polish"])
    if "displaced" in wanted:
        landscape = displaced(landscape, **wanted["displaced"], seed=wanted["seed"])
    return landscape


def _around(landscape: Any, name: str) -> "Start":
    """The weights that a loss is around, as a start without directions."""
    from sgdphases.ensemble.starting import Start  # noqa: PLC0415 - after the threads are set

    weights = {layer: matrix.cpu().numpy() for layer, matrix in enumerate(landscape.weights)}
    biases = {layer: bias.cpu().numpy() for layer, bias in enumerate(landscape.biases) if bias is not None}
    return Start(name, weights, biases)


def _made(wanted: dict[str, Any]) -> dict[str, float]:
    """What the cube says of how its start was made; 0 of what was not done."""
    return {
        "learning_rate": wanted["train"]["learning_rate"] if wanted["train"] is not None else 0.0,
        "polish": wanted["polish"] or 0.0,
        "displacement": wanted["displaced"]["length"] if "displaced" in wanted else 0.0,
        "weight_decay": wanted["weight_decay"],
    }


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
        trained=network.levels_trained,
        activation=network.activation,
        seed=int(shard.networks["seed_task"][0]),
        directory=arguments.data,
    )


if __name__ == "__main__":
    main()
