import numpy as np
import pytest
import xarray as xr

from made_richness import BASELINE, Toy, drop_tau, largest_rate, richness_cube
from sgdphases.fits.drops import LEVELS, WINDOW, drop_times, smoothed
from sgdphases.fits.first_drop import first_drop
from sgdphases.fits.strips import strips_of
from sgdphases.storage import cube

DEPTHS = [2, 3, 4]
RICH = 10.0 ** np.arange(1, 4, 0.5)
WINDOW_OF_SPREAD = slice(2, None)


class SecondClock(Toy):
    """Networks that fall by the clock ηγ^{-2/L}(t - t_1) once they have dropped."""

    def left(self, point, dropped, time):
        pace = point["learning_rate"] * float(point["richness"]) ** (-2 / int(point["depth"]))
        return 1 / (1 + 0.5 * pace * (time - dropped))


def equal_ratio(toy, **axes):
    """Equal learning rate over richness, as τ wants it."""
    axes = {"depth": DEPTHS, "richness": RICH, "steps": (0, 100, 4000), "rates": [0.002]} | axes
    return richness_cube(toy, rate_axis="rate_over_richness", **axes)


@pytest.fixture(scope="module")
def found():
    return first_drop(equal_ratio(Toy())).isel(rate_over_richness=0, baseline=0).sel(level=0.95)


def test_a_ramp_drops_when_it_does():
    """The mean over a window of a straight line is its value in the middle."""

    def ramp(point, replica, steps):
        loss = 1 - np.arange(steps[-1]) / 1000
        return {"test_loss": np.ones(len(steps)), "batch_loss": loss, "diverged_at": -1}

    made = richness_cube(ramp, richness=[1.0], rates=[0.1], steps=(0, 700), constant=0.9)
    times = drop_times(strips_of(made, "test"))[0, 0, 0, 0]
    expected = [[1000 * (1 - share * base) for base in (1.0, 0.9)] for share in LEVELS]
    np.testing.assert_allclose(times, np.where(np.array(expected) >= 3.5, expected, np.nan), rtol=1e-9)


def test_smoothing_is_over_eight_updates():
    curve = smoothed(np.arange(20.0))
    np.testing.assert_allclose(curve.loss, curve.time)
    assert curve.time.size == 20 - WINDOW + 1
    assert np.isnan(smoothed(np.where(np.arange(20) < 12, 1.0, np.nan)).loss[-8:]).all()
    assert smoothed(np.ones((3, 5))).loss.shape == (3, 0)


def test_the_drop_is_at_the_toys_time(found):
    for place, depth in enumerate(DEPTHS):
        tau = found["drop_tau"].isel(depth=place)
        true = drop_tau(RICH, depth)
        steps = true / 0.002
        # The fourth power falls by five per cent within 2 % of the time; the window's middle may lie before.
        early = np.isfinite(tau.values) & (steps < 3000)
        assert (np.abs(tau.values[early] / true[early] - 1.01) < 0.012 + 4 / steps[early]).all()
        np.testing.assert_allclose(found["drop_step"].isel(depth=place) * 0.002, tau)


def test_the_approach_is_a_power_and_for_two_layers_a_logarithm(found):
    assert float(found["logarithmic_slope"].isel(depth=0)) == pytest.approx(0.5, abs=0.015)
    assert found["logarithmic_explained"].isel(depth=0) > 0.999
    assert (found["logarithmic_explained"].isel(depth=[1, 2]) < 0.95).all()
    assert np.isnan(found["limit_tau"].isel(depth=0))
    np.testing.assert_allclose(found["limit_tau"].isel(depth=[1, 2]), [1, 0.5], rtol=0.03)
    np.testing.assert_allclose(found["limit_approach"].isel(depth=[1, 2]), [1, 0.5], rtol=0.08)
    assert (found["limit_explained"].isel(depth=[1, 2]) > 0.999).all()
    assert (found["limit_tau_error"].isel(depth=[1, 2]) > 0).all()
    np.testing.assert_array_equal(found["drop_points"], 6)


def test_spreads_and_scores_are_those_of_the_times(found):
    tau = found["drop_tau"].isel(richness=WINDOW_OF_SPREAD)
    np.testing.assert_allclose(found["tau_spread"], tau.std("richness", ddof=1) / tau.mean("richness"))
    np.testing.assert_allclose(found["step_ratio"], tau.max("richness") / tau.min("richness"))
    np.testing.assert_allclose(found["flow_ratio"], found["step_ratio"] * 10**1.5, rtol=1e-6)
    np.testing.assert_allclose(found["tau_score"], 1)
    logarithm = np.log(found["drop_tau"])
    flow = (logarithm + np.log(found["richness"])).std("richness", ddof=1)
    np.testing.assert_allclose(found["flow_score"], logarithm.std("richness", ddof=1) / flow)
    assert (np.diff(found["tau_spread"]) < 0).all()


def test_at_equal_reduced_rates_steps_grow_as_the_plateau():
    """Times of τ make steps γ^{1 - 2/L} and what the approach adds; τ itself spreads less than the steps."""
    made = richness_cube(
        Toy(), rate_axis="reduced_learning_rate", rates=[0.05], depth=[3, 4], richness=RICH, steps=(0, 3000)
    )
    found = first_drop(made).isel(reduced_learning_rate=0, baseline=0).sel(level=0.75)
    for place, depth in enumerate((3, 4)):
        true = np.polyfit(np.log(RICH), np.log(RICH ** (1 - 2 / depth) * drop_tau(RICH, depth)), 1)[0]
        one = found.isel(depth=place)
        assert float(one["steps_exponent"]) == pytest.approx(true, abs=0.02)
        assert one["steps_exponent_low"] < true < one["steps_exponent_high"]
        assert one["tau_score"] < 0.3
        assert one["step_ratio"] > 3


def test_after_the_drop_the_second_clock_counts():
    made = richness_cube(
        SecondClock(), rate_axis="rate_over_richness", rates=[0.0006], depth=[3, 4], richness=RICH, steps=(0, 4000)
    )
    found = first_drop(made).isel(rate_over_richness=0, baseline=1)
    second = found.sel(level=0.75)
    assert (second["second_spread"] < 0.1).all()
    assert (second["second_score"] < 0.15).all()
    assert np.isnan(found["second_tau"].sel(level=0.97)).all()
    for place, depth in enumerate((3, 4)):
        decades = np.log10(0.0006 * RICH / largest_rate(RICH, depth))
        best = 0.02 + 0.002 * (decades + 0.35) ** 2
        times = [2 * (BASELINE - best) / (level * BASELINE - best) for level in (0.75, 0.95)]
        np.testing.assert_allclose(second["second_tau"].isel(depth=place), times[0] - times[1], rtol=0.02)


def test_the_stair_is_told_apart_from_the_drop():
    """One-hot targets: 0.1 to 0.09 at half the time, seen by shares of the start and not of the constant answer."""
    found = first_drop(equal_ratio(Toy(stair=0.1), depth=[3])).isel(rate_over_richness=0).sel(level=0.95)
    start, constant = (found["drop_tau"].isel(baseline=place) for place in (0, 1))
    np.testing.assert_allclose(start, drop_tau(RICH, 3) / 2, rtol=0.03)
    np.testing.assert_allclose(constant, drop_tau(RICH, 3), rtol=0.03)
    assert list(found["baseline_name"].values) == ["start", "constant"]


def test_replicas_give_errors_that_cover():
    made = equal_ratio(Toy(scatter=0.03), depth=[3], replicas=5, batch_size=1 + np.arange(16))
    found = first_drop(made).isel(rate_over_richness=0, baseline=0).sel(level=0.95)
    exact = first_drop(equal_ratio(Toy(), depth=[3])).isel(rate_over_richness=0, baseline=0).sel(level=0.95)
    for name in ("limit_tau", "logarithmic_slope", "steps_exponent"):
        pull = (found[name] - exact[name]) / found[f"{name}_error"]
        # Lines that are not quite straight have the error of their bend.
        least = 0.2 if name == "steps_exponent" else 0.5
        assert least < float(np.sqrt((pull**2).mean())) < 1.7, name
    pull = (found["drop_tau"] - exact["drop_tau"]) / found["drop_tau_error"]
    assert 0.7 < float(np.sqrt((pull**2).mean())) < 2


def test_what_does_not_drop_or_drops_at_once_has_no_time(tmp_path):
    made = equal_ratio(Toy(), depth=[3], steps=(0, 300))
    found = first_drop(made)
    assert np.isnan(found["drop_step"].sel(level=0.95).isel(richness=-1)).all()
    assert np.isnan(found["tau_spread"]).all()
    assert "no loss falls below 0.5 of its start" in found.attrs["reason"]
    cube.write(found, tmp_path / "fit.nc")
    xr.testing.assert_allclose(cube.read(tmp_path / "fit.nc"), found)
    quick = first_drop(equal_ratio(Toy(), depth=[3], rates=[10.0], steps=(0, 50)))
    assert np.isnan(quick["drop_step"].isel(level=0)).all()


@pytest.mark.parametrize("missing", ["batch_loss", "constant_loss"])
def test_what_lacks_is_named(missing):
    made = equal_ratio(Toy(), depth=[3], steps=(0, 20))
    with pytest.raises(ValueError, match=f"first_drop needs {missing}"):
        first_drop(made.drop_vars(missing))
    with pytest.raises(ValueError, match="several values of the richness"):
        first_drop(made.isel(richness=0))
