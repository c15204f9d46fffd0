import numpy as np
import pytest

from made_diffusion import Landscape, log_steps, walk_cube
from sgdphases.fits.collapse_exponents import collapse_exponents
from sgdphases.fits.exponents import PROTOCOLS

COMMON = PROTOCOLS.index("common")
SPECTRUM = Landscape(np.geomspace(2e-2, 1e-3, 30), np.geomspace(2e-2, 1e-3, 30), modes=4)
GRID = {"learning_rate": [0.02, 0.1, 0.2], "momentum": [0.0, 0.8, 0.9], "batch_size": [16, 32]}


@pytest.fixture(scope="module")
def cube():
    return walk_cube(SPECTRUM, log_steps(6000, each_decade=15), replicas=6, **GRID)


@pytest.fixture(scope="module")
def found(cube):
    return collapse_exponents(cube)


def test_overdamped_powers_depend_on_the_effective_rate_alone(found):
    """Pairs are of one batch size: rates 0.1 (0.02 at 0.8, 0.1 at 0), 0.2 (0.02 at 0.9, 0.2 at 0) and 1 (both)."""
    assert (found["equal_pairs"] == 2 * 3).all()
    assert (found["unequal_pairs"] == 2 * 33).all()
    equal, unequal = (found[f"{kind}_difference"].isel(protocol=COMMON) for kind in ("equal", "unequal"))
    assert float(unequal) > 0.2
    assert float(equal) < 0.35 * float(unequal)
    assert float(found["collapse_ratio"].isel(protocol=COMMON)) == pytest.approx(float(equal / unequal))
    excess, error = (found[f"equal_difference{end}"].isel(protocol=COMMON) for end in ("", "_error"))
    assert float(found["equal_excess"].isel(protocol=COMMON)) < float(excess)
    assert 0 < float(error) < float(unequal) / 3
    assert float(found["unequal_excess"].isel(protocol=COMMON)) > 0.15
    rate = found["effective_rate"].isel(batch_size=0)
    assert float(rate.sel(learning_rate=0.1, momentum=0.9)) == pytest.approx(1.0)


def test_it_is_the_root_mean_square_of_differences(found):
    power = found["exponent"].isel(protocol=COMMON)
    pairs = [((0.02, 0.8), (0.1, 0.0)), ((0.02, 0.9), (0.2, 0.0)), ((0.1, 0.9), (0.2, 0.8))]
    apart = [
        (power.sel(learning_rate=a[0], momentum=a[1]) - power.sel(learning_rate=b[0], momentum=b[1])).values
        for a, b in pairs
    ]
    expected = np.sqrt(np.mean(np.square(apart)))
    assert float(found["equal_difference"].isel(protocol=COMMON)) == pytest.approx(expected)


def test_powers_that_do_not_collapse_show(cube):
    bent = cube["global_displacement"] * np.maximum(cube["step"], 1) ** (0.8 * cube["momentum"])
    made = collapse_exponents(cube.assign(global_displacement=bent))
    # Momenta of the pairs are 0.8 and 0, 0.9 and 0, 0.9 and 0.8.
    expected = 0.8 * np.sqrt((0.8**2 + 0.9**2 + 0.1**2) / 3)
    assert float(made["equal_difference"].isel(protocol=COMMON)) == pytest.approx(expected, abs=0.12)
    assert float(made["equal_excess"].isel(protocol=COMMON)) > 0.3


def test_differences_by_chance_are_no_excess():
    """Points of one truth: all that differs is by the errors of powers."""
    free = Landscape(np.zeros(10), np.ones(10), modes=1)
    grid = {"learning_rate": [0.02, 0.04, 0.08], "momentum": [0.0, 0.5, 0.75]}
    made = collapse_exponents(walk_cube(free, log_steps(3000, each_decade=15), replicas=8, **grid))
    chance = np.sqrt(2 * float((made["exponent_error"].isel(protocol=COMMON) ** 2).mean()))
    for kind in ("equal", "unequal"):
        assert 0.2 * chance < float(made[f"{kind}_difference"].isel(protocol=COMMON)) < 1.5 * chance
        assert float(made[f"{kind}_excess"].isel(protocol=COMMON)) < 0.8 * chance


def test_points_must_meet(cube):
    with pytest.raises(ValueError, match="fit collapse_exponents needs points with one learning_rate"):
        collapse_exponents(cube.isel(momentum=[0]))
    short = collapse_exponents(cube.sel(step=slice(0, 60)))
    assert np.isnan(short["equal_difference"]).any()
    assert "no pair of known powers" in short.attrs["reason"]
