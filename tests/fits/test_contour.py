import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.fits.contour import (
    boundary_exponent,
    boundary_line,
    boundary_values,
    crossing,
    midpoint_crossing,
    replica_boundary_exponent,
)
from sgdphases.fits.intervals import Estimate

AXIS = 2.0 ** np.arange(-5, 7)


@given(st.floats(-4.9, 5.9), st.floats(0.1, 3))
def test_power_laws_cross_where_they_should(place, slope):
    critical = 2.0**place
    assert crossing(AXIS, (AXIS / critical) ** slope, 1.0, log_values=True) == pytest.approx(critical)
    assert crossing(AXIS, slope * np.log(AXIS / critical), 0.0) == pytest.approx(critical)


@given(st.lists(st.floats(0, 1), min_size=12, max_size=12), st.floats(0.05, 0.95))
def test_a_crossing_lies_between_a_pair_that_brackets_the_level(values, level):
    heights = np.array(values)
    place = crossing(AXIS, heights, level)
    above = heights >= level
    if np.all(above == above[0]):
        assert np.isnan(place)
    else:
        index = np.flatnonzero(above[1:] != above[:-1])[0]
        assert AXIS[index] * (1 - 1e-12) <= place <= AXIS[index + 1] * (1 + 1e-12)


def test_direction_and_order_of_crossings():
    axis, values = np.array([1.0, 2, 4, 8, 16]), np.array([0.0, 1, 0, 1, 0])
    assert crossing(axis, values, 0.5) == pytest.approx(2**0.5)
    assert crossing(axis, values, 0.5, direction="falling") == pytest.approx(2**1.5)
    assert crossing(axis, values, 0.5, which="last") == pytest.approx(2**3.5)
    assert crossing(axis, values, 0.5, direction="rising", which="last") == pytest.approx(2**2.5)


def test_missing_points_are_bridged():
    values = np.array([1.0, np.nan, 0.0])
    assert crossing([1, 2, 4], values, 0.5) == pytest.approx(2)
    assert np.isnan(crossing([1, 2, 4], np.full(3, np.nan), 0.5))
    # A loss of exactly zero has no logarithm.
    assert crossing([1, 2, 4], [0.0, 0.01, 1.0], 0.1, log_values=True) == pytest.approx(2 * 2**0.5)


def test_midpoint_as_published():
    fractions = np.array([1, 1, 0.9, 0.7, 0.5, 0.6, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert midpoint_crossing(AXIS, fractions, 0.68) == pytest.approx(0.375)
    assert np.isnan(midpoint_crossing(AXIS, np.zeros(12), 0.68))
    assert np.isnan(midpoint_crossing(AXIS, np.ones(12), 0.68))


def passing_replicas(rng, scales, count, exponent=1.1):
    """Replicas pass below their own critical temperature, scattered by a factor about 1.2."""
    critical = 0.3 * scales**exponent * np.exp(0.2 * rng.normal(size=(count, len(scales))))
    return (critical[..., None] > AXIS).astype(float)


def test_boundary_line_and_its_errors():
    scales, median = np.array([2.0, 8.0, 32.0]), []
    for seed in range(20):
        replicas = passing_replicas(np.random.default_rng(seed), scales, 40)
        line = boundary_line(AXIS, replicas, 0.5, direction="falling", resamples=100)
        assert line.value.shape == line.error.shape == (3,)
        assert np.all((line.low <= line.value) & (line.value <= line.high))
        median.append(line.value)
    # The error of one experiment is the scatter between experiments.
    np.testing.assert_allclose(np.std(median, axis=0), line.error, rtol=0.8)
    np.testing.assert_allclose(np.mean(median, axis=0), 0.3 * scales**1.1, rtol=0.35)


def test_a_line_that_leaves_the_map_is_missing():
    replicas = passing_replicas(np.random.default_rng(1), np.array([2.0, 1000.0]), 20)
    line = boundary_line(AXIS, replicas, 0.5, resamples=50)
    np.testing.assert_array_equal(np.isnan(line.value), [False, True])
    np.testing.assert_array_equal(np.isnan(line.error), [False, True])


@given(st.floats(0.3, 2))
def test_exponent_of_an_exact_line(exponent):
    scales = np.array([1.0, 2, 4, 8])
    line = Estimate(0.1 * scales**exponent, 0.01 * scales**exponent, scales, scales)
    assert boundary_exponent(scales, line).exponent.value == pytest.approx(exponent)
    bare = Estimate(line.value, np.full(4, np.nan), line.low, line.high)
    assert boundary_exponent(scales, bare).exponent.value == pytest.approx(exponent)


def test_exponent_of_a_noisy_map():
    scales = 2.0 ** np.arange(1, 7)
    replicas = passing_replicas(np.random.default_rng(2), scales, 50, exponent=0.9)
    whole = replica_boundary_exponent(scales, AXIS, replicas, level=0.5)
    assert whole.value == pytest.approx(0.9, abs=0.12)
    assert 0.002 < whole.error < 0.1
    two_steps = boundary_exponent(scales, boundary_line(AXIS, replicas, 0.5, resamples=100))
    assert two_steps.exponent.value == pytest.approx(0.9, abs=0.15)


def test_batch_size_scaling_of_losses():
    """Log-interpolated crossings of losses recover a critical rate that grows as the batch size."""
    sizes = np.array([1.0, 2, 4, 8])
    losses = 1e-4 * (AXIS / (0.4 * sizes[:, None])) ** 3
    values = boundary_values(AXIS, losses, 1e-4, log_values=True)
    np.testing.assert_allclose(values, 0.4 * sizes)
