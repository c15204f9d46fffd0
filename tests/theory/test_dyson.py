import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.theory import dyson

levels_strategy = st.lists(st.floats(0.05, 3.0), min_size=2, max_size=8).map(lambda gaps: np.cumsum(gaps)[::-1].copy())


def orthogonal_draws(rng, size, count):
    """Symmetric Gaussian matrices, off-diagonal variance 1, diagonal 2."""
    noise = rng.normal(size=(count, size, size))
    return (noise + np.swapaxes(noise, 1, 2)) / np.sqrt(2)


def test_coulomb_sum_against_loops():
    rng = np.random.default_rng(0)
    levels, diffusion = np.sort(rng.normal(size=5))[::-1], rng.uniform(size=(5, 5))
    naive = [sum(diffusion[i, j] / (levels[i] - levels[j]) for j in range(5) if j != i) for i in range(5)]
    np.testing.assert_allclose(dyson.coulomb_sum(levels, diffusion), naive, rtol=1e-13)


@settings(max_examples=40, deadline=None)
@given(levels_strategy, st.floats(0.1, 3))
def test_symmetric_noise_repels_without_moving_the_centre(levels, temperature):
    ones = np.ones((len(levels), len(levels)))
    drift = dyson.eigenvalue_drift(levels, np.zeros(len(levels)), diffusion=ones, temperature=temperature)
    assert abs(drift.sum()) <= 1e-9 * np.abs(drift).sum()
    assert drift[0] > 0 > drift[-1]


@settings(max_examples=40, deadline=None)
@given(levels_strategy, st.integers(0, 20), st.floats(0.1, 3))
def test_wishart_drift_agrees_with_its_exact_moments(levels, more, noise_scale):
    columns = len(levels) + more
    drift = dyson.wishart_drift(levels, columns=columns, noise_scale=noise_scale)
    own = np.diag(dyson.wishart_diffusion(levels, noise_scale))
    # Both moments are at most quadratic in time, so that the central difference is exact.
    before, after = (dyson.wishart_moments(levels, t, columns=columns, noise_scale=noise_scale) for t in (-0.5, 0.5))
    np.testing.assert_allclose(drift.sum(), after[0] - before[0], rtol=1e-8)
    # d⟨x²⟩ = 2x dx + V dt
    np.testing.assert_allclose((2 * levels * drift + own).sum(), after[1] - before[1], rtol=1e-8)


@pytest.mark.parametrize(("rows", "columns", "noise_scale", "time"), [(4, 8, 1.0, 0.7), (3, 5, 0.4, 2.0)])
def test_wishart_moments_by_draws(rows, columns, noise_scale, time):
    rng = np.random.default_rng(1)
    start = rng.normal(size=(rows, columns))
    weights = start + noise_scale * np.sqrt(time) * rng.normal(size=(20000, rows, columns))
    gram = weights @ np.swapaxes(weights, 1, 2)
    trace, square = np.trace(gram, axis1=1, axis2=2), (gram**2).sum(axis=(1, 2))
    expected = dyson.wishart_moments(
        np.linalg.eigvalsh(start @ start.T), time, columns=columns, noise_scale=noise_scale
    )
    for draws, value in zip((trace, square), expected, strict=True):
        assert abs(draws.mean() - value) < 4 * draws.std() / np.sqrt(len(draws))


def test_wishart_one_step_variance_by_draws():
    """The one-step diffusion of the levels of a 4 × 8 matrix is 4 g² x_i."""
    rng = np.random.default_rng(2)
    start, noise, time = rng.normal(size=(4, 8)) * 1.5, 0.8, 1e-6
    weights = start + noise * np.sqrt(time) * rng.normal(size=(20000, 4, 8))
    levels = np.linalg.eigvalsh(weights @ np.swapaxes(weights, 1, 2))
    expected = np.diag(dyson.wishart_diffusion(np.linalg.eigvalsh(start @ start.T), noise))
    np.testing.assert_allclose(levels.var(axis=0) / time, expected, rtol=0.04)


@pytest.mark.parametrize(("start", "time"), [((0, 1, 2, 3, 4), 0.5), ((-1, 0, 4), 0.2)])
def test_matrix_dyson_brownian_motion(start, time):
    rng = np.random.default_rng(3)
    size = len(start)
    levels = np.linalg.eigvalsh(np.diag(start) + np.sqrt(time) * orthogonal_draws(rng, size, 20000))
    square, variance = dyson.brownian_matrix_moments(start, time)
    assert square == pytest.approx(sum(x**2 for x in start) + size * (size + 1) * time)
    draws = (levels**2).sum(axis=1)
    assert abs(draws.mean() - square) < 4 * draws.std() / np.sqrt(len(draws))
    assert levels.sum(axis=1).var() == pytest.approx(variance, rel=0.04)
    if time == 0.5:
        assert (square, variance) == (45, 5)
        np.testing.assert_allclose(levels.mean(axis=0), [-1.02, 0.58, 2.00, 3.41, 5.03], atol=0.03)


def test_euler_steps_of_the_eigenvalue_equation_fail_at_collisions():
    """The plain scheme kicks levels apart where they nearly meet: a warning against making synthetic data with it."""
    rng = np.random.default_rng(4)
    step, levels = 2.5e-4, np.tile(np.arange(5.0), (2000, 1))
    for _ in range(2000):
        levels = levels + step * dyson.coulomb_sum(levels, 1.0) + np.sqrt(2 * step) * rng.normal(size=levels.shape)
        levels.sort(axis=1)
    assert (levels**2).sum(axis=1).mean() > dyson.brownian_matrix_moments(np.arange(5.0), 0.5)[0] + 5


def test_one_step_of_sgd_to_second_order():
    """Mean and variance of the level steps against random batches of a finite pool of per-sample gradients."""
    rng = np.random.default_rng(5)
    rows, columns, pool, batch_size, rate = 4, 6, 30, 3, 0.02
    left, right = np.linalg.qr(rng.normal(size=(rows, rows)))[0], np.linalg.qr(rng.normal(size=(columns, columns)))[0]
    singular = np.sqrt([9.0, 6.0, 3.5, 1.2])
    weights = left * singular @ right[:, :rows].T
    gradients = rng.normal(size=(pool, rows, columns)) * rng.uniform(0.1, 1, size=(pool, 1, 1)) + 0.4
    drives = weights @ np.swapaxes(gradients, 1, 2) + gradients @ weights.T
    drift, diffusion = dyson.eigenbasis_moments(drives, left)
    rotated = left.T @ gradients
    batches = rng.integers(pool, size=(60000, batch_size))
    gradient = gradients[batches].mean(axis=1)
    moved = weights + rate * gradient
    steps = np.linalg.eigvalsh(moved @ np.swapaxes(moved, 1, 2))[:, ::-1] - singular**2
    first_order = rate * np.diagonal(left.T @ drives[batches].mean(axis=1) @ left, axis1=1, axis2=2)
    predicted = dyson.mean_level_step(
        singular**2,
        drift,
        diffusion=diffusion,
        mean_gradient_square=(rotated.mean(axis=0) ** 2).sum(axis=-1),
        gradient_variance=rotated.var(axis=0).sum(axis=-1),
        learning_rate=rate,
        batch_size=batch_size,
    )
    # The first order is a control variate: its mean is known, so the second order shows far above the noise.
    second = steps - first_order
    error = second.std(axis=0) / np.sqrt(len(second))
    remainder = predicted - rate * np.diag(drift)
    assert np.all(np.abs(remainder) > 20 * error)
    assert np.all(np.abs(second.mean(axis=0) - remainder) < 4 * error + 0.05 * np.abs(remainder))
    expected = dyson.level_step_variance(diffusion, learning_rate=rate, batch_size=batch_size)
    np.testing.assert_allclose(steps.var(axis=0), expected, rtol=0.1)


def test_langevin_drift_is_the_small_step_limit_of_the_mean_step():
    rng = np.random.default_rng(6)
    levels, diffusion = np.array([5.0, 3.0, 1.0]), rng.uniform(size=(3, 3))
    drift, gradient_variance, rate, size = np.diag(rng.normal(size=3)), rng.uniform(size=3), 1e-3, 4
    kwargs = {"diffusion": diffusion, "gradient_variance": gradient_variance}
    step = dyson.mean_level_step(levels, drift, learning_rate=rate, batch_size=size, **kwargs)
    rates = dyson.eigenvalue_drift(levels, np.diag(drift), temperature=rate / size, **kwargs)
    # The diagonal drift matrix adds nothing to the second-order sum.
    np.testing.assert_allclose(step, rate * rates, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_isotropic_noise_has_the_closed_orthogonality_ratio(seed):
    levels = np.random.default_rng(seed).uniform(0.1, 5, size=4)
    measured = dyson.orthogonality_ratio(dyson.wishart_diffusion(levels, 0.7))
    expected = dyson.isotropic_orthogonality_ratio(levels)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(measured[off], expected[off], rtol=1e-12)
    assert np.all(expected >= 1 - 1e-12)


def test_noise_amplitude_broadcasts_temperature():
    diffusion = np.stack([np.diag([4.0, 1.0]), np.diag([16.0, 9.0])])
    np.testing.assert_allclose(dyson.noise_amplitude(diffusion, [1.0, 4.0]), [[2, 1], [8, 6]])


def test_orthogonal_moments_of_the_drives():
    """In a new basis the properly rotated moments are the same; the published variance is not."""
    rng = np.random.default_rng(7)
    drives = rng.normal(size=(50, 4, 4))
    drives += np.swapaxes(drives, 1, 2)
    vectors, turn = (np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2))
    turned = turn @ drives @ turn.T
    for once, again in zip(
        dyson.eigenbasis_moments(drives, vectors), dyson.eigenbasis_moments(turned, turn @ vectors), strict=True
    ):
        np.testing.assert_allclose(once, again, atol=1e-12)
    mean, variance = dyson.published_eigenbasis_moments(drives, vectors)
    other_mean, other_variance = dyson.published_eigenbasis_moments(turned, turn @ vectors)
    np.testing.assert_allclose(mean, other_mean, atol=1e-12)
    assert np.abs(variance - other_variance).max() > 0.1 * np.abs(variance).max()
    assert variance.min() < 0
