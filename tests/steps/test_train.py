"""The train step: files in, files out; killed at any moment, it resumes and leaves the same records."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from sgdphases.steps import train
from sgdphases.storage.records import open_records


def shard_of(steps=3000, count=6, **settings):
    numbers = range(count)
    return {
        "dataset": {"name": "teacher_student", "samples": 40},
        "network": {
            "kind": "mlp",
            "widths": [3, 8, 6, 1],
            "activation": "tanh",
            "bias": [False, False, False],
            "trained": [False, True, False],
        },
        "update": "sgd",
        "sampler": "reshuffle",
        "batch_size": 4,
        "dtype": "float64",
        "steps": steps,
        "record_steps": sorted({0, 1, 2, 5, 10, *range(0, steps + 1, steps // 10), steps}),
        "bound": None,
        "running": ["epoch_train_loss", "epoch_gradient_norm"],
        "networks": {
            "replica": list(numbers),
            "learning_rate": [0.1 + 0.1 * n for n in numbers],
            "momentum": [0.5 * (n % 2) for n in numbers],
            "seed_task": [n % 2 for n in numbers],
            "seed_weights": list(numbers),
            "seed_order": list(numbers),
            "seed_noise": list(numbers),
        },
        **settings,
    }


def arguments(folder: Path, shard, **extra) -> list[str]:
    path = folder / "results" / "toy" / "shards" / "abc.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(shard))
    values = {
        "shard": path,
        "records": folder / "abc.nc",
        "checkpoints": folder / "checkpoints" / "abc",
        "data": folder / "data",
        "threads": 1,
        "device": "cpu",
        **extra,
    }
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def contents(path: Path) -> dict[str, tuple[str, bytes]]:
    """All variables of a file as bytes, and its attributes."""
    with netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        found = {name: (str(v.dtype), np.ascontiguousarray(v[...]).tobytes()) for name, v in file.variables.items()}
        return found | {name: ("", repr(file.getncattr(name)).encode()) for name in file.ncattrs()}


def start(folder: Path, shard, **extra) -> subprocess.Popen:
    command = [sys.executable, "-m", "sgdphases.steps.train", *arguments(folder, shard, **extra)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_records(tmp_path):
    shard = shard_of(steps=200)
    train.main(arguments(tmp_path, shard))
    with open_records(tmp_path / "abc.nc") as records:
        assert records.steps.tolist() == shard["record_steps"]
        assert records.weights(1, 0).shape == (6, 6, 8)
        assert not np.array_equal(records.weights(1, 0), records.weights(1, 1))
        loss = records.scalar("epoch_train_loss")
        assert np.isnan(loss[0]).all()
        assert (loss[-1] < loss[1]).all()
        assert records.shard["networks"]["momentum"] == shard["networks"]["momentum"]
    assert not (tmp_path / "checkpoints" / "abc").exists()


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_exactly_those(tmp_path, threads):
    code = (
        "import sys, os\nfrom sgdphases.steps import train\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
        f"train.main({arguments(tmp_path, shard_of(steps=10), threads=threads)!r})\n"
        "import torch\n"
        "print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(threads)] * 3


def test_log(tmp_path):
    with start(tmp_path, shard_of(steps=2000)) as job:
        _, log = job.communicate()
    assert job.returncode == 0, log
    assert "repeat with" in log.splitlines()[0]
    assert log.count("network-step/s") <= 3  # at most one line in ten seconds, and the last
    assert "alive=100%" in log


def test_events(tmp_path):
    from sgdphases.tracking.spool import read

    spool = tmp_path / "train.jsonl"
    train.main(arguments(tmp_path, shard_of(steps=100), spool=spool))
    events = read(spool)
    assert [event["status"] for event in events if event["event"] == "status"] == ["RUNNING", "FINISHED"]
    parameters = next(event["values"] for event in events if event["event"] == "params")
    assert parameters["shard"] == "abc"
    metrics = [event for event in events if event["event"] == "metrics"]
    assert 2 <= len(metrics) <= 40
    assert metrics[-1]["values"]["alive_share"] == 1
    assert metrics[-1]["values"]["network_steps_per_second"] > 0


def test_a_bad_shard_says_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="sampler 'sorted' is unknown"):
        train.main(arguments(tmp_path, shard_of(sampler="sorted")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_leave_a_checkpoint(tmp_path, number):
    shard = shard_of(steps=5_000_000)
    with start(tmp_path, shard, checkpoint_seconds=0.05) as job:
        _wait_for(lambda: list((tmp_path / "checkpoints" / "abc").glob("state-*.npz")), job)
        job.send_signal(number)
        _, log = job.communicate(timeout=30)
    assert job.returncode == 128 + number
    assert "the same command goes on there" in log
    states = sorted((tmp_path / "checkpoints" / "abc").glob("state-*.npz"))
    assert 1 <= len(states) <= 2
    assert not (tmp_path / "abc.nc").exists()


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    """kill -9 at random moments, again and again: the records equal those of an undisturbed job, byte by byte."""
    shard = shard_of(steps=60_000)
    begun = time.monotonic()
    train.main(arguments(tmp_path / "whole", shard))
    length = time.monotonic() - begun
    numbers, kills, resumed = random.Random(5), 0, 0
    for _ in range(40):
        job = start(tmp_path / "killed", shard, checkpoint_seconds=0.05)
        folder = tmp_path / "killed" / "checkpoints" / "abc"
        before = set(folder.glob("state-*.npz"))
        try:
            if kills < 3:  # let it get past its imports and somewhere into its steps
                _wait_for(lambda f=folder, b=before, j=job: set(f.glob("state-*.npz")) - b or j.poll() is not None, job)
                time.sleep(numbers.uniform(0, 0.25 * length))
                job.kill()
            _, log = job.communicate(timeout=120)
        finally:
            job.kill()
        resumed += "going on from step" in log
        kills += job.returncode == -signal.SIGKILL
        if job.returncode == 0:
            break
    assert kills >= 2
    assert resumed >= 2
    assert contents(tmp_path / "killed" / "abc.nc") == contents(tmp_path / "whole" / "abc.nc")
    assert not folder.exists()
    assert [path for path in (tmp_path / "killed").glob(".*") if path.is_file()] == []


def _wait_for(condition, job, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert job.poll() in (None, 0), os.strerror(job.returncode)
        time.sleep(0.02)
