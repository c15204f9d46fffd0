"""How Snakemake was called, and what an earlier call has left behind: profiles, a grid's length, jobs in a queue.

A profile says where jobs run. Snakemake ignores an unknown `--workflow-profile` without a word, and a grid meant for a
cluster then runs on the login node: here the name is refused, and a long grid on this machine is mentioned.

A killed Snakemake leaves its Slurm jobs running. Whoever starts it again in the same folder ends them first, so that
no two jobs ever write the same files; a training that is ended writes a checkpoint and goes on there.
"""

import base64
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from sgdphases.choices import one_of
from sgdphases.faults import ConfigError
from sgdphases.files import locks_reach

# The names of all jobs that our profiles submit, by the Slurm plugin and by sbatch: not those of a user's own scripts.
OURS = re.compile(r"sgdphases(_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|-rule-[A-Za-z_]+)")
OWN = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID")  # where Snakemake itself is a job
LONG_HOURS = 12.0
ANSWER_SECONDS, END_SECONDS, LOOK_SECONDS, SOON = 60.0, 180.0, 0.5, 2.0
_locks: list[FileLock] = []  # held as long as this process lives


class LeftOver(RuntimeError):
    """Jobs of an earlier call are still there and could not be ended."""


@dataclass(frozen=True)
class Call:
    """What a command line says about profiles.

    Attributes:
        profiles: Names and paths given by `--profile` or SNAKEMAKE_PROFILE.
        workflow_profile: Name or path given by `--workflow-profile`; None where it was not.
        executor: What is given by `--executor`; None where it was not.
    """

    profiles: tuple[str, ...]
    workflow_profile: str | None
    executor: str | None = None

    @property
    def named(self) -> bool:
        """Whether the user said where jobs are to run."""
        return bool(self.profiles) or self.workflow_profile is not None


def call_of(words: Sequence[str], environment: Mapping[str, str] | None = None) -> Call:
    """Read what a command line says about profiles.

    Args:
        words: The command line, without the program.
        environment: Variables; None for those of this process.

    Returns:
        What it says.
    """
    environment = os.environ if environment is None else environment
    found: dict[str, list[str]] = {"--profile": [], "--workflow-profile": [], "--executor": []}
    key = None
    for word in words:
        option, equals, value = word.partition("=")
        option = {"-e": "--executor"}.get(option, option)
        given = word
        if option.startswith("-"):
            key, given = option if option in found else None, value if equals else ""
        if key and given:
            found[key].append(given)
            key = key if key == "--profile" else None  # which alone takes several
    profiles = found["--profile"] or environment.get("SNAKEMAKE_PROFILE", "").split()
    chosen, executor = ((found[option] or [None])[-1] for option in ("--workflow-profile", "--executor"))
    return Call(tuple(name for name in profiles if name != "none"), chosen, executor)


def sent_elsewhere(call: Call | None = None) -> bool:
    """Whether jobs run on other machines: by the command line's executor, or else by that of a profile.

    Args:
        call: What the command line says; None for that of this process.

    Returns:
        Whether they do.
    """
    from snakemake.cli import get_profile_dir

    call = call_of(sys.argv[1:]) if call is None else call
    executor = call.executor
    for name in call.profiles if executor is None else ():
        found = get_profile_dir(name)
        with contextlib.suppress(OSError, yaml.YAMLError):  # Snakemake reads it, too, and says what is wrong with it
            known = yaml.safe_load(found[1].read_text(encoding="utf-8")) if found else None
            executor = known.get("executor", executor) if isinstance(known, dict) else executor
    return executor not in (None, "local", "dryrun", "touch")


def check_profile(call: Call, base: str | Path) -> None:
    """Refuse a workflow profile that Snakemake would ignore because there is none of that name.

    Args:
        call: What the command line says.
        base: Folder of the Snakefile.

    Raises:
        ConfigError: With the names that there are.
    """
    name = call.workflow_profile
    if name is None or name == "none":
        return
    homes = (Path("profiles"), Path(base) / "profiles")
    if not any(path.exists() for path in (Path(name), *(home / name for home in homes))):
        known = {path.parent.name for home in homes for path in home.glob("*/profile*.yaml")}
        try:
            one_of(name, known | {"none"}, "workflow profile")
        except ValueError as error:
            raise ConfigError(f"{error} (or a path)") from None


def notice(call: Call, *, local: bool, hours: float, cores: int) -> str:
    """What to say at the start of a long grid that nobody has sent anywhere.

    Args:
        call: What the command line says.
        local: Whether jobs run on this machine.
        hours: How long all training that is not done yet is expected to take, one job at a time.
        cores: Cores that jobs may use.

    Returns:
        One line, or nothing.
    """
    if not local or call.named or hours < LONG_HOURS:
        return ""
    return (
        f"About {hours:.0f} hours of training, and no profile was named: executor local, all of it runs on this "
        f"machine with {cores} cores. --profile profiles/slurm sends it to a cluster (see profiles/ for others); "
        "--workflow-profile default says that this machine is meant."
    )


def alone_in(folder: str | Path, *, stay: bool = True) -> bool | None:
    """Whether no other Snakemake of this project works in a folder; this one does from now on, until it ends.

    Snakemake's own lock is one of files: two calls for different results may work side by side.

    Args:
        folder: Where Snakemake runs.
        stay: Whether others are to see that this one is here.

    Returns:
        Whether it is alone; None where nobody can tell: there are no locks, or none that other machines see.
    """
    path = Path(folder) / ".snakemake" / "sgdphases.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=SOON if stay else 0)  # one who only looks holds it for a moment
    except Timeout:
        return False
    except (OSError, NotImplementedError):
        return None
    if stay:
        _locks.append(lock)
    else:
        lock.release()
    return True if locks_reach(path) else None


def left_over(folder: str | Path) -> dict[str, str]:
    """Slurm jobs of this user that another call has submitted from a folder and that have not ended.

    Args:
        folder: Where Snakemake runs.

    Returns:
        State of each by its number; nothing where there is no Slurm.

    Raises:
        LeftOver: If Slurm does not answer: nobody knows then.
    """
    if shutil.which("squeue") is None:
        return {}
    text = _answer("squeue", "--noheader", f"--user={os.getuid()}", "--format=%i|%T|%j|%Z")
    rows = [line.split("|", 3) for line in text.splitlines() if line.count("|") >= 3]
    ours = [(number, state, where) for number, state, name, where in rows if OURS.fullmatch(name)]
    here, own = Path(folder).resolve(), {os.environ.get(word) for word in OWN}
    return {
        number: state
        for number, state, where in ours
        if Path(where).resolve() == here and number.partition("_")[0] not in own
    }


def end_left_over(folder: str | Path, *, local: bool, alone: bool | None, patience: float = END_SECONDS) -> str:
    """End the Slurm jobs that a killed Snakemake has left in the queue, and wait until they are gone.

    Args:
        folder: Where Snakemake runs.
        local: Whether jobs run on this machine; then a Slurm that does not answer (a client without a cluster) is none.
        alone: Whether no other Snakemake, which may look after those jobs, works in the folder; None where nobody can
            tell (`alone_in`).
        patience: Seconds to wait for their end.

    Returns:
        One line on what was done; nothing where nothing was left.

    Raises:
        LeftOver: If they do not end, or nobody can tell whether they are still looked after.
    """
    try:
        jobs = left_over(folder)
    except LeftOver:
        if local:
            return ""
        raise
    if not jobs:
        return ""
    said = f"{len(jobs)} Slurm jobs of an earlier call in this folder ({', '.join(jobs)})"
    if alone is None:
        raise LeftOver(
            f"{said} have not ended, and locks in this folder say nothing of other machines: perhaps a Snakemake there "
            "looks after them. If there is none, scancel them, then give the same command again; nothing was started"
        )
    if not alone:
        return f"{said} are left to the other Snakemake that works here; if there is none, scancel them."
    _answer("scancel", *jobs)
    end = time.monotonic() + patience
    while left := left_over(folder).keys() & jobs.keys():
        if time.monotonic() > end:
            raise LeftOver(f"{said} were cancelled, but {', '.join(sorted(left))} did not end; nothing was started")
        time.sleep(LOOK_SECONDS)
    return f"{said} were cancelled: what they trained goes on from its last checkpoint."


def settle(path: str | Path) -> None:
    """Take back Snakemake's mark for half-written from a file that is whole.

    A kill between the end of a step and Snakemake's notice of it leaves such a mark, and the file would be made again.
    Where others take it as `ancient`, Snakemake would then leave out all that comes after it (see `left_out`).

    Args:
        path: The file, relative to the folder in which Snakemake runs.
    """
    mark = base64.urlsafe_b64encode(str(path).encode()).decode()  # as Snakemake's `persistence.file` calls it
    Path(".snakemake", "incomplete", mark).unlink(missing_ok=True)


def left_out(jobs: Iterable[Any]) -> list[str]:
    """Files that a call was to make and that are not there though it ended well.

    Snakemake (9.27) leaves out what comes after a job that has to run again though its file is there, where the file is
    `ancient` to all that read it: missing files, too. It happens after `--forcerun download`, or with another data
    directory, while a grid is not finished. The next call that does not force it makes the rest.

    Args:
        jobs: The jobs at the end of the call, Snakemake's `dag.targetjobs`.

    Returns:
        Their outputs, or their inputs where they have no output, that are missing; of files in a storage nothing is
        known here.
    """
    files = (path for job in jobs for path in (job.output or job.input) if not getattr(path, "is_storage", False))
    return sorted(str(path) for path in files if not os.path.exists(path))


def _answer(*command: str) -> str:
    """Give what one of Slurm's commands prints, or raise LeftOver."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise LeftOver(f"{command[0]} does not answer: nobody knows which jobs of an earlier call still run") from None
    if done.returncode:
        raise LeftOver(f"{command[0]} failed ({done.stderr.strip()}): nobody knows which earlier jobs still run")
    return done.stdout
