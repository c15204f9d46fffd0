"""Subspace iteration on a matrix whose spectrum is known."""

from itertools import islice

import numpy as np
import pytest

from sgdphases.observables.subspace import ITERATIONS, subspace, subspace_iterations

SIZE, COUNT = 60, 4
VALUES = np.concatenate([[8.0, 4.0, 2.0, -1.0], np.linspace(0.5, -0.1, SIZE - COUNT)])
VECTORS = np.linalg.qr(np.random.default_rng(1).standard_normal((SIZE, SIZE)))[0]
MATRIX = VECTORS * VALUES @ VECTORS.T


def after(iterations, **how):
    return next(islice(subspace_iterations(MATRIX.__matmul__, SIZE, COUNT, 0, **how), iterations - 1, None))


@pytest.mark.parametrize("rayleigh_ritz", [False, True])
def test_it_ends_at_the_largest_eigenvalues(rayleigh_ritz):
    found = after(60, rayleigh_ritz=rayleigh_ritz)
    np.testing.assert_allclose(np.abs(found.values), [8, 4, 2, 1], rtol=1e-8)
    np.testing.assert_allclose(np.abs((found.vectors * VECTORS[:, :COUNT]).sum(axis=0)), 1, rtol=1e-8)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(COUNT), atol=1e-12)
    assert found.products == 61 * COUNT


def test_residuals_are_those_of_the_pairs():
    turned = after(7, rayleigh_ritz=True)
    images = MATRIX @ turned.vectors
    np.testing.assert_allclose(turned.residuals, np.linalg.norm(images - turned.vectors * turned.values, axis=0))
    assert turned.values[-1] < 0  # Ritz values keep their sign, and QR says nothing of it
    plain = after(7)
    np.testing.assert_allclose(
        plain.residuals, np.linalg.norm(MATRIX @ plain.vectors - plain.vectors * np.abs(plain.values), axis=0)
    )


def test_a_vector_gets_better_by_the_ratio_to_the_next_eigenvalue():
    """Of a leading vector; within the subspace, by that to the first eigenvalue outside it, squared for values."""
    tilt = [np.sqrt(1 - (after(steps).vectors[:, 0] @ VECTORS[:, 0]) ** 2) for steps in (10, 14)]
    assert tilt[1] / tilt[0] == pytest.approx(0.5**4, rel=0.05)
    tilt = [np.sqrt(1 - (after(steps, rayleigh_ritz=True).vectors[:, 0] @ VECTORS[:, 0]) ** 2) for steps in (3, 5)]
    assert tilt[1] / tilt[0] < 1.5 * (0.5 / 8) ** 2


def test_the_paper_stops_after_ten():
    found, same = subspace(MATRIX.__matmul__, SIZE, COUNT, 0), after(ITERATIONS)
    assert ITERATIONS == 10
    np.testing.assert_array_equal(found.vectors, same.vectors)
    assert found.products == 11 * COUNT
    other = subspace(MATRIX.__matmul__, SIZE, COUNT, 1)
    assert not np.array_equal(found.vectors, other.vectors)
