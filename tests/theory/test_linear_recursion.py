import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.theory import linear_recursion


def plain(steps, matrix, kick):
    """The same by one step after another."""
    size = len(matrix)
    power, total, covariance = np.eye(size), np.zeros((size, size)), np.zeros((size, size))
    for _ in range(steps):
        total = total + power
        power = matrix @ power
        covariance = matrix @ covariance @ matrix.T + kick
    return power, total, covariance


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 70))
def test_against_single_steps(seed, size, steps):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(size, size)) / (2 * np.sqrt(size))
    root = rng.normal(size=(size, size))
    kick = root @ root.T
    done = linear_recursion.accumulate(steps, matrix, kick)
    for own, other in zip(done, plain(steps, matrix, kick), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-12)


def test_steps_and_matrices_are_broadcast():
    matrices = np.array([[[0.5, 0.1], [0.0, 0.9]], [[1.0, 0.3], [0.0, 0.2]], [[0.9, 1.0], [0.0, 0.9]]])
    kick = np.array([[1.0, 0.5], [0.5, 2.0]])
    steps = np.array([[0], [1], [7], [64]])
    done = linear_recursion.accumulate(steps, matrices, kick)
    assert {part.shape for part in done} == {(4, 3, 2, 2)}
    for row, count in enumerate(steps[:, 0]):
        for column, matrix in enumerate(matrices):
            for own, other in zip(done, plain(count, matrix, kick), strict=True):
                np.testing.assert_allclose(own[row, column], other, rtol=1e-12, atol=1e-15)


def test_eigenvalue_one_and_a_billion_steps():
    done = linear_recursion.accumulate(10**9, [[1.0]], [[2.0]])
    assert done.power == 1
    assert done.total == 10**9
    assert done.covariance == 2 * 10**9


@pytest.mark.parametrize("steps", [-1, 0.5, np.nan, [3, 2.5], np.inf])
def test_steps_must_be_whole(steps):
    with pytest.raises(ValueError, match="steps must be whole numbers of at least 0"):
        linear_recursion.accumulate(steps, np.eye(2))


def test_two_by_two_and_quadratic_form():
    made = linear_recursion.two_by_two(1.0, [2.0, 5.0], 3.0, 4.0)
    np.testing.assert_array_equal(made, [[[1, 2], [3, 4]], [[1, 5], [3, 4]]])
    np.testing.assert_array_equal(linear_recursion.quadratic_form(made[0], np.diag([1.0, 2.0])), [[9, 19], [19, 41]])
