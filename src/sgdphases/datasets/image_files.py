"""Files of images where they lie: in an archive, read without unpacking it, or in a folder.

Nothing is written, so no member of an archive can be led anywhere; members that would be (links, absolute names, ..)
are refused all the same, and so is the archive.
"""

import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

LARGEST = 1 << 26
"""No single file is larger than this many bytes; one that says so is no image."""

Load = Callable[[], bytes]


class ImageError(ValueError):
    """An image, a class or an archive is not what it should be; the message names it."""


class Files(Protocol):
    """Regular files by their relative names.

    Attributes:
        where: What they lie in, for messages.
    """

    where: str

    def names(self) -> list[str]:
        """The names of all files, sorted, each once; what is unsafe raises an ImageError."""

    def loads(self, names: Iterable[str]) -> Iterator[tuple[str, Load]]:
        """Each name, in an order that suits, with what reads its bytes; that may run in another thread."""

    def text(self, name: str) -> str:
        """The text of a small file; an ImageError where there is none."""


class ZipFiles:
    """The files of a zip archive.

    Args:
        path: The archive.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise ImageError(f"{path} is no readable zip archive: {error}") from None

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        found = []
        for member in self._archive.infolist():
            _check_name(self.where, member.orig_filename)
            mode = member.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _not_a_file(self.where, member.filename)
            if not member.is_dir():
                _check_size(self.where, member.filename, member.file_size)
                found.append(member.filename)
        return _once(self.where, found)

    def loads(self, names: Iterable[str]) -> Iterator[tuple[str, Load]]:
        """Each name with what reads its bytes."""
        for name in names:
            yield name, lambda name=name: self._bytes(name)

    def text(self, name: str) -> str:
        """The text of a small file."""
        return _decoded(self.where, name, self._bytes(name))

    def _bytes(self, name: str) -> bytes:
        try:
            return self._archive.read(name)
        except KeyError:
            raise ImageError(f"{self.where} has no {name}") from None
        except (zipfile.BadZipFile, OSError, RuntimeError, EOFError) as error:
            raise ImageError(f"{self.where}: {name} cannot be read: {error}") from None


class TarFiles:
    """The files of a tar archive, compressed or not: gone through from the beginning whenever something is read.

    Args:
        path: The archive.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._path = path

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        return _once(self.where, [name for name, _ in self._members()])

    def loads(self, names: Iterable[str]) -> Iterator[tuple[str, Load]]:
        """Each name with its bytes, in the archive's order."""
        for name, content in self._members(set(names)):
            if content is not None:
                yield name, lambda content=content: content

    def text(self, name: str) -> str:
        """The text of a small file."""
        found = [load() for _, load in self.loads([name])]
        if not found:
            raise ImageError(f"{self.where} has no {name}")
        return _decoded(self.where, name, found[0])

    def _members(self, wanted: Container[str] = ()) -> Iterator[tuple[str, bytes | None]]:
        """Regular files, checked, with the bytes of those that are wanted."""
        try:
            with tarfile.open(self._path, "r|*") as archive:
                for member in archive:
                    _check_name(self.where, member.name)
                    if not (member.isfile() or member.isdir()):
                        raise _not_a_file(self.where, member.name)
                    if member.isfile():
                        _check_size(self.where, member.name, member.size)
                        name = member.name.removeprefix("./")
                        yield name, archive.extractfile(member).read() if name in wanted else None
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ImageError(f"{self.where} is no readable tar archive: {error}") from None


class FolderFiles:
    """The files of a folder.

    Args:
        folder: The folder.
        patterns: Which files, as `Path.glob` understands it.
        prefix: What stands before their names.
    """

    def __init__(self, folder: Path, patterns: Sequence[str], prefix: str = "") -> None:
        self.where = str(folder)
        self._folder, self._patterns, self._prefix = folder, patterns, prefix

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        found = [path for pattern in self._patterns for path in self._folder.glob(pattern)]
        return _once(self.where, [self._prefix + path.relative_to(self._folder).as_posix() for path in found])

    def loads(self, names: Iterable[str]) -> Iterator[tuple[str, Load]]:
        """Each name with what reads its bytes."""
        for name in names:
            yield name, lambda name=name: self._bytes(name)

    def text(self, name: str) -> str:
        """The text of a small file."""
        return _decoded(self.where, name, self._bytes(name))

    def _bytes(self, name: str) -> bytes:
        try:
            with (self._folder / name.removeprefix(self._prefix)).open("rb") as stream:
                content = stream.read(LARGEST + 1)
        except OSError as error:
            raise ImageError(f"{self.where}: {name} cannot be read: {error.strerror or error}") from None
        _check_size(self.where, name, len(content))
        return content


def _check_name(where: str, name: str) -> None:
    """Refuse an archive with a name that would lead out of the folder it is unpacked in."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise ImageError(f"{where}: the name {name!r} leads out of its folder, and the archive is refused")


def _not_a_file(where: str, name: str) -> ImageError:
    """What is said of an archive with a member that is neither file nor folder."""
    return ImageError(f"{where}: {name} is a link or a device, and the archive is refused")


def _check_size(where: str, name: str, size: int) -> None:
    """Refuse what is too large to be an image."""
    if size > LARGEST:
        raise ImageError(f"{where}: {name} has {size} bytes, more than any image ({LARGEST})")


def _once(where: str, names: list[str]) -> list[str]:
    """Sorted names, none of which may stand there twice."""
    names = sorted(names)
    for first, second in zip(names, names[1:], strict=False):
        if first == second:
            raise ImageError(f"{where} has two files {first}, and the archive is refused")
    return names


def _decoded(where: str, name: str, content: bytes) -> str:
    """Bytes as text."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ImageError(f"{where}: {name} is no text: {error}") from None
