from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.ensemble.architecture import ACTIVATIONS
from sgdphases.observables import kernels
from sgdphases.observables import snapshot as module
from sgdphases.observables.snapshot import Part, Snapshot


def jacobian_kernel(make: SimpleNamespace, snapshot: Snapshot, row: int, task) -> np.ndarray:
    """Tangent kernel summed over outputs, from the whole Jacobian."""
    jacobian = torch.func.jacrev(lambda point: make.outputs(snapshot, row, point, task.test_inputs, task))(
        make.parameters(snapshot, row)
    )
    return torch.einsum("nop,mop->nm", jacobian, jacobian).numpy()


def alignment(first: np.ndarray, second: np.ndarray) -> float:
    """CKA with the centring matrix written out."""
    matrix = np.eye(len(first)) - 1 / len(first)
    first, second = matrix @ first @ matrix, matrix @ second @ matrix
    return np.trace(first @ second) / np.sqrt(np.trace(first @ first) * np.trace(second @ second))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "network",
    [
        {"widths": [3, 5, 4]},
        {"bias": [True, False, True], "trained": [True, False, True]},
        {"trained": [False, False, True]},
        {"bias": [True] * 3, "parametrisation": "mean_field"},
    ],
)
def test_the_tangent_kernel_is_that_of_the_jacobian(make: SimpleNamespace, network: dict, activation: str) -> None:
    snapshot, task = make.snapshot(network={"activation": activation} | network)
    start, _ = make.snapshot(network={"activation": activation} | network)
    start.weights = {layer: snapshot.part.initial[layer] for layer in start.weights}
    start.biases = {layer: np.zeros_like(bias) for layer, bias in start.biases.items()}
    targets = task.test_targets @ task.test_targets.T
    for row in range(2):
        kernel, initial = (jacobian_kernel(make, some, row, task) for some in (snapshot, start))
        np.testing.assert_allclose(snapshot.tangent_kernel[row], kernel, rtol=1e-9, atol=1e-12 * np.abs(kernel).max())
        np.testing.assert_allclose(snapshot.part.initial_tangent_kernel[row], initial, rtol=1e-9, atol=1e-9)
        norms = np.linalg.norm(kernel), np.linalg.norm(initial)
        assert kernels.ntk_alignment(snapshot)[row] == pytest.approx(alignment(kernel, targets), rel=1e-9)
        assert kernels.ntk_growth(snapshot)[row] == pytest.approx(norms[0] / norms[1], rel=1e-9)
        turned = 1 - np.sum(kernel * initial) / norms[0] / norms[1]
        assert kernels.ntk_movement(snapshot)[row] == pytest.approx(turned, abs=1e-9)


def test_features_weights_and_outputs_agree_with_samples_taken_one_by_one(make: SimpleNamespace) -> None:
    snapshot, task = make.snapshot(network={"bias": [True] * 3})
    targets, found = task.test_targets @ task.test_targets.T, kernels.feature_alignment(snapshot)
    for row in range(2):
        naive = make.naive(snapshot.shard, task, snapshot.weights, row, biases=snapshot.biases)
        traces = [naive.trace(sample) for sample in task.test_inputs]
        np.testing.assert_allclose(kernels.outputs(snapshot)[row], [output for *_, output in traces], rtol=1e-11)
        for layer, matrix in snapshot.weights.items():
            features = np.array([hidden[layer] for hidden, *_ in traces])
            assert found[row, layer] == pytest.approx(alignment(features @ features.T, targets), rel=1e-9)
            before = snapshot.part.initial[layer][row]
            moved = np.sqrt(np.sum((matrix[row] - before) ** 2) / np.sum(before**2))
            assert kernels.weight_movement(snapshot)[row, layer] == pytest.approx(moved, rel=1e-12)


@given(st.floats(0.01, 100.0), st.integers(0, 99))
def test_a_network_that_only_grows_keeps_its_kernel_but_for_a_factor(factor: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((2, 6, 4))
    kernel = kernel @ kernel.swapaxes(1, 2)
    grown = SimpleNamespace(
        tangent_kernel=factor * kernel, part=SimpleNamespace(initial_tangent_kernel=kernel), targets=np.eye(6)[None]
    )
    np.testing.assert_allclose(kernels.ntk_movement(grown), 0, atol=1e-12)
    np.testing.assert_allclose(kernels.ntk_growth(grown), factor)
    same = SimpleNamespace(tangent_kernel=kernel, targets=np.eye(6)[None])
    np.testing.assert_allclose(kernels.ntk_alignment(grown), kernels.ntk_alignment(same))


@given(st.integers(2, 9), st.integers(0, 99))
def test_alignment_is_one_with_the_targets_themselves_and_never_above(samples: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets, other = rng.standard_normal((1, samples, 3)), rng.standard_normal((1, samples, samples))
    shift = rng.standard_normal((1, 1, 3))
    own = (targets + shift) @ (targets + shift).swapaxes(1, 2)  # centring takes the shift away
    np.testing.assert_allclose(
        kernels.ntk_alignment(SimpleNamespace(tangent_kernel=own, targets=targets)), 1, rtol=1e-9
    )
    any_kernel = SimpleNamespace(tangent_kernel=other @ other.swapaxes(1, 2), targets=targets)
    assert -1e-12 <= kernels.ntk_alignment(any_kernel)[0] <= 1 + 1e-12


def test_homogeneous_networks_grow_by_a_power(make: SimpleNamespace) -> None:
    # Three layers of degree one each: outputs go with the cube of the weights, derivatives with the square.
    shard = make.shard(networks=2, network={"activation": "relu"})
    task, start = make.task(shard), make.weights(shard)
    doubled = {layer: 2 * matrix for layer, matrix in start.items()}
    part = Part(shard, np.arange(2), [task] * 2, start)
    before, after = Snapshot(part, start, {}), Snapshot(part, doubled, {})
    np.testing.assert_allclose(kernels.outputs(after), 8 * kernels.outputs(before), rtol=1e-12)
    np.testing.assert_allclose(kernels.ntk_growth(after), 16, rtol=1e-12)
    np.testing.assert_allclose(kernels.ntk_movement(after), 0, atol=1e-12)
    np.testing.assert_allclose(kernels.weight_movement(after), 1, rtol=1e-12)
    np.testing.assert_allclose(kernels.feature_alignment(after), kernels.feature_alignment(before), rtol=1e-9)


def test_nothing_to_align_with_has_no_alignment(make: SimpleNamespace) -> None:
    snapshot, task = make.snapshot()
    alike = replace(task, test_targets=np.ones_like(task.test_targets))
    part = Part(snapshot.shard, np.arange(2), [alike] * 2, snapshot.part.initial)
    constant = Snapshot(part, snapshot.weights, snapshot.biases)
    assert np.isnan(kernels.ntk_alignment(constant)).all()
    assert np.isnan(kernels.feature_alignment(constant)).all()


def test_only_the_first_samples_are_probes(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, _ = make.snapshot(test=90)
    whole = snapshot.tangent_kernel, kernels.outputs(snapshot)
    for where in (kernels, module):
        monkeypatch.setattr(where, "PROBES", 70)
    few = Snapshot(snapshot.part, snapshot.weights, snapshot.biases)
    np.testing.assert_allclose(few.tangent_kernel, whole[0][:, :70, :70], rtol=1e-12)
    np.testing.assert_array_equal(kernels.outputs(few), whole[1][:, :70])
    assert kernels.ntk_alignment(few).shape == (2,)
