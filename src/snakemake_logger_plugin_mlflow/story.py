"""An invocation's spool, told as runs: the invocation, and each of its jobs."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgdphases.tracking.runs import INVOCATION, TASK, Run
from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, RUNNING, Event

HOME = Path(".snakemake", "mlflow")
"""Folder of the spools of invocations that the store does not hold whole; inside, `done` has the others."""

LONGEST_NAME = 60
SMALL_LOG = 200_000
"""Bytes of a log that is attached whole; of a longer one its end, and only if the job failed."""

TAIL_LINES = 15
LATE = 60_000
"""Milliseconds after a job's end in which its log may still be written."""


def tell(events: Sequence[Event], *, running: bool = False) -> list[Run]:
    """The runs that the spool of an invocation tells of.

    Args:
        events: Its events in order.
        running: Whether Snakemake still writes it.

    Returns:
        The invocation, then its jobs in the order in which they began.
    """
    begin = next((event for event in events if event["event"] == "identity"), None)
    if begin is None:
        return []
    experiment, key = begin["experiment"], begin["key"]
    last = max((event["at"] for event in events if "at" in event), default=begin["started"])
    status, end, cause = RUNNING, None, ""
    for event in events:
        if event["event"] == "status" and event["status"] != RUNNING:
            status, end, cause = event["status"], event["at"], event.get("cause", "")
    if status == RUNNING and not running:
        status, end, cause = KILLED, last, "ended without a word"
    params, tags = _words(events)
    invocation = Run(
        kind=INVOCATION,
        experiment=experiment,
        key=key,
        name=_name(params.get("command", "snakemake")),
        start=begin["started"],
        end=end,
        status=status,
        revision=key,
        params=params,
        metrics=_progress(events, begin["started"]),
        tags=tags | {"workflow": key} | ({"cause": cause} if cause else {}),
        note=_note(events, status, cause),
    )
    quiet = not any(event["event"] == "progress" for event in events)
    shared = {
        name: tags[name] for name in ("mlflow.user", "mlflow.source.name", "mlflow.source.git.commit") if name in tags
    }
    return [invocation, *(_task(job, invocation, shared, last, quiet) for job in _jobs(events).values())]


def spools_of(events: Sequence[Event]) -> list[str]:
    """The spools that the jobs of an invocation name as their logs."""
    logs = (path for event in events if event["event"] == "job" for path in event["log"])
    return [path for path in dict.fromkeys(logs) if path.endswith(".jsonl")]


def _words(events: Sequence[Event]) -> tuple[dict[str, str], dict[str, str]]:
    """Params and tags of the invocation."""
    found: dict[str, dict[str, Any]] = {"params": {}, "tags": {}}
    for event in events:
        if event["event"] in found:
            found[event["event"]] |= event["values"]
    return {name: str(value) for name, value in found["params"].items()}, found["tags"]


def _name(command: str) -> str:
    """What was asked for, as it fits into a table: the command line without what all of them say."""
    kept: list[str] = []
    skip = False  # the value of an option that was left out
    for word in command.split()[1:]:
        if word.startswith("--logger") or word in ("--cores", "-c", "-j", "--jobs"):
            skip = "=" not in word
        elif skip or re.fullmatch(r"-[cj]\w+|--(?:cores|jobs)=.*", word):
            skip = False
        else:
            kept.append(word)
    name = " ".join(kept) or "default targets"
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 4] + " ..."


def _progress(events: Sequence[Event], start: int) -> dict[tuple[str, int], float]:
    """Jobs planned, done and failed by time (milliseconds since the start), where these numbers change."""
    metrics: dict[tuple[str, int], float] = {}
    now: dict[str, float] = {}
    failed: set[int] = set()

    def put(at: int, **values: float) -> None:
        for name, value in values.items():
            if now.get(name) != value:
                now[name] = metrics[name, max(at - start, 0)] = value

    for event in events:
        match event["event"]:
            case "planned":
                put(event["at"], jobs_planned=float(event["total"]), jobs_done=0.0, jobs_failed=0.0)
            case "progress":
                put(event["at"], jobs_planned=float(event["total"]), jobs_done=float(event["done"]))
            case "job" | "job_end":
                broken = event.get("status") in (FAILED, KILLED)
                failed = failed | {event["number"]} if broken else failed - {event["number"]}
                put(event["at"], jobs_failed=float(len(failed)))
    return metrics


def _note(events: Sequence[Event], status: str, cause: str) -> str:
    """What was planned, and what failed with which words, in Markdown."""
    lines = []
    planned = next((event for event in events if event["event"] == "planned"), None)
    if planned is not None:
        lines += ["Planned: " + ", ".join(f"{count} {rule}" for rule, count in planned["rules"].items()) + "."]
    ends = {event["number"]: event for event in events if event["event"] == "job_end"}
    names = {event["number"]: _title(event) for event in events if event["event"] == "job"}
    broken = [number for number, event in ends.items() if event["status"] != FINISHED]
    if broken:
        lines += ["", "Failed:", ""]
        lines += [f"- {names.get(number, number)}: `{_last_line(ends[number]['cause'])}`" for number in broken]
    if status == KILLED:
        lines += ["", f"Killed: {cause}."]
    return "\n".join(lines)


def _last_line(text: str) -> str:
    """The line of an error that says what it was."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300].replace("`", "'") if lines else ""


def _jobs(events: Sequence[Event]) -> dict[int, list[Event]]:
    """The events of each job."""
    jobs: dict[int, list[Event]] = {}
    for event in events:
        if event["event"] == "job":
            jobs.setdefault(event["number"], []).append(event)
        elif event["event"] in ("job_end", "submitted") and event["number"] in jobs:
            jobs[event["number"]].append(event)
    return jobs


def _task(events: Sequence[Event], invocation: Run, shared: dict[str, str], last: int, quiet: bool) -> Run:
    """One job of an invocation, with all its attempts."""
    begins = [event for event in events if event["event"] == "job"]
    first, latest = begins[0], begins[-1]
    ended = events[-1] if events[-1]["event"] == "job_end" else None
    if ended is not None:
        status, end, cause = ended["status"], ended["at"], ended.get("cause", "")
    elif invocation.status == RUNNING:
        status, end, cause = RUNNING, None, ""
    elif quiet and invocation.status != KILLED:  # --quiet progress: Snakemake tells of failures only
        status, end, cause = FINISHED, last, ""
    else:
        status, end, cause = KILLED, last, "Snakemake ended before this job"
    wildcards = {name: str(value) for name, value in latest["wildcards"].items()}
    tags = {
        "reason": first["reason"] or "",
        "resources": ", ".join(f"{name}={value}" for name, value in latest["resources"].items()),
        "threads": str(latest["threads"]),
        "output": " ".join(latest["output"]),
        "log": " ".join(latest["log"]),
        "command": latest["command"],
        "group": latest["group"],
        "attempts": str(len(begins)),
        "job": str(first["number"]),
        "cause": cause,
        "exit": "" if ended is None or ended.get("exit") is None else str(ended["exit"]),
    }
    for event in events:
        if event["event"] == "submitted":
            tags["external"] = event["external"]
        tags |= event.get("more", {})
    own = {name if name not in ("rule", "wildcards") else f"wildcard_{name}": text for name, text in wildcards.items()}
    return Run(
        kind=TASK,
        experiment=invocation.experiment,
        key=f"{invocation.key} {first['number']}",
        name=_title(first),
        start=first["at"],
        end=end,
        status=status,
        revision=invocation.key,
        params={"rule": first["rule"], "wildcards": ", ".join(f"{name}={text}" for name, text in wildcards.items())}
        | own,
        metrics=_costs(events),
        tags={name: text for name, text in tags.items() if text} | {"workflow": invocation.key} | shared,
        note=_task_note(first, status, cause),
        artifacts=_logs(latest, status, end),
        parent=invocation.identity,
    )


def _title(job: Event) -> str:
    """A job's name: its rule and wildcards, digests cut."""
    words = (
        text[:8] if len(text) >= 12 and not set(text) - set("0123456789abcdef") else text
        for text in map(str, job["wildcards"].values())
    )
    return " ".join([job["rule"], *words])


def _costs(events: Sequence[Event]) -> dict[tuple[str, int], float]:
    """What each attempt took: its seconds, and what its benchmark file says; the step is the attempt's number."""
    metrics: dict[tuple[str, int], float] = {}
    attempt, began = 0, 0
    for event in events:
        if event["event"] == "job":
            attempt, began = attempt + 1, event["at"]
        elif event["event"] == "job_end":
            metrics["seconds", attempt] = (event["at"] - began) / 1000
            metrics |= {(name, attempt): value for name, value in event.get("used", {}).items()}
    return metrics


def _task_note(job: Event, status: str, cause: str) -> str:
    """Why the job ran and how to run it again, in Markdown."""
    lines = [f"Ran because: {job['reason']}."] if job["reason"] else []
    if status != FINISHED and cause:
        lines += ["", f"{status.capitalize()}:", "", "```", *cause.splitlines()[-TAIL_LINES:], "```"]
    if job["command"]:
        lines += ["", "```sh", _folded(job["command"]), "```"]
    return "\n".join(lines)


def _folded(command: str) -> str:
    """A command in lines that a page can show; one with quotes as it is, for a line may not end inside them."""
    return command if set(command) & set("'\"") else re.sub(r" (?=--[a-z])", " \\\n  ", command)


def _logs(job: Event, status: str, end: int | None) -> tuple[tuple[str, str], ...]:
    """The logs to attach: of a job that is over, and only as it left them (a later job may have written them anew)."""
    found = []
    for path in job["log"]:
        if end is None or path.endswith(".jsonl"):
            continue
        try:
            about = Path(path).stat()
        except OSError:
            continue
        if about.st_size == 0 or about.st_mtime * 1000 > end + LATE:
            continue
        if about.st_size <= SMALL_LOG:
            found.append((path, "logs"))
        elif status != FINISHED:
            found.append((_tail(path, about.st_size), "logs"))
    return tuple(found)


def _tail(path: str, size: int) -> str:
    """The end of a log as a file of its own; where the disk is full, the log itself."""
    digest = hashlib.sha256(f"{path} {size}".encode()).hexdigest()[:8]
    target = HOME / "ends" / digest / f"end-of-{Path(path).name}"
    try:
        with open(path, "rb") as stream:
            stream.seek(size - SMALL_LOG)
            text = stream.read(SMALL_LOG)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text)
    except OSError:
        return path
    return str(target)
