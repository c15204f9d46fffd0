"""Networks of kind cnn: their pieces, one by one, and their training against torch's own layers and optimisers."""

import copy
import json

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.config import Card
from sgdphases.ensemble import convolution, device
from sgdphases.ensemble.architecture import Network
from sgdphases.ensemble.geometry import Geometry, convolutions
from sgdphases.ensemble.passes import Stack, evaluate, prepared
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.state import initial_state
from sgdphases.shards import parts, shard_content

WIDTHS = (144, 2, 3, 5, 3)
"""Images of 12 x 12: the second convolution has three positions across, of which pools read two."""
COLOUR = (300, 2, 3, 5, 3)
"""Images of 10 x 10 in three colours: all positions are read."""


class Plain(torch.nn.Module):
    """The network as one would write it, with the weights of one row of a shard."""

    def __init__(self, network: Network, arrays: dict[str, np.ndarray], row: int) -> None:
        super().__init__()
        side = int((network.widths[0] / network.channels) ** 0.5)
        self.shape = network.channels, side, side
        self.bend = {"relu": torch.relu, "tanh": torch.tanh, "erf": torch.erf, "linear": lambda z: z}[
            network.activation
        ]
        layers = []
        for layer in range(4):
            weights = torch.as_tensor(arrays[f"weights_{layer}"][row], dtype=torch.float64)
            out, fan_in = weights.shape
            if layer < 2:
                made = torch.nn.Conv2d(fan_in // 9, out, 3, bias=network.bias[layer])
            else:
                made = torch.nn.Linear(fan_in, out, bias=network.bias[layer])
            made.double()
            with torch.no_grad():
                made.weight.copy_(weights.reshape(made.weight.shape))
                if network.bias[layer]:
                    made.bias.copy_(torch.as_tensor(arrays[f"bias_{layer}"][row]))
            layers.append(made)
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = inputs.reshape(-1, *self.shape)
        for layer in self.layers[:2]:
            hidden = torch.nn.functional.avg_pool2d(self.bend(layer(hidden)), 2)
        return self.layers[3](self.bend(self.layers[2](hidden.flatten(1))))

    def groups(self, weight_decay: float) -> list[dict]:
        """Parameters for an optimiser: weights decay, biases do not."""
        named = dict(self.named_parameters())
        return [
            {"params": [named[name] for name in named if "weight" in name], "weight_decay": weight_decay},
            {"params": [named[name] for name in named if "bias" in name], "weight_decay": 0.0},
        ]


def cnn(build, widths=WIDTHS, count=3, **more):
    network = {"kind": "cnn", "activation": "relu", "bias": [True] * 4} | more.pop("network", {})
    columns = {"init_scale": [1.0, 1.5, 0.7, 1.2, 2.0, 0.9, 1.1][:count]} | more.pop("columns", {})
    return build.shard(widths, count, network=network, columns=columns, **more)


def trained_plainly(shard, tasks, row, make_optimiser):
    """Weights of one network after the shard's steps of a torch optimiser, layer by layer."""
    task = tasks[int(shard.networks["seed_task"][row])]
    plain = Plain(shard.network, initial_state(shard).arrays, row)
    optimiser = make_optimiser(plain, row)
    inputs, targets = torch.as_tensor(task.inputs), torch.as_tensor(task.targets)
    for step in range(shard.steps):
        start = step * shard.batch_size % (len(inputs) // shard.batch_size * shard.batch_size)
        batch = slice(start, start + shard.batch_size)
        loss = 0.5 * ((plain(inputs[batch]) - targets[batch]) ** 2).sum(dim=1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return plain.layers


def assert_agree(state, layers, row, rtol=1e-10):
    for number, layer in enumerate(layers):
        found = state.arrays[f"weights_{number}"][row]
        np.testing.assert_allclose(found, layer.weight.detach().reshape(found.shape), rtol=rtol, atol=1e-13)
        if layer.bias is not None:
            np.testing.assert_allclose(state.arrays[f"bias_{number}"][row], layer.bias.detach(), rtol=rtol, atol=1e-13)


# Sizes.


def test_sizes_of_the_released_network():
    first, second = convolutions((784, 8, 16, 64, 10), 1)
    assert (first.pooled, second.side, second.pooled) == (13, 13, 5)  # (H / 4 - 2)^2 positions, as the code has it
    assert (second.positions, second.outputs) == (100, 25 * 16)
    assert convolutions((3072, 8, 16, 64, 10), 3)[1].outputs == 36 * 16
    network = Network((3072, 8, 16, 64, 10), "relu", (True,) * 4, (True,) * 4, kind="cnn", channels=3)
    assert [network.shape(layer) for layer in range(4)] == [(8, 27), (16, 72), (64, 576), (10, 64)]
    assert [network.unit(layer) for layer in range(4)] == [1.0] * 4
    mean_field = Network(
        (3072, 8, 16, 64, 10), "relu", (True,) * 4, (True,) * 4, kind="cnn", channels=3, parametrisation="mean_field"
    )
    assert [mean_field.unit(layer) for layer in range(4)] == pytest.approx([3**-0.5, 8**-0.5, 1 / 24, 1 / 64])
    assert mean_field.rate_factor == 8
    assert mean_field.largest == 27 * 30**2


def test_variance_of_the_start(build):
    arrays = initial_state(cnn(build, (784, 40, 80, 320, 10), 1, columns={"init_scale": [2.0]})).arrays
    for layer, fan_in in enumerate((9, 9 * 40, 25 * 80, 320)):
        assert arrays[f"weights_{layer}"].std() * fan_in**0.5 == pytest.approx(2, rel=0.1)


# Pieces.


geometries = st.builds(Geometry, st.integers(1, 3), st.integers(4, 9), st.integers(1, 3))


def tensors(seed, *shapes):
    numbers = np.random.default_rng(seed)
    return [torch.as_tensor(numbers.standard_normal(shape)) for shape in shapes]


@settings(deadline=None)
@given(geometries, st.integers(1, 2), st.integers(1, 3), st.integers(0, 10**6))
def test_folding_is_the_transpose_of_reading(geometry, rows, samples, seed):
    patched = (rows, geometry.patch * geometry.positions, samples)
    images, patches = tensors(seed, (rows, geometry.inputs, samples), patched)
    read, folded = torch.full(patched, torch.nan), torch.full(images.shape, torch.nan)
    read, folded = read.double(), folded.double()
    for _ in range(2):  # nothing is left over from the time before
        convolution.run(convolution.reading(geometry, images, read))
        convolution.run(convolution.folding(geometry, patches, folded))
    torch.testing.assert_close((read * patches).sum(), (images * folded).sum(), rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(geometries, st.integers(1, 2), st.integers(1, 3), st.integers(0, 10**6))
def test_spreading_is_the_transpose_of_pooling_times_slopes(geometry, rows, samples, seed):
    wide, small = (rows, geometry.filters * geometry.positions, samples), (rows, geometry.outputs, samples)
    fields, slopes, shares = tensors(seed, wide, wide, small)
    pooled, spread = torch.full(small, torch.nan).double(), torch.full(wide, torch.nan).double()
    convolution.run(convolution.pooling(geometry, fields * slopes, pooled))
    whole = (pooled * shares).sum()
    for given_slopes in (slopes, None):
        convolution.run(convolution.spreading(geometry, shares.clone(), spread, given_slopes))
        found = (spread * (fields if given_slopes is not None else fields * slopes)).sum()
        torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(geometries, st.integers(1, 3), st.integers(0, 10**6))
def test_pieces_are_those_of_torch(geometry, samples, seed):
    side = geometry.side
    hidden, filters = tensors(seed, (1, samples, geometry.inputs), (1, geometry.filters, geometry.patch))
    images = hidden[0].reshape(samples, geometry.channels, side, side)
    kernels = filters[0].reshape(geometry.filters, geometry.channels, 3, 3)
    fields = torch.nn.functional.conv2d(images, kernels)[..., : geometry.across, : geometry.across]
    found = convolution.convolve(geometry, hidden, filters)
    torch.testing.assert_close(found[0], fields.flatten(1), rtol=1e-12, atol=1e-12)
    means = torch.nn.functional.avg_pool2d(fields, 2)
    torch.testing.assert_close(convolution.pool(geometry, found)[0], means.flatten(1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "tanh", "erf", "linear"])
@pytest.mark.parametrize(("widths", "channels"), [(WIDTHS, 1), (COLOUR, 3)])
def test_losses_and_gradients_over_a_data_set_are_those_of_autograd(build, widths, channels, activation):
    shard = cnn(build, widths, network={"activation": activation, "channels": channels})
    arrays, numbers = initial_state(shard).arrays, np.random.default_rng(0)
    for layer in range(4):
        arrays[f"bias_{layer}"] = numbers.standard_normal(arrays[f"bias_{layer}"].shape)
    inputs, targets = numbers.standard_normal((600, widths[0])), numbers.standard_normal((600, 3))
    stack = Stack(
        first=0,
        weights=[torch.as_tensor(arrays[f"weights_{layer}"]) for layer in range(4)],
        biases=[torch.as_tensor(arrays[f"bias_{layer}"]) for layer in range(4)],
        activation=activation,
        output_scale=torch.ones(3, dtype=torch.float64),
        geometries=shard.network.geometries,
    )
    data = prepared(inputs[None], targets[None], dtype=torch.float64)
    found = evaluate(stack, data, "squared_error", layers=range(4))
    outputs = stack.forward(data).output[:, :600]
    for row in range(3):
        plain = Plain(shard.network, arrays, row)
        output = plain(torch.as_tensor(inputs))
        loss = ((output - torch.as_tensor(targets)) ** 2).sum(dim=1).mean()
        loss.backward()
        torch.testing.assert_close(outputs[row], output.detach(), rtol=1e-10, atol=1e-12)
        assert found.loss[row] == pytest.approx(loss.item(), rel=1e-12)
        for layer in range(4):
            gradient = plain.layers[layer].weight.grad.reshape(found.gradients[layer][row].shape)
            np.testing.assert_allclose(found.gradients[layer][row], gradient, rtol=1e-9, atol=1e-12)


# Training.


@pytest.mark.parametrize(("widths", "channels"), [(WIDTHS, 1), (COLOUR, 3)])
@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("columns", [{}, {"momentum": [0.9] * 3}, {"momentum": [0.5] * 3, "weight_decay": [0.1] * 3}])
def test_training_follows_torchs_descent(build, widths, channels, batch_size, columns):
    rates = [0.01, 0.02, 0.005]
    chosen = {"network": {"channels": channels}, "columns": columns | {"learning_rate": rates}}
    shard = cnn(build, widths, batch_size=batch_size, **chosen)
    tasks = build.tasks(shard)
    state, _ = build.train(shard, tasks)
    for row in range(3):

        def optimiser(plain, row):
            momentum, decay = (float(shard.networks[name][row]) for name in ("momentum", "weight_decay"))
            return torch.optim.SGD(plain.groups(decay), lr=rates[row], momentum=momentum)

        assert_agree(state, trained_plainly(shard, tasks, row, optimiser), row)


def test_training_follows_torchs_adam(build):
    shard = cnn(build, update="adam", columns={"learning_rate": [0.01] * 3, "momentum": [0.9, 0.5, 0.8]})
    tasks = build.tasks(shard)
    state, _ = build.train(shard, tasks)
    for row in range(3):

        def optimiser(plain, row):
            beta = float(shard.networks["momentum"][row])
            return torch.optim.Adam(plain.parameters(), lr=0.01, betas=(beta, 0.999), eps=1e-7)

        assert_agree(state, trained_plainly(shard, tasks, row, optimiser), row, rtol=1e-8)


def test_one_large_network_is_stepped_as_many_small_ones_are(build):
    """Past the cache networks go alone, with another way to move."""
    shard = cnn(build, (784, 4, 8, 32, 3), 2, columns={"momentum": [0.9] * 2, "weight_decay": [0.01] * 2}, steps=4)
    assert device.alone(shard)
    tasks = build.tasks(shard)
    state, _ = build.train(shard, tasks)

    def optimiser(plain, row):
        return torch.optim.SGD(plain.groups(0.01), lr=float(shard.networks["learning_rate"][row]), momentum=0.9)

    for row in range(2):
        assert_agree(state, trained_plainly(shard, tasks, row, optimiser), row)


def test_work_and_diffusion_say_how_the_weights_grow(build):
    """|W|^2 grows by twice the work and the diffusion, without momentum exactly."""
    shard = cnn(build, running=["weight_work", "weight_diffusion"], columns={"learning_rate": [0.01] * 3})
    _, records = build.train(shard, build.tasks(shard))
    for layer in range(4):
        squares = [np.sum(record.weights[layer] ** 2, axis=(1, 2)) for record in (records[0], records[-1])]
        grown = 2 * records[-1].scalars["weight_work"] + records[-1].scalars["weight_diffusion"]
        np.testing.assert_allclose(squares[1] - squares[0], grown[:, layer], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("activation", "large", "dead"), [("relu", (10.0, 1e50), [3]), ("linear", (1.0, 1e4), [1, 3])])
def test_what_diverges_is_known_to_the_step_and_harms_nobody(build, activation, large, dead):
    """A window that ran into infinities leaves nothing behind in the buffers when it is gone through again."""
    columns = {"learning_rate": [0.001, large[0], 0.002, large[1]], "init_scale": [1.0, 4.0, 1.0, 4.0]}
    network = {"activation": activation, "bias": [False] * 4}
    shard = cnn(build, count=4, network=network, columns=columns, steps=40)
    tasks = build.tasks(shard)
    state, _ = build.train(shard, tasks)
    assert np.flatnonzero(~state.alive).tolist() == dead
    for row in range(4):
        alone, _ = build.train(shard.select([row]), tasks)
        assert alone.diverged_at[0] == state.diverged_at[row]
        for name in state.arrays:
            assert np.array_equal(alone.arrays[name][0], state.arrays[name][row], equal_nan=True), (row, name)


RUNNING = ["epoch_train_loss", "epoch_train_accuracy", "epoch_gradient_norm", "weight_work", "coupling", "test_loss"]


def assert_same(found, expected, rows):
    for mine, theirs in zip(found, expected, strict=True):
        for name in ("weights", "biases", "scalars"):
            for key, array in getattr(mine, name).items():
                assert np.array_equal(array, getattr(theirs, name)[key][rows], equal_nan=True), (name, key)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sampler", ["fixed_order", "reshuffle"])
@pytest.mark.parametrize(
    ("widths", "network", "batch_size"),
    [
        (WIDTHS, {}, 1),
        (WIDTHS, {"activation": "tanh", "bias": [False, True, False, True]}, 3),
        (COLOUR, {"channels": 3, "activation": "erf"}, 5),
        ((784, 3, 6, 24, 10), {}, 4),
    ],
)
def test_bits_are_a_networks_own(build, widths, network, batch_size, sampler, dtype):
    count = 7
    chosen = {"network": network, "batch_size": batch_size, "sampler": sampler, "dtype": dtype}
    columns = {"momentum": [0.0, 0.5, 0.9, 0.0, 0.0, 0.3, 0.0]}
    shard = cnn(build, widths, count, steps=6, record_steps=[0, 1, 6], running=RUNNING, columns=columns, **chosen)
    tasks = build.tasks(shard, samples=21)
    _, whole = build.train(shard, tasks)
    for rows in ([0], [5], [6, 3], [2, 1, 0, 4]):
        _, part = build.train(shard.select(np.array(rows)), tasks)
        assert_same(part, whole, rows)
    for threads, memory in ((2, None), (1, 1), (3, 3 * device.footprint(shard))):
        _, again = build.train(shard, tasks, threads=threads, device=device.Device("cpu", memory))
        assert_same(again, whole, slice(None))


def test_library_threads_do_not_matter(build):
    shard = cnn(build, (784, 3, 6, 24, 10), 2, steps=3, batch_size=8, dtype="float32")
    tasks, before, found = build.tasks(shard), torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(build.train(shard, tasks)[1])
    torch.set_num_threads(before)
    assert_same(found[0], found[1], slice(None))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_agrees(build):
    columns = {"momentum": [0.0, 0.5, 0.9], "learning_rate": [0.02, 0.01, 0.005]}
    shard = cnn(build, columns=columns, running=RUNNING)
    tasks = build.tasks(shard)
    (_, here), (_, there) = (build.train(shard, tasks, device=word) for word in ("cpu", "cuda"))
    for layer in range(4):
        np.testing.assert_allclose(there[-1].weights[layer], here[-1].weights[layer], rtol=1e-8, atol=1e-10)
    for word in RUNNING:
        np.testing.assert_allclose(there[-1].scalars[word], here[-1].scalars[word], rtol=1e-8, err_msg=word)


# What shards and cards may say.


@pytest.mark.parametrize(
    ("widths", "network", "message"),
    [
        ((144, 2, 3, 3), {}, "kind cnn has five .*, not 4"),
        ((145, 2, 3, 5, 3), {}, "kind cnn reads square images, which 1 x 145 are not"),
        ((144, 2, 3, 5, 3), {"channels": 2}, "kind cnn reads square images, which 2 x 72 are not"),
        ((64, 2, 3, 5, 3), {}, "kind cnn reads images of side 10 and more, not 8"),
        ((144, 2, 3, 5, 3), {"kind": "mlp", "channels": 3}, "kind mlp reads numbers, not images of 3 channels"),
        ((144, 2, 3, 5, 3), {"trained": [False, True, True, True]}, "kind cnn trains all its layers"),
        ((144, 2, 3, 5, 3), {"init": ["glorot_uniform"] * 4}, "kind cnn starts all layers gaussian"),
    ],
)
def test_what_no_cnn_is_is_refused(build, widths, network, message):
    with pytest.raises(ValueError, match=message):
        build.shard(widths, 1, network={"kind": "cnn", **network})
    with pytest.raises(ValueError, match=message):
        Card.model_validate(card(network={"kind": "cnn", "widths": list(widths), **network}))


def test_a_cnn_descends_a_loss(build):
    with pytest.raises(ValueError, match="networks of kind cnn are trained by sgd or adam, not contrastive_divergence"):
        build.shard(WIDTHS, 1, network={"kind": "cnn"}, update="contrastive_divergence")


CARD = yaml.safe_load("""
title: A small convolutional network
study: richness
paper: atanasov2024richness
ensemble:
  dataset: {name: gaussian_mixture, samples: 640, dim: 144}
  network: {kind: cnn, widths: [144, 2, 4, 16, 10], activation: relu, parametrisation: mean_field, centered: true}
  sampler: one_pass
  steps: 10
  records: {}
  replicas: 2
  running: [batch_loss, test_loss]
  streams: {weights: shared}
  fixed: {loss: mean_squared_error, batch_size: 64}
  grid:
    richness: [0.1, 10]
    learning_rate: [1]
analysis: {}
""")


def card(**changes):
    values = copy.deepcopy(CARD)
    values["analysis"] |= changes.pop("analysis", {})
    values["ensemble"] |= changes
    return values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": {"depth": [4], "learning_rate": [1]}}, "depth: a network of kind cnn has four layers"),
        ({"dataset": {"name": "teacher_student"}}, "the teacher of the dataset teacher_student has dense layers"),
        ({"update": "contrastive_divergence", "running": []}, "nothing is measured|is trained by sgd or adam"),
        (
            {"analysis": {"observables": ["noise", "lyapunov"]}},
            "noise, lyapunov cannot be measured on networks of kind",
        ),
        ({"network": {"kind": "cnn", "widths": [144, 2, 4, 16, 10], "channels": 0}}, "channels"),
    ],
)
def test_what_cards_cannot_ask_of_a_cnn(changes, message):
    with pytest.raises(ValueError, match=message):
        Card.model_validate(card(**changes))


def test_the_axis_width_is_that_of_the_first_convolution():
    found = Card.model_validate(card(grid={"width": [0, 3, 8], "learning_rate": [1]}))
    shapes = [shard_content(found, part)["network"]["widths"] for part in parts(found)]
    assert shapes == [[144, 2, 4, 16, 10], [144, 3, 6, 24, 10], [144, 8, 16, 64, 10]]


def test_shards_say_channels_only_where_there_are_several(build):
    grey, colour = cnn(build), cnn(build, COLOUR, network={"channels": 3})
    assert "channels" not in grey.to_dict()["network"]
    assert colour.to_dict()["network"]["channels"] == 3
    for shard in (grey, colour):
        again = Shard.from_dict(json.loads(json.dumps(shard.to_dict())))
        assert again.network == shard.network
    found = Card.model_validate(CARD)
    assert "channels" not in shard_content(found, parts(found)[0])["network"]


DENSE = yaml.safe_load("""
title: Dense layers
study: dyson
paper: park2025phase
ensemble:
  dataset: {name: digits}
  network: {widths: [64, 8, 10]}
  steps: 10
  records: {}
  replicas: 2
  fixed: {batch_size: 4}
  grid: {learning_rate: [0.1], width: [0, 16], depth: [0, 3]}
analysis: {observables: [test_loss]}
""")


def test_what_was_trained_before_there_were_convolutions_keeps_its_name():
    assert [part.name for part in parts(Card.model_validate(DENSE))] == [
        "3c93bd698b13",
        "b7280aec4f9f",
        "0bace99d4667",
        "3ae4d180c7b3",
    ]
    rich = copy.deepcopy(DENSE)
    rich["ensemble"]["network"] |= {"activation": "relu", "parametrisation": "mean_field", "centered": True}
    rich["ensemble"] |= {"streams": {"weights": "shared"}, "grid": {"learning_rate": [0.1], "richness": [0.5]}}
    assert [part.name for part in parts(Card.model_validate(rich))] == ["fbc8d8c6bb4a"]
