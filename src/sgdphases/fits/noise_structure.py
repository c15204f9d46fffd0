"""Does the noise of the gradient follow the Hessian (Assumption 5 of Kunin et al., arXiv 2107.09133: Σ = σ²H)?

The paper never measured Σ. Here it was measured where training started, along eigenvectors of the Hessian and in all
(its trace), and what speed says of it, by Eq. 12, is held against that.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, slopes
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.grid import attributes_of, numbers
from sgdphases.fits.intervals import Estimate, normal_estimate
from sgdphases.fits.one_step import one_step, speed_trace
from sgdphases.fits.walks import Walks, named, walks_of

FIT = "noise_structure"

ESTIMATORS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "modes": lambda rho, noise: noise.sum() / rho.sum(),
    "median": lambda rho, noise: np.median(noise / rho),
    "least_squares": lambda rho, noise: (noise * rho).sum() / (rho**2).sum(),
}
"""Strengths σ² of noise σ²ρ by curvature and noise of modes."""

ESTIMATOR = named("estimator", (*ESTIMATORS, "traces"), "how the strength of the noise is estimated")
"""Coordinates of the dimension `estimator`."""

STRENGTH = ("strength of the noise", r"\sigma^2")


def noise_structure(cube: xr.Dataset) -> xr.Dataset:
    """How the noise depends on the curvature, and whether speed, noise and curvature agree on traces.

    Errors of what belongs to the start are by bootstrap over modes: there is one start.

    Args:
        cube: With `curvature` and `noise`; `noise_matrix`, `noise_trace`, `curvature_trace` (with its error) and
            `local_displacement` where there are any. Attribute `sampler`, for the latter.

    Returns:
        With `_error`, `_low`, `_high`: `noise_power` (slope of log Σ_ii on log ρ_i; 1 by the assumption),
        `noise_spread` (standard deviation of Σ_ii/ρ_i over its mean), over estimator `noise_strength` (σ²: sum over
        sum, median ratio, least squares, trace over trace). Over mode `noise_ratio` (Σ_ii/ρ_i). `off_diagonal_share`
        (Frobenius norm of what is off the diagonal of the matrix over that of the diagonal), `modes`. Over the grid,
        with `_error`: `speed_trace` (tr Σ by speed, Eq. 12), `speed_trace_ratio` (over the measured one), and
        `implied_trace_ratio` (tr H as speed over the strength in the modes has it, over the measured one).

    Raises:
        ValueError: If a variable is missing.
    """
    walks = walks_of(cube, FIT, "curvature", "noise")
    rho, noise = walks.start("curvature"), walks.start("noise")
    used = _usable(walks)
    found, reasons = _start(walks, rho[used], noise[used]), []
    ratio = np.divide(noise, rho, out=np.full(rho.shape, np.nan), where=used)
    found["noise_ratio"] = (("mode",), ratio, attributes_of(("noise over curvature", r"\Sigma_{mm}/\rho_m")))
    found["modes"] = ((), int(used.sum()), attributes_of(("eigenvectors of positive curvature", "M")))
    if "noise_matrix" in cube:
        matrix = walks.start("noise_matrix")[np.ix_(used, used)]
        diagonal = np.diag(matrix)
        share = np.linalg.norm(matrix - np.diag(diagonal)) / np.linalg.norm(diagonal) if used.any() else np.nan
        about = attributes_of(("off-diagonal over diagonal noise", r"\|\Sigma_{m\neq n}\|/\|\Sigma_{mm}\|"))
        found["off_diagonal_share"] = ((), share, about)
    else:
        reasons.append("no noise_matrix")
    reasons += [f"no {name}" for name in ("noise_trace", "curvature_trace") if name not in cube]
    if "local_displacement" in cube:
        found |= _traces(walks)
    else:
        reasons.append("no local_displacement")
    return walks.finished(found, "noise of the gradient along eigenvectors of the Hessian", ESTIMATOR, reasons)


def proportional_strength(walks: Walks) -> Floats:
    """σ² of noise σ²ρ: sum of the noise over sum of the curvature, over eigenvectors of positive curvature."""
    used = _usable(walks)
    if not used.any():
        return np.full((), np.nan)
    return ESTIMATORS["modes"](walks.start("curvature")[used], walks.start("noise")[used])


def _usable(walks: Walks) -> np.ndarray:
    """Eigenvectors along which both curvature and noise are positive, (M,)."""
    return walks.eigenvectors() & (walks.start("curvature") > 0) & (walks.start("noise") > 0)


def _start(walks: Walks, rho: Floats, noise: Floats) -> dict[str, tuple]:
    """What belongs to the start alone."""
    nothing = normal_estimate(np.nan, np.nan)
    enough = len(rho) > 2
    logs, line = (np.log(rho), np.log(noise)), {"freedom": len(rho) - 2, "widened": False}
    power = bootstrap(lambda x, y: slopes(x, y), logs, **line) if enough else nothing
    spread = bootstrap(lambda x, y: (y / x).std(ddof=1) / (y / x).mean(), (rho, noise)) if enough else nothing
    found = numbers("noise_power", power, ("power of the noise in the curvature", "g"), interval=True)
    words = ("spread of noise over curvature", r"\mathrm{sd}/\mathrm{mean}\,(\Sigma_{mm}/\rho_m)")
    found |= numbers("noise_spread", spread, words, interval=True)
    strengths = [bootstrap(law, (rho, noise)) if len(rho) else nothing for law in ESTIMATORS.values()]
    trace = walks.start("curvature_trace")
    whole = walks.start("noise_trace") / trace
    strengths.append(normal_estimate(whole, np.abs(whole / trace) * np.nan_to_num(_trace_error(walks))))
    parts = ("value", "error", "low", "high")
    joined = Estimate(*(np.array([float(getattr(each, part)) for each in strengths]) for part in parts))
    return found | numbers("noise_strength", joined, STRENGTH, "estimator", interval=True)


def _trace_error(walks: Walks) -> Floats:
    return walks.start("curvature_trace_error")


def _traces(walks: Walks) -> dict[str, tuple]:
    """Traces by speed, and what they are of the measured ones."""
    level = one_step(walks).level
    trace = speed_trace(walks, level.value)
    share = level.error / level.value
    found = walks.described("speed_trace", normal_estimate(trace, trace * share), ("trace of the noise by speed", "tr"))
    ratio = trace / walks.start("noise_trace")
    words = ("trace of the noise by speed over the measured one", r"\mathrm{tr}\,\Sigma/\mathrm{tr}\,\Sigma_0")
    found |= walks.described("speed_trace_ratio", normal_estimate(ratio, ratio * share), words)
    measured = walks.start("curvature_trace")
    implied = trace / proportional_strength(walks) / measured
    both = np.hypot(share, np.nan_to_num(_trace_error(walks)) / measured)
    words = ("trace of the Hessian by speed over the measured one", r"\mathrm{tr}\,H/\mathrm{tr}\,H_0")
    return found | walks.described("implied_trace_ratio", normal_estimate(implied, implied * both), words)
