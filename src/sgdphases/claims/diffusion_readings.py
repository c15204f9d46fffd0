"""How the quantities of the diffusion study's claims are read from fits, and what experiments must be for them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sgdphases.claims.claim import Fits, Measurement, Needs, NotReached
from sgdphases.claims.network import Point, network_at
from sgdphases.claims.readings import Measure, at, fitted

MOMENTS = "stationary_moments"

MODE = 29
"""The paper's q30."""

MANY = 2e4
"""Effective samples from which on a mode's equipartition is judged."""


@dataclass(frozen=True)
class OnWalks(Needs):
    """What an experiment must have so that a claim about the limiting phase can be judged on it.

    Attributes:
        sampler: Order of the data: noise is independent from step to step with replacement alone.
        update: Word of the update rule; None: any.
    """

    sampler: str = "with_replacement"
    update: str | None = None

    def _kind(self, cube: xr.Dataset, fits: Fits) -> list[str]:
        for name, wanted in (("sampler", self.sampler), ("update", self.update)):
            have = cube.attrs.get(name)
            if wanted is not None and have != wanted:
                return [f"{name} {wanted}, has {have}"]
        return super()._kind(cube, fits)


def over_modes(name: str, over: Callable[[np.ndarray], float], point: Point) -> Measure:
    """What a fit's values over the modes come to at one point; the error is the largest of theirs.

    Args:
        name: Variable of the fit of stationary moments.
        over: From the values that there are to a number.
        point: The network.

    Returns:
        The reading.
    """

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = network_at(fits[MOMENTS], point)
        values, errors = found[name].values, found[f"{name}_error"].values
        known = np.isfinite(values)
        if not known.any():
            raise NotReached(f"the fit {MOMENTS} gives no {name} here")
        return Measurement(float(over(values[known])), float(np.nanmax(errors[known])), f"{known.sum()} modes")

    return measure


def velocity_over_curvature(point: Point, mode: int = MODE) -> Measure:
    """Ratio of velocity variances of the first and another mode, over that of their curvatures.

    Args:
        point: The network.
        mode: The other mode.

    Returns:
        The reading.
    """

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        velocity = fitted(MOMENTS, "velocity_contrast", point=point, mode=mode)(cube, fits)
        curvature = float(at(fits[MOMENTS]["curvature_contrast"], {"mode": mode}))
        return Measurement(velocity.value / curvature, velocity.error / curvature, f"curvatures {curvature:.3g}")

    return measure


def worst_equipartition(cube: xr.Dataset, fits: Fits) -> Measurement:
    """Largest |potential over kinetic energy - 1| over points and modes with many samples."""
    value, error, chosen = _energies(fits, "effective_samples", MANY)
    off = np.where(chosen, np.abs(value - 1), -1.0)
    worst = np.unravel_index(off.argmax(), off.shape)
    words = f"{chosen.sum()} modes of all points; the worst {value[worst]:.4f} ± {error[worst]:.2g}"
    return Measurement(float(off[worst]), float(error[worst]), words)


def scatter_of_equipartition(cube: xr.Dataset, fits: Fits) -> Measurement:
    """Root mean square of (potential over kinetic energy - 1) in standard errors, over points and identified modes."""
    value, error, chosen = _energies(fits, "counted", 1)
    return _scatter(((value - 1) / error)[chosen])


def scatter_of_regression(name: str) -> Measure:
    """Root mean square of what a regression gives over the truth, less 1, in standard errors.

    Args:
        name: Variable of the fit of the curvature.

    Returns:
        The reading, over points and identified modes.
    """

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = fits["curvature_regression"]
        off = ((found[name] - 1) / found[f"{name}_error"]).values[found["identified"].values > 0]
        off = off[np.isfinite(off)]
        if not off.size:
            raise NotReached(f"the fit curvature_regression gives no {name} here")
        return _scatter(off)

    return measure


def _scatter(off: np.ndarray) -> Measurement:
    """Root mean square of distances in standard errors."""
    size = math.sqrt(np.mean(off**2))
    words = f"{off.size} modes of all points; at most {np.abs(off).max():.2g}"
    return Measurement(size, size / math.sqrt(2 * off.size), words)


def _energies(fits: Fits, flag: str, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Equipartition of all points and modes, its errors, and which of them reach `least` of a flag."""
    found = fits[MOMENTS]
    value, error = found["equipartition"].values, found["equipartition_error"].values
    chosen = (found[flag].values >= least) & np.isfinite(value) & (error > 0)
    if not chosen.any():
        raise NotReached(f"needs modes with {flag.replace('_', ' ')} of {least:g}")
    return value, error, chosen
