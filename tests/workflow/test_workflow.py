"""The whole way through the house on the smallest grid: what a run leaves, what an edit plans, what bad input says."""

import csv
import dataclasses
import itertools
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import xarray as xr
from snakemake.persistence.file import FilePersistence

pytestmark = pytest.mark.slow

TOY = "tests/workflow/cards/toy.yaml"
CODE = "\nCONSTANT = 1\n"
ROW = '_ENTRIES = (\n    Entry("new", "new pictures", "MIT", "sgdphases.datasets.images:new"),\n'
AFTER_FITS = {"grade", "ledger", "draw", "track"}


def test_run_leaves_cube_claims_figures_and_runs(finished):
    results = finished.folder / "results"
    cube = xr.load_dataset(results / "toy" / "cube.nc")
    assert dict(cube.sizes) == {"learning_rate": 2, "init_scale": 2, "replica": 2, "step": 7, "mode": 4}
    assert cube["train_loss"].notnull().all()
    assert (cube["eigenvalues"].diff("mode") <= 0).all()
    with (results / "claims.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["claim"].partition(".")[0] for row in rows} >= {f"dyson-{n:02d}" for n in (*range(1, 20), 26, 27)}
    assert all(row["verdict"] in ("pass", "fail", "not_measured") for row in rows)
    assert sorted(path.suffix for path in (results / "toy" / "figures").glob("*.*g")) == [".png", ".svg"]
    with sqlite3.connect(results / "tracking" / "mlflow.db") as store:
        assert store.execute("select count(*) from runs").fetchone()[0] > 4
        assert {row[0] for row in store.execute("select distinct status from runs")} == {"FINISHED"}
        known = store.execute(
            "select t.value, d.name from tags t join inputs i on i.destination_id = t.run_uuid"
            " join datasets d on d.dataset_uuid = i.source_id where t.key = 'kind'"
        ).fetchall()
    assert sorted(known) == [("experiment", "teacher_student"), *[("job", "teacher_student")] * 2]


def test_every_rule_has_a_log_and_a_benchmark(finished):
    with_log = {path.stem.split("-")[0] for path in finished.folder.glob("results/**/logs/*.log")}
    with_benchmark = {path.stem.split("-")[0] for path in finished.folder.glob("results/**/benchmarks/*.tsv")}
    rules = ["download", "resolve", "train", "measure", "merge", "fit", "grade", "ledger", "draw", "store", "track"]
    assert with_log == set(rules) == with_benchmark


@pytest.fixture(scope="module")
def settled(finished, tmp_path_factory):
    """The finished run in a folder of its own, with a store of its own."""
    copy = dataclasses.replace(finished, folder=tmp_path_factory.mktemp("halved") / "project")
    shutil.copytree(finished.folder, copy.folder, symlinks=True)
    copy.snakemake()
    return copy


@pytest.fixture
def halved(settled):
    """One measurement and all that comes after it is gone."""
    results = settled.folder / "results"
    shard = min(path.stem for path in (results / "toy/shards").glob("*.json"))
    for name in (f"toy/measured/{shard}.nc", "toy/cube.nc", "toy/claims.csv", "claims.csv", "tracking/toy.json"):
        (results / name).unlink(missing_ok=True)
    return settled


@pytest.mark.parametrize(
    ("name", "rule"), [("results/tracking/store.json", "store"), ("results/datasets/teacher_student.json", "download")]
)
def test_what_was_killed_at_its_very_end_keeps_nothing_else_from_being_made(halved, name, rule):
    marks = str(halved.folder / ".snakemake/incomplete")
    mark = Path(FilePersistence._record_path(SimpleNamespace(_fetch_max_len=lambda folder: 255), marks, name))
    mark.write_text('{"external_jobid": null}')  # as Snakemake does when it starts a job
    try:
        planned = halved.planned()
    finally:
        mark.unlink(missing_ok=True)
    assert planned["measure"] == planned["merge"] == planned["track"] == 1
    assert planned.get(rule) == (None if rule == "download" else 1)  # of data their step has said that they are whole
    assert "train" not in planned


def test_another_store_keeps_nothing_else_from_being_made(halved):
    planned = halved.planned(config=("experiments=[toy]", "tracking={uri: elsewhere.db}"))
    assert planned["store"] == planned["measure"] == planned["merge"] == planned["track"] == 1
    assert "train" not in planned


def test_what_snakemake_leaves_out_is_no_success(halved):
    words = {"config": ("experiments=[toy]", "data={directory: elsewhere}"), "check": False}
    status, text = halved.snakemake(**words)
    assert status == 1
    assert "2 files are not made yet (results/claims.csv, ...): give the same command again" in text
    planned = halved.planned(config=words["config"])
    assert planned["measure"] == planned["merge"] == planned["track"] == 1
    assert {"train", "download"} & set(planned) == set()


def test_what_is_forced_keeps_the_rest_waiting_for_a_call_that_forces_nothing(halved):
    status, text = halved.snakemake("--forcerun", "download", config=("experiments=[toy]",), check=False)
    assert status == 1
    assert "give the same command again without --forcerun" in text
    assert "train" not in halved.planned()


def test_other_mirrors_are_no_reason_for_anything(finished):
    assert finished.planned(config=("experiments=[toy]", "data={mirrors: [https://example.org/a b]}")) == {}


def test_nothing_to_do_a_second_time(finished):
    assert finished.planned() == {}


@pytest.mark.parametrize(
    ("name", "old", "new", "allowed"),
    [
        ("src/sgdphases/figures/style.py", "", CODE, {"draw", "track"}),
        ("src/sgdphases/fits/fractions.py", "", CODE, {"fit", *AFTER_FITS}),
        ("src/sgdphases/claims/claim.py", "", CODE, {"grade", "ledger", "track"}),
        ("src/sgdphases/tracking/store.py", "", CODE, set()),
        ("src/sgdphases/ensemble/sgd.py", "", "\n# a comment\n", set()),
        (TOY, "steps: 200", "steps: 200  # a comment", set()),
        ("src/sgdphases/steps/track.py", "", CODE, set()),
        ("src/sgdphases/datasets/registry.py", "_ENTRIES = (\n", ROW, set()),
        ("src/sgdphases/datasets/images.py", "", CODE, set()),  # the toy has a teacher
    ],
)
def test_edit_plans_only_what_it_can_change(finished, name, old, new, allowed):
    undo = finished.edit(name, old, new)
    try:
        assert set(finished.planned()) == allowed
    finally:
        undo()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("src/sgdphases/quantities.py", '"learning rate"', '"step size"'),
        ("src/sgdphases/observables/signal.py", "", CODE),
        (TOY, "    - alignment\n", "    - alignment\n    - overlap_initial\n"),
    ],
)
def test_label_or_observable_measures_again_and_trains_nothing(finished, name, old, new):
    undo = finished.edit(name, old, new)
    try:
        planned = finished.planned()
    finally:
        undo()
    assert planned["measure"] == 2
    assert "train" not in planned
    assert "resolve" not in planned


def test_trainer_edit_trains_everything(finished):
    undo = finished.edit("src/sgdphases/ensemble/sgd.py", "", CODE)
    try:
        assert finished.planned()["train"] == 2
    finally:
        undo()


def test_one_more_value_on_a_job_axis_trains_only_the_new_shard(finished):
    undo = finished.edit(TOY, "learning_rate: [0.5, 2]", "learning_rate: [0.5, 1, 2]")
    try:
        planned = finished.planned()
    finally:
        undo()
    assert (planned["resolve"], planned["train"], planned["measure"], planned["merge"]) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "setting",
    [
        "device=cpu",
        "data={mirrors: [file:///nowhere]}",
        "data={directory: elsewhere}",
        "tracking={uri: 'sqlite:///elsewhere.db'}",
    ],
)
def test_where_things_are_is_no_reason_to_train(finished, setting):
    assert not {"resolve", "train", "measure", "merge"} & set(finished.planned(config=("experiments=[toy]", setting)))


def test_folders_may_have_spaces_in_their_names(finished):
    shutil.copytree(finished.folder / "tests/workflow/cards", finished.folder / "my cards")
    config = ("experiments=[toy]", "data={directory: my data}", "cards=my cards")
    text = finished.snakemake("--dry-run", "--printshellcmds", "--forceall", config=config)
    commands = [shlex.split(line) for line in text.splitlines() if " -m sgdphases.steps." in line]
    options = [dict(itertools.pairwise(words)) for words in commands]
    for name, path, count in (
        ("--data", "my data", 4),
        ("--directory", "my data", 1),
        ("--card", "my cards/toy.yaml", 8),
    ):
        assert [known[name] for known in options if name in known] == [path] * count, name


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (("experiments=[tooy]",), "tooy.yaml: no such experiment card (did you mean 'toy'?)"),
        (("experiments=[]",), "config.yaml: experiments:"),
        (("experiments=[toy]", "device=tpu"), "config.yaml: device: input should be 'auto', 'cpu' or 'cuda'"),
        (
            ("experiments=[toy]", "tracking={uri: 'http://ada:secret@here'}"),
            "config.yaml: tracking.uri: it has a password",
        ),
        (("experiments=[toy]", "devise=cpu"), "unknown key 'devise' (did you mean 'device'?)"),
    ],
)
def test_bad_configuration_stops_before_any_job(finished, config, message):
    code, text = finished.snakemake(config=config, check=False)
    assert code != 0
    assert message in " ".join(text.split())
    assert "Traceback" not in text
    assert "secret" not in text


def test_report_is_one_page_with_figures_and_claims(finished):
    assert "Warning" not in finished.snakemake("--report", "report.html")
    page = (finished.folder / "report.html").read_text()
    assert "claims.csv" in page
    assert "phase_diagram" in page


def test_a_lost_store_is_made_again_with_the_same_runs(finished):
    store = finished.folder / "results" / "tracking" / "mlflow.db"

    def runs():
        with sqlite3.connect(store) as connection:
            names = connection.execute("select name, status from runs").fetchall()
            points = connection.execute("select count(*) from metrics").fetchone()[0]
        return sorted(names), points

    before = runs()
    finished.snakemake("--forcerun", "track")
    assert runs() == before
    store.unlink()
    finished.snakemake("--forcerun", "track")
    assert runs() == before


def test_logged_command_can_be_pasted(finished, tmp_path):
    log = next(finished.folder.glob("results/toy/logs/merge.log")).read_text()
    command = log.splitlines()[0].partition("repeat with: ")[2]
    cube = finished.folder / "results" / "toy" / "cube.nc"
    before = cube.read_bytes()
    shutil.move(cube, tmp_path / "cube.nc")
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(finished.folder / "src"), "HOME": str(tmp_path)}
    subprocess.run(command, shell=True, cwd=finished.folder, env=environment, check=True, stderr=subprocess.DEVNULL)
    assert cube.read_bytes() == before
    shutil.move(tmp_path / "cube.nc", cube)  # the old modification time, so that nothing is planned after this test
    os.utime(cube, None) if finished.planned() else None
    assert sys.executable in command
