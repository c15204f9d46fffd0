"""How far kernels, features and weights have moved from the start, and how they stand to the task.

Kernels and outputs are those of the first `PROBES` test samples, in float64. Definitions follow the analysis of arXiv
2410.04642; alignments are centred (CKA, Kornblith et al. 2019, eq. 1, 3). Each function takes a snapshot of r networks.
Letters in shapes: r network, l trained layer, n probe, o output.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sgdphases.observables.snapshot import Snapshot

PROBES = 200
"""Test samples on which kernels and outputs are measured."""

Array = np.ndarray


def ntk_alignment(snapshot: "Snapshot") -> Array:
    """Centred alignment of the tangent kernel, summed over outputs, with the kernel of the targets.

    Args:
        snapshot: The networks; classes count as one-hot rows.

    Returns:
        In [0, 1] (r,); NaN where all targets are alike, or the kernel is constant.
    """
    return _alignment(snapshot.tangent_kernel, _targets(snapshot))


def ntk_movement(snapshot: "Snapshot") -> Array:
    """One less the cosine between the tangent kernel and the initial one, not centred.

    Args:
        snapshot: The networks.

    Returns:
        In [0, 1] (r,): 0 for a kernel that has only grown.
    """
    cosine = _cosine(snapshot.tangent_kernel, snapshot.part.initial_tangent_kernel)
    return np.maximum(1 - cosine, 0.0)  # round-off; NaN stays


def ntk_growth(snapshot: "Snapshot") -> Array:
    """Frobenius norm of the tangent kernel over that of the initial one (r,)."""
    return _ratio(_norm(snapshot.tangent_kernel), _norm(snapshot.part.initial_tangent_kernel))


def feature_alignment(snapshot: "Snapshot") -> Array:
    """Centred alignment of what each trained layer reads with the targets.

    Args:
        snapshot: The networks; classes count as one-hot rows.

    Returns:
        In [0, 1] (r, l): the first layer's is that of the inputs, the last layer's that of the last hidden features.
    """
    targets, networks = _targets(snapshot), len(snapshot.part.networks)
    found = []
    for layer in snapshot.shard.network.trained_layers:
        features = snapshot.hidden(layer)[:, :PROBES]
        found.append(np.broadcast_to(_alignment(features @ features.swapaxes(1, 2), targets), networks))
    return np.stack(found, axis=1)


def weight_movement(snapshot: "Snapshot") -> Array:
    """Frobenius norm of what has been added to each trained layer's weights, over that of the initial ones (r, l)."""
    found = []
    for layer, matrix in snapshot.weights.items():
        before = np.asarray(snapshot.part.initial[layer], dtype=np.float64)
        found.append(_ratio(_norm(matrix - before), _norm(before)))
    return np.stack(found, axis=1)


def outputs(snapshot: "Snapshot") -> Array:
    """Outputs of the network, centred and scaled as they enter the loss (r, n, o)."""
    return snapshot.passes.output[:, : min(PROBES, snapshot.part.feature_data.samples)].numpy()


def _targets(snapshot: "Snapshot") -> Array:
    """Kernel of the targets (r or 1, n, n)."""
    targets = snapshot.targets[:, :PROBES]
    return targets @ targets.swapaxes(1, 2)


def _alignment(first: Array, second: Array) -> Array:
    """Centred cosine of kernels (r or 1, n, n)."""
    return _cosine(_centered(first), _centered(second))


def _centered(kernel: Array) -> Array:
    """Kernel of the same features less their mean over samples."""
    rows = kernel - kernel.mean(axis=1, keepdims=True)
    return rows - rows.mean(axis=2, keepdims=True)


def _cosine(first: Array, second: Array) -> Array:
    return _ratio(np.sum(first * second, axis=(1, 2)), _norm(first) * _norm(second))


def _norm(matrices: Array) -> Array:
    return np.linalg.norm(matrices, axis=(1, 2))


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Quotient, NaN where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)
