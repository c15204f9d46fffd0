from itertools import pairwise

import numpy as np
import pytest

EVERYTHING = [
    "epoch_train_loss",
    "epoch_train_accuracy",
    "epoch_gradient_norm",
    "weight_work",
    "weight_diffusion",
    "coupling",
    "mean_coupling",
    "test_loss",
    "test_accuracy",
]
USUAL = {
    "record_steps": [0, 1, 10, 11, 22, 30],
    "running": EVERYTHING,
    "last_batch": "keep",
    "sampler": "reshuffle",
}
COLUMNS = {
    "plain": {},
    "heavy ball": {"momentum": [0.9, 0.0, 0.5, 0.9]},
    "everything": {"momentum": [0.9, 0.0, 0.5, 0.9], "weight_decay": [0.0, 0.1, 0.2, 0.3]},
}


def classifiers(build, columns, **settings):
    """Four networks on 43 samples, batches of 4: the last batch of an epoch has 3."""
    shard = build.shard(
        (5, 6, 3),
        4,
        steps=30,
        network={"bias": [False, True], "init": ["gaussian", "glorot_uniform"]},
        columns={"learning_rate": [0.05, 0.1, 0.15, 0.2], "loss": ["cross_entropy"] * 4, **columns},
        **{"record_steps": [0, 1, 10, 11, 22, 30], "running": EVERYTHING, "last_batch": "keep", "sampler": "reshuffle"}
        | settings,
    )
    return shard, build.tasks(shard, samples=43, classes=True)


@pytest.mark.parametrize("sampler", ["fixed_order", "reshuffle"])
@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS.keys())
def test_what_training_measures_agrees_with_a_naive_network(build, columns, sampler):
    shard, tasks = classifiers(build, columns, sampler=sampler)
    _, records = build.train(shard, tasks)
    for row in range(len(shard)):
        task = tasks[int(shard.networks["seed_task"][row])]
        for record in records:
            naive = build.Naive(shard, row, task)
            history = naive.run(record.step)
            for layer in range(2):
                np.testing.assert_allclose(record.weights[layer][row], naive.weights[layer], rtol=1e-9, atol=1e-12)
            expected = expected_scalars(naive, history, record.step)
            for word, value in expected.items():
                np.testing.assert_allclose(record.scalars[word][row], value, rtol=1e-9, atol=1e-12, err_msg=word)


def expected_scalars(naive, history, step):
    """The running observables by their definitions."""
    own, task = naive.own, naive.task
    loss, _, _ = naive.gradient(task.test_inputs, task.test_targets)
    hidden = np.tanh(task.test_inputs @ naive.weights[0].T)
    answers = (hidden @ naive.weights[1].T + naive.biases[1]).argmax(axis=1)
    rate = own["learning_rate"] / (1 - own["momentum"])
    pairs = list(zip(naive.before, history, strict=True))
    found = {
        "test_loss": loss,
        "test_accuracy": np.mean(answers == task.test_targets),
        "coupling": [weights.std() * np.sqrt(weights.shape[1]) for weights in naive.weights],
        "mean_coupling": [weights.mean() * weights.shape[1] for weights in naive.weights],
        "weight_work": [
            -rate * sum(np.sum(before[layer] * gradients[layer]) for before, (_, gradients) in pairs)
            for layer in range(2)
        ],
    }
    moved = naive.velocity_norms
    found["weight_diffusion"] = [
        rate**2 * sum(after[layer] - own["momentum"] ** 2 * before[layer] for before, after in pairwise(moved))
        for layer in range(2)
    ]
    epoch = history[max(step - 1, 0) // 11 * 11 :]
    if epoch:
        found["epoch_train_loss"] = np.mean([loss for loss, _ in epoch])
    return found


def test_epoch_accuracy_is_the_mean_over_batches(build):
    """With a learning rate of zero the accuracy of a whole epoch is that of one pass, batch by batch."""
    shard, tasks = classifiers(build, {"learning_rate": [0.0] * 4}, sampler="fixed_order")
    _, records = build.train(shard, tasks)
    for row in range(4):
        task = tasks[int(shard.networks["seed_task"][row])]
        naive = build.Naive(shard, row, task)
        hidden = np.tanh(task.inputs @ naive.weights[0].T)
        right = (hidden @ naive.weights[1].T).argmax(axis=1) == task.targets
        batches = [right[start : start + 4].mean() for start in range(0, 43, 4)]
        found = {record.step: record.scalars["epoch_train_accuracy"][row] for record in records}
        assert np.isnan(found[0])
        np.testing.assert_allclose(found[22], np.mean(batches), rtol=1e-12)
        np.testing.assert_allclose(found[10], np.mean(batches[:10]), rtol=1e-12)


def test_weights_are_recorded_where_asked_for_and_change_nothing(build):
    shard, tasks = classifiers(build, {})
    _, dense = build.train(shard, tasks)
    shard, tasks = classifiers(build, {}, weight_steps=[0, 11, 30])
    _, sparse = build.train(shard, tasks)
    for mine, theirs in zip(sparse, dense, strict=True):
        for word, values in mine.scalars.items():
            assert np.array_equal(values, theirs.scalars[word], equal_nan=True)
        assert set(mine.weights) == ({0, 1} if mine.step in (0, 11, 30) else set())
        for layer, weights in mine.weights.items():
            assert np.array_equal(weights, theirs.weights[layer])


def test_glorot_uniform_ignores_the_initial_scale(build):
    shard, tasks = classifiers(build, {"init_scale": [0.1, 1.0, 4.0, 9.0], "seed_weights": [5] * 4})
    _, records = build.train(shard, tasks)
    hidden, last = records[0].weights[0], records[0].weights[1]
    np.testing.assert_allclose(hidden[3], 90 * hidden[0], rtol=1e-12)
    assert all(np.array_equal(last[0], other) for other in last)
    assert np.abs(last).max() <= np.sqrt(6 / 9)
    assert np.abs(last).max() > 0.8 * np.sqrt(6 / 9)


def test_a_validation_set_that_is_not_there_is_refused(build):
    shard, tasks = classifiers(build, {}, running=["validation_loss"])
    with pytest.raises(ValueError, match="need a validation set"):
        build.train(shard, tasks)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight_steps": [0, 7, 30]}, "weight_steps must be among the record_steps"),
        ({"weight_steps": [0, 10]}, "weight_steps must be among the record_steps"),
        ({"last_batch": "maybe"}, "last_batch 'maybe' is unknown"),
        ({"network": {"init": ["gaussian"]}}, "init needs one word for each of the 3 layers"),
        ({"network": {"init": ["gaussian"] * 2 + ["xavier"]}}, "init 'xavier' is unknown"),
    ],
)
def test_bad_settings_are_refused(build, settings, message):
    with pytest.raises(ValueError, match=message):
        build.shard(steps=30, record_steps=[0, 10, 30], **settings)


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS.keys())
def test_work_decay_and_diffusion_make_the_whole_growth_of_the_norm(build, columns):
    """|U|^2 with U = W + learning_rate momentum v / (1 - momentum) changes by exactly what is recorded."""
    shard, tasks = classifiers(build, columns, record_steps=list(range(31)))
    states = []
    build.train(
        shard,
        tasks,
        on_progress=lambda progress: True,
        on_checkpoint=lambda state: states.append({name: array.copy() for name, array in state.arrays.items()}),
    )
    _, records = build.train(shard, tasks)
    own = shard.networks
    rate, lag = own["learning_rate"] / (1 - own["momentum"]), own["learning_rate"] * own["momentum"]
    for layer in range(2):
        velocity = states[-1].get(f"velocity_{layer}", np.zeros(1))
        end = records[-1].weights[layer] + (lag / (1 - own["momentum"]))[:, None, None] * velocity
        grown = np.sum(end**2, axis=(1, 2)) - np.sum(records[0].weights[layer] ** 2, axis=(1, 2))
        norms = sum(np.sum(record.weights[layer] ** 2, axis=(1, 2)) for record in records[:-1])
        work, diffusion = (records[-1].scalars[word][:, layer] for word in ("weight_work", "weight_diffusion"))
        np.testing.assert_allclose(grown, 2 * work - 2 * own["weight_decay"] * rate * norms + diffusion, rtol=1e-9)


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error", "half_squared_error"])
def test_batch_losses_make_up_the_loss_of_an_epoch(build, loss):
    """11 batches an epoch, the last of them smaller: their mean is what the epoch's sum gives."""
    columns = {"loss": [loss] * 4}
    shard, tasks = classifiers(build, columns, running=["epoch_train_loss", "batch_loss"], record_steps=[0, 11, 22, 30])
    state, records = build.train(shard, tasks)
    found = state.arrays["batch_loss"]
    assert np.isfinite(found).all()
    for number, epoch in ((1, slice(0, 11)), (2, slice(11, 22)), (3, slice(22, 30))):
        expected = records[number].scalars["epoch_train_loss"]
        np.testing.assert_allclose(found[:, epoch].mean(axis=1), expected, rtol=1e-6)
