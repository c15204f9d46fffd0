"""Drift against repulsion: where the eigenvalue Langevin equation puts the boundary of the hot phase.

The gap between the largest and the smallest level obeys d(x_1 − x_K)/dt = (K_11 − K_KK) + T [Σ_j V_1j/(x_1 − x_j) +
Σ_j V_Kj/(x_j − x_K)]. The criterion replaces the levels by K equally spaced ones over the initial Marchenko-Pastur
width and asks whether the drift (pass) or the Coulomb repulsion (fail) wins. Source: the analysis released with Park,
Lucini, Aarts, arXiv 2509.01349, which has three quirks:

1. its variance matrix is rotated as if it were a tensor (`dyson.published_eigenbasis_moments`), so that entries have
   random signs and hot networks pass by a coin's flip;
2. its drift is |K_11| − |K_KK|, a difference of absolute values instead of |K_11 − K_KK|;
3. its second sum takes V_K,K−k+1 where the distance k belongs to V_K,K−k; for k = 1 it takes the diagonal.

Both versions are here. Using the levels as they are instead of the initial width does not separate the phases at late
times: hot levels are far apart.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def initial_spectrum_width(rows: int, fan_in: int, init_scale: ArrayLike) -> Floats:
    """Asymptotic width 4σ²√(rows/fan_in) of the spectrum of W Wᵀ at the start (Marchenko-Pastur edge to edge).

    Args:
        rows: Rows of W (outputs of the layer).
        fan_in: Columns of W; its entries have variance init_scale² / fan_in.
        init_scale: σ, the standard deviation of the entries times √fan_in.

    Returns:
        Width in units of the levels. At 16 × 32 the mean of the finite matrix is 0.872 times this.
    """
    return 4 * np.asarray(init_scale, dtype=np.float64) ** 2 * np.sqrt(rows / fan_in)


def published_drift_gap(drift: ArrayLike) -> Floats:
    """The drift |K_11| − |K_KK| of the published criterion (second quirk); of the same levels as `drift_gap`."""
    own = np.asarray(drift, dtype=np.float64)
    return np.abs(own[..., 0]) - np.abs(own[..., -1])


def drift_gap(drift: ArrayLike) -> Floats:
    """The drift |K_11 − K_KK| of the gap between the largest and the smallest level.

    Args:
        drift: K_ii, largest level first, shape (..., K).

    Returns:
        Shape (...), per unit of flow time.
    """
    own = np.asarray(drift, dtype=np.float64)
    return np.abs(own[..., 0] - own[..., -1])


def published_repulsion(diffusion: ArrayLike) -> Floats:
    """2V_1K/(K−1) + Σ_{k=1}^{K−2} (V_1,1+k + V_K,K−k+1)/k (third quirk), where `repulsion` has V_K,K−k."""
    return _repulsion(diffusion, shift=1)


def repulsion(diffusion: ArrayLike) -> Floats:
    """Repulsion of equally spaced levels on the outermost gap, Σ_{k=1}^{K−1} (V_1,1+k + V_K,K−k)/k.

    Args:
        diffusion: V_ij in the eigenbasis, largest level first, shape (..., K, K), K ≥ 2.

    Returns:
        Shape (...); divided by the level spacing it is a drift of the gap per unit of temperature.
    """
    return _repulsion(diffusion, shift=0)


def _repulsion(diffusion: ArrayLike, shift: int) -> Floats:
    """The sum over distances k; `shift` is how far the second index is off."""
    matrix = np.asarray(diffusion, dtype=np.float64)
    last = matrix.shape[-1] - 1
    if last < 1:
        raise ValueError("a gap needs at least two levels")
    distance = np.arange(1, last)
    inner = (matrix[..., 0, distance] + matrix[..., last, last - distance + shift]) / distance
    return 2 * matrix[..., 0, last] / last + inner.sum(axis=-1)


def published_criterion(
    drift: ArrayLike, diffusion: ArrayLike, *, width: ArrayLike, temperature: ArrayLike
) -> NDArray[np.bool_]:
    """Whether a network passes the criterion as published: drift beats repulsion.

    κ/(√r (K−1)) ≥ T ν/(4σ²) with r = fan_in/rows, κ of `published_drift_gap` and ν of `published_repulsion`. A network
    at rest (both sides 0) passes. The 68 % contour of the passing fraction over replicas is the published boundary.

    Args:
        drift: K_ii, largest level first, shape (..., K), K ≥ 2.
        diffusion: Ṽ of `dyson.published_eigenbasis_moments`, shape (..., K, K).
        width: `initial_spectrum_width`, shape (...) or a number.
        temperature: learning_rate / batch_size, shape (...) or a number.

    Returns:
        Shape (...).
    """
    return _passes(published_drift_gap(drift), published_repulsion(diffusion), width, temperature, diffusion)


def corrected_criterion(
    drift: ArrayLike, diffusion: ArrayLike, *, width: ArrayLike, temperature: ArrayLike
) -> NDArray[np.bool_]:
    """Whether drift beats repulsion, with the three quirks put right; does not depend on the basis of A_n.

    Args:
        drift: As for `published_criterion`.
        diffusion: V of `dyson.eigenbasis_moments`, shape (..., K, K).
        width: As for `published_criterion`.
        temperature: As for `published_criterion`.

    Returns:
        Shape (...). Its 50 % contour over replicas is the boundary.
    """
    return _passes(drift_gap(drift), repulsion(diffusion), width, temperature, diffusion)


def _passes(
    gap: Floats, pushed: Floats, width: ArrayLike, temperature: ArrayLike, diffusion: ArrayLike
) -> NDArray[np.bool_]:
    """Drift of the gap against repulsion over equally spaced levels."""
    spacing = np.asarray(width, dtype=np.float64) / (np.shape(diffusion)[-1] - 1)
    return gap * spacing >= np.asarray(temperature, dtype=np.float64) * pushed


def criterion_temperature(drift: ArrayLike, diffusion: ArrayLike, *, width: ArrayLike) -> Floats:
    """Temperature at which drift and repulsion of the corrected criterion balance for one network.

    T = width |K_11 − K_KK| / ((K−1) ν). K and V themselves depend on the temperature at which the network was trained,
    so this is the boundary only where it equals that temperature.

    Args:
        drift: As for `corrected_criterion`.
        diffusion: As for `corrected_criterion`.
        width: As for `corrected_criterion`.

    Returns:
        Shape (...); infinity without noise, NaN with neither drift nor noise.
    """
    spacing = np.asarray(width, dtype=np.float64) / (np.shape(diffusion)[-1] - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return spacing * drift_gap(drift) / repulsion(diffusion)


def criterion_boundary_temperature(
    init_scale: ArrayLike, *, prefactor: float = 0.33, exponent: float = 1.07, saturation: float = 0.65
) -> Floats:
    """Empirical boundary of the hot phase by the criterion, T_c = max(prefactor · σ^exponent, saturation).

    The defaults describe the 68 % contour of arXiv 2509.01349, Fig. 9, read off within 15 %: power law for σ ≥ 2,
    saturation between 0.5 and 0.85 for σ ≤ 1. Slope 1 is expected where tanh saturates: the drift is constant, the
    noise grows as σ and the mean gap as σ². The description is good to about half an octave.

    Args:
        init_scale: σ.
        prefactor: T_c at σ = 1 of the power law.
        exponent: Its exponent.
        saturation: T_c for small σ.

    Returns:
        Temperature, learning_rate / batch_size.
    """
    return np.maximum(prefactor * np.asarray(init_scale, dtype=np.float64) ** exponent, saturation)


def spread_boundary_temperature(
    init_scale: ArrayLike, *, prefactor: float = 0.21, exponent: float = 0.55, saturation: float = 0.22
) -> Floats:
    """Empirical boundary where the spread outgrows both the initial and the target spread by a factor e.

    T = max(prefactor · σ^exponent, saturation), fitted to the digitised map of arXiv 2509.01349, Fig. 7 (1e8 steps). It
    is another line than the criterion's, with half its slope.

    Args:
        init_scale: σ.
        prefactor: Temperature at σ = 1 of the power law.
        exponent: Its exponent.
        saturation: Temperature for small σ.

    Returns:
        Temperature, learning_rate / batch_size.
    """
    return criterion_boundary_temperature(init_scale, prefactor=prefactor, exponent=exponent, saturation=saturation)


def stability_learning_rate(
    batch_size: ArrayLike, *, largest_curvature: ArrayLike = 2.82, trace_ratio: ArrayLike = 7.8
) -> Floats:
    """Largest learning rate at which SGD is linearly stable at an interpolating minimum.

    ε_c(B) = 2 / [λ_max (1 − 1/B) + τ/B], λ_max the top curvature of the loss and τ = E[tr²]/E[tr] of the per-sample
    curvatures. Grows as B for small batches and saturates at gradient descent's 2/λ_max: the linear scaling rule is a
    statement about small batches.

    Args:
        batch_size: B ≥ 1.
        largest_curvature: λ_max; the default is the median over teachers of the 3-32-16-1 network (16 to 84 %: 1.84 to
            4.06).
        trace_ratio: τ; the default is that network's.

    Returns:
        Learning rate; divided by B it is the critical temperature.
    """
    size = np.asarray(batch_size, dtype=np.float64)
    return 2 / (np.asarray(largest_curvature) * (1 - 1 / size) + np.asarray(trace_ratio) / size)


def stability_exponent(
    batch_size: ArrayLike, *, largest_curvature: ArrayLike = 2.82, trace_ratio: ArrayLike = 7.8
) -> Floats:
    """Local exponent d ln ε_c / d ln B = (τ − λ)/(λ(B − 1) + τ) of `stability_learning_rate`.

    Args:
        batch_size: B ≥ 1.
        largest_curvature: λ_max.
        trace_ratio: τ.

    Returns:
        1 − λ/τ at B = 1 (linear scaling where τ ≫ λ), 0 for large batches.
    """
    size, top, tau = (np.asarray(value, dtype=np.float64) for value in (batch_size, largest_curvature, trace_ratio))
    return (tau - top) / (top * (size - 1) + tau)
