"""Replaying into MLflow: all that is missing, nothing twice, whatever was killed, locked, down or deleted."""

import logging
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from sgdphases.tracking import address, store
from sgdphases.tracking.limits import KEYS_PER_RUN
from sgdphases.tracking.runs import EXPERIMENT, JOB, POINT, Run, from_spools, overview
from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, RUNNING, Spool


def job(number: int = 0, **changes) -> Run:
    values = {
        "kind": JOB, "experiment": "toy", "key": f"train {number}", "name": f"train {number}", "start": 10_000 + number,
        "end": 20_000, "revision": "1", "params": {"learning_rate": "0.1"}, "tags": {"rule": "train"},
        "metrics": {(name, step): step / 7 for name in ("train_loss", "alive") for step in range(5)},
    }  # fmt: skip
    return Run(**{**values, **changes})


def point(number: int = 0, **changes) -> Run:
    values = {
        "kind": POINT,
        "key": f"p{number}",
        "name": f"p{number}",
        "metrics": {("overlap", 0): 0.5},
        "tags": {"phase": "ferro"},
    }
    return job(number, **{**values, **changes})


def toy(*runs: Run, **words) -> list[Run]:
    return [overview("toy", runs, start=5, **words), *runs]


def stored(uri: str, name: str = "toy", view: int = ViewType.ACTIVE_ONLY) -> dict[str, object]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id], run_view_type=view)}


def census(uri: str) -> dict[str, int]:
    """Rows of everything a replay could duplicate."""
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
        count = {
            table: connection.execute(f"select count(*) from {table}").fetchone()[0]
            for table in ("experiments", "runs", "metrics", "latest_metrics", "params", "tags", "inputs", "datasets")
        }
        live = connection.execute("select count(*) from runs where lifecycle_stage = 'active'").fetchone()[0]
    connection.close()
    return {**count, "live": live}


def test_prepare_makes_a_store_from_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ids = store.prepare("results/tracking/mlflow.db", None, ["toy", "other"])
    assert sorted(ids) == ["other", "toy"]
    assert store.prepare("results/tracking/mlflow.db", None, ["other", "toy", "third"]) == {**ids, "third": "3"}
    client = MlflowClient(tracking_uri=address.absolute("results/tracking/mlflow.db"))
    assert client.get_experiment(ids["toy"]).artifact_location == f"file://{tmp_path}/results/tracking/artifacts/toy"
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    client.delete_experiment(ids["toy"])
    assert store.prepare("results/tracking/mlflow.db", None, ["toy"]) == {"toy": ids["toy"]}
    assert client.get_experiment(ids["toy"]).lifecycle_stage == "active"


def test_prepare_brings_an_old_database_up_to_date(uri):
    connection = sqlite3.connect(uri.removeprefix("sqlite:///"))
    (newest,) = connection.execute("select version_num from alembic_version").fetchone()
    connection.close()
    from alembic import command
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine(uri)
    config = utils._get_alembic_config(uri)
    with engine.begin() as opened:
        config.attributes["connection"] = opened
        command.downgrade(config, "-1")
    engine.dispose()
    connection = sqlite3.connect(uri.removeprefix("sqlite:///"))
    assert connection.execute("select version_num from alembic_version").fetchone() != (newest,)
    connection.close()
    assert store.prepare(uri, None, ["toy"])
    connection = sqlite3.connect(uri.removeprefix("sqlite:///"))
    assert connection.execute("select version_num from alembic_version").fetchone() == (newest,)
    connection.close()


def test_a_run_is_stored_as_it_was(uri, tmp_path):
    (tmp_path / "map.png").write_bytes(b"png")
    run = job(
        note="**what**", status=FAILED, datasets={"digits": ("d" * 50, "sklearn")}, artifacts=(("map.png", "figures"),),
        tags={"rule": "train", "cause": "no"},
    )  # fmt: skip
    report = store.write(toy(run), uri, project=tmp_path)
    assert report == store.Report(True, created=2)
    found = stored(uri)
    one, parent = found["train 0"], found["toy"]
    assert (one.info.status, one.info.start_time, one.info.end_time) == (FAILED, 10_000, 20_000)
    assert (parent.info.status, parent.data.tags["kind"]) == (FINISHED, EXPERIMENT)
    assert one.data.params == {"learning_rate": "0.1"}
    assert one.data.metrics == {"train_loss": 4 / 7, "alive": 4 / 7}
    wanted = {
        "mlflow.parentRunId": parent.info.run_id, "mlflow.note.content": "**what**", "kind": JOB, "cause": "no",
        "mlflow.source.name": "sgdphases.steps.train", store.IDENTITY: run.identity,
    }  # fmt: skip
    assert wanted.items() <= one.data.tags.items()
    for (known,) in (one.inputs.dataset_inputs, parent.inputs.dataset_inputs):
        data = known.dataset
        assert (data.name, data.digest, data.source) == ("digits", "d" * 36, "sklearn")
    client = MlflowClient(tracking_uri=uri)
    history = client.get_metric_history(one.info.run_id, "train_loss")
    assert [(m.step, m.timestamp, m.value) for m in history] == [(k, 10_000 + k, k / 7) for k in range(5)]
    assert Path(client.download_artifacts(one.info.run_id, "figures/map.png", str(tmp_path))).read_bytes() == b"png"


def test_replaying_again_adds_nothing(uri, tmp_path):
    runs = toy(*(job(k) for k in range(3)), *(point(k) for k in range(3)))
    store.write(runs, uri)
    before = census(uri)
    assert before["live"] == 7
    assert before["metrics"] == 3 * 10 + 3
    assert store.write(runs, uri) == store.Report(True, unchanged=7)
    client = MlflowClient(tracking_uri=uri)
    for run in stored(uri).values():  # as if the writer had been killed before its last word
        client.delete_tag(run.info.run_id, store.CONTENT)
    assert store.write(runs, uri) == store.Report(True, updated=7)
    assert census(uri) == before


def test_what_is_new_is_added(uri):
    store.write(toy(job(status=RUNNING, end=None)), uri)
    assert stored(uri)["train 0"].info.status == RUNNING
    more = {("train_loss", step): step / 7 for step in range(9)}
    report = store.write(toy(job(metrics=more, params={"learning_rate": "0.1", "depth": "2"}), job(1)), uri)
    assert (report.created, report.updated) == (1, 2)
    one = stored(uri)["train 0"]
    assert (one.info.status, one.data.params["depth"], one.data.metrics["train_loss"]) == (FINISHED, "2", 8 / 7)
    assert census(uri)["metrics"] == 9 + 5 + 10


def test_a_killed_run_that_resumed_runs_again(uri):
    for status, end in ((KILLED, 15_000), (RUNNING, None), (FINISHED, 20_000)):
        store.write(toy(job(status=status, end=end)), uri)
        assert stored(uri)["train 0"].info.status == status
    assert census(uri)["live"] == 2


def test_a_changed_param_costs_a_warning(uri, caplog):
    store.write(toy(job()), uri)
    assert store.write(toy(job(params={"learning_rate": "0.2"})), uri).complete
    assert stored(uri)["train 0"].data.params == {"learning_rate": "0.1"}
    assert "keeps learning_rate = 0.1; it is now 0.2" in caplog.text


def test_a_new_revision_takes_the_place_of_the_old(uri):
    store.write(toy(job(), point()), uri)
    report = store.write(toy(job(revision="2", params={"learning_rate": "0.2"}), point()), uri)
    assert (report.created, report.retired) == (1, 1)
    assert stored(uri)["train 0"].data.params == {"learning_rate": "0.2"}
    assert census(uri)["live"] == 3
    assert stored(uri, view=ViewType.DELETED_ONLY)["train 0"].data.params == {"learning_rate": "0.1"}


def test_points_that_left_the_grid_are_retired_and_jobs_are_not(uri):
    store.write(toy(job(0), job(1), point(0), point(1)), uri, whole=[POINT])
    assert store.write(toy(job(0), point(0), point(2)), uri, whole=[POINT]).retired == 1
    assert set(stored(uri)) == {"toy", "train 0", "train 1", "p0", "p2"}


def test_two_writers_that_raced_are_healed(uri):
    store.write(toy(job()), uri)
    client = MlflowClient(tracking_uri=uri)
    first = stored(uri)["train 0"]
    client.create_run(first.info.experiment_id, start_time=first.info.start_time + 1, tags=first.data.tags)
    assert census(uri)["live"] == 3
    assert store.write(toy(job()), uri).retired == 1
    assert stored(uri)["train 0"].info.run_id == first.info.run_id


def test_a_deleted_parent_comes_back_with_its_children(uri):
    store.write(toy(job()), uri)
    client = MlflowClient(tracking_uri=uri)
    client.delete_run(stored(uri)["toy"].info.run_id)
    store.write(toy(job()), uri)
    found = stored(uri)
    assert found["train 0"].data.tags["mlflow.parentRunId"] == found["toy"].info.run_id


def test_limits_of_the_store(uri, caplog):
    many = {(f"m{k:02}", 0): float(k) for k in range(35)} | {("m00", step): float(step) for step in range(1, 2500)}
    run = job(
        metrics={**many, ("m01", 3): float("inf"), ("m01", 4): float("-inf"), ("m02", 1): float("nan")},
        params={"long": "x" * 7000, "odd(name)=": "1", **{f"p{k}": str(k) for k in range(250)}},
        tags={**{f"t{k}": "x" for k in range(150)}, "long": "x" * 9000},
    )
    assert store.write(toy(run), uri).complete
    one = stored(uri)["train 0"]
    assert len(one.data.metrics) == KEYS_PER_RUN
    assert one.data.tags["metrics_left_out"] == "m30, m31, m32, m33, m34"
    assert one.data.tags["infinite.m01"] == "at 2 steps, the first 3"
    assert one.data.metrics["m01"] == 1.0
    assert (len(one.data.params), len(one.data.params["long"]), one.data.params["odd_name__"]) == (252, 6000, "1")
    assert one.data.params["long"].endswith("(cut)")
    assert len(one.data.tags["long"]) == 8000
    assert census(uri)["metrics"] == 2499 + KEYS_PER_RUN + 1
    assert "the store takes the first 30" in caplog.text


def test_missing_artifacts_cost_a_warning(uri, tmp_path, caplog):
    assert store.write(toy(job(artifacts=(("gone.png", ""),))), uri, project=tmp_path).complete
    assert "gone.png is not there" in caplog.text


def test_changed_files_are_attached_again(uri, tmp_path):
    (tmp_path / "f.csv").write_text("1")
    run = job(artifacts=(("f.csv", ""),))
    store.write(toy(run), uri, project=tmp_path)
    (tmp_path / "f.csv").write_text("2")
    assert store.write(toy(run), uri, project=tmp_path).updated == 1
    run_id = stored(uri)["train 0"].info.run_id
    assert (tmp_path / "tracking" / "artifacts" / "toy" / run_id / "artifacts" / "f.csv").read_text() == "2"


def test_a_deleted_store_is_made_again(uri, tmp_path):
    runs = toy(job(), point())
    store.write(runs, uri)
    before = census(uri)
    shutil.rmtree(tmp_path / "tracking")
    assert store.write(runs, uri) == store.Report(True, created=3)
    assert census(uri) == before


def test_a_locked_store_costs_a_warning(uri, monkeypatch, caplog):
    monkeypatch.setattr(address, "LOCK_SECONDS", 0.05)
    with address.one_writer(uri):
        assert store.write(toy(job()), uri) == store.Report(False)
    assert "in use by another writer" in caplog.text
    assert store.write(toy(job()), uri).complete


@pytest.mark.parametrize(
    "broken",
    [
        "http://127.0.0.1:9",
        "http://me:secret@127.0.0.1:9",
        "sqlite:////proc/none/mlflow.db",
        "nothing://me:secret@here",
    ],
)
def test_a_store_that_is_down_costs_a_warning(broken, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING):
        assert store.write(toy(job()), broken) == store.Report(False)
    assert "wait for the next replay" in caplog.text
    assert "secret" not in caplog.text


def test_a_damaged_store_costs_a_warning(uri, caplog):
    Path(uri.removeprefix("sqlite:///")).write_bytes(b"not a database" * 1000)
    assert store.write(toy(job()), uri) == store.Report(False)
    assert "did not take everything" in caplog.text


def test_a_writer_killed_at_any_call_is_made_good(uri, empty_store, monkeypatch):
    """Whatever call is the last one before the writer dies, the next replay gives what an undisturbed one gives."""
    runs = toy(job(), point(0, datasets={"digits": ("d", "s")}))
    calls = Counter()
    names = ("create_run", "log_batch", "log_inputs", "set_terminated", "set_tag")
    store.write(runs, uri)
    want = census(uri)

    class DeadError(BaseException):
        pass

    for fatal in range(1, 13):
        shutil.copy(empty_store, uri.removeprefix("sqlite:///"))
        calls.clear()
        with monkeypatch.context() as patch:
            for name in names:
                original = getattr(MlflowClient, name)

                def counted(self, *args, _original=original, _fatal=fatal, **kwargs):
                    result = _original(self, *args, **kwargs)
                    calls["all"] += 1
                    if calls["all"] == _fatal:
                        raise DeadError
                    return result

                patch.setattr(MlflowClient, name, counted)
            with pytest.raises(DeadError):
                store.write(runs, uri)
        assert store.write(runs, uri).complete
        assert census(uri) == want


def test_kill_9_in_the_middle_of_a_replay(uri, tmp_path):
    for number in range(8):
        with Spool(tmp_path / f"{number}.jsonl", experiment="toy", rule="train", key=str(number)) as spool:
            spool.params({"learning_rate": number})
            for step in range(400):
                spool.metrics({"train_loss": 1 / (step + 1), "alive": 1.0}, step=step)
    text = f"from sgdphases.tracking import store; print('go', flush=True); store.replay([{str(tmp_path)!r}], {uri!r})"
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.readline()
        while process.poll() is None:
            connection = sqlite3.connect(f"file:{uri.removeprefix('sqlite:///')}?mode=ro", uri=True)
            rows = connection.execute("select count(*) from metrics").fetchone()[0]
            connection.close()
            if rows >= 2000:
                process.kill()
            time.sleep(0.005)
    assert 2000 <= census(uri)["metrics"] < 6400
    assert store.replay([tmp_path], uri).complete
    after = census(uri)
    assert (after["live"], after["runs"], after["metrics"], after["params"]) == (9, 9, 6400, 8)
    assert {run.info.status for run in stored(uri).values()} == {FINISHED}
    assert store.replay([tmp_path], uri) == store.Report(True, unchanged=9)


def test_sixteen_spools_at_once_and_a_torn_one(uri, tmp_path):
    def write(number: int) -> None:
        with Spool(tmp_path / f"{number}.jsonl", experiment="toy", rule="train", key=f"{number:02}") as spool:
            for step in range(50):
                spool.metrics({"train_loss": number + step / 50}, step=step)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    store.replay([tmp_path], uri)  # whatever is there by now
    for thread in threads:
        thread.join()
    torn = (tmp_path / "0.jsonl").read_bytes()
    (tmp_path / "0.jsonl").write_bytes(torn[:-30])
    assert store.replay([tmp_path], uri).complete
    found = stored(uri)
    assert census(uri)["live"] == 17
    assert census(uri)["metrics"] == 16 * 50
    assert found["train 00"].info.status == KILLED  # its last word was torn off
    assert {run.info.status for name, run in found.items() if name != "train 00"} == {FINISHED}
    assert {run.data.metrics["train_loss"] for name, run in found.items() if name != "toy"} == {
        k + 0.98 for k in range(16)
    }


def test_spools_and_store_tell_the_same_story(uri, tmp_path):
    with pytest.raises(RuntimeError), Spool(tmp_path / "a.jsonl", experiment="toy", rule="measure", key="k") as spool:
        spool.metrics({"loss": 1.0}, step=3)
        raise RuntimeError("gone")
    (run,) = from_spools([tmp_path])
    store.replay([tmp_path], uri)
    one = stored(uri)["measure k"]
    assert (one.info.start_time, one.info.end_time, one.info.status) == (run.start, run.end, FAILED)
    assert one.data.tags["cause"] == "RuntimeError: gone"
    client = MlflowClient(tracking_uri=uri)
    assert client.get_metric_history(one.info.run_id, "loss")[0].timestamp == run.start + 3
