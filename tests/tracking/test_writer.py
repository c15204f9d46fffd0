"""What the logger plugin's two halves do without Snakemake: what is said of jobs, what is written, what is put away."""

import argparse
import logging
import os
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from snakemake_interface_logger_plugins.common import LogEvent

from sgdphases.tracking.live import Live
from sgdphases.tracking.runs import Run
from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, RUNNING, WORKFLOW, Spool, read
from snakemake_logger_plugin_mlflow import LogHandlerSettings, writer
from snakemake_logger_plugin_mlflow.diary import DONE, URI, WAITS, Diary
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


class Member:
    """A job as Snakemake tells of it when it tells of a group."""

    def __init__(self, number: int) -> None:
        self.jobid = number

    def uuid(self) -> str:
        """Its name in messages."""
        return f"uuid-{self.jobid}"


class Told:
    """A diary without a writer, and what it makes of what it is told."""

    def __init__(self, monkeypatch) -> None:
        monkeypatch.setenv(WORKFLOW, "")  # the diary sets it; given back afterwards
        monkeypatch.setattr(Diary, "_start_writer", lambda self: None)

    def __enter__(self) -> "Told":
        self.diary = Diary(LogHandlerSettings(), Path.cwd())
        return self

    def __exit__(self, *error: object) -> None:
        self.diary.close()
        assert not self.diary.warned

    def say(self, event: LogEvent | None, **fields: object) -> None:
        """One of Snakemake's records."""
        self.diary.take(logging.makeLogRecord({"event": event, **fields}))

    def begin(self, number: int) -> None:
        """A job begins."""
        self.say(LogEvent.JOB_INFO, jobid=number, rule_name="train", wildcards={}, threads=1, resources={}, reason="",
            log=[f"{number}.jsonl"], output=[], shellcmd="", benchmark=None)  # fmt: skip

    def fail(self, number: int, **fields: object) -> None:
        """A job fails."""
        known = {"shellcmd": "", "rule_msg": None, "aux": {}, "rule_name": "train", "log": [f"{number}.jsonl"]}
        self.say(LogEvent.JOB_ERROR, jobid=number, **known | fields)

    def tasks(self) -> list[Run]:
        """The runs of the jobs."""
        return tell(read(HOME / f"{self.diary.id}.jsonl"), running=True)[1:]


@pytest.mark.parametrize("folder", ["plain"], indirect=True)
def test_an_experiments_run_is_made_though_the_store_was_away_when_its_job_ended(folder, monkeypatch):
    own = begun("own")
    own.other("job", at=1, number=1, rule="train", wildcards={}, threads=1, resources={}, reason="", log=["job.jsonl"],
        output=[], command="", group="")  # fmt: skip
    holds, asked = Live.holds, []

    def away_once(live, run):
        asked.append(run)
        if len(asked) == 1:
            raise ConnectionError
        return holds(live, run)

    monkeypatch.setattr(Live, "holds", away_once)
    with Spool("job.jsonl", experiment="grid", rule="train", key="1"):
        pass
    assert write("own", monkeypatch, lambda: own.end(FINISHED)) == DONE
    client = MlflowClient(tracking_uri=os.environ[URI])
    runs = client.search_runs([client.get_experiment_by_name("grid").experiment_id])
    assert {run.data.tags["kind"] for run in runs} == {"experiment", "job"}
    assert len(asked) > 1


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
def test_only_what_the_store_refuses_is_kept_for_the_next_writer(folder, monkeypatch, refusing):
    for name in ("one", "two"):
        begun(name).end(FINISHED)
    with refusing("one"):
        assert write("two", monkeypatch) == WAITS
    assert (names(HOME), names(HOME / "done")) == (["one"], ["two"])
    assert write("two", monkeypatch) == DONE
    assert names(HOME / "done") == ["one", "two"]


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
    with Told(monkeypatch) as told:
        told.say(LogEvent.RUN_INFO, stats={"train": 1, "total": 1})
        told.begin(1)
        told.fail(1, rule_msg=word)
        (task,) = told.tasks()
    assert (task.status, task.tags["cause"]) == (status, word)


def test_jobs_of_a_group_that_failed_say_for_themselves_how_they_ended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Told(monkeypatch) as told:
        told.say(LogEvent.RUN_INFO, stats={"train": 7, "total": 7})
        told.say(LogEvent.GROUP_INFO, group_id="train", jobs=[Member(number) for number in range(1, 8)])
        for number in range(1, 8):
            told.begin(number)
        told.say(None, msg="Job uuid-2 has been submitted with SLURM jobid 77 (log: x.log).")
        told.say(LogEvent.ERROR, msg="Command 'other' died with <Signals.SIGKILL: 9>.", exception="CalledProcessError")
        for number, ending in ((1, None), (2, FAILED), (4, KILLED)):
            spool = Spool(f"{number}.jsonl", experiment="grid", rule="train", key=str(number)).__enter__()
            spool.end(ending or FINISHED, ending and f"{ending} for a reason")
        Spool("3.jsonl", experiment="grid", rule="train", key="3").__enter__()  # and leaves no word
        shutil.copy("1.jsonl", "6.jsonl")
        os.utime("6.jsonl", (1, 1))  # of an earlier attempt
        Path("7.jsonl").touch()  # began, and got no further
        for number in range(1, 8):
            told.fail(number, aux={"external_jobid": "77"})
        tasks = told.tasks()
    assert [(task.status, task.tags.get("cause")) for task in tasks] == [
        (FINISHED, None),
        (FAILED, "FAILED for a reason"),
        (KILLED, "ended without a word"),
        (KILLED, "KILLED for a reason"),
        (KILLED, "its group ended before it began"),
        (KILLED, "its group ended before it began"),
        (FAILED, "failed"),
    ]
    assert {task.tags["external"] for task in tasks} == {"77"}


def test_a_job_that_failed_has_not_finished_though_its_step_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Told(monkeypatch) as told:
        told.say(LogEvent.RUN_INFO, stats={"train": 2, "total": 2})
        for number, ending in ((1, FINISHED), (2, FAILED)):
            told.begin(number)
            spool = Spool(f"{number}.jsonl", experiment="grid", rule="train", key=str(number)).__enter__()
            spool.end(ending, "no room" if ending == FAILED else None)
            told.fail(number)
        tasks = told.tasks()
    assert [(task.status, task.tags["cause"]) for task in tasks] == [
        (FAILED, "its step had ended well"),
        (FAILED, "no room"),
    ]


def test_a_job_takes_no_other_jobs_cause(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Told(monkeypatch) as told:
        told.say(LogEvent.RUN_INFO, stats={"train": 2, "total": 2})
        for number in (1, 2):
            told.begin(number)
        error = "Command 'one' died with <Signals.SIGKILL: 9>."
        told.say(LogEvent.ERROR, msg=error, exception="CalledProcessError")
        told.fail(1, shellcmd="one", log=[])
        told.fail(2, shellcmd="two", log=[])
        tasks = told.tasks()
    assert [(task.status, task.tags["cause"]) for task in tasks] == [(KILLED, error), (FAILED, "failed")]
