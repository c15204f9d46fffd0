"""Training against L. Zhang, L. Feng, K. Chen, C. H. Lai, arXiv 2107.09437: decay factors, and the first epochs.

Reference values: the paper's update rule, and an independent program's run of one seed.
"""

import math

import numpy as np
import pytest

from sgdphases.datasets.loading import load_tasks
from sgdphases.datasets.prepare import make_ready
from sgdphases.datasets.task import Task
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.trainer import train

EPOCH = 1875  # updates of 32 out of 60000 images


def edge_shard(width, *, columns, **settings):
    """Networks width-width-10 as in the paper: hidden layer without bias, cross-entropy, kept last batches."""
    count = len(columns["learning_rate"])
    network = {
        "widths": [width, width, 10],
        "activation": "tanh",
        "bias": [False, True],
        "trained": [True, True],
        "init": ["gaussian", "glorot_uniform"],
    }
    seeds = {f"seed_{stream}": list(range(count)) for stream in ("task", "weights", "order", "noise")}
    common = {"network": network, "sampler": "reshuffle", "last_batch": "keep", "running": ["coupling"]}
    networks = {"init_scale": [0.5] * count, "loss": ["cross_entropy"] * count, **seeds, **columns}
    return Shard.from_dict({**common, "networks": networks, **settings})


def squared_coupling(shard, tasks):
    """J² of the hidden layer at every record, (records, networks)."""
    records = []
    train(shard, tasks, device="cpu", on_record=records.append)
    return np.array([record.scalars["coupling"][:, 0] ** 2 for record in records])


@pytest.mark.parametrize(
    ("learning_rate", "l2_strength", "factor"),
    [(0.02, 9e-5, 0.973361), (0.02, 5e-4, 0.860700), (0.05, 9e-5, 0.934726)],
)
def test_weight_decay_is_twice_the_papers_strength(learning_rate, l2_strength, factor):
    """Dossier 5.8: without a gradient J² shrinks by a known factor in an epoch, at momentum 1/2."""
    dark = np.zeros((64, 12), np.float32)  # black images leave the hidden layer without a gradient
    task = Task(dark, np.zeros(64, dtype=np.int64), dark, np.zeros(64, dtype=np.int64))
    columns = {"learning_rate": [learning_rate], "momentum": [0.5], "weight_decay": [2 * l2_strength]}
    settings = {"dataset": {"name": "none"}, "steps": 3 * EPOCH, "record_steps": [0, EPOCH, 2 * EPOCH, 3 * EPOCH]}
    found = squared_coupling(edge_shard(12, columns=columns, batch_size=32, **settings), {0: task})[:, 0]
    np.testing.assert_allclose(found[2:] / found[1:-1], factor, atol=2e-6)
    assert found[1] / found[0] == pytest.approx(factor, abs=1e-4)  # velocity starts at rest


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("learning_rate", "batch_size", "expected"), [(0.02, 32, [0.2777, 0.2927]), (0.08, 128, [0.2787, 0.2941])]
)
def test_first_epochs_on_fashion_mnist(tmp_path, mirror, learning_rate, batch_size, expected):
    """Dossier 5.8: J² after one and two epochs; rate over batch size decides, seeds differ by half a percent."""
    make_ready("fashion_mnist", tmp_path, [str(mirror)])
    batches = math.ceil(60000 / batch_size)
    shard = edge_shard(
        784,
        columns={"learning_rate": [learning_rate], "momentum": [0.5]},
        batch_size=batch_size,
        dtype="float32",
        dataset={"name": "fashion_mnist", "targets": "classes"},
        steps=2 * batches,
        record_steps=[0, batches, 2 * batches],
    )
    network = shard.network
    tasks = load_tasks(
        shard.dataset,
        widths=network.widths,
        trained=network.trained,
        activation=network.activation,
        seeds=[0],
        directory=tmp_path,
    )
    found = squared_coupling(shard, tasks)[:, 0]
    assert found[0] == pytest.approx(0.25, abs=0.0014)
    np.testing.assert_allclose(found[1:], expected, rtol=0.01)
