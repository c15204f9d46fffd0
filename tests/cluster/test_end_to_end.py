"""The study's own card at reduced size, sent to a real Slurm by its profile: the same cube as on this machine."""

import re
import threading
import time

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1150)]


def test_reduced_card_by_profile(driver, lab, local_cubes, tell):
    one = driver("slurm")
    used, over = {}, threading.Event()

    def watch():
        while not over.wait(1.0):
            for job in one.jobs(state="RUNNING"):
                used[job.number] = max(used.get(job.number, 0), lab.used(job.number))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    grouped = ("--groups", "train=train", "--group-components", "train=2", "--set-resources", "train:gpu=1")
    begun = time.monotonic()
    try:
        one.run(*grouped, card="reduced")
    finally:
        over.set()
        watcher.join()
    seconds = time.monotonic() - begun
    for line in table(one, used):
        tell(line)
    tell(f"{len(lab.ended(one.folder))} Slurm jobs in {seconds:.0f} s, from the driver's start to its end")
    assert one.cube("reduced") == local_cubes("reduced")
    assert set(lab.states(one.folder).values()) == {"COMPLETED"}
    # Four shards were two jobs; each asked for one GPU and one processor, for its two shards in a row.
    trained = [row for row in lab.ended(one.folder) if lab.gpus_of(row["JobId"])]
    assert [lab.gpus_of(row["JobId"]) for row in trained] == [1, 1]
    assert all("cpu=1," in row["Tres"] for row in trained), trained
    assert {row["Name"].split("_")[0] for row in lab.ended(one.folder)} == {"sgdphases"}
    assert "Nothing to be done" in one.run(card="reduced").said()
    assert one.half_written() == []
    logs = list((one.folder / "results/logs/slurm").rglob("*.log"))
    assert len(logs) == len(lab.ended(one.folder))  # kept, one for each job


def table(driver, used):
    """The list of jobs: what each asked for, what it used, where and how long it ran."""
    rules = dict(re.findall(r"SLURM jobid (\d+) \(log: \S*?/(?:rule|group)_(\S+?)/\d+\.log", driver.said()))
    lines = [f"{'job':>4} {'rule':<34} {'node':<4} {'state':<10} {'s':>4} {'MB asked':>8} {'MB used':>7} asked"]
    for row in driver.lab.ended(driver.folder):
        number = row["JobId"]
        begun, ended = (time.mktime(time.strptime(row[key], "%Y-%m-%dT%H:%M:%S")) for key in ("StartTime", "EndTime"))
        asked = re.search(r"mem=(\d+)M", row["Tres"])
        rest = f"{row['ProcCnt']} cpu, {driver.lab.gpus_of(number)} gpu, {row['TimeLimit']} min"
        lines.append(
            f"{number:>4} {rules.get(number, '?'):<34} {row['NodeList']:<4} {row['JobState']:<10} {ended - begun:>4.0f}"
            f" {asked[1] if asked else '?':>8} {used.get(number, 0) or '-':>7} {rest}"
        )
    return lines
