"""Random numbers without state: one independent stream for each array of a task."""

import zlib

import numpy as np


def stream(seed: int, tag: str, *counters: int) -> np.random.Generator:
    """The random numbers of one array, by name.

    Nothing is drawn in sequence from a common generator, so an array added to a task changes no other array.

    Args:
        seed: The network's task seed, not negative.
        tag: What is drawn, such as `inputs`.
        counters: Which one of its kind, such as the layer.

    Returns:
        A Philox generator that depends on the arguments alone.
    """
    name = zlib.crc32(tag.encode())
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(name, *counters))))
