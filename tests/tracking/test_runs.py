"""Runs as told by spools: resumed attempts are one run, a new code replaces, the dead are known."""

import os

import pytest

from sgdphases.tracking import spool as spools
from sgdphases.tracking.runs import JOB, Run, content, digest, from_events, from_spools, overview, text
from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, RUNNING, Spool, read


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    ticks = iter(range(1000, 10**6))
    monkeypatch.setattr(spools, "_now", lambda: next(ticks))


def wrote(path, *, code="", key="k", fail=False, **metrics):
    try:
        with Spool(path, experiment="toy", rule="train", key=key, code=code) as spool:
            for name, values in metrics.items():
                for step, value in enumerate(values):
                    spool.metrics({name: value}, step=step)
            if fail:
                raise RuntimeError("no")
    except RuntimeError:
        pass


def test_a_resumed_job_is_one_run_whose_first_word_about_a_step_counts(tmp_path):
    wrote(tmp_path / "a.jsonl", loss=[1.0, 0.5], fail=True)
    wrote(tmp_path / "a.jsonl", loss=[1.0, 0.6, 0.25])
    (run,) = from_spools([tmp_path])
    assert run.metrics == {("loss", 0): 1.0, ("loss", 1): 0.5, ("loss", 2): 0.25}
    assert (run.status, run.start, run.tags["attempts"], run.name) == (FINISHED, 1000, "2", "train k")


@pytest.mark.parametrize(
    ("key", "name"), [("0123456789abcdef", "train 01234567"), ("decay_of_the_spread", "train decay_of_the_spread")]
)
def test_names_cut_digests_and_nothing_else(tmp_path, key, name):
    wrote(tmp_path / "a.jsonl", key=key)
    assert from_spools([tmp_path])[0].name == name


def test_a_finished_job_that_runs_again_says_something_new(tmp_path):
    wrote(tmp_path / "a.jsonl", loss=[1.0, 0.5, 0.1])
    first = from_spools([tmp_path])[0]
    wrote(tmp_path / "a.jsonl", loss=[2.0, 1.5])
    (run,) = from_spools([tmp_path / "a.jsonl"])
    assert run.metrics == {("loss", 0): 2.0, ("loss", 1): 1.5, ("loss", 2): 0.1}
    assert run.identity == first.identity
    assert run.revision != first.revision
    assert run.start > first.start


def test_another_code_forgets_what_the_earlier_wrote(tmp_path):
    wrote(tmp_path / "a.jsonl", code="1", loss=[1.0, 0.5])
    wrote(tmp_path / "a.jsonl", code="2", loss=[3.0])
    (run,) = from_spools([tmp_path])
    assert run.metrics == {("loss", 0): 3.0}
    assert run.tags["code"] == "2"


def test_who_fell_silent_was_killed(tmp_path):
    wrote(tmp_path / "a.jsonl", loss=[1.0])
    events = read(tmp_path / "a.jsonl")[:-1]
    (dead,), (living,) = from_events(events, running=False), from_events(events, running=True)
    assert (dead.status, dead.tags["cause"]) == (KILLED, "ended without a word")
    assert (living.status, living.end) == (RUNNING, None)
    assert from_events(events[:1])[0].status == KILLED
    assert from_events([]) == []
    wrote(tmp_path / "b.jsonl", key="j", fail=True)
    failed = from_spools([tmp_path / "b.jsonl"])[0]
    assert (failed.status, failed.tags["cause"]) == (FAILED, "RuntimeError: no")


def test_the_last_word_counts_for_everything_but_metrics_and_params(tmp_path):
    with Spool(tmp_path / "a.jsonl", experiment="toy", rule="fit", key="", project=tmp_path) as spool:
        for turn in (1, 2):
            spool.params({"turn": turn, "rate": 0.1, "axes": ["a", 1]})
            spool.tags({"turn": turn})
            spool.note(f"turn {turn}")
            spool.artifact(tmp_path / "map.png", f"turn{turn}")
            spool.dataset("digits", f"d{turn}", "here")
    (run,) = from_spools([tmp_path])
    assert run.params == {"turn": "1", "rate": "0.1", "axes": '["a", 1]'}
    assert run.tags["turn"] == "2"
    assert (run.note, run.artifacts, run.datasets) == ("turn 2", (("map.png", "turn2"),), {"digits": ("d2", "here")})
    assert run.name == "fit"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_spool_is_left_out(tmp_path, caplog):
    wrote(tmp_path / "a.jsonl", loss=[1.0])
    (tmp_path / "a.jsonl").chmod(0)
    assert from_spools([tmp_path]) == []
    assert "cannot be read" in caplog.text


def test_a_missing_spool_is_left_out(tmp_path, caplog):
    assert from_spools([tmp_path / "no.jsonl"]) == []
    assert "cannot be read" in caplog.text


def test_the_parent_spans_its_jobs():
    jobs = [
        Run(kind=JOB, experiment=name, key=str(k), name="", start=10 + k, end=20 + k, datasets={name: ("d", "here")})
        for name in "ab"
        for k in (0, 5)
    ]
    parent = overview("a", jobs, start=3, tags={"x": "y"})
    assert (parent.start, parent.end, parent.tags, parent.name) == (10, 25, {"x": "y"}, "a")
    assert parent.datasets == {"a": ("d", "here")}
    assert (overview("c", jobs, start=3).start, overview("c", jobs, start=3).end) == (3, 3)


def test_content_sees_files_and_words_but_not_the_start(tmp_path):
    run = {"kind": JOB, "experiment": "a", "key": "", "name": "a", "artifacts": (("f", ""),)}
    before = content(Run(**run, start=1), tmp_path)
    assert content(Run(**run, start=2), tmp_path) == before
    assert content(Run(**run, start=1, params={"a": "1"}), tmp_path) != before
    (tmp_path / "f").write_text("1")
    assert content(Run(**run, start=1), tmp_path) != before


@pytest.mark.parametrize(
    ("value", "expected"), [(0.1 + 0.2, "0.3"), (4, "4"), ("a b", "a b"), (None, "null"), (True, "true")]
)
def test_text(value, expected):
    assert text(value) == expected


def test_digests_know_order_only_where_it_matters():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest([1, 2]) != digest([2, 1])
