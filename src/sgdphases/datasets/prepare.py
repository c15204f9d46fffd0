"""A downloaded data set made ready to be read: files in place, unpacked, verified, described."""

import functools
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sgdphases.datasets.gzipped import unpack, unpacked
from sgdphases.datasets.image_table import open_table, read_manifest
from sgdphases.datasets.registry import Entry, find, stored
from sgdphases.datasets.remote import RemoteFile, mirror_list, public, remote_files
from sgdphases.datasets.table_folder import MANIFEST, TableError, table_folder
from sgdphases.files import read_json, sha256, write_json

log = logging.getLogger(__name__)


def make_ready(
    name: str,
    directory: str | Path,
    mirrors: Iterable[str] = (),
    *,
    parameters: Mapping[str, Any] | None = None,
    imagenet: str = "",
    threads: int = 1,
) -> dict[str, Any]:
    """Download, verify and unpack a data set, unless that is done; safe to call from many processes at once.

    Args:
        name: The data set.
        directory: The data directory; the data set takes the folder of its name in it.
        mirrors: Mirrors to try before those of the environment and the official addresses.
        parameters: What a card says beside the name; decides which images become a table, and matters for nothing else.
        imagenet: The user's own folder for the data set imagenet; the environment is asked where it is empty.
        threads: How many images of a table are decoded at a time.

    Returns:
        The manifest: what the data set is, and of each file its size, sha256, official md5 and source; of a table what
        `decoding.build_table` says of it.

    A file that cannot be had raises a `download.DownloadError`.
    """
    entry = find(name)
    if entry.table:
        return _table({"name": name, **(parameters or {})}, Path(directory), list(mirrors), imagenet, threads)
    remotes = remote_files(entry)
    folder = Path(directory) / entry.name
    raw = raw_folder(entry, Path(directory))
    # Files are put in place whole, so looking needs no lock; a folder that is complete may be read-only.
    if remotes and not all(_complete(remote, raw) for remote in remotes):
        raw.mkdir(parents=True, exist_ok=True)
        with _alone(folder / ".lock"):
            _fill(remotes, raw, mirror_list(mirrors))
    return _manifest(entry, remotes, raw)


def _table(
    dataset: Mapping[str, Any], directory: Path, mirrors: list[str], imagenet: str, threads: int
) -> dict[str, Any]:
    """The manifest of the table of a data set, which is made first if it is not there or damaged."""
    from sgdphases.datasets.decoding import build_table
    from sgdphases.datasets.image_sources import find_source

    entry, parameters = find(dataset["name"]), stored(dataset)
    folder, raw = table_folder(dataset, directory), raw_folder(entry, directory)
    if _table_is_whole(dataset, directory):
        return read_manifest(folder / MANIFEST)
    raw.mkdir(parents=True, exist_ok=True)
    with _alone(raw.parent / ".lock"):
        if not _table_is_whole(dataset, directory):
            _sweep(remote_files(entry, parameters), raw)
            source = find_source(entry, parameters, raw, mirrors, imagenet)
            known = {"dataset": entry.name, "title": entry.title, "licence": entry.licence, "parameters": parameters}
            build_table(source, folder, known, threads=threads, former=_former(folder))
        return read_manifest(folder / MANIFEST)


def _table_is_whole(dataset: Mapping[str, Any], directory: Path) -> bool:
    """Whether the table of a data set is there with the bytes that it was made with."""
    try:
        open_table(dataset, directory)
    except FileNotFoundError:
        return False
    except TableError as error:
        log.warning("making it again: %s", str(error).partition("; ")[0])
        return False
    return True


def _former(folder: Path) -> dict[str, Any] | None:
    """What the manifest of a damaged table says, as long as it is whole itself."""
    try:
        return read_manifest(folder / MANIFEST)
    except (FileNotFoundError, TableError):
        return None


def raw_folder(entry: Entry, directory: Path) -> Path:
    """Where a data set's files lie: for torchvision's classes the folder in which they look.

    Args:
        entry: The data set.
        directory: The data directory.

    Returns:
        The folder; it need not exist.
    """
    return directory / entry.name / ("FashionMNIST/raw" if entry.name == "fashion_mnist" else "raw")


def _fill(remotes: Sequence[RemoteFile], raw: Path, mirrors: list[str]) -> None:
    """Bring every file that is not there and unpack it; the caller holds the lock."""
    from sgdphases.datasets.download import fetch

    _sweep(remotes, raw)
    missing = [remote for remote in remotes if not _intact(remote, raw)]
    while missing:
        remote = missing[0]
        remember = functools.partial(_remember, raw, remote.name)
        source = fetch(remote, raw / remote.name, mirrors=mirrors, wanted=missing, before=remember)
        # A mirror that is down costs its waiting time once, not once per file.
        mirrors = sorted(mirrors, key=lambda mirror: not source.startswith(f"{public(mirror)}/"))
        missing.pop(0)
    for remote in remotes:
        if not unpacked(raw / remote.name):
            unpack(raw / remote.name)


def _complete(remote: RemoteFile, raw: Path) -> bool:
    """Whether a file is there, right and unpacked."""
    return _intact(remote, raw) and unpacked(raw / remote.name)


def _intact(remote: RemoteFile, raw: Path) -> bool:
    """Whether a file is there with its official checksum, in torchvision's eyes."""
    from torchvision.datasets.utils import check_integrity

    return check_integrity(str(raw / remote.name), remote.md5)


def _sweep(remotes: Sequence[RemoteFile], raw: Path) -> None:
    """Remove temporary files that killed processes left; under the lock nobody else writes here."""
    stale = list(raw.glob("tmp????????"))
    for remote in remotes:
        stale += raw.glob(f".{Path(remote.name).stem}.*")
    for path in stale:
        path.unlink(missing_ok=True)


def _remember(raw: Path, name: str, source: str) -> None:
    """Keep the address a file came from, for later manifests."""
    write_json(raw / "sources.json", _sources(raw) | {name: source})


def _sources(raw: Path) -> dict[str, str]:
    """The address of each file that was downloaded here."""
    path = raw / "sources.json"
    return read_json(path) if path.exists() else {}


def _manifest(entry: Entry, remotes: Sequence[RemoteFile], raw: Path) -> dict[str, Any]:
    """Describe a data set that is ready; `digest` stands for the content of all its files."""
    sources = _sources(raw)
    files = [
        {
            "name": remote.name,
            "bytes": (raw / remote.name).stat().st_size,
            "sha256": sha256(raw / remote.name),
            "md5": remote.md5,
            "source": sources.get(remote.name),
            "official": [public(address) for address in remote.official],
        }
        for remote in remotes
    ]
    content = "\n".join([entry.name, *(file["sha256"] for file in files)])
    return {
        "dataset": entry.name,
        "title": entry.title,
        "licence": entry.licence,
        "files": files,
        "digest": hashlib.sha256(content.encode()).hexdigest(),
    }


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the system releases it when its holder dies."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        log.info("another process is making %s ready; waiting", path.parent)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
