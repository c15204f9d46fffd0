"""What a card may say of a search, and that the search is part of what a shard is named after."""

import copy

import pytest
import yaml

from sgdphases.config import Card, ConfigError, read_card
from sgdphases.ensemble.shard import SearchSettings, Shard
from sgdphases.shards import parts, shard_content

CARD = yaml.safe_load("""
title: A small search
study: richness
paper: someone
ensemble:
  dataset: {name: gaussian_mixture, samples: 400}
  network: {widths: [64, 16, 10], activation: relu}
  steps: 4
  records: {at: [2]}
  replicas: 2
  running: [batch_loss, test_loss]
  search: {above: 3, below: 1.5, refine: 0.1}
  fixed: {batch_size: 8, loss: mean_squared_error}
  grid:
    richness: [0.1, 10]
    learning_rate: {from: 1.0e-5, to: 1.0e+3, count: 17, spacing: log}
analysis: {}
""")


def changed(**changes):
    """The card with other values at places such as ensemble__steps; None takes a key away."""
    values = copy.deepcopy(CARD)
    for where, value in changes.items():
        *folders, key = where.split("__")
        folder = values
        for name in folders:
            folder = folder[name]
        if value is None:
            del folder[key]
        else:
            folder[key] = value
    return values


def refused(folder, values):
    path = folder / "card.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError) as caught:
        read_card(path)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


RATE = "ensemble__grid__learning_rate"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {RATE: None, "ensemble__grid__temperature": [0.1, 1.0]},
            "search: the grid needs an axis learning_rate, the values to search through",
        ),
        ({RATE: None, "ensemble__fixed__learning_rate": 0.1}, "search: the grid needs an axis learning_rate"),
        ({RATE: None, "ensemble__grid__rate_over_richness": [1, 10]}, "search: the grid needs an axis learning_rate"),
        ({RATE: [0.1]}, "search: the grid needs an axis learning_rate"),
        (
            {"ensemble__grid": None, "ensemble__points": [{"learning_rate": 0.1}, {"learning_rate": 1}]},
            "search: the grid needs an axis learning_rate",
        ),
        ({RATE: [0.1, 1, 10, 1000]}, "search: learning_rate must have equal steps in its logarithm"),
        ({RATE: {"from": 1, "to": 10, "count": 10}}, "search: learning_rate must have equal steps in its logarithm"),
        ({RATE: [0, 1]}, "search: learning_rate must be positive"),
        ({"ensemble__running": ["batch_loss"]}, "by test_loss and batch_loss; test_loss must be running"),
        ({"ensemble__running": ["test_loss"]}, "by test_loss and batch_loss; batch_loss must be running"),
        ({"ensemble__running": ["coupling"]}, "test_loss and batch_loss must be running"),
        ({"ensemble__steps": None, "ensemble__flow_time": 10}, "search: learning rates are compared after equally"),
        ({"ensemble__job_axes": ["learning_rate"]}, "search: learning_rate is what one job searches through"),
        ({"ensemble__records": {"at": [2], "weights": {"at": [2]}}}, "search: it records no weights"),
        ({"analysis__observables": ["gradient_norm"]}, "analysis.observables: a search leaves no weights"),
        ({"ensemble__search__refine": 0.5}, "search: refine must be smaller than the step of learning_rate, 0.5"),
        ({"ensemble__search__refine": 0}, "ensemble.search.refine: input should be greater than or equal to 0.0001"),
        ({"ensemble__search__below": 0}, "ensemble.search.below: input should be greater than 0, not 0"),
        ({"ensemble__search__below": None}, "ensemble.search.below: this key is missing"),
        ({"ensemble__search__above": "high"}, "ensemble.search.above: input should be a valid number"),
        ({"ensemble__search__abov": 1}, "unknown key 'abov' (did you mean 'above'?)"),
    ],
)
def test_bad_searches_are_refused(tmp_path, changes, message):
    assert message in refused(tmp_path, changed(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {RATE: [1000, 100, 10, 1]},  # in any order
        {RATE: [0.1, 0.316, 1.0, 3.16]},  # as one writes them
        {"ensemble__fixed__momentum": 0.9},
        {"ensemble__job_axes": ["richness", "replica"]},
        {"ensemble__search__refine": None},
        {"ensemble__search__above": -1},
    ],
)
def test_good_searches_are_not(changes):
    assert Card.model_validate(changed(**changes)).ensemble.search is not None


def named(**changes):
    return {part.name for part in parts(Card.model_validate(changed(**changes)))}


def test_a_search_is_part_of_the_digest():
    names = named()
    for change in (
        {"ensemble__search": None},
        {"ensemble__search__above": 2},
        {"ensemble__search__below": 2},
        {"ensemble__search__refine": 0.2},
        {"ensemble__search__refine": None},
        {RATE: {"from": 1.0e-5, "to": 1.0e2, "count": 15, "spacing": "log"}},
    ):
        assert not names & named(**change), change
    assert named(ensemble__threads=2) == names


def test_the_shard_is_searched_as_the_card_says():
    card = Card.model_validate(changed())
    (part,) = parts(card)
    assert Shard.from_dict(shard_content(card, part)).search == SearchSettings(3, 1.5, 0.1)
    plain = Card.model_validate(changed(ensemble__search=None))
    assert "search" not in shard_content(plain, parts(plain)[0])
