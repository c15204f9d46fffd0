import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_modes import RATES, modes
from sgdphases.theory import langevin, phase_space

VECTORS = np.array([[-1, 1], [1, 1]]) / np.sqrt(2)
TOY = VECTORS @ np.diag([4.0, 1.0]) @ VECTORS.T
TOY_NOISE = np.diag([4.0, 1.0])


def positive(rng, size):
    root = rng.normal(size=(size, size))
    return root @ root.T + 0.1 * np.eye(size)


def test_oracle_o4_matrices_of_a_mode():
    process = phase_space.momentum_process(1.0, 0.25, batch_size=32, weight_decay=0.01, **RATES)
    np.testing.assert_allclose(process.drift, [[0, -1], [21.263157894736842, 2.1052631578947363]], rtol=1e-15)
    assert process.inverse_temperature == pytest.approx(6.08, rel=1e-14)
    np.testing.assert_allclose(process.covariance, np.diag([0.0117574257425743, 0.25]), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(process.potential, np.diag([1 / 0.0117574257425743, 4]), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(process.circulation, [[0, -0.25], [0.25, 0]], atol=1e-14)
    np.testing.assert_allclose(process.diffusion, np.diag([0, 0.526315789473684]), rtol=2e-15)
    again = (process.diffusion + process.circulation) @ process.potential
    np.testing.assert_allclose(again, process.drift, atol=1e-13)
    turn = langevin.frequency(1.01, **RATES)
    np.testing.assert_allclose(process.frequencies, [-turn, turn], rtol=1e-12)


def test_oracle_o5_toy_process():
    np.testing.assert_allclose(TOY, [[2.5, -1.5], [-1.5, 2.5]], rtol=1e-14)
    np.testing.assert_allclose(VECTORS.T @ TOY_NOISE @ VECTORS, [[2.5, -1.5], [-1.5, 2.5]], rtol=1e-14)
    process = phase_space.ornstein_uhlenbeck(TOY, TOY_NOISE)
    np.testing.assert_allclose(process.circulation, [[0, 0.9], [-0.9, 0]], atol=1e-12)
    np.testing.assert_allclose(
        process.potential, [[0.8004158004, -0.7796257796], [-0.7796257796, 1.7983367983]], atol=6e-11
    )
    np.testing.assert_allclose(process.covariance, [[2.1625, 0.9375], [0.9375, 0.9625]], atol=1e-12)
    np.testing.assert_allclose(process.frequencies, [-0.8207293547, 0.8207293547], atol=6e-11)
    np.testing.assert_allclose(np.linalg.solve(TOY, [-0.1, 0.05]), [-0.04375, -0.00625], atol=1e-12)
    np.testing.assert_allclose(phase_space.symmetric_circulation(TOY, TOY_NOISE), process.circulation, atol=1e-12)
    own = phase_space.discretised_covariance(TOY, TOY_NOISE, step=1e-4)
    expected = [[1.0813365097e-4, 4.6874999531e-5], [4.6874999531e-5, 4.8128850589e-5]]
    np.testing.assert_allclose(own, expected, atol=6e-15)
    rough = [[1.08125e-4, 4.6875e-5], [4.6875e-5, 4.8125e-5]]
    np.testing.assert_allclose(1e-4 / 2 * process.covariance, rough, rtol=1e-12)


def test_oracle_o5_by_simulation():
    rng = np.random.default_rng(8)
    runs, step = 40000, 0.05
    points = np.zeros((2, runs))
    for _ in range(120):
        points = points - step * (TOY @ points) - step * np.sqrt(TOY_NOISE) @ rng.normal(size=(2, runs))
    own = phase_space.discretised_covariance(TOY, TOY_NOISE, step=step)
    scale = np.sqrt(np.outer(np.diag(own), np.diag(own)))
    np.testing.assert_allclose(np.cov(points) / scale, own / scale, atol=4 * np.sqrt(2 / runs))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_oracle_o13_decomposition(seed, size):
    rng = np.random.default_rng(seed)
    noise = positive(rng, size)
    drift = positive(rng, size)
    skew = rng.normal(size=(size, size))
    for matrix in (drift, drift + skew - skew.T):
        process = phase_space.ornstein_uhlenbeck(matrix, noise)
        scale = np.abs(process.circulation).max() + np.abs(noise).max()
        again = (process.diffusion + process.circulation) @ process.potential
        np.testing.assert_allclose(again, matrix, rtol=1e-6, atol=1e-7 * np.abs(matrix).max())
        np.testing.assert_allclose(process.circulation, -process.circulation.T, atol=1e-12 * scale)
        assert abs(np.trace(process.rotation)) <= 1e-9 * np.abs(process.rotation).max() + 1e-12
        lyapunov = matrix @ process.covariance + process.covariance @ matrix.T
        np.testing.assert_allclose(lyapunov, 2 * noise, atol=1e-9 * scale)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_circulation_does_not_know_the_eigenvectors(seed, size):
    rng = np.random.default_rng(seed)
    noise, drift = positive(rng, size), positive(rng, size)
    own = phase_space.symmetric_circulation(drift, noise)
    scale = np.abs(noise).max()
    np.testing.assert_allclose(own, phase_space.ornstein_uhlenbeck(drift, noise).circulation, atol=1e-8 * scale)
    # The same space, turned: another order and other signs.
    turn = np.eye(size)[rng.permutation(size)] * rng.choice([-1, 1], size=size)
    turned = phase_space.symmetric_circulation(turn @ drift @ turn.T, turn @ noise @ turn.T)
    np.testing.assert_allclose(turned, turn @ own @ turn.T, atol=1e-10 * scale)
    levels, vectors = np.linalg.eigh(drift)
    for order in (np.arange(size), np.arange(size)[::-1], rng.permutation(size)):
        basis, level = vectors[:, order] * rng.choice([-1, 1], size=size), levels[order]
        inner = (level[:, None] - level) / (level[:, None] + level) * (basis.T @ noise @ basis)
        np.testing.assert_allclose(basis @ inner @ basis.T, own, atol=1e-10 * scale)


@settings(max_examples=40, deadline=None)
@given(modes(), st.floats(0.1, 10))
def test_modes_agree_with_langevin(mode, batch_size):
    curvature, noise, rates = mode
    process = phase_space.momentum_process(curvature, noise * batch_size, batch_size=batch_size, **rates)
    own = process.covariance / process.inverse_temperature
    position = langevin.position_variance(curvature, noise, **rates)
    velocity = langevin.velocity_variance(noise, momentum=rates["momentum"])
    scale = np.sqrt(np.outer([position, velocity], [position, velocity]))
    np.testing.assert_allclose(own / scale, np.eye(2), atol=1e-8)
    turn = langevin.frequency(curvature, **rates)
    np.testing.assert_allclose(process.frequencies, [-turn, turn], rtol=1e-6)


def test_commuting_noise_in_many_directions():
    rng = np.random.default_rng(9)
    vectors = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    hessian, noise = (vectors @ np.diag(levels) @ vectors.T for levels in ([3.0, 1.0, 0.2], [0.7, 0.1, 0.4]))
    words = {"batch_size": 16, "weight_decay": 0.05, **RATES}
    process = phase_space.momentum_process(hessian, noise, **words)
    zero = np.zeros((3, 3))
    np.testing.assert_allclose(process.circulation, np.block([[zero, -noise], [noise, zero]]), atol=1e-12)
    inverse, m = np.linalg.inv(noise), langevin.mass(**RATES)
    stiffness = inverse @ (hessian + 0.05 * np.eye(3)) / m
    np.testing.assert_allclose(process.potential, np.block([[stiffness, zero], [zero, inverse]]), atol=1e-8)
    # Assumption 5: with noise as the Hessian and no decay, positions are isotropic.
    isotropic = phase_space.momentum_process(hessian, 0.3 * hessian, batch_size=16, **RATES)
    np.testing.assert_allclose(isotropic.potential[:3, :3], np.eye(3) / (0.3 * m), atol=1e-8)
    # Clockwise: the current at (x, 0) goes towards −v, that at (0, v) towards +x.
    turn = isotropic.rotation
    np.testing.assert_allclose(turn[:3, 3:], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(turn[3:, :3], -hessian / m, atol=1e-9)


def test_modified_loss():
    process = phase_space.momentum_process(1.0, 0.25, batch_size=32, weight_decay=0.01, **RATES)
    covariance = process.covariance / process.inverse_temperature
    points = np.array([[0.1, 0.0], [0.0, 0.3], [0.1, 0.3]])
    own = phase_space.modified_loss(points, covariance)
    variances = np.diag(covariance)
    np.testing.assert_allclose(own, (points**2 / variances / 2).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(own[2], 6.08 * points[2] @ process.potential @ points[2] / 2, rtol=1e-12)


def test_no_stationary_state():
    with pytest.raises(ValueError, match="positive real part"):
        phase_space.ornstein_uhlenbeck(np.diag([1.0, -0.1]), np.eye(2))
    with pytest.raises(ValueError, match="reach every direction"):
        phase_space.ornstein_uhlenbeck(np.eye(2), np.diag([1.0, 0.0]))
    with pytest.raises(ValueError, match="symmetric"):
        phase_space.symmetric_circulation([[1.0, 0.1], [0.0, 1.0]], np.eye(2))
    with pytest.raises(ValueError, match="positive definite"):
        phase_space.symmetric_circulation(np.diag([1.0, -1.0]), np.eye(2))
    with pytest.raises(ValueError, match="too large"):
        phase_space.discretised_covariance(TOY, TOY_NOISE, step=0.51)
