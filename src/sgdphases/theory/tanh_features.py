"""Features as soft spins: what tanh makes of Gaussian pre-activations.

The features φ = tanh(z) of a layer behave as spins in (−1, 1): for narrow z they have one peak at 0, for wide z two at
±1. Source: Park, Lucini, Aarts, arXiv 2509.01349, Fig. 1 and the released analysis.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

CRITICAL_VARIANCE = 0.5
"""Pre-activation variance at which the density of tanh(z) turns from one peak to two (exact)."""


def tanh_density(feature: ArrayLike, variance: float) -> Floats:
    """Density of φ = tanh(z) for z ~ N(0, σ_z²): exp(−atanh²φ/2σ_z²) / ((1 − φ²)√(2πσ_z²)).

    Args:
        feature: φ in (−1, 1).
        variance: σ_z² > 0.

    Returns:
        Density per unit of φ.
    """
    phi = np.asarray(feature, dtype=np.float64)
    return np.exp(-(np.arctanh(phi) ** 2) / (2 * variance)) / ((1 - phi**2) * np.sqrt(2 * np.pi * variance))


def tanh_density_curvature(variance: ArrayLike) -> Floats:
    """Second derivative of `tanh_density` at φ = 0: (2 − 1/σ_z²)/√(2πσ_z²), zero at σ_z² = 1/2.

    Args:
        variance: σ_z² > 0.

    Returns:
        Negative below the critical variance (one peak), positive above (two).
    """
    spread = np.asarray(variance, dtype=np.float64)
    return (2 - 1 / spread) / np.sqrt(2 * np.pi * spread)


def critical_init_scale(mean_square_input: ArrayLike = 1.0) -> Floats:
    """Initial scale at which the features of a layer turn from one peak to two, √(1/(2⟨h²⟩)).

    The published line takes the variance of the weights for that of the pre-activations (⟨h²⟩ = 1): 1/σ = √2. With
    the mean square 0.343 of the layer's inputs in the 3-32-16-1 network it lies at 1/σ = 0.83 (for the 128 test
    inputs of the published analysis, mean square 0.323, at 0.80).

    Args:
        mean_square_input: ⟨h²⟩ of the layer's inputs.

    Returns:
        σ, the standard deviation of the weights times √fan_in.
    """
    return np.sqrt(CRITICAL_VARIANCE / np.asarray(mean_square_input, dtype=np.float64))


def mean_square_tanh(variance: ArrayLike) -> Floats:
    """Second moment E[tanh² z] for z ~ N(0, variance).

    Written as 1 − E[sech² z], whose integrand decays over min(√variance, 1), so that the trapezoidal rule converges
    to rounding for any variance.

    Args:
        variance: σ_z² ≥ 0.

    Returns:
        Between 0 and 1, absolute error below 1e-12.
    """
    spread = np.sqrt(np.asarray(variance, dtype=np.float64))[..., None]
    positive = np.where(spread > 0, spread, 1.0)
    scale = np.minimum(positive, 1.0)
    points = np.linspace(-20.0, 20.0, 641)
    z = scale * points
    weights = scale * (points[1] - points[0]) * np.exp(-((z / positive) ** 2) / 2) / (np.sqrt(2 * np.pi) * positive)
    inside = np.where(positive > 1.0, 1 - (weights / np.cosh(z) ** 2).sum(-1, keepdims=True), 0.0)[..., 0]
    narrow = (weights * np.tanh(z) ** 2).sum(axis=-1)
    wide = spread[..., 0] > 1.0
    return np.where(spread[..., 0] > 0, np.where(wide, inside, narrow), 0.0)


def first_feature_mean_square(input_width: int, *, init_scale: float = 1.0) -> float:
    """Mean square ⟨h²⟩ of h = tanh(Mx) over Gaussian inputs x ~ N(0, 1) and matrices M ~ N(0, init_scale²/width).

    Given x the pre-activations have variance init_scale²|x|²/width, and |x|² is χ² distributed.

    Args:
        input_width: Number of inputs.
        init_scale: Scale of M.

    Returns:
        0.343 for three inputs and scale 1.
    """
    squares, weights = _chi_square_rule(input_width)
    return float(weights @ mean_square_tanh(init_scale**2 * squares / input_width))


def initial_overlap(
    init_scale: ArrayLike, *, input_width: int = 3, first_scale: float = 1.0, input_mean_square: ArrayLike | None = None
) -> Floats:
    """Overlap q(0) of the initial features with themselves: E over inputs of E[tanh² z], two layers deep.

    For an input x the first features have the mean square h²(x) = E[tanh²], and the second pre-activations the variance
    σ²h²(x). Exact for a wide first layer; at width 32 it is 0.002 too high. A small test set has its own inputs: the
    128 of the published analysis (seed 42) are shorter than the average and lower q(0) by up to 0.012.

    Args:
        init_scale: σ of the trained matrix.
        input_width: Number of inputs, x ~ N(0, 1).
        first_scale: Scale of the first, frozen matrix.
        input_mean_square: |x|²/input_width of the inputs to average over, shape (samples,); all of N(0, 1) if None.

    Returns:
        Same shape as `init_scale`.
    """
    if input_mean_square is None:
        squares, weights = _chi_square_rule(input_width)
        squares = squares / input_width
    else:
        squares = np.asarray(input_mean_square, dtype=np.float64)
        weights = np.full(squares.shape, 1 / squares.size)
    first = mean_square_tanh(first_scale**2 * squares)
    sigma = np.asarray(init_scale, dtype=np.float64)[..., None]
    return mean_square_tanh(sigma**2 * first) @ weights


def _chi_square_rule(degrees: int) -> tuple[Floats, Floats]:
    """Points and weights that average a function of a χ² variable with `degrees` degrees of freedom."""
    radius = np.linspace(0.0, np.sqrt(degrees) + 9.0, 801)[1:]
    logarithm = (degrees - 1) * np.log(radius) - radius**2 / 2
    weights = np.exp(logarithm - logarithm.max())
    return radius**2, weights / weights.sum()


def zero_loss_alignment(target_norm: ArrayLike, readout_norm: ArrayLike, feature_norm: ArrayLike) -> Floats:
    """Alignment of the features with the field Zᵀy once the outputs equal the targets: ‖y‖/(‖Z‖‖s‖_F).

    Exact for one output at zero loss. Jammed features (|s| → 1) give a lower value than the teacher's own.

    Args:
        target_norm: ‖y‖ over the samples.
        readout_norm: ‖Z‖ of the frozen last layer.
        feature_norm: Frobenius norm ‖s‖_F of the features over units and samples.

    Returns:
        Cosine in [0, 1].
    """
    return np.asarray(target_norm, dtype=np.float64) / (np.asarray(readout_norm) * np.asarray(feature_norm))


def overlap_bound(initial_mean_square: ArrayLike, mean_square: ArrayLike) -> Floats:
    """Largest overlap |q| that two sets of features can have, √(⟨s_init²⟩⟨s²⟩) (Cauchy-Schwarz).

    Args:
        initial_mean_square: ⟨s_init²⟩ = q(0).
        mean_square: ⟨s²⟩ now.

    Returns:
        Bound on |q|.
    """
    return np.sqrt(np.asarray(initial_mean_square, dtype=np.float64) * np.asarray(mean_square))
