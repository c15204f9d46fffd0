"""Park, Lucini, Aarts, arXiv 2509.01349: what its theory says before any network is trained."""

import numpy as np
import pytest

from sgdphases.fits.contour import midpoint_crossing
from sgdphases.fits.power_law import fit_power_law
from sgdphases.theory import criterion, dyson, marchenko_pastur, tanh_features

ROWS, COLUMNS, INPUTS = 16, 32, 3
INVERSE_SCALES = 2.0 ** np.arange(-8, 4)


@pytest.fixture(scope="module")
def spectra():
    """Levels of 1e4 fresh 16 × 32 matrices at σ = 1."""
    weights = np.random.default_rng(0).normal(size=(10000, ROWS, COLUMNS)) / np.sqrt(COLUMNS)
    return np.linalg.eigvalsh(weights @ np.swapaxes(weights, 1, 2))


def test_initial_spectrum(spectra):
    """Claim 26: edges, finite-size extremes and width."""
    lower, upper = marchenko_pastur.edges(ROWS / COLUMNS)
    assert lower == pytest.approx(0.0858, abs=5e-5)
    assert upper == pytest.approx(2.914, abs=5e-4)
    assert spectra[:, -1].mean() == pytest.approx(2.588, rel=0.01)
    assert spectra[:, 0].mean() == pytest.approx(0.122, rel=0.01)
    assert spectra[:, -1].std() == pytest.approx(0.27, abs=0.01)
    assert spectra[:, 0].std() == pytest.approx(0.034, abs=0.001)
    width = (spectra[:, -1] - spectra[:, 0]).mean()
    assert width == pytest.approx(2.466, rel=0.01)
    assert width / criterion.initial_spectrum_width(ROWS, COLUMNS, 1.0) == pytest.approx(0.872, abs=0.005)
    assert (spectra**2).mean() == pytest.approx(marchenko_pastur.moments(ROWS, COLUMNS)[1], rel=0.005)
    assert spectra[:, -1].mean() == pytest.approx(marchenko_pastur.largest_level_moments(ROWS, COLUMNS)[0], rel=0.01)


def test_gap_ratio_of_the_initial_spectrum(spectra):
    gaps = np.diff(spectra, axis=1)
    ratios = np.minimum(gaps[:, 1:], gaps[:, :-1]) / np.maximum(gaps[:, 1:], gaps[:, :-1])
    assert ratios.mean() == pytest.approx(0.527, abs=0.003)


def test_bimodality_of_tanh():
    """Claim 18 and the two vertical lines: 1/σ = √2 as published, 0.83 with the features' own variance."""
    assert tanh_features.tanh_density_curvature(0.5) == 0
    assert 1 / tanh_features.critical_init_scale() == pytest.approx(np.sqrt(2))
    mean_square = tanh_features.first_feature_mean_square(INPUTS)
    assert mean_square == pytest.approx(0.343, abs=0.001)
    assert 1 / tanh_features.critical_init_scale(mean_square) == pytest.approx(0.83, abs=0.005)


def test_initial_overlap():
    """Claim 2: q(0) on the 128 test inputs of the released analysis, from the mean-field law alone."""
    published = [0.993, 0.988, 0.975, 0.951, 0.905, 0.807, 0.645, 0.415, 0.199, 0.069, 0.019, 0.005]
    inputs = np.random.RandomState(42).normal(size=(128, INPUTS))
    squares = (inputs**2).mean(axis=1)
    np.testing.assert_allclose(
        tanh_features.initial_overlap(1 / INVERSE_SCALES, input_mean_square=squares), published, atol=0.008
    )
    np.testing.assert_allclose(tanh_features.initial_overlap(1 / INVERSE_SCALES), published, atol=0.02)


def test_zero_loss_alignment():
    """Claim 19: cos = ‖y‖/(‖Z‖‖s‖) gives 0.229 for the teacher's own features, more than 1/√K for jammed ones."""
    rng = np.random.default_rng(1)
    inputs = np.random.RandomState(42).normal(size=(128, INPUTS))
    cosines = []
    for _ in range(300):
        first = np.tanh(inputs @ rng.normal(size=(INPUTS, COLUMNS)) / np.sqrt(INPUTS))
        features = np.tanh(first @ rng.normal(size=(COLUMNS, ROWS)) / np.sqrt(COLUMNS))
        readout = rng.normal(size=ROWS) / np.sqrt(ROWS)
        norms = (np.linalg.norm(part) for part in (features @ readout, readout, features))
        cosines.append(tanh_features.zero_loss_alignment(*norms))
    assert np.mean(cosines) == pytest.approx(0.229, abs=0.02)
    assert np.mean(cosines) == pytest.approx(1 / np.sqrt(ROWS), abs=0.03)


def test_linear_stability():
    """Linear stability: ε_c = 0.49 and T_c = 0.12 at batch 4; bending of ε_c(B) from linear to constant."""
    sizes = 2.0 ** np.arange(6)
    rates = criterion.stability_learning_rate(sizes)
    np.testing.assert_allclose(rates, [0.26, 0.38, 0.49, 0.58, 0.63, 0.67], atol=0.01)
    assert rates[2] / 4 == pytest.approx(0.12, abs=0.005)
    small, large = (fit_power_law(sizes[part], rates[part]).exponent.value for part in (slice(3), slice(3, 6)))
    assert small > 2 * large


def test_published_contour_is_described_within_an_octave():
    """Fig. 9, read off within 15 %: (1/σ, T) of the 68 % contour."""
    inverse = np.array([0.0122, 0.0156, 0.06, 0.12, 0.25, 0.5, 1, 2, 4, 8])
    contour = np.array([64, 32, 4.7, 2.1, 1.6, 1.05, 0.85, 0.82, 0.69, 0.47])
    ratio = criterion.criterion_boundary_temperature(1 / inverse) / contour
    assert np.all((ratio > 0.5) & (ratio < 2))


def test_spread_boundary_is_described_within_half_an_octave():
    digitised = np.array([4.9, 2.2, 1.5, 1.1, 0.77, 0.59, 0.43, 0.32, 0.21, 0.21, 0.25, 0.23])
    ratio = criterion.spread_boundary_temperature(1 / INVERSE_SCALES) / digitised
    assert np.all(np.abs(np.log2(ratio)) < 0.5)
    slope = fit_power_law(1 / INVERSE_SCALES, digitised, window=(1, 256)).exponent.value
    assert slope == pytest.approx(0.55, abs=0.05)


def test_published_critical_temperature():
    """Claim 12: the midpoint rule on fractions that fall through 0.68 between T = 0.25 and 0.5 gives 0.375."""
    temperatures = 2.0 ** np.arange(-5, 7)
    fractions = np.where(temperatures <= 0.25, 0.9, 0.5)
    assert midpoint_crossing(temperatures, fractions, 0.68) == 0.375


@pytest.mark.parametrize("seed", range(4))
def test_published_variance_takes_random_signs(seed):
    """Quirk 1: rotated as a tensor, the repulsion is negative about as often as not where noise is anisotropic."""
    rng = np.random.default_rng(seed)
    negative = 0
    for _ in range(100):
        direction = rng.normal(size=(200, 1, 1)) * rng.normal(size=(1, ROWS, ROWS)) / 4
        drives = direction + np.swapaxes(direction, 1, 2)
        vectors = np.linalg.qr(rng.normal(size=(ROWS, ROWS)))[0]
        published = criterion.published_repulsion(dyson.published_eigenbasis_moments(drives, vectors)[1])
        assert criterion.repulsion(dyson.eigenbasis_moments(drives, vectors)[1]) > 0
        negative += published < 0
    assert 20 < negative < 80
