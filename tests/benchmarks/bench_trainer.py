"""Speed of the trainer against what a researcher would write and against the machine. Run me: takes a minute.

All numbers of a line are measured in one run, one after the other and in turns, so that their ratios mean something on
a machine that does other things too.
"""

import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # this is run as a program, and shares what tests are made of

from made_shards import paper_shard, tasks_of
from sgdphases.datasets.task import Task
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.trainer import train

ROUNDS = 3


def quick_shard(steps: int) -> Shard:
    """One of the twelve shards of dyson_quick: one learning rate, 12 initial scales, 10 replicas."""
    seeds = {f"seed_{stream}": list(range(10)) * 12 for stream in ("task", "weights", "order", "noise")}
    scales = [2.0 ** (number // 10 - 3) for number in range(120)]
    return paper_shard({"learning_rate": [1.0] * 120, "init_scale": scales, **seeds}, steps=steps)


def large_shard(steps: int, networks: int = 3) -> tuple[Shard, dict[int, Task]]:
    """Networks 784-784-10 at batch 32 in float32, cross-entropy, each with its own shuffling."""
    numbers = np.random.default_rng(0)
    inputs, targets = numbers.random((6000, 784), dtype=np.float32), numbers.integers(10, size=6000)
    own = list(range(networks))
    shard = Shard.from_dict(
        {
            "dataset": {},
            "network": {"widths": [784, 784, 10], "activation": "tanh", "bias": [False, True], "trained": [True, True]},
            "batch_size": 32,
            "dtype": "float32",
            "sampler": "reshuffle",
            "steps": steps,
            "record_steps": [0, steps],
            "networks": {
                "learning_rate": [0.01] * networks,
                "loss": ["cross_entropy"] * networks,
                "seed_task": [0] * networks,
                "seed_weights": own,
                "seed_order": [0] * networks,
                "seed_noise": own,
            },
        }
    )
    return shard, {0: Task(inputs, targets, inputs[:1], targets[:1])}


def trainer_rate(shard: Shard, tasks: dict[int, Task]) -> float:
    """Network-steps per second, without the preparation."""
    marks = []
    train(shard, tasks, device="cpu", on_progress=lambda progress: marks.append((time.perf_counter(), progress.step)))
    (begin, first), (end, last) = marks[0], marks[-1]
    return (last - first) * len(shard) / (end - begin)


def naive_rate(task: Task, steps: int) -> float:
    """Steps per second of one network in straightforward numpy: an einsum per layer and direction, the loss kept."""
    weights = [task.frozen[0], np.random.default_rng(1).standard_normal((16, 32)) / np.sqrt(32), task.frozen[2]]
    losses = []
    begin = time.perf_counter()
    for step in range(steps):
        rows = slice(4 * (step % 1000), 4 * (step % 1000) + 4)
        activations = [task.inputs[rows]]
        for layer, weight in enumerate(weights):
            hidden = np.einsum("ni,oi->no", activations[-1], weight)
            activations.append(np.tanh(hidden) if layer < 2 else hidden)
        error = activations[-1] - task.targets[rows]
        losses.append(0.5 * np.mean(np.sum(error**2, axis=1)))
        delta = np.einsum("no,oi->ni", error, weights[2]) * (1 - activations[2] ** 2)
        gradient = np.einsum("no,ni->oi", delta, activations[1]) / len(error)
        weights[1] = weights[1] - 0.1 * gradient
    return steps / (time.perf_counter() - begin)


def product_rate() -> float:
    """Flops per second of a large float32 matrix product on one thread."""
    left, right = torch.randn(1536, 1536), torch.randn(1536, 1536)
    torch.mm(left, right)
    begin = time.perf_counter()
    for _ in range(8):
        torch.mm(left, right)
    return 8 * 2 * 1536**3 / (time.perf_counter() - begin)


def side_by_side(processes: int, steps: int) -> float:
    """Network-steps per second of several shards at the same time, together."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return sum(pool.map(_one_of_several, [steps] * processes))


def _one_of_several(steps: int) -> float:
    shard = quick_shard(steps)
    return trainer_rate(shard, tasks_of(shard))


def main() -> None:
    """Measure and print."""
    if os.environ.get("OMP_NUM_THREADS") != "1":  # the libraries read it when they are loaded
        one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | one)
    shard = quick_shard(20_000)
    tasks = tasks_of(shard)
    pairs = [(trainer_rate(shard, tasks), naive_rate(tasks[0], 10_000)) for _ in range(ROUNDS)]
    rate, naive = (max(column) for column in zip(*pairs, strict=True))
    ratio = max(a / b for a, b in pairs)
    out = sys.stdout.write
    out(f"3-32-16-1, batch 4, float64: {rate / 1e6:.2f} million network-steps/s, ")
    out(f"naive loop {naive / 1e3:.1f} thousand: ratio {ratio:.0f} (at least 40)\n")
    out(f"two such shards side by side: {side_by_side(2, 20_000) / 1e6:.2f} million network-steps/s (at least 1.2)\n")
    large, large_tasks = large_shard(1024)
    flops = 32 * (4 * 784 * 784 + 6 * 784 * 10)  # forward and gradient; the read-out also hands its deltas down
    pairs = [(trainer_rate(large, large_tasks), product_rate()) for _ in range(ROUNDS)]
    share = max(flops * a / b for a, b in pairs)
    out(f"784-784-10, batch 32, float32: {max(pairs)[0]:.0f} network-steps/s, ")
    out(f"{share:.0%} of the flop rate of a large product, {max(b for _, b in pairs) / 1e9:.0f} GF/s (at least 60%)\n")


if __name__ == "__main__":
    main()
