"""Checkpoints: a training's state and the records so far, as files that are whole or not there.

A folder holds the two newest states (`state-<step>.npz`) and the records that had been handed over by then
(`records-<first>-<last>.npz`, numbers of records). Zip files carry checksums, so damage is seen; the older state is
used when the newer is damaged.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from sgdphases.ensemble.state import State
from sgdphases.files import writing

KEPT = 2
CHUNK_BYTES = 64 * 2**20
log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoint folder of one job, and the one chunk of records that is not yet in it.

    Args:
        folder: The job's own folder; made when first written to.
        chunk_bytes: Records are written to the folder when they hold more than this.
    """

    def __init__(self, folder: str | Path, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.folder = Path(folder)
        self.chunk_bytes = chunk_bytes
        self._first = 0
        self._waiting: list[dict[str, np.ndarray]] = []

    def add(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Take a record.

        Args:
            number: Place among the record steps; records come one after the other.
            arrays: Its arrays by variable name.
        """
        if not self._waiting:
            self._first = number
        self._waiting.append(dict(arrays))
        if sum(array.nbytes for record in self._waiting for array in record.values()) > self.chunk_bytes:
            self._flush()

    def save(self, state: State) -> None:
        """Write the waiting records, then the state, then forget what is no longer needed.

        Args:
            state: Where the training stands.
        """
        self._flush()
        with writing(self.folder / f"state-{state.step:015d}.npz") as temporary:
            arrays = {f"array_{name}": array for name, array in state.arrays.items()}
            _save(temporary, {"step": np.int64(state.step), "diverged_at": state.diverged_at, **arrays})
        for old in sorted(self.folder.glob("state-*.npz"))[:-KEPT]:
            old.unlink()

    def resume(self, record_steps: tuple[int, ...]) -> State | None:
        """The newest state that is sound and whose records are there; what is newer than it is deleted.

        Args:
            record_steps: The shard's record steps.

        Returns:
            The state to go on from, or None to begin at the beginning.
        """
        state = None
        for path in sorted(self.folder.glob("state-*.npz"), reverse=True):
            state = self._sound(path, record_steps)
            if state is not None:
                break
            log.warning("%s or its records are damaged; going on from an older state", path)
            path.unlink()
        reached = -1 if state is None else state.step
        for path in self._chunks():
            if record_steps[_numbers(path)[1]] > reached:
                path.unlink()
        return state

    def records(self) -> Iterator[dict[str, np.ndarray]]:
        """All records so far, in their order, one chunk in memory at a time."""
        for path in self._chunks():
            yield from _read_records(path)
        yield from self._waiting

    def remove(self) -> None:
        """Delete the folder's files, and the folder if nothing else is in it."""
        for path in (*self.folder.glob("state-*.npz"), *self._chunks(), *self.folder.glob(".*.npz")):
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _flush(self) -> None:
        """Write the waiting records to a chunk file."""
        if not self._waiting:
            return
        last = self._first + len(self._waiting) - 1
        with writing(self.folder / f"records-{self._first:06d}-{last:06d}.npz") as temporary:
            _save(
                temporary,
                {
                    f"{number}/{name}": array
                    for number, record in enumerate(self._waiting, start=self._first)
                    for name, array in record.items()
                },
            )
        self._waiting = []

    def _chunks(self) -> list[Path]:
        return sorted(self.folder.glob("records-*.npz"))

    def _sound(self, path: Path, record_steps: tuple[int, ...]) -> State | None:
        """The state of a file, if it and the records up to its step can be read."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name.removeprefix("array_"): file[name] for name in file.files if name.startswith("array_")}
                state = State(int(file["step"]), arrays, file["diverged_at"])
            needed = sum(step <= state.step for step in record_steps)
            found = 0
            for chunk in self._chunks():
                if record_steps[_numbers(chunk)[1]] <= state.step:
                    found += sum(1 for _ in _read_records(chunk))
        except Exception as error:  # damage can make the readers of zip and of numpy raise nearly anything
            log.warning("%s: %s", path, error)
            return None
        return state if found == needed else None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name to a file that is whole or not there.

    Args:
        path: Where.
        arrays: By name.
    """
    with writing(path) as temporary:
        _save(temporary, arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """What `write_arrays` has written.

    Args:
        path: The file.

    Returns:
        Arrays by name; None where there is no file, or a damaged one, which is deleted.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # damage can make the readers of zip and of numpy raise nearly anything
        log.warning("%s is damaged and made anew: %s", path, error)
        path.unlink()
        return None


def _numbers(path: Path) -> tuple[int, int]:
    """First and last record of a chunk file, from its name."""
    _, first, last = path.stem.split("-")
    return int(first), int(last)


def _read_records(path: Path) -> Iterator[dict[str, np.ndarray]]:
    """The records of one chunk file."""
    first, last = _numbers(path)
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        for number in range(first, last + 1):
            prefix = f"{number}/"
            record = {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}
            if not record:
                raise ValueError(f"{path} lacks record {number}")
            yield record


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
