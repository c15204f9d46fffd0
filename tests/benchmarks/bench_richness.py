"""Speed of a sweep over richness and learning rate against the machine and against a loop. Run me: takes a minute.

All numbers of a line are measured in one run, one after the other and in turns, so that their ratios mean something on
a machine that does other things too.
"""

import copy
import multiprocessing
import os
import sys
import time

import numpy as np
import torch
from bench_trainer import ROUNDS, product_rate, trainer_rate

from sgdphases.datasets.synthetic import gaussian_mixture
from sgdphases.datasets.task import Task
from sgdphases.ensemble.shard import Shard

DEPTHS, WIDTH, BATCH, STEPS = (2, 3, 4), 128, 64, 1280
RICHNESS = 10.0 ** np.arange(-2, 4.01, 0.5)
MIXTURE = {"classes": 10, "clusters": 2, "dim": 64, "separation": 0.5, "targets": "one_hot", "samples": STEPS * BATCH}


def sweep_shard(depth: int) -> tuple[Shard, dict[int, Task]]:
    """One round of the search of richness_quick in float32: every richness and two replicas at one learning rate."""
    count = 2 * len(RICHNESS)
    seeds = {f"seed_{stream}": [0, 1] * len(RICHNESS) for stream in ("task", "weights", "order", "noise")}
    richness = RICHNESS.repeat(2)
    shard = Shard.from_dict(
        {
            "dataset": {},
            "network": {
                "widths": [64, *[WIDTH] * (depth - 1), 10],
                "activation": "relu",
                "bias": [False] * depth,
                "trained": [True] * depth,
                "parametrisation": "mean_field",
                "centered": True,
            },
            "batch_size": BATCH,
            "dtype": "float32",
            "sampler": "one_pass",
            "steps": STEPS,
            "record_steps": [0, STEPS],
            "running": ["batch_loss", "test_loss"],
            "networks": {
                "richness": richness.tolist(),
                "learning_rate": (10 * np.minimum(richness**2, richness ** (2 / depth))).tolist(),
                "loss": ["mean_squared_error"] * count,
                **seeds,
            },
        }
    )
    return shard, {seed: gaussian_mixture(MIXTURE, seed=seed) for seed in (0, 1)}


def step_flops(depth: int) -> float:
    """Flops of the products of one update: forward, gradient, and deltas above the first layer."""
    widths = [64, *[WIDTH] * (depth - 1), 10]
    sizes = [a * b for a, b in zip(widths[:-1], widths[1:], strict=True)]
    return 2.0 * BATCH * (2 * sizes[0] + 3 * sum(sizes[1:]))


class Released(torch.nn.Module):
    """A multilayer network in the mean-field parametrisation, as one would write it."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        shapes = zip(widths[1:], widths[:-1], strict=True)
        self.theta = torch.nn.ParameterList([torch.randn(shape) for shape in shapes])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs (samples, outputs)."""
        for theta in self.theta[:-1]:
            inputs = torch.relu(inputs @ theta.T / theta.shape[1] ** 0.5)
        return inputs @ self.theta[-1].T / self.theta[-1].shape[1]


def loop_rate(depth: int, task: Task, steps: int = 400) -> float:
    """Steps per second of one network at a time in PyTorch: autograd, torch.optim, a frozen copy, the loss kept."""
    network = Released([64, *[WIDTH] * (depth - 1), 10])
    frozen = copy.deepcopy(network).requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD(network.parameters(), lr=WIDTH * 10.0)
    inputs, targets = torch.tensor(task.inputs, dtype=torch.float32), torch.tensor(task.targets, dtype=torch.float32)
    losses = []
    begin = time.perf_counter()
    for step in range(steps):
        rows = slice(BATCH * step, BATCH * (step + 1))
        optimizer.zero_grad()
        loss = ((network(inputs[rows]) - frozen(inputs[rows])) - targets[rows]).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return steps / (time.perf_counter() - begin)


def _shard_rate(depth: int) -> float:
    torch.set_num_threads(1)
    return trainer_rate(*sweep_shard(depth))


def main() -> None:
    """Measure and print."""
    if os.environ.get("OMP_NUM_THREADS") != "1":  # the libraries read it when they are loaded
        one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | one)
    torch.set_num_threads(1)
    out = sys.stdout.write
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for depth in DEPTHS:
            shard, tasks = sweep_shard(depth)
            rounds = [
                (
                    trainer_rate(shard, tasks),
                    loop_rate(depth, tasks[0]),
                    product_rate(),
                    sum(pool.map(_shard_rate, [depth] * 2)),
                )
                for _ in range(ROUNDS)
            ]
            one, loop, product, two = (max(column) for column in zip(*rounds, strict=True))
            share = max(step_flops(depth) * rate / flops for rate, _, flops, _ in rounds)
            ratio = max(both / slow for _, slow, _, both in rounds)
            out(f"{depth} layers: {one:.0f} network-steps/s on one core, {share:.0%} of the flop rate ")
            out(f"of a large product, {product / 1e9:.0f} GF/s (at least 60%); ")
            out(f"two shards side by side {two:.0f}, a loop {loop:.0f}: ")
            out(f"ratio {ratio:.1f} (at least 3)\n")


if __name__ == "__main__":
    main()
