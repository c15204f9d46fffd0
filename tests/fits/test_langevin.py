import numpy as np
import pytest
from scipy import stats

from made_cubes import grid_cube
from sgdphases.fits.langevin import langevin

STEPS = np.array([0, 1, 10, 30, 80, 300, 900, 5000])
DIMS = ("learning_rate", "replica", "step")
REPLICAS, LEVELS = 200, 4
SAMPLES_SEEN = 3600


def made(*, coulomb=1.0, noise=1.0, peclet=0.0, speed=1e-3, seed=0, predictors=128):
    """Levels that follow the equation, predictions from `predictors` samples; `coulomb`, `noise` spoil what they do."""
    random = np.random.default_rng(seed)
    rate = np.array([0.5, 2.0])
    shape = (2, REPLICAS, len(STEPS), LEVELS)
    grown = (rate[:, None] * np.diff(STEPS))[:, None, :, None]
    true = random.uniform(0.5, 1.5, shape) * speed
    strength = random.uniform(0.5, 1.5, shape) * 1e-5
    predicted = true + np.sqrt(strength / predictors) * random.standard_normal(shape)
    variance = (rate / 4)[:, None, None, None] * strength[:, :, :-1] * grown
    moves = coulomb * true[:, :, :-1] * grown + noise * np.sqrt(variance) * random.standard_normal(variance.shape)
    levels = np.concatenate([np.zeros((2, REPLICAS, 1, LEVELS)), np.cumsum(moves, axis=2)], axis=2)
    levels += 100.0 * np.arange(LEVELS, 0, -1)
    variables = {
        "eigenvalues": ((*DIMS, "mode"), levels),
        "predicted_velocity": ((*DIMS, "mode"), predicted),
        "noise": ((*DIMS, "mode"), strength),
        "peclet": (DIMS, np.full((2, REPLICAS, len(STEPS)), peclet)),
    }
    attrs = {"samples": SAMPLES_SEEN, "feature_samples": predictors}
    return grid_cube(variables, axes={"learning_rate": rate}, steps=STEPS, **attrs)


@pytest.mark.parametrize("predictors", [32, 128])
def test_levels_that_obey_the_equation_give_ratios_of_one(predictors):
    found = langevin(made(predictors=predictors))
    for name in ("velocity_ratio", "noise_ratio"):
        known = np.isfinite(found[name].values)
        pull = ((found[name] - 1) / found[f"{name}_error"]).values[known]
        assert known.sum() >= 8
        assert np.abs(pull).max() < 4
    np.testing.assert_allclose(found["valid_share"], 1.0)
    ratio = (found["measured_diffusion"] / found["predicted_diffusion"]).values
    assert np.nanmean(ratio) == pytest.approx(1.0, abs=0.03)


def test_intervals_are_those_of_their_replicas():
    """Of a diffusion that of a χ² variable, of the noise one that is symmetric in its logarithm."""
    cube = made().isel(replica=slice(6))
    found = langevin(cube)
    for name, freedom in (("velocity_ratio", 5), ("measured_velocity", 5)):
        reach = (found[f"{name}_high"] - found[f"{name}_low"]) / 2
        np.testing.assert_allclose(reach, stats.t.ppf(0.975, freedom) * found[f"{name}_error"], rtol=1e-6)
    ends = [5 / stats.chi2.ppf(share, 5) for share in (0.975, 0.025)]
    for end, factor in zip(("low", "high"), ends, strict=True):
        np.testing.assert_allclose(found[f"measured_diffusion_{end}"], factor * found["measured_diffusion"])
    np.testing.assert_allclose(found["noise_ratio_low"] * found["noise_ratio_high"], found["noise_ratio"] ** 2)


def test_sampling_errors_of_the_prediction_do_not_pull_the_ratio_down():
    """Here a third of the predicted drift's square is sampling error: a plain regression would give 0.67."""
    found = langevin(made(speed=4e-4))
    window = found.isel(step=-1, learning_rate=0)
    assert float(window["signal_share"]) == pytest.approx(0.68, abs=0.05)
    assert abs(float(window["velocity_ratio"]) - 1) < 4 * float(window["velocity_ratio_error"])
    assert float(window["velocity_ratio_error"]) < 0.1
    assert np.isnan(langevin(made(speed=1e-4))["velocity_ratio"]).all()


def test_a_wrong_drift_and_a_wrong_noise_are_seen():
    slow = langevin(made(coulomb=0.5))
    assert float(slow["velocity_ratio"].isel(step=-1, learning_rate=0)) == pytest.approx(0.5, abs=0.02)
    loud = langevin(made(noise=2.0))["noise_ratio"].isel(learning_rate=0).sel(step=1)
    # Nine steps of 4 samples: the noise is four times as large, the sampling error is not.
    assert float(loud) == pytest.approx((4 + 36 / 128) / (1 + 36 / 128), rel=0.1)


def test_noise_counts_only_within_an_epoch_and_from_five_steps_on():
    found = langevin(made())["noise_ratio"].isel(learning_rate=0)
    known = dict(zip(found["step"].values.tolist(), np.isfinite(found.values).tolist(), strict=True))
    assert known == {0: False, 1: True, 10: True, 30: True, 80: True, 300: True, 900: False}


def test_too_large_steps_are_not_predicted():
    found = langevin(made(peclet=0.5))
    assert float(found["valid_share"].max()) == 0.0
    assert np.isnan(found["measured_velocity"]).all()
    assert np.isnan(found["predicted_eigenvalues"]).all()


def test_a_drift_beyond_the_gap_is_not_predicted():
    cube = made()
    close = cube["eigenvalues"] / 1e4 + np.arange(LEVELS, 0, -1)
    found = langevin(cube.assign(eigenvalues=close, predicted_velocity=cube["predicted_velocity"] * 1e3))
    assert float(found["valid_share"].isel(step=-1).max()) == 0.0


def test_prediction_stands_at_the_windows_end():
    cube = made()
    found = langevin(cube)
    pull = cube["eigenvalues"].diff("step", label="lower") + cube["eigenvalues"] - found["predicted_eigenvalues"]
    pull = pull / found["predicted_deviation"]
    assert float(np.sqrt((pull**2).mean())) == pytest.approx(1.0, abs=0.03)
    assert found["step"].values.tolist() == STEPS[:-1].tolist()


def test_says_which_observables_are_missing():
    with pytest.raises(ValueError, match="predicted_velocity, noise"):
        langevin(made().drop_vars(["predicted_velocity", "noise"]))
