"""Loss and accuracy of modular networks on held-out data, one network at a time, chunk by chunk.

What norm batch normalises by is measured anew at each record, on the first training samples: so it belongs to the
weights as they are, and training keeps nothing beside them.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from sgdphases.ensemble.feed import chunks
from sgdphases.ensemble.losses import loss_factor, loss_terms
from sgdphases.ensemble.modules import gathered, outputs
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.state import State

SAMPLES, CHUNK = 512, 128
"""Training samples that norm batch's moments are measured on, and samples of one pass."""


def evaluate_modular(
    shard: Shard, state: State, row: int, task: Any, part: str, device: torch.device
) -> dict[str, float]:
    """Loss and accuracy of one network.

    Args:
        shard: What is trained.
        state: Where the training stands.
        row: Place of the network in the shard.
        task: What it is trained on.
        part: test or validation.
        device: Where to compute.

    Returns:
        loss, the mean loss, and accuracy, the share of samples whose largest output is the target's.
    """
    network, loss, dtype = shard.network, str(shard.networks["loss"][row]), getattr(torch, shard.dtype)
    weights, biases = (
        {
            layer: torch.as_tensor(state.arrays[f"{kind}_{layer}"][row], device=device)[None]
            for layer in range(network.layers)
            if f"{kind}_{layer}" in state.arrays
        }
        for kind in ("weights", "bias")
    )

    def batches(part: str, most: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs as the network reads them, and targets (1, samples, outputs)."""
        inputs, targets = (getattr(task, f"{part}{word}") for word in ("inputs", "targets"))
        known = {"outputs": network.widths[-1], "dtype": dtype, "device": device}
        known |= {"channels": network.channels} if network.kind == "resnet18" else {}
        for chunk, aims in chunks(inputs[:most], targets[:most], CHUNK, **known):
            yield (chunk if network.kind == "resnet18" else chunk.flatten(1)[None]), aims[None]

    # Chunks count alike, so a smaller last one is left out.
    whole = min(SAMPLES, len(task.inputs)) // CHUNK * CHUNK or None
    moments = gathered(network, weights, biases, [inputs for inputs, _ in batches("", whole)])
    total, correct, samples = 0.0, 0, 0
    for inputs, targets in batches(f"{part}_"):
        output = outputs(network, weights, biases, inputs, moments=moments) * float(shard.output_factor[row])
        total += float(loss_terms(output, targets, loss).sum())
        correct += int((output.argmax(-1) == targets.argmax(-1)).sum())
        samples += targets.shape[1]
    return {"loss": total * loss_factor(loss, samples, network.widths[-1]), "accuracy": correct / samples}
