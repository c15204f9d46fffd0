"""Draws of estimators on data with a known truth, and how often their intervals hold it.

A family draws data once and reads several estimates from them. Every draw has a random stream of its own, by the
family's name and the number of the draw, so that fewer draws are the first ones of more.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sgdphases.fits.arrays import Floats
from sgdphases.fits.intervals import Estimate

NORMAL = 1.96
"""Errors to either side of an estimate in 95 % of draws, where no interval is given."""

INTERVAL = 0.95
"""What an interval should hold."""

Band = tuple[float, float]
EXACT_INTERVAL: Band = (INTERVAL, INTERVAL)


@dataclass(frozen=True)
class Draws:
    """Estimates of one quantity in many draws, each (draws,).

    Attributes:
        value: The estimates.
        error: Their standard errors.
        low: Lower ends of the 95 % intervals.
        high: Upper ends.
        truth: What they estimate.
    """

    value: Floats
    error: Floats
    low: Floats
    high: Floats
    truth: Floats

    def first(self, count: int) -> "Draws":
        """Of these draws the first ones."""
        return Draws(*(getattr(self, name)[:count] for name in ("value", "error", "low", "high", "truth")))


@dataclass(frozen=True)
class Row:
    """One estimate of a family: one line of the table.

    Attributes:
        estimator: What is called, by its name in sgdphases.fits.
        drawn: What is drawn.
        freedom: Degrees of freedom of the error, where few replicas or points make it; else infinite.
        one_error: Share of draws that `value ± error` is declared to hold, from and to; None: what it must.
        interval: The same of the interval.
        finding: Two sentences about an estimator that does not hold what it should; empty if it does.
    """

    estimator: str
    drawn: str
    freedom: float = np.inf
    one_error: Band | None = None
    interval: Band = EXACT_INTERVAL
    finding: str = ""

    @property
    def must(self) -> float:
        """Share of draws that one right error holds: 68.3 %, and less if it is itself uncertain."""
        return float(2 * stats.t.cdf(1, self.freedom) - 1)

    @property
    def declared(self) -> tuple[Band, Band]:
        """Shares that one error and the interval are declared to hold."""
        return self.one_error or (self.must, self.must), self.interval


@dataclass(frozen=True)
class Family:
    """Estimates of the same data.

    Attributes:
        draw: From a number of draws to draws by the name of the row.
        rows: What is drawn, by name.
    """

    draw: Callable[[int], Mapping[str, Draws]]
    rows: Mapping[str, Row]


@dataclass(frozen=True)
class Coverage:
    """How often intervals hold the truth.

    Attributes:
        draws: Draws with an estimate and an error.
        missing: Draws without.
        one_error: Draws whose `value ± error` holds the truth.
        interval: Draws whose interval holds it.
        bias: Mean deviation from the truth in units of the mean error.
        bias_error: Its standard error.
        scatter: Root mean square of the deviations over that of the errors.
    """

    draws: int
    missing: int
    one_error: int
    interval: int
    bias: float
    bias_error: float
    scatter: float


def coverage(found: Draws) -> Coverage:
    """Count the draws that hold the truth."""
    known = np.isfinite(found.value) & np.isfinite(found.error)
    value, error, low, high, truth = (
        np.asarray(part)[known] for part in (found.value, found.error, found.low, found.high, found.truth)
    )
    apart, count = value - truth, len(value)
    return Coverage(
        count,
        len(known) - count,
        int((np.abs(apart) <= error).sum()),
        int(((low <= truth) & (truth <= high)).sum()),
        float(apart.mean() / error.mean()),
        float(apart.std(ddof=1) / np.sqrt(count) / error.mean()),
        float(np.sqrt((apart**2).mean() / (error**2).mean())),
    )


def improbable(hits: int, draws: int, band: Band) -> float:
    """Probability of so few or so many hits, whatever the chance of a hit is within a band (the smaller of the two)."""
    too_many = stats.binom.sf(hits - 1, draws, band[1])
    return float(min(too_many, stats.binom.cdf(hits, draws, band[0])))


def streams(name: str, draws: int) -> list[np.random.Generator]:
    """A random stream for every draw of a family."""
    return [np.random.default_rng([zlib.crc32(name.encode()), draw]) for draw in range(draws)]


def samples(name: str, draws: int, make: Callable[[np.random.Generator], Floats]) -> Floats:
    """What `make` draws from each stream, draws last."""
    return np.stack([make(random) for random in streams(name, draws)], axis=-1)


def seed_of(name: str, number: int) -> int:
    """Seed of a cube that holds many draws as points or modes."""
    return zlib.crc32(name.encode()) + number


def against(estimate: Estimate, truth: float | Floats) -> Draws:
    """Draws of an estimate that has an interval."""
    parts = (estimate.value, estimate.error, estimate.low, estimate.high)
    value, *others = (np.ravel(np.asarray(part, dtype=float)) for part in parts)
    return Draws(value, *others, np.broadcast_to(np.asarray(truth, dtype=float), value.shape))


def each_against(estimates: list[Estimate], truth: float | Floats) -> Draws:
    """Draws that were estimated one by one."""
    parts = [[float(getattr(each, part)) for each in estimates] for part in ("value", "error", "low", "high")]
    return against(Estimate(*map(np.array, parts)), truth)


def without_interval(value: Floats, error: Floats, truth: float | Floats) -> Draws:
    """Draws of an estimate of which only the error is given."""
    value, error = np.ravel(value), np.ravel(error)
    return against(Estimate(value, error, value - NORMAL * error, value + NORMAL * error), truth)


def joined(parts: list[Mapping[str, Draws]], draws: int) -> dict[str, Draws]:
    """Draws of several cubes as one, cut to a number."""
    found = {}
    for name in parts[0]:
        each = [getattr(part[name], place) for place in ("value", "error", "low", "high", "truth") for part in parts]
        size = len(parts)
        found[name] = Draws(*(np.concatenate(each[k * size : (k + 1) * size]) for k in range(5))).first(draws)
    return found


def near(one_error: float, interval: float, reach: float = 0.02) -> tuple[Band, Band]:
    """Bands about shares that no law gives."""
    found = [(max(share - reach, 0.0), min(share + reach, 1.0)) for share in (one_error, interval)]
    return found[0], found[1]
