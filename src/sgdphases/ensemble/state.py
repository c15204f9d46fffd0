"""Where a training stands: everything that a later step depends on, as host arrays with one row per network.

Random numbers are stateless and the order of the data follows from the step, so neither has a place here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sgdphases.ensemble.networks import initial_weights, scaled_weights
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import Start, stepwise_arrays

ALIVE = -1


@dataclass
class State:
    """A training between two steps.

    Attributes:
        step: Number of updates done.
        arrays: weights_<l> and bias_<l> of the trained layers, velocity_<l> and bias_velocity_<l> where a network has
            momentum, square_<l> and bias_square_<l> for Adam, terms, hits and gradient_<l> (sums over the current
            epoch, float64), batch_loss (one value an update, NaN for those to come), work_<l> and squares_<l> (sums
            over all steps) and those of `starting.stepwise_arrays` where running observables are asked for, persistent
            for contrastive divergence; each (networks, ...).
        diverged_at: The update that would have made a network diverge, or -1, (networks,).
    """

    step: int
    arrays: dict[str, np.ndarray]
    diverged_at: np.ndarray

    @property
    def alive(self) -> np.ndarray:
        """Which networks have not diverged."""
        return self.diverged_at == ALIVE


def initial_state(shard: Shard, start: Start | None = None) -> State:
    """The state before the first update, as the shard's seeds have it.

    Args:
        shard: What is trained.
        start: Weights and biases of all networks, in the stead of their own.

    Returns:
        A state at step 0.
    """
    count, network = len(shard), shard.network
    arrays: dict[str, np.ndarray] = {}
    for layer in network.trained_layers:
        out, fan_in = network.shape(layer)
        own = _scaled_weights(shard, layer) if start is None else _alike(start.weights, layer, shard)
        arrays[f"weights_{layer}"] = own
        if network.bias[layer]:
            zeros = np.zeros((count, out), shard.dtype)
            arrays[f"bias_{layer}"] = zeros if start is None else _alike(start.biases, layer, shard)
        adam = shard.update == "adam"
        for moment in ["velocity"] * bool(adam or np.any(shard.networks["momentum"] != 0)) + ["square"] * adam:
            arrays[f"{moment}_{layer}"] = np.zeros((count, out, fan_in), shard.dtype)
            if network.bias[layer]:
                arrays[f"bias_{moment}_{layer}"] = np.zeros((count, out), shard.dtype)
    arrays |= _sums(shard)
    return State(0, arrays, np.full(count, ALIVE, dtype=np.int64))


def _sums(shard: Shard) -> dict[str, np.ndarray]:
    """What running observables gather, before the first update."""
    count, network = len(shard), shard.network
    arrays: dict[str, np.ndarray] = {}
    for layer in network.trained_layers:
        if "epoch_gradient_norm" in shard.running:
            arrays[f"gradient_{layer}"] = np.zeros((count, *network.shape(layer)))
        if "weight_work" in shard.running:
            arrays[f"work_{layer}"] = np.zeros((count, 1))
        if "weight_diffusion" in shard.running:
            arrays[f"squares_{layer}"] = np.zeros((count, 1))
    if "epoch_train_loss" in shard.running:
        arrays["terms"] = np.zeros((count, shard.batch_size, network.widths[-1]))
    if "epoch_train_accuracy" in shard.running:
        arrays["hits"] = np.zeros((count, shard.batch_size))
    if "batch_loss" in shard.running:
        arrays["batch_loss"] = np.full((count, shard.steps), np.nan, np.float32)
    return arrays | stepwise_arrays(shard, count)


def check_state(state: State, shard: Shard, expected: Mapping[str, np.ndarray]) -> None:
    """Refuse a state that does not belong to a shard.

    Args:
        state: The state to go on from.
        shard: What is trained.
        expected: Arrays of this shard's initial state.

    Raises:
        ValueError: If names, shapes or types differ.
    """
    found = {name: (array.shape, array.dtype) for name, array in state.arrays.items()}
    if found != {name: (array.shape, array.dtype) for name, array in expected.items()} or not (
        0 <= state.step <= shard.steps and state.diverged_at.shape == (len(shard),)
    ):
        raise ValueError("the state to go on from belongs to another shard")


def _alike(arrays: Mapping[int, np.ndarray], layer: int, shard: Shard) -> np.ndarray:
    """One layer of the start for every network, in the shard's type."""
    return np.repeat(arrays[layer].astype(shard.dtype)[None], len(shard), axis=0)


def _scaled_weights(shard: Shard, layer: int) -> np.ndarray:
    """Initial weights of one layer of all networks, in the shard's type."""
    known: dict[int, np.ndarray] = {}
    weights = np.empty((len(shard), *shard.network.shape(layer)), shard.dtype)
    columns = (shard.networks[name].tolist() for name in ("seed_weights", "init_scale", "coupling_ratio"))
    for row, (seed, scale, ratio) in enumerate(zip(*columns, strict=True)):
        if seed not in known:
            known[seed] = initial_weights(shard.network, seed, layer)
        weights[row] = scaled_weights(known[seed], shard.network.init[layer], scale, ratio)
    return weights
