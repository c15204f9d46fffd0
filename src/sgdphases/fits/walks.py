"""A cube of the diffusion study: points with their settings and times, and what was measured once where all started.

Letters in shapes: R replicas, P points of the grid, T records, B = T - 1 blocks between records, M modes. Words and
symbols are those of `theory.momentum_sgd`: h curvature with weight decay, s the variance of the gradient of a batch.
Source: Kunin et al., arXiv 2107.09133.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, labelled
from sgdphases.fits.grid import Grid, attributes_of, described, grid_of
from sgdphases.fits.intervals import Estimate
from sgdphases.quantities import attributes
from sgdphases.theory import reshuffled_noise

WITHOUT_REPLACEMENT = ("fixed_order", "fixed_shuffle", "reshuffle")
"""Samplers whose batches of an epoch have no sample in common."""

LARGEST_RESIDUAL = 0.01
"""|Hq - ρq|/|ρ| up to which a direction q counts as an eigenvector of the Hessian."""


@dataclass(frozen=True)
class Walks:
    """The points of a cube, and networks walking away from one start.

    Attributes:
        fit: Name of the fit that reads it, for messages.
        cube: The cube.
        grid: Its points on one axis.
        step: Recorded steps, (P, T).
        learning_rate: η, (P,).
        momentum: β, (P,).
        batch_size: S, (P,).
        weight_decay: λ, (P,).
        samples: N, (P,); NaN where batches come from no data set.
    """

    fit: str
    cube: xr.Dataset
    grid: Grid
    step: Floats
    learning_rate: Floats
    momentum: Floats
    batch_size: Floats
    weight_decay: Floats
    samples: Floats

    @property
    def points(self) -> int:
        """Number of points."""
        return len(self.learning_rate)

    @property
    def steps_per_epoch(self) -> Floats:
        """N/S, (P,); NaN where there is no data set."""
        return self.samples / self.batch_size

    @property
    def reference(self) -> int:
        """The point in the middle of every axis, at which the paper would have fixed its constant."""
        middle = tuple((size - 1) // 2 for size in self.grid.shape)
        return int(np.ravel_multi_index(middle, self.grid.shape)) if middle else 0

    @property
    def sampler(self) -> str:
        """How batches are drawn.

        Raises:
            ValueError: If the cube does not say.
        """
        if "sampler" not in self.cube.attrs:
            raise ValueError(f"fit {self.fit} needs to know how batches are drawn: attribute sampler of the cube")
        return str(self.cube.attrs["sampler"])

    @property
    def with_replacement(self) -> bool:
        """Whether the noises of all steps are independent."""
        return self.sampler not in WITHOUT_REPLACEMENT

    @property
    def period(self) -> np.ndarray:
        """Whole steps of an epoch, (P,); 0 where there is no data set."""
        batches = np.where(np.isfinite(self.steps_per_epoch), self.steps_per_epoch, 0.0)
        return (np.ceil if self.cube.attrs.get("last_batch") == "keep" else np.floor)(batches).astype(np.int64)

    def words(self, point: int) -> dict[str, float]:
        """Learning rate and momentum of a point, as the laws want them."""
        return {"learning_rate": float(self.learning_rate[point]), "momentum": float(self.momentum[point])}

    def values(self, name: str) -> np.ndarray:
        """A variable of the records, (P, R, T, own...); a view where merging has left it in this order."""
        variable = self.cube[name].variable
        own = [dim for dim in variable.dims if dim not in (*self.grid.dims, "replica", self.grid.clock)]
        ordered = variable.transpose(*self.grid.dims, "replica", self.grid.clock, *own).values
        return ordered.reshape(self.points, *ordered.shape[len(self.grid.dims) :])

    def whole_runs(self, name: str) -> Floats:
        """A variable without own dimensions, replicas first, (R, P, T); NaN throughout where a network diverged."""
        values = np.moveaxis(self.values(name).astype(np.float64), 1, 0)
        return np.where(np.isfinite(values[..., -1:]), values, np.nan)

    def start(self, name: str) -> Floats:
        """What was measured at the start, (own...); NaN where the cube has it not."""
        if name not in self.cube:
            return np.full((), np.nan)
        return self.cube[name].values.astype(np.float64)

    def eigenvectors(self) -> np.ndarray:
        """Which modes are eigenvectors of the Hessian, (M,); the others are any other directions."""
        curvature = self.start("curvature")
        if "curvature_residual" not in self.cube:
            return np.isfinite(curvature)
        return self.start("curvature_residual") <= LARGEST_RESIDUAL * np.abs(curvature)

    def curvature(self) -> Floats:
        """Curvature h = ρ + λ, (P, M)."""
        return self.start("curvature") + self.weight_decay[:, None]

    def confined(self) -> np.ndarray:
        """Which modes are eigenvectors along which the loss curves upwards, (P, M)."""
        return self.eigenvectors() & (self.curvature() > 0)

    def batch_noise(self, variance: Floats) -> Floats:
        """Variance of what batches make of a variance of per-example gradients, (P,) or (P, M)."""
        wide = [np.expand_dims(each, tuple(range(1, 1 + variance.ndim))) for each in (self.batch_size, self.samples)]
        if self.with_replacement:
            return variance / wide[0]
        if not np.isfinite(self.samples).all():
            raise ValueError(f"fit {self.fit} needs to know how many samples the sampler {self.sampler} draws from")
        return reshuffled_noise.batch_noise(variance, batch_size=wide[0], samples=wide[1])

    def described(
        self, name: str, estimate: Estimate, words: tuple[str, str], *own: str, interval: bool = False
    ) -> dict[str, tuple]:
        """An estimate (P, own...) as variables of a dataset."""
        return described(self.grid, name, estimate, words, *own, interval=interval)

    def plain(self, name: str, values: np.ndarray, words: tuple[str, str], *own: str) -> dict[str, tuple]:
        """Numbers (P, own...) without an error as a variable of a dataset."""
        shaped = np.asarray(values).reshape((*self.grid.shape, *np.shape(values)[1:]))
        return {name: ((*self.grid.dims, *own), shaped, attributes_of(words))}

    def finished(
        self,
        found: Mapping[str, tuple],
        about: str,
        coordinates: Mapping[str, Any] | None = None,
        reasons: Sequence[str] = (),
        **attrs: Any,
    ) -> xr.Dataset:
        """The dataset of a fit: estimates, coordinates, and what could not be had."""
        made = labelled(self.cube, found, about).assign_coords(dict(coordinates or {}))
        if self.grid.clock in made.dims:
            step = self.cube["step"]
            words = {**attributes("step"), **step.attrs}
            made = made.assign_coords(step=(step.dims, step.values, words))
        return made.assign_attrs(reason="; ".join(dict.fromkeys(reasons)), **attrs)


def walks_of(cube: xr.Dataset, fit: str, *needs: str) -> Walks:
    """The walks of a cube.

    Args:
        cube: The cube.
        fit: Name of the fit, for messages.
        *needs: Variables that the fit cannot do without.

    Returns:
        The walks.

    Raises:
        ValueError: If a variable, or replicas and times, are missing.
    """
    missing = [name for name in needs if name not in cube]
    if missing:
        raise ValueError(f"fit {fit} needs {' and '.join(missing)} in the cube")
    if "replica" not in cube.dims or not {"step", "flow_time"} & set(cube.dims):
        raise ValueError(f"fit {fit} needs networks over replica and step, not over {', '.join(map(str, cube.dims))}")
    if "samples" not in cube.coords and "samples" not in cube.attrs:
        cube = cube.assign_attrs(samples=0)
    grid = grid_of(cube)
    settings = {}
    for name in ("learning_rate", "momentum", "batch_size", "weight_decay"):
        settings[name] = grid.on_points(cube[name])
    samples = np.where(grid.samples > 0, grid.samples, np.nan)
    return Walks(fit, cube, grid, grid.in_time(cube["step"]), samples=samples, **settings)


def named(dimension: str, names: Sequence[str], about: str) -> dict[str, tuple]:
    """Coordinates of a dimension that numbers names: the numbers, and the names as `<dimension>_name`."""
    return {
        dimension: (dimension, np.arange(len(names)), {"long_name": dimension, "units": "1"}),
        f"{dimension}_name": (dimension, list(names), {"long_name": about}),
    }


def over_constant(estimate: Estimate, constant: Floats) -> Estimate:
    """An estimate over a positive number that has no error; NaN where that number is none."""
    usable = np.where(np.isfinite(constant) & (constant > 0), constant, np.nan)
    return estimate.times(1 / usable)


def epochs_of(walks: Walks) -> Floats:
    """Passes over the data at every record, (P, T); NaN where there is no data set."""
    return walks.step / walks.steps_per_epoch[:, None]
