"""What a centred network subtracts from its output: the output F(x; W(0)) of the network as it started.

It depends on the start and the sample alone, so it is computed once for every start and sample, in float64, and looked
up like a target from then on. Networks that start alike (another richness, another learning rate) share it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from sgdphases.ensemble.networks import forward, starting_weights
from sgdphases.ensemble.passes import Data
from sgdphases.ensemble.shard import Shard

CHUNKS = {"mlp": 4096, "cnn": 64}
"""Samples in one pass: fixed, so that sums are made in the same order whatever the number of samples. Convolutions make
many numbers of each."""

START = ("seed_weights", "init_scale", "coupling_ratio")
"""Columns that the weights before the first update depend on."""
Start = tuple[int, float, float]
"""Their values for one network."""


def starts(columns: Mapping[str, np.ndarray]) -> list[Start]:
    """The start of every network.

    Args:
        columns: Rows of a shard's columns.

    Returns:
        One key a network; networks with equal keys start from equal weights.
    """
    return list(zip(*(columns[name].tolist() for name in START), strict=True))


def starting_outputs(shard: Shard, start: Start, inputs: torch.Tensor) -> torch.Tensor:
    """F(x; W(0)) before the output factor.

    Args:
        shard: Its architecture and floating-point type (weights are rounded to it before they are used).
        start: Which start.
        inputs: (samples, in), on any device.

    Returns:
        Tensor (samples, outputs) in float64, on the device of the inputs.
    """
    network = shard.network
    weights = [
        torch.as_tensor(starting_weights(network, layer, *start, dtype=shard.dtype)).to(inputs.device, torch.float64)
        for layer in range(network.layers)
    ]
    found = torch.empty((len(inputs), network.widths[-1]), dtype=torch.float64, device=inputs.device)
    stacked, size = [matrix[None] for matrix in weights], CHUNKS[network.kind]
    how = {"activation": network.activation, "geometries": network.geometries}
    for first in range(0, len(inputs), size):
        chunk = inputs[first : first + size].double()
        found[first : first + size] = forward(stacked, [None] * len(stacked), chunk, **how).output[0]
    return found


def referred(shard: Shard, data: Data, chosen: Sequence[Start]) -> Data:
    """A data set with what centred networks subtract on it.

    Args:
        shard: As for `starting_outputs`.
        data: What r networks see, inputs (r or 1, n, w).
        chosen: Start of each of them.

    Returns:
        The same with `reference`, (1, n, o) where all networks start alike on the same inputs, else (r, n, o).
    """
    keys = [(start, row if len(data.inputs) > 1 else 0) for row, start in enumerate(chosen)]
    found = {
        (start, row): starting_outputs(shard, start, data.inputs[row]).to(data.inputs.dtype)
        for start, row in dict.fromkeys(keys)
    }
    rows = list(found) if len(found) == 1 else keys
    return replace(data, reference=torch.stack([found[key] for key in rows]))
