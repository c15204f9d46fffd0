"""The neural tangent kernel of many networks, without their Jacobians.

The derivative of output o on sample n by the weights of layer l is the outer product of delta, the derivative by the
pre-activations, and h, what the layer reads. So its products over samples are products of products,
K[n, m] = sum over o and l of c_l^2 (delta[n] . delta[m]) (h[n] . h[m]), with 1 added to the latter for a bias. c_l^2 is
what makes it the kernel of the parameters theta = W / c (`Network.unit`).
"""

import torch
from torch import Tensor

from sgdphases.ensemble.buffers import LANE
from sgdphases.ensemble.networks import Passes
from sgdphases.ensemble.passes import Stack
from sgdphases.ensemble.shard import Network


def tangent_kernel(stack: Stack, passes: Passes, network: Network, samples: int) -> Tensor:
    """Kernel by the parameters of trained layers, summed over outputs (its trace).

    Args:
        stack: The networks.
        passes: Their forward pass.
        network: Their architecture.
        samples: On how many samples of the pass, from the first on.

    Returns:
        Tensor (r, n, n).
    """
    most = -(-samples // LANE) * LANE  # no ragged ends, see `ensemble.buffers`
    some = Passes(*([part[:, :most] for part in parts] for parts in (passes.preactivations, passes.activations)))
    slopes, layers = torch.zeros_like(some.output), network.trained_layers
    found: dict[int, Tensor] = {}
    for output in range(slopes.shape[-1]):
        slopes.zero_()[..., output] = 1
        for layer, deltas in stack.deltas(some, slopes, layers).items():
            squares = deltas @ deltas.mT
            found[layer] = found[layer] + squares if layer in found else squares
    for layer in layers:
        hidden = some.activations[layer - stack.first]
        found[layer] *= network.unit(layer) ** 2 * (hidden @ hidden.mT + float(network.bias[layer]))
    return sum(found[layer] for layer in layers)[:, :samples, :samples]
