"""A little web server that can be told to misbehave, and a small Fashion-MNIST for it to serve."""

import gzip
import hashlib
import http.server
import re
import struct
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from sgdphases.datasets import download


@dataclass
class Server:
    """Files by path; how to answer the next requests of a path; what was asked and sent."""

    address: str = ""
    files: dict = field(default_factory=dict)
    answers: dict = field(default_factory=lambda: defaultdict(list))
    requests: list = field(default_factory=list)
    ranges: bool = True
    delay: float = 0.0

    def sent(self, path):
        return [count for asked, _, count in self.requests if asked == path]


class Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, server, *args):
        self.state = server
        super().__init__(*args)

    def log_message(self, *args):
        pass

    def do_GET(self):
        state, path = self.state, self.path
        answer = state.answers[path].pop(0) if state.answers[path] else {}
        body = answer.get("body", state.files.get(path))
        asked = self.headers.get("Range")
        status = answer.get("status", 404 if body is None else 200)
        start = 0
        if status == 200 and asked and state.ranges and "type" not in answer:
            start, status = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]), 206
            if start >= len(body):
                status = 416
        entry = [path, asked, 0]
        state.requests.append(entry)
        payload = body[start:] if status in (200, 206) else b"no"
        self.send_response(status)
        self.send_header("Content-Type", answer.get("type", "application/octet-stream"))
        if status == 206:
            self.send_header("Content-Range", answer.get("range", f"bytes {start}-{len(body) - 1}/{len(body)}"))
        if "encoding" in answer:
            self.send_header("Content-Encoding", answer["encoding"])
        if answer.get("length", True):
            self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        payload = payload[: answer.get("cut")]
        for begin in range(0, len(payload), 4096):
            try:
                entry[2] += self.wfile.write(payload[begin : begin + 4096])
            except OSError:
                return
            time.sleep(state.delay)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("SGDPHASES_MIRROR", raising=False)
    state = Server()
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, state))
    web.daemon_threads = True
    thread = threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{web.server_port}"
    yield state
    web.shutdown()
    web.server_close()
    thread.join()


@pytest.fixture
def dead():
    """An address on which nothing listens."""
    return "http://127.0.0.1:1"


def idx(array):
    """A uint8 array as an idx file."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def small_fashion(server, monkeypatch):
    """Random files under Fashion-MNIST's names on the server; torchvision's list names them, with its address."""
    random = np.random.default_rng(0)
    content = {}
    for part, count in (("train", 600), ("t10k", 100)):
        content[f"{part}-images-idx3-ubyte"] = idx(random.integers(256, size=(count, 28, 28), dtype=np.uint8))
        content[f"{part}-labels-idx1-ubyte"] = idx(random.integers(10, size=count, dtype=np.uint8))
    packed = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in content.items()}
    server.files = {f"/fashion-mnist/{name}": data for name, data in packed.items()}
    monkeypatch.setattr(
        FashionMNIST, "resources", [(name, hashlib.md5(data).hexdigest()) for name, data in packed.items()]
    )
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"{server.address}/fashion-mnist/"])
    monkeypatch.setattr(download, "Patience", partial(download.Patience, attempts=3, pause=0.01))
    return content
