"""The small version of `make faults`: five kills a stage, a few damages of every kind, a dead disk, an orphan."""

import random
from collections import Counter

import pytest

from faults import damage, kills, places, signals
from faults.ground import STAGES, Ground
from faults.report import Results, tables, write_page

pytestmark = [pytest.mark.slow, pytest.mark.systems]
WRONG = ("failed", "wrong", "half_written", "left_behind", "missing", "double", "forgotten", "unseen", "untrue")


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    ground = Ground(tmp_path_factory.mktemp("faults") / "ground")
    yield ground
    ground.close()


def sound(counts):
    return {word: counts[word] for word in WRONG if counts[word]} == {}


@pytest.mark.parametrize("rule", STAGES)
def test_killed_five_times(ground, rule):
    total = Counter()
    for counts in kills.run(ground.stage(rule), 5, 0, again=0.9, most=5):
        counts.pop("lost")  # seconds, which on a busy machine say nothing; `make faults` prints them
        total.update(counts)
    assert total["kills"] >= 5
    assert sound(total), total


def test_signals(ground):
    counts = signals.run(ground.stage("fit").learn(), 0)
    assert counts["signals"] == 4
    assert counts["survived"] == 0
    assert sound(counts), counts


def test_damage_is_seen(ground):
    numbers = random.Random(0)
    for kind in damage.KINDS:
        counts = damage.vouched(ground, kind, 5, numbers)
        assert counts["flip"] == counts["cut"] == 5
        assert counts["unseen"] == 0, kind
    for check in (damage.checkpoints, damage.spools, damage.tables):
        counts = check(ground, 3, numbers)
        assert sound(counts), (check, counts)


def test_snakemake_makes_a_damaged_file_again(ground):
    assert damage.rebuilt(ground, "cube (.nc)", random.Random(0)) == (True, True)


def test_a_full_disk_ends_the_job_and_nothing_else(ground):
    stage = ground.stage("fit").learn()
    trial = places.disk_full if places.may_mount(ground.folder / "probe") else places.file_limit
    counts = trial(stage)
    assert counts["refused"] == 1
    assert sound(counts), counts


def test_no_permission(ground):
    if not places.may_close(ground.folder / "probe"):
        pytest.skip("permissions cannot be taken here: root, and a file system without immutable folders")
    counts = places.closed(ground.stage("fit").learn())
    assert counts["refused"] == counts["said"] == 1
    assert sound(counts), counts


def test_an_orphan_is_not_joined(ground):
    counts = places.orphan(ground.stage("train").learn())
    assert counts["refused"] == counts["said"] == 1
    assert counts["orphan_wrong"] == 0
    assert sound(counts), counts


def test_cubes_are_read_while_they_are_replaced(ground):
    counts = places.readers_and_writer(ground, 3)
    assert counts["failed"] == 0
    assert counts["reads"] > 0
    assert counts["writes"] > 0


def test_the_page_gets_its_tables(tmp_path, monkeypatch):
    results = Results(tmp_path / "faults.json")
    results.add("kills", "train", {"kills": 2, "lost": 0.5})
    results.add("kills", "train", {"kills": 1, "lost": 0.2, "wrong": 1})
    results = Results(tmp_path / "faults.json")  # as when it was stopped
    assert results.count("kills", "train", "kills") == 3
    assert results.rows("kills")["train"]["lost"] == 0.5
    assert results.faults() == 1
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- printed by `make faults`, from here -->\nold\n<!-- to here -->\nafter\n")
    monkeypatch.setattr("faults.report.PAGE", page)
    write_page(results)
    text = page.read_text()
    assert "| train | 3 |" in text
    assert tables(results) in text
    assert (text.startswith("before\n"), text.endswith("after\n"), "old" in text) == (True, True, False)
