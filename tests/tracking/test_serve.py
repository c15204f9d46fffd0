"""The server is for this machine alone and leaves nothing running."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from sgdphases.tracking import serve


def test_the_command_is_local_and_quiet(tmp_path, monkeypatch):
    words = serve.command(f"sqlite:///{tmp_path}/mlflow.db", 5123)
    pairs = dict(zip(words, words[1:], strict=False))
    assert (pairs["--host"], pairs["--workers"], pairs["--port"]) == ("127.0.0.1", "1", "5123")
    assert pairs["--allowed-hosts"] == "127.0.0.1,127.0.0.1:5123,localhost,localhost:5123"
    assert pairs["--artifacts-destination"] == f"file://{tmp_path}/artifacts"
    monkeypatch.chdir(tmp_path)
    assert f"file://{tmp_path}/results/tracking/artifacts" in serve.command("postgresql://host/db", 5123)
    own = serve.environment({"A": "1"}, "postgresql://me:secret@host/db")
    assert (own["A"], own["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"]) == ("1", "false")
    assert own["MLFLOW_BACKEND_STORE_URI"] == "postgresql://me:secret@host/db"
    assert "secret" not in " ".join(serve.command("postgresql://me:secret@host/db", 5123))


def test_a_taken_port_is_passed_over():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert serve.free_port(port) > port


def test_no_store_is_a_clear_message(tmp_path, capsys):
    with pytest.raises(SystemExit):
        serve.main(["--uri", str(tmp_path / "mlflow.db")])
    assert "run an experiment first" in capsys.readouterr().err


def test_a_server_needs_no_server(caplog):
    with caplog.at_level("INFO"):
        serve.main(["--uri", "http://host:1"])
    assert "open http://host:1" in caplog.text


@pytest.mark.slow
def test_it_answers_here_and_ends(uri):
    command = [sys.executable, "-m", "sgdphases.tracking.serve", "--uri", uri, "--port", "5961"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        line = next(line for line in process.stderr if "store is at" in line)
        address = next(word for word in line.split() if word.startswith("http"))
        with urllib.request.urlopen(f"{address}/version", timeout=10) as answer:
            assert answer.status == 200
        foreign = urllib.request.Request(
            f"{address}/api/2.0/mlflow/experiments/search", headers={"Host": "evil.example"}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(foreign, timeout=10)
        refused.value.close()
        assert refused.value.code == 403
        group = os.getpgid(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    with pytest.raises(ProcessLookupError):  # no process of its group is left
        os.killpg(group, 0)
