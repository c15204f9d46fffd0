"""Batches of images for residual networks: each distinct order is read once, networks side by side as channels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgdphases.ensemble.feed import Feed
from sgdphases.ensemble.sampler import Sampler
from sgdphases.ensemble.shard import Shard


class ImageData:
    """The training images of all tasks of a shard.

    Args:
        shard: What is trained.
        tasks: Task per seed, with `inputs` and `targets`; tasks that share arrays share what is read.
        device: Where batches go.

    Attributes:
        sampler: The order of the data.
        feeds: One of each data set.

    Raises:
        ValueError: If the tasks have not equally many samples, or do not fit the network.
    """

    def __init__(self, shard: Shard, tasks: Mapping[int, Any], device: torch.device) -> None:
        samples = {len(task.inputs) for task in tasks.values()}
        if len(samples) != 1:
            raise ValueError(f"tasks of one shard must have equally many samples, not {sorted(samples)}")
        network = shard.network
        self.sampler = Sampler(shard.sampler, samples.pop(), shard.batch_size, shard.steps)
        known = {"outputs": network.widths[-1], "device": device, "dtype": getattr(torch, shard.dtype)}
        known |= {"augmentation": shard.augmentation, "channels": network.channels}
        self.augmented = shard.augmentation != "none"
        self.feeds: dict[tuple[int, int], Feed] = {}
        self.index = {}
        for seed, task in tasks.items():
            key = self.index[seed] = (id(task.inputs), id(task.targets))
            if key not in self.feeds:
                self.feeds[key] = Feed(task.inputs, task.targets, self.sampler, **known)

    @property
    def waited(self) -> float:
        """Seconds that training has waited for images from the disk."""
        return sum(feed.waited for feed in self.feeds.values())

    def close(self) -> None:
        """Let go of the threads that read, and of what they read."""
        for feed in self.feeds.values():
            feed.close()

    def batches(self, columns: Mapping[str, np.ndarray], device: torch.device) -> "ImageBatches":
        """The batches of some networks.

        Args:
            columns: Their rows of the shard's columns.
            device: Where the data go.

        Returns:
            What fetches them.
        """
        del device  # that of the feeds
        own = self.sampler.seeded or self.augmented  # else all see the same, read once
        seeds = columns["seed_order"] if own else np.zeros_like(columns["seed_order"])
        keys = [self.index[seed] for seed in columns["seed_task"].tolist()]
        return ImageBatches([(self.feeds[key], int(seed)) for key, seed in zip(keys, seeds, strict=True)])


class ImageBatches:
    """Brings the batch of each step to a group of networks.

    Attributes:
        inputs: Images, (batch, networks * channels, height, width).
        targets: (networks, batch, outputs).
    """

    reference = None

    def __init__(self, streams: list[tuple[Feed, int]]) -> None:
        self.streams = list(dict.fromkeys(streams))
        self.places = [self.streams.index(stream) for stream in streams]
        self.inputs: Tensor | None = None
        self.targets: Tensor | None = None

    def prepare(self, start: int, stop: int) -> None:
        """Say that the batches of steps start .. stop - 1 come next."""
        for feed, seed in self.streams:
            feed.prepare(seed, start, stop)

    def fetch(self, step: int) -> None:
        """Bring the batch of a step."""
        read = [feed.batch(seed, step) for feed, seed in self.streams]
        if len(self.places) == 1:
            self.inputs, self.targets = read[0][0], read[0][1][None]
            return
        self.inputs = torch.cat([read[place][0] for place in self.places], dim=1)
        self.targets = torch.stack([read[place][1] for place in self.places])
