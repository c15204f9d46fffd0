from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.observables.drift import LevelDynamics, drift_wins, level_dynamics, symmetric_moments
from sgdphases.observables.snapshot import Part, Snapshot
from sgdphases.observables.spectra import decomposition, levels
from sgdphases.theory import dyson

SIZES = st.integers(1, 6)


def dynamics_of(weights, features, forces, decay=None) -> LevelDynamics:
    decay = np.zeros(len(weights)) if decay is None else decay
    return level_dynamics(weights, features, forces, singular=decomposition(weights), weight_decay=decay)


def drives_of(weights, features, forces):
    """A_n of one network, in the basis where X = W W^T or, for more rows than columns, W^T W."""
    steps = [np.outer(force, feature) for force, feature in zip(forces, features, strict=True)]
    if weights.shape[0] <= weights.shape[1]:
        return np.array([weights @ step.T + step @ weights.T for step in steps])
    return np.array([weights.T @ step + step.T @ weights for step in steps])


def random_layer(seed, networks, out, fan_in, samples=40, shared=False):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((1 if shared else networks, samples, fan_in)) + 0.3
    forces = rng.standard_normal((networks, samples, out)) + 0.2
    return rng.standard_normal((networks, out, fan_in)), features, forces


@given(SIZES, SIZES, st.integers(1, 20), st.booleans(), st.integers(0, 99))
def test_moments_agree_with_the_drives_made_one_by_one(out, other, samples, shared, seed) -> None:
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((3, samples, out))
    second = rng.standard_normal((1 if shared else 3, samples, out)) * 10.0 ** rng.integers(-3, 4)
    mean, variance = symmetric_moments(first, second)
    a, b = first, np.broadcast_to(second, first.shape)
    drives = np.einsum("rni,rnj->rnij", a, b) + np.einsum("rni,rnj->rnij", b, a)
    np.testing.assert_allclose(mean, drives.mean(axis=1), rtol=1e-10, atol=1e-12 * np.abs(drives).max())
    np.testing.assert_allclose(variance, drives.var(axis=1), rtol=1e-8, atol=1e-12 * np.abs(drives).max() ** 2)


def test_equal_samples_have_no_variance_at_all() -> None:
    rng = np.random.default_rng(0)
    first, second = (np.repeat(rng.standard_normal((4, 1, 5)), 100, axis=1) for _ in range(2))
    assert (symmetric_moments(first, second)[1] == 0).all()


@given(SIZES, SIZES, st.booleans(), st.integers(0, 99))
def test_terms_agree_with_the_laws_applied_to_explicit_drives(out, fan_in, shared, seed) -> None:
    weights, features, forces = random_layer(seed, 2, out, fan_in, shared=shared)
    found = dynamics_of(weights, features, forces)
    left, values, right = decomposition(weights)
    for row in range(2):
        seen = features[0 if shared else row]
        drives = drives_of(weights[row], seen, forces[row])
        wide = out <= fan_in
        basis = left[row] if wide else right[row].T
        scale = np.abs(drives).max() ** 2
        drift, variance = dyson.eigenbasis_moments(drives, basis)
        _, published = dyson.published_eigenbasis_moments(drives, basis)
        np.testing.assert_allclose(found.eigenvalues[row], values[row] ** 2)
        np.testing.assert_allclose(found.drift[row], drift, rtol=1e-9, atol=1e-12 * scale)
        np.testing.assert_allclose(found.variance[row], variance, rtol=1e-9, atol=1e-12 * scale)
        np.testing.assert_allclose(found.published_variance[row], published, rtol=1e-9, atol=1e-12 * scale)
        steps = np.einsum("no,ni->noi", forces[row], seen) if wide else np.einsum("no,ni->nio", forces[row], seen)
        rotated = basis.T @ steps
        mean = rotated.mean(axis=0)
        np.testing.assert_allclose(found.mean_square[row], np.sum(mean**2, axis=1), rtol=1e-9)
        np.testing.assert_allclose(found.ito[row], rotated.var(axis=0).sum(axis=1), rtol=1e-9)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5)])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_the_velocity_is_exact_to_second_order(shape: tuple[int, int], decay: float) -> None:
    # The mean over all steps of one sample each is a finite sum: no sampling error, only the third order.
    weights, features, forces = random_layer(3, 1, *shape, samples=12)
    terms = dynamics_of(weights, features, forces, np.array([decay]))
    gradients = np.einsum("no,ni->noi", forces[0], features[0]) - decay * weights[0]
    rate = 3e-4
    moved = [levels(weights[0] + sign * rate * gradients).mean(axis=0) for sign in (1, -1)]
    odd, even = (moved[0] - moved[1]) / (2 * rate), (moved[0] + moved[1] - 2 * terms.eigenvalues[0]) / (2 * rate**2)
    np.testing.assert_allclose(terms.level_drift[0], odd, rtol=2e-4, atol=2e-4)
    first, second = (terms.velocity(np.array([e]), 1)[0] for e in (0.0, 1.0))
    np.testing.assert_allclose(first, terms.level_drift[0])
    np.testing.assert_allclose(second - first, even, rtol=2e-3, atol=2e-3)
    spread = np.var(levels(weights[0] + 1e-6 * gradients), axis=0) / 1e-12
    np.testing.assert_allclose(terms.level_noise[0], spread, rtol=1e-3)


def test_batches_of_independent_noise_obey_the_wishart_process() -> None:
    # Entries of unit variance, no drift: V_ij = x_i + x_j, V_ii = 4 x_i, Ito term L; dossier oracle 7.
    out, fan_in, samples = 4, 8, 400_000
    rng = np.random.default_rng(11)
    weights = rng.standard_normal((1, out, fan_in))
    terms = dynamics_of(weights, rng.standard_normal((1, samples, fan_in)), rng.standard_normal((1, samples, out)))
    x = terms.eigenvalues[0]
    expected = x[:, None] + x[None, :]
    expected[np.diag_indices(out)] = 4 * x
    np.testing.assert_allclose(terms.variance[0], expected, rtol=0.04)
    np.testing.assert_allclose(terms.ito[0], fan_in, rtol=0.03)
    assert np.abs(terms.level_drift[0]).max() < 5 * np.sqrt(4 * x[0] / samples)
    apart = x[:, None] - x[None, :] + np.diag(np.full(out, np.inf))
    drift = fan_in + np.sum((x[:, None] + x[None, :]) / apart, axis=1)
    np.testing.assert_allclose((terms.repulsion + terms.ito)[0], drift, rtol=0.05, atol=0.3)


def test_a_rotation_of_the_rows_changes_the_published_variance_alone() -> None:
    weights, features, forces = random_layer(5, 6, 5, 9)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))[0]
    plain, turned = dynamics_of(weights, features, forces), dynamics_of(turn @ weights, features, forces @ turn.T)
    for name in ("eigenvalues", "level_drift", "level_noise", "repulsion", "ito", "mean_square"):
        np.testing.assert_allclose(getattr(turned, name), getattr(plain, name), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(turned.variance, plain.variance, rtol=1e-8, atol=1e-10)
    assert np.abs(turned.published_variance - plain.published_variance).max() > 0.5
    scale = {"shape": (5, 9), "init_scale": np.ones(6)}
    for temperature in np.geomspace(1e-3, 10, 30):
        heat = np.full(6, temperature)
        found = [drift_wins(terms, **scale, temperature=heat, published=False) for terms in (plain, turned)]
        np.testing.assert_array_equal(*found)


def known_terms(seed: int, modes: int) -> LevelDynamics:
    rng = np.random.default_rng(seed)
    drift, variance, published = (m + m.swapaxes(1, 2) for m in rng.standard_normal((3, 4, modes, modes)))
    x = np.sort(rng.random((4, modes)))[:, ::-1]
    return LevelDynamics(x, drift, variance**2, published, np.zeros((4, modes)), np.zeros((4, modes)))


@given(st.integers(2, 7), st.integers(1, 9), st.integers(0, 99), st.booleans())
def test_the_criterion_is_the_formula_of_the_notebook(modes, fan_in, seed, published) -> None:
    terms = known_terms(seed, modes)
    scale, heat = np.array([0.5, 1.0, 2.0, 8.0]), np.array([0.01, 0.1, 0.3, 1.0])
    shape = (modes, fan_in)
    found = drift_wins(terms, shape=shape, init_scale=scale, temperature=heat, published=published)
    for row in range(4):
        drift, variance = terms.drift[row], (terms.published_variance if published else terms.variance)[row]
        last = modes - 1
        gap = abs(drift[0, 0] - drift[last, last])
        push = sum((variance[0, k] + variance[last, last - k]) / k for k in range(1, modes))
        if published:
            gap = abs(drift[0, 0]) - abs(drift[last, last])
            push = 2 * variance[0, last] / (modes - 1)
            for k in range(1, modes - 1):
                push += (variance[0, k] + variance[last, last - k + 1]) / k
        ratio = fan_in / modes
        assert found[row] == int(gap / (np.sqrt(ratio) * (modes - 1)) >= heat[row] * push / (4 * scale[row] ** 2))


def test_the_criterion_has_no_value_without_levels_width_or_numbers() -> None:
    heat, scale = np.ones(4), np.array([1.0, 0.0, 1.0, 1.0])
    single = drift_wins(known_terms(0, 1), shape=(1, 9), init_scale=scale, temperature=heat, published=False)
    assert single.tolist() == [-1] * 4
    terms = known_terms(0, 5)
    terms.drift[2] = np.nan
    terms.variance[3, 0, 4] = np.inf
    found = drift_wins(terms, shape=(5, 9), init_scale=scale, temperature=heat, published=False)
    assert found.tolist()[1:] == [-1, -1, -1]
    assert found[0] in (0, 1)
    assert found.dtype == np.int8


def test_no_gradient_means_that_the_drift_wins() -> None:
    weights, features, forces = random_layer(0, 2, 4, 6)
    still = dynamics_of(weights, features, 0 * forces)
    for published in (True, False):
        judged = drift_wins(still, shape=(4, 6), init_scale=np.ones(2), temperature=np.ones(2), published=published)
        assert judged.tolist() == [1, 1]


def test_violations_count_levels_that_jump_further_than_their_gap() -> None:
    x = np.array([[10.0, 9.0, 5.0, 1.0]])
    drift, variance = np.zeros((2, 1, 4, 4))
    drift[0, 2, 2], variance[0, 3, 3] = -4.0, 16.0
    terms = LevelDynamics(x, drift, variance, variance, x, x)
    # Allowed: 0.3 of the gaps 1, 1, 4, 4.
    assert terms.violations(np.array([0.2]), 4)[0] == 0
    assert terms.violations(np.array([0.31]), 4)[0] == 0.25  # the drift alone: 0.31 * 4 > 1.2
    assert terms.violations(np.array([0.61]), 4)[0] == 0.5  # and the noise: 0.61 * 4 / 2 > 1.2
    one = LevelDynamics(x[:, :1], drift[:, :1, :1], variance[:, :1, :1], variance, x, x)
    assert np.isnan(one.violations(np.array([0.2]), 4)).all()


def test_levels_that_coincide_have_no_repulsion() -> None:
    weights = np.zeros((1, 3, 4))
    terms = dynamics_of(weights, *random_layer(0, 1, 3, 4)[1:])
    assert np.isnan(terms.repulsion).all()
    assert np.isnan(terms.velocity(np.ones(1), 4)).all()


@pytest.mark.parametrize("widths", [[3, 6, 5, 2], [3, 4, 7, 2]])
def test_a_small_step_of_training_moves_the_levels_as_predicted(make: SimpleNamespace, widths: list[int]) -> None:
    shard = make.shard(networks=2, network={"widths": widths, "bias": [True, True, False]})
    task, weights = make.task(shard), make.weights(shard)
    # Drift is measured on the test inputs, so the same set is given for training.
    task = type(task)(task.test_inputs, task.test_targets, task.test_inputs, task.test_targets, task.frozen)
    biases = {n: np.random.default_rng(n).standard_normal((2, widths[n + 1])) for n in (0, 1)}
    snapshot = Snapshot(Part(shard, np.arange(2), [task] * 2, weights), weights, biases)
    for layer, terms in snapshot.dynamics.items():
        step = 1e-5 * snapshot.train.gradients[layer]
        moved = levels(weights[layer] - step) - levels(weights[layer] + step)
        np.testing.assert_allclose(terms.level_drift, moved / 2e-5, rtol=1e-6, atol=1e-7)
