"""The layers of networks that are trained by automatic differentiation: plain numbers, for cards and shards alike.

Two families: kind resnet18 (arXiv 1512.03385, as torchvision builds it), and kind mlp with a norm, whose hidden layers
are normalised between product and activation. Every product and every normalisation is a layer of its own, numbered in
the order in which it is applied (of a block, its shortcut last): the gain of a normalisation is its weights
(channels, 1), its shift is its bias. A product that is normalised has no bias, which would change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sgdphases.ensemble.geometry import side_of

NORMS = ("none", "batch", "group", "layer")
NORMS_OF = {"mlp": ("none", "batch", "layer"), "cnn": ("none",), "resnet18": ("none", "batch", "group")}
STEMS = ("tiny", "imagenet")
"""Of kind resnet18: a 3x3 convolution; or 7x7 in steps of two, and a maximum over 3x3 in steps of two."""

ACTIVATIONS = ("relu", "linear")
"""Those that round alike wherever a number lies, so that no network's bits depend on its neighbours."""

STAGES, BLOCKS = 4, 2
"""Of kind resnet18: stages, each with twice the channels of the one before, and blocks of two convolutions in each."""

GROUPS = 32
"""Of a group normalisation (Wu and He 2018, arXiv 1803.08494), or as many as there are channels."""


@dataclass(frozen=True)
class Piece:
    """One layer.

    Attributes:
        word: dense, convolution or normalisation.
        out: Outputs, or channels that it leaves.
        channels: Inputs, or channels that it reads; of a normalisation 1.
        bias: Whether it has a bias, of a normalisation its shift.
        kernel: Rows and columns of a convolution's kernel, which reads half of that past the edge.
        stride: Its steps.
        init: How its weights start: gaussian, ones or zeros.
    """

    word: str
    out: int
    channels: int
    bias: bool
    kernel: int = 1
    stride: int = 1
    init: str = "gaussian"

    @property
    def fan_in(self) -> int:
        """Numbers that one output is made of."""
        return self.channels * self.kernel**2


def is_modular(kind: str, norm: str) -> bool:
    """Whether a network is trained by automatic differentiation.

    Args:
        kind: Family of the network.
        norm: Its normalisation.

    Returns:
        True for kind resnet18 and for every network with a norm.
    """
    return kind == "resnet18" or norm != "none"


def pieces(kind: str, widths: Sequence[int], *, norm: str, stem: str, channels: int, bias: bool) -> tuple[Piece, ...]:
    """The layers of a modular network, in their order.

    Args:
        kind: mlp or resnet18.
        widths: Units per level; of kind resnet18 numbers of an image, channels of the first stage, outputs.
        norm: none, batch, group or layer.
        stem: How kind resnet18 begins.
        channels: Channels of the images that it reads.
        bias: Whether products that are not normalised have a bias.

    Returns:
        One a layer.
    """
    if kind == "resnet18":
        return _resnet(widths, norm=norm, stem=stem, channels=channels, bias=bias)
    found = []
    for level, (fan_in, out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        last = level == len(widths) - 2
        found.append(Piece("dense", out, fan_in, bias and last))
        found += [] if last else [_normalisation(out)]
    return tuple(found)


def _normalisation(out: int) -> Piece:
    return Piece("normalisation", out, 1, bias=True, init="ones")


def _resnet(widths: Sequence[int], *, norm: str, stem: str, channels: int, bias: bool) -> tuple[Piece, ...]:
    """Stem, blocks and read-out of a residual network of 18 layers."""
    normed, found = norm != "none", []

    def convolve(fan_in: int, out: int, kernel: int, stride: int = 1, init: str = "gaussian") -> None:
        found.append(Piece("convolution", out, fan_in, bias and not normed, kernel, stride, init))
        if normed:
            found.append(_normalisation(out))

    convolve(channels, widths[1], *((3, 1) if stem == "tiny" else (7, 2)))
    fan_in = widths[1]
    for stage in range(STAGES):
        out = widths[1] * 2**stage
        for block in range(BLOCKS):
            stride = 2 if stage and not block else 1
            convolve(fan_in, out, 3, stride)
            # Without a norm every block would double the variance: so it begins as nothing (arXiv 1901.09321).
            convolve(out, out, 3, init="gaussian" if normed else "zeros")
            if stride != 1 or fan_in != out:
                convolve(fan_in, out, 1, stride)
            fan_in = out
    return (*found, Piece("dense", widths[2], fan_in, bias))


def check_pieces(kind: str, widths: Sequence[int], *, norm: str, ghosts: int, stem: str, channels: int) -> None:
    """Refuse a norm that a family does not have, and sizes that a residual network cannot have.

    Args:
        kind: Family of the network.
        widths: As the family has them.
        norm: Its normalisation.
        ghosts: Parts of a batch that are normalised each by itself.
        stem: How kind resnet18 begins.
        channels: Channels of the images that it reads.

    Raises:
        ValueError: In words that name the key.
    """
    if norm not in NORMS_OF[kind]:
        raise ValueError(f"norm: kind {kind} has {' or '.join(NORMS_OF[kind])}, not {norm!r}")
    if ghosts < 1 or (ghosts > 1 and norm != "batch"):
        raise ValueError(f"ghosts: parts of a batch that norm batch normalises, at least one; not {ghosts} with {norm}")
    if stem not in STEMS:
        raise ValueError(f"stem {stem!r} is unknown; known are {', '.join(STEMS)}")
    if kind != "resnet18":
        if stem != STEMS[0]:
            raise ValueError(f"stem {stem}: kind resnet18 has one, not {kind}")
        if norm != "none" and len(widths) < 3:
            raise ValueError(f"norm: {norm} normalises hidden layers, of which there are none")
        return
    if len(widths) != 3:
        raise ValueError(
            "widths: kind resnet18 has three (numbers of an image, channels of the first stage, outputs), "
            f"not {len(widths)}"
        )
    side = side_of(kind, widths[0], channels)
    if norm == "group":
        _check_groups(widths[1], side if stem == "tiny" else -(-side // 4))


def _check_groups(narrow: int, side: int) -> None:
    """Refuse channels that are no groups of equal size, and groups of one number, which would always become zero."""
    stages = [narrow * 2**stage for stage in range(STAGES)]
    if any(out % min(GROUPS, out) for out in stages):
        raise ValueError(f"widths: norm group parts channels into {GROUPS} groups, which {stages} are not all made of")
    for stage, out in enumerate(stages):
        if out <= GROUPS and side <= 2**stage:
            raise ValueError(f"widths: norm group has groups of one number where {out} channels have one pixel each")


def check_ghosts(batch_size: int, ghosts: int) -> None:
    """Refuse a batch that has not so many parts of two samples and more.

    Args:
        batch_size: Samples per batch.
        ghosts: Parts of it that are normalised each by itself.

    Raises:
        ValueError: In words that name the keys.
    """
    if batch_size % ghosts or batch_size < 2 * ghosts:
        raise ValueError(f"network.ghosts: batch_size {batch_size} has not {ghosts} equal parts of two samples or more")


def check_modular(
    *, parametrisation: str, centered: bool, activation: str, trained: Sequence[bool], init: Sequence[str]
) -> None:
    """Refuse what modular networks do not have.

    Args:
        parametrisation: Of the network.
        centered: Whether its first output is subtracted.
        activation: Word of the hidden activation.
        trained: Whether layers are trained.
        init: How they start.

    Raises:
        ValueError: In words that name the key.
    """
    if parametrisation != "standard" or centered:
        raise ValueError("norm: networks that are centered or mean_field have none, and are of kind mlp or cnn")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: with a norm, and of kind resnet18, {' or '.join(ACTIVATIONS)}, not {activation}")
    if not all(trained):
        raise ValueError("trained: with a norm, and of kind resnet18, all layers are trained")
    if not set(init) <= {"gaussian", "ones", "zeros"}:
        raise ValueError("init: with a norm, and of kind resnet18, layers start gaussian")
