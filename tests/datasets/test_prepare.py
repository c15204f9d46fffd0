import multiprocessing
import os
import signal
import time

import pytest
from torchvision.datasets import FashionMNIST

from sgdphases.datasets import download
from sgdphases.datasets.download import DownloadError
from sgdphases.datasets.prepare import make_ready
from sgdphases.files import sha256

# Children share the patched list of files and the server's port by being forked.
FORK = multiprocessing.get_context("fork")
IMAGES = "/fashion-mnist/train-images-idx3-ubyte.gz"
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def raw(directory):
    return directory / "fashion_mnist" / "FashionMNIST" / "raw"


def contents(directory):
    return {path.name: path.read_bytes() for path in raw(directory).iterdir() if path.name.endswith("-ubyte")}


def test_files_are_fetched_once_and_torchvision_reads_them(small_fashion, server, tmp_path):
    manifest = make_ready("fashion_mnist", tmp_path)
    assert contents(tmp_path) == small_fashion
    assert len(FashionMNIST(str(tmp_path / "fashion_mnist"), train=True)) == 600
    assert make_ready("fashion_mnist", tmp_path) == manifest
    assert len(server.requests) == 4
    for file, (name, md5) in zip(manifest["files"], FashionMNIST.resources, strict=True):
        path = raw(tmp_path) / name
        assert (file["name"], file["md5"], file["bytes"]) == (name, md5, path.stat().st_size)
        assert file["sha256"] == sha256(path)
        assert file["source"] == f"{server.address}/fashion-mnist/{name}"


def test_eight_processes_at_once_fetch_every_file_once(small_fashion, server, tmp_path):
    server.delay = 0.002
    workers = [FORK.Process(target=make_ready, args=("fashion_mnist", tmp_path)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert contents(tmp_path) == small_fashion
    assert sorted(path for path, _, _ in server.requests) == sorted(server.files)


def test_killed_download_is_continued(small_fashion, server, tmp_path):
    server.delay = 0.02
    worker = FORK.Process(target=make_ready, args=("fashion_mnist", tmp_path))
    worker.start()
    part = raw(tmp_path) / "train-images-idx3-ubyte.gz.part"
    while not (part.exists() and part.stat().st_size > 60_000):
        assert worker.is_alive()
        time.sleep(0.01)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    server.delay = 0.0
    size = part.stat().st_size
    assert size < len(server.files[IMAGES])
    make_ready("fashion_mnist", tmp_path)
    assert contents(tmp_path) == small_fashion
    again = [request for request in server.requests if request[0] == IMAGES][-1]
    assert again == [IMAGES, f"bytes={size}-", len(server.files[IMAGES]) - size]
    assert not [path for path in raw(tmp_path).iterdir() if path.name.startswith(("tmp", "."))]


def test_a_job_killed_as_soon_as_a_file_is_in_place_knows_where_it_came_from(
    small_fashion, server, tmp_path, monkeypatch
):
    undisturbed = make_ready("fashion_mnist", tmp_path / "undisturbed")

    fetch = download.fetch

    def interrupted(*words, **options):
        fetch(*words, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "fetch", interrupted)
        for _ in undisturbed["files"]:
            with pytest.raises(KeyboardInterrupt):
                make_ready("fashion_mnist", tmp_path / "disturbed")
    assert make_ready("fashion_mnist", tmp_path / "disturbed") == undisturbed


@pytest.mark.parametrize("damage", ["short", "changed", "missing"])
def test_damaged_unpacked_file_is_unpacked_again(small_fashion, server, tmp_path, damage):
    make_ready("fashion_mnist", tmp_path)
    name = "train-images-idx3-ubyte"
    path = raw(tmp_path) / name
    whole = small_fashion[name]
    path.unlink()
    if damage != "missing":
        path.write_bytes(whole[:1000] if damage == "short" else b"\1" + whole[1:])
    (raw(tmp_path) / f".{name}.abcdef").write_bytes(b"left by a killed process")
    make_ready("fashion_mnist", tmp_path)
    assert contents(tmp_path) == small_fashion
    assert len(server.requests) == 4


def test_damaged_archive_is_fetched_again(small_fashion, server, tmp_path):
    make_ready("fashion_mnist", tmp_path)
    archive = raw(tmp_path) / "t10k-labels-idx1-ubyte.gz"
    archive.write_bytes(b"rotten")
    make_ready("fashion_mnist", tmp_path)
    assert archive.read_bytes() == server.files["/fashion-mnist/t10k-labels-idx1-ubyte.gz"]
    assert len(list(raw(tmp_path).glob("*.bad-*"))) == 1
    assert len(server.requests) == 5


def test_dead_mirror_costs_its_waiting_time_once(small_fashion, server, tmp_path, dead, caplog):
    make_ready("fashion_mnist", tmp_path, [dead, server.address])
    assert contents(tmp_path) == small_fashion
    assert sum(f"{dead}/fashion-mnist" in record.getMessage() for record in caplog.records) == 1


def test_mirror_of_the_environment(small_fashion, server, tmp_path, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:1/"])
    folder = tmp_path / "mirror" / "fashion-mnist"
    folder.mkdir(parents=True)
    for path, body in server.files.items():
        (folder / path.rpartition("/")[2]).write_bytes(body)
    monkeypatch.setenv("SGDPHASES_MIRROR", str(tmp_path / "mirror"))
    make_ready("fashion_mnist", tmp_path / "data")
    assert contents(tmp_path / "data") == small_fashion
    assert server.requests == []


def test_offline_without_mirror_names_the_missing_files(small_fashion, tmp_path, monkeypatch, dead):
    make_ready("fashion_mnist", tmp_path)
    (raw(tmp_path) / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"{dead}/"])
    with pytest.raises(DownloadError, match="SGDPHASES_MIRROR.* holds: fashion-mnist/t10k-labels-idx1-ubyte.gz$"):
        make_ready("fashion_mnist", tmp_path)


@pytest.mark.parametrize("name", ["digits", "teacher_student"])
def test_nothing_to_download(name, tmp_path):
    manifest = make_ready(name, tmp_path)
    assert manifest["files"] == []
    assert list(tmp_path.iterdir()) == []
