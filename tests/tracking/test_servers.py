"""Replaying into real servers: nothing lost, nothing twice, statuses true, whatever is down, killed, slow or locked."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from made_servers import Held, Postgres, Server, SlowProxy, free_port
from made_stories import ENDINGS, FAIL, FINISH, WAIT, Story, Verdict, compare, sqlite_rows, start, tell
from sgdphases.tracking import store
from sgdphases.tracking.spool import KILLED, RUNNING, Spool

pytestmark = pytest.mark.systems

WHOLE = Verdict()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this file's own."""
    cluster = Postgres()
    try:
        cluster.start().create("tracking")
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def one_server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on it."""
    server = Server(postgres.uri("tracking"), tmp_path_factory.mktemp("server"))
    yield server
    server.end()


@pytest.fixture
def server(one_server: Server) -> Server:
    """The server, running, whatever the test before did to it."""
    return one_server if one_server.process is not None else one_server.start()


@pytest.fixture
def told(postgres: Postgres) -> Callable[[Story], Verdict]:
    """Compares the database with a story."""
    return lambda story: compare(story, lambda query: postgres.rows("tracking", query))


def points(postgres: Postgres, experiment: str) -> int:
    """Points of an experiment that the database holds now."""
    query = "select count(*) from metrics join runs using (run_uuid) join experiments e using (experiment_id)"
    return postgres.rows("tracking", f"{query} where e.name = %s", (experiment,))[0][0]


def replaying(spools: Path, uri: str) -> tuple[threading.Thread, list[store.Report]]:
    """A replay that goes on beside the test, and its report to be."""
    reports: list[store.Report] = []
    thread = threading.Thread(target=lambda: reports.append(store.replay([spools], uri)))
    thread.start()
    return thread, reports


def until(condition: Callable[[], bool], patience: float = 60.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_down_from_the_start(one_server, told, tmp_path, caplog):
    server = one_server
    server.end()
    story = tell(tmp_path, "down", range(6), steps=50)
    began = time.monotonic()
    assert store.replay([tmp_path], server.uri) == store.Report(False)
    assert time.monotonic() - began < 20
    assert "wait for the next replay" in caplog.text
    server.start()
    assert told(story).lost == 600 + 6
    assert store.replay([tmp_path], server.uri) == store.Report(True, created=7)
    assert told(story) == WHOLE


def test_many_spools_and_a_file_through_the_server(server, told, tmp_path):
    story = tell(tmp_path / "spools", "many", range(24), steps=150)
    file = tmp_path / "map.png"
    file.write_bytes(bytes(range(256)) * 40)
    with Spool(tmp_path / "spools" / "024.jsonl", experiment="many", rule="draw", key="024") as spool:
        spool.artifact(file, "figures")
        spool.dataset("digits", "d" * 40, "scikit-learn")
    story.add("024", 0)
    assert store.replay([tmp_path / "spools"], server.uri) == store.Report(True, created=26)
    assert told(story) == WHOLE
    assert store.replay([tmp_path / "spools"], server.uri) == store.Report(True, unchanged=26)
    client = MlflowClient(tracking_uri=server.uri)
    experiment = client.get_experiment_by_name("many")
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    (drawn,) = client.search_runs([experiment.experiment_id], "tags.rule = 'draw'")
    copy = client.download_artifacts(drawn.info.run_id, "figures/map.png", str(tmp_path))
    assert Path(copy).read_bytes() == file.read_bytes()
    assert [known.dataset.name for known in drawn.inputs.dataset_inputs] == ["digits"]


def test_killed_in_the_middle_and_started_again(server, postgres, told, tmp_path):
    story = tell(tmp_path, "killed", range(20), steps=400)
    thread, reports = replaying(tmp_path, server.uri)
    until(lambda: points(postgres, "killed") >= 4000)
    server.end(signal.SIGKILL)
    thread.join(timeout=60)
    assert reports == [store.Report(False)]
    assert 4000 <= points(postgres, "killed") < 16_000
    server.start()
    assert store.replay([tmp_path], server.uri).complete
    assert told(story) == WHOLE
    assert store.replay([tmp_path], server.uri) == store.Report(True, unchanged=21)


def test_the_database_stops_under_the_server(server, postgres, told, tmp_path):
    story = tell(tmp_path, "headless", range(20), steps=400)
    thread, reports = replaying(tmp_path, server.uri)
    until(lambda: points(postgres, "headless") >= 4000)
    postgres.stop("immediate")
    thread.join(timeout=200)
    assert reports == [store.Report(False)]
    postgres.start()
    assert 4000 <= points(postgres, "headless") < 16_000
    assert store.replay([tmp_path], server.uri).complete  # the same server: it connects anew
    assert told(story) == WHOLE


def test_a_database_without_a_server(server, postgres, told, tmp_path, monkeypatch):
    """Written to directly, with files in the project's folder; down, it costs seconds."""
    monkeypatch.chdir(tmp_path)
    story = tell(tmp_path / "spools", "direct", range(2), steps=20)
    file = tmp_path / "map.png"
    file.write_bytes(b"png")
    with Spool(tmp_path / "spools" / "002.jsonl", experiment="direct", rule="draw", key="002") as spool:
        spool.artifact(file, "figures")
    story.add("002", 0)
    uri = postgres.uri("tracking")
    assert store.replay([tmp_path / "spools"], uri).complete
    assert told(story) == WHOLE
    assert [path.name for path in (tmp_path / "results" / "tracking" / "artifacts" / "direct").rglob("*.png")] == [
        "map.png"
    ]
    assert not (tmp_path / "mlruns").exists()
    began = time.monotonic()
    nobody = uri.replace(str(postgres.port), str(free_port()))
    assert store.replay([tmp_path / "spools"], nobody) == store.Report(False)
    assert time.monotonic() - began < 15


@pytest.mark.slow
def test_the_page_of_a_database(postgres, server, tmp_path):
    """`make ui` with a database's address serves it on loopback and ends with the terminal's wish."""
    tell(tmp_path, "page", range(1), steps=3)
    assert store.replay([tmp_path], server.uri).complete
    words = [sys.executable, "-m", "sgdphases.tracking.serve", "--uri", postgres.uri("tracking"), "--port", "5971"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as page:
        line = next(line for line in page.stderr if "store is at" in line)
        address = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
        assert MlflowClient(tracking_uri=address).get_experiment_by_name("page") is not None
        page.send_signal(signal.SIGINT)
        page.wait(timeout=60)


@pytest.mark.parametrize("delay", [0.2, pytest.param(1.0, marks=pytest.mark.slow)])
def test_slow_answers_cost_the_writer_time_and_the_job_none(server, told, tmp_path, delay):
    name = f"slow{delay:.0f}"
    story = tell(tmp_path, name, range(1, 3), steps=100)
    proxy = SlowProxy(server.port, delay)
    try:
        began = time.monotonic()
        thread, reports = replaying(tmp_path, proxy.uri)
        written = []
        with Spool(tmp_path / "000.jsonl", experiment=name, rule="train", key="000") as spool:
            for step in range(200):
                before = time.monotonic()
                spool.metrics({"train_loss": 1 / (step + 1), "alive_share": 1.0}, step=step)
                written.append(time.monotonic() - before)
        thread.join(timeout=120)
        assert reports[0].complete
        assert time.monotonic() - began >= delay * proxy.answers > 10 * delay
        assert sorted(written)[len(written) // 2] < 1e-3
        story.add("000", 200)
        assert store.replay([tmp_path], proxy.uri).complete
        assert told(story) == WHOLE
    finally:
        proxy.close()


def test_a_server_that_never_answers_is_given_up(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    tell(tmp_path, "silent", range(1), steps=5)
    proxy = SlowProxy(server.port, 600)
    try:
        began = time.monotonic()
        assert store.replay([tmp_path], proxy.uri) == store.Report(False)
        assert time.monotonic() - began < 30
    finally:
        proxy.close()
    assert "wait for the next replay" in caplog.text


def test_two_machines_write_at_once(server, told, tmp_path):
    """Their locks do not see each other; what both made is put right before the last of them ends."""
    story = tell(tmp_path / "spools", "two", range(12), steps=100)
    program = (
        "import sys, time; from sgdphases.tracking import store; print('ready', flush=True); sys.stdin.readline();"
        f"print(store.replay([{str(tmp_path / 'spools')!r}], {server.uri!r}).complete)"
    )
    writers = []
    for machine in ("one", "other"):
        (tmp_path / machine).mkdir()
        writers.append(
            subprocess.Popen(
                [sys.executable, "-c", program],
                env={**os.environ, "TMPDIR": str(tmp_path / machine)},
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )  # fmt: skip
        )
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    said = [writer.communicate(timeout=60) for writer in writers]
    assert any(out == "True\n" for out, _ in said), said
    assert told(story) == WHOLE  # whoever looks last sees both, and leaves one
    assert store.replay([tmp_path / "spools"], server.uri).complete
    assert told(story) == WHOLE
    assert store.replay([tmp_path / "spools"], server.uri) == store.Report(True, unchanged=13)


def test_sixty_four_spools_at_once(server, told, tmp_path):
    """Jobs that finish, fail, are asked to end and are killed, all while the writer replays."""
    endings = (FINISH, FAIL, WAIT, WAIT)
    jobs = [start(tmp_path, "crowd", k, steps=25, pause=0.02, ending=endings[k % 4]) for k in range(64)]
    story = Story("crowd")
    try:
        replays = 0
        while any(job.poll() is None for job in jobs[0::4]):
            assert store.replay([tmp_path], server.uri).complete
            replays += 1
        assert replays >= 1
        for job in jobs:
            job.stdout.readline()
        assert store.replay([tmp_path], server.uri).complete
        for key in range(64):
            story.add(f"{key:03}", 25, RUNNING if key % 4 >= 2 else ENDINGS[endings[key % 4]])
        assert told(story) == WHOLE  # two kinds still run
        for number, sort in ((signal.SIGTERM, 2), (signal.SIGKILL, 3)):
            for key, job in enumerate(jobs):
                if key % 4 == sort:
                    job.send_signal(number)
                    story.statuses[f"{key:03}"] = KILLED
    finally:
        for job in jobs:
            job.kill() if job.poll() is None and sys.exc_info()[0] else None
            job.wait(timeout=30)
            job.stdout.close()
    assert [jobs[k].returncode for k in range(4)] == [0, 1, -signal.SIGTERM, -signal.SIGKILL]
    assert store.replay([tmp_path], server.uri).complete  # what a stale run's spool says is put right here
    assert told(story) == WHOLE
    assert store.replay([tmp_path], server.uri) == store.Report(True, unchanged=65)


@pytest.mark.parametrize(
    ("how", "seconds"),
    [
        ("exclusive", 2),
        pytest.param("immediate", None, marks=pytest.mark.slow),
        pytest.param("exclusive", None, marks=pytest.mark.slow),
    ],
)
def test_sqlite_locked_by_another_process(uri, tmp_path, how, seconds, caplog):
    """A lock that is given back is waited for; one that is not costs a warning, and nothing is lost."""
    story = tell(tmp_path / "spools", "locked", range(3), steps=50)
    store.prepare(uri, None, ["locked"])
    held = Held(uri, how)
    try:
        thread, reports = replaying(tmp_path / "spools", uri)
        thread.join(timeout=seconds or 150)
        assert thread.is_alive() == (seconds is not None)
    finally:
        held.release()
    thread.join(timeout=60)
    assert reports[0].complete == (seconds is not None)
    assert ("locked" in caplog.text) == (seconds is None)
    assert store.replay([tmp_path / "spools"], uri).complete
    assert compare(story, sqlite_rows(uri)) == WHOLE
