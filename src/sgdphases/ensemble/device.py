"""Where an ensemble computes, and how many networks are stepped side by side there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from sgdphases.ensemble.footprint import CACHE, touched_bytes
from sgdphases.ensemble.groups import WINDOW
from sgdphases.ensemble.iteration import groups_by_matrix
from sgdphases.ensemble.kinds import kind_of_row
from sgdphases.ensemble.shard import Shard

WORK = {"cpu": 2**39, "cuda": 2**47}  # products between two looks around: some ten seconds of a core
COPIES = 5  # weights, gradient, velocity, sum of gradients and the copies of them that a window begins with


@dataclass(frozen=True)
class Device:
    """A place to compute.

    Attributes:
        word: cpu or cuda.
        memory: Bytes that groups may occupy at the same time; None for as much as there is.
    """

    word: str
    memory: int | None = None

    @property
    def torch(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.word)


def choose_device(word: str) -> Device:
    """Take a device by its word.

    Args:
        word: auto (cuda where there is one), cpu or cuda.

    Returns:
        The device.

    Raises:
        ValueError: If the word is unknown or there is no such device.
    """
    if word not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device {word!r} is unknown; known are auto, cpu, cuda")
    available = torch.cuda.is_available() if word != "cpu" else False
    if word == "cuda" and not available:
        raise ValueError("device cuda was asked for, but torch finds none")
    return Device("cuda" if available else "cpu")


def footprint(shard: Shard) -> int:
    """Bytes that one network touches in a plain step: its weights and the buffers of a batch.

    It follows from the shapes alone, never from other networks of the shard.

    Args:
        shard: What is trained.

    Returns:
        Bytes.
    """
    return touched_bytes(shard.network, shard.batch_size, 4 if shard.dtype == "float32" else 8)


def stride(shard: Shard, word: str = "cpu") -> int:
    """Updates of a training between two looks around, at which it may be saved, or asked to end.

    No result depends on it. Passes of large networks take seconds each, where a window of small ones takes no time.

    Args:
        shard: What is trained.
        word: Where, cpu or cuda.

    Returns:
        `groups.WINDOW`, or fewer.
    """
    network = shard.network
    if not network.modular:
        return WINDOW
    return min(WINDOW, max(1, WORK[word] // (3 * network.products * shard.batch_size * len(shard))))


def plan(shard: Shard, device: Device, threads: int = 1) -> list[np.ndarray]:
    """Part the networks of a shard into groups that are stepped together.

    On a CPU a group is as large as the cache allows, since networks taken in turn for many steps are faster than
    tensors that outgrow it; on other devices as large as the memory allows. No result depends on the parting.

    Args:
        shard: What is trained.
        device: Where.
        threads: Workers that take groups side by side.

    Returns:
        Places of the networks in the shard, group by group.
    """
    if shard.update == "iteration":
        return groups_by_matrix(shard, threads)
    kinds: dict[tuple, list[int]] = {}
    for row in range(len(shard)):
        kinds.setdefault(kind_of_row(shard, row), []).append(row)
    most = len(shard) if device.word != "cpu" else max(2, CACHE // footprint(shard))
    if alone(shard):
        most = 1 if device.word == "cpu" else most
    if device.memory is not None:
        most = max(1, min(most, device.memory // (COPIES * footprint(shard))))
    return [
        part
        for rows in kinds.values()
        for part in np.array_split(np.array(rows), max(-(-len(rows) // most), min(threads, len(rows) // 2), 1))
    ]


def alone(shard: Shard) -> bool:
    """Whether two networks of this size would outgrow the cache, so that each is stepped alone.

    It follows from the shapes alone, never from the machine, because one network and two may meet other library
    kernels.

    Args:
        shard: What is trained.

    Returns:
        Whether networks of this shard are stepped alone on a CPU.
    """
    return shard.network.kind == "resnet18" or 2 * footprint(shard) > CACHE


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let every operation run on one thread.

    Workers take whole groups, so threads never share an operation and bits do not depend on their number.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
