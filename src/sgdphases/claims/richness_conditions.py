"""Conditions of the claims of the richness study, arXiv 2410.04642, beside those of any claim: `OnStrips`.

A strip is a row of networks that differ in nothing but the learning rate. Powers of the richness γ are those of lazy
networks (γ up to 10^-1.5) and of rich ones (γ from 10 on), as the fits have them.
"""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sgdphases.claims.claim import WHOLE, Fits, Needs

PAPER = "arXiv 2410.04642"

LAYERS = (2, 3, 4)
"""Depths at which the powers of the richness are followed."""

LAZY, RICH = (1e-3, 1e-2), (1e1, 1e2, 1e3)
"""Values of the richness that a power must rest on at least."""

SQUARED, ENTROPY = "mean_squared_error", "cross_entropy"
ONE_HOT, CENTRED = "one-hot", "centred"

REPLICAS = 2
"""Seeds of the simulation that tolerances rest on."""

LAZY_END = 10**-1.5
"""Richness up to which networks are lazy."""


def layers_of(cube: xr.Dataset) -> np.ndarray:
    """Number of layers along the axis `depth`, or of all networks, (depths,)."""
    own = len(np.atleast_1d(cube.attrs.get("widths", ()))) - 1
    depth = np.atleast_1d(cube["depth"].values) if "depth" in cube.coords else np.zeros(1, dtype=np.int64)
    return np.where(depth == 0, own, depth)


def losses_of(cube: xr.Dataset) -> list[str]:
    """Words of the losses that networks are trained by."""
    return np.atleast_1d(cube["loss"].values).tolist() if "loss" in cube.coords else []


def targets_of(cube: xr.Dataset) -> str:
    """One-hot or centred targets, by the loss at the start, where a centred network answers 0: their mean counts."""
    if not {"batch_loss", "constant_loss"} <= set(cube.data_vars) or SQUARED not in losses_of(cube):
        return "no batch loss of squared errors"
    ratio = cube["batch_loss"].isel(update=0) / cube["constant_loss"]
    return ONE_HOT if float(ratio.where(cube["loss"] == SQUARED).mean()) > 1.05 else CENTRED


@dataclass(frozen=True)
class OnStrips(Needs):
    """What an experiment must have so that a claim about strips can be judged on it.

    Attributes:
        layers: Depths that must be among the networks'; others are another grid's, as in `extends`.
        loss: What networks are trained by.
        network: Family of the networks; of another one is another grid.
        targets: One-hot or centred; None: any. The other kind is another grid's.
        equal: Word of a learning rate that does not change with the richness; None: any.
        most_epochs: Longest schedule in passes over the data; 1 for online training.
    """

    layers: tuple[int, ...] = ()
    loss: str = SQUARED
    network: str = "mlp"
    targets: str | None = None
    equal: str | None = None
    most_epochs: float = math.inf

    def only_size(self, cube: xr.Dataset, fits: Fits) -> bool:
        """Whether at most the schedule or the replicas do not suffice."""
        return super().only_size(cube, fits) and not self._elsewhere(cube)

    def _schedule(self, cube: xr.Dataset) -> list[str]:
        return [*super()._schedule(cube), *self._elsewhere(cube)]

    def _elsewhere(self, cube: xr.Dataset) -> list[str]:
        """What only another grid has."""
        lacks, have = [], layers_of(cube).tolist()
        family = cube.attrs.get("network", "mlp")
        if family != self.network:
            lacks.append(f"networks of the kind {self.network}, has {family}")
        absent = [layers for layers in self.layers if layers not in have]
        if absent:
            lacks.append(f"{_joined(absent)} layers, has {_joined(have)}")
        if self.targets is not None and targets_of(cube) != self.targets:
            lacks.append(f"{self.targets} targets, has {targets_of(cube)}")
        return lacks

    def _kind(self, cube: xr.Dataset, fits: Fits) -> list[str]:
        lacks, have = super()._kind(cube, fits), losses_of(cube)
        if self.loss not in have:
            lacks.append(f"loss {self.loss}, has {', '.join(have) or 'none'}")
        if self.equal is not None and not ("richness" in cube.dims and same(cube, self.equal)):
            lacks.append(f"one {self.equal} for several values of the richness")
        epochs = float(cube["epoch"].max()) if "epoch" in cube.coords else math.inf
        if WHOLE * epochs > self.most_epochs:
            lacks.append(f"at most {self.most_epochs:g} epochs, has {epochs:.3g}")
        return lacks


def same(cube: xr.Dataset, word: str) -> bool:
    """Whether a learning rate is there that does not change with the richness."""
    return word in cube.coords and "richness" not in cube[word].dims


def _joined(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
