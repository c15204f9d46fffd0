import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.datasets.synthetic import (
    answers,
    are_classes,
    encode,
    gaussian_mixture,
    layer_matrix,
    linear_teacher,
    published_test_inputs,
    scalar_field,
    teacher_student,
)

PAPER = {"widths": (3, 32, 16, 1), "trained": (False, True, False), "activation": "tanh"}
SCALAR = {"tanh": math.tanh, "relu": lambda z: max(z, 0.0), "erf": math.erf, "linear": lambda z: z}


def naive(x, layers, activation):
    """One sample through a network, one sum at a time."""
    for index, matrix in enumerate(layers):
        fields = [sum(weight * value for weight, value in zip(row, x, strict=True)) for row in matrix.tolist()]
        x = fields if index == len(layers) - 1 else [SCALAR[activation](field) for field in fields]
    return x


@pytest.mark.parametrize("activation", SCALAR)
@pytest.mark.parametrize(
    ("widths", "trained"), [((3, 5, 4, 2), (0, 1, 0)), ((2, 3), (1,)), ((2, 4, 4, 4, 1), (1,) * 4)]
)
def test_targets_are_the_teachers_answers(activation, widths, trained):
    task = teacher_student({"samples": 20}, widths=widths, trained=trained, activation=activation, seed=5)
    frozen = {layer: layer_matrix(5, layer, widths) for layer, learns in enumerate(trained) if not learns}
    layers = [(task.teacher | frozen)[layer] for layer in range(len(trained))]
    assert set(task.teacher) == {layer for layer, learns in enumerate(trained) if learns}
    for inputs, targets in ((task.inputs, task.targets), (task.test_inputs, task.test_targets)):
        expected = [naive(x, layers, activation) for x in inputs.tolist()]
        np.testing.assert_allclose(targets, expected, rtol=1e-12, atol=1e-13)


def test_the_paper_task():
    task = teacher_student({"samples": 4000}, **PAPER, seed=1)
    assert task.epoch == 4000
    assert task.inputs.dtype == task.targets.dtype == np.float64
    assert task.teacher[1].shape == (16, 32)
    np.testing.assert_array_equal(task.test_inputs, np.random.RandomState(42).standard_normal((128, 3)))


@pytest.mark.parametrize(("layer", "fan_in"), [(0, 3), (1, 32), (2, 16)])
def test_matrices_have_variance_one_over_fan_in(layer, fan_in):
    entries = np.concatenate([layer_matrix(seed, layer, PAPER["widths"]).ravel() for seed in range(300)])
    n = len(entries)
    assert abs(entries.mean()) < 4 / np.sqrt(n * fan_in)
    assert abs(fan_in * entries.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(fan_in**2 * (entries**4).mean() / 3 - 1) < 4 * np.sqrt(
        96 / 9 / n
    )  # Gaussian, not merely of that variance


def test_every_layer_has_its_own_numbers():
    entries = np.stack([layer_matrix(1, layer, (50,) * 4).ravel() for layer in range(3)])
    assert np.abs(np.corrcoef(entries) - np.eye(3)).max() < 4 / 50


def test_inputs_are_standard_normal():
    inputs = teacher_student({"samples": 40_000}, **PAPER, seed=2).inputs
    assert np.abs(inputs.mean(0)).max() < 4 / np.sqrt(len(inputs))
    assert np.abs(np.cov(inputs.T) - np.eye(3)).max() < 4 * np.sqrt(2 / len(inputs))


SEEDED = {
    "teacher_student": lambda seed, n: teacher_student({"samples": n}, **PAPER, seed=seed),
    "linear_teacher": lambda seed, n: linear_teacher(
        {"samples": n, "teacher_scale": 2.0, "shared_inputs": False}, widths=(2, 2), seed=seed
    ),
    "gaussian_mixture": lambda seed, n: gaussian_mixture(MIXTURE | {"samples": n}, seed=seed),
}
MIXTURE = {"targets": "classes", "classes": 3, "clusters": 2, "dim": 5, "separation": 0.5, "samples": 100}


@pytest.mark.parametrize("name", SEEDED)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**63 - 2), st.integers(1, 30))
def test_seed_decides_every_bit(name, seed, samples):
    make = SEEDED[name]
    first, second, other, longer = make(seed, samples), make(seed, samples), make(seed + 1, samples), make(seed, 40)
    for array in ("inputs", "targets", "test_inputs", "test_targets"):
        np.testing.assert_array_equal(getattr(first, array), getattr(second, array))
    assert not np.array_equal(first.inputs, other.inputs)
    # More samples are the same ones and more.
    np.testing.assert_allclose(longer.inputs[:samples], first.inputs, rtol=1e-15)
    np.testing.assert_allclose(longer.targets[:samples], first.targets, rtol=1e-12, atol=1e-13)


def test_a_layer_more_changes_no_other_array():
    short = teacher_student({"samples": 5}, widths=(3, 4, 2), trained=(1, 1), activation="tanh", seed=3)
    long = teacher_student({"samples": 5}, widths=(3, 4, 2, 7), trained=(1, 1, 1), activation="tanh", seed=3)
    np.testing.assert_array_equal(short.inputs, long.inputs)
    for layer in (0, 1):
        np.testing.assert_array_equal(short.teacher[layer], long.teacher[layer])


def test_unknown_activation():
    with pytest.raises(ValueError, match="unknown activation 'gelu'"):
        teacher_student({"samples": 5}, widths=(3, 4, 2), trained=(1, 1), activation="gelu", seed=3)


def test_linear_teacher_is_a_multiple_of_the_identity():
    task = linear_teacher({"samples": 7, "teacher_scale": 2.0, "shared_inputs": False}, widths=(3, 3), seed=1)
    np.testing.assert_array_equal(task.teacher[0], [[2, 0, 0], [0, 2, 0], [0, 0, 2]])
    np.testing.assert_allclose(task.targets, 2 * task.inputs, rtol=1e-15)
    np.testing.assert_allclose(task.test_targets, 2 * task.test_inputs, rtol=1e-15)


def test_linear_teacher_can_share_its_inputs():
    one, two = (
        linear_teacher({"samples": 7, "teacher_scale": 2.0, "shared_inputs": True}, widths=(2, 2), seed=seed).inputs
        for seed in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("widths", [(2, 3), (2, 2, 2)])
def test_linear_teacher_needs_one_square_layer(widths):
    with pytest.raises(ValueError, match="one square layer"):
        linear_teacher({"samples": 7, "teacher_scale": 2.0, "shared_inputs": False}, widths=widths, seed=1)


def test_scalar_field_has_the_published_spectrum():
    task = scalar_field({"sites": 10, "mass": 2.0})
    expected = [4, *[4.38197] * 2, *[5.38197] * 2, *[6.61803] * 2, *[7.61803] * 2, 8]
    np.testing.assert_allclose(np.linalg.eigvalsh(task.inputs), expected, atol=5e-6)
    np.testing.assert_allclose(task.inputs @ task.targets, np.eye(10), atol=1e-13)
    np.testing.assert_array_equal(task.inputs, task.inputs.T)


@given(st.integers(1, 12), st.floats(0.5, 4))
def test_scalar_field_is_a_translation_invariant_chain(sites, mass):
    kernel = scalar_field({"sites": sites, "mass": mass}).inputs
    np.testing.assert_array_equal(np.roll(kernel, (1, 1), (0, 1)), kernel)
    waves = mass**2 + 2 - 2 * np.cos(2 * np.pi * np.arange(sites) / sites)
    np.testing.assert_allclose(np.linalg.eigvalsh(kernel), np.sort(waves), atol=1e-12)


def test_gaussian_mixture_has_unit_variance_and_its_clusters():
    parameters = {"targets": "classes", "classes": 10, "clusters": 2, "dim": 64, "separation": 0.5, "samples": 40_000}
    task = gaussian_mixture(parameters, seed=4)
    assert abs(task.inputs.var() - 1) < 0.05  # 20 centres x 64: their own scatter is 0.2 * sqrt(2 / 1280)
    means = np.stack([task.inputs[task.targets == label].mean(0) for label in range(10)])
    # The mean of two centres N(0, 1), divided by sqrt(5): variance 1/10.
    assert means.var() == pytest.approx(0.1, rel=0.25)
    within = np.concatenate([task.inputs[task.targets == label] - means[label] for label in range(10)])
    assert within.var() == pytest.approx(0.9, rel=0.05)
    counts = np.bincount(task.targets)
    assert np.abs(counts - 4000).max() < 4 * np.sqrt(3600)


def test_gaussian_mixture_test_samples_come_from_the_same_clusters():
    parameters = {"targets": "classes", "classes": 4, "clusters": 1, "dim": 200, "separation": 1.0, "samples": 4000}
    task = gaussian_mixture(parameters, seed=4)
    means = np.stack([task.inputs[task.targets == label].mean(0) for label in range(4)])
    nearest = ((task.test_inputs[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (nearest == task.test_targets).all()
    assert not np.isin(task.test_inputs, task.inputs).any()


def test_one_hot_rows():
    labels = np.array([2, 0])
    rows = encode(labels, 3, "one_hot", np.float32)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, [[0, 0, 1], [1, 0, 0]])
    assert encode(labels, 3, "classes", np.float32).dtype == np.int64


@given(st.integers(2, 12), st.sampled_from([np.float32, np.float64]), st.integers(0, 99))
def test_centred_rows_sum_to_zero(classes, dtype, seed):
    labels = np.random.default_rng(seed).integers(classes, size=30)
    rows = encode(labels, classes, "centred", dtype)
    assert rows.dtype == dtype
    np.testing.assert_allclose(rows, encode(labels, classes, "one_hot", np.float64) - 1 / classes, atol=1e-7)
    np.testing.assert_allclose(rows.sum(axis=1), 0, atol=1e-6)
    np.testing.assert_array_equal(rows.argmax(axis=1), labels)


@pytest.mark.parametrize("targets", ["one_hot", "classes", "centred"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_classes_are_known_in_every_form(targets, dtype):
    labels = np.array([2, 0, 1, 1])
    assert are_classes(encode(labels, 3, targets, dtype))


@pytest.mark.parametrize(
    "targets",
    [
        np.array([[0.0], [1.0]]),  # one output
        np.array([[1.0, 0.0], [1.0, 1.0]]),
        np.array([[0.5, -0.5], [0.4, -0.4]]),
        np.array([[1.0, 0.0], [0.5, -0.5]]),  # each row by itself would do
        np.array([[np.nan, 0.0], [0.0, 1.0]]),
    ],
)
def test_other_rows_are_no_classes(targets):
    assert not are_classes(targets)


def test_centred_mixture_is_the_one_hot_one_less_its_share():
    centred, whole = (gaussian_mixture(MIXTURE | {"targets": form}, seed=7) for form in ("centred", "one_hot"))
    np.testing.assert_array_equal(centred.inputs, whole.inputs)
    np.testing.assert_allclose(centred.targets, whole.targets - 1 / 3, rtol=1e-15)
    np.testing.assert_allclose(centred.test_targets, whole.test_targets - 1 / 3, rtol=1e-15)


def test_mixture_of_one_pass_is_fresh_throughout():
    """Steps times batch size draws, each of its own, and a test set that shares none: what online training needs."""
    parameters = {"targets": "one_hot", "classes": 10, "clusters": 2, "dim": 64, "separation": 0.5, "samples": 400 * 64}
    task = gaussian_mixture(parameters, seed=1)
    assert task.inputs.shape == (25_600, 64)
    assert 2000 <= len(task.test_inputs) <= 5000
    draws = np.vstack([task.inputs, task.test_inputs])
    assert len(np.unique(draws[:, 0])) == len(draws)
    # No two inputs are nearer than independent noise makes them: 64 differences of variance 8/5 each.
    nearest = np.linalg.norm(draws[:300, None] - draws[None, -300:], axis=-1)
    assert nearest.min() > 4


def test_published_inputs_do_not_depend_on_who_asked_before():
    np.random.RandomState(1)
    np.testing.assert_array_equal(published_test_inputs(4), published_test_inputs(4))
    assert answers(published_test_inputs(4), [np.eye(4)], "tanh").shape == (128, 4)
