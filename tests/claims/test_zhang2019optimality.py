import numpy as np
import pytest

from made_chaos import rows_of
from made_cubes import CONTROLS, chaos_cube

FLAGS = ("zero", "fixed_point", "cycle", "quasi_periodic", "chaos", "critical")
WIDTHS = (784, 784, 100, 784, 10)


def predecessor(*, replicas=10, epochs=21, cross=6.0, best=5, least=0.315, phases=(1, 2, 4), top=3.0):
    """The card chaos_predecessor: a norm that passes 1 at an epoch, a least loss at another, phases at 3, 6 and 13."""

    def course(point, replica, s):
        epoch = np.arange(s.size) + 0.0
        norm = np.minimum(np.interp(epoch, [0, cross, 20], [0.3, 1.0, max(top, 1)]), top)
        nothing = np.repeat(norm[:, None, None], len(CONTROLS), axis=1)
        return {
            "test_loss": least + 0.002 * np.abs(epoch - best),
            "jacobian_norm": np.repeat(nothing, 4, axis=2),
        }

    steps = 1875 * np.arange(epochs + 1)
    grid = {"learning_rate": [0.001], "momentum": [0.9]}
    cube = chaos_cube(course, grid=grid, times=steps, clock="step", replicas=replicas, widths=WIDTHS)
    flags = np.full((replicas, steps.size, len(CONTROLS)), -1)
    for epoch, phase in zip((3, 6, 13), phases, strict=True):
        flags[:, epoch:] = phase
    attrs = {"flag_values": np.arange(6), "flag_meanings": " ".join(FLAGS)}
    return cube.assign(dynamics=(("replica", "step", "control"), flags, attrs))


def rows(**wrong):
    return rows_of(predecessor(**wrong), {}, paper="zhang2019optimality")


def test_the_predecessor_as_it_says_passes():
    found = rows()
    assert found["chaos-20"]["verdict"] == "pass", found
    assert found["chaos-20.1"]["measured"] == pytest.approx(6)
    assert found["chaos-20.1"]["reason"] == "in 10 of 10 replicas"


@pytest.mark.parametrize(
    ("wrong", "failing"),
    [
        ({"cross": 16.0}, {1, 2}),
        ({"top": 0.9}, {1, 2, 4}),
        ({"best": 12}, {2}),
        ({"top": 5.0}, {4}),
        ({"least": 0.35}, {5}),
        ({"phases": (4, 4, 1)}, {6, 7, 8}),
    ],
)
def test_another_network_fails(wrong, failing):
    found = rows(**wrong)
    for part in failing:
        assert found[f"chaos-20.{part}"]["verdict"] == "fail", found[f"chaos-20.{part}"]


def test_few_repeats_show_what_they_have_seen():
    row = rows(replicas=1)["chaos-20.1"]
    assert row["verdict"] == "not_measured"
    assert row["reason"].startswith("needs 2 replicas, has 1")
    row = rows(epochs=10)["chaos-20.8"]
    assert row["reason"] == "needs 20 epochs, has 10"


def test_weights_that_were_not_recorded():
    cube = predecessor()
    cube["dynamics"][:] = -1
    row = rows_of(cube, {}, paper="zhang2019optimality")["chaos-20.6"]
    assert row["reason"] == "no weights were recorded at epoch 3"
    del cube["dynamics"]
    row = rows_of(cube, {}, paper="zhang2019optimality")["chaos-20.6"]
    assert row["reason"] == "needs observable dynamics"
