import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from sgdphases.theory import coulomb_gas, dyson, random_matrix


def orthogonal_draws(rng, size, count):
    """Symmetric Gaussian matrices, off-diagonal variance 1, diagonal 2."""
    noise = rng.normal(size=(count, size, size))
    return (noise + np.swapaxes(noise, 1, 2)) / np.sqrt(2)


@settings(max_examples=25, deadline=None)
@given(st.floats(-5, 5), st.floats(0.05, 5))
def test_density_of_a_degenerate_level(centre, width):
    def moment(power):
        return integrate.quad(
            lambda x: (x - centre) ** power * coulomb_gas.degenerate_level_density(x, centre=centre, width=width),
            centre - 12 * width,
            centre + 12 * width,
            epsabs=1e-12,
            epsrel=1e-10,
        )[0]

    assert moment(0) == pytest.approx(1, abs=1e-8)
    assert moment(1) == pytest.approx(0, abs=1e-7 * width)
    assert moment(2) == pytest.approx(1.5 * width**2, rel=1e-7)


@pytest.mark.parametrize("level", [-3.0, -0.4, 0.0, 1.1])
def test_distribution_is_the_integral_of_the_density(level):
    total = integrate.quad(lambda x: coulomb_gas.degenerate_level_density(x, centre=0.3, width=0.8), -15, level)[0]
    value = coulomb_gas.degenerate_level_distribution(level, centre=0.3, width=0.8)
    assert value == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("width", [0.3, 2.0])
def test_degenerate_level_by_draws(width):
    rng = np.random.default_rng(0)
    levels = np.linalg.eigvalsh(orthogonal_draws(rng, 2, 40000) * width / np.sqrt(2))
    spacing = np.diff(levels, axis=1)
    assert spacing.mean() == pytest.approx(coulomb_gas.degenerate_level_spacing(width), rel=0.01)
    assert spacing.mean() == pytest.approx(coulomb_gas.off_diagonal_level_spacing(width**2 / 2), rel=0.01)
    for x in (-width, 0.5 * width):
        share = (levels < x).mean()
        assert share == pytest.approx(coulomb_gas.degenerate_level_distribution(x, width=width), abs=0.01)


def test_many_fold_degeneracy_tends_to_the_semicircle():
    levels = np.linalg.eigvalsh(orthogonal_draws(np.random.default_rng(1), 100, 40)).ravel()
    radius = 2 * np.sqrt(100)
    for low, high in [(-20, -10), (-5, 5), (8, 19)]:
        expected = integrate.quad(lambda x: coulomb_gas.semicircle_density(x, radius=radius), low, high)[0]
        assert ((levels > low) & (levels < high)).mean() == pytest.approx(expected, abs=0.02)
    assert integrate.quad(lambda x: coulomb_gas.semicircle_density(x, centre=1, radius=3), -2, 4)[0] == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 3), st.floats(0.2, 3))
def test_stationary_density_balances_the_langevin_drift(seed, noise_strength, stiffness):
    """The gradient of ln P is drift / g² (no current): the drift of the equation against the density."""
    levels = np.sort(np.random.default_rng(seed).normal(size=4))[::-1] + np.array([3.0, 2.0, 1.0, 0.0])

    def log_density(x):
        return coulomb_gas.coulomb_gas_log_density(x, stiffness * x**2 / 2, noise_strength=noise_strength)

    shifts = 1e-5 * np.eye(4)
    slope = [(log_density(levels + shift) - log_density(levels - shift)) / 2e-5 for shift in shifts]
    drift = -stiffness * levels + noise_strength * dyson.coulomb_sum(levels, 1.0)
    np.testing.assert_allclose(slope, drift / noise_strength, rtol=1e-5, atol=1e-5)


def test_single_level_width():
    assert coulomb_gas.stationary_level_width(0.5, 2.0) == 0.5
    grid = np.linspace(-5, 5, 2001)
    weight = np.exp([coulomb_gas.coulomb_gas_log_density(x[None], x[None] ** 2, noise_strength=0.5) for x in grid])
    assert np.sqrt(np.average(grid**2, weights=weight)) == pytest.approx(0.5, rel=1e-6)


def relaxed_matrices(rng, *, rate, size, relaxation, deviation, steps, count):
    """The discrete Ornstein-Uhlenbeck process of a symmetric 2 × 2 matrix, after some steps."""
    matrix = np.zeros((count, 2, 2))
    for _ in range(steps):
        noise = deviation * orthogonal_draws(rng, 2, count)
        matrix = (1 - rate * relaxation) * matrix + rate / np.sqrt(size) * noise
    return matrix


@pytest.mark.parametrize(
    ("rate", "size", "relaxation", "deviation"), [(0.1, 16, 1.0, 1.0), (0.5, 4, 1.5, 0.3), (0.9, 8, 2.0, 2.0)]
)
def test_discrete_relaxation_by_draws(rate, size, relaxation, deviation):
    rng = np.random.default_rng(2)
    steps = int(np.log(1e-4) / np.log(abs(1 - rate * relaxation) + 1e-9)) + 2
    arguments = {"rate": rate, "size": size, "relaxation": relaxation, "deviation": deviation}
    matrix = relaxed_matrices(rng, steps=steps, count=20000, **arguments)
    variance = coulomb_gas.relaxed_noise_variance(deviation**2, relaxation, learning_rate=rate, batch_size=size)
    assert matrix[:, 0, 1].var() == pytest.approx(variance, rel=0.05)
    assert matrix[:, 0, 0].var() == pytest.approx(2 * variance, rel=0.05)
    spacing = np.diff(np.linalg.eigvalsh(matrix), axis=1).mean()
    assert spacing == pytest.approx(coulomb_gas.off_diagonal_level_spacing(variance), rel=0.02)


def test_discrete_relaxation_values_and_autocorrelation():
    variance = coulomb_gas.relaxed_noise_variance(1.0, 1.0, learning_rate=0.1, batch_size=16)
    assert variance == pytest.approx(0.0032895, abs=1e-7)
    assert coulomb_gas.off_diagonal_level_spacing(variance) == pytest.approx(0.143765, abs=1e-5)
    rng, path = np.random.default_rng(3), [np.zeros(4000)]
    for _ in range(80):
        path.append(0.9 * path[-1] + 0.1 / 4 * rng.normal(size=4000))
    for lag in (1, 5, 10):
        measured = np.corrcoef(path[60], path[60 + lag])[0, 1]
        assert measured == pytest.approx(coulomb_gas.relaxation_autocorrelation(lag, 1.0, learning_rate=0.1), abs=0.05)


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-3, 0.2), st.floats(0.5, 2), st.integers(1, 64), st.integers(2, 4))
def test_only_the_temperature_matters_to_first_order(rate, relaxation, size, factor):
    once = coulomb_gas.relaxed_noise_variance(1.0, relaxation, learning_rate=rate, batch_size=size)
    scaled = coulomb_gas.relaxed_noise_variance(1.0, relaxation, learning_rate=factor * rate, batch_size=factor * size)
    assert once < scaled
    assert scaled / once - 1 == pytest.approx((factor - 1) * rate * relaxation / (2 - factor * rate * relaxation))
    if factor * rate * relaxation < 0.5:
        assert scaled / once - 1 < factor * rate * relaxation


def test_teacher_student_slopes_tend_to_the_continuous_limit():
    for slope in (coulomb_gas.teacher_student_spacing_slope, coulomb_gas.exact_teacher_student_spacing_slope):
        assert slope(1e-9, 16) == pytest.approx(np.sqrt(np.pi))
        # Without input noise (large batches) both are the discrete relaxation's.
        plain = coulomb_gas.relaxed_noise_variance(1.0, 1.0, learning_rate=0.3, batch_size=1) / 0.3
        assert slope(0.3, 1e12) == pytest.approx(coulomb_gas.off_diagonal_level_spacing(plain))
    width = coulomb_gas.teacher_student_width(0.1, learning_rate=0.1, batch_size=16)
    assert coulomb_gas.degenerate_level_spacing(width) == pytest.approx(np.sqrt(np.pi * 0.1 * 0.01 / 16))


@pytest.mark.parametrize(("rate", "size"), [(0.1, 4), (0.7, 3), (0.5, 16)])
def test_exact_teacher_student_slope_solves_the_second_moments(rate, size):
    """Fixed point of E[δ⊗δ] as a linear system, with the fourth moments of Gaussian inputs spelled out."""
    one = np.eye(2)
    # E[C_ab C_cd] of the covariance of `size` unit Gaussian inputs.
    pairs = np.einsum("ac,bd->abcd", one, one) + np.einsum("ad,bc->abcd", one, one)
    squares = np.einsum("ab,cd->abcd", one, one) + pairs / size
    mixed = np.einsum("ab,cd->abcd", one, one)
    # M = 1 − αC acts from the right on both factors: E[M_bj M_dl].
    step = (1 - 2 * rate) * mixed + rate**2 * squares
    growth = np.einsum("ai,ck,bjdl->ijklabcd", one, one, step).reshape(16, 16)
    # Per-sample symmetric noise, off-diagonal variance 1 and diagonal 2: E[a_ij a_kl].
    noise = np.einsum("ik,jl->ijkl", one, one) + np.einsum("il,jk->ijkl", one, one)
    moments = np.linalg.solve(np.eye(16) - growth, rate**2 / size * noise.reshape(16)).reshape(2, 2, 2, 2)
    split = (moments[0, 1, 0, 1] + moments[0, 1, 1, 0]) / 2
    expected = coulomb_gas.off_diagonal_level_spacing(split) / np.sqrt(rate / size)
    assert coulomb_gas.exact_teacher_student_spacing_slope(rate, size) == pytest.approx(expected, rel=1e-12)


def test_lattice_kernel():
    size, mass = 8, 1.3
    chain = (mass**2 + 2) * np.eye(size) - np.roll(np.eye(size), 1, axis=0) - np.roll(np.eye(size), -1, axis=0)
    np.testing.assert_allclose(coulomb_gas.lattice_kernel(size, mass), np.linalg.eigvalsh(chain), atol=1e-12)


def test_boltzmann_machine_level_from_its_own_linearisation():
    """Width of a level from the relaxation rate and the variance of one update, without the closed form."""
    kernel, mass_square, rate, size = 5.0, 9.0, 0.02, 16
    level = coulomb_gas.boltzmann_machine_level(kernel, mass_square)
    kick = (rate * 2 * level / kernel) ** 2 / size
    relaxation = coulomb_gas.boltzmann_machine_relaxation(kernel, mass_square, learning_rate=rate)
    off_diagonal = kick / (2 * relaxation)
    arguments = {"learning_rate": rate, "batch_size": size}
    spacing = coulomb_gas.boltzmann_machine_spacing(kernel, mass_square, **arguments)
    assert spacing == pytest.approx(coulomb_gas.off_diagonal_level_spacing(off_diagonal))
    deviation = coulomb_gas.boltzmann_machine_deviation(kernel, mass_square, **arguments)
    assert deviation == pytest.approx(np.sqrt(2 * off_diagonal))
    assert spacing / deviation == pytest.approx(np.sqrt(np.pi))
    assert random_matrix.spacing_moment(1) == pytest.approx(1)
