import numpy as np
import pytest

from made_cubes import chaos_cube
from sgdphases.fits.balance import balance
from sgdphases.storage import cube

SIDE = 20
STEPS = 10 * np.arange(101)


def stepped(noise=1.0, slope=0.5):
    """A matrix that heavy-ball SGD moves down a noisy quadratic loss, with the sums that training keeps."""

    def course(point, replica, s):
        random = np.random.default_rng([replica, int(1e6 * point["weight_decay"])])
        rate, momentum, decay = point["learning_rate"], point["momentum"], point["weight_decay"]
        weights, velocity = 0.2 * random.standard_normal((SIDE, SIDE)), np.zeros((SIDE, SIDE))
        target, unit, work, diffusion = random.standard_normal((SIDE, SIDE)), rate / (1 - momentum), 0.0, 0.0
        found = {name: [] for name in ("coupling", "mean_coupling", "weight_work", "weight_diffusion")}
        steps = np.rint(s / unit).astype(int)
        for step in range(steps[-1] + 1):
            if step in steps:
                found["coupling"].append(weights.std() * np.sqrt(SIDE))
                found["mean_coupling"].append(weights.mean() * SIDE)
                found["weight_work"].append(work)
                found["weight_diffusion"].append(diffusion)
            gradient = slope * (weights - target) + noise * random.standard_normal((SIDE, SIDE))
            before = np.sum(velocity**2)
            work -= unit * np.sum(weights * gradient)
            velocity = momentum * velocity - gradient - decay * weights
            diffusion += unit**2 * (np.sum(velocity**2) - momentum**2 * before)
            weights = weights + rate * velocity
        return found

    return course


def without_diffusion(course):
    """The same, as cubes were before the diffusion was recorded."""

    def silent(point, replica, s):
        return {name: values for name, values in course(point, replica, s).items() if name != "weight_diffusion"}

    return silent


def fitted(course=None, grid=None, **settings):
    wanted = {"times": STEPS, "clock": "step", "widths": (SIDE, SIDE, 10), "dataset": "made", "samples": 100} | settings
    return balance(chaos_cube(course or stepped(), grid=grid or {"learning_rate": [0.01]}, **wanted))


def test_work_and_diffusion_give_what_is_measured():
    found = fitted(grid={"learning_rate": [0.004, 0.01], "momentum": [0.0, 0.5]})
    assert (np.abs(found["window_relative_error"]) < 0.01).all()
    largest = float(found["measured_growth"].max())
    np.testing.assert_allclose(found["predicted_growth"], found["measured_growth"], atol=0.01 * largest)
    assert (np.abs(found["end_relative_error"]) < 0.02).all()
    assert (found["replicas"] == 3).all()
    # What is left over is no more than the last pushes, which the velocity still holds.
    plain = found.sel(momentum=0.0)
    np.testing.assert_allclose(plain["predicted_growth"], plain["measured_growth"], atol=1e-9)
    np.testing.assert_allclose(plain["lag_share"], 0, atol=1e-12)
    parts = found["work_growth"] + found["diffusion_growth"] - found["decay_loss"]
    np.testing.assert_allclose(parts, found["predicted_growth"], atol=1e-12)


def test_noise_makes_work_alone_miss_the_growth():
    loud, quiet = fitted(stepped(noise=3.0)), fitted(stepped(noise=0.0))
    assert float(loud["work_relative_error"]) < -0.1
    assert abs(float(loud["window_relative_error"])) < 0.01
    assert abs(float(quiet["work_relative_error"])) < 0.02
    assert float(loud["window_diffusion_constant"]) > 10 * float(quiet["window_diffusion_constant"])


def test_without_the_diffusion_the_prediction_is_of_gradient_flow():
    whole, found = fitted(), fitted(without_diffusion(stepped()))
    np.testing.assert_allclose(found["predicted_growth"], whole["work_growth"], atol=1e-12)
    assert float(found["window_relative_error"]) == pytest.approx(float(whole["work_relative_error"]))
    assert np.isnan(found["diffusion_growth"]).all()
    assert "weight_diffusion" in found.attrs["reason"]
    assert whole.attrs["reason"] == ""


def test_weight_decay_balances_the_gain_at_rest():
    """Twice weight_decay, that is four times the L2 strength of the paper: half of it would be off by a factor 2."""
    found = fitted(grid={"weight_decay": [0.0, 0.05, 0.2]}, times=10 * np.arange(201))
    assert np.isnan(found["end_ratio"][0])
    np.testing.assert_allclose(found["end_ratio"][1:], 1, atol=0.05)
    np.testing.assert_allclose(found["end_relative_error"], 0, atol=0.03)
    decayed = found["end_decay_constant"][1:] / (2 * found["weight_decay"][1:] * 100)
    assert (decayed > 0.05).all()


def test_constants_between_records_are_slopes():
    found = fitted()
    measured, tau = found["measured_growth"].values, found["epoch_time"].values
    np.testing.assert_allclose(found["measured_constant"][1:], np.diff(measured) / np.diff(tau), rtol=1e-9)
    np.testing.assert_allclose(found["middle_epoch_time"][1:], (tau[1:] + tau[:-1]) / 2)
    assert np.isnan(found["measured_constant"][0])
    assert found["step"].values.tolist() == STEPS.tolist()


def test_replicas_that_diverged_are_left_out():
    plain = stepped()

    def course(point, replica, s):
        made = plain(point, replica, s)
        return {name: np.where((replica == 1) & (s > 1), np.nan, values) for name, values in made.items()}

    found = fitted(course)
    assert int(found["replicas"]) == 2
    assert abs(float(found["window_relative_error"])) < 0.01


@pytest.mark.parametrize("records", [1, 2, 4])
def test_short_runs_have_reasons(records, tmp_path):
    found = fitted(times=STEPS[:records], dataset="fashion_mnist")
    assert np.isnan(found["window_relative_error"])
    assert "growth window not reached" in found.attrs["reason"]
    cube.write(found, tmp_path / "fit.nc")


def test_needs_a_square_layer_and_its_sums():
    with pytest.raises(ValueError, match="square"):
        fitted(widths=(SIDE, 4, 10))
    with pytest.raises(ValueError, match="weight_work"):
        fitted(lambda point, replica, s: {"coupling": 1 + s, "mean_coupling": s})
