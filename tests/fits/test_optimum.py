import numpy as np
import pytest

from made_cubes import chaos_cube
from sgdphases.fits.curves import moving_mean
from sgdphases.fits.optimum import optimum
from sgdphases.storage import cube

BASE = 1875 * np.arange(101)


def valley(best=0.9, depth=0.3, noise=0.0, tilt=0.0, seed=0):
    """A test loss that is least at a J², with `noise` from epoch to epoch and a `tilt` of each replica."""
    random = np.random.default_rng(seed)

    def course(point, replica, s):
        square = 0.25 + 11 * s / 60_000
        loss = 0.34 + depth * (square - best) ** 2 + noise * random.standard_normal(s.size)
        loss = loss + tilt * random.standard_normal() * square
        return {
            "coupling": np.sqrt(square),
            "test_loss": loss,
            "test_accuracy": 0.9 - loss / 10,
            "epoch_train_loss": np.where(s > 0, 1 / (1 + s), np.nan),
        }

    return course


def fitted(course, grid=None, replicas=10, **settings):
    return optimum(
        chaos_cube(
            course, grid=grid or {"learning_rate": [0.02]}, times=BASE, clock="step", replicas=replicas, **settings
        )
    )


def test_a_known_minimum_comes_back():
    found = fitted(valley(noise=0.002))
    value = float(found["optimum_squared_coupling"])
    assert value == pytest.approx(0.9, abs=0.05)
    assert float(found["optimum_coupling"]) == pytest.approx(np.sqrt(value))
    assert float(found["optimum_epoch_time"]) == pytest.approx((value - 0.25) / 11, rel=1e-6)
    assert float(found["optimum_epoch"]) == pytest.approx(float(found["optimum_epoch_time"]) / 0.00125)
    assert float(found["optimum_test_loss"]) == pytest.approx(0.34, abs=2e-3)
    assert int(found["optimum_inside"]) == 1
    assert int(found["replicas"]) == 10


def test_the_error_of_a_flat_minimum_is_its_scatter():
    """Over many runs; a single bootstrap may hang on one dip of its mean and come out too small."""
    places, errors, covered = [], [], 0
    for seed in range(24):
        found = fitted(valley(noise=0.01, seed=seed), replicas=5)
        value, error, low, high = (
            float(found[f"optimum_squared_coupling{end}"]) for end in ("", "_error", "_low", "_high")
        )
        places.append(value)
        errors.append(error)
        covered += low <= 0.9 <= high
    assert np.mean(places) == pytest.approx(0.9, abs=0.03)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(places), rel=0.5)
    assert covered >= 16


def test_smoothing_is_a_mean_of_eleven_epochs_of_the_base_run():
    made = chaos_cube(valley(noise=0.1), grid={"learning_rate": [0.02]}, times=BASE, clock="step", replicas=1)
    loss = made["test_loss"].values[0]
    smooth = np.convolve(loss, np.ones(11) / 11, mode="valid")
    found = optimum(made)
    # Nearest to the ends the full width of 11.2 epochs does not fit.
    assert float(found["optimum_test_loss"]) == pytest.approx(smooth[1:-1].min(), rel=1e-9)
    assert float(found["optimum_epoch"]) == smooth[1:-1].argmin() + 6


def test_moving_mean_of_a_line_is_the_line_and_nan_spoils_only_what_it_touches():
    time = np.arange(20.0)[None]
    values = 3 * time[None] + np.zeros((2, 1, 1))
    values[1, 0, 10] = np.nan
    smooth = moving_mean(time, values, 4.0)
    np.testing.assert_allclose(smooth[0, 0, 2:-2], values[0, 0, 2:-2])
    assert np.isnan(smooth[0, 0, [0, 1, -2, -1]]).all()
    assert np.flatnonzero(np.isnan(smooth[1, 0])).tolist() == [0, 1, 8, 9, 10, 11, 12, 18, 19]


def test_values_at_the_edge_and_at_the_end():
    found = fitted(valley())
    assert float(found["edge_test_loss"]) == pytest.approx(0.34 + 0.3 * 0.1**2, abs=1e-3)
    assert float(found["end_squared_coupling"]) == pytest.approx(0.25 + 11 * 0.125, rel=1e-6)
    assert float(found["end_test_loss"]) == pytest.approx(0.34 + 0.3 * 0.725**2, rel=1e-6)
    assert float(found["end_train_loss"]) == pytest.approx(1 / 7501)
    assert float(found["largest_test_accuracy"]) == pytest.approx(0.9 - float(found["optimum_test_loss"]) / 10)
    assert float(found["largest_test_accuracy_epoch"]) == float(found["optimum_epoch"])


@pytest.mark.parametrize(("best", "word"), [(0.7, "lower_before"), (1.1, "lower_at_edge"), (0.9, "undecided")])
def test_the_paired_difference_says_which_is_lower(best, word):
    found = fitted(valley(best, tilt=0.003))
    flag = found["loss_difference_verdict"]
    assert flag.attrs["flag_meanings"].split()[list(flag.attrs["flag_values"]).index(int(flag))] == word
    true = 0.3 * ((0.8 - best) ** 2 - (1 - best) ** 2)
    assert abs(float(found["loss_difference"]) - true) < 4 * float(found["loss_difference_error"])


def test_pairing_takes_off_what_a_replica_has_throughout():
    random = np.random.default_rng(3)
    plain = valley(1.1)

    def course(point, replica, s):
        made = dict(plain(point, replica, s))
        return made | {"test_loss": made["test_loss"] + 0.5 * random.standard_normal()}

    found = fitted(course)
    assert float(found["edge_test_loss_error"]) > 0.05
    assert float(found["loss_difference_error"]) < 1e-9
    assert int(found["loss_difference_verdict"]) == 1


@pytest.mark.parametrize("best", [0.1, 3.0], ids=["falls no more", "still falls"])
def test_a_minimum_at_an_end_is_no_optimum(best):
    found = fitted(valley(best, noise=1e-4))
    assert int(found["optimum_inside"]) == 0
    assert np.isnan(found["optimum_epoch"])
    assert np.isfinite(found["optimum_test_loss"])
    assert "at an end" in found.attrs["reason"]


def test_the_validation_set_chooses_its_own_epoch():
    plain, other = valley(0.9), valley(1.2)

    def course(point, replica, s):
        chosen = other(point, replica, s)["test_loss"]
        return {**plain(point, replica, s), "validation_loss": chosen, "validation_accuracy": 1 - chosen}

    found = fitted(course)
    assert float(found["optimum_squared_coupling"]) == pytest.approx(0.9, abs=0.01)
    assert float(found["validation_optimum_squared_coupling"]) == pytest.approx(1.2, abs=0.01)
    assert float(found["validation_optimum_test_loss"]) == pytest.approx(0.34 + 0.3 * 0.3**2, abs=2e-3)
    assert float(found["validation_optimum_validation_loss"]) == pytest.approx(0.34, abs=2e-3)


def test_starts_beyond_the_edge_and_diverged_replicas():
    plain = valley()

    def course(point, replica, s):
        made = dict(plain(point, replica, s))
        made["coupling"] = made["coupling"] * point["init_scale"] / 0.5
        if replica == 0:
            made = {name: np.where(s > 3000, np.nan, values + 5) for name, values in made.items()}
        return made

    found = fitted(course, grid={"init_scale": [0.5, 1.1]})
    assert (found["replicas"] == 9).all()
    assert float(found["optimum_test_loss"][0]) == pytest.approx(0.34, abs=2e-3)
    assert np.isnan(found["loss_difference"]).values.tolist() == [False, True]
    assert int(found["loss_difference_verdict"][1]) == -1
    assert "does not rise through" in found.attrs["reason"]


@pytest.mark.parametrize("records", [1, 2, 8])
def test_a_run_shorter_than_the_smoothing_has_no_optimum(records, tmp_path):
    made = chaos_cube(valley(), grid={"learning_rate": [0.02]}, times=BASE[:records], clock="step")
    found = optimum(made)
    assert int(found["optimum_inside"]) == -1
    assert "shorter than the smoothing" in found.attrs["reason"]
    cube.write(found, tmp_path / "fit.nc")


def test_needs_a_test_loss():
    made = chaos_cube(lambda point, replica, s: {"coupling": 1 + s}, grid={"momentum": [0.0, 0.5]}, times=[0.0, 10.0])
    with pytest.raises(ValueError, match="test_loss"):
        optimum(made)
