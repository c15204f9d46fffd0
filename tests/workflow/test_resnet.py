"""ResNet-18 through the house, from the mirror's archive to the cube: half an epoch of two classes."""

import numpy as np
import pytest
import xarray as xr

from copied_project import copy_project
from sgdphases.storage.start import read_start

pytestmark = [pytest.mark.slow, pytest.mark.mirror]

CARD = ("experiments=[resnet_toy]",)
PARAMETERS = 11_177_538
"""torchvision's resnet18 with two classes."""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    copy = copy_project(tmp_path_factory.mktemp("resnet"))
    copy.snakemake(config=CARD)
    return copy.folder / "results" / "resnet_toy"


@pytest.fixture(scope="module")
def cube(results):
    return xr.load_dataset(results / "cube.nc")


def test_the_start_is_the_whole_network(results):
    start = read_start(results / "start.nc")
    assert len(start.flat) == PARAMETERS
    assert len(start.weights) == 41
    np.testing.assert_allclose(start.directions.T @ start.directions, np.eye(2), atol=1e-12)


def test_replicas_leave_the_start_by_ways_of_their_own(cube):
    last = cube.isel(step=-1).squeeze(drop=True)
    gram = last["displacement_gram"].values
    np.testing.assert_allclose(np.diag(gram), last["global_displacement"], rtol=1e-9)
    assert 0 < gram[0, 1] < np.diag(gram).min()  # a common drift, and noise
    assert (last["local_displacement"] > 0).all()
    assert cube["layer_displacement_along_start"].sizes["layer"] == 41
    assert np.isfinite(cube["position"]).all()


def test_two_classes_are_learned_in_part(cube):
    accuracy = cube["test_accuracy"].squeeze(drop=True)
    assert (accuracy.isel(step=-1) > 0.6).all()
    assert cube.sizes["step"] == 3


def test_the_drift_of_two_replicas_is_told(results):
    found = xr.load_dataset(results / "fits" / "drift_split.nc")
    assert float(found["drift_square"].isel(step=-1)) > 0
