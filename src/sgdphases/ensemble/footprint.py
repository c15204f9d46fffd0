"""How much memory a network's step touches, from shapes alone: for the trainer, and for estimates without torch."""

import math

from sgdphases.ensemble.architecture import Network

CACHE = 1_310_720  # bytes that networks stepped together may touch: what stays in a core's second-level cache of 2 MiB


def touched_bytes(network: Network, batch_size: int, wide: int) -> int:
    """Bytes that one network touches in a plain step: its weights and the buffers of a batch.

    Args:
        network: Its architecture.
        batch_size: Samples of a batch.
        wide: Bytes of a number.

    Returns:
        Bytes.
    """
    if network.modular:
        return (
            sum(math.prod(network.shape(layer)) for layer in range(network.layers)) + _kept(network, batch_size)
        ) * wide
    lowest = network.trained_layers[0]
    count = network.widths[lowest] * batch_size
    for layer in range(lowest, network.layers):
        geometry = network.geometries[layer]
        touched = 3 * network.widths[layer + 1] if geometry is None else geometry.touched
        count += math.prod(network.shape(layer)) + batch_size * touched
    return count * wide


def _kept(network: Network, batch_size: int) -> int:
    """Numbers that automatic differentiation keeps of a batch of one modular network."""
    # Three for each number that a layer makes: what it reads, what it makes, and the derivative.
    made = (piece.out * places for piece, places in zip(network.pieces, network.places, strict=True))
    return batch_size * (network.widths[0] + 3 * sum(made))
