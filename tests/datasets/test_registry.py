import subprocess
import sys

import pytest

from sgdphases.datasets.registry import DATASETS, depends_on_seed, find, resolve, stored, stored_name
from sgdphases.datasets.wordnet import TINY_IMAGENET


def test_import_is_light():
    code = "import sys, sgdphases.datasets.registry; print({'numpy', 'torch', 'requests'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("entry", DATASETS.values(), ids=lambda entry: entry.name)
def test_defaults_are_valid_values(entry):
    values = resolve({"name": entry.name})
    assert values == {key: parameter.default for key, parameter in entry.parameters.items()}
    assert resolve({"name": entry.name, **values}) == values
    assert bool(stored({"name": entry.name})) == entry.table
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
        ({"name": "tiny_imagenet", "classes": 201}, "dataset tiny_imagenet: classes must be at most 200, not 201"),
        ({"name": "imagenette", "classes": 0}, "a whole number of at least 1 or a list of names or nothing, not 0"),
        ({"name": "tiny_imagenet", "classes": "n01443537"}, "or a list of names or nothing, not 'n01443537'"),
        ({"name": "tiny_imagenet", "classes": []}, "classes is an empty list; name at least one"),
        ({"name": "tiny_imagenet", "classes": ["n01443538"]}, "'n01443538' (did you mean 'n01443537'?); allowed: n0"),
        ({"name": "imagenette", "classes": ["n01440764"] * 2}, "classes names n01440764 twice"),
        ({"name": "imagenet", "classes": ["../x"]}, "letters, digits, _, . and -, not '../x'"),
        ({"name": "imagenet", "classes": [1]}, "must list names of letters, digits, _, . and -, not 1"),
        ({"name": "tiny_imagenet", "resolution": 65}, "resolution must be at most 64, not 65"),
        ({"name": "imagenette", "resolution": 321}, "resolution must be at most 320, not 321"),
        ({"name": "digits", "samples": [3]}, "samples must be a whole number of at least 1 or nothing, not [3]"),
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


def test_classes_by_number_and_by_name_are_the_same_table():
    one = {"name": "tiny_imagenet", "classes": 3}
    other = {"name": "tiny_imagenet", "classes": list(TINY_IMAGENET[2::-1]), "resolution": 64}
    assert stored(one) == stored(other) == {"classes": sorted(TINY_IMAGENET[:3]), "resolution": 64}
    assert stored_name(one) == stored_name(other)
    assert stored({"name": "tiny_imagenet"})["classes"] == sorted(TINY_IMAGENET)
    assert stored({"name": "imagenet", "classes": 3})["classes"] == 3  # which ones, the folder knows


def test_only_what_changes_the_images_changes_their_name():
    plain = {"name": "tiny_imagenet", "classes": 3}
    same = plain | {"samples": 5, "standardised": True, "validation": 3, "label_noise": 0.1, "targets": "classes"}
    assert stored_name(plain) == stored_name(same)
    assert len({stored_name(plain | change) for change in ({}, {"classes": 4}, {"resolution": 32})}) == 3
    assert stored_name({"name": "digits", "samples": 4}) == "digits"


def test_larger_numbers_of_classes_contain_smaller_ones():
    names = [stored({"name": "tiny_imagenet", "classes": count})["classes"] for count in (5, 20, 200)]
    assert set(names[0]) < set(names[1]) < set(names[2])
    assert len(names[2]) == 200
