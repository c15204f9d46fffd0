from types import SimpleNamespace

import numpy as np
import pytest

from sgdphases.observables import snapshot as module
from sgdphases.observables.snapshot import Part, Snapshot

FROZEN = {"widths": [3, 6, 5, 2], "trained": [False, True, False]}


def snapshot_of(make: SimpleNamespace, *, shared: bool = True, **settings):
    shard = make.shard(networks=3, **settings)
    common = make.task(shard)
    tasks = [common] * 3 if shared else [make.task(shard, seed) for seed in range(3)]
    start = make.weights(shard, seed=8)
    part = Part(shard, np.arange(3), tasks, start)
    return shard, tasks, start, Snapshot(part, make.weights(shard), {})


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("network", [FROZEN, {}, {"trained": [True, False, True]}, {"trained": [False, False, True]}])
def test_features_outputs_and_deltas_agree_with_samples_taken_one_by_one(
    make: SimpleNamespace, shared: bool, network: dict
) -> None:
    shard, tasks, start, snapshot = snapshot_of(make, shared=shared, network=network, output_scale=[1.0, 0.5, 2.0])
    for row, task in enumerate(tasks):
        naive, before = (make.naive(shard, task, weights, row) for weights in (snapshot.weights, start))
        for sample, (inputs, target) in enumerate(zip(task.test_inputs, task.test_targets, strict=True)):
            hidden, _, _ = naive.trace(inputs)
            np.testing.assert_allclose(snapshot.features[row, sample], hidden[-1], rtol=1e-11, atol=1e-14)
            np.testing.assert_allclose(snapshot.initial_features[row, sample], before.trace(inputs)[0][-1], rtol=1e-11)
            expected = naive.deltas(inputs, target, "half_squared_error")
            for layer, deltas in snapshot.deltas.items():
                np.testing.assert_allclose(deltas[row, sample], expected[layer], rtol=1e-9, atol=1e-12)
            field = naive.weights[-1].T @ target * naive.scale
            np.testing.assert_allclose(snapshot.field[row, sample], field, rtol=1e-12)


@pytest.mark.parametrize("classes", [True, False])
def test_training_and_test_sets_are_seen_whole(make: SimpleNamespace, classes: bool) -> None:
    shard = make.shard(networks=2, network=FROZEN, loss=["cross_entropy" if classes else "mean_squared_error"] * 2)
    task = make.task(shard, samples=70, test=40, classes=classes)
    snapshot = Snapshot(Part(shard, np.arange(2), [task] * 2, make.weights(shard)), make.weights(shard), {})
    numbers = (np.eye(2)[task.targets], np.eye(2)[task.test_targets]) if classes else (task.targets, task.test_targets)
    for row in range(2):
        naive = make.naive(shard, task, snapshot.weights, row)
        value, gradients = naive.evaluate(task.inputs, numbers[0], str(shard.networks["loss"][0]))
        assert snapshot.train.loss[row] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(snapshot.train.gradients[1][row], gradients[1], rtol=1e-9, atol=1e-12)
        word = "cross_entropy" if classes else "squared_error"
        assert snapshot.test_evaluation.loss[row] == pytest.approx(
            naive.evaluate(task.test_inputs, numbers[1], word)[0]
        )
    assert list(snapshot.train.gradients) == [1]
    assert snapshot.has_classes == classes


def test_the_teacher_is_a_fixed_point(make: SimpleNamespace) -> None:
    shard = make.shard(networks=1, network=FROZEN)
    blank = make.task(shard)
    naive = make.naive(shard, blank, {1: blank.teacher[1][None]}, 0)
    answers = [np.array([naive.trace(sample)[2] for sample in inputs]) for inputs in (blank.inputs, blank.test_inputs)]
    task = type(blank)(blank.inputs, answers[0], blank.test_inputs, answers[1], blank.frozen, blank.teacher)
    snapshot = Snapshot(Part(shard, np.arange(1), [task], make.weights(shard)), {1: blank.teacher[1][None]}, {})
    assert snapshot.train.loss[0] < 1e-30
    assert np.abs(snapshot.train.gradients[1]).max() < 1e-15
    np.testing.assert_array_equal(snapshot.teacher_levels[1], snapshot.levels[1])


def test_features_are_measured_on_the_first_test_samples_only(
    make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEATURE_SAMPLES", 5)
    _, tasks, _, snapshot = snapshot_of(make, network=FROZEN)
    assert snapshot.features.shape == (3, 5, 5)
    np.testing.assert_array_equal(snapshot.targets[0], tasks[0].test_targets[:5])
    assert snapshot.dynamics[1].drift.shape == (3, 5, 5)


def test_frozen_layers_come_from_the_start_where_no_task_has_them(make: SimpleNamespace) -> None:
    shard = make.shard(networks=2, network=FROZEN)
    task = make.task(shard)
    bare = type(task)(task.inputs, task.targets, task.test_inputs, task.test_targets)
    frozen = {layer: np.stack([matrix] * 2) for layer, matrix in task.frozen.items()}
    weights = make.weights(shard)
    known = Snapshot(Part(shard, np.arange(2), [task] * 2, weights), weights, {})
    own = Snapshot(Part(shard, np.arange(2), [bare] * 2, weights | frozen), weights, {})
    np.testing.assert_allclose(own.features, known.features, rtol=1e-13)
    np.testing.assert_allclose(own.train.loss, known.train.loss, rtol=1e-13)
    with pytest.raises(ValueError, match="layer 0 is frozen"):
        _ = Part(shard, np.arange(2), [bare] * 2, weights).frozen


def test_biases_enter_the_pass(make: SimpleNamespace) -> None:
    shard = make.shard(networks=1, network={"bias": [True, True, False]})
    task, weights, rng = make.task(shard), make.weights(shard), np.random.default_rng(0)
    biases = {0: rng.standard_normal((1, 6)), 1: rng.standard_normal((1, 5))}
    snapshot = Snapshot(Part(shard, np.arange(1), [task], weights), weights, biases)
    naive = make.naive(shard, task, weights, 0, biases=biases)
    expected = np.array([naive.trace(sample)[0][-1] for sample in task.test_inputs])
    np.testing.assert_allclose(snapshot.features[0], expected, rtol=1e-11)
    # The drive of the levels is W h, not the pre-activation: a bias moves no singular value by itself.
    assert snapshot.dynamics[1].drift.shape == (1, 5, 5)
