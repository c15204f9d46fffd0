"""Conditions and readings that belong to the claims of arXiv 2509.01349."""

import math
from functools import cache, partial

import numpy as np
import xarray as xr
from scipy import optimize

from sgdphases.claims.claim import Fits, Measurement, Needs, NotReached
from sgdphases.claims.readings import Measure, at, over_replicas, still_changing
from sgdphases.storage.temperature import on_temperature
from sgdphases.theory import tanh_features

on_diagram = partial(Needs, dataset="teacher_student", axes=("init_scale", "temperature"))
"""What its claims need at least: the teacher-student network over disorder and temperature."""

LEAST_NETWORKS = 20
"""Networks that a median before training needs."""
LEARNED_LOSS = 1e-4
"""Training loss below which a network is held against the identity of zero loss."""
TEACHERS = 400
"""Random teachers behind the alignments that need no run."""


def corner(grid: xr.Dataset) -> xr.DataArray:
    """The cold cells of small initial scale, where the features order: 1/σ ≥ 2 and T ≤ 1/8."""
    return (grid["temperature"] <= 0.125) & (grid["init_scale"] <= 0.5)


def outside(grid: xr.Dataset) -> xr.DataArray:
    """The cells where they do not: hot (T ≥ 4) or frozen (1/σ ≤ 1/64)."""
    return (grid["temperature"] >= 4) | (grid["init_scale"] >= 64)


def glass(grid: xr.Dataset) -> xr.DataArray:
    """The frozen cells: 1/σ ≤ 1/64 and T ≤ 1/2."""
    return (grid["temperature"] <= 0.5) & (grid["init_scale"] >= 64)


def initial_gradient(init_scale: float) -> Measure:
    """Median gradient norm before training over at least `LEAST_NETWORKS` networks."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = fits["averages"]
        networks = int(found["initial_networks"])
        if networks < LEAST_NETWORKS:
            raise NotReached(f"needs {LEAST_NETWORKS} networks of one initial scale, has {networks}")
        if "initial_gradient_norm" not in found:
            raise NotReached("needs observable gradient_norm")
        gradient, spread = found["initial_gradient_norm"], found["initial_gradient_norm_error"]
        value, error = (float(at(array, {"init_scale": init_scale})) for array in (gradient, spread))
        return Measurement(value, error, _inverse_law(gradient, init_scale))

    return measure


def _inverse_law(gradient: xr.DataArray, init_scale: float) -> str:
    """Where the gradient falls as 1/σ: its exponent over all scales from 8 on, and this one on that line."""
    wide = gradient.sel(init_scale=gradient["init_scale"] >= 8)
    if init_scale < 8 or wide.size < 3:
        return ""
    logarithms = np.log(wide["init_scale"].values), np.log(wide.values)
    exponent, height = np.polyfit(*logarithms, 1)
    line = math.exp(height + exponent * math.log(init_scale))
    return f"power of init_scale from 8 on {exponent:.2f}, line through all {line:.3g}"


def _median_loss(fits: Fits, init_scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Temperatures, decimal logarithm of the median training loss, and its error."""
    found = on_temperature(fits["averages"])
    if "train_loss_median" not in found:
        raise NotReached("needs observable train_loss")
    places = {"init_scale": init_scale}
    value, error = (at(found[f"train_loss_median{end}"], places).values for end in ("", "_error"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return found["temperature"].values, np.log10(value), error / value / math.log(10)


def loss_decades(init_scale: float) -> Measure:
    """Decades by which the median training loss rises between T = 1/4 and T = 2."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        temperatures, decades, errors = _median_loss(fits, init_scale)
        cold, hot = (int(np.abs(temperatures - end).argmin()) for end in (0.25, 2.0))
        loss = on_temperature(cube)["train_loss"]
        cold_cell = (np.abs(loss["temperature"] - 0.25) < 1e-9) & (np.abs(loss["init_scale"] - init_scale) < 1e-9)
        falling = still_changing(np.log10(loss).where(cold_cell), "cold loss still falling, in decades")
        return Measurement(decades[hot] - decades[cold], float(np.hypot(errors[hot], errors[cold])), falling)

    return measure


def steepest_octave(init_scale: float) -> Measure:
    """Middle of the pair of neighbouring temperatures between which the median training loss rises most."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        temperatures, decades, _ = _median_loss(fits, init_scale)
        place = int(np.nanargmax(np.diff(decades)))
        return Measurement(float(np.sqrt(temperatures[place] * temperatures[place + 1])), math.nan)

    return measure


def largest_glass_growth(cube: xr.Dataset, fits: Fits) -> Measurement:
    """Largest mean change of the spread among the frozen cells, without its sign."""
    grid = on_temperature(cube)
    if "log_spread_growth" not in grid:
        raise NotReached("needs observable log_spread_growth")
    growth = grid["log_spread_growth"].isel(step=-1).where(glass(grid))
    means = np.abs(growth.mean("replica")).transpose("temperature", "init_scale")
    row, column = np.unravel_index(np.nanargmax(means.values), means.shape)
    worst = growth.isel(temperature=row, init_scale=column)
    mean, error = over_replicas(worst)
    where = f"largest at T = {float(grid['temperature'][row]):g}, init_scale {float(grid['init_scale'][column]):g}"
    return Measurement(abs(mean), error, where)


def identity_gap(cube: xr.Dataset, fits: Fits) -> Measurement:
    """Mean distance between the alignment and its value at zero loss, over the networks that have learned."""
    end = cube.isel(step=-1)
    learned = end["train_loss"] < LEARNED_LOSS
    if not learned.any():
        raise NotReached(f"no network has reached a training loss of {LEARNED_LOSS:g}")
    gap = np.abs(end["alignment"] - end["alignment_identity"]).where(learned)
    return Measurement(*over_replicas(gap), f"{int(learned.sum())} networks below a training loss of {LEARNED_LOSS:g}")


@cache
def random_teachers() -> tuple[np.ndarray, np.ndarray]:
    """Zero-loss alignments of random teachers of the 3-32-16-1 network: with their own features, and with jammed ones.

    Returns:
        Two arrays, one value a teacher; inputs are N(0, I), 128 for each.
    """
    random = np.random.default_rng(0)
    own, jammed = [], []
    for _ in range(TEACHERS):
        inputs = random.standard_normal((128, 3))
        first = random.standard_normal((32, 3)) / np.sqrt(3)
        second = random.standard_normal((16, 32)) / np.sqrt(32)
        readout = random.standard_normal(16) / 4
        features = np.tanh(np.tanh(inputs @ first.T) @ second.T)
        norms = np.linalg.norm(features @ readout), np.linalg.norm(readout)
        own.append(tanh_features.zero_loss_alignment(*norms, np.linalg.norm(features)))
        jammed.append(tanh_features.zero_loss_alignment(*norms, np.sqrt(features.size)))
    return np.array(own), np.array(jammed)


def teacher_features() -> tuple[float, float]:
    """Mean alignment at zero loss of random teachers with their own features, with its error."""
    return _mean(random_teachers()[0])


def jammed_features() -> tuple[float, float]:
    """Mean alignment at zero loss of random teachers where all features are jammed at ±1, with its error."""
    return _mean(random_teachers()[1])


def _mean(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))


def peak_variance() -> tuple[float, float]:
    """Variance at which the curvature of the density of tanh(z) at 0 changes sign."""
    return float(optimize.brentq(tanh_features.tanh_density_curvature, 0.1, 2.0, xtol=1e-14)), 0.0


def growth_in(temperature: float, init_scale: float) -> Measure:
    """Growth of the spread in one cell, with a remark on how fast it still grows."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        grid = on_temperature(cube)
        if "log_spread_growth" not in grid:
            raise NotReached("needs observable log_spread_growth")
        one = at(at(grid["log_spread_growth"], {"temperature": temperature}), {"init_scale": init_scale})
        return Measurement(*over_replicas(one.isel(step=-1)), still_changing(one, "still growing"))

    return measure


def glass_ages(cube: xr.Dataset, fits: Fits) -> str:
    """How fast the overlap of the frozen cells still changes: the glass ages."""
    grid = on_temperature(cube)
    return still_changing(grid["overlap"].where(glass(grid)), "the glass ages, overlap at 1/σ ≤ 1/64, T ≤ 1/2")


def other_exponents(cube: xr.Dataset, fits: Fits) -> str:
    """The other exponents of the boundary: from init_scale 2 on, and of the published criterion."""
    found = fits["boundaries"]
    words = []
    for name, least in (("corrected", 2.0), ("published", 2.0)):
        if f"{name}_exponent" not in found:
            continue
        value, error = (
            float(at(found[f"{name}_exponent{end}"], {"least_init_scale": least})) for end in ("", "_error")
        )
        if math.isfinite(value):
            level = "50 %" if name == "corrected" else "68 %"
            words.append(f"{name} {level} line from init_scale {least:g} on {value:.2f} ± {error:.2f}")
    return "; ".join(words)
