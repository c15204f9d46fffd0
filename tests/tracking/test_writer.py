"""What the logger plugin's two halves do without Snakemake: what is said of jobs, what is written, what is put away."""

import argparse
import logging
import os
from pathlib import Path

import pytest
from mlflow import MlflowClient
from snakemake_interface_logger_plugins.common import LogEvent

from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, RUNNING, WORKFLOW, Spool, read
from snakemake_logger_plugin_mlflow import LogHandlerSettings, writer
from snakemake_logger_plugin_mlflow.diary import DONE, URI, Diary
from snakemake_logger_plugin_mlflow.story import HOME, tell
from snakemake_logger_plugin_mlflow.writer import Writer, found


@pytest.fixture(params=["plain", 'Ben\'s "runs"'])
def folder(request, tmp_path, monkeypatch, uri) -> Path:
    """Where Snakemake is called; the store is in the environment."""
    place = tmp_path / request.param
    (place / HOME / "done").mkdir(parents=True)
    monkeypatch.chdir(place)
    monkeypatch.setenv(URI, uri)
    return place


def begun(name: str) -> Spool:
    """The spool of an invocation that runs."""
    spool = Spool(HOME / f"{name}.jsonl", experiment="workflow", rule="invocation", key=name).__enter__()
    spool.tags({"host": os.uname().nodename, "folder": Path.cwd(), "spool": Path.cwd() / HOME / f"{name}.jsonl"})
    return spool


def write(name: str, monkeypatch, meanwhile=lambda: None) -> int:
    """The writer of an invocation, from its first turn to its end; what happens after the first is `meanwhile`."""
    monkeypatch.setattr(writer, "ended", lambda seconds: meanwhile() is None)
    monkeypatch.setattr(writer, "GRACE", 0.0)
    return Writer(
        argparse.Namespace(home=HOME, own=name, experiment="workflow", interval=0.1, artifacts=None, spools=[])
    ).run()


def statuses() -> dict[str, str]:
    """Invocation to status, as the store has it."""
    client = MlflowClient(tracking_uri=os.environ[URI])
    runs = client.search_runs([client.get_experiment_by_name("workflow").experiment_id])
    return {run.data.tags["workflow"]: run.info.status for run in runs}


def names(place: Path) -> list[str]:
    return sorted(path.stem for path in place.glob("*.jsonl"))


@pytest.mark.parametrize("folder", ["plain"], indirect=True)
def test_only_what_was_delivered_is_put_away(folder, monkeypatch):
    long = begun("long")

    def meanwhile() -> None:
        begun("short").end(FINISHED)  # its own writer had no store
        long.end(FINISHED)

    assert write("long", monkeypatch, meanwhile) == DONE
    assert statuses() == {"long": FINISHED}
    assert (names(HOME), names(HOME / "done")) == (["short"], ["long"])
    begun("next").end(FINISHED)
    assert write("next", monkeypatch) == DONE
    assert statuses() == dict.fromkeys(("long", "short", "next"), FINISHED)
    assert (names(HOME), names(HOME / "done")) == ([], ["long", "next", "short"])


@pytest.mark.parametrize("folder", ["plain"], indirect=True)
def test_what_a_job_still_writes_to_stays_and_what_is_torn_does_not(folder, monkeypatch):
    first, second = begun("first"), begun("second")
    job = Spool("job.jsonl", experiment="kitchen", rule="train", key="a").__enter__()
    first.other("job", number=1, rule="train", wildcards={}, threads=1, resources={}, reason="", log=["job.jsonl"],
                output=[], command="", group="", at=0)  # fmt: skip
    first.end(FINISHED)
    second.end(FINISHED)
    with (HOME / "second.jsonl").open("ab") as stream:
        stream.write(b'{"event":"torn')
    assert write("first", monkeypatch) == DONE
    assert (names(HOME), names(HOME / "done")) == (["first"], ["second"])
    job.end(FINISHED)
    assert write("first", monkeypatch) == DONE
    assert (names(HOME), names(HOME / "done")) == ([], ["first", "second"])


def test_who_left_without_a_word_is_killed_whatever_the_folder_is_called(folder, monkeypatch):
    lost = begun("lost")
    assert write("lost", monkeypatch) == DONE
    assert statuses() == {"lost": RUNNING}
    lost.end(KILLED)
    (HOME / "lost.jsonl").unlink()
    begun("next").end(FINISHED)
    assert write("next", monkeypatch) == DONE
    assert statuses() == {"lost": KILLED, "next": FINISHED}


@pytest.mark.parametrize("folder", ["plain"], indirect=True)
def test_events_arrive_though_nobody_can_be_reconciled(folder, monkeypatch):
    def broken(self, experiment, tags):
        raise ValueError("a filter that the store does not understand")

    monkeypatch.setattr("sgdphases.tracking.live.Live.running", broken)
    begun("one").end(FINISHED)
    assert write("one", monkeypatch) == DONE
    assert statuses() == {"one": FINISHED}


def test_spools_are_found_by_name_folder_and_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "logs/b.jsonl", "logs/deep/c.jsonl", ".hidden/d.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert found(["a.jsonl", "logs"]) == [Path("a.jsonl"), Path("logs/b.jsonl"), Path("logs/deep/c.jsonl")]
    assert found(["*/*.jsonl"]) == [Path(".hidden/d.jsonl"), Path("logs/b.jsonl")]
    assert found(["logs/**/*.jsonl"]) == [Path("logs/b.jsonl"), Path("logs/deep/c.jsonl")]
    assert found([f"{tmp_path}/logs/*.jsonl"]) == [tmp_path / "logs/b.jsonl"]
    assert found([f"{tmp_path}/not/there/yet", "not/there/*"]) == []


# As snakemake-executor-plugin-slurm 2.8.0 says it, and Snakemake's remote executor adds to it.
SLURM = (
    "SLURM-job '12' failed, SLURM status is: '{}'. Reason: Unknown."
    "For further error details see the cluster/cloud log and the log files of the involved rule(s)."
)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        (SLURM.format("CANCELLED"), KILLED),
        (SLURM.format("PREEMPTED"), KILLED),
        (SLURM.format("TIMEOUT"), KILLED),
        (SLURM.format("FAILED"), FAILED),
        (SLURM.format("OUT_OF_MEMORY"), FAILED),
        ("Command 'x' returned non-zero exit status 143.", KILLED),
        ("Command 'x' died with <Signals.SIGKILL: 9>.", KILLED),
        ("Command 'echo CANCELLED TIMEOUT' returned non-zero exit status 1.", FAILED),
    ],
)
def test_a_job_that_was_stopped_has_not_failed(tmp_path, monkeypatch, word, status):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(WORKFLOW, "")  # the diary sets it; given back afterwards
    monkeypatch.setattr(Diary, "_start_writer", lambda self: None)
    diary = Diary(LogHandlerSettings(), tmp_path)

    def say(event: LogEvent, **fields: object) -> None:
        diary.take(logging.makeLogRecord({"event": event, **fields}))

    say(LogEvent.RUN_INFO, stats={"train": 1, "total": 1})
    say(LogEvent.JOB_INFO, jobid=1, rule_name="train", wildcards={}, threads=1, resources={}, reason="", log=[],
        output=[], shellcmd="", benchmark=None)  # fmt: skip
    say(LogEvent.JOB_ERROR, jobid=1, shellcmd="", rule_msg=word, aux={})
    assert not diary.warned
    (task,) = tell(read(HOME / f"{diary.id}.jsonl"), running=True)[1:]
    assert (task.status, task.tags["cause"]) == (status, word)
    diary.close()
