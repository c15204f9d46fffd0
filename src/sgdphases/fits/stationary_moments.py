"""Stationary variances of positions and velocities along eigenvectors of the Hessian, beside theory.

Claims of Kunin et al., arXiv 2107.09133, Figs. 3 to 5: positions are isotropic, velocities follow the Hessian, and both
rotate clockwise; that energy is shared equally, mode by mode, is exact of a quadratic loss with independent noise.
Where the noise grows with the distance it grows with the temperature η/(S(1 - β)), so that ratios to theory are also
extrapolated to zero temperature.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, estimated
from sgdphases.fits.grid import attributes_of
from sgdphases.fits.intervals import Estimate, normal_estimate, stacked
from sgdphases.fits.moments import (
    LEAST_EFFECTIVE,
    MEDIANS,
    SUMS,
    THEORIES,
    Moments,
    Theory,
    medians,
    moments_of,
    theory_of,
)
from sgdphases.fits.noise_structure import proportional_strength
from sgdphases.fits.walks import Walks, named, over_constant, walks_of
from sgdphases.theory.diffusion_exponents import effective_temperature

FIT = "stationary_moments"

LEAST_TEMPERATURES = 3
"""Temperatures that a line is drawn through: the coolest, since farther up the excess is no straight line."""

HEAT = ("learning_rate", "temperature")
"""Axes along which the temperature changes and nothing else does."""

THEORY = named("theory", THEORIES, "what the ratio is to")
"""Coordinates of the dimension `theory`."""

MODES = {
    "position_mean": ("mean position", r"\bar x"),
    "position_variance": ("variance of the position", r"\mathrm{Var}\,x"),
    "velocity_variance": ("variance of the velocity", r"\mathrm{Var}\,v"),
    "position_velocity_covariance": ("covariance of position and velocity", r"\mathrm{Cov}(x,v)"),
    "half_step_correlation": ("correlation of velocity and half-step position", r"\mathrm{corr}(\bar x_k,v_k)"),
    "equipartition": ("potential over kinetic energy", r"h\,\mathrm{Var}\,x/(m\,\mathrm{Var}\,v)"),
    "rotation": ("rotation per step", r"E[x_kv_{k+1}-v_kx_{k+1}]/\sqrt{\mathrm{Var}\,x\,\mathrm{Var}\,v}"),
    "rotation_ratio": ("rotation per step over theory", r"L/L_\mathrm{theory}"),
}
"""Estimates of single modes: long name and symbol."""

DRAWN = {
    "exact": ("exact", "exact recursion, measured noise"),
    "paper": ("paper_proportional", "Langevin equation, noise σ²ρ"),
}
"""Theories whose own variances are given beside the ratios: the end of their name, their place, and what they are."""


@dataclass(frozen=True)
class Found:
    """Everything of one point: moments, theory, and which modes count in medians."""

    moments: Moments
    theory: Theory
    gate: np.ndarray


def stationary_moments(cube: xr.Dataset) -> xr.Dataset:
    """Moments of every mode, their ratios to theories, medians over modes, and lines through temperatures.

    Blocks count from 5/(1 - β) steps on, and for positions from 5 relaxation times on. Ratios are to theories over
    `theory`: exact recursion and paper, each with the measured noise and with noise σ²ρ (σ² the sum of the measured
    noise over that of the curvatures), and the exact recursion with the correlations of a reshuffled epoch (NaN of a
    fixed order). Batches drawn without replacement have noise Σ/S (N - S)/(N - 1).

    Args:
        cube: With `position_mean`, `position_square`, `velocity_mean`, `velocity_square`, `position_velocity`,
            `circulation`, `curvature` and `noise`; `curvature_residual`, by which directions that are no eigenvectors
            are told apart, where there is one. Attribute `sampler`.

    Returns:
        With `_error`, over grid and mode: `position_mean`, `position_variance`, `velocity_variance`,
        `position_velocity_covariance`, `half_step_correlation` (of ((x_k + x_{k-1})/2, v_k), 0 by theory),
        `equipartition`, `rotation`, `rotation_ratio` (to the exact theory), `position_contrast` and
        `velocity_contrast` (variance of the first mode over that of each: isotropy of positions is 1); and over theory
        `position_ratio`, `velocity_ratio`. Without, of two of the theories: `position_variance_exact`,
        `velocity_variance_exact`, `position_variance_paper`, `velocity_variance_paper`. Without as well:
        `effective_samples`, the flags `identified` (at least 50 of them), `stationary` (both halves agree) and
        `counted` (both, and an eigenvector with h > 0), `disagreement` (largest difference of the halves in errors);
        over mode `curvature`, and `curvature_contrast` (ρ of the first mode over that of each).
        Over the grid the medians of counted modes, by bootstrap over replicas: `equipartition_median`,
        `rotation_ratio_median`, and over theory `position_ratio_median`, `velocity_ratio_median`; `counted_modes`,
        `effective_temperature`. Over the grid without learning_rate (or temperature), where it has at least 3 of them,
        of weighted lines in the temperature through medians of the modes that count at all of them:
        `position_intercept`, `velocity_intercept` over theory, `equipartition_intercept`, and `_slope` for each;
        `line_modes`.

    Raises:
        ValueError: If a variable is missing, or the cube does not say what its sampler is.
    """
    walks = walks_of(cube, FIT, *SUMS, "curvature", "noise")
    strength = float(proportional_strength(walks))
    founds = [_found(walks, point, strength) for point in range(walks.points)]
    found = _modes(walks, founds) | _ratios(walks, founds) | _medians(walks, founds)
    reasons = []
    lines = _lines(walks, founds)
    if not lines:
        reasons.append(f"intercepts need {LEAST_TEMPERATURES} learning rates on an axis of their own")
    if not all(each.gate.any() for each in founds):
        reasons.append("at some points no mode is both identified and stationary")
    if walks.sampler in ("fixed_order", "fixed_shuffle"):
        reasons.append("no stationary theory of a fixed order")
    about = "stationary moments along eigenvectors of the Hessian"
    return walks.finished(found | lines, about, THEORY, reasons, noise_strength=strength, least=LEAST_EFFECTIVE)


def _found(walks: Walks, point: int, strength: float) -> Found:
    theory = theory_of(walks, point, strength)
    moments = moments_of(walks, point, theory)
    gate = walks.confined()[point] & (moments.effective >= LEAST_EFFECTIVE) & moments.stationary
    return Found(moments, theory, gate & np.isfinite(theory.position[:, 0]))


def _modes(walks: Walks, founds: list[Found]) -> dict[str, tuple]:
    """Estimates and flags of single modes."""
    found: dict[str, tuple] = {}
    for name, words in MODES.items():
        found |= walks.described(name, stacked([each.moments.estimates[name] for each in founds]), words, "mode")
    for kind, symbol in (("position", "x"), ("velocity", "v")):
        each = stacked([each.moments.estimates[f"{kind}_variance"] for each in founds])
        words = (f"variance of the {kind} in the first mode over that in each", rf"\mathrm{{Var}}\,{symbol}_1/{symbol}")
        found |= walks.described(f"{kind}_contrast", _contrast(each), words, "mode")
    curvature = walks.start("curvature")
    about = attributes_of(("curvature of the first mode over that of each", r"\rho_1/\rho_m"))
    found["curvature"] = (("mode",), curvature, attributes_of(("curvature of the training loss", r"\rho")))
    found["curvature_contrast"] = (("mode",), curvature[0] / np.where(curvature > 0, curvature, np.nan), about)
    effective = np.stack([each.moments.effective for each in founds])
    flags = {
        "identified": (effective >= LEAST_EFFECTIVE, "whether there are enough effective samples"),
        "stationary": (np.stack([each.moments.stationary for each in founds]), "whether both halves agree"),
        "counted": (np.stack([each.gate for each in founds]), "whether the mode counts in medians"),
    }
    for name, (values, words) in flags.items():
        found |= walks.plain(name, values.astype(np.int8), (words, r"\chi"), "mode")
    found |= walks.plain("effective_samples", effective, ("effective samples of the position", "n"), "mode")
    apart = np.stack([each.moments.disagreement for each in founds])
    return found | walks.plain("disagreement", apart, ("largest difference of halves in errors", "z"), "mode")


def _contrast(variance: Estimate) -> Estimate:
    """First mode over each, (P, M); modes are independent of each other."""
    value, error = np.asarray(variance.value), np.asarray(variance.error)
    share = np.divide(error, value, out=np.full(value.shape, np.nan), where=value > 0)
    ratio = np.divide(value[:, :1], value, out=np.full(value.shape, np.nan), where=value > 0)
    both = ratio * np.hypot(share, share[:, :1])
    both[:, 0] = np.where(np.isfinite(ratio[:, 0]), 0.0, np.nan)
    return normal_estimate(ratio, both)


def _ratios(walks: Walks, founds: list[Found]) -> dict[str, tuple]:
    """Variances over each theory."""
    found: dict[str, tuple] = {}
    for kind, symbol in (("position", "x"), ("velocity", "v")):
        ratios = []
        for each in founds:
            own, theory = each.moments.estimates[f"{kind}_variance"], getattr(each.theory, kind)
            wide = normal_estimate(own.value[:, None], own.error[:, None])
            ratios.append(over_constant(wide, theory))
        words = (f"variance of the {kind} over theory", rf"\mathrm{{Var}}\,{symbol}/\mathrm{{theory}}")
        found |= walks.described(f"{kind}_ratio", stacked(ratios), words, "mode", "theory")
        for end, (theory, about) in DRAWN.items():
            values = np.stack([getattr(each.theory, kind)[:, THEORIES.index(theory)] for each in founds])
            words = (about, rf"\mathrm{{Var}}\,{symbol}")
            found |= walks.plain(f"{kind}_variance_{end}", values, words, "mode")
    return found


def _medians(walks: Walks, founds: list[Found]) -> dict[str, tuple]:
    """Medians over the modes of each point that count."""
    each = [medians(walks, point, f.moments, f.theory, f.gate) for point, f in enumerate(founds)]
    found: dict[str, tuple] = {}
    for name, (places, words, own) in _summaries().items():
        about = (f"median of the {words[0]}", words[1])
        found |= walks.described(f"{name}_median", _taken(stacked(each), places), about, *own, interval=True)
    count = np.array([f.gate.sum() for f in founds])
    found |= walks.plain("counted_modes", count, ("modes that count in medians", "n"))
    return found | walks.plain("effective_temperature", _temperature(walks), ("temperature", r"\eta/(S(1-\beta))"))


def _summaries() -> dict[str, tuple[list[int], tuple[str, str], tuple[str, ...]]]:
    """Name of a summary to its places in `MEDIANS`, its words and its own dimensions."""
    found = {}
    for kind, symbol in (("position", "x"), ("velocity", "v")):
        places = [MEDIANS.index(f"{kind}_ratio_{theory}") for theory in THEORIES]
        words = (f"variance of the {kind} over theory", rf"\mathrm{{Var}}\,{symbol}/\mathrm{{theory}}")
        found[f"{kind}_ratio"] = (places, words, ("theory",))
    for name in ("equipartition", "rotation_ratio"):
        found[name] = (MEDIANS.index(name), MODES[name], ())
    return found


def _taken(estimate: Estimate, places: list[int] | int) -> Estimate:
    """Some places of the last axis."""
    parts = (estimate.value, estimate.error, estimate.low, estimate.high)
    return Estimate(*(np.asarray(part)[..., places] for part in parts))


def _temperature(walks: Walks) -> Floats:
    return effective_temperature(walks.learning_rate, walks.batch_size, walks.momentum)


def _lines(walks: Walks, founds: list[Found]) -> dict[str, tuple]:
    """Weighted lines in the temperature along the axis of learning rates; empty if it is too short."""
    shape, heat = walks.grid.shape, next((dim for dim in walks.grid.dims if dim in HEAT), None)
    if heat is None or shape[walks.grid.dims.index(heat)] < LEAST_TEMPERATURES:
        return {}
    axis = walks.grid.dims.index(heat)
    columns = np.moveaxis(np.arange(walks.points).reshape(shape), axis, -1)
    size = len(MEDIANS)
    height, slope = (np.full((2, *columns.shape[:-1], size), np.nan) for _ in range(2))
    modes = np.zeros(columns.shape[:-1], dtype=np.int64)
    temperature = _temperature(walks)
    for place in np.ndindex(columns.shape[:-1]):
        points = columns[place]
        points = points[np.argsort(temperature[points], kind="stable")[:LEAST_TEMPERATURES]]
        gate = np.logical_and.reduce([founds[point].gate for point in points])
        modes[place] = gate.sum()
        each = stacked([medians(walks, p, founds[p].moments, founds[p].theory, gate) for p in points])
        line = weighted_lines(temperature[points], np.asarray(each.value).T, np.asarray(each.error).T)
        (height[0][place], height[1][place]), (slope[0][place], slope[1][place]) = line
    dims = [dim for dim in walks.grid.dims if dim != heat]
    found: dict[str, tuple] = {}
    for name, (places, words, own) in _summaries().items():
        short = name.removesuffix("_ratio") if own else name
        for end, part in (("intercept", height), ("slope", slope)):
            about = f"{words[0]}, {'at zero temperature' if end == 'intercept' else 'slope in the temperature'}"
            estimate = _taken(normal_estimate(*part), places)
            attrs = {"long_name": about, "symbol": words[1]}
            found |= estimated(f"{short}_{end}", estimate, [*dims, *own], attrs=attrs, interval=end == "intercept")
    found["line_modes"] = (tuple(dims), modes, attributes_of(("modes that count at all temperatures of the line", "n")))
    return found


def weighted_lines(x: Floats, y: Floats, error: Floats) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Straight lines of weighted least squares; errors are widened where points scatter more than their errors say.

    Args:
        x: (n,).
        y: (..., n).
        error: Standard errors of y, (..., n); points without a positive one are left out.

    Returns:
        Height at 0 and slope, each with its standard error, (...); NaN with fewer than 3 points.
    """
    known = np.isfinite(y) & np.isfinite(error) & (error > 0)
    weight = np.divide(1.0, error**2, out=np.zeros_like(error), where=known)
    values, count = np.where(known, y, 0.0), known.sum(axis=-1)
    enough = count >= LEAST_TEMPERATURES
    total = np.where(enough, weight.sum(axis=-1), np.nan)
    centre = (weight * x).sum(axis=-1) / total
    arm = x - centre[..., None]
    lever = (weight * arm**2).sum(axis=-1)
    slope = (weight * arm * values).sum(axis=-1) / lever
    middle = (weight * values).sum(axis=-1) / total
    residual = np.where(known, values - middle[..., None] - slope[..., None] * arm, 0.0)
    excess = np.sqrt(np.fmax((weight * residual**2).sum(axis=-1) / np.maximum(count - 2, 1), 1.0))
    height_error = np.sqrt(1 / total + centre**2 / lever) * excess
    return (middle - slope * centre, height_error), (slope, excess / np.sqrt(lever))
