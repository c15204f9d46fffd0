"""Everything that happens to jobs and drivers on a cluster, on a real Slurm: each run ends with a local run's cube."""

import os
import signal

import pytest

from cluster.lab import wait

CUBE = "results/three/cube.nc"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def finished(driver, local_cubes):
    """The same cube as a local run, nothing half-written, and nobody left in the queue or at work."""
    assert driver.cube() == local_cubes("three")
    assert driver.half_written() == []
    assert driver.jobs() == []
    assert driver.steps() == {}


def resumed(driver, shard):
    """Whether a shard's training went on from a checkpoint, by the log of its last job."""
    return "going on from step" in (driver.folder / f"results/three/logs/train-{shard}.log").read_text()


def test_cancelled_requeued_and_on_a_node_that_goes_down(driver, lab, local_cubes):
    one = driver("slurm").start(CUBE, "--logger", "mlflow")
    steps = one.training(3)
    numbers = {shard: one.number_of(shard) for shard in steps}
    cancelled, requeued, stranded = steps
    lab.call("scancel", numbers[cancelled])
    lab.call("scontrol", "requeue", numbers[requeued])
    wait(lambda: one.steps().get(requeued, steps[requeued]) != steps[requeued], "the requeued job", 150)
    node = next(job.node for job in one.jobs("train") if job.number == numbers[stranded])
    lab.call("scontrol", "update", f"nodename={node}", "state=down", "reason=pulled")
    try:
        assert one.end() == 0, one.said()[-6000:]
    finally:
        lab.call("scontrol", "update", f"nodename={node}", "state=resume", check=False)  # or it is back by itself
    wait(lambda: lab.call("sinfo", "-hN", "-tidle", "-o%N").split() == lab.names, "the node's return")
    states = [(row["JobId"], row["JobState"]) for row in lab.ended(one.folder)]
    assert (numbers[cancelled], "CANCELLED") in states
    assert (numbers[requeued], "COMPLETED") in states  # under its old number: Slurm has put it back into the queue
    assert (numbers[stranded], "COMPLETED") in states
    assert all(resumed(one, shard) for shard in steps)
    wait(lambda: {one.tracked(shard)[0] for shard in steps} == {"FINISHED"}, "the writer's last words", 60)
    assert one.tracked(cancelled)[1]["attempts"] == "2"
    assert one.tracked(requeued)[1]["external"] == numbers[requeued]
    finished(one, local_cubes)


def test_over_memory(driver, lab, local_cubes):
    # A step alone holds more than that; the next attempt asks for four times as much.
    one = driver("slurm").run(CUBE, "--set-resources", "train:mem_mb=500*attempt**2")
    states = lab.states(one.folder)
    # Without cgroups Slurm itself kills such a job and calls it FAILED; with cgroups it would be OUT_OF_MEMORY.
    assert list(states.values()).count("FAILED") == 3, states
    text = "".join(path.read_text() for path in (one.folder / "results/logs/slurm").rglob("*.log"))
    assert text.count("exceeded memory limit") >= 3
    asked = {row["JobId"]: row["Tres"] for row in lab.ended(one.folder)}
    assert sorted(state for number, state in states.items() if "mem=2000M" in asked[number]) == ["COMPLETED"] * 3
    finished(one, local_cubes)


def test_warned_before_its_time_is_up(driver, lab, local_cubes):
    one = driver("slurm").start(CUBE, "--set-resources", "train:runtime=3*attempt")
    (shard,) = one.training()  # it computes nothing any more, and its time runs on
    number = one.number_of(shard)
    # The warning of the profile reaches the step itself, though Snakemake and srun lie between.
    log = one.folder / f"results/three/logs/train-{shard}.log"
    wait(lambda: "signal 15: stopped at step" in log.read_text(), "the warning and its checkpoint", 240, 0.05)
    assert one.end() == 0, one.said()[-6000:]
    assert lab.states(one.folder)[number] == "FAILED"
    assert resumed(one, shard)
    finished(one, local_cubes)


def test_over_its_time(driver, lab, local_cubes):
    unwarned = ("--default-resources", "mem_mb=2000", "runtime=30")
    one = driver("slurm").start(CUBE, *unwarned, "--set-resources", "train:runtime=attempt")
    (shard,) = one.training()  # it computes nothing any more, and its time runs on
    number = one.number_of(shard)
    assert one.end() == 0, one.said()[-6000:]
    assert lab.states(one.folder)[number] == "TIMEOUT"
    assert resumed(one, shard)
    finished(one, local_cubes)


def test_a_job_that_fails_is_tried_again_and_goes_on(driver, lab, local_cubes):
    one = driver("cluster-generic").start(CUBE)
    shard, step = next(iter(one.training().items()))
    number = one.number_of(shard)
    os.kill(step, signal.SIGKILL)
    assert one.end() == 0, one.said()[-6000:]
    assert lab.states(one.folder)[number] == "FAILED"
    assert resumed(one, shard)
    finished(one, local_cubes)


def test_a_job_that_always_fails_leaves_the_others_alone_and_says_why(driver, lab, local_cubes):
    one = driver("cluster-generic")
    one.run(CUBE, "--until", "resolve")
    shard = min(path.stem for path in (one.folder / "results/three/shards").glob("*.json"))
    records = one.folder / "results/three/records"
    records.mkdir()
    obstacle = records / f"{shard}.nc"
    obstacle.mkdir()
    (obstacle / "in the way").touch()
    grouped = ("--groups", "train=train", "--group-components", "train=1")  # of which Snakemake says less
    assert one.start(CUBE, "--retries", "1", *grouped, "--logger", "mlflow").end() != 0
    wait(lambda: one.tracked(shard)[0] == "FAILED", "the writer's last words", 60)
    tags = one.tracked(shard)[1]
    assert tags["attempts"] == "2"
    assert "directory" in tags["cause"].lower(), tags
    assert lab.states(one.folder)[tags["external"]] == "FAILED"
    assert sorted(path.stem for path in (one.folder / "results/three/measured").glob("*.nc")) == sorted(
        path.stem for path in (one.folder / "results/three/shards").glob("*.json") if path.stem != shard
    )
    assert list(lab.states(one.folder).values()).count("FAILED") == 2
    assert one.jobs() == []
    assert shard in one.said()
    (obstacle / "in the way").unlink()
    obstacle.rmdir()
    one.run(CUBE)
    finished(one, local_cubes)


def test_killed_driver(driver, lab, local_cubes):
    one = driver("slurm").start(CUBE)
    steps = one.training(3)
    orphans = {one.number_of(shard) for shard in steps}
    os.killpg(one.process.pid, signal.SIGKILL)
    one.process.wait()
    assert {job.number for job in one.jobs("train", "RUNNING")} == orphans  # they would work on, with nobody looking
    one.start("--unlock").end()
    one.run(CUBE)
    assert "3 Slurm jobs of an earlier call in this folder" in one.said()
    assert {state for number, state in lab.states(one.folder).items() if number in orphans} == {"CANCELLED"}
    assert all(resumed(one, shard) for shard in steps)
    finished(one, local_cubes)


def test_interrupted_driver(driver, lab, local_cubes):
    one = driver("cluster-generic").start(CUBE)
    steps = one.training(3)
    numbers = {one.number_of(shard) for shard in steps}
    os.kill(one.process.pid, signal.SIGINT)
    assert one.end() != 0
    wait(lambda: not one.jobs(), "an empty queue")
    assert {lab.states(one.folder)[number] for number in numbers} == {"CANCELLED"}
    one.run(CUBE)
    finished(one, local_cubes)


def test_driver_asked_to_end(driver, lab, local_cubes):
    one = driver("cluster-generic").start(CUBE)
    steps = one.training(3)
    numbers = {one.number_of(shard) for shard in steps}
    os.kill(one.process.pid, signal.SIGTERM)
    for step in steps.values():
        os.kill(step, signal.SIGCONT)
    assert one.end() != 0  # it waits for the jobs that run, and starts no others
    assert {lab.states(one.folder)[number] for number in numbers} == {"COMPLETED"}
    assert not (one.folder / CUBE).exists()
    assert one.jobs() == []
    one.run(CUBE)
    finished(one, local_cubes)
