"""Forward passes of modular networks (`ensemble.pieces`), many at once, for automatic differentiation.

Numbers lie as (rows, samples, units), images as (samples, rows * channels, height, width): a convolution of several
networks is one in groups, and what is normalised channel by channel never meets another network's channels.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from sgdphases.ensemble.architecture import Network
from sgdphases.ensemble.geometry import side_of
from sgdphases.ensemble.pieces import BLOCKS, GROUPS, STAGES

EPSILON = 1e-5
"""Added to variances, as everywhere."""

Moments = dict[int, tuple[Tensor, Tensor]]
"""Of each layer that normalises a batch, mean and variance of what it reads, (rows * channels,)."""


def outputs(
    network: Network,
    weights: Mapping[int, Tensor],
    biases: Mapping[int, Tensor],
    inputs: Tensor,
    *,
    moments: Moments | None = None,
    found: Moments | None = None,
) -> Tensor:
    """What networks answer to a batch, before any output scale.

    Args:
        network: Their architecture.
        weights: Per layer (rows, out, in).
        biases: Per layer that has one (rows, out).
        inputs: (rows, samples, in) of kind mlp, (samples, rows * channels, height, width) of kind resnet18.
        moments: What norm batch uses in the stead of the batch's own mean and variance.
        found: Takes the mean and (biased) variance of the whole batch, layer by layer.

    Returns:
        (rows, samples, outputs).
    """
    walk = _Pass(network, weights, biases, moments, found)
    return walk.residual(inputs) if network.kind == "resnet18" else walk.dense(inputs)


def gathered(
    network: Network, weights: Mapping[int, Tensor], biases: Mapping[int, Tensor], chunks: Sequence[Tensor]
) -> Moments | None:
    """Mean and variance of all that norm batch reads, for passes whose samples must not see each other.

    They are those of the weights as they are, not averages over the updates before: a network's answers depend on its
    weights and on these samples alone.

    Args:
        network: The architecture.
        weights: As for `outputs`.
        biases: As for `outputs`.
        chunks: Training samples, each as the inputs of `outputs`.

    Returns:
        Averages over the chunks, None for networks without norm batch.
    """
    if network.norm != "batch":
        return None
    total: Moments = {}
    for chunk in chunks:
        found: Moments = {}
        outputs(network, weights, biases, chunk, found=found)
        for layer, parts in found.items():
            known = total.get(layer, (0.0, 0.0))
            total[layer] = tuple(sum_ + part / len(chunks) for sum_, part in zip(known, parts, strict=True))
    return total


def images(network: Network, vectors: Tensor) -> Tensor:
    """What kind resnet18 reads.

    Args:
        network: The architecture.
        vectors: (samples, numbers of an image), channel by channel, row by row.

    Returns:
        (samples, channels, height, width).
    """
    return vectors.unflatten(1, (network.channels, side_of(network.kind, network.widths[0], network.channels), -1))


class _Pass:
    """One forward pass: the layers in their order."""

    def __init__(
        self,
        network: Network,
        weights: Mapping[int, Tensor],
        biases: Mapping[int, Tensor],
        moments: Moments | None,
        found: Moments | None,
    ) -> None:
        self.network, self.weights, self.biases = network, weights, biases
        self.moments, self.found, self.layer = moments, found, -1
        self.rows = len(weights[0])
        # In place: no layer below needs its own output to be differentiated.
        self.bend: Callable[[Tensor], Tensor] = torch.relu_ if network.activation == "relu" else lambda hidden: hidden

    def dense(self, hidden: Tensor) -> Tensor:
        """A multilayer network."""
        while True:
            hidden = self._product(hidden)
            if self.layer == self.network.layers - 1:
                return hidden
            hidden = self.bend(self._normalised_units(hidden))

    def residual(self, hidden: Tensor) -> Tensor:
        """A residual network."""
        hidden = self.bend(self._convolved(hidden))
        if self.network.stem == "imagenet":
            hidden = functional.max_pool2d(hidden, 3, 2, 1)
        for _ in range(STAGES * BLOCKS):
            hidden = self._block(hidden)
        means = hidden.mean((2, 3)).unflatten(1, (self.rows, -1)).transpose(0, 1)
        return self._product(means)

    def _block(self, hidden: Tensor) -> Tensor:
        """Two convolutions past a shortcut."""
        before, channels = hidden, hidden.shape[1]
        hidden = self._convolved(self.bend(self._convolved(hidden)))
        changed = hidden.shape[1] != channels or hidden.shape[2] != before.shape[2]
        return self.bend(hidden.add_(self._convolved(before) if changed else before))

    def _product(self, hidden: Tensor) -> Tensor:
        """W h + b."""
        self.layer += 1
        matrix, bias = self.weights[self.layer].mT, self.biases.get(self.layer)
        return torch.bmm(hidden, matrix) if bias is None else torch.baddbmm(bias[:, None], hidden, matrix)

    def _convolved(self, hidden: Tensor) -> Tensor:
        """A convolution and its normalisation."""
        self.layer += 1
        piece = self.network.pieces[self.layer]
        kernel = self.weights[self.layer].reshape(-1, piece.channels, piece.kernel, piece.kernel)
        bias = self.biases[self.layer].flatten() if self.layer in self.biases else None
        hidden = functional.conv2d(hidden, kernel, bias, piece.stride, piece.kernel // 2, groups=self.rows)
        if self.network.norm == "none":
            return hidden
        self.layer += 1
        gain, shift = (parts[self.layer].flatten() for parts in (self.weights, self.biases))
        if self.network.norm == "group":
            groups = self.rows * min(GROUPS, self.network.pieces[self.layer].out)
            return functional.group_norm(hidden, groups, gain, shift, EPSILON)
        return self._batch(hidden, gain, shift)

    def _normalised_units(self, hidden: Tensor) -> Tensor:
        """(rows, samples, units), normalised."""
        self.layer += 1
        gain, shift = self.weights[self.layer][:, None, :, 0], self.biases[self.layer][:, None]
        if self.network.norm == "layer":
            return functional.layer_norm(hidden, hidden.shape[-1:], eps=EPSILON) * gain + shift
        # As one sample with many places: sums over samples would round by where among all units a network's lie.
        places = hidden.mT.contiguous().flatten(0, 1)[None]
        places = self._batch(places, gain.flatten(), shift.flatten(), samples=2)
        return places[0].unflatten(0, (self.rows, -1)).mT

    def _batch(self, hidden: Tensor, gain: Tensor, shift: Tensor, *, samples: int = 0) -> Tensor:
        """(samples, rows * channels, ...), normalised over samples and places: those of a ghost batch by themselves."""
        if self.found is not None:
            over = [axis for axis in range(hidden.ndim) if axis != 1]
            variance, mean = torch.var_mean(hidden, over, correction=0)
            self.found[self.layer] = (mean, variance)
        normalise = partial(functional.batch_norm, eps=EPSILON)
        if self.moments is not None:
            return normalise(hidden, *self.moments[self.layer], gain, shift)
        count = self.network.ghosts
        if count == 1 or self.found is not None:
            return normalise(hidden, None, None, gain, shift, training=True)
        # Ghosts become channels: the axes are now ghosts and channels, and what is left of the samples where it was.
        apart = hidden.unflatten(samples, (count, -1)).movedim(samples, 1).flatten(1, 2)
        apart = normalise(apart, None, None, gain.repeat(count), shift.repeat(count), training=True)
        return apart.unflatten(1, (count, -1)).movedim(1, samples).flatten(samples, samples + 1)
