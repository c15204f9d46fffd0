"""Training from weights that all networks of an experiment share, and the words of what it measures from there.

With theta* the start, theta_k the weights after k updates, delta_k = theta_k - theta_{k-1}, Delta_k = theta_k - theta*
and v_k = delta_k / learning_rate: x and v are Q^T Delta and Q^T v, Q the orthonormal directions that are stored with
the start. Parameters are counted layer by layer, the weights of a layer row by row and then its bias. Light to import.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

MOMENTS = (
    "position_mean",
    "position_square",
    "velocity_mean",
    "velocity_square",
    "position_velocity",
    "circulation",
    "force_mean",
    "force_square",
    "force_position",
)
"""Means over the updates since the record before: of x_k, x_k^2, v_k, v_k^2, x_k v_k, x_k v_{k+1} - v_k x_{k+1}, and of
u_k, u_k^2 and u_k x_k with u_k = momentum v_k - v_{k+1}, the batch's gradient and weight decay along a direction."""

MODE_WORDS = ("position", "velocity", *MOMENTS)
"""One value a direction."""

STEPWISE_WORDS = ("local_displacement", *MODE_WORDS)
"""What every update adds to."""

LAYER_WORDS = ("layer_displacement", "layer_displacement_along_start", "layer_weight_norm")
"""Of the weights W_l of every layer, their bias not among them: |Delta W_l|^2, <Delta W_l, W*_l> and |W_l|^2."""

DISPLACEMENT_WORDS = (
    *STEPWISE_WORDS,
    "global_displacement",
    "displacement_along_start",
    "weight_norm",
    "displacement_gram",
    *LAYER_WORDS,
)
"""What training that begins at a start can measure."""

STARTED_UPDATES = ("sgd", "quadratic")
"""Updates that may begin at a start."""

OWN_AXES = {**dict.fromkeys(MODE_WORDS, ("mode",)), "displacement_gram": ("other_replica",)}
"""Axes of such a word after the network's."""


@dataclass(frozen=True)
class StartSettings:
    """What a shard says about the start of its networks.

    Attributes:
        name: Digest of how the start is made.
        modes: How many directions are stored with it.
    """

    name: str
    modes: int = 0


@dataclass(frozen=True, eq=False)
class Start:
    """Weights that networks start from.

    Attributes:
        name: Digest of how they were made.
        weights: Per layer (out, in), float64.
        biases: Per layer that has one (out,).
        directions: Orthonormal columns (parameters, modes), float64.
    """

    name: str
    weights: dict[int, np.ndarray]
    biases: dict[int, np.ndarray] = field(default_factory=dict)
    directions: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def flat(self) -> np.ndarray:
        """theta*, (parameters,)."""
        return flattened(self.weights, self.biases)


def flattened(weights: dict[int, np.ndarray], biases: dict[int, np.ndarray]) -> np.ndarray:
    """The parameters of networks side by side.

    Args:
        weights: Per layer (..., out, in).
        biases: Per layer that has one (..., out).

    Returns:
        Array (..., parameters).
    """
    parts = []
    for layer in sorted(weights):
        parts.append(weights[layer].reshape(*weights[layer].shape[:-2], -1))
        parts += [biases[layer]] if layer in biases else []
    return np.concatenate(parts, axis=-1)


def stepwise_arrays(shard: Any, count: int) -> dict[str, np.ndarray]:
    """The state's arrays that updates add to, before the first one.

    Args:
        shard: What is trained.
        count: How many networks.

    Returns:
        projected_position and projected_velocity (count, modes), projected_sums (count, moments, modes) and
        displacement_sum (count, 1), float64; those that the shard's running words need.
    """
    arrays = {}
    if set(shard.running) & set(MODE_WORDS):
        modes = shard.start.modes
        arrays["projected_position"], arrays["projected_velocity"] = np.zeros((count, modes)), np.zeros((count, modes))
        arrays["projected_sums"] = np.zeros((count, len(MOMENTS), modes))
    if "local_displacement" in shard.running:
        arrays["displacement_sum"] = np.zeros((count, 1))
    return arrays


SUMS = ("projected_sums", "displacement_sum")
"""Those that begin anew after a record."""


def check_start(shard: Any, start: Start | None) -> None:
    """Refuse a start that is not the shard's.

    Args:
        shard: What is trained.
        start: What its networks should start from.

    Raises:
        ValueError: If it is missing, needless, another one's, or of another shape.
    """
    if (shard.start is None) != (start is None):
        raise ValueError("the shard wants a start" if start is None else "the shard's networks want no common start")
    if start is None:
        return
    if start.name != shard.start.name:
        raise ValueError(f"the shard begins at the start {shard.start.name}, not at {start.name}")
    network = shard.network
    wanted = {layer: network.shape(layer) for layer in range(network.layers)}
    biases = {layer: wanted[layer][:1] for layer in wanted if network.bias[layer]}
    found = {layer: array.shape for layer, array in start.weights.items()}
    if found != wanted or {layer: array.shape for layer, array in start.biases.items()} != biases:
        raise ValueError(f"the start {start.name} belongs to networks of another shape")
    if shard.start.modes and start.directions.shape != (len(start.flat), shard.start.modes):
        raise ValueError(f"the start {start.name} has not {shard.start.modes} directions")


def check_words(shard: Any) -> None:
    """Refuse what cannot be measured, or trained, from a start.

    Args:
        shard: What is trained.

    Raises:
        ValueError: If a running word needs a start or directions that the shard lacks, or the networks none.
    """
    asked = [word for word in shard.running if word in DISPLACEMENT_WORDS]
    if asked and shard.start is None:
        raise ValueError(f"running {', '.join(asked)} needs a start")
    along = [word for word in asked if word in MODE_WORDS]
    if along and not shard.start.modes:
        raise ValueError(f"running {', '.join(along)} needs directions")
    if shard.start is None and shard.update == "quadratic":
        raise ValueError("update quadratic needs a start, where its noise is that of single samples")
    if shard.start is None:
        return
    network = shard.network
    if shard.update not in STARTED_UPDATES or shard.search is not None:
        raise ValueError("a start is for sgd without a search")
    if not all(network.trained) or network.centered or network.parametrisation != "standard":
        raise ValueError("a start is for networks of the standard parametrisation, all of them trained, none centered")
