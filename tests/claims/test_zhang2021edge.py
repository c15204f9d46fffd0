import numpy as np
import pytest

from made_chaos import PAPERS, base_course, base_square, fashion, fitted, rows_of
from made_cubes import chaos_cube
from sgdphases.claims.chaos_readings import FIXED_BATCH, FIXED_TEMPERATURE
from sgdphases.claims.papers import CITATIONS
from sgdphases.claims.registry import PAPERS as REGISTERED
from sgdphases.steps.words import function_of

FITS = ("weight_growth", "optimum", "balance", "edges")


def all_statements():
    return [statement for module in PAPERS.values() for statement in module.statements()]


def test_every_claim_stands_once():
    names = [statement.name for statement in all_statements()]
    assert sorted(names) == [f"chaos-{number:02d}" for number in range(1, 38)]
    parts = [claim.name for statement in all_statements() for claim in statement.parts]
    assert len(parts) == len(set(parts))


def test_the_study_is_registered_and_cited():
    for paper, module in PAPERS.items():
        assert paper in CITATIONS
        assert function_of(REGISTERED[paper]) is module.statements


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("chaos-01.1", 0.25, "±0.0014"),
        ("chaos-01.2", 0, "±0.054"),
        ("chaos-02.1", 0.0138, "±3 %"),
        ("chaos-02.2", 0.252, "±0.01"),
        ("chaos-03", 54, "±4"),
        ("chaos-04.1", 1, "±0.02"),
        ("chaos-05.1", 1, "±0.02"),
        ("chaos-05.2", 1.03, "±0.03"),
        ("chaos-05.3", 12.2, "±0.4"),
        ("chaos-06.1", 1, "±0.02"),
        ("chaos-07.1", 11, "±0.3"),
        ("chaos-08.1", np.nan, "≤ 0.03"),
        ("chaos-08.2", np.nan, "≤ 0.01"),
        ("chaos-09.2", np.nan, "≥ 0.05"),
        ("chaos-10", np.nan, "≤ 0.015"),
        ("chaos-11.2", np.nan, "≤ 0.15"),
        ("chaos-12", np.nan, "[0.6, 1.2]"),
        ("chaos-13.1", np.nan, "[0.335, 0.35]"),
        ("chaos-14", np.nan, "[3.3, 4.5]"),
        ("chaos-15.2", 1, "±0.1"),
        ("chaos-15.3", 0.157, "±0.01"),
        ("chaos-15.4", np.nan, "[1.6, 1.9]"),
        ("chaos-16.2", np.nan, "[0.884, 0.889]"),
        ("chaos-17.1", 4.6e-5, "±3 %"),
        ("chaos-17.2", 2, "±0.4"),
        ("chaos-18.7", 0.52308, "±0.005"),
        ("chaos-18.14", 0.53, "±0.02"),
        ("chaos-19.1", np.nan, "≤ 0.02"),
        ("chaos-19.2", np.nan, "≤ 1e-10"),
        ("chaos-20.1", np.nan, "[3, 13]"),
        ("chaos-21.1", 0.1, "±0.05"),
        ("chaos-22.1", np.nan, "≥ 0.8"),
        ("chaos-22.2", 0, "±0.02"),
        ("chaos-23.1", 0, "±0.03"),
        ("chaos-24", 1, "±0.1"),
        ("chaos-25.1", 1.7, "±0.2"),
        ("chaos-26.1", np.nan, "[7.5e-05, 9.5e-05]"),
        ("chaos-27.1", 0.154724, "±0.005"),
        ("chaos-27.2", 0.310249, "±0.005"),
        ("chaos-28.5", 28.67, "±2 %"),
        ("chaos-35.10", 1.799, "±2 %"),
    ],
)
def test_numbers_stand_as_written_down(name, expected, tolerance):
    claim = {claim.name: claim for statement in all_statements() for claim in statement.parts}[name]
    assert claim.expected == pytest.approx(expected, nan_ok=True)
    assert str(claim.tolerance) == tolerance


@pytest.fixture(scope="module")
def base():
    cube = fashion()
    return cube, fitted(cube, *FITS)


def test_the_base_run_as_the_dossier_has_it_passes(base):
    rows = rows_of(*base)
    for name in ("01", "02", "03", "11", "13", "22", "23", "24", "25", "35", "37"):
        assert rows[f"chaos-{name}"]["verdict"] == "pass", [r for key, r in rows.items() if f"-{name}" in key]
    assert rows["chaos-11"]["reason"] == "1 of 2 pass; of another schedule or grid: chaos-11.2"
    assert rows["chaos-13"]["reason"] == "5 of 6 pass; of another schedule or grid: chaos-13.6"
    assert "k is" in rows["chaos-02.1"]["reason"]
    assert rows["chaos-22.1"]["reason"].startswith("5 of 5 replicas, mean exponent -0.08")
    assert not [row for row in rows.values() if "gives no " in row["reason"] and "gives no value" not in row["reason"]]


def test_what_one_base_run_cannot_say_is_named(base):
    rows = rows_of(*base)
    for name, reason in {
        "chaos-04.1": "needs learning_rate 0.01, 0.05, 0.1; fit growth_exponents",
        "chaos-08.1": "needs learning_rate 0.005, 0.01, 0.04, 0.08; batch_size 8, 16, 64, 128",
        "chaos-11.2": "needs 500 epochs, has 100 (so far 0.05)",
        "chaos-12": "needs 10 replicas, has 5 (so far 0.8",
        "chaos-14": "needs 500 epochs, has 100",
        "chaos-15.2": "needs weight_decay 0.00018; 37500 of flow time, has 7500",
        "chaos-18.1": "needs data set none, has fashion_mnist",
        "chaos-30.1": "needs data set digits, has fashion_mnist",
        "chaos-31.1": "needs learning_rate 0.05, init_scale 0.25",
        "chaos-34.1": "needs learning_rate 0.05, samples 55000",
        "chaos-36.1": "needs weight_decay 0.00018",
    }.items():
        assert rows[name]["verdict"] == "not_measured"
        assert rows[name]["reason"].startswith(reason), (name, rows[name]["reason"])
    assert rows["chaos-33"]["verdict"] in {"pass", "fail"} or rows["chaos-33"]["reason"].startswith("undecided: ")


@pytest.mark.parametrize(
    ("wrong", "fit", "failing"),
    [
        ({"coupling": 1.02}, "weight_growth", {"01.1", "02.1", "35.1"}),
        ({"coupling": 0.93}, "weight_growth", {"01.1", "02.1", "02.2", "03"}),
        ({"drift": 0.3}, "weight_growth", {"11.1"}),
        ({"accuracy": 0.02}, "optimum", {"13.2", "13.3"}),
        ({"train": -0.02}, "optimum", {"13.4", "13.5"}),
        ({"work": 0.9}, "balance", {"23.1", "23.2", "23.3", "37"}),
        ({"diffusion": 0.5}, "balance", {"37"}),
        ({"trained": 0.2}, "edges", {"22.1", "22.3", "25.1"}),
        ({"shuffled": 0.03}, "edges", {"22.2", "22.4"}),
        ({"shuffled": -0.05}, "edges", {"25.2"}),
        ({"radius": 1.1}, "edges", {"24"}),
        ({"radius": 0.5}, "edges", {"24"}),
    ],
)
def test_a_wrong_base_run_fails(wrong, fit, failing):
    cube = fashion(**wrong)
    rows = rows_of(cube, fitted(cube, fit), *{int(name[:2]) for name in failing})
    for name in failing:
        assert rows[f"chaos-{name}"]["verdict"] == "fail", rows[f"chaos-{name}"]


def test_an_exponent_that_never_rises_is_a_failure_with_its_reason():
    cube = fashion(trained=-0.2)
    row = rows_of(cube, fitted(cube, "edges"), 25)["chaos-25.1"]
    assert (row["verdict"], row["reason"]) == ("fail", "no lasting rise through zero")


def test_a_run_that_never_comes_to_the_edge_is_a_failure_with_its_reason():
    cube = fashion(coupling=0.7)
    row = rows_of(cube, fitted(cube, "weight_growth"), 3)["chaos-03"]
    assert (row["verdict"], "does not come to 1" in row["reason"]) == ("fail", True)


def test_a_short_run_of_few_replicas_says_what_it_lacks():
    cube = fashion(epochs=60, replicas=2)
    rows = rows_of(cube, fitted(cube, *FITS))
    assert rows["chaos-02"]["verdict"] == rows["chaos-03"]["verdict"] == rows["chaos-24"]["verdict"] == "pass"
    assert rows["chaos-22.1"]["reason"].startswith("needs 5 replicas, has 2 (so far 1")
    assert rows["chaos-22.3"]["reason"].startswith("needs 80 epochs, has 60; 5 replicas, has 2")
    assert rows["chaos-25.1"]["reason"].startswith("needs 100 epochs, has 60")
    assert rows["chaos-35"]["reason"] == "8 of 10 pass; of another schedule or grid: chaos-35.9, chaos-35.10"
    cube = fashion(epochs=45)
    assert (
        rows_of(cube, fitted(cube, "weight_growth"), 2)["chaos-02.1"]["reason"] == "needs 3750 of flow time, has 3375"
    )


def test_weights_that_were_not_measured_are_said_to_be_missing():
    cube = fashion()
    cube["lyapunov"][:] = np.nan
    row = rows_of(cube, fitted(cube, "edges"), 22)["chaos-22.1"]
    assert (row["verdict"], row["reason"]) == ("not_measured", "needs weights measured near epoch 60")
    row = rows_of(cube, fitted(cube.drop_vars("lyapunov"), "edges"), 22)["chaos-22.1"]
    assert row["reason"] == "needs observable lyapunov"


def scaled(*, rate=1.0, momentum=1.0, size=1.0, k=11.0):
    """J² whose growth in an epoch has these exponents; k is that of learning rate 0.02, batch size 32, momentum 0.5."""

    def course(point, replica, s):
        own = k * (point["learning_rate"] / 0.02) ** (rate - 1)
        own *= (0.5 / (1 - point["momentum"])) ** (momentum - 1) * (32 / point["batch_size"]) ** (size - 1)
        return {"coupling": np.sqrt(0.25 + own * s / 60_000 * (1 + 1e-4 * replica))}

    return course


SCALING = {"learning_rate": [0.01, 0.02, 0.05, 0.1], "momentum": [0.5, 0.8, 0.9], "batch_size": [16, 32, 64, 128]}


def scaling(grid=None, *, times=None, fits=("growth_exponents",), **wrong):
    cube = chaos_cube(scaled(**wrong), grid=grid or SCALING, times=np.linspace(0, 3750, 26) if times is None else times)
    return cube, fitted(cube, *fits)


@pytest.mark.parametrize(
    ("wrong", "failing"),
    [
        ({}, set()),
        ({"rate": 1.018}, set()),
        ({"rate": 1.03}, {"chaos-04"}),
        ({"momentum": 1.03}, {"chaos-05"}),
        ({"size": 0.97}, {"chaos-06"}),
        ({"k": 11.4}, {"chaos-07"}),
    ],
)
def test_exponents(wrong, failing):
    rows = rows_of(*scaling(**wrong), 4, 5, 6, 7)
    for name in ("chaos-04", "chaos-05", "chaos-06"):
        assert rows[name]["verdict"] == ("fail" if name in failing else "pass"), rows[name]
    if "k" in wrong or not wrong:
        assert rows["chaos-07.1"]["verdict"] == rows["chaos-07.2"]["verdict"]
        assert rows["chaos-07"]["verdict"] == ("fail" if failing else "pass"), rows["chaos-07"]
    if not wrong:
        assert rows["chaos-05"]["reason"] == "2 of 4 pass; of another schedule or grid: chaos-05.2, chaos-05.3"
        assert "median 11.0" in rows["chaos-07.1"]["reason"]


def test_the_strongest_momentum_is_judged_where_it_is():
    wide = SCALING | {"momentum": [0.5, 0.8, 0.9, 0.95]}
    rows = rows_of(*scaling(wide, momentum=1.03, fits=("weight_growth", "growth_exponents")), 5)
    assert rows["chaos-05.2"]["verdict"] == "pass"
    assert float(rows["chaos-05.3"]["measured"]) == pytest.approx(11 * 10**0.03, rel=1e-3)
    assert rows_of(*scaling(wide, momentum=1.08), 5)["chaos-05.2"]["verdict"] == "fail"


def test_exponents_of_a_short_schedule_are_not_judged():
    rows = rows_of(*scaling(times=np.linspace(0, 2000, 26)), 4)
    assert rows["chaos-04.1"]["reason"].startswith("needs 3750 of flow time, has 2000")
    assert rows["chaos-04.1"]["measured"] == ""


def test_the_row_counts_the_steps_of_its_own_network():
    rows = rows_of(*scaling(), 2, 4)
    assert rows["chaos-02.1"]["steps"] == 3750 / 0.04
    assert rows["chaos-04"]["steps"] == 3750 / 0.02


SWEPT = ("learning_rate", "batch_size", "momentum")
STAR = [
    {name: point[name] for name in SWEPT}
    for point in dict.fromkeys(tuple(point.items()) for point in (*FIXED_TEMPERATURE, *FIXED_BATCH))
    for point in [dict(point)]
]


def family(*, before=0.0, fan=0.1, loss=0.0):
    """Figures 4 and 5: shares by which a network lies off the common curve before and after J² = 1.2."""

    def course(point, replica, s):
        square = base_square(s)
        place = STAR.index({name: point[name] for name in SWEPT}) / len(STAR)
        off = place * np.where(square < 1.2, before * np.minimum(1, s / 500), fan)
        return {
            "coupling": np.sqrt(square * (1 + off)),
            "test_loss": 0.345 + 0.1 * (square - 0.8) ** 2 + loss * place,
        }

    return course


@pytest.mark.parametrize(
    ("wrong", "failing"),
    [
        ({}, set()),
        ({"before": 0.08}, {"chaos-08.1", "chaos-09.1"}),
        ({"fan": 0.01}, {"chaos-09.2"}),
        ({"loss": 0.04}, {"chaos-08.2", "chaos-10"}),
    ],
)
def test_collapse(wrong, failing):
    cube = chaos_cube(family(**wrong), grid=STAR, times=np.linspace(0, 7200, 97), replicas=2)
    rows = rows_of(cube, fitted(cube, "collapse"), 8, 9, 10)
    for name in ("chaos-08.1", "chaos-08.2", "chaos-09.1", "chaos-09.2", "chaos-10"):
        assert rows[name]["verdict"] == ("fail" if name in failing else "pass"), rows[name]
    assert len(STAR) == 9


def test_a_collapse_needs_a_common_clock_and_time_to_fan_out():
    cube = chaos_cube(family(), grid=STAR, times=np.linspace(0, 5000, 97), replicas=2)
    rows = rows_of(cube, fitted(cube, "collapse"), 8, 9, 10)
    assert rows["chaos-09.1"]["verdict"] == "pass"
    assert rows["chaos-09"]["reason"] == "1 of 2 pass; of another schedule or grid: chaos-09.2"
    cube = chaos_cube(family(), grid=STAR, times=np.linspace(0, 2e6, 97).astype(int), replicas=2, clock="step")
    assert "common flow times" in rows_of(cube, {}, 9)["chaos-09.1"]["reason"]


def paper(**wrong):
    """The base run of chaos_paper: 500 epochs, ten replicas."""
    star = [{"weight_decay": value} for value in (0.0, 1.8e-4)]
    cube = chaos_cube(base_course(**wrong), grid=star, times=np.linspace(0, 37500, 501), replicas=10)
    cube["test_loss"][:, :, -1] = 0.75
    return cube, fitted(cube, "weight_growth", "optimum")


def test_five_hundred_epochs():
    rows = rows_of(*paper(), 11, 12, 13, 14)
    for name in ("chaos-11", "chaos-12", "chaos-13", "chaos-14"):
        assert rows[name]["verdict"] == "pass", rows[name]
    assert rows_of(*paper(coupling=0.85), 14)["chaos-14"]["verdict"] == "fail"


def test_other_networks_and_data_are_not_the_papers():
    cube = fashion()
    rows = rows_of(cube.assign_attrs(widths=[784, 128, 10]), {}, 1)
    assert rows["chaos-01.1"]["reason"] == "needs the widths 784-784-10, has 784-128-10"
    rows = rows_of(cube.assign_attrs(samples=55000), {}, 2)
    assert rows["chaos-02.1"]["reason"] == "needs samples 60000; fit weight_growth"
