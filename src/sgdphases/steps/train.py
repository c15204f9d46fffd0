"""Train one shard and leave its records."""

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from sgdphases.files import read_json, sha256
from sgdphases.steps.command import begin, events

if TYPE_CHECKING:
    from sgdphases.ensemble.search import Outcome
    from sgdphases.ensemble.shard import Shard
    from sgdphases.ensemble.starting import Start
    from sgdphases.ensemble.state import State
    from sgdphases.ensemble.trainer import Progress, Record

REFRESH_SECONDS = 10.0
CURVE_POINTS = 30
log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Train the shard of a file, resuming where an earlier job stopped.

    Args:
        argv: Arguments; None for the command line's.

    Raises:
        SystemExit: With 128 + signal after SIGTERM or SIGINT; a checkpoint was written before.
    """
    arguments = begin("train", _parser(), argv)
    set_threads(arguments.threads)
    from sgdphases.ensemble.shard import Shard  # noqa: PLC0415 - numpy, too, only after the threads are set

    shard_file = Path(arguments.shard)
    shard = Shard.from_dict(read_json(shard_file))
    signals = Signals()
    experiment, dataset = shard_file.resolve().parents[1].name, shard.dataset["name"]
    with signals, events(arguments.spool, experiment, "train", shard_file.stem, dataset=dataset) as spool:
        job = Job if shard.search is None else SearchJob
        job(shard, arguments, spool, signals).run()


def set_threads(threads: int) -> None:
    """Give torch, OpenMP and the matrix libraries exactly this many threads, before any of them is loaded.

    Args:
        threads: How many.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["MKL_DYNAMIC"] = "FALSE"
    import torch  # noqa: PLC0415 - the variables must be set before torch is loaded

    torch.set_num_threads(threads)


class Signals:
    """Remembers that the job was asked to end, so that it can write a checkpoint first."""

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = number


class Job:
    """One run of the trainer: its checkpoints, records, progress and events.

    Args:
        shard: What to train.
        arguments: The step's arguments.
        spool: Takes events.
        signals: Knows whether the job was asked to end.
    """

    def __init__(self, shard: "Shard", arguments: argparse.Namespace, spool: Any, signals: Signals) -> None:
        from sgdphases.ensemble.checkpoint import Checkpoints  # noqa: PLC0415 - after the threads are set

        self.shard, self.arguments, self.spool, self.signals = shard, arguments, spool, signals
        self.checkpoints = Checkpoints(arguments.checkpoints)
        if arguments.start is not None:  # of another start, a checkpoint is none of this job
            self.checkpoints = Checkpoints(f"{arguments.checkpoints}-{sha256(arguments.start)[:12]}")
        self.saved = time.monotonic()
        self.curve = set(shard.record_steps[:: max(1, len(shard.record_steps) // CURVE_POINTS)]) | {shard.steps}

    def run(self) -> None:
        """Train, write the records file, and remove the checkpoints that it makes needless."""
        from sgdphases.ensemble.shard import WHOLE_RUNNING  # noqa: PLC0415 - after the threads are set
        from sgdphases.storage.records import write_records  # noqa: PLC0415

        shard, tasks = self.shard, self._tasks()
        state = self.checkpoints.resume(shard.record_steps)
        self._announce()
        done = 0 if state is None else state.step * len(shard)
        with Bar(shard.steps * len(shard), done) as self.bar:
            final = self._train(shard, tasks, state)
        whole = {name: (("network", "update"), final.arrays[name]) for name in WHOLE_RUNNING if name in shard.running}
        write_records(
            self.arguments.records, shard.to_dict(), self.checkpoints.records(), final.diverged_at, whole=whole
        )
        self.checkpoints.remove()
        log.info("%d of %d networks diverged; records in %s", (~final.alive).sum(), len(shard), self.arguments.records)

    def _tasks(self) -> dict[int, Any]:
        """The task of every task seed."""
        from sgdphases.datasets.loading import load_tasks  # noqa: PLC0415 - after the threads are set
        from sgdphases.datasets.table_folder import check_digest  # noqa: PLC0415

        shard, network = self.shard, self.shard.network
        if self.arguments.manifest is not None:
            check_digest(shard.dataset, self.arguments.data, read_json(self.arguments.manifest))
        return load_tasks(
            shard.dataset,
            widths=network.widths,
            trained=network.levels_trained,
            activation=network.activation,
            seeds=shard.networks["seed_task"].tolist(),
            directory=self.arguments.data,
        )

    def _train(self, shard: "Shard", tasks: dict[int, Any], state: "State | None") -> "State":
        """Train a shard from a state on."""
        from sgdphases.ensemble.trainer import train  # noqa: PLC0415 - after the threads are set

        if state is not None:
            log.info("going on from step %d of %d", state.step, shard.steps)
        start = self._start()
        self.bar.begin(0 if state is None else state.step)
        return train(
            shard,
            tasks,
            device=self.arguments.device,
            threads=self.arguments.threads,
            state=state,
            start=start,
            on_record=self._record,
            on_checkpoint=self._checkpoint,
            on_progress=self._progress,
        )

    def _start(self) -> "Start | None":
        """What all networks start from, if they do."""
        from sgdphases.storage.start import read_start  # noqa: PLC0415 - after the threads are set

        return None if self.arguments.start is None else read_start(self.arguments.start)

    def _announce(self) -> None:
        shard, arguments = self.shard, self.arguments
        self.spool.params(
            {
                "networks": len(shard),
                "steps": shard.steps,
                "batch_size": shard.batch_size,
                "dtype": shard.dtype,
                "widths": list(shard.network.widths),
                "device": arguments.device,
                "threads": arguments.threads,
                "shard": Path(arguments.shard).stem,
            }
        )
        if arguments.manifest is not None:
            known = read_json(arguments.manifest)
            self.spool.dataset(shard.dataset["name"], known["digest"], known["title"])

    def _record(self, record: "Record") -> None:
        arrays = {f"weights_{layer}": weights for layer, weights in record.weights.items()}
        arrays |= {f"bias_{layer}": bias for layer, bias in record.biases.items()}
        self.checkpoints.add(record.number, arrays | record.scalars)
        if record.step in self.curve:
            alive = float((record.diverged_at < 0).mean())
            rate = self.bar.rate
            self.spool.metrics({"alive_share": alive, "network_steps_per_second": rate}, step=record.step)

    def _checkpoint(self, state: "State") -> None:
        self.checkpoints.save(state)
        self.saved = time.monotonic()
        self._end_if_asked(f"at step {state.step}")

    def _end_if_asked(self, where: str) -> None:
        """Leave the job if a signal asked for it; what is needed to go on must be on the disk."""
        if self.signals.received:
            log.warning("signal %d: stopped %s; the same command goes on there", self.signals.received, where)
            raise SystemExit(128 + self.signals.received)

    def _progress(self, progress: "Progress") -> bool:
        self.bar.show(progress)
        late = time.monotonic() - self.saved > self.arguments.checkpoint_seconds
        return bool(self.signals.received) or late


class SearchJob(Job):
    """A search: rounds of the trainer, each with its checkpoints; what a finished one has left is kept in a file."""

    def run(self) -> None:
        """Search, write the records file, and remove the files of the rounds that it makes needless."""
        from sgdphases.ensemble.checkpoint import Checkpoints  # noqa: PLC0415 - after the threads are set
        from sgdphases.ensemble.search import Search, conduct  # noqa: PLC0415
        from sgdphases.ensemble.status import constant_losses  # noqa: PLC0415
        from sgdphases.storage.records import write_records  # noqa: PLC0415

        shard, tasks = self.shard, self._tasks()
        search = Search(shard, constant_losses(shard.networks, tasks))
        self._announce()
        with Bar(None) as self.bar:
            conduct(search, lambda number, part: self._round(number, part, tasks))
        known = (search.records(), search.diverged_at)
        write_records(self.arguments.records, shard.to_dict(), *known, whole=search.said_once())
        for file in self._folder.glob("round-*.npz"):
            file.unlink()
        Checkpoints(self._folder).remove()
        tried, records = int(search.tried.sum()), self.arguments.records
        log.info("%d of %d networks tried; records in %s", tried, len(shard), records)

    @property
    def _folder(self) -> Path:
        return Path(self.arguments.checkpoints)

    def _round(self, number: int, shard: "Shard", tasks: dict[int, Any]) -> "Outcome":
        """What a round has left, from its file if it was finished before."""
        from sgdphases.ensemble.checkpoint import Checkpoints, read_arrays, write_arrays  # noqa: PLC0415 - as above
        from sgdphases.ensemble.search import Outcome  # noqa: PLC0415

        self._end_if_asked(f"before round {number}")
        file, own = self._folder / f"round-{number:04d}.npz", Checkpoints(self._folder / f"round-{number:04d}")
        rates = shard.networks["learning_rate"]
        arrays = read_arrays(file)
        if arrays is not None and rates.tolist() == arrays["learning_rate"].tolist():
            self.bar.skip(shard.steps * len(shard))
        else:
            self.checkpoints = own
            final = self._train(shard, tasks, own.resume(shard.record_steps))
            outcome = Outcome.of(own.records(), final.arrays, final.diverged_at)
            arrays = outcome.arrays() | {"learning_rate": rates}
            write_arrays(file, arrays)
            alive, rate = float(final.alive.mean()), self.bar.rate
            self.spool.metrics({"alive_share": alive, "network_steps_per_second": rate}, step=number)
        own.remove()
        return Outcome.from_arrays(arrays)

    def _record(self, record: "Record") -> None:
        self.checkpoints.add(record.number, record.scalars)


class Bar:
    """A progress bar in network-steps; where nobody watches, a line at most every ten seconds.

    Args:
        total: Network-steps in all; None where nobody knows.
        done: Those that were done before.
    """

    def __init__(self, total: int | None, done: int = 0) -> None:
        from tqdm import tqdm  # noqa: PLC0415 - only here

        interval = 0.1 if sys.stderr.isatty() else REFRESH_SECONDS
        self.begun, self.step, self.fresh = time.monotonic(), 0, 0
        self.bar = tqdm(
            total=total,
            initial=done,
            unit="network-step",
            unit_scale=True,
            mininterval=interval,
            file=sys.stderr,
        )

    @property
    def rate(self) -> float:
        """Network-steps per second since the job began."""
        elapsed = time.monotonic() - self.begun
        return self.fresh / elapsed if elapsed > 0 else 0.0

    def begin(self, step: int) -> None:
        """Take note of the step at which a training begins."""
        self.step = step

    def skip(self, done: int) -> None:
        """Take note of network-steps that were done before."""
        self.bar.initial += done
        self.bar.n += done

    def show(self, progress: "Progress") -> None:
        """Take note of how far the training is."""
        self.bar.set_postfix({"alive": f"{progress.alive / progress.networks:.0%}"}, refresh=False)
        done = (progress.step - self.step) * progress.networks
        self.bar.update(done)
        self.fresh += done
        self.step = progress.step

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sgdphases.steps.train", description=__doc__)
    parser.add_argument("--shard", required=True, help="shard file (JSON)")
    parser.add_argument("--records", required=True, help="records file to write (NetCDF)")
    parser.add_argument("--checkpoints", required=True, help="folder for this job's checkpoints")
    parser.add_argument("--data", required=True, help="data directory")
    parser.add_argument("--manifest", help="file that says what the data set is")
    parser.add_argument("--start", help="file of the weights that all networks start from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--checkpoint-seconds", type=float, default=60.0)
    parser.add_argument("--spool", help="file that takes tracking events")
    return parser


if __name__ == "__main__":
    main()
