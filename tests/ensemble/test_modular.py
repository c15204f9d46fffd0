"""Modular networks: torchvision's ResNet-18 to round-off, ensembles against single networks, what norms leave alone."""

import dataclasses
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from sgdphases.datasets.image_inputs import ImageInputs
from sgdphases.datasets.loading import load
from sgdphases.datasets.task import Task
from sgdphases.ensemble import device
from sgdphases.ensemble.architecture import Network
from sgdphases.ensemble.groups import WINDOW
from sgdphases.ensemble.losses import loss_factor
from sgdphases.ensemble.modular import ModularGroup
from sgdphases.ensemble.modules import gathered, images, outputs
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import Start
from sgdphases.ensemble.state import initial_state
from sgdphases.ensemble.trainer import train

WIDTHS = (64, 16, 10)
DIGITS = {"name": "digits", "targets": "classes", "samples": 400}


def residual(
    norm: str = "batch", *, stem: str = "imagenet", width: int = 64, ghosts: int = 1, side: int = 64
) -> Network:
    """An architecture of kind resnet18 with five classes."""
    words = {"activation": "relu", "bias": (True, True), "trained": (True, True), "kind": "resnet18", "channels": 3}
    return Network(widths=(3 * side**2, width, 5), norm=norm, stem=stem, ghosts=ghosts, **words)


def peer(stem: str) -> nn.Module:
    """torchvision's network, in float64 and training mode."""
    torch.manual_seed(3)
    model = resnet18(num_classes=5)
    if stem == "tiny":
        model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return model.double().train()


def taken(network: Network, model: nn.Module) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
    """The peer's parameters by our layers: they stand in one order."""
    weights, biases, parameters = {}, {}, iter(model.parameters())
    for layer, piece in enumerate(network.pieces):
        weights[layer] = next(parameters).detach().reshape(1, *network.shape(layer)).clone().requires_grad_()
        if piece.bias:
            biases[layer] = next(parameters).detach()[None].clone().requires_grad_()
    assert next(parameters, None) is None
    return weights, biases


def shard(norm: str, replicas: list[int], **settings: object) -> Shard:
    """A normalised multilayer network on digits, one row a replica."""
    flags = {"activation": "relu", "bias": (True, True), "trained": (True, True)}
    count = len(replicas)
    columns = {
        "learning_rate": [0.05] * count,
        "momentum": [0.9] * count,
        "weight_decay": [1e-3] * count,
        "loss": ["cross_entropy"] * count,
        "replica": replicas,
        "seed_task": [0] * count,
        "seed_noise": [0] * count,
        "seed_weights": [100 + replica for replica in replicas],
        "seed_order": [200 + replica for replica in replicas],
    }
    known = {
        "dataset": DIGITS,
        "network": {"widths": WIDTHS, "norm": norm, "ghosts": 4 if norm == "batch" else 1, **flags},
        "networks": columns,
        "steps": 40,
        "record_steps": [0, 40],
        "batch_size": 32,
        "sampler": "reshuffle",
    }
    return Shard.from_dict(known | settings)


@pytest.fixture(scope="module")
def task():
    return load(DIGITS, widths=WIDTHS, trained=(True, True), activation="relu", seed=0, directory=".")


@pytest.mark.parametrize("stem", ["imagenet", "tiny"])
def test_resnet18_is_torchvisions(stem):
    network, model = residual(stem=stem, side=32), peer(stem)
    weights, biases = taken(network, model)
    inputs = torch.randn(6, 3 * 32**2, dtype=torch.float64)
    ours = outputs(network, weights, biases, images(network, inputs))
    theirs = model(images(network, inputs))
    torch.testing.assert_close(ours[0], theirs, rtol=1e-10, atol=1e-10)
    direction = torch.randn_like(theirs)
    expected = torch.autograd.grad(theirs, list(model.parameters()), direction)
    leaves = [parts[layer] for layer in weights for parts in (weights, biases) if layer in parts]
    for mine, its in zip(torch.autograd.grad(ours, leaves, direction[None]), expected, strict=True):
        torch.testing.assert_close(mine.flatten(), its.flatten(), rtol=1e-8, atol=1e-8 * float(its.abs().max()))


def test_resnet18_has_torchvisions_number_of_parameters():
    network = residual()
    found = sum(piece.out * (piece.fan_in + piece.bias) for piece in network.pieces)
    assert found == sum(parameter.numel() for parameter in resnet18(num_classes=5).parameters())
    assert network.layers == 41


@pytest.mark.parametrize(("norm", "ghosts"), [("batch", 1), ("batch", 2), ("group", 1), ("none", 1)])
def test_several_residual_networks_are_as_each_alone(norm, ghosts):
    network = residual(norm, stem="tiny", width=4, ghosts=ghosts, side=16)
    generator = torch.Generator().manual_seed(1)
    weights, biases = (
        {
            layer: torch.randn(3, *(network.shape(layer) if kind else network.shape(layer)[:1]), generator=generator)
            for layer, piece in enumerate(network.pieces)
            if kind or piece.bias
        }
        for kind in (1, 0)
    )
    inputs = torch.randn(4, 3 * 3, 16, 16, generator=generator)
    together = outputs(network, weights, biases, inputs)
    for row in range(3):
        own = [{layer: part[row : row + 1] for layer, part in parts.items()} for parts in (weights, biases)]
        alone = outputs(network, *own, inputs[:, 3 * row : 3 * row + 3])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-4 * float(alone.abs().max()))


def test_ghosts_are_batches_of_their_own():
    network = residual(ghosts=2, width=4, side=16, stem="tiny")
    whole = dataclasses.replace(network, ghosts=1)
    weights, biases = taken_at_random(network)
    inputs = torch.randn(6, 3, 16, 16, dtype=torch.float64)
    apart = torch.cat([outputs(whole, weights, biases, part) for part in inputs.split(3)], dim=1)
    torch.testing.assert_close(outputs(network, weights, biases, inputs), apart)
    assert not torch.allclose(outputs(whole, weights, biases, inputs), apart)


def test_moments_of_a_batch_give_its_own_answers():
    network = residual(width=4, side=16, stem="tiny")
    weights, biases = taken_at_random(network)
    inputs = torch.randn(8, 3, 16, 16, dtype=torch.float64)
    moments = gathered(network, weights, biases, [inputs])
    expected = outputs(network, weights, biases, inputs)
    torch.testing.assert_close(outputs(network, weights, biases, inputs, moments=moments), expected)
    single = torch.cat([outputs(network, weights, biases, one[None], moments=moments) for one in inputs], dim=1)
    torch.testing.assert_close(single, expected)


def taken_at_random(network: Network) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
    """Random weights of one network, gains about one."""
    generator = torch.Generator().manual_seed(5)
    weights, biases = {}, {}
    for layer, piece in enumerate(network.pieces):
        drawn = torch.randn(1, *network.shape(layer), generator=generator, dtype=torch.float64)
        weights[layer] = 1 + drawn / 10 if piece.word == "normalisation" else drawn / piece.fan_in**0.5
        if piece.bias:
            biases[layer] = torch.randn(1, piece.out, generator=generator, dtype=torch.float64) / 10
    return weights, biases


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_updates_are_those_of_torchs_own_optimiser(norm, task):
    one = shard(norm, [0], dtype="float64", steps=3, record_steps=[0, 3])
    network, state = one.network, initial_state(one)
    leaves = {
        name: torch.tensor(array[0], requires_grad=True) for name, array in state.arrays.items() if "velo" not in name
    }
    decaying = [leaf for name, leaf in leaves.items() if name.startswith("weights")]
    rest = [leaf for name, leaf in leaves.items() if name.startswith("bias")]
    groups = [{"params": decaying, "weight_decay": 1e-3}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=0.05, momentum=0.9)
    from sgdphases.ensemble.sampler import Sampler

    order = Sampler("reshuffle", len(task.inputs), 32, 3).order(200, 0)
    for step in range(3):
        inputs = torch.tensor(task.inputs[order[step]], dtype=torch.float64)
        parts = (
            {int(n.split("_")[1]): leaf[None] for n, leaf in leaves.items() if n.startswith(k)}
            for k in ("weights", "bias")
        )
        loss = nn.functional.cross_entropy(
            outputs(network, *parts, inputs[None])[0], torch.tensor(task.targets[order[step]])
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    final = train(one, {0: task}, device="cpu")
    for name, leaf in leaves.items():
        np.testing.assert_allclose(final.arrays[name][0], leaf.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [16, 13, 3])  # whole registers, and not
def test_bits_do_not_depend_on_neighbours(norm, dtype, width, task):
    network = shard(norm, [0]).to_dict()["network"] | {"widths": (64, width, 10)}
    known = {"dtype": dtype, "network": network}
    many = train(shard(norm, [0, 1, 2, 3, 4], **known), {0: task}, device="cpu", threads=2)
    for row in range(5):
        alone = train(shard(norm, [row], **known), {0: task}, device="cpu")
        for name, array in alone.arrays.items():
            np.testing.assert_array_equal(array[0], many.arrays[name][row], err_msg=name)


def test_nothing_reads_ahead_once_training_has_ended():
    table = np.random.default_rng(0).integers(256, size=(12, 3, 16, 16), dtype=np.uint8)
    inputs = ImageInputs(table, np.arange(8), np.full(3, 0.5), np.full(3, 0.25))
    targets = np.arange(8) % 5
    images_task = Task(inputs, targets, ImageInputs(table, np.arange(8, 12)), targets[:4])
    network = dataclasses.asdict(residual(width=4, side=16, stem="tiny"))
    during = set()
    known = {"network": network, "batch_size": 4, "steps": 3, "record_steps": [0, 3]}
    train(
        shard("batch", [0], **known),
        {0: images_task},
        device="cpu",
        on_progress=lambda progress: during.update(threading.enumerate()),
    )
    readers = {thread for thread in during if thread.name.startswith("images")}
    assert readers
    assert not any(thread.is_alive() for thread in readers)


def test_a_rehearsal_leaves_no_trace(task, monkeypatch):
    plain = train(shard("batch", [0, 1]), {0: task}, device="cpu")
    build = ModularGroup.build
    monkeypatch.setattr(ModularGroup, "build", lambda self: (build(self), self.rehearse()))
    rehearsed = train(shard("batch", [0, 1]), {0: task}, device="cpu")
    for name, array in plain.arrays.items():
        np.testing.assert_array_equal(array, rehearsed.arrays[name])


def test_a_layer_below_a_norm_is_scale_invariant(task):
    network = shard("batch", [0]).network
    weights, biases = taken_at_random(network)
    inputs = torch.tensor(task.inputs[None, :32], dtype=torch.float64)
    before = outputs(network, weights, biases, inputs)
    bent = outputs(network, weights | {0: 3 * weights[0]}, biases, inputs)
    torch.testing.assert_close(bent, before, rtol=2e-3, atol=2e-3)  # but for what is added to variances
    assert not torch.allclose(outputs(network, weights | {2: 3 * weights[2]}, biases, inputs), before, rtol=1e-2)


def test_going_on_gives_the_same_bits(task):
    words = [
        "local_displacement",
        "global_displacement",
        "position",
        "displacement_gram",
        "test_accuracy",
        "batch_loss",
    ]
    network = shard("batch", [0]).network
    state = initial_state(shard("batch", [0], dtype="float64"))
    layers = range(network.layers)
    size = sum(network.shape(layer)[0] * (network.shape(layer)[1] + network.bias[layer]) for layer in layers)
    directions = np.linalg.qr(np.random.default_rng(1).standard_normal((size, 2)))[0]
    start = Start(
        "start",
        {layer: state.arrays[f"weights_{layer}"][0] for layer in layers},
        {layer: state.arrays[f"bias_{layer}"][0] for layer in layers if network.bias[layer]},
        directions,
    )
    settings = {"running": words, "record_steps": [0, 17, 40], "start": {"name": "start", "modes": 2}}
    whole = shard("batch", [0, 1], **settings)
    records, states = [], []
    train(whole, {0: task}, device="cpu", start=start, on_record=records.append)
    train(
        whole,
        {0: task},
        device="cpu",
        start=start,
        on_progress=lambda progress: progress.step == 17,
        on_checkpoint=lambda s: states.append(
            dataclasses.replace(s, arrays={k: v.copy() for k, v in s.arrays.items()})
        ),
    )
    again = []
    train(whole, {0: task}, device="cpu", start=start, state=states[0], on_record=again.append)
    for word, values in again[-1].scalars.items():
        np.testing.assert_array_equal(values, records[-1].scalars[word], err_msg=word)
    gone = records[-1].scalars
    np.testing.assert_allclose(gone["displacement_gram"][0, 0], gone["global_displacement"][0], rtol=1e-12)
    assert gone["test_accuracy"].min() > 0.5


def test_held_out_loss_is_that_of_all_samples(task):
    one = shard("layer", [0], running=["test_loss", "test_accuracy"], dtype="float64")
    records = []
    final = train(one, {0: task}, device="cpu", on_record=records.append)
    parts = (
        {
            layer: torch.tensor(final.arrays[f"{kind}_{layer}"])
            for layer in range(3)
            if f"{kind}_{layer}" in final.arrays
        }
        for kind in ("weights", "bias")
    )
    answers = outputs(one.network, *parts, torch.tensor(task.test_inputs[None], dtype=torch.float64))[0]
    aims = torch.tensor(task.test_targets)
    assert records[-1].scalars["test_loss"][0] == pytest.approx(float(nn.functional.cross_entropy(answers, aims)))
    assert records[-1].scalars["test_accuracy"][0] == pytest.approx(float((answers.argmax(1) == aims).double().mean()))
    assert loss_factor("cross_entropy", 7, 3) == 1 / 7


def test_where_a_job_looks_around_changes_no_bits(task, monkeypatch):
    one, seen = shard("batch", [0, 1], running=["batch_loss"]), []
    usual = train(one, {0: task}, device="cpu")
    monkeypatch.setattr(device, "WORK", {"cpu": 1})
    often = train(one, {0: task}, device="cpu", on_progress=lambda progress: seen.append(progress.step))
    assert seen == list(range(1, 41))
    for name, array in usual.arrays.items():
        np.testing.assert_array_equal(array, often.arrays[name], err_msg=name)


def test_long_passes_are_looked_at_one_by_one():
    network = {name: getattr(residual(), name) for name in ("kind", "widths", "channels", "norm", "bias", "trained")}
    network |= {"stem": "tiny"}
    large = shard("batch", [0], network=network | {"activation": "relu"}, batch_size=64)
    assert device.stride(large) == 1
    assert device.stride(large, "cuda") > 100
    assert device.stride(shard("batch", [0])) == WINDOW


def test_moments_of_odd_samples_are_those_of_whole_chunks(task):
    records = {}
    for samples in (256, 257):  # one over: a batch that is one sample has no variance
        some = dataclasses.replace(task, inputs=task.inputs[:samples], targets=task.targets[:samples])
        still = shard("batch", [0], running=["test_loss"], steps=0, record_steps=[0])
        train(still, {0: some}, device="cpu", on_record=lambda record, n=samples: records.update({n: record}))
    assert records[256].scalars["test_loss"] == records[257].scalars["test_loss"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"norm": "batch", "widths": (64, 10), "bias": (True,), "trained": (True,)}, "norm: .* none"),
        ({"norm": "batch", "stem": "imagenet"}, "stem"),
        ({"norm": "group", "kind": "resnet18", "widths": (256, 48, 2)}, "widths: .* 32 groups"),
        ({"norm": "group", "kind": "resnet18", "widths": (64, 1, 2)}, "widths: .* one pixel"),
        ({"norm": "group"}, "norm"),
        ({"norm": "layer", "ghosts": 4}, "ghosts"),
        ({"norm": "batch", "ghosts": 0}, "ghosts"),
        ({"norm": "batch", "activation": "tanh"}, "activation"),
        ({"norm": "batch", "centered": True}, "centered"),
        ({"norm": "batch", "kind": "resnet18", "channels": 3, "widths": (65, 4, 2)}, "square images"),
        ({"norm": "batch", "kind": "resnet18", "stem": "large", "channels": 4}, "stem"),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    plain = {"widths": WIDTHS, "activation": "relu", "bias": (True, True), "trained": (True, True)}
    with pytest.raises(ValueError, match=words):
        Network(**plain | changes)
