"""Real images as tasks: scikit-learn's digits, Fashion-MNIST through torchvision."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sgdphases.datasets.streams import stream
from sgdphases.datasets.synthetic import encode
from sgdphases.datasets.task import Task

CLASSES = 10


def digits(parameters: Mapping[str, Any], *, seed: int) -> Task:
    """The 1797 handwritten digits of scikit-learn, 8x8 = 64 grey levels 0..16 divided by 16.

    The split is fixed: every fifth image of each class, in the order of the file, is a test image.

    Args:
        parameters: `targets`, `samples`, `subset`.
        seed: Task seed; used by a seeded subset only.

    Returns:
        The task, float32.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    test = occurrence(labels) % 5 == 4
    return _images_task((images[~test], labels[~test]), (images[test], labels[test]), parameters, seed)


def fashion_mnist(parameters: Mapping[str, Any], *, seed: int, directory: Path) -> Task:
    """Fashion-MNIST as torchvision reads it, 28x28 = 784 grey levels 0..255 divided by 255.

    Args:
        parameters: `targets`, `samples`, `subset`.
        seed: Task seed; used by a seeded subset only.
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
    return _images_task(*parts, parameters, seed)


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


def _images_task(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    parameters: Mapping[str, Any],
    seed: int,
) -> Task:
    """Choose the training images and bring all to float32 in [0, 1] (bytes are divided by 255)."""
    chosen = stratified(train[1], parameters["samples"], seed if parameters["subset"] == "seeded" else None)
    arrays = []
    for images, labels in ((train[0][chosen], train[1][chosen]), test):
        scale = np.float32(255 if images.dtype == np.uint8 else 1)
        arrays += [images.astype(np.float32) / scale, encode(labels, CLASSES, parameters["targets"], np.float32)]
    return Task(*arrays)
