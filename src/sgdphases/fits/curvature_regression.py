"""Curvature, noise and minimum of every mode by the exact regression of projected gradients on projected positions.

One step is x_{k+1} - x_k = ηv_{k+1}, so that u_k = βv_k - v_{k+1}, the projected gradient of a batch, is h(x_k - μ)
plus independent noise of variance s: one Gaussian line holds all that a quadratic loss says of a run, from its first
step on, stationary or not. It is precise to √(2(1 - β)/(nηh)) of h after n steps, and biased upwards by about 2.5 times
the square of that. Derived; the paper (Kunin et al., arXiv 2107.09133) has no such fit.
"""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats
from sgdphases.fits.cells import STRETCHES, Cells, Mean, cells
from sgdphases.fits.intervals import Estimate, normal_estimate, stacked
from sgdphases.fits.walks import Walks, over_constant, walks_of
from sgdphases.theory import momentum_sgd
from sgdphases.theory.diffusion_exponents import relaxation_rate

FIT = "curvature_regression"
SUMS = ("force_mean", "force_square", "force_position", "position_mean", "position_square")

LEAST_RELAXATIONS = 20.0
"""nηh/(1 - β) below which a mode is as good as flat."""

WORDS = {
    "regressed_curvature": ("curvature by regression", r"\hat h"),
    "regressed_noise": ("noise of a batch by regression", r"\hat s"),
    "minimum": ("minimum by regression", r"\hat\mu"),
    "curvature_ratio": ("curvature by regression over the measured one", r"\hat h/h"),
    "noise_ratio": ("noise by regression over the measured one", r"\hat s/s"),
}


def curvature_regression(cube: xr.Dataset) -> xr.Dataset:
    """Lines of force on position, from all blocks of all replicas together.

    Args:
        cube: With `force_mean`, `force_square`, `force_position`, `position_mean`, `position_square`, `curvature`;
            `noise`, and the attribute `sampler`, for the ratio of the noise.

    Returns:
        With `_error` (the larger of the scatters of replicas and of stretches of time), over grid and mode:
        `regressed_curvature`, `regressed_noise`, `minimum` (NaN where not identified), `curvature_ratio` and
        `noise_ratio` to what was measured at the start. Without: `expected_scatter` (relative, of the curvature, by
        theory), `relaxations` (nηh/(1 - β) with the measured curvature, of all replicas together), the flag
        `identified` (at least 20 of them).

    Raises:
        ValueError: If a variable is missing.
    """
    walks = walks_of(cube, FIT, *SUMS, "curvature")
    reasons = [] if "noise" in cube else ["no noise"]
    each = [_regressed(walks, point) for point in range(walks.points)]
    estimates = {name: stacked([estimates[name] for estimates, _ in each]) for name in next(iter(each))[0]}
    steps = np.stack([number for _, number in each])
    words = {"learning_rate": walks.learning_rate[:, None], "momentum": walks.momentum[:, None]}
    h = np.where(walks.confined(), walks.curvature(), 0.0)
    relaxations = steps * relaxation_rate(h, **words)
    identified = relaxations >= LEAST_RELAXATIONS
    estimates["minimum"] = _where(identified, estimates["minimum"])
    estimates["curvature_ratio"] = over_constant(estimates["regressed_curvature"], h)
    if "noise" in cube:
        own = walks.batch_noise(walks.start("noise"))
        estimates["noise_ratio"] = over_constant(estimates["regressed_noise"], own)
    found: dict[str, tuple] = {}
    for name, estimate in estimates.items():
        found |= walks.described(name, estimate, WORDS[name], "mode")
    expected = momentum_sgd.curvature_error(np.maximum(steps, 1), h, **words)
    about = ("expected relative error of the curvature", r"\delta h/h")
    found |= walks.plain("expected_scatter", np.where(np.isfinite(expected), expected, np.nan), about, "mode")
    found |= walks.plain("relaxations", relaxations, ("relaxation times in all runs", "n"), "mode")
    found |= walks.plain("identified", identified.astype(np.int8), ("whether the mode is not flat", r"\chi"), "mode")
    if not identified.all():
        reasons.append("some modes are as good as flat: runs are too short for them")
    return walks.finished(found, "curvature and noise by regression of forces on positions", reasons=reasons)


def _regressed(walks: Walks, point: int) -> tuple[dict[str, Estimate], Floats]:
    """Lines of one point, and the steps that they are made of, (M,)."""
    sums = {name: walks.values(name)[point, :, 1:].astype(np.float64) for name in SUMS}
    alive = np.logical_and.reduce([np.isfinite(each).all(axis=(1, 2)) for each in sums.values()])
    modes = sums["force_mean"].shape[-1]
    within = cells(walks.step[point], alive, np.zeros(modes), np.full(modes, STRETCHES))
    mean = {name: within.mean(values).value for name, values in sums.items()}
    x, u = mean["position_mean"], mean["force_mean"]
    square, both = mean["position_square"] - x**2, mean["force_position"] - u * x
    slope = np.divide(both, square, out=np.full(modes, np.nan), where=square > 0)
    height = u - slope * x
    freedom = np.divide(within.steps, within.steps - 2, out=np.full(modes, np.nan), where=within.steps > 2)
    noise = (mean["force_square"] - u**2 - slope * both) * freedom
    # Σ ε and Σ ε x of each block, ε the residual: what the block moves the line by.
    residual = sums["force_mean"] - height - slope * sums["position_mean"]
    lever = sums["force_position"] - height * sums["position_mean"] - slope * sums["position_square"]
    curved = (lever - x * residual) / np.where(square > 0, square, np.nan)
    raised = residual - x * curved
    scatter = _residual_square(sums, slope, height) - noise / freedom
    minimum = -height / slope
    shifted = (-raised - minimum * curved) / slope
    found = {
        "regressed_curvature": _estimate(within, slope, curved),
        "regressed_noise": _estimate(within, noise, scatter),
        "minimum": _estimate(within, minimum, shifted),
    }
    return found, within.steps


def _residual_square(sums: dict[str, Floats], slope: Floats, height: Floats) -> Floats:
    """Mean square of the residuals in each block, (R, B, M)."""
    u, uu, ux = sums["force_mean"], sums["force_square"], sums["force_position"]
    x, xx = sums["position_mean"], sums["position_square"]
    return uu + height**2 + slope**2 * xx - 2 * height * u - 2 * slope * ux + 2 * height * slope * x


def _estimate(within: Cells, value: Floats, influence: Floats) -> Estimate:
    return within.estimate(Mean(value, np.where(within.weight > 0, influence, 0.0)))


def _where(condition: np.ndarray, estimate: Estimate) -> Estimate:
    return normal_estimate(np.where(condition, estimate.value, np.nan), np.where(condition, estimate.error, np.nan))
