"""Images in the workflow: decoded once, trained on, and refused in words where they cannot be had."""

import shutil

import pytest
import xarray as xr
import yaml

from copied_project import copy_project
from made_images import class_files, tiny_files, tiny_mirror, write_folder

pytestmark = pytest.mark.slow

CARD = "tests/workflow/cards/images_toy.yaml"
TOY = "experiments=[images_toy]"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("images"))


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch):
    for variable in ("SGDPHASES_MIRROR", "SGDPHASES_IMAGENET"):
        monkeypatch.delenv(variable, raising=False)


def test_images_are_decoded_once_and_trained_on(copy):
    mirror = tiny_mirror(copy.folder / "mirror", tiny_files())
    config = (TOY, f"data={{mirrors: [{mirror}]}}")
    copy.snakemake(config=config)
    cube = xr.load_dataset(copy.folder / "results/images_toy/cube.nc")
    assert cube["train_loss"].notnull().all()
    (manifest,) = (copy.folder / "results/datasets").glob("*.json")
    assert manifest.name.startswith("tiny_imagenet-")
    shutil.rmtree(mirror)
    assert copy.planned(config=config) == {}
    assert copy.planned(config=(TOY,)).keys() <= {"download"}  # where mirrors are is no reason to train again


def test_another_table_than_the_experiments_is_not_trained_on(copy):
    (manifest,) = (copy.folder / "results/datasets").glob("*.json")
    text = manifest.read_text()
    digest = yaml.safe_load(text)["digest"]
    manifest.write_text(text.replace(digest, "0123"))
    shutil.rmtree(manifest.parent / ".guard")  # which would not let an edited one pass
    config = (TOY, f"data={{mirrors: [{copy.folder / 'mirror'}]}}")
    code, printed = copy.snakemake("--forcerun", "train", config=config, check=False)
    assert code != 0
    assert f"has the digest {digest}, but the experiment began with 0123" in " ".join(printed.split())


def test_a_card_for_imagenet_stops_before_any_job_without_its_folder(copy, tmp_path):
    undo = copy.edit(CARD, "name: tiny_imagenet, classes: [n01443537, n01784675]", "name: imagenet")
    try:
        code, text = copy.snakemake("--dry-run", config=(TOY,), check=False)
        assert code != 0
        words = (
            "images_toy.yaml: ensemble.dataset: dataset imagenet is never downloaded: set data.imagenet in config.yaml"
        )
        assert words in " ".join(text.split())
        assert "Traceback" not in text
        folder = write_folder(tmp_path / "mine", class_files(["apple", "pear"]))
        planned = copy.planned(config=(TOY, f"data={{imagenet: {folder}}}"))
    finally:
        undo()
    assert planned["download"] == 1


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("classes: [n01443538]", "images_toy.yaml: ensemble.dataset: unknown name in dataset tiny_imagenet: classes:"),
        ("classes: 0", "ensemble.dataset: dataset tiny_imagenet: classes must be a whole number of at least 1"),
        ("clases: 2", "ensemble.dataset: unknown parameter of the dataset tiny_imagenet: 'clases' (did you mean"),
    ],
)
def test_wrong_words_stop_before_any_job(copy, new, words):
    undo = copy.edit(CARD, "classes: [n01443537, n01784675]", new)
    try:
        code, text = copy.snakemake("--dry-run", config=(TOY,), check=False)
    finally:
        undo()
    assert code != 0
    assert words in " ".join(text.split())
