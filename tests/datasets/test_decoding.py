import io
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections import namedtuple

import numpy as np
import pytest
from PIL import Image

from made_images import CLASSES, TINY, class_files, jpeg, offline, tiny_files, tiny_mirror, write_folder
from sgdphases.datasets import decoding
from sgdphases.datasets.decoding import decoded
from sgdphases.datasets.image_files import ImageError, ZipFiles
from sgdphases.datasets.image_table import open_table
from sgdphases.datasets.prepare import make_ready
from sgdphases.datasets.table_folder import TableError, table_folder
from sgdphases.files import sha256

FORK = multiprocessing.get_context("fork")
PARAMETERS = {"classes": 3}
DATASET = {"name": "tiny_imagenet", **PARAMETERS}
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    offline(monkeypatch)


@pytest.fixture
def mirror(tmp_path):
    return tiny_mirror(tmp_path / "mirror", tiny_files())


@pytest.fixture
def make(tmp_path, mirror):
    def made(**options):
        return make_ready("tiny_imagenet", tmp_path / "data", [str(mirror)], parameters=PARAMETERS, **options)

    made.directory = tmp_path / "data"
    made.folder = table_folder(DATASET, tmp_path / "data")
    return made


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


WHOLE = ["images.npy", "labels.npy", "table.json"]


def test_pixels_are_the_decoders_own():
    content = jpeg(7)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(decoded(content, 64), np.asarray(image).transpose(2, 0, 1))


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "PNG")])
def test_every_kind_of_image_becomes_three_colours(mode, kind):
    image = decoded(jpeg(7, mode=mode, kind=kind), 64)
    assert (image.shape, image.dtype) == ((3, 64, 64), np.uint8)
    if mode == "L":
        np.testing.assert_array_equal(image[0], image[1])
    else:
        assert np.abs(image.astype(int) - decoded(jpeg(7), 64)).mean() < 30


def test_other_sizes_lose_their_edges_and_are_averaged():
    picture = np.zeros((40, 100, 3), np.uint8)
    picture[:, 30:70] = (0, 100, 200)
    picture[:, 70:] = 255
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    small = decoded(stream.getvalue(), 10)
    assert small.shape == (3, 10, 10)
    np.testing.assert_array_equal(small[:, :, 1:-1], np.array([0, 100, 200])[:, None, None] + np.zeros((3, 10, 8)))


def test_a_table_holds_every_image_with_its_label(make):
    manifest, files = make(), tiny_files()
    table = open_table(DATASET, make.directory)
    assert names(make.folder) == WHOLE
    assert table.images.shape == (24, 3, 64, 64)
    assert isinstance(table.images, np.memmap)
    assert not table.images.flags.writeable
    assert (table.training, manifest["training"], manifest["test"]) == (18, 18, 6)
    assert table.classes == CLASSES
    assert table.titles == tuple(f"called {name}" for name in CLASSES)
    known = {decoded(content, 64).tobytes(): name for name, content in files.items() if name.endswith("JPEG")}
    found = [known[image.tobytes()] for image in table.images]
    assert len(set(found)) == 24
    for row, name in enumerate(found):
        assert ("/train/" in name) == (row < 18)
        assert CLASSES[table.labels[row]][-3:] in name
    np.testing.assert_array_equal(np.bincount(table.labels[:18]), [6, 6, 6])
    assert sorted(table.labels[:18].tolist()) != table.labels[:18].tolist()  # classes are mixed


def test_moments_are_those_of_the_training_images(make):
    make()
    table = open_table(DATASET, make.directory)
    levels = np.asarray(table.images[: table.training], dtype=np.float64) / 255
    np.testing.assert_allclose(table.mean, levels.mean(axis=(0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(table.deviation, levels.std(axis=(0, 2, 3)), rtol=1e-12)


def test_manifest_says_what_was_used(make):
    manifest = make(threads=3)
    (archive,) = manifest["files"]
    assert archive["source"].endswith("mirror/tiny-imagenet/tiny-imagenet-20.zip")
    assert manifest["parameters"] == {"classes": list(CLASSES), "resolution": 64}
    assert manifest["decoder"]["pillow"] == Image.__version__
    for name, known in manifest["arrays"].items():
        assert known == {"bytes": (make.folder / name).stat().st_size, "sha256": sha256(make.folder / name)}
    assert make() == manifest


@pytest.mark.parametrize("threads", [1, 4])
def test_the_same_table_from_a_folder_and_by_any_number_of_threads(make, tmp_path, threads):
    first = make()
    other = write_folder(tmp_path / "other" / "tiny-imagenet", tiny_files())
    second = make_ready("tiny_imagenet", tmp_path / "b", [str(other.parent)], parameters=PARAMETERS, threads=threads)
    for word in ("digest", "content", "arrays"):
        assert first[word] == second[word]
    assert second["files"][0]["source"] == str(other / TINY)
    assert second["files"][0]["bytes"] == sum(len(c) for name, c in tiny_files().items() if name.endswith("JPEG"))


def test_each_choice_has_a_table_of_its_own(make, tmp_path, mirror):
    make()
    make_ready("tiny_imagenet", make.directory, [str(mirror)], parameters={"classes": 2, "resolution": 8})
    small = open_table({"name": "tiny_imagenet", "classes": 2, "resolution": 8}, make.directory)
    assert small.images.shape == (16, 3, 8, 8)
    whole = open_table(DATASET, make.directory)
    kept = whole.labels < 2
    np.testing.assert_array_equal(small.labels, whole.labels[kept])  # images keep their order


def test_a_truncated_image_is_named_and_nothing_is_left(make, mirror):
    files = tiny_files()
    name = f"{TINY}/train/{CLASSES[1]}/images/{CLASSES[1]}_3.JPEG"
    files[name] = files[name][:-200]
    tiny_mirror(mirror, files)
    with pytest.raises(ImageError, match=rf"tiny-imagenet-20.zip: {name} is no whole image: .*truncated"):
        make(threads=2)
    assert names(make.folder) == []


@pytest.mark.parametrize("content", [b"", b"<html>", b"GIF89a" + bytes(50)])
def test_what_is_no_image_is_named(make, mirror, content):
    files = tiny_files()
    name = f"{TINY}/val/images/val_5370.JPEG"
    files[name] = content
    tiny_mirror(mirror, files)
    with pytest.raises(ImageError, match=rf"{name} is no whole image: cannot identify image file$"):
        make()


@pytest.mark.parametrize("name", WHOLE)
def test_one_changed_byte_is_named_and_made_good(make, name, caplog):
    manifest = make()
    path = make.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(TableError, match=rf"{name} is damaged.*; make it with: python -m sgdphases.steps.download"):
        open_table(DATASET, make.directory)
    assert make() == manifest
    assert f"{path} is damaged" in caplog.text
    open_table(DATASET, make.directory)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
@pytest.mark.parametrize("damage", ["missing", "short"])
def test_lost_and_short_files_are_made_again(make, name, damage):
    manifest = make()
    path = make.folder / name
    if damage == "missing":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(TableError, match=rf"{name} is (missing|damaged: \d+ bytes, expected \d+)"):
        open_table(DATASET, make.directory)
    assert make() == manifest


def test_a_table_that_would_become_another_one_is_refused(make, mirror):
    manifest = make()
    (make.folder / "images.npy").unlink()
    files = tiny_files()
    files[f"{TINY}/train/{CLASSES[0]}/images/{CLASSES[0]}_0.JPEG"] = jpeg(12345)
    shutil.rmtree(make.directory / "tiny_imagenet" / "raw")
    tiny_mirror(mirror, files)
    with pytest.raises(TableError, match="the table is another one .* the images came from .* and come from") as error:
        make()
    assert manifest["digest"] in str(error.value)
    assert names(make.folder) == ["labels.npy", "table.json"]
    tiny_mirror(mirror, tiny_files())
    shutil.rmtree(make.directory / "tiny_imagenet" / "raw")
    assert make()["digest"] == manifest["digest"]


def test_another_decoder_is_refused(make, monkeypatch):
    make()
    (make.folder / "images.npy").unlink()
    monkeypatch.setattr(decoding.PIL, "__version__", "0.1")
    monkeypatch.setattr(decoding, "decoded", lambda content, size: decoded(content, size) // 2)
    with pytest.raises(TableError, match=r"the decoder was .* and is \{'pillow': '0.1'"):
        make()


def test_no_room_on_the_disk(make, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(decoding.shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    with pytest.raises(OSError, match=f"the decoded images need {24 * 3 * 64 * 64} bytes, but only 1000 are free"):
        make()
    assert names(make.folder) == []


def test_a_full_disk_leaves_no_half_file(make, monkeypatch):
    def full(handle, content, offset):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decoding.os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        make(threads=2)
    assert names(make.folder) == []


def test_an_image_that_goes_unread_is_missed(make, monkeypatch):
    whole = ZipFiles.loads
    monkeypatch.setattr(ZipFiles, "loads", lambda self, wanted: whole(self, list(wanted)[:-1]))
    with pytest.raises(ImageError, match="is no longer there"):
        make()


def slow(content, resolution):
    time.sleep(0.05)
    return decoded(content, resolution)


def test_killed_while_decoding(make, monkeypatch):
    monkeypatch.setattr(decoding, "decoded", slow)
    worker = FORK.Process(target=make)
    worker.start()
    while not any(path.suffix == ".npy" for path in make.folder.glob(".images*")):
        assert worker.is_alive()
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert not set(WHOLE) & set(names(make.folder))
    with pytest.raises(FileNotFoundError, match="tiny_imagenet is not ready in .*; make it with: python -m"):
        open_table(DATASET, make.directory)
    monkeypatch.undo()
    make()
    assert names(make.folder) == WHOLE


def test_many_processes_at_once_decode_once(make, monkeypatch, tmp_path):
    monkeypatch.setattr(decoding, "decoded", slow)
    whole = decoding.build_table

    def counted(*words, **options):
        (tmp_path / f"built-{os.getpid()}").touch()
        return whole(*words, **options)

    monkeypatch.setattr(decoding, "build_table", counted)
    workers = [FORK.Process(target=make) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(list(tmp_path.glob("built-*"))) == 1
    assert names(make.folder) == WHOLE


def test_a_finished_table_needs_no_source_and_no_lock(make, mirror):
    manifest = make()
    shutil.rmtree(mirror)
    shutil.rmtree(make.directory / "tiny_imagenet" / "raw")
    (make.directory / "tiny_imagenet" / ".lock").unlink(missing_ok=True)
    assert make() == manifest
    assert names(make.directory / "tiny_imagenet") == [make.folder.name]


def test_a_users_own_folder(tmp_path):
    folder = write_folder(tmp_path / "mine", class_files(["pear", "apple"], width=120, height=80))
    manifest = make_ready("imagenet", tmp_path / "data", parameters={"resolution": 32}, imagenet=str(folder))
    table = open_table({"name": "imagenet", "resolution": 32}, tmp_path / "data")
    assert table.images.shape == (14, 3, 32, 32)
    assert table.classes == table.titles == ("apple", "pear")
    assert manifest["files"][0]["source"] == str(folder)
    assert manifest["parameters"] == {"classes": None, "resolution": 32}
    shutil.rmtree(folder)
    assert make_ready("imagenet", tmp_path / "data", parameters={"resolution": 32}) == manifest


def test_absent_folder_leaves_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="dataset imagenet is never downloaded: set data.imagenet"):
        make_ready("imagenet", tmp_path / "data")
    assert not list(tmp_path.rglob("*.npy"))


def test_manifest_is_plain_json(make):
    manifest = make()
    assert json.loads((make.folder / "table.json").read_text()) == manifest
