import numpy as np
import pytest

from made_chaos import rows_of
from made_cubes import chaos_cube

GRID = {"weight_decay": [0.0, 1.8e-4], "label_noise": [0.0, 0.2, 0.4], "learning_rate": [0.05]}


def noisy(*, replicas=3, epochs=200, shuffled=0.12, clean=0.9, gain=0.03):
    """The card chaos_label_noise: a network held at the edge avoids shuffled labels, the other learns them."""

    def course(point, replica, s):
        held = point["weight_decay"] > 0
        ones = np.ones(s.size)
        return {
            "coupling": ones,
            "test_accuracy": (0.85 + gain * held) * ones + 1e-3 * replica,
            "clean_train_accuracy": (clean if held else 0.99) * ones,
            "shuffled_train_accuracy": (shuffled if held else 0.8) * ones,
        }

    cube = chaos_cube(course, grid=GRID, times=18750 * np.arange(epochs // 10 + 1), clock="step", replicas=replicas)
    return rows_of(cube, {}, paper="zhang2023asymptotic")


def test_the_follow_up_as_it_says_passes():
    assert noisy()["chaos-21"]["verdict"] == "pass"


@pytest.mark.parametrize(
    ("wrong", "failing"), [({"shuffled": 0.3}, (1, 4)), ({"clean": 0.8}, (2, 5)), ({"gain": -0.01}, (3, 6))]
)
def test_a_network_that_learns_shuffled_labels_fails(wrong, failing):
    rows = noisy(**wrong)
    for part in range(1, 7):
        assert rows[f"chaos-21.{part}"]["verdict"] == ("fail" if part in failing else "pass")


def test_a_short_run_is_not_judged():
    rows = noisy(epochs=100, replicas=2)
    reason = rows["chaos-21.1"]["reason"]
    assert reason == "needs 37500 of flow time, has 1.875e+04; 3 replicas, has 2"
