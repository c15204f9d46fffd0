"""One writer at a time; what was damaged is named, moved aside, and found by the program that checks everything."""

import argparse
import gzip
import json
import os
import subprocess
import sys

import pytest

from sgdphases.files import sha256, sweep
from sgdphases.steps import guard


def written(path, content=b"whole"):
    """A file as a step leaves it."""
    guard.enter("fit", argparse.Namespace(cube=None, output=str(path)))
    with guard.finishing():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return path


def test_what_was_written_is_vouched_for(tmp_path):
    path = written(tmp_path / "fit.nc")
    assert guard.damage(path) is None
    guard.check(path)
    assert json.loads((tmp_path / ".guard/fit.nc.json").read_text()) == {"bytes": 5, "sha256": sha256(path)}


@pytest.mark.parametrize("content", [b"Whole", b"who", b"", b"whole and more"])
def test_damage_is_named_and_moved_aside(tmp_path, content):
    path = written(tmp_path / "cube.nc")
    path.write_bytes(content)
    with pytest.raises(SystemExit, match="cube.nc is damaged: .*kept as cube.nc.damaged"):
        guard.enter("fit", argparse.Namespace(cube=str(path), output=str(tmp_path / "fit.nc")))
    assert not path.exists()
    assert (tmp_path / "cube.nc.damaged").read_bytes() == content
    path.write_bytes(content)
    guard.check(path)  # put back on purpose: nothing vouches for it any more


def test_a_failed_step_vouches_for_nothing(tmp_path):
    path = written(tmp_path / "fit.nc")
    guard.enter("fit", argparse.Namespace(cube=None, output=str(path)))
    with pytest.raises(ZeroDivisionError), guard.finishing():
        raise ZeroDivisionError
    path.write_bytes(b"of an earlier job, or by hand")
    assert guard.damage(path) is None


def test_a_torn_guard_vouches_for_nothing(tmp_path):
    path = written(tmp_path / "fit.nc")
    (tmp_path / ".guard/fit.nc.json").write_text('{"bytes": 5, "sha')
    path.write_bytes(b"other")
    assert guard.damage(path) is None


HOLDER = """
import argparse, sys, time
from sgdphases.steps import guard
guard.enter("fit", argparse.Namespace(cube=None, output=sys.argv[1]))
print("holds", flush=True)
time.sleep(60)
"""


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "PATIENCE", 0.2)
    path = tmp_path / "fit.nc"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"holds\n"
        with pytest.raises(SystemExit, match=rf"fit.nc is being written by another job \(process {holder.pid} on "):
            written(path)
        assert not path.exists()
        holder.kill()
    written(path)
    assert guard.damage(path) is None


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_said_by_the_step_itself(tmp_path, caplog):
    tmp_path.chmod(0o555)
    guard.enter("fit", argparse.Namespace(cube=None, output=str(tmp_path / "fit.nc")))
    assert "has no guard" in caplog.text
    tmp_path.chmod(0o755)


def test_what_a_killed_writer_on_another_machine_left_goes(tmp_path):
    path = tmp_path / "cube.nc"
    left, others = tmp_path / ".cube.node07.123.0.nc", [tmp_path / ".cubes.node07.123.0.nc", tmp_path / ".cube.mine.nc"]
    for name in (left, *others):
        name.touch()
    sweep(path)
    assert left.exists()  # it may be alive there
    written(path)  # nobody else holds the lock
    assert not left.exists()
    assert all(name.exists() for name in others)


def test_a_guard_that_cannot_be_changed_condemns_no_new_file(tmp_path, monkeypatch):
    path = written(tmp_path / "fit.nc")
    real = os.open

    def refuse(name, *rest):
        if str(name).endswith("fit.nc.json"):
            raise PermissionError(13, "Permission denied", str(name))
        return real(name, *rest)

    monkeypatch.setattr(guard.os, "open", refuse)
    with pytest.raises(SystemExit, match=r"fit.nc.json cannot be changed .*delete it"):
        guard.enter("fit", argparse.Namespace(cube=None, output=str(path)))


def test_where_a_guard_cannot_be_deleted_a_damaged_file_stays(tmp_path, monkeypatch):
    path = written(tmp_path / "fit.nc")
    path.write_bytes(b"whol3")
    monkeypatch.setattr(guard.os, "access", lambda *_: False)
    with pytest.raises(SystemExit, match=r"fit.nc is damaged: .* and .*fit.nc.json"):
        guard.check(path)
    assert path.exists()
    assert guard.damage(path) is not None


def test_a_full_disk_is_said(tmp_path, caplog, monkeypatch):
    full = type("Full", (), {"f_bavail": 3, "f_frsize": 4096})
    monkeypatch.setattr(os, "statvfs", lambda folder: full)
    guard.enter("fit", argparse.Namespace(cube=None, output=str(tmp_path / "fit.nc")))
    with pytest.raises(RuntimeError), guard.finishing():
        raise RuntimeError("NetCDF: HDF error")
    assert "fit.nc could not be written: the disk is full" in caplog.text


def test_the_program_finds_what_nothing_reads(tmp_path, caplog):
    caplog.set_level("INFO")
    good, bad = written(tmp_path / "a/figure.svg"), written(tmp_path / "b/figure.svg")
    guard.main([str(tmp_path)])
    assert "2 files checked, 0 damaged" in caplog.text
    bad.write_bytes(b"whol3")
    with pytest.raises(SystemExit):
        guard.main([str(tmp_path)])
    assert f"{bad} is damaged" in caplog.text
    assert good.exists()


def test_unpacked_files_of_a_data_set(tmp_path, caplog):
    raw = tmp_path / "data/fashion_mnist/raw"
    raw.mkdir(parents=True)
    archive, target = raw / "labels.gz", raw / "labels"
    archive.write_bytes(gzip.compress(b"0123456789"))
    target.write_bytes(b"0123456789")
    manifest = tmp_path / "fashion_mnist.json"
    text = json.dumps({"dataset": "fashion_mnist", "files": [{"name": "labels.gz", "sha256": sha256(archive)}]})
    manifest.write_text(text)
    (raw / "mine.gz").write_bytes(b"a file of the user's")

    def check():
        guard.check_unpacked(tmp_path / "data", manifest)

    check()
    for content in (b"0123456780", b"0123", None):
        target.unlink() if content is None else target.write_bytes(content)
        check()
        assert target.read_bytes() == b"0123456789"
        assert f"{target} was damaged and is unpacked again" in caplog.text
        caplog.clear()
    whole = archive.read_bytes()
    archive.write_bytes(whole[:12] + b"!" + whole[13:])  # nothing reads it
    check()
    for rotten in (b"rotten", archive.read_bytes()):
        archive.write_bytes(rotten)
        target.write_bytes(b"0123")
        with pytest.raises(SystemExit, match=f"{target} and labels.gz are damaged"):
            check()
        with pytest.raises(SystemExit, match=f"{manifest} is not there"):  # so that step download runs again
            check()
        manifest.write_text(text)


def test_a_damaged_manifest_is_written_again_from_its_guard(tmp_path, caplog):
    path = tmp_path / "fashion_mnist.json"
    guard.enter("download", argparse.Namespace(manifest=str(path)))
    with guard.finishing():
        path.write_text('{"dataset": "fashion_mnist"}')
    for content in ("", '{"dataset": "fashion_mnisu"}'):
        path.write_text(content)
        guard.check(path)
        assert path.read_text() == '{"dataset": "fashion_mnist"}'
        assert f"{path} was damaged" in caplog.text
        caplog.clear()
    path.write_text("")
    known = path.parent / guard.FOLDER / f"{path.name}.json"
    known.write_text(known.read_text().replace("fashion_mnist", "fashion_mnisu"))
    with pytest.raises(SystemExit, match=f"{path} is damaged: it has 0 bytes"):
        guard.check(path)
