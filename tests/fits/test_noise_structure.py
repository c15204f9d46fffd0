import numpy as np
import pytest

from made_diffusion import ladder, log_steps, walk_cube
from sgdphases.fits.noise_structure import ESTIMATORS, noise_structure
from sgdphases.fits.walks import walks_of


@pytest.fixture(scope="module")
def cube():
    """Small steps of pure σ²H: all ways to its strength agree."""
    landscape = ladder(12, sigma=0.5)
    return walk_cube(landscape, log_steps(3000, lattice=100), replicas=6, learning_rate=[0.002, 0.004], momentum=[0.5])


def scattered(cube, seed, power=1.4, spread=0.2):
    random = np.random.default_rng(seed)
    factor = np.exp(spread * random.standard_normal(cube.sizes["mode"]))
    return cube.assign(noise=cube["curvature"] ** power * factor)


def test_noise_that_follows_the_hessian(cube):
    made = noise_structure(cube)
    assert float(made["noise_power"]) == pytest.approx(1.0)
    assert float(made["noise_power_error"]) == pytest.approx(0.0, abs=1e-9)
    assert float(made["noise_spread"]) == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(made["noise_strength"], 0.25)
    np.testing.assert_allclose(made["noise_ratio"], 0.25)
    assert float(made["off_diagonal_share"]) == 0.0
    assert int(made["modes"]) == 12
    for name in ("speed_trace_ratio", "implied_trace_ratio"):
        apart = (made[name] - 1) / made[f"{name}_error"]
        assert float(abs(apart).max()) < 3.5
        assert float(made[f"{name}_error"].max()) < 0.05
    assert made.attrs["reason"] == ""


def test_its_power_lies_in_the_interval(cube):
    pulls, inside = [], 0
    for seed in range(12):
        made = noise_structure(scattered(cube.drop_vars("local_displacement"), seed))
        pulls.append(float((made["noise_power"] - 1.4) / made["noise_power_error"]))
        inside += float(made["noise_power_low"]) < 1.4 < float(made["noise_power_high"])
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 1.8
    assert inside >= 9
    assert "no local_displacement" in made.attrs["reason"]


def test_strengths_by_name(cube):
    odd = scattered(cube, 0, power=1.2)
    rho, noise = odd["curvature"].values, odd["noise"].values
    made = noise_structure(odd)
    expected = [noise.sum() / rho.sum(), np.median(noise / rho), (noise * rho).sum() / (rho**2).sum()]
    np.testing.assert_allclose(made["noise_strength"][:3], expected)
    assert list(made["estimator_name"].values) == [*ESTIMATORS, "traces"]
    assert (made["noise_strength_error"][:3] > 0).all()
    assert float(made["noise_spread"]) == pytest.approx((noise / rho).std(ddof=1) / (noise / rho).mean())
    doubled = noise_structure(cube.assign(curvature_trace=2 * cube["curvature_trace"], curvature_trace_error=5.0))
    assert float(doubled["noise_strength"][3]) == pytest.approx(0.125)
    assert float(doubled["noise_strength_error"][3]) == pytest.approx(0.125 * 5 / (2 * cube["curvature_trace"]))
    np.testing.assert_allclose(doubled["implied_trace_ratio"], 0.5, atol=0.03)


def test_off_diagonal_noise(cube):
    matrix = np.diag(cube["noise"].values).copy()
    matrix[0, 1] = matrix[1, 0] = 0.7
    made = noise_structure(cube.assign(noise_matrix=(("mode", "other_mode"), matrix)))
    assert float(made["off_diagonal_share"]) == pytest.approx(0.7 * np.sqrt(2) / np.linalg.norm(cube["noise"]))
    bare = noise_structure(cube.drop_vars(["noise_matrix", "noise_trace"]))
    assert "off_diagonal_share" not in bare
    assert "no noise_matrix" in bare.attrs["reason"]
    assert "no noise_trace" in bare.attrs["reason"]
    assert np.isnan(bare["speed_trace_ratio"]).all()
    assert np.isfinite(bare["speed_trace"]).all()


def test_only_eigenvectors_of_positive_curvature_count(cube):
    curvature = cube["curvature"].values.copy()
    curvature[-1] = -0.1
    residual = np.abs(curvature) * (np.arange(12) == 3)
    made = noise_structure(cube.assign(curvature=("mode", curvature), curvature_residual=("mode", residual)))
    assert int(made["modes"]) == 10
    np.testing.assert_array_equal(np.isnan(made["noise_ratio"]), np.isin(np.arange(12), [3, 11]))


def test_speed_knows_of_finite_populations():
    """Without replacement a batch of 32 of 160 has 0.805 of the noise; the trace is that of single examples."""
    landscape = ladder(12, sigma=0.5, samples=160)
    made = walk_cube(landscape, log_steps(3000, lattice=50), sampler="reshuffle", learning_rate=[0.002], momentum=[0.0])
    assert walks_of(made, "test").batch_noise(np.ones(1))[0, 0] * 32 == pytest.approx(128 / 159)
    # Momentum would feel the correlations of an epoch; without it a step is its own noise.
    assert float(noise_structure(made)["speed_trace_ratio"]) == pytest.approx(1.0, abs=0.03)
