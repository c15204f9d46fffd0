import numpy as np
import pytest

from made_portraits import BASELINE, MIXTURE, Drop, quickly, rows_of, verdicts
from made_richness import drop_tau, richness_cube

RICHNESS = 10.0 ** np.arange(1, 3.6, 0.5)
STEPS = (0, 400, 1600)


def dropping(course, axis="rate_over_richness", rate=0.004, **settings):
    settings = {"depth": (2, 3, 4), "richness": RICHNESS, "steps": STEPS} | settings
    return richness_cube(course, rates=[rate], rate_axis=axis, **settings).assign_attrs(MIXTURE)


def graded(cube, *numbers, fits=("first_drop",)):
    return rows_of(cube, quickly(cube, *fits), *numbers)


def test_one_clock_of_centred_targets():
    rows = graded(dropping(Drop(drop_tau)), 9)
    assert verdicts(rows, "fail") == set()
    assert rows["richness-09"]["reason"] == "7 of 9 pass; of another schedule or grid: richness-09.2, richness-09.3"
    assert rows["richness-09.2"]["reason"] == "needs one-hot targets, has centred"
    assert rows["richness-09.1"]["reason"] == ""


def test_one_clock_of_one_hot_targets():
    cube = dropping(Drop(drop_tau, stair=0.1, second=0.09), "reduced_learning_rate", 0.02)
    rows = graded(cube, 9)
    assert verdicts(rows, "fail") == set()
    assert rows["richness-09"]["reason"] == "8 of 9 pass; of another schedule or grid: richness-09.1"
    assert rows["richness-09.2"]["reason"] == rows["richness-09.3"]["reason"] == "steps of different η/γ"


@pytest.mark.parametrize(
    ("tau", "failing"),
    [
        (lambda richness, depth: drop_tau(richness, depth) * richness ** (0.1 if depth == 4 else 0), {"09.1", "09.5"}),
        (lambda richness, depth: drop_tau(richness, max(depth, 3)), {"09.6"}),
        (lambda richness, depth: 20 / richness**0.7 if depth == 3 else drop_tau(richness, depth), {"09.4", "09.8"}),
    ],
)
def test_another_clock_fails(tau, failing):
    rows = graded(dropping(Drop(tau)), 9)
    assert verdicts(rows, "fail") - {"09"} == failing


def test_one_hot_spreads_that_are_too_large_fail():
    course = Drop(lambda richness, depth: 0.2 * (richness / 10) ** 0.25, stair=0.1, second=0.09)
    assert {"09.2"} <= verdicts(graded(dropping(course), 9), "fail")
    course = Drop(lambda richness, depth: 0.1 * (richness / 10) ** 0.6, stair=0.1, second=0.09)
    assert {"09.2", "09.3"} <= verdicts(graded(dropping(course), 9), "fail")


def plateau(three=0.28, four=0.45, two=0.0):
    """τ with which the steps to the drop are a power of the richness where η goes as γ^(2/L)."""

    def tau(richness, depth):
        power = {2: 1.0, 3: three - 1 / 3, 4: four - 1 / 2}[depth]
        return 2.0 * richness**power if depth != 2 else 1 + np.log(richness) + two * richness

    return dropping(Drop(tau, stair=0.1, second=0.09), "reduced_learning_rate", 0.02)


@pytest.mark.parametrize(
    ("wrong", "failing"),
    [
        ({}, set()),
        ({"three": 0.37}, {"10", "10.2"}),
        ({"three": 0.2}, {"10", "10.2"}),
        ({"four": 0.34}, {"10", "10.3"}),
        ({"four": 0.55}, {"10", "10.3"}),
        ({"two": 0.005}, {"10", "10.1"}),
    ],
)
def test_length_of_the_plateau(wrong, failing):
    rows = graded(plateau(**wrong), 10)
    assert verdicts(rows, "fail") == failing
    assert len(verdicts(rows, "pass")) == 4 - len(failing)


def test_the_plateau_needs_one_reduced_learning_rate_and_one_hot_targets():
    rows = graded(dropping(Drop(drop_tau)), 10)
    reason = "needs one reduced_learning_rate for several values of the richness; one-hot targets, has centred"
    assert rows["richness-10.3"]["reason"] == reason


def stairs(stair=0.1, second=0.09, **settings):
    cube = dropping(Drop(drop_tau, stair=stair, second=second), **settings)
    return graded(cube, 14, fits=("plateaus",))


def test_stairs():
    rows = stairs()
    assert verdicts(rows, "fail") == verdicts(rows, "not_measured") == set()
    assert rows["richness-14.1"]["reason"] == "4 of 4 values of the richness, from 2 to 2"
    assert float(rows["richness-14.3"]["measured"]) == pytest.approx(0.1)
    assert float(rows["richness-14.6"]["measured"]) == pytest.approx(0.09)


@pytest.mark.parametrize(("second", "failing"), [(0.1, {"14", "14.1", "14.2"}), (0.08, {"14", "14.5", "14.6"})])
def test_other_stairs_fail(second, failing):
    rows = stairs(second=second)
    assert verdicts(rows, "fail") == failing
    if second == 0.1:
        assert rows["richness-14.3"]["reason"] == "no network has two stairs"


def test_stairs_need_one_learning_rate_for_each_richness():
    cube = richness_cube(
        Drop(drop_tau, stair=0.1, second=0.09),
        rates=[0.004, 0.008],
        rate_axis="rate_over_richness",
        richness=RICHNESS,
        steps=STEPS,
    )
    rows = graded(cube.assign_attrs(MIXTURE), 14, fits=("plateaus",))
    assert "has richness, rate_over_richness" in rows["richness-14.1"]["reason"]
    assert (
        rows["richness-14.3"]["reason"] == "needs one learning rate for each richness, has the axis rate_over_richness"
    )


def test_losses_that_never_drop_say_so():
    cube = dropping(Drop(lambda richness, depth: 1e3, stair=0.1, second=BASELINE))
    rows = graded(cube, 9, 10, fits=("first_drop", "plateaus"))
    assert verdicts(rows, "pass") == set()
    assert "gives no value" in rows["richness-09.9"]["reason"]
