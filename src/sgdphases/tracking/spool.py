"""What a step writes down while it works: one line of JSON per event, in a file of its own, in microseconds.

A spool is a log file. A step appends to it and never waits for a server; one writer (`sgdphases.tracking.store`)
replays spools into the tracking store later, as often as it likes, because an event's identity and time are fixed when
it is written:

- the first line of an attempt names the run (experiment, rule, key, code) and its start; a job that was killed and
  resumes keeps that start, a job that had finished and runs once more begins the run's next `generation`;
- a metric happens at the run's start plus one millisecond per step, whenever it is written or replayed;
- an attempt that a workflow has started names that workflow's invocation, as the variable SGDPHASES_WORKFLOW says it;
- every line carries its own checksum, so the line a kill tore, or a disk damaged, is left out and the others count.

Nothing here raises into the job: where the disk is full or the folder forbidden, one warning is logged.
"""

import contextlib
import fcntl
import functools
import json
import logging
import os
import signal
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from sgdphases.files import locks_reach

log = logging.getLogger(__name__)

FORMAT = 1
RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
SIGNALS = (signal.SIGTERM, signal.SIGINT)
WORKFLOW = "SGDPHASES_WORKFLOW"
"""The variable by which jobs inherit the id of the invocation that has started them."""

Event = dict[str, Any]


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """A method of `Spool` whose errors become one warning instead of the job's."""

    @functools.wraps(method)
    def guarded(self: "Spool", *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self._warn(error)

    return guarded


class Spool:
    """The diary of one job.

    `with Spool(path, experiment="dyson_quick", rule="train", key=digest) as spool: spool.metrics({...}, step=3)`

    Entering writes who runs and that it runs; leaving writes how it ended: FINISHED, FAILED (an exception), KILLED
    (SIGTERM or SIGINT, whose earlier handlers still get their turn). A job that ends without a word (kill -9) leaves
    RUNNING as the last status.

    Args:
        path: The spool file, created with its folder and appended to; None writes nothing (a silent spool).
        experiment: The experiment's name.
        rule: The rule, which is also the run's name: train, measure, ...
        key: What tells this job from the others of its rule, e.g. the shard's digest.
        code: Fingerprint of the code the step can reach.
        project: Folder that artifact paths are relative to; None is the working directory.
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        experiment: str,
        rule: str,
        key: str,
        code: str = "",
        project: str | Path | None = None,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.project = Path.cwd() if project is None else Path(project)
        self.identity = {"experiment": experiment, "rule": rule, "key": key, "code": code}
        self._file: int | None = None
        self._process = os.getpid()
        self._torn = False
        self._warned = False
        self._signalled = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Open the file, write the identity and RUNNING, and listen for signals."""
        if self.path is None:
            return self
        self._open(self.path)
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write how the job ended, sync and close; the exception goes on its way."""
        self.end(self._end(kind, error), None if error is None else f"{type(error).__name__}: {error}"[:500])

    def end(self, status: str, cause: str | None = None) -> None:
        """Write how the job ended, sync and close; what is written afterwards is not kept.

        Args:
            status: FINISHED, FAILED or KILLED.
            cause: Why, in words.
        """
        self._silence()
        if self._file is None:
            return
        self._status(status, cause)
        try:
            os.fsync(self._file)
            os.close(self._file)
        except OSError as failure:
            self._warn(failure)
        self._file = None

    @_harmless
    def params(self, values: Mapping[str, Any]) -> None:
        """Write down hyperparameters and settings: name to value; the first value of a name stands in the store."""
        self._write("params", values={str(name): _plain(value) for name, value in values.items()})

    @_harmless
    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Write down numbers at one training step: name to value.

        Args:
            values: Scalars (anything that `float` takes); a name that `float` refuses is left out, with a warning.
            step: The training step they belong to; it also fixes their time.
        """
        numbers: dict[str, float] = {}
        for name, value in values.items():
            try:
                numbers[str(name)] = float(value)
            except (TypeError, ValueError, OverflowError) as error:
                self._warn(error)
        self._write("metrics", step=int(step), values=numbers)

    @_harmless
    def artifact(self, path: str | Path, folder: str = "") -> None:
        """Write down that a file belongs to this run; it is read when the spool is replayed.

        Args:
            path: The file.
            folder: Folder inside the run's artifacts.
        """
        full = Path(os.path.abspath(path))
        inside = full.is_relative_to(os.path.abspath(self.project))
        self._write("artifact", path=os.path.relpath(full, self.project) if inside else str(full), folder=folder)

    @_harmless
    def dataset(self, name: str, digest: str, source: str) -> None:
        """Write down the data used: name, digest of the content (the store keeps 36 characters), where it is from."""
        self._write("dataset", name=name, digest=str(digest), source=str(source))

    @_harmless
    def tags(self, values: Mapping[str, Any]) -> None:
        """Write down words about the run: name to value; a later value replaces an earlier one."""
        self._write("tags", values={str(name): str(value) for name, value in values.items()})

    @_harmless
    def other(self, event: str, **fields: Any) -> None:
        """Write down an event of another kind, for a reader that knows it; the others pass over it."""
        self._write(event, **{name: _plain(value) for name, value in fields.items()})

    @_harmless
    def note(self, markdown: str) -> None:
        """Write down the run's description in Markdown; a later one replaces an earlier one."""
        self._write("note", text=str(markdown))

    @_harmless
    def _open(self, path: Path) -> None:
        """Open for appending and write the lines that begin an attempt."""
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.is_file()  # not a device, which may have no end
        earlier = read(path) if there else []
        self._torn = there and not _ends_whole(path)
        # To be read, too: NFSv4 gives a shared lock only to those who may read.
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks
            _hold(self._file)
        started_by = {"workflow": os.environ[WORKFLOW]} if os.environ.get(WORKFLOW) else {}
        self._write("identity", format=FORMAT, **self.identity, **_attempt(earlier, self.identity), **started_by)
        self._status(RUNNING)

    def _status(self, status: str, cause: str | None = None) -> None:
        """Write a change of status with its time."""
        self._write("status", status=status, at=_now(), **({} if cause is None else {"cause": cause}))

    def _end(self, kind: type[BaseException] | None, error: BaseException | None) -> str:
        """The status that an exit with this exception means."""
        if kind is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            return FINISHED
        # A signal that came before this spool listened is known by the exit status alone.
        asked = isinstance(error, SystemExit) and error.code in [128 + number for number in SIGNALS]
        return KILLED if asked or self._signalled or issubclass(kind, KeyboardInterrupt) else FAILED

    @_harmless
    def _write(self, event: str, **fields: Any) -> None:
        """Append one event as one line, in one system call."""
        if self._file is None:
            return
        line = _line({"event": event, **fields})
        if self._torn:  # end the torn line first, so that only that one is lost
            line = b"\n" + line
        self._torn = True
        written = os.write(self._file, line)
        if written < len(line):
            raise OSError(f"only {written} of {len(line)} bytes were written")
        self._torn = False

    def _warn(self, error: Exception) -> None:
        """Say once that this spool is not complete; the job goes on."""
        if not self._warned:
            log.warning("Tracking of %s misses events (the job goes on): %s", self.path, error)
        self._warned = True

    def _listen(self) -> None:
        """Take SIGTERM and SIGINT, keeping the earlier handlers; only the main thread can."""
        for number in SIGNALS:
            try:
                earlier = signal.getsignal(number)
                if earlier is None or earlier is signal.SIG_IGN:
                    continue
                signal.signal(number, self._on_signal)
                self._previous[number] = earlier
            except ValueError:
                return

    def _silence(self) -> None:
        """Give SIGTERM and SIGINT back to the handlers found on entry, unless someone took them since."""
        for number, earlier in self._previous.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, earlier)
        self._previous = {}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Write KILLED, then let the earlier handler do what it does (by default: end the process)."""
        earlier = self._previous.get(number, signal.SIG_DFL)
        if os.getpid() == self._process:  # a forked child shares the file, not the story
            self._signalled = True
            self._status(KILLED, signal.Signals(number).name)
        if callable(earlier):
            earlier(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def read(path: str | Path) -> list[Event]:
    """Read a spool.

    Args:
        path: The spool file; it may still be written to.

    Returns:
        The events in order. A torn or damaged line is left out; if it is not the last one the log says so.
    """
    lines = Path(path).read_bytes().split(b"\n")
    return _events(lines, f"{path}", last=len(lines))


def read_on(path: str | Path, place: int) -> tuple[list[Event], int]:
    """Read what was appended to a spool since it was read last.

    Args:
        path: The spool file; it may still be written to.
        place: Where that reading ended; 0 for the beginning.

    Returns:
        The new events, and where this reading ended: behind the last whole line.
    """
    with Path(path).open("rb") as stream:
        stream.seek(place)
        text = stream.read()
    whole = text.rfind(b"\n") + 1
    return _events(text[:whole].split(b"\n"), f"{path} after byte {place}"), place + whole


def _events(lines: Sequence[bytes], source: str, last: int | None = None) -> list[Event]:
    """The events of lines; the log names damaged ones, but not the last one, which may still be written."""
    events = []
    for number, line in enumerate(lines, start=1):
        event = _parse(line)
        if event is not None:
            events.append(event)
        elif line and number != last:
            log.warning("Line %d of %s is torn or damaged and is left out", number, source)
    return events


def _hold(file: int) -> None:
    """Take the shared lock that `alive` looks for; a reader that looks right now is waited for, but not for long."""
    for _ in range(20):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        time.sleep(0.001)


def alive(path: str | Path) -> bool:
    """Whether a process still has a spool open for writing.

    A writer holds a shared lock, which the system takes back when the process ends, however it ends. Where the file
    system knows no locks, or none that reach other machines, and on NFSv4 for a spool that may only be read, one that
    was written to within the last hour counts as alive.

    Args:
        path: The spool file.

    Returns:
        True while a writer lives.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # NFSv4 gives an exclusive lock only to those who may write
    except OSError:  # a colleague's spool, or a disk that is read only
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    recent = time.time() - os.fstat(file).st_mtime < 3600
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return recent
    finally:
        os.close(file)
    return recent and not locks_reach(path)


def _attempt(earlier: list[Event], identity: Mapping[str, str]) -> dict[str, int]:
    """The start (ms since 1970), generation and attempt of a job whose spool already holds `earlier` events."""
    last: Event | None = None
    finished = False
    for event in earlier:
        if event["event"] == "identity":
            last, finished = event, False
        elif event["event"] == "status":
            finished = event["status"] == FINISHED
    if last is None:
        return {"started": _now(), "generation": 1, "attempt": 1}
    if finished or any(last[name] != value for name, value in identity.items()):
        return {"started": _now(), "generation": last["generation"] + 1, "attempt": 1}
    return {"started": last["started"], "generation": last["generation"], "attempt": last["attempt"] + 1}


def _line(event: Event) -> bytes:
    """One event as a line of JSON whose last field is the CRC-32 of what stands before it."""
    text = json.dumps(event, separators=(",", ":"))[:-1].encode()
    return text + b',"crc":%d}\n' % zlib.crc32(text)


def _parse(line: bytes) -> Event | None:
    """The event of a line, or None where the line is not whole."""
    text, mark, crc = line.rpartition(b',"crc":')
    if not mark or crc != b"%d}" % zlib.crc32(text):
        return None
    return json.loads(text + b"}")


def _ends_whole(path: Path) -> bool:
    """Whether a file is empty or ends with a line end."""
    with path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return True
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: NumPy scalars and arrays become Python's own, the rest its text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return str(value)


def _now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
