"""The mean path of linear regression on cubes of the exact recursion, in which the truth of each theory is known."""

import numpy as np
import pytest

from made_diffusion import Landscape, walk_cube
from sgdphases.fits.mean_path import THEORIES, mean_path

STEP_CURVATURE = 0.0092
"""ηh of the first eigenvector in the paper's Fig. 2."""

RATE = 1e-3
MOMENTA = [0.9, 0.99, 0.999]
SPACING = 2
STEPS = list(range(0, 393, SPACING))
EXACT, PAPER, HALF_STEP = range(3)


def landscape(distance=400.0, degenerate=1, **more):
    """Three eigenspaces, the first as in the paper, and two pixels that are never bright."""
    curvature = np.repeat(STEP_CURVATURE / RATE * np.array([1.0, 0.4, 0.1]), degenerate)
    deviation = np.sqrt(RATE * 0.04 / (2 * 512 * 0.1))
    away = distance * deviation * np.linspace(1.0, 2.0, len(curvature))
    flat = np.zeros(2)
    return Landscape(
        np.concatenate([curvature, flat]),
        np.concatenate([0.04 * curvature, flat]),
        gradient=np.concatenate([curvature * away, flat]),
        modes=len(curvature) + 2,
        **more,
    )


def cube_of(made, replicas=16, momenta=MOMENTA, steps=STEPS, **more):
    return walk_cube(made, steps, replicas=replicas, momentum=momenta, learning_rate=[RATE], batch_size=[512], **more)


@pytest.fixture(scope="module")
def quiet():
    """Hardly any noise, so that what is seen of a theory is its own error."""
    return mean_path(cube_of(landscape(4e6), replicas=4))


@pytest.fixture(scope="module")
def found():
    return mean_path(cube_of(landscape(3000.0), replicas=64))


def test_each_theory_has_its_own_error(quiet):
    """The largest errors of the position that an independent derivation found for the settings of Fig. 2."""
    worst = quiet["path_worst"].isel(eigenspace=0)
    np.testing.assert_allclose(worst.isel(theory=PAPER), [0.026, 0.045, 0.051], rtol=0.05)
    np.testing.assert_allclose(worst.isel(theory=HALF_STEP), [0.0015, 0.0028, 0.012], rtol=0.1)
    assert float(quiet["path_worst"].isel(theory=EXACT).max()) < 1e-4
    assert float(quiet["velocity_worst"].isel(theory=EXACT).max()) < 1e-4
    # The paper's velocity starts at rest as the measured one does: positions alone are half a step late.
    for theory in (PAPER, HALF_STEP):
        velocity = quiet["velocity_worst"].isel(eigenspace=0, theory=theory)
        np.testing.assert_allclose(velocity, [0.0011, 0.0028, 0.0118], rtol=0.2)
    assert (quiet["path_error"] <= quiet["path_worst"]).all()
    assert list(quiet["theory_name"].values) == list(THEORIES)


def test_the_period_is_that_of_the_recursion(quiet):
    momenta = np.array(MOMENTA)
    phase = np.arccos((1 + momenta - STEP_CURVATURE) / (2 * np.sqrt(momenta)))
    np.testing.assert_allclose(quiet["period"].isel(eigenspace=0), 2 * np.pi / phase, rtol=1e-4)
    # ηh = 0.00092 is less than (1 - √β)² = 0.0026 at β = 0.9: the mean creeps.
    assert np.isnan(quiet["period"].isel(eigenspace=2).sel(momentum=0.9))
    assert quiet["period"].isel(eigenspace=2).sel(momentum=0.99) > 190


def test_courses_begin_at_the_start_and_are_shared_out_as_said(quiet):
    first = quiet.isel(step=0)
    for name in ("measured", "exact", "paper", "half_step"):
        np.testing.assert_allclose(first[f"{name}_position"], 1, atol=1e-12)
    np.testing.assert_allclose(first["half_step_velocity"], 0, atol=2e-3)
    for place, name in enumerate(THEORIES):
        apart = quiet["measured_position"] - quiet[f"{name}_position"]
        np.testing.assert_allclose(quiet["deviation"].isel(theory=place), apart.transpose(..., "step", "eigenspace"))
        largest = np.abs(apart).max("step")
        np.testing.assert_allclose(largest, quiet["path_worst"].isel(theory=place), rtol=1e-12)
    assert (quiet["measured_velocity"].isel(eigenspace=0).min("step") < -0.4).all()


def test_empty_pixels_are_dropped(quiet):
    assert quiet.sizes["eigenspace"] == 3
    with pytest.raises(ValueError, match="curves upwards"):
        mean_path(cube_of(Landscape(np.zeros(2), np.ones(2), modes=2), replicas=2, steps=[0, 1, 2]))


def test_the_distance_is_in_stationary_deviations(found):
    """Var x = ηs/(2(1 - β)h) up to ηh, so that distances go as √(1 - β)."""
    expected = 3000 * np.sqrt((1 - np.array(MOMENTA)) / 0.1)[:, None] * [1, 1.5, 2]
    np.testing.assert_allclose(found["distance"], expected, rtol=2e-3)
    assert (found["far"] == 1).all()
    near = mean_path(cube_of(landscape(90.0), replicas=2, momenta=[0.9]))
    np.testing.assert_array_equal(near["far"], [0, 1, 1])


def test_errors_are_those_of_the_replicas():
    """Sixteen replicas again and again scatter as the error says."""
    made = landscape(300.0)
    each = [
        mean_path(cube_of(made, seed=seed, momenta=[0.99]))[
            ["path_error", "path_error_error", "period", "period_error", "path_noise"]
        ]
        for seed in range(40)
    ]
    for name in ("path_error", "period"):
        values = np.stack([one[name].values for one in each])
        errors = np.stack([one[f"{name}_error"].values for one in each])
        chosen = (slice(None), 0, PAPER) if name == "path_error" else (slice(None), 0)
        ratio = values[chosen].std(ddof=1) / np.sqrt((errors[chosen] ** 2).mean())
        assert 0.7 < ratio < 1.4, name
    # Of the exact recursion nothing but noise is left.
    exact = np.stack([one["path_error"].values[:, EXACT] for one in each])
    noise = np.stack([one["path_noise"].values for one in each])
    np.testing.assert_allclose(np.sqrt((exact**2).mean(0)), np.sqrt((noise**2).mean(0)), rtol=0.2)


def test_an_eigenspace_is_one_path_whatever_its_basis():
    made = landscape(1000.0, degenerate=4)
    cube = cube_of(made, replicas=8)
    turned = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
    turn = np.eye(14)
    turn[:4, :4] = turned
    other = cube.copy()
    for name in ("position", "velocity", "gradient"):
        other[name] = (cube[name].dims, cube[name].values @ turn)
    other["noise_matrix"] = (cube["noise_matrix"].dims, turn.T @ cube["noise_matrix"].values @ turn)
    first, second = mean_path(cube), mean_path(other)
    assert first.sizes["eigenspace"] == 3
    np.testing.assert_array_equal(first["multiplicity"], [4, 4, 4])
    for name in ("path_error", "period", "distance", "measured_position"):
        np.testing.assert_allclose(second[name], first[name], rtol=1e-8, equal_nan=True)


def test_what_cannot_be_had_is_said():
    cube = cube_of(landscape(), replicas=2, steps=[0, 1, 2, 4, 8])
    made = mean_path(cube.drop_vars("noise_matrix"))
    assert np.isnan(made["distance"]).all()
    assert not made["far"].any()
    assert np.isnan(made["period"]).all()
    assert "no noise_matrix" in made.attrs["reason"]
    assert "not evenly spaced" in made.attrs["reason"]
    with pytest.raises(ValueError, match="needs gradient"):
        mean_path(cube.drop_vars("gradient"))


def test_a_replica_that_diverged_is_left_out():
    cube = cube_of(landscape(), replicas=3)
    cube["position"][{"replica": 1}] = np.nan
    made = mean_path(cube)
    assert np.isfinite(made["path_error"]).all()
    alone = mean_path(cube.isel(replica=[0, 2]))
    np.testing.assert_allclose(made["measured_position"], alone["measured_position"])
    cube["position"][:] = np.nan
    assert np.isnan(mean_path(cube)["path_worst"]).all()
