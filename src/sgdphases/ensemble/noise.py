"""Injected symmetric gradient noise: off-diagonal N(0, noise_scale^2 / B), diagonal N(0, 2 noise_scale^2 / B).

It is the Gaussian orthogonal ensemble that the linear teacher-student model adds to its gradient, arXiv 2407.16427.
"""

import numpy as np
import torch

from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.streams import NOISE, generator

NUMBERS_PER_CHUNK = 2048


class SymmetricNoise:
    """The noise of a group, drawn chunk by chunk of steps.

    Args:
        shard: What is trained.
        places: Places of the group's rows in the shard.
        device: Where the noise is needed.

    Raises:
        ValueError: If a trained layer is not square.
    """

    def __init__(self, shard: Shard, places: np.ndarray, device: torch.device) -> None:
        layers = shard.network.trained_layers
        sizes = [shard.network.shape(layer) for layer in layers]
        if any(out != fan_in for out, fan_in in sizes):
            raise ValueError("symmetric gradient noise needs square layers")
        self.sizes = {layer: size[0] for layer, size in zip(layers, sizes, strict=True)}
        self.seeds = shard.networks["seed_noise"][places].tolist()
        self.scales = shard.networks["noise_scale"][places] / np.sqrt(shard.batch_size)
        self.steps = max(1, NUMBERS_PER_CHUNK // sum(size**2 for size in self.sizes.values()))
        self.dtype, self.device = getattr(torch, shard.dtype), device
        self.chunk = -1
        self.drawn: dict[int, torch.Tensor] = {}

    def at(self, layer: int, step: int) -> torch.Tensor:
        """The noise of one layer at one step.

        Args:
            layer: Number of a trained layer.
            step: Number of the update.

        Returns:
            Symmetric matrices (rows, size, size).
        """
        chunk, place = divmod(step, self.steps)
        if chunk != self.chunk:
            self._draw(chunk)
        return self.drawn[layer][place]

    def _draw(self, chunk: int) -> None:
        """Draw the noise of one chunk of steps for all layers."""
        count = sum(size**2 for size in self.sizes.values())
        known = {seed: generator(seed, NOISE, chunk).standard_normal((self.steps, count)) for seed in set(self.seeds)}
        numbers = np.stack([known[seed] for seed in self.seeds], axis=1)
        first = 0
        for layer, size in self.sizes.items():
            square = numbers[:, :, first : first + size**2].reshape(self.steps, -1, size, size)
            lower = np.tril(square, -1)
            noise = lower + lower.swapaxes(-1, -2) + np.sqrt(2) * square * np.eye(size)
            noise *= self.scales[:, None, None]
            self.drawn[layer] = torch.as_tensor(noise, dtype=self.dtype, device=self.device)
            first += size**2
        self.chunk = chunk
