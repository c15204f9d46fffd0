"""How sharply the loss is curved: the ends of the Hessian's spectrum and the top of the Gauss-Newton matrix.

Over the first test samples (`LOSS_PROBES`), one network at a time, with the card's loss. Each function takes a
snapshot of r networks and returns N lambda, (r, ...): eigenvalues by the parameters theta (weights over their unit)
times the factor by which the learning rate is multiplied, so that gradient descent is stable below 2 / learning_rate
whatever the parametrisation. NaN where the iterations do not settle, and for networks that have diverged.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sgdphases.observables.snapshot import Snapshot

LOSS_PROBES = 512
"""Test samples, from the first on, over which the loss is taken, in float64."""

LEADING = 50
"""Eigenvalues of `hessian_spectrum`, as many as arXiv 2410.04642 shows in Fig. 3."""

Array = np.ndarray


def hessian_top(snapshot: "Snapshot") -> Array:
    """N times the largest eigenvalue of the Hessian (r,)."""
    return _each(snapshot, "hessian", "top")


def hessian_bottom(snapshot: "Snapshot") -> Array:
    """N times the lowest eigenvalue of the Hessian (r,); NaN also where it is lost beside a far larger top."""
    return _each(snapshot, "hessian", "bottom")


def gauss_newton_top(snapshot: "Snapshot") -> Array:
    """N times the largest eigenvalue of the Gauss-Newton part of the Hessian (r,)."""
    return _each(snapshot, "gauss_newton", "top")


def hessian_spectrum(snapshot: "Snapshot") -> Array:
    """N times the `LEADING` largest eigenvalues of the Hessian (r, LEADING), descending; NaN past the parameters."""
    return _each(snapshot, "hessian", count=LEADING)


def _each(snapshot: "Snapshot", matrix: str, end: str = "top", *, count: int = 0) -> Array:
    """One end of one matrix of every network (r,), or so many of its largest eigenvalues (r, count)."""
    # Here, because the library behind it takes seconds to import and few cards ask.
    from sgdphases.observables.landscape import extreme, landscapes, leading

    # A network that has diverged is handed over as zeros.
    rows = np.flatnonzero(np.any([weights.any(axis=(1, 2)) for weights in snapshot.weights.values()], axis=0))
    seeds, networks = snapshot.column("seed_weights"), len(snapshot.part.networks)
    found = np.full((networks, count) if count else networks, math.nan)
    for row, landscape in zip(rows, landscapes(snapshot, LOSS_PROBES, rows), strict=True):
        operator, seed = getattr(landscape, matrix)(), int(seeds[row])
        found[row] = leading(operator, count, seed)[0] if count else extreme(operator, end, seed)
    return snapshot.shard.network.rate_factor * found
