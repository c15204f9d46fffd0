"""A network on digits walks from its minimum, with replacement and reshuffled, beside the exact theory of its noise.

Wide bands around an independent run (arXiv 2107.09133 with η = 0.05, β = 0.9, S = 32): with replacement equipartition
0.998, Var v 1.098 and Var x 1.114 of the theory; reshuffled epochs of 56 steps leave slow positions cold.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sgdphases.config import read_card
from sgdphases.datasets.loading import load_tasks
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import Start
from sgdphases.ensemble.state import initial_state
from sgdphases.ensemble.trainer import train
from sgdphases.observables.minimum import polished
from sgdphases.observables.surroundings import landscape_of, surroundings
from sgdphases.shards import parts, shard_content, start_content
from sgdphases.theory import langevin, momentum_sgd

pytestmark = pytest.mark.slow

CARD = Path(__file__).parents[2] / "workflow" / "experiments" / "diffusion_quick.yaml"
POINT = {"learning_rate": 0.05, "momentum": 0.9}
STEPS, BURN, REPLICAS = 12000, 4000, 8
RUNNING = ["position_mean", "position_square", "velocity_square", "position_velocity"]


def tasks_of(shard):
    network = shard.network
    known = {"widths": network.widths, "trained": network.trained, "activation": network.activation}
    return load_tasks(shard.dataset, **known, seeds=shard.networks["seed_task"].tolist(), directory="nowhere")


@pytest.fixture(scope="module")
def minimum():
    """The card's start: weights, directions, curvature with decay along these, and noise of a batch."""
    content = start_content(read_card(CARD))
    shard, wanted = Shard.from_dict(json.loads(json.dumps(content["shard"]))), content["start"]
    task = next(iter(tasks_of(shard).values()))
    arrays, layers = initial_state(shard).arrays, range(shard.network.layers)
    first = (({layer: arrays[f"{kind}_{layer}"][0] for layer in layers}) for kind in ("weights", "bias"))
    landscape = landscape_of(shard, task, Start(content["name"], *first))
    landscape = polished(landscape, wanted["weight_decay"], wanted["polish"])
    how = {"hessian": wanted["directions"]["hessian"], "random": 0, "weight_decay": wanted["weight_decay"]}
    directions, found = surroundings(landscape, **how, noise=wanted["noise"], seed=wanted["seed"])
    weights = {layer: matrix.numpy() for layer, matrix in enumerate(landscape.weights)}
    biases = {layer: bias.numpy() for layer, bias in enumerate(landscape.biases)}
    start = Start(content["name"], weights, biases, directions)
    assert float(found["start_gradient_norm"]) < 1e-12
    return start, found["curvature"] + wanted["weight_decay"], found["noise"] / 32


def moments(minimum, sampler):
    """Var x and Var v of every mode in the stationary part of the walks."""
    start, _, _ = minimum
    card = read_card(CARD)
    part = next(part for part in parts(card) if part.values["learning_rate"] == POINT["learning_rate"])
    chosen = [point for point in part.points if point["momentum"] == POINT["momentum"]]
    content = shard_content(card, replace(part, points=chosen, replicas=list(range(REPLICAS))))
    content |= {"sampler": sampler, "steps": STEPS, "record_steps": [0, BURN, STEPS], "weight_steps": [0, STEPS]}
    shard = Shard.from_dict(json.loads(json.dumps(content | {"running": RUNNING})))
    records = []
    train(shard, tasks_of(shard), device="cpu", start=start, on_record=records.append)
    last = {word: values.mean(axis=0) for word, values in records[-1].scalars.items()}
    return last["position_square"] - last["position_mean"] ** 2, last["velocity_square"]


def test_oracle_o10_equipartition_holds_with_replacement_and_fails_in_reshuffled_order(minimum):
    _, curvature, noise = minimum
    position, velocity = moments(minimum, "with_replacement")
    over_x = np.median(position / momentum_sgd.position_variance(curvature, noise, **POINT))
    over_v = np.median(velocity / momentum_sgd.velocity_variance(curvature, noise, **POINT))
    shared = np.median(langevin.equipartition_ratio(position, velocity, curvature, **POINT))
    assert 1.0 < over_x < 1.3
    assert 1.0 < over_v < 1.3
    assert shared == pytest.approx(1, abs=0.1)
    cold = np.median(langevin.equipartition_ratio(*moments(minimum, "reshuffle"), curvature, **POINT))
    assert cold < 0.7
