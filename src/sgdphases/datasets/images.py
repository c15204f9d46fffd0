"""Real images as tasks: scikit-learn's digits, Fashion-MNIST through torchvision."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sgdphases.datasets.streams import stream
from sgdphases.datasets.synthetic import encode
from sgdphases.datasets.task import Task

CLASSES = 10

# Mean and standard deviation of all grey levels of the training set, as divided by 16 or 255.
_DIGITS_MOMENTS = (0.3051, 0.3762)
_FASHION_MOMENTS = (0.2860, 0.3530)


@dataclass(frozen=True, eq=False)
class Selection:
    """Which training images a network learns from, and what it is told about them.

    Attributes:
        chosen: Their indices, ascending, (samples,).
        held: Indices of the images held out for validation, (validation samples,).
        labels: The class numbers of the chosen images as learned, (samples,).
        shuffled: Which of the chosen ones have a label from the shuffled ones, (samples,); None where none has.
    """

    chosen: np.ndarray
    held: np.ndarray
    labels: np.ndarray
    shuffled: np.ndarray | None = None


def digits(parameters: Mapping[str, Any], *, seed: int) -> Task:
    """The 1797 handwritten digits of scikit-learn, 8x8 = 64 grey levels 0..16 divided by 16.

    The split is fixed: every fifth image of each class, in the order of the file, is a test image.

    Args:
        parameters: `targets`, `samples`, `subset`, `validation`, `label_noise`, `standardised`.
        seed: Task seed; used by a seeded subset, a validation set and label noise only.

    Returns:
        The task, float32.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    test = occurrence(labels) % 5 == 4
    parts = ((images[~test], labels[~test]), (images[test], labels[test]))
    return _images_task(*parts, parameters, seed, _DIGITS_MOMENTS)


def fashion_mnist(parameters: Mapping[str, Any], *, seed: int, directory: Path) -> Task:
    """Fashion-MNIST as torchvision reads it, 28x28 = 784 grey levels 0..255 divided by 255.

    Args:
        parameters: `targets`, `samples`, `subset`, `validation`, `label_noise`, `standardised`.
        seed: Task seed; used by a seeded subset, a validation set and label noise only.
        directory: The folder that `prepare.make_ready` filled.

    Returns:
        The task, float32; 60000 training images (or `samples` of them) and 10000 test images.

    Raises:
        FileNotFoundError: If the data set was not downloaded.
    """
    from torchvision.datasets import FashionMNIST

    parts = []
    for train in (True, False):
        try:
            part = FashionMNIST(str(directory / "fashion_mnist"), train=train, download=False)
        except RuntimeError as error:
            raise FileNotFoundError(
                f"fashion_mnist is not in {directory}; make it ready with: "
                f"python -m sgdphases.steps.download --dataset fashion_mnist --directory {directory} "
                f"--manifest {directory / 'fashion_mnist.json'}"
            ) from error
        parts.append((part.data.numpy().reshape(len(part), -1), part.targets.numpy()))
    return _images_task(*parts, parameters, seed, _FASHION_MOMENTS)


def occurrence(labels: np.ndarray) -> np.ndarray:
    """How many images of the same class come before each image.

    Args:
        labels: Array (samples,) of class numbers.

    Returns:
        Array (samples,) of counts from 0.
    """
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks


def stratified(labels: np.ndarray, samples: int | None, seed: int | None) -> np.ndarray:
    """Choose images with the classes in equal shares (to within one image, as long as they last).

    A larger choice contains a smaller one.

    Args:
        labels: Array (images,) of class numbers.
        samples: How many to choose; None for all.
        seed: Chooses at random by this task seed; None takes the first of each class.

    Returns:
        Ascending indices, so that the order of the file is kept.

    Raises:
        ValueError: If there are fewer images than asked for.
    """
    if samples is None:
        return np.arange(len(labels))
    if samples > len(labels):
        raise ValueError(f"samples is {samples}, but there are only {len(labels)} training images")
    order = np.arange(len(labels)) if seed is None else stream(seed, "subset").permutation(len(labels))
    chosen = order[np.lexsort((labels[order], occurrence(labels[order])))[:samples]]
    return np.sort(chosen)


def shuffled_labels(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Permute the labels of a random share of the samples among themselves, so that class sizes stay.

    A larger share contains a smaller one's samples.

    Args:
        labels: Array (samples,) of class numbers.
        share: Share of the samples, in [0, 1).
        seed: Task seed.

    Returns:
        The labels with that share permuted, and which samples were in it (some keep their label by chance).
    """
    numbers = stream(seed, "label_noise")
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[numbers.permutation(len(labels))[: round(share * len(labels))]] = True
    mixed = labels.copy()
    mixed[chosen] = numbers.permutation(labels[chosen])
    return mixed, chosen


def select(labels: np.ndarray, parameters: Mapping[str, Any], seed: int) -> Selection:
    """Choose training images: first validation images are taken away, then `samples` chosen, then labels shuffled.

    Args:
        labels: Array (images,) of class numbers.
        parameters: `samples`, `subset`, `validation`, `label_noise`.
        seed: Task seed; used by a seeded subset, a validation set and label noise only.

    Returns:
        The selection.
    """
    held = _held_out(len(labels), parameters.get("validation"), seed)
    rest = np.flatnonzero(~held)
    chosen = rest[stratified(labels[rest], parameters["samples"], seed if parameters["subset"] == "seeded" else None)]
    learned, shuffled = labels[chosen], None
    if parameters.get("label_noise") is not None:
        learned, shuffled = shuffled_labels(learned, parameters["label_noise"], seed)
    return Selection(chosen, np.flatnonzero(held), learned, shuffled)


def _images_task(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    parameters: Mapping[str, Any],
    seed: int,
    moments: tuple[float, float],
) -> Task:
    """Choose the training images and bring all to float32 in [0, 1] (bytes are divided by 255), or standardise them."""
    images, labels = train
    selection = select(labels, parameters, seed)
    chosen, held = selection.chosen, selection.held
    parts = [(images[chosen], labels[chosen]), test, (images[held], labels[held])]
    moments = moments if parameters.get("standardised") else None
    arrays = [array for part in parts for array in _numbers(*part, parameters["targets"], moments)]
    task = Task(*arrays[:4], **_validation(*arrays[4:]))
    if selection.shuffled is None:
        return task
    targets = encode(selection.labels, CLASSES, parameters["targets"], np.float32)
    return replace(task, targets=targets, clean_targets=task.targets, shuffled=selection.shuffled)


def _held_out(images: int, validation: int | None, seed: int) -> np.ndarray:
    """Which images are held out for validation, (images,)."""
    held = np.zeros(images, dtype=bool)
    if validation is not None:
        if validation >= images:
            raise ValueError(f"validation is {validation}, but there are only {images} training images")
        held[stream(seed, "validation").permutation(images)[:validation]] = True
    return held


def _numbers(
    images: np.ndarray, labels: np.ndarray, targets: str, moments: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray]:
    inputs = images.astype(np.float32) / np.float32(255 if images.dtype == np.uint8 else 1)
    if moments is not None:
        inputs = (inputs - np.float32(moments[0])) / np.float32(moments[1])
    return inputs, encode(labels, CLASSES, targets, np.float32)


def _validation(inputs: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    return {"validation_inputs": inputs, "validation_targets": targets} if len(inputs) else {}
