"""Plateaus of the batch loss: stretches of the logarithm of time over which it hardly falls.

A plateau is where |d ln loss/d ln t| < 0.05 for at least 0.2 decades; the slope is that of a line through 0.1 decades
of the 8-update mean. Stairs are the plateaus before a network has learned. Source: Atanasov, Meterez, Simon, Pehlevan,
arXiv 2410.04642, Figs. 2a and 4b (staircases, without a definition).
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from sgdphases.ensemble.status import UNTRAINED_SHARE
from sgdphases.fits.arrays import Floats, replica_mean
from sgdphases.fits.drops import smoothed
from sgdphases.fits.strips import strips_of

FIT = "plateaus"

FLAT = 0.05
LEAST_LENGTH = 0.2
SLOPE_WINDOW = 0.1
"""Decades over which a slope is taken."""

GRID = 0.01
"""Decades between the places at which it is taken."""

LEAST_RECORDS = 3
MOST = 6
"""Plateaus that are described, the first ones."""


class Plateau(NamedTuple):
    """One plateau.

    Attributes:
        start: Updates before it begins.
        end: Updates before it ends.
        level: Mean batch loss on it.
        error: Its standard error.
    """

    start: float
    end: float
    level: float
    error: float


def plateaus(cube: xr.Dataset) -> xr.Dataset:
    """Plateaus of every network that comes to the end of the schedule.

    Args:
        cube: With `batch_loss`, `constant_loss` and `diverged_at`.

    Returns:
        Over the grid: `plateau_mean_count` and `stair_mean_count`, means over replicas with `_error`; also over replica
        `plateau_count`, `stair_count` (plateaus above 0.8 of the best constant answer's loss), NaN for networks that
        diverged; also over `plateau` (the first six) `plateau_level` with `_error`, `plateau_start`, `plateau_end`
        (updates) and `plateau_length` (decades).

    Raises:
        ValueError: If the cube lacks one of the variables.
    """
    strips = strips_of(cube, FIT, "batch_loss", "constant_loss", "diverged_at")
    loss = strips.values("batch_loss", "update")
    constant = strips.values("constant_loss")
    alive = np.isfinite(loss[..., -1]) & (strips.values("diverged_at") < 0)
    count, stairs = (np.where(alive, 0.0, np.nan) for _ in range(2))
    parts = np.full((4, *alive.shape, MOST), np.nan)
    for network in zip(*np.nonzero(alive), strict=True):
        found = plateaus_of(loss[network])
        count[network] = len(found)
        stairs[network] = sum(each.level > UNTRAINED_SHARE * constant[network] for each in found)
        for place, each in enumerate(found[:MOST]):
            parts[(slice(None), *network, place)] = each
    grid = ("richness", strips.rate_axis)
    made: dict[str, tuple] = {}
    for name, values, words in (
        ("plateau", count, ("plateaus of the loss", "n")),
        ("stair", stairs, ("plateaus of the loss before it has learned", "n")),
    ):
        made |= strips.described(f"{name}_mean_count", replica_mean(values), words, *grid)
        made |= strips.plain(f"{name}_count", np.moveaxis(values, 0, 3), words, *grid, "replica")
    start, end, level, error = np.moveaxis(parts, 1, 4)
    for name, values, words in (
        ("plateau_level", level, ("batch loss on a plateau", "L")),
        ("plateau_level_error", error, ("standard error of the batch loss on a plateau", r"\delta L")),
        ("plateau_start", start, ("update at which a plateau begins", "t")),
        ("plateau_end", end, ("update at which a plateau ends", "t")),
        ("plateau_length", np.log10(end / start), ("length of a plateau in decades", r"\Delta\log_{10}t")),
    ):
        made |= strips.plain(name, values, words, *grid, "replica", "plateau")
    numbered = {"plateau": ("plateau", np.arange(MOST), {"long_name": "number of a plateau", "units": "1"})}
    lost = int((~alive).sum())
    reasons = [f"{lost} of {alive.size} networks diverged or were not tried"] if lost else []
    return strips.finished(made, "plateaus of the batch loss", numbered, reasons)


def plateaus_of(batch_loss: np.ndarray) -> list[Plateau]:
    """The plateaus of one network.

    Args:
        batch_loss: (U,); where a catapult has overflowed, only what comes after is seen.

    Returns:
        The plateaus in the order of time.
    """
    curve = smoothed(batch_loss)
    unusable = np.flatnonzero(~(np.isfinite(curve.loss) & (curve.loss > 0)))
    usable = slice(unusable[-1] + 1 if unusable.size else 0, None)
    time, height = np.log10(curve.time[usable]), np.log10(curve.loss[usable])
    if time.size < LEAST_RECORDS:
        return []
    centres = np.arange(time[0] + SLOPE_WINDOW / 2, time[-1] - SLOPE_WINDOW / 2, GRID)
    flat = np.abs(_slopes(time, height, centres)) < FLAT
    # Where a run of flat places begins and ends.
    turns = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(np.int8)))
    found = []
    for first, last in zip(turns[::2], turns[1::2] - 1, strict=True):
        start, end = centres[first] - SLOPE_WINDOW / 2, centres[last] + SLOPE_WINDOW / 2
        if end - start >= LEAST_LENGTH * (1 - 1e-9):
            inside = batch_loss[int(np.ceil(10**start)) : int(10**end) + 1].astype(np.float64)
            error = inside.std(ddof=1) / np.sqrt(inside.size) if inside.size > 1 else np.nan
            found.append(Plateau(10**start, 10**end, float(inside.mean()), float(error)))
    return found


def _slopes(time: Floats, height: Floats, centres: Floats) -> Floats:
    """Slope of the line through all records within half a window of each centre; NaN with fewer than three."""
    first, last = (np.searchsorted(time, centres + side * SLOPE_WINDOW / 2) for side in (-1, 1))
    x, y = time - time.mean(), height - height.mean()

    def total(values: Floats) -> Floats:
        sums = np.concatenate([[0.0], np.cumsum(values)])
        return sums[last] - sums[first]

    count = last - first
    lever = count * total(x * x) - total(x) ** 2
    pull = count * total(x * y) - total(x) * total(y)
    return np.divide(pull, lever, out=np.full(centres.shape, np.nan), where=(count >= LEAST_RECORDS) & (lever > 0))
