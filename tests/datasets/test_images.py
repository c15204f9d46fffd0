import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from sgdphases.datasets.images import digits, fashion_mnist, occurrence, stratified
from sgdphases.datasets.prepare import make_ready

ALL = {"targets": "classes", "samples": None, "subset": "fixed"}


@pytest.fixture(scope="module")
def task():
    return digits(ALL, seed=0)


def test_digits_split_is_a_partition_of_the_file(task):
    images, labels = load_digits(return_X_y=True)
    together = np.vstack([task.inputs, task.test_inputs])
    assert len(together) == 1797
    assert len(np.unique(images, axis=0)) == 1797  # so a row names its image
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(images / 16, axis=0))
    assert np.bincount(task.targets).sum() + np.bincount(task.test_targets).sum() == len(labels)


def test_digits_split_is_stratified(task):
    train, test = np.bincount(task.targets), np.bincount(task.test_targets)
    np.testing.assert_array_equal(test, (train + test) // 5)


def test_digits_are_float32_between_0_and_1_with_their_labels(task):
    images, labels = load_digits(return_X_y=True)
    assert task.inputs.dtype == task.test_inputs.dtype == np.float32
    assert (task.inputs.min(), task.inputs.max()) == (0, 1)
    known = {row.tobytes(): label for row, label in zip((images / 16).astype(np.float32), labels, strict=True)}
    assert [known[row.tobytes()] for row in task.test_inputs] == task.test_targets.tolist()
    assert [known[row.tobytes()] for row in task.inputs] == task.targets.tolist()


def test_digits_ignore_the_seed_unless_asked(task):
    np.testing.assert_array_equal(task.inputs, digits(ALL | {"subset": "seeded"}, seed=9).inputs)
    fixed = [digits(ALL | {"samples": 100}, seed=seed).inputs for seed in (1, 2)]
    np.testing.assert_array_equal(*fixed)
    seeded = [digits(ALL | {"samples": 100, "subset": "seeded"}, seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(seeded[0].inputs, seeded[1].inputs)
    assert not np.array_equal(seeded[0].inputs, seeded[2].inputs)
    for part in seeded:
        assert np.bincount(part.targets).tolist() == [10] * 10
        assert len(part.test_targets) == len(task.test_targets)


def test_validation_images_are_held_out(task):
    split = digits(ALL | {"validation": 200}, seed=3)
    assert (len(split.inputs), len(split.validation_inputs)) == (len(task.inputs) - 200, 200)
    together = np.vstack([split.inputs, split.validation_inputs])
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(task.inputs, axis=0))
    known = {row.tobytes(): label for row, label in zip(task.inputs, task.targets, strict=True)}
    assert [known[row.tobytes()] for row in split.validation_inputs] == split.validation_targets.tolist()
    other = digits(ALL | {"validation": 200}, seed=4)
    assert not np.array_equal(split.validation_inputs, other.validation_inputs)
    assert task.validation_inputs is None
    with pytest.raises(ValueError, match="validation is 1500, but there are only 1442"):
        digits(ALL | {"validation": 1500}, seed=0)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_shuffled_labels_keep_the_sizes_of_classes(task, share):
    noisy = digits(ALL | {"label_noise": share}, seed=5)
    np.testing.assert_array_equal(noisy.inputs, task.inputs)
    assert noisy.shuffled.sum() == round(share * len(task.targets))
    np.testing.assert_array_equal(noisy.targets[~noisy.shuffled], task.targets[~noisy.shuffled])
    np.testing.assert_array_equal(np.bincount(noisy.targets), np.bincount(task.targets))
    changed = noisy.targets != task.targets
    assert 0.8 * share < changed.mean() < 0.95 * share  # a tenth keep their label by chance
    np.testing.assert_array_equal(noisy.test_targets, task.test_targets)
    np.testing.assert_array_equal(noisy.clean_targets, task.targets)
    assert task.clean_targets is None


def test_standardised_digits_have_mean_0_and_deviation_1(task):
    found = digits(ALL | {"standardised": True}, seed=0)
    assert found.inputs.dtype == np.float32
    assert found.inputs.mean(dtype=np.float64) == pytest.approx(0, abs=2e-4)
    assert found.inputs.std(dtype=np.float64) == pytest.approx(1, abs=2e-4)
    # Test and validation images take the training images' moments.
    slope, shift = np.polyfit(task.test_inputs.ravel(), found.test_inputs.ravel(), 1)
    assert (1 / slope, -shift / slope) == pytest.approx((0.3762, 0.3051), rel=1e-5)
    split = digits(ALL | {"standardised": True, "validation": 200}, seed=3)
    plain = digits(ALL | {"validation": 200}, seed=3)
    np.testing.assert_allclose(split.validation_inputs, (plain.validation_inputs - 0.3051) / 0.3762, atol=1e-5)
    off = digits(ALL | {"standardised": False}, seed=0)
    np.testing.assert_array_equal(off.inputs, task.inputs)
    np.testing.assert_array_equal(off.test_inputs, task.test_inputs)


def test_centred_digits_and_their_shuffled_labels():
    noisy = digits(ALL | {"targets": "centred", "label_noise": 0.3}, seed=5)
    labels = digits(ALL | {"label_noise": 0.3}, seed=5)
    for word in ("targets", "clean_targets", "test_targets"):
        rows = getattr(noisy, word)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows.argmax(axis=1), getattr(labels, word))
        np.testing.assert_allclose(np.unique(rows), [-0.1, 0.9], rtol=1e-6)


@given(st.lists(st.integers(0, 4), max_size=40))
def test_occurrence_counts(labels):
    expected = [labels[:index].count(label) for index, label in enumerate(labels)]
    assert occurrence(np.array(labels, dtype=np.int64)).tolist() == expected


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.data(), st.none() | st.integers(0, 9))
def test_choices_are_stratified_and_nested(labels, data, seed):
    labels = np.array(labels)
    small = data.draw(st.integers(1, len(labels)))
    large = data.draw(st.integers(small, len(labels)))
    chosen, more = stratified(labels, small, seed), stratified(labels, large, seed)
    assert len(chosen) == small
    assert (np.diff(chosen) > 0).all()
    assert set(chosen) <= set(more)
    counts, available = np.bincount(labels[chosen], minlength=4), np.bincount(labels, minlength=4)
    unfinished = counts[counts < available]  # classes with images left hold as many as any other, to within one
    assert unfinished.size == 0 or unfinished.min() >= counts.max() - 1
    np.testing.assert_array_equal(stratified(labels, None, seed), np.arange(len(labels)))


def test_too_many_samples():
    with pytest.raises(ValueError, match="samples is 2000, but there are only 1442 training images"):
        digits(ALL | {"samples": 2000}, seed=0)


def test_fashion_mnist_is_scaled_and_flat(small_fashion, tmp_path):
    make_ready("fashion_mnist", tmp_path)
    task = fashion_mnist(ALL | {"targets": "one_hot"}, seed=0, directory=tmp_path)
    for part, inputs, targets in (
        ("train", task.inputs, task.targets),
        ("t10k", task.test_inputs, task.test_targets),
    ):
        pixels = np.frombuffer(small_fashion[f"{part}-images-idx3-ubyte"][16:], np.uint8).reshape(-1, 784)
        labels = np.frombuffer(small_fashion[f"{part}-labels-idx1-ubyte"][8:], np.uint8)
        assert inputs.dtype == targets.dtype == np.float32
        np.testing.assert_array_equal(inputs, pixels.astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(targets, labels[:, None] == np.arange(10))
    standard = fashion_mnist(ALL | {"standardised": True}, seed=0, directory=tmp_path)
    np.testing.assert_allclose(standard.inputs, (task.inputs - 0.2860) / 0.3530, atol=1e-6)
    np.testing.assert_allclose(standard.test_inputs, (task.test_inputs - 0.2860) / 0.3530, atol=1e-6)


def test_fashion_mnist_that_is_not_there_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m sgdphases.steps.download --dataset fashion_mnist"):
        fashion_mnist(ALL, seed=0, directory=tmp_path)
