"""The loss over a plane through a start."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sgdphases.datasets.images import digits
from sgdphases.datasets.registry import resolve
from sgdphases.ensemble.networks import initial_weights
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import Start
from sgdphases.observables.minimum import decaying, polished, value_and_gradient
from sgdphases.observables.plane import over_plane
from sgdphases.observables.surroundings import landscape_of, surroundings

DECAY = 1e-2
PLANE = {"modes": [0, 3], "extent": 0.02, "points": 7, "temperature": None}


@pytest.fixture(scope="module")
def minimum():
    """A small network at its minimum: what it learns, its loss, directions, and what is measured along them."""
    task = digits(resolve({"name": "digits", "samples": 100, "targets": "classes"}), seed=0)
    columns = {name: [1] for name in ("seed_task", "seed_weights", "seed_order", "seed_noise")}
    columns |= {"learning_rate": [0.1], "loss": ["cross_entropy"], "output_scale": [1.0]}
    layers = {"bias": [True, True], "trained": [True, True]}
    network = {"kind": "mlp", "widths": [64, 4, 10], "activation": "tanh"} | layers
    steps = {"batch_size": 1, "steps": 0, "record_steps": [0]}
    shard = Shard.from_dict({"dataset": {"name": "none"}, "network": network, "networks": columns, **steps})
    shape = shard.network
    weights = {layer: initial_weights(shape, 1, layer) for layer in range(2)}
    start = Start("made", weights, {layer: np.zeros(shape.shape(layer)[0]) for layer in range(2)})
    landscape = polished(landscape_of(shard, task, start), DECAY, 1e-10)
    noise = {"batches": 0, "batch_size": 32}
    found = surroundings(landscape, hessian=5, random=0, weight_decay=DECAY, noise=noise, seed=0)
    return task, landscape, *found


def test_each_point_is_the_loss_of_moved_weights(minimum):
    task, landscape, directions, found = minimum
    made = over_plane(landscape, task, directions, found, PLANE | {"extent": 1.5, "points": 3}, decay=DECAY)
    assert made["plane_first"].tolist() == made["plane_second"].tolist() == [-1.5, 0, 1.5]
    assert made["plane_modes"].tolist() == [0, 3]
    coefficients = DECAY * decaying(landscape)
    tested = replace(
        landscape,
        inputs=torch.tensor(task.test_inputs, dtype=torch.float64),
        targets=torch.eye(10, dtype=torch.float64)[torch.from_numpy(task.test_targets)],
    )
    for row, column in np.ndindex(3, 3):
        flat = landscape.flat + 1.5 * ((row - 1) * directions[:, 0] + (column - 1) * directions[:, 3])
        value, _ = value_and_gradient(landscape.moved(flat), coefficients)
        assert made["plane_loss"][row, column] == pytest.approx(value, rel=1e-12)
        value, _ = value_and_gradient(tested.moved(flat), np.zeros(len(flat)))
        assert made["plane_test_loss"][row, column] == pytest.approx(value, rel=1e-12)


def test_around_the_minimum_it_curves_as_the_hessian(minimum):
    task, landscape, directions, found = minimum
    made = over_plane(landscape, task, directions, found, PLANE, decay=DECAY)
    loss, side = made["plane_loss"], made["plane_first"]
    assert loss.argmin() == loss.size // 2
    step = side[1] - side[0]
    images = [row @ (DECAY * decaying(landscape) * row) for row in directions[:, [0, 3]].T]
    for axis, (mode, decay) in enumerate(zip(PLANE["modes"], images, strict=True)):
        line = np.moveaxis(loss, axis, 0)[:, 3]
        bend = (line[2] - 2 * line[3] + line[4]) / step**2
        assert bend == pytest.approx(found["curvature"][mode] + decay, rel=1e-3)


def test_the_extent_may_count_standard_deviations(minimum):
    task, landscape, directions, found = minimum
    made = over_plane(landscape, task, directions, found, PLANE | {"extent": 3, "temperature": 0.01}, decay=DECAY)
    h, noise = (found[name][[0, 3]] for name in ("curvature", "noise"))
    assert made["plane_first"][-1] == pytest.approx(3 * np.sqrt(0.01 * noise / (2 * (h + DECAY))).max())
    flat = found | {"curvature": -found["curvature"]}
    with pytest.raises(ValueError, match="no stationary state.*leave out plane.temperature"):
        over_plane(landscape, task, directions, flat, PLANE | {"temperature": 0.01}, decay=DECAY)
