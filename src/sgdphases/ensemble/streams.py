"""Random numbers without state: a stream is a seed, a tag and a counter, and nothing before it has to be drawn.

Whoever asks for epoch 7 of seed 3 gets the same numbers, whatever was drawn before, in whatever order, by whatever
shard; so generators need no place in a checkpoint.
"""

import numpy as np

WEIGHTS = 1001
ORDER = 1002
NOISE = 1003
AUGMENTATION = 1004


def generator(seed: int, tag: int, counter: int) -> np.random.Generator:
    """The generator of one piece of one stream.

    Args:
        seed: Seed of the stream; networks with the same seed share it.
        tag: What the numbers are for: `WEIGHTS`, `ORDER`, `NOISE` or `AUGMENTATION`.
        counter: Which piece: the layer, the epoch, the chunk of steps or the step.

    Returns:
        A fresh generator (Philox, Salmon et al. 2011).
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([int(seed), tag, counter])))
