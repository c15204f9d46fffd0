import numpy as np
import pytest

from made_cubes import grid_cube, paper_cube
from sgdphases.fits.published import published as fit
from sgdphases.theory import published


def test_the_papers_own_maps_agree_with_themselves():
    found = fit(paper_cube())
    for name in ("overlap", "log_spread_growth", "test_loss"):
        assert float(found[f"{name}_correlation"]) > 0.999
        assert float(found[f"{name}_rms"]) < 0.02
        assert float(found[f"{name}_rms_error"]) < 0.01
    assert int(found["compared_cells"]) == 144


def test_rms_and_correlation_follow_a_known_change():
    cube = paper_cube(noise=0.0)
    shifted = fit(cube.assign(overlap=cube["overlap"] + 0.05))
    assert float(shifted["overlap_rms"]) == pytest.approx(0.05)
    assert float(shifted["overlap_correlation"]) == pytest.approx(1.0)
    assert float(fit(cube.assign(overlap=-cube["overlap"]))["overlap_correlation"]) == pytest.approx(-1.0)


def test_growth_is_clipped_as_the_published_colours_are():
    cube = paper_cube(noise=0.0)
    growth = cube["log_spread_growth"]
    beyond = growth.where(growth > 0, -3.0)
    assert float(fit(cube.assign(log_spread_growth=beyond))["log_spread_growth_rms"]) == pytest.approx(0.0, abs=1e-12)


def test_cells_are_matched_by_value_in_any_order():
    cube = paper_cube(noise=0.0)
    part = cube.isel(learning_rate=[7, 2, 5], init_scale=[11, 0])
    found = fit(part)
    assert int(found["compared_cells"]) == 6
    assert float(found["overlap_rms"]) == pytest.approx(0.0, abs=1e-12)


def test_maps_have_the_papers_orientation():
    found = fit(paper_cube())
    assert float(found["overlap"].sel(temperature=64.0, init_scale=256.0)) == 0.27
    assert float(found["overlap"].sel(temperature=2.0**-5, init_scale=256.0)) == 0.71
    assert float(found["log_spread_growth"].sel(temperature=64.0, init_scale=0.125)) == 19.0
    assert float(found["test_loss"].sel(temperature=2.0**-5, init_scale=0.125)) == 2.7e-7
    assert float(found["initial_gradient_norm"].sel(init_scale=256.0)) == 0.0105
    assert float(found["growth_temperature"].sel(init_scale=256.0)) == 4.9
    assert found["boundary_inverse_init_scale"].dims == found["boundary_temperature"].dims == ("boundary_point",)


def test_another_grid_gets_the_paper_without_a_comparison():
    ones = np.ones((2, 2, 3, 7))
    cube = grid_cube(
        {"overlap": (("batch_size", "learning_rate", "replica", "step"), ones)},
        axes={"batch_size": [1, 2], "learning_rate": [1, 2]},
        init_scale=1,
    )
    found = fit(cube)
    assert "overlap" in found
    assert "overlap_correlation" not in found


def test_published_curves_match_the_map_of_the_test_loss():
    """The mean training loss has a half, so the published curve is about half of the map's column at 1/σ = 8."""
    ratio = published.TEST_LOSS[:, 0] / published.TRAIN_LOSS_CURVE
    hot = published.TEMPERATURES >= 4
    assert (np.abs(np.log2(ratio[hot] / 2)) < 1).all()
