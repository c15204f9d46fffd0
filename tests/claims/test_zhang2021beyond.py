import numpy as np
import pytest

from made_chaos import fitted, rows_of
from made_cubes import chaos_cube

TIMES = np.linspace(0, 6000, 81)


def valley(*, best=0.9, tilt=0.0, noise=0.0, leak=0.0):
    """J² that grows as in the paper from any start, a test loss that is least at `best`."""
    random = np.random.default_rng(0)

    def course(point, replica, s):
        square = point["init_scale"] ** 2 + 11 * s / 60_000
        place = best(point) if callable(best) else best
        loss = 0.34 + 0.2 * (square - place) ** 2 + (tilt + noise * random.standard_normal()) * square
        found = {"coupling": np.sqrt(square), "test_loss": loss}
        return found | {"validation_loss": 0.33 + 0.2 * (square - place - leak) ** 2, "test_accuracy": 0.9 - loss / 10}

    return course


STARTS = {"init_scale": [0.25, 0.5, 0.8, 1.1], "samples": [6000, 20_000, 60_000], "learning_rate": [0.05]}


def starts(**wrong):
    cube = chaos_cube(valley(**wrong), grid=STARTS, times=TIMES)
    return cube, fitted(cube, "optimum")


def test_an_optimum_at_the_edge_passes_where_the_way_leads_past_it():
    rows = rows_of(*starts(), 31, 32)
    assert [rows[f"chaos-31.{part}"]["verdict"] for part in (1, 2, 3, 4)] == ["pass"] * 3 + ["not_measured"]
    assert "the fit optimum gives no value" in rows["chaos-31.4"]["reason"]
    assert rows["chaos-32"]["verdict"] == "pass"
    assert "test loss at J² = 0.8 less that at 1: " in rows["chaos-31.2"]["reason"]


def test_an_optimum_that_moves_with_the_start_fails():
    rows = rows_of(*starts(best=lambda point: point["init_scale"] ** 2 + 0.3), 31, 32)
    assert [rows[f"chaos-31.{part}"]["verdict"] for part in (1, 2, 3, 4)] == ["fail", "fail", "pass", "fail"]
    assert rows["chaos-32"]["verdict"] == "fail"


@pytest.mark.parametrize(
    ("wrong", "verdict", "words"),
    [
        ({"tilt": -0.2}, "pass", "95 % interval"),
        ({"tilt": 0.3}, "fail", "95 % interval"),
        ({"noise": 0.3}, "not_measured", "undecided: "),
    ],
)
def test_paired_losses(wrong, verdict, words):
    """Undecided is an answer, and stands in the row."""
    cube = chaos_cube(valley(**wrong), grid={"learning_rate": [0.02]}, times=1875 * np.arange(81), clock="step")
    row = rows_of(cube, fitted(cube, "optimum"), 33)["chaos-33"]
    assert row["verdict"] == verdict
    assert words in row["reason"]


def held_out(*, replicas=10, **wrong):
    grid = {"learning_rate": [0.05], "momentum": [0.5]}
    cube = chaos_cube(valley(**wrong), grid=grid, times=TIMES, replicas=replicas, samples=55_000)
    return cube, fitted(cube, "optimum")


def test_images_that_were_held_out():
    assert rows_of(*held_out(), 34)["chaos-34"]["verdict"] == "pass"
    rows = rows_of(*held_out(leak=-0.45), 34)
    assert rows["chaos-34.1"]["verdict"] == rows["chaos-34.2"]["verdict"] == "fail"
    row = rows_of(*held_out(replicas=3), 34)["chaos-34.1"]
    assert row["reason"].startswith("needs 10 replicas, has 3 (so far 0.896")


QUICK = {"learning_rate": [0.002, 0.004, 0.008], "momentum": [0, 0.5, 0.8], "batch_size": [8, 16, 32]}


def digits(grid=QUICK, *, last=20, rate=1.0):
    def course(point, replica, s):
        own = (point["learning_rate"] / 0.004) ** (rate - 1)
        return {"coupling": np.sqrt(0.25 + own * (0.02 * s + 1e-3 * s**2) * (1 + 1e-4 * replica))}

    attrs = {"dataset": "digits", "samples": 1437, "widths": (64, 64, 10)}
    cube = chaos_cube(course, grid=grid, times=np.linspace(0, last, 26), **attrs)
    return cube, fitted(cube, "growth_exponents", "collapse")


def test_digits():
    rows = rows_of(*digits(), 4, 30)
    assert rows["chaos-30"]["verdict"] == "pass", rows
    assert rows["chaos-04"]["reason"].startswith("needs data set fashion_mnist, has digits")
    rows = rows_of(*digits(rate=1.1), 30)
    assert rows["chaos-30.1"]["verdict"] == rows["chaos-30.4"]["verdict"] == "fail"


def test_digits_need_the_whole_window_and_many_steps():
    assert rows_of(*digits(last=10), 30)["chaos-30.1"]["reason"].startswith("needs 20 of flow time, has 10")
    fast = QUICK | {"learning_rate": [0.1, 0.2, 0.4]}
    assert rows_of(*digits(fast), 30)["chaos-30.1"]["reason"] == "needs 100/(1 - momentum) steps of every network"
