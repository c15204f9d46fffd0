"""The whole grid of arXiv 2509.01349 at a thousandth of its schedule, against the published maps (oracle 17)."""

from pathlib import Path

import numpy as np
import pytest

from sgdphases.config import Card, read_card
from sgdphases.datasets.loading import load_tasks
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.trainer import train
from sgdphases.observables.measurement import Measurement
from sgdphases.shards import parts, shard_content
from sgdphases.theory import published

CARD = Path(__file__).parents[2] / "workflow" / "experiments" / "dyson_quick.yaml"
WORDS = ["overlap", "log_spread_growth"]
REPLICAS = 3
"""Not the ten of the card: two minutes less, and well above the limits still."""


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Replica means after 1e5 steps, (temperature, init_scale) as the published tables have them."""
    values = read_card(CARD).model_dump(exclude_unset=True)
    values["ensemble"] |= {"job_axes": [], "records": {}, "running": [], "replicas": REPLICAS}
    card = Card.model_validate(values)
    (part,) = parts(card)
    shard = Shard.from_dict(shard_content(card, part))
    network, columns = shard.network, shard.networks
    tasks = load_tasks(
        shard.dataset,
        widths=network.widths,
        trained=network.trained,
        activation=network.activation,
        seeds=columns["seed_task"].tolist(),
        directory=tmp_path_factory.mktemp("data"),
    )
    records = []
    train(shard, tasks, device="cpu", on_record=records.append)
    first, last = records
    found = Measurement(shard, tasks, initial_weights=first.weights, words=WORDS).at(last.weights)
    temperatures = columns["learning_rate"] / shard.batch_size
    cells = {
        (t, scale): (temperatures == t) & (columns["init_scale"] == scale)
        for t in published.TEMPERATURES
        for scale in published.INIT_SCALES
    }
    shape = (len(published.TEMPERATURES), len(published.INIT_SCALES))
    return {word: np.reshape([found[word][cell].mean() for cell in cells.values()], shape) for word in WORDS}


@pytest.mark.slow
def test_overlap_map_is_the_published_one(maps):
    assert np.corrcoef(maps["overlap"].ravel(), published.OVERLAP.ravel())[0, 1] >= 0.98


@pytest.mark.slow
def test_growth_map_is_the_published_one(maps):
    # The published map shows shrinking as zero.
    growth = np.maximum(maps["log_spread_growth"].squeeze(), 0)
    assert np.corrcoef(growth.ravel(), published.LOG_SPREAD_GROWTH.ravel())[0, 1] >= 0.985
