"""How far networks get from where they started: the power of the mean square displacement, and its level in one step.

Claims of Kunin et al., arXiv 2107.09133, Figs. 1, 6 and 7: the squared length of a step is constant and ∝
η²/(S(1 - β²)), the squared distance from the start grows as t^c. Powers above 1 need a steady drift: Dt + V²t² with one
number r = V²/D explains how c grows with the length of the run.
"""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.curves import mean_over
from sgdphases.fits.displacement_models import MODELS, compared, drift_curves, drift_ratio, power_residual
from sgdphases.fits.exponents import (
    PROTOCOL,
    PROTOCOLS,
    Protocols,
    exponents,
    interpolated_logarithm,
    local_exponents,
    mean_exponents,
    protocols_of,
    robust_lattice,
    weights_by_length,
    whole_epochs,
)
from sgdphases.fits.intervals import Estimate, normal_estimate, stacked
from sgdphases.fits.one_step import Steps, exact_one_step, one_step, paper_one_step
from sgdphases.fits.walks import Walks, named, over_constant, walks_of
from sgdphases.theory.diffusion_exponents import free_diffusion_ratio

FIT = "displacement"
RESAMPLES = 300
MODEL = named("model", MODELS, "course of the mean square displacement")
THEORIES = ("exact", "paper")
THEORY = named("theory", THEORIES, "what the level of one step is over")


def displacement(cube: xr.Dataset) -> xr.Dataset:
    """Powers, local powers, the ratio to free diffusion, models of the course, and the level of one step.

    Errors are by bootstrap over replicas, each drawn with its whole run.

    Args:
        cube: With `global_displacement` and `local_displacement`; `noise_trace`, `noise`, `curvature` and the attribute
            `sampler` for the exact level.

    Returns:
        With `_error`, `_low`, `_high`, over grid and protocol: `exponent` of the mean over replicas. Without
        errors: `exponent_scatter` (standard deviation of single runs), `window_start`, `window_end`,
        `window_records`. Over grid and times, with interval: `mean_displacement`, `local_exponent` (lines
        through records within a factor of 1.5), `free_ratio` (E‖Δ‖²(1 - β)/((1 + β)t E‖δ‖²): 1 where free, less
        where confined, more where drifting), `exponent_by_length` (protocol paper_fig1 in a run that ends at
        each record, as in Fig. 7). Over the grid: `drift_ratio` (V²/D per epoch), `drift_ratio_per_step`, with
        interval, and `aic_gain` (Akaike's number of the power law less that of Dt + V²t²; positive where drift
        is better), by the steps of the robust window; over model `model_residual`, `model_aic` (less the
        least), `model_validation` (residual where left out), and `best_model`, the number of the one with the
        least of the latter, -1 for none. `one_step` and `one_step_growth` (relative, over the run), with
        `_error`; over theory `one_step_ratio`: to the exact level with the measured noise and to the paper's
        through the reference point. Attribute `reference_point`: its place on each axis of the grid.

    Raises:
        ValueError: If a variable is missing.
    """
    walks = walks_of(cube, FIT, "global_displacement", "local_displacement")
    square, steps = walks.whole_runs("global_displacement"), one_step(walks)
    protocols = protocols_of(walks)
    found = _exponents(walks, square, protocols) | _courses(walks, square, steps) | _models(walks, square)
    reasons = [
        f"{name}: runs are too short or recorded too seldom"
        for place, name in enumerate(PROTOCOLS)
        if np.isnan(protocols.weight[:, place]).all(axis=-1).any()
    ]
    found |= walks.described("one_step", steps.level, ("mean square of one step", r"E\|\delta\|^2"), interval=True)
    words = ("relative growth of the mean square of one step", r"\Delta E\|\delta\|^2/E\|\delta\|^2")
    found |= walks.described("one_step_growth", steps.growth, words)
    exact = "noise_trace" in cube
    if not exact:
        reasons.append("no noise_trace: no exact level of one step")
    found |= _level_ratio(walks, steps, exact_one_step(walks) if exact else np.full(walks.points, np.nan))
    place = [int(each) for each in np.unravel_index(walks.reference, walks.grid.shape)] if walks.grid.shape else []
    about = "displacement from the start"
    return walks.finished(found, about, PROTOCOL | MODEL | THEORY, reasons, reference_point=place)


def _exponents(walks: Walks, square: Floats, protocols: Protocols) -> dict[str, tuple]:
    made = bootstrap(lambda sample: mean_exponents(sample, protocols.weight), square, resamples=RESAMPLES)
    words = ("power of the mean square displacement", "c")
    found = walks.described("exponent", made, words, "protocol", interval=True)
    single = exponents(square, protocols.weight)
    count = np.isfinite(single).sum(axis=0)
    apart = np.where(np.isfinite(single), single - mean_over(single), 0.0)
    scatter = np.sqrt(np.divide((apart**2).sum(axis=0), count - 1, out=np.full(count.shape, np.nan), where=count > 1))
    for name, values, about in (
        ("exponent_scatter", scatter, ("standard deviation of the power of single runs", r"\sigma_c")),
        ("window_start", protocols.first, ("first step of the line", "t")),
        ("window_end", protocols.last, ("last step of the line", "t")),
        ("window_records", protocols.records, ("records in the window", "n")),
    ):
        found |= walks.plain(name, values, about, "protocol")
    return found


def _courses(walks: Walks, square: Floats, steps: Steps) -> dict[str, tuple]:
    """What has a value at every record."""
    time, by_length = np.where(walks.step > 0, walks.step, np.nan), weights_by_length(walks)

    def curves(sample: Floats, levels: Floats) -> Floats:
        mean, level = mean_over(sample), mean_over(levels)[:, None]
        free = free_diffusion_ratio(mean, time, level, momentum=walks.momentum[:, None])
        return np.stack([mean, local_exponents(walks.step, mean), free, exponents(mean, by_length)])

    made = bootstrap(curves, (square, steps.replicas), resamples=RESAMPLES)
    found: dict[str, tuple] = {}
    for place, (name, words) in enumerate(
        {
            "mean_displacement": ("mean square displacement", r"E\|\Delta\|^2"),
            "local_exponent": ("local power of the displacement", r"d\ln E\|\Delta\|^2/d\ln t"),
            "free_ratio": ("displacement over that of free diffusion", "R_f"),
            "exponent_by_length": ("power of the displacement in a run that ends here", "c"),
        }.items()
    ):
        each = Estimate(*(np.asarray(part)[place] for part in (made.value, made.error, made.low, made.high)))
        found |= walks.described(name, each, words, walks.grid.clock, interval=True)
    return found


def _models(walks: Walks, square: Floats) -> dict[str, tuple]:
    """Models at the steps of the robust window, point by point."""
    ratios, comparisons = [], []
    for point, step in enumerate(walks.step):
        lattice, used = robust_lattice(walks, point), whole_epochs(walks, point)
        curves = drift_curves(lattice) if len(lattice) else None

        def statistic(sample: Floats, step=step, lattice=lattice, used=used, curves=curves) -> Floats:
            logs = interpolated_logarithm(step, used, lattice, mean_over(sample))
            ratio, residual = drift_ratio(lattice, logs, curves)
            if not np.isfinite(ratio):
                return np.full(2, np.nan)
            gain = len(lattice) * np.log(max(power_residual(lattice, logs), 1e-300) / max(residual, 1e-300))
            return np.array([ratio, gain])

        ratios.append(bootstrap(statistic, square[:, point], resamples=RESAMPLES))
        logs = interpolated_logarithm(step, used, lattice, mean_over(square[:, point]))
        comparisons.append(compared(lattice, logs))
    both = stacked(ratios)
    ratio, gain = (
        Estimate(*(part[:, place] for part in (both.value, both.error, both.low, both.high))) for place in range(2)
    )
    epoch = walks.steps_per_epoch
    each = Estimate(*(part * epoch for part in (ratio.value, ratio.error, ratio.low, ratio.high)))
    found = walks.described("drift_ratio", each, ("drift over diffusion, per epoch", "r=V^2/D"), interval=True)
    words = ("drift over diffusion, per step", "V^2/D")
    found |= walks.described("drift_ratio_per_step", ratio, words, interval=True)
    words = ("Akaike's number of the power law less that of drift", r"\Delta\mathrm{AIC}")
    found |= walks.described("aic_gain", gain, words, interval=True)
    return found | _ranks(walks, comparisons)


def _ranks(walks: Walks, comparisons: list) -> dict[str, tuple]:
    validation = np.stack([each.validation for each in comparisons])
    found = walks.plain("model_validation", validation, ("residual where left out", r"\epsilon_\mathrm{cv}"), "model")
    residual = np.stack([each.residual for each in comparisons])
    found |= walks.plain("model_residual", residual, ("residual of the logarithm", r"\epsilon"), "model")
    aic = np.stack([each.aic for each in comparisons])
    found |= walks.plain("model_aic", aic, ("Akaike's number less the least", r"\Delta\mathrm{AIC}"), "model")
    best = np.where(np.isfinite(validation).all(axis=-1), np.nan_to_num(validation, nan=np.inf).argmin(axis=-1), -1)
    return found | walks.plain("best_model", best, ("model of the least residual where left out", "m"))


def _level_ratio(walks: Walks, steps: Steps, exact: Floats) -> dict[str, tuple]:
    """Level of one step over both theories; the paper's is right at the reference point by construction."""
    level, reference = steps.level, walks.reference
    paper = paper_one_step(walks, level.value)
    ratio = level.value / paper
    share = np.hypot(level.error / level.value, level.error[reference] / level.value[reference])
    share[reference] = 0.0 if np.isfinite(ratio[reference]) else np.nan
    both = stacked([over_constant(level, exact), normal_estimate(ratio, ratio * share)], axis=1)
    return walks.described("one_step_ratio", both, ("mean square of one step over theory", "R"), "theory")
