"""What cards may say of a start, and what of it enters shards and digests."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from sgdphases.config import Card
from sgdphases.ensemble.shard import Shard
from sgdphases.shards import parts, shard_content, start_content, start_name

TOY = yaml.safe_load((Path(__file__).parent / "workflow" / "cards" / "diffusion_toy.yaml").read_text())


def card_with(analysis=None, **changes):
    """The toy card with other keys of ensemble; None takes one away, a mapping changes some of its keys."""
    values = copy.deepcopy(TOY)
    for key, value in changes.items():
        if value is None:
            values["ensemble"].pop(key)
        elif isinstance(value, dict) and key in values["ensemble"]:
            values["ensemble"][key] |= value
        else:
            values["ensemble"][key] = value
    values["analysis"] |= analysis or {}
    return Card.model_validate(values)


def contents(card):
    return [shard_content(card, part) for part in parts(card)]


def test_a_shard_names_its_start():
    card = card_with()
    (content,) = contents(card)
    assert content["start"] == {"name": start_name(card), "modes": 12}
    assert Shard.from_dict(json.loads(json.dumps(content))).start.modes == 12
    bare = card_with(start=None, running=[])
    assert "start" not in contents(bare)[0]
    assert start_name(bare) is None


def test_the_start_is_one_network_that_its_own_words_train():
    content = start_content(card_with())
    shard = Shard.from_dict(json.loads(json.dumps(content["shard"])))
    assert (len(shard), shard.steps, shard.sampler, shard.dtype, shard.start) == (1, 0, "reshuffle", "float64", None)
    assert shard.batch_size == 30
    assert shard.networks["learning_rate"] == 0.5
    assert shard.networks["loss"] == "cross_entropy"
    assert content["start"]["polish"] == 1e-12


@pytest.mark.parametrize(
    "changes",
    [
        {"grid": {"learning_rate": [0.02, 0.05, 0.1], "momentum": [0.5]}},
        {"fixed": {"batch_size": 7, "weight_decay": 0.1}},
        {"steps": 900, "replicas": 3, "dtype": "float32", "sampler": "reshuffle"},
        {"running": [], "job_axes": ["replica"]},
        {"start": {"seed": 0, "noise": {"batches": 0, "at": "start"}}},
    ],
)
def test_what_only_walks_feel_leaves_the_start(changes):
    assert start_name(card_with(**changes)) == start_name(card_with())


@pytest.mark.parametrize(
    "changes",
    [
        {"start": {"polish": 1e-11}},
        {"start": {"seed": 1}},
        {"start": {"noise": {"at": "minimum"}}},
        {"start": {"directions": {"hessian": 11, "random": 2}}},
        {"start": {"directions": {"hessian": 10, "random": 2, "method": "subspace"}}},
        {"start": {"displaced": {"length": 0.1, "modes": 10}}},
        {"fixed": {"loss": "half_squared_error"}},
        {"fixed": {"richness": 2.0}},
        {"network": {"widths": [64, 9, 10]}},
        {"dataset": {"samples": 200}},
    ],
)
def test_what_the_start_feels_makes_it_and_the_shards_other_ones(changes):
    before, after = card_with(), card_with(**changes)
    assert start_name(after) != start_name(before)
    assert not {part.name for part in parts(after)} & {part.name for part in parts(before)}


def test_words_that_came_later_leave_no_trace():
    assert start_content(card_with())["start"]["noise"] == {"batches": 0, "batch_size": 32}
    assert start_content(card_with(start={"noise": {"at": "minimum"}}))["start"]["noise"]["at"] == "minimum"


def test_words_that_came_later_are_read_only_where_they_are_said():
    before = start_content(card_with())["start"]
    assert "displaced" not in before
    assert before["directions"] == {"hessian": 10, "random": 2}
    away = {"length": 0.1, "modes": 3}
    said = start_content(card_with(start={"displaced": away, "directions": {"hessian": 3, "method": "subspace"}}))
    assert said["start"]["displaced"] == away
    assert said["start"]["directions"] == {"hessian": 3, "random": 0, "method": "subspace"}
    assert said["shard"] == start_content(card_with())["shard"]


MEAN_FIELD = {"parametrisation": "mean_field", "bias": False}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"start": None}, "needs ensemble.start"),
        ({"start": {"directions": {}}}, "needs start.directions"),
        ({"start": {"directions": {"hessian": 600, "random": 11}}}, "611 of them are more than 610 parameters"),
        ({"start": {"polish": 0}}, "greater than 0"),
        ({"start": {"noise": {"batches": 1}}}, "one batch has no covariance"),
        ({"start": {"noise": {"at": "infinity"}}}, "'start' or 'minimum'"),
        ({"start": {"directions": {"hesse": 3}}}, "hesse"),
        ({"start": {"plane": {"modes": [0, 12], "extent": 1}}}, "plane.modes: there are 12 directions"),
        ({"start": {"plane": {"modes": [3, 3], "extent": 1}}}, "two different ones"),
        ({"start": {"plane": {"modes": [0, 1], "extent": 1, "points": 20}}}, "points: give an odd number"),
        ({"start": {"plane": {"modes": [0, 1], "extent": 0}}}, "plane.extent"),
        ({"start": {"displaced": {"length": 0.1, "modes": 11}}}, "at most directions.hessian"),
        ({"start": {"displaced": {"length": 0, "modes": 1}}}, "greater than 0"),
        ({"job_axes": ["replica"]}, "replica is no job axis"),
        ({"update": "adam", "running": []}, "update sgd starts from given weights"),
        ({"network": MEAN_FIELD, "fixed": {"weight_decay": 0.0}}, "mean_field"),
        ({"network": {"centered": True}, "streams": {"weights": "shared"}}, "centered"),
        ({"network": {"trained": [True, False]}}, "all layers must be trained"),
        ({"dataset": {"subset": "seeded"}}, "drawn for each replica"),
        ({"dataset": {"label_noise": 0.1}}, "drawn for each replica"),
        ({"fixed": {"label_noise": 0.1}}, "drawn for each replica"),
        ({"grid": {"width": [8, 9]}}, "width is no axis"),
        ({"grid": {"init_scale": [0.5, 1.0]}}, "init_scale is no axis"),
        ({"start": {"probes": 1}}, "probes: one random vector"),
    ],
)
def test_what_cannot_be_is_refused(changes, what):
    with pytest.raises(ValueError, match=what):
        card_with(**changes)


NORMALISED = {"norm": "batch", "activation": "relu", "ghosts": 5}
BATCHES = {"batches": 3, "batch_size": 30}


@pytest.mark.parametrize(
    ("network", "start", "others", "what"),
    [
        ({}, {"noise": {"batches": 3, "batch_size": 31}}, {}, "start.noise.batch_size: 31 has not 5 equal parts"),
        ({}, {"train": {"learning_rate": 0.1, "batch_size": 5, "epochs": 1}}, {}, "start.train.batch_size: 5"),
        ({}, {"samples": 29}, {}, "start.samples: 29 make no batch"),
        ({}, {"noise": BATCHES | {"at": "minimum"}}, {}, "start.noise.at"),
        ({}, {"noise": {"batches": 0, "batch_size": 30}}, {}, "start.noise.batches"),
        ({}, {}, {"dtype": "float32"}, "start.polish"),
        ({}, {}, {"fixed": {"batch_size": 32}}, "network.ghosts: batch_size 32"),
        ({}, {}, {"fixed": {"batch_size": 30, "depth": 1}}, "norm: batch normalises hidden layers"),
        ({"bias": [True, False]}, {}, {}, "bias: .* one value"),
        ({"stem": "imagenet"}, {}, {}, "stem"),
    ],
)
def test_starts_that_norms_do_not_have_are_refused(network, start, others, what):
    start = {"train": None, "noise": BATCHES} | start
    fixed = {"fixed": {"batch_size": 30}} | others
    with pytest.raises(ValueError, match=what):
        card_with(network={**NORMALISED, **network}, start=start, **fixed)


def test_single_samples_are_batches_of_networks_without_a_norm():
    train = {"learning_rate": 0.1, "batch_size": 1, "epochs": 1}
    content = start_content(card_with(start={"train": train, "noise": {"batches": 2, "batch_size": 1}}))
    assert content["shard"]["batch_size"] == 1
    assert start_content(card_with(start={"train": None}))["shard"]["batch_size"] == 1


def test_batch_sizes_that_temperatures_stand_for_have_parts_too():
    known = {"start": None, "running": ["test_loss"], "network": {**NORMALISED}}
    fixed = {key: value for key, value in TOY["ensemble"]["fixed"].items() if key != "batch_size"}
    card = copy.deepcopy(TOY)
    card["ensemble"] |= known | {"fixed": fixed, "grid": {"learning_rate": [0.9], "temperature": [0.03, 0.1]}}
    card["ensemble"]["network"] = TOY["ensemble"]["network"] | NORMALISED
    card["ensemble"]["job_axes"], card["analysis"] = [], {}
    with pytest.raises(ValueError, match="network.ghosts: batch_size 9"):
        Card.model_validate(card)
    card["ensemble"]["grid"]["temperature"] = [0.03, 0.0]
    with pytest.raises(ValueError, match="temperature: 0 leaves no batch_size"):
        Card.model_validate(card)


def test_a_search_has_no_start():
    lattice = {"learning_rate": [0.001, 0.01, 0.1]}
    search = {"search": {"above": 1, "below": 1}, "grid": lattice, "running": ["test_loss", "batch_loss"]}
    with pytest.raises(ValueError, match="leave out search or start"):
        card_with(**search, records={"weights": None})


def test_observables_with_modes_of_their_own_are_refused():
    with pytest.raises(ValueError, match="eigenvalues has other modes"):
        card_with(analysis={"observables": ["eigenvalues"]})
    card_with(analysis={"observables": ["eigenvalues"]}, start={"directions": {}}, running=["global_displacement"])


def test_one_start_has_one_loss():
    values = copy.deepcopy(TOY)
    values["ensemble"]["grid"]["loss"] = [values["ensemble"]["fixed"].pop("loss"), "half_squared_error"]
    with pytest.raises(ValueError, match="loss is no axis"):
        Card.model_validate(values)


def test_points_may_differ_in_what_walks_feel():
    points = [{"learning_rate": 0.1, "momentum": 0.5}, {"learning_rate": 0.2, "init_scale": 1.0}]
    values = copy.deepcopy(TOY)
    values["ensemble"].pop("grid")
    values["ensemble"]["points"] = points
    assert Card.model_validate(values).ensemble.start
    points[1]["init_scale"] = 2.0
    with pytest.raises(ValueError, match="init_scale is no axis"):
        Card.model_validate(values)


def test_a_plane_that_nobody_asks_for_leaves_no_trace():
    bare, asked = card_with(), card_with(start={"plane": {"modes": [0, 11], "extent": 4, "temperature": 0.01}})
    assert "plane" not in start_content(bare)["start"]
    assert start_name(card_with(start={"plane": None})) == start_name(bare)
    wanted = {"modes": [0, 11], "extent": 4, "temperature": 0.01, "points": 21}
    assert start_content(asked)["start"]["plane"] == wanted
    assert start_content(asked)["name"] != start_content(bare)["name"]
