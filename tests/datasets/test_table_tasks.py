import numpy as np
import pytest
import torch

from made_images import CLASSES, class_files, imagenette_mirror, offline, tiny_files, tiny_mirror, write_folder
from sgdphases.datasets import image_table
from sgdphases.datasets.image_table import normalised, open_table
from sgdphases.datasets.loading import load, load_tasks
from sgdphases.datasets.prepare import make_ready
from sgdphases.datasets.table_folder import TableError, check_digest
from sgdphases.datasets.table_tasks import flattened, image_rows
from sgdphases.datasets.wordnet import IMAGENETTE
from sgdphases.files import read_json, sha256

NAME = {"name": "tiny_imagenet", "classes": 3, "resolution": 8}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data directory with a small table, and its manifest."""
    folder = tmp_path_factory.mktemp("images")
    with pytest.MonkeyPatch.context() as patch:
        offline(patch)
        mirror = tiny_mirror(folder / "mirror", tiny_files(train=20, test=4))
        parameters = {"classes": 3, "resolution": 8}
        return folder / "data", make_ready("tiny_imagenet", folder / "data", [str(mirror)], parameters=parameters)


def network(directory, **changes):
    return {"widths": [192, 3], "trained": [True], "activation": "tanh", "directory": directory} | changes


def test_flattened_images_are_float32_from_0_to_1(made):
    directory, _ = made
    table = open_table(NAME, directory)
    task = load(NAME, seed=1, **network(directory))
    assert task.inputs.shape == (60, 192)
    assert task.inputs.dtype == task.targets.dtype == np.float32
    np.testing.assert_array_equal(task.inputs, table.images[:60].reshape(60, -1).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(task.test_inputs[3], table.images[63].ravel() / np.float32(255))
    np.testing.assert_array_equal(task.targets.argmax(axis=1), table.labels[:60])
    np.testing.assert_array_equal(task.test_targets, np.eye(3)[table.labels[60:]])


def test_standardised_channels_have_mean_0_and_deviation_1(made):
    directory, _ = made
    task = flattened({**NAME, "standardised": True, "targets": "classes"}, seed=1, directory=directory)
    levels = np.asarray(task.inputs).reshape(60, 3, -1)
    np.testing.assert_allclose(levels.mean(axis=(0, 2), dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(levels.std(axis=(0, 2), dtype=np.float64), 1, rtol=1e-6)
    assert task.targets.dtype == np.int64


def test_rows_are_those_of_the_flattened_task(made):
    directory, _ = made
    dataset = {**NAME, "samples": 30, "validation": 12, "label_noise": 0.2, "targets": "classes"}
    rows = image_rows(dataset, seed=4, directory=directory)
    task = flattened(dataset, seed=4, directory=directory)
    table = rows.table
    assert (len(rows.training), len(rows.validation), len(rows.test)) == (30, 12, 12)
    assert not set(rows.training) & set(rows.validation)
    for chosen, inputs in (
        (rows.training, task.inputs),
        (rows.validation, task.validation_inputs),
        (rows.test, task.test_inputs),
    ):
        np.testing.assert_array_equal(inputs, table.images[chosen].reshape(len(chosen), -1) / np.float32(255))
    np.testing.assert_array_equal(task.targets, rows.labels)
    np.testing.assert_array_equal(task.clean_targets, table.labels[rows.training])
    np.testing.assert_array_equal(task.validation_targets, table.labels[rows.validation])
    np.testing.assert_array_equal(task.shuffled, rows.shuffled)
    assert rows.shuffled.sum() == 6


def test_a_subset_has_classes_in_equal_shares_and_may_depend_on_the_seed(made):
    directory, _ = made
    fixed = [image_rows({**NAME, "samples": 12}, seed=seed, directory=directory) for seed in (1, 2)]
    np.testing.assert_array_equal(fixed[0].training, fixed[1].training)
    np.testing.assert_array_equal(np.bincount(fixed[0].labels), [4, 4, 4])
    seeded = [
        image_rows({**NAME, "samples": 12, "subset": "seeded"}, seed=seed, directory=directory) for seed in (1, 2)
    ]
    assert not np.array_equal(seeded[0].training, seeded[1].training)
    assert fixed[0].shuffled is None
    assert fixed[0].validation.size == 0
    assert fixed[0].table is fixed[1].table


def test_tasks_of_all_seeds_share_their_arrays(made):
    tasks = load_tasks(NAME, seeds=[3, 5], **network(made[0]))
    assert tasks[3].inputs is tasks[5].inputs


def test_network_that_does_not_fit(made):
    with pytest.raises(ValueError, match="tiny_imagenet has 192 inputs, the network's first width is 784"):
        load(NAME, seed=1, **network(made[0], widths=[784, 3]))
    with pytest.raises(ValueError, match="tiny_imagenet has 3 outputs, the network's last width is 10"):
        load(NAME, seed=1, **network(made[0], widths=[192, 10]))


def test_a_table_that_is_not_there_says_how_to_make_it(made):
    with pytest.raises(FileNotFoundError) as error:
        load({**NAME, "classes": 2}, seed=1, **network(made[0]))
    for words in ("--dataset tiny_imagenet", '"classes": 2', '"resolution": 8', f"--directory {made[0]}"):
        assert words in str(error.value)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_normalised_by_numpy_and_torch(kind):
    batch = np.random.default_rng(0).integers(256, size=(2, 5, 3, 4, 4), dtype=np.uint8)
    mean, deviation = np.array([0.1, 0.5, 0.9], np.float32), np.array([0.2, 0.3, 0.4], np.float32)
    expected = (batch / 255.0 - mean[:, None, None]) / deviation[:, None, None]
    words = (batch, mean, deviation)
    found = normalised(*(map(torch.from_numpy, words) if kind == "torch" else words))
    assert str(found.dtype).endswith("float32")
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5, atol=1e-6)


def test_a_table_is_checked_once_as_long_as_its_files_stay(made, monkeypatch):
    open_table(NAME, made[0])
    monkeypatch.setattr(image_table, "sha256", None)
    open_table(NAME, made[0])
    (image,) = made[0].rglob("images.npy")
    image.touch()
    with pytest.raises(TypeError):
        open_table(NAME, made[0])


def test_a_table_other_than_the_experiments_is_refused(made):
    directory, manifest = made
    check_digest(NAME, directory, manifest)
    check_digest({"name": "digits"}, directory, {"digest": "another"})
    check_digest({**NAME, "classes": 2}, directory, {"digest": "another"})  # not there yet
    with pytest.raises(TableError, match=rf"has the digest {manifest['digest']}, but the experiment began with 0123"):
        check_digest(NAME, directory, {"digest": "0123"})


def test_imagenette_from_its_archive_to_a_task(tmp_path, monkeypatch):
    offline(monkeypatch)
    mirror = imagenette_mirror(tmp_path / "mirror", monkeypatch, train=3, test=1)
    manifest = make_ready("imagenette", tmp_path / "data", [str(mirror)], parameters={"resolution": 8}, threads=2)
    dataset = {"name": "imagenette", "resolution": 8}
    table = open_table(dataset, tmp_path / "data")
    assert (table.classes, table.titles[1]) == (IMAGENETTE, "English springer, English springer spaniel")
    assert manifest["files"][0]["name"] == "imagenette2-160.tgz"
    task = load(dataset, seed=0, **network(tmp_path / "data", widths=[192, 10]))
    assert (task.inputs.shape, task.test_inputs.shape) == ((30, 192), (10, 192))


def test_imagenet_from_a_users_folder_to_a_task(tmp_path, monkeypatch):
    offline(monkeypatch)
    monkeypatch.setenv("SGDPHASES_IMAGENET", str(write_folder(tmp_path / "mine", class_files(["pear", "apple"]))))
    make_ready("imagenet", tmp_path / "data", parameters={"resolution": 8})
    task = load({"name": "imagenet", "resolution": 8}, seed=0, **network(tmp_path / "data", widths=[192, 2]))
    assert (task.inputs.shape, task.test_inputs.shape) == ((10, 192), (4, 192))


@pytest.mark.mirror
def test_twenty_genuine_classes(tmp_path, mirror):
    manifest = make_ready("tiny_imagenet", tmp_path, [str(mirror)], parameters={"classes": 20}, threads=2)
    assert (manifest["training"], manifest["test"]) == (10000, 1000)
    dataset = {"name": "tiny_imagenet", "classes": 20}
    table = open_table(dataset, tmp_path)
    assert table.images.shape == (11000, 3, 64, 64)
    assert table.titles[:2] == ("goldfish, Carassius auratus", "centipede")
    for labels, count in ((table.labels[:10000], 500), (table.labels[10000:], 50)):
        assert np.bincount(labels).tolist() == [count] * 20
    np.testing.assert_allclose(table.mean, [0.4951, 0.4461, 0.3928], atol=5e-4)
    np.testing.assert_allclose(table.deviation, [0.2781, 0.2739, 0.2826], atol=5e-4)
    task = flattened({**dataset, "samples": 200, "targets": "classes"}, seed=0, directory=tmp_path)
    assert task.inputs.shape == (200, 12288)
    assert manifest["content"] == "7a6275c789cef9c2b23937463a472404fbbe6125cf139d11d6fc53173ab84294"
    assert read_json(next(tmp_path.rglob("table.json"))) == manifest
    assert sha256(next(tmp_path.rglob("labels.npy"))) == manifest["arrays"]["labels.npy"]["sha256"]
    assert table.classes[0] == CLASSES[0]
