import json
import shutil

import pytest

from sgdphases import provenance
from sgdphases.provenance import canonical, digest, fingerprint, reachable, seed


def test_digest_depends_on_values_not_on_order():
    assert digest({"a": 1.0, "b": 2}) == digest({"b": 2, "a": 1.0})
    assert digest({"a": 1.0}) != digest({"a": 1.0000000000000002})


def test_digests_and_seeds_are_the_same_for_ever():
    # These values name files and decide random numbers of published results; a change breaks every old one.
    assert canonical({"learning_rate": 0.1, "replica": 3}) == '{"learning_rate":0.1,"replica":3}'
    assert digest({"learning_rate": 0.1, "replica": 3}) == "f3a5ff1c436a"
    assert seed("weights", 3, {"learning_rate": 0.1}) == 5842114503705039323


def test_not_finite_content_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": float("nan")})


def test_streams_replicas_and_points_have_seeds_of_their_own():
    points = [None, {"learning_rate": 0.1}, {"learning_rate": 0.2}]
    seeds = {seed(stream, replica, point) for stream in provenance.STREAMS for replica in range(5) for point in points}
    assert len(seeds) == 4 * 5 * 3
    assert all(0 <= value < 2**63 for value in seeds)


def test_training_reaches_no_label_no_cube_and_no_configuration():
    beyond = {"sgdphases.quantities", "sgdphases.storage.cube", "sgdphases.config", "sgdphases.tracking.store"}
    assert "sgdphases.ensemble.sgd" in reachable("sgdphases.steps.train")
    assert not beyond & reachable("sgdphases.steps.train")


def test_registries_are_followed():
    assert "sgdphases.figures.maps" in reachable("sgdphases.steps.draw")


@pytest.fixture
def copied_package(tmp_path, monkeypatch):
    """A copy of the package whose code may be edited, and a function that gives fingerprints of it."""
    copy = tmp_path / "sgdphases"
    shutil.copytree(provenance.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)

    def fresh(rule, dataset=""):
        for cached in (fingerprint, provenance.reachable, provenance._told):
            cached.cache_clear()
        return fingerprint(rule, dataset)

    yield copy, fresh
    monkeypatch.undo()
    fresh("train")


def test_what_was_learned_of_code_is_kept_and_nothing_else_believed(copied_package, tmp_path, monkeypatch):
    _, fresh = copied_package
    monkeypatch.chdir(tmp_path)
    memory = tmp_path / provenance.MEMORY

    def told():
        provenance._memory.cache_clear()
        return fresh("ledger")

    expected = told()
    assert not memory.exists()  # no Snakemake runs here
    memory.parent.mkdir()
    assert told() == expected
    kept = memory.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "_parsed", None)  # nothing is read anew
        assert told() == expected
    (_, code), *_ = json.loads(kept)["code"].values()
    for broken in ("", "[]", kept[:-40], kept.replace(code, code[::-1])):
        memory.write_text(broken)
        assert told() == expected
        assert memory.read_text() == kept


def test_fingerprints_change_with_code_and_not_with_words(copied_package):
    copy, fresh = copied_package
    before = {rule: fresh(rule) for rule in ("train", "measure", "merge", "fit", "draw")}
    sgd = copy / "ensemble" / "sgd.py"
    text = sgd.read_text()
    sgd.write_text(text.replace('"""', '"""Another sentence. ', 1) + "\n# a comment\n")
    assert fresh("train") == before["train"]
    sgd.write_text(text + "\nCONSTANT = 1\n")
    assert fresh("train") != before["train"]
    sgd.write_text(text)
    for edited, unchanged in {
        "quantities.py": {"train"},
        "figures/style.py": {"train", "measure", "merge", "fit"},
        "fits/registry.py": {"train", "measure", "merge", "draw"},
        "observables/signal.py": {"train", "draw"},
        "tracking/store.py": set(before),
    }.items():
        path = copy / edited
        text = path.read_text()
        path.write_text(text + "\nCONSTANT = 1\n")
        after = {rule: fresh(rule) for rule in before}
        assert {rule for rule in before if after[rule] == before[rule]} >= unchanged, edited
        path.write_text(text)


def test_of_data_sets_a_job_follows_its_own_row_and_loader_only(copied_package):
    copy, fresh = copied_package
    names = ("teacher_student", "digits", "fashion_mnist")

    def changed_by(path, old, new):
        before = {name: fresh("train", name) for name in names}
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        after = {name: fresh("train", name) for name in names}
        path.write_text(text)
        return {name for name in names if after[name] != before[name]}

    registry = copy / "datasets" / "registry.py"
    row = 'Entry("new", "new pictures", "MIT", "sgdphases.datasets.new:new", dict(_FIXED_IMAGES)),'
    assert changed_by(registry, "_ENTRIES = (\n", f"_ENTRIES = (\n    {row}\n") == set()
    (copy / "datasets" / "new.py").write_text("def new(parameters):\n    pass\n")
    assert changed_by(registry, "_ENTRIES = (\n", f"_ENTRIES = (\n    {row}\n") == set()
    assert changed_by(registry, "Parameter(int, 4000, _SAMPLES)", "Parameter(int, 5000, _SAMPLES)") == {
        "teacher_student"
    }
    assert changed_by(registry, "    seeded: bool = True\n", "    seeded: bool = False\n") == set(names)
    assert changed_by(copy / "datasets" / "images.py", "CLASSES = 10\n", "CLASSES = 11\n") == {
        "digits",
        "fashion_mnist",
    }
    assert fresh("train") != fresh("train", "digits")


def test_only_jobs_on_tables_of_images_follow_their_code(copied_package):
    copy, fresh = copied_package
    names = ("teacher_student", "fashion_mnist", "tiny_imagenet", "imagenet")
    for module, changed in (
        ("image_table", {"tiny_imagenet", "imagenet"}),
        ("table_tasks", {"tiny_imagenet", "imagenet"}),
        ("image_inputs", {"tiny_imagenet", "imagenet"}),
        ("decoding", set()),
        ("image_sources", set()),
        ("image_files", set()),
        ("prepare", set()),
    ):
        before = {name: fresh("train", name) for name in names}
        path = copy / "datasets" / f"{module}.py"
        text = path.read_text()
        path.write_text(text + "\nCONSTANT = 1\n")
        assert {name for name in names if fresh("train", name) != before[name]} == changed, module
        path.write_text(text)
