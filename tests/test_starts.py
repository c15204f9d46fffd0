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
        {"start": {"seed": 0, "noise": {"batches": 0}}},
    ],
)
def test_what_only_walks_feel_leaves_the_start(changes):
    assert start_name(card_with(**changes)) == start_name(card_with())


@pytest.mark.parametrize(
    "changes",
    [
        {"start": {"polish": 1e-11}},
        {"start": {"seed": 1}},
        {"start": {"directions": {"hessian": 11, "random": 2}}},
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


MEAN_FIELD = {"parametrisation": "mean_field", "bias": False}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"start": None}, "needs ensemble.start"),
        ({"start": {"directions": {}}}, "needs start.directions"),
        ({"start": {"directions": {"hessian": 600, "random": 11}}}, "611 of them are more than 610 parameters"),
        ({"start": {"polish": 0}}, "greater than 0"),
        ({"start": {"noise": {"batches": 1}}}, "one batch has no covariance"),
        ({"start": {"directions": {"hesse": 3}}}, "hesse"),
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
    ],
)
def test_what_cannot_be_is_refused(changes, what):
    with pytest.raises(ValueError, match=what):
        card_with(**changes)


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
