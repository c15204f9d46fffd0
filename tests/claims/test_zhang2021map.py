import numpy as np
import pytest
import xarray as xr

from made_chaos import rows_of
from sgdphases.claims.zhang2021map import FINITE
from sgdphases.theory.correlation_map import asymptotic_distance

COUPLINGS = np.array([0.5, 0.8, 0.9, 1.1, 1.5, 2.0, 3.0, 6.0])


def random_map(*, couplings=COUPLINGS, ratios=(-1.0, 0.0, 1.0), iterations=500, width=784, **wrong):
    """The map of random matrices as the dossier measured it; `wrong` shifts or scales one observable."""
    distance = asymptotic_distance(couplings, width=width) * wrong.get("distance", 1.0)
    distance = np.where(couplings < 1, wrong.get("ordered", 1e-14), distance)
    known = sorted(FINITE)
    exponent = np.interp(couplings, known, [FINITE[j][1] for j in known]) + wrong.get("lyapunov", 0.0)
    norm = np.interp(couplings, known, [FINITE[j][2] for j in known]) * wrong.get("norm", 1.0)
    converged = np.where(np.abs(couplings - 1) > 0.15, 1.0, 0.0)
    dims, shape = ("coupling_ratio", "init_scale", "replica", "step"), (len(ratios), len(couplings), 3, 2)
    values = {"asymptotic_distance": distance, "lyapunov": exponent, "jacobian_norm": norm, "converged": converged}
    cube = xr.Dataset(
        {name: (dims, np.broadcast_to(each[None, :, None, None], shape).copy()) for name, each in values.items()},
        coords={
            "coupling_ratio": list(ratios),
            "init_scale": couplings,
            "replica": [0, 1, 2],
            "step": [0, iterations],
        },
    )
    return cube.assign_attrs(experiment="made", dataset="none", widths=np.array([width, width]))


def test_the_map_as_the_dossier_has_it_passes():
    rows = rows_of(random_map(), {}, 18, 19, 27, 28, 29)
    for name in ("chaos-18", "chaos-19", "chaos-27", "chaos-28", "chaos-29"):
        assert rows[name]["verdict"] == "pass", [row for key, row in rows.items() if key.startswith(name)]
    assert rows["chaos-19.1"]["reason"].endswith("of 4 values")


@pytest.mark.parametrize(
    ("wrong", "failing"),
    [
        ({"distance": 1.03}, {"19.1", "28.5", "28.8"}),
        ({"ordered": 1e-9}, {"19.2"}),
        ({"lyapunov": 0.02}, {"27.1", "27.2", "28.3", "28.6"}),
        ({"lyapunov": -0.04}, {"28.1"}),
        ({"norm": 1.05}, {"28.2", "28.4", "28.7"}),
    ],
)
def test_another_map_fails(wrong, failing):
    rows = rows_of(random_map(**wrong), {}, 19, 27, 28)
    for name in failing:
        assert rows[f"chaos-{name}"]["verdict"] == "fail", rows[f"chaos-{name}"]


def test_a_wrong_theory_fails(monkeypatch):
    monkeypatch.setattr("sgdphases.claims.zhang2021map.critical_coupling", lambda ratio: 1.01)
    rows = rows_of(random_map(), {}, 18, 29)
    assert rows["chaos-18"]["verdict"] == rows["chaos-29"]["verdict"] == "fail"


def test_cells_that_are_not_there_are_named():
    rows = rows_of(random_map(couplings=np.array([0.5, 1.5, 2.0])), {}, 19, 27, 28)
    assert rows["chaos-27.2"]["reason"] == "needs init_scale 3"
    assert rows["chaos-28.1"]["reason"] == "needs init_scale 0.8"
    assert rows["chaos-27"]["verdict"] == "not_measured"
    rows = rows_of(random_map(ratios=(-1.0, 0.5)), {}, 19, 27)
    assert rows["chaos-19.1"]["reason"] == "needs coupling_ratio 0"
    rows = rows_of(random_map(ratios=(0.0,)).squeeze("coupling_ratio"), {}, 19, 27)
    assert rows["chaos-19"]["verdict"] == rows["chaos-27"]["verdict"] == "pass"


def test_cells_that_have_not_converged_do_not_count():
    cube = random_map(distance=2.0)
    cube["converged"][:] = 0
    assert rows_of(cube, {}, 19)["chaos-19.1"]["reason"] == "no cell with J of at least 1.5 has converged"


def test_a_short_or_small_map_is_not_judged():
    rows = rows_of(random_map(iterations=100), {}, 19, 28)
    assert rows["chaos-19.1"]["reason"].startswith("needs 500 steps, has 100 (so far")
    rows = rows_of(random_map(width=64), {}, 18, 19)
    assert rows["chaos-18.1"]["reason"] == "needs the widths 784-784, has 64-64"
