"""Where the images of a table come from: a published archive, a part of it on a mirror, or a folder."""

import functools
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pooch

from sgdphases.datasets.download import DownloadError, fetch, fetch_from, fetch_text
from sgdphases.datasets.image_files import Files, FolderFiles, ImageError, TarFiles, ZipFiles
from sgdphases.datasets.registry import Entry
from sgdphases.datasets.remote import (
    MIRROR_VARIABLE,
    RemoteFile,
    addresses,
    imagenet_folder,
    mirror_list,
    public,
    remote_files,
)
from sgdphases.files import read_json, sha256, write_json

log = logging.getLogger(__name__)

PARTS = ("train", "test")
SUMS = "SHA256SUMS"
_TINY = "tiny-imagenet-200"
_TINY_PATTERNS = ("words.txt", "train/*/images/*.JPEG", "val/val_annotations.txt", "val/images/*.JPEG")
_CLASS_PATTERNS = tuple(f"{part}/*/*" for part in ("train", "val"))
_CLASS_FILE = re.compile(r"(?P<part>train|val)/(?P<name>[^/]+)/[^/]+\.(?:jpe?g|png)", re.IGNORECASE)

Images = dict[str, dict[str, list[str]]]
"""Names of files by part, train or test, and by class."""


@dataclass(frozen=True)
class Source:
    """Images that were found.

    Attributes:
        files: What reads them.
        images: Their names by part (train, test) and class; the classes are sorted and the same in both.
        titles: What classes are called in words, where that is known.
        address: Where they come from, without credentials.
        archive: The archive as a manifest describes it; None for a folder.
    """

    files: Files
    images: Images
    address: str
    titles: dict[str, str] = field(default_factory=dict)
    archive: dict[str, Any] | None = None


def find_source(
    entry: Entry, parameters: Mapping[str, Any], raw: Path, mirrors: Sequence[str] = (), imagenet: str = ""
) -> Source:
    """Bring or find the images that a table is made of; the caller holds the lock of the folder.

    Args:
        entry: The data set.
        parameters: `classes` and `resolution` as `registry.stored` gives them.
        raw: Where archives are kept; it exists.
        mirrors: Mirrors from config.yaml.
        imagenet: The user's own folder, where config.yaml names one.

    Returns:
        The source; it has images of all wanted classes, for training and for test.

    Images that cannot be had raise a `DownloadError`, a FileNotFoundError (no folder) or an `ImageError`.
    """
    classes = parameters["classes"]
    if entry.name == "imagenet":
        folder = imagenet_folder(imagenet)
        files = FolderFiles(folder, _CLASS_PATTERNS)
        return Source(files, chosen(files, _class_folders(files.names()), classes), str(folder))
    remote = remote_files(entry, parameters)[0]
    if entry.name == "imagenette":
        address = _fetched(remote, raw, mirror_list(mirrors))
        files = TarFiles(raw / remote.name)
        images = _class_folders(files.names(), f"{remote.name.removesuffix('.tgz')}/")
        return Source(files, chosen(files, images, classes), address, _titles(), _described(remote, raw, address))
    return _tiny_imagenet(remote, raw, mirror_list(mirrors), classes)


def chosen(files: Files, images: Images, classes: Sequence[str] | int | None) -> Images:
    """The images of the classes that are wanted.

    Args:
        files: Where they lie, for messages.
        images: All there are.
        classes: Names of classes; or how many, equally spaced in the sorted list; or None for all.

    Returns:
        Part to class to names, classes sorted.

    Raises:
        ImageError: If there are too few classes, or a class has no images in one of the parts.
    """
    known = sorted(images["train"])
    if isinstance(classes, int):
        if classes > len(known):
            raise ImageError(f"{files.where}: classes is {classes}, but it has only {len(known)}")
        names = [known[place * len(known) // classes] for place in range(classes)]
    else:
        names = known if classes is None else sorted(classes)
    if not names:
        raise ImageError(f"{files.where} has no images in the layout that is wanted")
    for part in PARTS:
        missing = [name for name in names if not images[part].get(name)]
        if missing:
            have = ", ".join(sorted(images[part])) or "none"
            raise ImageError(f"{files.where} has no {part} images of {', '.join(missing)}; it has classes: {have}")
    return {part: {name: images[part][name] for name in names} for part in PARTS}


def _class_folders(names: Sequence[str], prefix: str = "") -> Images:
    """Images that lie in train/<class>/ and val/<class>/."""
    images: Images = {part: {} for part in PARTS}
    for name in names:
        match = _CLASS_FILE.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if match:
            part = "train" if match["part"] == "train" else "test"
            images[part].setdefault(match["name"], []).append(name)
    return images


def _tiny_layout(files: Files) -> tuple[Images, dict[str, str]]:
    """Images in the layout of tiny-imagenet-200, and what its classes are called; val's are the test images."""
    names = files.names()
    images: Images = {part: {} for part in PARTS}
    for name in names:
        match = re.fullmatch(rf"{_TINY}/train/([^/]+)/images/[^/]+\.JPEG", name)
        if match:
            images["train"].setdefault(match[1], []).append(name)
    table, known = f"{_TINY}/val/val_annotations.txt", set(names)
    for number, line in enumerate(files.text(table).splitlines(), 1):
        words = line.split("\t")
        image = f"{_TINY}/val/images/{words[0]}"
        if len(words) < 2 or image not in known:
            raise ImageError(f"{files.where}: {table}, line {number}: {line!r} names no image that is there")
        images["test"].setdefault(words[1], []).append(image)
    lines = files.text(f"{_TINY}/words.txt").splitlines() if f"{_TINY}/words.txt" in known else []
    return images, dict(line.split("\t", 1) for line in lines if "\t" in line)


def _tiny_imagenet(remote: RemoteFile, raw: Path, mirrors: list[str], classes: Sequence[str]) -> Source:
    """Tiny ImageNet from the first place that has all classes: here, then each mirror, then the publisher."""
    tried = []
    for open_files in _tiny_places(remote, raw, mirrors):
        try:
            files, address, archive = open_files()
            images, titles = _tiny_layout(files)
            return Source(files, chosen(files, images, classes), address, titles, archive)
        except (DownloadError, ImageError) as error:
            log.info("%s", error)
            tried.append(f"  - {error}")
    raise DownloadError(
        "\n".join(
            [
                f"tiny_imagenet with the wanted classes ({len(classes)} of 200) could not be had:",
                *tried,
                f"Set {MIRROR_VARIABLE}, or data.mirrors in config.yaml, to an address or a folder that holds: "
                f"{remote.folder}/{remote.name}, or zip archives with fewer classes beside their {SUMS}, or (a folder) "
                f"{remote.folder}/{_TINY}/ unpacked",
            ]
        )
    )


Opened = tuple[Files, str, dict[str, Any] | None]


def _tiny_places(remote: RemoteFile, raw: Path, mirrors: list[str]) -> Iterator[Callable[[], Opened]]:
    """Where Tiny ImageNet may be, one place after the other; a mirror's list is read when its turn comes."""

    def archive(address: str, wanted: RemoteFile) -> Callable[[], Opened]:
        def fetched() -> Opened:
            source = _kept(wanted, raw)
            if not source:  # remembered before it is there: a job killed in between would not know where it came from
                source = _remembered(raw, wanted, public(address))
                fetch_from(address, wanted, raw / wanted.name)
            return ZipFiles(raw / wanted.name), source, _described(wanted, raw, source)

        return fetched

    parts = read_json(raw / "parts.json") if (raw / "parts.json").exists() else {}
    known = [remote, *(RemoteFile(name, remote.folder, "", sha256=digest) for name, digest in sorted(parts.items()))]
    here = [wanted for wanted in known if _kept(wanted, raw)]
    yield from (archive("", wanted) for wanted in here)
    for mirror in mirrors:
        there = [wanted for wanted in (remote, *_listed_parts(remote, mirror)) if wanted not in here]
        yield from (archive(addresses(wanted, [mirror])[0], wanted) for wanted in there)
        folder = _local(mirror, f"{remote.folder}/{_TINY}")
        if folder is not None and folder.is_dir():
            yield lambda folder=folder: (FolderFiles(folder, _TINY_PATTERNS, f"{_TINY}/"), str(folder), None)
    for address in remote.official:
        yield archive(address, remote)


def _listed_parts(remote: RemoteFile, mirror: str) -> list[RemoteFile]:
    """Other archives of the same layout on a mirror, as its list of checksums names them."""
    try:
        text = fetch_text(f"{mirror}/{quote(remote.folder)}/{SUMS}")
    except DownloadError as error:
        log.info("%s", error)
        return []
    lines = re.findall(r"^([0-9a-f]{64}) [ *]([\w.-]+\.zip)$", text, flags=re.MULTILINE)
    return [RemoteFile(name, remote.folder, "", sha256=digest) for digest, name in lines if name != remote.name]


def _local(mirror: str, path: str) -> Path | None:
    """A path on a mirror that is a folder of this machine."""
    parts = urlsplit(mirror)
    return Path(unquote(parts.path)) / path if parts.scheme == "file" else None


def _fetched(remote: RemoteFile, raw: Path, mirrors: list[str]) -> str:
    """Bring an archive unless it is here; where it comes from."""
    remember = functools.partial(_remembered, raw, remote)
    return _kept(remote, raw) or fetch(remote, raw / remote.name, mirrors=mirrors, before=remember)


def _kept(remote: RemoteFile, raw: Path) -> str:
    """Where an archive that lies here, whole, came from; empty if it does not."""
    kind, checksum = remote.checksum
    path = raw / remote.name
    if not path.is_file() or pooch.file_hash(str(path), alg=kind) != checksum:
        return ""
    sources = read_json(raw / "sources.json") if (raw / "sources.json").exists() else {}
    return sources.get(remote.name) or path.absolute().as_uri()


def _remembered(raw: Path, remote: RemoteFile, source: str) -> str:
    """Keep where an archive came from, and of a mirror's part also its checksum."""
    for file, entry in (("sources.json", source), ("parts.json", remote.sha256)):
        if entry:
            known = read_json(raw / file) if (raw / file).exists() else {}
            write_json(raw / file, known | {remote.name: entry})
    return source


def _described(remote: RemoteFile, raw: Path, source: str) -> dict[str, Any]:
    """An archive as manifests describe it."""
    return {
        "name": remote.name,
        "bytes": (raw / remote.name).stat().st_size,
        "sha256": sha256(raw / remote.name),
        "md5": remote.md5 or None,
        "source": source,
        "official": [public(address) for address in remote.official],
    }


def _titles() -> dict[str, str]:
    """What Imagenette's classes are called."""
    from torchvision.datasets import Imagenette

    return {name: ", ".join(words) for name, words in Imagenette._WNID_TO_CLASS.items()}
