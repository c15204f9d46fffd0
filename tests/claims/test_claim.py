import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from made_cubes import paper_cube
from sgdphases.claims.claim import (
    COLUMNS,
    Claim,
    Measurement,
    Needs,
    NotReached,
    Tolerance,
    graded,
    judge,
    listed,
    single,
)

positive = st.floats(1e-6, 1e6)
numbers = st.floats(-1e6, 1e6)


@given(numbers, numbers, positive)
def test_absolute(expected, measured, width):
    assert Tolerance("absolute", width).holds(measured, expected) == (abs(measured - expected) <= width)


@given(positive, positive, st.floats(0.01, 0.99))
def test_relative(expected, share, width):
    tolerance = Tolerance("relative", width)
    assert tolerance.holds(expected * (1 + width * 0.999), expected)
    assert tolerance.holds(expected * (1 - width * 0.999), expected)
    assert not tolerance.holds(expected * (1 + width + 0.001 + share), expected)


@given(positive, st.floats(1.01, 100))
def test_factor_is_symmetric_and_needs_a_positive_value(expected, factor):
    tolerance = Tolerance("factor", factor)
    for inside in (factor, 1 / factor, 1.0):
        assert tolerance.holds(expected * inside, expected)
    for outside in (factor * 1.001, 1 / factor / 1.001, -1.0, 0.0):
        assert not tolerance.holds(expected * outside, expected)


@given(numbers, st.floats(-10, 0), st.floats(0, 10), st.floats(-20, 20))
def test_offset_range_above_and_below(expected, low, high, shift):
    measured = expected + shift
    difference = measured - expected
    assert Tolerance("offset", low, high).holds(measured, expected) == (low <= difference <= high)
    assert Tolerance("range", low, high).holds(shift, math.nan) == (low <= shift <= high)
    assert Tolerance("above", low).holds(shift, math.nan) == (shift >= low)
    assert Tolerance("below", low).holds(shift, math.nan) == (shift <= low)


@given(st.sampled_from(["absolute", "relative", "factor", "offset", "range", "above", "below"]), st.floats())
def test_what_is_no_number_never_passes(kind, expected):
    for measured in (math.nan, math.inf, -math.inf):
        assert not Tolerance(kind, 1e300, math.inf).holds(measured, expected)


def test_tolerances_in_words():
    words = {
        ("absolute", 0.02): "±0.02",
        ("relative", 0.25): "±25 %",
        ("factor", 2): "×/÷ 2",
        ("above", 0.98): "≥ 0.98",
        ("below", 0.09): "≤ 0.09",
    }
    assert {key: str(Tolerance(*key)) for key in words} == words
    assert str(Tolerance("offset", -0.5, 0.1)) == "-0.5 to +0.1"


def claim(value=1.0, needs=None, **rest):
    """A claim that reads a given value."""
    fields = {"source": "here", "quantity": "a number", "expected": 1.0, "tolerance": Tolerance("absolute", 0.1)}
    measure = value if callable(value) else lambda cube, fits: Measurement(value, 0.01)
    return Claim(**{"name": "dyson-99", **fields, "needs": needs or Needs(), "measure": measure, **rest})


@pytest.fixture(scope="module")
def cube():
    return paper_cube(replicas=4)


@pytest.mark.parametrize(("value", "verdict"), [(1.05, "pass"), (1.2, "fail"), (math.nan, "fail")])
def test_verdict(cube, value, verdict):
    row = judge(claim(value), "paper", cube, {})
    assert row["verdict"] == verdict
    assert list(row) == list(COLUMNS)
    assert (row["experiment"], row["steps"], row["replicas"]) == ("made", 100_000, 4)


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (Needs(dataset="digits"), "needs data set digits, has teacher_student"),
        (
            Needs(axes=("batch_size", "temperature")),
            "needs the axes batch_size, temperature, has init_scale, temperature",
        ),
        (Needs(least_steps=10**6), "needs 1e+06 steps, has 1e+05 (so far 1 ± 0.01)"),
        (Needs(most_steps=10**4), "needs at most 1e+04 steps, has 1e+05 (so far 1 ± 0.01)"),
        (Needs(least_replicas=50), "needs 50 replicas, has 4 (so far 1 ± 0.01)"),
        (Needs(spans={"init_scale": (0.125, 3.0)}), "needs init_scale 3"),
        (Needs(spans={"momentum": (0.9,)}), "needs momentum 0.9"),
        (Needs(variables=("eigenvalues",)), "needs observable eigenvalues"),
        (Needs(fits=("boundaries",)), "needs fit boundaries"),
        (Needs(least_steps=10**6, fits=("boundaries",)), "needs fit boundaries; 1e+06 steps, has 1e+05"),
    ],
)
def test_unmet_conditions_are_named(cube, needs, words):
    row = judge(claim(needs=needs), "paper", cube, {})
    assert (row["verdict"], row["reason"], row["measured"]) == ("not_measured", words, "")


def test_a_reading_may_give_up(cube):
    def gives_up(cube, fits):
        raise NotReached("no record is late enough")

    row = judge(claim(gives_up), "paper", cube, {})
    assert (row["verdict"], row["reason"]) == ("not_measured", "no record is late enough")


def test_a_longer_schedule_may_be_held_to_more(cube):
    strict = claim(1.05, stricter={10**5: Tolerance("absolute", 0.01), 10**7: Tolerance("absolute", 1.0)})
    assert judge(strict, "paper", cube, {})["verdict"] == "fail"
    assert judge(strict, "paper", cube.isel(step=slice(0, -1)), {})["verdict"] == "pass"


def statement(values, needs=()):
    needs = [*needs, *[None] * (len(values) - len(needs))]
    return listed("dyson-98", "a list", [claim(v, name="", needs=n) for v, n in zip(values, needs, strict=True)])


def test_a_list_has_numbered_rows_and_one_summary(cube):
    rows = graded([statement([1.0, 1.0]), single(claim())], "paper", cube, {})
    assert [row["claim"] for row in rows] == ["dyson-98.1", "dyson-98.2", "dyson-98", "dyson-99"]
    assert rows[0]["quantity"] == "a list: a number"
    assert (rows[2]["verdict"], rows[2]["measured"], rows[2]["reason"]) == ("pass", 1.0, "2 of 2 pass")


@given(st.lists(st.sampled_from(["pass", "fail", "longer", "lacking"]), min_size=2, max_size=6))
def test_summary_of_any_mixture(kinds):
    needs = {"longer": Needs(least_steps=10**8), "lacking": Needs(fits=("boundaries",))}
    values = [5.0 if kind == "fail" else 1.0 for kind in kinds]
    cube_ = _small()
    row = graded([statement(values, [needs.get(kind) for kind in kinds])], "paper", cube_, {})[-1]
    measured = [kind for kind in kinds if kind in {"pass", "fail"}]
    if "fail" in kinds:
        assert row["verdict"] == "fail"
    elif measured and "lacking" not in kinds:
        assert row["verdict"] == "pass"
    else:
        assert row["verdict"] == "not_measured"
    if row["verdict"] != "not_measured":
        assert row["measured"] == pytest.approx(measured.count("pass") / len(measured))
        for place, kind in enumerate(kinds, 1):
            assert (f"dyson-98.{place}" in row["reason"]) == (kind in {"fail", "longer", "lacking"})
    else:
        assert row["measured"] == ""


_CUBES = []


def _small():
    if not _CUBES:
        _CUBES.append(paper_cube(replicas=2))
    return _CUBES[0]


@pytest.mark.parametrize(
    ("value", "words"),
    [(1.105, "within one standard error of passing"), (0.882, "within two standard errors of passing"), (1.2, "")],
)
def test_a_failure_says_how_near_it_is_in_errors(cube, value, words):
    row = judge(claim(value), "paper", cube, {})
    assert (row["verdict"], row["reason"]) == ("fail", words)


def test_errors_that_are_not_known_stay_empty(cube):
    row = judge(claim(lambda cube, fits: Measurement(1.0, math.nan)), "paper", cube, {})
    assert row["error"] == ""
    assert judge(claim(expected=math.nan, tolerance=Tolerance("above", 0.5)), "paper", cube, {})["expected"] == ""


def test_values_of_the_grid_may_be_off_by_rounding(cube):
    near = Needs(spans={"init_scale": (float(np.float32(0.1)) * 10,), "temperature": (0.25,)})
    assert judge(claim(needs=near), "paper", cube, {})["verdict"] == "pass"


def timed(cube, **clocks):
    """The cube with other clocks along its steps."""
    steps = cube.sizes["step"]
    return cube.assign_coords({name: ("step", np.linspace(0, last, steps)) for name, last in clocks.items()})


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (Needs(widths=(3, 8, 1)), "needs the widths 3-8-1, has 3-32-16-1"),
        (Needs(least_epochs=100), "needs 100 epochs, has 60 (so far 1 ± 0.01)"),
        (Needs(least_flow_time=3750), "needs 3750 of flow time, has 2400 (so far 1 ± 0.01)"),
        (Needs(extends={"init_scale": (0.125, 3.0)}), "needs init_scale 3 (so far 1 ± 0.01)"),
        (Needs(point={"batch_size": 8}), "needs batch_size 8"),
        (Needs(point={"learning_rate": 0.5}), "needs one network, has the axes init_scale too"),
    ],
)
def test_unmet_conditions_of_other_studies_are_named(cube, needs, words):
    other = timed(cube, epoch=60.0, flow_time=2400.0).assign_attrs(widths=np.array([3, 32, 16, 1]))
    row = judge(claim(needs=needs), "paper", other, {})
    assert (row["verdict"], row["reason"], row["measured"]) == ("not_measured", words, "")


def test_a_schedule_may_be_short_by_the_rounding_of_its_steps(cube):
    other = timed(cube, epoch=99.95, flow_time=3749.0)
    assert judge(claim(needs=Needs(least_epochs=100, least_flow_time=3750)), "paper", other, {})["verdict"] == "pass"
    assert judge(claim(needs=Needs(least_epochs=100.5)), "paper", other, {})["verdict"] == "not_measured"


def test_a_list_stands_without_what_only_a_larger_grid_has(cube):
    needs = [None, Needs(extends={"init_scale": (3.0,)})]
    row = graded([statement([1.0, 1.0], needs)], "paper", cube, {})[-1]
    assert (row["verdict"], row["reason"]) == ("pass", "1 of 2 pass; of another schedule or grid: dyson-98.2")
    needs = [None, Needs(spans={"init_scale": (3.0,)})]
    assert graded([statement([1.0, 1.0], needs)], "paper", cube, {})[-1]["verdict"] == "not_measured"


def test_steps_of_a_clock_that_is_not_steps():
    """Steps are then those of the claim's network, or of the longest."""
    cube = xr.Dataset(
        {"value": (("learning_rate", "flow_time"), np.ones((2, 2)))},
        coords={"learning_rate": [0.1, 0.5], "flow_time": [0.0, 10.0], "replica": [0]},
        attrs={"experiment": "made"},
    )
    cube = cube.assign_coords(step=np.rint(cube["flow_time"] / cube["learning_rate"]).astype(int))
    of_one = claim(needs=Needs(point={"learning_rate": 0.5}), name="")
    rows = graded([listed("dyson-97", "a list", [of_one, claim(needs=Needs(), name="")])], "paper", cube, {})
    assert [row["steps"] for row in rows] == [20, 100, 100]
