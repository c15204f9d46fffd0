from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.observables import spectra
from sgdphases.observables.snapshot import Part, Snapshot


def snapshot_of(make: SimpleNamespace, weights, start=None, widths=None) -> Snapshot:
    count = len(next(iter(weights.values())))
    shard = make.shard(networks=count, network={"widths": widths} if widths else {})
    return Snapshot(Part(shard, np.arange(count), [], start or weights), weights, {})


def layer(make: SimpleNamespace, matrices, start=None) -> Snapshot:
    """One trained layer with these matrices (r, out, in)."""
    first = {0: matrices if start is None else start}
    return snapshot_of(make, {0: matrices}, first, list(matrices.shape[:0:-1]))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_levels_are_the_eigenvalues_of_the_smaller_square(out: int, fan_in: int, seed: int) -> None:
    weights = np.random.default_rng(seed).standard_normal((3, out, fan_in))
    square = weights @ weights.swapaxes(1, 2) if out <= fan_in else weights.swapaxes(1, 2) @ weights
    found = spectra.levels(weights.astype(np.float32)), spectra.levels(weights)
    np.testing.assert_allclose(found[1], np.linalg.eigvalsh(square)[:, ::-1], rtol=1e-9, atol=1e-11)
    assert found[0].dtype == np.float64
    left, values, right = spectra.decomposition(weights)
    np.testing.assert_allclose(left * values[:, None, :] @ right, weights, atol=1e-12)


def test_small_levels_survive_beside_large_ones() -> None:
    weights = np.diag([1e3, 1.0, 1e-6])[None]
    np.testing.assert_allclose(spectra.levels(weights)[0], [1e6, 1.0, 1e-12], rtol=1e-9)


def test_layers_are_padded_to_the_largest_number_of_modes(make: SimpleNamespace) -> None:
    shard = make.shard(networks=3)
    snapshot = snapshot_of(make, make.weights(shard))
    found = spectra.eigenvalues(snapshot)
    assert found.shape == (3, 3, 5)
    np.testing.assert_array_equal(np.isfinite(found).sum(axis=2), [[3, 5, 2]] * 3)
    assert (np.diff(found, axis=2)[np.isfinite(np.diff(found, axis=2))] <= 0).all()


def test_growth_of_the_spread(make: SimpleNamespace) -> None:
    start = np.diag([2.0, 1.0, 0.5])[None]
    np.testing.assert_array_equal(spectra.log_spread_growth(layer(make, start)), [[0.0]])
    grown = np.diag([20.0, 3.0, 5.0])[None]
    found = spectra.log_spread_growth(layer(make, grown, start))
    assert found[0, 0] == pytest.approx(np.log((400 - 9) / (4 - 0.25)))
    assert np.isnan(spectra.log_spread_growth(layer(make, np.eye(3)[None], start))).all()


def test_the_initial_spectrum_has_the_published_edges_and_scale(make: SimpleNamespace) -> None:
    # Dossier claim 26: K = 16, L = 32, <x_max> = 2.588, <x_min> = 0.122, in units of sigma^2.
    scale = np.repeat([0.125, 1.0, 256.0], 700)
    rng = np.random.default_rng(3)
    snapshot = layer(make, rng.standard_normal((2100, 16, 32)) / np.sqrt(32) * scale[:, None, None])
    x = (spectra.eigenvalues(snapshot)[:, 0] / scale[:, None] ** 2).reshape(3, 700, 16)
    np.testing.assert_allclose(x[..., 0].mean(axis=1), 2.588, rtol=0.012)
    np.testing.assert_allclose(x[..., -1].mean(axis=1), 0.122, rtol=0.03)
    bulk = spectra.bulk_scale(snapshot)[:, 0] / scale
    np.testing.assert_allclose(bulk.mean(), 1.0, atol=0.02)
    lower, upper = (
        edge[:, 0] / scale**2 for edge in (spectra.bulk_lower_edge(snapshot), spectra.bulk_upper_edge(snapshot))
    )
    np.testing.assert_allclose(lower / bulk**2, 0.0858, atol=1e-4)
    np.testing.assert_allclose(upper / bulk**2, 2.914, atol=1e-3)
    assert spectra.outlier_count(snapshot).mean() < 0.01
    # Gap ratio of 16 Wishart levels: 0.527, see the dossier; the standard error here is 0.0015.
    assert spectra.gap_ratio(snapshot).mean() == pytest.approx(0.527, abs=0.006)


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (60, 60)])
def test_the_bulk_has_the_initial_scale_in_every_orientation(make: SimpleNamespace, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    weights = 3.0 * rng.standard_normal((100, *shape)) / np.sqrt(shape[1])
    spiked = weights.copy()
    spiked[:, 0, :2] += [60.0, 0.0]
    spiked[:, 1, :2] += [0.0, 50.0]
    clean, pulled = layer(make, weights), layer(make, spiked)
    np.testing.assert_allclose(spectra.bulk_scale(clean).mean(), 3.0, rtol=0.02)
    np.testing.assert_allclose(spectra.bulk_scale(pulled).mean(), 3.0, rtol=0.05)
    assert (spectra.outlier_count(clean) == 0).mean() > 0.9
    assert (spectra.outlier_count(pulled) == 2).mean() > 0.9
    x = spectra.eigenvalues(clean)[:, 0]
    assert np.mean((x > spectra.bulk_lower_edge(clean) * 0.8) & (x < spectra.bulk_upper_edge(clean) * 1.1)) > 0.97
    np.testing.assert_allclose(spectra.gap_ratio(pulled).mean(), 0.531, atol=0.02)


@given(st.integers(1, 12), st.integers(0, 200))
def test_gap_ratio_agrees_with_a_loop(modes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort(rng.random((2, modes)), axis=1)[:, ::-1]
    keep = np.arange(modes)[None] >= rng.integers(0, modes, size=(2, 1))
    found = spectra.mean_gap_ratio(x, keep=keep)
    for row in range(2):
        kept = x[row][keep[row]]
        gaps = -np.diff(kept)
        ratios = [min(a, b) / max(a, b) for a, b in zip(gaps, gaps[1:], strict=False)]
        assert found[row] == pytest.approx(np.mean(ratios) if ratios else np.nan, nan_ok=True)


def test_independent_levels_do_not_repel() -> None:
    x = np.sort(np.random.default_rng(0).random((100, 200)), axis=1)[:, ::-1]
    assert spectra.mean_gap_ratio(x, keep=np.ones(x.shape, bool)).mean() == pytest.approx(2 * np.log(2) - 1, abs=0.01)


def test_the_teacher_is_missing_where_there_is_none(make: SimpleNamespace) -> None:
    shard = make.shard(networks=2)
    with_teacher = make.task(shard)
    task = type(with_teacher)(*(getattr(with_teacher, n) for n in ("inputs", "targets", "test_inputs", "test_targets")))
    weights = make.weights(shard)
    found = spectra.teacher_eigenvalues(Snapshot(Part(shard, np.arange(2), [with_teacher, task], weights), weights, {}))
    assert found.shape == (2, 3, 5)
    np.testing.assert_allclose(found[0, 1], spectra.levels(with_teacher.teacher[1][None])[0])
    assert np.isnan(found[1]).all()
