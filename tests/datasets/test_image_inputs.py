import numpy as np
import pytest
import torch

from made_images import offline, tiny_files, tiny_mirror
from sgdphases.datasets.image_inputs import AT_ONCE, ImageInputs
from sgdphases.datasets.image_table import open_table
from sgdphases.datasets.loading import load
from sgdphases.datasets.prepare import make_ready
from sgdphases.datasets.task import Task

NAME = {"name": "tiny_imagenet", "classes": 3, "resolution": 8}
ROWS = np.array([5, 0, 17, 59, 23, 4, 4])


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    with pytest.MonkeyPatch.context() as patch:
        offline(patch)
        mirror = tiny_mirror(folder / "mirror", tiny_files(train=20, test=4))
        make_ready("tiny_imagenet", folder / "data", [str(mirror)], parameters={"classes": 3, "resolution": 8})
    return folder / "data"


@pytest.fixture(scope="module")
def table(directory):
    return open_table(NAME, directory)


@pytest.fixture(params=[False, True], ids=["levels", "standardised"])
def made(request, table):
    """Some images, and what they are as numbers: the definition, image by image."""
    mean, deviation = (table.mean, table.deviation) if request.param else (np.zeros(3), np.ones(3))
    mean, deviation = (255 * part.astype(np.float32)[:, None, None] for part in (mean, deviation))
    numbers = np.stack([((table.images[row] - mean) / deviation).ravel() for row in ROWS])
    moments = (table.mean, table.deviation) if request.param else ()
    return ImageInputs(table.images, ROWS, *moments), numbers


def test_it_is_an_array_of_vectors(made):
    inputs, numbers = made
    assert numbers.dtype == np.float32
    assert (inputs.ndim, inputs.shape, len(inputs), inputs.dtype) == (2, (7, 192), 7, np.float32)
    assert inputs.image_shape == (3, 8, 8)
    for found in (np.asarray(inputs), np.array(inputs, copy=True), np.stack([inputs, inputs])[1], inputs[...]):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, numbers)
    assert np.asarray(inputs, dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.asarray(inputs, dtype=np.float64), numbers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_takes_it_as_one_array(made, dtype):
    inputs, numbers = made  # row by row torch would warn, and warnings are errors
    for found in (torch.tensor(inputs, dtype=dtype), torch.as_tensor(inputs).to(dtype)):
        assert torch.equal(found, torch.tensor(numbers, dtype=dtype))


MASK = ROWS > 10


@pytest.mark.parametrize(
    "key",
    [
        2,
        -1,
        np.int64(3),
        slice(None, 4),
        slice(None, None, -2),
        slice(9, 12),
        [3, 0],
        np.array([1, 1]),
        np.array([[1, 2], [6, 0]]),
        np.array([], dtype=int),
        MASK,
        None,
        (slice(1, 3), 5),
        (None, 2),
    ],
    ids=str,
)
def test_rows_are_chosen_as_of_an_array(made, key):
    inputs, numbers = made
    found = inputs[key]
    assert found.shape == numbers[key].shape
    np.testing.assert_array_equal(found, numbers[key])


def test_a_slice_is_read_by_nobody(made):
    inputs, numbers = made
    part = inputs[1:6][::2]
    assert isinstance(part, ImageInputs)
    np.testing.assert_array_equal(part, numbers[[1, 3, 5]])
    np.testing.assert_array_equal(part.bytes_of([2]), inputs.bytes_of([5]))


def test_bytes_are_those_of_the_table(table):
    inputs = ImageInputs(table.images, ROWS)
    for chosen in (np.array([6, 2, 2]), [0], slice(1, 3), MASK):
        found = inputs.bytes_of(chosen)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, table.images[ROWS[chosen]])
    out = np.zeros((2, 3, 8, 8), np.uint8)
    assert inputs.bytes_of([3, 1], out=out) is out
    np.testing.assert_array_equal(out, table.images[[59, 0]])


@pytest.mark.parametrize("choose", [lambda inputs: inputs[7], lambda inputs: inputs.bytes_of([0, 7])])
def test_an_image_that_is_not_there(table, choose):
    with pytest.raises(IndexError, match="7 is out of bounds"):
        choose(ImageInputs(table.images, ROWS))


def test_numbers_are_always_a_copy(made):
    with pytest.raises(ValueError, match="cannot be had without a copy"):
        np.array(made[0], copy=False)


def test_many_images_are_made_numbers_part_by_part(made, monkeypatch):
    monkeypatch.setattr("sgdphases.datasets.image_inputs.AT_ONCE", 3)
    assert AT_ONCE > 100
    np.testing.assert_array_equal(made[0], made[1])


def test_a_task_holds_nothing_of_its_images_in_memory(directory, table):
    network = {"widths": [192, 3], "trained": [True], "activation": "tanh", "directory": directory}
    task = load({**NAME, "validation": 9, "label_noise": 0.2}, seed=2, **network)
    assert isinstance(task, Task)
    assert task.epoch == 51
    for inputs in (task.inputs, task.test_inputs, task.validation_inputs):
        assert isinstance(inputs, ImageInputs)
        assert np.shares_memory(inputs._images, table.images)
    assert isinstance(table.images, np.memmap)
