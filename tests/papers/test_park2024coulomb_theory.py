"""Park, Aarts, Lucini, arXiv 2407.16427: Coulomb gas of the linear teacher-student model and the scalar-field RBM."""

import numpy as np
import pytest

from sgdphases.fits import spectrum
from sgdphases.theory import coulomb_gas, random_matrix


def linear_students(rng, *, rate, size, noise, replicas=4000, teacher=2.0):
    """Singular values of independent 2 × 2 students, fresh inputs and fresh symmetric noise at every step."""
    error = np.zeros((replicas, 2, 2))
    for _ in range(int(14 / rate)):
        inputs = rng.normal(size=(replicas, 2, size))
        covariance = inputs @ np.swapaxes(inputs, 1, 2) / size
        # The mean over a batch of symmetric noise with off-diagonal deviation ν and diagonal √2 ν.
        draw = rng.normal(size=(replicas, 2, 2)) * noise / np.sqrt(size)
        kick = (draw + np.swapaxes(draw, 1, 2)) / np.sqrt(2)
        error = error - rate * (error @ covariance) + rate * kick
    return np.linalg.svd(teacher * np.eye(2) + error, compute_uv=False)


@pytest.mark.parametrize(
    ("rate", "size", "claimed"), [(0.1, 16, 1.828), (0.5, 16, 2.114), (0.3, 8, None), (0.1, 64, None)]
)
def test_spacing_of_the_linear_student(rate, size, claimed):
    """Claims 20 to 22 with fresh data: slope, Wigner spacing, and the width of the density."""
    levels = linear_students(np.random.default_rng(size), rate=rate, size=size, noise=0.05)
    unit = coulomb_gas.teacher_student_width(0.05, learning_rate=rate, batch_size=size)
    spacing = spectrum.mean_spacing(levels, resamples=100)
    exact = coulomb_gas.exact_teacher_student_spacing_slope(rate, size)
    leading = coulomb_gas.teacher_student_spacing_slope(rate, size)
    assert spacing.value / unit == pytest.approx(exact, rel=0.025)
    assert leading == pytest.approx(exact, rel=0.02)
    if claimed:
        assert leading == pytest.approx(claimed, abs=5e-4)
    variance = spectrum.normalised_spacing_variance(levels, resamples=100)
    assert variance.value == pytest.approx(random_matrix.spacing_variance(), abs=0.02)
    width = spectrum.degenerate_level_fit(levels, groups=8)[1]
    assert coulomb_gas.degenerate_level_spacing(width.value) / spacing.value == pytest.approx(1, abs=0.03)


def test_corrected_slopes():
    """Discrete time alone: 1.772 for small rates, 1.8185 at 0.1 and 2.047 at 0.5; runs with fresh data."""
    rates = np.array([1e-6, 0.1, 0.5])
    np.testing.assert_allclose(
        coulomb_gas.teacher_student_spacing_slope(rates, 1e9), [1.7725, 1.8185, 2.0467], atol=2e-4
    )
    measured = {(0.1, 16): (1.822, 0.009), (0.3, 16): (1.939, 0.007), (0.5, 16): (2.090, 0.015)}
    for (rate, size), (slope, error) in measured.items():
        assert coulomb_gas.exact_teacher_student_spacing_slope(rate, size) == pytest.approx(slope, abs=2 * error)


def test_kernel_of_the_scalar_field():
    kernel = coulomb_gas.lattice_kernel(10, 2.0)
    expected = [4, 4.38197, 4.38197, 5.38197, 5.38197, 6.61803, 6.61803, 7.61803, 7.61803, 8]
    np.testing.assert_allclose(kernel, expected, atol=1e-5)
    np.testing.assert_allclose(coulomb_gas.boltzmann_machine_level(kernel[[0, -1]], 9.0), [5, 1])


def test_slopes_of_the_boltzmann_machine():
    """Claims 23 and 25 in the limit of small α/B: √(2π) for spacings, √2 for single levels."""
    kernel = coulomb_gas.lattice_kernel(10, 2.0)
    unit = np.sqrt(0.1 / 16 * coulomb_gas.boltzmann_machine_level(kernel, 9.0))
    arguments = {"learning_rate": 0.1, "batch_size": 16}
    spacing = coulomb_gas.boltzmann_machine_spacing(kernel, 9.0, **arguments)
    np.testing.assert_allclose(spacing / unit, 2.507, atol=5e-4)
    np.testing.assert_allclose(
        coulomb_gas.boltzmann_machine_deviation(kernel, 9.0, **arguments) / unit, np.sqrt(2), rtol=1e-12
    )


def machine_spectra(rng, *, rate, size, steps, chains, every):
    """Levels of Gaussian RBMs with independent samples of their own distribution, started at the fixed point."""
    kernel, mass_square = coulomb_gas.lattice_kernel(10, 2.0), 9.0
    weights = np.tile(np.diag(np.sqrt(mass_square - kernel)), (chains, 1, 1))
    spectra = []
    for step in range(1, steps + 1):
        precision = mass_square * np.eye(10) - np.swapaxes(weights, 1, 2) @ weights
        root = np.linalg.cholesky(precision)
        samples = np.linalg.solve(np.swapaxes(root, 1, 2), rng.normal(size=(chains, 10, size)))
        model = samples @ np.swapaxes(samples, 1, 2) / size
        weights = weights + rate * weights @ (np.diag(1 / kernel) - model)
        if step > steps // 3 and step % every == 0:
            spectra.append(np.linalg.eigvalsh(np.swapaxes(weights, 1, 2) @ weights))
    return np.concatenate(spectra)


def test_widths_of_the_boltzmann_machine_by_simulation():
    """Independent samples at small α/B: the four degenerate pairs and the isolated top level (κ = 4)."""
    rate, size = 0.1, 256
    levels = machine_spectra(np.random.default_rng(0), rate=rate, size=size, steps=800, chains=40, every=40)
    kernel = coulomb_gas.lattice_kernel(10, 2.0)[::-1]
    arguments = {"learning_rate": rate, "batch_size": size}
    for pair in ((5, 6), (7, 8)):
        spacing = np.diff(levels[:, pair], axis=1).mean()
        expected = coulomb_gas.boltzmann_machine_spacing(kernel[pair[0]], 9.0, **arguments)
        assert spacing == pytest.approx(expected, rel=0.06)
    deviation = coulomb_gas.boltzmann_machine_deviation(kernel[9], 9.0, **arguments)
    assert levels[:, 9].std() == pytest.approx(deviation, rel=0.1)
