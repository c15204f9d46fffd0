import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.files import locks_reach, read_json, sha256, write_json, write_text, writing


def test_failed_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), writing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_reader_keeps_the_old_file_while_it_is_replaced(tmp_path):
    path = tmp_path / "result.txt"
    write_text(path, "old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("name", ["result.txt", "result", "a[b]*.c"])
def test_killed_writer_leaves_no_file_under_the_final_name(tmp_path, name):
    path = tmp_path / name
    code = (
        "import os, sys\nfrom sgdphases.files import writing\n"
        "with writing(sys.argv[1]) as temporary:\n    temporary.write_text('half')\n    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert not path.exists()
    assert len(os.listdir(tmp_path)) == 1
    write_text(path, "whole")
    assert os.listdir(tmp_path) == [name]


def test_a_killed_writer_that_nobody_has_waited_for_leaves_nothing_either(tmp_path):
    path = tmp_path / "result.txt"
    code = (
        "import os, sys\nfrom sgdphases.files import writing\n"
        "with writing(sys.argv[1]) as temporary:\n    temporary.write_text('half')\n    os.kill(os.getpid(), 9)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as writer:
        os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
        assert len(os.listdir(tmp_path)) == 1
        write_text(path, "whole")
        assert os.listdir(tmp_path) == ["result.txt"]


def test_a_living_writer_keeps_its_temporary_file(tmp_path):
    path = tmp_path / "result.txt"
    with writing(path) as slow:
        slow.write_text("slow")
        write_text(path, "quick")
        assert path.read_text() == "quick"
        assert slow.exists()
    assert path.read_text() == "slow"


@pytest.mark.parametrize(
    ("kind", "options", "reach"),
    [
        ("ext4", "rw,relatime", True),
        ("nfs4", "rw,vers=4.2,local_lock=none,addr=10.0.0.1", True),
        ("nfs", "rw,vers=3,nolock,local_lock=all", False),
        ("nfs", "rw,vers=3,local_lock=flock", False),
        ("lustre", "rw,flock,lazystatfs", True),
        ("lustre", "rw,localflock", False),
        ("beegfs", "rw,relatime", False),
    ],
)
def test_locks_that_hold_on_one_machine_are_known_by_the_mount(tmp_path, kind, options, reach):
    folder = tmp_path / "große Läufe"
    mounts = tmp_path / "mounts"
    place = str(folder).replace(" ", "\\040")
    mounts.write_text(f"none / ext4 rw 0 0\nother {place}er nfs nolock 0 0\nserver:/x {place} {kind} {options} 0 0\n")
    assert locks_reach(folder / "a" / "b.json", mounts) is reach
    assert locks_reach(tmp_path / "else", mounts)
    assert locks_reach(folder, tmp_path / "none")


def test_mode_follows_the_umask(tmp_path):
    write_text(tmp_path / "result.txt", "")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "result.txt").stat().st_mode & 0o777 == 0o666 & ~mask


@given(st.recursive(st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_json_round_trip_is_exact(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_broken_json_names_the_file(tmp_path):
    (tmp_path / "broken.json").write_text('{"a": ')
    with pytest.raises(ValueError, match=r"broken\.json is not readable as JSON"):
        read_json(tmp_path / "broken.json")


def test_sha256_of_the_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
