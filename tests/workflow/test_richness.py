"""The richness study through the house: a search in learning rates, its fits, claims and figures."""

import csv

import numpy as np
import pytest
import xarray as xr

from copied_project import copy_project
from sgdphases.ensemble.status import UNTRIED

pytestmark = pytest.mark.slow

CARD = ("experiments=[rich_toy]",)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project in which the card has run."""
    copy = copy_project(tmp_path_factory.mktemp("richness"))
    copy.snakemake(config=CARD)
    return copy


@pytest.fixture(scope="module")
def results(copy):
    return copy.folder / "results" / "rich_toy"


def test_nothing_is_left_to_do_and_an_edited_fit_trains_nothing(copy):
    assert copy.planned(config=CARD) == {}
    back = copy.edit("src/sgdphases/fits/strips.py", "", "\nCONSTANT = 1\n")
    planned = copy.planned(config=CARD)
    back()
    assert {"fit", "grade", "draw"} <= set(planned)
    assert not {"resolve", "train", "measure", "merge"} & set(planned)


def test_the_cube_holds_what_the_search_found(results):
    cube = xr.load_dataset(results / "cube.nc")
    sizes = {"depth": 2, "richness": 7, "learning_rate": 27, "replica": 2, "step": 3, "update": 150}
    assert {name: cube.sizes[name] for name in sizes} == sizes
    last = cube["status"].isel(step=-1)
    untried = last.isnull() | (last == UNTRIED)
    assert 0.1 < float(untried.mean()) < 0.9
    tried = cube["test_loss"].isel(step=-1).notnull()
    assert not bool((tried & untried).any())
    edges = cube["bracket"].sel(criterion=1)
    assert float((edges.max("side") - edges.min("side")).min()) <= 0.1 + 1e-6


def test_the_powers_of_the_richness_are_those_of_the_theory(results):
    lines = xr.load_dataset(results / "fits" / "richness_exponents.nc").isel(step=-1)
    largest = lines["largest_exponent"].isel(criterion=1)
    np.testing.assert_allclose(largest.isel(regime=0), 2, atol=0.15)
    np.testing.assert_allclose(largest.isel(regime=1), [1, 2 / 3], atol=0.12)
    assert (lines["largest_exponent_error"].isel(criterion=1) > 0).all()


def test_claims_are_entered_and_figures_drawn(results):
    with (results / "claims.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) >= 99
    assert {row["verdict"] for row in rows} <= {"pass", "fail", "not_measured"}
    drawn = list((results / "figures").glob("*.png"))
    assert len(drawn) == 4
    assert all(path.stat().st_size > 10_000 for path in drawn)
