"""Where the strip of learning rates that train closes: the richness beyond which nothing learns in T steps.

Either it is seen, between the last richness at which some network has learned and the first at which none has, or it
is where the lines of the smallest and the largest learning rate of rich networks cross. Both go as T^{L/(L - 2)}.
Source: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642 (the triangle of optimizability).
"""

import numpy as np

from sgdphases.ensemble import status as states
from sgdphases.fits.arrays import Floats
from sgdphases.fits.interval_lines import bootstrapped_lines
from sgdphases.fits.intervals import normal_estimate
from sgdphases.fits.learning_rate_edges import Edges, middles
from sgdphases.fits.rate_lines import Ends, RateLines, crossed, crossing, plain_lines, rate_lines, shaped
from sgdphases.fits.strips import RICH, Strips
from sgdphases.storage.cube import NO_VALUE

KINDS = {0: "open", 1: "seen", 2: "crossing"}
"""CF flag values and meanings: how the closing is known; open where it is not."""

REACH = 2.0
"""How far lines are followed beyond the last richness, in lengths of the range of rich networks."""


def closing(strips: Strips, ends: Edges) -> dict[str, tuple]:
    """The closing richness at every recorded step and its power of the step.

    Args:
        strips: The strips.
        ends: Their edges.

    Returns:
        Over the other axes and step, with `_error`: `closing_seen` and `closing_crossing` (decades of the richness),
        `closing` (the former where it is to be had, else the latter) and its flag `closing_kind`. Over the other axes,
        with `_error`: `closing_seen_exponent`, `closing_crossing_exponent`, powers of the step, from those steps at
        which the closing lies among rich networks.
    """
    low, high = _seen(strips)
    seen = middles(low, high)
    trained = states.CRITERIA.index("trained")
    pair = [
        Ends(ends.largest_low[..., trained], ends.largest_high[..., trained]),
        Ends(ends.smallest_low, ends.smallest_high),
    ]
    place = crossing(*(plain_lines(strips, each, "rich")[:2] for each in pair))
    lines = [rate_lines(strips, each, "rich", place) for each in pair]
    met = crossed(place, *lines)
    # Lines that meet where networks are not rich, or that part, or run side by side, close no strip.
    farthest = strips.richness.max() + REACH * (strips.richness.max() - RICH)
    met_there = np.where(_closes(place, *lines) & (place <= farthest), 0.0, np.nan)
    met = normal_estimate(met.value + met_there, met.error + met_there)
    is_seen = np.isfinite(seen.value)
    best = normal_estimate(np.where(is_seen, seen.value, met.value), np.where(is_seen, seen.error, met.error))
    kind = np.select([is_seen, np.isfinite(met.value)], [1, 2], 0)
    found: dict[str, tuple] = {}
    for name, estimate, how in (
        ("closing_seen", seen, "first richness at which nothing learns"),
        ("closing_crossing", met, "richness where smallest and largest learning rate meet"),
        ("closing", best, "richness where the strip closes"),
    ):
        found |= strips.described(name, estimate, (how, r"\log_{10}\gamma_c"), "step")
    flag = strips.plain("closing_kind", kind.astype(np.int8), ("how the closing is known", "k"), "step")
    meanings = {"flag_values": np.array(list(KINDS), dtype=np.int8), "flag_meanings": " ".join(KINDS.values())}
    flag["closing_kind"][2].update(meanings | {"_FillValue": np.int8(NO_VALUE)})
    found |= flag
    found |= _power(strips, "closing_seen_exponent", Ends(low, high))
    return found | _power(strips, "closing_crossing_exponent", Ends(met.value[None], met.value[None], met.error))


def _closes(place: Floats, largest: RateLines, smallest: RateLines) -> np.ndarray:
    """Whether lines meet as those of a closing strip do."""
    return (smallest.slope.value > largest.slope.value) & (place >= RICH)


def _seen(strips: Strips) -> tuple[Floats, Floats]:
    """The last richness that learns and the first that does not, upwards from 1, (R, O, T); infinite if none is."""
    status = strips.values("status", "step")
    upwards = strips.richness >= -1e-6
    richness = strips.richness[upwards]
    tried = (status != states.UNTRIED).any(axis=3)[:, :, upwards]
    learned = (status >= states.TRAINED).any(axis=3)[:, :, upwards]
    shape = (*learned.shape[:2], learned.shape[-1])
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    for place in np.ndindex(shape):
        row = (*place[:2], slice(None), place[2])
        closed = np.flatnonzero(tried[row] & ~learned[row])
        opened = np.flatnonzero(learned[row])
        if not opened.size:
            continue
        beyond = closed[closed > opened[0]]
        last = opened[opened < beyond[0]][-1] if beyond.size else opened[-1]
        low[place] = richness[last]
        high[place] = richness[beyond[0]] if beyond.size else np.inf
    return low, high


def _power(strips: Strips, name: str, ends: Ends) -> dict[str, tuple]:
    """Exponent of the step of a closing richness, (R, O, T)."""
    with np.errstate(divide="ignore"):
        time = np.log10(strips.steps.astype(np.float64))
    known = np.isfinite(time)
    rich = np.where(ends.low >= RICH - 1e-6, 0.0, np.nan)
    low, high = (np.moveaxis(end + rich, 1, 2)[:, known] for end in (ends.low, ends.high))
    error = ends.error.T[known] if isinstance(ends.error, np.ndarray) else ends.error
    slope, _, _ = bootstrapped_lines(time[known], low, high, error=error)
    words = ("exponent of the closing richness in the step", r"d\ln\gamma_c/d\ln T")
    return strips.described(name, shaped(slope, (low.shape[-1],)), words, interval=True)
