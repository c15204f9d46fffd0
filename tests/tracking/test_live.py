"""Following spools that grow, and writing only what is new: the same rows in the end as one replay makes."""

import os

import pytest
from mlflow import MlflowClient

from sgdphases.tracking import address, limits, store
from sgdphases.tracking.follow import Follower, beginning
from sgdphases.tracking.live import Live
from sgdphases.tracking.runs import EXPERIMENT, from_spools, overview, standing
from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, RUNNING, WORKFLOW, Spool


def opened(path, key="k", rule="train"):
    return Spool(path, experiment="toy", rule=rule, key=key).__enter__()


def stored(uri):
    client = MlflowClient(tracking_uri=uri)
    found = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    return {run.info.run_name: run for run in found}


def test_only_what_changed_is_told(tmp_path):
    follower = Follower()
    follower.add([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    assert list(follower.changed()) == []
    first, second = opened(tmp_path / "a.jsonl", "a"), opened(tmp_path / "b.jsonl", "b")
    assert {run.name for run in follower.changed()} == {"train a", "train b"}
    assert list(follower.changed()) == []
    first.metrics({"loss": 1.0}, step=1)
    (run,) = follower.changed()
    assert (run.name, run.status, run.metrics) == ("train a", RUNNING, {("loss", 1): 1.0})
    first.end(FINISHED)
    assert [run.status for run in follower.changed()] == [FINISHED]
    assert not follower.settled
    second.end(KILLED, "tired")
    assert [(run.status, run.tags["cause"]) for run in follower.changed()] == [(KILLED, "tired")]
    assert follower.settled
    assert standing(follower.known()) == KILLED
    assert {run.name for run in follower.known()} == {"train a", "train b"}


def test_a_torn_line_is_read_when_it_is_whole_and_a_spool_made_anew_from_its_beginning(tmp_path):
    path = tmp_path / "a.jsonl"
    spool = opened(path)
    spool.metrics({"loss": 1.0}, step=1)
    whole = path.read_bytes()
    follower = Follower()
    follower.add([path])
    path.write_bytes(whole[:-20])
    assert [run.metrics for run in follower.changed()] == [{}]
    path.write_bytes(whole)
    assert [run.metrics for run in follower.changed()] == [{("loss", 1): 1.0}]
    spool.end(FINISHED)
    path.unlink()
    list(follower.changed())
    again = opened(path)
    again.tags({"turn": 2})
    again.end(FINISHED)
    assert [run.tags["turn"] for run in follower.changed()] == ["2"]


def test_a_job_that_resumes_is_followed_again(tmp_path):
    path = tmp_path / "a.jsonl"
    spool = opened(path)
    spool.metrics({"loss": 1.0}, step=1)
    spool.end(KILLED, "SIGTERM")
    follower = Follower()
    follower.add([path])
    assert [run.status for run in follower.changed()] == [KILLED]
    again = opened(path)
    again.metrics({"loss": 0.5}, step=2)
    (run,) = follower.changed()
    assert (run.status, run.tags["attempts"]) == (RUNNING, "2")
    again.end(FINISHED)
    (run,) = follower.changed()
    assert run == from_spools([path])[0]


def test_the_beginning_of_an_experiment(tmp_path):
    for key in ("a", "b"):
        opened(tmp_path / f"{key}.jsonl", key).end(FINISHED)
    runs = from_spools([tmp_path])
    assert beginning(tmp_path, "toy") == min(run.start for run in runs) == overview("toy", runs).start
    assert beginning(tmp_path, "other") is None


def test_the_invocation_is_a_tag(tmp_path, monkeypatch):
    monkeypatch.setenv(WORKFLOW, "20260101-000000-abcdef")
    opened(tmp_path / "a.jsonl").end(FINISHED)
    assert from_spools([tmp_path])[0].tags["workflow"] == "20260101-000000-abcdef"


@pytest.fixture
def live(uri):
    return Live(uri)


def test_growing_in_steps_ends_as_one_replay(live, uri, tmp_path):
    spool, follower = opened(tmp_path / "a.jsonl"), Follower()
    follower.add([tmp_path / "a.jsonl"])
    spool.params({"rate": 0.1})
    for step in range(5):
        spool.metrics({"loss": 1 / (step + 1), "sum": float(step)}, step=step)
        runs = list(follower.changed())
        waiting = {run.identity: run for run in (overview("toy", runs, status=RUNNING), *runs)}
        assert live.write(waiting, seconds=60)
        assert waiting == {}
        assert stored(uri)["train k"].data.metrics["sum"] == step
        assert {run.info.status for run in stored(uri).values()} == {RUNNING}
    spool.end(FAILED, "no more")
    runs = list(follower.changed())
    waiting = {run.identity: run for run in (overview("toy", runs, status=standing(runs)), *runs)}
    assert live.write(waiting, seconds=60)
    assert {run.info.status for run in stored(uri).values()} == {FAILED}
    before = {name: run.to_dictionary() for name, run in stored(uri).items() if name != "toy"}
    assert store.replay([tmp_path], uri).retired == 0
    assert {name: run.to_dictionary() for name, run in stored(uri).items() if name != "toy"} == before
    run_id = stored(uri)["train k"].info.run_id
    assert len(MlflowClient(tracking_uri=uri).get_metric_history(run_id, "loss")) == 5


def test_what_ended_otherwise_than_it_seemed_bears_no_old_cause(live, uri, tmp_path):
    path = tmp_path / "a.jsonl"
    opened(path).end(KILLED, "SIGTERM")
    store.replay([path], uri)
    assert stored(uri)["train k"].data.tags["cause"] == "SIGTERM"
    opened(path).end(FINISHED)
    (run,) = from_spools([path])
    assert live.write({run.identity: run}, seconds=60)
    assert set(limits.PASSING) & set(stored(uri)["train k"].data.tags) == set()


def test_others_get_their_turn(live, uri, tmp_path, monkeypatch):
    for key in "abc":
        opened(tmp_path / f"{key}.jsonl", key).end(FINISHED)
    waiting = {run.identity: run for run in from_spools([tmp_path])}
    assert live.write(waiting, seconds=0.0)
    assert len(waiting) == 2
    monkeypatch.setattr(address, "LOCK_SECONDS", 0.05)
    with address.one_writer(uri):
        assert not live.write(waiting, seconds=60)
    assert (len(waiting), live.trouble) == (2, "another writer uses it")
    assert live.write(waiting, seconds=60)
    assert len(stored(uri)) == 3


def test_a_run_that_the_store_refuses_keeps_no_other_back(live, uri, tmp_path, refusing):
    for key in "abc":
        opened(tmp_path / f"{key}.jsonl", key).end(FINISHED)
    waiting = {run.identity: run for run in from_spools([tmp_path])}
    runs = dict(waiting)
    with refusing("train a"):
        assert live.write(runs, seconds=60)
    assert (runs, set(stored(uri))) == ({}, {"train b", "train c"})
    assert list(live.refused.values()) == ["train a: Invalid value"]
    assert live.write(waiting, seconds=60)
    assert (len(stored(uri)), live.refused) == (3, {})


def test_a_replay_goes_on_past_what_the_store_refuses(uri, tmp_path, refusing, caplog):
    for key in "abc":
        opened(tmp_path / f"{key}.jsonl", key).end(FINISHED)
    with refusing("train a"):
        assert not store.replay([tmp_path], uri).complete
    assert set(stored(uri)) == {"toy", "train b", "train c"}
    assert "refuses train a: Invalid value" in caplog.text
    assert store.replay([tmp_path], uri).complete
    assert len(stored(uri)) == 4


@pytest.mark.parametrize("lost", ["run", "experiment"])
def test_what_somebody_deletes_while_it_is_written_is_made_again(live, uri, tmp_path, lost):
    spool, follower = opened(tmp_path / "a.jsonl", "a"), Follower()
    follower.add([tmp_path / "a.jsonl"])
    client = MlflowClient(tracking_uri=uri)
    for step in range(3):
        spool.metrics({"loss": float(step)}, step=step)
        assert live.write({run.identity: run for run in follower.changed()}, seconds=60)
        assert live.refused == {}
        found = stored(uri)["train a"].info
        if step == 1:
            client.delete_run(found.run_id) if lost == "run" else client.delete_experiment(found.experiment_id)
    assert len(client.get_metric_history(found.run_id, "loss")) == 3


@pytest.mark.parametrize("name", ["/loss", "a//b", "../x", ".", "a/.", "", "loss/train"])
def test_every_name_is_one_that_the_store_takes(live, uri, tmp_path, name):
    spool = opened(tmp_path / "a.jsonl", "a")
    spool.metrics({name: 1.0}, step=0)
    spool.end(FINISHED)
    assert live.write({run.identity: run for run in from_spools([tmp_path])}, seconds=60)
    assert live.refused == {}
    assert list(stored(uri)["train a"].data.metrics.values()) == [1.0]


def test_a_log_that_may_not_be_read_keeps_nothing_back(live, uri, tmp_path, monkeypatch):
    log = tmp_path / "a.log"
    log.write_text("secret")
    log.chmod(0)
    if os.getuid() == 0:  # who may read everything
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, *words, **known: path != log and access(path, *words, **known))
    spool = opened(tmp_path / "a.jsonl", "a")
    spool.artifact(log)
    spool.end(FINISHED)
    assert live.write({run.identity: run for run in from_spools([tmp_path])}, seconds=60)
    assert set(stored(uri)) == {"train a"}
    assert MlflowClient(tracking_uri=uri).list_artifacts(stored(uri)["train a"].info.run_id) == []


def test_a_run_that_another_writer_made_meanwhile_is_found(live, uri, tmp_path):
    opened(tmp_path / "a.jsonl", "a").end(FINISHED)
    first = {run.identity: run for run in from_spools([tmp_path])}
    assert live.write(first, seconds=60)
    opened(tmp_path / "b.jsonl", "b").end(FINISHED)
    store.replay([tmp_path], uri)
    count = len(stored(uri))
    again = {run.identity: run for run in from_spools([tmp_path])}
    assert live.write(again, seconds=60)
    assert len(stored(uri)) == count == 3
    assert {run.data.tags["kind"] for run in stored(uri).values()} >= {EXPERIMENT}


def test_a_store_that_was_deleted_is_noticed(live, uri, tmp_path):
    opened(tmp_path / "a.jsonl").end(FINISHED)
    (run,) = from_spools([tmp_path])
    live.write({run.identity: run}, seconds=60)
    assert not live.lost()
    (tmp_path / "tracking" / "mlflow.db").unlink()
    assert live.lost()
    assert live.write({run.identity: run}, seconds=60)
    assert set(stored(uri)) == {"train k"}
    assert not live.lost()
