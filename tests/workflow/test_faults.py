"""kill -9 in every stage of a real run, then the same command again: the same files, nothing half-written or double."""

import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from copied_project import copy_project

pytestmark = pytest.mark.slow

PATIENCE = 240.0


def steps_of(folder, rule):
    """Process ids of the running steps of one rule in one folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            here = (path / "cwd").resolve() == folder
        except OSError:
            continue
        if here and f"sgdphases.steps.{rule}".encode() in words:
            found.append(int(path.name))
    return found


def kill_during(copy, rule):
    """Start a run, kill -9 the first step of `rule` that is seen and Snakemake with it."""
    run = subprocess.Popen(
        copy.command("--nolock"), cwd=copy.folder, env=copy.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + PATIENCE
    while not (victims := steps_of(copy.folder, rule)):
        assert time.monotonic() < end, f"{rule} never ran"
        assert run.poll() is None, f"the run ended before {rule}"
        time.sleep(0.01)
    time.sleep(0.4)  # into its work, past the interpreter's start
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    while any(steps_of(copy.folder, step) for step in ("resolve", "train", "measure", "merge", "track")):
        time.sleep(0.05)


def runs_of(copy):
    """Names and statuses of all runs, and the number of metric points, in the tracking store."""
    with sqlite3.connect(copy.folder / "results" / "tracking" / "mlflow.db") as store:
        names = store.execute("select name, status from runs where lifecycle_stage = 'active'").fetchall()
        points = store.execute("select count(*) from metrics").fetchone()[0]
    return sorted(names), points


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to find the running steps")
def test_killed_in_every_stage_a_run_ends_with_the_same_files(tmp_path, finished):
    copy = copy_project(tmp_path / "killed")
    for rule in ("train", "measure", "merge", "track"):
        kill_during(copy, rule)
    copy.snakemake()
    for name in ("cube.nc", "claims.csv", "figures/phase_diagram.svg"):
        assert (copy.folder / "results/toy" / name).read_bytes() == (
            finished.folder / "results/toy" / name
        ).read_bytes()
    half_written = [path for path in (copy.folder / "results").rglob(".*") if path.is_file()]
    assert half_written == []
    assert runs_of(copy) == runs_of(finished)
    assert copy.planned() == {}
