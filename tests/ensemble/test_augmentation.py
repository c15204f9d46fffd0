import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as oracle

from sgdphases.ensemble.augmentation import AUGMENTATIONS, augmented, boxes, pixels

SIDE = (16, 24)
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(256, size=(6, 3, *SIDE), dtype=np.uint8))
FLIPPED, TOP, LEFT, HEIGHT, WIDTH = range(5)


def whole(**columns):
    """What leaves every image as it is, but for some columns."""
    drawn = torch.tensor([[0, 0, 0, *SIDE]] * len(IMAGES))
    for place, name in enumerate(("flipped", "top", "left", "height", "width")):
        if name in columns:
            drawn[:, place] = torch.tensor(columns[name])
    return drawn


@pytest.mark.parametrize("word", AUGMENTATIONS)
def test_what_is_drawn_follows_from_seed_and_step(word):
    drawn = [boxes(word, seed, step, 50, SIDE) for seed in (1, 2) for step in (0, 1)]
    np.testing.assert_array_equal(boxes(word, 2, 1, 50, SIDE), drawn[-1])
    assert drawn[0].shape == (50, 5)
    different = [not np.array_equal(a, b) for place, a in enumerate(drawn) for b in drawn[:place]]
    assert set(different) == {word != "none"}


@pytest.mark.parametrize("word", AUGMENTATIONS)
def test_the_whole_image_is_itself(word):
    images = IMAGES.float() if word == "resized_crop" else IMAGES
    found = augmented(word, images, whole())
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    torch.testing.assert_close(found, images, rtol=0, atol=2e-2 if word == "resized_crop" else 0)


@pytest.mark.parametrize("word", AUGMENTATIONS[1:])
def test_flips_are_exact(word):
    images = IMAGES.double() if word == "resized_crop" else IMAGES
    drawn = whole(flipped=[1, 0, 1, 1, 0, 0], top=-1 if word == "crop" else 0)
    found, straight = augmented(word, images, drawn), augmented(word, images, drawn * torch.tensor([0, 1, 1, 1, 1]))
    for image, flipped, unflipped in zip(found, drawn[:, FLIPPED], straight, strict=True):
        assert torch.equal(image, oracle.hflip(unflipped) if flipped else unflipped)


def test_crops_are_parts_of_a_framed_image():
    top, left = [-2, -1, 0, 1, 2, 0], [3, -3, 0, 2, -1, 1]
    found = augmented("crop", IMAGES, whole(top=top, left=left, flipped=[0, 0, 0, 0, 0, 1]))
    for place in range(5):
        framed = np.pad(IMAGES[place], ((0, 0), (2, 2), (3, 3)))
        down, right = top[place] + 2, left[place] + 3
        np.testing.assert_array_equal(found[place], framed[:, down : down + 16, right : right + 24])
    assert torch.equal(found[5], torch.cat([IMAGES[5, :, :, 1:], torch.zeros(3, 16, 1)], dim=2).flip(-1))


def test_resized_crops_are_those_of_torchvision():
    drawn = torch.from_numpy(boxes("resized_crop", 3, 0, 6, SIDE))
    drawn[0, 1:] = torch.tensor([15, 23, 1, 1])
    drawn[1, 1:] = torch.tensor([0, 4, 16, 9])
    images = IMAGES.double()
    found = augmented("resized_crop", images, drawn)
    for image, (flipped, *box), result in zip(images, drawn.tolist(), found, strict=True):
        expected = oracle.resized_crop(image, *box, SIDE, InterpolationMode.BILINEAR, antialias=True)
        torch.testing.assert_close(result, oracle.hflip(expected) if flipped else expected, rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def many():
    """What is done to 24000 images."""
    return {word: np.concatenate([boxes(word, 0, step, 400, (64, 64)) for step in range(60)]) for word in AUGMENTATIONS}


def even(values, count):
    """Whether whole numbers are as often each of `count` as chance allows: five deviations."""
    found = np.unique(values, return_counts=True)[1]
    mean = len(values) / count
    return len(found) == count and np.abs(found - mean).max() < 5 * np.sqrt(mean)


def test_crops_are_even(many):
    drawn = many["crop"]
    assert even(drawn[:, FLIPPED], 2)
    assert (drawn[:, 1:3].min(), drawn[:, 1:3].max()) == (-8, 8)
    assert even(drawn[:, TOP], 17)
    assert even(drawn[:, LEFT], 17)
    assert even(17 * drawn[:, TOP] + drawn[:, LEFT], 17**2)
    assert even(2 * drawn[:, TOP] + drawn[:, FLIPPED], 34)
    assert (drawn[:, 3:] == 64).all()


def test_flips_are_half_of_the_images_and_nothing_else(many):
    assert even(many["flip"][:, FLIPPED], 2)
    assert (many["flip"][:, 1:] == [0, 0, 64, 64]).all()
    assert (many["none"] == [0, 0, 0, 64, 64]).all()


def test_resized_crops_are_drawn_as_torchvision_draws(many):
    drawn = many["resized_crop"]
    _, top, left, height, width = drawn.T
    assert min(top.min(), left.min()) == 0
    assert (top + height).max() == (left + width).max() == 64
    assert even(drawn[:, FLIPPED], 2)
    torch.manual_seed(0)
    image = torch.empty(1, 64, 64)
    theirs = np.array([RandomResizedCrop.get_params(image, [0.08, 1], [3 / 4, 4 / 3]) for _ in range(6000)])
    for ours, other in (
        (height * width, theirs[:, 2] * theirs[:, 3]),
        (np.log(height / width), np.log(theirs[:, 2] / theirs[:, 3])),
        (top / 64, theirs[:, 0] / 64),
        (left * height, theirs[:, 1] * theirs[:, 2]),
    ):
        error = np.hypot(ours.std() / np.sqrt(len(ours)), other.std() / np.sqrt(len(other)))
        assert abs(ours.mean() - other.mean()) < 5 * error
        np.testing.assert_allclose(np.quantile(ours, [0.1, 0.5, 0.9]), np.quantile(other, [0.1, 0.5, 0.9]), rtol=0.15)


def test_numbers_of_a_square_image():
    assert pixels(192, 3) == (3, 8, 8)
    assert pixels(784, 1) == (1, 28, 28)
    with pytest.raises(ValueError, match="inputs of width 784 are no square images of 3 channels"):
        pixels(784, 3)
