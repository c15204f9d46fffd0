"""What has become of networks, and where a strip's stable range ends."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.ensemble.status import (
    NONE,
    STATUS,
    UNTRIED,
    calm,
    constant_loss,
    edges,
    loss_growth,
    status,
)

NAN = math.nan


def test_growth_is_over_the_updates_before_a_step():
    losses = np.array([[2.0, 3.0, 1.0, 8.0, 0.5], [4.0, NAN, NAN, NAN, NAN], [NAN] * 5, [0.0, 1.0, 1.0, 1.0, 1.0]])
    expected = [[NAN, 1, 1.5, 1.5, 4], [NAN, 1, 1, 1, 1], [NAN] * 5, [NAN, NAN, math.inf, math.inf, math.inf]]
    np.testing.assert_array_equal(loss_growth(losses, [0, 1, 2, 3, 5]), expected)
    assert loss_growth(np.stack([losses] * 3), [5]).shape == (3, 4, 1)


@pytest.mark.parametrize(
    ("loss", "diverged_at", "growth", "expected"),
    [
        ([0.09, 0.01], -1, [NAN, 1.9], ["finite_untrained", "trained"]),
        ([0.09, 0.01], -1, [NAN, 2.1], ["finite_untrained", "catapult"]),
        ([0.01, 0.09], -1, [2.1, 2.1], ["catapult", "finite_untrained"]),
        ([0.09, NAN], 9, [NAN, 1], ["finite_untrained", "nonfinite"]),
        ([0.09, NAN], 10, [NAN, 1], ["finite_untrained", "nonfinite"]),  # the tenth update is before step 10
        ([0.01, 0.01], 11, [1, 1], ["trained", "trained"]),
        ([NAN, NAN], 1, [NAN, NAN], ["nonfinite", "nonfinite"]),
        ([0.09, math.inf], -1, [NAN, 1], ["finite_untrained", "nonfinite"]),  # finite weights, and yet
        ([0.0721, 0.0719], -1, [1, 1], ["finite_untrained", "trained"]),
    ],
)
def test_status(loss, diverged_at, growth, expected):
    found = status(np.array([loss]), np.array([0.09]), np.array([diverged_at]), np.array([growth]), [5, 10])
    assert found.dtype == np.int8
    assert [STATUS[value] for value in found[0].tolist()] == expected


def test_calm():
    assert calm(np.array([0, 1, 1, 2, 3]), np.array([1, 1.9, 2.1, NAN, 2.1])).tolist() == [0, 1, 0, 1, 0]


def ends(table):
    """A strip, one word a network from the smallest learning rate on; its edges."""
    words = table.split()
    value = {"x": 0, "u": 1, "U": 1, "t": 2, "b": 2, "c": 3, ".": -1}  # b trains best; U and c shoot up
    found = [value[word] for word in words]
    loss = [{"b": 0.1, "t": 0.2, "c": 0.3}.get(word, NAN) for word in words]
    return edges(np.array(found), np.array([word in "utb" for word in words]), np.array(loss)).tolist()


@pytest.mark.parametrize(
    ("table", "finite", "trained", "at_rest"),
    [
        (". u t b t c x x .", [5, 6], [5, 6], [4, 5]),
        (". u t b u c x . .", [5, 6], [3, 4], [4, 5]),  # what learns above what does not is an island
        ("t b x t x", [3, 4], [1, 2], [1, 2]),  # so is what is finite above what is not
        (". . b t c", [4, NONE], [4, NONE], [3, 4]),  # nothing is known above
        ("u u U x", [2, 3], [NONE, NONE], [1, 2]),
        ("x x x", [NONE, NONE], [NONE, NONE], [NONE, NONE]),
        ("c b", [1, NONE], [1, NONE], [NONE, NONE]),
        (". . .", [NONE, NONE], [NONE, NONE], [NONE, NONE]),
        ("b", [0, NONE], [0, NONE], [0, NONE]),
        ("t x b", [2, NONE], [2, NONE], [0, 1]),
    ],
)
def test_edges(table, finite, trained, at_rest):
    assert ends(table) == [finite, trained, at_rest]


@given(st.lists(st.tuples(st.sampled_from([-1, 0, 1, 2, 3]), st.booleans(), st.floats(0, 1)), max_size=12))
def test_edges_by_their_definition(cells):
    """Every pair of places is tried against the words of the definitions."""
    table = np.array([cell[0] for cell in cells], dtype=int)
    quiet = np.array([cell[1] and cell[0] not in (-1, 0, 3) for cell in cells], dtype=bool)
    loss = np.array([cell[2] for cell in cells])
    tried = [place for place in range(len(cells)) if table[place] != UNTRIED]
    learned = [place for place in tried if table[place] >= 2]
    best = min(learned, key=lambda place: (loss[place], place), default=None)
    candidates = [
        [place for place in tried if table[place] > 0],
        [p for p in tried if learned and p >= best and all(q in learned for q in tried if best <= q <= p)],
        [place for place in tried if all(quiet[other] for other in tried if other <= place)],
    ]
    for criterion, good in enumerate(candidates):
        last = max(good, default=NONE)
        above = min((place for place in tried if place > last), default=NONE) if good else NONE
        assert edges(table, quiet, loss)[criterion].tolist() == [last, above]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("mean_squared_error", 0.09),
        ("squared_error", 0.9),
        ("half_squared_error", 0.45),
        ("cross_entropy", math.log(10)),
    ],
)
def test_constant_loss(loss, expected):
    classes = np.arange(200) % 10
    assert constant_loss(classes, loss) == pytest.approx(expected, rel=1e-12)
    assert constant_loss(np.eye(10)[classes], loss) == pytest.approx(expected, rel=1e-12)
