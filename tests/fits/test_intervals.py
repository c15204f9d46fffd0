import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sgdphases.fits.intervals import normal_estimate, wilson_interval

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
