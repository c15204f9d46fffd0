"""Stationary second moments of one point, mode by mode, beside what theories say of them.

Shapes: R replicas, B blocks, M modes, L theories.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sgdphases.fits.arrays import Floats
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.cells import STRETCHES, Cells, cells, mean_error, variance
from sgdphases.fits.intervals import Estimate, normal_estimate
from sgdphases.fits.walks import Walks
from sgdphases.theory import langevin, momentum_sgd, reshuffled_noise
from sgdphases.theory.diffusion_exponents import relaxation_rate

SUMS = (
    *("position_mean", "position_square", "velocity_mean", "velocity_square"),
    *("position_velocity", "circulation"),
)
"""Variables that the moments are made of."""

BURN_IN = 5.0
"""Memories 1/(1 - β) of the velocity, and for positions relaxation times, that are left out."""

STRETCH = 10.0
"""Relaxation times that a stretch of time must have to count as independent of its neighbours."""

LEAST_EFFECTIVE = 50.0
"""Effective samples of a variance of positions below which a mode is not identified."""

SIGNIFICANT, VARIANCE_TOLERANCE, MEAN_TOLERANCE = 3.0, 0.05, 0.2
"""Halves of a run differ where they do by more than three errors, and by more than 5 % of the variance or a fifth of
the standard deviation."""

THEORIES = ("exact", "paper", "exact_proportional", "paper_proportional", "sampler")
"""Exact recursion and the paper's Langevin equation, each with the measured noise and with noise σ²ρ; and the exact
recursion with the noise of the sampler, whose batches know of each other."""

RESAMPLES = 200

PHASES = 64
"""Places in an epoch over which the sampler's theory is averaged, at most."""

MEDIANS = (
    *(f"position_ratio_{theory}" for theory in THEORIES),
    *(f"velocity_ratio_{theory}" for theory in THEORIES),
    *("equipartition", "rotation_ratio"),
)
"""What is summed up over modes."""


@dataclass(frozen=True)
class Theory:
    """What theories say of one point.

    Attributes:
        position: Var x, (M, L); NaN where a mode has no stationary state.
        velocity: Var v, (M, L).
        rotation: Rotation per step, (M,).
    """

    position: Floats
    velocity: Floats
    rotation: Floats


@dataclass(frozen=True)
class Moments:
    """Moments of one point; estimates are (M,).

    Attributes:
        estimates: By name.
        effective: Effective samples of Var x.
        stationary: Whether both halves of the run agree, (M,).
        disagreement: Largest difference of halves in errors, (M,).
        replicas: Sums of each replica that `medians` needs, (R, 5, M).
        bias: What the error of the mean adds to Var x, (M,).
    """

    estimates: Mapping[str, Estimate]
    effective: Floats
    stationary: np.ndarray
    disagreement: Floats
    replicas: Floats
    bias: Floats


def relaxation_steps(walks: Walks, point: int) -> Floats:
    """Steps in which the mean of a mode falls by e, (M,); infinite where it does not."""
    decay = momentum_sgd.decay_per_step(walks.curvature()[point], **walks.words(point))
    falls = walks.confined()[point] & (decay < 1)
    return np.where(falls, -1 / np.log(np.where(falls, np.maximum(decay, 1e-300), 0.5)), np.inf)


def sample_rate(walks: Walks, point: int) -> Floats:
    """Effective samples of a variance of positions per step, (M,): ηh/(1 - β), at most 1 - β."""
    words = walks.words(point)
    rate = relaxation_rate(walks.curvature()[point], **words)
    return np.where(walks.confined()[point], np.minimum(rate, 1 - words["momentum"]), 0.0)


def theory_of(walks: Walks, point: int, strength: float) -> Theory:
    """What theories say of one point.

    Args:
        walks: The walks.
        point: Number of the point.
        strength: σ² of noise σ²ρ.

    Returns:
        The theory.
    """
    words, h = walks.words(point), np.where(walks.confined()[point], walks.curvature()[point], np.nan)
    own = walks.batch_noise(walks.start("noise"))[point]
    proportional = walks.batch_noise(strength * walks.start("curvature"))[point]
    position, velocity = [], []
    for noise in (own, proportional):
        position.append(momentum_sgd.position_variance(h, noise, **words))
        position.append(langevin.position_variance(h, noise, **words))
        velocity.append(momentum_sgd.velocity_variance(h, noise, **words))
        velocity.append(np.broadcast_to(langevin.velocity_variance(noise, momentum=words["momentum"]), h.shape))
    of_sampler = (position[0], velocity[0]) if walks.with_replacement else _sampled(walks, point, h, own)
    found = np.stack([*position, of_sampler[0]], axis=-1), np.stack([*velocity, of_sampler[1]], axis=-1)
    turn = momentum_sgd.rotation_per_step(np.where(np.isfinite(h), h, 0.0), **words)
    usable = (np.where(np.isfinite(part) & (part > 0), part, np.nan) for part in found)
    return Theory(*usable, np.where(np.isfinite(h), turn, np.nan))


def _sampled(walks: Walks, point: int, h: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Var x and Var v of reshuffled epochs, over all places in the epoch; none is known of a fixed order."""
    period, nothing = int(walks.period[point]), np.full(h.shape, np.nan)
    words = walks.words(point)
    stable = np.isfinite(h) & np.isfinite(momentum_sgd.position_variance(h, 1.0, **words))
    if walks.sampler != "reshuffle" or period < 2 or not stable.any():
        return nothing, nothing
    phase = np.unique(np.rint(np.linspace(0, period, min(period, PHASES) + 1)).astype(np.int64))
    each = reshuffled_noise.stationary_covariance(
        h[stable], noise[stable], steps_per_epoch=period, phase=phase[:, None], **words
    )
    mean = np.trapezoid(each, phase, axis=0) / period
    found = np.stack([nothing, nothing])
    found[:, stable] = mean[:, 0, 0], mean[:, 1, 1]
    return found[0], found[1]


def moments_of(walks: Walks, point: int, theory: Theory) -> Moments:
    """Moments of one point.

    Args:
        walks: With `SUMS`.
        point: Number of the point.
        theory: What theories say of it.

    Returns:
        The moments; NaN where too little of a run is left after the burn-in.
    """
    sums = {name: walks.values(name)[point, :, 1:].astype(np.float64) for name in SUMS}
    alive = np.logical_and.reduce([np.isfinite(each).all(axis=(1, 2)) for each in sums.values()])
    step, words = walks.step[point], walks.words(point)
    early = np.full(len(theory.rotation), BURN_IN / (1 - words["momentum"]))
    late = np.maximum(early, BURN_IN * relaxation_steps(walks, point))
    rate = sample_rate(walks, point)
    stretches = np.clip((step[-1] - np.minimum(late, step[-1])) * rate / STRETCH, 1, STRETCHES).astype(np.int64)
    whole = cells(step, alive, late, stretches)
    quick = cells(step, alive, early, np.full(len(early), STRETCHES))
    estimates, bias = _estimates(sums, whole, quick, walks, point, theory)
    middle = np.where(np.isfinite(late), (late + step[-1]) / 2, np.inf)
    few = np.maximum(stretches // 2, 1)
    halves = (cells(step, alive, late, few, middle), cells(step, alive, middle, few))
    stationary, disagreement = _compared(sums, halves)
    names = ("position_square", "position_mean", "velocity_square", "circulation")
    parts = [whole.by_replica(sums[name]) for name in names] + [quick.by_replica(sums["velocity_square"])]
    replicas = np.stack(parts, axis=1)[alive]
    return Moments(estimates, whole.steps * rate, stationary, disagreement, replicas, bias)


def _estimates(
    sums: Mapping[str, Floats], whole: Cells, quick: Cells, walks: Walks, point: int, theory: Theory
) -> tuple[dict[str, Estimate], Floats]:
    """All estimates of single modes, and the square of the error of the mean."""
    words, h = walks.words(point), walks.curvature()[point]
    mean = whole.mean(sums["position_mean"])
    spread = np.nan_to_num(mean_error(whole, mean))
    x = variance(whole.mean(sums["position_square"]), mean, spread)
    slow, speed = whole.mean(sums["velocity_mean"]), whole.mean(sums["velocity_square"])
    v = speed - slow * slow
    cross = whole.mean(sums["position_velocity"]) - mean * slow
    free = quick.mean(sums["velocity_square"])
    scale = (x * v).power(-0.5)
    turn = whole.mean(sums["circulation"]) * scale
    energy = h / langevin.mass(**words)
    # Each step's (x_k + x_{k-1})v_k is a difference of squares: stretches of time are anything but independent.
    half = (cross - v.times(words["learning_rate"] / 2)) * scale
    found = {
        "position_mean": whole.estimate(mean),
        "position_variance": whole.estimate(x),
        "velocity_variance": quick.estimate(free),
        "position_velocity_covariance": whole.estimate(cross),
        "half_step_correlation": normal_estimate(half.value, mean_error(whole, half)),
        "equipartition": whole.estimate((x * v.power(-1.0)).times(np.where(walks.confined()[point], energy, np.nan))),
        "rotation": whole.estimate(turn),
        "rotation_ratio": whole.estimate(turn.times(1 / theory.rotation)),
    }
    return found, spread**2


def _compared(sums: Mapping[str, Floats], halves: tuple[Cells, Cells]) -> tuple[np.ndarray, Floats]:
    """Whether Var x, Var v and the mean of x are those of both halves, and by how many errors they differ at most."""
    means = [within.mean(sums["position_mean"]) for within in halves]
    spreads = [mean_error(within, mean) for within, mean in zip(halves, means, strict=True)]
    squares = [within.mean(sums["position_square"]) for within in halves]
    x = [variance(*each) for each in zip(squares, means, spreads, strict=True)]
    v = [within.mean(sums["velocity_square"]) for within in halves]
    deviation = np.sqrt(np.maximum((x[0].value + x[1].value) / 2, 0.0))
    largest, differs = np.zeros(len(deviation)), np.zeros(len(deviation), dtype=bool)
    for pair, unit, tolerance in (
        (x, deviation**2, VARIANCE_TOLERANCE),
        (v, (v[0].value + v[1].value) / 2, VARIANCE_TOLERANCE),
        (means, deviation, MEAN_TOLERANCE),
    ):
        error = np.hypot(*(within.estimate(each).error for within, each in zip(halves, pair, strict=True)))
        apart = np.abs(pair[1].value - pair[0].value)
        largest = np.fmax(largest, np.divide(apart, error, out=np.zeros_like(apart), where=error > 0))
        differs |= (apart > SIGNIFICANT * error) & (apart > tolerance * unit)
    known = np.isfinite(deviation) & np.isfinite(x[0].value) & np.isfinite(x[1].value)
    return known & ~differs, np.where(known, largest, np.nan)


def medians(walks: Walks, point: int, found: Moments, theory: Theory, gate: np.ndarray) -> Estimate:
    """Medians over modes of `MEDIANS`, with the error of a bootstrap over replicas.

    With a single replica the error is that of a median of independent modes by their scatter.

    Args:
        walks: The walks.
        point: Number of the point.
        found: Its moments.
        theory: What theories say of it.
        gate: Which modes count, (M,).

    Returns:
        The medians, (len(MEDIANS),); NaN where no mode counts.
    """
    size = len(MEDIANS)
    if not gate.any() or not len(found.replicas):
        return normal_estimate(np.full(size, np.nan), np.full(size, np.nan))
    energy = (walks.curvature()[point] / langevin.mass(**walks.words(point)))[gate]
    position, velocity, rotation = theory.position[gate].T, theory.velocity[gate].T, theory.rotation[gate]
    bias = found.bias[gate]

    def single(sample: Floats) -> Floats:
        square, mean, speed, turn, free = sample.mean(axis=0)
        x = np.maximum(square - mean**2 + bias, 1e-300)
        return np.concatenate(
            [x / position, free / velocity, [energy * x / speed, turn / np.sqrt(x * speed) / rotation]]
        )

    return _median(single, found.replicas[..., gate])


def _median(single: Callable[[Floats], Floats], sample: Floats) -> Estimate:
    """Median over the last axis of a statistic of replicas."""
    made = bootstrap(lambda each: np.median(single(each), axis=-1), sample, resamples=RESAMPLES)
    if len(sample) > 1:
        return made
    each = single(sample)
    count = each.shape[-1]
    spread = each.std(axis=-1, ddof=1) * np.sqrt(np.pi / (2 * count)) if count > 1 else np.full(len(each), np.nan)
    return normal_estimate(made.value, spread)
