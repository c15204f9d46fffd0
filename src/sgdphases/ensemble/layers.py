"""One layer of a group of networks: its tensors and the buffers that it works in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from sgdphases.ensemble.buffers import Buffer


@dataclass
class Layer:
    """One layer of all networks of a group, with the buffers it works in.

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

    def __post_init__(self) -> None:
        self.transposed = self.weights.transpose(1, 2)
        if self.scratch is None:  # frozen: a copy that stays right
            self.transposed = self.transposed.contiguous()
        left, right = (self.inputs, self.deltas.view) if self.turned else (self.deltas.view, self.inputs)
        self.left, self.right = left.transpose(1, 2), right


def stretched(push: torch.Tensor, rate: float) -> list[Callable[[], Any]]:
    """What multiplies a push by a layer's rate where it lies.

    Args:
        push: Any shape.
        rate: The factor.

    Returns:
        One operation, or none where there is nothing to do.
    """
    return [] if rate == 1 else [partial(push.mul_, push.new_full((), rate))]
