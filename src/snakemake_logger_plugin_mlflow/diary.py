"""What Snakemake says while it works, as events in a spool: microseconds each, in Snakemake's logging thread."""

import contextlib
import functools
import logging
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

from sgdphases.invocation import call_of
from sgdphases.tracking.address import shown
from sgdphases.tracking.runs import from_events
from sgdphases.tracking.spool import FAILED, FINISHED, KILLED, WORKFLOW, Spool, read
from snakemake_logger_plugin_mlflow.story import HOME

log = logging.getLogger("snakemake.logging")

URI = "SGDPHASES_TRACKING_URI"
INTERRUPTED = ("Terminating processes on user request", "Will exit after finishing currently running jobs")
SUBMITTED = re.compile(r"[Jj]ob ([\w-]+) (?:has been submitted )?with (?:SLURM jobid|external jobid) '?([\w.\-]+)'?")
EXIT = re.compile(r"non-zero exit status (\d+)")
STOPPED = re.compile(
    r"died with <Signals|non-zero exit status (?:130|137|143)\b|SLURM status is: '(?:CANCELLED|PREEMPTED|TIMEOUT)\b"
)
"""A job that a signal has ended, itself or in its shell, or that Slurm has: it has not failed, it was killed."""
HIDDEN = ("tmpdir", "mem", "mem_mib", "disk", "disk_mib")
"""Resources that Snakemake derives from others, or that say nothing about the job."""

LONGEST = 2000
CLOCKS = 60_000
"""Milliseconds that clocks of machines may differ by."""
DONE, WAITS = 0, 3
"""Exit codes of the writer: all is in the store, or something waits."""


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """A method of `Diary` whose errors cost one warning, and never the workflow."""

    @functools.wraps(method)
    def guarded(self: "Diary", *args: Any) -> None:
        try:
            method(self, *args)
        except Exception as error:
            if not self.warned:
                log.warning("MLflow misses events of this run (the workflow goes on): %s", shown(error))
            self.warned = True

    return guarded


class Diary:
    """The story of one invocation.

    It begins with the first job that is to run: an invocation with nothing to do leaves nothing behind. Jobs inherit
    its id in the variable SGDPHASES_WORKFLOW, so that what they spool themselves can be found by it.

    Args:
        settings: See `LogHandlerSettings`.
        folder: Where Snakemake was called.
    """

    def __init__(self, settings: Any, folder: Path) -> None:
        self.id = time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3)
        os.environ[WORKFLOW] = self.id
        self.settings = settings
        self.folder = folder
        self.warned = False
        self._header: dict[str, Any] = {}
        self._spool: Spool | None = None
        self._writer: subprocess.Popen[bytes] | None = None
        self._errors: list[str] = []
        self._failed = self._interrupted = False
        self._progress = (0, 0)
        self._benchmarks: dict[int, str] = {}
        self._begins: dict[int, int] = {}
        self._groups: dict[int, str] = {}
        self._members: dict[str, list[int]] = {}
        self._takers = {
            LogEvent.WORKFLOW_STARTED: self._started,
            LogEvent.RESOURCES_INFO: self._provided,
            LogEvent.RUN_INFO: self._planned,
            LogEvent.GROUP_INFO: self._grouped,
            LogEvent.JOB_INFO: self._begun,
            LogEvent.JOB_FINISHED: self._finished,
            LogEvent.JOB_ERROR: self._broken,
            LogEvent.PROGRESS: self._progressed,
            LogEvent.ERROR: self._error,
        }

    @_harmless
    def take(self, record: logging.LogRecord) -> None:
        """Write down what a record tells.

        Args:
            record: A record of Snakemake's.
        """
        event = getattr(record, "event", None)
        if event is None:
            self._said(record)
        elif event in self._takers:
            self._takers[event](record)

    @_harmless
    def close(self) -> None:
        """Write down how the invocation ended, and wait a moment for the writer; harmless when called again."""
        spool, self._spool = self._spool, None
        if spool is None:
            return
        kind = sys.exc_info()[0]
        done, total = self._progress
        if self._interrupted or (kind is not None and issubclass(kind, KeyboardInterrupt)):
            spool.end(KILLED, "interrupted")
        elif self._failed or kind is not None or (self._errors and done < total):
            spool.end(FAILED, (self._errors or [""])[-1][:LONGEST])
        else:
            spool.end(FINISHED)
        self._wait()

    def _wait(self) -> None:
        """Tell the writer that this was all, and give it a moment."""
        writer = self._writer
        if writer is None or writer.stdin is None:
            return
        with contextlib.suppress(OSError):
            writer.stdin.close()
        try:
            code = writer.wait(timeout=self.settings.patience)
        except subprocess.TimeoutExpired:
            log.info("MLflow: the last events arrive in the background")
            writer.returncode = DONE  # it goes on by itself; nobody needs to hear of it
            return
        if code != DONE:
            text = self._log.read_text(errors="replace").strip().splitlines()
            log.warning(
                "MLflow: %s. The events are in %s and wait for the next run with --logger mlflow",
                text[-1] if text else f"the writer ended with exit code {code}",
                self._path,
            )

    def _started(self, record: logging.LogRecord) -> None:
        """Keep who runs what, and where."""
        names = ("cmd", "snakemake_version", "host", "user", "basedir", "cwd", "snakefile_main", "configfiles")
        self._header = {name: getattr(record, name, "") for name in names}
        self._header["at"] = _time(record)

    def _provided(self, record: logging.LogRecord) -> None:
        """Keep what jobs may use, which also tells whether they run here."""
        if hasattr(record, "nodes"):
            self._header["jobs"] = record.nodes if record.nodes < sys.maxsize else "unlimited"
        elif hasattr(record, "cores"):
            self._header["cores"] = record.cores

    def _planned(self, record: logging.LogRecord) -> None:
        """Begin: so many jobs of these rules are to run."""
        stats = dict(record.stats)
        if self._spool is None:
            self._begin()
        self._write("planned", record, total=stats.pop("total", sum(stats.values())), rules=stats)

    def _begin(self) -> None:
        """Open the spool, write who, what and where, and start the writer."""
        self.folder = Path.cwd()  # after --directory
        home = self.folder / HOME
        (home / "done").mkdir(parents=True, exist_ok=True)
        self._path, self._log = home / f"{self.id}.jsonl", home / f"{self.id}.log"
        header = self._header
        version = str(header.get("snakemake_version", ""))
        spool = Spool(self._path, experiment=self.settings.experiment, rule="invocation", key=self.id, code=version)
        self._spool = spool.__enter__()
        words = sys.argv[1:]
        command = shown(shlex.join(["snakemake", *words]))
        call = call_of(words)
        executor = call.executor or ("local" if "cores" in header else "as the profile says")
        profile = ", ".join(filter(None, (*call.profiles, call.workflow_profile))) or "default"
        where = {"executor": executor} | {name: header[name] for name in ("cores", "jobs") if name in header}
        spool.params({"command": command, "profile": profile, **where})
        spool.tags(
            {
                "snakemake": version,
                "host": header.get("host", ""),
                "folder": self.folder,
                "spool": self._path,
                "mlflow.user": header.get("user", ""),
                "mlflow.source.name": header.get("snakefile_main") or "Snakefile",
                "mlflow.source.type": "LOCAL",
                **_commit(header.get("basedir") or self.folder),
            }
        )
        self._start_writer()

    def _start_writer(self) -> None:
        """Start the process that brings spools to MLflow.

        A process and not a thread: importing mlflow and replaying would hold the interpreter's lock while Snakemake
        schedules jobs; and it outlives a Snakemake that is killed, by the moment it takes to say so. Its input is a
        pipe that only this process holds the other end of: its end is the end of this process, however that came. It
        has a session of its own, so that a ctrl-c, meant for Snakemake and its jobs, does not end it.
        """
        uri = self.settings.uri or os.environ.get(URI) or os.environ.get("MLFLOW_TRACKING_URI") or "mlflow.db"
        words = ["--home", str(HOME), "--own", self.id, "--experiment", self.settings.experiment]
        words += ["--interval", str(self.settings.interval)]
        words += ["--artifacts", self.settings.artifacts] if self.settings.artifacts else []
        words += ["--spools", *shlex.split(self.settings.spools)] if self.settings.spools else []
        with self._log.open("wb") as output:
            self._writer = subprocess.Popen(
                [sys.executable, "-m", "snakemake_logger_plugin_mlflow.writer", *words],
                cwd=self.folder,
                env={**os.environ, URI: uri},  # not on the command line, which everyone on this machine can read
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _grouped(self, record: logging.LogRecord) -> None:
        """Keep which jobs are submitted together; Snakemake calls the submission by the UUID of one of them."""
        numbers = [job.jobid for job in record.jobs]
        self._groups |= dict.fromkeys(numbers, str(record.group_id))
        self._members |= {job.uuid(): numbers for job in record.jobs}

    def _begun(self, record: logging.LogRecord) -> None:
        """A job begins, or is submitted, or is tried once more."""
        self._begins[record.jobid] = _time(record)
        if record.benchmark:
            self._benchmarks[record.jobid] = record.benchmark
        self._write(
            "job",
            record,
            number=record.jobid,
            rule=record.rule_name,
            wildcards=dict(record.wildcards or {}),
            threads=record.threads,
            resources=_resources(record.resources),
            reason=record.reason,
            log=list(record.log or ()),
            output=list(record.output or ())[:20],
            command=shown(str(record.shellcmd or "").strip())[:LONGEST],
            group=self._groups.get(record.jobid, ""),
        )

    def _finished(self, record: logging.LogRecord) -> None:
        """A job has done its work."""
        used = _used(self._benchmarks.get(record.job_id))
        self._write("job_end", record, number=record.job_id, status=FINISHED, used=used)

    def _broken(self, record: logging.LogRecord) -> None:
        """A job has failed; its exit code stands in the last error that quotes its command or names its rule."""
        command = shown(str(record.shellcmd or "").strip())
        names = command or f" rule {record.rule_name} "
        own = [text for text in self._errors if names in text]
        exits = EXIT.findall(own[-1]) if own else []
        cause = shown(str(record.rule_msg or (own or [""])[-1]))[-LONGEST:]
        status = KILLED if STOPPED.search(cause) else FAILED
        if not cause:  # of a group, and of a job of some executors, Snakemake says that it failed, and no more
            logs = list(getattr(record, "log", None) or ())
            since = self._begins.get(record.jobid, 0) - CLOCKS
            status, cause = _last_words(logs, since, member=record.jobid in self._groups)
        more = {str(name): str(value) for name, value in dict(record.aux or {}).items()}
        self._write(
            "job_end",
            record,
            number=record.jobid,
            status=status,
            exit=int(exits[-1]) if exits else None,
            cause=cause,
            more=more,
        )

    def _progressed(self, record: logging.LogRecord) -> None:
        """So many jobs are done, of so many."""
        self._progress = (record.done, record.total)
        self._write("progress", record, done=record.done, total=record.total)

    def _error(self, record: logging.LogRecord) -> None:
        """Keep an error: of a job, or what ends the workflow."""
        self._errors = [*self._errors[-19:], shown(record.getMessage())]
        self._failed = self._failed or record.exception == "WorkflowError"

    def _said(self, record: logging.LogRecord) -> None:
        """Plain words of Snakemake's that tell what no event tells."""
        text = record.getMessage()
        if text.startswith(INTERRUPTED):
            self._interrupted = True
        elif found := SUBMITTED.search(text):
            numbers = [int(found[1])] if found[1].isdecimal() else self._members.get(found[1], [])
            for number in numbers:
                self._write("submitted", record, number=number, external=found[2])

    def _write(self, event: str, record: logging.LogRecord, **fields: Any) -> None:
        """Write an event with its time."""
        if self._spool is not None:
            self._spool.other(event, at=_time(record), **fields)


def _time(record: logging.LogRecord) -> int:
    """When a record was made (milliseconds since 1970)."""
    return int(record.created * 1000)


def _last_words(logs: list[str], since: int, *, member: bool) -> tuple[str, str]:
    """How a job has ended by its own account: status and cause, from the first of its logs that is a spool.

    Args:
        logs: Its logs.
        since: When it may have been submitted (milliseconds since 1970): what is older is of an earlier attempt.
        member: Whether it is one of a group, which fails as a whole though some of its jobs end well.

    Returns:
        FAILED, where no log tells more.
    """
    recent = [path for path in logs if _changed(path) >= since]
    if member and logs and not recent:
        return KILLED, "its group ended before it began"
    for path in recent:
        if not path.endswith(".jsonl"):
            continue
        with contextlib.suppress(OSError, IndexError):  # gone meanwhile, or empty
            run = from_events(read(path))[-1]
            if run.status == FINISHED and not member:
                return FAILED, "its step had ended well"
            return run.status, run.tags.get("cause", "")
    return FAILED, "failed"


def _changed(path: str) -> int:
    """When a file was last written to (milliseconds since 1970); 0 where it is not there."""
    try:
        return os.stat(path).st_mtime_ns // 1_000_000
    except OSError:
        return 0


def _resources(resources: Any) -> dict[str, Any]:
    """What a job asks for, in the order of its rule, without what Snakemake adds."""
    return {
        str(name): value if isinstance(value, int | float) else shown(value)
        for name, value in resources.items()
        if not name.startswith("_") and name not in HIDDEN
    }


def _used(benchmark: str | None) -> dict[str, float]:
    """What a job has used, as its benchmark file tells."""
    try:
        head, *_, last = Path(benchmark or "").read_text().splitlines()
    except (OSError, ValueError):
        return {}
    values = dict(zip(head.split("\t"), last.split("\t"), strict=False))
    found = {}
    for word, name in {"max_rss": "memory_mb", "cpu_time": "cpu_seconds"}.items():
        with contextlib.suppress(KeyError, ValueError):
            found[name] = float(values[word])
    return found


def _commit(folder: str | Path) -> dict[str, str]:
    """The commit of the Snakefile's folder, where it is in a git repository."""
    try:
        asked = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": done.stdout.strip()}
