"""Steps `resolve` to `merge` on the smallest cards: what a cube says about itself."""

import numpy as np
import pytest
import xarray as xr

from sgdphases import provenance
from sgdphases.config import read_card
from sgdphases.shards import parts
from sgdphases.steps import measure, merge, resolve, train
from sgdphases.storage import cube

COMMON = """
title: A small one
study: dyson
paper: {paper}
ensemble:
  dataset: {dataset}
  network: {network}
  update: {update}
  running: {running}
  steps: 4
  records: {{every: 2}}
  replicas: 2
  fixed: {{batch_size: 4, loss: half_squared_error}}
  grid: {{learning_rate: [0.01, 0.02], init_scale: [0.5, 1]}}
  job_axes: [learning_rate]
analysis:
  observables: {observables}
"""
CARDS = {
    "teacher": {
        "paper": "park2025phase",
        "dataset": "{name: teacher_student, samples: 40}",
        "network": "{widths: [3, 6, 4, 1], trained: [false, true, false]}",
        "update": "sgd",
        "running": "[]",
        "observables": "[eigenvalues, train_loss, criterion_corrected]",
    },
    "machine": {
        "paper": "someone",
        "dataset": "{name: scalar_field, sites: 4}",
        "network": "{widths: [4, 4], activation: linear}",
        "update": "contrastive_divergence",
        "running": "[]",
        "observables": "[eigenvalues]",
    },
    "normalised": {
        "paper": "someone",
        "dataset": "{name: digits, targets: classes}",
        "network": "{widths: [64, 2, 10], activation: relu, norm: batch, ghosts: 2}",
        "update": "sgd",
        "running": "[test_loss]",
        "observables": "[]",
    },
}


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """Name of a card to the path of its cube."""
    found = {}
    for name, words in CARDS.items():
        folder = tmp_path_factory.mktemp(name) / name
        card = folder / f"{name}.yaml"
        card.parent.mkdir()
        card.write_text(COMMON.format(**words))
        measured = []
        for part in parts(read_card(card)):
            shard, records = folder / f"{part.name}.json", folder / f"{part.name}.nc"
            measured.append(str(folder / f"measured-{part.name}.nc"))
            resolve.main(["--card", str(card), "--shard", part.name, "--output", str(shard)])
            words = ["--shard", str(shard), "--records", str(records), "--checkpoints", str(folder / "checkpoints")]
            train.main([*words, "--data", str(folder), "--device", "cpu"])
            measure.main(["--records", str(records), "--card", str(card), "--measured", measured[-1]])
        for copy in ("cube.nc", "again.nc"):
            merge.main(["--card", str(card), "--cube", str(folder / copy), *measured])
        found[name] = folder / "cube.nc"
    return found


def test_a_cube_says_where_it_comes_from_and_nothing_of_when(merged):
    attrs = cube.read(merged["teacher"]).attrs
    version = provenance.release()
    assert attrs["references"].startswith("C. Park, B. Lucini, G. Aarts: Phase diagram and eigenvalue dynamics")
    assert (attrs["paper"], attrs["experiment"], attrs["Conventions"]) == ("park2025phase", "teacher", "CF-1.11")
    assert attrs["source"] == f"numerical simulation by sgdphases {version}"
    assert attrs["code_version"] == f"{version}, code {provenance.fingerprint('merge')}"
    assert attrs["history"] == "sgdphases.steps.merge: 2 measured shards of teacher merged"
    assert cube.read(merged["machine"]).attrs["references"] == "someone"
    for path in merged.values():
        assert path.read_bytes() == path.with_name("again.nc").read_bytes()


def test_epochs_are_passes_over_samples_and_a_machine_has_none(merged):
    teacher, machine = (cube.read(merged[name]) for name in ("teacher", "machine"))
    assert (teacher.attrs["samples"], teacher.attrs["feature_samples"]) == (40, 128)
    np.testing.assert_allclose(teacher["epoch"], [0, 0.2, 0.4])
    assert "epoch" not in machine.coords
    assert not {"samples", "feature_samples"} & set(machine.attrs)
    assert machine["flow_time"].sel(learning_rate=0.02, step=4) == pytest.approx(0.08)


def test_a_criterion_without_a_value_is_declared_as_missing(merged):
    ours = cube.read(merged["teacher"])["criterion_corrected"]
    assert ours.dtype == np.int8
    with xr.open_dataset(merged["teacher"]) as theirs:
        assert theirs["criterion_corrected"].encoding["_FillValue"] == cube.NO_VALUE
        assert theirs["criterion_corrected"].notnull().equals(ours != cube.NO_VALUE)
        assert theirs["phase"].dtype == np.int8


def test_a_cube_says_how_its_networks_are_normalised(merged):
    found = cube.read(merged["normalised"])
    assert (found.attrs["norm"], found.attrs["ghosts"]) == ("batch", 2)
    assert not {"norm", "ghosts"} & set(cube.read(merged["teacher"]).attrs)
