"""Powers of the richness in the largest, best and smallest learning rate, of lazy and of rich networks.

Expected: largest and best as γ² where networks are lazy, γ^{2/L} where they are rich; smallest as γ²/T and γ/T after T
steps, so that the strip of learning rates that train closes at γ ∝ T^{L/(L − 2)}. Sources: Atanasov, Meterez, Simon,
Pehlevan, arXiv 2410.04642, Fig. 1 and Table 1.
"""

import math

import numpy as np
import xarray as xr
from scipy import optimize

from sgdphases.fits.arrays import Floats, replica_mean
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.closing import closing
from sgdphases.fits.interval_lines import bootstrapped_lines
from sgdphases.fits.intervals import Estimate, normal_estimate, stacked
from sgdphases.fits.learning_rate_edges import CRITERION, NEEDS, Edges, edges_of, middles
from sgdphases.fits.rate_lines import Ends, crossed, crossing, plain_lines, rate_lines, shaped
from sgdphases.fits.strips import LAZY, REGIME, REGIMES, RICH, TOLERANCE, Strips, at_least, at_places, strips_of

FIT = "richness_exponents"

BUDGET_DECADE = 0.1
"""Share of the schedule from which on the smallest learning rate is compared between steps."""

BROKEN_RESAMPLES = 100
BROKEN = {
    "broken_lazy_exponent": ("exponent of the lazy side of the broken power law", "a_1"),
    "broken_rich_exponent": ("exponent of the rich side of the broken power law", "a_2"),
    "broken_log_richness": ("richness at the break of the broken power law", r"\log_{10}\gamma_b"),
    "broken_height": ("learning rate at the break of the broken power law", "c"),
}

KINDS = {
    "largest": ("largest learning rate", r"\eta_\mathrm{max}"),
    "smallest": ("smallest learning rate that trains", r"\eta_\mathrm{min}"),
    "best": ("learning rate of the least test loss", r"\eta^\ast"),
}


def richness_exponents(cube: xr.Dataset) -> xr.Dataset:
    """Exponents, breaks, the closing of the strip and the prediction by the curvature.

    Lazy is richness up to 10^-1.5, rich from 10 on; between the two lines lies a bump that belongs to neither. Lines of
    the largest and smallest learning rate are of maximum likelihood on the intervals (`interval_lines`), those of the
    best one of least squares on the replicas' mean.

    Args:
        cube: With `status`, `test_loss`, `batch_loss`; `bracket` and `hessian_top` where there are any.

    Returns:
        Over the grid without richness and learning rate, `regime` (lazy, rich) and step, with `_error`, `_low`,
        `_high`: `largest_exponent` (also over `criterion`), `smallest_exponent`, `best_exponent`, and `largest_height`,
        `smallest_height`, `best_height`, decades of the learning rate that the line has at richness 1;
        `largest_points`, `smallest_points`, `best_points`, replicas and values of the richness in the line. Over step:
        `largest_break` (also over criterion), `smallest_break`, `best_break`, decades of the richness where the two
        lines cross. Over criterion, at the last step: `broken_lazy_exponent`, `broken_rich_exponent`,
        `broken_log_richness`, `broken_height` of the smooth broken power law. Over richness: `budget_exponent` (of the
        smallest learning rate in the step), `budget_spread` (largest over smallest η_min T), and over all rich values
        `rich_budget_exponent`. What `closing` gives. With `hessian_top`: `predicted_log_rate` over richness, 2 over
        the curvature at the end at the best learning rate, and `predicted_ratio`, the largest learning rate over it.

    Raises:
        ValueError: If the cube lacks one of the variables, or has a single richness.
    """
    strips = strips_of(cube, FIT, *NEEDS)
    if len(strips.richness) < 2:
        raise ValueError(f"fit {FIT} needs several values of the richness")
    edges = edges_of(strips)
    found: dict[str, tuple] = {}
    for kind, ends in {
        "largest": Ends(edges.largest_low, edges.largest_high),
        "smallest": Ends(edges.smallest_low, edges.smallest_high),
        "best": Ends(edges.best[None], edges.best[None], edges.best_error),
    }.items():
        found |= _lines(strips, kind, ends)
    found |= _broken(strips, edges)
    found |= _budget(strips, edges)
    found |= closing(strips, edges)
    if "hessian_top" in cube:
        found |= _predicted(strips, edges)
    return strips.finished(found, "powers of the richness in learning rates", REGIME | CRITERION, _reasons(found))


def _lines(strips: Strips, kind: str, ends: Ends) -> dict[str, tuple]:
    """Lines of both regimes of one learning rate and where they cross."""
    own = ("step", "criterion")[: len(ends.shape) - 1]
    words, symbol = KINDS[kind]
    plain = {regime: plain_lines(strips, ends, regime) for regime in REGIMES}
    place = crossing(*(each[:2] for each in plain.values()))
    lines = [rate_lines(strips, ends, regime, place) for regime in REGIMES]
    found: dict[str, tuple] = {}
    for name, estimates, about in (
        ("exponent", [each.slope for each in lines], (f"exponent of the {words}", rf"d\ln{symbol}/d\ln\gamma")),
        ("height", [each.height for each in lines], (f"{words} at richness 1", rf"\log_{{10}}{symbol}(1)")),
    ):
        found |= strips.described(f"{kind}_{name}", stacked(estimates, 1), about, "regime", *own, interval=True)
    about = (f"richness where the lines of the {words} cross", r"\log_{10}\gamma_b")
    found |= strips.described(f"{kind}_break", crossed(place, *lines), about, *own, interval=True)
    points = np.stack([each[2] for each in plain.values()], axis=1)
    return found | strips.plain(f"{kind}_points", points, (f"intervals of the {words}", "n"), "regime", *own)


def _broken(strips: Strips, edges: Edges) -> dict[str, tuple]:
    """The smooth broken power law through the middles at the last step."""
    low, high = edges.largest_low[..., -1, :], edges.largest_high[..., -1, :]
    parts = np.full((4, len(BROKEN), low.shape[1], low.shape[-1]), np.nan)
    for other, criterion in np.ndindex(low.shape[1], low.shape[-1]):
        made = _broken_law(strips.richness, low[:, other, :, criterion], high[:, other, :, criterion])
        parts[..., other, criterion] = made.value, made.error, made.low, made.high
    found: dict[str, tuple] = {}
    for place, (name, words) in enumerate(BROKEN.items()):
        found |= strips.described(name, Estimate(*parts[:, place]), words, "criterion", interval=True)
    return found


def _broken_law(richness: Floats, low: Floats, high: Floats) -> Estimate:
    """Parameters of the broken power law of one column, (4,), from intervals (R, G)."""
    both = np.isfinite(low) & np.isfinite(high)
    x, y = np.broadcast_to(richness, both.shape)[both], (low[both] + high[both]) / 2
    sides = (x <= LAZY + TOLERANCE, x >= RICH - TOLERANCE)
    if any(len(np.unique(x[side])) < 2 for side in sides):
        missing = np.full(len(BROKEN), np.nan)
        return Estimate(missing, missing, missing, missing)
    first = [np.polyfit(x[side], y[side], 1) for side in sides]
    middle = float(crossing(*(tuple(map(np.asarray, line)) for line in first)))
    start = np.array([first[0][0], first[1][0], middle, np.polyval(first[0], middle)])

    def read(place: Floats, height: Floats) -> Floats:
        fitted = optimize.least_squares(lambda p: broken_law(place, p) - height, start, x_scale="jac")
        inside = place.min() < fitted.x[2] < place.max() and np.linalg.matrix_rank(fitted.jac) == len(start)
        return fitted.x if fitted.success and inside else np.full(len(start), np.nan)

    estimate = bootstrap(read, (x, y), resamples=BROKEN_RESAMPLES, freedom=len(x) - len(start), widened=False)
    if not np.isfinite(estimate.value).all():
        return estimate
    # What the intervals leave open, each value of the richness anywhere in its own.
    jacobian = optimize.approx_fprime(estimate.value, lambda p: broken_law(x, p))
    pulls = np.linalg.pinv(jacobian) * (high[both] - low[both])
    moved = np.stack([pulls[:, x == value].sum(axis=1) for value in np.unique(x)])
    return at_least(estimate, np.sqrt((moved**2).sum(axis=0) / 12))


def broken_law(x: Floats, parameters: Floats) -> Floats:
    """C + a_1 (x - x_b) + (a_2 - a_1) log10(1 + 10^(x - x_b)): the toy's exact shape, with a_1 = 2, a_2 = 2/L, x_b = 0.

    Args:
        x: Decades of the richness.
        parameters: (a_1, a_2, x_b, c).

    Returns:
        Decades of the learning rate.
    """
    lazy, rich, middle, height = parameters
    beyond = x - middle
    return height + lazy * beyond + (rich - lazy) * np.logaddexp(0.0, np.log(10) * beyond) / np.log(10)


def _budget(strips: Strips, edges: Edges) -> dict[str, tuple]:
    """How the smallest learning rate falls with the number of steps, within the last decade of the schedule."""
    late = (strips.steps >= BUDGET_DECADE * strips.steps[-1]) & (strips.steps > 0)
    time = np.log10(strips.steps[late].astype(np.float64))
    shape = edges.smallest_low.shape[1:3]
    low, high = (np.moveaxis(end[..., late], -1, 1) for end in (edges.smallest_low, edges.smallest_high))
    columns = (*low.shape[:2], math.prod(shape))
    slope, _, _ = bootstrapped_lines(time, low.reshape(columns), high.reshape(columns))
    slope = shaped(slope, shape)
    words = ("exponent of the smallest learning rate in the step", r"d\ln\eta_\mathrm{min}/d\ln T")
    found = strips.described("budget_exponent", slope, words, "richness")
    rich = strips.regime("rich")
    value, error = slope.value[:, rich], slope.error[:, rich]
    mean = replica_mean(value.T)
    known = np.isfinite(value)
    least = np.sqrt(np.where(known, error, 0.0) ** 2 @ np.ones(known.shape[1])) / np.maximum(known.sum(axis=1), 1)
    found |= strips.described("rich_budget_exponent", at_least(mean, least), words, interval=True)
    middle = middles(edges.smallest_low[..., late], edges.smallest_high[..., late])
    product = middle.value + time
    decades = np.ptp(product, axis=-1) if len(time) > 1 else np.full(shape, np.nan)
    ratio = 10**decades
    ends = np.hypot(*(np.take_along_axis(middle.error, p[..., None], -1)[..., 0] for p in _extremes(product)))
    about = ("largest over smallest product of smallest learning rate and step", r"\eta_\mathrm{min}T")
    spread = normal_estimate(ratio, np.log(10) * ratio * ends)
    return found | strips.described("budget_spread", spread, about, "richness")


def _extremes(values: Floats) -> tuple[np.ndarray, np.ndarray]:
    """Places of the largest and the smallest along the last axis; anything where one is NaN."""
    known = np.isfinite(values)
    return np.where(known, values, -np.inf).argmax(axis=-1), np.where(known, values, np.inf).argmin(axis=-1)


def _predicted(strips: Strips, edges: Edges) -> dict[str, tuple]:
    """The largest learning rate by the curvature that the best networks end with; no parameter is fitted."""
    top = at_places(strips.values("hessian_top", "step")[..., -1], edges.best_place[..., -1])
    predicted = np.log10(2 / np.where(top > 0, top, np.nan))
    words = ("learning rate that the final curvature allows", r"\log_{10}(2/\lambda)")
    found = strips.described("predicted_log_rate", replica_mean(predicted), words, "richness")
    low, high = edges.largest_low[..., -1, :], edges.largest_high[..., -1, :]
    decades = middles(low - predicted[..., None], high - predicted[..., None])
    ratio = 10**decades.value
    words = ("largest learning rate over what the final curvature allows", r"\eta_\mathrm{max}\lambda/2")
    estimate = normal_estimate(ratio, np.log(10) * ratio * decades.error)
    return found | strips.described("predicted_ratio", estimate, words, "richness", "criterion")


def _reasons(found: dict[str, tuple]) -> list[str]:
    """Why exponents are missing at the last step."""
    return [
        f"no {name} of {regime} networks at the last step: fewer than two values of the richness have both its ends"
        for name in KINDS
        for place, regime in enumerate(REGIMES)
        if np.isnan(_last(found[f"{name}_exponent"], place)).any()
    ]


def _last(variable: tuple, regime: int) -> Floats:
    """A variable over regime and step, at one regime and the last step."""
    dims, values, _ = variable
    return np.take(np.take(values, -1, axis=dims.index("step")), regime, axis=dims.index("regime"))
