"""The folder of leases: one user's own is closed to others, a common one serves several users."""

import multiprocessing
import os
import signal
import stat
import tempfile
from pathlib import Path

import pytest

from made_leases import lease
from sgdphases.devices import MEBIBYTE, visible_devices
from sgdphases.leases import acquire, lease_folder

ONE = visible_devices({"SGDPHASES_DEVICES": "0:1000"})[0]


def test_a_users_own_folder_is_closed_to_others(monkeypatch, tmp_path):
    monkeypatch.delenv("SGDPHASES_LEASES", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = lease_folder()
    assert folder == tmp_path / f"sgdphases-leases-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert lease_folder() == folder
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="SGDPHASES_LEASES"):
        lease_folder()
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="nobody else"):
        lease_folder()


def test_files_of_a_common_folder_are_readable_for_all(tmp_path):
    before = os.umask(0o077)
    try:
        with lease(ONE, None, folder=tmp_path):
            modes = {path.name.rpartition(".")[2]: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"guard": 0o644, "claim": 0o644}


def other_user(folder: Path, results) -> None:
    """Become nobody, meet root's lease, take what is left of the device and be killed with it."""
    os.setgid(65534)
    os.setuid(65534)
    try:
        acquire(ONE, None, folder=folder, timeout=0)
    except TimeoutError as error:
        results.put(str(error))
    acquire(ONE, 400 * MEBIBYTE, folder=folder, timeout=0)
    results.put("shared")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_two_users_share_a_sticky_folder():
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as outer:
        Path(outer).chmod(0o755)
        folder = Path(outer) / "leases"
        folder.mkdir()
        folder.chmod(0o1777)
        child = context.Process(target=other_user, args=(folder, results))
        with lease(ONE, 600 * MEBIBYTE, folder=folder, asked_by="root's job"):
            child.start()
            assert "600 MiB by root's job" in results.get()
            assert results.get() == "shared"
            child.join()
            assert child.exitcode == -signal.SIGKILL
        with lease(ONE, None, folder=folder, timeout=0) as device:
            assert device == "0"
