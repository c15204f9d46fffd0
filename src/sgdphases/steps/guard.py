"""One writer at a time for every file that a step writes, and files that are what they were when they were written.

Beside a file lies `.guard/<name>.json`. While a step works, it holds that file's lock (`flock`), which the system takes
back when the process ends, however it ends: a second job for the same file is refused as long as the first one lives.
When the step is done, the file's size and SHA-256 stand there, and the steps that read the file check it first. A file
that was damaged meanwhile is named and moved aside, so that the same `snakemake` command makes it again.

`python -m sgdphases.steps.guard results` checks everything that was written.
"""

import argparse
import fcntl
import hashlib
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sgdphases.datasets.gzipped import unpack, unpacked
from sgdphases.files import locks_reach, sha256, sweep, write_json, writing

FOLDER = ".guard"
PATIENCE = 2.0  # seconds: what was killed just now is gone by then
LITTLE = 2**20  # bytes; with less than that a disk counts as full

WRITES = {
    "download": ("manifest",),
    "resolve": ("output",),
    "start": ("start",),
    "train": ("records",),
    "measure": ("measured",),
    "merge": ("cube",),
    "fit": ("output",),
    "grade": ("claims",),
    "draw": ("png", "svg"),
    "ledger": ("ledger", "page"),
}
"""The options of each step that name what it writes."""

READS = {
    "start": ("content", "manifest"),
    "train": ("shard", "start", "manifest"),
    "measure": ("records",),
    "merge": ("measured", "start"),
    "fit": ("cube",),
    "grade": ("cube", "fits"),
    "draw": ("cube", "fits"),
    "ledger": ("claims",),
    "track": ("cube", "claims", "figures"),
}
"""The options of each step that name what it reads and another step has written."""

SHARED = ("download",)
"""Steps that may do the same work side by side: they have a lock of their own, where they wait for each other."""

log = logging.getLogger(__name__)
_held: dict[Path, int | None] = {}  # what this process writes, and the open guards with the locks


def enter(rule: str, arguments: argparse.Namespace) -> None:
    """Check what a step reads, and be the only one who writes what it writes.

    Args:
        rule: The step's name.
        arguments: Its arguments.

    Raises:
        SystemExit: If an input is damaged, or another process writes the output; the message names the file.
    """
    _release(seal=False)  # of a step that came to nothing before in this process
    for path in _paths(READS.get(rule, ()), arguments):
        check(path)
    if rule in ("start", "train") and arguments.manifest is not None:
        check_unpacked(Path(arguments.data), Path(arguments.manifest))
    for path in _paths(WRITES.get(rule, ()), arguments):
        _held[path.absolute()] = None if rule in SHARED else _locked(path)


@contextmanager
def finishing() -> Iterator[None]:
    """When the block has ended well, write down what the files of this step are; let go of them however it ends."""
    try:
        yield
    except BaseException:
        for path in _release(seal=False):
            _explain(path)
        raise
    _release(seal=True)


def check(path: Path) -> None:
    """Refuse a file that is not what it was when its step had written it, and move it aside.

    A manifest is written again instead: made by the step `download`, it would take all that was trained on its data
    with it.

    Args:
        path: The file; one that no step has vouched for passes.

    Raises:
        SystemExit: If it is damaged; the message names it and says what to do.
    """
    fault = damage(path)
    if fault is None:
        return
    if _restored(path):
        log.warning("%s was damaged (%s) and is written again from %s", path, fault, _guard(path))
        return
    aside = path.with_name(f"{path.name}.damaged")
    guard = _guard(path)
    words = f"{path} is damaged: {fault}; delete it, and the same snakemake command makes it again"
    if not os.access(guard.parent, os.W_OK | os.X_OK):  # the guard has to go with the file
        raise SystemExit(f"{words} (and {guard}, which this user cannot delete)")
    try:
        os.replace(path, aside)
        guard.unlink(missing_ok=True)
    except OSError:
        raise SystemExit(words) from None
    raise SystemExit(
        f"{path} is damaged: {fault}; it is kept as {aside.name}, and the same snakemake command makes it again, or: "
        f"snakemake --cores all {path}. "
        "(If you have changed it on purpose, give it back its name: nothing vouches for it any more.)"
    )


def damage(path: Path) -> str | None:
    """What is wrong with a file, as far as its step has vouched for it.

    Args:
        path: The file.

    Returns:
        Words; None where nothing is wrong, where the file is not there, and where nobody has vouched for it.
    """
    for _ in range(3):
        known = _known(path)
        if "sha256" not in known or not path.is_file():
            return None
        size = path.stat().st_size
        if size != known["bytes"]:
            fault = f"it has {size} bytes and was written with {known['bytes']}"
        elif (found := sha256(path)) != known["sha256"]:
            fault = f"its SHA-256 is {found} and was {known['sha256']} when it was written"
        else:
            return None
        if known == _known(path):  # else it was written anew while it was looked at
            return fault
    return None


def vouched(path: Path) -> bool:
    """Whether a file is there as its step has vouched for."""
    return path.is_file() and "sha256" in _known(path) and damage(path) is None


def check_unpacked(data: Path, manifest: Path) -> None:
    """Check files of a data set that are read as they are: those unpacked beside their gzip archives.

    What is damaged is unpacked again. Where the archive, too, is not what it was, the manifest is removed: the step
    `download` then mends it.

    Args:
        data: The data directory.
        manifest: The data set's manifest.

    Raises:
        SystemExit: If there is no manifest, or a file is damaged and could not be unpacked again; the message names it.
    """
    try:
        known = json.loads(manifest.read_text(encoding="utf-8"))
    except FileNotFoundError:  # another job has met a damaged file
        raise SystemExit(f"{manifest} is not there; the same snakemake command makes it again") from None
    sums = {file["name"]: file["sha256"] for file in known.get("files", ()) if file["name"].endswith(".gz")}
    for archive in sorted((data / known["dataset"]).rglob("*.gz")) if sums else ():
        if archive.name not in sums or _holds(archive):  # the first: a file of the user's
            continue
        target = archive.with_suffix("")
        if sha256(archive) == sums[archive.name]:
            try:
                unpack(archive)
            except OSError as error:
                raise SystemExit(f"{target} is damaged and could not be unpacked again: {error}") from None
            log.warning("%s was damaged and is unpacked again", target)
            continue
        manifest.unlink(missing_ok=True)
        _guard(manifest).unlink(missing_ok=True)
        raise SystemExit(f"{target} and {archive.name} are damaged; the same snakemake command brings them back")


def main(argv: Sequence[str] | None = None) -> None:
    """Check every file under a folder that a step has vouched for.

    Args:
        argv: Arguments without the program's name; None for the command line's.

    Raises:
        SystemExit: With status 1 if a file is damaged; standard error names it.
    """
    parser = argparse.ArgumentParser(prog="python -m sgdphases.steps.guard", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="for example results")
    folder = parser.parse_args(argv).folder
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    files = [path.parents[1] / path.stem for path in sorted(folder.rglob(f"{FOLDER}/*.json"))]
    faults = {path: fault for path in files if (fault := damage(path)) is not None}
    for path, fault in faults.items():
        log.error("%s is damaged: %s; delete it and make it again: snakemake --cores all %s", path, fault, path)
    log.info("%d files checked, %d damaged", len(files), len(faults))
    if faults:
        raise SystemExit(1)


def _paths(options: Sequence[str], arguments: argparse.Namespace) -> Iterable[Path]:
    """The paths that options name; those not given are left out."""
    for option in options:
        value = getattr(arguments, option, None)
        yield from map(Path, value if isinstance(value, list) else [] if value is None else [value])


def _guard(path: Path) -> Path:
    return path.parent / FOLDER / f"{path.name}.json"


def _known(path: Path) -> dict[str, Any]:
    """What a guard says; nothing where there is none or where it is torn."""
    try:
        known = json.loads(_guard(path).read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _restored(path: Path) -> bool:
    """Write a file again whose guard keeps its content; whether that was done."""
    known = _known(path)
    content = known.get("content", "").encode()
    if not content or hashlib.sha256(content).hexdigest() != known["sha256"]:
        return False
    try:
        with writing(path) as new:
            new.write_bytes(content)
    except OSError:
        return False
    return True


def _locked(path: Path) -> int | None:
    """Lock a file's guard and forget what it was, or end this process; None where there can be no guard."""
    guard = _guard(path)
    try:
        guard.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(guard, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        if "sha256" in _known(path):  # it would call the new file damaged
            raise SystemExit(f"{guard} cannot be changed ({error}): make it yours or delete it, then go on") from None
        log.warning("%s has no guard (%s): another process that writes it would go unnoticed", path, error)
        return None
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(handle)
                raise SystemExit(_refusal(path)) from None
            time.sleep(0.05)
        except OSError as error:
            log.warning("%s: no locks here (%s): another process that writes it would go unnoticed", path, error)
            break
        else:
            shared = locks_reach(guard)
            if not shared:
                log.warning("%s: locks here hold on one machine: a process of another one would go unnoticed", path)
            sweep(path, alone=shared)
            break
    _say(handle, {"process": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
    return handle


def _refusal(path: Path) -> str:
    """What is said to the second writer of a file."""
    known = _known(path)
    who = f"process {known.get('process', '?')} on {known.get('host', '?')} since {known.get('since', '?')}"
    return (
        f"{path} is being written by another job ({who}) that is still alive, perhaps of a run that was killed; "
        f"let it end, or end it (kill {known.get('process', '?')}), then give the same command again"
    )


def _say(handle: int, content: dict[str, Any]) -> None:
    """Replace what a guard says."""
    try:
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps(content).encode())  # opened for appending: at its beginning
    except OSError as error:  # a full disk: nothing vouches for the file then
        log.warning("a guard could not be written: %s", error)


def _release(*, seal: bool) -> list[Path]:
    """Let go of everything that is held; say what the files are if asked to."""
    paths = []
    while _held:
        path, handle = _held.popitem()
        paths.append(path)
        known = {"bytes": path.stat().st_size, "sha256": sha256(path)} if seal and path.is_file() else {}
        if handle is None and known:
            with suppress(OSError):
                write_json(_guard(path), {**known, "content": path.read_text(encoding="utf-8")})
        if handle is not None:
            if known:
                _say(handle, known)
            os.close(handle)
    return paths


def _explain(path: Path) -> None:
    """Say what libraries leave out of their messages: that a disk is full, or that a folder cannot be written to."""
    folder = path.parent
    try:
        room = os.statvfs(folder)
        if room.f_bavail * room.f_frsize < LITTLE:
            log.error("%s could not be written: the disk is full", path)
        elif not os.access(folder, os.W_OK | os.X_OK):
            log.error("%s could not be written: there is no permission to write in %s", path, folder)
    except OSError as error:
        log.error("%s could not be written: %s", path, error)


def _holds(archive: Path) -> bool:
    """Whether what is unpacked beside an archive is what its end says; the end of a cut one says nothing."""
    try:
        return unpacked(archive)
    except OSError:
        return False


if __name__ == "__main__":
    main()
