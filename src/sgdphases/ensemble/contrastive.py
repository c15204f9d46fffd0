"""Persistent contrastive divergence for the Gaussian scalar-field Boltzmann machine, arXiv 2407.16427.

The machine has weights W (hidden, visible), no biases, and the energy mu^2 v^2 / 2 + h^2 / (2 sigma_h^2) - h W v with
mu^2 = 9 and sigma_h = 1. Its visible covariance is (mu^2 - W^T W)^-1; learning a field of kernel K makes the
eigenvalues of W^T W go to mu^2 minus those of K. An update is

    W <- W + learning_rate * (W K^-1 - W <v v^T>)

with the exact data term and the mean over a batch that goes on from update to update by three Gibbs steps. All
conditionals are Gaussian, so the three steps together are one draw from a Gaussian: with A = sigma_h^2 W^T W / mu^2 and
C = (1 + A) / mu^2 the batch goes from v to A^3 v plus noise of covariance C (1 + A^2 + A^4); that takes a sixth of the
random numbers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from sgdphases.ensemble.groups import Group, finite_rows
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.streams import NOISE, generator

MASS_SQUARED = 9.0
HIDDEN_SPREAD = 1.0
NUMBERS_PER_CHUNK = 8192


class ContrastiveGroup(Group):
    """A group trained by persistent contrastive divergence.

    Args:
        shard: What is trained: one layer from the visible to the hidden units.
        rows: Places of this group's networks in the shard.
        device: Where the group computes.
        tasks: Task per seed: `targets` is the field's covariance K^-1.

    Raises:
        ValueError: If the network has more than one layer or a bias.
    """

    def __init__(self, shard: Shard, rows: np.ndarray, device: torch.device, *, tasks: Mapping[int, Any]) -> None:
        if shard.network.layers != 1 or any(shard.network.bias):
            raise ValueError("contrastive divergence trains one layer without bias")
        self.tasks = tasks
        super().__init__(shard, rows, ("weights_0", "persistent"), device, alone=False)

    @staticmethod
    def first_batch(shard: Shard) -> np.ndarray:
        """The persistent batch before the first update: independent of the weights, N(0, 1 / mu^2).

        Args:
            shard: What is trained.

        Returns:
            Array (networks, batch, visible).
        """
        shape = (shard.batch_size, shard.network.widths[0])
        seeds = shard.networks["seed_noise"].tolist()
        drawn = {seed: generator(seed, NOISE, 0).standard_normal(shape) / np.sqrt(MASS_SQUARED) for seed in set(seeds)}
        return np.stack([drawn[seed] for seed in seeds]).astype(shard.dtype)

    def build(self) -> None:
        """Bring the covariances to the device and choose the length of a chunk of noise."""
        shard = self.shard
        self.size = shard.batch_size * shard.network.widths[0]
        self.steps = max(1, NUMBERS_PER_CHUNK // self.size)
        seeds = self.column("seed_task").tolist()
        self.covariance = self._tensor(np.stack([self.tasks[seed].targets for seed in seeds]))
        self.rate = self._tensor(self.column("learning_rate"))[:, None, None]
        self.chunk, self.noise = -1, None

    def drop(self) -> None:
        """Let go of covariances and noise."""
        self.covariance = self.rate = self.noise = None

    def window(self, start: int, stop: int, *, accumulate: bool) -> None:
        """Do the updates start .. stop - 1 without looking; there are no running observables."""
        weights, batch = self.tensors["weights_0"], self.tensors["persistent"]
        for step in range(start, stop):
            transfer, spread = three_gibbs_steps(weights)
            fresh = torch.bmm(self._draw(step), spread.transpose(1, 2))
            batch.copy_(torch.bmm(batch, transfer).add_(fresh))
            moments = torch.bmm(batch.transpose(1, 2), batch).div_(self.shard.batch_size)
            drift = torch.bmm(weights, self.covariance.sub(moments))
            weights.add_(drift.mul_(self.rate))

    def sound(self) -> torch.Tensor:
        """Rows whose weights are finite."""
        return finite_rows([self.tensors["weights_0"]])

    def _draw(self, step: int) -> torch.Tensor:
        """Unit Gaussians of one update, (rows, batch, visible)."""
        chunk, place = divmod(step, self.steps)
        if chunk != self.chunk:
            seeds = self.column("seed_noise").tolist()
            shape = (self.steps, self.shard.batch_size, self.shard.network.widths[0])
            known = {seed: generator(seed, NOISE, chunk + 1).standard_normal(shape) for seed in set(seeds)}
            self.noise = self._tensor(np.stack([known[seed] for seed in seeds], axis=1))
            self.chunk = chunk
        return self.noise[place]

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=getattr(torch, self.shard.dtype), device=self.device)


def three_gibbs_steps(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Three Gibbs steps of the visible units as one Gaussian draw.

    Args:
        weights: W, (machines, hidden, visible).

    Returns:
        A^3, which takes v to its mean, and the Cholesky factor of the covariance of the noise, both (machines,
        visible, visible). For weights that are not finite neither is.
    """
    step = torch.bmm(weights.transpose(1, 2), weights).mul_(HIDDEN_SPREAD**2 / MASS_SQUARED)
    square = torch.bmm(step, step)
    identity = torch.eye(step.shape[-1], dtype=step.dtype, device=step.device)
    powers = torch.bmm(square, square).add_(square).add_(identity)
    covariance = torch.bmm(step.add(identity).div_(MASS_SQUARED), powers)
    return torch.bmm(step, square), torch.linalg.cholesky_ex(covariance).L
