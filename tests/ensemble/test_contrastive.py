import numpy as np
import pytest
from types import SimpleNamespace

from sgdphases.ensemble.contrastive import MASS_SQUARED, ContrastiveGroup
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.streams import NOISE, generator

MASS = 4.0
KAPPA = MASS + 2 - 2 * np.cos(2 * np.pi * np.arange(10) / 10)


def machine(count=5, steps=20, batch_size=16, **settings):
    value = {
        "dataset": {"name": "scalar_field"},
        "network": {"widths": [10, 10], "activation": "linear", "bias": [False], "trained": [True]},
        "update": "contrastive_divergence",
        "batch_size": batch_size,
        "steps": steps,
        "record_steps": sorted({0, steps}),
        "networks": {
            "learning_rate": [0.1] * count,
            "init_scale": [0.1 * np.sqrt(10)] * count,
            "seed_task": [1] * count,
            "seed_weights": list(range(count)),
            "seed_order": [0] * count,
            "seed_noise": list(range(50, 50 + count)),
        },
        **settings,
    }
    kernel = MASS * np.eye(10) + 2 * np.eye(10) - np.roll(np.eye(10), 1, 0) - np.roll(np.eye(10), -1, 0)
    return Shard.from_dict(value), {1: SimpleNamespace(inputs=kernel, targets=np.linalg.inv(kernel))}


def naive(shard, task, row, steps):
    """One machine, sample by sample, with the same random numbers."""
    weights = shard.networks["init_scale"][row] * generator(row, 1001, 0).standard_normal((10, 10)) / np.sqrt(10)
    seed, batch_size = int(shard.networks["seed_noise"][row]), shard.batch_size
    batch = generator(seed, NOISE, 0).standard_normal((batch_size, 10)) / 3
    numbers = 3 * batch_size * 20
    chunk_steps = max(1, 8192 // numbers)
    for step in range(steps):
        chunk, place = divmod(step, chunk_steps)
        noise = generator(seed, NOISE, chunk + 1).standard_normal((chunk_steps, 3, batch_size, 20))[place]
        for gibbs in range(3):
            hidden = np.array([weights @ v for v in batch]) + noise[gibbs, :, :10]
            batch = np.array([weights.T @ h for h in hidden]) / MASS_SQUARED + noise[gibbs, :, 10:] / 3
        moments = np.mean([np.outer(v, v) for v in batch], axis=0)
        weights = weights + 0.1 * (weights @ task.targets - weights @ moments)
    return weights


def test_naive_machine(build):
    shard, tasks = machine(steps=25)
    _, records = build.train(shard, tasks)
    for row in range(5):
        np.testing.assert_allclose(records[-1].weights[0][row], naive(shard, tasks[1], row, 25), rtol=1e-9)


def test_it_learns_the_field(build):
    """X = W^T W has the eigenvalues mu^2 - kappa (claim 24: within a few per cent at learning_rate / B = 0.0016)."""
    shard, tasks = machine(count=40, steps=2500, batch_size=64)
    _, records = build.train(shard, tasks)
    squares = np.linalg.svd(records[-1].weights[0], compute_uv=False) ** 2
    np.testing.assert_allclose((MASS_SQUARED - squares).mean(axis=0), np.sort(KAPPA), rtol=0.05)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_bits(build, batch_size):
    shard, tasks = machine(count=12, steps=7, batch_size=batch_size)
    _, whole = build.train(shard, tasks)
    for rows in ([0], [5, 2], [11, 10, 3, 4, 0, 1, 2]):
        for threads in (1, 2):
            _, part = build.train(shard.select(rows), tasks, threads=threads)
            assert np.array_equal(part[-1].weights[0], whole[-1].weights[0][rows])


def test_going_on(build):
    shard, tasks = machine(count=3, steps=800)
    states = []
    _, whole = build.train(
        shard, tasks, on_progress=lambda p: True, on_checkpoint=lambda s: states.append((s.step, s.arrays["persistent"].copy()))
    )
    assert len({array.tobytes() for _, array in states}) == len(states)


def test_shapes_are_checked(build):
    shard, tasks = machine(network={"widths": [10, 10], "activation": "linear", "bias": [True], "trained": [True]})
    with pytest.raises(ValueError, match="one layer without bias"):
        build.train(shard, tasks)


def test_first_batch():
    shard, _ = machine(count=200)
    first = ContrastiveGroup.first_batch(shard)
    assert first.shape == (200, 16, 10)
    assert first.std() == pytest.approx(1 / 3, rel=0.02)
