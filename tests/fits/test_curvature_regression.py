import numpy as np
import pytest

from made_diffusion import Landscape, ladder, log_steps, walk_cube
from sgdphases.fits.curvature_regression import curvature_regression

GRID = {"learning_rate": [0.02, 0.05], "momentum": [0.5, 0.9], "weight_decay": [0.1]}
GRADIENT = np.linspace(-0.5, 0.5, 6)


def pulls(value, truth, error):
    """Root mean square of deviations in errors."""
    return float(np.sqrt((((value - truth) / error) ** 2).mean()))


@pytest.fixture(scope="module")
def cube():
    return walk_cube(ladder(6, gradient=GRADIENT), log_steps(3000, lattice=100), replicas=6, **GRID)


@pytest.fixture(scope="module")
def found(cube):
    return curvature_regression(cube)


def test_curvature_noise_and_minimum_come_back_within_their_errors(found, cube):
    """From the first step on: the start is far from the minimum."""
    assert (found["identified"] == 1).all()
    assert found.attrs["reason"] == ""
    h = cube["curvature"] + 0.1
    assert 0.5 < pulls(found["regressed_curvature"], h, found["regressed_curvature_error"]) < 1.35
    assert 0.5 < pulls(found["regressed_noise"], cube["noise"] / 32, found["regressed_noise_error"]) < 1.35
    assert 0.5 < pulls(found["minimum"], -GRADIENT / h, found["minimum_error"]) < 1.35
    assert 0.5 < pulls(found["curvature_ratio"], 1.0, found["curvature_ratio_error"]) < 1.35
    assert 0.5 < pulls(found["noise_ratio"], 1.0, found["noise_ratio_error"]) < 1.35
    assert float(found["curvature_ratio_error"].max()) < 0.1


def test_the_error_is_the_expected_one():
    """Stationary, the scatter of h is √(2(1 - β)/(nηh)); a start far off only makes it better."""
    made = curvature_regression(walk_cube(ladder(6), log_steps(4000, lattice=100), replicas=8, **GRID))
    ratio = made["curvature_ratio_error"] / made["expected_scatter"]
    assert 0.85 < float(ratio.median()) < 1.45
    expected = np.sqrt(2 * 0.1 / (8 * 4000 * 0.05 * 10.1))
    assert float(made["expected_scatter"].isel(mode=0).sel(learning_rate=0.05, momentum=0.9)) == pytest.approx(expected)


def test_it_is_a_line_through_all_steps():
    """Blocks of one step hold every pair: least squares of u on x itself."""
    one = walk_cube(ladder(2), list(range(201)), replicas=3, momentum=[0.8])
    made = curvature_regression(one)
    x, v = (one[name].transpose("replica", "step", "mode").values for name in ("position", "velocity"))
    u = 0.8 * v[:, :-1] - v[:, 1:]
    for mode in range(2):
        slope, height = np.polyfit(x[:, :-1, mode].ravel(), u[..., mode].ravel(), 1)
        assert float(made["regressed_curvature"][mode]) == pytest.approx(slope, rel=1e-9)
        assert float(made["minimum"][mode]) == pytest.approx(-height / slope, rel=1e-6)
        residual = u[..., mode] - height - slope * x[:, :-1, mode]
        assert float(made["regressed_noise"][mode]) == pytest.approx((residual**2).sum() / 598, rel=1e-9)


def test_flat_modes_are_reported_as_flat():
    landscape = Landscape(np.array([5.0, 1e-3, 0.0]), np.ones(3), modes=3)
    made = curvature_regression(walk_cube(landscape, [0, 500, 1000], replicas=2))
    np.testing.assert_array_equal(made["identified"], [1, 0, 0])
    np.testing.assert_allclose(made["relaxations"], [2 * 1000 * 0.05 * 5 / 0.1, 1.0, 0.0])
    assert np.isnan(made["minimum"][1:]).all()
    assert np.isnan(made["curvature_ratio"][2])
    assert np.isfinite(made["regressed_noise"]).all()
    assert "as good as flat" in made.attrs["reason"]


def test_networks_that_diverge_and_cubes_without_noise(cube):
    lost = cube.map(lambda each: each.where(each["replica"] != 2) if "replica" in each.dims else each)
    left = curvature_regression(cube.isel(replica=[0, 1, 3, 4, 5]))
    np.testing.assert_allclose(curvature_regression(lost)["curvature_ratio"], left["curvature_ratio"])
    bare = curvature_regression(cube.drop_vars("noise"))
    assert "noise_ratio" not in bare
    assert "no noise" in bare.attrs["reason"]
