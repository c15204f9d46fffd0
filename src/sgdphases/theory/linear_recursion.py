"""Sums over the steps of a linear recursion z ← M z + kick, by doubling the number of steps.

Doubling needs no eigenvectors, so it is as good where they coincide (critical damping) or have the eigenvalue 1 (flat
directions) as elsewhere, and all of its terms have one sign where those of a closed form cancel.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Accumulated(NamedTuple):
    """What k steps do.

    Attributes:
        power: Mᵏ, shape (..., n, n).
        total: Σ_{j<k} Mʲ, shape (..., n, n).
        covariance: Σ_{j<k} Mʲ K (Mʲ)ᵀ, shape (..., n, n): of z after k independent kicks of covariance K, from rest.
    """

    power: Floats
    total: Floats
    covariance: Floats


def accumulate(steps: ArrayLike, matrix: ArrayLike, kick: ArrayLike = 0.0) -> Accumulated:
    """Powers of M and their sums; derived (of 2k steps from those of k).

    Args:
        steps: k, whole numbers of at least 0, shape (...).
        matrix: M, shape (..., n, n).
        kick: K, shape (..., n, n), or 0.

    Returns:
        Power, total and covariance after each number of steps; (...) are broadcast.

    Raises:
        ValueError: If a number of steps is negative or not whole.
    """
    block, noise = np.asarray(matrix, dtype=np.float64), np.asarray(kick, dtype=np.float64)
    noise = np.broadcast_to(noise, np.broadcast_shapes(noise.shape, block.shape))
    left = whole(steps, "steps")
    size = block.shape[-1]
    shape = (*np.broadcast_shapes(left.shape, noise.shape[:-2]), size, size)
    own = Accumulated(block, np.eye(size), noise)
    done = Accumulated(np.broadcast_to(np.eye(size), shape), np.zeros(shape), np.zeros(shape))
    while True:
        odd = (left % 2 == 1)[..., None, None]
        done = Accumulated(*(np.where(odd, more, same) for more, same in zip(_after(done, own), done, strict=True)))
        left = left // 2
        if not left.any():
            return done
        own = _after(own, own)


def _after(first: Accumulated, second: Accumulated) -> Accumulated:
    """The steps of `first`, then those of `second`."""
    m = second.power
    covariance = second.covariance + m @ first.covariance @ np.swapaxes(m, -1, -2)
    return Accumulated(m @ first.power, second.total + m @ first.total, covariance)


def whole(numbers: ArrayLike, name: str, least: int = 0) -> NDArray[np.int64]:
    """Whole numbers of at least `least`.

    Args:
        numbers: The numbers.
        name: What they are, for the message.
        least: Smallest that is allowed.

    Returns:
        As int64.

    Raises:
        ValueError: If one of them is not.
    """
    given = np.asarray(numbers)
    if not np.all(np.isfinite(given) & (given == np.rint(given)) & (given >= least)):
        raise ValueError(f"{name} must be whole numbers of at least {least}")
    return given.astype(np.int64)


def two_by_two(upper_left: ArrayLike, upper_right: ArrayLike, lower_left: ArrayLike, lower_right: ArrayLike) -> Floats:
    """Matrices from their four entries.

    Args:
        upper_left: First entry of the first row, shape (...).
        upper_right: Second entry of the first row.
        lower_left: First entry of the second row.
        lower_right: Second entry of the second row.

    Returns:
        Shape (..., 2, 2).
    """
    entries = np.broadcast_arrays(upper_left, upper_right, lower_left, lower_right)
    stacked = np.stack([np.asarray(entry, dtype=np.float64) for entry in entries], axis=-1)
    return stacked.reshape(*stacked.shape[:-1], 2, 2)


def quadratic_form(matrix: ArrayLike, inner: ArrayLike) -> Floats:
    """M P Mᵀ, shape (..., n, n): the covariance P after the linear map M."""
    left = np.asarray(matrix, dtype=np.float64)
    return left @ np.asarray(inner, dtype=np.float64) @ np.swapaxes(left, -1, -2)
