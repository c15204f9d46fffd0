"""Which files a data set needs, what they must be, and where they are found."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from sgdphases.datasets.registry import Entry

MIRROR_VARIABLE = "SGDPHASES_MIRROR"
IMAGENET_VARIABLE = "SGDPHASES_IMAGENET"


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Attributes:
        name: Its name, on mirrors and here.
        folder: Its folder on a mirror.
        md5: The checksum that its publisher gives; empty where a mirror alone has the file.
        official: The publisher's addresses of the file.
        sha256: The checksum that is asked for where there is no `md5`.
    """

    name: str
    folder: str
    md5: str
    official: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def checksum(self) -> tuple[str, str]:
        """The kind of checksum, md5 or sha256, and the checksum."""
        return ("md5", self.md5) if self.md5 else ("sha256", self.sha256)


_TINY_IMAGENET = RemoteFile(
    "tiny-imagenet-200.zip",
    "tiny-imagenet",
    "90528d7ca1a48142e341f4ef8d21d0de",
    ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
)


def remote_files(entry: Entry, parameters: Mapping[str, Any] | None = None) -> list[RemoteFile]:
    """The files of a data set, as the library that reads them names them.

    Args:
        entry: The data set.
        parameters: What a card says about it, where that decides which of the files are needed; None for all files.

    Returns:
        The files with their official checksums and addresses; none for a data set without a folder on mirrors.

    Raises:
        ValueError: If nothing is known about the data set's files.
    """
    if not entry.folder:
        return []
    if entry.name == "fashion_mnist":
        from torchvision.datasets import FashionMNIST

        return [
            RemoteFile(name, entry.folder, md5, tuple(f"{base}{name}" for base in FashionMNIST.mirrors))
            for name, md5 in FashionMNIST.resources
        ]
    if entry.name == "tiny_imagenet":
        return [_TINY_IMAGENET]
    if entry.name == "imagenette":
        from torchvision.datasets import Imagenette

        resolution = (parameters or {}).get("resolution")
        sizes = [size for size in (160, 320) if resolution is None or (resolution <= 160) == (size == 160)]
        archives = [Imagenette._ARCHIVES[f"{size}px"] for size in sizes]
        return [RemoteFile(address.rpartition("/")[2], entry.folder, md5, (address,)) for address, md5 in archives]
    raise ValueError(f"dataset {entry.name} has a folder on mirrors but its files are not known")


def mirror_list(mirrors: Iterable[str] = ()) -> list[str]:
    """All mirrors to try, in order: those given (from config.yaml), then those of the environment.

    Args:
        mirrors: http://, https:// or file:// addresses, or folders.

    Returns:
        Addresses without a slash at the end, each once; folders as file:// addresses.

    Raises:
        ValueError: If an address has another scheme or is not valid.
    """
    from_environment = os.environ.get(MIRROR_VARIABLE, "").replace(",", " ").split()
    return list(dict.fromkeys(_as_address(mirror) for mirror in [*mirrors, *from_environment]))


def addresses(remote: RemoteFile, mirrors: Iterable[str]) -> list[str]:
    """Where to look for a file, in order: each mirror's `<mirror>/<folder>/<name>`, then the official addresses.

    Args:
        remote: The file.
        mirrors: As `mirror_list` gives them.

    Returns:
        Full addresses.
    """
    path = f"{quote(remote.folder)}/{quote(remote.name)}"
    return [*(f"{mirror}/{path}" for mirror in mirrors), *remote.official]


def imagenet_folder(given: str = "") -> Path:
    """The user's own folder of ImageNet.

    Args:
        given: What config.yaml says; the environment is asked where it says nothing.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If none is named, or there is none; the message says what to set.
    """
    layout = "with train/<class>/*.JPEG and val/<class>/*.JPEG"
    where = f"data.imagenet in config.yaml or the variable {IMAGENET_VARIABLE}"
    named = given or os.environ.get(IMAGENET_VARIABLE, "")
    if not named:
        raise FileNotFoundError(f"dataset imagenet is never downloaded: set {where} to your own folder {layout}")
    folder = Path(named).expanduser()
    missing = [str(path) for path in (folder / "train", folder / "val") if not path.is_dir()]
    if missing:
        raise FileNotFoundError(f"{where} names {named}, but there is no folder {' and no '.join(missing)}")
    return folder.resolve()


def public(address: str) -> str:
    """Strip an address of what must not be shown or stored: user, password, query and fragment.

    Args:
        address: Any address.

    Returns:
        The rest of it.
    """
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _as_address(mirror: str) -> str:
    """A mirror as an address; plain paths become file:// addresses."""
    if "://" not in mirror:
        return Path(mirror).expanduser().resolve().as_uri()
    shown = mirror.rpartition("@")[2]
    try:
        parts = urlsplit(mirror)
        _ = parts.port  # read to be checked
    except ValueError as error:
        raise ValueError(f"mirror {shown} is no valid address: {error}") from None
    if parts.scheme not in ("http", "https", "file"):
        raise ValueError(f"mirror {shown} must be an http://, https:// or file:// address, or a folder")
    return mirror.rstrip("/")
