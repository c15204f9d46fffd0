"""Walks on an exact quadratic: the update, its noise, and bits that depend on a network's own row alone."""

import itertools

import numpy as np
import pytest
from scipy import stats

from sgdphases.datasets.quadratic import samples_of
from sgdphases.ensemble import device
from sgdphases.ensemble.projections import SLOTS
from sgdphases.ensemble.starting import DISPLACEMENT_WORDS, MOMENTS, Start

WORDS = list(DISPLACEMENT_WORDS)
CURVATURE = np.array([4.0, 1.5, 0.7, 0.2, 0.05])
NOISE = np.array([0.5, 0.4, 0.02, 0.1, 0.3])


def quadratic_task():
    return samples_of(CURVATURE, NOISE)


def regression_task(samples=30, seed=4):
    """Inputs that are not along the axes, and a gradient at the origin."""
    numbers = np.random.default_rng(seed)
    inputs = numbers.standard_normal((samples, 5)) @ np.diag([2, 1.5, 1, 0.7, 0.5]) @ np.linalg.qr(np.eye(5) + 0.3)[0]
    targets = inputs @ numbers.standard_normal((5, 1)) + 0.5 * numbers.standard_normal((samples, 1))
    return type(quadratic_task())(inputs, targets, inputs, targets)


def walking(build, task, count=14, *, columns=None, place=None, **settings):
    """A shard, where it starts, and its tasks; modes are eigenvectors of the Hessian."""
    own = {
        "replica": [n // 2 for n in range(count)],
        "learning_rate": ([0.05, 0.2] * count)[:count],
        "momentum": ([0.0, 0.9, 0.9, 0.0, 0.5] * count)[:count],
        "weight_decay": ([0.0, 0.0, 0.1] * count)[:count],
        "init_scale": [1.0] * count,
        "seed_task": [100] * count,
        "seed_noise": [400 + n for n in range(count)],
        **(columns or {}),
    }
    known = {"update": "quadratic", "sampler": "with_replacement", "running": WORDS, "batch_size": 8}
    known |= {"network": {"activation": "linear"}, "steps": 61, "record_steps": [0, 1, 7, 37, 50, 61]} | settings
    shard = build.shard((5, 1), count, columns=own, start={"name": "made", "modes": 5}, **known)
    matrix = task.inputs.T @ task.inputs / len(task.inputs)
    directions = np.linalg.eigh(matrix)[1][:, ::-1]
    weights = np.zeros((1, 5)) if place is None else np.asarray(place, dtype=float)[None]
    return shard, Start("made", {0: weights}, {}, directions), {100: task}


def felt(records, shard, task):
    """The noise of every update, (updates, networks, inputs), found from weights recorded after each."""
    weights = np.stack([record.weights[0][:, 0] for record in records])
    rate, momentum, decay = (shard.networks[name][:, None] for name in ("learning_rate", "momentum", "weight_decay"))
    velocity = np.concatenate([np.zeros_like(weights[:1]), np.diff(weights, axis=0) / rate])
    residual = weights @ task.inputs.T - task.targets[:, 0]
    gradient = residual @ task.inputs / len(task.inputs) + decay * weights
    return momentum * velocity[:-1] - velocity[1:] - gradient[:-1]


@pytest.mark.parametrize("task", [quadratic_task(), regression_task()], ids=["diagonal", "full"])
def test_noise_knows_nothing_of_place_rate_momentum_and_decay(build, task):
    columns = {"seed_noise": [7] * 12}
    settings = {"steps": 40, "record_steps": range(41), "columns": columns, "place": [3.0, -1.0, 2.0, 0.5, 1.0]}
    shard, start, tasks = walking(build, task, 12, **settings)
    _, records = build.train(shard, tasks, start=start)
    noise = felt(records, shard, task)
    np.testing.assert_allclose(noise, np.broadcast_to(noise[:, :1], noise.shape), atol=1e-10 * np.abs(noise).max())
    other, _, _ = walking(build, task, 12, **(settings | {"columns": {"seed_noise": [8] * 12}}))
    _, again = build.train(other, tasks, start=start)
    assert np.abs(felt(again, other, task) - noise).max() > 0.1 * np.abs(noise).max()
    # Half the batch is twice the variance of the same numbers.
    wider, _, _ = walking(build, task, 12, **settings, batch_size=4)
    _, wide = build.train(wider, tasks, start=start)
    np.testing.assert_allclose(felt(wide, wider, task), np.sqrt(2) * noise, atol=1e-10 * np.abs(noise).max())


@pytest.mark.parametrize("task", [quadratic_task(), regression_task()], ids=["diagonal", "full"])
def test_noise_is_white_with_the_covariance_of_single_samples_at_the_start(build, task):
    place = np.array([0.0, 0.5, 0.0, -1.0, 0.0])
    settings = {"steps": 3000, "record_steps": range(3001), "place": place, "running": []}
    shard, start, tasks = walking(build, task, 4, **settings)
    _, records = build.train(shard, tasks, start=start)
    gradients = (task.inputs @ place - task.targets[:, 0])[:, None] * task.inputs
    covariance = np.cov(gradients.T, bias=True) / shard.batch_size
    noise = felt(records, shard, task)
    white = np.linalg.solve(np.linalg.cholesky(covariance), noise.reshape(-1, 5).T).T.reshape(noise.shape)
    # Standard normal numbers: covariances, correlations with the update before, and with a neighbour.
    products = [np.einsum("kni,knj->kij", a, b) for a, b in ((white, white), (white[1:], white[:-1]))]
    products += [np.einsum("ki,kj->kij", white[:, 0], white[:, 1])]
    scores = []
    for product, networks in zip(products, (4, 4, 1), strict=True):
        expected = 4 * np.eye(5) if product is products[0] else 0
        spread = np.sqrt(networks * (1 + (product is products[0]) * np.eye(5)))
        scores.append(((product - expected).sum(axis=0) / spread / np.sqrt(len(product))).ravel())
    scores = np.concatenate(scores)
    assert np.abs(scores).max() < stats.norm.isf(0.5e-3 / len(scores))
    assert stats.kstest(white.ravel(), "norm").pvalue > 1e-3


def test_every_sum_is_that_of_the_walk(build):
    place = [0.3, -0.2, 0.1, 0.4, -0.5]
    shard, start, tasks = walking(build, regression_task(), 4, steps=30, record_steps=range(31), place=place)
    _, records = build.train(shard, tasks, start=start)
    rate, momentum = (shard.networks[name][:, None] for name in ("learning_rate", "momentum"))
    gone = np.stack([record.weights[0][:, 0] for record in records]) - start.flat
    x = gone @ start.directions
    v = np.concatenate([np.zeros_like(x[:1]), np.diff(x, axis=0) / rate])
    for k, record in enumerate(records[1:], 1):
        push = momentum * v[k - 1] - v[k]
        expected = (
            x[k - 1], x[k - 1] ** 2, v[k - 1], v[k - 1] ** 2, x[k - 1] * v[k - 1], x[k - 1] * v[k] - v[k - 1] * x[k],
            push, push**2, push * x[k - 1],
        )  # fmt: skip
        for word, values in zip(MOMENTS, expected, strict=True):
            np.testing.assert_allclose(record.scalars[word], values, rtol=1e-9, atol=1e-12, err_msg=word)
        np.testing.assert_allclose(record.scalars["local_displacement"], ((gone[k] - gone[k - 1]) ** 2).sum(-1))
        np.testing.assert_allclose(record.scalars["global_displacement"], (gone[k] ** 2).sum(-1))


def assert_same(found, expected, rows=slice(None), leave_out=()):
    for mine, theirs in zip(found, expected, strict=True):
        for word in set(mine.scalars) - set(leave_out):
            assert np.array_equal(mine.scalars[word], theirs.scalars[word][rows], equal_nan=True), (mine.step, word)
        for layer, weights in mine.weights.items():
            assert np.array_equal(weights, theirs.weights[layer][rows])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_depend_on_no_neighbour_group_or_thread(build, dtype):
    shard, start, tasks = walking(build, regression_task(), dtype=dtype)
    _, whole = build.train(shard, tasks, start=start)
    for rows in ([3], [0, 2], [5, 13, 1, 7], [12, 4, 8, 0, 6, 2, 10]):
        _, part = build.train(shard.select(np.array(rows)), tasks, start=start)
        assert_same(part, whole, rows, leave_out=["displacement_gram"])
    for threads, memory in itertools.product((1, 2), (None, 1, 3 * device.footprint(shard))):
        _, again = build.train(shard, tasks, start=start, threads=threads, device=device.Device("cpu", memory))
        assert_same(again, whole)


def test_weights_do_not_depend_on_what_is_recorded(build):
    shard, start, tasks = walking(build, regression_task())
    often, _, _ = walking(build, regression_task(), record_steps=range(62))
    bare, _, _ = walking(build, regression_task(), running=[])
    for other in (often, bare):
        (_, found), (_, expected) = (build.train(each, tasks, start=start) for each in (other, shard))
        assert np.array_equal(found[-1].weights[0], expected[-1].weights[0])


@pytest.mark.parametrize("stop", [7, SLOTS, 32])
def test_an_interrupted_training_goes_on_with_the_same_bits(build, monkeypatch, stop):
    monkeypatch.setattr("sgdphases.ensemble.device.WINDOW", 5)  # checkpoints wherever they may fall
    shard, start, tasks = walking(build, regression_task())
    states = []
    settings = {"on_progress": lambda progress: True, "on_checkpoint": lambda s: states.append(copied(s))}
    final, whole = build.train(shard, tasks, start=start, **settings)
    middle = next(state for state in states if state.step >= stop)
    again, rest = build.train(shard, tasks, start=start, state=middle)
    assert_same(rest, whole[-len(rest) :])
    assert all(np.array_equal(array, final.arrays[name]) for name, array in again.arrays.items())


def copied(state):
    arrays = {name: array.copy() for name, array in state.arrays.items()}
    return type(state)(state.step, arrays, state.diverged_at.copy())


def test_a_divergence_is_known_and_leaves_the_others(build):
    columns = {"learning_rate": [0.05, 1e9, 0.05, 0.05], "momentum": [0.9] * 4, "replica": [0, 1, 2, 3]}
    shard, start, tasks = walking(build, quadratic_task(), 4, columns=columns, steps=80, record_steps=[0, 80])
    _, (_, last) = build.train(shard, tasks, start=start)
    _, (_, calm) = build.train(shard.select(np.array([0, 2, 3])), tasks, start=start)
    assert last.diverged_at[1] > 0
    assert (last.diverged_at[[0, 2, 3]] < 0).all()
    np.testing.assert_array_equal(last.weights[0][[0, 2, 3]], calm.weights[0])


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"columns": {"loss": ["squared_error"] * 4}}, "half_squared_error"),
        ({"columns": {"output_scale": [2.0] * 4}}, "half_squared_error of the output itself"),
        ({"columns": {"noise_scale": [1.0] * 4}}, "no noise_scale"),
        ({"network": {"bias": [True]}}, "without bias"),
        ({"running": ["test_loss"]}, "no running observable"),
    ],
)
def test_what_cannot_be_is_refused(build, settings, what):
    with pytest.raises(ValueError, match=what):
        shard, start, tasks = walking(build, quadratic_task(), 4, **settings)
        if any(shard.network.bias):
            start = Start("made", start.weights, {0: np.zeros(1)}, np.eye(6)[:, :5])
        build.train(shard, tasks, start=start)


def test_it_needs_a_start(build):
    with pytest.raises(ValueError, match="needs a start"):
        build.shard((5, 1), 2, update="quadratic")
