"""Files that are whole: written under a temporary name, synced, renamed; read with checks."""

import functools
import hashlib
import itertools
import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

_HOST = platform.node().partition(".")[0] or "here"
_COUNT = itertools.count()


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; put the file in place only if the block succeeds.

    What exists under `path` is therefore always whole, also after a kill at any moment, and a reader that has the old
    file open keeps reading the old file.

    Args:
        path: The final name. Its folder is created.

    Yields:
        The temporary path to write to, in the same folder and with the same suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    temporary = path.with_name(f".{path.stem}.{_HOST}.{os.getpid()}.{next(_COUNT)}{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: str | Path) -> Any:
    """Read one JSON file.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        ValueError: If the file is no JSON; the message names the file and the place.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not readable as JSON: {error}") from error


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sweep(path: str | Path, *, alone: bool = False) -> None:
    """Remove what writers of a file that were killed have left beside it, a database's journal too.

    Args:
        path: The final name.
        alone: Whether nobody writes it now, so that what writers on other machines have left may go as well.
    """
    path = Path(path)
    prefix = f".{path.stem}."
    for left in path.parent.iterdir():
        host, _, rest = left.name.removeprefix(prefix).partition(".")
        process, _, rest = rest.partition(".")
        if not (left.name.startswith(prefix) and process.isdecimal() and rest.partition(".")[0].isdecimal()):
            continue
        if not _alive(int(process)) if host == _HOST else alone:
            left.unlink(missing_ok=True)


@functools.lru_cache(maxsize=1024)
def locks_reach(path: str | Path, mounts: str | Path = "/proc/self/mounts") -> bool:
    """Whether a lock on a file keeps other machines out as well, as far as the file system's options tell.

    NFS without its lock protocol, Lustre with `localflock` and BeeGFS as it is delivered give locks that hold on one
    machine only, and do not say so.

    Args:
        path: A file or folder; it need not exist.
        mounts: The table of mounted file systems; where there is none, locks are taken to reach.

    Returns:
        False where it is known that they do not.
    """
    place = Path(path).resolve()
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    known = [line.split(" ") for line in lines if line.count(" ") >= 3]
    above = [words for words in known if place.is_relative_to(_written_out(words[1]))]
    if not above:
        return True
    latest_first = reversed(above)  # of several on one place
    _, _, kind, options, *_ = max(latest_first, key=lambda words: len(words[1]))
    own = set(options.split(","))
    return not (kind == "beegfs" or own & {"nolock", "localflock", "local_lock=all", "local_lock=flock"})


def _written_out(place: str) -> str:
    """A place in the table of mounts, which writes blanks as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place)


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _alive(process: int) -> bool:
    """Whether a process of this machine is running; one that has ended and was not yet waited for is not."""
    try:
        return psutil.Process(process).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
