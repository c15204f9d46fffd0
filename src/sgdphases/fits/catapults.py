"""Catapults: learning rates at which the loss first shoots up and then falls, and how high it goes with the richness.

Expected of squared errors and lazy networks: a band of learning rates at γ², less than a decade wide, and a peak that
goes as γ^-2, since the output goes as 1/γ. Sources: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642, Fig. 4a.
"""

import numpy as np
import xarray as xr

from sgdphases.ensemble import status as states
from sgdphases.fits.arrays import Floats
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.interval_lines import bootstrapped_lines
from sgdphases.fits.learning_rate_edges import NEEDS, Edges, edges_of, middles
from sgdphases.fits.rate_lines import shaped
from sgdphases.fits.strips import Strips, strips_of

FIT = "catapults"
RESAMPLES = 200

ROUNDING = 1e-3
"""Decades within which two values of η/γ² are one."""


def catapults(cube: xr.Dataset) -> xr.Dataset:
    """Peaks of the loss, the band of learning rates that catapult, and the power of the richness in the peak.

    Args:
        cube: With `status`, `test_loss`, `batch_loss`; `bracket` where a search has refined the edges.

    Returns:
        Over the grid and replica `log_peak`, decades of the largest batch loss over the first, of networks that are
        finite at the end. Over the grid without the learning rate, with `_error`, in decades: `finite_band` and
        `trained_band`, from the largest calm learning rate to the largest finite one and to the largest one that
        trains; `edge_log_peak`, the peak at the largest finite learning rate, and `catapult_count`. Of lazy networks,
        over the other axes, with `_error`, `_low`, `_high`: `edge_peak_exponent`, power of the richness in the peak at
        the largest finite learning rate, and `scaled_peak_exponent`, the same at given η/γ² (one line each, one
        slope); `edge_peak_points`, `scaled_peak_points`. Only catapults count: peaks of more than twice the start.

    Raises:
        ValueError: If the cube lacks one of the variables.
    """
    strips = strips_of(cube, FIT, *NEEDS)
    peak = _peaks(strips)
    grid = ("richness", strips.rate_axis)
    words = ("largest batch loss over the first", r"\log_{10}(L_\mathrm{max}/L_0)")
    found = strips.plain("log_peak", np.moveaxis(peak, 0, 3), words, *grid, "replica")
    found |= _bands(strips, edges_of(strips))
    shot = np.where(peak > np.log10(states.CATAPULT), peak, np.nan)
    found |= strips.plain("catapult_count", np.isfinite(shot).sum(axis=(0, 3)), ("catapults", "n"), "richness")
    finite = np.isfinite(peak)
    last = peak.shape[-1] - 1 - finite[..., ::-1].argmax(axis=-1)
    edge = np.take_along_axis(shot, last[..., None], axis=-1)[..., 0]
    about = ("peak of the loss at the largest finite learning rate", words[1])
    found |= strips.described("edge_log_peak", middles(edge, edge), about, "richness")
    found |= _edge_power(strips, edge) | _scaled_power(strips, shot)
    reasons = [
        f"no catapults of lazy networks {where} at two values of the richness"
        for where, name in (
            ("at the largest finite learning rate", "edge"),
            ("at one learning rate over the squared richness", "scaled"),
        )
        if np.isnan(found[f"{name}_peak_exponent"][1]).any()
    ]
    return strips.finished(found, "catapults of the loss", reasons=reasons)


def _peaks(strips: Strips) -> Floats:
    """Decades of the largest batch loss over the first, (R, O, G, E), NaN where the end or the peak is not finite."""
    growth = states.loss_growth(strips.values("batch_loss", "update"), strips.steps[-1:].tolist())[..., 0]
    alive = strips.values("status", "step")[..., -1] > states.NONFINITE
    return np.log10(np.where(alive & (growth > 0) & np.isfinite(growth), growth, np.nan))


def _bands(strips: Strips, edges: Edges) -> dict[str, tuple]:
    """Widths between the edges of the criteria at the last step."""
    low, high = edges.largest_low[..., -1, :], edges.largest_high[..., -1, :]
    calm = states.CRITERIA.index("calm")
    found: dict[str, tuple] = {}
    for name in ("finite", "trained"):
        place = states.CRITERIA.index(name)
        width = middles(low[..., place] - high[..., calm], high[..., place] - low[..., calm])
        words = (f"decades from the calm to the {name} edge", r"\Delta\log_{10}\eta")
        found |= strips.described(f"{name}_band", width, words, "richness")
    return found


def _edge_power(strips: Strips, edge: Floats) -> dict[str, tuple]:
    """Power of the richness in the peak at the largest finite learning rate, (R, O, G)."""
    lazy = strips.regime("lazy")
    peaks = np.moveaxis(edge, 2, 1)[:, lazy]
    slope, _, _ = bootstrapped_lines(strips.richness[lazy], peaks, peaks)
    words = ("power of the richness in the peak at the largest finite learning rate", r"d\ln L_\mathrm{max}/d\ln\gamma")
    found = strips.described("edge_peak_exponent", shaped(slope, peaks.shape[2:]), words, interval=True)
    count = np.isfinite(peaks).sum(axis=(0, 1))
    return found | strips.plain("edge_peak_points", count, ("peaks in the line", "n"))


def _scaled_power(strips: Strips, shot: Floats) -> dict[str, tuple]:
    """Power of the richness in the peak at given η/γ²: lines of one slope, one for each η/γ²."""
    lazy = strips.regime("lazy")
    replicas, others, _, places = shot.shape
    scaled = (strips.rates - 2 * strips.richness[:, None])[:, lazy]
    groups, group = np.unique(np.round(scaled / ROUNDING), return_inverse=True)
    group = group.reshape(scaled.shape)
    table = np.full((replicas, int(lazy.sum()), others, len(groups)), np.nan)
    for other, row, place in np.ndindex(others, int(lazy.sum()), places):
        table[:, row, other, group[other, row, place]] = shot[:, other, lazy][:, row, place]
    x = np.tile(strips.richness[lazy], replicas)
    cells = table.reshape(len(x), others, len(groups))

    def read(place: Floats, peaks: Floats) -> Floats:
        known = np.isfinite(peaks)
        count = np.maximum(known.sum(axis=0), 1)
        where = np.where(known, place[:, None, None], 0.0)
        height = np.where(known, peaks, 0.0)
        arm = np.where(known, where - where.sum(axis=0) / count, 0.0)
        lever = (arm**2).sum(axis=(0, 2))
        pull = (arm * (height - height.sum(axis=0) / count)).sum(axis=(0, 2))
        return np.divide(pull, lever, out=np.full(lever.shape, np.nan), where=lever > 1e-12)

    slope = bootstrap(read, (x, cells), resamples=RESAMPLES, freedom=len(x) - 2, widened=False)
    words = ("power of the richness in the peak at given learning rate over squared richness", r"d\ln L/d\ln\gamma")
    found = strips.described("scaled_peak_exponent", slope, words, interval=True)
    count = np.isfinite(cells).sum(axis=(0, 2))
    return found | strips.plain("scaled_peak_points", count, ("peaks in the lines", "n"))
