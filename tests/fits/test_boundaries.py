import numpy as np
import pytest
import xarray as xr

from made_cubes import STEPS, grid_cube, passing
from sgdphases.fits.boundaries import boundaries, excess_growth
from sgdphases.theory import published

DIMS = ("learning_rate", "init_scale", "replica", "step")
TRUE = 0.2 * published.INIT_SCALES**1.1


@pytest.fixture(scope="module")
def fitted():
    flags = passing(published.TEMPERATURES, TRUE, replicas=60)
    return boundaries(grid_cube(dict.fromkeys(("criterion_published", "criterion_corrected"), (DIMS, flags))))


def test_known_boundary_within_its_errors(fitted):
    inside = (TRUE > 0.06) & (TRUE < 32)
    value, error = (fitted[f"corrected_temperature{end}"].values[inside] for end in ("", "_error"))
    pull = (np.log(value) - np.log(TRUE[inside])) / (error / value)
    assert np.isfinite(pull).all()
    assert np.abs(pull).max() < 4
    assert np.sqrt(np.mean(pull**2)) < 2
    # The 68 % line lies on the passing side of the 50 % line.
    assert (fitted["published_temperature"] < fitted["published_half_temperature"]).values[inside].all()


def test_known_exponent_within_its_error(fitted):
    for least in (2.0, 8.0):
        one = fitted.sel(least_init_scale=least)
        assert abs(float(one["corrected_exponent"]) - 1.1) < 4 * float(one["corrected_exponent_error"])
        assert 0 < float(one["corrected_exponent_error"]) < 0.15


def test_lines_carry_the_initial_scale_and_their_meaning(fitted):
    assert fitted["corrected_temperature"].dims == ("init_scale",)
    np.testing.assert_allclose(fitted["inverse_init_scale"], 1 / published.INIT_SCALES)
    assert all({"long_name", "units", "symbol"} <= set(variable.attrs) for variable in fitted.data_vars.values())


def test_published_midpoint_is_that_of_the_learning_rates():
    flags = np.zeros((12, 12, 10, len(STEPS)), dtype=np.int8)
    flags[:4] = 1  # passes up to T = 1/4, as the paper's at 1/σ = 8
    found = boundaries(grid_cube({"criterion_published": (DIMS, flags)}))
    assert float(found["published_midpoint_temperature"].sel(init_scale=0.125)) == published.MIDPOINT_TEMPERATURE


def test_a_share_that_never_falls_gives_no_boundary():
    flags = np.ones((12, 12, 10, len(STEPS)), dtype=np.int8)
    assert np.isnan(boundaries(grid_cube({"criterion_corrected": (DIMS, flags)}))["corrected_temperature"]).all()


def grown(map_=published.LOG_SPREAD_GROWTH):
    """Two levels whose spread starts as the initial one and ends as the digitised growth says."""
    start = 2.466 * published.INIT_SCALES**2
    spread = np.repeat((start * np.exp(np.zeros((12, 12))))[..., None, None], 10, axis=2) * np.ones(len(STEPS))
    spread[..., -1] = (start * np.exp(map_))[..., None]
    levels = np.stack([spread + 1.0, np.ones_like(spread)], axis=-1)
    cube = grid_cube({"eigenvalues": ((*DIMS, "mode"), levels)})
    return cube.assign(target_width=xr.DataArray(2.466))


def test_growth_boundary_of_the_digitised_map_is_the_published_one():
    found = boundaries(grown())["growth_temperature"].values
    # The published list was read off the figure, not off the rounded map.
    np.testing.assert_allclose(found, published.GROWTH_TEMPERATURE, rtol=0.12)


def test_excess_is_measured_from_the_larger_of_start_and_target():
    excess = excess_growth(grown()).isel(replica=0, step=-1)
    wide, narrow = excess.sel(init_scale=256.0), excess.sel(init_scale=0.125)
    np.testing.assert_allclose(wide, published.LOG_SPREAD_GROWTH[:, -1], atol=1e-9)
    np.testing.assert_allclose(narrow, published.LOG_SPREAD_GROWTH[:, 0] - np.log(64), atol=1e-9)


def test_each_batch_size_has_its_own_line_in_temperature():
    rates = 2.0 ** np.arange(-2, 6)
    flags = np.zeros((2, 8, 1, 20, len(STEPS)), dtype=np.int8)
    flags[0, rates <= 1] = 1
    flags[1, rates <= 4] = 1
    cube = grid_cube(
        {"criterion_corrected": (("batch_size", *DIMS), flags)},
        axes={"batch_size": [2.0, 8.0], "learning_rate": rates, "init_scale": [1.0]},
    )
    found = boundaries(cube)["corrected_temperature"].isel(init_scale=0)
    # The crossing lies between the last rate that passes and the next, the same temperature for both sizes.
    assert found.values == pytest.approx([np.sqrt(2) / 2, np.sqrt(2) * 4 / 8])


def test_says_what_is_missing():
    cube = grid_cube({"overlap": (DIMS, np.ones((12, 12, 2, len(STEPS))))})
    with pytest.raises(ValueError, match="no axis of temperature"):
        boundaries(cube.isel(learning_rate=0))
    with pytest.raises(ValueError, match="needs criterion_published, criterion_corrected or eigenvalues"):
        boundaries(cube)
