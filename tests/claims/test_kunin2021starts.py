"""Claims about starts off a minimum, on cubes of the exact recursion."""

import re

import numpy as np
import pytest

from made_diffusion import Landscape, log_steps, walk_cube
from sgdphases.claims.claim import graded
from sgdphases.claims.kunin2021limiting import statements
from sgdphases.fits.displacement import displacement
from sgdphases.fits.drift_split import drift_split

CURVATURE = np.concatenate([np.geomspace(1, 0.2, 10), np.zeros(30)])
NAMES = ("33", "34")


def rows_of(gradient, attrs, *, steps, modes=40, **grid):
    landscape = Landscape(CURVATURE, np.full(40, 0.02), gradient=gradient, modes=modes)
    cube = walk_cube(landscape, log_steps(steps, lattice=steps // 10), replicas=16, **grid)
    cube = cube.assign_attrs(dataset="digits", widths=[64, 16, 10], **attrs)
    fits = {fit.__name__: fit(cube) for fit in (displacement, drift_split)}
    rows = graded(statements(), "kunin2021limiting", cube, fits)
    return {row["claim"].removeprefix("diffusion-"): row for row in rows}


def planted(gradient, attrs=None, **more):
    grid = {"learning_rate": [0.0025], "momentum": [0.0, 0.9], "batch_size": [512]}
    return rows_of(gradient, {"start_displacement": 0.1} if attrs is None else attrs, steps=4000, **grid, **more)


def lowered(gradient, steps=20000, **attrs):
    grid = {"learning_rate": [0.02], "momentum": [0.9], "batch_size": [32]}
    return rows_of(gradient, {"start_learning_rate": 0.2} | attrs, steps=steps, **grid)


AWAY = np.concatenate([np.full(10, 0.05), np.zeros(30)])
"""Gradient of a start that was moved along modes that relax."""

WIND = np.concatenate([np.zeros(10), np.full(30, 3e-4)])
"""Gradient along flat directions."""


@pytest.fixture(scope="module")
def moved():
    return planted(AWAY)


@pytest.fixture(scope="module")
def trained():
    return lowered(WIND)


def test_a_drift_that_is_foretold_passes(moved):
    assert [moved[name]["verdict"] for name in ("33", "33.1", "33.2")] == ["pass"] * 3
    assert float(moved["33.1"]["measured"]) == pytest.approx(1, abs=0.1)
    assert float(moved["33.2"]["error"]) < 0.05
    assert "100.0% of the squared gradient" in moved["33.1"]["reason"]


def test_a_drift_that_modes_do_not_know_fails():
    """Half of the modes that drift are not stored."""
    rows = planted(AWAY, modes=5)
    assert rows["33.1"]["verdict"] == rows["33.2"]["verdict"] == "fail"
    assert float(rows["33.1"]["measured"]) > 1.3
    assert "50.0% of the squared gradient" in rows["33.1"]["reason"]


def test_a_wind_makes_the_power_and_leaves_the_diffusion(trained):
    assert [trained[name]["verdict"] for name in ("34", "34.1", "34.2")] == ["pass"] * 3
    assert float(trained["34.1"]["measured"]) > 10
    assert "V²/D" in trained["34.1"]["reason"]
    power, share = re.search(
        r"local power (\S+) ± \S+ at step \d+, where (\S+)% is", trained["34.1"]["reason"]
    ).groups()
    assert float(power) > 1.4
    assert float(share) > 50


def test_without_a_wind_there_is_no_drift():
    rows = lowered(np.zeros(40))
    assert rows["34.1"]["verdict"] == "fail"
    assert rows["34.2"]["verdict"] == "pass"


@pytest.mark.parametrize(
    ("attrs", "reason"),
    [
        ({"start_learning_rate": 0.02}, "needs a start that was trained at a larger learning rate"),
        ({"start_polish": 1e-13}, "needs a start that was trained at a larger learning rate"),
        ({"start_displacement": 0.1}, "needs a start that was trained at a larger learning rate"),
        ({"sampler": "reshuffle"}, "needs sampler with_replacement"),
    ],
)
def test_another_start_is_not_judged(attrs, reason):
    row = lowered(WIND, steps=2000, **attrs)["34.1"]
    assert row["verdict"] == "not_measured"
    assert reason in row["reason"]


def test_each_claim_is_of_its_own_start(moved, trained):
    for row in (planted(AWAY, attrs={})["33"], trained["33"]):
        assert row["verdict"] == "not_measured"
        assert "moved away from its minimum" in row["reason"]
    assert moved["34"]["verdict"] == "not_measured"
    # What is said of polished starts is not judged on these.
    measured = {name for rows in (moved, trained) for name, row in rows.items() if row["verdict"] != "not_measured"}
    assert measured == {"16", *NAMES, *(f"33.{place}" for place in (1, 2)), *(f"34.{place}" for place in (1, 2))}
    assert not [row for rows in (moved, trained) for row in rows.values() if "so far" in row["reason"]]


def test_short_runs_are_previewed():
    assert "steps, has 2e+03 (so far" in lowered(WIND, steps=2000)["34.1"]["reason"]


@pytest.mark.parametrize(("gradient", "verdict"), [(np.zeros(40), "pass"), (AWAY / 5, "fail")])
def test_at_a_cold_minimum_there_is_no_drift(gradient, verdict):
    rows = planted(gradient, {"start_polish": 1e-13})
    assert rows["41"]["verdict"] == verdict
    assert rows["33"]["verdict"] == rows["34"]["verdict"] == "not_measured"
