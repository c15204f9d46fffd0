"""Samples whose loss on one linear unit is a given quadratic, with a given covariance of single gradients."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdphases.datasets.task import Task


def quadratic(parameters: Mapping[str, Any]) -> Task:
    """Curvatures that fall with their rank as a power, and noise that is a power of the curvature.

    With rank i = 1 .. modes: rho_i = curvature i^-curvature_power and Sigma_ii = noise rho_i^noise_power.

    Args:
        parameters: `modes`, `curvature`, `curvature_power`, `noise`, `noise_power`.

    Returns:
        The task of `samples_of`, for a network of one layer with as many inputs as modes and one output.
    """
    rank = np.arange(1, parameters["modes"] + 1)
    curvature = parameters["curvature"] * rank ** -parameters["curvature_power"]
    return samples_of(curvature, parameters["noise"] * curvature ** parameters["noise_power"])


def samples_of(curvature: np.ndarray, noise: np.ndarray) -> Task:
    """Two samples a mode that make half the squared error of one linear unit sum_i rho_i theta_i^2 / 2 plus a constant.

    Both samples of mode i are sqrt(M rho_i) e_i, M the number of modes, with the targets +-sqrt(Sigma_ii / rho_i): so
    at theta = 0, the minimum, the covariance of the gradients of single samples is diag(Sigma).

    Args:
        curvature: rho, (M,), positive.
        noise: Sigma_ii, (M,), not negative.

    Returns:
        The task; its test set is the same.
    """
    inputs = np.diag(np.sqrt(len(curvature) * curvature)).repeat(2, axis=0)
    targets = np.sqrt(noise / curvature)[:, None].repeat(2, axis=0)
    targets[1::2] *= -1
    return Task(inputs, targets, inputs.copy(), targets.copy())
