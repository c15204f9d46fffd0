"""A search as a job and as a cube: stopped anywhere, it goes on and leaves the same file; its words reach the cube."""

import json
import signal
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from sgdphases.config import read_card
from sgdphases.ensemble import status
from sgdphases.shards import parts, shard_content
from sgdphases.steps import measure, merge, resolve, train
from sgdphases.storage import cube
from sgdphases.storage.records import open_records

CARD = """
title: A small search
study: richness
paper: someone
ensemble:
  dataset: {name: gaussian_mixture, classes: 3, dim: 5, samples: 400, separation: 2}
  network: {widths: [5, 16, 3], activation: relu, parametrisation: mean_field, centered: true}
  sampler: one_pass
  steps: 40
  records: {at: [5, 20]}
  replicas: 2
  running: [batch_loss, test_loss, test_accuracy]
  streams: {weights: shared}
  search: {above: 3, below: 1, refine: 0.1}
  fixed: {batch_size: 8, loss: mean_squared_error}
  grid:
    richness: [0.1, 3]
    learning_rate: {from: 1.0e-3, to: 1.0e+4, count: 15, spacing: log}
analysis: {}
"""


class Stop(Exception):
    """What ends a job at once, as kill -9 does."""


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("card") / "small.yaml"
    path.write_text(CARD)
    card = read_card(path)
    (part,) = parts(card)
    return shard_content(card, part)


def arguments(folder, shard, **extra):
    path = folder / "results" / "toy" / "shards" / "abc.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(shard))
    values = {"shard": path, "records": folder / "abc.nc", "checkpoints": folder / "checkpoints", "data": folder}
    values |= {"device": "cpu", **extra}
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def contents(path):
    """All variables of a file as bytes, and its attributes."""
    with netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        found = {name: (str(v.dtype), np.ascontiguousarray(v[...]).tobytes()) for name, v in file.variables.items()}
        return found | {name: ("", repr(file.getncattr(name)).encode()) for name in file.ncattrs()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, content):
    """Folder of an undisturbed search, and of the same networks all trained."""
    folder = tmp_path_factory.mktemp("whole")
    train.main(arguments(folder / "search", content))
    train.main(arguments(folder / "all", {name: value for name, value in content.items() if name != "search"}))
    return folder


def test_records_are_those_of_the_full_rectangle_where_something_was_tried(whole, content):
    with open_records(whole / "search/abc.nc") as found, open_records(whole / "all/abc.nc") as full:
        tried = found.whole("tried") == 1
        assert len(tried) == 60
        assert 20 < tried.sum() < 45
        for name in ("test_loss", "test_accuracy"):
            assert np.array_equal(found.scalar(name)[:, tried], full.scalar(name)[:, tried], equal_nan=True)
            assert np.isnan(found.scalar(name)[:, ~tried]).all()
        losses = found.whole("batch_loss")
        assert np.array_equal(losses[tried], full.whole("batch_loss")[tried], equal_nan=True)
        assert losses.shape == (60, 40)
        assert np.isnan(losses[~tried]).all()
        assert np.array_equal(found.diverged_at, np.where(tried, full.diverged_at, -1))
        assert not [name for name in found.variables if name.startswith(("weights_", "bias_"))]
        assert np.isfinite(found.whole("bracket")[..., 0]).sum(axis=0).max() == 4  # one edge a strip
        assert found.shard["search"] == content["search"]
    assert not (whole / "search/checkpoints").exists()


class Counted:
    """Stands in for the progress of a job and stops it at one call."""

    def __init__(self, monkeypatch, last, kind):
        self.calls, self.last, self.kind = 0, last, kind
        shown = train.Job._progress

        def progress(job, progress):
            self.calls += 1
            if self.calls == last and kind == "signal":
                job.signals.received = signal.SIGTERM
            if self.calls == last and kind == "kill":
                raise Stop
            return shown(job, progress)

        monkeypatch.setattr(train.Job, "_progress", progress)

    def of(self, folder, content, **extra):
        """Run a job; how often it has shown its progress."""
        train.main(arguments(folder, content, **extra))
        return self.calls


def test_a_signal_at_every_moment(tmp_path, whole, content):
    """Each job is stopped at its first call of the progress; the next goes on behind it, and the file is the same."""
    with pytest.MonkeyPatch.context() as patch:
        undisturbed = Counted(patch, 0, "").of(tmp_path / "0", content)
    assert undisturbed > 30
    for stops in range(undisturbed):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
            Counted(patch, 1, "signal").of(tmp_path, content)
        assert end.value.code == 128 + signal.SIGTERM
        assert not (tmp_path / "abc.nc").exists()
        assert len(list(tmp_path.glob("checkpoints/round-*.npz"))) == stops // 3  # three calls a round
        assert len(list(tmp_path.glob("checkpoints/round-*/state-*.npz"))) in (1, 2)
    with pytest.MonkeyPatch.context() as patch:
        assert Counted(patch, 0, "").of(tmp_path, content) == 0  # all steps are done
    assert contents(tmp_path / "abc.nc") == contents(whole / "search/abc.nc")
    assert not (tmp_path / "checkpoints").exists()


def test_killed_at_every_moment(tmp_path, whole, content):
    """Jobs are killed in the first, second, third call of each round; only that round is lost."""
    for kills in range(200):
        with pytest.MonkeyPatch.context() as patch:
            counted = Counted(patch, kills % 4 + 1, "kill")  # the fourth job gets through a round
            try:
                counted.of(tmp_path, content)
            except Stop:
                finished = len(list(tmp_path.glob("checkpoints/round-*.npz")))
                assert finished == (kills + 1) // 4
            else:
                break
    assert kills > 40
    assert contents(tmp_path / "abc.nc") == contents(whole / "search/abc.nc")
    assert not (tmp_path / "checkpoints").exists()


def test_killed_behind_a_checkpoint(tmp_path, whole, content):
    """Jobs that save at every call and are killed at the next lose what lies between, inside a round too."""
    kills = 0
    while True:
        with pytest.MonkeyPatch.context() as patch:
            try:
                Counted(patch, 2, "kill").of(tmp_path, content, checkpoint_seconds=0)
            except Stop:
                kills += 1
            else:
                break
    assert kills > 20
    assert contents(tmp_path / "abc.nc") == contents(whole / "search/abc.nc")
    assert not (tmp_path / "checkpoints").exists()


def test_stopped_at_every_round(tmp_path, whole, content, monkeypatch):
    """A job that is killed as each round ends has lost nothing but what it did in between."""
    from sgdphases.ensemble import checkpoint

    written = checkpoint.write_arrays

    def stopping(path, arrays):
        written(path, arrays)
        raise Stop

    monkeypatch.setattr(checkpoint, "write_arrays", stopping)
    for number in range(50):
        try:
            train.main(arguments(tmp_path, content))
        except Stop:
            assert len(list(tmp_path.glob("checkpoints/round-*.npz"))) == number + 1
        else:
            break
    assert 10 < number < 49
    assert contents(tmp_path / "abc.nc") == contents(whole / "search/abc.nc")
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("harm", ["cut", "foreign", "gone"])
def test_damaged_rounds_are_made_anew(tmp_path, whole, content, harm, caplog):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        Counted(patch, 24, "kill")
        train.main(arguments(tmp_path, content))
    path = tmp_path / "checkpoints/round-0003.npz"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-900])
    elif harm == "foreign":
        path.write_bytes(path.with_name("round-0005.npz").read_bytes())
    else:
        path.unlink()
    train.main(arguments(tmp_path, content))
    assert ("round-0003.npz is damaged" in caplog.text) == (harm == "cut")
    assert contents(tmp_path / "abc.nc") == contents(whole / "search/abc.nc")


def test_a_signal_between_rounds_ends_the_job(tmp_path, content, monkeypatch):
    from sgdphases.ensemble import checkpoint

    written = checkpoint.write_arrays

    def signalled(path, arrays):
        written(path, arrays)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(checkpoint, "write_arrays", signalled)
    with pytest.raises(SystemExit) as end:
        train.main(arguments(tmp_path, content))
    assert end.value.code == 128 + signal.SIGTERM
    assert len(list(tmp_path.glob("checkpoints/round-*"))) == 1


def test_progress_and_events(tmp_path, content, capsys, caplog):
    from sgdphases.tracking.spool import read

    with caplog.at_level("INFO"):
        train.main(arguments(tmp_path, content, spool=tmp_path / "train.jsonl"))
    assert "of 60 networks tried" in caplog.text
    assert "network-step" in capsys.readouterr().err
    metrics = [event for event in read(tmp_path / "train.jsonl") if event["event"] == "metrics"]
    assert [event["step"] for event in metrics] == list(range(len(metrics)))
    assert all(event["values"]["network_steps_per_second"] > 0 for event in metrics)


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """The cube of the card, and the folder of its files."""
    folder = tmp_path_factory.mktemp("small")
    card = folder / "small.yaml"
    card.write_text(CARD)
    (part,) = parts(read_card(card))
    shard, records, measured = (str(folder / name) for name in ("s.json", "r.nc", "m.nc"))
    resolve.main(["--card", str(card), "--shard", part.name, "--output", shard])
    train.main(
        ["--shard", shard, "--records", records, "--checkpoints", str(folder / "c"), "--data", str(folder)]
        + ["--device", "cpu"]
    )
    measure.main(["--records", records, "--card", str(card), "--measured", measured])
    merge.main(["--card", str(card), "--cube", str(folder / "cube.nc"), measured])
    return cube.read(folder / "cube.nc"), Path(records)


def test_the_cube_of_a_search(merged):
    found, _ = merged
    axes = ("richness", "learning_rate", "replica")
    assert found["tried"].dims == axes
    assert found["bracket"].dims == (*axes, "criterion", "side")
    assert found["status"].dims == (*axes, "step")
    assert found["batch_loss"].dims == (*axes, "update")
    assert found["criterion_name"].values.tolist() == list(status.CRITERIA)
    assert found["side_name"].values.tolist() == list(status.SIDES)
    assert found["status"].attrs["flag_meanings"] == "nonfinite finite_untrained trained catapult"
    assert found["status"].dtype == found["tried"].dtype == np.int8
    end = found.isel(step=-1)
    assert ((end["status"] == -1) == (end["tried"] == 0)).all()
    assert ((end["status"] == 0) == (end["diverged_at"] >= 0)).all()
    start = found["status"].isel(step=0)
    assert set(start.values[found["tried"].values == 1].tolist()) <= {1, 2}
    assert (end["status"] >= 2).any()


def test_its_brackets_stand_beside_its_edges(merged):
    found, _ = merged
    end, rates = found.isel(step=-1), found["learning_rate"].values
    for richness in range(2):
        for replica in range(2):
            strip = end.isel(richness=richness, replica=replica)
            growth = status.loss_growth(strip["batch_loss"].values, [40])[:, 0]
            quiet = status.calm(strip["status"].values, growth)
            places = status.edges(strip["status"].values, quiet, strip["test_loss"].values)
            for criterion, (good, bad) in enumerate(places.tolist()):
                bracket = strip["bracket"].isel(criterion=criterion).values
                assert np.flatnonzero(np.isfinite(bracket[:, 0])).tolist() == [good]
                if bad >= 0:
                    assert rates[good] <= bracket[good, 0] < bracket[good, 1] <= rates[bad] * (1 + 1e-9)
