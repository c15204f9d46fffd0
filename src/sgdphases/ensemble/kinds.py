"""What networks of a shard have in common, and which arrays they therefore need."""

from typing import Any

import numpy as np

from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import stepwise_arrays


def kind_of_row(shard: Shard, row: int) -> tuple[Any, ...]:
    """What networks of one group must have in common, so that each does exactly the operations that it needs.

    Args:
        shard: What is trained.
        row: Place of a network.

    Returns:
        A key; networks with equal keys may be stepped together.
    """
    columns = shard.networks
    neutral = tuple(bool(columns[name][row] == 0) for name in ("momentum", "weight_decay", "noise_scale"))
    return (
        str(columns["loss"][row]),
        *neutral,
        bool(shard.output_factor[row] == 1),
        bool(columns["learning_rate"][row] == 0),
    )


def gradient_unit(shard: Shard) -> np.ndarray:
    """What the sums in gradient_<l> are multiples of: minus the learning rate where it is multiplied into the deltas.

    Args:
        shard: What is trained.

    Returns:
        Factor per network, (networks,).
    """
    columns = shard.networks
    plain = (columns["momentum"] == 0) & (columns["weight_decay"] == 0) & (columns["noise_scale"] == 0)
    plain &= shard.update != "adam"
    return np.where(plain & (columns["learning_rate"] != 0), -columns["learning_rate"], -1.0)


def array_names(shard: Shard, *, momentum: bool) -> list[str]:
    """Names of the state's arrays that a group needs.

    Args:
        shard: What is trained.
        momentum: Whether the group's networks have momentum.

    Returns:
        Names, layer by layer.
    """
    network, names = shard.network, []
    adam = shard.update == "adam"
    momentum = momentum or adam
    for layer in network.trained_layers:
        kinds = (
            ["weights"]
            + ["velocity"] * momentum
            + ["square"] * adam
            + ["gradient"] * ("epoch_gradient_norm" in shard.running)
        )
        kinds += ["work"] * ("weight_work" in shard.running) + ["squares"] * ("weight_diffusion" in shard.running)
        kinds += (["bias"] + ["bias_velocity"] * momentum + ["bias_square"] * adam) if network.bias[layer] else []
        names += [f"{kind}_{layer}" for kind in kinds]
    names += stepwise_arrays(shard, 0)
    names += ["hits"] * ("epoch_train_accuracy" in shard.running) + ["batch_loss"] * ("batch_loss" in shard.running)
    return names + ["terms"] * ("epoch_train_loss" in shard.running)
