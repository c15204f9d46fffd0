"""Images decoded once into a table: many at a time, each straight into its row of the file."""

import hashlib
import io
import logging
import os
import shutil
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import PIL.features
from PIL import Image, ImageOps
from tqdm import tqdm

from sgdphases.datasets.image_files import ImageError, Load
from sgdphases.datasets.image_sources import PARTS, Source
from sgdphases.datasets.image_table import IMAGES, LABELS, WHITE, sealed
from sgdphases.datasets.table_folder import MANIFEST, TableError
from sgdphases.files import sha256, write_json, writing

log = logging.getLogger(__name__)

CHANNELS = 3
AHEAD = 16
"""Images that are read ahead for each thread."""


class Findings:
    """What is known of the images once they are decoded, a row for each.

    Args:
        images: How many there are.

    Attributes:
        digests: SHA-256 of their files, (images, 32) uint8.
        sizes: Bytes of their files, (images,); 0 where none was decoded.
        totals: Sums of their grey levels, (images, channels).
        squares: Sums of the squares of their grey levels, (images, channels).
    """

    def __init__(self, images: int) -> None:
        self.digests = np.zeros((images, 32), dtype=np.uint8)
        self.sizes = np.zeros(images, dtype=np.int64)
        self.totals, self.squares = np.zeros((2, images, CHANNELS), dtype=np.int64)

    def take(self, row: int, content: bytes, image: np.ndarray) -> None:
        """Note what is known of one image, from its file and its pixels."""
        levels = image.reshape(CHANNELS, -1).astype(np.float64)  # whole numbers below 2^53: sums are exact
        self.digests[row] = np.frombuffer(hashlib.sha256(content).digest(), dtype=np.uint8)
        self.totals[row], self.squares[row] = levels.sum(axis=1), np.einsum("cp,cp->c", levels, levels)
        self.sizes[row] = len(content)


def build_table(
    source: Source, folder: Path, known: Mapping[str, Any], *, threads: int = 1, former: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Decode all images of a source and put the table in place, whole or not at all; the caller holds the lock.

    Args:
        source: The images.
        folder: The folder of the table.
        known: What the manifest says of the data set: `dataset`, `title`, `licence`, `parameters`.
        threads: How many images are decoded at a time.
        former: The manifest of a table that was here before; another digest than its own is refused.

    Returns:
        The manifest, also written.

    Raises:
        ImageError: If an image cannot be decoded.
        TableError: If the table is not what it was before.
        OSError: If there is too little room on the disk.
    """
    rows = _rows(source)
    resolution = known["parameters"]["resolution"]
    shape = (len(rows), CHANNELS, resolution, resolution)
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = int(np.prod(shape)), shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(f"{folder}: the decoded images need {needed} bytes, but only {free} are free")
    log.info("decoding %d images into %s", len(rows), folder)
    with ExitStack() as stack:
        temporary = {name: stack.enter_context(writing(folder / name)) for name in (LABELS, IMAGES)}
        classes = list(source.images["train"])
        with temporary[LABELS].open("wb") as stream:
            np.save(stream, np.array([classes.index(name) for _, name, _ in rows], dtype=np.int64))
        findings = _decode(source, [file for _, _, file in rows], temporary[IMAGES], shape, threads)
        training = sum(part == "train" for part, _, _ in rows)
        manifest = dict(known) | _moments(findings, training, resolution**2)
        manifest |= _described(source, rows, findings) | {
            "classes": classes,
            "titles": {name: source.titles[name] for name in classes if name in source.titles},
            "training": training,
            "test": len(rows) - training,
            "arrays": {name: _file(path) for name, path in temporary.items()},
            "decoder": {"pillow": PIL.__version__, "libjpeg_turbo": PIL.features.version("libjpeg_turbo")},
        }
        manifest = sealed(manifest)
        _check_former(folder, manifest, former)
    write_json(folder / MANIFEST, manifest)
    return manifest


def decoded(content: bytes, resolution: int) -> np.ndarray:
    """Decode one image: its middle square, made smaller (or larger) by averaging, in three colours.

    Args:
        content: A JPEG or PNG file.
        resolution: Height and width that are wanted, in pixels.

    Returns:
        Array (3, resolution, resolution) uint8; the decoder's own pixels where the image has that size.

    Raises:
        ValueError: If it is no whole image.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            colours = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(str(error).partition(" <_io")[0]) from None
    if colours.size != (resolution, resolution):
        colours = ImageOps.fit(colours, (resolution, resolution), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(colours).transpose(2, 0, 1))


def _rows(source: Source) -> list[tuple[str, str, str]]:
    """Part, class and name of every image: training first, mixed by a digest of class and file name."""

    def place(row: tuple[str, str, str]) -> tuple[int, str]:
        part, name, file = row
        key = hashlib.sha256(f"{part}/{name}/{Path(file).name}".encode()).hexdigest()
        return PARTS.index(part), key

    rows = [(part, name, file) for part in PARTS for name, files in source.images[part].items() for file in files]
    return sorted(rows, key=place)


def _decode(source: Source, names: list[str], path: Path, shape: tuple[int, ...], threads: int) -> Findings:
    """Write the images as one NumPy file; what is known of each, in the order of `names`."""
    row_of = {name: row for row, name in enumerate(names)}
    findings = Findings(len(names))
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        stream.flush()
        begin, stride = stream.tell(), int(np.prod(shape[1:]))

        def work(name: str, load: Load) -> None:
            content = load()
            try:
                image = decoded(content, shape[-1])
            except ValueError as error:
                raise ImageError(f"{source.files.where}: {name} is no whole image: {error}") from None
            _put(stream.fileno(), image.tobytes(), begin + row_of[name] * stride)
            findings.take(row_of[name], content, image)

        jobs = _in_threads(work, source.files.loads(names), threads)
        for _ in tqdm(jobs, total=len(names), desc="decoding", unit="image", unit_scale=True, disable=None):
            pass
    missing = np.flatnonzero(findings.sizes == 0)
    if len(missing):
        raise ImageError(f"{source.files.where}: {names[missing[0]]} is no longer there")
    return findings


def _in_threads(work: Any, arguments: Iterable[tuple[str, Load]], threads: int) -> Iterator[None]:
    """Do the work for each of the arguments, a few at a time; the first failure ends all."""
    failed = threading.Event()

    def guarded(*words: Any) -> None:
        if not failed.is_set():
            work(*words)

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[None]] = deque()
        try:
            for words in arguments:
                waiting.append(pool.submit(guarded, *words))
                if len(waiting) >= AHEAD * threads:
                    yield waiting.popleft().result()
            yield from (future.result() for future in waiting)
        finally:
            failed.set()


def _put(handle: int, content: bytes, offset: int) -> None:
    """Write all bytes at a place of a file."""
    view = memoryview(content)
    while view:
        count = os.pwrite(handle, view, offset)
        view, offset = view[count:], offset + count


def _moments(findings: Findings, training: int, pixels: int) -> dict[str, list[float]]:
    """Mean and standard deviation of each channel in units of WHITE; exact until the last division and root."""
    count = pixels * training
    totals, squares = (sums[:training].sum(axis=0).tolist() for sums in (findings.totals, findings.squares))
    variances = [count * square - total**2 for total, square in zip(totals, squares, strict=True)]
    return {
        "mean": [total / (count * WHITE) for total in totals],
        "deviation": [variance**0.5 / (count * WHITE) for variance in variances],
    }


def _described(source: Source, rows: list[tuple[str, str, str]], findings: Findings) -> dict[str, Any]:
    """Where the images came from; `content` stands for the files of all images, however they were packed."""
    lines = [
        f"{part}/{name}/{Path(file).name} {digest.tobytes().hex()}"
        for (part, name, file), digest in zip(rows, findings.digests, strict=True)
    ]
    content = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    folder = {
        "name": source.files.where,
        "bytes": int(findings.sizes.sum()),
        "sha256": content,
        "md5": None,
        "source": source.address,
        "official": [],
    }
    return {"content": content, "files": [source.archive or folder]}


def _check_former(folder: Path, manifest: Mapping[str, Any], former: Mapping[str, Any] | None) -> None:
    """Raise a TableError if a table would not be what it was."""
    if former is None or manifest["digest"] == former["digest"]:
        return
    same = manifest["content"] == former.get("content")
    reason = (
        f"the decoder was {former.get('decoder')} and is {manifest['decoder']}"
        if same
        else f"the images came from {_addresses(former)} and come from {_addresses(manifest)}"
    )
    raise TableError(
        f"{folder}: made again, the table is another one (digest {manifest['digest']}, before {former['digest']}): "
        f"{reason}; bring the former ones back, or remove the folder if nothing that was trained on it is kept"
    )


def _addresses(manifest: Mapping[str, Any]) -> str:
    """Where the images of a table came from."""
    return ", ".join(str(file["source"]) for file in manifest["files"])


def _file(path: Path) -> dict[str, Any]:
    """Size and checksum of a file."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}
