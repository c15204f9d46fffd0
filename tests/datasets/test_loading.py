import numpy as np
import pytest

from sgdphases.datasets.images import occurrence
from sgdphases.datasets.loading import load, load_tasks
from sgdphases.datasets.prepare import make_ready
from sgdphases.datasets.registry import DATASETS
from sgdphases.datasets.synthetic import layer_matrix

NETWORKS = {
    "teacher_student": ([3, 32, 16, 1], [False, True, False]),
    "linear_teacher": ([2, 2], [True]),
    "scalar_field": ([10, 10], [True]),
    "none": ([10, 10], [True]),
    "quadratic": ([60, 1], [True]),
    "gaussian_mixture": ([64, 8, 10], [False, True]),
    "digits": ([64, 8, 10], [False, True]),
}


def network(name, **changes):
    widths, trained = NETWORKS[name]
    return {"widths": widths, "trained": trained, "activation": "tanh", "directory": "nowhere"} | changes


def same(one, two):
    return (
        all(
            np.array_equal(getattr(one, array), getattr(two, array))
            for array in ("inputs", "targets", "test_inputs", "test_targets")
        )
        and all(np.array_equal(one.frozen[layer], two.frozen[layer]) for layer in one.frozen | two.frozen)
        and one.teacher.keys() == two.teacher.keys()
        and all(np.array_equal(one.teacher[layer], two.teacher[layer]) for layer in one.teacher)
    )


def test_every_data_set_is_tried_here_or_with_genuine_files():
    tables = {name for name, entry in DATASETS.items() if entry.table}  # those are tried in test_table_tasks.py
    assert set(NETWORKS) | {"fashion_mnist"} | tables == set(DATASETS)


@pytest.mark.parametrize("name", NETWORKS)
def test_seed_decides_the_task(name):
    one, again, other = (load({"name": name}, seed=seed, **network(name)) for seed in (3, 3, 4))
    assert same(one, again)
    assert same(one, other) == (name in ("scalar_field", "none", "quadratic"))


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_layers_are_those_not_trained(name):
    widths, trained = NETWORKS[name]
    task = load({"name": name}, seed=3, **network(name))
    assert set(task.frozen) == {layer for layer, learns in enumerate(trained) if not learns}
    for layer, matrix in task.frozen.items():
        np.testing.assert_array_equal(matrix, layer_matrix(3, layer, widths))


@pytest.mark.parametrize("name", NETWORKS)
def test_many_tasks_equal_single_ones(name):
    tasks = load_tasks({"name": name}, seeds=[3, 5, 3], **network(name))
    assert list(tasks) == [3, 5]
    for seed, task in tasks.items():
        assert same(task, load({"name": name}, seed=seed, **network(name)))
    assert (tasks[3].inputs is tasks[5].inputs) == (not DATASETS[name].seeded)
    assert load_tasks({"name": name}, seeds=[], **network(name)) == {}


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("digits", {"widths": [784, 8, 10]}, "digits has 64 inputs, the network's first width is 784"),
        ("digits", {"widths": [64, 8, 3]}, "digits has 10 outputs, the network's last width is 3"),
        ("teacher_student", {"trained": [True]}, "trained has 1 entries for 3 layers"),
        ("scalar_field", {"widths": [8, 8]}, "10 inputs"),
    ],
)
def test_network_that_does_not_fit(name, changes, words):
    with pytest.raises(ValueError, match=words):
        load({"name": name}, seed=1, **network(name, **changes))


def test_class_numbers_may_leave_outputs_unused():
    dataset = {"name": "gaussian_mixture", "classes": 3, "samples": 50, "targets": "classes"}
    assert load(dataset, seed=1, **network("gaussian_mixture")).targets.max() == 2
    with pytest.raises(ValueError, match="3 outputs"):
        load(dataset, seed=1, **network("gaussian_mixture", widths=[64, 8, 2]))


def test_unknown_parameter():
    with pytest.raises(ValueError, match="unknown parameter of the dataset digits: 'sample'"):
        load({"name": "digits", "sample": 3}, seed=1, **network("digits"))


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    return make_ready("fashion_mnist", directory), directory


def fashion(directory, seed=0, **parameters):
    dataset = {"name": "fashion_mnist", "targets": "classes"} | parameters
    return load(dataset, widths=[784, 10], trained=[True], activation="tanh", seed=seed, directory=directory)


@pytest.mark.mirror
def test_genuine_fashion_mnist(genuine):
    manifest, directory = genuine
    assert [file["bytes"] for file in manifest["files"]] == [26421880, 29515, 4422102, 5148]
    task = fashion(directory)
    assert task.inputs.shape == (60000, 784)
    assert task.test_inputs.shape == (10000, 784)
    assert np.bincount(task.targets).tolist() == [6000] * 10
    assert np.bincount(task.test_targets).tolist() == [1000] * 10
    assert task.targets[:5].tolist() == [9, 0, 0, 3, 0]
    assert task.test_targets[:5].tolist() == [9, 2, 1, 1, 6]
    assert task.inputs.mean(dtype=np.float64) == pytest.approx(0.2860, abs=5e-5)  # widely used for normalising
    assert task.inputs.std(dtype=np.float64) == pytest.approx(0.3530, abs=5e-5)


@pytest.mark.mirror
def test_genuine_fashion_mnist_standardised(genuine):
    task = fashion(genuine[1], standardised=True)
    assert task.inputs.mean(dtype=np.float64) == pytest.approx(0, abs=2e-4)
    assert task.inputs.std(dtype=np.float64) == pytest.approx(1, abs=2e-4)
    assert task.test_inputs.mean(dtype=np.float64) == pytest.approx(0, abs=0.01)


@pytest.mark.mirror
def test_genuine_fashion_mnist_subsets(genuine):
    full = fashion(genuine[1])
    fixed = fashion(genuine[1], samples=1000)
    np.testing.assert_array_equal(fixed.inputs, full.inputs[occurrence(full.targets) < 100])
    one, again, other = (fashion(genuine[1], samples=1000, subset="seeded", seed=seed).inputs for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
