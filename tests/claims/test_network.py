import numpy as np
import pytest
import xarray as xr

from sgdphases.claims.network import NotReached, network_at, where

POINT = {"learning_rate": 0.02, "batch_size": 32}


def grid():
    values = np.arange(12.0).reshape(2, 3, 2)
    return xr.Dataset(
        {"value": (("learning_rate", "batch_size", "step"), values)},
        coords={"learning_rate": [0.01, 0.02], "batch_size": [16, 32, 64], "step": [0, 1], "momentum": 0.5},
        attrs={"samples": 60_000},
    )


def star():
    return xr.Dataset(
        {"value": ("point", [1.0, 2.0, 3.0])},
        coords={"learning_rate": ("point", [0.01, 0.02, 0.02]), "batch_size": ("point", [32, 16, 32])},
    )


def test_a_network_is_found_in_a_grid_and_in_a_star():
    assert network_at(grid(), POINT)["value"].values.tolist() == [8.0, 9.0]
    assert float(network_at(star(), POINT)["value"]) == 3.0
    assert network_at(grid(), {}).equals(grid())


def test_what_is_constant_or_neutral_counts():
    assert network_at(grid(), POINT | {"momentum": 0.5, "weight_decay": 0.0, "samples": 60_000})["value"].shape == (2,)
    for absent, words in (
        ({"momentum": 0.9}, "needs momentum 0.9"),
        ({"weight_decay": 1e-4}, "needs weight_decay 0.0001"),
        ({"samples": 6000}, "needs samples 6000"),
        ({"init_scale": 0.5}, "needs init_scale 0.5"),
    ):
        with pytest.raises(NotReached, match=f"^{words}$"):
            network_at(grid(), POINT | absent)


def test_values_may_be_off_by_rounding():
    near = grid().assign_coords(learning_rate=np.float32([0.01, 0.02]))
    assert network_at(near, POINT)["value"].shape == (2,)
    assert bool(where(near, {"learning_rate": 0.02}).any())


def test_values_that_never_meet_are_named_as_a_point():
    with pytest.raises(NotReached, match=r"^needs the point learning_rate 0\.01, batch_size 16$"):
        network_at(star(), {"learning_rate": 0.01, "batch_size": 16})


def test_several_networks_are_none():
    with pytest.raises(NotReached, match=r"^needs one network, 2 have learning_rate 0\.02$"):
        network_at(star(), {"learning_rate": 0.02})


def test_of_several_values_the_first_that_there_is_counts():
    assert float(network_at(star(), {"learning_rate": (0.05, 0.01), "batch_size": 32})["value"]) == 1.0
    assert float(network_at(star(), {"learning_rate": (0.02, 0.01), "batch_size": 32})["value"]) == 3.0
    with pytest.raises(NotReached, match=r"^needs learning_rate 0\.05 or 0\.1$"):
        network_at(star(), {"learning_rate": (0.05, 0.1), "batch_size": 32})
