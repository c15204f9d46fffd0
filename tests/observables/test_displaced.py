"""Starts that are moved away from a minimum, and directions as the paper finds them."""

import numpy as np
import pytest

from sgdphases.datasets.images import digits
from sgdphases.datasets.registry import resolve
from sgdphases.ensemble.networks import initial_weights
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import Start
from sgdphases.observables import surroundings as module
from sgdphases.observables.minimum import decaying, polished
from sgdphases.observables.surroundings import displaced, landscape_of, surroundings

DECAY = 1e-2
HOW = {"random": 0, "weight_decay": DECAY, "noise": {"batches": 0, "batch_size": 32}, "seed": 2}


@pytest.fixture(scope="module")
def minimum():
    """A small network at the minimum of its loss on images of digits."""
    network = {"kind": "mlp", "widths": [64, 4, 10], "activation": "tanh", "bias": [True] * 2, "trained": [True] * 2}
    columns = {name: [1] for name in ("seed_task", "seed_weights", "seed_order", "seed_noise")}
    columns |= {"learning_rate": [0.1], "loss": ["cross_entropy"]}
    steps = {"batch_size": 1, "steps": 0, "record_steps": [0]}
    shard = Shard.from_dict({"dataset": {"name": "none"}, "network": network, "networks": columns, **steps})
    weights = {layer: initial_weights(shard.network, 1, layer) for layer in range(2)}
    start = Start("made", weights, {0: np.zeros(4), 1: np.zeros(10)})
    task = digits(resolve({"name": "digits", "samples": 100, "targets": "classes"}), seed=0)
    return polished(landscape_of(shard, task, start), DECAY, 1e-12)


@pytest.mark.parametrize("dense", [True, False])
def test_it_moves_along_leading_eigenvectors_only(minimum, monkeypatch, dense):
    monkeypatch.setattr(module, "DENSE", 2000 if dense else 100)
    way = displaced(minimum, length=0.3, modes=4, seed=7).flat - minimum.flat
    assert np.linalg.norm(way) == pytest.approx(0.3, rel=1e-12)
    directions, _ = surroundings(minimum, hessian=4, **HOW)
    parts = directions.T @ way
    np.testing.assert_allclose(directions @ parts, way, atol=1e-6)
    assert (np.abs(parts) > 1e-3).all()
    other = displaced(minimum, length=0.3, modes=4, seed=8).flat - minimum.flat
    assert abs(other @ way) < 0.3**2 * 0.999


def test_gradient_over_curvature_leads_back(minimum):
    """To second order in the length: at half of it, a quarter of what is missed."""
    missed = []
    for length in (2e-3, 1e-3):
        moved = displaced(minimum, length=length, modes=3, seed=7)
        directions, found = surroundings(moved, hessian=3, **HOW)
        back = directions @ (found["gradient"] / (found["curvature"] + DECAY))
        weights = decaying(minimum)
        # Biases do not decay, so that the last digits of the way back are those of the weights.
        missed.append(np.linalg.norm(weights * (back - (moved.flat - minimum.flat))) / length)
        assert np.linalg.norm(found["gradient"]) == pytest.approx(float(found["start_gradient_norm"]), rel=0.02)
    assert missed[0] < 0.05
    assert missed[1] < missed[0]


def test_more_modes_than_parameters_are_refused(minimum):
    with pytest.raises(ValueError, match="displaced: 400 modes are more than 310 parameters"):
        displaced(minimum, length=1.0, modes=400, seed=0)


def test_directions_of_the_paper_are_orthonormal_and_worse(minimum):
    exact, spectrum = surroundings(minimum, hessian=8, **HOW)
    directions, found = surroundings(minimum, hessian=8, method="subspace", **HOW)
    np.testing.assert_allclose(directions.T @ directions, np.eye(8), atol=1e-12)
    assert (spectrum["curvature_residual"] < 1e-9).all()
    assert found["curvature_residual"].max() > 1e-3 * spectrum["curvature"][0]
    assert abs(directions[:, 0] @ exact[:, 0]) > 0.9
    assert abs(directions[:, 7] @ exact[:, 7]) < 0.99
    np.testing.assert_array_equal(found["curvature_trace"], spectrum["curvature_trace"])
