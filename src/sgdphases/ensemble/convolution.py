"""Convolutions by hand: a dense layer at every position of an image, and what lies between it and the next layer.

Before the product an image is read in patches, after the activation means over squares are left; on the way down means
are spread and patches are folded, that is, added up where they overlap. Here samples come last in memory, (networks,
numbers of a sample, samples): so reading is one copy of long runs, and the rest is a fixed sequence of operations on
whole tensors, each of which rounds once. A network's bits do not depend on its neighbours, nor a sample's on others.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from sgdphases.ensemble.geometry import KERNEL, POOL, Geometry
from sgdphases.ensemble.layers import Layer, Operation


def reading(geometry: Geometry, images: Tensor, patches: Tensor) -> list[Operation]:
    """What reads images in patches.

    Args:
        geometry: Of the convolution.
        images: (r, C side^2, n).
        patches: Where they go, (r, patch * positions, n), contiguous.

    Returns:
        Operations to be called in their order, again and again.
    """
    windows = _grid(geometry, images).unfold(2, KERNEL, 1).unfold(3, KERNEL, 1)
    windows = windows[:, :, : geometry.across, : geometry.across].permute(0, 1, 5, 6, 2, 3, 4)
    return [partial(_offsets(geometry, patches).copy_, windows)]


def folding(geometry: Geometry, patches: Tensor, images: Tensor) -> list[Operation]:
    """The transpose of `reading`: what adds up patches where they lie in images.

    Args:
        geometry: Of the convolution.
        patches: (r, patch * positions, n).
        images: Where they go, (r, C side^2, n).

    Returns:
        Operations to be called in their order, again and again.
    """
    offsets, grid, across = _offsets(geometry, patches), _grid(geometry, images), geometry.across
    operations: list[Operation] = [images.zero_]
    for row, column in itertools.product(range(KERNEL), repeat=2):
        place = grid[:, :, row : row + across, column : column + across]
        operations.append(partial(place.add_, offsets[:, :, row, column]))
    return operations


def pooling(geometry: Geometry, fields: Tensor, pooled: Tensor) -> list[Operation]:
    """What takes means over squares of positions.

    Args:
        geometry: Of the convolution.
        fields: (r, F positions, n).
        pooled: Where they go, (r, F pooled^2, n), contiguous.

    Returns:
        Operations to be called in their order, again and again.
    """
    first, second, *others = _corners(geometry, fields)
    means = pooled.view(first.shape)
    return [
        partial(torch.add, first, second, out=means),
        *(partial(means.add_, other) for other in others),
        partial(pooled.mul_, pooled.new_full((), 1 / POOL**2)),
    ]


def spreading(geometry: Geometry, pooled: Tensor, fields: Tensor, slopes: Tensor | None = None) -> list[Operation]:
    """The transpose of `pooling`, times slopes.

    Args:
        geometry: Of the convolution.
        pooled: (r, F pooled^2, n), contiguous; overwritten by its share of one position.
        fields: Where it goes, (r, F positions, n).
        slopes: What it is multiplied by there, shaped like `fields`; None for 1.

    Returns:
        Operations to be called in their order, again and again.
    """
    corners = _corners(geometry, fields)
    share = pooled.view(corners[0].shape)
    operations: list[Operation] = [partial(pooled.mul_, pooled.new_full((), 1 / POOL**2))]
    if slopes is None:
        return operations + [partial(corner.copy_, share) for corner in corners]
    pairs = zip(corners, _corners(geometry, slopes), strict=True)
    return operations + [partial(torch.mul, share, slope, out=corner) for corner, slope in pairs]


def read(geometry: Geometry, hidden: Tensor) -> Tensor:
    """Patches of what a convolution is given, all networks' at once if it is the same for all.

    Args:
        geometry: Of the convolution.
        hidden: (r, n, C side^2).

    Returns:
        Tensor (r, patch, positions * n).
    """
    images = samples_last(hidden)
    patches = images.new_empty((len(images), geometry.patch, geometry.positions * images.shape[2]))
    run(reading(geometry, images, by_sample(patches, images)))
    return patches.expand(len(hidden), -1, -1)


def convolve(geometry: Geometry, hidden: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    """Preactivations of a convolution.

    Args:
        geometry: Of the convolution.
        hidden: (r, n, C side^2).
        weights: (r, F, patch).
        bias: (r, F), or None.

    Returns:
        Tensor (r, n, F positions).
    """
    fields = torch.bmm(weights, read(geometry, hidden))
    if bias is not None:
        fields += bias[:, :, None]
    return by_sample(fields, hidden.mT).mT


def pool(geometry: Geometry, activations: Tensor) -> Tensor:
    """What a convolution leaves of its activations.

    Args:
        geometry: Of the convolution.
        activations: (r, n, F positions).

    Returns:
        Tensor (r, n, F pooled^2).
    """
    rows, samples, _ = activations.shape
    pooled = activations.new_empty((rows, geometry.outputs, samples))
    run(pooling(geometry, activations.mT, pooled))
    return pooled.mT


def hand_down(weights: Tensor, deltas: Tensor, slopes: Tensor, *, above: Geometry | None, below: Geometry) -> Tensor:
    """Derivatives by the preactivations of a convolution.

    Args:
        weights: Of the layer above, (r, out, in).
        deltas: Of the layer above, (r, n, w).
        slopes: Of the convolution, (r, n, F positions).
        above: Geometry of the layer above; None for a dense one.
        below: Geometry of the convolution.

    Returns:
        Tensor (r, n, F positions).
    """
    rows, samples, _ = deltas.shape
    columns = deltas.mT.reshape(rows, weights.shape[1], -1)
    pooled, found = (deltas.new_empty((rows, count, samples)) for count in (below.outputs, slopes.shape[2]))
    patches = None if above is None else deltas.new_empty((rows, above.patch, columns.shape[2]))
    run(handing_down(weights, columns, patches, pooled, above=above))
    run(spreading(below, pooled, found, slopes.mT))
    return found.mT


def handing_down(
    weights: Tensor, columns: Tensor, patches: Tensor | None, pooled: Tensor, *, above: Geometry | None
) -> list[Operation]:
    """What makes derivatives by what a convolution leaves of the deltas of the layer above.

    Args:
        weights: Of the layer above, (r, out, in).
        columns: Its deltas, (r, out, positions * n), or (r, out, n) if it is dense.
        patches: Room for derivatives by its patches, (r, patch, positions * n); None if it is dense.
        pooled: Where they go, (r, C side^2, n).
        above: Geometry of the layer above; None for a dense one.

    Returns:
        Operations to be called in their order, again and again.
    """
    if above is None:
        return [partial(torch.bmm, weights.mT, columns, out=pooled)]
    down = partial(torch.bmm, weights.mT, columns, out=patches)
    return [down, *folding(above, by_sample(patches, pooled), pooled)]


@dataclass
class Convolution(Layer):
    """One convolution of all networks of a group; what has another shape than in a dense layer, or is no part of one.

    Attributes:
        inputs: Images of the current batch, (rows, batch, C side^2).
        outputs: Preactivations, then activations, (rows, F, positions * batch); so are `fields`, `slopes`, `deltas`.
        bias: (rows, F, 1), or None.
        geometry: How it reads images, and what it leaves.
        images: The inputs with samples last, (rows or 1, C side^2, batch).
        patches: (rows, patch, positions * batch); one for all rows that see the same images.
        pooled: What it leaves, (rows, F pooled^2, batch).
        handed: Derivatives by that, then their share of one position.
    """

    geometry: Geometry = field(kw_only=True)
    images: Tensor = field(init=False)
    patches: Tensor = field(init=False)
    pooled: Tensor = field(init=False)
    handed: Tensor = field(init=False)

    def __post_init__(self) -> None:
        geometry, rows, batch = self.geometry, len(self.weights), self.inputs.shape[1]
        self.images = samples_last(self.inputs)
        shape = (len(self.images), geometry.patch, geometry.positions * batch)
        self.patches = self.images.new_zeros(shape).expand(rows, -1, -1)
        self.pooled, self.handed = (self.images.new_zeros((rows, geometry.outputs, batch)) for _ in range(2))
        self.left, self.right = self.deltas.view, self.patches.mT
        if self.bias is not None:
            self.summands = self.deltas.view, self.images.new_ones((rows, shape[2], 1))

    @property
    def handed_on(self) -> Tensor:
        """What the layer above reads, (rows, batch, F pooled^2)."""
        return self.pooled.mT

    def product(self) -> list[Operation]:
        """What reads the images, and multiplies the patches by the weights."""
        given = self.inputs[: len(self.images)].mT
        turn = [] if given.data_ptr() == self.images.data_ptr() else [partial(self.images.copy_, given)]
        patches = by_sample(self.patches[: len(self.images)], self.images)
        product = partial(torch.bmm, self.weights, self.patches, out=self.outputs.view)
        return [*turn, *reading(self.geometry, self.images, patches), product]

    def hand_on(self) -> list[Operation]:
        """What takes means of the activations."""
        return pooling(self.geometry, by_sample(self.outputs.view, self.images), self.pooled)

    def hand_down(self, above: Layer) -> list[Operation]:
        """What makes this layer's deltas of those of the layer above."""
        geometry = above.geometry if isinstance(above, Convolution) else None
        columns = above.deltas.view.mT if geometry is None else above.deltas.view
        patches = None if geometry is None else torch.zeros_like(above.patches)
        deltas = by_sample(self.deltas.view, self.images)
        slopes = None if self.slopes is None else by_sample(self.slopes.view, self.images)
        return [
            *handing_down(above.weights, columns, patches, self.handed, above=geometry),
            *spreading(self.geometry, self.handed, deltas, slopes),
        ]


def _grid(geometry: Geometry, images: Tensor) -> Tensor:
    """Images (r, C side^2, n) as (r, C, side, side, n)."""
    return images.unflatten(1, (geometry.channels, geometry.side, geometry.side))


def _offsets(geometry: Geometry, patches: Tensor) -> Tensor:
    """Patches (r, patch * positions, n) as (r, C, 3, 3, across, across, n)."""
    return patches.unflatten(1, (geometry.channels, KERNEL, KERNEL, geometry.across, geometry.across))


def _corners(geometry: Geometry, fields: Tensor) -> list[Tensor]:
    """Fields (r, F positions, n) as the four places of a square, each (r, F, pooled, pooled, n)."""
    grid = fields.unflatten(1, (geometry.filters, geometry.pooled, POOL, geometry.pooled, POOL))
    return [grid[:, :, :, row, :, column] for row, column in itertools.product(range(POOL), repeat=2)]


def samples_last(hidden: Tensor) -> Tensor:
    """What a convolution is given as `reading` takes it, once if it is the same for all networks.

    Args:
        hidden: (r, n, C side^2).

    Returns:
        Tensor (r or 1, C side^2, n), contiguous: the same memory if it lies there like that.
    """
    given = hidden[:1] if hidden.stride(0) == 0 else hidden
    return given.mT.contiguous()


def by_sample(columns: Tensor, like: Tensor) -> Tensor:
    """Columns by sample.

    Args:
        columns: (r, w, positions * n), contiguous.
        like: Anything that ends with the n samples.

    Returns:
        The same numbers, (r, w * positions, n).
    """
    return columns.view(len(columns), -1, like.shape[-1])


def run(operations: Sequence[Operation]) -> None:
    """Call operations in their order."""
    for operation in operations:
        operation()
