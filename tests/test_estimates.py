"""What jobs ask a scheduler for: enough for what was measured, and more for more work."""

import copy
import sys
from pathlib import Path

import pytest
import yaml

from sgdphases.config import read_card
from sgdphases.estimates import start_needs, train_needs
from sgdphases.shards import parts
from sgdphases.steps import usage

CARDS = Path(__file__).parents[1] / "workflow" / "experiments"

# Longest and largest of the jobs that ran on a machine of two cores: experiment, minutes, MiB.
MEASURED = (
    ("chaos_decay", 29.6, 1222),
    ("chaos_fashion", 9.1, 1196),
    ("chaos_map", 1.1, 746),
    ("chaos_scaling", 24.9, 1335),
    ("coulomb_linear", 0.6, 2112),
    ("coulomb_rbm", 0.5, 757),
    ("diffusion_fashion", 8.4, 1434),
    ("diffusion_ghost", 0.7, 752),
    ("diffusion_phase", 0.6, 939),
    ("diffusion_quadratic", 1.1, 682),
    ("diffusion_quick", 2.2, 757),
    ("diffusion_regression", 0.3, 940),
    ("dyson_fashion", 1.7, 1219),
    ("dyson_quick", 0.2, 704),
    ("richness_budget", 7.3, 1629),
    ("richness_cross_entropy", 2.4, 1277),
    ("richness_edge", 2.0, 1190),
    ("richness_fashion", 6.6, 2607),
    ("richness_quick", 1.1, 1354),
    ("richness_spectrum", 0.3, 1747),
)


@pytest.fixture
def card_with(tmp_path):
    """A card of this project with some of its ensemble's keys replaced."""

    def make(name="dyson_quick", **changes):
        text = yaml.safe_load((CARDS / f"{name}.yaml").read_text())
        text["ensemble"] |= copy.deepcopy(changes)
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(text))
        return read_card(path)

    return make


def needs(card, **known):
    return train_needs(card, parts(card)[0], **known)


@pytest.mark.parametrize(("name", "minutes", "memory"), MEASURED)
def test_what_is_asked_for_is_enough_and_not_absurd(name, minutes, memory):
    card = read_card(CARDS / f"{name}.yaml")
    asked = [train_needs(card, part) for part in parts(card)]
    assert minutes < max(need.minutes for need in asked) < 30 * minutes + 30
    assert memory < max(need.memory for need in asked) < 3 * memory + 500


@pytest.mark.parametrize("path", sorted(CARDS.glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_card_asks_for_something_on_either_device(path, device):
    card = read_card(path)
    asked = [train_needs(card, part, device=device) for part in parts(card)[:3]]
    asked += [start_needs(card, card.ensemble.start, device=device)] if card.ensemble.start else []
    for need in asked:
        assert 0 < need.seconds < 60 * need.minutes
        assert need.memory >= 1000
        assert need.device_memory >= 700
        assert all(isinstance(number, int) for number in (need.minutes, need.memory, need.device_memory))


def test_more_work_takes_more_time(card_with):
    before = needs(card_with())
    steps = 10 * card_with().ensemble.steps
    assert needs(card_with(steps=steps)).seconds > 5 * before.seconds
    assert needs(card_with(replicas=200)).seconds > before.seconds
    wide = card_with().ensemble.network.model_dump(exclude_unset=True) | {"widths": [3, 3200, 1600, 1]}
    wider = needs(card_with(network=wide))
    assert wider.seconds > 100 * before.seconds
    assert wider.memory > before.memory
    assert wider.device_memory > before.device_memory
    assert needs(card_with(network=wide), device="cuda").seconds < wider.seconds / 3


def test_what_was_used_is_shown_beside_what_was_asked(tmp_path, capsys):
    card = read_card(CARDS / "dyson_quick.yaml")
    folder = tmp_path / "dyson_quick" / "benchmarks"
    folder.mkdir(parents=True)
    names = [part.name for part in parts(card)][:3]
    rows = ("60.0\t0:01:00\t700.5", "3000\t0:50:00\t650", "1.0\t0:00:01\tNA")
    for name, row in zip(names, rows, strict=True):
        (folder / f"train-{name}.tsv").write_text(f"s\th:m:s\tmax_rss\n{row}\n")
    (folder / "train-000000000000.tsv").write_text("s\th:m:s\tmax_rss\n9e9\t-\t9e9\n")  # of another card
    usage.main(["--results", str(tmp_path), "--cards", str(CARDS)])
    lines = capsys.readouterr().out.splitlines()
    asked = needs(card)
    assert lines[0].split() == ["experiment", "rule", "jobs", "minutes", "asked", "MiB", "asked", "over"]
    assert lines[1].split() == [
        *("dyson_quick", "train", "3", "50.0", str(asked.minutes), "700", str(asked.memory)),
        "1" if asked.minutes < 50 else "none",
    ]
    assert len(lines) == 2


def test_without_results_there_is_nothing_to_show(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        usage.main(["--results", str(tmp_path), "--cards", str(CARDS)])
    assert left.value.code == 1
    assert "run one first" in capsys.readouterr().err


def test_asking_needs_no_torch():
    import subprocess

    program = "import sgdphases.estimates, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
