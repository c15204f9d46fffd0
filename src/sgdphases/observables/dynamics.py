"""The dynamics of trained weights: the square map that a network's first layers are, and where its orbits go.

The layers 0 .. m - 1, m the largest below the number of layers with widths[m] = widths[0], map the space of images to
itself (arXiv 1909.05176, 2107.09437). Everything is measured on the trained matrices and on four controls of them
(`observables.controls`). Letters in shapes: r network, l trained layer, c control, m mode, p image.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from sgdphases.observables.orbits import Attractor, SquareMap
    from sgdphases.observables.snapshot import Snapshot

NO_PHASE, ZERO, FIXED_POINT, CYCLE, QUASI_PERIODIC, CHAOS, CRITICAL = range(-1, 6)

PHASES = {
    ZERO: "zero",
    FIXED_POINT: "fixed_point",
    CYCLE: "cycle",
    QUASI_PERIODIC: "quasi_periodic",
    CHAOS: "chaos",
    CRITICAL: "critical",
}
"""CF flag values and meanings of `dynamics`."""

TOP = 10
"""Singular values that are kept."""

VANISHED = 1e-10
"""Root mean square of the components below which a state counts as zero (the bound of 1909.05176's program)."""
ESCAPED = 100.0
"""Growth of a state, in units of one or of its start, past which its orbit has no attractor. Over the run on which the
exponent is measured an orbit that grew as fast as chaos must diverge to be certain would grow by e^11."""
CERTAIN = 10.0
"""e-folds by which two orbits must part during the averaged iterations for their chaos to be certain (convergence rule
of the dossier, T >= 10 / lambda): lambda above 0.011, which a large random matrix has from J = 1.13 on."""
NEUTRAL = 1.0
"""e-folds during the averaged iterations that cannot be told from none: start and end of the run are worth that."""
STEADY = 0.1
"""Largest relative change in the length of a step, from the first to the last fifth of the run, of an orbit that goes
round. An orbit that slows down as at the edge, ||x|| ~ t^(-1/2), loses a third."""

Array = np.ndarray


def map_layers(widths: Sequence[int]) -> int:
    """Layers of the square map of a network.

    Args:
        widths: Units per level, the input first.

    Returns:
        The largest m below the number of layers with widths[m] = widths[0]; 0 if there is none.
    """
    return max(level for level in range(len(widths) - 1) if widths[level] == widths[0])


def excess_kurtosis(snapshot: "Snapshot") -> Array:
    """Fourth central moment of all weights over the square of their variance, less 3, per trained layer (r, l)."""
    return np.array([[_kurtosis(matrix) for matrix in layer] for layer in snapshot.weights.values()]).T


def spectral_radius(snapshot: "Snapshot") -> Array:
    """Largest modulus of an eigenvalue of the map's matrix, or of the product of its matrices (r, c)."""
    return _of_maps(snapshot, lambda square: _spectral_radius(square.product))


def top_singular_values(snapshot: "Snapshot") -> Array:
    """Largest singular values of the map's matrix, or of the product of its matrices, descending (r, c, m)."""
    return _of_maps(snapshot, lambda square: _singular_values(square.product)[:TOP])


def asymptotic_distance(snapshot: "Snapshot") -> Array:
    """Mean distance of the orbits of an image and of the slightly perturbed image after a long time.

    Trust medians over images, not means: a tanh map without biases is odd, so that a perturbation may lead from a fixed
    point x to -x.

    Args:
        snapshot: The networks.

    Returns:
        Euclidean distance (r, c, p); NaN where an orbit left the range of float64.
    """
    return np.array([[found.distance for found in maps] for maps in snapshot.asymptotics])


def jacobian_norm(snapshot: "Snapshot") -> Array:
    """Frobenius norm of the map's Jacobian over sqrt(N) on the attractor (arXiv 1909.05176).

    Args:
        snapshot: The networks.

    Returns:
        For every image (r, c, p), at the fixed point where its orbit rests, otherwise the geometric mean along it; one
        at the edge of chaos of a large random matrix.
    """
    return np.array([[found.jacobian_norm for found in maps] for maps in snapshot.asymptotics])


def lyapunov(snapshot: "Snapshot") -> Array:
    """Largest Lyapunov exponent, natural logarithm per iteration, mean over the orbits that have one (r, c)."""
    return np.array([[_mean(found.exponent)[0] for found in maps] for maps in snapshot.attractors])


def lyapunov_error(snapshot: "Snapshot") -> Array:
    """Standard error of `lyapunov` from the spread over orbits (r, c); NaN for fewer than two."""
    return np.array([[_mean(found.exponent)[1] for found in maps] for maps in snapshot.attractors])


def dynamics(snapshot: "Snapshot") -> Array:
    """Phase of the dynamics, one of `PHASES`, -1 where the orbits have no attractor (r, c); see `phase`."""
    return np.array([[phase(found) for found in maps] for maps in snapshot.attractors])


def poincare(snapshot: "Snapshot") -> Array:
    """Projection of the states on the direction of the mean image, with the trained weights.

    Args:
        snapshot: The networks.

    Returns:
        Iterations 249 to 499 (r, p, 251); the section (arXiv 1909.05176, figure 2a) shows each against the one before.
    """
    return np.array([maps[0].section for maps in snapshot.asymptotics])


def phase(attractor: "Attractor") -> int:
    """What most of the orbits do.

    By itself an orbit has come to rest at zero or at a fixed point, or repeats itself, or has escaped. Those that do
    none of it are judged together by the mean of their exponents, lambda, and its standard error: chaos if lambda is
    above two errors and the run is long enough for that (`CERTAIN`); quasi-periodic if it is zero within two errors
    and the orbits do not slow down (`NEUTRAL`, `STEADY`). Everything else is critical, also where no kind of orbit has
    the majority.

    Args:
        attractor: The orbits of one map.

    Returns:
        A key of `PHASES`, or -1 if most orbits have escaped.
    """
    escaped = ~(attractor.end <= ESCAPED * np.maximum(attractor.start, 1.0))
    rules = [escaped, attractor.end < VANISHED, attractor.period == 1, attractor.period > 1]
    labels = np.select(rules, [NO_PHASE, ZERO, FIXED_POINT, CYCLE], default=CRITICAL)
    opened = labels == CRITICAL
    labels[opened] = _open_phase(attractor, opened)
    kinds, counts = np.unique(labels, return_counts=True)
    most = int(counts.argmax())
    return int(kinds[most]) if 2 * counts[most] > len(labels) else CRITICAL


def _open_phase(attractor: "Attractor", chosen: Array) -> int:
    """Phase of the orbits that did not close."""
    exponent, error = _mean(attractor.exponent[chosen])
    early, late = attractor.early[chosen].sum(), attractor.late[chosen].sum()
    # An error that is not known, as of a single orbit, fails every comparison.
    if exponent > np.maximum(2 * error, CERTAIN / attractor.averaged):
        return CHAOS
    neutral = abs(exponent) < np.maximum(2 * error, NEUTRAL / attractor.averaged)
    return QUASI_PERIODIC if neutral and abs(late - early) <= STEADY * early else CRITICAL


def _of_maps(snapshot: "Snapshot", function: Callable[["SquareMap"], ArrayLike]) -> Array:
    """A function of every map (r, c, ...)."""
    return np.array([[function(square) for square in maps] for maps in snapshot.square_maps])


def _kurtosis(matrix: Array) -> float:
    """Excess kurtosis of the entries, NaN where they are all the same."""
    square = (matrix - np.mean(matrix, dtype=np.float64)) ** 2
    return float(np.mean(square**2) / np.mean(square) ** 2 - 3)


def _spectral_radius(matrix: Array) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max()) if np.isfinite(matrix).all() else math.nan


def _singular_values(matrix: Array) -> Array:
    if not np.isfinite(matrix).all():
        return np.full(len(matrix), math.nan)
    return np.linalg.svd(matrix, compute_uv=False)


def _mean(values: Array) -> tuple[float, float]:
    """Mean and standard error of those that are known; NaN for none, or for the error of one."""
    known = values[np.isfinite(values)]
    mean = known.mean() if len(known) else math.nan
    return float(mean), float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else math.nan
