"""How much of the drift shrinks the weights of single layers: the share along -λθ, and how far decay alone explains it.

Where a normalisation follows, the loss does not know the length of a layer's weights: along them there is no gradient,
and E⟨ΔW, W*⟩ comes from weight decay, ((1 - ηλ/(1 - β))^t - 1)|W*|², and from the growth by noise. Derived; whether the
drift behind powers above 1 is this one is the open question of Kunin et al., arXiv 2107.09133.
"""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats
from sgdphases.fits.drift_split import products_of, replica_jackknife
from sgdphases.fits.walks import walks_of

FIT = "layer_drift"

COURSES = {
    "layer_along_start": (
        "mean displacement of a layer along its start",
        r"a_l=E\langle\Delta,\hat\theta_l^\ast\rangle",
    ),
    "layer_share": (
        "share of the drift along a layer's start",
        r"\langle E\Delta,\hat\theta^\ast\rangle^2/\|E\Delta\|^2",
    ),
    "decay_ratio": (
        "displacement along the start over that by decay alone",
        r"a_l/a_l^\lambda",
    ),
}
"""What is had for every layer and record: long name and symbol."""


def layer_drift(cube: xr.Dataset) -> xr.Dataset:
    """The drift of every layer's weights along themselves.

    Args:
        cube: With `layer_displacement_along_start`, `layer_weight_norm`, `displacement_gram` and
            `global_displacement`.

    Returns:
        Over grid, times and layer, with `_error`, `_low`, `_high` (jackknife over replicas): `layer_along_start`
        (negative where weights shrink), `layer_share` (its square without bias over that of the whole drift, NaN where
        that is not positive) and `decay_ratio` (over ((1 - ηλ/(1 - β))^t - 1)|W*|: 1 where the drift along a layer is
        weight decay alone, less where noise makes it grow; NaN without weight decay). Over grid and times
        `start_share`, with interval: the sum of `layer_share`, of all layers along which decay pulls.

    Raises:
        ValueError: If a variable is missing, or there is a single replica.
    """
    needs = ("layer_displacement_along_start", "layer_weight_norm", "displacement_gram", "global_displacement")
    walks = walks_of(cube, FIT, *needs)
    if cube.sizes["replica"] < 2:
        raise ValueError(f"fit {FIT} needs at least two replicas")
    products = products_of(walks)
    length, along = (
        np.moveaxis(walks.values(name).astype(np.float64), 1, 0)
        for name in ("layer_weight_norm", "layer_displacement_along_start")
    )
    start = np.sqrt(length[:, :, :1])  # (R, P, 1, L)
    along = along / start
    pull = walks.learning_rate * walks.weight_decay / (1 - walks.momentum)
    expected = np.expm1(walks.step * np.log1p(-pull[:, None]))[..., None] * np.nanmean(start, axis=0)
    expected = np.where(expected < 0, expected, np.nan)

    def everything(without: int | None = None) -> dict[str, Floats]:
        alive = np.isfinite(products.own)
        if without is not None:
            alive = alive & (np.arange(products.replicas) != without)[:, None, None]
        count = alive.sum(axis=0)[..., None].astype(np.float64)
        drift = products.courses(walks.step, without)["drift_square"][..., None]
        own = np.where(alive[..., None], along, 0.0)
        mean = own.sum(axis=0) / np.where(count > 0, count, np.nan)
        square = ((count * mean) ** 2 - (own**2).sum(axis=0)) / np.where(count > 1, count * (count - 1), np.nan)
        share = np.divide(square, drift, out=np.full(square.shape, np.nan), where=drift > 0)
        made = {"layer_along_start": mean, "layer_share": share, "decay_ratio": mean / expected}
        return {**made, "start_share": share.sum(axis=-1)}

    alive = np.isfinite(products.own)
    parts = [everything(replica) for replica in range(products.replicas)]
    estimates = replica_jackknife(everything(), parts, alive, (*COURSES, "start_share"))
    found: dict[str, tuple] = {}
    for name, words in COURSES.items():
        found |= walks.described(name, estimates[name], words, walks.grid.clock, "layer", interval=True)
    words = ("share of the drift along the starts of all layers", r"\sum_l\ldots")
    found |= walks.described("start_share", estimates["start_share"], words, walks.grid.clock, interval=True)
    coordinates = {name: cube[name] for name in ("layer", "layer_name") if name in cube.coords}
    return walks.finished(found, "drift of single layers along their weights", coordinates)
