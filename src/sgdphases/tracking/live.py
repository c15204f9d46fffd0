"""A tracking store kept open while jobs run: what is new is written at once, and what is written is not looked up."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from filelock import Timeout

from sgdphases.tracking import limits, store
from sgdphases.tracking.address import absolute, one_writer, shown
from sgdphases.tracking.refusals import take
from sgdphases.tracking.runs import KINDS, Run


class Live:
    """A store that is written to again and again while jobs run.

    It remembers what it has written and looks up only what is new to it, so that a growing spool costs its new points;
    it keeps other writers out for seconds only, and leaves to `write` what only a whole experiment tells: of the run of
    an experiment it writes that it exists and its status.

    Args:
        uri: See `address.absolute`.
        artifact_root: See `prepare`.
        project: Folder that artifact paths are relative to.

    Attributes:
        trouble: Why the store did not take what it was given last; empty where it did.
        refused: Identity to reason of runs that the store will not take as they are.
    """

    def __init__(self, uri: str, *, artifact_root: str | Path | None = None, project: str | Path = ".") -> None:
        self.uri = absolute(uri)
        self.artifact_root = artifact_root
        self.project = Path(project)
        self.trouble = ""
        self.refused: dict[str, str] = {}
        self._experiments: dict[str, store.Experiment] = {}
        self._file: int | None = None

    def write(
        self,
        waiting: dict[str, Run],
        *,
        seconds: float,
        offers: Mapping[str, Mapping[str, str]] | None = None,
    ) -> bool:
        """Write runs, parents before their children, until all are written or the time is up.

        Args:
            waiting: Identity to run; what is written is taken out.
            seconds: How long others may be kept out; at least one run is written.
            offers: Experiment to saved views to offer, where it has none of their names.

        Returns:
            Whether the store took what it was given; if not, `trouble` says why, and all waits for another call.
        """
        until = time.monotonic() + seconds
        try:
            with one_writer(self.uri), limits.quiet():
                self._open({run.experiment for run in waiting.values()} | set(offers or {}))
                for identity, run in sorted(waiting.items(), key=lambda item: KINDS.index(item[1].kind)):
                    if words := take(self._experiments[run.experiment], run):
                        self.refused[identity] = words
                    else:
                        self.refused.pop(identity, None)
                    del waiting[identity]
                    if time.monotonic() > until:
                        break
                for name, found in (offers or {}).items():
                    self._experiments[name].offer(found, again=False)
        except Exception as error:  # MLflow lets errors of its database and network libraries through as they are
            self._experiments.clear()
            self.trouble = "another writer uses it" if isinstance(error, Timeout) else shown(error)
            return False
        self.trouble = ""
        return True

    def lost(self) -> bool:
        """Whether the store's file is no longer the one that was written to; all is to be told once more then."""
        return self._file is not None and self._file != self._now()

    def holds(self, run: Run) -> bool:
        """Whether the store has a run of this identity; a store that is down raises what MLflow raises."""
        with one_writer(self.uri), limits.quiet():
            self._open({run.experiment})
            return self._experiments[run.experiment].holds(run.identity)

    def running(self, experiment: str, tags: Mapping[str, str]) -> list[dict[str, str]]:
        """Tags of an experiment's runs that bear some tags and that the store believes to be running.

        Args:
            experiment: Its name.
            tags: What they bear.

        Returns:
            Their tags, with `run_id`; a store that is down raises what MLflow and its libraries raise.
        """
        with one_writer(self.uri), limits.quiet():
            self._open({experiment})
            found = list(self._experiments[experiment].search("attributes.status = 'RUNNING'"))
        # Compared here: MLflow's filters cannot quote every folder's name.
        own = [run for run in found if tags.items() <= run.data.tags.items()]
        return [{**run.data.tags, "run_id": run.info.run_id} for run in own]

    def kill(self, experiment: str, run_ids: Iterable[str], *, cause: str) -> None:
        """Mark runs as killed, now, of which nobody can tell any more; a store that is down raises as in `running`."""
        with one_writer(self.uri), limits.quiet():
            self._open({experiment})
            self._experiments[experiment].kill(run_ids, time.time_ns() // 1_000_000, cause)

    def _open(self, names: Iterable[str]) -> None:
        """Make experiments ready that are new here; forget all where someone has put another file in place."""
        if self.lost():
            self._experiments.clear()
        new = [name for name in names if name not in self._experiments]
        if new:
            self._experiments |= store.opened(self.uri, self.artifact_root, new, self.project, live=True)
            self._file = self._now()

    def _now(self) -> int | None:
        """The number of the file that an SQLite store is in; 0 where it is gone, None where the store is no file."""
        file = Path(self.uri.removeprefix("sqlite:///"))
        if not self.uri.startswith("sqlite:"):
            return None
        return file.stat().st_ino if file.exists() else 0
