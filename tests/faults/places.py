"""Disks that are full, folders that cannot be written to, writers that are still alive, readers beside writers."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from faults.ground import PATIENCE
from faults.signals import processes_under

ROOT = os.getuid() == 0


class Small:
    """A disk of 256 KiB in place of a stage's output folders and checkpoints; needs root."""

    def __init__(self, folders):
        self.folders = folders

    def __enter__(self):
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], check=True)
            (folder / "full").write_bytes(b"x" * (256 * 1024 - 3 * 4096))  # what is left takes no whole file
        return self

    def __exit__(self, *error):
        for folder in self.folders:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def may_mount(folder):
    """Whether a disk can be mounted here."""
    try:
        with Small([folder]):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def _folders(stage):
    folders = {path.parent for path in stage.outputs}
    return sorted(folders | ({stage.checkpoints} if hasattr(stage, "checkpoints") else set()))


def disk_full(stage):
    """Run a stage on a full disk, make room, run it again."""
    stage.reset()
    with Small(_folders(stage)):
        status, text = stage.end()
        counts = Counter(tried=1, refused=status != 0, half_written=len([p for p in stage.outputs if p.exists()]))
        counts["said"] = "the disk is full" in text or "No space left" in text
    return _again(stage, counts)


def _again(stage, counts):
    status, _ = stage.end()
    counts["failed"], counts["wrong"] = status != 0, stage.digest() != stage.reference
    return counts


def file_limit(stage, limit=8192):
    """The same with a limit on the size of files, where no disk may be mounted."""
    stage.reset()
    words = ["bash", "-c", f'ulimit -f {limit // 1024}; exec "$@"', "bash", *stage.command]
    status, _ = stage.end(command=words)
    counts = Counter(tried=1, refused=status != 0, half_written=len(stage.half_written()))
    return _again(stage, counts)


def closed(stage, *, after=0.0):
    """Take the permission to write from the output folders, before the stage begins or while it works.

    Root may write everywhere: as root, folders are made immutable, where the file system can do that.
    """
    stage.reset()
    folders = [folder for folder in _folders(stage) if folder.exists() or after]
    stage.log.write_bytes(b"")
    begun = stage.start() if after else None
    try:
        time.sleep(after)
        for folder in folders:
            _may_write(folder, False)
        status = (begun or stage.start()).wait(PATIENCE)
    finally:
        for folder in folders:
            _may_write(folder, True)
    text = stage.log.read_text(errors="replace")
    counts = Counter(tried=1, refused=status != 0, said="ermi" in text or status == 0)
    counts["half_written"] = len(stage.half_written())
    return _again(stage, counts)


def may_close(folder):
    """Whether permissions can be taken here."""
    folder.mkdir(parents=True, exist_ok=True)
    _may_write(folder, False)
    try:
        (folder / "probe").touch()
        (folder / "probe").unlink()
    except PermissionError:
        return True
    finally:
        _may_write(folder, True)
    return False


def _may_write(folder, allowed):
    for path in (folder, folder / ".guard"):
        if path.exists() and ROOT:
            subprocess.run(["chattr", "-i" if allowed else "+i", str(path)], check=False, capture_output=True)
        elif path.exists():
            path.chmod(0o755 if allowed else 0o555)


def orphan(stage):
    """Kill what started a step, but not the step; start it again while the first one lives, and after it has ended."""
    stage.reset()
    stage.log.write_bytes(b"")
    parent = stage.start(shell=True)
    end = time.monotonic() + PATIENCE
    guards = [path.parent / ".guard" / f"{path.name}.json" for path in stage.outputs]
    while not any(guard.exists() and b"process" in guard.read_bytes() for guard in guards):
        assert parent.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    child = processes_under(parent.pid)[0]
    parent.kill()
    parent.wait()
    os.kill(child, signal.SIGSTOP)  # it lives, however quick it is
    begun = time.monotonic()
    status, text = stage.end()
    counts = Counter(tried=1, refused=status != 0, said=f"process {child} on" in text)
    counts["seconds"] = time.monotonic() - begun
    os.kill(child, signal.SIGCONT)
    while Path(f"/proc/{child}").exists() and _state(child) != "Z":
        time.sleep(0.02)
    counts["orphan_wrong"] = stage.digest() != stage.reference
    stage.clear()
    return _again(stage, counts)


def _state(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


READER = """
import sys, time
from sgdphases.storage import cube
found, end = 0, time.monotonic() + float(sys.argv[2])
known = set(sys.argv[3:])
while time.monotonic() < end:
    data = cube.read(sys.argv[1])
    assert data.attrs["title"] in known and data.attrs["title"] == data["train_loss"].attrs["side"], data.attrs
    found += 1
print(found)
"""
WRITER = """
import sys, time
from sgdphases.storage import cube
data, found, end = cube.read(sys.argv[1]), 0, time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    title = sys.argv[3 + found % 2]
    data.attrs["title"] = data["train_loss"].attrs["side"] = title
    cube.write(data, sys.argv[1])
    found += 1
print(found)
"""


def readers_and_writer(ground, seconds):
    """Three processes read a cube while a fourth replaces it again and again: every reading is one of the two."""
    path = ground.folder / "shared.nc"
    shutil.copy(ground.folder / "results/faults/cube.nc", path)
    arguments = [str(path), str(seconds), "one", "two"]

    def begin(program):
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments], cwd=ground.folder, env=ground.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    first = subprocess.run(
        [sys.executable, "-c", WRITER, str(path), "0.3", "one", "two"], env=ground.environment, check=True,
        capture_output=True, cwd=ground.folder,
    )  # fmt: skip
    assert int(first.stdout) > 0
    processes = [begin(WRITER), *(begin(READER) for _ in range(3))]
    outputs = [process.communicate(timeout=seconds + PATIENCE) for process in processes]
    counts = Counter(failed=sum(process.returncode != 0 for process in processes))
    counts["writes"] = int(outputs[0][0] or 0)
    counts["reads"] = sum(int(text or 0) for text, _ in outputs[1:])
    path.unlink()
    return counts
