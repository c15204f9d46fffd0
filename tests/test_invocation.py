"""What is said about profiles at the start of a run, and what is not; by Snakemake, on the project's own rules."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from snakemake.profiles import ProfileConfigFileParser

from copied_project import copy_project
from sgdphases import invocation
from sgdphases.config import read_card
from sgdphases.faults import ConfigError
from sgdphases.invocation import (
    Call,
    LeftOver,
    alone_in,
    call_of,
    check_profile,
    end_left_over,
    left_out,
    left_over,
    notice,
    sent_elsewhere,
)
from sgdphases.shards import parts

PROJECT = Path(__file__).parents[1]
PROFILES = sorted(path.parent.name for path in PROJECT.glob("profiles/*/profile.yaml"))


@pytest.mark.parametrize(
    ("line", "profiles", "workflow_profile"),
    [
        ("", (), None),
        ("--cores 2 all", (), None),
        ("--profile profiles/slurm", ("profiles/slurm",), None),
        ("--profile=one --cores 1", ("one",), None),
        ("--profile one two --workflow-profile three", ("one", "two"), "three"),
        ("--workflow-profile=none", (), "none"),
        ("--workflow-profile slurm target", (), "slurm"),
        ("--workflow-profile one --workflow-profile two", (), "two"),
        ("--profile none", (), None),
        ("--profile profiles/slurm -n target", ("profiles/slurm",), None),
        ("-k --profile one two -c4 --logger mlflow", ("one", "two"), None),
    ],
)
def test_the_command_line_is_read(line, profiles, workflow_profile):
    assert call_of(line.split(), {}) == Call(profiles, workflow_profile)


@pytest.mark.parametrize(
    ("line", "elsewhere"),
    [
        ("", False),
        ("--cores 2 --executor local all", False),
        ("--executor=slurm", True),
        ("-e cluster-generic target", True),
        ("--profile profiles/slurm", True),
        ("--profile profiles/slurm/profile.yaml", True),
        ("--profile profiles/slurm --executor local", False),
        ("--profile profiles/default", False),
        ("--profile broken", False),
        ("--profile nowhere", False),
    ],
)
def test_who_sends_jobs_elsewhere(line, elsewhere, tmp_path, monkeypatch):
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").symlink_to(PROJECT / "profiles")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/profile.yaml").write_text("executor: [slurm\n")
    assert sent_elsewhere(call_of(line.split())) is elsewhere


@pytest.mark.parametrize("profile", ["slurm", "cluster-generic"])
def test_this_machines_limits_do_not_hold_for_jobs_elsewhere(profile, monkeypatch):
    def read(*words):
        monkeypatch.setattr(sys, "argv", ["snakemake", *words])
        with (PROJECT / "profiles/default/profile.yaml").open() as stream:
            return ProfileConfigFileParser().parse(stream)

    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    monkeypatch.setenv("SGDPHASES_DEVICES", "0:1,1:1")
    here, there = read(), read("--profile", str(PROJECT / "profiles" / profile))
    assert (here.pop("cores"), here.pop("resources")) == ("all", ["gpu=2"])
    assert there == here  # so that a group asks for one GPU, as its own profile says


def test_a_profile_may_stand_in_the_environment():
    assert call_of([], {"SNAKEMAKE_PROFILE": "mine"}) == Call(("mine",), None)
    assert call_of(["--profile", "one"], {"SNAKEMAKE_PROFILE": "mine"}) == Call(("one",), None)


@pytest.mark.parametrize("name", [None, "none", *PROFILES, "profiles/slurm", str(PROJECT / "profiles/slurm")])
def test_profiles_that_there_are_pass(name, monkeypatch):
    monkeypatch.chdir(PROJECT)
    check_profile(Call((), name), PROJECT)


def test_an_unknown_workflow_profile_is_refused_with_those_that_there_are(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # `--directory`: profiles beside the Snakefile count all the same
    check_profile(Call((), "slurm"), PROJECT)
    with pytest.raises(ConfigError, match="unknown workflow profile 'slrum' .did you mean 'slurm'") as caught:
        check_profile(Call((), "slrum"), PROJECT)
    assert all(name in str(caught.value) for name in PROFILES)


def test_only_a_long_grid_that_nobody_sent_anywhere_is_mentioned():
    nobody, said = Call((), None), {"local": True, "cores": 2}
    assert "About 30 hours of training" in notice(nobody, hours=30.2, **said)
    assert "executor local" in notice(nobody, hours=30.2, **said)
    assert notice(nobody, hours=11.9, **said) == ""
    assert notice(nobody, hours=30, local=False, cores=2) == ""
    assert notice(Call((), "default"), hours=30, **said) == ""
    assert notice(Call(("profiles/slurm",), None), hours=30, **said) == ""


def test_without_slurm_nothing_is_left_over(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert left_over(tmp_path) == {}
    assert end_left_over(tmp_path, local=False, alone=True) == ""


def test_a_slurm_that_does_not_answer_stops_a_run_on_it_and_no_other(monkeypatch, tmp_path):
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho no controller >&2\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert end_left_over(tmp_path, local=True, alone=True) == ""
    with pytest.raises(LeftOver, match="no controller"):
        end_left_over(tmp_path, local=False, alone=True)
    squeue.write_text("#!/bin/sh\nexec sleep 20\n")
    monkeypatch.setattr(invocation, "ANSWER_SECONDS", 0.2)
    with pytest.raises(LeftOver, match="does not answer"):
        end_left_over(tmp_path, local=False, alone=True)


UUID = "sgdphases_0b5c1a52-0b3c-4d0e-9a55-6f1d2a7c9e11"


@pytest.fixture
def queue(monkeypatch, tmp_path):
    """A queue that `squeue` shows and `scancel` takes jobs out of, of jobs of this folder by their names."""
    listed, programs = tmp_path / "queue", tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "squeue": f"#!/bin/sh\ncat {listed}\n",
        "scancel": f'#!/bin/sh\nfor job; do sed -i "/^$job|/d" {listed}; done\n',
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)

    def show(**names):
        listed.write_text("".join(f"{job[1:]}|RUNNING|{name}|{tmp_path}\n" for job, name in names.items()))

    show.left = lambda: [line.split("|")[0] for line in listed.read_text().splitlines()]
    return show


def test_jobs_of_a_killed_call_are_ended_and_no_others(queue, monkeypatch, tmp_path):
    queue(
        j1=UUID,
        j2="sgdphases-rule-train",
        j3="sgdphases.sh",
        j4="sgdphases-driver",
        j5="other",
        j6=UUID,
        j7="sgdphases-rule-GROUP",
    )
    monkeypatch.setenv("SLURM_JOB_ID", "6")  # Snakemake itself
    assert end_left_over(tmp_path, local=True, alone=True).startswith("3 Slurm jobs of an earlier call")
    assert queue.left() == ["3", "4", "5", "6"]
    assert end_left_over(tmp_path, local=True, alone=True) == ""


def test_jobs_are_left_to_a_snakemake_that_lives(queue, tmp_path):
    queue(j1=UUID)
    waiter = "import sys; from sgdphases.invocation import alone_in; print(alone_in(sys.argv[1]), flush=True); input()"
    (tmp_path / ".snakemake").mkdir()
    command = [sys.executable, "-c", waiter, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        alone = alone_in(tmp_path)
        assert not alone
        assert "left to the other Snakemake" in end_left_over(tmp_path, local=False, alone=alone)
        assert queue.left() == ["1"]
        other.kill()
    assert alone_in(tmp_path)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        ("RUNNING", 0, "running"),
        ("COMPLETED", 0, "success"),
        ("TIMEOUT", 0, "failed"),
        ("", 0, "failed"),
        ("slurm_load_jobs error: Invalid job id specified", 1, "failed"),
        ("slurm_load_jobs error: Socket timed out on send/recv operation", 1, "running"),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 1, "running"),
    ],
)
def test_a_queue_that_does_not_answer_has_ended_no_job(tmp_path, monkeypatch, answer, status, said):
    squeue = tmp_path / "squeue"
    squeue.write_text(
        f"#!/bin/sh\necho 'a word of warning' >&2\necho '{answer}'{' >&2' if status else ''}\nexit {status}\n"
    )
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    words = [str(PROJECT / "profiles/cluster-generic/status.sh"), "7"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == f"{said}\n"


def test_locks_of_one_machine_say_nothing_of_others(tmp_path, monkeypatch):
    (tmp_path / ".snakemake").mkdir()
    assert alone_in(tmp_path, stay=False)
    monkeypatch.setattr(invocation, "locks_reach", lambda path: False)
    assert alone_in(tmp_path, stay=False) is None


def test_nothing_is_submitted_where_nobody_can_tell_who_looks_after_jobs(queue, tmp_path):
    queue(j1=UUID)
    with pytest.raises(LeftOver, match=r"1 Slurm jobs.*scancel them, then give the same command again"):
        end_left_over(tmp_path, local=False, alone=None)
    assert queue.left() == ["1"]
    subprocess.run(["scancel", "1"], check=True)
    assert end_left_over(tmp_path, local=False, alone=None) == ""


def test_what_lies_in_a_storage_is_not_missed(tmp_path):
    class Stored(str):
        is_storage = True

    class Job(NamedTuple):
        output: list[str]
        input: list[str]

    there = tmp_path / "there"
    there.touch()
    jobs = [Job([], [str(there), Stored("s3://bucket/figure.png")]), Job(["gone"], ["nowhere"])]
    assert left_out(jobs) == ["gone"]


def test_every_setting_of_a_profile_stands_under_a_reason():
    for name in PROFILES:
        lines = (PROJECT / "profiles" / name / "profile.yaml").read_text().split("\n\n")
        for block in filter(str.strip, lines):
            assert block.lstrip().startswith(("#", "__")), f"{name}: {block}"
    assert os.access(PROJECT / "profiles/cluster-generic/status.sh", os.X_OK)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("invocation"))


def call(copy, *words, cards="tests/workflow/cards", experiment="toy", **environment):
    """Call Snakemake without --cores; return its exit status and what it printed."""
    config = ["--config", f"cards={cards}", f"experiments=[{experiment}]"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words, *config], cwd=copy.folder, text=True, timeout=300, check=False,
        env={**copy.environment, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode, done.stdout


def one_shard(cards, experiment):
    """A file that a run makes in a moment: what one shard holds."""
    name = next(iter(parts(read_card(PROJECT / cards / f"{experiment}.yaml")))).name
    return f"results/{experiment}/shards/{name}.json"


@pytest.mark.slow
def test_snakemake_refuses_an_unknown_profile_at_once(copy):
    status, text = call(copy, "--workflow-profile", "slrum", "--cores", "1")
    assert status != 0
    assert "unknown workflow profile 'slrum' (did you mean 'slurm'?)" in text
    assert not (copy.folder / "results").exists()


@pytest.mark.slow
def test_plain_snakemake_takes_this_machine_and_its_devices(copy):
    status, text = call(copy, one_shard("tests/workflow/cards", "toy"), SGDPHASES_DEVICES="0:80000,1:80000,2:80000")
    assert status == 0, text
    assert f"Provided cores: {os.cpu_count()}" in text
    assert 'gpu=Resource("gpu", 3)' in text or "gpu=3" in text
    assert "no profile was named" not in text


@pytest.mark.slow
def test_a_long_grid_started_without_a_profile_is_mentioned_and_runs(copy):
    long = {"cards": "workflow/experiments", "experiment": "dyson_full"}
    target = ("--forceall", one_shard(**long))
    status, text = call(copy, *target, **long)
    assert status == 0, text
    assert text.count("no profile was named: executor local") == 1
    status, text = call(copy, *target, "--workflow-profile", "default", **long)
    assert status == 0, text
    assert "no profile was named" not in text
