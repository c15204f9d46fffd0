"""The architecture that all networks of a shard share, as plain data."""

import math
from dataclasses import dataclass
from functools import cached_property

from sgdphases.ensemble.geometry import Geometry, check_kind, convolutions, side_of
from sgdphases.ensemble.pieces import Piece, check_modular, check_pieces, is_modular, pieces

ACTIVATIONS = ("tanh", "relu", "erf", "linear")
KINDS = ("mlp", "cnn", "resnet18")
PARAMETRISATIONS = ("standard", "mean_field")
INITS = ("gaussian", "glorot_uniform", "ones", "zeros")


@dataclass(frozen=True)
class Network:
    """The architecture that all networks of a shard share.

    Attributes:
        widths: Units per level, the input first: layer l maps widths[l] to widths[l + 1]. Of kind cnn: numbers of an
            image, channels of both convolutions, hidden units, outputs (`ensemble.geometry`). Of kind resnet18:
            numbers of an image, channels of the first stage, outputs (`ensemble.pieces`).
        activation: Word of the hidden activation; the last layer is linear.
        bias: Per layer, whether it has a bias (starts at zero).
        trained: Per layer, whether it is trained; the weights of frozen layers come from the task.
        init: Per layer, how its weights start: gaussian (variance init_scale^2 / fan-in) or glorot_uniform, which no
            init_scale changes; all gaussian if not given. Of modular networks also ones and zeros.
        kind: Family of the network: mlp, cnn (two convolutions and two dense layers) or resnet18.
        parametrisation: How scales depend on the widths. standard: a Gaussian weight starts with variance
            init_scale^2 / fan-in and moves by the learning rate times its gradient. mean_field (arXiv 2410.04642):
            weights are `unit` times parameters theta that start with variance init_scale^2, the read-out's unit is
            1 / fan-in, and theta moves by the hidden width times the learning rate times its gradient.
        centered: Whether the output of the network as it starts is subtracted from its output.
        channels: Channels of the images that it reads.
        norm: How layers are normalised: none, batch, group or layer (`ensemble.pieces`).
        ghosts: Parts of a batch that norm batch normalises each by itself, its ghost batches.
        stem: How kind resnet18 begins.
    """

    widths: tuple[int, ...]
    activation: str
    bias: tuple[bool, ...]
    trained: tuple[bool, ...]
    init: tuple[str, ...] = ()
    kind: str = "mlp"
    parametrisation: str = "standard"
    centered: bool = False
    channels: int = 1
    norm: str = "none"
    ghosts: int = 1
    stem: str = "tiny"

    def __post_init__(self) -> None:
        known_word("kind", self.kind, KINDS)
        check_pieces(self.kind, self.widths, norm=self.norm, ghosts=self.ghosts, stem=self.stem, channels=self.channels)
        depth = len(self.widths) - 1
        if self.modular:
            self._take_pieces()
            depth = len(self.pieces)
        if depth < 1 or min(self.widths) < 1:
            raise ValueError(f"widths {list(self.widths)}: at least two positive widths are needed")
        if len(self.bias) != depth or len(self.trained) != depth:
            raise ValueError(f"bias and trained need one value for each of the {depth} layers")
        if not any(self.trained):
            raise ValueError("no layer is trained")
        object.__setattr__(self, "init", tuple(self.init) or (INITS[0],) * depth)
        if len(self.init) != depth:
            raise ValueError(f"init needs one word for each of the {depth} layers")
        for word in self.init:
            known_word("init", word, INITS)
        check_kind(self.kind, self.widths, self.channels, trained=self.trained, init=self.init)
        known_word("activation", self.activation, ACTIVATIONS)
        known_word("parametrisation", self.parametrisation, PARAMETRISATIONS)
        if (self.centered or self.parametrisation == "mean_field") and not all(self.trained):
            raise ValueError("a centered or mean_field network trains all its layers")
        if self.parametrisation == "mean_field" and set(self.init) != {"gaussian"}:
            raise ValueError("mean_field starts all layers from Gaussians")

    def _take_pieces(self) -> None:
        """Give every layer of a modular network what its piece says."""
        known = {"parametrisation": self.parametrisation, "centered": self.centered, "activation": self.activation}
        check_modular(**known, trained=self.trained, init=self.init)
        object.__setattr__(self, "bias", tuple(piece.bias for piece in self.pieces))
        object.__setattr__(self, "trained", (True,) * len(self.pieces))
        object.__setattr__(self, "init", tuple(piece.init for piece in self.pieces))

    @property
    def modular(self) -> bool:
        """Whether it is trained by automatic differentiation."""
        return is_modular(self.kind, self.norm)

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The layers of a modular network."""
        known = {"norm": self.norm, "stem": self.stem, "channels": self.channels, "bias": self.bias[-1]}
        return pieces(self.kind, self.widths, **known)

    @property
    def layers(self) -> int:
        """Number of layers L; they are numbered 0 .. L - 1."""
        return len(self.trained)

    @property
    def levels_trained(self) -> tuple[bool, ...]:
        """For each pair of neighbours among the widths, whether what lies between is trained: what data sets ask."""
        return (True,) * (len(self.widths) - 1) if self.modular else self.trained

    @property
    def trained_layers(self) -> tuple[int, ...]:
        """Numbers of the trained layers, ascending."""
        return tuple(layer for layer, trained in enumerate(self.trained) if trained)

    @cached_property
    def geometries(self) -> tuple[Geometry | None, ...]:
        """Per layer, how a convolution reads images and what it leaves; None for a dense layer."""
        read = convolutions(self.widths, self.channels) if self.kind == "cnn" else ()
        return (*read, *[None] * (self.layers - len(read)))

    def shape(self, layer: int) -> tuple[int, int]:
        """Shape (out, in) of the weights of one layer; a convolution's filters lie channel by channel, row by row."""
        if self.modular:
            return self.pieces[layer].out, self.pieces[layer].fan_in
        geometry, below = self.geometries[layer], self.geometries[layer - 1] if layer else None
        if geometry is not None:
            return geometry.filters, geometry.patch
        return self.widths[layer + 1], self.widths[layer] if below is None else below.outputs

    @property
    def largest(self) -> int:
        """Numbers of the largest array that a layer makes of one sample."""
        each = enumerate(self.geometries)
        return max(self.shape(layer)[0] if geometry is None else geometry.largest for layer, geometry in each)

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Per layer, places of one sample where its weights are applied, or a few more; 1 of a dense layer."""
        if self.kind != "resnet18":
            return tuple(1 if geometry is None else geometry.positions for geometry in self.geometries)
        side, narrow = side_of(self.kind, self.widths[0], self.channels), self.widths[1]
        if self.stem == "imagenet":
            side //= 2  # of the maximum that follows
        across = (max(side * narrow // max(piece.out, narrow), 1) for piece in self.pieces)
        return tuple(1 if p.word == "dense" else size**2 for p, size in zip(self.pieces, across, strict=True))

    @property
    def products(self) -> int:
        """Multiplications that make the output of one sample."""
        return sum(math.prod(self.shape(layer)) * self.places[layer] for layer in range(self.layers))

    def unit(self, layer: int) -> float:
        """The c in W = c theta, weights and bias of a layer alike; 1 where weights themselves are the parameters."""
        if self.parametrisation == "standard":
            return 1.0
        geometry = self.geometries[layer]
        # The released code divides by the root of the channels, not of all that a filter reads.
        fan_in = self.shape(layer)[1] if geometry is None else geometry.channels
        return 1 / fan_in if layer == self.layers - 1 else 1 / math.sqrt(fan_in)

    @property
    def rate_factor(self) -> float:
        """N, by which the learning rate is multiplied: under mean_field widths[1] (1 without hidden units), else 1."""
        return float(self.widths[1]) if self.parametrisation == "mean_field" and self.layers > 1 else 1.0

    def step_factor(self, layer: int) -> float:
        """Step of W per learning rate and gradient by W: N c^2, since theta steps by N times the learning rate."""
        return self.rate_factor * self.unit(layer) ** 2


def known_word(name: str, word: str, words: tuple[str, ...]) -> None:
    """Refuse a word that is not in the list.

    Args:
        name: What it is a word of.
        word: The word.
        words: The list.

    Raises:
        ValueError: If it is another one.
    """
    if word not in words:
        raise ValueError(f"{name} {word!r} is unknown; known are {', '.join(words)}")
