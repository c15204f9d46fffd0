"""Training against C. Park, B. Lucini, G. Aarts, arXiv 2509.01349: corners of the phase diagram after 1e4 steps.

Reference values: own earlier code, 10 seeds, mean and standard deviation over seeds.
"""

import numpy as np
import pytest

from made_shards import paper_shard, tasks_of
from sgdphases.ensemble.trainer import train

SEEDS = 10
STEPS = 10_000
CORNERS = {"ferro": (1 / 8, 1 / 32), "hot": (1 / 8, 64.0), "spin_glass": (256.0, 1 / 32), "hot_glass": (256.0, 64.0)}


@pytest.fixture(scope="module")
def corners():
    """Per corner: training loss, gradient norm, overlap and growth of the spread, one value per seed."""
    seeds = list(range(SEEDS)) * len(CORNERS)
    shard = paper_shard(
        {
            "learning_rate": [4 * temperature for _, temperature in CORNERS.values() for _ in range(SEEDS)],
            "init_scale": [scale for scale, _ in CORNERS.values() for _ in range(SEEDS)],
            "seed_task": seeds,
            "seed_weights": [1000 + seed for seed in seeds],
            "seed_order": seeds,
            "seed_noise": seeds,
        },
        steps=STEPS,
        running=["epoch_train_loss", "epoch_gradient_norm"],
    )
    tasks = tasks_of(shard)
    records = []
    train(shard, tasks, device="cpu", on_record=records.append)
    found = {}
    for number, corner in enumerate(CORNERS):
        rows = slice(number * SEEDS, (number + 1) * SEEDS)
        start, end = records[0].weights[1][rows], records[1].weights[1][rows]
        found[corner] = {
            "loss": records[1].scalars["epoch_train_loss"][rows],
            "gradient": records[1].scalars["epoch_gradient_norm"][rows],
            "overlap": np.array([overlap(tasks[seed], start[seed], end[seed]) for seed in range(SEEDS)]),
            "growth": np.log(spread(end) / spread(start)),
        }
    return found


def overlap(task, start, end):
    """Dossier 2.5: mean product of initial and final features over the test set."""
    hidden = np.tanh(task.test_inputs @ task.frozen[0].T)
    return np.mean(np.tanh(hidden @ start.T) * np.tanh(hidden @ end.T))


def spread(weights):
    """Largest minus smallest squared singular value, per network."""
    squares = np.linalg.svd(weights, compute_uv=False) ** 2
    return squares[:, 0] - squares[:, -1]


def test_spin_glass_is_frozen(corners):
    assert corners["spin_glass"]["overlap"].mean() > 0.9
    assert np.abs(corners["spin_glass"]["growth"]).max() < 0.02


def test_hot_spectra_run_away(corners):
    assert corners["hot"]["growth"].min() > 14
    assert corners["hot"]["growth"].mean() == pytest.approx(15.7, abs=0.5)


def test_ferro_learns(corners):
    assert np.median(corners["ferro"]["loss"]) < 3e-4
    assert corners["ferro"]["growth"].min() > 1.5
    assert corners["ferro"]["growth"].max() < 4.5
    assert corners["ferro"]["overlap"].mean() == pytest.approx(0.006, abs=0.004)


@pytest.mark.parametrize(
    ("corner", "quantity", "mean", "spread"),
    [
        ("ferro", "loss", -3.88, 0.23),
        ("ferro", "gradient", -3.65, 0.18),
        ("hot", "loss", -1.41, 0.19),
        ("hot", "gradient", -3.36, 0.10),
        ("spin_glass", "loss", -0.47, 0.30),
        ("spin_glass", "gradient", -2.13, 0.28),
    ],
)
def test_loss_and_gradient(corners, corner, quantity, mean, spread):
    """Table 3.3: within four standard errors of the difference of two means of ten seeds."""
    found = np.log10(corners[corner][quantity])
    assert abs(found.mean() - mean) < 4 * np.sqrt((spread**2 + found.var(ddof=1)) / SEEDS)
