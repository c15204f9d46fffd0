"""Real servers on 127.0.0.1 for tests and benchmarks: PostgreSQL, `mlflow server`, and a proxy that makes one slow.

Nothing here is started unless a test asks for it. What is not installed skips the test and says what to install; where
the variable `SGDPHASES_REQUIRE_SERVERS` is set, the test fails instead.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NoReturn, Self

import pytest

from sgdphases.tracking import serve

REQUIRE_SERVERS = "SGDPHASES_REQUIRE_SERVERS"
HOST = "127.0.0.1"
ADMINISTRATOR = "postgres"
ACCESS = f"host all {ADMINISTRATOR} {HOST}/32 trust\nhost all all {HOST}/32 scram-sha-256\n"


def missing(what: str) -> NoReturn:
    """Skip the test for want of something; fail it where servers are required."""
    if os.environ.get(REQUIRE_SERVERS):
        pytest.fail(f"{REQUIRE_SERVERS} is set, yet {what}")
    pytest.skip(f"{what} ({REQUIRE_SERVERS}=1 makes this a failure)")


def programs() -> Path:
    """Folder of PostgreSQL's programs, the newest version's."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = shutil.which("initdb")
    folders = [*([Path(found).resolve().parent] if found else []), *folders]
    whole = [folder for folder in folders if (folder / "pg_ctl").exists() and (folder / "initdb").exists()]
    return whole[-1] if whole else missing("PostgreSQL (initdb, pg_ctl) is not installed")


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Postgres:
    """A PostgreSQL cluster of one's own. Its administrator needs no password here; everybody else does."""

    def __init__(self) -> None:
        for module in ("psycopg2", "flask_wtf"):
            if importlib.util.find_spec(module) is None:
                missing(f"the Python package {module.replace('_', '-')} is not installed")
        self.bin, self.port = programs(), free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="sgdphases-postgres-"))
        # PostgreSQL refuses root, so root gives the folder to the user that the package made.
        self.user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self.user = {"user": ADMINISTRATOR, "group": ADMINISTRATOR, "extra_groups": []}
            shutil.chown(self.folder, ADMINISTRATOR, ADMINISTRATOR)
        self._run("initdb", "-U", ADMINISTRATOR, "-A", "trust", "-E", "UTF8", "--no-sync")
        (self.folder / "data" / "pg_hba.conf").write_text(ACCESS)

    def _run(self, program: str, *words: str) -> None:
        command = [str(self.bin / program), "-D", str(self.folder / "data"), *words]
        with open(self.folder.with_suffix(".log"), "a") as out:
            subprocess.run(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=True, cwd="/", timeout=60, **self.user
            )

    def start(self) -> Self:
        """Start it; done when it answers."""
        options = f"-c listen_addresses={HOST} -p {self.port} -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "-w", "-o", options, "-l", str(self.folder / "log"), "start")
        return self

    def stop(self, how: str = "fast") -> None:
        """Stop it: fast (connections are cut) or immediate (as a crash would)."""
        self._run("pg_ctl", "-w", "-m", how, "stop")

    def uri(self, database: str) -> str:
        """The address of a database, for its administrator."""
        return f"postgresql+psycopg2://{ADMINISTRATOR}@{HOST}:{self.port}/{database}"

    def rows(self, database: str, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What a query gives; an empty list for commands."""
        import psycopg2

        connection = psycopg2.connect(host=HOST, port=self.port, user=ADMINISTRATOR, dbname=database)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query, values)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def create(self, database: str) -> str:
        """Make an empty database; its address."""
        self.rows("postgres", f"create database {database}")
        return self.uri(database)

    def remove(self) -> None:
        """Stop it, if it runs, and delete its folder."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder)
        self.folder.with_suffix(".log").unlink()


class Server:
    """A `mlflow server` with artifacts through it, one worker, in a session of its own."""

    def __init__(self, store: str, folder: Path, *, port: int | None = None) -> None:
        self.store, self.folder = store, folder
        self.port = free_port() if port is None else port
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> Self:
        """Start it; done when it answers."""
        hosts = f"{HOST}:*"  # a proxy in front has a port of its own
        words = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(self.port), "--workers", "1"]
        words += [
            "--allowed-hosts",
            hosts,
            "--serve-artifacts",
            "--artifacts-destination",
            str(self.folder / "artifacts"),
        ]
        with open(self.folder / "server.log", "ab") as out:
            self.process = subprocess.Popen(
                words, env=serve.environment(os.environ, self.store), cwd=self.folder, stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        await_answer(f"{self.uri}/health", self.process, self.folder / "server.log")
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and its workers by a signal to all of them."""
        if self.process is not None:
            os.killpg(self.process.pid, number)
            self.process.wait(timeout=30)
            self.process = None


def await_answer(address: str, process: subprocess.Popen[Any], log: Path, patience: float = 120) -> None:
    """Wait until a server answers; its log is the complaint if it ends or takes too long."""
    until = time.monotonic() + patience
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"{address} does not answer: {log.read_text()[-3000:]}")


class SlowProxy:
    """A TCP proxy that holds every answer back for `delay` seconds; questions pass at once.

    Args:
        port: The port on 127.0.0.1 that it stands before.
        delay: Seconds per answer; may be changed while it runs.
    """

    def __init__(self, port: int, delay: float) -> None:
        self.target, self.delay, self.answers = port, delay, 0
        self.listener = socket.create_server((HOST, 0))
        self.uri = f"http://{HOST}:{self.listener.getsockname()[1]}"
        self._open: list[socket.socket] = [self.listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Cut all connections and listen no more."""
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                try:
                    far = socket.create_connection((HOST, self.target))
                except OSError:
                    near.close()
                    continue
                self._open += [near, far]
                asked = threading.Event()
                threading.Thread(target=self._pump, args=(near, far, asked, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, asked, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, asked: threading.Event, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if not answers:
                    asked.set()
                elif asked.is_set():
                    asked.clear()
                    self.answers += 1
                    time.sleep(self.delay)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


class Held:
    """An SQLite store that another process keeps locked.

    Args:
        uri: The store's.
        how: exclusive (nobody reads or writes) or immediate (nobody writes).
    """

    PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(f"begin {sys.argv[2]}")
print("held", flush=True)
sys.stdin.readline()
"""

    def __init__(self, uri: str, how: str) -> None:
        words = [sys.executable, "-c", self.PROGRAM, uri.removeprefix("sqlite:///"), how]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"held\n"

    def release(self) -> None:
        """Give the lock back."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=30)
