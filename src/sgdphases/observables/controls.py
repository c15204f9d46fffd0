"""Controls of trained matrices: what is left of a measurement when part of their structure is destroyed.

Every control of one network is drawn from its seed of initial weights, with the same numbers at every step and in every
layer's own stream, so that it depends on no other network and its changes in time are changes of the weights.
"""

import math

import numpy as np

from sgdphases.ensemble.running import coupling, mean_coupling
from sgdphases.ensemble.streams import generator
from sgdphases.theory import marchenko_pastur

CONTROLS = ("trained", "shuffled", "same_spectrum", "outliers_removed", "gaussian")
"""What was done to the weights, in the order of the dimension `control`."""

SHUFFLE, ROTATION, GAUSSIAN = 2001, 2002, 2003
"""Tags of the streams (`ensemble.streams`)."""

Array = np.ndarray
Decomposition = tuple[Array, Array, Array]


def controlled(matrix: Array, singular: Decomposition, control: str, *, seed: int, layer: int) -> Array:
    """One layer's matrix under one control.

    Args:
        matrix: W (out, in).
        singular: Its thin singular value decomposition: left vectors (out, m), values (m,), right vectors (m, in).
        control: trained, W itself; shuffled, its entries in random order, which keeps their distribution;
            same_spectrum, its singular values between random vectors; outliers_removed, its own vectors with the values
            above `bulk_edge` lowered to that edge; gaussian, independent normal entries with the same J and J_0.
        seed: Seed of the network's initial weights.
        layer: Number of the layer.

    Returns:
        Float64 (out, in).

    Raises:
        ValueError: If the control is unknown.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    left, values, right = singular
    match control:
        case "trained":
            return matrix
        case "shuffled":
            return generator(seed, SHUFFLE, layer).permutation(matrix.ravel()).reshape(matrix.shape)
        case "same_spectrum":
            numbers = generator(seed, ROTATION, layer)
            first, second = (random_frame(numbers, length, len(values)) for length in matrix.shape)
            return first * values @ second.T
        case "outliers_removed":
            return left * np.minimum(values, bulk_edge(matrix)) @ right
        case "gaussian":
            return _gaussian(matrix, generator(seed, GAUSSIAN, layer))
    raise ValueError(f"control {control!r} is unknown; known are {', '.join(CONTROLS)}")


def bulk_edge(matrix: Array) -> float:
    """Largest singular value that the entries of a matrix explain without their places.

    The upper edge of the Marchenko-Pastur law for independent entries of the same standard deviation, 2 J for a square
    matrix. It is the edge of the shuffled matrix by its law, not by one draw: a draw's largest value fluctuates, and
    where J_0 > J it is the mean's own outlier.

    Args:
        matrix: (out, in).

    Returns:
        The edge, in the units of the singular values.
    """
    variance, ratio = marchenko_pastur.bulk_parameters(*matrix.shape, coupling(matrix))
    return float(np.sqrt(marchenko_pastur.edges(ratio, variance)[1]))


def random_frame(numbers: np.random.Generator, length: int, count: int) -> Array:
    """Orthonormal vectors without a preferred direction: the first columns of a Haar orthogonal matrix.

    Args:
        numbers: Where the random numbers come from.
        length: Components of a vector.
        count: Vectors, at most `length`.

    Returns:
        Array (length, count). The signs of R's diagonal make the law uniform (Mezzadri, Notices AMS 54, 592, 2007).
    """
    frame, upper = np.linalg.qr(numbers.standard_normal((length, count)))
    return frame * np.where(np.diag(upper) < 0, -1.0, 1.0)


def _gaussian(matrix: Array, numbers: np.random.Generator) -> Array:
    """J_0 / N + J G / sqrt(N), N the fan-in, G standardised: J and J_0 are kept to rounding, not on average only."""
    entries, fan_in = numbers.standard_normal(matrix.shape), matrix.shape[1]
    entries = (entries - entries.mean()) / entries.std()
    return mean_coupling(matrix) / fan_in + coupling(matrix) / math.sqrt(fan_in) * entries
