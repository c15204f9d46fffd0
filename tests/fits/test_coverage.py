"""Intervals hold the truth as often as they are declared to; benchmarks/coverage_of_fits.py prints the whole table."""

import numpy as np
import pytest

import made_coverage_cubes
import made_coverage_samples
from made_coverage import EXACT_INTERVAL, Draws, Row, coverage, improbable

FAMILIES = made_coverage_samples.FAMILIES | made_coverage_cubes.FAMILIES
DRAWS = 60
CHANCE = 1e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_intervals_hold_the_truth_as_often_as_declared(name):
    family = FAMILIES[name]
    found = family.draw(DRAWS)
    assert set(found) == set(family.rows)
    for key, row in family.rows.items():
        counted = coverage(found[key])
        assert not counted.missing, key
        for hits, band in zip((counted.one_error, counted.interval), row.declared, strict=True):
            assert improbable(hits, counted.draws, band) > CHANCE, key


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_not_declared_right_has_a_note_of_two_sentences(name):
    for row in FAMILIES[name].rows.values():
        right = (row.one_error, row.interval) == (None, EXACT_INTERVAL)
        assert bool(row.finding) != right, row
        assert row.finding.count(". ") == (1 if row.finding else 0), row
        for low, high in row.declared:
            assert high - low < 0.1


def test_fewer_draws_are_the_first_ones_of_more():
    few, more = (FAMILIES["means"].draw(count)["mean_3"] for count in (5, 20))
    np.testing.assert_array_equal(few.value, more.value[:5])
    assert len(np.unique(more.value)) == 20


def test_draws_are_counted():
    value = np.array([0.0, 0.5, -1.5, 3.0, np.nan])
    found = coverage(Draws(value, np.ones(5), value - 2, value + 2, np.zeros(5)))
    assert (found.draws, found.missing, found.one_error, found.interval) == (4, 1, 2, 3)
    assert found.bias == pytest.approx(0.5)
    assert found.scatter == pytest.approx(np.sqrt((0.25 + 2.25 + 9) / 4))


def test_a_share_that_is_off_is_improbable():
    exact, _ = Row("", "").declared
    assert exact[0] == pytest.approx(0.6827, abs=1e-4)
    assert improbable(41, 60, exact) > 0.3
    assert improbable(20, 60, exact) < CHANCE
    assert improbable(60, 60, exact) < CHANCE
    assert improbable(57, 60, (0.8, 1.0)) > 0.3
    # Two values: the scatter has Cauchy tails.
    assert Row("", "", freedom=1).must == pytest.approx(0.5)
