import numpy as np
import pytest

from made_layers import DECAY, layered_cube
from sgdphases.fits.layer_drift import layer_drift


def test_the_share_of_each_layer_is_recovered():
    cube, along, drift = layered_cube(replicas=16)
    found = layer_drift(cube).isel(step=-1).squeeze(drop=True)
    decayed = found.sel(weight_decay=DECAY)
    expected = along[1, -1] ** 2 / ((along[1, -1] ** 2).sum() + drift[-1])
    for layer in (0, 1):
        apart = float(decayed["layer_share"][layer]) - expected[layer]
        assert abs(apart) < 4 * float(decayed["layer_share_error"][layer]) + 1e-3
    apart = float(decayed["decay_ratio"][0]) - 1
    assert abs(apart) < 4 * float(decayed["decay_ratio_error"][0])
    assert float(decayed["layer_along_start"][0]) < 0
    assert float(decayed["start_share"]) == pytest.approx(float(decayed["layer_share"].sum()))


def test_without_decay_nothing_is_foretold():
    found = layer_drift(layered_cube()[0]).sel(weight_decay=0)
    assert np.isnan(found["decay_ratio"]).all()
    last = found.isel(step=-1).squeeze(drop=True)
    assert (abs(last["layer_share"]) < 5 * last["layer_share_error"] + 0.02).all()


def test_growth_by_noise_lowers_the_ratio():
    found = layer_drift(layered_cube(grown=0.5)[0]).sel(weight_decay=DECAY).isel(step=-1).squeeze(drop=True)
    assert abs(float(found["decay_ratio"][0]) - 0.5) < 4 * float(found["decay_ratio_error"][0])


def test_one_replica_is_refused():
    with pytest.raises(ValueError, match="two replicas"):
        layer_drift(layered_cube(replicas=3)[0].isel(replica=[0]))
