"""Cubes of two layers' weights: one that weight decay shrinks, and one that it leaves alone."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from made_diffusion import Landscape, walk_cube

STEPS = [0, *range(50, 1001, 50)]
DECAY, LENGTH, NOISE = 0.002, 3.0, 0.02


def layered_cube(
    decays: Sequence[float] = (0.0, DECAY),
    *,
    replicas: int = 8,
    grown: float = 0.0,
    steps: Sequence[int] = STEPS,
    elsewhere: float = 0.01,
) -> tuple[xr.Dataset, np.ndarray, np.ndarray]:
    """The first layer shrinks as decay has it, less what is grown; the rest of the drift is at right angles to both.

    Args:
        decays: Weight decays.
        replicas: Of each.
        grown: Share of the decay that growth makes up for.
        steps: Recorded steps.
        elsewhere: Drift a step along neither layer.

    Returns:
        The cube; the mean displacement along both layers (decays, steps, 2); the squared drift elsewhere (steps,).
    """
    settings = {"learning_rate": [0.05], "momentum": [0.9], "weight_decay": list(decays)}
    cube = walk_cube(Landscape(np.zeros(3), np.ones(3), modes=1), steps, replicas=replicas, **settings)
    generator, time, count = np.random.default_rng(2), np.array(steps, dtype=float), len(decays)
    pull = 0.05 * np.array(decays)[:, None] / 0.1
    shrunk = np.expm1(time * np.log1p(-pull)) * LENGTH * (1 - grown)
    along = np.stack([shrunk, np.zeros((count, len(time)))], axis=-1)
    drift = (elsewhere * time) ** 2
    place = {name: cube.sizes[name] for name in cube["global_displacement"].dims}
    noise = generator.standard_normal((replicas, count, len(time), 2))
    walk = NOISE * np.cumsum(noise * np.sqrt(np.diff(time, prepend=0.0))[:, None], axis=2)
    whole = along[None] + walk
    shape = list(place.values())
    own = np.moveaxis((whole**2).sum(-1) + drift, 0, 1)
    gram = np.einsum("rptl,sptl->prts", whole, whole) + drift[None, None, :, None]
    dims = cube["global_displacement"].dims
    cube["global_displacement"] = (dims, own.reshape(shape))
    cube["displacement_gram"] = ((*dims, "other_replica"), gram.reshape(*shape, replicas))
    layers = np.moveaxis(whole, 0, 1).reshape(*shape, 2)
    cube["layer_displacement_along_start"] = ((*dims, "layer"), layers * LENGTH)
    cube["layer_weight_norm"] = ((*dims, "layer"), np.full((*shape, 2), LENGTH**2))
    return cube, along, drift
