"""Data sets that are computed: teachers, a lattice field, a mixture of Gaussians."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import erf

from sgdphases.datasets.streams import stream
from sgdphases.datasets.task import Task

TEST_SAMPLES = 128
MIXTURE_TEST_SAMPLES = 2000
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda field: np.maximum(field, 0.0),
    "erf": erf,
    "linear": lambda field: field,
}


def layer_matrix(seed: int, layer: int, widths: Sequence[int]) -> np.ndarray:
    """A matrix with entries N(0, 1/fan_in): a frozen layer, or a teacher's, of arXiv 2509.01349.

    Args:
        seed: Task seed.
        layer: Which layer.
        widths: The network's widths, inputs first.

    Returns:
        Array (widths[layer + 1], widths[layer]).
    """
    shape = (widths[layer + 1], widths[layer])
    return stream(seed, "layer", layer).standard_normal(shape) / np.sqrt(shape[1])


def answers(inputs: np.ndarray, layers: Sequence[np.ndarray], activation: str) -> np.ndarray:
    """Outputs of a network without biases whose last layer is linear.

    Args:
        inputs: Array (samples, inputs).
        layers: The matrices, first layer first.
        activation: A word of ACTIVATIONS, used on all layers but the last.

    Returns:
        Array (samples, outputs).
    """
    signal = inputs
    for matrix in layers[:-1]:
        signal = ACTIVATIONS[activation](signal @ matrix.T)
    return signal @ layers[-1].T


def published_test_inputs(width: int) -> np.ndarray:
    """The 128 Gaussian test inputs of the paper's analysis: NumPy's legacy generator, seed 42, the same for all.

    Args:
        width: Number of inputs.

    Returns:
        Array (128, width).
    """
    return np.random.RandomState(42).standard_normal((TEST_SAMPLES, width))


def teacher_student(
    parameters: Mapping[str, Any], *, widths: Sequence[int], trained: Sequence[bool], activation: str, seed: int
) -> Task:
    """Noiseless answers of a teacher that shares the student's frozen layers (arXiv 2509.01349, generate.py).

    Every layer's matrix has entries N(0, 1/fan_in): of a frozen layer it is also the student's, of a trained layer the
    teacher's alone. Inputs are N(0, I). All are redrawn for each seed, except the test inputs. The teacher's output is
    not scaled.

    Args:
        parameters: `samples`.
        widths: The network's widths, inputs first.
        trained: For each layer, whether it is trained.
        activation: The network's activation.
        seed: Task seed.

    Returns:
        The task, with the teacher's matrices of the trained layers.

    Raises:
        ValueError: If the activation is unknown.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r} (known: {', '.join(ACTIVATIONS)})")
    layers = [layer_matrix(seed, layer, widths) for layer in range(len(trained))]
    inputs = stream(seed, "inputs").standard_normal((parameters["samples"], widths[0]))
    test_inputs = published_test_inputs(widths[0])
    return Task(
        inputs=inputs,
        targets=answers(inputs, layers, activation),
        test_inputs=test_inputs,
        test_targets=answers(test_inputs, layers, activation),
        teacher={layer: layers[layer] for layer, learns in enumerate(trained) if learns},
    )


def linear_teacher(parameters: Mapping[str, Any], *, widths: Sequence[int], seed: int) -> Task:
    """A multiple of the identity as teacher of one square linear layer (arXiv 2407.16427).

    Args:
        parameters: `samples`, `teacher_scale`, `shared_inputs` (the paper shares its inputs between all seeds).
        widths: The network's two equal widths.
        seed: Task seed.

    Returns:
        The task; its targets are the inputs times `teacher_scale`.

    Raises:
        ValueError: If the network is not one square layer.
    """
    if len(widths) != 2 or widths[0] != widths[1]:
        raise ValueError(f"dataset linear_teacher needs a network of one square layer, not widths {list(widths)}")
    source = 0 if parameters["shared_inputs"] else seed
    inputs = stream(source, "inputs").standard_normal((parameters["samples"], widths[0]))
    teacher = parameters["teacher_scale"] * np.eye(widths[0])
    test_inputs = published_test_inputs(widths[0])
    return Task(
        inputs=inputs,
        targets=inputs @ teacher.T,
        test_inputs=test_inputs,
        test_targets=test_inputs @ teacher.T,
        teacher={0: teacher},
    )


def scalar_field(parameters: Mapping[str, Any]) -> Task:
    """The kernel that a Gaussian scalar-field Boltzmann machine has to learn (arXiv 2407.16427).

    The free field on a periodic chain has K = mass^2 + 2 - (shift left) - (shift right), with eigenvalues
    mass^2 + 2 - 2 cos(2 pi j / sites). These are no samples: `inputs` is K and `targets` its inverse, the field's
    covariance, both (sites, sites); the exact data term of contrastive divergence is W K^-1. `epoch` has no meaning.

    Args:
        parameters: `sites`, `mass`.

    Returns:
        The task; its test set is the same pair.
    """
    identity = np.eye(parameters["sites"])
    kernel = (parameters["mass"] ** 2 + 2) * identity - np.roll(identity, 1, axis=0) - np.roll(identity, -1, axis=0)
    covariance = np.linalg.inv(kernel)
    return Task(kernel, covariance, kernel.copy(), covariance.copy())


def no_samples(parameters: Mapping[str, Any], *, widths: Sequence[int]) -> Task:
    """Nothing, for update rules that train on nothing: arrays of no rows that fit the network.

    Args:
        parameters: None.
        widths: The network's widths, inputs first.

    Returns:
        The task.
    """
    inputs, targets = np.empty((0, widths[0])), np.empty((0, widths[-1]))
    return Task(inputs, targets, inputs.copy(), targets.copy())


def gaussian_mixture(parameters: Mapping[str, Any], *, seed: int) -> Task:
    """Classes of Gaussian clusters whose centres are Gaussian too, scaled to unit variance per input.

    An input is (separation * centre + noise) / sqrt(separation^2 + 1), centre and noise N(0, I); with separation 1/2
    that is centres N(0, I) and noise of standard deviation 2, divided by sqrt(5).

    Args:
        parameters: `classes`, `clusters` (per class), `dim`, `separation`, `samples`, `targets`.
        seed: Task seed: centres, labels and noise.

    Returns:
        The task, with MIXTURE_TEST_SAMPLES test samples from the same clusters.
    """
    classes, dim, separation = parameters["classes"], parameters["dim"], parameters["separation"]
    centres = separation * stream(seed, "centres").standard_normal((classes * parameters["clusters"], dim))

    def draw(samples: int, part: str) -> tuple[np.ndarray, np.ndarray]:
        cluster = stream(seed, f"{part}_clusters").integers(len(centres), size=samples)
        noise = stream(seed, f"{part}_noise").standard_normal((samples, dim))
        return (centres[cluster] + noise) / np.sqrt(separation**2 + 1), encode(
            cluster % classes, classes, parameters["targets"], np.float64
        )

    return Task(*draw(parameters["samples"], "train"), *draw(MIXTURE_TEST_SAMPLES, "test"))


def encode(labels: np.ndarray, classes: int, targets: str, dtype: type[np.floating]) -> np.ndarray:
    """Class numbers in the form that a card asks for.

    Args:
        labels: Array (samples,) of class numbers.
        classes: Number of classes.
        targets: `one_hot`, `classes` or `centred`.
        dtype: Type of rows.

    Returns:
        Array (samples, classes) of zeros and ones, less 1/classes if centred, or (samples,) int64.
    """
    labels = np.asarray(labels, dtype=np.int64)
    if targets == "classes":
        return labels
    rows = np.eye(classes, dtype=dtype)
    return (rows - rows.dtype.type(1 / classes) if targets == "centred" else rows)[labels]


def are_classes(targets: np.ndarray) -> bool:
    """Whether targets are classes in one of the forms of `encode`, so that there is an accuracy.

    Args:
        targets: (samples,), or (samples, outputs).

    Returns:
        True for class numbers, and for rows of more than one output that `encode` could have made.
    """
    if targets.ndim == 1:
        return True
    classes, labels = targets.shape[1], targets.argmax(axis=1)
    forms = (encode(labels, classes, form, targets.dtype.type) for form in ("one_hot", "centred"))
    return classes > 1 and any(np.array_equal(targets, form) for form in forms)
