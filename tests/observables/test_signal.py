from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.datasets.loading import load_tasks
from sgdphases.ensemble.networks import initial_weights
from sgdphases.observables import signal
from sgdphases.observables.measurement import Measurement
from sgdphases.observables.snapshot import Part, Snapshot

FEATURES = ["overlap", "overlap_initial", "overlap_ratio", "alignment", "alignment_feature", "alignment_identity"]

# Dossier claims 1 and 2, 1/sigma = 2^-8 .. 2^3.
INITIAL_GRADIENT = [0.0105, 0.019, 0.043, 0.085, 0.14, 0.26, 0.53, 0.7, 0.85, 0.7, 0.72, 0.7]
INITIAL_OVERLAP = [0.993, 0.988, 0.975, 0.951, 0.905, 0.807, 0.645, 0.415, 0.199, 0.069, 0.019, 0.005]


def plain(initial, features, field, targets=None) -> SimpleNamespace:
    """A snapshot with given features."""
    return SimpleNamespace(initial_features=initial, features=features, field=field, targets=targets)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.integers(0, 99))
def test_order_parameters_agree_with_loops(samples: int, width: int, outputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, now = np.tanh(rng.standard_normal((2, 2, samples, width)) * 3)
    last, targets = rng.standard_normal((2, outputs, width)), rng.standard_normal((1, samples, outputs))
    field = targets @ last
    snapshot = plain(before, now, field, targets)
    found = {name: getattr(signal, name)(snapshot) for name in FEATURES}
    saturated = signal.saturated_fraction(snapshot)
    for row in range(2):
        pairs = [(n, i) for n in range(samples) for i in range(width)]
        s, h = {p: now[row][p] for p in pairs}, {p: field[row][p] for p in pairs}
        q = sum(before[row][p] * s[p] for p in pairs) / len(pairs)
        q0 = sum(before[row][p] ** 2 for p in pairs) / len(pairs)
        cosine = sum(s[p] * h[p] for p in pairs) / np.sqrt(
            sum(v**2 for v in s.values()) * sum(v**2 for v in h.values())
        )
        each = [
            now[row][:, i] @ field[row][:, i] / np.linalg.norm(now[row][:, i]) / np.linalg.norm(field[row][:, i])
            for i in range(width)
        ]
        assert found["overlap"][row] == pytest.approx(q)
        assert found["overlap_initial"][row] == pytest.approx(q0)
        assert found["overlap_ratio"][row] == pytest.approx(q / q0)
        assert found["alignment"][row] == pytest.approx(cosine)
        assert found["alignment_feature"][row] == pytest.approx(np.mean(each))
        assert saturated[row] == sum(abs(v) > 0.99 for v in s.values()) / len(pairs)
        assert abs(q) <= np.sqrt(q0 * np.mean(now[row] ** 2)) + 1e-12  # dossier oracle 12


@given(st.integers(1, 3), st.integers(0, 99))
def test_the_identity_is_the_alignment_at_zero_loss(outputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features, last = np.tanh(rng.standard_normal((2, 40, 6))), rng.standard_normal((2, outputs, 6))
    targets = features @ last.swapaxes(1, 2)
    snapshot = plain(features, features, targets @ last, targets)
    np.testing.assert_allclose(signal.alignment_identity(snapshot), signal.alignment(snapshot), rtol=1e-12)
    if outputs == 1:
        norm = np.linalg.norm(last, axis=(1, 2)) * np.linalg.norm(features, axis=(1, 2))
        np.testing.assert_allclose(signal.alignment_identity(snapshot), np.linalg.norm(targets, axis=(1, 2)) / norm)


def test_features_that_vanish_have_no_direction() -> None:
    features = np.zeros((2, 5, 3))
    features[1, :, 0] = 1.0
    snapshot = plain(features, features, np.ones((2, 5, 3)), np.ones((1, 5, 1)))
    assert np.isnan(signal.alignment(snapshot)[0])
    assert np.isnan(signal.overlap_ratio(snapshot)[0])
    assert np.isnan(signal.alignment_feature(snapshot)[0])
    assert signal.alignment_feature(snapshot)[1] == pytest.approx(1.0)


def test_losses_gradient_and_accuracy(make: SimpleNamespace) -> None:
    shard = make.shard(networks=2, loss=["cross_entropy"] * 2)
    task, weights = make.task(shard, classes=True), make.weights(shard)
    snapshot = Snapshot(Part(shard, np.arange(2), [task] * 2, weights), weights, {})
    for row in range(2):
        naive = make.naive(shard, task, weights, row)
        value, gradients = naive.evaluate(task.inputs, np.eye(2)[task.targets], "cross_entropy")
        assert signal.train_loss(snapshot)[row] == pytest.approx(value)
        norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
        assert signal.gradient_norm(snapshot)[row] == pytest.approx(norm)
        outputs = np.array([naive.trace(sample)[2] for sample in task.test_inputs])
        assert signal.test_accuracy(snapshot)[row] == np.mean(outputs.argmax(axis=1) == task.test_targets)


def test_clean_and_shuffled_labels_are_told_apart(make: SimpleNamespace) -> None:
    shard = make.shard(networks=1, loss=["cross_entropy"])
    task, weights = make.task(shard, classes=True, samples=60), make.weights(shard)
    shuffled = np.arange(60) % 3 == 0
    noisy = replace(
        task, targets=np.where(shuffled, 1 - task.targets, task.targets), clean_targets=task.targets, shuffled=shuffled
    )
    naive = make.naive(shard, task, weights, 0)
    answers = np.array([naive.trace(sample)[2].argmax() for sample in task.inputs])
    snapshot = Snapshot(Part(shard, np.arange(1), [noisy], weights), weights, {})
    right = answers == task.targets
    assert signal.clean_train_accuracy(snapshot)[0] == pytest.approx(right[~shuffled].mean())
    assert signal.corrected_train_accuracy(snapshot)[0] == pytest.approx(right[shuffled].mean())
    assert signal.shuffled_train_accuracy(snapshot)[0] == pytest.approx(1 - right[shuffled].mean())
    snapshot = Snapshot(Part(shard, np.arange(1), [task], weights), weights, {})
    assert signal.clean_train_accuracy(snapshot)[0] == pytest.approx(right.mean())
    assert np.isnan(signal.shuffled_train_accuracy(snapshot)[0])
    assert np.isnan(signal.corrected_train_accuracy(snapshot)[0])


def test_accuracy_needs_classes(make: SimpleNamespace) -> None:
    shard = make.shard(networks=1)
    weights = make.weights(shard)
    snapshot = Snapshot(Part(shard, np.arange(1), [make.task(shard)], weights), weights, {})
    with pytest.raises(ValueError, match="needs a data set with classes"):
        signal.test_accuracy(snapshot)


def test_the_published_start_is_found_again(make: SimpleNamespace, tmp_path) -> None:
    """Claims 1 and 2: median initial gradient, and mean q(0) of 20 replicas, before any training.

    The gradients of single replicas scatter by a factor of two, so that the median of 20 still moves by 20 %: 400 are
    taken for it.
    """
    scale, replica = (grid.ravel() for grid in np.meshgrid(2.0 ** np.arange(8, -4, -1), np.arange(400), indexing="ij"))
    network = {"widths": [3, 32, 16, 1], "trained": [False, True, False]}
    seeds = (1000 + replica).tolist()
    shard = make.shard(networks=4800, network=network, init_scale=scale.tolist(), seed_task=seeds, seed_weights=seeds)
    tasks = load_tasks(
        {"name": "teacher_student", "samples": 500},
        widths=network["widths"],
        trained=network["trained"],
        activation="tanh",
        seeds=seeds,
        directory=tmp_path,
    )
    unit = {seed: initial_weights(shard.network, seed, 1) for seed in set(seeds)}
    weights = {1: np.array([unit[seed] for seed in seeds]) * scale[:, None, None]}
    found = Measurement(shard, tasks, initial_weights=weights, words=["overlap", "gradient_norm"]).at(weights)
    np.testing.assert_allclose(found["overlap"].reshape(12, 400)[:, :20].mean(axis=1), INITIAL_OVERLAP, atol=0.02)
    gradient = np.median(found["gradient_norm"].reshape(12, 400), axis=1)
    np.testing.assert_allclose(gradient, INITIAL_GRADIENT, rtol=0.25)
