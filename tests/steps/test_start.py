"""The steps start, train and merge with a start: files in, files out."""

import json
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
import yaml

from sgdphases.config import Card
from sgdphases.ensemble.checkpoint import Checkpoints
from sgdphases.shards import parts, shard_content, start_content
from sgdphases.steps import start, train
from sgdphases.steps.merge import with_start
from sgdphases.storage import cube
from sgdphases.storage.records import open_records
from sgdphases.storage.start import MEANINGS, PLANE, read_start
from sgdphases.theory.momentum_displacement import displacement_from_rest

TOY = yaml.safe_load((Path(__file__).parents[1] / "workflow" / "cards" / "diffusion_toy.yaml").read_text())
RUNNING = ["global_displacement", "displacement_gram"]


def card(loss="cross_entropy", **changes):
    values = json.loads(json.dumps(TOY))
    values["ensemble"]["fixed"]["loss"] = loss
    values["ensemble"]["start"] = {"directions": {"hessian": 12}} | changes
    values["ensemble"] |= {"network": {"widths": [64, 10], "bias": True}, "steps": 10, "records": {"at": [5]}}
    return Card.model_validate(values)


def made(folder, card, monkeypatch, seconds=60):
    """Run step start for a card; its file."""
    monkeypatch.setattr(start, "set_threads", lambda threads: None)  # torch is loaded, and other tests need theirs
    content = folder / "start.json"
    content.write_text(json.dumps(start_content(card)))
    start.main(
        [
            *("--content", str(content), "--experiment", "toy", "--start", str(folder / "start.nc"), "--data", "data"),
            *("--checkpoints", str(folder / "kept-start"), "--device", "cpu", "--checkpoint-seconds", str(seconds)),
        ]
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


def test_training_that_was_killed_goes_on(tmp_path, monkeypatch):
    how = card(train={"learning_rate": 0.1, "batch_size": 16, "epochs": 80})
    whole = read_start(made(tmp_path, how, monkeypatch))
    assert not list((tmp_path).glob("kept-start*/*"))
    (tmp_path / "start.nc").unlink()
    steps, save = [], Checkpoints.save

    def killed(self, state):
        save(self, state)
        steps.append(state.step)
        if len(steps) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path, how, monkeypatch, seconds=0)
    assert not (tmp_path / "start.nc").exists()
    resumed = []
    monkeypatch.setattr(
        Checkpoints,
        "resume",
        lambda self, due, resume=Checkpoints.resume: resumed.append(resume(self, due)) or resumed[0],
    )
    again = read_start(made(tmp_path, how, monkeypatch))
    assert resumed[0].step == steps[-1] > 0
    np.testing.assert_array_equal(again.flat, whole.flat)


def test_training_and_polishing_lower_the_loss(plain, tmp_path, monkeypatch):
    file = made(tmp_path, card(train={"learning_rate": 0.1, "batch_size": 30, "epochs": 2}), monkeypatch)
    (tmp_path / "deep").mkdir()
    deep = made(tmp_path / "deep", card(polish=1e-10, weight_decay=0.1), monkeypatch)
    losses = [float(cube.read(path)["start_loss"]) for path in (plain, file, deep)]
    assert losses[0] > losses[1]
    assert float(cube.read(deep)["start_gradient_norm"]) < 1e-10


def test_walks_from_a_displaced_start_drift_back_as_foretold(tmp_path, monkeypatch):
    """Sixteen networks from a place that is off the minimum, their mean products over the exact recursion."""
    wanted = {"polish": 1e-11, "weight_decay": 0.01, "directions": {"hessian": 20}}
    away = card(**wanted, displaced={"length": 0.05, "modes": 4})
    values = away.model_dump(exclude_unset=True)
    values["ensemble"] |= {"steps": 600, "records": {"at": [100, 600]}, "replicas": 16, "running": RUNNING}
    values["ensemble"]["fixed"] |= {"batch_size": 200, "weight_decay": 0.01}
    values["ensemble"]["grid"] = {"learning_rate": [0.02], "momentum": [0.0]}
    away = Card.model_validate(values)
    file = made(tmp_path, away, monkeypatch)
    around = cube.read(file)
    assert float(around["start_gradient_norm"]) > 1e-4
    inside = float((around["gradient"] ** 2).sum()) / float(around["start_gradient_norm"]) ** 2
    assert inside == pytest.approx(1, abs=0.01)
    names = ("displacement", "learning_rate", "polish", "weight_decay")
    assert [around.attrs[f"start_{name}"] for name in names] == [0.05, 0, 1e-11, 0.01]
    with open_records(train_from(tmp_path, away, file, monkeypatch)) as opened:
        products = opened.scalar("displacement_gram").sum(axis=-1) - opened.scalar("global_displacement")
    drift = products.mean(axis=1) / 15
    curvature, gradient = around["curvature"].values + 0.01, around["gradient"].values
    law = {"gradient": gradient, "learning_rate": 0.02, "momentum": 0.0}
    theory = displacement_from_rest(np.array([[100], [600]]), curvature, 0.0, **law).sum(axis=-1)
    np.testing.assert_allclose(drift[1:], theory, rtol=0.1)
    assert theory[1] > 0.5 * 0.05**2


def test_a_cube_takes_over_what_was_measured(plain):
    merged = xr.Dataset({"position": (("replica", "mode"), np.zeros((2, 12)))}, coords={"mode": np.arange(12)})
    found = with_start(merged, cube.read(plain))
    assert set(found.data_vars) == {"position", *MEANINGS}
    assert found["noise_matrix"].dims == ("mode", "other_mode")
    assert found["other_mode"].attrs["long_name"] == "other mode"
    assert found.attrs["parameters"] == 650
    assert found.attrs["start_displacement"] == found.attrs["start_learning_rate"] == 0


def test_a_plane_is_stored_and_taken_over(tmp_path, monkeypatch):
    file = made(tmp_path, card(plane={"modes": [2, 0], "extent": 0.5, "points": 5}), monkeypatch)
    assert read_start(file).directions.shape == (650, 12)
    merged = xr.Dataset({"position": (("replica", "mode"), np.zeros((2, 12)))}, coords={"mode": np.arange(12)})
    start = cube.read(file)
    found = with_start(merged, start)
    assert set(found.variables) >= set(PLANE)
    assert np.allclose(found["plane_first"], [-0.5, -0.25, 0, 0.25, 0.5])
    assert found["plane_second"].attrs["long_name"].startswith("displacement along the second")
    assert found["plane_modes"].values.tolist() == [2, 0]
    assert found["plane_loss"].dims == ("plane_first", "plane_second")
    assert float(found["plane_loss"][2, 2]) == pytest.approx(float(start["start_loss"]))
    cube.write(found, tmp_path / "cube.nc")
    assert np.array_equal(cube.read(tmp_path / "cube.nc")["plane_test_loss"], start["plane_test_loss"])
