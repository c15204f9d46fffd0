import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sgdphases.fits.intervals import Estimate, normal_estimate, reach_of, student_estimate, wilson_interval

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.floats(0.5, 0.999))
def test_wilson_equals_scipy_and_contains_the_fraction(count, confidence):
    successes, trials = count
    interval = wilson_interval(successes, trials, confidence=confidence)
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.value == successes / trials


@given(counts)
def test_wilson_narrows_with_trials_and_is_symmetric(count):
    successes, trials = count
    once, often = wilson_interval(successes, trials), wilson_interval(10 * successes, 10 * trials)
    assert often.error < once.error
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored.low == pytest.approx(1 - once.high, abs=1e-12)
    assert mirrored.error == pytest.approx(once.error)


@pytest.mark.parametrize(("trials", "confidence"), [(10, 0.95), (50, 0.95), (100, 0.68)])
def test_wilson_covers_as_often_as_it_says(trials, confidence):
    """Exact coverage, averaged over true fractions."""
    outcomes = np.arange(trials + 1)
    interval = wilson_interval(outcomes, trials, confidence=confidence)
    truths = np.linspace(0.02, 0.98, 97)
    covered = [stats.binom.pmf(outcomes, trials, p)[(interval.low <= p) & (p <= interval.high)].sum() for p in truths]
    assert np.mean(covered) == pytest.approx(confidence, abs=0.02)


def test_wilson_error_is_the_binomial_one_for_many_trials():
    assert wilson_interval(3000, 10000).error == pytest.approx(np.sqrt(0.3 * 0.7 / 10000), rel=1e-3)
    assert wilson_interval(0, 10).error > 0


def test_wilson_of_maps_and_of_no_trials():
    interval = wilson_interval(np.array([[0, 3], [5, 0]]), np.array([[10, 10], [5, 0]]))
    assert interval.value.shape == interval.low.shape == (2, 2)
    assert interval.value[1, 0] == interval.high[1, 0] == 1
    assert np.isnan([part[1, 1] for part in (interval.value, interval.error, interval.low, interval.high)]).all()


@pytest.mark.parametrize("successes", [-1, 4])
def test_wilson_refuses_impossible_counts(successes):
    with pytest.raises(ValueError, match="between 0"):
        wilson_interval(successes, 3)


def test_normal_estimate():
    estimate = normal_estimate([1.0, 2.0], [0.5, 0.1], confidence=0.95)
    np.testing.assert_allclose(estimate.high - estimate.low, 2 * 1.959964 * np.array([0.5, 0.1]), rtol=1e-6)


def test_few_degrees_of_freedom_reach_further():
    np.testing.assert_allclose(reach_of([2, 4, 7, 15, np.inf]), [4.303, 2.776, 2.365, 2.131, 1.960], atol=1e-3)
    assert np.isnan(reach_of([0, 0.5, np.nan])).all()


def test_intervals_of_students_t_hold_what_they_say():
    draws = np.random.default_rng(0).standard_normal((3, 4000))
    error = draws.std(axis=0, ddof=1) / np.sqrt(3)
    for confidence in (0.68, 0.95):
        found = student_estimate(draws.mean(axis=0), error, freedom=2, confidence=confidence)
        assert ((found.low < 0) & (found.high > 0)).mean() == pytest.approx(confidence, abs=0.025)


def test_positive_estimates_have_positive_ends():
    value, error = np.array([2.0, 1e-3, -1.0]), np.array([0.5, 10.0, 1.0])
    found = student_estimate(value, error, freedom=5, positive=True)
    assert (found.low[:2] >= 0).all()
    assert np.isnan([found.low[2], found.high[2]]).all()
    assert found.high[0] / 2 == pytest.approx(2 / found.low[0])
    np.testing.assert_array_equal(found.error, error)


def test_other_units_turn_the_interval_with_the_value():
    made = Estimate(np.array([1.0]), np.array([0.5]), np.array([0.2]), np.array([2.0])).times([-2.0])
    assert [float(part[0]) for part in (made.value, made.error, made.low, made.high)] == [-2, 1, -4, -0.4]
