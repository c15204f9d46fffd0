"""SIGTERM and SIGINT, to the process and to its group: what the spool says, what the same command makes of it."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

from faults.ground import PATIENCE, kill
from sgdphases.tracking.spool import read

RULES = ("download", "train", "measure", "merge", "fit", "draw", "track")


def processes_under(parent):
    """Process ids of all descendants of a process."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(words[1]), []).append(int(path.parent.name))
    found = [parent]
    for number in found:
        found.extend(children.get(number, ()))
    return found[1:]


def trial(stage, number, to_group, numbers):
    """Start a step as Snakemake does, send one signal at a random moment, and run it again."""
    stage.reset()
    stage.log.write_bytes(b"")
    spool = _spool(stage)
    attempts = _attempts(spool)
    process = stage.start(shell=True)
    time.sleep(numbers.uniform(0.1, max(0.2, stage.seconds)))
    if to_group:
        os.killpg(process.pid, number)
    else:
        for child in processes_under(process.pid):
            os.kill(child, number)
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    counts = Counter(signals=1, survived=process.poll() is None, interrupted=process.poll() != 0)
    status = kill(process)
    if status != 0 and _attempts(spool) > attempts:
        last = [event["status"] for event in read(spool) if event["event"] == "status"][-1]
        done = stage.digest() == stage.reference
        counts["untrue"] = last not in ("KILLED", *(["FINISHED"] if done else []))
        counts["told"] = 1
    counts["half_written"] = len(stage.half_written())
    status, _ = stage.end()
    counts["failed"], counts["wrong"] = status != 0, stage.digest() != stage.reference
    counts["left_behind"] = len(stage.left_behind())
    return counts


def run(stage, seed, repeats=1):
    """Both signals, to process and to group."""
    numbers, total = random.Random(f"signals {stage.rule} {seed}"), Counter()
    for _ in range(repeats):
        for number in (signal.SIGTERM, signal.SIGINT):
            for to_group in (False, True):
                total.update(trial(stage, number, to_group, numbers))
    return total


def _spool(stage):
    words = stage.command
    return stage.ground.folder / words[words.index("--spool") + 1] if "--spool" in words else None


def _attempts(spool):
    found = [] if spool is None or not spool.exists() else read(spool)
    return sum(event["event"] == "identity" for event in found)
