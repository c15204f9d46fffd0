"""Ornstein-Uhlenbeck processes dz = −A(z − mean) dt + √(2D/κ) dW and their rotation, by matrices.

`drift` A, `diffusion` D (positive semidefinite) and the number κ (`inverse_temperature`) give the stationary covariance
B/κ with AB + BAᵀ = 2D. With the `potential` U = B⁻¹ and the antisymmetric `circulation` Q, A = (D + Q)U: the density is
exp(−κ zᵀUz/2), down whose slopes −DU goes and along whose level lines the current −QU flows. In SGD with momentum
z = (x, v), D acts on v only and κ = S(1 − β²). Source: Kunin et al., arXiv 2107.09133, Eqs. 5 to 9 and appendix; where
its prefactors differ between places, covariances decide. `langevin` has the same mode by mode.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov

from sgdphases.theory.langevin import friction, mass

Floats = NDArray[np.float64]


class OrnsteinUhlenbeck(NamedTuple):
    """A process and its decomposition; matrices of shape (n, n).

    Attributes:
        drift: A.
        diffusion: D.
        circulation: Q, antisymmetric.
        potential: U = B⁻¹.
        covariance: B; over `inverse_temperature` it is the stationary covariance.
        inverse_temperature: κ.
    """

    drift: Floats
    diffusion: Floats
    circulation: Floats
    potential: Floats
    covariance: Floats
    inverse_temperature: float

    @property
    def rotation(self) -> Floats:
        """Matrix −QU of the current's velocity: where z = mean + y, it is −QUy; its trace is 0."""
        return -self.circulation @ self.potential

    @property
    def frequencies(self) -> Floats:
        """Frequencies of the rotation in radians per unit of time, ascending, in pairs of both signs, shape (n,)."""
        return np.sort(np.linalg.eigvals(self.rotation).imag)


def ornstein_uhlenbeck(
    drift: ArrayLike, diffusion: ArrayLike, *, inverse_temperature: float = 1.0
) -> OrnsteinUhlenbeck:
    """Decomposition A = (D + Q)U of any stable process, by the Lyapunov equation of B.

    Args:
        drift: A, shape (n, n); its eigenvalues have positive real parts.
        diffusion: D, symmetric, shape (n, n).
        inverse_temperature: κ.

    Returns:
        The process.

    Raises:
        ValueError: If there is no stationary state, or noise leaves a direction without fluctuations.
    """
    a, d = np.asarray(drift, dtype=np.float64), np.asarray(diffusion, dtype=np.float64)
    if not np.all(np.linalg.eigvals(a).real > 0):
        raise ValueError("drift must have eigenvalues of positive real part only")
    b = solve_continuous_lyapunov(a, 2 * d)
    b = (b + b.T) / 2
    if not np.linalg.eigvalsh(b)[0] > 0:
        raise ValueError("diffusion must reach every direction")
    q = a @ b - d
    return OrnsteinUhlenbeck(a, d, (q - q.T) / 2, np.linalg.inv(b), b, float(inverse_temperature))


def symmetric_circulation(drift: ArrayLike, diffusion: ArrayLike) -> Floats:
    """Q of a symmetric A: in its eigenbasis (l_i − l_j)/(l_i + l_j) D_ij; arXiv 2107.09133, Appendix.

    Args:
        drift: A, symmetric positive definite, shape (n, n).
        diffusion: D, symmetric, shape (n, n).

    Returns:
        Q, shape (n, n), in the basis of the arguments: it does not depend on signs or order of eigenvectors.

    Raises:
        ValueError: If A is not symmetric and positive definite.
    """
    a = np.asarray(drift, dtype=np.float64)
    if not np.allclose(a, a.T, rtol=1e-12, atol=0):
        raise ValueError("drift must be symmetric")
    levels, vectors = np.linalg.eigh(a)
    if not levels[0] > 0:
        raise ValueError("drift must be positive definite")
    differences, sums = levels[:, None] - levels, levels[:, None] + levels
    return vectors @ (differences / sums * (vectors.T @ np.asarray(diffusion) @ vectors)) @ vectors.T


def momentum_process(
    hessian: ArrayLike,
    noise_covariance: ArrayLike,
    *,
    batch_size: float,
    learning_rate: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> OrnsteinUhlenbeck:
    """SGD with momentum on a quadratic loss as a process of z = (x, v), whether or not noise and Hessian commute.

    A = [[0, −1], [(H + λ)/m, (1 − β)/m]], D = diag(0, (1 − β)Σ/m), κ = S(1 − β²). Where they commute,
    U = diag(Σ⁻¹(H + λ)/m, Σ⁻¹) and Q = [[0, −Σ], [Σ, 0]].

    Args:
        hessian: H, shape (n, n), with H + λ positive definite.
        noise_covariance: Σ of per-example gradients, positive definite, shape (n, n).
        batch_size: S.
        learning_rate: η.
        momentum: β.
        weight_decay: λ.

    Returns:
        The process, matrices of shape (2n, 2n).
    """
    inertia, size = mass(learning_rate, momentum), len(np.atleast_2d(hessian))
    stiffness = np.atleast_2d(np.asarray(hessian, dtype=np.float64)) + weight_decay * np.eye(size)
    drag = friction(momentum) / inertia
    drift = np.block([[np.zeros((size, size)), -np.eye(size)], [stiffness / inertia, drag * np.eye(size)]])
    diffusion = np.zeros_like(drift)
    diffusion[size:, size:] = drag * np.atleast_2d(noise_covariance)
    return ornstein_uhlenbeck(drift, diffusion, inverse_temperature=batch_size * (1 - momentum**2))


def modified_loss(displacement: ArrayLike, covariance: ArrayLike) -> Floats:
    """κΨ = zᵀ C⁻¹ z/2 of the stationary covariance C: minus the logarithm of the density, up to a constant.

    Args:
        displacement: z, distance to the mean, shape (..., n).
        covariance: C, shape (n, n).

    Returns:
        Shape (...).
    """
    z = np.asarray(displacement, dtype=np.float64)
    pulled = np.linalg.solve(np.asarray(covariance, dtype=np.float64), z[..., None])[..., 0]
    return (z * pulled).sum(axis=-1) / 2


def discretised_covariance(drift: ArrayLike, diffusion: ArrayLike, *, step: float) -> Floats:
    """Stationary covariance of y ← y − εAy − εD^½ N(0, 1): exact, (ε/2)U⁻¹ to first order in ε.

    This is SGD with learning rate ε, and what the toy process of arXiv 2107.09133 was simulated with.

    Args:
        drift: A, shape (n, n).
        diffusion: D, shape (n, n).
        step: ε.

    Returns:
        Shape (n, n).

    Raises:
        ValueError: If the steps run away.
    """
    a, d = np.asarray(drift, dtype=np.float64), np.asarray(diffusion, dtype=np.float64)
    map_ = np.eye(len(a)) - step * a
    if not np.abs(np.linalg.eigvals(map_)).max() < 1:
        raise ValueError("step is too large for a stationary state")
    return solve_discrete_lyapunov(map_, step**2 * d)
