"""What a run looks like within MLflow's limits: names, lengths, how much at once, how loud; as plain values."""

import contextlib
import logging
import math
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sgdphases.tracking.runs import Run

log = logging.getLogger(__name__)

METRICS_PER_CALL, WORDS_PER_CALL = 800, 100  # MLflow takes 1000 things a call, of them 100 params and 100 tags
KEYS_PER_RUN = 30  # its run page becomes slow with more
LONGEST_PARAM, LONGEST_TAG, LONGEST_VIEW = 6000, 8000, 20000
CUT = " ... (cut)"
PASSING = ("cause",)
"""Tags that are true of one ending only: a killed job that has resumed and finished bears none."""


@dataclass
class Held:
    """What the store holds of one run, as far as this writer knows."""

    run_id: str
    start: int
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    points: int = 0

    @classmethod
    def of(cls, run: Any) -> "Held":
        """What a stored run tells."""
        data = run.data
        return cls(run.info.run_id, run.info.start_time, run.info.status, dict(data.tags), dict(data.params))


def numbers(run: Run, start: int) -> tuple[list[tuple[str, float, int, int]], dict[str, str]]:
    """The metrics that the store can hold, and tags that name what it cannot.

    Args:
        run: The run; where it has more metrics than an earlier state of it, those of that state come first.
        start: The start of the stored run (milliseconds since 1970).

    Returns:
        (name, value, time, step) of each point; tags.
    """
    names = list(dict.fromkeys(name for name, _ in run.metrics))
    if len(names) > KEYS_PER_RUN:
        log.warning("Run %s has %d metrics; the store takes the first %d", run.name, len(names), KEYS_PER_RUN)
    kept = set(names[:KEYS_PER_RUN])
    infinite: dict[str, list[int]] = {}
    values = []
    for (name, step), value in run.metrics.items():
        if math.isinf(value):
            infinite.setdefault(name, []).append(step)
        elif name in kept:
            values.append((word(name), value, start + step, step))
    tags = {f"infinite.{name}": f"at {len(steps)} steps, the first {steps[0]}" for name, steps in infinite.items()}
    return values, tags | ({"metrics_left_out": ", ".join(names[KEYS_PER_RUN:])} if len(names) > KEYS_PER_RUN else {})


def params(run: Run, stored: Mapping[str, str]) -> dict[str, str]:
    """The params that the store lacks; it never changes one, so a changed one costs a warning.

    Args:
        run: The run.
        stored: The params that it has in the store.

    Returns:
        Name to value.
    """
    lacking = {}
    for name, value in run.params.items():
        key, short = word(name), cut(value, LONGEST_PARAM)
        if key not in stored:
            lacking[key] = short
        elif stored[key] != short:
            log.warning("Run %s keeps %s = %s; it is now %s", run.name, name, stored[key], short)
    return lacking


def tags(run: Run, more: Mapping[str, str]) -> dict[str, str]:
    """A run's own tags and those that MLflow shows in its table and on its page.

    Args:
        run: The run.
        more: Further tags, as `numbers` gives them.

    Returns:
        Name to value.
    """
    source = {"mlflow.source.name": f"sgdphases.steps.{run.tags['rule']}"} if "rule" in run.tags else {}
    note = {"mlflow.note.content": run.note} if run.note else {}
    return {word(name): cut(value, LONGEST_TAG) for name, value in {**source, **run.tags, **more, **note}.items()}


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Slices of at most `size` items."""
    return (items[place : place + size] for place in range(0, len(items), size))


def word(name: str) -> str:
    """A name as MLflow takes it: it becomes a path, which must not lead anywhere else."""
    clean = re.sub(r"[^\w\-. :/]", "_", name)[:250]
    norm = posixpath.normpath(clean)
    if norm == clean != "." and not norm.startswith(("/", "..")):
        return clean
    return re.sub(r"^[.]*$|^[.]+|/", "_", clean)


def cut(value: str, longest: int) -> str:
    """A text that is no longer than the store keeps, with a mark where it was cut."""
    return value if len(value) <= longest else value[: longest - len(CUT)] + CUT


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """MLflow's own notices (tables it makes, links to runs) stay out of the step's log; its warnings do not."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
