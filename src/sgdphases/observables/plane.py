"""The loss over a plane through a start, along two of its directions, on a square grid.

Training loss with weight decay, which gradients descend, and test loss without it, over all samples; norm batch takes
whole batches, as in training. The plane of Fig. 3 of Kunin et al., arXiv 2107.09133, is that of the first and the
thirtieth eigenvector of the Hessian.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sgdphases.ensemble.losses import as_numbers
from sgdphases.observables.landscape import Landscape, alone
from sgdphases.observables.minimum import decaying

Array = np.ndarray


def over_plane(
    landscape: Landscape,
    task: Any,
    directions: Array,
    found: Mapping[str, Array],
    plane: Mapping[str, Any],
    *,
    decay: float = 0.0,
) -> dict[str, Array]:
    """Losses on a square grid around a start.

    Args:
        landscape: The training loss around the start.
        task: Has the test samples.
        directions: Orthonormal columns (parameters, modes).
        found: `curvature` and `noise` along them, (modes,); read where a temperature is given.
        plane: modes, the two directions; extent, how far the grid reaches to all sides; points along each side; and
            temperature, η/(S(1 - β)): unless it is None, the extent counts standard deviations of the wider position.
        decay: Coefficient of weight decay in the gradient.

    Returns:
        The variables of `storage.start.PLANE`.

    Raises:
        ValueError: If the extent counts standard deviations of what has none, since the loss does not curve upwards.
    """
    chosen, points, extent = list(plane["modes"]), plane["points"], plane["extent"]
    if plane["temperature"] is not None:
        h, noise = found["curvature"][chosen] + decay, found["noise"][chosen]
        extent = extent * _deviation(h, noise, plane["temperature"])
    places = np.linspace(-extent, extent, points)
    frame, coefficients = directions[:, chosen], decay * decaying(landscape)
    targets = as_numbers(task.test_targets, landscape.targets.shape[1])
    inputs, used = landscape.inputs, len(targets)
    if landscape.architecture is not None and landscape.architecture.norm == "batch":
        used -= used % landscape.chunk
    test = {"inputs": np.asarray(task.test_inputs), "targets": targets}
    tested = replace(landscape, **{word: torch.tensor(part[:used]).to(inputs) for word, part in test.items()})
    losses, base = np.empty((2, points, points)), landscape.flat
    with alone(), torch.no_grad():
        for row, column in np.ndindex(points, points):
            flat = base + frame @ places[[row, column]]
            for part, there in zip(losses, (landscape, tested), strict=True):
                part[row, column] = _loss(there.moved(flat))
            losses[0, row, column] += coefficients @ flat**2 / 2
    sides = {"plane_first": places, "plane_second": places, "plane_modes": np.array(chosen, dtype=np.float64)}
    return sides | {"plane_loss": losses[0], "plane_test_loss": losses[1]}


def _loss(landscape: Landscape) -> float:
    """The loss where a landscape is, of all its samples."""
    model = landscape.model()
    return sum(float(landscape.share_of_loss(model(inputs), targets)) for inputs, targets in landscape.batches)


def _deviation(curvature: Array, noise: Array, temperature: float) -> float:
    """The larger stationary standard deviation, of small learning rates: Var x = T Σ/(2h)."""
    if not (curvature > 0).all():
        raise ValueError(f"plane: no stationary state at curvature {curvature.min():.3g}; leave out plane.temperature")
    return float(np.sqrt(temperature * noise / (2 * curvature)).max())
