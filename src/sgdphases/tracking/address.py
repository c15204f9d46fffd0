"""Where the tracking store is, whatever the working directory; and one writer at a time."""

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

LOCK_SECONDS = 60.0
SECRET = re.compile(r"([?&][\w.\-]*(?:password|passwd|pwd|token)=)[^&\s]*[^&\s'\"]", re.IGNORECASE)
"""What an address says after its `?` that nobody is to see; quotes that end a word on a command line stay."""


def absolute(uri: str) -> str:
    """The store's URI, independent of the working directory.

    Args:
        uri: A URI that MLflow knows, or the path of an SQLite file.

    Returns:
        The URI; SQLite's with an absolute path.
    """
    if uri.startswith("sqlite:"):
        path = uri.removeprefix("sqlite:///")
    elif "://" in uri:
        return uri
    else:
        path = uri
    return f"sqlite:///{Path(path).expanduser().resolve()}"


def shown(text: object) -> str:
    """A text as a log may show it: without users, passwords and tokens in addresses.

    Args:
        text: An address, a command line, an error that quotes one.

    Returns:
        The text, in every address with stars for what stands before the host and for secrets in its query.
    """
    # The query first: a password there may have an @, which would look like the end of what stands before the host.
    return re.sub(r"(?<=://)(?!/)\S+@", "***@", SECRET.sub(r"\1***", str(text)))


def has_password(uri: str) -> bool:
    """Whether an address names a password or a token, before its host or in its query; a user alone is none."""
    return bool(re.search(r"://[^/@\s]*:[^/@\s]*@", uri) or SECRET.search(uri))


def artifacts(uri: str) -> str | None:
    """Where a store keeps artifacts unless told otherwise.

    Args:
        uri: The store's URI, as `absolute` gives it.

    Returns:
        The URI of the folder `artifacts` beside an SQLite file, of `results/tracking/artifacts` for another database;
        None for a server, which knows by itself.
    """
    if uri.startswith("sqlite:"):
        return as_uri(Path(uri.removeprefix("sqlite:///")).parent / "artifacts")
    return None if uri.startswith(("http:", "https:")) else as_uri("results/tracking/artifacts")


def as_uri(root: str | Path) -> str:
    """The URI of a folder.

    Args:
        root: A folder, or a URI, which stays as it is.

    Returns:
        The URI.
    """
    return str(root) if "://" in str(root) else Path(root).expanduser().resolve().as_uri()


@contextlib.contextmanager
def one_writer(uri: str) -> Iterator[None]:
    """Keep other writers of this machine out of the store while the block runs.

    A lock that another process holds for longer than `LOCK_SECONDS` raises `filelock.Timeout`.

    Args:
        uri: The store's URI, as `absolute` gives it.
    """
    if uri.startswith("sqlite:"):
        path = Path(uri.removeprefix("sqlite:///") + ".lock")
    else:
        name = hashlib.sha256(uri.encode()).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"sgdphases-{os.getuid()}-{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, timeout=LOCK_SECONDS):
        yield
