"""How SGD moves the coupling J of a weight matrix: growth, weight decay, and the decay that ends at the edge of chaos.

J² = N Var(W_ij). In the ordered phase it grows by k per unit of `epoch_time` τ = η t/((1 − α)B), t in epochs, that is
by k/S per unit of `flow_time` s = η steps/(1 − α) = Sτ: what moves W is the loss gradient, not its noise, which would
give η² and B⁻². A penalty λ‖W‖² (`l2_strength` λ, half of `weight_decay`, the coefficient in the gradient) adds −4λJ²
per flow time. η is `learning_rate`, α `momentum` (heavy ball), B `batch_size`, S `samples`.

Sources: Zhang, Feng, Chen, Lai, arXiv 2107.09437, Eqs. 4 to 9, and its released slopes; k is of its network and data.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

GROWTH_CONSTANT = 11.0
"""k of a 784-784-10 tanh network on Fashion-MNIST, from a straight line through τ ≤ 0.0625 (30 published slopes: median
11.0, deviation 0.3). The local slope is 22 in the first epoch, 10 at τ = 0.01 and 14 at τ = 0.12."""

STATIONARY_GROWTH_CONSTANT = 20.0
"""k in the stationary state with decay, 4SλJ²(∞), where the loss gradient stays larger: 19 to 21 over a decade of λ."""


def flow_time(steps: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Time s = η steps/(1 − α) of the gradient flow that SGD with momentum follows.

    Args:
        steps: Number of steps.
        learning_rate: η.
        momentum: α in [0, 1).

    Returns:
        s.
    """
    return np.asarray(steps, dtype=np.float64) * effective_learning_rate(learning_rate, momentum)


def effective_learning_rate(learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Step η/(1 − α) per unit of a constant gradient, once the velocity has come to −η g/(1 − α).

    Args:
        learning_rate: η.
        momentum: α in [0, 1).

    Returns:
        Flow time per step.

    Raises:
        ValueError: If the momentum is not in [0, 1) or the learning rate is negative.
    """
    rate, inertia = np.asarray(learning_rate, dtype=np.float64), np.asarray(momentum, dtype=np.float64)
    if not np.all((inertia >= 0) & (inertia < 1)):
        raise ValueError("momentum must be at least 0 and less than 1")
    _check_at_least_zero(learning_rate=rate)
    return rate / (1 - inertia)


def epoch_time(
    epoch: ArrayLike, *, learning_rate: ArrayLike, batch_size: ArrayLike, momentum: ArrayLike = 0.0
) -> Floats:
    """Time τ = η t/((1 − α)B) in which growth curves of all η, α and B fall on one: flow time per sample.

    Args:
        epoch: t.
        learning_rate: η.
        batch_size: B.
        momentum: α in [0, 1).

    Returns:
        τ.
    """
    size = np.asarray(batch_size, dtype=np.float64)
    _check_positive(batch_size=size)
    return np.asarray(epoch, dtype=np.float64) * effective_learning_rate(learning_rate, momentum) / size


def growth_per_epoch(
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    *,
    momentum: ArrayLike = 0.0,
    growth_constant: ArrayLike = GROWTH_CONSTANT,
) -> Floats:
    """Growth A = kη/((1 − α)B) of J² in one epoch of the ordered phase, without weight decay.

    Args:
        learning_rate: η.
        batch_size: B.
        momentum: α in [0, 1).
        growth_constant: k.

    Returns:
        A; from α = 0.93 on the published ones are up to 10 % larger.
    """
    time = epoch_time(1.0, learning_rate=learning_rate, batch_size=batch_size, momentum=momentum)
    return np.asarray(growth_constant, dtype=np.float64) * time


def squared_coupling(
    flow_time: ArrayLike,
    *,
    samples: ArrayLike,
    initial_squared_coupling: ArrayLike = 0.25,
    l2_strength: ArrayLike = 0.0,
    growth_constant: ArrayLike = GROWTH_CONSTANT,
) -> Floats:
    """J² after the flow time s: J²(0)e^{−4λs} + k(1 − e^{−4λs})/(4λS), and J²(0) + ks/S without decay.

    Over epochs s = S · `epoch_time`. A law of the ordered phase, J² < 1; in chaos growth is slower and depends on more
    than s.

    Args:
        flow_time: s.
        samples: S.
        initial_squared_coupling: J²(0).
        l2_strength: λ.
        growth_constant: k.

    Returns:
        J²(s).
    """
    s, strength = np.asarray(flow_time, dtype=np.float64), np.asarray(l2_strength, dtype=np.float64)
    size, start = np.asarray(samples, dtype=np.float64), np.asarray(initial_squared_coupling, dtype=np.float64)
    _check_positive(samples=size)
    _check_at_least_zero(flow_time=s, l2_strength=strength, initial_squared_coupling=start)
    exponent = 4 * strength * s
    # (1 − e^{−x})/x, which is 1 without decay.
    share = np.where(exponent > 0, -np.expm1(-exponent) / np.where(exponent > 0, exponent, 1.0), 1.0)
    return start * np.exp(-exponent) + np.asarray(growth_constant, dtype=np.float64) * s / size * share


def squared_coupling_rate(
    squared_coupling: ArrayLike,
    *,
    samples: ArrayLike,
    l2_strength: ArrayLike = 0.0,
    growth_constant: ArrayLike = GROWTH_CONSTANT,
) -> Floats:
    """Rate dJ²/ds = k/S − 4λJ² per unit of flow time.

    Args:
        squared_coupling: J².
        samples: S.
        l2_strength: λ.
        growth_constant: k.

    Returns:
        Rate; times ηS/((1 − α)B) it is that per epoch.
    """
    size, strength = np.asarray(samples, dtype=np.float64), np.asarray(l2_strength, dtype=np.float64)
    _check_positive(samples=size)
    _check_at_least_zero(l2_strength=strength)
    return np.asarray(growth_constant, dtype=np.float64) / size - 4 * strength * np.asarray(squared_coupling)


def edge_epoch(
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    *,
    momentum: ArrayLike = 0.0,
    initial_squared_coupling: ArrayLike = 0.25,
    critical_coupling: ArrayLike = 1.0,
    growth_constant: ArrayLike = GROWTH_CONSTANT,
) -> Floats:
    """Epochs t_e = (J_c² − J²(0))(1 − α)B/(kη) to the edge of chaos without weight decay.

    Args:
        learning_rate: η.
        batch_size: B.
        momentum: α in [0, 1).
        initial_squared_coupling: J²(0).
        critical_coupling: J_c; 1 for tanh up to J0/J = 1.
        growth_constant: k.

    Returns:
        Epochs; 0 beyond the edge.
    """
    slope = growth_per_epoch(learning_rate, batch_size, momentum=momentum, growth_constant=growth_constant)
    way = np.asarray(critical_coupling, dtype=np.float64) ** 2 - np.asarray(initial_squared_coupling)
    return np.maximum(way, 0.0) / slope


def stationary_squared_coupling(
    l2_strength: ArrayLike, *, samples: ArrayLike, growth_constant: ArrayLike = GROWTH_CONSTANT
) -> Floats:
    """J²(∞) = k/(4Sλ) at which growth and weight decay balance.

    Args:
        l2_strength: λ.
        samples: S.
        growth_constant: k; `STATIONARY_GROWTH_CONSTANT` is what measured stationary states have.

    Returns:
        J²(∞), infinite without decay.
    """
    strength, size = np.asarray(l2_strength, dtype=np.float64), np.asarray(samples, dtype=np.float64)
    _check_positive(samples=size)
    _check_at_least_zero(l2_strength=strength)
    with np.errstate(divide="ignore"):
        return np.asarray(growth_constant, dtype=np.float64) / (4 * size * strength)


def stationary_l2_strength(
    samples: ArrayLike, *, squared_coupling: ArrayLike = 1.0, growth_constant: ArrayLike = GROWTH_CONSTANT
) -> Floats:
    """Guideline λ* = k/(4SJ²) that lets J² rest at the edge, whatever η, α and B.

    Args:
        samples: S.
        squared_coupling: J² to rest at.
        growth_constant: k, measured in a short run without decay in the ordered phase.

    Returns:
        λ*, 4.6e-5 for 60000 samples; measured, J²(∞) = 1 needs 9e-5, because k is about 20 in the stationary state.
    """
    size, square = np.asarray(samples, dtype=np.float64), np.asarray(squared_coupling, dtype=np.float64)
    _check_positive(samples=size, squared_coupling=square)
    return np.asarray(growth_constant, dtype=np.float64) / (4 * size * square)


def relaxation_epochs(
    l2_strength: ArrayLike,
    *,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    samples: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Floats:
    """Epochs (1 − α)B/(4ληS) in which J² approaches its stationary value by a factor e.

    Args:
        l2_strength: λ.
        learning_rate: η.
        batch_size: B.
        samples: S.
        momentum: α in [0, 1).

    Returns:
        Epochs, infinite without decay.
    """
    time = epoch_time(1.0, learning_rate=learning_rate, batch_size=batch_size, momentum=momentum)
    strength, size = np.asarray(l2_strength, dtype=np.float64), np.asarray(samples, dtype=np.float64)
    _check_positive(samples=size)
    _check_at_least_zero(l2_strength=strength)
    with np.errstate(divide="ignore"):
        return 1 / (4 * strength * size * time)


def l2_strength(weight_decay: ArrayLike) -> Floats:
    """λ = weight_decay/2: the penalty λ‖W‖² has the gradient 2λW.

    Args:
        weight_decay: Coefficient of W in the gradient (PyTorch's).

    Returns:
        λ as Keras and the paper have it.
    """
    return np.asarray(weight_decay, dtype=np.float64) / 2


def decay_per_step(l2_strength: ArrayLike, *, learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> Floats:
    """Size of the largest eigenvalue of [[1 − 2ηλ, α], [−2ηλ, α]], the step of (w, velocity) under decay alone.

    Without momentum it is |1 − 2ηλ|, exactly the factor of w; with it, that after the velocity's first 1/(1 − α) steps.

    Args:
        l2_strength: λ.
        learning_rate: η.
        momentum: α in [0, 1).

    Returns:
        Factor of w in a step; 1 or more where the step is unstable.
    """
    step, inertia = 2 * np.asarray(l2_strength, dtype=np.float64) * np.asarray(learning_rate), np.asarray(momentum)
    effective_learning_rate(learning_rate, momentum)
    half = (1 - step + inertia) / 2
    root = np.sqrt(half**2 - inertia + 0j)
    return np.maximum(np.abs(half + root), np.abs(half - root))


def decay_per_epoch(
    l2_strength: ArrayLike,
    *,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    samples: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Floats:
    """Factor of J² in an epoch of S/B steps of decay alone, from the eigenvalue of `decay_per_step`.

    Args:
        l2_strength: λ.
        learning_rate: η.
        batch_size: B.
        samples: S.
        momentum: α in [0, 1).

    Returns:
        Factor of J².
    """
    step = decay_per_step(l2_strength, learning_rate=learning_rate, momentum=momentum)
    return step ** (2 * np.asarray(samples, dtype=np.float64) / np.asarray(batch_size))


def approximate_decay_per_epoch(
    l2_strength: ArrayLike,
    *,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    samples: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Floats:
    """Factor exp(−4ληS/((1 − α)B)) of J² in an epoch of decay alone, for ηλ ≪ (1 − α)².

    Args:
        l2_strength: λ.
        learning_rate: η.
        batch_size: B.
        samples: S.
        momentum: α in [0, 1).

    Returns:
        Factor of J²; in the published runs right to 1e-5.
    """
    time = epoch_time(1.0, learning_rate=learning_rate, batch_size=batch_size, momentum=momentum)
    return np.exp(-4 * np.asarray(l2_strength, dtype=np.float64) * np.asarray(samples) * time)


def _check_positive(**numbers: Floats) -> None:
    for name, values in numbers.items():
        if not np.all(values > 0):
            raise ValueError(f"{name} must be greater than 0")


def _check_at_least_zero(**numbers: Floats) -> None:
    for name, values in numbers.items():
        if not np.all(values >= 0):
            raise ValueError(f"{name} must be at least 0")
