"""Steps `resolve` to `merge` where nothing is trained: the random-matrix map as a cube."""

import numpy as np
import pytest

from sgdphases.config import read_card
from sgdphases.shards import parts
from sgdphases.steps import measure, merge, resolve, train
from sgdphases.storage import cube

CARD = """
title: A small plane
study: chaos
paper: zhang2021edge
ensemble:
  dataset: {name: none}
  network: {widths: [40, 40]}
  update: iteration
  steps: 60
  records: {at: [20]}
  replicas: 2
  running: [asymptotic_distance, lyapunov, jacobian_norm, converged]
  grid:
    coupling_ratio: [0, 1.8]
    init_scale: {from: 4, to: 0.5, count: 3, spacing: inverse}
  job_axes: [replica]
  streams: {weights: shared}
analysis: {}
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    card, measured = folder / "plane.yaml", []
    card.write_text(CARD)
    for part in parts(read_card(card)):
        shard, records = folder / f"{part.name}.json", folder / f"{part.name}.nc"
        measured.append(str(folder / f"measured-{part.name}.nc"))
        resolve.main(["--card", str(card), "--shard", part.name, "--output", str(shard)])
        words = ["--shard", str(shard), "--records", str(records), "--checkpoints", str(folder / "checkpoints")]
        train.main([*words, "--data", str(folder), "--device", "cpu"])
        measure.main(["--records", str(records), "--card", str(card), "--measured", measured[-1]])
    merge.main(["--card", str(card), "--cube", str(folder / "cube.nc"), *measured])
    return cube.read(folder / "cube.nc")


def test_the_plane_is_a_cube(plane):
    assert "2 measured shards" in plane.attrs["history"]  # one for each matrix
    assert plane["lyapunov"].dims == ("coupling_ratio", "init_scale", "replica", "step")
    assert plane["step"].values.tolist() == [0, 20, 60]
    np.testing.assert_allclose(plane["inverse_init_scale"], [0.25, 1.125, 2], rtol=1e-11)
    assert set(plane.data_vars) == {"asymptotic_distance", "lyapunov", "jacobian_norm", "converged", "diverged_at"}
    assert plane["asymptotic_distance"].attrs["symbol"] == r"d_\infty"
    assert not {"epoch", "epoch_time"} & set(plane.coords)


def test_its_values_are_those_of_order_and_chaos(plane):
    end = plane.isel(step=-1)
    chaos, order = end.sel(coupling_ratio=0, init_scale=4), end.sel(coupling_ratio=0, init_scale=0.5)
    assert (chaos["lyapunov"] > 0.1).all()
    assert (order["lyapunov"] < -0.3).all()
    assert set(end["converged"].values.ravel().tolist()) <= {0.0, 1.0}
    # One matrix G for all cells of a replica: near zero the Jacobian's norm is that of W.
    np.testing.assert_allclose(order["jacobian_norm"] / 0.5, 1, atol=0.1)
    assert np.isnan(plane["lyapunov"].isel(step=0)).all()
