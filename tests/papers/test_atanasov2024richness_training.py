"""The trainer against what is exact for the networks of arXiv 2410.04642: mean-field scaling, centring, richness."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.ensemble import networks, state
from sgdphases.ensemble.reference import starting_outputs, starts
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.trainer import train

INPUTS = np.array([[1, 0.5, -0.5], [-1, 0.25, 2], [0.3, -0.7, 1.1], [0, 1, 1]])
LOSSES = {
    # richness: (learning rate, loss after 1, 10 and 199 steps)
    0.01: (1e-5, 0.4986960875, 0.4874177738, 0.3609588743),
    0.1: (1e-3, 0.4986967421, 0.4875287373, 0.3665347845),
    1: (0.1, 0.4987032911, 0.4882819717, 0.1966724184),
    10: (0.46415888, 0.4999395190, 0.4994198461, 0.2891087978),
    100: (2.15443469, 0.4999971886, 0.4999724516, 0.4991847176),
}


def cosines(network, seed, layer):
    """theta[i, j] = cos(1 + i + 2 j + 3 k) of layer k, as stored."""
    out, fan_in = network.shape(layer)
    i, j = np.indices((out, fan_in))
    return np.cos(1 + i + 2 * j + 3 * layer) * network.unit(layer)


@pytest.fixture
def deterministic(monkeypatch):
    for module in (networks, state):
        monkeypatch.setattr(module, "initial_weights", cosines)


def shard_of(richness, learning_rate, *, init_scale=None, steps=200, **more):
    count = len(richness)
    network = {
        "widths": [3, 4, 4, 2],
        "activation": "relu",
        "bias": [False] * 3,
        "trained": [True] * 3,
        "parametrisation": "mean_field",
        "centered": True,
    }
    return Shard.from_dict(
        {
            "dataset": {"name": "none"},
            "network": network | more.pop("network", {}),
            "batch_size": 4,
            "steps": steps,
            "record_steps": [0, steps],
            "running": ["batch_loss"],
            "networks": {
                "richness": list(richness),
                "learning_rate": list(learning_rate),
                "init_scale": [1.0] * count if init_scale is None else list(init_scale),
                "loss": ["mean_squared_error"] * count,
                **{f"seed_{stream}": [7] * count for stream in ("task", "weights", "order", "noise")},
                **more.pop("columns", {}),
            },
            **more,
        }
    )


def task_of(inputs=INPUTS, classes=(0, 1, 0, 1)):
    targets = np.eye(2)[list(classes)]
    return SimpleNamespace(inputs=inputs, targets=targets, test_inputs=inputs, test_targets=targets, frozen={})


def curve(shard, task=None):
    """Loss of every batch, (networks, steps)."""
    return train(shard, {7: task or task_of()}, device="cpu").arrays["batch_loss"].astype(np.float64)


@pytest.mark.usefixtures("deterministic")
def test_deterministic_network_follows_the_table():
    richness = list(LOSSES)
    found = curve(shard_of(richness, [LOSSES[gamma][0] for gamma in richness]))
    np.testing.assert_allclose(found[:, 0], 0.5, rtol=1e-7)
    np.testing.assert_allclose(found[:, [1, 10, 199]], [LOSSES[gamma][1:] for gamma in richness], rtol=1.2e-7)


@pytest.mark.usefixtures("deterministic")
def test_outputs_at_the_start_follow_the_table():
    shard = shard_of([1.0], [0.1])
    import torch  # noqa: PLC0415

    outputs = starting_outputs(shard, starts(shard.networks)[0], torch.as_tensor(INPUTS))
    expected = [[0, 0], [0.0657, -0.0127], [-0.0420, -0.0316], [0.0304, 0.0046]]
    np.testing.assert_allclose(outputs, expected, atol=5e-5)


@pytest.mark.usefixtures("deterministic")
def test_large_richness_is_a_small_start():
    richness, layers = 5.0, 3
    found = curve(
        shard_of([richness, 1.0], [richness ** (2 / layers), 1.0], init_scale=[1.0, richness ** (-1 / layers)])
    )
    np.testing.assert_allclose(found[0, [0, 1, 20, 59]], [0.5, 0.4985252, 0.27804766, 0.123005], rtol=3e-7)
    np.testing.assert_allclose(found[0, :60], found[1, :60], rtol=1e-6)


@settings(deadline=None, max_examples=15)
@given(
    depth=st.integers(2, 4),
    decades=st.floats(-1, 3),
    activation=st.sampled_from(["relu", "linear"]),
    loss=st.sampled_from(["mean_squared_error", "squared_error", "half_squared_error", "cross_entropy"]),
    seed=st.integers(0, 10**6),
)
def test_homogeneous_networks_obey_the_map(depth, decades, activation, loss, seed):
    """(gamma, eta, std 1) is (1, eta gamma^(-2/L), std gamma^(-1/L)), step by step, without biases."""
    richness, rate = 10**decades, 0.02
    numbers = np.random.default_rng(seed)
    task = task_of(numbers.standard_normal((8, 3)), numbers.integers(2, size=8))
    shard = shard_of(
        [richness, 1.0],
        [
            rate * min(richness, richness ** (2 / depth)),
            rate * min(richness, richness ** (2 / depth)) * richness ** (-2 / depth),
        ],
        init_scale=[1.0, richness ** (-1 / depth)],
        steps=40,
        network={
            "widths": [3, *[5] * (depth - 1), 2],
            "activation": activation,
            "bias": [False] * depth,
            "trained": [True] * depth,
        },
        columns={"loss": [loss] * 2} | {f"seed_{stream}": [seed] * 2 for stream in ("weights", "order", "noise")},
    )
    found = curve(shard, task)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    other = shard_of(
        [richness * 3, 1.0],
        shard.networks["learning_rate"],
        init_scale=shard.networks["init_scale"],
        steps=40,
        network={
            "widths": list(shard.network.widths),
            "activation": activation,
            "bias": [False] * depth,
            "trained": [True] * depth,
        },
        columns={"loss": [loss] * 2} | {f"seed_{stream}": [seed] * 2 for stream in ("weights", "order", "noise")},
    )
    wrong = curve(other, task)
    assert np.abs(wrong[0] - wrong[1]).max() > 10 * np.abs(found[0] - found[1]).max()


def test_theta_moves_by_width_times_learning_rate():
    """One step against autograd on theta itself, biases too."""
    import torch  # noqa: PLC0415

    shard = shard_of([0.5], [0.3], steps=1, network={"bias": [True] * 3}, columns={"momentum": [0.0]})
    before = state.initial_state(shard).arrays
    after = train(shard, {7: task_of()}, device="cpu").arrays
    units = [shard.network.unit(layer) for layer in range(3)]
    thetas = [torch.tensor(before[f"weights_{k}"][0] / units[k], requires_grad=True) for k in range(3)]
    biases = [torch.zeros(len(theta), dtype=torch.float64, requires_grad=True) for theta in thetas]

    def output(weights, offsets):
        hidden = torch.tensor(INPUTS)
        for k, (theta, offset) in enumerate(zip(weights, offsets, strict=True)):
            hidden = (hidden @ theta.T + offset) / (4 if k == 2 else theta.shape[1] ** 0.5)
            hidden = torch.relu(hidden) if k < 2 else hidden
        return hidden

    centred = output(thetas, biases) - output([theta.detach() for theta in thetas], [b.detach() for b in biases])
    loss = ((centred / 0.5 - torch.tensor(np.eye(2)[[0, 1, 0, 1]])) ** 2).mean()
    loss.backward()
    for k in range(3):
        theta, bias = after[f"weights_{k}"][0] / units[k], after[f"bias_{k}"][0] / units[k]
        np.testing.assert_allclose(theta, (thetas[k] - 4 * 0.3 * thetas[k].grad).detach(), rtol=1e-12)
        np.testing.assert_allclose(bias, (-4 * 0.3 * biases[k].grad).detach(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("sampler", ["fixed_order", "reshuffle", "one_pass"])
@pytest.mark.parametrize("columns", [{}, {"seed_task": [7, 8]}, {"seed_order": [1, 2]}, {"seed_weights": [3, 4]}])
def test_centred_networks_start_at_zero_on_every_batch(sampler, columns):
    """With a vanishing learning rate every batch loss is that of the constant output zero."""
    numbers = np.random.default_rng(0)
    tasks = {seed: task_of(numbers.standard_normal((12, 3)), numbers.integers(2, size=12)) for seed in (7, 8)}
    shard = shard_of([0.1, 10.0], [1e-300, 1e-300], steps=3, sampler=sampler, columns=columns)
    found = train(shard, tasks, device="cpu").arrays["batch_loss"]
    np.testing.assert_allclose(found, 0.5, rtol=1e-7)


def test_one_network_alone_and_among_others_has_the_same_bits():
    richness, rate = 10.0 ** np.arange(-2, 4), 0.05 * np.minimum(10.0 ** np.arange(-2, 4) ** 2, 1)
    numbers = np.random.default_rng(3)
    task = task_of(numbers.standard_normal((12, 3)), numbers.integers(2, size=12))
    whole = curve(shard_of(richness, rate, dtype="float32", columns={"init_scale": [1.0] * 6}), task)
    for row in range(6):
        alone = curve(shard_of(richness[[row]], rate[[row]], dtype="float32"), task)
        np.testing.assert_array_equal(alone[0], whole[row])
