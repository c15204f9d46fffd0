"""Persistent contrastive divergence for the Gaussian scalar-field Boltzmann machine, arXiv 2407.16427.

The machine has weights W (hidden, visible), no biases, and the energy mu^2 v^2 / 2 + h^2 / (2 sigma_h^2) - h W v with
mu^2 = 9 and sigma_h = 1. Its visible covariance is (mu^2 - W^T W)^-1; learning a field of kernel K makes the
eigenvalues of W^T W go to mu^2 minus those of K. An update is

    W <- W + learning_rate * (W K^-1 - W <v v^T>)

with the exact data term and the mean over a batch that goes on from update to update by three Gibbs steps.
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
GIBBS_STEPS = 3
NUMBERS_PER_CHUNK = 8192


class ContrastiveGroup(Group):
    """A group trained by persistent contrastive divergence.

    Args:
        shard: What is trained: one layer from the visible to the hidden units.
        rows: Places of this group's networks in the shard.
        device: Where the group computes.
        tasks: Task per seed: `targets` is the field's covariance K^-1.

    Raises:
        ValueError: If the network has more than one layer.
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
        visible, hidden = shard.network.widths
        self.size = GIBBS_STEPS * shard.batch_size * (visible + hidden)
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
            for to_hidden, to_visible in self._draws(step):
                hidden = torch.bmm(batch, weights.transpose(1, 2)).mul_(HIDDEN_SPREAD**2)
                hidden.add_(to_hidden)
                torch.bmm(hidden, weights, out=batch)
                batch.div_(MASS_SQUARED).add_(to_visible)
            moments = torch.bmm(batch.transpose(1, 2), batch).div_(self.shard.batch_size)
            drift = torch.bmm(weights, self.covariance.sub(moments))
            weights.add_(drift.mul_(self.rate))

    def sound(self) -> torch.Tensor:
        """Rows whose weights are finite."""
        return finite_rows([self.tensors["weights_0"]])

    def _draws(self, step: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Hidden and visible noise of the Gibbs steps of one update."""
        chunk, place = divmod(step, self.steps)
        if chunk != self.chunk:
            seeds = self.column("seed_noise").tolist()
            known = {s: generator(s, NOISE, chunk + 1).standard_normal((self.steps, self.size)) for s in set(seeds)}
            self.noise = self._tensor(np.stack([known[seed] for seed in seeds], axis=1))
            self.chunk = chunk
        visible, hidden = self.shard.network.widths
        numbers = self.noise[place].view(-1, GIBBS_STEPS, self.shard.batch_size, hidden + visible)
        return [
            (numbers[:, k, :, :hidden] * HIDDEN_SPREAD, numbers[:, k, :, hidden:] / MASS_SQUARED**0.5)
            for k in range(GIBBS_STEPS)
        ]

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=getattr(torch, self.shard.dtype), device=self.device)
