"""Divergence: known to the step, and nobody else notices."""

import numpy as np
import pytest
import torch

from sgdphases.ensemble import groups, trainer
from sgdphases.ensemble.groups import finite_rows

RATES = [0.01, 0.02, 6.0, 0.03, 40.0, 10.0]


def diverging(build, **settings):
    settings = {"steps": 700, "record_steps": [0, 1, 300, 700], "running": ["epoch_train_loss"], **settings}
    columns = {"learning_rate": RATES, "seed_task": [1] * 6, **settings.pop("columns", {})}
    shard = build.shard((3, 3), 6, network={"activation": "linear"}, columns=columns, **settings)
    return shard, build.tasks(shard)


def first_unsound(build, shard, task, row, bound):
    """Step by step in numpy: the update that is not survived, and the weights before it."""
    naive = build.Naive(shard, row, task)
    with np.errstate(all="ignore"):
        for step in range(shard.steps):
            before = naive.weights[0]
            rows = (np.arange(4) + 4 * step) % 40
            loss, gradients, _ = naive.gradient(task.inputs[rows], task.targets[rows])
            naive.weights[0] = before - shard.networks["learning_rate"][row] * gradients[0]
            if not np.isfinite(naive.weights[0]).all() or (bound is not None and not loss <= bound):
                return step + 1, before
    return -1, naive.weights[0]


@pytest.mark.parametrize("bound", [None, 1e3])
def test_divergence_is_known_to_the_step(build, bound):
    shard, tasks = diverging(build, bound=bound)
    state, records = build.train(shard, tasks)
    for row in range(6):
        step, weights = first_unsound(build, shard, tasks[1], row, bound)
        assert state.diverged_at[row] == step
        np.testing.assert_allclose(records[-1].weights[0][row], weights, rtol=1e-6)
        assert np.isnan(records[-1].scalars["epoch_train_loss"][row]) == (step > 0)
    assert sorted(state.diverged_at > 0) == [False] * 3 + [True] * 3
    assert np.isfinite(records[-1].weights[0]).all()


@pytest.mark.parametrize("bound", [None, 1e3])
@pytest.mark.parametrize("window", [1, 7, 5000])
def test_nothing_depends_on_windows_and_neighbours(build, bound, window, monkeypatch):
    shard, tasks = diverging(build, bound=bound)
    state, records = build.train(shard, tasks)
    monkeypatch.setattr(groups, "WINDOW", window)
    monkeypatch.setattr(trainer, "WINDOW", window)
    again, repeated = build.train(shard, tasks)
    assert np.array_equal(again.diverged_at, state.diverged_at)
    for row in range(6):
        alone, single = build.train(shard.select([row]), tasks)
        assert alone.diverged_at[0] == state.diverged_at[row]
        for number in range(4):
            assert np.array_equal(single[number].weights[0][0], records[number].weights[0][row])
            assert np.array_equal(repeated[number].weights[0][row], records[number].weights[0][row])


def test_all_may_diverge(build):
    shard, tasks = diverging(build, columns={"learning_rate": [1e3] * 6})
    state, records = build.train(shard, tasks)
    assert (state.diverged_at > 0).all()
    assert len(records) == 4
    assert state.step == shard.steps


def test_momentum_and_cross_entropy_diverge_too(build):
    columns = {
        "momentum": [0.9] * 6,
        "loss": ["cross_entropy"] * 6,
        "learning_rate": [0.1, 1e308, 0.1, 1e308, 0.1, 0.1],
    }
    shard, tasks = diverging(build, columns=columns, bound=50.0)
    tasks = build.tasks(shard, classes=True)
    state, _ = build.train(shard, tasks)
    assert (state.diverged_at > 0).tolist() == [False, True, False, True, False, False]


def test_finite_rows():
    tensor = torch.zeros(4, 2, 3)
    tensor[1, 0, 2], tensor[3, 1, 1] = float("nan"), float("inf")
    other = torch.zeros(4, 5)
    other[0, 0] = -float("inf")
    assert finite_rows([tensor, other]).tolist() == [False, False, True, False]
