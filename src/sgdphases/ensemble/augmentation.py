"""Random changes of images that leave their class: what is drawn for each, and how a batch is changed on its device.

What is drawn follows from the seed of the data's order and the step alone. It is a box for each image, the part of it
that is seen, which becomes the whole image; and whether left and right are exchanged.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sgdphases.ensemble.streams import AUGMENTATION, generator

AUGMENTATIONS = ("none", "flip", "crop", "resized_crop")
"""none; flip: left and right exchanged, or not; crop: of the image in a black frame, an eighth of its side wide, a part
of its own size, then flip; resized_crop: a part between 8 % of the image and all of it, of a shape between 3:4 and 4:3,
made as large as the image, then flip (torchvision's RandomResizedCrop; Szegedy et al. 2015)."""
FRAME = 8
SHARE, SHAPE, ATTEMPTS = (0.08, 1.0), (3 / 4, 4 / 3), 10


def boxes(word: str, seed: int, step: int, samples: int, side: tuple[int, int]) -> np.ndarray:
    """Draw what is done to the images of one batch.

    Args:
        word: Of `AUGMENTATIONS`.
        seed: Seed of the stream of data orders.
        step: Number of the update.
        samples: Images of the batch.
        side: Height and width of the images in pixels.

    Returns:
        (samples, 5) int64: whether flipped (0 or 1), top, left, height and width of the part that is seen, in pixels;
        top and left are negative where it begins in the frame.
    """
    numbers = generator(seed, AUGMENTATION, step)
    found = np.zeros((samples, 5), dtype=np.int64)
    found[:, 3:] = side
    if word == "none":
        return found
    found[:, 0] = numbers.integers(2, size=samples)
    if word == "crop":
        frame = np.array(side) // FRAME
        found[:, 1:3] = numbers.integers(-frame, frame + 1, size=(samples, 2))
    if word == "resized_crop":
        found[:, 1:] = _parts(numbers, samples, side)
    return found


def _parts(numbers: np.random.Generator, samples: int, side: tuple[int, int]) -> np.ndarray:
    """Top, left, height and width (samples, 4) of random parts: the first attempt that fits, else the whole image."""
    height, width = side
    shares = numbers.uniform(*SHARE, size=(samples, ATTEMPTS)) * height * width
    shapes = np.exp(numbers.uniform(*np.log(SHAPE), size=(samples, ATTEMPTS)))
    heights, widths = np.rint(np.sqrt(shares / shapes)), np.rint(np.sqrt(shares * shapes))
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first, chosen = fits.argmax(axis=1), np.arange(samples)
    sizes = np.stack([heights[chosen, first], widths[chosen, first]], axis=1).astype(np.int64)
    sizes[~fits.any(axis=1)] = side
    return np.concatenate([numbers.integers(np.array(side) - sizes + 1), sizes], axis=1)


def augmented(word: str, images: Tensor, drawn: Tensor) -> Tensor:
    """Do to images what was drawn.

    Args:
        word: Of `AUGMENTATIONS`.
        images: (samples, channels, height, width), bytes or numbers; numbers for resized_crop.
        drawn: Of `boxes`, on their device.

    Returns:
        The changed images, of the same shape and type.
    """
    if word == "none":
        return images
    if word == "crop":
        images = _cropped(images, drawn)
    if word == "resized_crop":
        images = _resized(images, drawn)
    return torch.where(drawn[:, :1, None, None].bool(), images.flip(-1), images)


def _cropped(images: Tensor, drawn: Tensor) -> Tensor:
    """Parts of the images' own size, that may reach into a frame of zeros."""
    height, width = images.shape[2:]
    down, right = height // FRAME, width // FRAME
    framed = functional.pad(images, (right, right, down, down))
    places = framed.unfold(2, height, 1).unfold(3, width, 1)  # a view: all parts there are
    each = torch.arange(len(images), device=images.device)
    return places[each, :, drawn[:, 1] + down, drawn[:, 2] + right]


def _resized(images: Tensor, drawn: Tensor) -> Tensor:
    """Parts made as large as the image: bilinear, and nothing beyond a part's own edge is seen."""
    grids = []
    for axis, first, size in ((3, drawn[:, 2], drawn[:, 4]), (2, drawn[:, 1], drawn[:, 3])):
        count = images.shape[axis]
        middles = torch.arange(count, device=images.device, dtype=images.dtype) + 0.5
        first, size = first[:, None].to(images.dtype), size[:, None].to(images.dtype)
        within = (middles * size / count).clamp_min(0.5).minimum(size - 0.5)  # between its outermost pixels' middles
        grids.append((first + within) * (2 / count) - 1)
    across, down = grids
    grid = torch.stack(torch.broadcast_tensors(across[:, None, :], down[:, :, None]), dim=-1)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def pixels(width: int, channels: int) -> tuple[int, int, int]:
    """Shape of images that lie as vectors, channel by channel, row by row.

    Args:
        width: Numbers of an image.
        channels: Its channels.

    Returns:
        Channels, height and width.

    Raises:
        ValueError: If these are not the numbers of a square.
    """
    side = math.isqrt(width // channels)
    if channels * side**2 != width:
        raise ValueError(f"inputs of width {width} are no square images of {channels} channels")
    return channels, side, side
