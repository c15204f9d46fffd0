from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sgdphases.observables import measurement as module
from sgdphases.observables.curvature import LEADING
from sgdphases.observables.measurement import Measurement
from sgdphases.observables.registry import OBSERVABLES

WORDS = [word for word, row in OBSERVABLES.items() if word != "test_accuracy" and "map" not in row.needs]
FROZEN = {"widths": [3, 6, 5, 1], "trained": [False, True, False]}


def shard_of(make: SimpleNamespace, **settings):
    """Nine networks: five on one task, two on another, two on tasks of their own; two losses; all hyperparameters."""
    rng = np.random.default_rng(0)
    settings.setdefault("network", FROZEN)
    shard = make.shard(
        networks=9,
        seed_task=[0, 1, 0, 2, 0, 1, 0, 3, 0],
        learning_rate=rng.random(9).tolist(),
        weight_decay=(rng.random(9) * (np.arange(9) % 2)).tolist(),
        init_scale=rng.random(9).tolist(),
        output_scale=(1 + rng.random(9)).tolist(),
        loss=["squared_error" if n in (2, 3) else "half_squared_error" for n in range(9)],
        **settings,
    )
    return shard, {seed: make.task(shard, seed) for seed in range(4)}


def rows(weights, chosen):
    return {layer: matrix[chosen] for layer, matrix in weights.items()}


@pytest.mark.parametrize("network", [FROZEN, {"widths": [3, 4, 7, 2]}])
def test_a_network_measures_the_same_alone_bit_for_bit(make: SimpleNamespace, network: dict) -> None:
    shard, tasks = shard_of(make, network=network)
    start, weights = make.weights(shard, 1), make.weights(shard, 2)
    together = Measurement(shard, tasks, initial_weights=start, words=WORDS).at(weights)
    for row in range(9):
        alone = Measurement(shard.select([row]), tasks, initial_weights=rows(start, [row]), words=WORDS)
        for word, values in alone.at(rows(weights, [row])).items():
            np.testing.assert_array_equal(values[0], together[word][row], err_msg=f"{word} of network {row}")


def test_values_have_the_shapes_and_types_that_the_registry_says(make: SimpleNamespace) -> None:
    shard, tasks = shard_of(make, network={"widths": [3, 4, 7, 2]})
    weights = make.weights(shard)
    found = Measurement(shard, tasks, initial_weights=weights, words=WORDS).at(weights)
    assert list(found) == WORDS
    sizes = {"layer": 3, "mode": 4, "probe": 21, "output": 2, "eigenvalue": LEADING}
    for word, values in found.items():
        observable = OBSERVABLES[word]
        assert values.shape == (9, *(sizes[axis] for axis in observable.axes))
        assert values.dtype == observable.dtype


def test_at_the_start_nothing_has_moved(make: SimpleNamespace) -> None:
    shard, tasks = shard_of(make)
    weights = make.weights(shard)
    found = Measurement(shard, tasks, initial_weights=weights, words=WORDS).at(weights)
    np.testing.assert_array_equal(found["overlap"], found["overlap_initial"])
    np.testing.assert_array_equal(found["overlap_ratio"], 1.0)
    np.testing.assert_array_equal(found["log_spread_growth"], 0.0)
    np.testing.assert_array_equal(found["weight_movement"], 0.0)
    np.testing.assert_array_equal(found["ntk_growth"], 1.0)
    np.testing.assert_allclose(found["ntk_movement"], 0.0, atol=1e-14)


def test_pieces_of_any_size_give_the_same(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    shard, tasks = shard_of(make)
    weights = make.weights(shard)
    whole = Measurement(shard, tasks, initial_weights=weights, words=WORDS).at(weights)
    monkeypatch.setattr(module, "PART_ELEMENTS", 2 * module.FEATURE_SAMPLES * 6)
    pieces = Measurement(shard, tasks, initial_weights=weights, words=WORDS)
    assert max(len(part.networks) for part in pieces._parts) == 2
    for word, values in pieces.at(weights).items():
        np.testing.assert_array_equal(values, whole[word], err_msg=word)


def test_data_that_seeds_share_are_not_copied(make: SimpleNamespace) -> None:
    shard, tasks = shard_of(make, network={"widths": [3, 4, 2]})
    common = {seed: replace(tasks[0], frozen={}) for seed in range(4)}
    weights = make.weights(shard)
    measurement = Measurement(shard, common, initial_weights=weights, words=["train_loss", "test_loss", "alignment"])
    measurement.at(weights)
    for part in measurement._parts:
        assert len(part.train_data.inputs) == len(part.test_data.inputs) == len(part.feature_data.inputs) == 1
    assert sorted(len(part.networks) for part in measurement._parts) == [2, 7]  # one part for each loss


@pytest.mark.parametrize("accident", ["marked", "nan", "inf"])
def test_a_diverged_network_has_no_values_and_disturbs_nobody(make: SimpleNamespace, accident: str) -> None:
    shard, tasks = shard_of(make)
    start, weights = make.weights(shard, 1), make.weights(shard, 2)
    whole = Measurement(shard, tasks, initial_weights=start, words=WORDS)
    before, alive = whole.at(weights), None
    broken = {1: weights[1].copy()}
    if accident == "marked":
        alive = np.arange(9) != 4
    else:
        broken[1][4, 2, 3] = float(accident)
    after = whole.at(broken, alive=alive)
    others = np.arange(9) != 4
    for word, values in after.items():
        np.testing.assert_array_equal(values[others], before[word][others])
        missing = values[4] == -1 if values.dtype == np.int8 else np.isnan(values[4])
        assert missing.all(), word
    assert np.isfinite(before["train_loss"]).all()


def test_networks_about_to_diverge_raise_no_warning(make: SimpleNamespace) -> None:
    shard, tasks = shard_of(make, network={"widths": [3, 4, 2], "activation": "relu"})
    weights = {layer: 1e120 * matrix for layer, matrix in make.weights(shard).items()}
    found = Measurement(shard, tasks, initial_weights=make.weights(shard, 1), words=WORDS).at(weights)
    assert not np.isfinite(found["gradient_norm"]).any()
    assert np.isfinite(found["eigenvalues"][..., 0]).all()


def test_weights_alone_need_no_data(make: SimpleNamespace) -> None:
    shard = make.shard(networks=4, update="contrastive_divergence", network={"widths": [6, 5], "activation": "linear"})
    weights = make.weights(shard)
    words = ["eigenvalues", "log_spread_growth", "gap_ratio", "bulk_scale"]
    found = Measurement(shard, {}, initial_weights=weights, words=words).at(weights)
    np.testing.assert_allclose(found["eigenvalues"][:, 0], np.linalg.svd(weights[0], compute_uv=False) ** 2)


def test_what_a_network_cannot_give_is_refused_at_once(make: SimpleNamespace) -> None:
    single = make.shard(networks=1, network={"widths": [3, 2]})
    with pytest.raises(ValueError, match="cannot measure overlap, alignment: .*no hidden features"):
        Measurement(single, {}, initial_weights={}, words=["train_loss", "overlap", "alignment"])
    machine = make.shard(networks=1, update="contrastive_divergence", network={"widths": [3, 2]})
    with pytest.raises(ValueError, match="cannot measure train_loss: .*contrastive divergence"):
        Measurement(machine, {}, initial_weights={}, words=["eigenvalues", "train_loss"])
    with pytest.raises(ValueError, match="unknown observable 'eigenvalue'"):
        Measurement(single, {}, initial_weights={}, words=["eigenvalue"])
