import numpy as np
import pytest

from made_portraits import MIXTURE, Landscape, Portrait, quickly, rows_of, verdicts
from made_richness import richness_cube

RICHNESS = 10.0 ** np.arange(-3, 3.1, 0.5)
RATES = 10.0 ** np.arange(-1.25, 0.6, 0.1)
STEPS = (0, 100, 200, 400)
FITS = ("sharpness", "silent_alignment", "agreement")


def landscape(course, **settings):
    settings = {"depth": (2, 3, 4), "rates": RATES, "rate_axis": "scaled_learning_rate"} | settings
    cube = richness_cube(course, **{"richness": RICHNESS, "steps": STEPS, "replicas": 1} | settings)
    return cube.assign_attrs(MIXTURE)


def graded(course, *numbers, fits=FITS, **settings):
    cube = landscape(course, **settings)
    return rows_of(cube, quickly(cube, *fits), *numbers)


def at_edge(depth, decades):
    """As in the simulation: deep networks come near the edge at half the best learning rate too."""
    return 0.75 if depth == 4 and decades < -0.3 else 1.05 * 10**decades


def test_a_landscape_as_the_toy_has_it_passes():
    rows = graded(Landscape(edge=at_edge), 11, 12, 16, 17, 18, fits=("sharpness", "agreement"))
    assert verdicts(rows, "fail") == verdicts(rows, "not_measured") == set()
    assert rows["richness-16.1"]["reason"] == "5 values of the richness"
    assert rows["richness-17.1"]["reason"].startswith("mean 0.9")
    assert rows["richness-18.2"]["reason"] == "0.165 against 0.790"


@pytest.mark.parametrize(
    ("wrong", "fit", "failing"),
    [
        ({}, "sharpness", set()),
        ({"start": (0.04, 0.0)}, "sharpness", {"12", "12.2"}),
        ({"start": (0.0, 0.04)}, "sharpness", {"12", "12.5"}),
        ({"bottom": -0.85}, "sharpness", {"12", "12.8"}),
        ({"end": (0.1, 0.0)}, "sharpness", {"11", "11.2"}),
        ({"end": (0.0, 0.1)}, "sharpness", {"11", "11.5", "16", "16.2", "16.5"}),
        ({"edge": lambda depth, decades: 1.4 * 10**decades}, "sharpness", {"16", "16.2", "16.5"}),
        ({"edge": lambda depth, decades: 0.7 * 10**decades}, "sharpness", {"16", "16.2"}),
        ({"agree": 0.9}, "agreement", {"17", "17.1"}),
        ({"lazy_agree": 0.8}, "agreement", {"17", "17.2"}),
        ({"features": lambda decades: 0.79 + 0.02 * decades}, "agreement", {"18", "18.1", "18.2"}),
        ({"features": lambda decades: 0.79 if decades > -1 else 0.6}, "agreement", {"18", "18.2"}),
    ],
)
def test_a_wrong_landscape_fails_its_claims_and_no_others(wrong, fit, failing):
    rows = graded(Landscape(**wrong), 11, 12, 16, 17, 18, depth=(3,), fits=(fit,))
    assert verdicts(rows, "fail") == failing


@pytest.mark.parametrize(("gained", "verdict"), [(0.3, "pass"), (0.15, "fail")])
def test_alignment_before_the_drop(gained, verdict):
    row = graded(Landscape(gained=gained), 15, depth=(3,), rates=[0.5], fits=("silent_alignment",))["richness-15"]
    assert (row["verdict"], row["measured"]) == (verdict, pytest.approx(gained, abs=0.01))
    rows = graded(Landscape(), 15, depth=(3,), rates=[0.25, 0.5], fits=("silent_alignment",))
    assert rows["richness-15"]["reason"].endswith("of several networks, over scaled_learning_rate")


def test_learning_rates_that_do_not_reach_the_edge_say_so():
    rows = graded(Landscape(), 16, depth=(3,), rates=[0.05, 0.5], fits=("sharpness",))
    assert rows["richness-16.2"]["reason"] == "needs a learning rate near 1 of the largest one that trains"
    assert rows["richness-16.5"]["reason"] == "needs a learning rate near 0.5 of the best one that trains"
    rows = graded(Landscape(), 16, depth=(3,), rates=[0.5], fits=("sharpness",))
    assert rows["richness-16.2"]["reason"].startswith("needs several learning rates for each richness")


def test_networks_that_have_not_learned_have_no_curvature_at_the_end():
    rows = graded(Landscape(), 11, 12, depth=(3,), rates=[1.5, 2], fits=("sharpness",))
    assert rows["richness-11.2"]["verdict"] == "not_measured"
    assert "nothing has learned" in rows["richness-11.2"]["reason"]
    assert rows["richness-12.2"]["verdict"] == "pass"


@pytest.mark.parametrize(
    ("factor", "power", "failing"), [(1.0, 0.0, set()), (1.8, 0.0, set()), (2.5, 0.0, {"23"}), (1.0, 0.25, {"23"})]
)
def test_the_largest_learning_rate_from_the_curvature_alone(factor, power, failing):
    """Lazy networks in the middle of their range are as they should be where only the power is wrong."""

    def course(point, replica, steps):
        curvature = 2 / (10**0.11 * point["richness"] ** (2 if point["richness"] < 1 else 2 / 3))
        curvature *= factor * point["richness"] ** (power if point["richness"] > 1 else 0)
        return Portrait()(point, replica, steps) | {"hessian_top": np.full(steps.size, curvature)}

    cube = richness_cube(course, rates=10.0 ** np.arange(-7, 4, 0.25), richness=RICHNESS, steps=(0, 100, 400))
    rows = rows_of(cube, quickly(cube, "richness_exponents"), 23)
    assert {name for name in verdicts(rows, "fail") if "." not in name} == failing
    assert rows["richness-23.2"]["verdict"] == ("fail" if factor > 2 else "pass")
    assert rows["richness-23.5"]["verdict"] == ("fail" if failing else "pass")


def test_a_search_that_keeps_no_weights_says_what_the_prediction_lacks():
    cube = richness_cube(Portrait(), rates=10.0 ** np.arange(-7, 4), richness=RICHNESS, steps=(0, 400))
    assert rows_of(cube, {}, 23)["richness-23.2"]["reason"].startswith("needs observable hessian_top")


def widths(shift, *, replicas=3):
    def course(point, replica, steps):
        moved = dict(point) | {"learning_rate": point["learning_rate"] * (point["width"] / 32) ** shift}
        return Portrait()(moved, replica, steps)

    settings = {"rates": 10.0 ** np.arange(-2, 1.1, 0.25), "richness": [1.0], "width": [32, 64, 128, 256]}
    cube = richness_cube(course, steps=(0, 100, 400), replicas=replicas, **settings)
    return rows_of(cube, quickly(cube, "learning_rate_edges"), 22)["richness-22"]


def test_the_best_learning_rate_of_every_width():
    row = widths(0.0)
    assert row["verdict"] == "pass"
    assert row["reason"] == "decades -0.24, -0.24, -0.24, -0.24"
    assert widths(0.25)["verdict"] == "pass"
    assert widths(0.5)["verdict"] == "fail"
    assert widths(0.0, replicas=1)["reason"].startswith("needs 2 replicas, has 1 (so far 0")


def passes(accuracy, *, epochs, rows=(24, 25)):
    cube = richness_cube(
        Portrait(accuracy=accuracy),
        rates=10.0 ** np.arange(-7, 3, 0.5),
        richness=10.0 ** np.arange(-3, 3.1),
        steps=(0, 400, 1600),
    )
    cube = cube.assign_attrs(MIXTURE).assign_coords(epoch=cube["step"] * epochs / 1600)
    return rows_of(cube, quickly(cube, "learning_rate_edges"), *rows)


@pytest.mark.parametrize(
    ("accuracy", "failing"),
    [
        (lambda decades: 0.1 if decades < -1 else 0.0, set()),
        (lambda decades: 0.1 if decades < -1 else 0.005 * decades, {"24", "24.1"}),
        (lambda decades: 0.01 if decades < -1 else 0.0, {"24", "24.2"}),
    ],
)
def test_accuracy_in_one_pass(accuracy, failing):
    rows = passes(accuracy, epochs=1)
    assert verdicts(rows, "fail") == failing
    assert (
        rows["richness-25"]["reason"] == "needs 10 epochs, has 1 (so far -0.01)"
        or "so far" in rows["richness-25"]["reason"]
    )
    assert rows["richness-24.1"]["reason"].endswith("4 of 4 values of the richness have learned, 0.980 at richness 1")


def test_accuracy_in_many_passes():
    rows = passes(lambda decades: 0.01 * decades, epochs=51)
    assert rows["richness-25"]["verdict"] == "pass"
    assert rows["richness-24.1"]["reason"] == "needs at most 1 epochs, has 51"
    assert passes(lambda decades: -0.01 * decades, epochs=51)["richness-25"]["verdict"] == "fail"
