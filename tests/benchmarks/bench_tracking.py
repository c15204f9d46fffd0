"""What tracking costs and whether it tells the truth, whatever happens to the store. Run me: 17 minutes, idle machine.

`bench_tracking.py --quick` takes three minutes and shows that everything works; its slowdowns mean little.

Per case one shard is trained again and again on one thread, in turns: without tracking, with it, with it, without.
Tracked, training writes its spool as step `train` does, other spools grow by a point a second each, and the writer of
the logger plugin looks at them as it is shipped; untracked, these are stopped, and the server has nothing to do. That
the writer starts, which is 3 s of a processor at low priority once per workflow, is over before.
The slowdown is the mean over pairs of turns of the logarithm of their times' ratio, with its standard error: of wall
times, and of the processor's time that the training took, its spool's included, in which waiting for a core does not
count. Three jobs more end badly: one fails, one gets SIGTERM, one kill -9. At the end of a case the store is put
right, the writer ends, and one replay follows, as rule `track` does it; then the database is compared with what was
told, point by point.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # this is run as a program, and shares what tests are made of

import numpy as np
import pytest

from made_servers import Held, Postgres, Server, SlowProxy
from made_shards import paper_shard, tasks_of
from made_stories import FAIL, WAIT, Rows, Story, compare, sqlite_rows, start
from paired import percent
from sgdphases.ensemble.trainer import train
from sgdphases.tracking import store
from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, Spool
from snakemake_logger_plugin_mlflow.diary import URI

NAME = "bench"
POINTS = 30
"""Points of training's own spool, as step `train` writes them."""

Times = np.ndarray
"""Seconds on the wall, and of the processor."""

CROWD = """
import sys, threading
from contextlib import ExitStack
from sgdphases.tracking.spool import Spool
folder, experiment, count = sys.argv[1:]
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
with ExitStack() as stack:
    keys = [f"{900 + number}" for number in range(int(count))]
    spools = [Spool(f"{folder}/{key}.jsonl", experiment=experiment, rule="train", key=key) for key in keys]
    for spool in spools:
        stack.enter_context(spool)
    step = 0
    while not over.wait(1.0):
        for spool in spools:
            spool.metrics({"train_loss": 1 / (step + 1), "alive_share": 1.0}, step=step)
        step += 1
"""


class Site:
    """The store of one case, and what happens to it.

    Attributes:
        uri: Where the writer is told it is.
        rows: Runs queries on its database.
        spools: How many spools grow beside training's.
    """

    uri: str
    rows: Rows
    spools = 8

    def before(self, share: float) -> None:
        """Something happens before a pair of turns, of which this share is over."""

    def heal(self) -> None:
        """Put right what is wrong, before the writer ends."""

    def close(self) -> None:
        """Leave nothing running."""


class Direct(Site):
    """An SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.rows = sqlite_rows(self.uri)
        store.prepare(self.uri, None, [NAME])


class Locked(Direct):
    """An SQLite file that somebody else keeps locked all the time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.held = Held(self.uri, "exclusive")

    def heal(self) -> None:
        """The lock is given back."""
        self.held.release()

    close = heal


class Served(Site):
    """A server."""

    def __init__(self, folder: Path, database: str, rows: Rows) -> None:
        self.rows = rows
        self.server = Server(database, folder / "server")
        self.uri = self.server.uri
        self.begin()

    def begin(self) -> None:
        """Start the server."""
        self.server.start()

    def close(self) -> None:
        """End the server."""
        self.server.end(signal.SIGKILL)


class Crowded(Served):
    """A server, and 64 spools at once."""

    spools = 64


class Down(Served):
    """A server that is not there until all is over."""

    def begin(self) -> None:
        """Start nothing."""

    def heal(self) -> None:
        """Now it comes."""
        self.server.start()


class Killed(Served):
    """A server that is killed after a third and back after two thirds."""

    def before(self, share: float) -> None:
        """Kill or start it."""
        if self.server.process is not None and 1 / 3 <= share < 2 / 3:
            self.server.end(signal.SIGKILL)
        elif share >= 2 / 3:
            self.heal()

    def heal(self) -> None:
        """Start it where it is dead."""
        if self.server.process is None:
            self.server.start()


class Slow(Served):
    """A server whose every answer takes a second."""

    spools = 2

    def begin(self) -> None:
        """Start the server and what slows it down."""
        super().begin()
        self.proxy = SlowProxy(self.server.port, 1.0)
        self.uri = self.proxy.uri

    def heal(self) -> None:
        """Now it is quick."""
        self.proxy.delay = 0.0

    def close(self) -> None:
        """End both."""
        self.proxy.close()
        super().close()


def sites(folder: Path, cluster: Postgres) -> Iterator[tuple[str, Any]]:
    """Title and maker of every case's store; None for the case without."""
    yield "no tracking", None
    yield "SQLite", lambda: Direct(folder)
    database = f"sqlite:///{folder}/served.db"
    yield "server on SQLite", lambda: Served(folder, database, sqlite_rows(database))
    for title, kind in (
        ("server on PostgreSQL", Served),
        ("64 spools", Crowded),
        ("down from the start", Down),
        ("killed in the middle", Killed),
        ("slow, 1 s a call", Slow),
    ):
        name = kind.__name__.lower()
        uri = cluster.create(name)
        yield title, lambda kind=kind, uri=uri, name=name: kind(folder, uri, lambda query: cluster.rows(name, query))
    yield "SQLite locked", lambda: Locked(folder / "locked")


@dataclass
class Beside:
    """What runs beside a tracked training: the writer and other jobs' spools; stopped while training is untracked."""

    programs: list[subprocess.Popen[bytes]]

    @classmethod
    def of(cls, site: Site, folder: Path) -> "Beside":
        """Start both, stopped."""
        home, spools = folder / "home", folder / "spools"
        home.mkdir(parents=True)
        spools.mkdir()
        write = ["-m", "snakemake_logger_plugin_mlflow.writer", "--home", str(home), "--own", "none"]
        write += ["--experiment", "workflow", "--spools", str(spools)]
        log = (folder / "writer.log").open("wb")
        programs = []
        for words in (write, ["-c", CROWD, str(spools), NAME, str(site.spools)]):
            command = [sys.executable, *words]
            own = os.environ | {URI: site.uri}
            programs.append(
                subprocess.Popen(command, env=own, cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=log)
            )
        log.close()
        beside = cls(programs)
        beside.settle()
        beside.tell(signal.SIGSTOP)
        return beside

    def settle(self, patience: float = 120.0) -> None:
        """Wait until the writer has loaded its libraries and met the store: until it takes less than 5 % of a core."""
        until, before = time.monotonic() + patience, -1.0
        while time.monotonic() < until and (now := self.seconds()) - before > 0.1:
            before = now
            time.sleep(2)

    def seconds(self) -> float:
        """Processor time that the writer has taken."""
        fields = Path(f"/proc/{self.programs[0].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to both."""
        for program in self.programs:
            program.send_signal(number)

    def end(self) -> None:
        """The other jobs finish, then Snakemake would; the writer brings what is left."""
        self.tell(signal.SIGCONT)
        for program in reversed(self.programs):
            program.stdin.close()
            try:
                program.wait(timeout=180)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()


class Trainer:
    """Trains one of the shards of dyson_quick, once for a while and then again and again."""

    def __init__(self, seconds: float) -> None:
        self.shard = self._shard(2000)
        self.tasks = tasks_of(self.shard)
        self.once(None)
        took = min(self.once(None)[0] for _ in range(2))
        self.shard = self._shard(max(2000, int(2000 * seconds / took)))

    @staticmethod
    def _shard(steps: int) -> Any:
        seeds = {f"seed_{stream}": list(range(10)) * 12 for stream in ("task", "weights", "order", "noise")}
        scales = [2.0 ** (number // 10 - 3) for number in range(120)]
        columns = {"learning_rate": [1.0] * 120, "init_scale": scales, **seeds}
        records = sorted({steps * number // POINTS for number in range(POINTS + 1)})
        return paper_shard(columns, steps=steps, record_steps=records)

    def once(self, path: Path | None) -> Times:
        """Times of one training, its spool included if it has one."""
        begin = np.array((time.perf_counter(), time.process_time()))
        key = "" if path is None else path.stem
        with Spool(path, experiment=NAME, rule="train", key=key) as spool:
            train(
                self.shard,
                self.tasks,
                device="cpu",
                threads=1,
                on_record=lambda record: spool.metrics({"alive_share": 1.0, "rate": 1.0}, step=record.step),
            )
        return np.array((time.perf_counter(), time.process_time())) - begin


def ratios(trainer: Trainer, site: Site, beside: Beside | None, folder: Path, pairs: int) -> Iterator[Times]:
    """Logarithm of tracked over untracked times, pair by pair; the order of a pair's turns alternates."""
    for pair in range(pairs):
        site.before(pair / pairs)
        took: dict[bool, Times] = {}
        for tracked in (False, True) if pair % 2 else (True, False):
            path = folder / "spools" / f"{pair:03}.jsonl" if tracked and beside is not None else None
            if path is not None:
                beside.tell(signal.SIGCONT)
            took[tracked] = trainer.once(path)
            if path is not None:
                beside.tell(signal.SIGSTOP)
        yield np.log(took[True] / took[False])


def bad_ends(folder: Path) -> dict[str, str]:
    """Three jobs that end badly; key to the status that is true."""
    jobs = [start(folder, NAME, 800 + k, steps=5, ending=ending) for k, ending in enumerate((FAIL, WAIT, WAIT))]
    for job, number in zip(jobs, (None, signal.SIGTERM, signal.SIGKILL), strict=True):
        job.stdout.readline()
        if number is not None:
            job.send_signal(number)
        job.wait()
        job.stdout.close()
    return {"800": FAILED, "801": KILLED, "802": KILLED}


def own_cost(folder: Path) -> tuple[float, float]:
    """Seconds that a spool takes of its job, and that each point takes: medians of 60 spools of 1000 points."""
    spools, points = [], []
    for number in range(60):
        begin = time.perf_counter()
        with Spool(folder / f"{number}.jsonl", experiment=NAME, rule="train", key=str(number)) as spool:
            opened = time.perf_counter()
            for step in range(1000):
                spool.metrics({"alive_share": 1.0, "rate": 1.0}, step=step)
            written = time.perf_counter()
        spools.append(time.perf_counter() - begin - (written - opened))
        points.append((written - opened) / 1000)
    return float(np.median(spools)), float(np.median(points))


def case(title: str, make: Any, trainer: Trainer, folder: Path, pairs: int) -> tuple[str, list[Times]]:
    """One line of the table, and what its slowdown is the mean of."""
    if make is None:
        logarithms = list(ratios(trainer, Site(), None, folder, pairs))
        return f"{title:22}{'':33}{said(logarithms)}\n", logarithms
    site, beside = make(), None
    try:
        beside = Beside.of(site, folder)
        logarithms = list(ratios(trainer, site, beside, folder, pairs))
        ends = bad_ends(folder / "spools")
        site.heal()
        beside.end()
        report = store.replay([folder / "spools"], site.uri)
        story = Story(NAME)
        for path in sorted((folder / "spools").glob("*.jsonl")):
            story.listen(path, ends.get(path.stem, FINISHED))
        found = compare(story, site.rows)
    finally:
        if beside is not None:
            for program in beside.programs:
                program.kill()
                program.wait()
        site.close()
    counts = f"{len(story.statuses):>5}{story.points.total():>7}{found.lost:>6}{found.duplicate:>8}{found.wrong:>7}"
    return f"{title:22}{counts}{said(logarithms)}{'' if report.complete else '  (not complete)'}\n", logarithms


def said(logarithms: list[Times]) -> str:
    """Means and standard errors in per cent."""
    return "".join(f"{percent(column):>18}" for column in np.transpose(logarithms))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="short turns, few of them")
    parser.add_argument("--pairs", type=int, help="pairs of turns per case (default 24, quick 3)")
    parser.add_argument("--seconds", type=float, help="length of a turn on an idle core (default 2, quick 1)")
    parser.add_argument("--only", default="", help="cases whose title has this word")
    args = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":  # the libraries read it when they are loaded
        one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | one)
    pairs = args.pairs or (3 if args.quick else 24)
    seconds = args.seconds or (1.0 if args.quick else 2.0)
    out = sys.stdout.write
    try:
        cluster = Postgres()
    except pytest.skip.Exception as reason:
        sys.exit(str(reason))
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        stack.callback(cluster.remove)
        cluster.start()
        own = Path(name) / "own"
        own.mkdir()
        spool, point = own_cost(own)
        out(f"of its job a spool takes {1e3 * spool:.2f} ms, a point of it {1e6 * point:.1f} us\n")
        trainer = Trainer(seconds)
        out(f"{pairs} pairs of turns of about {seconds:g} s; slowdown at most 1 %, no other number but 0\n")
        heads = f"{'runs':>5}{'points':>7}{'lost':>6}{'twice':>8}{'status':>7}{'slower, wall':>18}{'processor':>18}"
        out(f"{'':22}{heads}\n")
        means: list[Times] = []
        for number, (title, make) in enumerate(sites(Path(name), cluster)):
            if args.only in title:
                line, logarithms = case(title, make, trainer, Path(name) / str(number), pairs)
                out(line)
                sys.stdout.flush()
                if make is not None:
                    means.append(np.mean(logarithms, axis=0))
        if len(means) > 1:
            out(f"{'mean of those tracked':22}{'':33}{said(means)}\n")


if __name__ == "__main__":
    main()
