"""One file from one of several places: resumed, retried, checked, and in place only when whole.

pooch gives the frame (is the file there, fetch it under a temporary name, check, rename); what it lacks is here: an
unfinished body kept as `<name>.part` and continued by HTTP Range, file:// addresses, bad files kept aside.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pooch
import requests
import urllib3
from tqdm import tqdm

from sgdphases.datasets.remote import MIRROR_VARIABLE, RemoteFile, addresses, public

log = logging.getLogger(__name__)

CHUNK = 1 << 16
LONGEST_PAUSE = 30.0
LONGEST_TEXT = 1 << 20
# Answers after which the same request may succeed a little later.
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(RuntimeError):
    """A file could not be had; the message says from where and why."""


class _InterruptedTransferError(Exception):
    """The transfer stopped for a reason that may pass."""


@dataclass(frozen=True)
class Patience:
    """How hard to try one address.

    Attributes:
        attempts: Failures in a row, none of which brought a new byte, before the address is given up.
        pause: Seconds before the second attempt; doubled after each failure, at most LONGEST_PAUSE.
        timeout: Seconds to wait for a connection, and for the next bytes.
    """

    attempts: int = 4
    pause: float = 0.5
    timeout: tuple[float, float] = (10.0, 60.0)


def fetch(
    remote: RemoteFile,
    path: Path,
    *,
    mirrors: Sequence[str],
    wanted: Sequence[RemoteFile] = (),
    before: Callable[[str], object] | None = None,
    patience: Patience | None = None,
) -> str:
    """Put a file in place, from the first address that gives it with the right checksum.

    The caller holds the lock of the folder. A file in place with a wrong checksum is moved aside first.

    Args:
        remote: What is wanted.
        path: Where it shall lie.
        mirrors: As `mirror_list` gives them; tried before the official addresses.
        wanted: All files still missing, to be named if this one cannot be had.
        before: Told each address, without credentials, before it is tried: the caller knows where the file came from
            even if it is killed as soon as the file is in place.
        patience: How hard to try each address.

    Returns:
        The address that gave the file, without credentials.

    Raises:
        DownloadError: If no address gave the file: each with its reason, and what to set.
    """
    failures = []
    for address in addresses(remote, mirrors):
        if before is not None:
            before(public(address))
        try:
            return fetch_from(address, remote, path, patience=patience)
        except DownloadError as error:
            log.warning("%s", error)
            failures.append(f"  - {error}")
    names = ", ".join(f"{file.folder}/{file.name}" for file in (wanted or [remote]))
    raise DownloadError(
        "\n".join(
            [
                f"{remote.name} could not be downloaded:",
                *failures,
                f"Set {MIRROR_VARIABLE}, or data.mirrors in config.yaml, to an address or a folder that holds: {names}",
            ]
        )
    )


def fetch_from(address: str, remote: RemoteFile, path: Path, *, patience: Patience | None = None) -> str:
    """Put a file in place, from this address or not at all; as `fetch` in all else.

    Args:
        address: The file's full address.
        remote: What is wanted.
        path: Where it shall lie.
        patience: How hard to try.

    Returns:
        The address, without credentials.

    What goes wrong raises a DownloadError that names the address.
    """
    pooch.get_logger().setLevel(logging.WARNING)  # it would name addresses with their credentials
    kind, checksum = remote.checksum
    if path.exists():
        _keep_aside(path, pooch.file_hash(str(path), alg=kind))
    pooch.retrieve(
        address,
        known_hash=f"{kind}:{checksum}",
        fname=path.name,
        path=path.parent,
        downloader=_Downloader(remote, path.with_name(f"{path.name}.part"), patience or Patience()),
    )
    return public(address)


def fetch_text(address: str, *, patience: Patience | None = None) -> str:
    """Read a small text that nothing is known about, such as a mirror's list of checksums.

    Args:
        address: Its address.
        patience: How long to wait; it is asked for once.

    Returns:
        The text.

    Raises:
        DownloadError: If it could not be had, or is longer than LONGEST_TEXT bytes.
    """
    try:
        body = _begun(address, (patience or Patience()).timeout)
        if len(body) > LONGEST_TEXT:
            raise DownloadError(f"longer than {LONGEST_TEXT} bytes")
        return body.decode()
    except DownloadError as error:
        raise DownloadError(f"{public(address)}: {error}") from None
    except UnicodeDecodeError:
        raise DownloadError(f"{public(address)}: no text") from None


def _begun(address: str, timeout: tuple[float, float]) -> bytes:
    """The first LONGEST_TEXT + 1 bytes of what an address gives."""
    if urlsplit(address).scheme == "file":
        with _opened(address) as stream:
            return stream.read(LONGEST_TEXT + 1)
    try:
        with requests.get(address, stream=True, timeout=timeout) as response:
            if response.status_code != 200:
                raise DownloadError(f"the server answered {response.status_code} {response.reason}")
            return response.raw.read(LONGEST_TEXT + 1, decode_content=True)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise DownloadError(_reason(error)) from None


@dataclass(frozen=True)
class _Downloader:
    """The part that pooch calls: address -> whole, checked file."""

    remote: RemoteFile
    part: Path
    patience: Patience

    def __call__(self, address: str, output_file: str, _: Any) -> None:
        """Bring the file to `output_file`; a DownloadError names the address."""
        log.info("%s: downloading from %s", self.remote.name, public(address))
        try:
            self._obtain(address)
        except DownloadError as error:
            reason = str(error).replace(address, public(address))
            raise DownloadError(f"{public(address)}: {reason}") from None
        os.replace(self.part, output_file)

    def _obtain(self, address: str) -> None:
        """Complete the part and check it; what was resumed and is wrong gets one new start from nothing."""
        resumed = self._receive(address)
        kind, expected = self.remote.checksum
        found = pooch.file_hash(str(self.part), alg=kind)
        if found == expected:
            return
        page = _begins_like_html(self.part)
        bad = _keep_aside(self.part, found)
        if resumed:
            log.warning("%s: the resumed download was wrong, starting again", self.remote.name)
            self._obtain(address)
            return
        raise DownloadError(
            f"wrong checksum: expected {kind} {expected}, found {found}"
            f"{' (an HTML page)' if page else ''}; kept as {bad}"
        )

    def _receive(self, address: str) -> bool:
        """Transfer until the body ends; True if it was put together from more than one answer."""
        local = urlsplit(address).scheme == "file"
        best, failures, resumed = _size(self.part), 0, False
        while True:
            resumed = resumed or (not local and _size(self.part) > 0)
            try:
                if local:
                    _copy(address, self.part)
                else:
                    _stream(address, self.part, self.patience.timeout)
            except _InterruptedTransferError as error:
                size = _size(self.part)
                failures = 0 if size > best else failures + 1
                best = max(best, size)
                if failures >= self.patience.attempts:
                    raise DownloadError(str(error)) from None
                pause = min(self.patience.pause * 2 ** max(failures - 1, 0), LONGEST_PAUSE)
                log.warning("%s: %s; %d bytes so far, next attempt in %g s", self.remote.name, error, size, pause)
                time.sleep(pause)
            else:
                return resumed


def _copy(address: str, part: Path) -> None:
    """Copy a local file."""
    with _opened(address) as stream, part.open("wb") as target:
        shutil.copyfileobj(stream, target, CHUNK)
        _flush(target)


def _opened(address: str) -> BinaryIO:
    """Open the file of a file:// address."""
    try:
        return Path(url2pathname(urlsplit(address).path)).open("rb")
    except OSError as error:
        raise DownloadError(error.strerror or str(error)) from None


def _stream(address: str, part: Path, timeout: tuple[float, float]) -> None:
    """Append what is missing of the part, or all of it where the server cannot resume."""
    offset = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        with requests.get(address, headers=headers, stream=True, timeout=timeout) as response:
            if _accept(response, part, offset):
                _write(response, part, offset if response.status_code == 206 else 0)
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.HTTPError,
    ) as error:
        raise _InterruptedTransferError(_reason(error)) from None
    except requests.RequestException as error:
        raise DownloadError(_reason(error)) from None


def _accept(response: requests.Response, part: Path, offset: int) -> bool:
    """Whether a body follows that belongs to the file; False where the part is already all there is."""
    status = response.status_code
    if status == 416 and offset:
        return False
    if status in BUSY:
        raise _InterruptedTransferError(f"the server answered {status} {response.reason}")
    if status not in (200, 206):
        raise DownloadError(f"the server answered {status} {response.reason}")
    if "html" in response.headers.get("Content-Type", "").lower():
        raise DownloadError("the server sent an HTML page instead of the file")
    if status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        part.unlink(missing_ok=True)
        raise _InterruptedTransferError("the server answered with another range than asked for")
    return True


def _write(response: requests.Response, part: Path, offset: int) -> None:
    """Write a body behind the first `offset` bytes, as it is sent (a server's own compression is not undone)."""
    length = response.headers.get("Content-Length", "")
    total = offset + int(length) if length.isdigit() else None
    name = part.name.removesuffix(".part")
    with (
        part.open("ab" if offset else "wb") as target,
        tqdm(total=total, initial=offset, unit="B", unit_scale=True, desc=name, disable=None) as bar,
    ):
        try:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                bar.update(target.write(chunk))
        finally:
            _flush(target)
    # urllib3 before version 2 does not notice by itself.
    if total is not None and _size(part) != total:
        raise _InterruptedTransferError(f"the body ended at {_size(part)} of {total} bytes")


def _keep_aside(path: Path, found: str) -> Path:
    """Rename a file with a wrong checksum, so that nothing takes it for the right one."""
    bad = path.with_name(f"{path.name.removesuffix('.part')}.bad-{found[:8]}")
    os.replace(path, bad)
    log.warning("%s has the wrong checksum %s; kept as %s", path.name, found, bad)
    return bad


def _begins_like_html(path: Path) -> bool:
    """Whether a file is a web page, as broken mirrors and login portals send."""
    with path.open("rb") as stream:
        return stream.read(256).lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _reason(error: Exception) -> str:
    """The innermost cause of a transfer's failure, on one line and without addresses that may hold credentials."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", cause)
    text = str(cause).splitlines()[0] if str(cause) else type(error).__name__
    return text.rpartition(">: ")[2] if ">: " in text else text


def _flush(target: Any) -> None:
    """Bring a file's bytes to the disk."""
    target.flush()
    os.fsync(target.fileno())


def _size(path: Path) -> int:
    """Bytes in a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0
