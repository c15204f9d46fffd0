"""Adam (arXiv 1412.6980, algorithm 1), with epsilon as Keras has it."""

import torch

SECOND_MOMENT = 0.999
SMALL = 1e-7
"""beta_2 and epsilon."""


def adapt(
    push: torch.Tensor,
    velocity: torch.Tensor,
    square: torch.Tensor,
    *,
    first: torch.Tensor,
    rate: torch.Tensor,
    count: int,
) -> None:
    """Turn minus a gradient into Adam's step where it lies, and move both moments on.

    Args:
        push: Minus the gradient, of any shape; overwritten by the step.
        velocity: First moment, of the same shape.
        square: Second moment, of the same shape.
        first: beta_1, broadcast against them.
        rate: Learning rate over 1 - beta_1^count, broadcast against them.
        count: Number of this update, from 1 on.
    """
    # Where a gradient stays zero, as behind dark pixels, moments fade through denormal numbers, which are slow.
    torch.set_flush_denormal(True)
    velocity.mul_(first).add_(push * (1 - first))
    square.mul_(SECOND_MOMENT).add_(push.square_().mul_(1 - SECOND_MOMENT))
    torch.div(square, 1 - SECOND_MOMENT**count, out=push)
    push.sqrt_().add_(SMALL)
    torch.div(velocity, push, out=push)
    push.mul_(rate)
    torch.set_flush_denormal(False)
