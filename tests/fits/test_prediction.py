import numpy as np
import pytest

from made_diffusion import Landscape, ladder, log_steps, walk_cube
from sgdphases.fits.displacement import displacement
from sgdphases.fits.exponents import PROTOCOLS
from sgdphases.fits.one_step import exact_one_step, one_step, paper_one_step, speed_trace
from sgdphases.fits.predicted import tail_curvatures
from sgdphases.fits.prediction import prediction
from sgdphases.fits.walks import walks_of

ROBUST = PROTOCOLS.index("robust")
EXACT, TAIL, PAPER = range(3)
FLAT = 60
GRADIENT = np.concatenate([np.linspace(-0.05, 0.05, 8), np.full(FLAT, 0.004)])
GRID = {"learning_rate": [0.02, 0.05, 0.1], "momentum": [0.5, 0.9], "weight_decay": [0.001]}
STEPS = log_steps(3000, each_decade=15)


@pytest.fixture(scope="module")
def cube():
    return walk_cube(ladder(8, flat=FLAT, gradient=GRADIENT), STEPS, replicas=8, **GRID)


@pytest.fixture(scope="module")
def found(cube):
    return prediction(cube)


def test_curvature_and_noise_of_the_start_predict_every_point(found, cube):
    measured = cube["global_displacement"].mean("replica").isel(step=slice(1, None))
    ratio = measured / found["predicted_displacement"].isel(method=EXACT, step=slice(1, None))
    assert float(abs(np.log(ratio)).max()) < 0.35
    assert float(found["total_log_distance"].isel(method=EXACT)) < 0.08
    assert float(found["total_one_step_distance"].isel(method=EXACT)) < 0.02
    apart = found["exponent_difference"] / found["exponent_difference_error"]
    robust = apart.isel(protocol=ROBUST, method=EXACT)
    assert 0.3 < float(np.sqrt((robust**2).mean())) < 2.0
    one = found["one_step_log_ratio"] / found["one_step_log_ratio_error"]
    assert 0.3 < float(np.sqrt((one.isel(method=EXACT) ** 2).mean())) < 2.0
    assert float(found["total_exponent_difference"].isel(protocol=ROBUST, method=EXACT)) < 0.08
    assert int(found["held_out_points"]) == 5
    # There is no curvature left for a tail.
    assert found.attrs["reason"] == "curvature_trace, parameters and eigenvectors make no tail"
    assert np.isnan(found["predicted_one_step"].isel(method=TAIL)).all()


def test_the_papers_way_knows_of_no_drift_and_calibrates_at_one_point(found):
    assert float(found["total_log_distance"].isel(method=PAPER)) > 0.5
    reference = found["reference"] == 1
    assert int(reference.sum()) == 1
    at = found["one_step_log_ratio"].isel(method=PAPER).where(reference)
    assert float(at.max()) == pytest.approx(0.0, abs=1e-12)
    # Without drift, and small steps from a stationary state, its powers are at most 1.
    power = found["predicted_exponent"].isel(protocol=ROBUST)
    assert (power.isel(method=PAPER) < 1.02).all()
    assert (power.isel(method=EXACT) > power.isel(method=PAPER)).mean() > 0.6


def test_a_wrong_noise_or_gradient_shows(found, cube):
    for name, factor in (("noise_trace", 2.0), ("start_gradient_norm", 2.0), ("curvature", 0.3)):
        wrong = prediction(cube.assign({name: factor * cube[name]}))
        worse = wrong["total_log_distance"].isel(method=EXACT) / found["total_log_distance"].isel(method=EXACT)
        assert float(worse) > 1.5, name


def test_reshuffled_epochs_are_predicted_too():
    landscape = ladder(8, flat=30, samples=320)
    grid = {"learning_rate": [0.02, 0.05], "momentum": [0.9]}
    steps = log_steps(1500, lattice=10)
    made = prediction(walk_cube(landscape, steps, replicas=8, sampler="reshuffle", **grid))
    assert float(made["total_log_distance"].isel(method=EXACT)) < 0.3
    free = prediction(
        walk_cube(landscape, steps, replicas=8, sampler="reshuffle", **grid).assign_attrs(sampler="with_replacement")
    )
    assert float(free["total_log_distance"].isel(method=EXACT)) > 1.0


def test_directions_that_are_no_eigenvectors_are_left_to_the_rest(cube):
    """A mode that is none of the Hessian's: its noise and gradient are among those of flat directions."""
    residual = cube["curvature"] * (cube["mode"] == 7)
    one = prediction(cube.assign(curvature_residual=residual))
    gone = prediction(cube.isel(mode=slice(7)))
    np.testing.assert_allclose(one["predicted_displacement"], gone["predicted_displacement"])


def test_what_was_not_measured_is_said(cube):
    bare = prediction(cube.drop_vars(["gradient", "start_gradient_norm", "curvature_trace"]).isel(learning_rate=[0]))
    assert "no gradient: taken as 0" in bare.attrs["reason"]
    assert "no curvature_trace" in bare.attrs["reason"]
    assert np.isnan(bare["predicted_displacement"].isel(method=PAPER)).all()
    single = prediction(cube.isel(learning_rate=1, momentum=1))
    assert np.isnan(single["total_log_distance"]).all()
    assert np.isfinite(single["log_distance"].isel(method=[EXACT, PAPER])).all()
    assert "none is held out" in single.attrs["reason"]


def test_levels_of_one_step(cube):
    walks = walks_of(cube, "test")
    steps = one_step(walks)
    exact = exact_one_step(walks)
    assert float(np.sqrt((((steps.level.value - exact) / steps.level.error) ** 2).mean())) < 2.0
    assert (steps.level.error < 0.03 * exact).all()
    paper = paper_one_step(walks, steps.level.value)
    np.testing.assert_allclose(paper[1] / paper[0], (1 - 0.25) / (1 - 0.81))
    np.testing.assert_allclose(paper[5] / paper[1], 25.0)
    assert paper[walks.reference] == steps.level.value[walks.reference]
    free = Landscape(np.zeros(30), np.ones(30), modes=1)
    made = walks_of(walk_cube(free, STEPS, replicas=8), "test")
    assert speed_trace(made, one_step(made).level.value)[0] == pytest.approx(30, rel=0.05)
    short = one_step(walks_of(cube.sel(step=slice(0, 20)), "test"))
    assert np.isnan(short.level.value[1])


def test_a_tail_of_curvatures_is_predicted_from_its_trace():
    """Curvatures 20 i^-1.2 of 300 directions, of which 10 are modes, with noise ∝ ρ."""
    curvature = 20 * np.arange(1, 301) ** -1.2
    landscape = Landscape(curvature, 0.1 * curvature, modes=10)
    grid = {"learning_rate": [0.02, 0.05], "momentum": [0.5, 0.8]}
    made = walk_cube(landscape, STEPS, replicas=4, **grid).assign_attrs(parameters=300)
    mean, share = tail_curvatures(walks_of(made, "test"))
    assert share.sum() == pytest.approx(1.0)
    assert (np.diff(mean) < 0).all()
    # The law of ranks is known to where they begin: from i = 10 to 300 instead of from 11 on.
    np.testing.assert_allclose(mean[[0, -1]], [curvature[10], curvature[-1]], rtol=0.15)
    found = prediction(made)
    distance = found["total_log_distance"]
    assert float(distance.isel(method=TAIL)) < 0.08
    assert float(distance.isel(method=EXACT)) > 3 * float(distance.isel(method=TAIL))
    assert float(found["total_one_step_distance"].isel(method=TAIL)) < 0.02
    difference = found["total_exponent_difference"].isel(protocol=ROBUST)
    assert float(difference.isel(method=TAIL)) < 0.06 < float(difference.isel(method=EXACT))
    for attrs, trace in (({"parameters": 5}, 1.0), ({"parameters": 300}, 100.0), ({}, 1.0)):
        other = made.assign(curvature_trace=trace * made["curvature_trace"])
        other.attrs = {"samples": 3200, "sampler": "with_replacement", **attrs}
        assert not len(tail_curvatures(walks_of(other, "test"))[0])


def test_what_was_measured_stands_beside_the_predictions(found, cube):
    assert np.allclose(found["measured_displacement"], cube["global_displacement"].mean("replica"))
    spread = cube["global_displacement"].std("replica", ddof=1) / np.sqrt(8)
    assert np.allclose(found["measured_displacement_error"], spread)
    both = found["predicted_exponent"] - found["exponent_difference"]
    assert np.allclose(both.isel(method=PAPER), found["measured_exponent"], equal_nan=True)
    own = displacement(cube)
    np.testing.assert_allclose(found["measured_exponent"], own["exponent"], atol=0.02)
    ratio = found["measured_exponent_error"] / own["exponent_error"]
    assert 0.4 < float(ratio.isel(protocol=ROBUST).median()) < 2.5
