import numpy as np
import pytest

from sgdphases.datasets.task import Task


def test_epoch_is_the_number_of_training_samples():
    assert Task(np.zeros((5, 2)), np.zeros((5, 1)), np.zeros((3, 2)), np.zeros((3, 1))).epoch == 5


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((5, 2), (4, 1), (3, 2), (3, 1)), "training inputs"),
        (((5, 2), (5, 1), (3, 2), (2,)), "test inputs"),
        (((5, 2, 2), (5,), (3, 2), (3,)), "training inputs"),
        (((5, 2), (5, 1, 1), (3, 2), (3,)), "training inputs"),
    ],
)
def test_arrays_must_fit_together(shapes, words):
    with pytest.raises(ValueError, match=words):
        Task(*(np.zeros(shape) for shape in shapes))
