import numpy as np
import pytest
import torch

from sgdphases.ensemble.losses import as_numbers, gradient_factor, loss_factor, loss_terms, residual_in_place

LOSSES = ("half_squared_error", "squared_error", "mean_squared_error", "cross_entropy")


@pytest.mark.parametrize("loss", LOSSES)
def test_residual_is_the_derivative(loss):
    generator = torch.Generator().manual_seed(1)
    output = torch.randn(3, 4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    targets = torch.randn(3, 4, 5, dtype=torch.float64, generator=generator)
    if loss == "cross_entropy":
        targets = torch.as_tensor(as_numbers(np.arange(12) % 5, 5)).reshape(3, 4, 5)
        value = torch.nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten(0, 1)) * 3
    else:
        factor = {"half_squared_error": 0.5, "squared_error": 1.0, "mean_squared_error": 0.2}[loss]
        value = factor * ((output - targets) ** 2).sum() / 4
    value.backward()
    residual = output.detach().clone()
    terms = loss_terms(residual, targets, loss)
    torch.testing.assert_close(terms.sum() * loss_factor(loss, 4, 5), value.detach())
    residual_in_place(residual, targets, loss)
    torch.testing.assert_close(residual * gradient_factor(loss, 4, 5), output.grad)


def test_targets():
    assert as_numbers(np.array([1, 0]), 3).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert as_numbers(np.ones((2, 3)), 3).shape == (2, 3)
    with pytest.raises(ValueError, match="do not fit 2 outputs"):
        as_numbers(np.array([2]), 2)
    with pytest.raises(ValueError, match="do not fit 2 outputs"):
        as_numbers(np.ones((2, 3)), 2)
