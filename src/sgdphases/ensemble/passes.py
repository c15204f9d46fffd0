"""Passes of many stacked networks over a whole data set, in bounded memory.

The layers from `Stack.first` on are the networks' own; what lies below is frozen, shared, and already applied to the
inputs. Letters in shapes: r network, n sample, o output, w width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgdphases.ensemble.buffers import LANE, halving_sum
from sgdphases.ensemble.convolution import by_sample, handing_down, pooling, reading, run, samples_last, spreading
from sgdphases.ensemble.geometry import Geometry
from sgdphases.ensemble.losses import gradient_factor, loss_factor, loss_terms, residual_in_place
from sgdphases.ensemble.networks import Passes, activate, activation_operations, backward, forward

CHUNK = 512
"""Samples in one pass: fixed, so that sums are made in the same order whatever the number of networks. Of convolutions,
which make many numbers of each sample, `LANE`: more would outgrow the cache."""


@dataclass(frozen=True, eq=False)
class Data:
    """One data set as the first layer of a stack reads it.

    Attributes:
        inputs: (r or 1, n, w); padded with zeros to a multiple of `LANE` samples, so that no network's elementwise
            functions meet the ragged end of an array (see `ensemble.buffers`).
        targets: (r or 1, samples, o), classes as rows of zeros and a one; not padded.
        reference: What centred networks subtract from their output before it is scaled, (r or 1, n, o) with n padded;
            None for others.
    """

    inputs: Tensor
    targets: Tensor
    reference: Tensor | None = None

    @property
    def samples(self) -> int:
        """Number of samples without the padding."""
        return self.targets.shape[1]


@dataclass(frozen=True, eq=False)
class Stack:
    """Layers first .. L - 1 of r networks of equal shape.

    Attributes:
        first: Number of the lowest layer.
        weights: Per layer from `first` on (r, out, in).
        biases: Per layer from `first` on (r, out) or None.
        activation: Word of the hidden activation.
        output_scale: What the output is multiplied by (`Shard.output_factor`), (r,).
        geometries: Per layer of the network, how a convolution reads images; none for dense layers alone.
    """

    first: int
    weights: list[Tensor]
    biases: list[Tensor | None]
    activation: str
    output_scale: Tensor
    geometries: tuple[Geometry | None, ...] = ()

    def geometry(self, place: int) -> Geometry | None:
        """How a convolution reads images, by its place in the stack; None for a dense layer."""
        return self.geometries[self.first + place] if self.geometries else None

    def forward(self, data: Data) -> Passes:
        """Pass the inputs of a data set through all networks."""
        return forward(self.weights, self.biases, data.inputs, reference=data.reference, **self._settings)

    def deltas(self, passes: Passes, output_gradient: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """Derivatives by the pre-activations of `layers`, layer to (r, n, w), from those by the output (r, n, o)."""
        lowest = min(layers) - self.first
        found = backward(self.weights, passes, output_gradient, lowest=lowest, **self._settings)
        return {layer: found[layer - self.first] for layer in layers}

    @property
    def _settings(self) -> dict[str, Any]:
        """What both passes must know beside the weights."""
        scale = {"activation": self.activation, "output_scale": self.output_scale}
        return {**scale, "geometries": self.geometries[self.first :]}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A data set seen by r networks, float64.

    Attributes:
        loss: Mean loss (r,).
        correct: Share of samples whose largest output is the target's (r,).
        gradients: Layer to the gradient of the mean loss (r, out, in).
    """

    loss: np.ndarray
    correct: np.ndarray
    gradients: dict[int, np.ndarray]


def prepared(
    inputs: np.ndarray, targets: np.ndarray, *, dtype: torch.dtype, leading: Sequence[Tensor] = (), activation: str = ""
) -> Data:
    """Make a data set ready: pad it, and apply the frozen layers that the networks share.

    Args:
        inputs: (r or 1, n, w).
        targets: (r or 1, n, o).
        dtype: Floating-point type of both.
        leading: Weights of the shared layers, the lowest first, (r or 1, out, in).
        activation: Word of the hidden activation.

    Returns:
        The data set as the first layer above `leading` reads it.
    """
    hidden = torch.as_tensor(inputs).to(dtype)
    missing = -hidden.shape[1] % LANE
    if missing:
        hidden = torch.nn.functional.pad(hidden, (0, 0, 0, missing))
    for weights in leading:
        hidden = activate(torch.matmul(hidden, weights.to(dtype).mT), activation)
    return Data(hidden, torch.as_tensor(targets).to(dtype))


def output_gradient(output: Tensor, targets: Tensor, loss: str) -> Tensor:
    """Derivative of every sample's loss by the output.

    Args:
        output: (r, n, o), n padded.
        targets: (r or 1, samples, o).
        loss: Word of the loss.

    Returns:
        (r, n, o), zero in the padding.
    """
    slope, samples = output.clone(), targets.shape[1]
    residual_in_place(slope[:, :samples], targets, loss)
    slope[:, samples:] = 0
    return slope.mul_(gradient_factor(loss, 1, output.shape[-1]))


def evaluate(stack: Stack, data: Data, loss: str, *, layers: Sequence[int] = ()) -> Evaluation:
    """Mean loss, accuracy and gradients over a whole data set; sums over chunks in float64.

    Args:
        stack: The networks.
        data: What they see.
        loss: Word of the loss.
        layers: Layers whose gradient is wanted.

    Returns:
        Float64 values.
    """
    networks, lowest = len(stack.output_scale), min(layers, default=stack.first) - stack.first
    total = torch.zeros(networks, dtype=torch.float64, device=data.inputs.device)
    correct = torch.zeros_like(total)
    gradients = {layer: torch.zeros_like(stack.weights[layer - stack.first], dtype=torch.float64) for layer in layers}
    scratch = _Scratch(data.inputs)
    size = LANE if any(stack.geometries) else CHUNK
    for start in range(0, data.samples, size):
        aim = data.targets[:, start : start + size]
        hidden = _activations(stack, _chunk(data, start, start + size), scratch, slopes=bool(layers))
        output = hidden[-1][:, : aim.shape[1]]
        total += halving_sum(loss_terms(output, aim, loss))
        correct += (output.argmax(-1) == aim.argmax(-1)).sum(1)
        if layers:
            deltas = _deltas(stack, output_gradient(hidden[-1], aim, loss), scratch, lowest)
            for layer in layers:
                gradients[layer] += torch.bmm(deltas[layer - stack.first].mT, hidden[layer - stack.first])
    return Evaluation(
        loss=(total * loss_factor(loss, data.samples, output.shape[-1])).cpu().numpy(),
        correct=(correct / data.samples).cpu().numpy(),
        gradients={layer: (gradient / data.samples).cpu().numpy() for layer, gradient in gradients.items()},
    )


class _Scratch:
    """Memory that every chunk uses again: fresh memory costs more than the arithmetic done in it."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._flat: dict[tuple[str, int], Tensor] = {}

    def __call__(self, use: str, place: int, *shape: int) -> Tensor:
        """Contiguous tensor of this shape, with whatever it held before."""
        count = math.prod(shape)
        flat = self._flat.get((use, place))
        if flat is None or len(flat) < count:
            flat = self._flat[use, place] = self._like.new_empty(count)
        return flat[:count].view(shape)


def _chunk(data: Data, start: int, stop: int) -> Data:
    """The samples of one pass."""
    reference = None if data.reference is None else data.reference[:, start:stop]
    return Data(data.inputs[:, start:stop], data.targets, reference)


def _activations(stack: Stack, data: Data, scratch: _Scratch, *, slopes: bool) -> list[Tensor]:
    """What every layer's product reads (patches of a convolution), then the output; the slopes stay in `scratch`."""
    networks, samples = len(stack.output_scale), data.inputs.shape[1]
    hidden = [data.inputs.expand(networks, -1, -1)]
    for place, (weights, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
        geometry, out = stack.geometry(place), weights.shape[1]
        if geometry is None:
            field = scratch("active", place, networks, samples, out)
            torch.bmm(hidden[-1], weights.mT, out=field)
        else:
            hidden[-1] = _patches(geometry, hidden[-1], scratch, place)
            field = scratch("active", place, networks, out, geometry.positions * samples)
            torch.bmm(weights, hidden[-1].mT, out=field)
        if bias is not None:
            field += bias[:, None, :] if geometry is None else bias[:, :, None]
        if place < len(stack.weights) - 1:
            bent = scratch("slope", place, field.numel()) if slopes else None
            run(activation_operations(field.view(-1), bent, stack.activation))
        if geometry is not None:
            pooled = scratch("pooled", place, networks, geometry.outputs, samples)
            run(pooling(geometry, by_sample(field, pooled), pooled))
        hidden.append(field if geometry is None else pooled.mT)
    if data.reference is not None:
        hidden[-1] -= data.reference
    hidden[-1] *= stack.output_scale[:, None, None]
    return hidden


def _patches(geometry: Geometry, hidden: Tensor, scratch: _Scratch, place: int) -> Tensor:
    """Patches of what a convolution is given, (r, positions * n, patch)."""
    images = samples_last(hidden)
    patches = scratch("patches", place, len(images), geometry.patch, geometry.positions * images.shape[2])
    run(reading(geometry, images, by_sample(patches, images)))
    return patches.expand(len(hidden), -1, -1).mT


def _deltas(stack: Stack, gradient: Tensor, scratch: _Scratch, lowest: int) -> dict[int, Tensor]:
    """Derivatives by the pre-activations, place in the stack to (r, n or positions * n, w), from the output's."""
    networks, samples = gradient.shape[:2]
    found = {len(stack.weights) - 1: gradient.mul_(stack.output_scale[:, None, None])}
    for place in range(len(stack.weights) - 2, lowest - 1, -1):
        if stack.geometry(place) is not None:
            found[place] = _spread(stack, found[place + 1], scratch, place, samples)
            continue
        shape = (networks, samples, stack.weights[place].shape[1])
        found[place] = scratch("delta", place, *shape)
        torch.bmm(found[place + 1], stack.weights[place + 1], out=found[place])
        if stack.activation != "linear":
            found[place] *= scratch("slope", place, *shape)
    return found


def _spread(stack: Stack, above: Tensor, scratch: _Scratch, place: int, samples: int) -> Tensor:
    """Deltas of a convolution, (r, positions * n, F), from those of the layer above it."""
    networks, geometry, higher = len(above), stack.geometry(place), stack.geometry(place + 1)
    pooled = scratch("handed", place, networks, geometry.outputs, samples)
    shape = None if higher is None else (networks, higher.patch, higher.positions * samples)
    patches = None if shape is None else scratch("folded", place, *shape)
    deltas = scratch("delta", place, networks, geometry.filters * geometry.positions, samples)
    slopes = None if stack.activation == "linear" else scratch("slope", place, *deltas.shape)
    run(handing_down(stack.weights[place + 1], above.mT, patches, pooled, above=higher))
    run(spreading(geometry, pooled, deltas, slopes))
    return deltas.view(networks, geometry.filters, -1).mT
