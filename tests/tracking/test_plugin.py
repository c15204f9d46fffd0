"""`snakemake --logger mlflow` with a Snakefile that knows nothing of this project, read back from the store."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from sgdphases.tracking import store
from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, RUNNING, WORKFLOW

SNAKEFILE = """
rule all:
    input: "made/a.txt", "made/b.txt"

rule cook:
    output: "made/{dish}.txt"
    wildcard_constraints: dish="[ab]"
    log: "logs/{dish}.log"
    benchmark: "logs/{dish}.tsv"
    resources: mem_mb=100
    shell: "echo {wildcards.dish} > {output}; echo cooked > {log}"

rule shaky:
    output: "made/shaky.txt"
    retries: 2
    resources: mem_mb=lambda wildcards, attempt: 100 * attempt
    shell: "test -e first && touch {output} || {{ touch first; exit 7; }}"

rule broken:
    output: "made/broken.txt"
    log: "logs/broken.log"
    shell: "echo I am broken > {log}; exit 5"

rule slow:
    output: "made/slow.txt"
    shell: "sleep 30; touch {output}"

rule train:
    output: "made/{number}.model"
    log: "logs/{number}.jsonl"
    shell: "{PYTHON} train.py {log} {wildcards.number} && touch {output}"
"""

TRAIN = """
import sys, time
from pathlib import Path
from sgdphases.tracking.spool import Spool

with Spool(sys.argv[1], experiment="kitchen", rule="train", key=sys.argv[2]) as spool:
    spool.params({"rate": 0.5, "number": sys.argv[2]})
    spool.dataset("flour", "0123", "the mill")
    for step in range(20):
        spool.metrics({"loss": 1 / (step + 1), "alive": 1.0}, step=step)
    until = time.monotonic() + 60
    while not Path("go").exists() and time.monotonic() < until:
        time.sleep(0.05)
    for step in range(20, 40):
        spool.metrics({"loss": 1 / (step + 1), "alive": 1.0}, step=step)
"""


class Kitchen:
    """A folder with the Snakefile, and Snakemake in it."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder, self.uri = folder, uri
        (folder / "Snakefile").write_text(f"PYTHON = {sys.executable!r}\n{SNAKEFILE}")
        (folder / "train.py").write_text(TRAIN)

    def start(self, *words: str, uri: str | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *words, "--logger", "mlflow"]
        command += ["--logger-mlflow-interval", "0.2", "--logger-mlflow-patience", "60"]
        environment = {**os.environ, "SGDPHASES_TRACKING_URI": uri or self.uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        environment.pop(WORKFLOW, None)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a test run in the background; children would inherit it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *words: str, uri: str | None = None) -> tuple[int, str]:
        process = self.start(*words, uri=uri)
        text, _ = process.communicate(timeout=120)
        return process.returncode, text

    def runs(self, experiment: str = "workflow") -> dict[str, object]:
        """Runs by name, the latest where names are the same."""
        client = MlflowClient(tracking_uri=self.uri)
        known = client.get_experiment_by_name(experiment)
        if known is None:
            return {}
        found = client.search_runs([known.experiment_id], order_by=["attributes.start_time ASC"])
        return {run.info.run_name: run for run in found}

    def pending(self) -> list[str]:
        return sorted(path.name for path in (self.folder / ".snakemake" / "mlflow").glob("*.jsonl"))

    def census(self) -> dict[str, int]:
        """Rows of everything that could be there twice."""
        with sqlite3.connect(self.uri.removeprefix("sqlite:///")) as connection:
            count = {
                table: connection.execute(f"select count(*) from {table}").fetchone()[0]
                for table in (
                    "experiments",
                    "runs",
                    "metrics",
                    "latest_metrics",
                    "params",
                    "tags",
                    "inputs",
                    "datasets",
                )
            }
        connection.close()
        return count


@pytest.fixture
def kitchen(tmp_path: Path, uri: str) -> Kitchen:
    folder = tmp_path / "kitchen"
    folder.mkdir()
    return Kitchen(folder, uri)


def until(condition, patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_an_invocation_and_its_jobs(kitchen):
    code, text = kitchen.run("all", "made/shaky.txt")
    assert code == 0, text
    found = kitchen.runs()
    (name,) = [name for name in found if name.startswith("all made/")]
    invocation = found.pop(name)
    assert set(found) == {"cook a", "cook b", "shaky", "all"} | ({"all"} & set(found))
    assert {run.info.status for run in found.values()} == {FINISHED} == {invocation.info.status}
    assert invocation.data.metrics == {"jobs_planned": len(found), "jobs_done": len(found), "jobs_failed": 0}
    assert invocation.data.params["executor"] == "local"
    assert invocation.data.params["command"].startswith("snakemake --cores 2 all made/shaky.txt")
    number = invocation.data.tags["workflow"]
    assert {run.data.tags["workflow"] for run in found.values()} == {number}
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {invocation.info.run_id}
    cook = found["cook a"]
    assert cook.data.params == {"rule": "cook", "wildcards": "dish=a", "dish": "a"}
    assert cook.data.tags["reason"] == "Missing output files: made/a.txt"
    assert cook.data.tags["resources"] == "mem_mb=100"
    assert {"seconds", "memory_mb"} <= set(cook.data.metrics)
    assert 0 <= cook.info.end_time - cook.info.start_time == pytest.approx(1000 * cook.data.metrics["seconds"], abs=2)
    client = MlflowClient(tracking_uri=kitchen.uri)
    assert [file.path for file in client.list_artifacts(cook.info.run_id, "logs")] == ["logs/a.log"]
    shaky = found["shaky"]
    assert (shaky.data.tags["attempts"], shaky.data.tags["resources"]) == ("2", "mem_mb=200")
    assert "cause" not in shaky.data.tags
    assert len(client.get_metric_history(shaky.info.run_id, "seconds")) == 2
    history = client.get_metric_history(invocation.info.run_id, "jobs_failed")
    assert [point.value for point in history] == [0, 1, 0]
    assert kitchen.pending() == []


def test_why_a_job_ran_again_and_nothing_to_do_leaves_nothing(kitchen):
    assert kitchen.run("made/a.txt")[0] == 0
    before = kitchen.census()
    assert "Nothing to be done" in kitchen.run("made/a.txt")[1]
    assert "This was a dry-run" in kitchen.run("made/a.txt", "--dry-run", "--force")[1]
    assert kitchen.census() == before
    assert kitchen.run("made/a.txt", "--force", "--quiet", "all")[0] == 0
    client = MlflowClient(tracking_uri=kitchen.uri)
    again = client.search_runs(
        [client.get_experiment_by_name("workflow").experiment_id],
        "params.rule = 'cook' and params.dish = 'a'",
        order_by=["attributes.start_time DESC"],
    )
    assert [run.data.tags["reason"] for run in again] == ["Forced execution", "Missing output files: made/a.txt"]
    assert {run.info.status for run in again} == {FINISHED}  # though --quiet keeps Snakemake from telling


def test_a_job_that_fails(kitchen):
    code, text = kitchen.run("made/broken.txt", "made/a.txt", "--keep-going", "--config", "place=http://me:secret@here")
    assert code == 1, text
    found = kitchen.runs()
    (invocation,) = [run for name, run in found.items() if name.startswith("made/")]
    broken = found["broken"]
    assert (invocation.info.status, broken.info.status, found["cook a"].info.status) == (FAILED, FAILED, FINISHED)
    assert broken.data.tags["exit"] == "5"
    assert "non-zero exit status 5" in broken.data.tags["cause"]
    assert "secret" not in str(invocation.to_dictionary())
    assert invocation.data.metrics["jobs_failed"] == 1
    client = MlflowClient(tracking_uri=kitchen.uri)
    local = client.download_artifacts(broken.info.run_id, "logs/broken.log", str(kitchen.folder))
    assert Path(local).read_text() == "I am broken\n"


def test_a_growing_spool_is_seen_while_the_job_runs_and_replaying_adds_nothing(kitchen):
    process = kitchen.start("made/1.model", "made/2.model")
    try:
        until(lambda: {"train 1", "train 2"} <= set(kitchen.runs("kitchen")))
        until(lambda: kitchen.runs("kitchen")["train 1"].data.metrics.get("loss") == 1 / 20)
        live = kitchen.runs("kitchen")
        assert {run.info.status for run in live.values()} == {RUNNING}
        assert live["train 1"].data.params == {"rate": "0.5", "number": "1"}
        until(lambda: "train 1" in kitchen.runs())
        assert kitchen.runs()["train 1"].info.status == RUNNING
    finally:
        (kitchen.folder / "go").touch()
        text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    jobs = kitchen.runs("kitchen")
    assert {run.info.status for run in jobs.values()} == {FINISHED}
    (invocation,) = [run for name, run in kitchen.runs().items() if name.startswith("made/")]
    trained = [run for name, run in jobs.items() if name != "kitchen"]
    assert {run.data.tags["workflow"] for run in trained} == {invocation.data.tags["workflow"]}
    assert {run.data.tags["mlflow.parentRunId"] for run in trained} == {jobs["kitchen"].info.run_id}
    before = {**kitchen.census(), "experiments": 0}
    assert (before["metrics"], before["datasets"]) == (2 * 80 + 2 + 5, 1)
    # What the live writer has left is what one replay of the same spools makes of nothing.
    assert store.replay([kitchen.folder / "logs"], kitchen.uri).retired == 0
    after = {**kitchen.census(), "experiments": 0}
    assert {name: after[name] - before[name] for name in after if name not in ("tags", "inputs")} == dict.fromkeys(
        set(after) - {"tags", "inputs"}, 0
    )
    assert store.replay([kitchen.folder / "logs"], kitchen.uri) == store.Report(True, unchanged=3)


def test_ctrl_c_is_killed(kitchen):
    process = kitchen.start("made/slow.txt")
    until(lambda: "slow" in kitchen.runs())
    os.killpg(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode != 0, text
    found = kitchen.runs()
    assert {run.info.status for run in found.values()} == {KILLED}
    assert "interrupted" in {run.data.tags["cause"] for run in found.values()}


def test_kill_9_is_told_by_the_writer_that_survives(kitchen):
    process = kitchen.start("made/1.model")
    until(lambda: "train 1" in kitchen.runs("kitchen"))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    until(lambda: {run.info.status for run in kitchen.runs().values()} == {KILLED})
    until(lambda: {run.info.status for run in kitchen.runs("kitchen").values()} == {KILLED})


def test_kill_9_of_both_is_found_by_the_next_invocation(kitchen):
    process = kitchen.start("made/1.model")
    until(lambda: "train 1" in kitchen.runs("kitchen"))
    until(lambda: "train 1" in kitchen.runs())
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    writers = [int(number) for file in children for number in file.read_text().split() if _is_writer(int(number))]
    assert len(writers) == 1
    os.kill(writers[0], signal.SIGKILL)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert {run.info.status for run in kitchen.runs().values()} == {RUNNING}
    first = {run.info.run_id for run in kitchen.runs().values()}
    (kitchen.folder / "go").touch()
    code, text = kitchen.run("made/1.model", "--rerun-incomplete", "--nolock")
    assert code == 0, text
    client = MlflowClient(tracking_uri=kitchen.uri)
    every = client.search_runs([client.get_experiment_by_name("workflow").experiment_id])
    assert {run.info.status for run in every if run.info.run_id in first} == {KILLED}
    assert {run.info.status for run in every if run.info.run_id not in first} == {FINISHED}
    assert kitchen.pending() == []
    jobs = kitchen.runs("kitchen")  # one run, taken up again
    assert {name: run.info.status for name, run in jobs.items()} == {"kitchen": FINISHED, "train 1": FINISHED}
    assert "cause" not in jobs["train 1"].data.tags


def test_a_store_that_is_down_costs_a_warning_and_a_later_replay(kitchen):
    (kitchen.folder / "go").touch()
    began = time.monotonic()
    code, text = kitchen.run("made/1.model", uri="http://me:secret@127.0.0.1:9")
    assert code == 0, text
    assert "wait for the next run" in text
    assert "secret" not in text
    assert time.monotonic() - began < 50
    assert len(kitchen.pending()) == 1
    assert kitchen.run("made/a.txt")[0] == 0
    assert kitchen.pending() == []
    names = kitchen.runs()
    assert {"train 1", "cook a"} <= set(names)
    assert {run.info.status for run in names.values()} == {FINISHED}
    assert kitchen.runs("kitchen")["train 1"].data.metrics["loss"] == 1 / 40


def test_invocations_in_folders_of_their_own_do_not_disturb_each_other(kitchen, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    second = Kitchen(other, kitchen.uri)
    first = kitchen.start("made/a.txt")
    code, text = second.run("made/a.txt")
    assert (code, first.wait(timeout=60)) == (0, 0), text
    first.communicate()
    client = MlflowClient(tracking_uri=kitchen.uri)
    every = client.search_runs(
        [client.get_experiment_by_name("workflow").experiment_id], run_view_type=ViewType.ACTIVE_ONLY
    )
    assert sorted(run.data.tags["kind"] for run in every) == ["invocation", "invocation", "task", "task"]
    assert {run.info.status for run in every} == {FINISHED}


def _is_writer(process: int) -> bool:
    return b"snakemake_logger_plugin_mlflow.writer" in Path(f"/proc/{process}/cmdline").read_bytes()
