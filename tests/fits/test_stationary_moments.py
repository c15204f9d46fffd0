import numpy as np
import pytest
import xarray as xr

from made_diffusion import Landscape, ladder, log_steps, walk_cube
from sgdphases.fits.moments import THEORIES
from sgdphases.fits.stationary_moments import stationary_moments, weighted_lines
from sgdphases.theory import momentum_sgd, reshuffled_noise

GRID = {"learning_rate": [0.02, 0.05, 0.1], "momentum": [0.8, 0.9], "batch_size": [32]}
EXACT = {"theory": THEORIES.index("exact")}


def pulls(value, truth, error):
    """Root mean square of deviations in errors."""
    apart = (np.asarray(value) - truth) / np.asarray(error)
    return float(np.sqrt(np.nanmean(apart**2)))


@pytest.fixture(scope="module")
def cube():
    return walk_cube(ladder(8, power=1.3), log_steps(6000, lattice=100), replicas=8, **GRID)


@pytest.fixture(scope="module")
def found(cube):
    return stationary_moments(cube)


def test_variances_are_those_of_the_exact_recursion_within_their_errors(found):
    assert (found["counted"] == 1).all()
    assert found.attrs["reason"] == ""
    for name in ("position_ratio", "velocity_ratio"):
        ratio = found[name].isel(EXACT)
        assert 0.6 < pulls(ratio, 1.0, found[f"{name}_error"].isel(EXACT)) < 1.25
        assert float(found[f"{name}_error"].isel(EXACT).max()) < 0.08
    assert 0.6 < pulls(found["equipartition"], 1.0, found["equipartition_error"]) < 1.3
    assert 0.6 < pulls(found["half_step_correlation"], 0.0, found["half_step_correlation_error"]) < 1.3
    assert 0.6 < pulls(found["position_mean"], 0.0, found["position_mean_error"]) < 1.3


def test_rotation_is_clockwise_and_as_fast_as_theory_has_it(found):
    assert (found["rotation"] < 0).all()
    truth = momentum_sgd.rotation_per_step(
        found["curvature_contrast"].values ** -1 * 10, learning_rate=0.05, momentum=0.9
    )
    own = found.sel(learning_rate=0.05, momentum=0.9)
    assert pulls(own["rotation"], truth, own["rotation_error"]) < 1.5
    assert 0.5 < pulls(found["rotation_ratio"], 1.0, found["rotation_ratio_error"]) < 1.4


def test_the_papers_variance_is_off_by_what_finite_steps_make(found, cube):
    rate, momentum = found["learning_rate"], found["momentum"]
    factor = 1 / (1 - rate * cube["curvature"] / (2 * (1 + momentum)))
    for name in ("position_ratio", "velocity_ratio"):
        both = found[name].isel(theory=1) / found[name].isel(EXACT)
        np.testing.assert_allclose(both, factor.transpose(*both.dims), rtol=1e-10)


def test_noise_that_is_not_proportional_to_the_curvature_shows(found, cube):
    """Noise ∝ ρ^1.3: with σ²ρ in place of it ratios follow ρ^0.3."""
    name = THEORIES.index("exact_proportional")
    shape = (found["position_ratio"].isel(theory=name) / found["position_ratio"].isel(EXACT)).isel(
        learning_rate=0, momentum=0
    )
    expected = cube["curvature"] ** 0.3
    np.testing.assert_allclose(shape / shape[0], expected / expected[0], rtol=1e-9)
    strength = float(cube["noise"].sum() / cube["curvature"].sum())
    assert found.attrs["noise_strength"] == pytest.approx(strength)


def test_positions_are_isotropic_only_where_noise_follows_the_hessian(found):
    plain = stationary_moments(walk_cube(ladder(6), log_steps(6000, lattice=100), replicas=8, learning_rate=[0.02]))
    rate = 0.02 * np.geomspace(10, 0.3, 6)
    truth = (3.8 - rate) / (3.8 - rate[0])
    # Var x ∝ 1/(3.8 - ηρ), and Var v ∝ ρ of that.
    for name, expected in (("position", truth), ("velocity", plain["curvature_contrast"] * truth)):
        apart = (plain[f"{name}_contrast"] - expected)[1:] / plain[f"{name}_contrast_error"][1:]
        assert float(abs(apart).max()) < 3.5
        assert float(plain[f"{name}_contrast_error"].max() / plain[f"{name}_contrast"].max()) < 0.08
    # With noise ∝ ρ^1.3 the first mode has (10/0.3)^0.3 = 2.9 times the variance of the last.
    last = found["position_contrast"].isel(learning_rate=0, momentum=0, mode=-1)
    assert 2.3 < float(last) < 3.5


def test_medians_have_errors_that_hold(found):
    for name in ("position_ratio", "velocity_ratio"):
        median, error = (found[f"{name}_median{end}"].isel(EXACT) for end in ("", "_error"))
        assert float(error.max()) < 0.03
        assert pulls(median, 1.0, error) < 2.0
    assert pulls(found["equipartition_median"], 1.0, found["equipartition_median_error"]) < 2.0
    assert float(found["equipartition_median_error"].min()) > 1e-4
    assert (found["counted_modes"] == 8).all()


def test_an_excess_that_grows_with_the_temperature_is_gone_at_zero():
    landscape = ladder(8, excess=30.0)
    grid = {"learning_rate": [0.01, 0.02, 0.04, 0.08], "momentum": [0.9]}
    made = stationary_moments(walk_cube(landscape, log_steps(6000, lattice=100), replicas=8, seed=1, **grid))
    hottest = made["velocity_ratio_median"].isel(EXACT | {"learning_rate": -1})
    assert float(hottest) == pytest.approx(1 + 30 * 0.08 / 3.2, abs=0.05)
    for name, slope in (("position", 30.0), ("velocity", 30.0), ("equipartition", 0.0)):
        own = EXACT if name != "equipartition" else {}
        height, error = (made[f"{name}_intercept{end}"].isel(own) for end in ("", "_error"))
        assert abs(float(height) - 1) < 3 * float(error) < 0.12
        steep, error = (made[f"{name}_slope{end}"].isel(own) for end in ("", "_error"))
        assert abs(float(steep) - slope) < 3.5 * float(error)
    assert int(made["line_modes"]) >= 6


def test_two_temperatures_make_no_line():
    made = stationary_moments(walk_cube(ladder(3), [0, 100, 500], learning_rate=[0.02, 0.05], replicas=3))
    assert "position_intercept" not in made
    assert "3 learning rates" in made.attrs["reason"]


def test_reshuffled_epochs_confine_slow_modes_as_their_theory_has_it():
    landscape = ladder(8, samples=320)
    made = stationary_moments(
        walk_cube(landscape, log_steps(8000, lattice=50), sampler="reshuffle", replicas=8, learning_rate=[0.02])
    )
    own = {"theory": THEORIES.index("sampler")}
    for name in ("position_ratio", "velocity_ratio"):
        assert pulls(made[name].isel(own), 1.0, made[f"{name}_error"].isel(own)) < 1.6
    ratio = made["position_ratio"].isel(EXACT)
    words = {"steps_per_epoch": 10, "learning_rate": 0.02, "momentum": 0.9}
    phases = [reshuffled_noise.replacement_ratio(landscape.curvature, phase=each, **words) for each in range(10)]
    np.testing.assert_allclose(ratio, np.mean(phases, axis=0), rtol=0.1)
    assert float(ratio[-1]) < 0.06
    assert float(made["equipartition"][-1]) < 0.4


def test_a_run_that_heats_up_is_not_stationary(cube):
    warm = cube.copy()
    late = xr.where(cube["step"] > 3000, 1.5, 1.0)
    for name in ("position_square", "velocity_square"):
        warm[name] = (cube[name] * late).transpose(*cube[name].dims)
    made = stationary_moments(warm)
    assert float(made["stationary"].mean()) < 0.2
    assert float(made["disagreement"].mean()) > 4
    moved = cube.assign(position_mean=cube["position_mean"] + 0.02 * (cube["step"] > 3000))
    assert float(stationary_moments(moved)["stationary"].mean()) < 0.2


def test_slow_modes_are_not_judged():
    landscape = Landscape(np.array([5.0, 1e-4]), np.array([1.0, 1.0]), modes=2)
    made = stationary_moments(walk_cube(landscape, log_steps(2000, lattice=100), replicas=4))
    np.testing.assert_array_equal(made["identified"], [1, 0])
    np.testing.assert_array_equal(made["counted"], [1, 0])
    assert np.isnan(made["position_variance"][1])
    assert float(made["velocity_ratio"].isel(EXACT)[1]) == pytest.approx(1.0, abs=0.2)
    short = stationary_moments(walk_cube(ladder(2), [0, 20, 40], replicas=2))
    assert np.isnan(short["equipartition_median"])
    assert "no mode is both identified and stationary" in short.attrs["reason"]


def test_networks_that_diverge_are_left_out(cube):
    late = (cube["step"] > 4000) & (cube["replica"] == 3)
    lost = cube.map(lambda each: each.where(~late) if {"replica", "step"} <= set(each.dims) else each)
    left = stationary_moments(cube.isel(replica=[0, 1, 2, 4, 5, 6, 7]))
    xr.testing.assert_allclose(stationary_moments(lost), left)


def test_directions_that_are_no_eigenvectors_are_not_counted(cube):
    residual = cube["curvature"] * (cube["mode"] == 7)
    made = stationary_moments(cube.assign(curvature_residual=residual))
    np.testing.assert_array_equal(made["counted"].isel(learning_rate=0, momentum=0), [1] * 7 + [0])
    assert np.isnan(made["position_variance"].isel(mode=7)).all()
    assert np.isfinite(made["velocity_variance"].isel(mode=7)).all()


def test_a_single_run_has_errors_by_its_stretches(cube):
    made = stationary_moments(cube.isel(replica=[0]))
    counted = made["counted"] == 1
    ratio, error = (made[f"position_ratio{end}"].isel(EXACT).where(counted) for end in ("", "_error"))
    assert np.isfinite(error).sum() > 20
    assert 0.5 < pulls(ratio, 1.0, error) < 1.7
    assert np.isfinite(made["equipartition_median_error"]).all()


def test_flow_time_is_another_clock(cube):
    own = cube.isel(learning_rate=1, momentum=1)
    flowing = own.drop_vars("flow_time").swap_dims(step="flow_time")
    flowing = flowing.assign_coords(flow_time=("flow_time", own["flow_time"].values))
    one, other = stationary_moments(own), stationary_moments(flowing)
    np.testing.assert_allclose(one["position_variance"], other["position_variance"])
    np.testing.assert_allclose(one["rotation_error"], other["rotation_error"])


def test_weighted_lines():
    random = np.random.default_rng(0)
    x, error = np.array([1.0, 2, 4, 8]), np.array([0.1, 0.2, 0.1, 0.3])
    y = 1 + 0.5 * x + error * random.standard_normal((2000, 4))
    (height, height_error), (slope, slope_error) = weighted_lines(x, y, np.broadcast_to(error, y.shape))
    matrix = np.polyfit(x, y[0], 1, w=1 / error, cov="unscaled")
    np.testing.assert_allclose([slope[0], height[0]], matrix[0])
    assert height_error.min() == pytest.approx(np.sqrt(matrix[1][1, 1]))
    assert 0.75 < np.std((height - 1) / height_error) < 1.0
    assert 0.75 < np.std((slope - 0.5) / slope_error) < 1.0
    known = np.where(np.arange(4) < 2, y[:1], np.nan)
    assert np.isnan(weighted_lines(x, known, np.broadcast_to(error, known.shape))[0][0]).all()


def test_two_theories_variances_stand_beside_the_measured_ones(found, cube):
    assert np.array_equal(found["curvature"], cube["curvature"])
    for kind in ("position", "velocity"):
        for name, theory in (("exact", "exact"), ("paper", "paper_proportional")):
            ratio = found[f"{kind}_variance"] / found[f"{kind}_variance_{name}"]
            told = found[f"{kind}_ratio"].isel(theory=THEORIES.index(theory))
            np.testing.assert_allclose(ratio, told.transpose(*ratio.dims), rtol=1e-12)
    # Of noise in proportion to the Hessian all positions spread alike.
    straight = found["position_variance_paper"]
    assert float((straight.std("mode") / straight.mean("mode")).max()) < 1e-10
