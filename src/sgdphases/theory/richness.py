"""Learning rates and sharpness of a network as functions of the richness γ, by which its output is divided.

Toy: one weight w a layer, L layers (`depth`), one example, output f = (w^L − 1)/γ with w = 1 at the start, target 1.
γ ≪ 1 is lazy (linearised) training, γ ≫ 1 rich (feature learning). The L weights of the chain are equal and stay so;
sharpness is that of the chain, in all L weights. Losses ℓ(f): `half_squared_error` ½(f − 1)², and `cross_entropy` with
the soft label e/(1 + e), which has its least value at f = 1 too. η is `learning_rate`, T a number of `steps`; gradient
flow counts the `flow_time` ηt. The least learning rate is what reaches f = ½ in T steps, the largest what is stable at
the minimum. Its trajectories and times: `theory.richness_flow`; two weights that differ: `theory.catapult`.

Source: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642, the toy model and Table 1; read through its abstract, its
reviews and its released code, so that formulas marked "derived" are ours.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from sgdphases.choices import one_of
from sgdphases.quantities import LOSSES

Floats = NDArray[np.float64]

SOFT_LABEL = float(expit(1.0))
"""Share e/(1 + e) of the class that the toy's cross-entropy is for: its least value is at the output 1."""

TOY_LOSSES = ("half_squared_error", "cross_entropy")
REGIMES = ("lazy", "rich")


class Exponents(NamedTuple):
    """Powers of γ of three learning rates.

    Attributes:
        least: Of the least learning rate for a number of steps T, which goes as 1/T.
        critical: Of the learning rate from which on the linearised network is unstable at the start.
        largest: Of the largest learning rate that trains.
    """

    least: float
    critical: float
    largest: float


def learning_rate_exponents(depth: float, *, loss: str, regime: str) -> Exponents:
    """Table 1 of arXiv 2410.04642: powers of γ in the lazy and the rich regime, the same for all squared errors.

    Args:
        depth: L, at least 2. For L = 2 the least learning rate of the rich regime has a factor ln γ beside γ.
        loss: Word of the loss.
        regime: lazy (γ ≪ 1) or rich (γ ≫ 1).

    Returns:
        The exponents. Between γ² and γ the lazy cross-entropy catapults.
    """
    one_of(loss, LOSSES, "loss")
    _, layers = checked(1.0, depth, least=2)
    if one_of(regime, REGIMES, "regime") == "lazy":
        return Exponents(2.0, 2.0, 1.0 if loss == "cross_entropy" else 2.0)
    return Exponents(1.0, 2.0 / float(layers), 2.0 / float(layers))


def plateau_exponent(depth: ArrayLike) -> Floats:
    """Power 1 − 2/L of γ in the steps that the rich plateau lasts at the largest learning rate (0: as ln γ)."""
    return 1 - 2 / checked(1.0, depth)[1]


def closing_exponent(depth: ArrayLike) -> Floats:
    """Power L/(L − 2) of T in the richness where the triangle of trainable networks closes; infinite for L = 2."""
    layers = checked(1.0, depth, least=2)[1]
    with np.errstate(divide="ignore"):
        return layers / (layers - 2)


def equivalent_at_unit_richness(
    richness: ArrayLike, learning_rate: ArrayLike, init_scale: ArrayLike, *, depth: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """The network of richness 1 that trains alike, step by step: (1, ηγ^{−2/L}, σγ^{−1/L}); derived.

    Exact for every centred network that is homogeneous of degree L in its weights (ReLU or linear, no biases).

    Args:
        richness: γ.
        learning_rate: η.
        init_scale: σ, standard deviation of the initial weights.
        depth: L.

    Returns:
        Richness 1, its learning rate and its initial scale.
    """
    gamma, layers = checked(richness, depth)
    rate = np.asarray(learning_rate, dtype=np.float64) * gamma ** (-2 / layers)
    return np.ones_like(gamma), rate, np.asarray(init_scale, dtype=np.float64) * gamma ** (-1 / layers)


def early_time(steps: ArrayLike, *, learning_rate: ArrayLike, richness: ArrayLike) -> Floats:
    """Clock τ = ηt/γ of all rich networks while their output is small: until the first drop of the loss.

    Args:
        steps: t.
        learning_rate: η.
        richness: γ.

    Returns:
        τ.
    """
    return np.asarray(steps) * np.asarray(learning_rate, dtype=np.float64) / checked(richness, 1)[0]


def late_time(steps: ArrayLike, *, learning_rate: ArrayLike, richness: ArrayLike, depth: ArrayLike) -> Floats:
    """Clock ηγ^{−2/L}t of rich networks once they have left the plateau; derived.

    Args:
        steps: t, since the first drop.
        learning_rate: η.
        richness: γ.
        depth: L.

    Returns:
        Time.
    """
    return np.asarray(steps) * equivalent_at_unit_richness(richness, learning_rate, 1.0, depth=depth)[1]


def minimiser(richness: ArrayLike, depth: ArrayLike) -> Floats:
    """Each weight (1 + γ)^{1/L} at the minimum, where their product is 1 + γ; derived."""
    gamma, layers = checked(richness, depth)
    return np.exp(np.log1p(gamma) / layers)


def uniform_sharpness(richness: ArrayLike, depth: ArrayLike) -> Floats:
    """Eigenvalue L/γ² − (L − 1)/γ of the initial Hessian for all weights moving alike (squared error); derived."""
    gamma, layers = checked(richness, depth)
    return layers / gamma**2 - (layers - 1) / gamma


def initial_sharpness(richness: ArrayLike, depth: ArrayLike) -> Floats:
    """Top eigenvalue of the initial Hessian (squared error), J/γ² − (J − 1)/γ with J all ones; derived.

    Args:
        richness: γ.
        depth: L.

    Returns:
        `uniform_sharpness` for γ ≤ 1; 1/γ, that of the L − 1 other directions, beyond.
    """
    return _with_transverse(np.maximum, richness, depth)


def lowest_initial_sharpness(richness: ArrayLike, depth: ArrayLike) -> Floats:
    """Bottom eigenvalue of the initial Hessian (squared error): 1/γ for γ ≤ 1, `uniform_sharpness` beyond; derived."""
    return _with_transverse(np.minimum, richness, depth)


def tangent_kernel(output: ArrayLike, richness: ArrayLike, depth: ArrayLike) -> Floats:
    """Tangent kernel |∇f|² = L(1 + γf)^{2 − 2/L}/γ², which gradient flow lets grow from L/γ²; derived.

    Args:
        output: f, greater than −1/γ.
        richness: γ.
        depth: L.

    Returns:
        The kernel of the one example with itself.
    """
    gamma, layers = checked(richness, depth)
    grown = np.log1p(gamma * np.asarray(output, dtype=np.float64))
    return layers * np.exp((2 - 2 / layers) * grown - 2 * np.log(gamma))


def final_sharpness(richness: ArrayLike, depth: ArrayLike, *, loss: str = "half_squared_error") -> Floats:
    """Sharpness ℓ''(1) L(1 + γ)^{2 − 2/L}/γ² at the minimum: as γ⁻² lazy, as γ^{−2/L} rich; derived.

    Args:
        richness: γ.
        depth: L.
        loss: A word of TOY_LOSSES.

    Returns:
        The one eigenvalue that is not 0.
    """
    return loss_curvature(1.0, loss) * tangent_kernel(1.0, richness, depth)


def largest_learning_rate(richness: ArrayLike, depth: ArrayLike, *, loss: str = "half_squared_error") -> Floats:
    """Largest learning rate 2/`final_sharpness` that is stable at the minimum; derived.

    It is the bound of equal weights; with unequal ones a lazy cross-entropy trains up to ∝ γ (`theory.catapult`).

    Args:
        richness: γ.
        depth: L.
        loss: A word of TOY_LOSSES.

    Returns:
        η_max, of the squared error (2/L) γ²(1 + γ)^{−(2 − 2/L)}: powers 2 and 2/L that change at γ = 1.
    """
    return critical_learning_rate(final_sharpness(richness, depth, loss=loss))


def critical_learning_rate(kernel: ArrayLike, *, loss: str = "half_squared_error") -> Floats:
    """Learning rate 2/(ℓ''(1) Θ) from which on the linearised network is unstable; derived.

    Args:
        kernel: Tangent kernel Θ = |∇f|², at the start of the toy L/γ².
        loss: A word of TOY_LOSSES; its curvature is that at the minimum.

    Returns:
        η_crit.
    """
    return 2 / (loss_curvature(1.0, loss) * np.asarray(kernel, dtype=np.float64))


def largest_learning_rate_slope(richness: ArrayLike, depth: ArrayLike) -> Floats:
    """Local power 2 − (2 − 2/L) γ/(1 + γ) of γ in `largest_learning_rate`; derived."""
    gamma, layers = checked(richness, depth)
    return 2 - (2 - 2 / layers) * gamma / (1 + gamma)


def loss_slope(output: ArrayLike, loss: str = "half_squared_error") -> Floats:
    """ℓ'(f): f − 1, or σ(f) − σ(1) for the cross-entropy; derived.

    Args:
        output: f.
        loss: A word of TOY_LOSSES.

    Returns:
        The derivative of the loss by the output.
    """
    f = np.asarray(output, dtype=np.float64)
    return expit(f) - SOFT_LABEL if one_of(loss, TOY_LOSSES, "toy loss") == "cross_entropy" else f - 1


def loss_curvature(output: ArrayLike, loss: str = "half_squared_error") -> Floats:
    """ℓ''(f): 1, or σ(f)σ(−f) for the cross-entropy; derived.

    Args:
        output: f.
        loss: A word of TOY_LOSSES.

    Returns:
        The second derivative of the loss by the output.
    """
    f = np.asarray(output, dtype=np.float64)
    return expit(f) * expit(-f) if one_of(loss, TOY_LOSSES, "toy loss") == "cross_entropy" else np.ones_like(f)


def loss_value(output: ArrayLike, loss: str = "half_squared_error") -> Floats:
    """ℓ(f): ½(f − 1)², or ln(1 + e^f) − e/(1 + e) f for the cross-entropy.

    Args:
        output: f.
        loss: A word of TOY_LOSSES.

    Returns:
        The loss.
    """
    f = np.asarray(output, dtype=np.float64)
    is_entropy = one_of(loss, TOY_LOSSES, "toy loss") == "cross_entropy"
    return np.logaddexp(0.0, f) - SOFT_LABEL * f if is_entropy else (f - 1) ** 2 / 2


def _with_transverse(choice: np.ufunc, richness: ArrayLike, depth: ArrayLike) -> Floats:
    """The uniform eigenvalue and, where there are other directions, 1/γ: the larger or the smaller."""
    gamma, layers = checked(richness, depth)
    uniform = uniform_sharpness(gamma, layers)
    return np.where(layers > 1, choice(uniform, 1 / gamma), uniform)


def checked(richness: ArrayLike, depth: ArrayLike, *, least: int = 1) -> tuple[Floats, Floats]:
    """Positive richness and a depth of at least `least`, as float64.

    Args:
        richness: γ.
        depth: L.
        least: Smallest depth.

    Returns:
        Both.

    Raises:
        ValueError: Otherwise.
    """
    gamma, layers = np.asarray(richness, dtype=np.float64), np.asarray(depth, dtype=np.float64)
    if not np.all(gamma > 0):
        raise ValueError("richness must be greater than 0")
    if not np.all(layers >= least):
        raise ValueError(f"depth must be at least {least}")
    return gamma, layers
