"""Mean square of one step: its level once velocities have forgotten the start, its growth since, and theory's level."""

from dataclasses import dataclass

import numpy as np

from sgdphases.fits.arrays import Floats, replica_mean
from sgdphases.fits.cells import STRETCHES, cells
from sgdphases.fits.intervals import Estimate, stacked
from sgdphases.fits.moments import BURN_IN
from sgdphases.fits.walks import Walks
from sgdphases.theory import langevin_displacement, momentum_displacement


@dataclass(frozen=True)
class Steps:
    """Mean squares of single steps.

    Attributes:
        level: E‖δ‖², (P,), by the scatter of replicas or of stretches of time.
        replicas: Of each replica, (R, P).
        growth: Relative growth over the whole run by a straight line through time, (P,); error by replicas.
    """

    level: Estimate
    replicas: Floats
    growth: Estimate


def one_step(walks: Walks) -> Steps:
    """Level of the local displacement from 5/(1 - β) steps on.

    Args:
        walks: With `local_displacement`.

    Returns:
        Level and growth; NaN where the run is too short.
    """
    blocks = walks.whole_runs("local_displacement")[..., 1:]
    levels, replicas = [], np.full(blocks.shape[:2], np.nan)
    growth = np.full(blocks.shape[:2], np.nan)
    for point, step in enumerate(walks.step):
        values = blocks[:, point, :, None]
        burn = np.array([BURN_IN / (1 - walks.momentum[point])])
        within = cells(step, np.isfinite(values).all(axis=(1, 2)), burn, np.array([STRETCHES]))
        levels.append(within.estimate(within.mean(values)))
        replicas[:, point] = within.by_replica(values)[:, 0]
        used = step[:-1] >= burn
        time = np.where(used, (step[1:] + step[:-1]) / 2, np.nan)
        relative = blocks[:, point] / replicas[:, point, None]
        growth[:, point] = _weighted_slopes(time, relative, np.diff(step)) * step[-1]
    joined = stacked(levels)
    level = Estimate(*(part[:, 0] for part in (joined.value, joined.error, joined.low, joined.high)))
    return Steps(level, replicas, replica_mean(growth))


def _weighted_slopes(x: Floats, y: Floats, weight: Floats) -> Floats:
    """Slopes of lines through (..., n), points weighing as much as the steps of their block."""
    known = np.isfinite(x)
    if known.sum() < 2:
        return np.full(y.shape[:-1], np.nan)
    share = weight[known] / weight[known].sum()
    arm = x[known] - (share * x[known]).sum()
    return (share * arm * y[..., known]).sum(axis=-1) / (share * arm**2).sum()


def exact_one_step(walks: Walks) -> Floats:
    """E‖δ‖² of the exact recursion with the measured noise; what noise no mode has counts as that of flat directions.

    Args:
        walks: With `noise_trace` and, where there are modes, `curvature` and `noise`.

    Returns:
        Mean squares, (P,); NaN where there is no `noise_trace`.
    """
    rest = walks.start("noise_trace")
    found = np.zeros(walks.points)
    if "curvature" in walks.cube and "noise" in walks.cube:
        own = walks.eigenvectors()
        noise = walks.start("noise")[own]
        rest = rest - noise.sum()
        found += _levels(walks, walks.curvature()[:, own], walks.batch_noise(noise)).sum(axis=-1)
    return found + _levels(walks, walks.weight_decay[:, None], walks.batch_noise(np.atleast_1d(rest)))[:, 0]


def _levels(walks: Walks, curvature: Floats, noise: Floats) -> Floats:
    """Mean squares of one step of modes, (P, M); a mode that is curved downwards counts as flat."""
    return momentum_displacement.one_step_displacement(
        np.maximum(curvature, 0.0),
        noise,
        learning_rate=walks.learning_rate[:, None],
        momentum=walks.momentum[:, None],
    )


def paper_one_step(walks: Walks, level: Floats) -> Floats:
    """E‖δ‖² ∝ η²/(S(1 - β²)) through the measured level of the reference point (the paper's Fig. 6).

    Args:
        walks: The walks.
        level: Measured levels, (P,).

    Returns:
        Mean squares, (P,).
    """
    unit = langevin_displacement.one_step_displacement(
        1 / walks.batch_size, learning_rate=walks.learning_rate, momentum=walks.momentum
    )
    return unit * level[walks.reference] / unit[walks.reference]


def speed_trace(walks: Walks, level: Floats) -> Floats:
    """Trace of the per-example covariance that a level of E‖δ‖² implies by Eq. 12 of the paper.

    Args:
        walks: The walks.
        level: Mean squares of one step, (P,).

    Returns:
        Traces, (P,).
    """
    batch = langevin_displacement.noise_trace(
        level, learning_rate=walks.learning_rate, batch_size=1, momentum=walks.momentum
    )
    return batch / walks.batch_noise(np.ones(1))[:, 0]
