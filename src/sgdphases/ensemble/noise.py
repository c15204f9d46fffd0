"""Noise that is added to gradients, drawn chunk by chunk of steps from the networks' own streams.

Symmetric: off-diagonal N(0, noise_scale^2 / B), diagonal N(0, 2 noise_scale^2 / B), the Gaussian orthogonal ensemble
that the linear teacher-student model adds to its gradient, arXiv 2407.16427. White: Gaussian of any covariance.
"""

import numpy as np
import torch

from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.streams import NOISE, generator

NUMBERS_PER_CHUNK = 2048
WHITE_NUMBERS_PER_CHUNK = 8192


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


class WhiteNoise:
    """Gaussian noise on the weights of one unit, independent from step to step.

    Args:
        root: Symmetric root of its covariance, (inputs, inputs).
        seeds: seed_noise of every row, (rows,).
        dtype: Type of the weights.
        device: Where the noise is needed.
    """

    def __init__(self, root: np.ndarray, seeds: np.ndarray, dtype: torch.dtype, device: torch.device) -> None:
        self.root, self.seeds, self.dtype, self.device = root, seeds.tolist(), dtype, device
        self.steps = max(1, WHITE_NUMBERS_PER_CHUNK // len(root))
        self.chunk, self.drawn = -1, torch.empty(0)

    def at(self, step: int) -> torch.Tensor:
        """The noise of one step.

        Args:
            step: Number of the update.

        Returns:
            (rows, 1, inputs).
        """
        chunk, place = divmod(step, self.steps)
        if chunk != self.chunk:
            shape = (self.steps, len(self.root))
            # One product a seed, so that no row depends on the others.
            known = {seed: generator(seed, NOISE, chunk).standard_normal(shape) @ self.root for seed in set(self.seeds)}
            numbers = np.stack([known[seed] for seed in self.seeds], axis=1)[:, :, None]
            self.drawn, self.chunk = torch.as_tensor(numbers, dtype=self.dtype, device=self.device), chunk
        return self.drawn[place]
