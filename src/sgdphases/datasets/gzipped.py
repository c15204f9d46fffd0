"""Gzip files whose content lies beside them, as torchvision's classes read it."""

import gzip
import shutil
import zlib
from pathlib import Path

from sgdphases.files import writing


def unpacked(archive: Path) -> bool:
    """Whether the content of a gzip file lies beside it, whole: its length and CRC-32 are the archive's last 8 bytes.

    Args:
        archive: The file; one of another kind needs no unpacking.

    Returns:
        Whether it does.
    """
    if archive.suffix != ".gz":
        return True
    target = archive.with_suffix("")
    if not target.is_file():
        return False
    with archive.open("rb") as stream:
        stream.seek(-8, 2)
        trailer = stream.read()
    crc = 0
    with target.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    return trailer == crc.to_bytes(4, "little") + (target.stat().st_size % 2**32).to_bytes(4, "little")


def unpack(archive: Path) -> None:
    """Unpack a gzip file beside itself, whole or not at all."""
    with writing(archive.with_suffix("")) as temporary, gzip.open(archive) as source, temporary.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
