"""Do rich networks of every richness γ drop their loss at one time τ = ηt/γ, and go on by the clock ηγ^{-2/L}t after?

Sources: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642 (τ in the text, without a figure). As the toy has it: τ at
the drop comes to a limit with a rest that goes as γ^{-(L - 2)/L}; for L = 2 it grows as ln γ; at the largest learning
rate the number of steps grows as γ^{1 - 2/L}.
"""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, logarithm
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.curves import mean_over
from sgdphases.fits.drops import DROPS, LEVELS, drop_times
from sgdphases.fits.grid import part_of
from sgdphases.fits.intervals import Estimate
from sgdphases.fits.strips import TOLERANCE, Straight, Strips, at_least, geometric, straight, strips_of

FIT = "first_drop"

WINDOW = (2.0, 3.5)
"""Decades of the richness over which the spread is taken."""

LEAST_VALUES = 3
FIRST = LEVELS.index(0.95)
"""The drop from which the second clock counts."""

SCORES = {
    "tau_score": ("spread of the logarithm of the drop's time over that of its step", r"s(\ln\tau)/s(\ln t)"),
    "flow_score": (
        "spread of the logarithm of the drop's time over that of its flow time",
        r"s(\ln\tau)/s(\ln\eta t)",
    ),
    "tau_spread": ("relative spread of the drop's time, richness 10^2 to 10^3.5", r"\Delta\tau/\tau"),
    "step_ratio": ("largest over smallest step of the drop, richness 10^2 to 10^3.5", r"t_\mathrm{max}/t_\mathrm{min}"),
    "flow_ratio": ("largest over smallest flow time of the drop", r"(\eta t)_\mathrm{max}/(\eta t)_\mathrm{min}"),
    "second_spread": ("relative spread of the time since the drop by the second clock", r"\Delta\tau_2/\tau_2"),
    "second_score": ("spread since the drop by the second clock over that by the first", r"s(\ln\tau_2)/s(\ln\tau)"),
}
LINES = {
    "steps_exponent": ("power of the richness in the step of the drop", r"d\ln t/d\ln\gamma"),
    "logarithmic_slope": ("growth of the drop's time with the logarithm of the richness", r"d\tau/d\ln\gamma"),
    "logarithmic_height": ("the drop's time at richness 1 by that line", r"\tau(1)"),
    "limit_tau": ("limit of the drop's time at infinite richness", r"\tau_\infty"),
    "limit_approach": ("factor of the power by which the drop's time nears its limit", "k"),
}
EXPLAINED = {
    "logarithmic_explained": ("variance of the drop's time explained by the logarithm of the richness", "R^2"),
    "limit_explained": ("variance of the drop's time explained by its approach to a limit", "R^2"),
}


def first_drop(cube: xr.Dataset) -> xr.Dataset:
    """Times of the first drops by both clocks, their spread over the richness, and the laws of their approach.

    Args:
        cube: With `batch_loss` and `constant_loss`. Networks along the richness are compared at one place of the axis
            of learning rates: at equal `rate_over_richness` steps and τ are one (`tau_score` is then 1, `flow_score`
            tells), at equal `reduced_learning_rate` steps should grow by `steps_exponent`.

    Returns:
        Over the grid, `level` (share of the baseline) and `baseline` (start, constant), with `_error`: `drop_step` (8
        updates are averaged, geometric mean over replicas), `drop_tau` (ηt/γ) and `second_tau` (ηγ^{-2/L} times the
        steps since the level 0.95; levels below only). The same without richness: those of `SCORES` (scores over
        richness ≥ 10, spreads, ratios and `second_spread` over 10^2 to 10^3.5, NaN if one network there does not
        drop), `steps_exponent`, `logarithmic_slope`, `logarithmic_height` (τ = height + slope ln γ), `limit_tau`,
        `limit_approach` (τ = limit - k γ^{-(L - 2)/L}, L > 2) over richness ≥ 10, their `_error` the larger of the
        replicas' and of the scatter about the line; `logarithmic_explained`, `limit_explained` (R²), `drop_points`.

    Raises:
        ValueError: If the cube lacks one of the variables, or has a single richness.
    """
    strips = strips_of(cube, FIT, "batch_loss", "constant_loss")
    if len(strips.richness) < 2:
        raise ValueError(f"fit {FIT} needs several values of the richness")
    times = drop_times(strips)
    own = (strips.rate_axis, "level", "baseline")
    found: dict[str, tuple] = {}
    clocks = _clocks(strips)
    since = logarithm(times - times[..., [FIRST], :])
    for name, values, words in (
        ("drop_step", times, ("updates until the loss drops", "t_q")),
        ("drop_tau", times * np.exp(clocks[0])[..., None, None], ("time of the drop", r"\tau_q=\eta t_q/\gamma")),
        (
            "second_tau",
            np.exp(since + clocks[2][..., None, None]),
            ("time since the first drop by the second clock", r"\eta\gamma^{-2/L}(t_q-t_1)"),
        ),
    ):
        found |= strips.described(name, geometric(values), words, "richness", *own)
    found |= _scores(strips, logarithm(times), since)
    found |= _laws(strips, logarithm(times))
    rich = strips.regime("rich")
    count = np.isfinite(mean_over(times))[:, rich].sum(axis=1)
    found |= strips.plain("drop_points", count, ("rich networks that drop", "n"), *own)
    missing = np.isnan(times[:, :, rich]).all(axis=(0, 1, 2, 3))
    reasons = [
        f"no loss falls below {level:g} of its {base}"
        for level, row in zip(LEVELS, missing, strict=True)
        for base, absent in zip(DROPS["baseline_name"][1], row, strict=True)
        if absent
    ]
    return strips.finished(found, "first drops of the loss of rich networks", DROPS, reasons)


def _clocks(strips: Strips) -> tuple[Floats, Floats, Floats]:
    """Logarithms of what a step counts as in τ, in flow time and in the second clock, (O, G, E) each."""
    richness, rate = np.log(10) * strips.richness[:, None], np.log(10) * strips.rates
    return rate - richness, rate, rate - 2 * richness / strips.depth[:, None, None]


def _scores(strips: Strips, steps: Floats, since: Floats) -> dict[str, tuple]:
    """Values of `SCORES`, all from one bootstrap over replicas."""
    first, flow, second = (clock[..., None, None] for clock in _clocks(strips))
    rich = strips.regime("rich")
    low, high = WINDOW
    window = (strips.richness >= low - TOLERANCE) & (strips.richness <= high + TOLERANCE)

    def deviation(values: Floats) -> Floats:
        """Over those rich networks that have a value."""
        known = np.isfinite(values[:, rich])
        each = np.where(known, values[:, rich], 0.0)
        count = known.sum(axis=1)
        safe = np.maximum(count, 2)
        square = np.where(known, each - (each.sum(axis=1) / np.maximum(count, 1))[:, None], 0.0) ** 2
        return np.where(count >= LEAST_VALUES, np.sqrt(square.sum(axis=1) / (safe - 1)), np.nan)

    def spread(values: Floats) -> Floats:
        """Of what has this logarithm; every network in the window must have a value."""
        chosen = np.exp(values[:, window])
        if chosen.shape[1] < LEAST_VALUES:
            return np.full(values[:, 0].shape, np.nan)
        return chosen.std(axis=1, ddof=1) / chosen.mean(axis=1)

    def ratio(values: Floats) -> Floats:
        return np.exp(np.ptp(values[:, window], axis=1)) if window.any() else np.full(values[:, 0].shape, np.nan)

    def over(above: Floats, below: Floats) -> Floats:
        return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 1e-9)

    def read(logarithms: Floats, later: Floats) -> Floats:
        step, after = mean_over(logarithms), mean_over(later)
        tau = deviation(step + first)
        return np.stack(
            [
                over(tau, deviation(step)),
                over(tau, deviation(step + flow)),
                spread(step + first),
                ratio(step),
                ratio(step + flow),
                spread(after + second),
                over(deviation(after + second), deviation(after + first)),
            ]
        )

    estimate = bootstrap(read, (steps, since))
    found: dict[str, tuple] = {}
    for place, (name, words) in enumerate(SCORES.items()):
        found |= strips.described(name, part_of(estimate, place), words, strips.rate_axis, "level", "baseline")
    return found


def _laws(strips: Strips, steps: Floats) -> dict[str, tuple]:
    """Straight lines of rich networks: ln t and τ in ln γ, and τ in γ^{-(L - 2)/L}."""
    rich = strips.regime("rich")
    richness = np.log(10) * strips.richness[rich]
    share = (strips.depth - 2) / np.maximum(strips.depth, 1)
    rest = np.where(strips.depth[:, None] > 2, np.exp(-share[:, None] * richness), np.nan)
    rest = rest[:, None, None, None, :]
    first = _clocks(strips)[0][..., None, None]

    def lines(logarithms: Floats) -> tuple[Straight, Straight, Straight]:
        step = mean_over(logarithms)
        step, tau = (np.moveaxis(values[:, rich], 1, -1) for values in (step, np.exp(step + first)))
        return straight(richness, step), straight(richness, tau), straight(rest, tau)

    def read(logarithms: Floats) -> Floats:
        power, growth, limit = lines(logarithms)
        return np.stack([power.slope, growth.slope, growth.height, limit.height, -limit.slope])

    power, growth, limit = lines(steps)
    scatter = (power.slope_error, growth.slope_error, growth.height_error, limit.height_error, limit.slope_error)
    estimate = bootstrap(read, steps)
    own = (strips.rate_axis, "level", "baseline")
    found: dict[str, tuple] = {}
    for place, ((name, words), least) in enumerate(zip(LINES.items(), scatter, strict=True)):
        part: Estimate = at_least(part_of(estimate, place), least)
        found |= strips.described(name, part, words, *own, interval=True)
    for (name, words), line in zip(EXPLAINED.items(), (growth, limit), strict=True):
        found |= strips.plain(name, line.explained, words, *own)
    return found
