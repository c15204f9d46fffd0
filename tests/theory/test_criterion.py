import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.theory import criterion, dyson


def naive_repulsion(v, off):
    """The sum term by term, with indices from 1; `off` is the slip of the second index."""
    size = len(v)

    def entry(i, j):
        return v[i - 1][j - 1]

    total = 2 * entry(1, size) / (size - 1)
    for k in range(1, size - 1):
        total += (entry(1, 1 + k) + entry(size, size - k + off)) / k
    return total


@pytest.mark.parametrize("size", [2, 3, 5, 16])
def test_repulsion_sums(size):
    v = np.random.default_rng(size).normal(size=(3, size, size))
    np.testing.assert_allclose(criterion.repulsion(v), [naive_repulsion(m, 0) for m in v], rtol=1e-12)
    np.testing.assert_allclose(criterion.published_repulsion(v), [naive_repulsion(m, 1) for m in v], rtol=1e-12)


@pytest.mark.parametrize(("size", "fan_in", "init_scale"), [(16, 32, 1.0), (5, 9, 3.0), (4, 2, 0.5)])
def test_repulsion_is_the_coulomb_drift_of_equally_spaced_levels(size, fan_in, init_scale):
    v = np.random.default_rng(8).uniform(size=(size, size))
    v = v + v.T
    width = float(criterion.initial_spectrum_width(size, fan_in, init_scale))
    levels = np.linspace(width, 0, size)
    pushed = dyson.coulomb_sum(levels, v)
    gap_drift = (pushed[0] - pushed[-1]) * width / (size - 1)
    assert criterion.repulsion(v) == pytest.approx(gap_drift)


def test_quirks_one_by_one():
    assert criterion.published_drift_gap([3.0, 0.0, -2.0]) == 1
    assert criterion.drift_gap([3.0, 0.0, -2.0]) == 5
    diagonal = np.diag([0.0, 0.0, 0.0, 7.0])
    assert criterion.published_repulsion(diagonal) == 7
    assert criterion.repulsion(diagonal) == 0


def published_by_hand(drift, v, *, ratio, scale, temperature):
    size = len(drift)
    left = (abs(drift[0]) - abs(drift[-1])) / (np.sqrt(ratio) * (size - 1))
    return left >= temperature * naive_repulsion(v, 1) / (4 * scale**2)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 10), st.floats(0.2, 5), st.integers(2, 12))
def test_published_inequality(seed, temperature, scale, size):
    rng = np.random.default_rng(seed)
    drift, v = rng.normal(size=size), rng.normal(size=(size, size))
    width = criterion.initial_spectrum_width(size, 3 * size, scale)
    passes = criterion.published_criterion(drift, v, width=width, temperature=temperature)
    assert passes == published_by_hand(drift, v, ratio=3, scale=scale, temperature=temperature)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 5))
def test_criterion_temperature_is_where_the_corrected_criterion_flips(seed, scale):
    rng = np.random.default_rng(seed)
    width = criterion.initial_spectrum_width(6, 12, scale)
    drift, v = rng.normal(size=6), rng.uniform(0.1, 1, size=(6, 6))
    critical = criterion.criterion_temperature(drift, v, width=width)
    assert criterion.corrected_criterion(drift, v, temperature=critical * 0.999, width=width)
    assert not criterion.corrected_criterion(drift, v, temperature=critical * 1.001, width=width)


def test_batches_of_networks_and_temperatures():
    rng = np.random.default_rng(9)
    drift, v = rng.normal(size=(4, 3, 5)), rng.uniform(size=(4, 3, 5, 5))
    temperature = np.geomspace(0.01, 10, 3)
    both = criterion.corrected_criterion(drift, v, width=3.0, temperature=temperature)
    assert both.shape == (4, 3)
    single = criterion.corrected_criterion(drift[2, 1], v[2, 1], width=3.0, temperature=temperature[1])
    assert both[2, 1] == single


def test_a_network_at_rest_passes_and_one_level_has_no_gap():
    assert criterion.corrected_criterion(np.zeros(3), np.zeros((3, 3)), width=4.0, temperature=1.0)
    assert np.isnan(criterion.criterion_temperature(np.zeros(3), np.zeros((3, 3)), width=4.0))
    with pytest.raises(ValueError, match="two levels"):
        criterion.repulsion(np.ones((1, 1)))


def known_network(seed):
    """W of given singular values and per-sample gradients c·W plus independent noise: K and V are then known."""
    rng = np.random.default_rng(seed)
    rows, columns, samples, growth, noise = 6, 12, 40000, 0.3, 0.5
    left, right = np.linalg.qr(rng.normal(size=(rows, rows)))[0], np.linalg.qr(rng.normal(size=(columns, columns)))[0]
    levels = np.linspace(3.0, 0.5, rows)
    weights = left * np.sqrt(levels) @ right[:, :rows].T
    gradients = growth * weights + noise * rng.normal(size=(samples, rows, columns))
    drives = weights @ np.swapaxes(gradients, 1, 2) + gradients @ weights.T
    return weights, levels, drives, growth, noise


def test_moments_of_a_constructed_network():
    weights, levels, drives, growth, noise = known_network(10)
    vectors = np.linalg.eigh(weights @ weights.T)[1][:, ::-1]
    drift, diffusion = dyson.eigenbasis_moments(drives, vectors)
    np.testing.assert_allclose(np.diag(drift), 2 * growth * levels, atol=0.05)
    np.testing.assert_allclose(diffusion, dyson.wishart_diffusion(levels, noise), rtol=0.05)


def test_corrected_criterion_does_not_depend_on_the_basis_and_the_published_one_does():
    weights, _, drives, _, _ = known_network(11)
    drives = drives[:200]
    rng = np.random.default_rng(12)
    corrected, published = [], []
    for _ in range(40):
        turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
        turned = turn @ drives @ turn.T
        vectors = np.linalg.eigh(turn @ weights @ weights.T @ turn.T)[1][:, ::-1]
        drift, diffusion = dyson.eigenbasis_moments(turned, vectors)
        width = criterion.initial_spectrum_width(6, 12, 1.0)
        corrected.append(criterion.criterion_temperature(np.diag(drift), diffusion, width=width))
        drift, diffusion = dyson.published_eigenbasis_moments(turned, vectors)
        published.append(
            criterion.published_criterion(np.diag(drift), diffusion, temperature=2 * corrected[-1], width=width)
        )
    np.testing.assert_allclose(corrected, corrected[0], rtol=1e-9)
    assert 0 < np.mean(published) < 1


@pytest.mark.parametrize(("largest", "ratio"), [(2.82, 7.8), (1.0, 40.0)])
def test_stability_bound_scales_linearly_for_small_batches_and_saturates(largest, ratio):
    arguments = {"largest_curvature": largest, "trace_ratio": ratio}
    sizes = np.array([1.0, 4.0, 1e6])
    rates = criterion.stability_learning_rate(sizes, **arguments)
    assert rates[0] == pytest.approx(2 / ratio)
    assert rates[-1] == pytest.approx(2 / largest, rel=1e-4)
    near = criterion.stability_learning_rate(sizes * 1.001, **arguments)
    np.testing.assert_allclose(
        np.log(near / rates) / np.log(1.001), criterion.stability_exponent(sizes, **arguments), atol=1e-3
    )


def test_boundaries_are_power_laws_above_a_plateau():
    scale = np.array([0.125, 1.0, 4.0, 16.0, 256.0])
    line = criterion.criterion_boundary_temperature(scale)
    assert np.log(line[-1] / line[-2]) / np.log(16) == pytest.approx(1.07)
    assert line[0] == line[1] == 0.65
    assert np.log(np.divide(*criterion.spread_boundary_temperature(scale[[-1, -2]]))) / np.log(16) == pytest.approx(
        0.55
    )
