import numpy as np
import pytest

from made_diffusion import ladder, walk_cube
from sgdphases.fits.registry import FITS
from sgdphases.fits.walks import walks_of
from sgdphases.steps.words import function_of

NAMES = (
    *("stationary_moments", "curvature_regression", "displacement", "drift_split"),
    *("collapse_exponents", "noise_structure", "prediction"),
)


@pytest.fixture(scope="module")
def cube():
    grid = {"learning_rate": [0.02, 0.05, 0.1], "momentum": [0.5, 0.9], "weight_decay": [0.25]}
    return walk_cube(ladder(4), [0, 5, 20], replicas=2, **grid)


def test_points_have_their_settings(cube):
    walks = walks_of(cube, "test")
    np.testing.assert_allclose(walks.learning_rate, [0.02, 0.02, 0.05, 0.05, 0.1, 0.1])
    np.testing.assert_allclose(walks.momentum, [0.5, 0.9] * 3)
    np.testing.assert_allclose(walks.steps_per_epoch, 100)
    np.testing.assert_allclose(walks.step, np.tile([0, 5, 20], (6, 1)))
    np.testing.assert_allclose(walks.curvature(), np.tile(np.geomspace(10, 0.3, 4) + 0.25, (6, 1)))
    assert walks.reference == 2
    values = walks.values("position")
    assert values.shape == (6, 2, 3, 4)
    chosen = cube["position"].isel(learning_rate=1, momentum=0, replica=1, step=2)
    np.testing.assert_array_equal(values[2, 1, 2], chosen)
    assert np.shares_memory(values, cube["position"].values)


def test_batches_without_replacement_have_less_noise(cube):
    walks = walks_of(cube, "test")
    np.testing.assert_allclose(walks.batch_noise(np.array([64.0]))[:, 0], 2.0)
    other = walks_of(cube.assign_attrs(sampler="reshuffle"), "test")
    np.testing.assert_allclose(other.batch_noise(np.array([64.0]))[:, 0], 2.0 * (3200 - 32) / 3199)
    np.testing.assert_array_equal(other.period, 100)
    endless = cube.assign_attrs(sampler="reshuffle", samples=0)
    with pytest.raises(ValueError, match="fit test needs to know how many samples"):
        walks_of(endless, "test").batch_noise(np.ones(1))


def test_the_last_batch_is_kept_or_dropped(cube):
    odd = cube.assign_attrs(samples=3210)
    assert (walks_of(odd, "test").period == 100).all()
    assert (walks_of(odd.assign_attrs(last_batch="keep"), "test").period == 101).all()


def test_without_a_data_set_there_are_no_epochs(cube):
    del (bare := cube.copy()).attrs["samples"]
    walks = walks_of(bare, "test")
    assert np.isnan(walks.steps_per_epoch).all()
    assert (walks.period == 0).all()


def test_directions_of_large_residual_are_no_eigenvectors(cube):
    residual = cube["curvature"] * np.array([0.0, 0.5, 0.009, 0.011])
    walks = walks_of(cube.assign(curvature_residual=residual), "test")
    np.testing.assert_array_equal(walks.eigenvectors(), [True, False, True, False])
    assert walks_of(cube.drop_vars("curvature_residual"), "test").eigenvectors().all()
    bent = cube.assign(curvature=cube["curvature"] - 5)
    np.testing.assert_array_equal(walks_of(bent, "test").confined()[0], np.geomspace(10, 0.3, 4) > 4.75)


def test_what_is_missing_is_named(cube):
    with pytest.raises(ValueError, match="fit test needs force_mean and noise in the cube"):
        walks_of(cube.drop_vars(["force_mean", "noise"]), "test", "force_mean", "noise", "curvature")
    with pytest.raises(ValueError, match="fit test needs networks over replica and step"):
        walks_of(cube.isel(step=-1), "test")
    del (silent := cube.copy()).attrs["sampler"]
    with pytest.raises(ValueError, match="fit test needs to know how batches are drawn"):
        walks_of(silent, "test").batch_noise(np.ones(1))


@pytest.mark.parametrize("name", NAMES)
def test_every_fit_says_what_it_misses(cube, name):
    bare = cube.drop_vars(list(cube.data_vars))
    with pytest.raises(ValueError, match=rf"fit {name} needs \w+"):
        function_of(FITS[name])(bare)


@pytest.mark.parametrize("name", NAMES)
def test_every_fit_makes_do_with_a_run_that_is_too_short(cube, name):
    made = function_of(FITS[name])(cube)
    assert isinstance(made.attrs["reason"], str)
    for word, variable in made.data_vars.items():
        assert {"long_name", "symbol", "units"} <= set(variable.attrs), word
        if word.endswith("_error"):
            assert word.removesuffix("_error") in made
