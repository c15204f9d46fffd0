import numpy as np
import pytest
from scipy import integrate

from sgdphases.theory import random_matrix

ENSEMBLES = ("orthogonal", "unitary", "poisson")


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_density_distribution_and_moments_agree(ensemble):
    for order in (0, 1, 2, 3):
        total = integrate.quad(lambda s, n=order: s**n * random_matrix.spacing_density(s, ensemble), 0, 60)[0]
        assert total == pytest.approx(random_matrix.spacing_moment(order, ensemble), rel=1e-8)
    assert random_matrix.spacing_moment(1, ensemble) == pytest.approx(1)
    for s in (0.1, 0.9, 2.5):
        total = integrate.quad(lambda t: random_matrix.spacing_density(t, ensemble), 0, s)[0]
        assert total == pytest.approx(random_matrix.spacing_distribution(s, ensemble), rel=1e-9)
    middle = random_matrix.spacing_median(ensemble)
    assert random_matrix.spacing_distribution(middle, ensemble) == pytest.approx(0.5)


def test_closed_forms_of_wigner():
    s = np.linspace(0, 4, 41)
    np.testing.assert_allclose(random_matrix.spacing_density(s), np.pi / 2 * s * np.exp(-np.pi * s**2 / 4), rtol=1e-12)
    np.testing.assert_allclose(random_matrix.spacing_distribution(s), 1 - np.exp(-np.pi * s**2 / 4), atol=1e-14)
    unitary = 32 / np.pi**2 * s**2 * np.exp(-4 * s**2 / np.pi)
    np.testing.assert_allclose(random_matrix.spacing_density(s, "unitary"), unitary, rtol=1e-12)
    assert random_matrix.spacing_moment(2) == pytest.approx(4 / np.pi)
    assert random_matrix.spacing_variance() == pytest.approx(0.273240, abs=1e-6)
    assert random_matrix.spacing_variance("unitary") == pytest.approx(0.178097, abs=1e-6)
    assert random_matrix.spacing_variance("poisson") == 1
    assert random_matrix.spacing_median() == pytest.approx(0.939437, abs=1e-6)
    assert random_matrix.spacing_skewness() == pytest.approx(0.631, abs=5e-4)
    assert random_matrix.spacing_distribution(0.25) == pytest.approx(0.04790, abs=5e-5)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_gap_ratio_density(ensemble):
    assert integrate.quad(lambda r: random_matrix.gap_ratio_density(r, ensemble), 0, 1)[0] == pytest.approx(1)
    mean = integrate.quad(lambda r: r * random_matrix.gap_ratio_density(r, ensemble), 0, 1)[0]
    assert mean == pytest.approx(random_matrix.mean_gap_ratio(ensemble))
    assert random_matrix.gap_ratio_density([-0.1, 1.1], ensemble).sum() == 0


def ratios_of(levels):
    gaps = np.diff(levels, axis=-1)
    return np.minimum(gaps[:, 1:], gaps[:, :-1]) / np.maximum(gaps[:, 1:], gaps[:, :-1])


def symmetric(noise):
    return noise + np.conj(np.swapaxes(noise, 1, 2))


def test_gap_ratios_by_draws():
    rng = np.random.default_rng(0)
    three = ratios_of(np.linalg.eigvalsh(symmetric(rng.normal(size=(20000, 3, 3))))).mean()
    assert three == pytest.approx(random_matrix.mean_gap_ratio(), abs=0.008)
    assert random_matrix.mean_gap_ratio() == pytest.approx(0.53590, abs=1e-5)
    sixteen = ratios_of(np.linalg.eigvalsh(symmetric(rng.normal(size=(3000, 16, 16))))).mean()
    assert sixteen == pytest.approx(random_matrix.mean_gap_ratio(levels="many"), abs=0.005)
    noise = rng.normal(size=(3000, 16, 16)) + 1j * rng.normal(size=(3000, 16, 16))
    unitary = ratios_of(np.linalg.eigvalsh(symmetric(noise))).mean()
    assert unitary == pytest.approx(random_matrix.mean_gap_ratio("unitary", levels="many"), abs=0.006)
    poisson = ratios_of(np.cumsum(rng.exponential(size=(3000, 16)), axis=1)).mean()
    assert poisson == pytest.approx(random_matrix.mean_gap_ratio("poisson"), abs=0.006)
    assert random_matrix.mean_gap_ratio("poisson") == pytest.approx(0.38629, abs=1e-5)


def test_surmise_is_exact_for_two_levels():
    rng = np.random.default_rng(1)
    spacing = np.diff(np.linalg.eigvalsh(symmetric(rng.normal(size=(20000, 2, 2)))), axis=1)[:, 0]
    spacing /= spacing.mean()
    for s in (0.3, 0.9, 1.7):
        assert (spacing < s).mean() == pytest.approx(random_matrix.spacing_distribution(s), abs=0.012)


def test_unknown_ensemble():
    with pytest.raises(ValueError, match="unknown ensemble"):
        random_matrix.spacing_density(1.0, "symplectic")
