import numpy as np
import pytest

from made_cubes import chaos_cube
from sgdphases.fits.collapse import collapse
from sgdphases.storage import cube

TIMES = np.linspace(0, 9000, 61)
RATES = {"learning_rate": [0.01, 0.02, 0.04]}


def fan(below=0.0, above=0.0, scatter=0.0, seed=0):
    """J² that grows by 11 τ, by another share for each learning rate, below and above J² = 1."""
    random = np.random.default_rng(seed)

    def course(point, replica, s):
        side = np.log2(point["learning_rate"] / 0.02)
        one = 0.25 + 11 * s / 60_000
        share = np.where(one <= 1, below, above) / 2 * side
        best = 0.34 + 0.01 * side + 0.3 * (one - 0.9) ** 2
        return {"coupling": np.sqrt(one * (1 + share) * (1 + scatter * random.standard_normal())), "test_loss": best}

    return course


def test_known_spreads_come_back():
    found = collapse(chaos_cube(fan(0.02, 0.1), grid=RATES, times=TIMES))
    assert found["squared_coupling"].dims == ("flow_time",)
    for name, true in (("spread_below", 0.02), ("spread_above", 0.1), ("deviation_below", 0.01)):
        assert float(found[name]) == pytest.approx(true, rel=1e-6)
    assert float(found["spread_window"]) == pytest.approx(0.02, rel=1e-6)
    assert float(found["edge_epoch_time"]) == pytest.approx(0.75 / 11, rel=1e-4)
    assert float(found["edge_flow_time"]) == pytest.approx(60_000 * float(found["edge_epoch_time"]))
    np.testing.assert_allclose(found["epoch_time"], TIMES / 60_000)
    np.testing.assert_allclose(found["minimal_test_loss"], [0.33, 0.34, 0.35], atol=2e-3)
    assert float(found["minimal_test_loss_spread"]) == pytest.approx(0.02, rel=1e-6)
    assert int(found["points"]) == 3


def test_scatter_of_replicas_is_told_apart_from_a_fan():
    """Curves that are one have a deviation that their replicas' scatter accounts for; true fans do not."""
    grid = RATES | {"batch_size": [8, 16, 32, 64]}
    one = collapse(chaos_cube(fan(scatter=0.02), grid=grid, times=TIMES, replicas=8))
    assert 0.5 < float((one["deviation"] / one["deviation_of_replicas"]).isel(flow_time=30)) < 1.6
    fanned = collapse(chaos_cube(fan(0.1, 0.1, scatter=0.02), grid=grid, times=TIMES, replicas=8))
    assert float((fanned["deviation"] / fanned["deviation_of_replicas"]).isel(flow_time=30)) > 4


def test_curves_on_the_clock_of_steps_are_compared_at_common_times():
    found = collapse(chaos_cube(fan(), grid=RATES, times=7500 * np.arange(31), clock="step"))
    # The slowest run ends first; faster ones are interpolated between records of their straight lines.
    assert float(found["flow_time"][-1]) == pytest.approx(7500 * 30 * 0.02)
    assert float(found["spread_below"]) < 1e-9
    assert np.isnan(found["spread_above"])
    assert "spread_above" in found.attrs["reason"]


def test_rounded_flow_times_do_not_look_like_a_fan():
    grid = {"learning_rate": [0.013, 0.05, 0.11], "momentum": [0.5, 0.9]}
    found = collapse(chaos_cube(fan(), grid=grid, times=np.linspace(0, 9000, 41)))
    assert float(found["spread_below"]) < 1e-6


def test_decay_and_other_starts_are_not_compared():
    star = [{"learning_rate": rate} for rate in (0.01, 0.02)] + [{"weight_decay": 1e-4}, {"init_scale": 1.1}]
    found = collapse(chaos_cube(fan(), grid=star, times=TIMES))
    assert int(found["points"]) == 2
    assert np.isfinite(found["minimal_test_loss"]).values.tolist() == [True, True, False, False]


@pytest.mark.parametrize("grid", [{"learning_rate": [0.02]}, {"weight_decay": [1e-5, 1e-4]}], ids=["one", "decay"])
def test_one_point_is_no_collapse(grid, tmp_path):
    found = collapse(chaos_cube(fan(), grid=grid, times=TIMES))
    assert "spread" not in found
    assert "fewer than two points" in found.attrs["reason"]
    cube.write(found, tmp_path / "fit.nc")


def test_diverged_points_are_left_out():
    straight = fan()

    def course(point, replica, s):
        made = dict(straight(point, replica, s))
        if point["learning_rate"] == 0.04:
            made["coupling"] = np.where(s > 1000, np.nan, made["coupling"] * 3)
        return made

    found = collapse(chaos_cube(course, grid=RATES, times=TIMES))
    assert int(found["points"]) == 2
    assert float(found["spread_below"]) < 1e-9


def test_two_records_are_enough_not_to_fail():
    found = collapse(chaos_cube(fan(), grid=RATES, times=[0.0, 50.0]))
    assert np.isnan(found["edge_flow_time"])
    assert np.isnan(found["minimal_test_loss"]).all()
