"""The process beside Snakemake that brings spools to MLflow: its own, those of its jobs, those a dead one left behind.

Its standard input ends when Snakemake does, however it does. It then tells the store how all ended and ends too.
"""

import argparse
import contextlib
import glob
import logging
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from sgdphases.tracking.address import shown
from sgdphases.tracking.follow import Follower, beginning
from sgdphases.tracking.live import Live
from sgdphases.tracking.refusals import listed
from sgdphases.tracking.runs import INVOCATION, Run, overview, standing
from sgdphases.tracking.spool import RUNNING, Event, alive, read
from sgdphases.tracking.views import views
from snakemake_logger_plugin_mlflow.diary import DONE, URI, WAITS
from snakemake_logger_plugin_mlflow.story import spools_of, tell

log = logging.getLogger(__name__)

SLICE = 2.0
"""Seconds that other writers are kept out at a time."""

BREATH = 0.2
"""Seconds between slices, in which others get their turn."""

SHARE = 9
"""It rests this many times as long as it has worked, so that jobs hardly notice."""

PATIENCE = 60.0
"""Longest time between two attempts at a store that is down."""

GRACE = 5.0
"""Seconds that it waits after Snakemake's end for jobs that are ending with it."""

LAST = 120.0
"""Seconds that it goes on after Snakemake has ended."""


def main(argv: list[str] | None = None) -> int:
    """Follow and write until the standard input ends; the exit code says whether all is in the store."""
    parser = argparse.ArgumentParser(prog="python -m snakemake_logger_plugin_mlflow.writer", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the invocations' spools")
    parser.add_argument("--own", required=True, help="id of the invocation")
    parser.add_argument("--experiment", required=True, help="the MLflow experiment of invocations")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two looks, at least")
    parser.add_argument("--artifacts", help="where a new experiment keeps its files")
    parser.add_argument("--spools", nargs="*", default=[], help="more spools: files, folders, patterns")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(OSError):  # Snakemake's end is its sign to end
            signal.signal(number, signal.SIG_IGN)
    os.nice(10)
    writer = Writer(args)
    return writer.run()


class Writer:
    """Follows spools and writes what is new.

    Args:
        args: The command line (see `main`); the store's URI is in the environment.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.home: Path = args.home
        self.own: str = args.own
        self.experiment: str = args.experiment
        self.interval: float = args.interval
        self.patterns: Sequence[str] = args.spools
        self.live = Live(os.environ[URI], artifact_root=args.artifacts)
        self.stories = Follower(self.hear)
        self.steps = Follower()
        self.waiting: dict[str, Run] = {}
        self.told: dict[str, Run] = {}
        self.begun: dict[str, int | None] = {}
        self.invocations: dict[str, str] = {}
        self.offered: set[str] = set()
        self.reconciled = False

    def hear(self, events: Sequence[Event], *, running: bool) -> list[Run]:
        """Tell an invocation's runs, and follow the spools that its jobs name."""
        self.steps.add(spools_of(events))
        return tell(events, running=running)

    def run(self) -> int:
        """Work until Snakemake has ended, and a moment longer.

        Returns:
            Exit code.
        """
        failures, over = 0, False
        self.stories.add([self.home / f"{self.own}.jsonl", *sorted(self.home.glob("*.jsonl"))])
        while not over:
            began = time.monotonic()
            failures = 0 if self.turn() else failures + 1
            rest = max(self.interval, SHARE * (time.monotonic() - began))
            over = ended(min(rest, PATIENCE) if not failures else min(self.interval * 2**failures, PATIENCE))
        return self.finish()

    def finish(self) -> int:
        """Write how all ended.

        Returns:
            Exit code.
        """
        until = time.monotonic() + LAST
        took = self.turn(last=True)
        dying = time.monotonic() + GRACE
        while not (self.stories.settled and self.steps.settled) and time.monotonic() < dying:
            time.sleep(BREATH)  # a kill of all at once: its end is seen before that of the jobs, or of its own spool
            took = self.turn(last=True)
        while took and self.waiting and time.monotonic() < until:
            took = self.turn(last=True)
        if not took or self.waiting:
            log.warning("the store %s did not take everything: %s", shown(self.live.uri), self.live.trouble)
            return WAITS
        if self.live.refused:
            log.warning("the store %s refuses %s", shown(self.live.uri), listed(self.live.refused.values()))
        self.put_away()
        return WAITS if self.live.refused else DONE

    def turn(self, *, last: bool = False) -> bool:
        """Look at all spools, write what is new.

        Args:
            last: Whether Snakemake has ended.

        Returns:
            Whether the store took what it was given.
        """
        try:
            if self.live.lost():
                for memory in (self.told, self.begun, self.offered):
                    memory.clear()
                self.stories.again()
                self.steps.again()
            self.look()
            if last:
                self.end_experiments()
            took = self.write(until=None if last else time.monotonic() + self.interval)
            if took and not self.reconciled:
                self.reconcile()
            return took
        except Exception as error:  # MLflow lets errors of its database and network libraries through as they are
            self.live.trouble = shown(error)
            return False

    def look(self) -> None:
        """Take what the spools tell newly."""
        for run in self.stories.changed():
            if self.told.get(run.identity) != run:
                self.told[run.identity] = self.waiting[run.identity] = run
            if run.kind == INVOCATION:
                self.invocations[run.key] = run.identity
        self.steps.add(found(self.patterns))
        running = set()
        for run in self.steps.changed():
            own = run.experiment == self.experiment  # a step about the workflow itself stands under its invocation
            parent = self.invocations.get(run.tags.get("workflow", ""), "") if own else ""
            self.waiting[run.identity] = replace(run, parent=parent)
            if run.status == RUNNING:
                running.add(run.experiment)
        new = {run.experiment for run in self.steps.known()} - set(self.begun)  # the store may have been away before
        for name in sorted((running | new) - {self.experiment}):
            self.wait_for(self.parent(name))

    def parent(self, name: str, *, over: bool = False) -> Run:
        """The run of an experiment: running, or, when it is over, as its jobs stand."""
        jobs = [run for run in self.steps.known() if run.experiment == name]
        run = overview(name, jobs)
        if name not in self.begun:
            held = self.live.holds(run)
            earlier = [] if held else [beginning(folder, name) for folder in self.steps.folders(name)]
            self.begun[name] = min((start for start in earlier if start is not None), default=None)
        start = min(self.begun[name] or run.start, run.start)
        status = standing(jobs) if over else RUNNING
        return replace(run, start=start, status=status, end=None if status == RUNNING else run.end, datasets={})

    def wait_for(self, run: Run) -> None:
        """Put a run on the list."""
        self.waiting[run.identity] = run

    def end_experiments(self) -> None:
        """No job of these experiments is to come any more."""
        for name in self.begun:
            self.wait_for(self.parent(name, over=True))

    def write(self, until: float | None) -> bool:
        """Write what waits, slice by slice, so that others get their turn.

        Args:
            until: When to look at the spools again though not all is written; None to go on for as long as `LAST`.

        Returns:
            Whether the store took what it was given.
        """
        until = time.monotonic() + LAST if until is None else until
        while self.waiting:
            offers = self.offers()
            if not self.live.write(self.waiting, seconds=SLICE, offers=offers):
                return False
            self.offered |= set(offers)
            if self.waiting:
                if time.monotonic() > until:
                    break
                time.sleep(BREATH)
        return True

    def offers(self) -> dict[str, dict[str, str]]:
        """Saved views for experiments that have been written to and have something to show."""
        runs = [*self.told.values(), *self.steps.known()]
        names = {run.experiment for run in runs if run.metrics} - self.offered
        found = {name: views([run for run in runs if run.experiment == name]) for name in names}
        return {name: offered for name, offered in found.items() if offered}

    def reconcile(self) -> None:
        """Mark as killed what the store believes to be running here while nobody is left to tell of it.

        What goes wrong is tried once more with the next turn, and keeps no event waiting.
        """
        here = {"kind": INVOCATION, "folder": str(Path.cwd()), "host": os.uname().nodename}
        try:
            for tags in self.live.running(self.experiment, here):
                path = Path(tags["spool"])
                if path.exists() and (path.parent == self.home.resolve() or alive(path)):
                    continue
                cause = "ended without a word"
                tasks = self.live.running(self.experiment, {"workflow": tags["workflow"]})
                self.live.kill(self.experiment, [tags["run_id"], *(task["run_id"] for task in tasks)], cause=cause)
            self.reconciled = True
        except Exception as error:  # see `turn`
            self.live.trouble = shown(error)

    def put_away(self) -> None:
        """Move spools out of the way that this writer has delivered to their end, with all that their jobs spooled.

        What the store refuses stays, to be tried once more by the next writer. Others may have come here since it began
        to follow: they are for their own writers, or for the next one.
        """
        delivered = self.steps.whole(self.live.refused)
        for path in self.stories.whole(self.live.refused):
            with contextlib.suppress(OSError):
                spooled = [Path(name) for name in spools_of(read(path))]
                if all(spool in delivered for spool in spooled if spool.exists()):
                    path.rename(self.home / "done" / path.name)
                    path.with_suffix(".log").unlink(missing_ok=True)
        if not any(self.home.glob("*.jsonl")):  # else ends of logs may be wanted still
            shutil.rmtree(self.home / "ends", ignore_errors=True)


def found(patterns: Iterable[str]) -> list[Path]:
    """The spool files that names and patterns mean."""
    files: list[Path] = []
    for pattern in patterns:
        matches = [pattern] if Path(pattern).exists() else glob.glob(pattern, recursive=True, include_hidden=True)
        for path in sorted(map(Path, matches)):
            files += sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    return files


def ended(seconds: float) -> bool:
    """Wait; whether the standard input has ended before the time was up."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and not sys.stdin.buffer.read(1)


if __name__ == "__main__":
    sys.exit(main())
