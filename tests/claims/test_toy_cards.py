"""Toy cards reach no claim of the chaos study, and no claim stumbles over what they lack."""

import numpy as np
import pytest

from made_chaos import PAPERS, fashion_course, rows_of
from made_cubes import CONTROLS, chaos_cube
from sgdphases.fits.registry import FITS
from sgdphases.steps.words import function_of

NAMES = ("weight_growth", "growth_exponents", "collapse", "optimum", "decay", "balance", "edges")
GRID = {"learning_rate": [0.02, 0.05], "weight_decay": [0.0, 1e-3]}


def made(cube):
    """The fits that can be made."""
    found = {}
    for name in NAMES:
        try:
            found[name] = function_of(FITS[name])(cube)
        except ValueError:
            continue
    return found


def grades(cube, fits):
    return [row for paper in PAPERS for row in rows_of(cube, fits, paper=paper).values()]


def toy(clock, course=None, **settings):
    times = np.linspace(0, 12, 7) if clock == "flow_time" else np.arange(0, 60, 10)
    settings = {"dataset": "gaussian_mixture", "samples": 64, "widths": (8, 8, 10), "replicas": 2, **settings}
    return chaos_cube(course or fashion_course(), grid=GRID, times=times, clock=clock, **settings)


@pytest.mark.parametrize(("clock", "dataset"), [("step", "gaussian_mixture"), ("flow_time", "digits")])
def test_toy_cards_measure_nothing(clock, dataset):
    cube = toy(clock, dataset=dataset)
    rows = grades(cube, made(cube))
    assert {row["verdict"] for row in rows} == {"not_measured"}
    assert all(row["reason"] for row in rows)
    assert {row["verdict"] for row in grades(cube, {})} == {"not_measured"}


def test_the_real_network_for_a_few_steps_has_a_start_only():
    cube = toy("step", dataset="fashion_mnist", samples=60_000, widths=(784, 784, 10), replicas=1)
    measured = {row["claim"] for row in grades(cube, made(cube)) if row["verdict"] != "not_measured"}
    assert measured == {"chaos-01", "chaos-01.1", "chaos-01.2"}


def lost(values, s):
    """Values that are gone after the start."""
    return np.where(np.reshape(s > 0, (-1, *[1] * (np.ndim(values) - 1))), np.nan, values)


@pytest.mark.parametrize("widths", [(784, 784, 10), (784, 784, 100, 784, 10)])
def test_networks_that_diverged_pass_nothing(widths):
    def course(point, replica, s):
        found = {name: lost(values, s) for name, values in fashion_course()(point, replica, s).items()}
        found |= {"jacobian_norm": np.full((s.size, len(CONTROLS), 2), np.nan)}
        layers = ("coupling", "mean_coupling", "weight_work", "weight_diffusion")
        return found if len(widths) == 3 else {name: found[name] for name in found if name not in layers}

    settings = {"times": 1875 * np.arange(501), "clock": "step", "replicas": 10}
    cube = chaos_cube(course, grid={"learning_rate": [0.02]}, widths=widths, **settings)
    passing = {row["claim"] for row in grades(cube, made(cube)) if row["verdict"] == "pass"}
    assert passing <= {"chaos-01", "chaos-01.1", "chaos-01.2"}
