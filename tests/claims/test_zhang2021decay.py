import numpy as np
import pytest

from made_chaos import fitted, rows_of
from made_cubes import chaos_cube

STRENGTHS = (0.0, 4.6e-5, 9e-5, 1.5e-4, 5e-4)
END = {0.0: 4.0, 4.6e-5: 1.75, 9e-5: 0.97, 1.5e-4: 0.56, 5e-4: 0.158}
ACCURACY = {0.0: 0.88, 4.6e-5: 0.884, 9e-5: 0.887, 1.5e-4: 0.882, 5e-4: 0.864}
LAST = 37500.0


def decaying(**wrong):
    """J² that comes to rest where the dossier says; `wrong` gives the ends or the accuracies of some λ."""
    ends, accuracies = END | wrong.get("ends", {}), ACCURACY | wrong.get("accuracies", {})
    k = wrong.get("k", 11.0)

    def course(point, replica, s):
        strength = round(point["weight_decay"] / 2, 9)
        if strength:
            rate = max(4 * strength, 40 / LAST)
            square = (
                ends[strength] + (0.25 - ends[strength]) * np.exp(-rate * s) + 1e-6 * s / LAST
            )  # never quite at rest
        else:
            square = np.where(s < 6000, 0.25 + k * s / 60_000, 0.25 + k / 10 + (s - 6000) * 8e-5)
        parts = 784 * (square - square[0])
        decay = 4 * strength * 784 * np.concatenate([[0], np.cumsum(np.diff(s) * (square[1:] + square[:-1]) / 2)])
        return {
            "coupling": np.sqrt(square),
            "mean_coupling": np.zeros(s.size),
            "weight_work": wrong.get("work", 1.0) * (0.9 * parts + decay) / 2,
            "weight_diffusion": 0.1 * parts,
            "test_loss": 0.35 + 0.01 * s / LAST,
            "test_accuracy": np.full(s.size, accuracies[strength] + 1e-4 * replica),
        }

    return course


def decay_card(*, replicas=2, strengths=STRENGTHS, epochs=200, rate=0.05, **wrong):
    grid = {"weight_decay": [2 * strength for strength in strengths], "learning_rate": [rate]}
    cube = chaos_cube(decaying(**wrong), grid=grid, times=1875 * np.arange(epochs + 1), clock="step", replicas=replicas)
    return cube, fitted(cube, "decay", "balance")


def verdicts(rows):
    return {name: row["verdict"] for name, row in rows.items()}


@pytest.fixture(scope="module")
def rows():
    return rows_of(*decay_card(), 15, 16, 17, 26, 36)


def test_weight_decay_as_the_dossier_has_it_passes(rows):
    for name in ("chaos-15", "chaos-17", "chaos-26", "chaos-36"):
        assert rows[name]["verdict"] == "pass", [row for key, row in rows.items() if key.startswith(name)]
    assert rows["chaos-26"]["reason"] == "3 of 5 pass; of another schedule or grid: chaos-26.4, chaos-26.5"
    assert rows["chaos-16.2"]["verdict"] == rows["chaos-16.3"]["verdict"] == "pass"
    assert rows["chaos-26.1"]["reason"] == ""


def test_the_authors_ten_replicas_are_asked_for_where_they_matter(rows):
    assert rows["chaos-16.1"]["reason"].startswith("needs 10 replicas, has 2 (so far 9e-05")
    assert rows["chaos-16.4"]["reason"].startswith("needs 10 replicas, has 2 (so far 0.007")
    assert rows["chaos-16"]["verdict"] == "not_measured"
    ten = rows_of(*decay_card(replicas=10), 16)
    assert ten["chaos-16"]["verdict"] == "pass", ten


@pytest.mark.parametrize(
    ("wrong", "failing"),
    [
        ({"ends": {9e-5: 0.8}}, {"15.2", "26.1"}),
        ({"ends": {5e-4: 0.2}}, {"15.3", "26.3"}),
        ({"ends": {4.6e-5: 0.95}}, {"15.1", "15.4"}),
        ({"ends": {9e-5: 1.5, 1.5e-4: 1.05}}, {"15.2", "17.2", "26.2"}),
        ({"k": 11.6}, {"17.1"}),
        ({"accuracies": {5e-4: 0.9}}, {"16.1", "16.3"}),
        ({"accuracies": {9e-5: 0.875}}, {"16.2", "16.4"}),
        ({"work": 1.1}, {"36.1", "36.2", "36.3"}),
    ],
)
def test_other_decays_fail(wrong, failing):
    replicas = 10 if "accuracies" in wrong else 2
    rows = rows_of(*decay_card(replicas=replicas, **wrong), *{int(name[:2]) for name in failing})
    for name in failing:
        assert rows[f"chaos-{name}"]["verdict"] == "fail", rows[f"chaos-{name}"]


def test_a_short_run_is_not_at_rest():
    rows = rows_of(*decay_card(epochs=80), 15, 17, 26)
    assert rows["chaos-15.2"]["reason"].startswith("needs 37500 of flow time, has 1.5e+04")
    assert rows["chaos-17.1"]["verdict"] == "pass"
    assert rows["chaos-17.2"]["verdict"] == "not_measured"
    assert rows["chaos-26"]["verdict"] == "not_measured"


def test_what_still_moves_is_said_so():
    cube, fits = decay_card()
    fits["decay"]["stationary"][:] = 0
    row = rows_of(cube, fits, 26)["chaos-26.1"]
    assert (row["verdict"], row["reason"].startswith("not at rest: ")) == ("pass", True)


def test_the_papers_own_star_is_read_at_its_own_learning_rate():
    """Decay runs among others, as in chaos_paper: 0.02, without the formula's strength, at more strengths."""
    strong = {0.0: 4.0, 9e-5: 0.97, 1.5e-4: 0.56, 3e-4: 0.28, 5e-4: 0.158, 1e-3: 0.085}
    star = [{"learning_rate": 0.01}, *({"weight_decay": 2 * strength} for strength in strong)]
    course = decaying(ends=strong, accuracies=dict.fromkeys(strong, 0.88))
    cube = chaos_cube(course, grid=star, times=np.linspace(0, LAST, 501), replicas=2)
    rows = rows_of(cube, fitted(cube, "decay"), 15, 26)
    assert rows["chaos-15"]["reason"] == "3 of 4 pass; of another schedule or grid: chaos-15.4"
    assert rows["chaos-26"]["reason"] == "5 of 5 pass"
