import itertools
import logging

import numpy as np
import pytest
import torch

from sgdphases.ensemble import trainer
from sgdphases.ensemble.device import Device, choose_device, footprint, plan
from sgdphases.ensemble.sgd import GradientGroup
from sgdphases.ensemble.state import State

RUNNING = ["epoch_train_loss", "epoch_train_accuracy", "epoch_gradient_norm", "weight_work", "coupling", "test_loss"]


def copied(state):
    return State(state.step, {k: v.copy() for k, v in state.arrays.items()}, state.diverged_at.copy())


def assert_equal(found, expected):
    assert [record.step for record in found] == [record.step for record in expected]
    for mine, theirs in zip(found, expected, strict=True):
        for name in ("weights", "biases", "scalars"):
            for key, array in getattr(mine, name).items():
                assert np.array_equal(array, getattr(theirs, name)[key], equal_nan=True)
        assert np.array_equal(mine.diverged_at, theirs.diverged_at)


def rich(build, **settings):
    columns = {"momentum": [0.9, 0.0, 0.5, 0.0, 0.9], "noise_scale": [0.1, 0.0, 0.0, 0.2, 0.0]}
    settings = {"steps": 900, "record_steps": [0, 1, 5, 10, 11, 300, 555, 900], "running": RUNNING, **settings}
    shard = build.shard((4, 4), 5, columns={**columns, "learning_rate": [0.001] * 5}, **settings)
    return shard, build.tasks(shard)


def test_labels_are_the_true_steps(build):
    """Oracle 14: what is recorded under a step is the state after exactly that many updates."""
    steps = [0, 1, 2, 3, 7, 10, 20, 21, 199, 200, 201, 256, 257, 512, 700]
    shard = build.shard((2, 3), 2, steps=700, record_steps=steps)
    tasks = build.tasks(shard)
    _, records = build.train(shard, tasks)
    assert [record.step for record in records] == steps
    assert [record.number for record in records] == list(range(len(steps)))
    for record in records:
        naive = build.Naive(shard, 1, tasks[101])
        naive.run(record.step)
        np.testing.assert_allclose(record.weights[0][1], naive.weights[0], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("sampler", ["fixed_order", "reshuffle", "with_replacement"])
def test_going_on_from_any_checkpoint(build, sampler):
    shard, tasks = rich(build, sampler=sampler)
    states = []
    _, whole = build.train(shard, tasks, on_progress=lambda p: True, on_checkpoint=lambda s: states.append(copied(s)))
    assert len(states) > 8
    for state in states:
        _, rest = build.train(shard, tasks, state=state)
        assert_equal(rest, [record for record in whole if record.step > state.step])


def test_a_checkpoint_changes_nothing(build):
    shard, tasks = rich(build)
    _, whole = build.train(shard, tasks)
    _, again = build.train(shard, tasks, on_progress=lambda p: True, on_checkpoint=lambda s: None)
    assert_equal(again, whole)


def test_a_record_schedule_changes_no_weights(build):
    shard, tasks = rich(build)
    _, whole = build.train(shard, tasks)
    sparse, sparse_tasks = rich(build, record_steps=[0, 900], running=[])
    _, ends = build.train(sparse, sparse_tasks)
    assert np.array_equal(ends[-1].weights[0], whole[-1].weights[0])


def test_state_of_another_shard_is_refused(build):
    shard, tasks = rich(build)
    state, _ = build.train(shard, tasks)
    other = build.shard((4, 4), 4, steps=900)
    with pytest.raises(ValueError, match="another shard"):
        build.train(other, tasks, state=state)


def test_tasks_must_fit(build):
    shard = build.shard((4, 4), 3)
    tasks = build.tasks(shard)
    with pytest.raises(ValueError, match="no task for the seeds"):
        build.train(shard, {100: tasks[100]})
    with pytest.raises(ValueError, match="equally many samples"):
        build.train(shard, {**tasks, 101: build.task((4, 4), 1, trained=[True], samples=44)})
    with pytest.raises(ValueError, match="do not fit the width"):
        build.train(build.shard((5, 4), 3), tasks)
    with pytest.raises(ValueError, match="do not fit 2 outputs"):
        build.train(build.shard((4, 2), 3), tasks)


def test_small_memory_takes_turns(build, caplog):
    shard, tasks = rich(build)
    _, whole = build.train(shard, tasks)
    with caplog.at_level(logging.WARNING):
        _, again = build.train(shard, tasks, device=Device("cpu", memory=1))
    assert "take turns" in caplog.text
    assert_equal(again, whole)


def test_out_of_memory_halves_the_groups(build, caplog, monkeypatch):
    shard = build.shard((4, 6, 2), 9, steps=300, record_steps=[0, 100, 300], running=RUNNING)
    tasks = build.tasks(shard)
    _, whole = build.train(shard, tasks)
    load = GradientGroup.load

    def small(self, state):
        if len(self.rows) > 2:
            raise torch.cuda.OutOfMemoryError("pretended")
        load(self, state)

    monkeypatch.setattr(GradientGroup, "load", small)
    with caplog.at_level(logging.WARNING):
        _, again = build.train(shard, tasks)
    assert "out of device memory" in caplog.text
    assert_equal(again, whole)


def test_no_room_for_one_network(build, monkeypatch):
    def full(self, state):
        raise torch.cuda.OutOfMemoryError("pretended")

    shard = build.shard((4, 2), 3)
    monkeypatch.setattr(GradientGroup, "load", full)
    with pytest.raises(MemoryError, match="no room for one network"):
        build.train(shard, build.tasks(shard))


def test_progress(build):
    shard = build.shard((2, 2), 3, steps=1000, columns={"learning_rate": [0.1, 1e308, 0.1]})
    seen = []
    build.train(shard, build.tasks(shard), on_progress=seen.append)
    assert seen[-1] == trainer.Progress(step=1000, steps=1000, alive=2, networks=3)
    assert [p.step for p in seen] == sorted({p.step for p in seen})


def test_plan_covers_every_network_once(build):
    shard = build.shard((3, 8, 1), 50, columns={"momentum": ([0.0] * 3 + [0.5] * 2) * 10})
    for threads, memory in itertools.product((1, 2, 5), (None, 10 * footprint(shard))):
        groups = plan(shard, Device("cpu", memory), threads)
        assert sorted(np.concatenate(groups).tolist()) == list(range(50))
        if memory:
            assert max(map(len, groups)) <= 10


def test_devices():
    assert choose_device("cpu").word == "cpu"
    assert choose_device("auto").word == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="unknown"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch finds none"):
            choose_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees(build):
    shard, tasks = rich(build, steps=20, record_steps=[0, 20])
    _, here = build.train(shard, tasks)
    _, there = build.train(shard, tasks, device="cuda")
    np.testing.assert_allclose(there[-1].weights[0], here[-1].weights[0], rtol=1e-10, atol=1e-12)
