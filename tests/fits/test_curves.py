import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_cubes import chaos_cube
from sgdphases.fits.curves import interpolated, moving_mean, rise, rises
from sgdphases.fits.grid import alike, clock_of, grid_of

numbers = st.floats(-5, 5).map(lambda value: round(value, 6))


@given(st.lists(numbers, min_size=2, max_size=12), numbers)
def test_a_rise_lies_between_records_on_either_side_of_the_level(values, level):
    curve, places = np.array(values), np.arange(len(values), dtype=float)
    first, last = float(rise(places, curve, level)), float(rise(places, curve, level, lasting=True))
    rising = [place for place in range(len(values) - 1) if curve[place] < level <= curve[place + 1]]
    assert np.isnan(first) == (not rising)
    if rising:
        assert rising[0] <= first <= rising[0] + 1
        assert np.interp(first, places, curve) == pytest.approx(level, abs=1e-9)
    # A lasting rise is one after which every record is beyond.
    assert np.isnan(last) == (not rising or curve[-1] < level)
    if np.isfinite(last):
        assert (curve[places > last + 1e-9] >= level).all()


@given(st.floats(0.1, 10), st.floats(-3, 3), st.lists(st.booleans(), min_size=8, max_size=8))
def test_missing_records_do_not_move_the_rise_of_a_line(slope, level, missing):
    places = np.linspace(-4, 4, 10)
    curve = np.where([False, *missing, False], np.nan, slope * places)
    both = rise(np.stack([places, 2 * places]), curve, slope * level)
    np.testing.assert_allclose(both, [level, 2 * level], rtol=1e-9, atol=1e-9)


def test_rises_and_interpolation_undo_each_other():
    time = np.stack([np.linspace(0, 1, 11), np.linspace(0, 5, 11)])
    values = np.stack([time**2, 2 * time**2])
    places = rises(time, values, 0.5)
    np.testing.assert_allclose(interpolated(time, values, places), 0.5)
    assert np.isnan(interpolated(time, values, np.full((2, 2), 9.0))).all()
    assert np.isnan(rises(time, values + 3, 0.5)).all()


@given(st.integers(1, 6), st.floats(-2, 2), st.floats(-2, 2))
def test_a_moving_mean_keeps_straight_lines(half, slope, height):
    time = np.arange(20.0)[None]
    smooth = moving_mean(time, slope * time[None] + height, 2.0 * half)
    np.testing.assert_allclose(smooth[0, 0, half:-half], slope * time[0, half:-half] + height, atol=1e-9)
    assert np.isnan(smooth[0, 0, :half]).all()


def nothing(point, replica, s):
    return {"coupling": np.full(s.shape, 10.0 * point["batch_size"] + replica)}


def test_points_of_a_grid_and_the_way_back():
    axes = {"learning_rate": [0.01, 0.02], "momentum": [0.0, 0.5], "batch_size": [16, 32, 64]}
    made = chaos_cube(nothing, grid=axes, times=[0.0, 1.0, 2.0])
    grid = grid_of(made)
    assert (clock_of(made), grid.dims, grid.shape) == ("flow_time", tuple(axes), (2, 2, 3))
    np.testing.assert_allclose(grid.flow_time, np.tile([0.0, 1.0, 2.0], (12, 1)))
    np.testing.assert_allclose(grid.on_points(made["batch_size"]), np.tile([16, 32, 64], 4))
    curves = grid.curves(made["coupling"])
    assert curves.shape == (3, 12, 3, 2)
    np.testing.assert_allclose(curves[1, :, 0, 0], np.tile([161, 321, 641], 4))
    np.testing.assert_allclose(grid.in_time(made["step"])[-1], [0, 25, 50])


def test_flow_time_is_that_of_the_steps_that_were_run():
    made = chaos_cube(nothing, grid={"learning_rate": [0.3]}, times=[0.0, 1.0, 2.0])
    np.testing.assert_allclose(grid_of(made).flow_time, [[0, 1.2, 1.8]])


def test_alike_points_differ_in_what_may_differ_only():
    star = [{"learning_rate": 0.01}, {"learning_rate": 0.05}, {"init_scale": 1.1}, {"init_scale": 1.1, "batch_size": 8}]
    star += [{"batch_size": 64, "momentum": 0.9}]
    made = chaos_cube(nothing, grid=star, times=[0.0, 4.0])
    every = np.ones(5, dtype=bool)
    group = alike(made, grid_of(made), ("learning_rate", "momentum", "batch_size"), every)
    assert group.tolist() == [True, True, False, False, True]
    assert alike(made, grid_of(made), ("learning_rate",), ~every).tolist() == [False] * 5
