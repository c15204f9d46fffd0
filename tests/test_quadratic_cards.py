"""What cards may say of the update `quadratic`, and what of it enters shards and starts."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from sgdphases.config import Card
from sgdphases.ensemble.shard import Shard
from sgdphases.shards import parts, shard_content, start_content

CARD = Path(__file__).parents[1] / "workflow" / "experiments" / "diffusion_quadratic.yaml"
VALUES = yaml.safe_load(CARD.read_text())


def card_with(**changes):
    """The card with other keys of ensemble; None takes one away, a mapping changes some of its keys."""
    values = copy.deepcopy(VALUES)
    for key, value in changes.items():
        if value is None:
            values["ensemble"].pop(key)
        elif isinstance(value, dict):
            values["ensemble"].setdefault(key, {}).update(value)
        else:
            values["ensemble"][key] = value
    return Card.model_validate(values)


def test_walks_are_quadratic_and_their_start_is_a_network_of_its_own():
    card = card_with()
    (content,) = [shard_content(card, part) for part in parts(card)]
    shard = Shard.from_dict(json.loads(json.dumps(content)))
    assert (shard.update, shard.start.modes, len(shard)) == ("quadratic", 60, 192)
    assert len(set(shard.networks["seed_noise"].tolist())) == 192
    start = Shard.from_dict(json.loads(json.dumps(start_content(card)["shard"])))
    assert (start.update, start.start, len(start), start.steps) == ("sgd", None, 1, 0)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"start": None, "running": ["displacement_gram"]}, "needs ensemble.start"),
        ({"network": {"bias": True}}, "one output and no bias"),
        ({"network": {"widths": [60, 4, 1]}}, "one layer with one output"),
        ({"sampler": None}, "sampler with_replacement"),
        ({"bound": 10.0}, "there is no bound"),
        ({"fixed": {"noise_scale": 1.0}}, "not defined with noise_scale"),
        ({"grid": {"richness": [1.0]}}, "not defined with richness"),
        ({"fixed": {"loss": "squared_error"}}, "another loss than half_squared_error"),
        ({"running": ["test_loss"]}, "update quadratic measures local_displacement"),
        ({"dataset": {"modes": 0}}, "at least 1"),
        ({"dataset": {"noise_power": -1}}, "positive number"),
    ],
)
def test_what_cannot_be_is_refused(changes, what):
    with pytest.raises(ValueError, match=what):
        card_with(**changes)


def test_plain_sgd_may_learn_from_the_same_samples():
    assert card_with(update="sgd", start=None, running=["test_loss"]).ensemble.update == "sgd"
