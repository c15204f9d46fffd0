r"""Drift, noise and repulsion of the levels: the terms of the eigenvalue Langevin equation, from gradients.

One SGD step changes :math:`W` by :math:`\epsilon (G + \xi/\sqrt B)`. In the eigenbasis of :math:`X = W W^T` the
symmetric drive of sample n, :math:`A_n = W g_n^T + g_n W^T`, has the mean :math:`K_{ij}` and the variance
:math:`V_{ij}`, and the levels :math:`x_i` follow (second-order perturbation theory, exact to :math:`O(\epsilon^2)`)

.. math:: E[\delta x_i] = \epsilon K_{ii} + \epsilon^2 E[(g g^T)_{ii}]
          + \epsilon^2 \sum_{j \ne i} \frac{V_{ij}/B + K_{ij}^2}{x_i - x_j},
          \qquad \mathrm{Var}[\delta x_i] = \epsilon^2 V_{ii} / B.

In flow time :math:`t = \epsilon \times` steps this is drift + T (repulsion + Itô term) + noise with T = ε/B
(arXiv 2509.01349). A layer with more outputs than inputs is described by :math:`X = W^T W`, so that every layer has
min(out, in) levels. Letters in shapes: r network, n sample, i and j mode.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sgdphases.observables.spectra import stacked
from sgdphases.theory import criterion as theory
from sgdphases.theory.dyson import coulomb_sum, level_differences

if TYPE_CHECKING:
    from sgdphases.observables.snapshot import Snapshot

STEP_MARGIN = 0.3
"""How much of the gap to the next level one step may cross before perturbation theory counts as violated."""

ROUNDING = 32 * np.finfo(np.float64).eps
"""Relative error of the second moments; a variance below it is rounding, and set to zero."""

Array = np.ndarray


@dataclass(frozen=True)
class LevelDynamics:
    """The Langevin terms of one layer's levels, eigenvalues in descending order, float64.

    Attributes:
        eigenvalues: x_i, squared singular values (r, i).
        drift: K_ij, mean drive in the eigenbasis, weight decay included (r, i, j).
        variance: V_ij, variance over samples of the drive in the eigenbasis (r, i, j).
        published_variance: The variance of the drive's entries in the original basis, rotated afterwards as if it were
            a tensor, as the released code of arXiv 2509.01349 does (r, i, j).
        ito: Variance part of E[(g g^T)_ii] for one sample (r, i).
        mean_square: Mean part of E[(g g^T)_ii], from the mean gradient (r, i).
    """

    eigenvalues: Array
    drift: Array
    variance: Array
    published_variance: Array
    ito: Array
    mean_square: Array

    @property
    def level_drift(self) -> Array:
        """K_ii (r, i)."""
        return np.einsum("rii->ri", self.drift)

    @property
    def level_noise(self) -> Array:
        """V_ii (r, i); the level's variance grows by T V_ii per unit of flow time."""
        return np.einsum("rii->ri", self.variance)

    @property
    def repulsion(self) -> Array:
        """Coulomb term, sum over j of V_ij / (x_i - x_j), to be multiplied by T (r, i); NaN where levels coincide."""
        return _finite_sum(self.eigenvalues, self.variance)

    def velocity(self, learning_rate: Array, batch_size: int) -> Array:
        """Expected change of each level per unit of flow time, all terms to second order.

        Args:
            learning_rate: ε per network (r,).
            batch_size: B.

        Returns:
            dx_i/dt (r, i); NaN where two levels coincide.
        """
        rate = np.asarray(learning_rate, dtype=np.float64)[:, None]
        second_order = self.mean_square + _finite_sum(self.eigenvalues, self.drift**2)
        return self.level_drift + rate / batch_size * (self.repulsion + self.ito) + rate * second_order

    def violations(self, learning_rate: Array, batch_size: int) -> Array:
        """Share of levels for which one step is not small against the gap to the next level.

        Args:
            learning_rate: ε per network (r,).
            batch_size: B.

        Returns:
            The step-size Péclet fraction in [0, 1] (r,); NaN with fewer than two levels. Where it passes 0.2 the
            prediction should not be used.
        """
        if self.eigenvalues.shape[1] < 2:
            return np.full(len(self.eigenvalues), np.nan)
        rate = np.asarray(learning_rate, dtype=np.float64)[:, None]
        allowed = STEP_MARGIN * np.abs(level_differences(self.eigenvalues)).min(axis=2)
        jump = rate * np.sqrt(self.level_noise / batch_size)
        return np.mean((jump > allowed) | (rate * np.abs(self.level_drift) > allowed), axis=1)


def level_dynamics(
    weights: Array, features: Array, forces: Array, *, singular: tuple[Array, Array, Array], weight_decay: Array
) -> LevelDynamics:
    """Estimate the Langevin terms of one layer from per-sample gradients.

    The gradient of sample n is an outer product, minus it is g_n = φ_n h_n^T, so every A_n = a_n b_n^T + b_n a_n^T and
    all moments are matrix products; no (n, i, j) array is made.

    Args:
        weights: W (r, out, in).
        features: h, what the layer reads (r or 1, n, in).
        forces: φ, minus the per-sample derivative of the loss by the layer's pre-activation (r, n, out).
        singular: Thin decomposition of `weights`: left (r, out, m), values descending (r, m), right (r, m, in).
        weight_decay: Coefficient λ in the gradient, per network (r,).

    Returns:
        Moments over the n samples.
    """
    left, values, right = singular
    decay = np.asarray(weight_decay, dtype=np.float64)[:, None]
    if weights.shape[1] <= weights.shape[2]:
        first, second, partner = features @ weights.swapaxes(1, 2), forces, features
        basis, image = left, values[:, :, None] * right
    else:
        first, second, partner = forces @ weights, features, forces
        basis, image = right.swapaxes(1, 2), values[:, :, None] * left.swapaxes(1, 2)
    _, entry_variance = symmetric_moments(first, second)
    second = second @ basis
    mean, variance = symmetric_moments(first @ basis, second)
    mean -= 2 * decay[:, :, None] * _diagonal(values**2)
    mean_gradient = second.swapaxes(1, 2) @ partner / second.shape[1]
    norms = np.broadcast_to(np.sum(partner**2, axis=2), second.shape[:2])
    square = np.einsum("rni,rn->ri", second**2, norms) / second.shape[1]
    return LevelDynamics(
        eigenvalues=values**2,
        drift=mean,
        variance=variance,
        published_variance=basis.swapaxes(1, 2) @ entry_variance @ basis,
        ito=_difference(square, np.sum(mean_gradient**2, axis=2), square),
        mean_square=np.sum((mean_gradient - decay[:, :, None] * image) ** 2, axis=2),
    )


def symmetric_moments(first: Array, second: Array) -> tuple[Array, Array]:
    """Mean and elementwise variance over n of A_n = a_n b_n^T + b_n a_n^T.

    Uses E[A_ij^2] = E[a_i^2 b_j^2] + E[b_i^2 a_j^2] + 2 E[a_i b_i a_j b_j]. The subtraction of the squared mean cancels
    when all samples agree, so a variance below the rounding error of its terms is set to zero.

    Args:
        first: a (r, n, i).
        second: b (r or 1, n, i).

    Returns:
        The mean (r, i, j) and the variance (r, i, j), both symmetric, the variance never negative.
    """
    samples = first.shape[1]
    cross = first.swapaxes(1, 2) @ second / samples
    mean = cross + cross.swapaxes(1, 2)
    squares = (first**2).swapaxes(1, 2) @ (second**2) / samples
    squares += squares.swapaxes(1, 2).copy()
    product = first * second
    moment = squares + 2 * (product.swapaxes(1, 2) @ product) / samples
    return mean, _difference(moment, mean**2, 2 * squares)


def drift_wins(
    dynamics: LevelDynamics, *, shape: tuple[int, int], init_scale: Array, temperature: Array, published: bool
) -> Array:
    """Whether the drift of the outermost levels beats their repulsion (pass: learning or frozen; fail: para).

    `sgdphases.theory.criterion` holds both versions. Published (released notebook of arXiv 2509.01349), three quirks:

    1. the variance is taken entry by entry in the original basis and rotated as if it were a tensor; its entries then
       depend on the arbitrary signs of the singular vectors, and the test is a coin flip in the hot phase;
    2. the drift is |K_11| - |K_KK|, a difference of absolute values;
    3. the second index of the sum is K-k+1 in place of K-k, so k = 1 takes the diagonal.

    Corrected: the variance after the rotation, |K_11 - K_KK|, and K-k.

    Args:
        dynamics: Terms of one layer's levels.
        shape: (out, in) of the layer.
        init_scale: σ_W per network (r,).
        temperature: T = learning rate over batch size, per network (r,).
        published: Which of the two.

    Returns:
        int8 (r,): 1 drift wins, 0 repulsion wins, -1 undefined (one level, no initial width, or a term that is not
        finite).
    """
    if dynamics.eigenvalues.shape[1] < 2:
        return np.full(len(dynamics.eigenvalues), -1, dtype=np.int8)
    variance = dynamics.published_variance if published else dynamics.variance
    judge = theory.published_criterion if published else theory.corrected_criterion
    width = theory.initial_spectrum_width(*shape, init_scale)
    passed = judge(dynamics.level_drift, variance, width=width, temperature=temperature)
    finite = np.isfinite(variance).all(axis=(1, 2)) & np.isfinite(dynamics.level_drift).all(axis=1)
    return np.where(finite & (np.asarray(init_scale) > 0), passed, -1).astype(np.int8)


def drift(snapshot: "Snapshot") -> Array:
    """K_ii, mean drive of every level per unit of flow time, weight decay included (r, l, m)."""
    return stacked(terms.level_drift for terms in snapshot.dynamics.values())


def noise(snapshot: "Snapshot") -> Array:
    """V_ii, variance over samples of the drive of every level (r, l, m); T V_ii is its diffusion."""
    return stacked(terms.level_noise for terms in snapshot.dynamics.values())


def repulsion(snapshot: "Snapshot") -> Array:
    """Sum over j of V_ij / (x_i - x_j) of every level (r, l, m), to be multiplied by T."""
    return stacked(terms.repulsion for terms in snapshot.dynamics.values())


def ito_term(snapshot: "Snapshot") -> Array:
    """Variance part of E[(g g^T)_ii], to be multiplied by T (r, l, m); nearly cancels the smallest levels' push."""
    return stacked(terms.ito for terms in snapshot.dynamics.values())


def predicted_velocity(snapshot: "Snapshot") -> Array:
    """dx_i/dt predicted for every level, to second order in the learning rate (r, l, m)."""
    rate, batch = snapshot.column("learning_rate"), snapshot.shard.batch_size
    return stacked(terms.velocity(rate, batch) for terms in snapshot.dynamics.values())


def peclet(snapshot: "Snapshot") -> Array:
    """Share of levels that one step moves by more than 0.3 of the next gap (r, l); predictions hold up to about 0.2."""
    rate, batch = snapshot.column("learning_rate"), snapshot.shard.batch_size
    return np.stack([terms.violations(rate, batch) for terms in snapshot.dynamics.values()], axis=1)


def criterion_published(snapshot: "Snapshot") -> Array:
    """`drift_wins` as published, with its three quirks; int8 (r, l)."""
    return _criterion(snapshot, published=True)


def criterion_corrected(snapshot: "Snapshot") -> Array:
    """`drift_wins` with the quirks corrected; int8 (r, l)."""
    return _criterion(snapshot, published=False)


def _criterion(snapshot: "Snapshot", *, published: bool) -> Array:
    scale, shapes = snapshot.column("init_scale"), snapshot.shard.network
    temperature = snapshot.column("learning_rate") / snapshot.shard.batch_size
    return np.stack(
        [
            drift_wins(terms, shape=shapes.shape(layer), init_scale=scale, temperature=temperature, published=published)
            for layer, terms in snapshot.dynamics.items()
        ],
        axis=1,
    )


def _finite_sum(levels: Array, strength: Array) -> Array:
    """`coulomb_sum`, NaN instead of infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        total = coulomb_sum(levels, strength)
    return np.where(np.isfinite(total), total, np.nan)


def _difference(larger: Array, smaller: Array, scale: Array) -> Array:
    """`larger` - `smaller`, zero where it is below the rounding error of `scale`."""
    difference = larger - smaller
    return np.where(difference > ROUNDING * scale, difference, 0.0)


def _diagonal(values: Array) -> Array:
    """(r, i) as diagonal matrices (r, i, i)."""
    return values[:, :, None] * np.eye(values.shape[1])
