"""Losses of a batch: their terms, their factor, and their derivative by the output.

With e = output - target over B samples and o outputs: half_squared_error = mean_n sum_o e^2 / 2, squared_error =
mean_n sum_o e^2, mean_squared_error = mean_n mean_o e^2, cross_entropy = mean_n (log sum exp output - output_target).
"""

import numpy as np
import torch


def loss_factor(loss: str, batch_size: int, outputs: int) -> float:
    """The number that turns the sum of all terms of a batch into its loss.

    Args:
        loss: Word of the loss.
        batch_size: Samples per batch.
        outputs: Outputs of the network.

    Returns:
        The factor.
    """
    factors = {
        "half_squared_error": 0.5 / batch_size,
        "squared_error": 1.0 / batch_size,
        "mean_squared_error": 1.0 / (batch_size * outputs),
        "cross_entropy": 1.0 / batch_size,
    }
    return factors[loss]


def gradient_factor(loss: str, batch_size: int, outputs: int) -> float:
    """The number that turns what `residual_in_place` leaves into the derivative of the batch loss by the output.

    Args:
        loss: Word of the loss.
        batch_size: Samples per batch.
        outputs: Outputs of the network.

    Returns:
        The factor.
    """
    return loss_factor(loss, batch_size, outputs) * (1.0 if loss == "cross_entropy" else 2.0)


def residual_in_place(output: torch.Tensor, targets: torch.Tensor, loss: str) -> None:
    """Replace outputs by e = output - target, or by softmax(output) - target for the cross-entropy.

    Args:
        output: (networks, samples, outputs), overwritten.
        targets: Numbers of the same shape; one-hot rows for the cross-entropy.
        loss: Word of the loss.
    """
    if loss == "cross_entropy":
        output.copy_(torch.softmax(output, dim=-1))
    output.sub_(targets)


def loss_terms(output: torch.Tensor, targets: torch.Tensor, loss: str) -> torch.Tensor:
    """The terms whose sum times `loss_factor` is the loss, in float64.

    Args:
        output: (networks, samples, outputs), before `residual_in_place`.
        targets: Numbers of the same shape; one-hot rows for the cross-entropy.
        loss: Word of the loss.

    Returns:
        Tensor (networks, samples, outputs).
    """
    output = output.double()
    if loss == "cross_entropy":
        return torch.log_softmax(output, dim=-1).neg_().mul_(targets)
    error = output - targets
    return error.mul_(error)


def as_numbers(targets: np.ndarray, outputs: int) -> np.ndarray:
    """Targets as rows of numbers.

    Args:
        targets: (samples, outputs), or class numbers (samples,), which become one-hot rows.
        outputs: Outputs of the network.

    Returns:
        Array (samples, outputs).

    Raises:
        ValueError: If the targets do not fit the outputs.
    """
    if targets.ndim == 1:
        if targets.min() < 0 or targets.max() >= outputs:
            raise ValueError(f"class numbers {targets.min()} to {targets.max()} do not fit {outputs} outputs")
        return np.eye(outputs)[targets]
    if targets.shape[1] != outputs:
        raise ValueError(f"targets of width {targets.shape[1]} do not fit {outputs} outputs")
    return targets
