"""Tables of images as tasks: numbers for networks that read vectors, row numbers for those that read images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sgdphases.datasets.image_inputs import ImageInputs
from sgdphases.datasets.image_table import ImageTable, open_table
from sgdphases.datasets.images import select
from sgdphases.datasets.registry import resolve
from sgdphases.datasets.synthetic import encode
from sgdphases.datasets.task import Task


@dataclass(frozen=True, eq=False)
class ImageRows:
    """What one network is trained on, as rows of a table that all networks share.

    Attributes:
        table: The images.
        training: Rows of the training images, (samples,).
        labels: Class numbers of the training images as learned, (samples,); `table.labels[training]` are the true ones.
        test: Rows of the test images, (test samples,).
        validation: Rows of the images held out from training, (validation samples,); they may be none.
        shuffled: Which training images have a label from the shuffled ones, (samples,); None where none has.
    """

    table: ImageTable
    training: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    validation: np.ndarray
    shuffled: np.ndarray | None = None


def image_rows(dataset: Mapping[str, Any], *, seed: int, directory: str | Path) -> ImageRows:
    """Choose the rows of one network's images, without reading an image.

    Args:
        dataset: `name` of a data set with a table and its parameters, as in an experiment card.
        seed: Task seed; used by a seeded subset, a validation set and label noise only.
        directory: The data directory.

    Returns:
        The rows.

    A table that is not there or damaged raises what `open_table` raises.
    """
    table = open_table(dataset, directory)
    selection = select(table.labels[: table.training], resolve(dataset), seed)
    test = np.arange(table.training, len(table.labels))
    return ImageRows(table, selection.chosen, selection.labels, test, selection.held, selection.shuffled)


def tiny_imagenet(parameters: Mapping[str, Any], *, seed: int, directory: Path) -> Task:
    """Tiny ImageNet, flattened; see `flattened`."""
    return flattened({"name": "tiny_imagenet", **parameters}, seed=seed, directory=directory)


def imagenette(parameters: Mapping[str, Any], *, seed: int, directory: Path) -> Task:
    """Imagenette, flattened; see `flattened`."""
    return flattened({"name": "imagenette", **parameters}, seed=seed, directory=directory)


def imagenet(parameters: Mapping[str, Any], *, seed: int, directory: Path) -> Task:
    """The user's own images, flattened; see `flattened`."""
    return flattened({"name": "imagenet", **parameters}, seed=seed, directory=directory)


def flattened(dataset: Mapping[str, Any], *, seed: int, directory: str | Path) -> Task:
    """The images of one network as vectors: all of red, then green, then blue, row by row.

    Args:
        dataset: `name` of a data set with a table and its parameters.
        seed: As for `image_rows`.
        directory: The data directory.

    Returns:
        The task, float32: 3 x resolution x resolution inputs, from 0 to 1, or standardised channel by channel. Inputs
        are `ImageInputs`: they stay on the disk until somebody asks for the numbers.
    """
    rows, parameters = image_rows(dataset, seed=seed, directory=directory), resolve(dataset)
    table, targets = rows.table, parameters["targets"]
    moments = (table.mean, table.deviation) if parameters["standardised"] else ()

    def numbers(chosen: np.ndarray, labels: np.ndarray) -> tuple[ImageInputs, np.ndarray]:
        inputs = ImageInputs(table.images, chosen, *moments)
        return inputs, encode(labels, len(table.classes), targets, np.float32)

    known: dict[str, Any] = {}
    if len(rows.validation):
        held = numbers(rows.validation, table.labels[rows.validation])
        known |= dict(zip(("validation_inputs", "validation_targets"), held, strict=True))
    if rows.shuffled is not None:
        clean = encode(table.labels[rows.training], len(table.classes), targets, np.float32)
        known |= {"shuffled": rows.shuffled, "clean_targets": clean}
    return Task(*numbers(rows.training, rows.labels), *numbers(rows.test, table.labels[rows.test]), **known)
