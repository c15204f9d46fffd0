"""How far networks have gone from the weights that all of them started from: what is said of it at a record.

What every update adds to is summed by `projections.Walk`; the rest is read off the weights. All in float64.
"""

from collections.abc import Callable

import numpy as np
import torch

from sgdphases.ensemble.buffers import halving_sum
from sgdphases.ensemble.shard import SEED_COLUMNS, Shard
from sgdphases.ensemble.starting import DISPLACEMENT_WORDS, MOMENTS, Start, flattened
from sgdphases.ensemble.state import State

Array = np.ndarray


def measured(shard: Shard, start: Start | None) -> dict[str, Callable[[State], Array]]:
    """The words of `starting.DISPLACEMENT_WORDS` that a shard asks for.

    Args:
        shard: What is trained.
        start: Where it starts; None only if no such word is asked for.

    Returns:
        Word to what gives (networks, ...axes) of a state.
    """
    if start is None:
        return {}
    displacements = _Displacements(shard, start)
    return {word: displacements.function(word) for word in shard.running if word in DISPLACEMENT_WORDS}


class _Displacements:
    """The words of one shard's networks.

    Args:
        shard: What is trained.
        start: Where it starts.
    """

    def __init__(self, shard: Shard, start: Start) -> None:
        self.shard = shard
        self.place = torch.from_numpy(start.flat.astype(shard.dtype).astype(np.float64))
        self.points = _points(shard)
        self.start = start

    def function(self, word: str) -> Callable[[State], Array]:
        """What gives a word of a state."""
        if word in MOMENTS:
            return lambda state: self._mean(state, state.arrays["projected_sums"][:, MOMENTS.index(word)])
        return {
            "position": lambda state: state.arrays["projected_position"],
            "velocity": lambda state: state.arrays["projected_velocity"],
            "local_displacement": lambda state: self._mean(state, state.arrays["displacement_sum"][:, 0]),
            "global_displacement": lambda state: self._sums(self._gone(state) ** 2),
            "displacement_along_start": lambda state: self._sums(self._gone(state) * self.place),
            "weight_norm": lambda state: self._sums(self._weights(state) ** 2),
            "displacement_gram": self._gram,
            "layer_displacement": lambda state: self._layerwise(state, lambda own, start: (own - start) ** 2),
            "layer_displacement_along_start": lambda state: self._layerwise(
                state, lambda own, start: (own - start) * start
            ),
            "layer_weight_norm": lambda state: self._layerwise(state, lambda own, start: own**2),
        }[word]

    def _mean(self, state: State, sums: Array) -> Array:
        """Sums over the updates since the record before; 0 at step 0."""
        before = [step for step in self.shard.record_steps if step < state.step]
        return sums / (state.step - before[-1]) if before else np.zeros_like(sums)

    def _weights(self, state: State) -> torch.Tensor:
        """theta, (networks, parameters)."""
        parts = {kind: {} for kind in ("weights", "bias")}
        for name, array in state.arrays.items():
            kind, _, layer = name.rpartition("_")
            if kind in parts:
                parts[kind][int(layer)] = array
        return torch.from_numpy(flattened(parts["weights"], parts["bias"]).astype(np.float64))

    def _layerwise(self, state: State, terms: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Array:
        """Sums over the weights of each layer, (networks, layers), from (networks, weights) and (weights,)."""
        sums = []
        for layer in self.shard.network.trained_layers:
            start = torch.from_numpy(self.start.weights[layer].astype(self.shard.dtype).astype(np.float64)).flatten()
            own = torch.from_numpy(state.arrays[f"weights_{layer}"].astype(np.float64)).flatten(1)
            sums.append(self._sums(terms(own, start)))
        return np.stack(sums, axis=1)

    def _gone(self, state: State) -> torch.Tensor:
        """Delta, (networks, parameters)."""
        return self._weights(state) - self.place

    @staticmethod
    def _sums(terms: torch.Tensor) -> Array:
        """Sum of every network's terms, in an order that no neighbour changes."""
        return halving_sum(terms).numpy()

    def _gram(self, state: State) -> Array:
        """<Delta_r, Delta_s> of the replicas s of the same point, in their order; NaN where s has diverged."""
        gone = self._gone(state)
        found = np.full((len(self.shard), max(map(len, self.points))), np.nan)
        for rows in self.points:
            own = gone[torch.from_numpy(rows)]
            products = torch.mm(own, own.T).numpy()
            products[:, ~state.alive[rows]] = np.nan
            found[rows, : len(rows)] = products
        return found


def _points(shard: Shard) -> list[Array]:
    """Rows of each point's networks, in the order of their replicas."""
    columns = {name: column for name, column in shard.networks.items() if name not in ("replica", *SEED_COLUMNS)}
    found: dict[tuple, list[int]] = {}
    for row in np.argsort(shard.networks["replica"], kind="stable"):
        found.setdefault(tuple(column[row].item() for column in columns.values()), []).append(int(row))
    return [np.array(rows) for rows in found.values()]
