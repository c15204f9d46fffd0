"""Fixtures of the tests on a real Slurm: one cluster, drivers on it, and what a local run makes of the same cards."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cluster.lab import Lab, missing_packages, wait
from copied_project import copy_project

WANTED = "SGDPHASES_CLUSTER"
"""The variable that `make test-cluster` sets: the folder that it has put Snakemake's plugins for clusters into."""
PLUGINS = ("snakemake_executor_plugin_slurm", "snakemake_executor_plugin_cluster_generic")
CARDS = Path(__file__).with_name("cards")
# What is changed of the profiles as they stand: a short look, because jobs take seconds here and not hours.
QUICK = {
    "slurm": ("--slurm-init-seconds-before-status-checks", "4", "--latency-wait", "10"),
    "cluster-generic": (
        "--seconds-between-status-checks", "1", "--max-status-checks-per-second", "20", "--latency-wait", "10",
    ),
}  # fmt: skip


def pytest_collection_modifyitems(items):
    """These tests are run by `make test-cluster` only."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and not os.environ.get(WANTED):
            item.add_marker(pytest.mark.skip(reason=f"needs Slurm and {WANTED}: make test-cluster"))


@pytest.fixture
def tell(record_property):
    """Say a line in the summary after all tests: which jobs there were, and how long they took."""
    return lambda line: record_property("told", line)


def pytest_terminal_summary(terminalreporter):
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, line in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "call" else ():
                if name == "told":
                    terminalreporter.write_line(line)


def plugins():
    """The folder with Snakemake's plugins."""
    return Path(os.environ[WANTED]).resolve()


@pytest.fixture(scope="session")
def lab():
    """A cluster of two nodes, with a pretended GPU each."""
    packages = missing_packages()
    if packages:
        pytest.exit(f"no Slurm here: apt-get install -y --no-install-recommends {' '.join(packages)}", returncode=2)
    if not all((plugins() / name).is_dir() for name in PLUGINS):
        pytest.exit(f"{WANTED}={plugins()} has not got {' and '.join(PLUGINS)}", returncode=2)
    folder = Path(tempfile.mkdtemp(prefix="sgdphases-slurm-"))  # short: names of sockets are limited to 107 letters
    folder.chmod(0o755)
    one = Lab(folder)
    # `timeout` ends a suite that takes too long by SIGTERM: the cluster ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Driver:
    """A Snakemake that sends the jobs of a copy of the project to the cluster.

    Args:
        copy: The copy.
        lab: The cluster.
        profile: Folder in `profiles`.
    """

    def __init__(self, copy, lab, profile):
        self.copy, self.lab, self.profile, self.folder = copy, lab, profile, copy.folder.resolve()
        self.log, self.process, self.begun = self.folder / "driver.log", None, 0.0

    @property
    def environment(self):
        return {**self.lab.environment, "PYTHONPATH": f"{self.folder / 'src'}{os.pathsep}{plugins()}"}

    def command(self, *words, card="three"):
        """Snakemake's command line, with the profile as it stands but for the time between two looks."""
        config = ["--config", "cards=tests/workflow/cards", f"experiments=[{card}]"]
        profile = ["--profile", f"profiles/{self.profile}", *QUICK[self.profile]]
        return [sys.executable, "-m", "snakemake", *words, *profile, *config]

    def start(self, *words, card="three"):
        """Start Snakemake, in a process group of its own."""
        self.begun = time.monotonic()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command(*words, card=card), cwd=self.folder, env=self.environment,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return self

    def end(self, patience=800.0):
        """Wait for Snakemake's end; return its exit status."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            pytest.fail(f"Snakemake did not end within {patience:.0f} s\n{self.said()[-6000:]}")

    def run(self, *words, card="three"):
        """Run Snakemake to its end, which must be a good one."""
        assert self.start(*words, card=card).end() == 0, self.said()[-8000:]
        return self

    def said(self):
        return self.log.read_text()

    def jobs(self, rule=None, state=None):
        """Jobs of this folder in the queue."""
        return [
            job
            for job in self.lab.jobs(self.folder)
            if rule in (None, job.rule) and state in (None, job.state)
        ]  # fmt: skip

    def steps(self, rule="train"):
        """Process number of each step of a rule that runs in this folder, by the shard it works on."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes().decode().split("\0")
                here = (path / "cwd").resolve() == self.folder
            except OSError:
                continue
            if here and f"sgdphases.steps.{rule}" in words and "snakemake" not in words:
                found[Path(words[words.index("--records") + 1]).stem] = int(path.name)
        return found

    def training(self, count=1):
        """Wait until so many shards train, past their first checkpoint; return their steps by shard.

        Each is held by SIGSTOP as soon as it is that far: else the first may be done before the last has begun.
        """
        held = {}

        def found():
            folders = (self.folder / "results/three/checkpoints").glob("*/state-*.npz")
            deep = {path.parent.name.split("-")[0] for path in folders}
            for shard, step in self.steps().items():
                if shard in deep and len(held) < count and shard not in held:
                    os.kill(step, signal.SIGSTOP)
                    held[shard] = step
            return len(held) == count

        wait(found, f"{count} shards that train\n{self.said()[-2000:]}", 150, 0.05)
        return dict(sorted(held.items()))

    def number_of(self, shard):
        """Slurm's number of the job that trains a shard."""
        environment = Path(f"/proc/{self.steps()[shard]}/environ").read_bytes().decode().split("\0")
        return next(word.partition("=")[2] for word in environment if word.startswith("SLURM_JOB_ID="))

    def tracked(self, shard):
        """Status, and tags, that MLflow has of the job that trains a shard."""
        with sqlite3.connect(self.folder / "results/tracking/mlflow.db") as store:
            runs = store.execute(
                "select run_uuid, status from runs where name = ?", (f"train three {shard[:8]}",)
            ).fetchall()
            for run, status in runs:
                tags = dict(store.execute("select key, value from tags where run_uuid = ?", (run,)))
                if tags["kind"] == "task":
                    return status, tags
        return None, {}

    def cube(self, card="three"):
        return (self.folder / f"results/{card}/cube.nc").read_bytes()

    def half_written(self):
        """Files that a step has begun and left."""
        results = self.folder / "results"
        return [path for path in results.rglob(".*") if path.is_file()] + list(results.glob("*/checkpoints/*"))


@pytest.fixture
def driver(lab, tmp_path):
    """Make a driver on a fresh copy of the project, by the name of its profile; afterwards nothing of it is left."""
    drivers = []

    def make(profile):
        copy = copy_project(tmp_path / f"project{len(drivers)}")
        shutil.copy(CARDS / "three.yaml", copy.folder / "tests/workflow/cards")
        drivers.append(Driver(copy, lab, profile))
        return drivers[-1]

    yield make
    for one in drivers:
        if one.process and one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        for job in one.jobs():
            lab.call("scancel", job.number, check=False)


@pytest.fixture(scope="session")
def local_cubes(tmp_path_factory):
    """What a run on this machine makes of a card: the bytes of its cube, by the card's name."""
    copy, cubes = copy_project(tmp_path_factory.mktemp("local")), {}
    shutil.copy(CARDS / "three.yaml", copy.folder / "tests/workflow/cards")

    def made(card):
        if card not in cubes:
            target = f"results/{card}/cube.nc"
            copy.snakemake(target, config=(f"experiments=[{card}]",))
            cubes[card] = (copy.folder / target).read_bytes()
        return cubes[card]

    return made
