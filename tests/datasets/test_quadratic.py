"""Samples that make a given quadratic, and what step `start` finds around its minimum."""

import numpy as np
import pytest

from sgdphases.datasets.loading import load
from sgdphases.datasets.quadratic import quadratic, samples_of
from sgdphases.datasets.registry import depends_on_seed, resolve
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import Start
from sgdphases.observables.surroundings import landscape_of, surroundings

CURVATURE = np.array([7.0, 0.3, 2.0])
NOISE = np.array([0.2, 0.0, 1.5])


def test_the_loss_is_the_quadratic_and_its_noise_the_covariance():
    task = samples_of(CURVATURE, NOISE)
    assert task.inputs.shape == (6, 3)
    numbers = np.random.default_rng(0)

    def loss(theta):
        return 0.5 * np.mean((task.inputs @ theta - task.targets[:, 0]) ** 2)

    for theta in numbers.standard_normal((5, 3)):
        assert loss(theta) - loss(np.zeros(3)) == pytest.approx(0.5 * CURVATURE @ theta**2, rel=1e-13)
    gradients = -task.targets * task.inputs
    np.testing.assert_array_equal(gradients.mean(axis=0), np.zeros(3))
    np.testing.assert_allclose(np.cov(gradients.T, bias=True), np.diag(NOISE), rtol=1e-14, atol=1e-30)


def test_curvatures_fall_with_their_rank_and_noise_follows_them():
    card = {"name": "quadratic", "modes": 5, "curvature": 10, "curvature_power": 1.5, "noise": 0.25, "noise_power": 1.2}
    made = quadratic(resolve(card))
    expected = samples_of(10 * np.arange(1, 6) ** -1.5, 0.25 * (10 * np.arange(1, 6) ** -1.5) ** 1.2)
    np.testing.assert_array_equal(made.inputs, expected.inputs)
    np.testing.assert_array_equal(made.targets, expected.targets)
    assert not depends_on_seed(card)
    with pytest.raises(ValueError, match="60 inputs, the network's first width is 5"):
        load({"name": "quadratic"}, widths=[5, 1], trained=[True], activation="linear", seed=0, directory="nowhere")


def test_a_start_measures_it_to_the_digits():
    task = samples_of(CURVATURE, NOISE)
    columns = {name: [1] for name in ("seed_task", "seed_weights", "seed_order", "seed_noise")} | {"learning_rate": [0]}
    network = {"widths": [3, 1], "activation": "linear", "bias": [False], "trained": [True]}
    steps = {"batch_size": 1, "steps": 0, "record_steps": [0]}
    shard = Shard.from_dict({"dataset": {"name": "none"}, "network": network, "networks": columns, **steps})
    landscape = landscape_of(shard, task, Start("made", {0: np.zeros((1, 3))}))
    how = {"random": 0, "weight_decay": 1e-3, "noise": {"batches": 0}, "seed": 0}
    directions, found = surroundings(landscape, hessian=3, **how)
    order = [0, 2, 1]
    np.testing.assert_allclose(found["curvature"], CURVATURE[order], rtol=1e-13)
    np.testing.assert_allclose(found["noise_matrix"], np.diag(NOISE[order]), rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(np.abs(directions), np.eye(3)[:, order], atol=1e-13)
    assert found["curvature_trace"] == pytest.approx(CURVATURE.sum(), rel=1e-13)
    assert found["noise_trace"] == pytest.approx(NOISE.sum(), rel=1e-13)
    assert found["start_gradient_norm"] < 1e-15
