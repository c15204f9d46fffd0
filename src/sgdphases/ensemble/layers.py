"""One layer of a group of networks: its tensors, the buffers that it works in, and what is done with them in a step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from sgdphases.ensemble.buffers import Buffer

Operation = Callable[[], Any]
"""One piece of a step, with everything it works on; a step is a list of them."""


@dataclass
class Layer:
    """One dense layer of all networks of a group, with the buffers it works in.

    Attributes:
        number: The layer's number.
        weights: (rows, out, in); maybe a view of `stored`.
        stored: The weights as they lie in memory: (rows, out, in), or (rows, in, out) if `turned`.
        inputs: Its input of the current batch, (rows, batch, in).
        outputs: Preactivations, then activations; of the last layer outputs, then deltas.
        fields: A copy of W h for `weight_work`, bias excluded; None where that is not asked for.
        slopes: f'(z); None where nothing below needs it or it is 1.
        deltas: Derivatives by the preactivations, in `outputs` for the last layer.
        bias: (rows, 1, out), or None.
        scratch: A gradient, shaped like `stored`; None for frozen layers.
        turned: Whether `stored` has the inputs before the outputs.
        rate: Step of the weights per learning rate and gradient (`Network.step_factor`).
        transposed: The weights as (rows, in, out).
        left, right: Their product is the gradient, shaped like `stored`.
        summands: Their product is the gradient by the bias, shaped like it; there where a bias is.
    """

    number: int
    weights: torch.Tensor
    stored: torch.Tensor
    inputs: torch.Tensor
    outputs: Buffer
    deltas: Buffer
    slopes: Buffer | None = None
    fields: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    scratch: torch.Tensor | None = None
    turned: bool = False
    rate: float = 1.0
    transposed: torch.Tensor = field(init=False)
    left: torch.Tensor = field(init=False)
    right: torch.Tensor = field(init=False)
    summands: tuple[torch.Tensor, torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.transposed = self.weights.transpose(1, 2)
        if self.scratch is None:  # frozen: a copy that stays right
            self.transposed = self.transposed.contiguous()
        left, right = (self.inputs, self.deltas.view) if self.turned else (self.deltas.view, self.inputs)
        self.left, self.right = left.transpose(1, 2), right
        if self.bias is not None:
            rows, batch, _ = self.deltas.view.shape
            self.summands = self.deltas.view.new_ones((rows, 1, batch)), self.deltas.view

    @property
    def handed_on(self) -> torch.Tensor:
        """What the layer above reads, (rows, batch, width)."""
        return self.outputs.view

    def product(self) -> list[Operation]:
        """What multiplies the inputs by the weights."""
        return [partial(torch.bmm, self.inputs, self.transposed, out=self.outputs.view)]

    def hand_on(self) -> list[Operation]:
        """What makes of the activations that which the layer above reads."""
        return []

    def hand_down(self, above: "Layer") -> list[Operation]:
        """What makes this layer's deltas of those of the layer above."""
        down = torch.mul if above.weights.shape[1] == 1 else torch.bmm
        operations = [partial(down, above.deltas.view, above.weights, out=self.deltas.view)]
        if self.slopes is not None:
            operations.append(partial(self.deltas.flat.mul_, self.slopes.flat))
        return operations


def stretched(push: torch.Tensor, rate: float) -> list[Operation]:
    """What multiplies a push by a layer's rate where it lies.

    Args:
        push: Any shape.
        rate: The factor.

    Returns:
        One operation, or none where there is nothing to do.
    """
    return [] if rate == 1 else [partial(push.mul_, push.new_full((), rate))]
