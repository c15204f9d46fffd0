from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgdphases.datasets.task import Task
from sgdphases.ensemble import networks
from sgdphases.ensemble.architecture import ACTIVATIONS
from sgdphases.ensemble.shard import LOSSES, Shard
from sgdphases.observables import curvature, landscape
from sgdphases.observables.curvature import hessian_bottom, hessian_top
from sgdphases.observables.measurement import Measurement
from sgdphases.observables.registry import OBSERVABLES
from sgdphases.observables.snapshot import Part, Snapshot

# Dossier 5.6, richness: top and bottom of the Hessian by theta. The table leaves the factor N = 4 out.
ENDS = {
    0.01: (198.40895108, -5.2379),
    0.1: (2.2529398715, -0.52592),
    1: (0.095717499417, -0.0790509),
    10: (0.0087003687114, -0.00879705),
    100: (8.6189151139e-4, -8.89146e-4),
}
GAUSS_NEWTON = 0.019883058163  # over richness^2
INPUTS = np.array([[1, 0.5, -0.5], [-1, 0.25, 2], [0.3, -0.7, 1.1], [0, 1, 1]])

WORDS = ["hessian_top", "hessian_bottom", "gauss_newton_top"]


def loss_of(word: str, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A loss in the words of its definition."""
    if word == "cross_entropy":
        return torch.nn.functional.cross_entropy(output, targets)
    squares = ((output - targets) ** 2).sum(dim=1).mean()
    return squares * {"half_squared_error": 0.5, "squared_error": 1.0, "mean_squared_error": 1 / output.shape[1]}[word]


def dense(make: SimpleNamespace, snapshot: Snapshot, row: int, task) -> tuple[np.ndarray, np.ndarray]:
    """Hessian and Gauss-Newton matrix of one network over all test samples, from whole Jacobians."""
    targets, flat = torch.as_tensor(task.test_targets), make.parameters(snapshot, row)
    if targets.ndim == 1:
        targets = torch.eye(snapshot.shard.network.widths[-1], dtype=torch.float64)[targets]

    def outputs(point: torch.Tensor) -> torch.Tensor:
        return make.outputs(snapshot, row, point, task.test_inputs, task)

    def loss(output: torch.Tensor) -> torch.Tensor:
        return loss_of(snapshot.part.loss, output, targets)

    hessian = torch.autograd.functional.hessian(lambda point: loss(outputs(point)), flat)
    jacobian = torch.autograd.functional.jacobian(outputs, flat).reshape(-1, len(flat))
    second = torch.autograd.functional.hessian(loss, outputs(flat)).reshape(len(jacobian), -1)
    return hessian.numpy(), (jacobian.T @ second @ jacobian).numpy()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "network",
    [
        {},
        {"bias": [True, False, True], "trained": [True, False, True]},
        {"bias": [True] * 3, "parametrisation": "mean_field"},
    ],
)
def test_ends_agree_with_dense_matrices(make: SimpleNamespace, network: dict, activation: str, loss: str) -> None:
    network = {"activation": activation} | network
    snapshot, task = make.snapshot(classes=loss == "cross_entropy", network=network, loss=[loss] * 2)
    found = {word: OBSERVABLES[word].function(snapshot) for word in WORDS}
    for row in range(2):
        hessian, gauss_newton = (np.linalg.eigvalsh(matrix) for matrix in dense(make, snapshot, row, task))
        factor = snapshot.shard.network.rate_factor
        # Iterations stop at a residual, and the error of an eigenvalue is never above it.
        assert found["hessian_top"][row] == pytest.approx(factor * hessian[-1], rel=1e-3)
        assert found["hessian_bottom"][row] == pytest.approx(factor * hessian[0], rel=1e-2)
        assert found["gauss_newton_top"][row] == pytest.approx(factor * gauss_newton[-1], rel=1e-3)
        whole = curvature.hessian_spectrum(snapshot)[row]
        known = min(len(hessian), curvature.LEADING)
        np.testing.assert_allclose(whole[:known], factor * hessian[::-1][:known], atol=1e-9 * factor * hessian[-1])
        assert np.isnan(whole[known:]).all()


@pytest.mark.parametrize("count", [3, 20])
def test_leading_pairs_are_those_of_the_dense_matrix(make: SimpleNamespace, count: int) -> None:
    snapshot, task = make.snapshot(network={"widths": [6, 8, 3]})
    operator = next(landscape.landscapes(snapshot, 512, [0])).hessian()
    values, vectors, residuals = landscape.leading(operator, count, 1)
    hessian, _ = dense(make, snapshot, 0, task)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(hessian)[::-1][:count], rtol=1e-6)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(count), atol=1e-9)
    gaps = np.linalg.norm(hessian @ vectors - vectors * values, axis=0)
    np.testing.assert_allclose(residuals, gaps, atol=1e-9 * values[0])
    assert (residuals <= 1e-3 * np.abs(values)).all()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])  # `make` only makes
@given(st.integers(0, 10**6), st.sampled_from(LOSSES), st.sampled_from(["tanh", "erf", "linear"]))
def test_ends_agree_with_differences_of_gradients(make: SimpleNamespace, seed: int, loss: str, activation: str) -> None:
    network = {"widths": [2, 3, 2], "activation": activation}
    classes = loss == "cross_entropy"
    snapshot, task = make.snapshot(seed=seed, classes=classes, network=network, loss=[loss] * 2, test=5)
    targets = np.eye(2)[task.test_targets] if classes else task.test_targets
    columns, step = [], 1e-5
    for place in range(12):
        gradients = []
        for sign in (1, -1):
            moved = {layer: matrix.copy() for layer, matrix in snapshot.weights.items()}
            layer, entry = (0, place) if place < 6 else (1, place - 6)
            moved[layer][0].flat[entry] += sign * step
            found = make.naive(snapshot.shard, task, moved, 0).evaluate(task.test_inputs, targets, loss)[1]
            gradients.append(np.concatenate([gradient.ravel() for gradient in found]))
        columns.append((gradients[0] - gradients[1]) / (2 * step))
    values = np.linalg.eigvalsh((np.array(columns) + np.array(columns).T) / 2)
    size = np.abs(values).max()
    assert hessian_top(snapshot)[0] == pytest.approx(values[-1], abs=1e-6 * size)
    assert hessian_bottom(snapshot)[0] == pytest.approx(values[0], abs=1e-6 * size)


def cosines(network, seed: int, layer: int) -> np.ndarray:
    """theta[i, j] = cos(1 + i + 2 j + 3 k) of layer k, as stored."""
    i, j = np.indices(network.shape(layer))
    return np.cos(1 + i + 2 * j + 3 * layer) * network.unit(layer)


def test_the_network_of_the_dossier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "initial_weights", cosines)
    monkeypatch.setattr(landscape, "ENDS", {name: replace(end, residual=1e-9) for name, end in landscape.ENDS.items()})
    count = len(ENDS)
    network = {"widths": [3, 4, 4, 2], "activation": "relu", "bias": [False] * 3, "trained": [True] * 3}
    columns = {f"seed_{stream}": [7] * count for stream in ("task", "weights", "order", "noise")}
    columns |= {"richness": list(ENDS), "learning_rate": [1.0] * count, "loss": ["mean_squared_error"] * count}
    shard = Shard.from_dict(
        {
            "dataset": {"name": "none"},
            "network": network | {"parametrisation": "mean_field", "centered": True},
            "batch_size": 4,
            "steps": 1,
            "record_steps": [0, 1],
            "networks": columns,
        }
    )
    targets = np.eye(2)[[0, 1, 0, 1]]
    start = {layer: np.stack([cosines(shard.network, 7, layer)] * count) for layer in range(3)}
    task = Task(INPUTS, targets, INPUTS, targets)
    words = [*WORDS, "outputs", "train_loss"]
    found = Measurement(shard, {7: task}, initial_weights=start, words=words).at(start)
    for row, (richness, (top, bottom)) in enumerate(ENDS.items()):
        assert found["hessian_top"][row] / 4 == pytest.approx(top, rel=1e-9)
        assert found["hessian_bottom"][row] / 4 == pytest.approx(bottom, rel=1e-4)  # as many digits as there are
        assert found["gauss_newton_top"][row] / 4 == pytest.approx(GAUSS_NEWTON / richness**2, rel=1e-9)
        assert found["train_loss"][row] == pytest.approx(0.5, rel=1e-12)
        assert not found["outputs"][row].any()


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.floats(1e-9, 1e9))
def test_ends_scale_with_the_output_however_small_or_large(make: SimpleNamespace, seed: int, factor: float) -> None:
    # Without targets, the loss goes with the square of the output.
    found = []
    for scale in (1.0, factor):
        shard = make.shard(networks=1, output_scale=[scale], network={"widths": [4, 8, 6, 2]})
        task = replace(make.task(shard, seed), test_targets=np.zeros((21, 2)))
        snapshot = Snapshot(Part(shard, np.arange(1), [task], make.weights(shard, seed)), make.weights(shard, seed), {})
        found.append(np.array([OBSERVABLES[word].function(snapshot)[0] for word in WORDS]))
    np.testing.assert_allclose(found[1] / factor**2, found[0], rtol=1e-3)


def test_the_lowest_eigenvalue_is_found_where_it_mirrors_the_top(make: SimpleNamespace) -> None:
    # Deep in the rich regime the Hessian is all residual: ends of opposite sign that power iteration cannot tell apart.
    network = {"widths": [6, 24, 3], "activation": "relu", "parametrisation": "mean_field", "centered": True}
    shard = make.shard(networks=1, richness=[1e5], network=network, loss=["mean_squared_error"])
    start = {n: networks.starting_weights(shard.network, n, 0, 1.0, 0.0, dtype="float64")[None] for n in range(2)}
    task = make.task(shard, test=200)
    snapshot = Snapshot(Part(shard, np.arange(1), [task], start), start, {})
    top, bottom = hessian_top(snapshot)[0], hessian_bottom(snapshot)[0]
    values = 24 * np.linalg.eigvalsh(dense(make, snapshot, 0, task)[0])
    assert values[0] == pytest.approx(-values[-1], rel=0.05)
    assert top == pytest.approx(values[-1], rel=1e-3)
    assert bottom == pytest.approx(values[0], rel=1e-2)


def test_only_the_first_samples_count(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, task = make.snapshot()
    few = replace(task, test_inputs=task.test_inputs[:8], test_targets=task.test_targets[:8])
    alone = Snapshot(Part(snapshot.shard, np.arange(2), [few] * 2, snapshot.part.initial), snapshot.weights, {})
    whole = hessian_top(snapshot)
    monkeypatch.setattr(curvature, "LOSS_PROBES", 8)
    np.testing.assert_array_equal(hessian_top(snapshot), hessian_top(alone))
    assert (hessian_top(snapshot) != whole).all()


def test_what_does_not_settle_has_no_value(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, _ = make.snapshot()
    assert np.isfinite(hessian_top(snapshot)).all()
    hasty = replace(landscape.ENDS["top"], basis=3, restarts=1, residual=1e-12)
    monkeypatch.setattr(landscape, "ENDS", landscape.ENDS | {"top": hasty})
    assert np.isnan(hessian_top(snapshot)).all()

    def wrong(matrix, *, v0, **rest):
        return np.ones(1), v0[:, None] / np.linalg.norm(v0)

    monkeypatch.setattr(landscape, "eigsh", wrong)
    assert np.isnan(hessian_top(snapshot)).all()


def test_networks_without_curvature(make: SimpleNamespace) -> None:
    network = {"activation": "relu", "widths": [3, 8, 6, 2]}
    shard = make.shard(networks=3, network=network)
    task, weights = make.task(shard), make.weights(shard)
    weights[0][0] = weights[1][0] = weights[2][0] = 0  # stands for one that has diverged
    weights[0][1] = 0
    weights[1][1] = -np.abs(weights[1][1])  # nothing is ever active
    weights[2][2] = 1e200  # overflows
    snapshot = Snapshot(Part(shard, np.arange(3), [task] * 3, weights), weights, {})
    with np.errstate(over="ignore", invalid="ignore"):
        for word in WORDS:
            np.testing.assert_array_equal(OBSERVABLES[word].function(snapshot), [np.nan, 0.0, np.nan], err_msg=word)
