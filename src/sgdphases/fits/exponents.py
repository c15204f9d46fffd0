"""The power c of E‖Δ‖² ∝ t^c by named protocols: each a linear form of logarithms at recorded steps.

A protocol draws a straight line of least squares in doubly logarithmic axes through a lattice of steps; between records
the logarithm is interpolated in the logarithm of the step. So c = Σ_t w_t ln E‖Δ_t‖² with weights that depend on the
records alone. Replicas are averaged first: means of slopes of single runs are biased. Protocols `paper_fig1` and
`paper_fig6` are those of the released code of Kunin et al., arXiv 2107.09133, with an epoch in place of 5005 steps.
"""

from dataclasses import dataclass

import numpy as np

from sgdphases.fits.arrays import Floats, logarithm
from sgdphases.fits.curves import mean_over
from sgdphases.fits.walks import Walks, named

PROTOCOLS = ("paper_fig1", "paper_fig6", "robust", "common")
"""Last two thirds of 20 samples an epoch after the first 21; every step of the second epoch; 40 steps a decade of each
point's own window, and of one window for all points, by which points can be compared."""

PROTOCOL = named("protocol", PROTOCOLS, "window and weights of the line")
"""Coordinates of the dimension `protocol`."""

SAMPLES_PER_EPOCH = 20
DROPPED = 21
EACH_DECADE = 40

MEMORIES, LEAST_MEMORIES = 50.0, 10.0
"""Memories 1/(1 - β) after which a start from rest no longer bends the curve, and after which it bends it little."""

SPAN, LEAST_SPAN = 4.0, 2.0
"""Ratio of the ends of the robust window that is wanted and that is needed."""

LEAST_RECORDS = 3

LOCAL = 1.5
"""Ratio of steps to either side over which a local power is taken."""


@dataclass(frozen=True)
class Protocols:
    """Windows and weights, over points, K protocols and recorded steps.

    Attributes:
        weight: Of the logarithms, (P, K, T); NaN where a protocol cannot be followed.
        first: First step of the window, (P, K).
        last: Last step of the window, (P, K).
        records: Recorded steps inside, (P, K).
    """

    weight: Floats
    first: Floats
    last: Floats
    records: np.ndarray


def protocols_of(walks: Walks) -> Protocols:
    """Windows and weights of every protocol.

    The robust window begins after 50/(1 - β) steps, or in a short run at a quarter of it but not before 10/(1 - β), and
    ends with the run; the common one is what all robust windows share. Batches of an epoch without replacement cancel,
    so that there whole epochs alone count, if there are at least three of them.

    Args:
        walks: The walks.

    Returns:
        The protocols.
    """
    shape = (walks.points, len(PROTOCOLS))
    weight = np.full((*shape, walks.step.shape[1]), np.nan)
    first, last = np.full((2, *shape), np.nan)
    records = np.zeros(shape, dtype=np.int64)
    common = _common(walks)
    for point, step in enumerate(walks.step):
        epoch = walks.steps_per_epoch[point]
        lattices = (_figure_1(step, epoch), _figure_6(step, epoch), robust_lattice(walks, point), common)
        for place, lattice in enumerate(lattices):
            if len(lattice) < LEAST_RECORDS:
                continue
            used = step > 0 if PROTOCOLS[place].startswith("paper") else whole_epochs(walks, point)
            inside = used & (step >= lattice[0] * (1 - 1e-9)) & (step <= lattice[-1] * (1 + 1e-9))
            records[point, place] = inside.sum()
            first[point, place], last[point, place] = lattice[[0, -1]]
            if inside.sum() >= LEAST_RECORDS:
                weight[point, place] = line_weights(step, used, lattice)
    return Protocols(weight, first, last, records)


def weights_by_length(walks: Walks) -> Floats:
    """Weights of protocol `paper_fig1` in runs that end at each record (Fig. 7), as those of `protocols_of`.

    Args:
        walks: The walks.

    Returns:
        (P, T, T), the run's end before the record that is weighted; NaN where a run is too short.
    """
    times = walks.step.shape[1]
    found = np.full((walks.points, times, times), np.nan)
    for point, step in enumerate(walks.step):
        for end in range(LEAST_RECORDS, times):
            part = step[: end + 1]
            lattice = _figure_1(part, walks.steps_per_epoch[point])
            inside = (part > 0) & (part >= lattice[0] * (1 - 1e-9)) if len(lattice) else np.zeros(len(part), bool)
            if len(lattice) >= LEAST_RECORDS and inside.sum() >= LEAST_RECORDS:
                found[point, end] = 0.0
                found[point, end, : end + 1] = line_weights(part, part > 0, lattice)
    return found


def _figure_1(step: Floats, epoch: float) -> Floats:
    if not np.isfinite(epoch):
        return np.empty(0)
    spacing = epoch / SAMPLES_PER_EPOCH
    # Records of the released code end one sample before the run does.
    numbers = np.arange(DROPPED, int(np.ceil(step[-1] / spacing - 1e-9)))
    return spacing * numbers[len(numbers) // 3 :]


def _figure_6(step: Floats, epoch: float) -> Floats:
    if not np.isfinite(epoch) or 2 * epoch > step[-1] * (1 + 1e-9):
        return np.empty(0)
    return np.arange(np.floor(epoch) + 1, np.floor(2 * epoch + 1e-9) + 1)


def robust_lattice(walks: Walks, point: int) -> Floats:
    """Steps of the robust window of a point, even in their logarithm; empty where the run is too short."""
    step, used = walks.step[point], whole_epochs(walks, point)
    memory = 1 / (1 - walks.momentum[point])
    end = step[used][-1] if used.any() else 0.0
    begin = np.clip(end / SPAN, LEAST_MEMORIES * memory, MEMORIES * memory)
    if used.any():
        begin = max(begin, step[used][0])
    return _even(begin, end)


def _common(walks: Walks) -> Floats:
    """Steps that all robust windows share; empty where they share too few, or one of them is empty."""
    lattices = [robust_lattice(walks, point) for point in range(walks.points)]
    if not all(len(lattice) for lattice in lattices):
        return np.empty(0)
    return _even(max(lattice[0] for lattice in lattices), min(lattice[-1] for lattice in lattices))


def _even(begin: float, end: float) -> Floats:
    """Steps even in their logarithm; none where the ends are too close."""
    if not end or end < LEAST_SPAN * begin:
        return np.empty(0)
    return np.geomspace(begin, end, int(np.ceil(EACH_DECADE * np.log10(end / begin))) + 1)


def whole_epochs(walks: Walks, point: int) -> np.ndarray:
    """Which records the robust protocol uses, (T,): all but the first one, or those at whole epochs."""
    step = walks.step[point]
    period = int(walks.period[point])
    if "sampler" in walks.cube.attrs and not walks.with_replacement and period > 1:
        whole = (step > 0) & (step % period == 0)
        if whole.sum() >= LEAST_RECORDS:
            return whole
    return step > 0


def line_weights(step: Floats, used: np.ndarray, lattice: Floats) -> Floats:
    """Weights of logarithms at records in the slope of a line through a lattice.

    Args:
        step: Recorded steps, (T,).
        used: Which of them are interpolated between, (T,).
        lattice: Steps through which the line is drawn, (L,), within the records used up to rounding.

    Returns:
        Shape (T,).
    """
    arm = np.log(lattice) - np.log(lattice).mean()
    found = np.zeros(len(step))
    found[used] = np.bincount(*_spread(step[used], lattice, arm / (arm**2).sum()), minlength=int(used.sum()))
    return found


def _spread(step: Floats, lattice: Floats, weight: Floats) -> tuple[np.ndarray, Floats]:
    """Places and shares of the records to both sides of each step of a lattice."""
    left = np.clip(np.searchsorted(step, lattice, side="right") - 1, 0, len(step) - 2)
    width = np.log(step[left + 1]) - np.log(step[left])
    share = np.clip((np.log(lattice) - np.log(step[left])) / width, 0.0, 1.0)
    return np.concatenate([left, left + 1]), np.concatenate([weight * (1 - share), weight * share])


def interpolated_logarithm(step: Floats, used: np.ndarray, lattice: Floats, mean: Floats) -> Floats:
    """Logarithm of a curve (..., T) at the steps of a lattice, (..., L); NaN where it is not positive."""
    logs = logarithm(mean[..., used])
    if not len(lattice):
        return np.empty((*logs.shape[:-1], 0))
    places, share = _spread(step[used], lattice, np.ones(len(lattice)))
    both = logs[..., places] * share
    return both[..., : len(lattice)] + both[..., len(lattice) :]


def exponents(mean: Floats, weight: Floats) -> Floats:
    """Powers by every protocol.

    Args:
        mean: E‖Δ‖² at the records, (..., P, T).
        weight: (P, K, T).

    Returns:
        (..., P, K); NaN where a weighted value is not positive.
    """
    logs = logarithm(mean)
    unknown = np.isnan(logs)
    found = np.einsum("...pt,pkt->...pk", np.where(unknown, 0.0, logs), weight)
    needed = np.einsum("...pt,pkt->...pk", unknown.astype(np.float64), (weight != 0).astype(np.float64))
    return np.where(needed > 0, np.nan, found)


def tangent_exponents(mean: Floats, weight: Floats, about: Floats) -> Floats:
    """Powers with the logarithm of every square replaced by its tangent at another square, for errors of small squares.

    Args:
        mean: Squares at the records, (P, T), of any sign.
        weight: (P, K, T).
        about: Squares where the tangents touch, (P, T).

    Returns:
        (P, K); NaN where a weighted square of `about` is not positive.
    """
    share = np.divide(mean - about, about, out=np.zeros(about.shape), where=about > 0)
    return exponents(about, weight) + np.einsum("pt,pkt->pk", np.nan_to_num(share), weight)


def uneven_weights(step: Floats, weight: Floats, share: Floats) -> Floats:
    """Weights of logarithms in lines through the records that protocols weigh, each counting by a share of its own.

    Args:
        step: (P, T).
        weight: Weights of the protocols, (P, K, T).
        share: How much every record counts, (P, T); 0 or NaN: not at all.

    Returns:
        (P, K, T); NaN where a protocol cannot be followed, or fewer than two records count.
    """
    x, count = logarithm(step)[:, None], np.nan_to_num(share)[:, None] * (np.nan_to_num(weight) != 0)
    x = np.where(count > 0, x, 0.0)
    total = count.sum(axis=-1, keepdims=True)
    centre = np.divide((count * x).sum(-1, keepdims=True), total, out=np.zeros(total.shape), where=total > 0)
    arm = np.where(count > 0, x - centre, 0.0)
    lever = (count * arm**2).sum(axis=-1, keepdims=True)
    fitted = (lever > 0) & np.isfinite(weight)
    return np.divide(count * arm, lever, out=np.full(weight.shape, np.nan), where=fitted)


def mean_exponents(samples: Floats, weight: Floats) -> Floats:
    """Powers of the mean over replicas, from (R, P, T) to (P, K)."""
    return exponents(mean_over(samples), weight)


def local_exponents(step: Floats, mean: Floats) -> Floats:
    """Powers by lines through the records within a factor of 1.5 of each.

    Args:
        step: (P, T).
        mean: E‖Δ‖², (P, T).

    Returns:
        (P, T); NaN at step 0 and where fewer than two records are near.
    """
    x, y = logarithm(step), logarithm(mean)
    known = np.isfinite(x) & np.isfinite(y)
    centre = np.where(known, x, 0.0).sum(axis=-1, keepdims=True) / np.maximum(known.sum(axis=-1, keepdims=True), 1)
    x, y = np.where(known, x - centre, 0.0), np.where(known, y, 0.0)
    parts = np.stack([known.astype(np.float64), x, y, x * x, x * y])
    sums = np.concatenate([np.zeros((*parts.shape[:-1], 1)), np.cumsum(parts, axis=-1)], axis=-1)
    ends = [
        np.stack([np.searchsorted(row, row * factor, side=side) for row in step])
        for factor, side in ((1 / LOCAL, "left"), (LOCAL, "right"))
    ]
    low, high = (np.take_along_axis(sums, end[None], axis=-1) for end in ends)
    count, first, height, square, both = high - low
    lever, arm = count * square - first**2, count * both - first * height
    usable = known & (count > 1.5) & (lever > 1e-12)
    return np.divide(arm, lever, out=np.full(arm.shape, np.nan), where=usable)
