"""Buffers and sums whose results do not depend on how many networks lie side by side.

Vector units compute tanh, exp and the like with another formula (or another rounding) in the ragged end of an array
than in its body, and library sums add in an order that depends on the shape. So elementwise functions work on whole
buffers without a ragged end, and sums halve: they add in one fixed order.
"""

import torch

LANE = 64


class Buffer:
    """A tensor (networks, samples, width) inside a flat array whose length is a multiple of `LANE`.

    Attributes:
        flat: The whole array, the padding included; the padding starts at zero and stays finite.
        view: The tensor, contiguous.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        count = 1
        for size in shape:
            count *= size
        self.flat = torch.zeros(-(-count // LANE) * LANE, dtype=dtype, device=device)
        self.view = self.flat[:count].view(shape)


def halving_sum(values: torch.Tensor) -> torch.Tensor:
    """Sum over all dimensions but the first, in an order that depends on the other dimensions only.

    Args:
        values: Any shape (networks, ...).

    Returns:
        Sums, (networks,).
    """
    values = values.reshape(values.shape[0], -1)
    while values.shape[1] > 1:
        half = values.shape[1] // 2
        folded = values[:, :half] + values[:, half : 2 * half]
        if values.shape[1] % 2:
            folded = torch.cat([folded, values[:, -1:]], dim=1)
        values = folded
    return values[:, 0]
