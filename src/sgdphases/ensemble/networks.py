"""Multilayer networks, many at once: initial weights, forward and backward passes by hand.

Layers are numbered 0 .. L - 1. With h_0 = x: z_l = h_l W_l^T + b_l, h_{l+1} = f(z_l) for l < L - 1, and the output is
output_scale * (z_{L-1} - reference). Where layer l is a convolution, z_l has its fields at all positions and h_{l+1} is
pooled. Every tensor has the networks as its first dimension.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from sgdphases.ensemble.architecture import Network
from sgdphases.ensemble.convolution import convolve, hand_down, pool
from sgdphases.ensemble.geometry import Geometry
from sgdphases.ensemble.streams import WEIGHTS, generator


@dataclass
class Passes:
    """What a forward pass leaves behind.

    Attributes:
        preactivations: z_l per layer, (networks, samples, out), or (networks, samples, out * positions).
        activations: h_0 .. h_{L-1} and then the scaled output, (networks, samples, width).
    """

    preactivations: list[torch.Tensor]
    activations: list[torch.Tensor]

    @property
    def output(self) -> torch.Tensor:
        """The networks' output, (networks, samples, outputs)."""
        return self.activations[-1]


def forward(
    weights: Sequence[torch.Tensor],
    biases: Sequence[torch.Tensor | None],
    inputs: torch.Tensor,
    *,
    activation: str,
    output_scale: torch.Tensor | float = 1.0,
    reference: torch.Tensor | None = None,
    geometries: Sequence[Geometry | None] = (),
) -> Passes:
    """Run a batch of samples through every network.

    Args:
        weights: Per layer, (networks, out, in).
        biases: Per layer, (networks, out), or None.
        inputs: Samples, (networks, samples, in), or (samples, in) for all networks alike.
        activation: Word of the hidden activation.
        output_scale: One factor for all networks or one for each.
        reference: What is subtracted from the output before it is scaled, (networks or 1, samples, outputs).
        geometries: Of the layers that are convolutions, the lowest layer's first.

    Returns:
        Preactivations and activations of all layers.
    """
    networks, geometries = weights[0].shape[0], _each(geometries, weights)
    hidden = inputs.expand(networks, *inputs.shape[-2:])
    preactivations, activations = [], [hidden]
    for layer, (weight, bias, geometry) in enumerate(zip(weights, biases, geometries, strict=True)):
        if geometry is None:
            preactivation = torch.bmm(hidden, weight.transpose(1, 2))
            if bias is not None:
                preactivation = preactivation + bias[:, None, :]
        else:
            preactivation = convolve(geometry, hidden, weight, bias)
        preactivations.append(preactivation)
        if layer < len(weights) - 1:
            hidden = activate(preactivation, activation)
            hidden = hidden if geometry is None else pool(geometry, hidden)
            activations.append(hidden)
    output = preactivations[-1] if reference is None else preactivations[-1] - reference
    activations.append(output * per_network(output_scale, weights[0]))
    return Passes(preactivations, activations)


def backward(
    weights: Sequence[torch.Tensor],
    passes: Passes,
    output_gradient: torch.Tensor,
    *,
    activation: str,
    output_scale: torch.Tensor | float = 1.0,
    lowest: int = 0,
    geometries: Sequence[Geometry | None] = (),
) -> list[torch.Tensor | None]:
    """Derivatives of a scalar by the preactivations, sample by sample.

    The gradient of the weights of layer l is the sum over samples of delta_l h_l^T: `torch.bmm(delta.mT, hidden)`. Of a
    convolution it is the sum over positions too, and h_l a patch.

    Args:
        weights: Per layer, (networks, out, in).
        passes: What `forward` returned.
        output_gradient: Derivative by the scaled output, (networks, samples, outputs).
        activation: Word of the hidden activation.
        output_scale: As in `forward`.
        lowest: The lowest layer whose delta is wanted.
        geometries: As in `forward`.

    Returns:
        Deltas per layer, shaped like the preactivations; None below `lowest`.
    """
    deltas: list[torch.Tensor | None] = [None] * len(weights)
    geometries = _each(geometries, weights)
    delta = output_gradient * per_network(output_scale, weights[0])
    deltas[-1] = delta
    for layer in range(len(weights) - 1, lowest, -1):
        slopes, below = slope(passes.preactivations[layer - 1], activation), geometries[layer - 1]
        if below is None:
            delta = torch.bmm(delta, weights[layer]) * slopes
        else:
            delta = hand_down(weights[layer], delta, slopes, above=geometries[layer], below=below)
        deltas[layer - 1] = delta
    return deltas


def activate(preactivation: torch.Tensor, activation: str) -> torch.Tensor:
    """The hidden activation f(z).

    Args:
        preactivation: Any shape.
        activation: tanh, relu, erf or linear.

    Returns:
        A tensor of the same shape.

    Raises:
        ValueError: If the word is unknown.
    """
    match activation:
        case "tanh":
            return torch.tanh(preactivation)
        case "relu":
            return torch.relu(preactivation)
        case "erf":
            return torch.erf(preactivation)
        case "linear":
            return preactivation
    raise ValueError(f"activation {activation!r} is unknown")


def slope(preactivation: torch.Tensor, activation: str) -> torch.Tensor:
    """The derivative f'(z) of the hidden activation (0 for relu at z = 0).

    Args:
        preactivation: Any shape.
        activation: tanh, relu, erf or linear.

    Returns:
        A tensor of the same shape.

    Raises:
        ValueError: If the word is unknown.
    """
    match activation:
        case "tanh":
            return 1 - torch.tanh(preactivation) ** 2
        case "relu":
            return (preactivation > 0).to(preactivation.dtype)
        case "erf":
            return torch.exp(-(preactivation**2)) * (2 / math.sqrt(math.pi))
        case "linear":
            return torch.ones_like(preactivation)
    raise ValueError(f"activation {activation!r} is unknown")


def activation_operations(
    flat: torch.Tensor, flat_slope: torch.Tensor | None, activation: str
) -> list[Callable[[], Any]]:
    """What turns preactivations into activations where they lie, and writes the slopes beside them.

    Both are whole padded buffers: elementwise functions must meet no ragged end, see `buffers.Buffer`.

    Args:
        flat: Preactivations, to be overwritten.
        flat_slope: Where f'(z) goes; None if it is not needed.
        activation: tanh, relu, erf or linear; the slope of linear is not written, since it is 1.

    Returns:
        Operations to be called in their order, again and again.
    """
    bend = {"tanh": [flat.tanh_], "relu": [flat.relu_], "erf": [flat.erf_], "linear": []}[activation]
    if flat_slope is None or activation == "linear":
        return bend
    one = flat.new_ones(())  # a tensor without dimensions: a Python number costs more than the subtraction
    square = partial(torch.mul, flat, flat, out=flat_slope)
    match activation:
        case "tanh":
            return [*bend, square, partial(torch.sub, one, flat_slope, out=flat_slope)]
        case "relu":
            return [*bend, partial(torch.sign, flat, out=flat_slope)]
        case _:
            factor = one * (2 / math.sqrt(math.pi))
            return [square, flat_slope.neg_, flat_slope.exp_, partial(flat_slope.mul_, factor), *bend]


def per_network(value: torch.Tensor | float, like: torch.Tensor) -> torch.Tensor | float:
    """A factor per network, shaped to multiply (networks, samples, outputs)."""
    if isinstance(value, torch.Tensor) and value.ndim == 1:
        return value.to(like.dtype)[:, None, None]
    return value


def _each(geometries: Sequence[Geometry | None], layers: Sequence[torch.Tensor]) -> Sequence[Geometry | None]:
    """One geometry a layer; None for all where none is given."""
    return geometries or [None] * len(layers)


def initial_weights(network: Network, seed: int, layer: int) -> np.ndarray:
    """Weights of one layer before the first update: what init_scale multiplies where the layer starts from Gaussians.

    Args:
        network: The architecture.
        seed: Seed of the stream of initial weights.
        layer: Number of the layer.

    Returns:
        Array (out, in) in float64: unit Gaussians over the square root of the fan-in (times the layer's unit under
        mean_field), the same for every init_scale, so that networks can share them; or, for glorot_uniform, W_l(0)
        itself, uniform within +-sqrt(6 / (in + out)) (Glorot and Bengio 2010, eq. 16), or ones or zeros, whatever
        init_scale.
    """
    out, fan_in = network.shape(layer)
    numbers = generator(seed, WEIGHTS, layer)
    if network.init[layer] == "glorot_uniform":
        edge = math.sqrt(6 / (fan_in + out))
        return numbers.uniform(-edge, edge, (out, fan_in))
    if network.init[layer] in ("ones", "zeros"):
        return np.full((out, fan_in), float(network.init[layer] == "ones"))
    if network.parametrisation == "mean_field":
        return numbers.standard_normal((out, fan_in)) * network.unit(layer)
    return numbers.standard_normal((out, fan_in)) / math.sqrt(fan_in)


def starting_weights(
    network: Network, layer: int, seed: int, init_scale: float, coupling_ratio: float, *, dtype: str
) -> np.ndarray:
    """W_l(0) of one layer of one network.

    Args:
        network: The architecture.
        layer: Number of the layer.
        seed: Seed of the stream of initial weights.
        init_scale: What Gaussian weights are multiplied by.
        coupling_ratio: J_0 / J: their mean times the fan-in, over init_scale.
        dtype: Type of the result.

    Returns:
        Array (out, in).
    """
    unscaled = initial_weights(network, seed, layer)
    return scaled_weights(unscaled, network.init[layer], init_scale, coupling_ratio).astype(dtype)


def scaled_weights(unscaled: np.ndarray, init: str, init_scale: float, coupling_ratio: float) -> np.ndarray:
    """W_l(0) from what `initial_weights` gives, which networks of one seed share.

    Args:
        unscaled: Array (out, in).
        init: Word of the layer's start.
        init_scale: What Gaussian weights are multiplied by.
        coupling_ratio: J_0 / J: their mean times the fan-in, over init_scale.

    Returns:
        Array (out, in) in float64.
    """
    if init != "gaussian":
        return unscaled
    return init_scale * unscaled + init_scale * coupling_ratio / unscaled.shape[1]
