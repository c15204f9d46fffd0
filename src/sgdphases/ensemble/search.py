"""The search for where the stable range of learning rates ends: down a lattice, then by bisection (arXiv 2410.04642).

A strip is the networks of a shard that differ in nothing but the learning rate; those values are its lattice. The
search goes down it from the largest value within `above` decades of a first guess, and ends `below` decades under the
first network that is finite and has learned; where a network under that is not finite, it begins anew there. Then every
criterion's edge is bisected until its bracket is `refine` decades wide. All strips go side by side, one round after the
other. What is asked for next follows from what has been found, so that a search goes on wherever it was interrupted.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sgdphases.ensemble.shard import SEED_COLUMNS, WHOLE_RUNNING, Shard
from sgdphases.ensemble.status import CRITERIA, NONE, NONFINITE, SIDES, TRAINED, UNTRIED, calm, edges, loss_growth
from sgdphases.ensemble.status import status as status_of

Array = np.ndarray

TOLERANCE = 1e-6
"""Share of a lattice's step, or of a bracket's width, that round-off may make."""


class Trial(NamedTuple):
    """A network to train: the columns of one of the shard's, and a learning rate, which may be none of the lattice's.

    Attributes:
        row: Place in the shard.
        learning_rate: Its own.
    """

    row: int
    learning_rate: float


class Verdict(NamedTuple):
    """What has become of a network at the end.

    Attributes:
        status: A key of `status.STATUS`.
        calm: Whether it is finite and its batch loss never shot up.
        loss: Test loss.
    """

    status: int
    calm: bool
    loss: float

    def good(self, criterion: int) -> bool:
        """Whether it lies on the good side of one of `status.CRITERIA`."""
        return (self.status > NONFINITE, self.status >= TRAINED, self.calm)[criterion]


@dataclass(frozen=True)
class Outcome:
    """What a round has left.

    Attributes:
        scalars: Running observables by word, (records, networks) or (records, networks, trained layers).
        whole: Those that are said once, such as batch_loss, (networks, updates).
        diverged_at: (networks,), -1 for alive.
    """

    scalars: dict[str, Array]
    whole: dict[str, Array]
    diverged_at: Array

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Array]], arrays: Mapping[str, Array], diverged_at: Array) -> "Outcome":
        """Gather a training.

        Args:
            records: Running observables by word, record by record.
            arrays: Those of the final state.
            diverged_at: (networks,).

        Returns:
            The outcome.
        """
        records = list(records)
        scalars = {name: np.stack([record[name] for record in records]) for name in records[0]}
        return cls(scalars, {name: arrays[name] for name in WHOLE_RUNNING if name in arrays}, diverged_at)

    def arrays(self) -> dict[str, Array]:
        """All arrays by name."""
        scalars = {f"scalars/{name}": values for name, values in self.scalars.items()}
        whole = {f"whole/{name}": values for name, values in self.whole.items()}
        return {**scalars, **whole, "diverged_at": self.diverged_at}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> "Outcome":
        """The inverse of `arrays`."""
        kinds: dict[str, dict[str, Array]] = {"scalars": {}, "whole": {}}
        for name, values in arrays.items():
            kind, _, word = name.partition("/")
            if kind in kinds:
                kinds[kind][word] = values
        return cls(**kinds, diverged_at=arrays["diverged_at"])


class Strip:
    """The lattice of one strip and what has been found on it.

    Args:
        rows: Places of its networks in the shard.
        rates: Their learning rates.
        highest: Logarithm to base 10 of what the search begins at or next under; at the smallest if all are larger.
        below: Decades to go on under the first network that has learned.
    """

    def __init__(self, rows: Sequence[int], rates: Sequence[float], highest: float, below: float) -> None:
        order = np.argsort(rates)
        self.rows = [int(rows[place]) for place in order]
        self.rates = [float(rates[place]) for place in order]
        self.places = {rate: place for place, rate in enumerate(self.rates)}
        logs = np.log10(self.rates)
        step = (logs[-1] - logs[0]) / max(len(logs) - 1, 1) or 1.0
        self.start = max(int(np.sum(logs <= highest + TOLERANCE * step)) - 1, 0)
        self.below = int(below / step + TOLERANCE)
        self.status = np.full(len(logs), UNTRIED, dtype=np.int8)
        self.calm = np.zeros(len(logs), dtype=bool)
        self.loss = np.full(len(logs), np.nan)
        self.probes: dict[float, Verdict] = {}

    def asks(self, refine: float | None) -> list[Trial]:
        """What to train next: one value of the lattice, or what bisects the edges once its end is reached.

        Args:
            refine: Largest width of a bracket in decades; None for what the lattice gives.

        Returns:
            Trials; none where all is known.
        """
        place = next_place(self.status, self.start, self.below)
        if place is not None:
            return [Trial(self.rows[place], self.rates[place])]
        brackets = [self.bracket(criterion, refine) for criterion in range(len(CRITERIA))]
        wanted = {bracket.wanted: bracket.row for bracket in brackets if bracket.wanted is not None}
        return [Trial(row, rate) for rate, row in wanted.items()]

    def note(self, rate: float, verdict: Verdict) -> None:
        """Take note of what has become of the network with a learning rate."""
        if rate not in self.places:
            self.probes[rate] = verdict
            return
        place = self.places[rate]
        self.status[place], self.calm[place], self.loss[place] = verdict

    def bracket(self, criterion: int, refine: float | None) -> "Bracket":
        """What is known of one edge.

        Args:
            criterion: Place among `status.CRITERIA`.
            refine: Largest width in decades, or None.

        Returns:
            The bracket; NaN and row -1 where no network is good, NaN for its upper side where nothing above was tried.
        """
        places = edges(self.status, self.calm, self.loss)[criterion]
        good, bad = (self.rates[place] if place != NONE else math.nan for place in places)
        row = self.rows[places[0]] if places[0] != NONE else NONE
        while refine is not None and math.log10(bad / good) > refine * (1 + TOLERANCE):
            middle = math.sqrt(good * bad)
            if middle not in self.probes:
                return Bracket(row, good, bad, middle)
            if self.probes[middle].good(criterion):
                good = middle
            else:
                bad = middle
        return Bracket(row, good, bad)


class Bracket(NamedTuple):
    """An edge between the largest learning rate found good and the smallest found bad.

    Attributes:
        row: Place in the shard of the last good network of the lattice.
        good: The one.
        bad: The other.
        wanted: The learning rate that halves the bracket, where it is still too wide.
    """

    row: int
    good: float
    bad: float
    wanted: float | None = None


def next_place(status: Array, start: int, below: int) -> int | None:
    """How far the way down a lattice has to go.

    Args:
        status: Of the lattice's networks, ascending in the learning rate; -1 where untried.
        start: Place to begin at.
        below: Cells to go on under the first network that has learned.

    Returns:
        The place to try next, or None if the search has come to its end.
    """
    first = None
    for place in range(start, -1, -1):
        if status[place] == UNTRIED:
            return place
        if status[place] == NONFINITE:
            first = None
        elif status[place] >= TRAINED and first is None:
            first = place
        if first is not None and first - place >= below:
            return None
    return None


def first_guess(richness: float, layers: int, loss: str) -> float:
    """How the largest stable learning rate scales: as richness^2, in cross-entropy richness, and richness^(2/L) above.

    Args:
        richness: The feature-learning strength gamma.
        layers: The number of layers L.
        loss: Word of the loss.

    Returns:
        The learning rate, up to a factor.
    """
    return min(richness if loss == "cross_entropy" else richness**2, richness ** (2 / layers))


class Search:
    """All strips of a shard, and what has been recorded of its networks.

    Args:
        shard: What is searched; its `search` says how.
        constant_losses: Loss of the best constant answer for every network, (networks,).

    Raises:
        ValueError: If two networks of a strip have the same learning rate.
    """

    def __init__(self, shard: Shard, constant_losses: Array) -> None:
        self.shard, self.constant_losses, self.refine = shard, np.asarray(constant_losses), shard.search.refine
        self.strips = _strips(shard)
        self.strip_of = {row: strip for strip in self.strips for row in strip.rows}
        self.scalars: dict[str, Array] = {}
        self.whole: dict[str, Array] = {}
        self.diverged_at = np.full(len(shard), -1, dtype=np.int64)

    def asked(self) -> list[Trial]:
        """The networks of the next round; none at the end."""
        return [trial for strip in self.strips for trial in strip.asks(self.refine)]

    def shard_of(self, trials: Sequence[Trial]) -> Shard:
        """A shard of these networks."""
        part = self.shard.select([trial.row for trial in trials])
        rates = np.array([trial.learning_rate for trial in trials])
        return replace(part, networks=part.networks | {"learning_rate": rates}, search=None)

    def take(self, trials: Sequence[Trial], outcome: Outcome) -> None:
        """Take note of a round.

        Args:
            trials: What `asked` has asked for.
            outcome: What has become of it.
        """
        for (row, rate), verdict in zip(trials, self._verdicts(trials, outcome), strict=True):
            self.strip_of[row].note(rate, verdict)
        lattice = [place for place, (row, rate) in enumerate(trials) if rate in self.strip_of[row].places]
        rows = [trials[place].row for place in lattice]
        self.diverged_at[rows] = outcome.diverged_at[lattice]
        for name, values in outcome.scalars.items():
            if name not in self.scalars:
                self.scalars[name] = _blank((len(values), len(self.shard), *values.shape[2:]), values)
            self.scalars[name][:, rows] = values[:, lattice]
        for name, values in outcome.whole.items():
            if name not in self.whole:
                self.whole[name] = _blank((len(self.shard), *values.shape[1:]), values)
            self.whole[name][rows] = values[lattice]

    @property
    def tried(self) -> Array:
        """Which networks of the shard have been trained, int8 (networks,)."""
        found = np.zeros(len(self.shard), dtype=np.int8)
        for strip in self.strips:
            found[strip.rows] = strip.status != UNTRIED
        return found

    @property
    def brackets(self) -> Array:
        """Every strip's edges at its last good networks, NaN elsewhere, (networks, criterion, side)."""
        found = np.full((len(self.shard), len(CRITERIA), len(SIDES)), np.nan)
        for strip, criterion in itertools.product(self.strips, range(len(CRITERIA))):
            bracket = strip.bracket(criterion, self.refine)
            if bracket.row != NONE:
                found[bracket.row, criterion] = bracket.good, bracket.bad
        return found

    def records(self) -> Iterator[dict[str, Array]]:
        """The running observables of all networks, record by record; NaN of those that were not tried."""
        for number in range(len(self.shard.record_steps)):
            yield {name: values[number] for name, values in self.scalars.items()}

    def said_once(self) -> dict[str, tuple[tuple[str, ...], Array]]:
        """What is said once of each network: name to (dimensions, values)."""
        updates = {name: (("network", "update"), values) for name, values in self.whole.items()}
        brackets = (("network", "criterion", "side"), self.brackets)
        return {**updates, "tried": (("network",), self.tried), "bracket": brackets}

    def _verdicts(self, trials: Sequence[Trial], outcome: Outcome) -> list[Verdict]:
        rows, last = [trial.row for trial in trials], [self.shard.steps]
        growth = loss_growth(outcome.whole["batch_loss"], last)
        loss = outcome.scalars["test_loss"][-1]
        found = status_of(loss[:, None], self.constant_losses[rows], outcome.diverged_at, growth, last)
        quiet = calm(found, growth)
        columns = (found[:, 0].tolist(), quiet[:, 0].tolist(), loss.tolist())
        return [Verdict(*values) for values in zip(*columns, strict=True)]


def conduct(search: Search, train_round: Callable[[int, Shard], Outcome]) -> None:
    """Go through a search to its end.

    Args:
        search: The search, at its beginning.
        train_round: Trains a shard, given the number of the round.
    """
    for number in itertools.count():
        trials = search.asked()
        if not trials:
            return
        search.take(trials, train_round(number, search.shard_of(trials)))


def _strips(shard: Shard) -> list[Strip]:
    """The strips of a shard, in the order of their first networks."""
    columns = {name: column for name, column in shard.networks.items() if name not in SEED_COLUMNS}
    rates = columns.pop("learning_rate")
    found: dict[tuple, list[int]] = {}
    for row, key in enumerate(zip(*(column.tolist() for column in columns.values()), strict=True)):
        found.setdefault(key, []).append(row)
    if any(len(set(rates[rows].tolist())) < len(rows) for rows in found.values()):
        raise ValueError("two networks that a search walks through have the same learning rate")
    strips = []
    for key, rows in found.items():
        own = dict(zip(columns, key, strict=True))
        guess = first_guess(own["richness"], shard.network.layers, own["loss"])
        strips.append(Strip(rows, rates[rows], math.log10(guess) + shard.search.above, shard.search.below))
    return strips


def _blank(shape: Sequence[int], like: Array) -> Array:
    """Room for values of networks, most of which may never be tried."""
    return np.full(shape, np.nan, like.dtype)
