"""Centred targets from the card to accuracy: rows less 1/classes are classes still, and no cross-entropy's targets."""

import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from sgdphases.config import Card
from sgdphases.datasets.loading import load
from sgdphases.ensemble.losses import as_numbers
from sgdphases.ensemble.sampler import Sampler
from sgdphases.ensemble.status import constant_loss
from sgdphases.observables.snapshot import Snapshot

QUICK = Path(__file__).parents[2] / "workflow" / "experiments" / "dyson_quick.yaml"
DATASET = {"name": "gaussian_mixture", "samples": 640}
NETWORK = {"widths": [64, 8, 10], "trained": [True, True], "activation": "relu", "seed": 1, "directory": "nowhere"}


@pytest.fixture
def card():
    values = yaml.safe_load(QUICK.read_text())
    values["ensemble"]["dataset"] = DATASET | {"targets": "centred"}
    return copy.deepcopy(values)


def test_a_card_may_say_centred(card):
    assert Card.model_validate(card).ensemble.dataset["targets"] == "centred"


@pytest.mark.parametrize("place", ["fixed", "grid"])
def test_cross_entropy_of_centred_targets_is_refused(card, place):
    words = card["ensemble"][place]
    card["ensemble"]["fixed"].pop("loss", None)
    words["loss"] = "cross_entropy" if place == "fixed" else ["mean_squared_error", "cross_entropy"]
    with pytest.raises(ValueError, match="cross_entropy needs targets that are shares of classes"):
        Card.model_validate(card)
    card["ensemble"]["dataset"]["targets"] = "one_hot"
    assert Card.model_validate(card).ensemble.dataset == DATASET  # what is not said is not in a digest


def test_accuracy_and_the_trivial_loss_are_those_of_one_hot_rows():
    centred, whole = (load(DATASET | {"targets": form}, **NETWORK) for form in ("centred", "one_hot"))
    assert Snapshot.has_classes.fget(SimpleNamespace(part=SimpleNamespace(tasks=[centred, whole])))
    np.testing.assert_array_equal(centred.targets.argmax(axis=1), whole.targets.argmax(axis=1))
    assert as_numbers(centred.targets, 10) is centred.targets
    for loss in ("half_squared_error", "mean_squared_error"):
        assert constant_loss(centred.targets, loss) == pytest.approx(constant_loss(whole.targets, loss))
    assert constant_loss(centred.targets, "mean_squared_error") == pytest.approx(0.09, abs=1e-3)


def test_one_pass_shows_every_draw_once():
    samples = len(load(DATASET, **NETWORK).inputs)
    sampler = Sampler("one_pass", samples, 64, steps=10)
    np.testing.assert_array_equal(sampler.order(0, 0).ravel(), np.arange(640))
    with pytest.raises(ValueError, match="one pass over 640 samples has 10 batches, not 11"):
        Sampler("one_pass", samples, 64, steps=11)
