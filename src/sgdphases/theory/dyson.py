"""Dyson Brownian motion: the Langevin equation that SGD gives to the eigenvalues of X = W Wᵀ.

One step W' = W + learning_rate · g, with g the batch mean of minus the per-sample gradients g_n, moves X by the
symmetric drives A_n = W g_nᵀ + g_n Wᵀ. In the eigenbasis of X (levels x_i, largest first):

* `drift` is K_ij = E[A_ij] over samples, so the levels drift by K_ii,
* `diffusion` is V_ij = Var[A_ij] over samples, taken after rotating,
* `gradient_variance` is C_ii = Σ_k Var[(Uᵀg_n)_ik], what the second-order (Itô) term needs.

Units: levels are squared singular values; time is flow time, learning_rate × steps; temperature = learning_rate /
batch_size. Source: Park, Lucini, Aarts, arXiv 2509.01349 and 2407.16427; the second-order terms are derived by
perturbation theory. All of it needs steps that are small against the distances between levels.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def eigenbasis_moments(drives: ArrayLike, eigenvectors: ArrayLike) -> tuple[Floats, Floats]:
    """Mean and variance over samples of the drives, rotated into the eigenbasis before the variance is taken.

    K = ⟨UᵀA_nU⟩ and V_ij = Var_n[(UᵀA_nU)_ij]. This is the order of operations the Langevin equation needs.

    Args:
        drives: Symmetric drives A_n, shape (..., samples, K, K).
        eigenvectors: Columns are the eigenvectors of X, shape (..., K, K).

    Returns:
        K and V, each of shape (..., K, K). V is the population variance (divided by the number of samples).
    """
    vectors = np.asarray(eigenvectors, dtype=np.float64)[..., None, :, :]
    rotated = np.swapaxes(vectors, -1, -2) @ np.asarray(drives, dtype=np.float64) @ vectors
    return rotated.mean(axis=-3), rotated.var(axis=-3)


def published_eigenbasis_moments(drives: ArrayLike, eigenvectors: ArrayLike) -> tuple[Floats, Floats]:
    """Mean and variance as the release of arXiv 2509.01349 takes them: the variance first, then rotated.

    K = Uᵀ⟨A_n⟩U is right, but Ṽ = UᵀVU with the elementwise variance V of the original basis treats V as a tensor,
    which it is not: its entries depend on the basis and may be negative (first quirk of the published criterion).

    Args:
        drives: Symmetric drives A_n, shape (..., samples, K, K).
        eigenvectors: Columns are the eigenvectors of X, shape (..., K, K).

    Returns:
        K and the rotated variance matrix Ṽ, each of shape (..., K, K).
    """
    samples = np.asarray(drives, dtype=np.float64)
    vectors = np.asarray(eigenvectors, dtype=np.float64)
    transposed = np.swapaxes(vectors, -1, -2)
    return transposed @ samples.mean(axis=-3) @ vectors, transposed @ samples.var(axis=-3) @ vectors


def level_differences(levels: ArrayLike) -> Floats:
    """Differences x_i − x_j of all pairs, with infinity on the diagonal so that sums of reciprocals skip it.

    Args:
        levels: Eigenvalues, shape (..., K).

    Returns:
        Shape (..., K, K).
    """
    x = np.asarray(levels, dtype=np.float64)
    differences = x[..., :, None] - x[..., None, :]
    return np.where(np.eye(x.shape[-1], dtype=bool), np.inf, differences)


def coulomb_sum(levels: ArrayLike, diffusion: ArrayLike) -> Floats:
    """The repulsion Σ_{j≠i} V_ij / (x_i − x_j) per unit of temperature.

    Args:
        levels: Eigenvalues x_i, shape (..., K), pairwise different.
        diffusion: V_ij, shape (..., K, K), or a number for equal noise everywhere.

    Returns:
        Shape (..., K).
    """
    return (np.asarray(diffusion, dtype=np.float64) / level_differences(levels)).sum(axis=-1)


def eigenvalue_drift(
    levels: ArrayLike,
    drift: ArrayLike,
    *,
    diffusion: ArrayLike,
    gradient_variance: ArrayLike = 0.0,
    temperature: ArrayLike,
) -> Floats:
    """Deterministic part of the eigenvalue Langevin equation, K_ii + T Σ_j V_ij/(x_i − x_j) + T C_ii.

    The papers leave out the last, Itô term (`gradient_variance` 0); for the smallest levels it nearly cancels the
    repulsion and must be kept.

    Args:
        levels: Eigenvalues x_i, shape (..., K).
        drift: K_ii, shape (..., K).
        diffusion: V_ij, shape (..., K, K).
        gradient_variance: C_ii, per-sample variance of the gradient summed over the input axis, shape (..., K).
        temperature: learning_rate / batch_size, a number or shape (...).

    Returns:
        d⟨x_i⟩/dt per unit of flow time, shape (..., K).
    """
    heat = np.asarray(temperature, dtype=np.float64)[..., None]
    return np.asarray(drift) + heat * (coulomb_sum(levels, diffusion) + np.asarray(gradient_variance))


def noise_amplitude(diffusion: ArrayLike, temperature: ArrayLike) -> Floats:
    """Amplitude √(T V_ii) of the white noise on each level, per square root of flow time.

    Args:
        diffusion: V_ij, shape (..., K, K).
        temperature: learning_rate / batch_size, a number or shape (...).

    Returns:
        Shape (..., K).
    """
    own = np.diagonal(np.asarray(diffusion, dtype=np.float64), axis1=-2, axis2=-1)
    return np.sqrt(np.asarray(temperature, dtype=np.float64)[..., None] * own)


def mean_level_step(
    levels: ArrayLike,
    drift: ArrayLike,
    *,
    diffusion: ArrayLike,
    mean_gradient_square: ArrayLike = 0.0,
    gradient_variance: ArrayLike = 0.0,
    learning_rate: float,
    batch_size: float,
) -> Floats:
    """Expected change of each level in one step of SGD, to second order in the learning rate.

    E[δx_i] = εK_ii + ε²[(GGᵀ)_ii + C_ii/B] + ε² Σ_{j≠i} (V_ij/B + K_ij²)/(x_i − x_j), batches drawn afresh.
    It fails where one step is not small against the level gaps, as in the first steps from a large loss.

    Args:
        levels: Eigenvalues x_i, shape (..., K).
        drift: The whole matrix K_ij, shape (..., K, K).
        diffusion: V_ij, shape (..., K, K).
        mean_gradient_square: (GGᵀ)_ii of the mean gradient in the eigenbasis, shape (..., K).
        gradient_variance: C_ii, per-sample variance of the gradient summed over the input axis, shape (..., K).
        learning_rate: ε.
        batch_size: B.

    Returns:
        Shape (..., K), in units of the levels.
    """
    matrix = np.asarray(drift, dtype=np.float64)
    spread = np.asarray(diffusion, dtype=np.float64) / batch_size + matrix**2
    second = np.asarray(mean_gradient_square) + np.asarray(gradient_variance) / batch_size + coulomb_sum(levels, spread)
    return learning_rate * np.diagonal(matrix, axis1=-2, axis2=-1) + learning_rate**2 * second


def level_step_variance(diffusion: ArrayLike, *, learning_rate: float, batch_size: float) -> Floats:
    """Variance of one step of each level, Var[δx_i] = ε² V_ii / B, to leading order.

    Args:
        diffusion: V_ij, shape (..., K, K).
        learning_rate: ε.
        batch_size: B.

    Returns:
        Shape (..., K).
    """
    return learning_rate**2 * np.diagonal(np.asarray(diffusion, dtype=np.float64), axis1=-2, axis2=-1) / batch_size


def orthogonality_ratio(diffusion: ArrayLike) -> Floats:
    """The ratio 2 V_ij / √(V_ii V_jj): 1 everywhere for noise of the Gaussian orthogonal type (β = 1).

    Args:
        diffusion: V_ij, shape (..., K, K), positive diagonal.

    Returns:
        Shape (..., K, K); its diagonal is 2 and means nothing.
    """
    matrix = np.asarray(diffusion, dtype=np.float64)
    own = np.diagonal(matrix, axis1=-2, axis2=-1)
    return 2 * matrix / np.sqrt(own[..., :, None] * own[..., None, :])


def isotropic_orthogonality_ratio(levels: ArrayLike) -> Floats:
    """The ratio of `orthogonality_ratio` when all entries of W carry equal noise: (x_i + x_j) / (2√(x_i x_j)) ≥ 1.

    Args:
        levels: Positive eigenvalues, shape (..., K).

    Returns:
        Shape (..., K, K). Unlike `orthogonality_ratio` its diagonal is 1.
    """
    x = np.asarray(levels, dtype=np.float64)
    return (x[..., :, None] + x[..., None, :]) / (2 * np.sqrt(x[..., :, None] * x[..., None, :]))


def brownian_matrix_moments(levels: ArrayLike, time: ArrayLike) -> tuple[Floats, Floats]:
    """Exact E[Σx_i²] and Var[Σx_i] of Dyson Brownian motion dx_i = Σ_j dt/(x_i − x_j) + √2 dB_i.

    The levels are those of X(t) = X(0) + √t · H with H symmetric Gaussian, off-diagonal variance 1, diagonal 2:
    E[Σx²] = Σx(0)² + N(N+1) t and Var[Σx] = 2 N t.

    Args:
        levels: Eigenvalues at time 0, shape (..., N).
        time: Time t ≥ 0.

    Returns:
        The two moments.
    """
    x = np.asarray(levels, dtype=np.float64)
    size = x.shape[-1]
    elapsed = np.asarray(time, dtype=np.float64)
    return (x**2).sum(axis=-1) + size * (size + 1) * elapsed, 2.0 * size * elapsed


def wishart_diffusion(levels: ArrayLike, noise_scale: float) -> Floats:
    """V_ij of the Wishart (Bru) process W(t) = W(0) + g√t N with N of independent unit Gaussians.

    V_ij = g²(x_i + x_j) off the diagonal and 4g²x_i on it; the variance of x_i grows at the rate V_ii.

    Args:
        levels: Eigenvalues of WWᵀ, shape (..., K).
        noise_scale: g, the noise on each entry of W per square root of time.

    Returns:
        Shape (..., K, K).
    """
    x = np.asarray(levels, dtype=np.float64)
    sums = x[..., :, None] + x[..., None, :]
    return noise_scale**2 * sums * (1 + np.eye(x.shape[-1]))


def wishart_drift(levels: ArrayLike, *, columns: int, noise_scale: float) -> Floats:
    """Drift g²[L + Σ_{j≠i} (x_i + x_j)/(x_i − x_j)] of the Wishart (Bru) process.

    Args:
        levels: Eigenvalues of WWᵀ, shape (..., K), pairwise different.
        columns: L, the number of columns of W; at least K.
        noise_scale: g, the noise on each entry of W per square root of time.

    Returns:
        d⟨x_i⟩/dt, shape (..., K).
    """
    return noise_scale**2 * columns + coulomb_sum(levels, wishart_diffusion(levels, noise_scale))


def wishart_moments(levels: ArrayLike, time: ArrayLike, *, columns: int, noise_scale: float) -> tuple[Floats, Floats]:
    """Exact E[tr X] and E[tr X²] of the Wishart process.

    E[tr X] = tr X(0) + K L g²t and E[tr X²] = tr X(0)² + 2 g²t (K+L+1) tr X(0) + K L (K+L+1) g⁴t².

    Args:
        levels: Eigenvalues at time 0, shape (..., K).
        time: Time t ≥ 0.
        columns: L, the number of columns of W.
        noise_scale: g, the noise on each entry of W per square root of time.

    Returns:
        The two moments.
    """
    x = np.asarray(levels, dtype=np.float64)
    heat = noise_scale**2 * np.asarray(time, dtype=np.float64)
    rows, trace = x.shape[-1], x.sum(axis=-1)
    grown = rows + columns + 1
    square = (x**2).sum(axis=-1) + 2 * heat * grown * trace + rows * columns * grown * heat**2
    return trace + rows * columns * heat, square
