"""The chaos study through the house: a flow-time card with every measure and fit, and a map of random matrices."""

import csv
import re

import numpy as np
import pytest
import xarray as xr

from copied_project import copy_project

pytestmark = pytest.mark.slow

CARDS = ("experiments=[chaos_toy,map_toy]",)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results of both cards."""
    copy = copy_project(tmp_path_factory.mktemp("chaos"))
    copy.snakemake(config=CARDS)
    assert copy.planned(config=CARDS) == {}
    return copy.folder / "results"


def test_the_cube_counts_flow_time(results):
    cube = xr.load_dataset(results / "chaos_toy" / "cube.nc")
    sizes = {"momentum": 2, "weight_decay": 2, "replica": 2, "flow_time": 26, "layer": 2, "control": 5}
    assert {name: cube.sizes[name] for name in sizes} == sizes
    assert cube["step"].dims == ("momentum", "flow_time")
    np.testing.assert_allclose(cube["step"].isel(flow_time=-1), [400, 200])
    np.testing.assert_allclose(cube["epoch_time"].isel(flow_time=-1), 20 / 300)
    np.testing.assert_allclose(cube["l2_strength"], [0, 0.005])
    assert float(cube["epoch"].isel(flow_time=-1, momentum=0)) == pytest.approx(400 // 19 + 400 % 19 * 16 / 300)
    assert cube["coupling"].notnull().all()
    seen = cube["lyapunov"].notnull().all([dim for dim in cube["lyapunov"].dims if dim != "flow_time"])
    assert seen.values.nonzero()[0].tolist() == [0, 5, 10, 15, 20, 25]


def test_fits_say_what_the_runs_did(results):
    growth = xr.load_dataset(results / "chaos_toy" / "fits" / "weight_growth.nc")
    assert (growth["growth_constant"].sel(weight_decay=0) > 0).all()
    balance = xr.load_dataset(results / "chaos_toy" / "fits" / "balance.nc")
    assert abs(balance["window_relative_error"].sel(weight_decay=0)).max() < 0.03
    cube = xr.load_dataset(results / "chaos_toy" / "cube.nc")
    end = cube["coupling"].isel(flow_time=-1, layer=0)
    assert (end.sel(weight_decay=0.01) < end.sel(weight_decay=0)).all()


def test_the_map_tells_order_from_chaos(results):
    cube = xr.load_dataset(results / "map_toy" / "cube.nc").isel(step=-1)
    middle = cube.sel(coupling_ratio=0, method="nearest").mean("replica")
    assert middle["lyapunov"].sel(init_scale=4) > 0.1
    assert middle["lyapunov"].sel(init_scale=0.5) < -0.4
    assert "epoch" not in cube.coords


@pytest.mark.parametrize("experiment", ["chaos_toy", "map_toy"])
def test_claims_are_entered_and_figures_drawn(results, experiment):
    with (results / experiment / "claims.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["verdict"] for row in rows} <= {"pass", "fail", "not_measured"}
    entered = {int(re.fullmatch(r"chaos-(\d+)(\.\d+)?", row["claim"])[1]) for row in rows}
    assert entered >= set(range(1, 20))
    drawn = list((results / experiment / "figures").glob("*.png"))
    assert drawn
    assert all(path.stat().st_size > 10_000 for path in drawn)
