import json
import subprocess
import sys

import pytest

from made_images import class_files, offline, write_folder
from sgdphases.datasets.registry import DATASETS
from sgdphases.files import read_json
from sgdphases.steps.download import main


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if not (entry.folder or entry.table)])
def test_data_sets_without_files_get_a_manifest(name, tmp_path):
    main(["--dataset", name, "--directory", str(tmp_path / "data"), "--manifest", str(tmp_path / "m.json")])
    manifest = read_json(tmp_path / "m.json")
    assert (manifest["dataset"], manifest["files"]) == (name, [])
    assert manifest["licence"] == DATASETS[name].licence
    assert not (tmp_path / "data").exists()


def test_unknown_data_set_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        main(["--dataset", "digit", "--directory", str(tmp_path), "--manifest", str(tmp_path / "m.json")])
    assert list(tmp_path.iterdir()) == []


def test_as_a_program_with_a_spool(tmp_path):
    arguments = ["--dataset", "digits", "--directory", "data", "--manifest", "data/digits.json"]
    command = [sys.executable, "-m", "sgdphases.steps.download", *arguments, "--spool", "spool.jsonl"]
    command += ["--mirrors", "a", "--mirrors", "http://b", "c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert " ".join(arguments) in done.stderr.splitlines()[0]
    digest = read_json(tmp_path / "data" / "digits.json")["digest"]
    events = [json.loads(line) for line in (tmp_path / "spool.jsonl").read_text().splitlines()]
    assert [event["digest"] for event in events if event["event"] == "dataset"] == [digest]
    assert [event["status"] for event in events if event["event"] == "status"] == ["RUNNING", "FINISHED"]


def test_a_table_gets_its_parameters_and_a_manifest(tmp_path, monkeypatch):
    offline(monkeypatch)
    folder = write_folder(tmp_path / "mine", class_files(["apple", "pear"]))
    arguments = ["--dataset", "imagenet", "--parameters", '{"classes": ["pear"], "resolution": 8}', "--threads", "2"]
    arguments += ["--imagenet", str(folder), "--directory", str(tmp_path / "data")]
    main([*arguments, "--manifest", str(tmp_path / "m.json"), "--spool", str(tmp_path / "spool.jsonl")])
    manifest = read_json(tmp_path / "m.json")
    assert (manifest["classes"], manifest["training"]) == (["pear"], 5)
    events = [json.loads(line) for line in (tmp_path / "spool.jsonl").read_text().splitlines()]
    assert [event["digest"] for event in events if event["event"] == "dataset"] == [manifest["digest"]]


@pytest.mark.parametrize(
    ("parameters", "words"), [('{"clases": 3}', "did you mean 'classes'"), ('{"classes": 999}', "at most 200, not 999")]
)
def test_wrong_parameters_write_nothing(parameters, words, tmp_path):
    arguments = ["--dataset", "tiny_imagenet", "--parameters", parameters, "--directory", str(tmp_path)]
    with pytest.raises(ValueError, match=words):
        main([*arguments, "--manifest", str(tmp_path / "m.json")])
    assert list(tmp_path.iterdir()) == []
