"""Images as one table on the disk: decoded once, checked whenever it is opened, mapped into memory and never copied."""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sgdphases.datasets.table_folder import MANIFEST, TableError, table_folder
from sgdphases.files import read_json, sha256

IMAGES, LABELS = "images.npy", "labels.npy"
WHITE = 255
"""The largest grey level of a stored image; what is 1 to a network."""

Batch = TypeVar("Batch")


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Labelled images, as bytes.

    Training images stand first, then test images; among them classes are mixed, in an order that depends on the names
    of the files alone. An image has the same place within the images of its class in every table of its data set.

    Attributes:
        images: Mapped read-only, (images, channels, height, width) uint8: red, green and blue from 0 to WHITE.
        labels: Class numbers, (images,) int64.
        training: How many training images there are: those with the first row numbers.
        mean: Of each channel over all training images, in units of WHITE, (channels,) float64.
        deviation: The standard deviation likewise, (channels,) float64.
        classes: Names of the classes, by class number.
        titles: What the classes are called in words; their names where that is not known.
        digest: Hexadecimal SHA-256 that stands for all of the above.
    """

    images: np.ndarray
    labels: np.ndarray
    training: int
    mean: np.ndarray
    deviation: np.ndarray
    classes: tuple[str, ...]
    titles: tuple[str, ...]
    digest: str


def open_table(dataset: Mapping[str, Any], directory: str | Path) -> ImageTable:
    """Open the table of a data set and check every byte of it.

    Args:
        dataset: `name` and parameters, as in an experiment card.
        directory: The data directory.

    Returns:
        The table. What was checked once in this process is not checked again while its files stay the same.

    Raises:
        FileNotFoundError: If it was not made yet.
        TableError: If a file is missing or has other bytes than when it was made.
    """
    folder = table_folder(dataset, directory)
    again = (
        f"make it with: python -m sgdphases.steps.download --dataset {dataset['name']} --parameters "
        f"'{json.dumps({key: value for key, value in dataset.items() if key != 'name'})}' --directory {directory} "
        f"--manifest {Path(directory) / (folder.name + '.json')}"
    )
    if not (folder / MANIFEST).exists():
        raise FileNotFoundError(f"{dataset['name']} is not ready in {folder}; {again}")
    try:
        return _opened(folder, tuple(_state(folder / name) for name in (MANIFEST, IMAGES, LABELS)))
    except TableError as error:
        raise TableError(f"{error}; {again}") from None


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a table's manifest what it is recognised by.

    Args:
        manifest: All else that it says.

    Returns:
        The same with `digest`, which stands for what training can see (the arrays, their moments, the classes), and
        `checksum`, which stands for the whole manifest.
    """
    words = ("dataset", "parameters", "classes", "training", "mean", "deviation", "arrays")
    whole = {**manifest, "digest": _digest([manifest[word] for word in words])}
    return {**whole, "checksum": _digest(whole)}


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a table's manifest and check it against its own checksum.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        TableError: If it is no manifest, or was changed.
    """
    try:
        manifest = read_json(path)
        content = {word: value for word, value in manifest.items() if word != "checksum"}
        if manifest.get("checksum") == _digest(content):
            return manifest
    except (ValueError, AttributeError) as error:
        raise TableError(f"{path} is damaged: {error}") from None
    raise TableError(f"{path} is damaged: its checksum is not that of its content")


def normalised(batch: Batch, mean: Batch, deviation: Batch) -> Batch:
    """Bytes of images as numbers for a network: grey levels in units of WHITE, less the mean, over the deviation.

    Args:
        batch: Images, (..., channels, height, width) uint8: a NumPy array or a torch tensor on any device.
        mean: Of each channel, (channels,) float32, of the same kind and on the same device.
        deviation: The standard deviation likewise; mean 0 and deviation 1 leave numbers from 0 to 1.

    Returns:
        The numbers, float32, in the shape of the batch.
    """
    return (batch - WHITE * mean[:, None, None]) / (WHITE * deviation[:, None, None])


@functools.lru_cache(maxsize=8)
def _opened(folder: Path, state: tuple[Any, ...]) -> ImageTable:
    """Open and check the table of a folder; `state` changes when its files do."""
    manifest = read_manifest(folder / MANIFEST)
    for name, expected in manifest["arrays"].items():
        _check_file(folder / name, expected)
    images, labels = np.load(folder / IMAGES, mmap_mode="r"), np.load(folder / LABELS)
    classes = tuple(manifest["classes"])
    return ImageTable(
        images=images,
        labels=labels,
        training=manifest["training"],
        mean=np.array(manifest["mean"]),
        deviation=np.array(manifest["deviation"]),
        classes=classes,
        titles=tuple(manifest.get("titles", {}).get(name, name) for name in classes),
        digest=manifest["digest"],
    )


def _digest(content: Any) -> str:
    """Hexadecimal SHA-256 of a content as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_file(path: Path, expected: Mapping[str, Any]) -> None:
    """Raise a TableError if a file is not what the manifest says."""
    if not path.is_file():
        raise TableError(f"{path} is missing")
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise TableError(f"{path} is damaged: {size} bytes, expected {expected['bytes']}")
    found = sha256(path)
    if found != expected["sha256"]:
        raise TableError(f"{path} is damaged: its sha256 is {found}, expected {expected['sha256']}")


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None where there is none."""
    if not path.exists():
        return None
    known = path.stat()
    return known.st_ino, known.st_size, known.st_mtime_ns
