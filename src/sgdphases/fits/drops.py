"""When the loss first drops: times at which a short mean of the batch loss falls below shares of where it came from."""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sgdphases.fits.arrays import Floats
from sgdphases.fits.curves import rise
from sgdphases.fits.strips import Strips

WINDOW = 8
"""Updates in the mean."""

LEVELS = (0.99, 0.97, 0.95, 0.9, 0.75, 0.5)
"""Shares of the baseline."""

BASELINES = ("start", "constant")
"""What shares are taken of: the loss at the start (a centred network answers 0 then), or that of the best constant
answer. They differ where targets have a mean: its learning is the first stair, from 0.1 to 0.09 for ten classes."""

DROPS = {
    "level": ("level", np.array(LEVELS), {"long_name": "share of the baseline", "units": "1", "symbol": "q"}),
    "baseline": ("baseline", np.arange(len(BASELINES)), {"long_name": "baseline", "units": "1"}),
    "baseline_name": ("baseline", list(BASELINES), {"long_name": "loss that shares are taken of"}),
}
"""Coordinates of the dimensions `level` and `baseline`."""


class Curve(NamedTuple):
    """A smoothed loss.

    Attributes:
        time: Updates before the loss was seen, mean over each window, (U - 7,).
        loss: (..., U - 7); NaN from where a network is no more.
    """

    time: Floats
    loss: Floats


def smoothed(batch_loss: np.ndarray) -> Curve:
    """Mean of the batch loss over 8 updates; a time is the middle of its window.

    Args:
        batch_loss: (..., U).

    Returns:
        The curve; empty with fewer updates.
    """
    updates = batch_loss.shape[-1]
    if updates < WINDOW:
        return Curve(np.empty(0), np.empty((*batch_loss.shape[:-1], 0)))
    means = sliding_window_view(batch_loss, WINDOW, axis=-1).mean(axis=-1, dtype=np.float64)
    return Curve(np.arange(updates - WINDOW + 1) + (WINDOW - 1) / 2, means)


def baselines(strips: Strips) -> Floats:
    """Losses that shares are taken of, (R, O, G, E, baseline)."""
    start = strips.values("batch_loss", "update")[..., 0]
    constant = strips.values("constant_loss")
    return np.stack([start, np.broadcast_to(constant, start.shape)], axis=-1).astype(np.float64)


def drop_times(strips: Strips) -> Floats:
    """Updates after which every network's loss first falls below every level.

    Args:
        strips: With `batch_loss` and `constant_loss`.

    Returns:
        Times, interpolated between windows, (R, O, G, E, level, baseline); NaN where the loss does not fall so far, or
        is below from the first window on.
    """
    loss, base = strips.values("batch_loss", "update"), baselines(strips)
    found = np.full((*base.shape[:-1], len(LEVELS), len(BASELINES)), np.nan)
    for network in np.ndindex(base.shape[:-1]):
        # One network at a time: all smoothed curves of a long card would not fit into memory.
        curve = smoothed(loss[network])
        for level, share in enumerate(LEVELS):
            for place, height in enumerate(base[network]):
                found[(*network, level, place)] = rise(curve.time, -curve.loss, -share * height)
    return found
