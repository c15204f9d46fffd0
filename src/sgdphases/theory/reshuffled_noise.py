"""SGD whose noise is that of a sampler: every epoch draws the same batches without replacement, in a new order or not.

With per-example gradients that do not change, the noises ξ of the T steps of an epoch (`steps_per_epoch`) sum to zero:
Cov(ξ_i, ξ_j) = s T/(T − 1) (δ_ij − 1/T). So directions that relax more slowly than an epoch, h below
`crossover_curvature`, do not diffuse over epochs. Words, steps and shapes are those of `momentum_sgd`; s (`noise`) is
the variance of one batch, see `batch_noise`. Derived; no such result is in Kunin et al., arXiv 2107.09133, whose noise
is independent.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.theory.langevin import checked
from sgdphases.theory.linear_recursion import accumulate, quadratic_form, whole
from sgdphases.theory.momentum_sgd import position_variance, step_sums

Floats = NDArray[np.float64]


def batch_noise(variance: ArrayLike, *, batch_size: ArrayLike, samples: ArrayLike) -> Floats:
    """Variance (Σ/S)(N − S)/(N − 1) of the mean of a batch of S of N samples drawn without replacement.

    Args:
        variance: Σ_ii, of per-example gradients over the data set (divided by N).
        batch_size: S.
        samples: N.

    Returns:
        s, of one batch of an epoch of T = N/S equal ones.
    """
    size, number = np.asarray(batch_size, dtype=np.float64), np.asarray(samples, dtype=np.float64)
    return np.asarray(variance, dtype=np.float64) / size * (number - size) / (number - 1)


def noise_autocorrelation(lag: ArrayLike, *, steps_per_epoch: ArrayLike) -> Floats:
    """Correlation −(1 − j/T)/(T − 1) of noises j < T steps apart in reshuffled epochs, over all places in the epoch.

    Args:
        lag: j ≥ 0.
        steps_per_epoch: T.

    Returns:
        1 at lag 0, 0 from T on; 1 + 2 Σ_{j≥1} of it is 0.
    """
    number, period = whole(lag, "lag"), whole(steps_per_epoch, "steps_per_epoch", least=2)
    return np.where(number == 0, 1.0, -np.maximum(1 - number / period, 0.0) / (period - 1))


def crossover_curvature(*, steps_per_epoch: ArrayLike, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Curvature (1 − β)/(ηT) of modes that relax in one epoch.

    Args:
        steps_per_epoch: T.
        learning_rate: η.
        momentum: β.

    Returns:
        h; flatter modes do not diffuse over epochs.
    """
    rate, inertia = checked(learning_rate, momentum)
    return (1 - inertia) / (rate * np.asarray(steps_per_epoch, dtype=np.float64))


def epoch_covariance(
    steps: ArrayLike,
    curvature: ArrayLike,
    noise: ArrayLike,
    *,
    steps_per_epoch: ArrayLike,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Floats:
    """Covariance that the first t ≤ T noises of an epoch leave, from rest.

    It is s T/(T − 1) [Σ_j g_j g_jᵀ − (Σ_j g_j)(Σ_j g_j)ᵀ/T] with g_j = Mʲn, j < t: of a flat mode without momentum the
    bridge η²s t(1 − t/T)T/(T − 1).

    Args:
        steps: t.
        curvature: h.
        noise: s.
        steps_per_epoch: T.
        learning_rate: η.
        momentum: β.

    Returns:
        Shape (..., 2, 2).

    Raises:
        ValueError: If t > T.
    """
    number, period = whole(steps, "steps"), whole(steps_per_epoch, "steps_per_epoch", least=2)
    if not np.all(number <= period):
        raise ValueError("steps must not exceed steps_per_epoch")
    rate, inertia = checked(learning_rate, momentum)
    sums = step_sums(number, curvature, 1.0, learning_rate=rate, momentum=inertia)
    pushed = sums.total @ _direction(rate)
    bridge = sums.covariance - pushed @ np.swapaxes(pushed, -1, -2) / period[..., None, None]
    scale = np.asarray(noise, dtype=np.float64) * period / (period - 1)
    return scale[..., None, None] * bridge


def reshuffled_covariance(
    steps: ArrayLike,
    curvature: ArrayLike,
    noise: ArrayLike,
    *,
    steps_per_epoch: ArrayLike,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Floats:
    """Covariance after any number of steps from rest, with a new order in every epoch.

    Args:
        steps: Steps since the start of the first epoch.
        curvature: h, 0 for a free mode.
        noise: s.
        steps_per_epoch: T.
        learning_rate: η.
        momentum: β.

    Returns:
        Shape (..., 2, 2).
    """
    epochs, rest = np.divmod(whole(steps, "steps"), whole(steps_per_epoch, "steps_per_epoch", least=2))
    words = {"learning_rate": learning_rate, "momentum": momentum}
    once = epoch_covariance(steps_per_epoch, curvature, noise, steps_per_epoch=steps_per_epoch, **words)
    before = accumulate(epochs, step_sums(steps_per_epoch, curvature, **words).power, once).covariance
    now = epoch_covariance(rest, curvature, noise, steps_per_epoch=steps_per_epoch, **words)
    return quadratic_form(step_sums(rest, curvature, **words).power, before) + now


def stationary_covariance(
    curvature: ArrayLike,
    noise: ArrayLike,
    *,
    steps_per_epoch: ArrayLike,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
    phase: ArrayLike = 0,
) -> Floats:
    """Covariance after many reshuffled epochs, t = `phase` steps into one.

    Args:
        curvature: h > 0.
        noise: s.
        steps_per_epoch: T.
        learning_rate: η.
        momentum: β.
        phase: t ≤ T; 0 is the boundary of epochs.

    Returns:
        Shape (..., 2, 2).

    Raises:
        ValueError: If a mode has no stationary state.
    """
    words = {"learning_rate": learning_rate, "momentum": momentum}
    if not np.all(np.isfinite(position_variance(curvature, 1.0, **words))):
        raise ValueError("curvature must be greater than 0 and less than stability_bound")
    once = epoch_covariance(steps_per_epoch, curvature, noise, steps_per_epoch=steps_per_epoch, **words)
    map_ = step_sums(steps_per_epoch, curvature, **words).power
    # vec(MPMᵀ) = (M ⊗ M) vec P, rows first.
    both = np.einsum("...ab,...cd->...acbd", map_, map_).reshape(*map_.shape[:-2], 4, 4)
    flat = np.linalg.solve(np.eye(4) - both, once.reshape(*once.shape[:-2], 4, 1))
    boundary = flat.reshape(*flat.shape[:-2], 2, 2)
    now = epoch_covariance(phase, curvature, noise, steps_per_epoch=steps_per_epoch, **words)
    return quadratic_form(step_sums(phase, curvature, **words).power, boundary) + now


def replacement_ratio(
    curvature: ArrayLike,
    *,
    steps_per_epoch: ArrayLike,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
    phase: ArrayLike = 0,
) -> Floats:
    """Stationary Var x of reshuffled epochs over that of batches drawn with replacement.

    Args:
        curvature: h > 0.
        steps_per_epoch: T.
        learning_rate: η.
        momentum: β.
        phase: Steps into an epoch.

    Returns:
        Ratio; small below `crossover_curvature`.
    """
    words = {"learning_rate": learning_rate, "momentum": momentum}
    own = stationary_covariance(curvature, 1.0, steps_per_epoch=steps_per_epoch, phase=phase, **words)
    return own[..., 0, 0] / position_variance(curvature, 1.0, **words)


def fixed_order_covariance(
    steps: ArrayLike,
    curvature: ArrayLike,
    noise: ArrayLike,
    *,
    steps_per_epoch: ArrayLike,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Floats:
    """Covariance, over orders, after any number of steps from rest with the same order in every epoch.

    An epoch adds the same w = Σ_j M^{T−1−j} n ξ_j each time, so e epochs leave Σ_{l<e} M^{Tl} w; t steps into the next
    E[w w_tᵀ] = s T/(T − 1) [M^{T−t} Σ_{j<t} g_j g_jᵀ − (Σ_{j<T} g_j)(Σ_{j<t} g_j)ᵀ/T], with g_j = Mʲn.

    Args:
        steps: Steps since the start of the first epoch.
        curvature: h, 0 for a free mode.
        noise: s.
        steps_per_epoch: T.
        learning_rate: η.
        momentum: β.

    Returns:
        Shape (..., 2, 2).
    """
    period = whole(steps_per_epoch, "steps_per_epoch", least=2)
    epochs, rest = np.divmod(whole(steps, "steps"), period)
    rate, inertia = checked(learning_rate, momentum)
    words = {"learning_rate": rate, "momentum": inertia}
    whole_epoch, part = (step_sums(number, curvature, 1.0, **words) for number in (period, rest))
    left = step_sums(period - rest, curvature, **words).power @ part.covariance
    pushed = (whole_epoch.total @ _direction(rate), part.total @ _direction(rate))
    scale = (np.asarray(noise, dtype=np.float64) * period / (period - 1))[..., None, None]
    shared = scale * (left - pushed[0] @ np.swapaxes(pushed[1], -1, -2) / period[..., None, None])
    carried = part.power @ accumulate(epochs, whole_epoch.power).total
    once = epoch_covariance(period, curvature, noise, steps_per_epoch=period, **words)
    now = epoch_covariance(rest, curvature, noise, steps_per_epoch=period, **words)
    cross = carried @ shared
    return quadratic_form(carried, once) + cross + np.swapaxes(cross, -1, -2) + now


def _direction(learning_rate: Floats) -> Floats:
    """The column n = (η, 1) of what a unit of noise does, shape (..., 2, 1)."""
    return np.stack([learning_rate, np.ones_like(learning_rate)], axis=-1)[..., None]
