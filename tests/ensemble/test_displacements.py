"""Training from a common start: what is summed as updates are made, against weights recorded after every one."""

import itertools

import numpy as np
import pytest

from sgdphases.ensemble import device
from sgdphases.ensemble.sampler import Sampler
from sgdphases.ensemble.starting import DISPLACEMENT_WORDS, MOMENTS, Start, flattened
from sgdphases.theory import momentum_sgd

WORDS = list(DISPLACEMENT_WORDS)
MODES = 6


def parameters(network):
    sizes = [
        np.prod(network.shape(layer)) + network.bias[layer] * network.shape(layer)[0] for layer in range(network.layers)
    ]
    return int(sum(sizes))


def start_of(shard, *, seed=1, scale=0.3):
    """Random weights and random orthonormal directions."""
    numbers, network = np.random.default_rng(seed), shard.network
    layers = range(network.layers)
    weights = {layer: scale * numbers.standard_normal(network.shape(layer)) for layer in layers}
    biases = {
        layer: scale * numbers.standard_normal(network.shape(layer)[0]) for layer in layers if network.bias[layer]
    }
    directions = np.linalg.qr(numbers.standard_normal((parameters(network), max(shard.start.modes, 1))))[0]
    return Start("made", weights, biases, directions[:, : shard.start.modes])


def walking(build, widths=(5, 7, 3), count=4, *, modes=MODES, columns=None, **settings):
    """A shard of replicas of two points that starts where `start_of` says."""
    own = {
        "replica": (np.arange(count) // 2).tolist(),
        "learning_rate": ([0.05, 0.1] * count)[:count],
        "init_scale": [1.0] * count,
        "momentum": [0.9] * count,
        "seed_task": [100] * count,
        **(columns or {}),
    }
    settings = {"running": WORDS, "sampler": "reshuffle"} | settings
    return build.shard(widths, count, columns=own, start={"name": "made", "modes": modes}, **settings)


def walked(records, start, dtype="float64"):
    """Delta after every update, (records, networks, parameters)."""
    place = start.flat.astype(dtype).astype(float)
    return np.stack([flattened(r.weights, r.biases).astype(float) for r in records]) - place


@pytest.mark.parametrize(
    ("dtype", "momentum", "decay", "sampler", "bias"),
    [
        ("float64", 0.9, 0.01, "reshuffle", [True, False]),
        ("float64", 0.0, 0.0, "with_replacement", [False, False]),
        ("float32", 0.5, 0.0, "fixed_order", [False, True]),
    ],
)
def test_every_word_is_what_recorded_weights_say(build, dtype, momentum, decay, sampler, bias):
    columns = {"momentum": [momentum] * 4, "weight_decay": [decay] * 4}
    shard = walking(
        build, columns=columns, dtype=dtype, sampler=sampler, network={"bias": bias}, steps=27,
        record_steps=[*range(20), 27],
    )  # fmt: skip
    start, tasks = start_of(shard), build.tasks(shard)
    _, records = build.train(shard, tasks, start=start)
    gone, rates = walked(records, start, dtype), shard.networks["learning_rate"][:, None]
    x = gone @ start.directions
    v = np.zeros_like(x)
    v[1:20] = np.diff(x[:20], axis=0) / rates
    precise = {"rtol": 1e-9, "atol": 1e-12 / 0.05}
    for k, record in enumerate(records[:20]):
        found = record.scalars
        np.testing.assert_allclose(found["position"], x[k], **precise)
        np.testing.assert_allclose(found["velocity"], v[k], **precise)
        np.testing.assert_allclose(found["global_displacement"], (gone[k] ** 2).sum(-1), **precise)
        np.testing.assert_allclose(found["displacement_along_start"], gone[k] @ start.flat, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found["weight_norm"], ((gone[k] + start.flat) ** 2).sum(-1), rtol=1e-6)
        gram = np.array([[gone[k][r] @ gone[k][s] for s in (r % 2, r % 2 + 2)] for r in range(4)])
        np.testing.assert_allclose(found["displacement_gram"], gram, **precise)
        if not k:
            assert all(not found[word].any() for word in (*MOMENTS, "local_displacement"))
            continue
        before, after = (x[k - 1], v[k - 1]), (x[k], v[k])
        push = momentum * before[1] - after[1]
        np.testing.assert_allclose(found["local_displacement"], (gone[k] - gone[k - 1]).__pow__(2).sum(-1), **precise)
        expected = (
            before[0], before[0] ** 2, before[1], before[1] ** 2, before[0] * before[1],
            before[0] * after[1] - before[1] * after[0], push, push**2, push * before[0],
        )  # fmt: skip
        for word, values in zip(MOMENTS, expected, strict=True):
            np.testing.assert_allclose(found[word], values, **precise, err_msg=word)


def test_convolutions_and_resting_networks_walk_as_well(build):
    network = {"kind": "cnn", "bias": [True, False, True, True]}
    columns = {"learning_rate": [0.05, 0.0, 0.05, 0.0], "momentum": [0.0] * 4}
    steps = {"steps": 9, "record_steps": range(10)}
    shard = walking(build, (256, 2, 3, 4, 3), network=network, columns=columns, **steps)
    start, tasks = start_of(shard), build.tasks(shard)
    _, records = build.train(shard, tasks, start=start)
    gone = walked(records, start)
    assert gone[-1][[0, 2]].any()
    assert not gone[-1][[1, 3]].any()
    for k, record in enumerate(records):
        np.testing.assert_allclose(record.scalars["position"], gone[k] @ start.directions, rtol=1e-9, atol=1e-13)
        assert not record.scalars["velocity"][[1, 3]].any()


def test_means_are_taken_over_the_updates_since_the_record_before(build):
    dense = walking(build, steps=45, record_steps=range(46))
    sparse = walking(build, steps=45, record_steps=[0, 3, 29, 30, 45])
    start, tasks = start_of(dense), build.tasks(dense)
    _, every = build.train(dense, tasks, start=start)
    _, some = build.train(sparse, tasks, start=start)
    for first, last in itertools.pairwise(some):
        for word in (*MOMENTS, "local_displacement"):
            mean = np.mean([record.scalars[word] for record in every[first.step + 1 : last.step + 1]], axis=0)
            np.testing.assert_allclose(last.scalars[word], mean, rtol=1e-10, atol=1e-14, err_msg=word)
        np.testing.assert_array_equal(last.scalars["position"], every[last.step].scalars["position"])


def regression(samples=24, seed=3):
    """Inputs, targets, and the weights (2, 5) of least loss."""
    numbers = np.random.default_rng(seed)
    inputs = numbers.standard_normal((samples, 5)) * [2, 1.5, 1, 0.7, 0.5]
    targets = inputs @ numbers.standard_normal((5, 2)) + 0.5 * numbers.standard_normal((samples, 2))
    return inputs, targets, np.linalg.lstsq(inputs, targets, rcond=None)[0].T


def regressing(build, count, **settings):
    """A shard of linear regressions that start at the minimum, its start and its task; modes are eigenvectors of H."""
    inputs, targets, best = regression()
    columns = {"replica": list(range(count)), "learning_rate": [0.05] * count} | settings.pop("columns", {})
    known = {"bias": [False], "activation": "linear"}
    shard = walking(build, (5, 2), count, modes=10, columns=columns, network=known, **settings)
    values, vectors = np.linalg.eigh(np.kron(np.eye(2), inputs.T @ inputs / len(inputs)))
    start = Start("made", {0: best}, {}, vectors[:, ::-1])
    return shard, start, {100: build.Task(inputs, targets, inputs, targets)}, values[::-1]


@pytest.mark.parametrize("sampler", ["with_replacement", "reshuffle", "fixed_order"])
def test_linear_regression_follows_plain_sgd(build, sampler):
    columns = {"momentum": [0.8] * 3, "weight_decay": [0.02] * 3}
    settings = {"sampler": sampler, "steps": 40, "record_steps": range(41), "columns": columns}
    shard, start, tasks, _ = regressing(build, 3, **settings)
    _, records = build.train(shard, tasks, start=start)
    inputs, targets, best = regression()
    order = Sampler(sampler, len(inputs), shard.batch_size, shard.steps)
    for row in range(3):
        weights, velocity = best.copy(), np.zeros_like(best)
        for k, record in enumerate(records[1:]):
            epoch, batch = divmod(k, order.batches)
            chosen = order.order(int(shard.networks["seed_order"][row]), epoch)[batch]
            gradient = (inputs[chosen] @ weights.T - targets[chosen]).T @ inputs[chosen] / len(chosen)
            push = gradient + 0.02 * weights
            along = start.directions.T @ (weights - best).ravel()
            found = {word: record.scalars[word][row] for word in WORDS}
            np.testing.assert_allclose(found["force_mean"], start.directions.T @ push.ravel(), rtol=1e-8, atol=1e-12)
            np.testing.assert_allclose(found["position_mean"], along, rtol=1e-8, atol=1e-13)
            velocity = 0.8 * velocity - push
            weights = weights + 0.05 * velocity
            np.testing.assert_allclose(found["velocity"], start.directions.T @ velocity.ravel(), rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(records[-1].weights[0][row], weights, rtol=1e-12)


def test_the_stationary_variance_is_that_of_the_theory(build):
    """White noise, but for its dependence on the place, which is small at this temperature."""
    count, rate, momentum, size = 64, 2e-3, 0.9, 16
    columns = {"learning_rate": [rate] * count, "momentum": [momentum] * count, "seed_order": list(range(count))}
    settings = {"steps": 4000, "record_steps": [0, 2000, 4000], "batch_size": size, "columns": columns}
    shard, start, tasks, curvature = regressing(build, count, sampler="with_replacement", **settings)
    _, records = build.train(shard, tasks, start=start)
    inputs, targets, best = regression()
    errors = inputs @ best.T - targets
    gradients = np.einsum("no,ni->noi", errors, inputs).reshape(len(inputs), -1) @ start.directions
    noise = np.mean(gradients**2, axis=0) / size
    how = {"noise": noise, "learning_rate": rate, "momentum": momentum}
    for word, law in (
        ("position_square", momentum_sgd.position_variance),
        ("velocity_square", momentum_sgd.velocity_variance),
    ):
        values = records[-1].scalars[word]
        error = values.std(axis=0, ddof=1) / np.sqrt(count)
        deviation = (values.mean(axis=0) - law(curvature, **how)) / error
        assert np.abs(deviation).max() < 4, (word, deviation)


def mixed(build, **settings):
    """Networks with and without momentum and decay."""
    count = 14
    columns = {
        "replica": [n // 2 for n in range(count)],
        "momentum": [0.0, 0.9] * 7,
        "weight_decay": [0.0, 0.0, 0.1, 0.1] * 3 + [0.0, 0.0],
        "learning_rate": [0.05] * count,
    }
    known = {"network": {"bias": [True, False, True]}, "steps": 61, "record_steps": [0, 1, 7, 37, 50, 61]}
    return walking(build, (9, 8, 6, 3), count, columns=columns, **(known | settings))


def assert_same(found, expected, rows=slice(None), leave_out=()):
    for mine, theirs in zip(found, expected, strict=True):
        for word in set(WORDS) - set(leave_out):
            assert np.array_equal(mine.scalars[word], theirs.scalars[word][rows], equal_nan=True), (mine.step, word)
        for layer, weights in mine.weights.items():
            assert np.array_equal(weights, theirs.weights[layer][rows])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_depend_on_no_neighbour_group_or_thread(build, dtype):
    shard = mixed(build, dtype=dtype)
    start, tasks = start_of(shard), build.tasks(shard)
    _, whole = build.train(shard, tasks, start=start)
    for rows in ([3], [0, 2], [5, 13, 1, 7], [12, 4, 8, 0, 6, 2, 10]):
        _, part = build.train(shard.select(np.array(rows)), tasks, start=start)
        assert_same(part, whole, rows, leave_out=["displacement_gram"])
    for threads, memory in itertools.product((1, 2), (None, 1, 3 * device.footprint(shard))):
        _, again = build.train(shard, tasks, start=start, threads=threads, device=device.Device("cpu", memory))
        assert_same(again, whole)


def test_large_networks_alone_have_the_same_bits(build):
    count = 4
    columns = {"replica": list(range(count)), "learning_rate": [0.05] * count}
    shard = walking(
        build, (196, 500, 10), count, modes=30, columns=columns, steps=11, record_steps=[0, 5, 11], batch_size=64
    )
    assert device.alone(shard)
    start, tasks = start_of(shard), build.tasks(shard, samples=70)
    _, whole = build.train(shard, tasks, start=start)
    for rows in ([2], [3, 0]):
        _, part = build.train(shard.select(np.array(rows)), tasks, start=start, threads=2)
        assert_same(part, whole, rows, leave_out=["displacement_gram"])


@pytest.mark.parametrize("stop", [7, 8, 32])
def test_an_interrupted_training_goes_on_with_the_same_bits(build, monkeypatch, stop):
    monkeypatch.setattr("sgdphases.ensemble.device.WINDOW", 5)  # checkpoints wherever they may fall
    shard = mixed(build)
    start, tasks, states = start_of(shard), build.tasks(shard), []
    settings = {"on_progress": lambda progress: True, "on_checkpoint": lambda s: states.append(copied(s))}
    final, whole = build.train(shard, tasks, start=start, **settings)
    middle = next(state for state in states if state.step >= stop)
    again, rest = build.train(shard, tasks, start=start, state=middle)
    assert_same(rest, whole[-len(rest) :])
    assert all(np.array_equal(array, final.arrays[name]) for name, array in again.arrays.items())


def copied(state):
    return type(state)(
        state.step, {name: array.copy() for name, array in state.arrays.items()}, state.diverged_at.copy()
    )


def test_a_divergence_is_not_a_number_and_leaves_the_others(build):
    columns = {"learning_rate": [0.05, 1e9, 0.05, 0.05], "replica": [0, 1, 2, 3]}
    shard = walking(build, columns=columns, steps=30, network={"activation": "linear"})
    calm = walking(build, columns=columns | {"learning_rate": [0.05] * 4}, steps=30, network={"activation": "linear"})
    start, tasks = start_of(shard), build.tasks(shard)
    (_, found), (_, expected) = (build.train(one, tasks, start=start) for one in (shard, calm))
    assert found[-1].diverged_at[1] >= 0
    assert all(np.isnan(found[-1].scalars[word][1]).all() for word in WORDS)
    for word in set(WORDS) - {"displacement_gram"}:
        np.testing.assert_array_equal(found[-1].scalars[word][[0, 2, 3]], expected[-1].scalars[word][[0, 2, 3]])


def test_the_shard_says_what_it_wants(build):
    shard = walking(build)
    assert type(shard).from_dict(shard.to_dict()).start == shard.start
    plain = build.shard((5, 7, 3), 2)
    assert "start" not in plain.to_dict()
    start, tasks = start_of(shard), build.tasks(shard)
    with pytest.raises(ValueError, match="wants a start"):
        build.train(shard, tasks)
    with pytest.raises(ValueError, match="no common start"):
        build.train(plain, build.tasks(plain), start=start)
    for wrong, what in (
        ({"name": "another"}, "not at another"),
        ({"weights": {0: start.weights[0]}}, "another shape"),
        ({"directions": start.directions[:, :2]}, "has not 6 directions"),
    ):
        with pytest.raises(ValueError, match=what):
            build.train(
                shard,
                tasks,
                start=Start(**({"name": "made", "weights": start.weights, "directions": start.directions} | wrong)),
            )


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"running": ["position"], "start": None}, "needs a start"),
        ({"running": ["position"], "modes": 0}, "needs directions"),
        ({"update": "adam", "running": []}, "for sgd"),
        ({"trained": [True, False]}, "all of them trained"),
    ],
)
def test_what_cannot_be_is_refused(build, settings, what):
    with pytest.raises(ValueError, match=what):
        if "start" in settings:
            build.shard((5, 7, 3), 2, running=["position"])
        else:
            walking(build, **settings)
