"""Claims about drift and weight decay, on cubes of two layers."""

import pytest

from made_layers import layered_cube
from sgdphases.claims.claim import graded
from sgdphases.claims.kunin2021drift import DECAYS
from sgdphases.claims.kunin2021limiting import statements
from sgdphases.fits.displacement import displacement
from sgdphases.fits.drift_split import drift_split
from sgdphases.fits.layer_drift import layer_drift

STEPS = [0, *range(20, 4001, 20)]


def rows_of(**settings):
    cube, _, _ = layered_cube(DECAYS, steps=STEPS, **settings)
    cube = cube.assign_attrs(dataset="fashion_mnist", widths=[784, 64, 10], samples=3200)
    fits = {fit.__name__: fit(cube) for fit in (displacement, drift_split, layer_drift)}
    return {row["claim"]: row for row in graded(statements(), "kunin2021limiting", cube, fits)}


@pytest.fixture(scope="module")
def decaying():
    """A drift that is weight decay's own."""
    return rows_of(elsewhere=0.0)


@pytest.fixture(scope="module")
def windy():
    """A drift that weight decay has no part in."""
    return rows_of(elsewhere=0.002, grown=1.0)


def test_a_drift_by_decay_passes(decaying):
    assert decaying["diffusion-22"]["verdict"] == "pass"
    assert float(decaying["diffusion-22"]["measured"]) < 0.3
    assert decaying["diffusion-40"]["verdict"] == "pass"
    assert float(decaying["diffusion-40"]["measured"]) == pytest.approx(1, abs=0.3)
    assert "of what weight decay alone would make" in decaying["diffusion-40"]["reason"]


def test_a_drift_from_elsewhere_is_not_decays(windy):
    assert windy["diffusion-40"]["verdict"] == "fail"
    assert float(windy["diffusion-22"]["measured"]) == pytest.approx(1, abs=0.3)


def test_a_steady_wind_makes_the_power_grow(windy):
    assert [windy[f"diffusion-{name}"]["verdict"] for name in ("38", "38.1", "39", "39.3")] == ["pass"] * 4
    assert "V²/D" in windy["diffusion-38.1"]["reason"]
    assert float(windy["diffusion-39.1"]["measured"]) > 0


def test_other_networks_are_not_judged():
    cube, _, _ = layered_cube(DECAYS, steps=STEPS)
    cube = cube.assign_attrs(dataset="digits", widths=[784, 64, 10], samples=3200)
    rows = graded(statements(), "kunin2021limiting", cube, {"displacement": displacement(cube)})
    judged = {row["claim"]: row["verdict"] for row in rows}
    assert {judged[f"diffusion-{name}"] for name in ("22", "38", "39", "40")} == {"not_measured"}
