import subprocess
import sys

import pytest

from sgdphases.datasets.registry import DATASETS, depends_on_seed, find, resolve


def test_import_is_light():
    code = "import sys, sgdphases.datasets.registry; print({'numpy', 'torch', 'requests'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("entry", DATASETS.values(), ids=lambda entry: entry.name)
def test_defaults_are_valid_values(entry):
    values = resolve({"name": entry.name})
    assert values == {key: parameter.default for key, parameter in entry.parameters.items()}
    assert resolve({"name": entry.name, **values}) == values
    assert all(parameter.meaning for parameter in entry.parameters.values())


def test_whole_numbers_are_taken_for_floats():
    value = resolve({"name": "linear_teacher", "teacher_scale": 3})["teacher_scale"]
    assert value == 3.0
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ({}, "no name"),
        ({"name": 3}, "no name"),
        ({"name": "fashion_mnits"}, "did you mean 'fashion_mnist'"),
        (
            {"name": "digits", "sampels": 3},
            "unknown parameter of the dataset digits: 'sampels' (did you mean 'samples'?)",
        ),
        ({"name": "digits", "samples": 0}, "samples must be a whole number of at least 1 or nothing, not 0"),
        ({"name": "digits", "samples": "10"}, "not '10'"),
        ({"name": "digits", "samples": True}, "not True"),
        ({"name": "digits", "samples": 1.5}, "not 1.5"),
        ({"name": "digits", "targets": "onehot"}, "one of one_hot, classes, centred, not 'onehot'"),
        ({"name": "digits", "targets": ["one_hot"]}, "one of one_hot, classes"),
        ({"name": "digits", "standardised": "yes"}, "standardised must be true or false, not 'yes'"),
        ({"name": "teacher_student", "samples": None}, "whole number of at least 1, not None"),
        ({"name": "linear_teacher", "teacher_scale": -1.0}, "a positive number, not -1.0"),
        ({"name": "linear_teacher", "teacher_scale": float("nan")}, "not nan"),
        ({"name": "linear_teacher", "teacher_scale": True}, "not True"),
        ({"name": "linear_teacher", "shared_inputs": 1}, "true or false, not 1"),
    ],
)
def test_bad_input_is_one_clear_error(dataset, words):
    with pytest.raises(ValueError) as error:
        resolve(dataset)
    assert words in str(error.value)


def test_find_lists_what_is_known():
    with pytest.raises(ValueError, match="allowed: digits, fashion_mnist"):
        find("imagenette2")


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({"name": "teacher_student"}, True),
        ({"name": "scalar_field"}, False),
        ({"name": "digits"}, False),
        ({"name": "digits", "samples": 100}, False),
        ({"name": "digits", "subset": "seeded"}, False),
        ({"name": "digits", "subset": "seeded", "samples": 100}, True),
    ],
)
def test_depends_on_seed(dataset, expected):
    assert depends_on_seed(dataset) is expected
