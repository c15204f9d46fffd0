"""A spool survives kills, damage and full disks, and never raises into the job."""

import errno
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.tracking import spool as spools
from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, RUNNING, Spool, alive, read

NAMES = {"experiment": "toy", "rule": "train", "key": "abc"}


def statuses(path: Path) -> list[str]:
    return [event["status"] for event in read(path) if event["event"] == "status"]


def identities(path: Path) -> list[dict]:
    return [event for event in read(path) if event["event"] == "identity"]


def job(path: Path, body: str) -> subprocess.Popen:
    """A process that enters a spool, says "ready", then runs `body`."""
    lines = [
        "import os, signal, sys, time",
        "from sgdphases.tracking.spool import Spool",
        # A test run in the background of a shell inherits that ctrl-c is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)",
        f"with Spool({str(path)!r}, experiment='toy', rule='train', key='abc') as spool:",
        "    print('ready', flush=True)",
        textwrap.indent(textwrap.dedent(body), "    "),
    ]
    return subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def ended(process: subprocess.Popen) -> int:
    with process:
        process.wait(timeout=20)
    return process.returncode


def test_events_come_back(tmp_path):
    path = tmp_path / "logs" / "train.jsonl"
    with Spool(path, **NAMES, code="f00", project=tmp_path) as spool:
        spool.params(
            {"learning_rate": np.float64(0.5), "widths": np.array([3, 2]), "dtype": "float64", "path": Path("x")}
        )
        spool.metrics({"train_loss": np.float32(0.25), "inf": float("inf"), "nan": float("nan")}, step=np.int64(7))
        spool.artifact(tmp_path / "figures" / "map.png", "figures")
        spool.artifact("/elsewhere/map.png")
        spool.dataset("digits", "d1", "sklearn")
        spool.tags({"phase": "ferro"})
        spool.note("**what**")
    identity, running, params, metrics, inside, outside, dataset, tags, note, finished = read(path)
    assert {name: identity[name] for name in (*NAMES, "code", "generation", "attempt", "format")} == {
        **NAMES, "code": "f00", "generation": 1, "attempt": 1, "format": 1,
    }  # fmt: skip
    assert abs(identity["started"] / 1000 - time.time()) < 60
    assert (running["status"], finished["status"]) == (RUNNING, FINISHED)
    assert params["values"] == {"learning_rate": 0.5, "widths": [3, 2], "dtype": "float64", "path": "x"}
    assert (metrics["step"], metrics["values"]["train_loss"], metrics["values"]["inf"]) == (7, 0.25, float("inf"))
    assert np.isnan(metrics["values"]["nan"])
    assert (inside["path"], inside["folder"]) == ("figures/map.png", "figures")
    assert outside["path"] == "/elsewhere/map.png"
    assert (dataset["name"], dataset["digest"], dataset["source"]) == ("digits", "d1", "sklearn")
    assert tags["values"] == {"phase": "ferro"}
    assert note["text"] == "**what**"


def test_a_silent_spool_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Spool(None, **NAMES) as spool:
        spool.params({"a": 1})
        spool.metrics({"a": 1.0}, step=1)
    assert not list(tmp_path.iterdir())


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=8), st.floats(allow_nan=False), st.integers(0, 10**9)),
        max_size=12,
        unique_by=lambda x: x[2],
    )
)
def test_every_metric_comes_back_as_it_was(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("spool") / "a.jsonl"
    with Spool(path, **NAMES) as spool:
        for name, value, step in written:
            spool.metrics({name: value}, step=step)
    found = [(*event["values"].items(), event["step"]) for event in read(path) if event["event"] == "metrics"]
    assert found == [((name, value), step) for name, value, step in written]


def test_a_resumed_job_keeps_its_start_and_a_finished_one_begins_anew(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    clock = iter(range(1000, 2000))
    monkeypatch.setattr(spools, "_now", lambda: next(clock))
    with pytest.raises(RuntimeError), Spool(path, **NAMES, code="1"):
        raise RuntimeError("no")
    for code in ("1", "1", "2"):
        with Spool(path, **NAMES, code=code):
            pass
    first, resumed, again, recoded = identities(path)
    assert (resumed["started"], resumed["generation"], resumed["attempt"]) == (first["started"], 1, 2)
    assert again["started"] > first["started"]
    assert (again["generation"], again["attempt"]) == (2, 1)
    assert (recoded["generation"], recoded["attempt"], recoded["code"]) == (3, 1, "2")
    assert statuses(path) == [RUNNING, FAILED, RUNNING, FINISHED, RUNNING, FINISHED, RUNNING, FINISHED]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("bad"), FAILED),
        (KeyboardInterrupt(), KILLED),
        (SystemExit(0), FINISHED),
        (SystemExit(3), FAILED),
        (SystemExit(128 + signal.SIGTERM), KILLED),
    ],
)
def test_how_a_job_ends(tmp_path, error, status):
    path = tmp_path / "a.jsonl"
    with pytest.raises(type(error)), Spool(path, **NAMES):
        raise error
    assert statuses(path) == [RUNNING, status]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_written_and_still_ends_the_process(tmp_path, number):
    path = tmp_path / "a.jsonl"
    process = job(path, "time.sleep(60)")
    process.stdout.readline()
    process.send_signal(number)
    assert ended(process) == -number
    assert set(statuses(path)[1:]) == {KILLED}


def test_the_earlier_handler_gets_its_turn_and_comes_back(tmp_path):
    path = tmp_path / "a.jsonl"
    seen = []
    earlier = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        mine = signal.getsignal(signal.SIGTERM)
        with Spool(path, **NAMES):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
        assert seen == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, earlier)
    assert statuses(path) == [RUNNING, KILLED, FINISHED]  # the handler chose to go on, and the job came to its end


def test_a_handler_that_exits_means_killed(tmp_path):
    path = tmp_path / "a.jsonl"
    body = "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"
    handler = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(17))\n"
    text = f"import os, signal, sys, time\n{handler}from sgdphases.tracking.spool import Spool\n"
    text += f"with Spool({str(path)!r}, experiment='toy', rule='train', key='abc'):\n    {body}\n"
    assert subprocess.run([sys.executable, "-c", text], check=False, timeout=20).returncode == 17
    assert statuses(path)[-1] == KILLED


def test_a_forked_child_does_not_write_the_parents_end(tmp_path):
    path = tmp_path / "a.jsonl"
    body = """
        child = os.fork()
        if child == 0:
            time.sleep(60)
        time.sleep(0.2)
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
    """
    assert ended(job(path, body)) == 0
    assert statuses(path) == [RUNNING, FINISHED]


def test_kill_9_loses_nothing_written_and_tells_the_living_from_the_dead(tmp_path):
    path = tmp_path / "a.jsonl"
    process = job(path, "for step in range(10**9): spool.metrics({'train_loss': step / 3}, step=step)")
    process.stdout.readline()
    while len(read(path)) < 200:
        time.sleep(0.01)
    assert alive(path)
    process.kill()
    ended(process)
    assert not alive(path)
    steps = [event["step"] for event in read(path) if event["event"] == "metrics"]
    assert steps == list(range(len(steps)))
    with Spool(path, **NAMES) as spool:
        spool.metrics({"train_loss": 0.0}, step=10**9)
        assert alive(path)
    assert read(path)[-2]["step"] == 10**9
    assert [event["attempt"] for event in identities(path)] == [1, 2]


@pytest.fixture
def nfs(monkeypatch):
    """Locks as NFSv4 gives them: an exclusive one to those who may write, a shared one to those who may read."""
    granted = fcntl.flock

    def flock(file, operation: int) -> None:
        refused = os.O_RDONLY if operation & fcntl.LOCK_EX else os.O_WRONLY if operation & fcntl.LOCK_SH else None
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == refused:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        granted(file, operation)

    monkeypatch.setattr(spools.fcntl, "flock", flock)


@pytest.mark.usefixtures("nfs")
def test_a_silent_job_on_nfs_lives_and_a_dead_one_does_not(tmp_path):
    path = tmp_path / "a.jsonl"
    with Spool(path, **NAMES):
        os.utime(path, (0, 0))
        assert alive(path)
    assert not alive(path)  # though it was written to just now
    assert statuses(path) == [RUNNING, FINISHED]


@pytest.mark.usefixtures("nfs")
@pytest.mark.parametrize("reason", [errno.EACCES, errno.EROFS])
def test_a_colleagues_job_on_nfs_counts_as_alive_for_an_hour(tmp_path, monkeypatch, reason):
    path = tmp_path / "a.jsonl"
    with Spool(path, **NAMES):
        pass
    granted = os.open

    def to_read_only(file, flags: int) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(reason, os.strerror(reason))
        return granted(file, flags)

    monkeypatch.setattr(spools.os, "open", to_read_only)
    assert alive(path)
    os.utime(path, (0, 0))
    assert not alive(path)


def test_a_torn_line_is_left_out_and_the_next_attempt_is_whole(tmp_path, caplog):
    path = tmp_path / "a.jsonl"
    with pytest.raises(RuntimeError), Spool(path, **NAMES) as spool:
        spool.metrics({"a": 1.0}, step=1)
        raise RuntimeError
    whole = path.read_bytes()
    count = len(read(path))
    for cut in range(len(whole.splitlines(keepends=True)[-1])):
        path.write_bytes(whole[: len(whole) - cut])
        assert len(read(path)) == count - (cut > 1)  # without its line end alone, the line is whole
    path.write_bytes(whole[:-20])
    assert not caplog.records
    with Spool(path, **NAMES) as spool:
        spool.metrics({"a": 2.0}, step=2)
    assert [event["values"]["a"] for event in read(path) if event["event"] == "metrics"] == [1.0, 2.0]
    assert [event["attempt"] for event in identities(path)] == [1, 2]
    assert "torn or damaged" in caplog.text


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_never_gives_a_wrong_number(tmp_path, seed, caplog):
    path = tmp_path / "a.jsonl"
    with Spool(path, **NAMES) as spool:
        for step in range(20):
            spool.metrics({"train_loss": 1 / (step + 1)}, step=step)
    good = [json.dumps(event) for event in read(path)]
    data = bytearray(path.read_bytes())
    place = int(np.random.default_rng(seed).integers(len(data) * 8))
    data[place // 8] ^= 1 << (place % 8)
    path.write_bytes(data)
    found = [json.dumps(event) for event in read(path)]
    assert len(found) >= len(good) - 2
    assert all(event in good for event in found)
    assert found != good


def test_a_full_disk_costs_one_warning(caplog):
    with caplog.at_level(logging.WARNING), Spool("/dev/full", **NAMES) as spool:
        for step in range(5):
            spool.metrics({"a": 1.0}, step=step)
    assert len(caplog.records) == 1
    assert "the job goes on" in caplog.text


def test_a_forbidden_folder_costs_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with Spool(tmp_path / "file" / "a.jsonl", **NAMES) as spool:
        spool.params({"a": 1})
    assert len(caplog.records) == 1


def test_values_nobody_can_write_cost_a_warning(tmp_path, caplog):
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    path = tmp_path / "a.jsonl"
    with Spool(path, **NAMES) as spool:
        spool.params({"odd": Odd()})
        spool.metrics({"odd": "many", "even": 2}, step=1)
        spool.artifact(None)
    assert len(caplog.records) == 1
    assert [event["values"] for event in read(path) if event["event"] == "metrics"] == [{"even": 2.0}]


def test_an_event_costs_microseconds(tmp_path):
    with Spool(tmp_path / "a.jsonl", **NAMES) as spool:
        best = float("inf")
        for _ in range(20):
            start = time.perf_counter()
            for step in range(100):
                spool.metrics({"train_loss": 0.1, "alive": 1.0}, step=step)
            best = min(best, (time.perf_counter() - start) / 100)
    assert best < 100e-6
