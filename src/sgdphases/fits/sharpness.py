"""The largest curvature of the loss: powers of the richness at the start and at the end, and the edge at the drop.

Curvature is N times the largest eigenvalue of the Hessian by the parameters theta, so that stability compares it with
2/learning_rate. Expected: γ^-2 at the start, and γ^-1 of rich networks, whose smallest eigenvalue is then minus the
largest; γ^-2 and γ^{-2/L} at the end; learning_rate times curvature near 2 when the plateau ends. Sources: Atanasov,
Meterez, Simon, Pehlevan, arXiv 2410.04642, Figs. 3 and 4.
"""

import math

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, replica_mean
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.curves import mean_over
from sgdphases.fits.interval_lines import bootstrapped_lines
from sgdphases.fits.intervals import Estimate, stacked
from sgdphases.fits.rate_lines import shaped
from sgdphases.fits.silent_alignment import drop_time
from sgdphases.fits.strips import REGIME, REGIMES, Strips, at_places, compared_places, geometric, strips_of

FIT = "sharpness"

CURVATURES = {
    "hessian_top": ("largest curvature", r"N\lambda_\mathrm{max}"),
    "gauss_newton_top": ("largest Gauss-Newton curvature", r"N\lambda_\mathrm{GN}"),
}


SMALL = 0.01
"""Share of the largest eigenvalue above which one counts as large (Figs. 3c and 3d)."""


def sharpness(cube: xr.Dataset) -> xr.Dataset:
    """Powers of the richness in the curvature, and how curvature and learning rate meet.

    Args:
        cube: With `hessian_top`, `status`, `test_loss`; `hessian_bottom`, `gauss_newton_top`, `hessian_spectrum`, and
            for the edge `batch_loss` and `constant_loss`, where there are any.

    Returns:
        With `_error` (and `_low`, `_high` of exponents). For c in hessian_top, gauss_newton_top: over richness
        `start_c` (step 0), over richness and learning rate `end_c` (last step, networks that have learned), over
        richness `best_end_c` (at the best learning rate, see `strips.compared_places`); over `regime` (lazy, rich)
        `start_c_exponent`, `best_end_c_exponent`, and also over the learning rate `end_c_exponent`. `sharpening`, best
        end over start, over richness; `predicted_log_rate`, decades of 2 over the curvature at the end, over richness
        and learning rate, and `best_predicted_log_rate`. With hessian_bottom `start_ratio`, smallest over largest
        eigenvalue, over richness, and `rich_start_ratio`. With hessian_spectrum `start_large_count` and
        `best_end_large_count`, numbers of eigenvalues above `SMALL` of the largest, over richness, and their means over
        a regime's values of it, `start_large_count_mean` and `best_end_large_count_mean`, over `regime`. Over the grid
        `drop_edge`, learning rate times curvature where the loss has fallen 5 % below the best constant answer's (its
        logarithm between records by a straight line), and `largest_edge`, the largest of the records.

    Raises:
        ValueError: If the cube lacks one of the variables.
    """
    strips = strips_of(cube, FIT, "hessian_top", "status", "test_loss")
    learned = strips.trained()[..., -1]
    places = compared_places(strips)
    found: dict[str, tuple] = {}
    for name in CURVATURES:
        if name in cube:
            found |= _powers(strips, name, learned, places)
    if "hessian_bottom" in cube:
        found |= _bottom(strips)
    if "hessian_spectrum" in cube:
        found |= _counts(strips, learned, places)
    found |= _edge(strips)
    missing = int((places < 0).sum())
    reasons = [f"nothing has learned at {missing} of {places.size} values of the richness"] if missing else []
    if strips.steps[0] != 0:
        reasons.append("no record at step 0")
    return strips.finished(found, "curvature of the loss", REGIME, reasons)


def _start(strips: Strips, name: str) -> Floats:
    """A curvature at step 0, (R, O, G): it has no learning rate yet, so that any network of the strip tells it."""
    values = strips.values(name, "step")[..., 0].astype(np.float64)
    return mean_over(np.moveaxis(values, 3, 0)) if strips.steps[0] == 0 else values[..., 0] * np.nan


def _powers(strips: Strips, name: str, learned: np.ndarray, places: np.ndarray) -> dict[str, tuple]:
    """One curvature at the start and at the end, with the powers of the richness."""
    words, symbol = CURVATURES[name]
    start = _start(strips, name)
    end = np.where(learned, strips.values(name, "step")[..., -1].astype(np.float64), np.nan)
    best = at_places(end, places)
    found = strips.described(f"start_{name}", geometric(start), (f"{words} at the start", symbol), "richness")
    about = (f"{words} at the end", symbol)
    found |= strips.described(f"end_{name}", geometric(end), about, "richness", strips.rate_axis)
    about = (f"{words} at the end at the best learning rate", symbol)
    found |= strips.described(f"best_end_{name}", geometric(best), about, "richness")
    if name == "hessian_top":
        about = ("largest curvature at the end over that at the start", r"\lambda(T)/\lambda(0)")
        found |= strips.described("sharpening", geometric(best / start), about, "richness")
        about = ("learning rate that the final curvature allows", r"\log_{10}(2/N\lambda)")
        found |= strips.described("predicted_log_rate", allowed_rate(end), about, "richness", strips.rate_axis)
        found |= strips.described("best_predicted_log_rate", allowed_rate(best), about, "richness")
    power = f"d\\ln{symbol}/d\\ln\\gamma"
    for word, values, own in (("start", start, ()), ("best_end", best, ()), ("end", end, (strips.rate_axis,))):
        about = (f"power of the richness in the {words} at the {word.removeprefix('best_')}", power)
        lines = [_slope(strips, values, regime) for regime in REGIMES]
        found |= strips.described(f"{word}_{name}_exponent", stacked(lines, 1), about, "regime", *own, interval=True)
    return found


def allowed_rate(curvature: Floats) -> Estimate:
    """Decades of the learning rate 2 over the curvature, at which descent turns unstable; mean over replicas."""
    return replica_mean(np.log10(2 / np.where(curvature > 0, curvature, np.nan)))


def _slope(strips: Strips, values: Floats, regime: str) -> Estimate:
    """Power of the richness in values (R, O, G, ...) of one regime, (O, ...)."""
    chosen = strips.regime(regime)
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.log10(np.where(values > 0, values, np.nan))
    rows = np.moveaxis(height, 2, 1)[:, chosen]
    columns = rows.reshape(*rows.shape[:2], math.prod(rows.shape[2:]))
    slope, _, _ = bootstrapped_lines(strips.richness[chosen], columns, columns)
    return shaped(slope, rows.shape[2:])


def _bottom(strips: Strips) -> dict[str, tuple]:
    """The smallest eigenvalue over the largest at the start."""
    ratio = _start(strips, "hessian_bottom") / _start(strips, "hessian_top")
    words = ("smallest over largest curvature at the start", r"\lambda_\mathrm{min}/\lambda_\mathrm{max}")
    found = strips.described("start_ratio", replica_mean(ratio), words, "richness")
    rich = strips.regime("rich")

    def over_rich(each: Floats) -> Floats:
        return mean_over(np.moveaxis(mean_over(each)[:, rich], 1, 0)) if rich.any() else each[0, :, 0] * np.nan

    about = ("smallest over largest curvature at the start, rich networks", words[1])
    return found | strips.described("rich_start_ratio", bootstrap(over_rich, ratio), about)


def _counts(strips: Strips, learned: np.ndarray, places: np.ndarray) -> dict[str, tuple]:
    """How many eigenvalues of the Hessian are large."""
    levels = strips.values("hessian_spectrum", "step", "eigenvalue").astype(np.float64)
    large = levels > SMALL * np.fmax.reduce(levels, axis=-1, keepdims=True)
    count = np.where(np.isnan(levels).all(axis=-1), np.nan, large.sum(axis=-1))
    start = mean_over(np.moveaxis(count[..., 0], 3, 0)) if strips.steps[0] == 0 else count[..., 0, 0] * np.nan
    end = at_places(np.where(learned, count[..., -1], np.nan), places)
    found: dict[str, tuple] = {}
    for word, values in (("start", start), ("best_end", end)):
        when = word.removeprefix("best_")
        about = (f"eigenvalues above one per cent of the largest at the {when}", "n")
        found |= strips.described(f"{word}_large_count", replica_mean(values), about, "richness")
        cells = (np.moveaxis(values[:, :, strips.regime(regime)], 1, -1) for regime in REGIMES)
        means = [replica_mean(each.reshape(-1, each.shape[-1])) for each in cells]
        about = (f"{about[0]}, mean over the richness", r"\langle n\rangle_\gamma")
        found |= strips.described(f"{word}_large_count_mean", stacked(means, 1), about, "regime")
    return found


def _edge(strips: Strips) -> dict[str, tuple]:
    """Learning rate times curvature at the drop, and the largest of it."""
    top = strips.values("hessian_top", "step").astype(np.float64)
    product = top * 10 ** strips.rates[..., None]
    largest = np.fmax.reduce(product, axis=-1)
    grid = ("richness", strips.rate_axis)
    words = ("largest learning rate times curvature", r"\max_t\eta N\lambda")
    found = strips.described("largest_edge", replica_mean(largest), words, *grid)
    if not {"batch_loss", "constant_loss"} <= set(strips.cube.data_vars):
        return found
    time = drop_time(strips)
    there = np.full(time.shape, np.nan)
    for network in zip(*np.nonzero(np.isfinite(time)), strict=True):
        height = product[network]
        known = (height > 0) & np.isfinite(height)
        if known.any() and strips.steps[known][0] <= time[network] <= strips.steps[known][-1]:
            there[network] = np.exp(np.interp(time[network], strips.steps[known], np.log(height[known])))
    words = ("learning rate times curvature at the drop", r"\eta N\lambda(t_1)")
    return found | strips.described("drop_edge", replica_mean(there), words, *grid)
