"""The random-matrix map: its values, its bits, and what it refuses."""

import numpy as np
import pytest
import torch

from sgdphases.ensemble import iteration
from sgdphases.ensemble.iteration import CELLS, VECTORS, averaged, settled, transient
from sgdphases.ensemble.networks import initial_weights
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.state import State
from sgdphases.ensemble.trainer import train
from sgdphases.theory.meanfield import order_parameters

WORDS = ["asymptotic_distance", "lyapunov", "jacobian_norm", "converged"]
GAUSSIAN, FIRST_START = 70, 1000


def map_shard(cells, width, *, steps=500, record_steps=(), replicas=1, starts=1, running=WORDS, **network):
    """Cells (J, J0/J) times matrices times starts, in this order."""
    rows = [(*cell, matrix) for cell in cells for matrix in range(replicas) for _ in range(starts)]
    scale, ratio, matrix = (list(column) for column in zip(*rows, strict=True))
    zeros = [0] * len(rows)
    return Shard.from_dict(
        {
            "dataset": {"name": "none"},
            "network": {"widths": [width, width], "activation": "tanh", "bias": [False], "trained": [True], **network},
            "update": "iteration",
            "batch_size": 1,
            "steps": steps,
            "record_steps": sorted({0, steps, *record_steps}),
            "running": running,
            "networks": {
                "learning_rate": zeros,
                "init_scale": scale,
                "coupling_ratio": ratio,
                "seed_task": zeros,
                "seed_weights": [GAUSSIAN + number for number in matrix],
                "seed_order": zeros,
                "seed_noise": [FIRST_START + row for row in range(len(rows))],
            },
        }
    )


def iterate(shard, **settings):
    """The final state and all records."""
    records = []
    state = train(shard, {0: None}, device="cpu", on_record=records.append, **settings)
    return state, records


def last(shard):
    """The words of the last record, (cells, matrices * starts) each."""
    scalars = iterate(shard)[1][-1].scalars
    cells = len(set(zip(*(shard.networks[name].tolist() for name in ("init_scale", "coupling_ratio")), strict=True)))
    return {word: values.reshape(cells, -1) for word, values in scalars.items()}


def plain(shard, row, step):
    """One cell's words as their definitions say, with whole matrices."""
    own = {name: column[row].item() for name, column in shard.networks.items()}
    width = shard.network.widths[0]
    unit = initial_weights(shard.network, own["seed_weights"], 0)
    weights = own["init_scale"] * (unit + own["coupling_ratio"] / width)
    x, other, tangent = (iteration.first_state(shard).arrays[name][row] for name in VECTORS)
    distances, growths, norms = [], [], []
    for _ in range(step):
        x, other = np.tanh(weights @ x), np.tanh(weights @ other)
        jacobian = (1 - x**2)[:, None] * weights
        tangent = jacobian @ tangent
        growths.append(np.log(np.linalg.norm(tangent)))
        tangent = tangent / np.linalg.norm(tangent)
        distances.append(np.linalg.norm(other - x))
        norms.append(np.log(np.linalg.norm(jacobian) / np.sqrt(width)))
    return {
        "asymptotic_distance": np.mean(distances[-averaged(step) :]),
        "lyapunov": np.mean(growths[transient(step) :]),
        "jacobian_norm": np.exp(np.mean(norms[-averaged(step) :])),
    }


def test_words_are_what_their_definitions_say_where_averages_overlap_too():
    cells = [(0.5, 0.0), (1.5, 0.0), (2.0, -0.7), (1.3, 1.7)]
    shard = map_shard(cells, 24, steps=50, record_steps=[1, 4, 33, 44, 50], replicas=2)
    _, records = iterate(shard)
    assert [record.step for record in records] == [0, 1, 4, 33, 44, 50]
    assert all(np.isnan(values).all() for values in records[0].scalars.values())
    for record in records[1:]:
        assert not record.weights
        for row in range(len(shard)):
            for word, value in plain(shard, row, record.step).items():
                assert record.scalars[word][row] == pytest.approx(value, rel=1e-6, abs=1e-14), (word, row, record.step)


def test_windows():
    assert [(averaged(step), transient(step)) for step in (1, 4, 5, 100, 500, 1000)] == [
        (1, 0), (1, 0), (1, 1), (20, 20), (100, 100), (200, 100)
    ]  # fmt: skip


def test_chaos_at_784_has_the_published_distance_and_exponent():
    """arXiv 2107.09437 at N = 784: mean field within 2 % and .01 where J is 2 and 3; finite-size values at .8."""
    found = last(map_shard([(0.8, 0.0), (2.0, 0.0), (3.0, 0.0)], 784, replicas=2, starts=10))
    distance, exponent, norm = (found[word].mean(axis=1) for word in WORDS[:3])
    np.testing.assert_allclose(distance[1:] / 28, [1.029921, 1.183720], rtol=0.02)
    np.testing.assert_allclose(exponent[1:], [0.154724, 0.310249], atol=0.01)
    np.testing.assert_allclose(norm[1:], [1.167336, 1.363765], rtol=0.02)
    assert found["asymptotic_distance"][0].max() < 1e-10
    assert norm[0] == pytest.approx(0.8, rel=0.005)
    unit = initial_weights(map_shard([(0.8, 0.0)], 784).network, GAUSSIAN, 0)
    radius = np.abs(np.linalg.eigvals(unit)).max()
    np.testing.assert_allclose(found["lyapunov"][0, :10], np.log(0.8 * radius), atol=0.01)
    assert found["converged"].all()


def test_a_ferromagnet_goes_to_the_fixed_point_of_theory():
    couplings = np.array([1.0, 1.5, 2.5])
    shard = map_shard([(coupling, 1.8) for coupling in couplings], 784, steps=300)
    state, records = iterate(shard)
    orbit, found = state.arrays["orbit"], records[-1].scalars
    mean, square = order_parameters(couplings, 1.8 * couplings)
    np.testing.assert_allclose(np.abs(orbit.mean(axis=1)), mean, rtol=0.04)
    np.testing.assert_allclose((orbit**2).mean(axis=1), square, rtol=0.04)
    assert (found["lyapunov"] < 0).all()
    assert (found["asymptotic_distance"] < iteration.REACHED).all()
    assert found["converged"].all()


def test_an_orthogonal_matrix_shrinks_by_its_scale_exactly(monkeypatch):
    """Towards zero the Jacobian is s Q: growth ln s and norm s, without any deviation."""
    turn, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((60, 60)))
    monkeypatch.setattr(iteration, "initial_weights", lambda network, seed, layer: turn)
    scales = [0.3, 0.6, 0.8, 0.9]
    found = last(map_shard([(scale, 0.0) for scale in scales], 60))
    np.testing.assert_allclose(found["lyapunov"][:, 0], np.log(scales), atol=1e-9)
    np.testing.assert_allclose(found["jacobian_norm"][:, 0], scales, rtol=1e-9)
    assert found["converged"].all()


def test_rest_changes_nothing_that_can_be_seen(monkeypatch):
    cells = [(0.5, 0.0), (0.6, -0.8), (1.2, 1.9), (1.5, 1.6), (3.0, 0.0)]
    shard = map_shard(cells, 100, replicas=2)
    state, resting = iterate(shard)
    assert state.arrays["resting"].sum() == 8
    monkeypatch.setattr(iteration, "STILL", -1.0)
    state, moving = iterate(shard)
    assert not state.arrays["resting"].any()
    for word in WORDS:
        np.testing.assert_allclose(resting[-1].scalars[word], moving[-1].scalars[word], rtol=1e-9, atol=1e-12)


def test_saturated_units_have_no_slope_and_no_accident():
    found = last(map_shard([(5.0, 40.0)], 30, steps=100))
    assert found["lyapunov"] == -np.inf
    assert found["asymptotic_distance"] == found["jacobian_norm"] == 0
    assert found["converged"] == 1


def same(found, expected, rows=slice(None)):
    for mine, theirs in zip(found[1], expected[1], strict=True):
        for word in WORDS:
            assert np.array_equal(mine.scalars[word], theirs.scalars[word][rows], equal_nan=True)
    for name, array in found[0].arrays.items():
        assert np.array_equal(array, expected[0].arrays[name][rows]), name


def plane(width, dtype="float64"):
    """More cells than a block holds, of two matrices, some at rest before the end."""
    cells = [(scale, ratio) for ratio in (-1.0, 0.0, 0.7, 1.8) for scale in np.geomspace(0.4, 6, 20).round(3)]
    shard = map_shard(cells, width, steps=73, record_steps=[7, 60], replicas=2)
    return Shard.from_dict(shard.to_dict() | {"dtype": dtype})


@pytest.mark.parametrize("width", [7, 32, 101, 160])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_bits_do_not_depend_on_company(width, dtype):
    shard = plane(width, dtype)
    whole = iterate(shard)
    assert len(shard) > 2 * CELLS
    rng = np.random.default_rng(width)
    for count in (1, 2, CELLS, CELLS + 1, 2 * CELLS + 3):
        rows = rng.permutation(len(shard))[:count]
        for threads in (1, 3):
            same(iterate(shard.select(rows), threads=threads), whole, rows)
    same(iterate(shard, threads=2), whole)


def test_bits_at_the_width_of_the_study():
    shard = map_shard([(scale, 0.5) for scale in np.linspace(0.5, 3, CELLS + 5)], 784, steps=12)
    whole = iterate(shard)
    for rows in ([CELLS + 4], [3, 2, 60], np.arange(CELLS + 5)[::-1]):
        same(iterate(shard.select(rows)), whole, rows)


def test_going_on_after_any_interruption():
    shard = plane(32)
    states = []

    def keep(state):
        arrays = {name: array.copy() for name, array in state.arrays.items()}
        states.append(State(state.step, arrays, state.diverged_at.copy()))

    whole = iterate(shard, on_progress=lambda progress: True, on_checkpoint=keep)
    assert [state.step for state in states] == [7, 17, 27, 37, 47, 57, 60, 70, 73]
    assert states[-1].arrays["resting"].any()
    for state in states:
        rest = iterate(shard, state=state)
        same((rest[0], rest[1]), (whole[0], [record for record in whole[1] if record.step > state.step]))
    with pytest.raises(ValueError, match="belongs to another shard"):
        iterate(map_shard([(1.0, 0.0)], 32, steps=73), state=states[0])


def test_starts_are_what_the_paper_says():
    state = iteration.first_state(map_shard([(1.0, 0.0)] * 50, 400))
    orbit, perturbed, tangent = (state.arrays[name] for name in VECTORS)
    assert orbit.std() == pytest.approx(1, rel=0.02)
    assert (perturbed - orbit).std() == pytest.approx(1e-4, rel=0.02)
    assert np.abs((perturbed - orbit) / 1e-4 * orbit).mean() == pytest.approx(2 / np.pi, rel=0.02)  # independent
    np.testing.assert_allclose(np.linalg.norm(tangent, axis=1), 1, rtol=1e-12)
    assert len(np.unique(orbit[:, 0])) == 50


@pytest.mark.parametrize(
    ("lyapunov", "distance", "steps", "expected"),
    [
        (-0.05, 1.0, 499, False),
        (-0.05, 1.0, 500, True),  # another fixed point is a distance too
        (-0.001, 1e-13, 500, True),
        (0.02, 1.0, 499, False),
        (0.02, 1.0, 500, True),
        (0.0, 1.0, 10**9, False),
        (0.001, 0.0, 500, False),
        (-np.inf, 0.0, 1, True),
    ],
)
def test_converged(lyapunov, distance, steps, expected):
    assert settled(np.array([lyapunov]), np.array([distance]), steps) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": [8, 9]}, "one square layer without bias"),
        ({"widths": [8, 8, 8], "bias": [False] * 2, "trained": [True] * 2}, "one square layer without bias"),
        ({"bias": [True]}, "one square layer without bias"),
        ({"activation": "relu"}, r"tanh\(W x\) with a Gaussian W"),
        ({"init": ["glorot_uniform"]}, r"tanh\(W x\) with a Gaussian W"),
    ],
)
def test_another_network_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        iterate(map_shard([(1.0, 0.0)], 8, **change))


def test_words_of_another_update_are_refused(build):
    with pytest.raises(ValueError, match="iteration has no running observable test_loss"):
        map_shard([(1.0, 0.0)], 8, running=["test_loss"])
    with pytest.raises(ValueError, match="sgd has no running observable lyapunov"):
        build.shard(running=["lyapunov"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_agrees():
    shard = map_shard([(0.6, 0.0), (1.5, 1.6), (1.5, 0.0)], 100, steps=40)
    records = []
    train(shard, {0: None}, device="cuda", on_record=records.append)
    for word, values in iterate(shard)[1][-1].scalars.items():
        np.testing.assert_allclose(records[-1].scalars[word], values, rtol=1e-6, atol=1e-12)
