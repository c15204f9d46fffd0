"""Claims of the diffusion study on cubes of the exact recursion."""

import re

import numpy as np
import pytest

from made_diffusion import ladder, log_steps, walk_cube
from sgdphases.claims.claim import graded
from sgdphases.claims.kunin2021limiting import statements
from sgdphases.fits.collapse_exponents import collapse_exponents
from sgdphases.fits.displacement import displacement
from sgdphases.fits.drift_split import drift_split
from sgdphases.fits.noise_structure import noise_structure
from sgdphases.fits.stationary_moments import stationary_moments

FITS = (stationary_moments, displacement, drift_split, collapse_exponents, noise_structure)
GRID = {"learning_rate": [0.0125, 0.025, 0.05], "momentum": [0.0, 0.8, 0.9], "batch_size": [32]}


def rows_of(landscape, steps=20000):
    cube = walk_cube(landscape, log_steps(steps, lattice=500), replicas=16, **GRID)
    cube = cube.assign_attrs(dataset="digits", widths=[64, 16, 10])
    fits = {fit.__name__: fit(cube) for fit in FITS}
    return {
        row["claim"].removeprefix("diffusion-"): row for row in graded(statements(), "kunin2021limiting", cube, fits)
    }


@pytest.fixture(scope="module")
def quadratic():
    return rows_of(ladder(32))


def test_every_claim_of_the_study_is_entered_once():
    numbers = sorted(int(re.fullmatch(r"diffusion-(\d\d)", statement.name)[1]) for statement in statements())
    assert numbers == list(range(1, 46))


def test_a_quadratic_with_noise_like_its_hessian_passes(quadratic):
    verdicts = {name: row["verdict"] for name, row in quadratic.items()}
    for name in ("05", "06", "07.1", "07.2", "08", "16", "17", "21", "26"):
        assert verdicts[name] == "pass", quadratic[name]
    assert verdicts["01"] == verdicts["12"] == verdicts["24"] == "not_measured"
    assert float(quadratic["02.3"]["expected"]) == 1.616
    assert len([name for name in quadratic if name.startswith("13.")]) == 27
    assert quadratic["01.1"]["reason"] == "needs residual and VGG networks on ImageNet, on a GPU"
    assert float(quadratic["23"]["measured"]) == pytest.approx(1, abs=1e-6)
    assert quadratic["21.3"]["error"] == 1


def test_other_noise_and_drift_fail_their_claims():
    rows = rows_of(ladder(32, power=1.8, gradient=np.full(32, 0.05)))
    failed = {name for name, row in rows.items() if row["verdict"] == "fail"}
    assert {"05", "06", "21.1", "21.2", "21.3"} <= failed
    assert rows["23"]["verdict"] == "pass"
    assert float(rows["23"]["measured"]) == pytest.approx(1.8, abs=1e-6)


def test_short_schedules_and_other_networks_are_not_judged(quadratic):
    rows = rows_of(ladder(8), steps=2000)
    assert rows["17"]["verdict"] == "not_measured"
    assert "steps, has 2e+03" in rows["17"]["reason"]
    assert rows["16"]["verdict"] == quadratic["16"]["verdict"] == "pass"
