"""Means over blocks of a run after a burn-in, and their errors by the scatter of replicas and of stretches of time.

A statistic of means has the influence of each block: by how much it would move if that block had all the weight, less
its value. Sums of influences over a replica, and over a stretch of time of a replica, scatter as the statistic does; of
the two errors the larger one is taken. Shapes: R replicas, B blocks, M modes.
"""

from dataclasses import dataclass

import numpy as np

from sgdphases.fits.arrays import Floats
from sgdphases.fits.intervals import Estimate, normal_estimate

STRETCHES = 10
"""Into which a run is cut at most."""


@dataclass(frozen=True)
class Cells:
    """Blocks that count, mode by mode.

    Attributes:
        weight: Share of each block in the mean, (R, B, M); sums to 1 over replicas and blocks, or is 0 throughout.
        stretch: Number of the stretch of time that a block is in, (B, M).
        steps: Steps in the mean, of all replicas together, (M,).
    """

    weight: Floats
    stretch: np.ndarray
    steps: Floats

    def mean(self, values: Floats) -> "Mean":
        """Mean over the blocks.

        Args:
            values: Means of single blocks, (R, B, M).

        Returns:
            The mean with its influence; NaN where no block counts.
        """
        used = np.where(self.weight > 0, values, 0.0)
        value = np.where(self.steps > 0, (self.weight * used).sum(axis=(0, 1)), np.nan)
        return Mean(value, np.where(self.weight > 0, used - value, 0.0))

    def by_replica(self, values: Floats) -> Floats:
        """Mean of each replica, (R, M); NaN where none of its blocks counts."""
        own = self.weight.sum(axis=1)
        total = (self.weight * np.where(self.weight > 0, values, 0.0)).sum(axis=1)
        return np.divide(total, own, out=np.full(own.shape, np.nan), where=own > 0)

    def replica_error(self, influence: Floats) -> Floats:
        """Standard error by the scatter of replicas, (M,); NaN with fewer than two."""
        return _scatter((self.weight * influence).sum(axis=1), self.weight.sum(axis=1) > 0)

    def stretch_error(self, influence: Floats) -> Floats:
        """Standard error by the scatter of stretches of time, as if they were independent, (M,); NaN of one."""
        shares = self.weight * influence
        sums, known = [], []
        for number in range(int(self.stretch.max(initial=0)) + 1):
            inside = self.stretch == number
            sums.append(np.where(inside, shares, 0.0).sum(axis=1))
            known.append(((self.weight > 0) & inside).any(axis=1))
        return _scatter(np.concatenate(sums), np.concatenate(known))

    def estimate(self, mean: "Mean") -> Estimate:
        """A statistic with the larger of its two errors."""
        error = np.fmax(self.replica_error(mean.influence), self.stretch_error(mean.influence))
        return normal_estimate(mean.value, np.where(np.isfinite(mean.value), error, np.nan))


@dataclass(frozen=True)
class Mean:
    """A mean, or a function of means.

    Attributes:
        value: (M,).
        influence: Of every block, (R, B, M); its weighted sum is 0.
    """

    value: Floats
    influence: Floats

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.value + other.value, self.influence + other.influence)

    def __sub__(self, other: "Mean") -> "Mean":
        return self + other.times(-1.0)

    def __mul__(self, other: "Mean") -> "Mean":
        return Mean(self.value * other.value, self.influence * other.value + other.influence * self.value)

    def times(self, factor: float | Floats) -> "Mean":
        """The same in other units."""
        return Mean(self.value * factor, self.influence * factor)

    def power(self, exponent: float) -> "Mean":
        """Value to a power; NaN where the value is not positive."""
        base = np.where(self.value > 0, self.value, np.nan)
        with np.errstate(invalid="ignore"):
            return Mean(base**exponent, exponent * base ** (exponent - 1) * self.influence)


def cells(step: Floats, alive: np.ndarray, first: Floats, stretches: np.ndarray, last: Floats | None = None) -> Cells:
    """The blocks of a point that begin after the burn-in.

    Args:
        step: Recorded steps, (T,); blocks lie between them.
        alive: Which replicas count, (R,).
        first: Step at which the burn-in ends, (M,).
        stretches: Number of stretches of time, (M,).
        last: Step by which blocks must have ended, (M,); the last record if not given.

    Returns:
        The cells.
    """
    begin, end = step[:-1, None], step[1:, None]
    limit = np.full(len(first), step[-1]) if last is None else last
    used = (begin >= first) & (end <= limit)
    length = np.where(used, end - begin, 0.0)
    total = length.sum(axis=0)
    middle = np.cumsum(length, axis=0) - length / 2
    share = np.divide(middle, total, out=np.zeros_like(middle), where=total > 0)
    stretch = np.minimum(np.floor(share * stretches), np.maximum(stretches - 1, 0)).astype(np.int64)
    whole = total * alive.sum()
    weight = np.divide(length, whole, out=np.zeros_like(length), where=whole > 0)
    return Cells(alive[:, None, None] * weight, stretch, whole)


def variance(square: Mean, mean: Mean, spread: Floats) -> Mean:
    """Variance about the common mean of all replicas, without the bias of its own error.

    Args:
        square: Mean of the square.
        mean: Mean.
        spread: Standard error of the mean, (M,); NaN counts as 0.

    Returns:
        The variance.
    """
    plain = square - mean * mean
    return Mean(plain.value + np.where(np.isfinite(spread), spread, 0.0) ** 2, plain.influence)


def mean_error(within: Cells, mean: Mean) -> Floats:
    """Standard error by replicas, which are independent whatever is averaged, or by stretches if there is one."""
    own = within.replica_error(mean.influence)
    return np.where(np.isfinite(own), own, within.stretch_error(mean.influence))


def _scatter(sums: Floats, known: np.ndarray) -> Floats:
    """Standard error of a sum of n independent parts that add up to 0, (n, M) to (M,)."""
    count = known.sum(axis=0)
    square = np.where(known, sums, 0.0) ** 2
    factor = np.divide(count, count - 1, out=np.full(count.shape, np.nan), where=count > 1)
    return np.sqrt(factor * square.sum(axis=0))
