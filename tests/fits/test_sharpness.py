import numpy as np
import pytest

from made_richness import Toy, largest_rate, richness_cube
from sgdphases.fits.sharpness import sharpness
from sgdphases.storage import cube

DEPTHS = [2, 3, 4]
GRID = 10.0 ** np.arange(-4, 5)
STEPS = (0, 25, 50, 100, 200, 400, 800, 1600)


class Sharpening(Toy):
    """Curvature γ^-2 or γ^-1 at the start, 2 over the largest learning rate from the drop on."""

    def __call__(self, point, replica, steps):
        richness, depth = float(point["richness"]), int(point["depth"])
        factor = 1 + 0.03 * np.random.default_rng([replica, round(10 * np.log10(richness) + 100)]).standard_normal()
        start, end = factor * max(richness**-2, 1 / richness), factor * 2 / largest_rate(richness, depth)
        done = np.clip(steps / self.drop(point, replica), 0, 1)
        top = start * (end / start) ** done
        bottom = np.where(steps == 0, -start if richness >= 1 else -richness * start, 0.0)
        own = {"hessian_top": top, "hessian_bottom": bottom, "gauss_newton_top": 0.9 * top}
        return dict(super().__call__(point, replica, steps)) | own


def made_cube(**axes):
    axes = {"richness": GRID, "depth": DEPTHS, "rates": [0.1, 0.4], "steps": STEPS} | axes
    return richness_cube(Sharpening(), rate_axis="scaled_learning_rate", **axes)


@pytest.fixture(scope="module")
def found():
    return sharpness(made_cube())


def test_powers_at_the_start_and_at_the_end(found, tmp_path):
    start, end = found["start_hessian_top_exponent"], found["best_end_hessian_top_exponent"]
    np.testing.assert_allclose(start, np.tile([-2, -1], (3, 1)), atol=0.03)
    lazy, rich = (np.log10(GRID[place]) for place in (slice(0, 3), slice(5, None)))
    for place, depth in enumerate(DEPTHS):
        for regime, decades in enumerate((lazy, rich)):
            true = -np.polyfit(decades, np.log10(largest_rate(10**decades, depth)), 1)[0]
            one = end.isel(depth=place, regime=regime)
            error = found["best_end_hessian_top_exponent_error"].isel(depth=place, regime=regime)
            assert abs(float(one) - true) < 3 * max(float(error), 0.003)
            both = found["end_hessian_top_exponent"].isel(depth=place, regime=regime)
            np.testing.assert_allclose(both, one, atol=0.03)
    assert (found["best_end_hessian_top_exponent_error"] > 0).all()
    np.testing.assert_allclose(found["end_gauss_newton_top"], 0.9 * found["end_hessian_top"])
    np.testing.assert_allclose(found["best_end_gauss_newton_top_exponent"], end, atol=1e-9)
    cube.write(found, tmp_path / "fit.nc")


def test_the_smallest_eigenvalue_mirrors_the_largest_of_rich_networks(found):
    np.testing.assert_allclose(found["rich_start_ratio"], -1)
    lazy = found["start_ratio"].sel(richness=1e-2)
    np.testing.assert_allclose(lazy, -0.01)


def test_the_end_predicts_a_learning_rate_and_shows_the_sharpening(found):
    for place, depth in enumerate(DEPTHS):
        one = found.isel(depth=place)
        true = np.log10(largest_rate(GRID, depth))
        assert (np.abs(one["best_predicted_log_rate"] - true) < 0.05).all()
        np.testing.assert_allclose(one["predicted_log_rate"].isel(scaled_learning_rate=0), true, atol=0.05)
        ratio = 2 / largest_rate(GRID, depth) / np.maximum(GRID**-2, 1 / GRID)
        np.testing.assert_allclose(one["sharpening"], ratio, rtol=1e-6)


def test_the_edge_at_the_drop():
    """Learning rate times final curvature is 2 η/η_max; the fall of five per cent is just behind the drop."""
    rich = [10.0, 100.0]
    found = sharpness(
        made_cube(richness=rich, depth=[3], rates=[0.01, 0.02], steps=tuple(range(0, 901, 5)), replicas=4)
    )
    rate = np.array([0.01, 0.02]) * np.array(rich)[:, None] ** (2 / 3)
    true = 2 * rate / largest_rate(np.array(rich)[:, None], 3)
    np.testing.assert_allclose(found["drop_edge"], true, rtol=0.06)
    assert (np.abs(found["drop_edge"] - true) < 4 * found["drop_edge_error"] + 0.02 * true).all()
    np.testing.assert_allclose(found["largest_edge"], true, rtol=0.06)
    assert (found["largest_edge"] >= found["drop_edge"] * (1 - 1e-9)).all()


def test_ends_are_those_of_networks_that_have_learned():
    made = made_cube(steps=(0, 25, 100), depth=[4])
    found = sharpness(made)
    learned = (made["status"].isel(step=-1) >= 2).any("replica").transpose(*found["end_hessian_top"].dims)
    assert (np.isfinite(found["end_hessian_top"]) == learned).all()
    assert not learned.all()
    assert "nothing has learned at" in found.attrs["reason"]
    without = sharpness(made.isel(step=slice(1, None)))
    assert np.isnan(without["start_hessian_top"]).all()
    assert "no record at step 0" in without.attrs["reason"]


def test_what_lacks_is_named():
    made = made_cube(richness=[1.0, 10.0], depth=[3], steps=(0, 100))
    with pytest.raises(ValueError, match="sharpness needs hessian_top"):
        sharpness(made.drop_vars("hessian_top"))
    assert "drop_edge" not in sharpness(made.drop_vars("batch_loss"))
    assert "start_ratio" not in sharpness(made.drop_vars("hessian_bottom"))
