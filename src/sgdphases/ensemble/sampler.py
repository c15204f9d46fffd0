"""Which samples form which batch.

An epoch has floor(samples / batch_size) batches, and samples that fill no batch are left out of that epoch; or, where
the last batch is kept, one more batch with the rest.
"""

import numpy as np

from sgdphases.ensemble.streams import ORDER, generator


class Sampler:
    """The order of the data of one stream, epoch by epoch.

    Args:
        word: fixed_order (in the order of the data, every epoch alike), fixed_shuffle (a permutation, every epoch
            alike), reshuffle (a new permutation each epoch), with_replacement (independent draws) or one_pass (in the
            order of the data, each sample once).
        samples: Samples of the data set.
        batch_size: Samples per batch.
        steps: Steps that will be asked for.
        keep_last: Whether the samples that fill no batch form a smaller one.

    Attributes:
        batches: Batches of an epoch.
        rest: Samples of the last batch of an epoch if it is smaller, else 0.

    Raises:
        ValueError: If the samples do not fill one batch, or not all steps of one pass.
    """

    def __init__(self, word: str, samples: int, batch_size: int, steps: int, *, keep_last: bool = False) -> None:
        self.word = word
        self.samples = samples
        self.batch_size = batch_size
        self.batches = samples // batch_size
        self.rest = samples % batch_size if keep_last and self.batches and word != "with_replacement" else 0
        self.batches += self.rest > 0
        if self.batches == 0:
            raise ValueError(f"{samples} samples do not fill one batch of {batch_size}")
        if word == "one_pass" and steps > self.batches:
            raise ValueError(f"one pass over {samples} samples has {self.batches} batches, not {steps}")

    @property
    def seeded(self) -> bool:
        """Whether the order depends on the seed."""
        return self.word in ("fixed_shuffle", "reshuffle", "with_replacement")

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Sample numbers of one epoch.

        Args:
            seed: Seed of the stream of data orders.
            epoch: Number of the epoch.

        Returns:
            Array (batches, batch_size) of int64; a smaller last batch is filled up with the epoch's first samples.
        """
        used = self.batches * self.batch_size
        if self.word in ("fixed_shuffle", "reshuffle"):
            drawn = epoch if self.word == "reshuffle" else 0
            numbers = generator(seed, ORDER, drawn).permutation(self.samples)
        elif self.word == "with_replacement":
            numbers = generator(seed, ORDER, epoch).integers(self.samples, size=used)
        else:
            numbers = np.arange(self.samples)
        numbers = np.concatenate([numbers, numbers[: self.batch_size]])[:used]
        return numbers.reshape(self.batches, self.batch_size)
