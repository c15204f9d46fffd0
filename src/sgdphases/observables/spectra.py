"""Spectra of the trained matrices: levels, their spread, and how they stand to the Marchenko-Pastur law.

Levels x are squared singular values in descending order, float64. Letters in shapes: r network, l trained layer,
m mode.
"""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from sgdphases.theory import marchenko_pastur

if TYPE_CHECKING:
    from sgdphases.observables.snapshot import Snapshot

Array = np.ndarray


def decomposition(weights: Array) -> tuple[Array, Array, Array]:
    """Thin singular value decomposition in float64.

    Args:
        weights: (r, out, in).

    Returns:
        Left vectors (r, out, m), values in descending order (r, m), right vectors (r, m, in), m = min(out, in).
    """
    left, values, right = np.linalg.svd(np.asarray(weights, dtype=np.float64), full_matrices=False)
    return left, values, right


def levels(weights: Array) -> Array:
    """Squared singular values (r, m), descending, of matrices (r, out, in)."""
    return np.linalg.svd(np.asarray(weights, dtype=np.float64), compute_uv=False) ** 2


def eigenvalues(snapshot: "Snapshot") -> Array:
    """Squared singular values of every trained matrix (r, l, m), NaN beyond a layer's number of modes."""
    return stacked(snapshot.levels.values())


def teacher_eigenvalues(snapshot: "Snapshot") -> Array:
    """Squared singular values of the teacher's matrices (r, l, m); NaN where there is no teacher."""
    return stacked(snapshot.teacher_levels.values())


def log_spread_growth(snapshot: "Snapshot") -> Array:
    """Log of the spread x_max - x_min over the spread at the start, per trained layer (r, l); NaN without a spread."""
    start = snapshot.initial_levels
    return _by_layer(_log_ratio(_spread(now), _spread(start[layer])) for layer, now in _layers(snapshot))


def gap_ratio(snapshot: "Snapshot") -> Array:
    """`mean_gap_ratio` of the levels that are no outliers, per trained layer (r, l); GOE 0.531, independent 0.386."""
    return _by_layer(mean_gap_ratio(x, keep=~_outliers(snapshot, layer, x)) for layer, x in _layers(snapshot))


def bulk_scale(snapshot: "Snapshot") -> Array:
    """σ of the Marchenko-Pastur bulk by its median, in the units of init_scale (r, l): σ_W before training."""
    return _by_layer(np.sqrt(_bulk_variance(snapshot, layer, x)) for layer, x in _layers(snapshot))


def bulk_lower_edge(snapshot: "Snapshot") -> Array:
    """Lower edge of the fitted Marchenko-Pastur bulk in the units of x, per trained layer (r, l)."""
    return _by_layer(_edges(snapshot, layer, x)[0] for layer, x in _layers(snapshot))


def bulk_upper_edge(snapshot: "Snapshot") -> Array:
    """Upper edge of the fitted Marchenko-Pastur bulk in the units of x, per trained layer (r, l)."""
    return _by_layer(_edges(snapshot, layer, x)[1] for layer, x in _layers(snapshot))


def outlier_count(snapshot: "Snapshot") -> Array:
    """Levels beyond the fitted upper edge by more than its fluctuation, x > edge (1 + 2.5 K^(-2/3)) (r, l)."""
    return _by_layer(_outliers(snapshot, layer, x).sum(axis=1).astype(np.float64) for layer, x in _layers(snapshot))


def mean_gap_ratio(x: Array, *, keep: Array) -> Array:
    """Mean ratio of neighbouring spacings over the kept levels.

    Args:
        x: Levels, sorted (r, m).
        keep: Which levels belong to the bulk; they must be neighbours (r, m).

    Returns:
        (r,); NaN where fewer than three levels are kept or all spacings vanish.
    """
    spacing = np.where(keep[:, 1:] & keep[:, :-1], np.abs(np.diff(x, axis=1)), np.nan)
    smaller, larger = np.minimum(spacing[:, 1:], spacing[:, :-1]), np.maximum(spacing[:, 1:], spacing[:, :-1])
    ratio = np.divide(smaller, larger, out=np.full_like(larger, np.nan), where=larger > 0)
    known = np.isfinite(ratio)
    count = known.sum(axis=1)
    total = np.where(known, ratio, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(x), np.nan), where=count > 0)


def stacked(layers: Iterable[Array]) -> Array:
    """Layers of (r, m_l) as one array (r, l, m), padded with NaN to the largest m."""
    rows = list(layers)
    whole = np.full((len(rows[0]), len(rows), max(row.shape[1] for row in rows)), np.nan)
    for index, row in enumerate(rows):
        whole[:, index, : row.shape[1]] = row
    return whole


def _layers(snapshot: "Snapshot") -> Iterable[tuple[int, Array]]:
    return snapshot.levels.items()


def _by_layer(values: Iterable[Array]) -> Array:
    return np.stack(list(values), axis=1)


def _spread(x: Array) -> Array:
    return x[:, 0] - x[:, -1]


def _log_ratio(now: Array, start: Array) -> Array:
    known = (now > 0) & (start > 0)
    ratio = np.divide(now, start, out=np.full(now.shape, np.nan), where=known)
    return np.log(ratio, out=ratio, where=known)


@cache
def _median(ratio: float) -> float:
    """Median of the Marchenko-Pastur law of unit variance."""
    return marchenko_pastur.median(ratio)


def _law(snapshot: "Snapshot", layer: int) -> tuple[float, float]:
    """Variance at init_scale 1 and ratio of the Marchenko-Pastur law of one layer."""
    variance, ratio = marchenko_pastur.bulk_parameters(*snapshot.shard.network.shape(layer))
    return float(variance), ratio


def _bulk_variance(snapshot: "Snapshot", layer: int, x: Array) -> Array:
    """Square of the bulk's scale (r,), from the median level."""
    variance, ratio = _law(snapshot, layer)
    return np.median(x, axis=1) / (variance * _median(ratio))


def _edges(snapshot: "Snapshot", layer: int, x: Array) -> tuple[Array, Array]:
    variance, ratio = _law(snapshot, layer)
    return marchenko_pastur.edges(ratio, variance * _bulk_variance(snapshot, layer, x))


def _outliers(snapshot: "Snapshot", layer: int, x: Array) -> Array:
    """Which levels lie above the bulk (r, m)."""
    variance, ratio = _law(snapshot, layer)
    bulk = variance * _bulk_variance(snapshot, layer, x)
    return x > marchenko_pastur.outlier_threshold(x.shape[1], ratio, variance=bulk)[:, None]
