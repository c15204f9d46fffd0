"""Steps `store` and `track` on a synthetic cube: the phase diagram's data arrive in the store, once."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from mlflow import MlflowClient

from sgdphases.steps import store as step_store
from sgdphases.steps import track
from sgdphases.storage import cube as cubes
from sgdphases.tracking import address, store
from sgdphases.tracking.spool import Spool

RATES, SCALES, STEPS = [0.01, 0.1, 1.0], [1.0, 2.0], [0, 10, 1000]
CLAIMS = """claim,paper,source,quantity,expected,tolerance,measured,error,verdict,reason
dyson-01,p,Fig 1,slope,1,0.1,1.02,0.01,pass,
dyson-02.1,p,Fig 2,part,1,0.1,3,0.01,fail,
dyson-02,p,Fig 2,all | parts,1,0.1,2,0.01,fail,
dyson-03,p,eq 3,loss,2,0.2,,,not_measured,more steps
"""


def plane(layers: int = 1) -> xr.Dataset:
    """A cube of 3 x 2 points, 4 replicas, 3 steps."""
    rng = np.random.default_rng(0)
    dims = ("learning_rate", "init_scale", "replica", "step")
    shape = (len(RATES), len(SCALES), 4, len(STEPS))
    phase = np.zeros(shape, dtype=np.int8)
    phase[:, 1, :, -1] = [2, 2, 3, 1]
    loss = rng.random(shape)
    loss[0, 0, 0, -1] = np.nan
    loss[2, 1, :, -1] = np.nan
    criterion = np.zeros(shape, dtype=np.int8)
    criterion[:, :, :, -1] = [1, 1, 0, -1]
    meanings = {"flag_values": np.array([0, 1, 2, 3], np.int8), "flag_meanings": "undecided ferro spin_glass para"}
    data = {
        "train_loss": (dims, loss),
        "eigenvalues": ((*dims, "mode"), rng.random((*shape, 3))),
        "criterion_corrected": (dims, criterion),
        "phase": (dims, phase, meanings),
        "diverged_at": (dims[:3], np.where(np.arange(4) == 0, 10, -1) * np.ones(shape[:3], dtype=np.int64)),
        "rank": ((), 3),
    }
    if layers > 1:
        data["overlap"] = ((*dims, "layer"), rng.random((*shape, layers)))
    coordinates = {
        "learning_rate": RATES, "init_scale": SCALES, "replica": np.arange(4), "step": STEPS, "batch_size": 4,
        "temperature": ("learning_rate", np.array(RATES) / 4), "loss": "half_squared_error",
        "flow_time": (("learning_rate", "step"), np.outer(RATES, STEPS)),
    }  # fmt: skip
    return xr.Dataset(data, coordinates | ({"layer": np.arange(layers)} if layers > 1 else {}), {"samples": 40})


def files(folder: Path, cube: xr.Dataset) -> list[str]:
    """An experiment's files; the command line of `track` for them."""
    cubes.write(cube, folder / "cube.nc")
    (folder / "claims.csv").write_text(CLAIMS)
    (folder / "card.yaml").write_text("experiment: toy\n")
    (folder / "map.png").write_bytes(b"png")
    for rule, key in (("train", "a"), ("train", "b"), ("measure", "a"), ("track", "toy")):
        path = folder / "logs" / f"{rule}-{key}.jsonl"
        with Spool(path, experiment="toy", rule=rule, key=key, project=folder) as spool:
            spool.metrics({"epoch_train_loss": 1.0}, step=4)
            spool.dataset("digits", "d", "sklearn")
    with Spool(folder / "logs" / "other.jsonl", experiment="other", rule="train", key="a"):
        pass
    words = "--experiment toy --cube cube.nc --claims claims.csv --figures map.png --card card.yaml --spools logs"
    return [*words.split(), "--uri", "tracking/mlflow.db", "--stamp", "tracking/toy.json"]


def stored(name: str = "toy") -> dict:
    client = MlflowClient(tracking_uri=address.absolute("tracking/mlflow.db"))
    return {run.info.run_name: run for run in client.search_runs([client.get_experiment_by_name(name).experiment_id])}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    store.prepare(str(path), None, [])
    return path


@pytest.fixture
def folder(empty_store, tmp_path, monkeypatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tracking").mkdir()
    shutil.copy(empty_store, tmp_path / "tracking" / "mlflow.db")
    yield tmp_path
    for engine in store.SqlAlchemyStore._engine_map.values():
        engine.dispose()


def test_the_phase_diagram_is_in_the_store(folder):
    cube = plane()
    command = files(folder, cube)
    track.main(command)
    found = stored()
    assert len(found) == 1 + 3 + 6
    one = found["0.01, 2 (learning_rate, init_scale)"]
    assert one.data.params == {
        "learning_rate": "0.01", "init_scale": "2", "temperature": "0.0025", "batch_size": "4",
        "loss": "half_squared_error",
    }  # fmt: skip
    last = cube.isel(step=-1)
    cell = last.sel(learning_rate=0.01, init_scale=2.0)
    assert one.data.metrics == pytest.approx(
        {
            "log10_learning_rate": -2.0,
            "train_loss": float(cell["train_loss"].mean()),
            "train_loss_sd": float(np.std(cell["train_loss"].values, ddof=1)),
            "criterion_corrected": 2 / 3,
            "diverged_fraction": 0.25,
        }
    )
    assert (one.data.tags["phase"], one.data.tags["kind"]) == ("spin_glass", "point")
    assert "learning_rate=0.01, init_scale=2" in one.data.tags["mlflow.note.content"]
    lost = found["0.01, 1 (learning_rate, init_scale)"]
    values = last["train_loss"].sel(learning_rate=0.01, init_scale=1.0).values
    assert lost.data.metrics["train_loss"] == pytest.approx(np.nanmean(values))
    assert lost.data.tags["phase"] == "undecided"
    assert "train_loss" not in found["1, 2 (learning_rate, init_scale)"].data.metrics  # every replica diverged
    stamp = json.loads((folder / "tracking" / "toy.json").read_text())
    assert (stamp["complete"], stamp["runs"]) == (True, {"experiment": 1, "job": 3, "point": 6})


def test_the_parent_says_what_it_is_and_how_to_repeat_it(folder):
    track.main(files(folder, plane()))
    found = stored()
    parent = found["toy"]
    note = parent.data.tags["mlflow.note.content"]
    assert "1 passed, 1 failed, 1 not measured" in note
    assert "`snakemake --cores all cube.nc`" in note
    assert "all \\| parts" in note
    assert "batch_size=4" in note
    assert parent.data.tags["claims"] == "1 pass, 1 fail, 1 not_measured"
    assert {"code_version", "cube_sha256", "card_sha256"} <= set(parent.data.tags)
    assert parent.inputs.dataset_inputs[0].dataset.name == "digits"
    client = MlflowClient(tracking_uri=address.absolute("tracking/mlflow.db"))
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"figures", "claims.csv", "card.yaml"}
    children = [run for run in found.values() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == 9
    assert all(parent.info.start_time <= run.info.start_time for run in children)
    experiment = client.get_experiment_by_name("toy")
    assert {"mlflow.sharedViewState.grid", "mlflow.sharedViewState.training"} <= set(experiment.tags)


def test_tracking_again_adds_nothing_and_a_new_cube_replaces_its_points(folder):
    cube = plane()
    command = files(folder, cube)
    track.main(command)
    before = {name: run.to_dictionary() for name, run in stored().items()}
    track.main(command)
    assert {name: run.to_dictionary() for name, run in stored().items()} == before
    cube["train_loss"][1, 1] += 1.0
    cubes.write(cube, folder / "cube.nc")
    track.main(command)
    after = stored()
    changed = [name for name, run in after.items() if run.info.run_id != before[name]["info"]["run_id"]]
    assert changed == ["0.1, 2 (learning_rate, init_scale)"]


def test_layers_have_their_own_metrics(folder):
    track.main(files(folder, plane(layers=20)))
    one = stored()["0.1, 1 (learning_rate, init_scale)"]
    assert {"overlap_layer0", "overlap_layer19", "train_loss_sd", "overlap_layer4_sd"} <= set(one.data.metrics)
    assert len(one.data.metrics) == 30
    assert "metrics_left_out" not in one.data.tags


def test_a_star_of_points(folder):
    cube = plane().isel(init_scale=0, drop=True).rename(learning_rate="point")
    cube = cube.rename(point="rate").rename_dims(rate="point").rename(rate="learning_rate")
    cube = cube.drop_indexes("learning_rate").assign_coords(point=np.arange(3), momentum=("point", [0.0, 0.9, 0.0]))
    command = files(folder, cube)
    track.main(command)
    points = [name for name, run in stored().items() if run.data.tags["kind"] == "point"]
    assert len(points) == 3


def test_a_store_that_is_down_costs_a_warning_and_a_later_replay(folder, caplog, monkeypatch):
    monkeypatch.setattr(address, "LOCK_SECONDS", 0.05)
    command = files(folder, plane())
    with address.one_writer(address.absolute("tracking/mlflow.db")):
        track.main(command)
        step_store.main(["--uri", "tracking/mlflow.db", "--experiments", "toy", "--stamp", "tracking/store.json"])
    assert "first line replays everything" in caplog.text
    assert json.loads((folder / "tracking" / "toy.json").read_text())["complete"] is False
    assert json.loads((folder / "tracking" / "store.json").read_text())["complete"] is False
    track.main(command)
    assert json.loads((folder / "tracking" / "toy.json").read_text())["complete"] is True
    assert len(stored()) == 10


def test_store_makes_the_experiments(folder):
    step_store.main(["--uri", "tracking/mlflow.db", "--experiments", "toy", "other", "--stamp", "stamp.json"])
    stamp = json.loads((folder / "stamp.json").read_text())
    assert stamp["complete"]
    assert set(stamp["experiments"]) == {"toy", "other"}
    assert stored("other") == {}


def test_a_grid_of_the_papers_size_takes_seconds(folder):
    """144 points of 12 observables and 40 jobs; processor time, because other work may share the machine."""
    rng = np.random.default_rng(0)
    dims = ("learning_rate", "init_scale", "replica", "step")
    data = {f"observable_{k}": (dims, rng.random((12, 12, 2, 3))) for k in range(12)}
    cube = xr.Dataset(
        data, {"learning_rate": np.logspace(-3, 0, 12), "init_scale": np.linspace(1, 2, 12), "step": STEPS}
    )
    command = files(folder, cube)
    for number in range(40):
        with Spool(folder / "logs" / f"many-{number}.jsonl", experiment="toy", rule="train", key=f"m{number}") as spool:
            for step in range(100):
                spool.metrics({"train_loss": 1.0, "alive": 1.0}, step=step)
    start = time.process_time()
    track.main(command)
    assert time.process_time() - start < 30
    assert len(stored()) == 1 + 43 + 144
