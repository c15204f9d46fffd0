from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sgdphases.ensemble import device
from sgdphases.ensemble.kinds import kind_of_row
from sgdphases.ensemble.networks import backward, forward
from sgdphases.ensemble.noise import SymmetricNoise

COLUMNS = {
    "plain": {},
    "heavy ball": {"momentum": [0.9, 0.0, 0.5, 0.9]},
    "decay": {"weight_decay": [0.0, 0.1, 0.2, 0.0]},
    "everything": {
        "momentum": [0.9, 0.0, 0.5, 0.9],
        "weight_decay": [0.0, 0.1, 0.2, 0.3],
        "output_scale": [1.0, 0.5, 2.0, 1.0],
        "loss": ["half_squared_error", "squared_error", "mean_squared_error", "half_squared_error"],
    },
}


@pytest.mark.parametrize("sampler", ["fixed_order", "reshuffle", "with_replacement"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS.keys())
def test_naive_network(build, sampler, activation, columns):
    shard = build.shard(
        (3, 6, 5, 2),
        4,
        steps=25,
        record_steps=[0, 1, 9, 10, 17, 25],
        network={"activation": activation, "bias": [True, False, True], "trained": [True, True, True]},
        columns={"learning_rate": [0.005, 0.01, 0.015, 0.02], **columns},
        sampler=sampler,
        running=["epoch_train_loss", "epoch_gradient_norm"],
    )
    tasks = build.tasks(shard, samples=42)
    _, records = build.train(shard, tasks)
    for row in range(len(shard)):
        task = tasks[int(shard.networks["seed_task"][row])]
        for record in records:
            naive = build.Naive(shard, row, task)
            history = naive.run(record.step)
            for layer in range(3):
                np.testing.assert_allclose(record.weights[layer][row], naive.weights[layer], rtol=1e-9, atol=1e-12)
                if layer != 1:
                    np.testing.assert_allclose(record.biases[layer][row], naive.biases[layer], rtol=1e-9, atol=1e-12)
            if record.step:
                epoch = history[(record.step - 1) // 10 * 10 :]
                mean = [np.mean([gradients[layer] for _, gradients in epoch], axis=0) for layer in range(3)]
                norm = np.sqrt(sum(np.sum(gradient**2) for gradient in mean))
                loss = np.mean([loss for loss, _ in epoch])
                np.testing.assert_allclose(record.scalars["epoch_train_loss"][row], loss, rtol=1e-9)
                np.testing.assert_allclose(record.scalars["epoch_gradient_norm"][row], norm, rtol=1e-9)
            else:
                assert all(np.isnan(values).all() for values in record.scalars.values())


def test_adam(build):
    columns = {"momentum": [0.9, 0.9, 0.5, 0.0], "weight_decay": [0.0, 0.1, 0.2, 0.0], "learning_rate": [0.003] * 4}
    shard = build.shard(
        (3, 6, 5, 2),
        4,
        steps=25,
        record_steps=[0, 1, 2, 25],
        network={"activation": "relu", "bias": [True, True, False]},
        columns=columns,
        update="adam",
        running=["epoch_gradient_norm"],
    )
    tasks = build.tasks(shard)
    _, records = build.train(shard, tasks)
    for row in range(4):
        for record in records:
            naive = build.Naive(shard, row, tasks[int(shard.networks["seed_task"][row])])
            naive.run(record.step)
            for layer in range(3):
                np.testing.assert_allclose(record.weights[layer][row], naive.weights[layer], rtol=1e-7, atol=1e-10)
                if layer < 2:
                    np.testing.assert_allclose(record.biases[layer][row], naive.biases[layer], rtol=1e-7, atol=1e-10)
    _, part = build.train(shard.select([2]), tasks)
    assert np.array_equal(part[-1].weights[0][0], records[-1].weights[0][2])


@pytest.mark.parametrize(
    "trained", [[False, True, False], [True, False, False], [False, False, True], [True, False, True]]
)
def test_frozen_layers(build, trained):
    shard = build.shard((3, 6, 5, 1), 3, steps=12, trained=trained)
    tasks = build.tasks(shard)
    _, records = build.train(shard, tasks)
    assert set(records[-1].weights) == set(shard.network.trained_layers)
    for row in range(3):
        naive = build.Naive(shard, row, tasks[int(shard.networks["seed_task"][row])])
        naive.run(12)
        for layer, weights in records[-1].weights.items():
            np.testing.assert_allclose(weights[row], naive.weights[layer], rtol=1e-10, atol=1e-13)


def test_classes(build):
    shard = build.shard((4, 6, 3), 3, steps=15, columns={"loss": ["cross_entropy"] * 3}, running=["epoch_train_loss"])
    tasks = build.tasks(shard, classes=True)
    _, records = build.train(shard, tasks)
    for row in range(3):
        naive = build.Naive(shard, row, tasks[int(shard.networks["seed_task"][row])])
        history = naive.run(15)
        np.testing.assert_allclose(records[-1].weights[0][row], naive.weights[0], rtol=1e-9)
        loss = np.mean([loss for loss, _ in history[10:]])
        np.testing.assert_allclose(records[-1].scalars["epoch_train_loss"][row], loss, rtol=1e-9)


def whole_batch(build, loss, activation, widths=(3, 5, 4, 2)):
    classes = loss == "cross_entropy"
    shard = build.shard(
        widths,
        2,
        steps=1,
        batch_size=8,
        network={"activation": activation},
        columns={"loss": [loss] * 2, "learning_rate": [1e-3, 1e-2], "output_scale": [0.5, 2.0]},
    )
    tasks = build.tasks(shard, samples=8, classes=classes)
    return shard, tasks, build.train(shard, tasks)[1]


def loss_of(shard, task, row, weights):
    """The batch loss by torch's own functions."""
    names = {"half_squared_error": 0.5, "squared_error": 1.0}
    loss = str(shard.networks["loss"][row])
    hidden = torch.as_tensor(task.inputs)
    for layer, weight in enumerate(weights):
        hidden = hidden @ weight.T
        if layer < len(weights) - 1:
            hidden = {"tanh": torch.tanh, "relu": torch.relu, "erf": torch.erf, "linear": torch.clone}[
                shard.network.activation
            ](hidden)
    output, target = hidden * shard.networks["output_scale"][row], torch.as_tensor(task.targets)
    if loss == "cross_entropy":
        return torch.nn.functional.cross_entropy(output, target)
    if loss == "mean_squared_error":
        return torch.nn.functional.mse_loss(output, target)
    return names[loss] * ((output - target) ** 2).sum(dim=1).mean()


@pytest.mark.parametrize("activation", ["tanh", "relu", "erf", "linear"])
@pytest.mark.parametrize("loss", ["half_squared_error", "squared_error", "mean_squared_error", "cross_entropy"])
def test_one_step_against_autograd_and_finite_differences(build, loss, activation):
    shard, tasks, (before, after) = whole_batch(build, loss, activation)
    for row in range(2):
        task = tasks[int(shard.networks["seed_task"][row])]
        weights = [torch.tensor(before.weights[layer][row], requires_grad=True) for layer in range(3)]
        loss_of(shard, task, row, weights).backward()
        for layer, weight in enumerate(weights):
            step = (before.weights[layer][row] - after.weights[layer][row]) / shard.networks["learning_rate"][row]
            np.testing.assert_allclose(step, weight.grad.numpy(), rtol=1e-9, atol=1e-11)
        direction = [
            torch.as_tensor(np.random.default_rng(layer).standard_normal(w.shape)) for layer, w in enumerate(weights)
        ]
        slope = sum(float((w.grad * d).sum()) for w, d in zip(weights, direction, strict=True))
        if activation != "relu":
            with torch.no_grad():
                ends = [
                    float(loss_of(shard, task, row, [w + s * d for w, d in zip(weights, direction, strict=True)]))
                    for s in (1e-5, -1e-5)
                ]
            np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, slope, rtol=1e-6)


@pytest.mark.parametrize("activation", ["tanh", "relu", "erf", "linear"])
def test_forward_and_backward_against_autograd(activation):
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(2, *s, dtype=torch.float64, generator=generator) for s in ((5, 3), (4, 5), (2, 4))]
    biases = [torch.randn(2, 5, dtype=torch.float64, generator=generator), None, None]
    inputs = torch.randn(7, 3, dtype=torch.float64, generator=generator)
    scale = torch.tensor([0.5, 2.0])
    for weight in weights:
        weight.requires_grad_()
    passes = forward(weights, biases, inputs, activation=activation, output_scale=scale)
    passes.output.square().sum().backward()
    with torch.no_grad():
        passes = forward(weights, biases, inputs, activation=activation, output_scale=scale)
        deltas = backward(weights, passes, 2 * passes.output, activation=activation, output_scale=scale)
        for layer, weight in enumerate(weights):
            torch.testing.assert_close(deltas[layer].mT @ passes.activations[layer], weight.grad)


def test_heavy_ball_is_torch_sgd(build):
    shard = build.shard(
        (3, 6, 1),
        1,
        steps=40,
        columns={"momentum": [0.9], "weight_decay": [0.01], "learning_rate": [0.02]},
    )
    tasks = build.tasks(shard, samples=16)
    _, (before, after) = build.train(shard, tasks)
    task = tasks[100]
    weights = [torch.tensor(before.weights[layer][0], requires_grad=True) for layer in range(2)]
    optimizer = torch.optim.SGD(weights, lr=0.02, momentum=0.9, weight_decay=0.01)
    for step in range(40):
        rows = np.arange(4) + 4 * (step % 4)
        optimizer.zero_grad()
        output = torch.tanh(torch.as_tensor(task.inputs[rows]) @ weights[0].T) @ weights[1].T
        (0.5 * ((output - torch.as_tensor(task.targets[rows])) ** 2).sum(dim=1).mean()).backward()
        optimizer.step()
    for layer in range(2):
        np.testing.assert_allclose(after.weights[layer][0], weights[layer].detach(), rtol=1e-10, atol=1e-13)


def test_teacher_is_a_fixed_point(build):
    """Oracle 2: with the teacher's weights nothing moves, at any rate."""
    shard = build.shard(count=3, steps=50, trained=[False, True, False], columns={"learning_rate": [0.1, 10.0, 1e6]})
    tasks = build.tasks(shard)
    state, _ = build.train(
        shard.__class__(**{**vars(shard), "steps": 0, "record_steps": (0,), "weight_steps": ()}), tasks
    )
    for task in tasks.values():  # as the trainer computes it: laid out alike, one product per batch of four
        rules = [torch.as_tensor(matrix).T.contiguous() for matrix in (task.frozen[0], task.teacher[1], task.frozen[2])]
        hidden = torch.tanh(torch.as_tensor(task.inputs) @ rules[0]).view(-1, 4, shard.network.widths[1])
        features = torch.tanh(torch.bmm(hidden, rules[1].expand(10, -1, -1)))
        task.targets[:] = torch.bmm(features, rules[2].expand(10, -1, -1)).reshape(-1, 1)
    teachers = np.stack([tasks[seed].teacher[1] for seed in shard.networks["seed_task"].tolist()])
    state.arrays["weights_1"][:] = teachers
    final, _ = build.train(shard, tasks, state=state)
    assert np.array_equal(final.arrays["weights_1"], teachers)


def test_rate_zero_leaves_the_weights(build):
    """Oracle 3; the gradient is measured all the same."""
    running = ["epoch_train_loss", "epoch_gradient_norm"]
    shard = build.shard(count=3, steps=30, columns={"learning_rate": [0.0, 0.1, 0.0]}, running=running)
    _, (before, after) = build.train(shard, build.tasks(shard))
    for row, moved in enumerate([False, True, False]):
        assert np.array_equal(before.weights[1][row], after.weights[1][row]) != moved
        assert after.scalars["epoch_gradient_norm"][row] > 0


def test_doubling_a_batch(build):
    """Oracle 16: each sample twice in a batch twice as large is the same training."""
    shard = build.shard(count=3, steps=40, batch_size=3)
    tasks = build.tasks(shard, samples=30)
    double = {
        seed: replace(task, inputs=task.inputs.repeat(2, 0), targets=task.targets.repeat(2, 0))
        for seed, task in tasks.items()
    }
    _, single = build.train(shard, tasks)
    _, doubled = build.train(shard.__class__(**{**vars(shard), "batch_size": 6}), double)
    for layer in range(3):
        np.testing.assert_allclose(single[-1].weights[layer], doubled[-1].weights[layer], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("columns", [{}, {"momentum": [0.5]}, {"momentum": [0.5], "weight_decay": [0.1]}])
def test_large_networks_take_the_same_steps(build, columns):
    shard = build.shard((30, 400, 300, 2), 1, steps=7, columns=columns, network={"bias": [True, False, False]})
    assert device.alone(shard)
    tasks = build.tasks(shard)
    _, records = build.train(shard, tasks)
    naive = build.Naive(shard, 0, tasks[100])
    naive.run(7)
    for layer in range(3):
        np.testing.assert_allclose(records[-1].weights[layer][0], naive.weights[layer], rtol=1e-9, atol=1e-12)


def test_symmetric_noise(build):
    count = 400
    shard = build.shard((3, 3), count, batch_size=4, columns={"noise_scale": [2.0] * count})
    noise = SymmetricNoise(shard, np.arange(count), torch.device("cpu"))
    drawn = torch.stack([noise.at(0, step) for step in range(300)]).numpy()
    assert np.array_equal(drawn, drawn.swapaxes(-1, -2))
    variance = drawn.reshape(-1, 3, 3).var(axis=0)
    np.testing.assert_allclose(variance, 1.0 + np.eye(3), rtol=0.03)
    assert np.array_equal(noise.at(0, 7).numpy(), drawn[7])
    part = SymmetricNoise(shard, np.array([5, 3]), torch.device("cpu"))
    assert np.array_equal(part.at(0, 299).numpy(), drawn[299][[5, 3]])


def test_noise_shakes_the_weights(build):
    shard = build.shard(
        (2, 2), 2, steps=10, columns={"noise_scale": [0.1, 0.0], "seed_weights": [1, 1], "seed_task": [1, 1]}
    )
    tasks = build.tasks(shard)
    _, records = build.train(shard, tasks)
    noise = SymmetricNoise(shard, np.array([0]), torch.device("cpu"))
    naive = build.Naive(shard, 0, tasks[1])
    naive.network = shard.network
    rate = shard.networks["learning_rate"][0]
    for step in range(10):
        rows = np.arange(4) + 4 * step
        _, gradients, _ = naive.gradient(tasks[1].inputs[rows], tasks[1].targets[rows])
        naive.weights[0] = naive.weights[0] - rate * (gradients[0] + noise.at(0, step)[0].numpy())
    np.testing.assert_allclose(records[-1].weights[0][0], naive.weights[0], rtol=1e-11)


def test_kinds_part_networks_by_what_they_need(build):
    shard = build.shard(count=4, columns=COLUMNS["everything"])
    assert len({kind_of_row(shard, row) for row in range(4)}) == 4


@hypothesis_settings(max_examples=25)
@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    count=st.integers(1, 5),
    batch_size=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_any_shape_is_trained_as_by_the_naive_network(build, widths, count, batch_size, seed):
    columns = {"seed_weights": (seed + np.arange(count)).tolist(), "learning_rate": [0.02] * count}
    shard = build.shard(widths, count, steps=8, batch_size=batch_size, columns=columns)
    tasks = build.tasks(shard, samples=13)
    _, records = build.train(shard, tasks)
    for row in range(count):
        naive = build.Naive(shard, row, tasks[int(shard.networks["seed_task"][row])])
        naive.run(8)
        for layer in range(len(widths) - 1):
            np.testing.assert_allclose(records[-1].weights[layer][row], naive.weights[layer], rtol=1e-8, atol=1e-11)
