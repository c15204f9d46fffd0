"""The paper's grid on a CPU and on a GPU: what may differ, and what may not.

Many of the 144 cells are chaotic: a change of the start by one unit in the last place grows. So both devices must
agree closely after a few steps on all cells, after many on those where such a change stays small, and elsewhere in the
mean over replicas.
"""

import numpy as np
import pytest
import torch

from made_shards import paper_shard, tasks_of
from sgdphases.ensemble.state import State
from sgdphases.ensemble.trainer import train

OCTAVES = 2.0 ** np.arange(12)
TEMPERATURES, SCALES = OCTAVES / 32, OCTAVES / 8
FEW, MANY = 20, 1000

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def grid_shard(replicas, steps):
    """All cells of the grid, replicas side by side."""
    cells = [(rate, scale, seed) for rate in 4 * TEMPERATURES for scale in SCALES for seed in range(replicas)]
    seeds = [seed for _, _, seed in cells]
    columns = {
        "learning_rate": [rate for rate, _, _ in cells],
        "init_scale": [scale for _, scale, _ in cells],
        "seed_task": seeds,
        "seed_weights": [1000 + number for number in range(len(cells))],
        "seed_order": seeds,
        "seed_noise": seeds,
    }
    return paper_shard(columns, steps=steps, **({"record_steps": [0, FEW, steps]} if steps > FEW else {}))


def trained(shard, tasks, device, state=None):
    """Weights of the trained layer at the records after the start, and which networks survived."""
    records = []
    final = train(shard, tasks, device=device, state=state, on_record=records.append)
    return {record.step: record.weights[1] for record in records if record.step}, final.alive


def difference(one, other):
    """Largest difference of each network's weights, relative to its largest weight."""
    scale = np.abs(one).max(axis=(1, 2))
    return np.abs(one - other).max(axis=(1, 2)) / scale


@pytest.fixture(scope="module")
def grid():
    """The grid after few and many steps on a CPU, and how far one unit in the last place has grown by then."""
    shard = grid_shard(1, MANY)
    tasks = tasks_of(shard)
    weights, alive = trained(shard, tasks, "cpu")
    start = train(paper_shard({k: v.tolist() for k, v in shard.networks.items()}, steps=0, record_steps=[0]), tasks)
    nudged = {name: np.nextafter(array, np.inf) for name, array in start.arrays.items()}
    moved, _ = trained(shard, tasks, "cpu", State(0, nudged, start.diverged_at))
    return shard, tasks, weights, alive, {step: difference(weights[step], moved[step]) for step in weights}


def test_one_unit_in_the_last_place_grows_where_training_is_chaotic(grid):
    *_, alive, grown = grid
    assert alive.all()
    assert (grown[FEW] < 1e-10).sum() > 120  # in the hottest cells it passes 1e-10 within 20 steps
    assert grown[FEW].max() < 1e-8
    tame = grown[MANY] < 1e-9
    assert 30 < tame.sum() < 120
    assert grown[MANY].max() > 1e-3


@needs_cuda
def test_a_gpu_takes_the_same_steps(grid):
    shard, tasks, weights, _, grown = grid
    there, _ = trained(shard, tasks, "cuda")
    assert (difference(weights[FEW], there[FEW]) < np.maximum(1e-10, 100 * grown[FEW])).all()
    tame = grown[MANY] < 1e-9
    assert difference(weights[MANY], there[MANY])[tame].max() < 1e-8


@needs_cuda
def test_a_gpu_gives_the_same_statistics():
    shard = grid_shard(10, MANY)
    tasks = tasks_of(shard)
    levels = []
    for device in ("cpu", "cuda"):
        weights, _ = trained(shard, tasks, device)
        spread = np.log(np.linalg.svd(weights[MANY], compute_uv=False)[:, 0]).reshape(144, 10)
        levels.append((spread.mean(axis=1), spread.std(axis=1, ddof=1) / np.sqrt(10)))
    (here, error), (there, other) = levels
    deviation = (here - there) / np.maximum(np.hypot(error, other), 1e-8)
    assert np.abs(deviation).max() < 5
    assert np.sqrt(np.mean(deviation**2)) < 1.3
