"""The real-data experiment at reduced size, on the genuine Fashion-MNIST from a local mirror."""

import pytest
import xarray as xr

from copied_project import copy_project

pytestmark = [pytest.mark.slow, pytest.mark.mirror]


def test_fashion_learns_where_it_should_and_diverges_where_it_must(tmp_path, mirror):
    copy = copy_project(tmp_path / "fashion")
    copy.snakemake(config=("experiments=[fashion_reduced]",))
    cube = xr.load_dataset(copy.folder / "results/fashion_reduced/cube.nc")
    last = cube.isel(replica=0, step=-1)
    warm = last.sel(temperature=2.0**-12, init_scale=1, batch_size=16)
    assert warm["test_accuracy"] > 0.7
    assert cube["test_accuracy"].isel(step=0).max() < 0.35
    hot = last.sel(temperature=2.0**-6, init_scale=16, batch_size=64)
    assert hot["diverged_at"] > 0
    assert hot["train_loss"].isnull()
    names = dict(zip(cube["phase"].attrs["flag_values"], cube["phase"].attrs["flag_meanings"].split(), strict=True))
    assert names[int(hot["phase"].isel(layer=0))] == "diverged"
    cold = last.sel(temperature=2.0**-16, init_scale=16, batch_size=16)
    assert abs(cold["log_spread_growth"].isel(layer=0)) < 0.1
    assert names[int(cold["phase"].isel(layer=0))] == "undecided"  # nothing has learned yet, so there is no target
    assert (copy.folder / "results/fashion_reduced/figures/phase_diagram.png").stat().st_size > 10_000
