"""SGD with the noise that theory assumes: full-batch gradients of a quadratic loss plus Gaussian white noise.

v <- momentum * v - (H theta - b + weight_decay * theta + xi); theta <- theta + learning_rate * v, where H theta - b is
the gradient of half the squared error of one linear unit over all samples, and xi is N(0, Sigma / batch_size),
independent from update to update and of theta. Sigma is the covariance of the gradients of single samples at the start.
So assumptions 1, 3 and 4 of Kunin et al., arXiv 2107.09133, hold exactly, and 2 need not be made.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from sgdphases.ensemble.groups import Group, finite_rows
from sgdphases.ensemble.kinds import array_names
from sgdphases.ensemble.noise import WhiteNoise
from sgdphases.ensemble.projections import Walking
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import Start


class QuadraticGroup(Group):
    """A group of linear units that fall into a quadratic loss and are shaken there.

    Args:
        shard: What is trained: one linear unit without bias, by half_squared_error.
        rows: Places of this group's networks in the shard.
        device: Where the group computes.
        tasks: Task per seed, all of the same data.
        start: Where the covariance of the noise is taken.

    Raises:
        ValueError: If the networks, their loss or their data are others.
    """

    def __init__(
        self, shard: Shard, rows: np.ndarray, device: torch.device, *, tasks: Mapping[int, Any], start: Start
    ) -> None:
        network, columns = shard.network, shard.networks
        if network.layers != 1 or network.widths[-1] != 1 or any(network.bias):
            raise ValueError(f"a quadratic has one linear unit without bias, not widths {list(network.widths)}")
        if set(columns["loss"].tolist()) != {"half_squared_error"} or np.any(shard.output_factor != 1):
            raise ValueError("a quadratic is half_squared_error of the output itself")
        if np.any(columns["noise_scale"] != 0):
            raise ValueError("a quadratic has its data's own noise, no noise_scale")
        if len({id(task.inputs) for task in tasks.values()}) != 1:
            raise ValueError("the networks of a quadratic all have the same data")
        self.task, self.start = next(iter(tasks.values())), start
        momentum = bool(np.any(columns["momentum"][rows] != 0))
        super().__init__(shard, rows, array_names(shard, momentum=momentum), device, alone=False)

    def build(self) -> None:
        """Bring curvature and noise to the device, and allocate what a step needs."""
        count, size = len(self.places), self.shard.network.widths[0]
        curvature, slope = quadratic_of(self.task)
        self.curvature = self._tensor(curvature).expand(count, -1, -1)
        self.slope = self._tensor(slope)
        names = ("learning_rate", "momentum", "weight_decay")
        self.rate, self.momentum, self.decay = (self._tensor(self.column(name))[:, None, None] for name in names)
        self.push = torch.empty((count, 1, size), dtype=self.rate.dtype, device=self.device)
        self.scratch = torch.empty_like(self.push)
        root = noise_root(self.task, self.start) / np.sqrt(self.shard.batch_size)
        self.noise = WhiteNoise(root, self.column("seed_noise"), self.rate.dtype, self.device)
        self.followers: list[Callable[[], None]] = []

    def follow(self, operation: Callable[[], None]) -> None:
        """Do something after every update."""
        self.followers.append(operation)

    def drop(self) -> None:
        """Let go of constants and buffers."""
        self.curvature = self.slope = self.rate = self.momentum = self.decay = None
        self.push = self.scratch = self.noise = None
        self.followers = []

    def window(self, start: int, stop: int, *, accumulate: bool) -> None:
        """Do the updates start .. stop - 1 without looking."""
        weights, velocity = self.tensors["weights_0"], self.tensors.get("velocity_0")
        push, scratch = self.push, self.scratch
        for step in range(start, stop):
            # Each operation rounds once, and each product is one network's: no bit depends on the neighbours.
            torch.bmm(weights, self.curvature, out=push)
            push.sub_(self.slope).add_(torch.mul(weights, self.decay, out=scratch)).add_(self.noise.at(step))
            if velocity is None:
                torch.mul(push, self.rate, out=scratch)
                weights.sub_(scratch)
            else:
                velocity.mul_(self.momentum).sub_(push)
                weights.add_(torch.mul(velocity, self.rate, out=scratch))
            for operation in self.followers:
                operation()

    def sound(self) -> torch.Tensor:
        """Rows whose weights are finite."""
        return finite_rows([self.tensors["weights_0"]])

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=getattr(torch, self.shard.dtype), device=self.device)


class WalkingQuadraticGroup(Walking, QuadraticGroup):
    """Such a group whose walk from the start is summed up as it goes."""


def quadratic_of(task: Any) -> tuple[np.ndarray, np.ndarray]:
    """The full-batch gradient H theta - b of half the squared error of one linear unit.

    Args:
        task: With `inputs` (samples, inputs) and `targets` (samples, 1).

    Returns:
        H (inputs, inputs) and b (inputs,).
    """
    samples = len(task.inputs)
    return task.inputs.T @ task.inputs / samples, task.targets[:, 0] @ task.inputs / samples


def noise_root(task: Any, start: Start) -> np.ndarray:
    """The symmetric root of the covariance of the gradients of single samples at a start.

    Args:
        task: As for `quadratic_of`.
        start: Where.

    Returns:
        R (inputs, inputs) with R R = Sigma.
    """
    residual = task.inputs @ start.weights[0].T - task.targets
    gradients = residual * task.inputs
    deviation = gradients - gradients.mean(axis=0)
    values, vectors = np.linalg.eigh(deviation.T @ deviation / len(gradients))
    return vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
