import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.observables.phases import (
    DIVERGED,
    FERRO,
    PARA,
    PHASES,
    SPIN_GLASS,
    UNDECIDED,
    classify,
    learned,
    target_spectrum,
)

TARGET = (2.6, 2.5)


def label(now, start, **more):
    found = classify(now[0], now[1], initial_largest=start[0], initial_smallest=start[1], target=TARGET, **more)
    return int(found.label)


@pytest.mark.parametrize(
    ("now", "start", "expected"),
    [
        ((1.55, 0.01), (0.04, 0.002), FERRO),  # cold, 1/sigma = 8, at 1e8 steps
        ((2.0e5, 1.0), (0.04, 0.002), PARA),  # hot, small start
        ((1.7e5, 8e3), (1.7e5, 8e3), SPIN_GLASS),  # sigma = 256, nothing moved
        ((1.6e5, 8e3), (1.7e5, 8e3), SPIN_GLASS),
        ((1.0e6, 8e3), (1.7e5, 8e3), PARA),
        ((4.0e5, 8e3), (1.7e5, 8e3), UNDECIDED),  # the spread grew by more than 0.7, but not threefold
        ((0.05, 0.002), (0.04, 0.002), UNDECIDED),  # has not learned yet
        ((np.nan, 0.1), (0.04, 0.002), UNDECIDED),
        ((np.inf, 0.1), (0.04, 0.002), UNDECIDED),
    ],
)
def test_the_rules_in_their_order(now, start, expected) -> None:
    assert label(now, start) == expected


def test_growth_beyond_the_target_is_para_below_the_edge_rule() -> None:
    # Spread e^1.05 times what the target needs, while x_max stays below three times the target's.
    assert label((2.5 * np.exp(1.05), 0.0), (0.04, 0.0)) == PARA
    assert label((2.5 * np.exp(0.95), 0.0), (0.04, 0.0)) == FERRO


def test_a_fallen_loss_makes_ferro_of_a_spectrum_that_is_still_short() -> None:
    assert label((0.5, 0.001), (0.04, 0.002), loss=(1e-4, 2e-2)) == FERRO
    assert label((0.5, 0.001), (0.04, 0.002), loss=(1e-3, 2e-2)) == UNDECIDED
    # but not of a frozen wide one
    assert label((1.7e5, 8e3), (1.7e5, 8e3), loss=(1e-9, 1.0)) == SPIN_GLASS


def test_the_overlap_confirms_a_glass_and_changes_no_label() -> None:
    found = classify(
        np.array([1.7e5, 1.7e5, 1.55]),
        np.array([8e3, 8e3, 0.01]),
        initial_largest=np.array([1.7e5, 1.7e5, 0.04]),
        initial_smallest=np.array([8e3, 8e3, 0.002]),
        target=TARGET,
        overlap_ratio=np.array([0.7, 0.1, 0.01]),
    )
    assert found.label.tolist() == [SPIN_GLASS, SPIN_GLASS, FERRO]
    assert found.confirmed.tolist() == [True, False, True]
    assert found.label.dtype == np.int8
    assert set(PHASES) == {UNDECIDED, FERRO, SPIN_GLASS, PARA, DIVERGED}


def naive(now, small, start, start_small, target, spread, loss, before):
    if not np.all(np.isfinite([now, small, start, start_small, target])):
        return UNDECIDED
    growth = np.log((now - small) / (start - start_small))
    if now > 3 * max(start, target) or growth - max(0, np.log(spread / (start - start_small))) > 1:
        return PARA
    if start > 3 * target:
        return SPIN_GLASS if abs(growth) < 0.7 else UNDECIDED
    return FERRO if abs(np.log(now / target)) < 1.1 or np.log10(before / loss) >= 2 else UNDECIDED


positive = st.floats(1e-3, 1e5)


@given(st.lists(st.tuples(positive, positive, positive, positive), min_size=1, max_size=6), positive)
def test_arrays_are_labelled_as_one_by_one(rows, target) -> None:
    now, start, loss, before = np.array(rows).T
    found = classify(
        now,
        now / 3,
        initial_largest=start,
        initial_smallest=start / 2,
        target=(target, target / 2),
        loss=(loss, before),
    )
    expected = [
        naive(*row)
        for row in zip(now, now / 3, start, start / 2, *[[target] * 9, [target / 2] * 9], loss, before, strict=False)
    ]
    assert found.label.tolist() == expected


def test_axes_broadcast_and_may_be_missing() -> None:
    rng = np.random.default_rng(0)
    now, start = np.exp(rng.standard_normal((4, 3, 7)) * 3), np.exp(rng.standard_normal((4, 3, 1)))
    scale = {"initial_largest": start, "initial_smallest": start / 2, "target": (np.full((3, 1), 2.6), 2.5)}
    found = classify(now, now / 2, **scale, loss=(np.ones((4, 3, 7)), np.ones((4, 3, 1))))
    assert found.label.shape == found.runaway.shape == found.loss_decades.shape == found.confirmed.shape == (4, 3, 7)
    assert np.isnan(classify(now, now / 2, **scale).loss_decades).all()
    assert len(set(found.label.ravel().tolist())) > 2


def test_without_a_target_nothing_is_decided() -> None:
    found = classify(1e9, 1.0, initial_largest=1.0, initial_smallest=0.5, target=(np.nan, np.nan))
    assert int(found.label) == UNDECIDED


def test_the_target_of_data_is_the_median_of_those_that_learned() -> None:
    largest, smallest = np.array([1.0, 2.0, 3.0, 500.0, np.nan]), np.array([0.5, 0.5, 0.5, 1.0, 0.0])
    have = learned(np.array([1e-3, 1e-3, 1e-3, 0.5, 1e-9]), np.array(1.0))
    assert have.tolist() == [True, True, True, False, True]
    assert target_spectrum(largest, smallest, learned=have) == (2.0, 1.5)
    nothing = target_spectrum(largest, smallest, learned=np.zeros(5, bool))
    assert np.isnan(nothing).all()
    assert learned(np.array([np.nan, np.inf, 0.0]), np.array([1.0, 1.0, 1.0])).tolist() == [False, False, True]
    assert learned(0.05, 1.0, decades=1.0)
