"""The neural tangent kernel of many networks, without their Jacobians.

The derivative of output o on sample n by the weights of layer l is the outer product of delta, the derivative by the
pre-activations, and h, what the layer reads. So its products over samples are products of products,
K[n, m] = sum over o and l of c_l^2 (delta[n] . delta[m]) (h[n] . h[m]), with 1 added to the latter for a bias. c_l^2 is
what makes it the kernel of the parameters theta = W / c (`Network.unit`). Of a convolution the derivative is the sum of
such products over positions, and is formed.
"""

import torch
from torch import Tensor

from sgdphases.ensemble.architecture import Network
from sgdphases.ensemble.buffers import LANE
from sgdphases.ensemble.convolution import read
from sgdphases.ensemble.geometry import Geometry
from sgdphases.ensemble.networks import Passes
from sgdphases.ensemble.passes import Stack


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
    patches = {
        layer: _of_samples(read(geometry, some.activations[layer - stack.first]), geometry)
        for layer, geometry in enumerate(network.geometries)
        if geometry is not None
    }
    for output in range(slopes.shape[-1]):
        slopes.zero_()[..., output] = 1
        for layer, deltas in stack.deltas(some, slopes, layers).items():
            if layer in patches:
                squares = _convolved(deltas, patches[layer], bias=network.bias[layer])
            else:
                squares = deltas @ deltas.mT
            found[layer] = found[layer] + squares if layer in found else squares
    for layer in layers:
        hidden = some.activations[layer - stack.first]
        seen = 1.0 if layer in patches else hidden @ hidden.mT + float(network.bias[layer])
        found[layer] *= network.unit(layer) ** 2 * seen
    return sum(found[layer] for layer in layers)[:, :samples, :samples]


def _of_samples(patches: Tensor, geometry: Geometry) -> Tensor:
    """Patches (r, patch, positions * n) sample by sample, (r, n, positions, patch)."""
    return patches.unflatten(2, (geometry.positions, -1)).permute(0, 3, 2, 1)


def _convolved(deltas: Tensor, patches: Tensor, *, bias: bool) -> Tensor:
    """Products over samples (r, n, n) of derivatives by filters, from (r, n, F positions), and by their bias."""
    each = deltas.unflatten(2, (-1, patches.shape[2]))
    derivatives = (each @ patches).flatten(2)
    found = derivatives @ derivatives.mT
    if bias:
        sums = each.sum(dim=3)
        found = found + sums @ sums.mT
    return found
