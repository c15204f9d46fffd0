"""The diffusion study through the house: a start, walks from it, and what is remade when the card or a fit changes."""

import netCDF4
import numpy as np
import pytest
import xarray as xr

from copied_project import copy_project
from sgdphases.ensemble.starting import DISPLACEMENT_WORDS, MODE_WORDS
from sgdphases.storage.start import MEANINGS, read_start

pytestmark = pytest.mark.slow

CARD = ("experiments=[diffusion_toy]",)
FILE = "tests/workflow/cards/diffusion_toy.yaml"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project in which the card has run."""
    copy = copy_project(tmp_path_factory.mktemp("diffusion"))
    copy.snakemake(config=CARD)
    return copy


@pytest.fixture(scope="module")
def results(copy):
    return copy.folder / "results" / "diffusion_toy"


@pytest.fixture(scope="module")
def cube(results):
    return xr.load_dataset(results / "cube.nc")


def test_what_is_planned_follows_what_was_edited(copy):
    assert copy.planned(config=CARD) == {}
    for file, old, new, wanted, unwanted in (
        (FILE, "[train_loss]", "[train_loss, test_loss]", {"measure", "merge"}, {"start", "train", "resolve"}),
        (FILE, "polish: 1.0e-12", "polish: 1.0e-11", {"resolve", "start", "train", "merge"}, set()),
        (
            "src/sgdphases/fits/walks.py",
            "",
            "\n# edited\nEDITED = 1\n",
            set(),
            {"resolve", "start", "train", "measure"},
        ),
        ("src/sgdphases/observables/spectra.py", "", "\nEDITED = 1\n", {"measure"}, {"start", "train"}),
        ("src/sgdphases/observables/minimum.py", "", "\nEDITED = 1\n", {"start", "train"}, set()),
    ):
        back = copy.edit(file, old, new)
        planned = set(copy.planned(config=CARD))
        back()
        assert wanted <= planned, (file, planned)
        assert not unwanted & planned, (file, planned)


def test_the_start_is_a_minimum_with_orthonormal_directions(results):
    start = read_start(results / "start.nc")
    np.testing.assert_allclose(start.directions.T @ start.directions, np.eye(12), atol=1e-12)
    with netCDF4.Dataset(results / "start.nc") as file:
        assert file["start_gradient_norm"][...] < 1e-12
        assert (file["curvature_residual"][:10] < 1e-9).all()
        assert (np.diff(file["curvature"][:10]) < 0).all()


def test_the_cube_has_what_was_measured_on_the_way_and_at_the_start(cube):
    assert set(DISPLACEMENT_WORDS) | set(MEANINGS) <= set(cube.data_vars)
    for word in MODE_WORDS:
        assert cube[word].dims == ("learning_rate", "momentum", "replica", "step", "mode")
    assert cube["displacement_gram"].dims == ("learning_rate", "momentum", "replica", "step", "other_replica")
    assert cube["noise_matrix"].dims == ("mode", "other_mode")
    assert cube["curvature"].attrs["symbol"] == r"\rho"
    assert (cube.attrs["parameters"], cube.attrs["samples"], cube.attrs["sampler"]) == (610, 300, "with_replacement")
    assert dict(cube["mode"].attrs)["long_name"] == "mode"
    own = np.einsum("emrsr->emrs", cube["displacement_gram"].values)
    np.testing.assert_allclose(own, cube["global_displacement"].values, rtol=1e-10)
    assert not cube["global_displacement"].isel(step=0).any()
    alike = cube["weight_norm"].isel(step=0)
    np.testing.assert_allclose(alike, float(cube["start_weight_norm"]), rtol=1e-12)


def test_walks_differ_between_replicas_and_feel_the_noise_at_the_start(cube):
    assert (cube["position"].isel(step=-1).std("replica") > 0).all()
    # The first update's variance is that of the noise, whatever follows.
    fast = cube.sel(momentum=0.0).isel(step=slice(1, None))
    felt = (fast["force_square"] - fast["force_mean"] ** 2).mean(["replica", "step", "learning_rate"]) * 20
    np.testing.assert_allclose((felt / cube["noise"]).isel(mode=slice(0, 10)), 1, atol=0.3)
