"""A network's bits on a CPU depend on its own row alone."""

import itertools

import numpy as np
import pytest
import torch

from sgdphases.ensemble import device

COUNTS = (1, 2, 7, 12, 120)
SHAPES = [
    ((2, 2), "linear", [True]),
    ((10, 10), "tanh", [True]),
    ((3, 32, 16, 1), "tanh", [False, True, False]),
    ((3, 32, 16, 1), "erf", [False, True, False]),
    ((64, 32, 16, 10), "tanh", [True, True, True]),
]
RUNNING = [
    "epoch_train_loss",
    "epoch_train_accuracy",
    "epoch_gradient_norm",
    "weight_work",
    "coupling",
    "mean_coupling",
    "test_loss",
]


def assert_same(found, expected, rows, what=""):
    for mine, theirs in zip(found, expected, strict=True):
        for name in ("weights", "biases", "scalars"):
            for key, array in getattr(mine, name).items():
                assert np.array_equal(array, getattr(theirs, name)[key][rows], equal_nan=True), (what, name, key)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize(("widths", "activation", "trained"), SHAPES)
def test_counts_and_places(build, widths, activation, trained, batch_size):
    shard = build.shard(
        widths,
        120,
        steps=6,
        record_steps=[0, 1, 6],
        trained=trained,
        network={"activation": activation},
        batch_size=batch_size,
        running=RUNNING,
    )
    tasks = build.tasks(shard, samples=21)
    _, whole = build.train(shard, tasks)
    rng = np.random.default_rng(batch_size)
    for count in COUNTS:
        rows = rng.permutation(120)[:count]
        _, part = build.train(shard.select(rows), tasks)
        assert_same(part, whole, rows, count)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sampler", ["fixed_order", "reshuffle"])
def test_threads_and_groups(build, dtype, sampler):
    shard = build.shard(
        (64, 32, 16, 10),
        13,
        steps=12,
        dtype=dtype,
        sampler=sampler,
        network={"bias": [True, False, True]},
        columns={"momentum": [0.0, 0.5, 0.9] * 4 + [0.0], "weight_decay": [0.0] * 7 + [0.1] * 6},
        running=RUNNING,
    )
    tasks = build.tasks(shard)
    _, whole = build.train(shard, tasks)
    for threads, memory in itertools.product((1, 2, 3), (None, 1, 3 * device.footprint(shard))):
        _, again = build.train(shard, tasks, threads=threads, device=device.Device("cpu", memory))
        assert_same(again, whole, slice(None), (threads, memory))


def test_library_threads_do_not_matter(build):
    shard = build.shard((64, 32, 16, 10), 5, steps=6, batch_size=7, dtype="float32")
    tasks = build.tasks(shard)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(build.train(shard, tasks)[1])
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert_same(found[0], found[1], slice(None))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 32])
def test_large_networks_alone(build, batch_size):
    shard = build.shard(
        (196, 784, 10), 5, steps=4, dtype="float32", batch_size=batch_size, columns={"seed_task": [1] * 5}
    )
    assert device.alone(shard)
    tasks = build.tasks(shard)
    _, whole = build.train(shard, tasks)
    for rows in ([0], [3, 1], [4, 2, 0]):
        for threads in (1, 2):
            _, part = build.train(shard.select(np.array(rows)), tasks, threads=threads)
            assert_same(part, whole, rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(13, 32, 10), (4, 32, 16), (32, 64, 64), (171, 32, 32)])
def test_products_do_not_depend_on_where_their_operands_lie(dtype, shape):
    """What the package asks of MKL; without it this fails on processors of AMD."""
    rows, inner, columns = shape
    lanes = 64 // dtype.itemsize
    left, right = torch.randn(rows, inner, dtype=dtype), torch.randn(columns, inner, dtype=dtype)
    for one, other in ((left, right.T), (left[None], right.T[None])):
        products = [displaced(one, place) @ displaced(other.mT, 0).mT for place in range(lanes)]
        products += [displaced(one, 0) @ displaced(other.mT, place).mT for place in range(lanes)]
        assert all(torch.equal(product, products[0]) for product in products)


def displaced(values: torch.Tensor, place: int) -> torch.Tensor:
    """A copy that begins so many numbers behind a multiple of 64 bytes."""
    room = torch.empty(values.numel() + 128, dtype=values.dtype)
    first = (-room.data_ptr() // values.itemsize) % (64 // values.itemsize) + place
    copy = room[first : first + values.numel()].view(values.shape)
    assert copy.data_ptr() % 64 == place * values.itemsize
    return copy.copy_(values)
