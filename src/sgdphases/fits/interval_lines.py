"""Straight lines through values of which only an interval is known: where a search found good and bad neighbours.

y = height + slope x + normal scatter; of each y only low < y <= high is known, one of them may be infinite. Least
squares on middles would have to leave out what was never found bad, which tilts the line, and takes a coarse lattice
for exact. Concavity of the likelihood in (height, slope, 1)/scatter: J. Burridge, J. R. Stat. Soc. B 43, 41 (1981).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.intervals import Estimate, normal_estimate, student_estimate

Floats = NDArray[np.float64]

LEAST_SCATTER = 0.1
"""Least scatter, as a share of the mean width of the intervals: below it any line through them all is as likely."""

LEAST_WIDTH = 1e-3
"""Intervals are at least so wide (in decades): exact values then have a likelihood too, and the line is that of OLS."""

PARAMETERS = 2
ITERATIONS = 60
CLOSE = 1e-6
"""Twice the gain in likelihood that ends the search: a thousandth of a standard error."""

RESAMPLES = 200


@dataclass(frozen=True)
class Lines:
    """Maximum-likelihood lines, one a column.

    Attributes:
        slope: Shape (columns,); NaN where fewer than two abscissae have an interval that is finite on both sides.
        height: At x = 0, (columns,).
        scatter: Standard deviation about the line, (columns,).
        points: Intervals used, one-sided ones too, (columns,).
    """

    slope: Floats
    height: Floats
    scatter: Floats
    points: NDArray[np.int64]

    def at(self, x: ArrayLike) -> Floats:
        """Heights at one place per column."""
        return self.height + self.slope * np.asarray(x, dtype=np.float64)


def interval_lines(x: ArrayLike, low: ArrayLike, high: ArrayLike) -> Lines:
    """Fit lines with normal scatter to intervals by maximum likelihood, many at once.

    Args:
        x: Abscissae, (n,).
        low: Lower ends, (n, columns): -inf where nothing is known from below, NaN where there is no value at all.
        high: Upper ends, (n, columns): inf where nothing is known from above, NaN where there is no value.

    Returns:
        The lines.
    """
    place = np.asarray(x, dtype=np.float64)
    low, high = (np.asarray(end, dtype=np.float64) for end in (low, high))
    known = ~(np.isnan(low) | np.isnan(high)) & (low < np.inf) & (high > -np.inf)
    both = known & np.isfinite(low) & np.isfinite(high)
    narrow = both & (high - low < LEAST_WIDTH)
    middle = np.where(both, (np.where(both, low, 0) + np.where(both, high, 0)) / 2, 0.0)
    low, high = np.where(narrow, middle - LEAST_WIDTH / 2, low), np.where(narrow, middle + LEAST_WIDTH / 2, high)
    count = both.sum(axis=0)
    centre = np.where(both, place[:, None], 0.0).sum(axis=0) / np.maximum(count, 1)
    arm = place[:, None] - centre
    lever = (both * arm**2).sum(axis=0)
    fitted = lever > 1e-12 * np.maximum(1.0, centre**2)
    slope = (both * arm * middle).sum(axis=0) / np.where(fitted, lever, 1.0)
    height = middle.sum(axis=0) / np.maximum(count, 1)
    width = np.where(both, np.where(both, high, 0) - np.where(both, low, 0), 0.0).sum(axis=0) / np.maximum(count, 1)
    spread = np.sqrt((both * (middle - height - slope * arm) ** 2).sum(axis=0) / np.maximum(count, 1))
    floor = np.where(fitted, LEAST_SCATTER * width, 1.0)
    scatter = np.maximum(spread, floor)
    # Parameters (height, slope, 1) / scatter: the likelihood is concave in them, so Newton's way up has one end.
    start = np.stack([height, slope, np.ones_like(slope)]) / scatter
    ends = np.where(known, low, -np.inf), np.where(known, high, np.inf)
    found = _climb(start, arm, *ends, 1 / floor, np.flatnonzero(fitted))
    scatter = 1 / found[2]
    height, slope = found[0] * scatter, found[1] * scatter
    none = np.where(fitted, 0.0, np.nan)
    return Lines(slope + none, height - slope * centre + none, scatter + none, known.sum(axis=0))


def _climb(start: Floats, arm: Floats, low: Floats, high: Floats, most: Floats, climbing: np.ndarray) -> Floats:
    """Newton's method with halved steps for some columns, the last parameter at most `most`."""
    values = start.copy()
    for _ in range(ITERATIONS):
        if not climbing.size:
            break
        here, ends, top = values[:, climbing], (arm[:, climbing], low[:, climbing], high[:, climbing]), most[climbing]
        level, slope, bend = _likelihood(here, *ends)
        at_top = here[2] >= top * (1 - 1e-12)
        step = _newton_step(slope, bend, at_top & (slope[2] > 0))
        step = np.where(at_top & (step[2] > 0), _newton_step(slope, bend, at_top), step)
        # All three shorten together: height and slope alone, with the last one cut off, would lead downhill.
        room = np.where(step[2] > 0, top - here[2], 0.9 * here[2])
        share = np.minimum(1.0, room / np.maximum(np.abs(step[2]), 1e-300))
        for _ in range(ITERATIONS):
            trial = here + share * step
            worse = ~(_log_mass(*_ends(trial, *ends)).sum(axis=0) >= level - 1e-9)
            if not worse.any():
                break
            share = np.where(worse, share / 2, share)
        values[:, climbing] = np.where(worse, here, trial)
        climbing = climbing[(np.abs(step * slope).sum(axis=0) > CLOSE) & ~worse]
    return values


def _newton_step(slope: Floats, bend: Floats, held: NDArray[np.bool_]) -> Floats:
    """-H^-1 g of each column, (3, columns); the held parameter of a column stays."""
    gradient = slope.copy()
    gradient[2, held] = 0.0
    matrix = -np.moveaxis(bend, -1, 0).copy()
    matrix[held, 2, :] = matrix[held, :, 2] = 0.0
    # A little of the diagonal keeps directions that the intervals say nothing about from running away.
    diagonal = np.einsum("cii->ci", matrix)
    diagonal += 1e-9 * (1.0 + diagonal.max(axis=1, keepdims=True))
    matrix[held, 2, 2] = 1.0
    return np.linalg.solve(matrix, gradient.T[..., None])[..., 0].T


def _ends(values: Floats, arm: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Ends of the intervals in standard deviations from the line; infinite ones stay so."""
    line = values[0] + values[1] * arm
    return values[2] * low - line, values[2] * high - line


def _likelihood(values: Floats, arm: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats, Floats]:
    """Log-likelihood (columns,), its gradient (3, columns) and its second derivatives (3, 3, columns)."""
    below, above = _ends(values, arm, low, high)
    mass = _log_mass(below, above)
    each, bend = np.zeros((3, *arm.shape)), np.zeros((3, 3, arm.shape[1]))
    for z, end, sign in ((above, high, 1.0), (below, low, -1.0)):
        seen = np.isfinite(end)
        safe = np.where(seen, z, 0.0)
        ratio = np.where(seen, sign * np.exp(-0.5 * safe**2 - 0.5 * np.log(2 * np.pi) - mass), 0.0)
        direction = np.stack([-np.ones_like(arm), -arm, np.where(seen, end, 0.0)])
        each += ratio * direction
        bend -= np.einsum("inc,jnc->ijc", direction * (ratio * safe), direction)
    return mass.sum(axis=0), each.sum(axis=1), bend - np.einsum("inc,jnc->ijc", each, each)


def _log_mass(low: Floats, high: Floats) -> Floats:
    """Logarithm of the normal probability between two ends, without loss far out in either tail."""
    upper = low > 0
    low, high = np.where(upper, -high, low), np.where(upper, -low, high)
    large, small = special.log_ndtr(high), special.log_ndtr(low)
    return large + np.log1p(-np.exp(np.minimum(small - large, -1e-300)))


def bootstrapped_lines(
    x: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    place: ArrayLike = 0.0,
    error: ArrayLike = 0.0,
    resamples: int = RESAMPLES,
) -> tuple[Estimate, Estimate, Estimate]:
    """Lines with errors: a bootstrap over points and replicas, and at least what the intervals leave open.

    A replica of a point is drawn as one, so that scatter between replicas, scatter about the line and its curvature all
    count. Where the line happens to fit a lattice the resamples agree exactly; the error is then that of lines that
    stay within the intervals.

    Args:
        x: Abscissae, (points,).
        low: Lower ends, (replicas, points, columns), as `interval_lines` takes them.
        high: Upper ends, (replicas, points, columns).
        place: Where else the line's height is wanted, one or (columns,).
        error: Standard errors that the points have beside their intervals, one or (points, columns).
        resamples: Number of resamples.

    Returns:
        (slope, height at 0, height at `place`), each (columns,). Two exact values have a line and no errors.
    """
    low, high = (np.asarray(end, dtype=np.float64) for end in (low, high))
    replicas, points, columns = low.shape
    abscissa = np.asarray(x, dtype=np.float64)
    cells = np.tile(abscissa, replicas), *(end.reshape(replicas * points, columns) for end in (low, high))
    where = np.stack([np.zeros(columns), np.broadcast_to(np.asarray(place, dtype=np.float64), columns)])

    def read(*drawn: Floats) -> Floats:
        lines = interval_lines(*drawn)
        return np.stack([lines.slope, *(lines.at(each) for each in where)])

    found = bootstrap(read, cells, resamples=resamples, widened=False)
    least = _left_open(abscissa, low, high, where, np.asarray(error, dtype=np.float64))
    # All resamples of two values that make a line at all make the same one.
    freedom = (np.isfinite(low) & np.isfinite(high)).sum(axis=(0, 1)) - PARAMETERS
    drawn = student_estimate(found.value, np.where(freedom > 0, found.error, np.nan), freedom=freedom)
    known = np.isfinite(found.value)
    left = normal_estimate(found.value, np.where(known & (least > 0), least, np.nan))
    errors = np.where(known, np.fmax(drawn.error, left.error), np.nan)
    ends = np.fmin(drawn.low, left.low), np.fmax(drawn.high, left.high)
    slope, *heights = (Estimate(*parts) for parts in zip(found.value, errors, *ends, strict=True))
    return slope, heights[0], heights[1]


def _left_open(x: Floats, low: Floats, high: Floats, where: Floats, error: Floats) -> Floats:
    """Standard errors of (slope, heights) that intervals and the points' own errors leave, (1 + places, columns)."""
    # Points of a smooth curve lie alike in the cells of a lattice, so they do not average out: all may be off by the
    # same part of a cell (width/√12), and lines that stay in a band of that width are alike (width/(length √6)).
    both = np.isfinite(low) & np.isfinite(high)
    count = np.maximum(both.sum(axis=(0, 1)), 1)
    place = np.where(both, x[:, None], np.nan)
    centre = np.where(both, place, 0.0).sum(axis=(0, 1)) / count
    arm = np.where(both, x[:, None] - centre, 0.0)
    lever = (arm**2).sum(axis=(0, 1))
    lever = np.where(lever > 0, lever, np.nan)
    length = np.fmax.reduce(place, axis=(0, 1), initial=-np.inf) - np.fmin.reduce(place, axis=(0, 1), initial=np.inf)
    width = np.where(both, np.where(both, high, 0.0) - np.where(both, low, 0.0), 0.0).sum(axis=(0, 1)) / count
    tilt = width / np.where(lever > 0, length, np.nan) / np.sqrt(6)
    lattice = np.stack([tilt**2, *(width**2 / 12 + (tilt * (each - centre)) ** 2 for each in where)])
    pulls = np.stack([arm / lever, *(both / count + arm / lever * (each - centre) for each in where)])
    own = ((pulls.sum(axis=1) * np.where(np.isfinite(error), error, 0.0)) ** 2).sum(axis=1)
    return np.sqrt(lattice + own)
