import copy
from pathlib import Path

import pytest
import yaml

from sgdphases.config import Card, ConfigError
from sgdphases.shards import parts, points, shard_content

QUICK = yaml.safe_load((Path(__file__).parents[1] / "workflow" / "experiments" / "dyson_quick.yaml").read_text())


def card_with(**changes):
    values = copy.deepcopy(QUICK)
    for key, value in changes.items():
        values["ensemble"][key] = value
    return Card.model_validate(values)


def rows(card):
    """Every network of a card as (hyperparameters, replica, seeds), whatever the sharding."""
    found = {}
    for part in parts(card):
        content = shard_content(card, part)
        columns = content["networks"]
        for row in zip(*columns.values(), strict=True):
            named = dict(zip(columns, row, strict=True)) | {"batch_size": content["batch_size"]}
            seeds = tuple(named.pop(key) for key in sorted(named) if key.startswith("seed_"))
            found[tuple(sorted(named.items()))] = seeds
    return found


def test_every_network_stands_in_one_shard():
    card = card_with()
    assert sum(part.networks for part in parts(card)) == 12 * 12 * 10
    assert len(rows(card)) == 12 * 12 * 10


@pytest.mark.parametrize("job_axes", [[], ["init_scale"], ["learning_rate", "init_scale"], ["replica"]])
def test_seeds_do_not_depend_on_the_sharding(job_axes):
    assert rows(card_with(job_axes=job_axes)) == rows(card_with())


def test_one_more_value_on_a_job_axis_adds_one_shard_and_keeps_the_rest():
    grid = copy.deepcopy(QUICK["ensemble"]["grid"])
    grid["learning_rate"].insert(3, 0.7)
    before, after = {p.name for p in parts(card_with())}, {p.name for p in parts(card_with(grid=grid))}
    assert before < after
    assert len(after - before) == 1


def test_order_of_values_and_neutral_values_change_no_digest():
    grid = {key: values[::-1] for key, values in QUICK["ensemble"]["grid"].items()}
    names = {part.name for part in parts(card_with())}
    assert {part.name for part in parts(card_with(fixed={**QUICK["ensemble"]["fixed"], "momentum": 0.0}))} == names
    assert {part.name for part in parts(card_with(checkpoint_seconds=5, threads=2))} == names
    assert {part.name for part in parts(card_with(grid=grid))} == names


def test_digests_see_what_decides_the_result():
    names = {part.name for part in parts(card_with())}
    for change in ({"steps": 2e5}, {"sampler": "reshuffle"}, {"dtype": "float32"}, {"replicas": 11}):
        assert not names & {part.name for part in parts(card_with(**change))}, change


def test_streams_are_shared_or_own():
    shared = rows(card_with(streams={"task": "shared", "weights": "shared", "order": "shared", "noise": "shared"}))
    own = rows(card_with(streams={"task": "own", "weights": "own", "order": "own", "noise": "own"}))
    assert len(set(shared.values())) == 10
    assert len(set(own.values())) == 1440


def test_temperature_stands_in_for_a_rate():
    card = card_with(grid={"temperature": [0.5, 1.0], "batch_size": [2, 8]}, fixed={}, job_axes=[])
    found = {(p["batch_size"], p["learning_rate"]) for p in points(card.ensemble)}
    assert found == {(2, 1.0), (2, 2.0), (8, 4.0), (8, 8.0)}
    assert len(parts(card)) == 2
    assert {part.points[0]["batch_size"] for part in parts(card)} == {2, 8}


def test_star_of_points():
    card = card_with(grid={}, points=[{"learning_rate": 1, "init_scale": 2}, {"learning_rate": 3}], job_axes=[])
    assert [p["init_scale"] for p in points(card.ensemble)] == [2.0, 1.0]
    assert len(parts(card)) == 1


FLOW = {
    "steps": None,
    "flow_time": 12,
    "records": {"even": 4, "weights": {"at": [6]}},
    "fixed": {"init_scale": 1, "batch_size": 4},
    "grid": {"learning_rate": [0.01, 0.02], "momentum": [0, 0.5]},
    "job_axes": [],
}


def test_flow_time_gives_every_network_its_own_steps():
    found = {part.record_steps[-1]: part for part in parts(card_with(**FLOW))}
    assert {last: part.record_steps for last, part in found.items()} == {
        1200: [0, 300, 600, 900, 1200],
        600: [0, 150, 300, 450, 600],
        300: [0, 75, 150, 225, 300],
    }
    assert found[300].weight_steps == [0, 150, 300]
    points_together = [(point["learning_rate"], point["momentum"]) for point in found[600].points]
    assert sorted(points_together) == [(0.01, 0.5), (0.02, 0.0)]
    content = shard_content(card_with(**FLOW), found[600])
    assert (content["steps"], content["weight_steps"]) == (600, [0, 300, 600])


def test_records_closer_than_a_step_are_refused():
    with pytest.raises(ConfigError, match="closer than one step of learning_rate 0.02 and momentum 0.5"):
        parts(card_with(**FLOW | {"records": {"even": 400}}))
    with pytest.raises(ConfigError, match="stands still where learning_rate is 0"):
        parts(card_with(**FLOW | {"grid": {"learning_rate": [0.0, 0.1]}}))


def test_an_axis_of_the_data_set_parts_shards_and_enters_the_data_set():
    values = {"dataset": {"name": "digits"}, "grid": {"init_scale": [1, 2], "samples": [100, 200]}}
    values |= {"fixed": {"learning_rate": 0.1, "batch_size": 4}, "job_axes": []}
    card = card_with(**values)
    contents = [shard_content(card, part) for part in parts(card)]
    assert [content["dataset"] for content in contents] == [
        {"name": "digits", "samples": 100},
        {"name": "digits", "samples": 200},
    ]
    assert [content["networks"]["samples"] for content in contents] == [[100] * 20, [200] * 20]


RICH = """
title: Small rich networks
study: richness
paper: atanasov2024richness
ensemble:
  dataset: {name: gaussian_mixture, samples: 640}
  network: {widths: [64, 32, 10], activation: relu, parametrisation: mean_field, centered: true}
  sampler: one_pass
  dtype: float32
  double_below: 0.01
  steps: 10
  records: {}
  replicas: 2
  running: [batch_loss, test_loss]
  streams: {weights: shared}
  fixed: {loss: mean_squared_error, batch_size: 64}
  grid:
    richness: [1.0e-3, 1, 100]
    %s
analysis: {}
"""


def rich(axes):
    return Card.model_validate(yaml.safe_load(RICH % axes))


def test_depth_and_width_size_the_networks():
    found = {}
    for part in parts(rich("learning_rate: [1]\n    depth: [0, 2, 4]\n    width: [0, 8]")):
        network = shard_content(rich("learning_rate: [1]"), part)["network"]
        found[part.points[0]["depth"], part.points[0]["width"]] = network["widths"]
        assert len(network["bias"]) == len(network["trained"]) == len(network["init"]) == len(network["widths"]) - 1
    assert found == {
        (0, 0): [64, 32, 10],
        (0, 8): [64, 8, 10],
        (2, 0): [64, 32, 10],
        (2, 8): [64, 8, 10],
        (4, 0): [64, 32, 32, 32, 10],
        (4, 8): [64, 8, 8, 8, 10],
    }


def test_small_richness_is_trained_in_double():
    card = rich("learning_rate: [1, 2]")
    types = {shard_content(card, part)["dtype"]: [p["richness"] for p in part.points] for part in parts(card)}
    assert types == {"float64": [1e-3, 1e-3], "float32": [1, 1, 100, 100]}


@pytest.mark.parametrize(("depth", "layers"), [(2, 2), (4, 4), (0, 2)])
def test_rates_in_units_of_richness_stand_for_learning_rates(depth, layers):
    units = {
        "rate_over_richness": lambda richness: richness,
        "reduced_learning_rate": lambda richness: richness ** (2 / layers),
        "scaled_learning_rate": lambda richness: min(richness**2, richness ** (2 / layers)),
    }
    for axis, unit in units.items():
        for point in points(rich(f"{axis}: [0.5, 4]\n    depth: [{depth}]").ensemble):
            scaled = point["learning_rate"] / unit(point["richness"])
            assert min(abs(scaled - 0.5), abs(scaled - 4)) < 1e-12


def test_a_richness_of_one_changes_no_digest():
    plain = {part.name for part in parts(card_with())}
    assert {part.name for part in parts(card_with(fixed={**QUICK["ensemble"]["fixed"], "richness": 1}))} == plain
