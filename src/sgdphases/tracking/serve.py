"""Open the tracking store in the browser: MLflow's server, for this machine alone.

`python -m sgdphases.tracking.serve --uri results/tracking/mlflow.db` runs until Ctrl-C.
"""

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from sgdphases.tracking.address import absolute, artifacts, shown

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "PYTHONWARNINGS": "ignore",  # of the server's own libraries
}


def main(argv: list[str] | None = None) -> None:
    """Serve a store on 127.0.0.1 until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m sgdphases.tracking.serve", description=main.__doc__)
    parser.add_argument("--uri", required=True, help="the store: a database URI or the path of an SQLite file")
    parser.add_argument("--port", type=int, default=5000, help="the first port to try (default 5000)")
    args = parser.parse_args(argv)
    uri = absolute(args.uri)
    if uri.startswith(("http://", "https://")):
        log.info("The store is a server of its own: open %s", shown(uri))
        return
    if uri.startswith("sqlite:") and not Path(uri.removeprefix("sqlite:///")).exists():
        parser.exit(1, f"There is no store at {uri} yet; run an experiment first.\n")
    port = free_port(args.port)
    server = subprocess.Popen(command(uri, port), env=environment(os.environ, uri))
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        if _up(server, port):
            log.info("The tracking store is at http://%s:%d (Ctrl-C ends it)", HOST, port)
        server.wait()
    except KeyboardInterrupt:
        log.info("Closing")
    finally:
        server.terminate()
        server.wait(timeout=20)


def command(uri: str, port: int) -> list[str]:
    """The server's command line: one worker (several lose TCP_NODELAY and answer 40 ms later), local hosts only.

    Args:
        uri: The store's absolute URI.
        port: Port on 127.0.0.1.

    Returns:
        The words of the command.
    """
    hosts = ",".join(f"{name}{port_}" for name in ("127.0.0.1", "localhost") for port_ in ("", f":{port}"))
    words = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    words += ["--allowed-hosts", hosts, "--uvicorn-opts", "--log-level warning"]
    root = artifacts(uri)
    return words if root is None else [*words, "--artifacts-destination", root]


def environment(outer: Mapping[str, str], uri: str) -> dict[str, str]:
    """The server's environment: nothing is reported to anyone, no jobs, no pickles; and the store.

    Args:
        outer: The environment to begin with.
        uri: The store's absolute URI; here nobody reads the password that it may hold, unlike on a command line.

    Returns:
        The environment.
    """
    return {**outer, **QUIET, "MLFLOW_BACKEND_STORE_URI": uri}


def free_port(first: int) -> int:
    """The first port from `first` on that nothing listens on.

    Args:
        first: Where to begin.

    Returns:
        The port.

    Raises:
        OSError: If the next hundred are taken.
    """
    for port in range(first, first + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {first} and {first + 99}")


def _up(server: subprocess.Popen[bytes], port: int, patience: float = 120.0) -> bool:
    """Wait until the server answers; False if it ends or takes too long."""
    until = time.monotonic() + patience
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
