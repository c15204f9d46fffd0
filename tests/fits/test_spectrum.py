import numpy as np
import pytest

from sgdphases.fits import spectrum
from sgdphases.theory import marchenko_pastur, random_matrix


def fresh_spectra(rng, rows, columns, *, scale, count):
    weights = rng.normal(size=(count, rows, columns)) * scale / np.sqrt(columns)
    return np.linalg.svd(weights, compute_uv=False) ** 2, weights


@pytest.mark.parametrize(("rows", "columns", "scale"), [(60, 120, 1.0), (120, 60, 2.5), (40, 200, 0.3)])
def test_bulk_of_fresh_matrices(rows, columns, scale):
    levels, _ = fresh_spectra(np.random.default_rng(0), rows, columns, scale=scale, count=40)
    variance, ratio = marchenko_pastur.bulk_parameters(rows, columns, scale)
    bulk = spectrum.marchenko_pastur_bulk(levels, ratio)
    assert np.median(bulk.variance) == pytest.approx(float(variance), rel=0.03)
    assert np.mean(bulk.outliers) < 0.05
    lower, upper = marchenko_pastur.edges(ratio, variance)
    assert np.median(bulk.upper) == pytest.approx(float(upper), rel=0.03)
    assert np.median(bulk.lower) == pytest.approx(float(lower), rel=0.03)


def test_planted_directions_are_outliers_and_do_not_move_the_bulk():
    rng = np.random.default_rng(1)
    levels, weights = fresh_spectra(rng, 60, 120, scale=1.0, count=20)
    for value, index in ((4.0, 0), (3.0, 1)):
        weights[:, index, index] += value
    planted = np.linalg.svd(weights, compute_uv=False) ** 2
    bulk, before = (spectrum.marchenko_pastur_bulk(x, 0.5) for x in (planted, levels))
    np.testing.assert_array_equal(bulk.outliers, 2)
    np.testing.assert_array_equal(bulk.inside.sum(axis=-1), 58)
    # Two of 60 levels shift the median by one rank; a fit of the mean would be off by 40 %.
    np.testing.assert_allclose(bulk.variance, before.variance, rtol=0.1)
    assert np.all(planted.mean(axis=-1) > 1.3 * levels.mean(axis=-1))


def test_gap_ratios_of_square_roots_and_padding():
    levels = np.array([[9.0, 1.0, 3.0, 4.0], [1.0, 2.0, 4.0, np.nan]])
    np.testing.assert_allclose(spectrum.gap_ratios(levels), [[0.5, 0.2], [0.5, np.nan]])
    assert np.isnan(spectrum.gap_ratios(np.ones(3))).all()


@pytest.mark.parametrize(("ensemble", "tolerance"), [("orthogonal", 0.01), ("poisson", 0.01)])
def test_mean_gap_ratio(ensemble, tolerance):
    rng = np.random.default_rng(2)
    if ensemble == "orthogonal":
        levels, _ = fresh_spectra(rng, 16, 32, scale=1.0, count=2000)
    else:
        levels = rng.uniform(size=(2000, 16))
    estimate = spectrum.mean_gap_ratio(levels, resamples=100)
    assert estimate.value == pytest.approx(random_matrix.mean_gap_ratio(ensemble, levels="many"), abs=tolerance)
    assert 0.0005 < estimate.error < 0.004


@pytest.mark.parametrize(("centre", "width"), [(2.0, 0.03), (-40.0, 5.0)])
def test_degenerate_level_fit_and_its_spacing(centre, width):
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(3000, 2, 2)) * width / 2
    levels = centre + np.linalg.eigvalsh(noise + np.swapaxes(noise, 1, 2))
    middle, spread = spectrum.degenerate_level_fit(levels)
    assert abs(middle.value - centre) < 4 * middle.error
    assert abs(spread.value - width) < 4 * spread.error
    assert spread.error < 0.02 * width
    spacing = spectrum.mean_spacing(levels, resamples=200)
    # The fit of the density and the mean spacing say the same.
    assert np.sqrt(np.pi) * spread.value / spacing.value == pytest.approx(1, abs=0.03)
    variance = spectrum.normalised_spacing_variance(levels, resamples=200)
    assert abs(variance.value - random_matrix.spacing_variance()) < 4 * variance.error
    assert variance.error < 0.02


def test_jackknife_error_of_the_width_is_the_scatter_between_experiments():
    rng = np.random.default_rng(4)
    widths, errors = [], []
    for _ in range(25):
        noise = rng.normal(size=(300, 2, 2)) / 2
        _, spread = spectrum.degenerate_level_fit(np.linalg.eigvalsh(noise + np.swapaxes(noise, 1, 2)), groups=10)
        widths.append(spread.value)
        errors.append(spread.error)
    assert np.mean(errors) == pytest.approx(np.std(widths), rel=0.4)
    assert np.std(errors) < 0.45 * np.mean(errors)
