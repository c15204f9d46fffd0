"""The steps start, train and merge with a start: files in, files out."""

import json
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
import yaml

from sgdphases.config import Card
from sgdphases.shards import parts, shard_content, start_content
from sgdphases.steps import start, train
from sgdphases.steps.merge import with_start
from sgdphases.storage import cube
from sgdphases.storage.records import open_records
from sgdphases.storage.start import MEANINGS, read_start

TOY = yaml.safe_load((Path(__file__).parents[1] / "workflow" / "cards" / "diffusion_toy.yaml").read_text())


def card(loss="cross_entropy", **changes):
    values = json.loads(json.dumps(TOY))
    values["ensemble"]["fixed"]["loss"] = loss
    values["ensemble"]["start"] = {"directions": {"hessian": 12}} | changes
    values["ensemble"] |= {"network": {"widths": [64, 10], "bias": True}, "steps": 10, "records": {"at": [5]}}
    return Card.model_validate(values)


def made(folder, card, monkeypatch):
    """Run step start for a card; its file."""
    monkeypatch.setattr(start, "set_threads", lambda threads: None)  # torch is loaded, and other tests need theirs
    content = folder / "start.json"
    content.write_text(json.dumps(start_content(card)))
    start.main(
        ["--content", str(content), "--experiment", "toy", "--start", str(folder / "start.nc"), "--data", "data"]
    )
    return folder / "start.nc"


def train_from(folder, card, file, monkeypatch):
    """Run step train for a card's only shard; its records."""
    monkeypatch.setattr(train, "set_threads", lambda threads: None)
    (part,) = parts(card)
    shard = folder / "results" / "toy" / "shards" / f"{part.name}.json"
    shard.parent.mkdir(parents=True, exist_ok=True)
    shard.write_text(json.dumps(shard_content(card, part)))
    words = {"shard": shard, "records": folder / "records.nc", "checkpoints": folder / "kept", "data": "data"}
    words |= {"start": file, "device": "cpu"}
    train.main([word for name, value in words.items() for word in (f"--{name}", str(value))])
    return folder / "records.nc"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A start of initial weights."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return made(tmp_path_factory.mktemp("start"), card(), monkeypatch)


def test_without_training_the_initial_weights_are_the_start(plain):
    found = read_start(plain)
    content = start_content(card())
    assert found.name == content["name"]
    assert found.weights[0].shape == (10, 64)
    assert 0.1 < found.weights[0].std() * 8 < 1.5
    assert not found.biases[0].any()
    with netCDF4.Dataset(plain) as file:
        assert set(MEANINGS) <= set(file.variables)
        assert (file.parameters, file.samples) == (650, 300)
        assert float(file["start_gradient_norm"][...]) > 0.01


def test_networks_start_there_and_say_so(plain, tmp_path, monkeypatch):
    records, found = train_from(tmp_path, card(), plain, monkeypatch), read_start(plain)
    with open_records(records) as opened:
        assert np.array_equal(opened.weights(0, 0), np.repeat(found.weights[0][None], 16, axis=0))
        assert opened.scalar("position").shape == (3, 16, 12)
        assert opened.scalar("displacement_gram").shape == (3, 16, 4)
    assert not list(tmp_path.glob("kept*"))


def test_another_start_is_refused(plain, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="not at"):
        train_from(tmp_path, card(seed=1), plain, monkeypatch)


def test_damage_is_seen(plain, tmp_path):
    data = bytearray(plain.read_bytes())
    with netCDF4.Dataset(plain) as file:
        some = np.ascontiguousarray(file["directions"][...]).tobytes()[:64]
    data[data.find(some)] ^= 1
    broken = tmp_path / "start.nc"
    broken.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        read_start(broken)
    broken.write_bytes(plain.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged"):
        read_start(broken)


def test_training_that_diverges_is_refused(tmp_path, monkeypatch):
    wild = card("half_squared_error", train={"learning_rate": 1e200, "batch_size": 30, "epochs": 3})
    with pytest.raises(ValueError, match="start.train: the network diverged"):
        made(tmp_path, wild, monkeypatch)


def test_training_and_polishing_lower_the_loss(plain, tmp_path, monkeypatch):
    file = made(tmp_path, card(train={"learning_rate": 0.1, "batch_size": 30, "epochs": 2}), monkeypatch)
    (tmp_path / "deep").mkdir()
    deep = made(tmp_path / "deep", card(polish=1e-10, weight_decay=0.1), monkeypatch)
    losses = [float(cube.read(path)["start_loss"]) for path in (plain, file, deep)]
    assert losses[0] > losses[1]
    assert float(cube.read(deep)["start_gradient_norm"]) < 1e-10


def test_a_cube_takes_over_what_was_measured(plain):
    merged = xr.Dataset({"position": (("replica", "mode"), np.zeros((2, 12)))}, coords={"mode": np.arange(12)})
    found = with_start(merged, cube.read(plain))
    assert set(found.data_vars) == {"position", *MEANINGS}
    assert found["noise_matrix"].dims == ("mode", "other_mode")
    assert found["other_mode"].attrs["long_name"] == "other mode"
    assert found.attrs["parameters"] == 650
