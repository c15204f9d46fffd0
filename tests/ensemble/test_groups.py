"""Divergence: known to the step, and nobody else notices."""

import numpy as np
import pytest
import torch

from sgdphases.ensemble import device, groups
from sgdphases.ensemble.groups import finite_rows
from sgdphases.ensemble.sgd import GradientGroup

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
    monkeypatch.setattr(groups, "FIRST_WINDOW", min(window, groups.FIRST_WINDOW))
    monkeypatch.setattr(device, "WINDOW", window)
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


def test_windows_begin_short_and_double():
    ends = [0]
    while ends[-1] < 1200:
        ends.append(groups.window_end(ends[-1]))
    assert ends == [0, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280]
    for step in range(1200):  # by the step itself: it does not matter where one goes on
        assert groups.window_end(step) == min(end for end in ends if end > step)


@pytest.mark.parametrize(
    ("when", "most"),
    [
        ({}, 700),
        ({0: 3, 3: 5}, 700 + 3 * 8),
        ({1: 600}, 700 + 2 * 256),
        ({1: 300, 2: 300, 5: 300}, 700 + 2 * 256),
        ({0: 260, 2: 400, 4: 511}, 700 + 4 * 256),
        ({row: 300 + 7 * row for row in range(6)}, 700 + 4 * 256),
        ({1: 8, 2: 512, 4: 700}, 700 + 2 * (8 + 256 + 188)),  # in the last step of a window
    ],
)
def test_looking_costs_not_much_more_than_the_window(build, when, most, monkeypatch):
    """Networks whose weights are spoilt in one step each: known to the step, in not many more steps than there are."""
    shard = build.shard((3, 3), 6, steps=700, sampler="reshuffle", columns={"seed_task": [1] * 6})
    tasks = build.tasks(shard)
    _, whole = build.train(shard, tasks)
    plain, steps = GradientGroup.window, []

    def window(self, start, stop, *, accumulate):
        plain(self, start, stop, accumulate=accumulate)
        steps.append(stop - start)
        for place, row in enumerate(self.places):
            if start < when.get(int(row), -1) <= stop:
                self.tensors["weights_0"][place] = float("nan")

    monkeypatch.setattr(GradientGroup, "window", window)
    state, records = build.train(shard, tasks)
    assert state.diverged_at.tolist() == [when.get(row, -1) for row in range(6)]
    assert sum(steps) <= most
    alive = state.alive
    assert np.array_equal(records[-1].weights[0][alive], whole[-1].weights[0][alive])
