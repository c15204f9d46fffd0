"""Jobs that write spools as steps do and end in every way a job can end; and whether a store tells their story."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, read

FINISH, FAIL, WAIT = "finish", "fail", "wait"
PROGRAM = """
import sys, time, signal
from sgdphases.tracking.spool import Spool
path, experiment, key, steps, pause, ending = sys.argv[1:]
with Spool(path, experiment=experiment, rule="train", key=key) as spool:
    spool.params({"learning_rate": 0.1})
    for step in range(int(steps)):
        spool.metrics({"train_loss": (int(key) + 1) / (step + 1), "alive_share": 1.0}, step=step)
        time.sleep(float(pause))
    print("told", flush=True)
    if ending == "fail":
        raise SystemExit("lost its way")
    if ending == "wait":
        signal.pause()
"""
Rows = Callable[[str], Sequence[tuple[Any, ...]]]
Point = tuple[str, str, int, int, float]  # job's key, metric, step, milliseconds since the start, value


@dataclass
class Story:
    """What jobs told their spools: every point, and how each job ended.

    Attributes:
        experiment: The experiment they belong to.
        points: Every point once.
        statuses: Job's key to its status.
    """

    experiment: str
    points: Counter[Point] = field(default_factory=Counter)
    statuses: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, steps: int, status: str = FINISHED) -> None:
        """Add a job of `PROGRAM`, from what it was asked to write, not from what its spool says."""
        for step in range(steps):
            self.points[key, "train_loss", step, step, (int(key) + 1) / (step + 1)] += 1
            self.points[key, "alive_share", step, step, 1.0] += 1
        self.statuses[key] = status

    def listen(self, path: Path, status: str) -> None:
        """Add a job from its spool, event by event."""
        key = ""
        for event in read(path):
            if event["event"] == "identity":
                key = event["key"]
            elif event["event"] == "metrics":
                for name, value in event["values"].items():
                    self.points[key, name, event["step"], event["step"], value] += 1
        self.statuses[key] = status


@dataclass(frozen=True)
class Verdict:
    """How a store differs from a story: points it lacks, points and runs it has too often, statuses that are wrong."""

    lost: int = 0
    duplicate: int = 0
    wrong: int = 0


def start(folder: Path, experiment: str, key: int, *, steps: int, pause: float = 0.0, ending: str = FINISH) -> Any:
    """Start a job in a process of its own."""
    words = [str(folder / f"{key:03}.jsonl"), experiment, f"{key:03}", str(steps), str(pause), ending]
    command = [sys.executable, "-c", PROGRAM, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def tell(folder: Path, experiment: str, keys: Iterable[int], *, steps: int) -> Story:
    """Spools of jobs that have finished, written here and now."""
    from sgdphases.tracking.spool import Spool

    story = Story(experiment)
    for number in keys:
        key = f"{number:03}"
        with Spool(folder / f"{key}.jsonl", experiment=experiment, rule="train", key=key) as spool:
            spool.params({"learning_rate": 0.1})
            for step in range(steps):
                values = {"train_loss": (number + 1) / (step + 1), "alive_share": 1.0}
                spool.metrics(values, step=step)
        story.add(key, steps)
    return story


def compare(story: Story, rows: Rows) -> Verdict:
    """Compare a store with a story, point by point.

    Args:
        story: What the jobs told.
        rows: Runs a query on the store's database.

    Returns:
        The differences.
    """
    name = story.experiment
    live = f"""from experiments e join runs r on r.experiment_id = e.experiment_id and r.lifecycle_stage = 'active'
        join tags k on k.run_uuid = r.run_uuid and k.key = 'key' and e.name = '{name}'"""
    runs = [(key, status) for key, status in rows(f"select k.value, r.status {live}")]
    found = Counter(
        (key, metric, step, at, value)
        for key, metric, step, at, value in rows(
            f"select k.value, m.key, m.step, m.timestamp - r.start_time, m.value {live}"
            " join metrics m on m.run_uuid = r.run_uuid"
        )
    )
    statuses = dict(runs)
    return Verdict(
        lost=(story.points - found).total() + len(story.statuses.keys() - statuses.keys()),
        duplicate=(found - story.points).total() + len(runs) - len(statuses),
        wrong=sum(statuses.get(key) != status for key, status in story.statuses.items()),
    )


def sqlite_rows(uri: str) -> Rows:
    """Runs queries on an SQLite store."""
    import sqlite3

    def rows(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
            return connection.execute(query).fetchall()

    return rows


ENDINGS = {FINISH: FINISHED, FAIL: FAILED, WAIT: KILLED}
