"""Leading eigenvectors of a Hessian as Kunin et al., arXiv 2107.09133, have them: by subspace iteration.

All vectors are multiplied at once and made orthonormal again (QR), and the diagonal of R is taken for the eigenvalues:
unsorted, and of either sign, which the factorisation chooses. A vector converges only as fast as its eigenvalue differs
from the next, so that ten iterations leave most of them mixed; `rayleigh_ritz` turns them within the subspace, which
their release does not. Lanczos iterations (`landscape.leading`) are what the house takes itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from sgdphases.ensemble.streams import generator

Product = Callable[[np.ndarray], np.ndarray]
"""What a symmetric matrix makes of columns (parameters, count)."""

ITERATIONS = 10
"""Of the paper."""

START = 2022
"""Tag of the stream (`ensemble.streams`) of the vectors that iterations start from."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """What one iteration leaves.

    Attributes:
        values: What stands for the eigenvalues (count,): the diagonal of R, or Ritz values in descending order.
        vectors: Orthonormal columns (parameters, count).
        residuals: ||A v - value v|| (count,), with the diagonal of R as if QR had chosen its signs well.
        products: Products with A that were needed so far, those for the residuals included, which the next iteration
            goes on from.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    products: int


def subspace_iterations(
    product: Product, size: int, count: int, seed: int, *, rayleigh_ritz: bool = False
) -> Iterator[Pairs]:
    """Block power iteration with QR.

    Args:
        product: With a symmetric matrix.
        size: Of the matrix.
        count: How many vectors.
        seed: Of the vectors that the iterations start from.
        rayleigh_ritz: Whether the vectors are turned to the eigenvectors within their subspace.

    Yields:
        The pairs after each iteration, without an end.
    """
    vectors = np.linalg.qr(generator(seed, START, 0).standard_normal((size, count)))[0]
    images, products = product(vectors), count
    while True:
        vectors, triangle = np.linalg.qr(images)
        images, products = product(vectors), products + count
        values, expected = np.diag(triangle), np.abs(np.diag(triangle))
        if rayleigh_ritz:
            inner = vectors.T @ images
            values, turn = np.linalg.eigh((inner + inner.T) / 2)
            values, turn = values[::-1], turn[:, ::-1]
            vectors, images, expected = vectors @ turn, images @ turn, values
        residuals = np.linalg.norm(images - vectors * expected, axis=0)
        yield Pairs(values, vectors, residuals, products)


def subspace(product: Product, size: int, count: int, seed: int) -> Pairs:
    """The pairs after the paper's ten iterations, without Rayleigh-Ritz.

    Args:
        product: With a symmetric matrix.
        size: Of the matrix.
        count: How many vectors, at most that.
        seed: Of the vectors that the iterations start from.

    Returns:
        The pairs.
    """
    return next(islice(subspace_iterations(product, size, count, seed), ITERATIONS - 1, None))
