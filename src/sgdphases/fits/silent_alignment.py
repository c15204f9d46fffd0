"""How much of its final alignment with the labels the tangent kernel has gained when the loss begins to drop.

The time is that at which the batch loss has fallen to 0.95 of the best constant answer's, behind the first stair.
Source: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642, Figs. 4b and 5b (silent alignment).
"""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, replica_mean
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.curves import mean_over
from sgdphases.fits.drops import BASELINES, LEVELS, drop_times
from sgdphases.fits.strips import Strips, strips_of

FIT = "silent_alignment"
LEVEL = LEVELS.index(0.95)
LEAST_GAIN = 0.05
"""Alignment that must be gained in all for a share of it to be quoted: lazy kernels gain none."""

NAMES = {
    "silent_share": ("share of the final gain in alignment at the drop", r"\Delta A(t_1)/\Delta A"),
    "silent_share_before": ("share of the final gain in alignment at the last record before the drop", r"\Delta A/A"),
    "alignment_at_drop": ("alignment of the tangent kernel with the labels at the drop", r"A(t_1)"),
    "alignment_gain": ("final gain in alignment of the tangent kernel with the labels", r"\Delta A"),
    "silent_step": ("updates until the drop", "t_1"),
}


def silent_alignment(cube: xr.Dataset) -> xr.Dataset:
    """Alignment before the loss drops.

    Args:
        cube: With `ntk_alignment`, `batch_loss`, `constant_loss` and `status`.

    Returns:
        Over the grid, means over replicas with `_error`: `silent_share` (alignment between records by a straight line
        in the step; NaN where less than 0.05 is gained or the network has not learned), `silent_share_before` (at the
        last record before), `alignment_at_drop`, `alignment_gain`, `silent_step`. `rich_silent_share` without richness:
        mean of `silent_share` over richness ≥ 10.

    Raises:
        ValueError: If the cube lacks one of the variables.
    """
    strips = strips_of(cube, FIT, "ntk_alignment", "batch_loss", "constant_loss", "status")
    time = drop_time(strips)
    learned = strips.trained()[..., -1]
    parts = np.full((len(NAMES), *time.shape), np.nan)
    alignment = strips.values("ntk_alignment", "step").astype(np.float64)
    for network in zip(*np.nonzero(np.isfinite(time) & learned), strict=True):
        parts[(slice(None), *network)] = _read(strips.steps, alignment[network], float(time[network]))
    grid = ("richness", strips.rate_axis)
    found: dict[str, tuple] = {}
    for values, (name, words) in zip(parts, NAMES.items(), strict=True):
        found |= strips.described(name, replica_mean(values), words, *grid)
    rich = strips.regime("rich")

    def over_rich(share: Floats) -> Floats:
        return mean_over(np.moveaxis(mean_over(share)[:, rich], 1, 0)) if rich.any() else share[0, :, 0] * np.nan

    words = ("share of the final gain in alignment at the drop, rich networks", NAMES["silent_share"][1])
    found |= strips.described("rich_silent_share", bootstrap(over_rich, parts[0]), words, strips.rate_axis)
    missing = np.isnan(parts[0]).all(axis=(0, 1, 3))
    reasons = [f"no drop, or too little alignment gained, at {missing.sum()} of {missing.size} values of the richness"]
    return strips.finished(found, "alignment before the loss drops", reasons=reasons if missing.any() else [])


def drop_time(strips: Strips) -> Floats:
    """Updates until the loss has fallen 5 % below the best constant answer's, (R, O, G, E)."""
    return drop_times(strips)[..., LEVEL, BASELINES.index("constant")]


def _read(steps: np.ndarray, alignment: Floats, time: float) -> Floats:
    """Values of `NAMES` for one network."""
    known = np.isfinite(alignment)
    step, height = steps[known].astype(np.float64), alignment[known]
    if step.size < 2 or step[0] != 0 or step[-1] != steps[-1]:
        return np.full(len(NAMES), np.nan)
    gain = height[-1] - height[0]
    there = np.interp(time, step, height)
    before = height[np.searchsorted(step, time, side="right") - 1]
    total = gain if gain >= LEAST_GAIN else np.nan
    return np.array([(there - height[0]) / total, (before - height[0]) / total, there, gain, time])
