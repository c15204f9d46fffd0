"""A network's scaled output, and its loss, as modules of torch: what is differentiated around a landscape's weights."""

from typing import Any

import torch
from torch import Tensor, nn

from sgdphases.ensemble.geometry import KERNEL, POOL, Geometry
from sgdphases.ensemble.losses import loss_factor
from sgdphases.ensemble.modules import images, outputs
from sgdphases.ensemble.networks import activate


class Model(nn.Module):
    """The scaled output as a function of theta."""

    def __init__(self, landscape: Any) -> None:
        super().__init__()
        lists = (landscape.weights, landscape.biases, landscape.units, landscape.trained, landscape.geometries)
        self.layers = nn.ModuleList([_Layer(*parts) for parts in zip(*lists, strict=True)])
        self.landscape = landscape

    def forward(self, hidden: Tensor) -> Tensor:
        """Outputs (samples, outputs) of inputs (samples, in)."""
        landscape = self.landscape
        for layer in self.layers[:-1]:
            hidden = layer.hand_on(activate(layer(hidden), landscape.activation))
        output = self.layers[-1](hidden)
        if landscape.reference is not None:
            output = output - landscape.reference
        return landscape.output_factor * output


class Modular(nn.Module):
    """The same of a modular network."""

    def __init__(self, landscape: Any) -> None:
        super().__init__()
        self.network, self.factor = landscape.architecture, landscape.output_factor
        self.layers = nn.ModuleList(
            [_Layer(*parts, 1.0, True, None) for parts in zip(landscape.weights, landscape.biases, strict=True)]
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Outputs (samples, outputs) of inputs (samples, in)."""
        weights = {number: layer.weights[None] for number, layer in enumerate(self.layers)}
        biases = {number: layer.bias[None] for number, layer in enumerate(self.layers) if layer.bias is not None}
        hidden = hidden[None] if self.network.kind == "mlp" else images(self.network, hidden)
        return self.factor * outputs(self.network, weights, biases, hidden)[0]


class _Layer(nn.Module):
    """h to W h + b with W = c theta, and the bias alike; a convolution has that at every position."""

    def __init__(
        self, weights: Tensor, bias: Tensor | None, unit: float, trained: bool, geometry: Geometry | None
    ) -> None:
        super().__init__()
        self.unit, self.geometry = unit, geometry
        self.weights = nn.Parameter(weights / unit, requires_grad=trained)
        self.bias = None if bias is None else nn.Parameter(bias / unit, requires_grad=trained)

    def forward(self, hidden: Tensor) -> Tensor:
        weights, bias, geometry = self.unit * self.weights, None, self.geometry
        if self.bias is not None:
            bias = self.unit * self.bias
        if geometry is None:
            return nn.functional.linear(hidden, weights, bias)
        images = hidden.unflatten(1, (geometry.channels, geometry.side, geometry.side))
        return nn.functional.conv2d(images, weights.unflatten(1, (geometry.channels, KERNEL, KERNEL)), bias)

    def hand_on(self, activations: Tensor) -> Tensor:
        """What the layer above reads."""
        return activations if self.geometry is None else nn.functional.avg_pool2d(activations, POOL).flatten(1)


class Loss(nn.Module):
    """A loss as `ensemble.losses` defines it, over all samples; of some of `samples`, what they add to it."""

    reduction = "sum"  # nothing is left to be divided by

    def __init__(self, loss: str, samples: int | None = None) -> None:
        super().__init__()
        self.loss, self.samples = loss, samples

    def forward(self, output: Tensor, targets: Tensor) -> Tensor:
        """The loss, of outputs and targets (samples, outputs)."""
        if self.loss == "cross_entropy":
            terms = -torch.log_softmax(output, dim=-1) * targets
        else:
            terms = (output - targets) ** 2
        return loss_factor(self.loss, self.samples or len(output), output.shape[1]) * terms.sum()
