"""Spools that grow while they are read: only what changed is read on, and told again as runs."""

import json
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sgdphases.tracking.runs import Run, from_events
from sgdphases.tracking.spool import RUNNING, Event, alive, read_on

Teller = Callable[..., list[Run]]
HEAD = 400


@dataclass
class _Followed:
    """One spool, how far it is read, and what it told last."""

    path: Path
    place: int = 0
    head: bytes = b""
    events: list[Event] = field(default_factory=list)
    alive: bool = False
    runs: list[Run] | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come, unless the job runs once more."""
        return self.runs is not None and all(run.status != RUNNING for run in self.runs)

    @property
    def whole(self) -> bool:
        """Whether it is settled, its writer is gone, and all that it has was told."""
        try:
            return self.settled and not alive(self.path) and read_on(self.path, self.place)[1] == self.place
        except OSError:
            return False  # gone

    def news(self, tell: Teller) -> bool:
        """Read on; whether that changed what the spool tells."""
        try:
            size = self.path.stat().st_size
            if self.settled and size == self.place:
                return False
            now_alive = alive(self.path)  # before reading: what a dead process wrote is all there then
            if self._replaced() or (self.settled and not self.events):
                self.place, self.events = 0, []
            new, self.place = read_on(self.path, self.place)
            self.head = self._begin()[: self.place]
        except OSError:
            return False  # not written yet, or gone
        if self.runs is not None and not new and now_alive == self.alive:
            return False
        self.events += new
        self.alive = now_alive
        self.runs = tell(self.events, running=now_alive)
        return True

    def _begin(self) -> bytes:
        """The first bytes, which name the job and its start."""
        with self.path.open("rb") as stream:
            return stream.read(HEAD)

    def _replaced(self) -> bool:
        """Whether this is another file than the one that was read (Snakemake removes logs of jobs it starts anew)."""
        return self.path.stat().st_size < self.place or not self._begin().startswith(self.head)

    def forget_points(self) -> None:
        """Keep no events of a spool that is done, and of each metric one point."""
        if self.settled:
            self.events = []
            self.runs = [replace(run, metrics={(name, 0): 0.0 for name, _ in run.metrics}) for run in self.runs or ()]


class Follower:
    """Follows spools.

    Args:
        tell: How runs are told from a spool's events; called with the events and `running=`.
    """

    def __init__(self, tell: Teller = from_events) -> None:
        self._tell = tell
        self._spools: dict[Path, _Followed] = {}

    def add(self, paths: Iterable[str | Path]) -> None:
        """Follow these spool files too, from their beginning; those that are not there yet are waited for."""
        for path in map(Path, paths):
            self._spools.setdefault(path, _Followed(path))

    def changed(self) -> Iterator[Run]:
        """The runs of the spools that tell something new; a spool seen for the first time may make others so."""
        more = True
        while more:  # jobs that began before one that was just seen have their spools by now: parents begin with them
            fresh = [spool for spool in self._spools.values() if spool.runs is None]
            more = False
            for spool in list(self._spools.values()):
                if spool.news(self._tell):
                    more = more or spool in fresh
                    yield from spool.runs or ()
                    spool.forget_points()

    def again(self) -> None:
        """Tell everything once more."""
        self._spools = {path: _Followed(path) for path in self._spools}

    def known(self) -> list[Run]:
        """What all spools told last; of those that are done, without their points."""
        return [run for spool in self._spools.values() for run in spool.runs or ()]

    def folders(self, experiment: str) -> set[Path]:
        """Where the spools of an experiment are."""
        return {
            spool.path.parent
            for spool in self._spools.values()
            if any(run.experiment == experiment for run in spool.runs or ())
        }

    def whole(self, but: Container[str] = ()) -> set[Path]:
        """The spools that have been told to their end: nothing more is to come, and nothing is left to read.

        Args:
            but: Identities of runs that nobody took; spools that told of them are left out.

        Returns:
            Their paths.
        """
        return {
            path
            for path, spool in self._spools.items()
            if spool.whole and not any(run.identity in but for run in spool.runs or ())
        }

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come from any spool that is there."""
        return all(spool.settled for spool in self._spools.values() if spool.path.exists())


def beginning(folder: Path, experiment: str) -> int | None:
    """When the first of an experiment's jobs began that have spools in a folder.

    Args:
        folder: The folder.
        experiment: The experiment's name.

    Returns:
        Milliseconds since 1970; None where there is none.
    """
    starts = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            lines: Sequence[bytes] = path.read_bytes().split(b"\n")
        except OSError:
            continue
        for line in reversed([line for line in lines if line.startswith(b'{"event":"identity"')]):
            try:
                identity = json.loads(line)
            except ValueError:
                continue
            if identity["experiment"] == experiment:
                starts.append(identity["started"])
                break
    return min(starts, default=None)
