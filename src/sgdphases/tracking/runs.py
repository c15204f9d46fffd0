"""What the tracking store is to hold, as plain values: one `Run` per experiment, per job and per grid point.

A run is known by its identity (experiment, kind, key), of which the store holds one live run at a time, and by its
revision: where the code or the numbers changed, the new revision takes the old one's place.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sgdphases.files import sha256
from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, RUNNING, Event, alive, read

log = logging.getLogger(__name__)

EXPERIMENT, JOB, POINT = "experiment", "job", "point"
INVOCATION, TASK = "invocation", "task"  # one call of Snakemake, and one job of it
KINDS = (EXPERIMENT, INVOCATION, JOB, TASK, POINT)
"""All kinds, parents before their children."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the tracking store.

    Attributes:
        kind: experiment, job, point, invocation or task.
        experiment: The experiment it belongs to.
        key: What tells it from the others of its kind in the experiment.
        name: What the user reads in the table.
        start: Milliseconds since 1970.
        end: Milliseconds since 1970, or None while it runs.
        status: RUNNING, FINISHED, FAILED or KILLED.
        revision: Digest of what makes the numbers; another revision of the same identity replaces the run.
        params: Hyperparameters and settings, as text.
        metrics: (name, step) to value; its time is the run's start plus `step` milliseconds.
        tags: Words about the run.
        note: Its description in Markdown.
        datasets: Name to (digest, source).
        artifacts: (path, folder inside the run's artifacts), paths as a reader in the project folder finds them.
        parent: Identity of the run it stands under; empty for the experiment's.
    """

    kind: str
    experiment: str
    key: str
    name: str
    start: int
    end: int | None = None
    status: str = FINISHED
    revision: str = ""
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[tuple[str, int], float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    note: str = ""
    datasets: dict[str, tuple[str, str]] = field(default_factory=dict)
    artifacts: tuple[tuple[str, str], ...] = ()
    parent: str = ""

    @cached_property
    def identity(self) -> str:
        """Digest of experiment, kind and key."""
        return digest([self.experiment, self.kind, self.key])


def digest(value: Any) -> str:
    """Digest (32 hexadecimal digits) of a value that JSON can hold."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def text(value: Any) -> str:
    """A parameter's value as the store keeps it: short for numbers, JSON for lists and tables."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def from_spools(paths: Iterable[str | Path]) -> list[Run]:
    """The job runs that spool files tell of.

    Args:
        paths: Spool files, and folders that are searched for `*.jsonl`.

    Returns:
        One run per experiment, rule and key, the earliest start first. A job whose spool says RUNNING while no process
        has it open any more was killed without a word: its status is KILLED.
    """
    jobs: dict[str, Run] = {}
    for path in paths:
        for file in sorted(Path(path).rglob("*.jsonl")) if Path(path).is_dir() else [Path(path)]:
            try:
                found = from_events(read(file), running=alive(file))
            except OSError as error:
                log.warning("The spool %s cannot be read and is left out: %s", file, error)
                continue
            jobs.update({run.identity: run for run in found})
    return sorted(jobs.values(), key=lambda run: (run.start, run.key))


def from_events(events: Sequence[Event], *, running: bool = False) -> list[Run]:
    """The job runs in one spool.

    Args:
        events: The spool's events in order.
        running: Whether a process still writes this spool.

    Returns:
        One run per experiment, rule and key: its last code's, with what all attempts of that code wrote. A resumed
        attempt says nothing new about a step written before; a later generation (the job ran once more) does.
    """
    attempts: list[list[Event]] = []
    for event in events:
        if event["event"] == "identity":
            attempts.append([event])
        elif attempts:
            attempts[-1].append(event)
    jobs: dict[tuple[str, ...], list[list[Event]]] = {}
    for attempt in attempts:
        same = jobs.setdefault(tuple(attempt[0][name] for name in ("experiment", "rule", "key")), [])
        if same and same[-1][0]["code"] != attempt[0]["code"]:
            same.clear()
        same.append(attempt)
    return [_job(same, running=running) for same in jobs.values()]


def standing(jobs: Iterable[Run]) -> str:
    """The status of what has these jobs: RUNNING while one does, then the worst of theirs."""
    found = {job.status for job in jobs}
    return next((status for status in (RUNNING, FAILED, KILLED) if status in found), FINISHED)


def overview(experiment: str, jobs: Sequence[Run], **words: Any) -> Run:
    """The parent run of an experiment: it begins with the first job, ends with the last, and has their data sets.

    Args:
        experiment: The experiment's name.
        jobs: Job runs (those of other experiments are left aside).
        **words: Further fields of the run.

    Returns:
        The run.
    """
    own = [job for job in jobs if job.experiment == experiment]
    ends = [job.end for job in own if job.end is not None]
    start = min((job.start for job in own), default=words.pop("start", 0))
    words.pop("start", None)
    tags = {**words.pop("tags", {})}
    return Run(
        kind=EXPERIMENT,
        experiment=experiment,
        key="",
        name=experiment,
        start=start,
        end=None if words.get("status") == RUNNING else max(ends, default=start),
        tags=tags,
        datasets={name: known for job in own for name, known in job.datasets.items()},
        **words,
    )


def readable(path: Path) -> bool:
    """Whether a path is a file that this user may read."""
    return path.is_file() and os.access(path, os.R_OK)


def content(run: Run, project: Path) -> str:
    """Digest of all that a run writes, its files' content included."""
    values = {name: value for name, value in asdict(run).items() if name != "parent"}
    values |= {"start": None, "metrics": [[*place, value] for place, value in run.metrics.items()]}
    files = [sha256(project / path) if readable(project / path) else None for path, _ in run.artifacts]
    return digest([values, files])


def _job(attempts: list[list[Event]], *, running: bool) -> Run:
    """One job run out of the attempts of one code."""
    first = attempts[-1][0]
    metrics: dict[tuple[str, int], float] = {}
    found: dict[str, Any] = {"params": {}, "tags": {}, "note": "", "datasets": {}, "artifacts": {}}
    generation: dict[tuple[str, int], int] = {}
    for attempt in attempts:
        for event in attempt[1:]:
            if event["event"] == "metrics":
                for name, value in event["values"].items():
                    place = (name, event["step"])
                    if generation.get(place) != attempt[0]["generation"]:
                        metrics[place], generation[place] = value, attempt[0]["generation"]
            else:
                _take(found, event)
    status, end, cause = _ending(attempts[-1], running=running)
    rule, key, code = first["rule"], first["key"], first["code"]
    tags = {"rule": rule, "key": key, "code": code, "attempts": str(len(attempts)), **found["tags"]}
    if "workflow" in first:
        tags["workflow"] = first["workflow"]
    return Run(
        kind=JOB,
        experiment=first["experiment"],
        key=f"{rule} {key}",
        name=f"{rule} {_short(key)}".strip(),
        start=first["started"],
        end=end,
        status=status,
        revision=digest([code, first["generation"]]),
        params={name: text(value) for name, value in found["params"].items()},
        metrics=metrics,
        tags=tags | ({"cause": cause} if cause else {}),
        note=found["note"],
        datasets=found["datasets"],
        artifacts=tuple((path, folder) for path, folder in found["artifacts"].items()),
    )


def _short(key: str) -> str:
    """A digest's first eight digits; any other key as it is."""
    return key[:8] if re.fullmatch("[0-9a-f]{12,}", key) else key


def _take(found: dict[str, Any], event: Event) -> None:
    """Add what one event tells to what was found; later words replace earlier ones, except of params."""
    match event["event"]:
        case "params":  # the store never changes one, so that the first stands there however often it is replayed
            found["params"] = event["values"] | found["params"]
        case "tags":
            found["tags"].update(event["values"])
        case "note":
            found["note"] = event["text"]
        case "dataset":
            found["datasets"][event["name"]] = (event["digest"], event["source"])
        case "artifact":
            found["artifacts"][event["path"]] = event["folder"]


def _ending(attempt: list[Event], *, running: bool) -> tuple[str, int | None, str]:
    """Status, end and cause of the last attempt."""
    last = next((event for event in reversed(attempt) if event["event"] == "status"), None)
    if last is None or last["status"] == RUNNING:
        began = attempt[0]["started"] if last is None else last["at"]
        return (RUNNING, None, "") if running else (KILLED, began, "ended without a word")
    return last["status"], last["at"], last.get("cause", "")
