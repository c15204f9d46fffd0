"""Products with the Hessian until its thirty leading eigenpairs are known: Lanczos against the paper's way. Run me.

At the minimum of a 64-16-10 network on scikit-learn's digits, one thread; takes half a minute.
"""

import os
import sys
import time
from itertools import islice

import numpy as np
import torch

from sgdphases.datasets.images import digits
from sgdphases.datasets.registry import resolve
from sgdphases.ensemble.networks import initial_weights
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import Start
from sgdphases.observables.landscape import Landscape, alone, leading
from sgdphases.observables.minimum import polished
from sgdphases.observables.subspace import ITERATIONS, Pairs, subspace_iterations
from sgdphases.observables.surroundings import landscape_of

COUNT, RESIDUAL, DECAY = 30, 1e-3, 1e-3
SEED = 0
MOST = 3000
"""Iterations after which the paper's way counts as not getting there."""


class Counted:
    """An operator that counts its products with vectors."""

    def __init__(self, landscape: Landscape) -> None:
        self.operator = landscape.hessian()
        self.shape, self.matrix, self.products = self.operator.shape, self.operator.to_scipy(), 0

    def to_scipy(self) -> "Counted":
        """What the house's functions ask products of."""
        return self

    def matvec(self, vector: np.ndarray) -> np.ndarray:
        """H v."""
        self.products += 1
        return self.matrix.matvec(vector)

    def matmat(self, columns: np.ndarray) -> np.ndarray:
        """H V."""
        self.products += columns.shape[1]
        return self.matrix.matmat(columns)


def minimum() -> Landscape:
    """The loss around the minimum of the network of diffusion_quick."""
    network = {"kind": "mlp", "widths": [64, 16, 10], "activation": "tanh", "bias": [True] * 2, "trained": [True] * 2}
    columns = {name: [0] for name in ("seed_task", "seed_weights", "seed_order", "seed_noise")}
    columns |= {"learning_rate": [0.1], "loss": ["cross_entropy"]}
    steps = {"batch_size": 1, "steps": 0, "record_steps": [0]}
    shard = Shard.from_dict({"dataset": {"name": "digits"}, "network": network, "networks": columns, **steps})
    weights = {layer: initial_weights(shard.network, SEED, layer) for layer in range(2)}
    start = Start("bench", weights, {0: np.zeros(16), 1: np.zeros(10)})
    task = digits(resolve({"name": "digits", "targets": "classes"}), seed=0)
    return polished(landscape_of(shard, task, start), DECAY, 1e-13)


def worst(values: np.ndarray, residuals: np.ndarray) -> float:
    """Largest residual over its eigenvalue."""
    return float((residuals / np.abs(values)).max())


def by_lanczos(landscape: Landscape) -> tuple[int, float, float]:
    """Products, seconds and the worst residual of the house's way."""
    counted, begin = Counted(landscape), time.perf_counter()
    values, _, residuals = leading(counted, COUNT, SEED, residual=RESIDUAL)
    return counted.products, time.perf_counter() - begin, worst(values, residuals)


def by_subspace(landscape: Landscape, *, rayleigh_ritz: bool) -> tuple[int, float, float]:
    """The same of block power iteration."""
    counted, begin = Counted(landscape), time.perf_counter()
    with alone():
        found = subspace_iterations(counted.matmat, counted.shape[0], COUNT, SEED, rayleigh_ritz=rayleigh_ritz)
        for pairs in islice(found, MOST):
            if worst(pairs.values, pairs.residuals) <= RESIDUAL:
                break
    return counted.products, time.perf_counter() - begin, worst(pairs.values, pairs.residuals)


def after_ten(landscape: Landscape, *, rayleigh_ritz: bool) -> Pairs:
    """Where the paper stops."""
    operator = landscape.hessian().to_scipy()
    with alone():
        found = subspace_iterations(operator.matmat, operator.shape[0], COUNT, SEED, rayleigh_ritz=rayleigh_ritz)
        return next(islice(found, ITERATIONS - 1, None))


def main() -> None:
    """Measure and print."""
    if os.environ.get("OMP_NUM_THREADS") != "1":  # the libraries read it when they are loaded
        one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | one)
    torch.set_num_threads(1)
    out, landscape = sys.stdout.write, minimum()
    matrix = landscape.hessian().to_scipy().matmat(np.eye(len(landscape.flat)))
    values, vectors = (part[..., ::-1][..., :COUNT] for part in np.linalg.eigh((matrix + matrix.T) / 2))
    out(f"{len(matrix)} parameters, leading eigenvalues {values[0]:.4g} to {values[-1]:.4g}\n")
    out(f"after {ITERATIONS} iterations of {COUNT} vectors ({ITERATIONS * COUNT} products):\n")
    for name, how in (("as the paper", False), ("with Rayleigh-Ritz", True)):
        pairs = after_ten(landscape, rayleigh_ritz=how)
        overlap = np.abs((pairs.vectors * vectors).sum(axis=0))
        error = np.abs(np.abs(pairs.values) / values - 1)
        out(f"  {name:20} |<q1,u1>| {overlap[0]:.3f}, |<q{COUNT},u{COUNT}>| {overlap[-1]:.3f}, ")
        out(f"errors of eigenvalues {np.quantile(error, 0.1):.1%} to {np.quantile(error, 0.9):.1%}, ")
        out(
            f"negative {(pairs.values < 0).sum()} of {COUNT}, residual {worst(pairs.values, pairs.residuals):.2g} rho\n"
        )
    out(f"until all {COUNT} residuals are below {RESIDUAL:g} rho, those of the check included:\n")
    rows = {
        "Lanczos": by_lanczos(landscape),
        "with Rayleigh-Ritz": by_subspace(landscape, rayleigh_ritz=True),
        "as the paper": by_subspace(landscape, rayleigh_ritz=False),
    }
    for name, (products, seconds, residual) in rows.items():
        times = f"{products / rows['Lanczos'][0]:.1f} times the products of Lanczos"
        out(f"  {name:20} {products:7d} products, {seconds:7.2f} s, residual {residual:.1e} rho, {times}")
        out("\n" if residual <= RESIDUAL else f": not there after {MOST} iterations\n")


if __name__ == "__main__":
    main()
