"""Which device a job computes on, where several jobs of one machine share its devices: each leases one, or a part.

A lease is a file whose lock (`flock`) its process holds; the system opens the lock when the process dies, whatever
killed it, and whoever looks next removes the file. Process numbers stand in it for messages only. All leases of a
machine lie in one folder, which must be on a local disk:

- By default it is `sgdphases-leases-<user number>` in the temporary folder, closed to others: leases hold between the
  jobs of one user who see the same temporary folder.
- For several users, or containers, name one folder that all can write and see, with SGDPHASES_LEASES: mode 1777, or
  2770 and a common group. Files in it are readable for all and hold only what a log line says of their process.

Leases are a courtesy between jobs that ask for them: programs that do not ask are neither seen nor kept away.
"""

import fcntl
import getpass
import json
import logging
import os
import platform
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sgdphases.devices import MEBIBYTE, VISIBLE, Device, visible_devices

FOLDER = "SGDPHASES_LEASES"
ALLOCATOR = "PYTORCH_CUDA_ALLOC_CONF"
LOOK_SECONDS = 0.1  # between two looks of one that waits
GUARD_SECONDS, GUARD_PATIENCE = 0.005, 2.0  # between two tries; the least time to try, whatever the timeout
LOG_SECONDS = 60.0
log = logging.getLogger(__name__)
_kept: dict[str, tuple[Device, "Claim"]] = {}  # of this process, until it ends


def lease_folder(folder: str | Path | None = None) -> Path:
    """The folder of this machine's leases, made if it is not there.

    Args:
        folder: Which; None for that of SGDPHASES_LEASES, or this user's own in the temporary folder.

    Returns:
        The folder.

    Raises:
        PermissionError: If this user's own folder belongs to somebody else, or others may write to it.
    """
    given = folder or os.environ.get(FOLDER)
    if given:
        path = Path(given)
        path.mkdir(parents=True, exist_ok=True)
        return path
    path = Path(tempfile.gettempdir()) / f"sgdphases-leases-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{path} must be a folder of yours that nobody else can write; or name one with {FOLDER}")
    return path


class Claim:
    """One asked-for lease, first waiting, then holding a device: a file that lives as long as its lock is held.

    Create and write it under the guard only, so that whoever looks finds it locked and whole, or dead.

    Args:
        folder: The folder of leases.
        number: Its place in the order of asking.
        record: What others should know.
    """

    def __init__(self, folder: Path, number: int, record: dict[str, Any]) -> None:
        self.number, self.record, self.owner = number, record, os.getpid()
        self.path = folder / f"{number:08d}-{uuid.uuid4().hex[:12]}.claim"
        self.handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(self.handle, 0o644)
            self.hold(None)
        except BaseException:
            self.release()
            raise

    def hold(self, key: str | None) -> None:
        """Write down which device is held, None while it waits."""
        self.record["device"] = key
        content = json.dumps(self.record).encode()
        os.ftruncate(self.handle, 0)
        if os.pwrite(self.handle, content, 0) < len(content):
            raise OSError(f"{self.path} could not be written")

    def release(self) -> None:
        """Give the device back. A forked copy of the process that asked cannot."""
        if os.getpid() == self.owner:
            try:
                self.path.unlink(missing_ok=True)
            finally:
                os.close(self.handle)


def _open(path: Path) -> int:
    """Open a file for its lock, and make it, readable for all, if it is not there."""
    while True:  # never both in one call: in a sticky folder the system refuses that of other users' files
        try:
            return os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            pass
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            continue
        os.fchmod(handle, 0o644)
        return handle


def _locked(handle: int) -> bool:
    """Take the lock of an open file, or say that somebody else has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_there(handle: int, path: Path) -> bool:
    """Whether an open file is what its name stands for: a cleaner may have removed it, somebody else made it anew."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _guard(folder: Path, deadline: float) -> Iterator[None]:
    """Be the only one who reads and changes claims, for milliseconds."""
    path, asked = folder / "guard", time.monotonic()
    deadline = max(deadline, asked + GUARD_PATIENCE)
    while True:
        handle = _open(path)
        try:
            if _locked(handle) and _still_there(handle, path):
                yield
                return
        finally:
            os.close(handle)
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"{path} was locked by another process until the time was over")
        if now - asked > LOG_SECONDS:
            log.warning("another process has locked %s for %.0f s", path, now - asked)
            asked = now
        time.sleep(GUARD_SECONDS)


def _living(folder: Path) -> list[tuple[int, dict[str, Any]]]:
    """Numbers and records of all claims whose process lives, in the order of asking; files of dead ones are removed."""
    found = []
    for path in sorted(folder.glob("*.claim")):
        try:
            handle = os.open(path, os.O_RDONLY)
        except (FileNotFoundError, PermissionError):  # given back just now; or of one killed before it could hold any
            continue
        try:
            if not _locked(handle):
                found.append((int(path.name.partition("-")[0]), json.loads(os.read(handle, MEBIBYTE))))
                continue
            path.unlink(missing_ok=True)
        except PermissionError:  # another user's dead one in a sticky folder: it stays and does not count
            continue
        finally:
            os.close(handle)
    return found


def _chosen(devices: Sequence[Device], memory: int | None, number: int, living: list) -> Device | None:
    """The device that a claim may hold now: the one with least taken, or None while it must wait."""
    # Nobody takes a device that an earlier one waits for, however well it would fit: large ones never starve.
    earlier = [record for before, record in living if before < number and _waits(record)]
    waited_for = {key for record in earlier for key in record["waits_for"]}
    free = []
    for device in devices:
        asked = [record["memory"] for _, record in living if record["device"] == device.key]
        shared = None not in (memory, device.memory, *asked) and sum(asked) + memory <= device.memory
        if device.key not in waited_for and (not asked or shared):
            free.append((sum(asked) if asked else 0, device))
    return min(free, key=lambda pair: pair[0])[1] if free else None


def _waits(record: dict[str, Any]) -> bool:
    return record["device"] is None


def acquire(
    devices: Sequence[Device], memory: int | None, *, folder: Path, timeout: float | None = None, asked_by: str = ""
) -> tuple[Device, Claim]:
    """Wait until one of several devices has room, and hold it until the claim is released or the process ends.

    Processes that were forked meanwhile keep the lock, too; those started by exec do not.

    Args:
        devices: Which would do; one at least.
        memory: Bytes on it that the job may use, those of its CUDA context included; None for a whole device.
        folder: Folder of leases.
        timeout: Seconds to wait at most; None for as long as it takes, 0 to look once.
        asked_by: Who asks, for the log lines of those who wait.

    Returns:
        The device and the claim that holds it.

    Raises:
        ValueError: If no device has that much memory, or the memory is not positive.
        TimeoutError: If there was no room in time.
    """
    fit = [device for device in devices if memory is None or device.memory is None or memory <= device.memory]
    if not fit or (memory is not None and memory <= 0):
        sizes = ", ".join(f"{device.name}: {_mebibytes(device.memory)}" for device in devices)
        raise ValueError(f"{_mebibytes(memory)} of a device were asked for; there are {sizes or 'no devices'}")
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    record = {"memory": memory, "waits_for": [device.key for device in fit], "asked_by": asked_by or "a job"}
    record |= {"process": os.getpid(), "user": _user(), "host": platform.node()}
    claim: Claim | None = None
    said, said_at = "", 0.0
    try:
        while True:
            with _guard(folder, deadline):
                living = _living(folder)
                if claim is None:
                    claim = Claim(folder, 1 + max((number for number, _ in living), default=0), record)
                device = _chosen(fit, memory, claim.number, living)
                if device is not None:
                    claim.hold(device.key)
                    log.info("leased device %s, %s", device.name, _mebibytes(memory))
                    return device, claim
            now, line = time.monotonic(), _situation(fit, memory, claim.number, living)
            if now >= deadline:
                raise TimeoutError(f"no device was free in {timeout:g} s: {line}")
            if line != said or now - said_at > LOG_SECONDS:
                log.info("waiting for a device: %s", line)
                said, said_at = line, now
            time.sleep(min(LOOK_SECONDS, deadline - now))
    except BaseException:
        if claim is not None:
            claim.release()
        raise


def _situation(devices: Sequence[Device], memory: int | None, number: int, living: list) -> str:
    """What is asked for, who has it, and how many come first."""
    keys = {device.key for device in devices}
    before = sum(_waits(r) and n < number and not keys.isdisjoint(r["waits_for"]) for n, r in living)
    parts = [f"{_mebibytes(memory)}, {before} before this one"]
    for device in devices:
        holders = [
            f"{_mebibytes(r['memory'])} by {r['asked_by']} (process {r['process']} of {r['user']} on {r['host']})"
            for _, r in living
            if r["device"] == device.key
        ]
        parts.append(f"{device.name} of {_mebibytes(device.memory)}: {', '.join(holders) or 'kept for those before'}")
    return "; ".join(parts)


def _mebibytes(memory: int | None) -> str:
    return "the whole" if memory is None else f"{memory / MEBIBYTE:.0f} MiB"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may not know its user's name
        return str(os.getuid())


def keep_device(
    word: str, memory: int | None = None, *, timeout: float | None = None, asked_by: str = ""
) -> str | None:
    """Lease a device for the rest of this process and let CUDA see no other. Call it before CUDA is first used.

    There is no way to give it back but to end: memory on a device is free only when its process is gone. Asked again,
    the process keeps what it has. What Slurm assigned is shared out among the processes of that Slurm job only: a
    Snakemake inside an allocation may start many, and Slurm keeps all others away.

    Args:
        word: auto, cpu or cuda; nothing is leased for cpu.
        memory: Bytes that the job will use at most, as far as one can tell: torch is kept from more on a device that
            is shared. None for a whole device, which a job that needs more than any device has takes as well.
        timeout: Seconds to wait at most; None for as long as it takes.
        asked_by: Who asks, for the log lines of those who wait.

    Returns:
        The device, as CUDA_VISIBLE_DEVICES now says; None if there is none, and the variable is as it was.

    Raises:
        ValueError: If SGDPHASES_DEVICES cannot be read, or no device has so much memory.
        TimeoutError: If there was no room in time.
    """
    if word == "cpu":
        return None
    if "device" not in _kept:
        devices, assigned = visible_devices()
        if not devices:
            return None
        if memory is not None and all(device.memory is not None and memory > device.memory for device in devices):
            log.warning("%s may not be enough: no device has %s", devices[0].name, _mebibytes(memory))
            memory = None
        if assigned:
            devices = _within_job(devices)
        _kept["device"] = acquire(devices, memory, folder=lease_folder(), timeout=timeout, asked_by=asked_by)
        _limit(memory, _kept["device"][0])
    os.environ[VISIBLE] = _kept["device"][0].name
    return os.environ[VISIBLE]


def _within_job(devices: Sequence[Device]) -> tuple[Device, ...]:
    """Devices called as no other Slurm job calls them: where cgroups hide the others, each job has a device 0."""
    job = os.environ.get("SLURM_JOB_ID", "?")
    return tuple(replace(device, key=f"job {job}: {device.key}") for device in devices)


def _limit(memory: int | None, device: Device) -> None:
    """Let torch refuse more than was leased, rather than take it from others; its variable is read as CUDA begins."""
    if memory is not None and device.memory is not None:
        earlier = os.environ.get(ALLOCATOR)
        share = f"per_process_memory_fraction:{memory / device.memory:.4f}"
        os.environ[ALLOCATOR] = f"{earlier},{share}" if earlier else share
