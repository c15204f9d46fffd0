"""The sizes of a convolutional network (arXiv 2410.04642): plain numbers, for cards and shards alike.

Two convolutions of 3x3 kernels without padding, each followed by the activation and by means over squares of 2x2, then
two dense layers. Images are square and lie channel by channel, row by row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

KERNEL, POOL = 3, 2
LEAST_SIDE = 10
"""Of an image: both convolutions leave something from there on."""


@dataclass(frozen=True)
class Geometry:
    """What one convolution reads and leaves.

    A position is a place of the kernel within the image. A last row or column of positions that no pool reads decides
    nothing, and is no position here.

    Attributes:
        channels: Channels C of the images that it reads.
        side: Rows, and columns, of these images.
        filters: Channels F of the images that it leaves.
    """

    channels: int
    side: int
    filters: int

    @property
    def inputs(self) -> int:
        """Numbers of an image that it reads."""
        return self.channels * self.side**2

    @property
    def patch(self) -> int:
        """Numbers that a filter reads at one position, C x 3 x 3."""
        return self.channels * KERNEL**2

    @property
    def pooled(self) -> int:
        """Rows, and columns, of the images that it leaves."""
        return (self.side - KERNEL + 1) // POOL

    @property
    def across(self) -> int:
        """Positions in a row, and in a column."""
        return POOL * self.pooled

    @property
    def positions(self) -> int:
        """Positions in an image."""
        return self.across**2

    @property
    def outputs(self) -> int:
        """Numbers of an image that it leaves."""
        return self.filters * self.pooled**2

    @property
    def largest(self) -> int:
        """Numbers of the largest array that it makes of one sample."""
        return max(self.patch, self.filters) * self.positions

    @property
    def touched(self) -> int:
        """Numbers that a step touches for one sample: patches and their derivatives, fields, slopes, deltas, pools."""
        return (2 * self.patch + 3 * self.filters) * self.positions + 2 * self.outputs


def convolutions(widths: Sequence[int], channels: int) -> tuple[Geometry, Geometry]:
    """The convolutions of a network of kind cnn.

    Args:
        widths: Numbers of an image, channels of both convolutions, hidden units, outputs.
        channels: Channels of the image.

    Returns:
        The first and the second.

    Raises:
        ValueError: If these are no five widths, or the image is not square or too small.
    """
    if channels < 1:
        raise ValueError(f"channels: an image has at least one, not {channels}")
    if len(widths) != 5:
        raise ValueError(
            "widths: kind cnn has five (numbers of an image, channels of two convolutions, hidden units, outputs), "
            f"not {len(widths)}"
        )
    side = side_of("cnn", widths[0], channels)
    if side < LEAST_SIDE:
        raise ValueError(f"widths: kind cnn reads images of side {LEAST_SIDE} and more, not {side}")
    first = Geometry(channels, side, widths[1])
    return first, Geometry(widths[1], first.pooled, widths[2])


def side_of(kind: str, numbers: int, channels: int) -> int:
    """Rows, and columns, of an image.

    Args:
        kind: Family of the network that reads it.
        numbers: Of the image.
        channels: Among which they are.

    Returns:
        The side.

    Raises:
        ValueError: If the image is not square.
    """
    side = isqrt(numbers // channels)
    if channels * side**2 != numbers:
        raise ValueError(f"widths: kind {kind} reads square images, which {channels} x {numbers / channels:g} are not")
    return side


def check_kind(
    kind: str, widths: Sequence[int], channels: int, *, trained: Sequence[bool], init: Sequence[str]
) -> None:
    """Refuse an architecture that its kind does not have.

    Args:
        kind: Family of the network.
        widths: As the family has them.
        channels: Channels of the images that it reads.
        trained: Per layer, whether it is trained.
        init: Per layer, how its weights start.

    Raises:
        ValueError: If the rest does not fit the kind.
    """
    if kind != "cnn":
        if channels != 1 and kind == "mlp":
            raise ValueError(f"channels: kind {kind} reads numbers, not images of {channels} channels")
        return
    convolutions(widths, channels)
    if not all(trained):
        raise ValueError("trained: kind cnn trains all its layers")
    if set(init) != {"gaussian"}:
        raise ValueError("init: kind cnn starts all layers gaussian")
