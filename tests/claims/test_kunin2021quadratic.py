"""Claims on an exact quadratic, on cubes of the exact recursion: what passes, what fails, and where they are judged."""

import numpy as np
import pytest

from made_diffusion import ladder, log_steps, walk_cube
from sgdphases.claims.claim import graded
from sgdphases.claims.kunin2021limiting import statements
from sgdphases.fits.curvature_regression import curvature_regression
from sgdphases.fits.displacement import displacement
from sgdphases.fits.prediction import prediction
from sgdphases.fits.stationary_moments import stationary_moments

FITS = (stationary_moments, displacement, curvature_regression, prediction)
GRID = {"learning_rate": [0.0125, 0.025, 0.05], "momentum": [0.0, 0.8, 0.9], "batch_size": [32]}
OWN = {"27.1", "27.2", "28", "29", "30.1", "30.2", "30.3", "31.1", "31.2", "32.1", "32.2"}


def made(landscape, **settings):
    cube = walk_cube(landscape, log_steps(20000, lattice=500), replicas=16, **GRID, **settings)
    return cube, {fit.__name__: fit(cube) for fit in FITS}


def rows_of(cube, fits, **attrs):
    words = {"dataset": "quadratic", "update": "quadratic", "widths": [32, 1]} | attrs
    rows = graded(statements(), "kunin2021limiting", cube.assign_attrs(words), fits)
    return {row["claim"].removeprefix("diffusion-"): row for row in rows}


def measured(rows):
    parts = {name.partition(".")[0] for name in rows if "." in name}
    return {name for name, row in rows.items() if row["verdict"] != "not_measured"} - parts


@pytest.fixture(scope="module")
def exact():
    return made(ladder(32))


def test_the_exact_recursion_passes(exact):
    rows = rows_of(*exact)
    assert measured(rows) == {*OWN, "16"}
    assert not {name for name, row in rows.items() if row["verdict"] == "fail"}
    assert float(rows["27.1"]["measured"]) < 0.03
    assert "modes of all points; the worst " in rows["27.1"]["reason"]
    assert float(rows["30.2"]["measured"]) == pytest.approx(1, abs=4 * rows["30.2"]["error"])


def test_they_are_judged_on_that_update_and_no_other(exact):
    assert measured(rows_of(*exact, update="sgd")) == {"16"}
    on_digits = measured(rows_of(*exact, dataset="digits", update="sgd", widths=[64, 16, 10]))
    assert "17" in on_digits
    assert not OWN & on_digits


def test_other_noise_other_energies_and_other_curvatures_fail():
    cube, fits = made(ladder(32, power=1.8))
    rows = rows_of(cube, fits)
    assert {"28", "29"} <= {name for name, row in rows.items() if row["verdict"] == "fail"}
    moments = fits["stationary_moments"]
    warm = moments.assign(equipartition=1.05 * moments["equipartition"], rotation_ratio=1.2 * moments["rotation_ratio"])
    rows = rows_of(cube, fits | {"stationary_moments": warm})
    assert {"27.1", "27.2", "30.2", "30.3"} <= {name for name, row in rows.items() if row["verdict"] == "fail"}
    heavy = fits["curvature_regression"].assign(noise_ratio=1.05 * fits["curvature_regression"]["noise_ratio"])
    assert rows_of(cube, fits | {"curvature_regression": heavy})["31.2"]["verdict"] == "fail"
    far = fits["prediction"].assign(total_log_distance=fits["prediction"]["total_log_distance"] + np.log(1.2))
    assert rows_of(cube, fits | {"prediction": far})["32.1"]["verdict"] == "fail"
