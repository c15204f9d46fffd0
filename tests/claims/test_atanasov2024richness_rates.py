import numpy as np
import pytest

from made_portraits import MIXTURE, Portrait, quickly, rows_of, verdicts
from made_richness import richness_cube

RICHNESS = 10.0 ** np.array([-3, -2.5, -2, -1.5, 0, 1, 2, 2.5, 3])
LATTICE = 10.0 ** np.arange(-9, 4.1, 0.25)
STEPS = (0, 100, 400)


def graded(portrait, *numbers, depth=(3,), fits=("richness_exponents", "catapults"), **settings):
    cube = richness_cube(portrait, depth=depth, **{"rates": LATTICE, "richness": RICHNESS, "steps": STEPS} | settings)
    return rows_of(cube.assign_attrs(MIXTURE), quickly(cube, *fits), *numbers)


def test_powers_as_the_toy_has_them_pass_at_every_depth():
    rows = graded(Portrait(), 1, 2, 3, 4, 5, 8, depth=(2, 3, 4))
    assert verdicts(rows, "fail") == verdicts(rows, "not_measured") == set()
    assert rows["richness-01.1"]["reason"] == "finite 2.00, calm 2.00"
    assert rows["richness-03.3"]["reason"].startswith("1.000 ± ")
    assert rows["richness-05.8"]["reason"].startswith("9 of 9 values of the richness")
    assert rows["richness-08.7"]["reason"] == "at the largest finite learning rate -2.00"


@pytest.mark.parametrize(
    ("wrong", "failing"),
    [
        ({}, set()),
        ({"lazy": 2.2}, {"01", "04", "08"}),
        ({"rich": lambda layers: 2 / layers + 0.2}, {"02", "04"}),
        ({"best": (0.0, -0.1)}, {"04"}),
        ({"best": (0.2, 0.0)}, {"04"}),
        ({"least": (2.0, 1.25)}, {"05"}),
        ({"least": (1.75, 1.0)}, {"05"}),
        ({"drift": 0.9}, {"05"}),
        ({"finite": 1.0}, {"08"}),
        ({"peak": -1.5}, {"08"}),
        ({"calm": 2.2}, {"08"}),
    ],
)
def test_a_wrong_power_fails_its_claims_and_no_others(wrong, failing):
    rows = graded(Portrait(**wrong), 1, 2, 4, 5, 8)
    assert {name for name in verdicts(rows, "fail") if "." not in name} == failing
    assert rows["richness-01.1"]["reason"].endswith("2 layers, has 3")


def test_a_grid_of_one_depth_passes_for_itself():
    reason = graded(Portrait(), 1, fits=("richness_exponents",))["richness-01"]["reason"]
    assert reason == "1 of 3 pass; of another schedule or grid: richness-01.1, richness-01.3"


def test_powers_that_do_not_depend_on_the_depth_are_seen():
    rows = graded(Portrait(rich=lambda layers: 2 / 3), 2, 3, depth=(2, 3, 4), fits=("richness_exponents",))
    assert {"02.1", "02.3", "03.3", "03.5"} <= verdicts(rows, "fail")
    assert rows["richness-02.2"]["verdict"] == rows["richness-03.4"]["verdict"] == "pass"
    rows = graded(Portrait(rich=lambda layers: layers / 6), 3, depth=(2, 3, 4), fits=("richness_exponents",))
    assert {"03.1", "03.2"} <= verdicts(rows, "fail")


CLOSING = {
    "depth": (3, 4),
    "richness": 10.0 ** np.arange(1, 3.6, 0.25),
    "rates": 10.0 ** np.arange(-1, 3.5, 0.04),
    "steps": (0, 10, 14, 20, 28, 40, 400),
    "fits": ("richness_exponents",),
}


@pytest.mark.parametrize(("least", "failing"), [(1.0, set()), (1.25, {"06", "06.1", "06.2"})])
def test_the_strip_closes_as_a_power_of_the_steps(least, failing):
    rows = graded(Portrait(offset=0.4, least=(2.0, least)), 6, **CLOSING)
    assert verdicts(rows, "fail") == failing
    assert "seen " in rows["richness-06.1"]["reason"]


OPEN = {"richness": 10.0 ** np.arange(1, 3.1, 0.5), "rates": 10.0 ** np.arange(-3, 3.5, 0.04)}


def test_a_strip_that_is_open_everywhere_closes_where_its_lines_cross():
    rows = graded(Portrait(offset=-0.5), 6, **CLOSING | OPEN)
    assert verdicts(rows, "fail") == set()
    assert rows["richness-06.2"]["reason"].startswith("crossing 2.")


@pytest.mark.parametrize(
    ("wrong", "failing"), [({}, set()), ({"entropy": 1.3}, {"07", "07.1"}), ({"calm": 1.6}, {"07", "07.2"})]
)
def test_the_lazy_band_under_cross_entropy(wrong, failing):
    portrait = Portrait(**{"entropy": 1.0} | wrong)
    rows = graded(portrait, 1, 7, loss=["cross_entropy"], fits=("richness_exponents",))
    assert verdicts(rows, "fail") == failing
    assert rows["richness-07.1"]["reason"].endswith("in theory 400 steps leave γ² to 0.38 γ finite but untrained")
    assert rows["richness-01.2"]["reason"] == "needs loss mean_squared_error, has cross_entropy"


def test_both_losses_in_one_grid_are_told_apart():
    def either(point, replica, steps):
        return Portrait(entropy=1.0 if point["loss"] == "cross_entropy" else None)(point, replica, steps)

    losses = ["mean_squared_error", "cross_entropy"]
    rows = graded(either, 1, 7, loss=losses, fits=("richness_exponents",))
    assert verdicts(rows, "fail") == set()
    assert {"01.2", "07"} <= verdicts(rows, "pass")
    assert rows["richness-01.2"]["reason"] == "finite 2.00, calm 2.00"


def test_few_steps_and_one_replica_are_said_to_be_lacking():
    rows = graded(Portrait(), 1, fits=("richness_exponents",), steps=(0, 100, 200), replicas=1)
    reason = rows["richness-01.2"]["reason"]
    assert "steps, has 200; 2 replicas, has 1 (so far 2 ± " in reason
    assert rows["richness-01.1"]["reason"].endswith("2 layers, has 3; 2 replicas, has 1")
