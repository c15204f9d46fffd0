import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.quantities import HYPERPARAMETERS, QUANTITIES, SHAPE_AXES, attributes, deviations


def test_every_hyperparameter_is_in_the_dictionary():
    assert set(HYPERPARAMETERS) | set(SHAPE_AXES) <= set(QUANTITIES)


def test_yaml_strings_are_numbers():
    assert QUANTITIES["learning_rate"].typed("1e-3") == 1e-3
    assert QUANTITIES["batch_size"].typed("1e2") == 100


@pytest.mark.parametrize("value", [-1, "x", float("nan"), float("inf"), True, None, [1]])
def test_bad_learning_rates_are_refused(value):
    with pytest.raises(ValueError, match="learning_rate must be"):
        QUANTITIES["learning_rate"].typed(value)


def test_counts_are_whole_and_positive():
    with pytest.raises(ValueError, match="whole number"):
        QUANTITIES["batch_size"].typed(2.5)
    with pytest.raises(ValueError, match="at least 1"):
        QUANTITIES["batch_size"].typed(0)


def test_words_are_among_the_allowed():
    assert QUANTITIES["loss"].typed("cross_entropy") == "cross_entropy"
    with pytest.raises(ValueError, match="must be one of half_squared_error"):
        QUANTITIES["loss"].typed("hinge")


@given(st.floats(min_value=0, allow_infinity=False, allow_nan=False))
def test_typing_is_idempotent_and_exact(value):
    typed = QUANTITIES["learning_rate"].typed(value)
    assert typed == value
    assert QUANTITIES["learning_rate"].typed(typed) == typed


def test_neutral_values_leave_no_trace():
    assert deviations({"learning_rate": 1, "momentum": 0, "output_scale": 1.0}) == {"learning_rate": 1.0}
    assert deviations({"momentum": "0.5"}) == {"momentum": 0.5}


def test_attributes_are_complete_for_cf():
    for name in QUANTITIES:
        assert set(attributes(name)) == {"long_name", "units", "symbol", "axis_scale"}
        assert all(attributes(name).values())
    assert math.isfinite(QUANTITIES["batch_size"].minimum)
