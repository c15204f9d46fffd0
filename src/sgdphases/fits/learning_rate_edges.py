"""Where learning rates begin to train, train best and cease to be stable, strip by strip and step by step.

An edge is known to lie between two learning rates that were tried: the last good one and the next bad one. Nothing is
read into the cell between; a value that is quoted is its middle. Source: Atanasov, Meterez, Simon, Pehlevan,
arXiv 2410.04642, Fig. 1 (largest finite learning rates, one criterion of three).
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sgdphases.ensemble import status as states
from sgdphases.fits.arrays import Floats, logarithm, replica_mean
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.curves import mean_over
from sgdphases.fits.intervals import Estimate, normal_estimate
from sgdphases.fits.strips import Strips, at_least, at_places, best_places, geometric, strips_of

RESAMPLES = 200

FIT = "learning_rate_edges"
NEEDS = ("status", "test_loss", "batch_loss")

CRITERION = {
    "criterion": ("criterion", np.arange(len(states.CRITERIA)), {"long_name": "criterion", "units": "1"}),
    "criterion_name": ("criterion", list(states.CRITERIA), {"long_name": "what ends the stable range"}),
}
STATE = {
    "state": ("state", np.array(list(states.STATUS), dtype=np.int8), {"long_name": "state", "units": "1"}),
    "state_name": ("state", list(states.STATUS.values()), {"long_name": "what has become of a network"}),
}
"""Coordinates of the dimensions `criterion` and `state`."""


@dataclass(frozen=True)
class Edges:
    """Ends of the range of learning rates that train, in decades of the learning rate.

    An end is between `low` and `high`; -inf and inf where nothing was tried on that side; both NaN where no network is
    good, so that there is no end.

    Attributes:
        largest_low: (R, O, G, T, criterion): the largest good learning rate.
        largest_high: (R, O, G, T, criterion): the smallest bad one above it.
        smallest_low: (R, O, G, T): the largest learning rate below all that have learned.
        smallest_high: (R, O, G, T): the smallest that has learned.
        best: (O, G, T): where the replicas' mean of the logarithm of the test loss is least.
        best_error: (O, G, T).
        best_of_replica: (R, O, G, T).
        best_place: (O, G, T): the place on the lattice, -1 for none.
    """

    largest_low: Floats
    largest_high: Floats
    smallest_low: Floats
    smallest_high: Floats
    best: Floats
    best_error: Floats
    best_of_replica: Floats
    best_place: np.ndarray


def learning_rate_edges(cube: xr.Dataset) -> xr.Dataset:
    """Largest, best and smallest learning rate of every strip, in decades.

    Args:
        cube: With `status`, `test_loss`, `batch_loss`, and `bracket` where a search has refined the edges.

    Returns:
        Over the grid without the learning rate and step: `log_largest_rate` (also over `criterion`: finite, trained,
        calm) and `log_smallest_rate`, mean over the replicas of the middles of the intervals, its `_error` the larger
        of their standard error and of what the interval leaves open; `log_best_rate` (least mean logarithm of the test
        loss, with a parabola where both neighbours are finite), its `_error` the largest of the replicas' standard
        deviation, the bootstrap's and a quarter of a cell; `best_test_loss` (geometric mean) and `best_test_accuracy`
        there, with `_error`; `status_count` (networks, also over `state`). Also over replica
        `log_largest_rate_low`, `_high`, `log_smallest_rate_low`, `_high` (NaN low: not known from below; NaN high: not
        known from above; both: there is no such learning rate) and `log_best_rate_of_replica`.

    Raises:
        ValueError: If the cube lacks one of the variables.
    """
    strips = strips_of(cube, FIT, *NEEDS)
    edges = edges_of(strips)
    found: dict[str, tuple] = {}
    for name, words, low, high, own in (
        ("log_largest_rate", ("largest learning rate", r"\log_{10}\eta_\mathrm{max}"), *_largest(edges), ["criterion"]),
        (
            "log_smallest_rate",
            ("smallest learning rate that trains", r"\log_{10}\eta_\mathrm{min}"),
            edges.smallest_low,
            edges.smallest_high,
            [],
        ),
    ):
        found |= strips.described(name, middles(low, high), words, "richness", "step", *own)
        for side, values in (("low", low), ("high", high)):
            shown = np.moveaxis(np.where(np.isfinite(values), values, np.nan), 0, 2)
            about = (f"{words[0]}, {side} end of its interval", words[1])
            found |= strips.plain(f"{name}_{side}", shown, about, "richness", "replica", "step", *own)
    found |= _best(strips, edges)
    found |= _counts(strips)
    missing = np.isnan(edges.best[..., -1])
    reasons = (
        [f"nothing has learned at {missing.sum()} of {missing.size} values of the richness"] if missing.any() else []
    )
    return strips.finished(found, "edges of the learning rates that train", CRITERION | STATE, reasons)


def _largest(edges: Edges) -> tuple[Floats, Floats]:
    return edges.largest_low, edges.largest_high


def edges_of(strips: Strips) -> Edges:
    """The ends of all strips at all recorded steps.

    Args:
        strips: With `status`, `test_loss` and `batch_loss`.

    Returns:
        The ends; at the last step those of the search's brackets, where it left any.
    """
    status = strips.values("status", "step")
    loss = strips.values("test_loss", "step")
    growth = states.loss_growth(strips.values("batch_loss", "update"), strips.steps.tolist())
    largest = _lattice_edges(strips, status, states.calm(status, growth), loss)
    if "bracket" in strips.cube:
        _refine(strips, largest)
    smallest = _smallest(strips, status)
    return Edges(*largest, *smallest, *_best_rates(strips, status, loss))


def middles(low: Floats, high: Floats) -> Estimate:
    """Mean over replicas of the middles of intervals that are finite on both sides.

    Args:
        low: (R, ...).
        high: (R, ...).

    Returns:
        Estimate (...): its error is that of the replicas' scatter, or that of a value anywhere in the interval
        (width/√12, the same for all replicas), whichever is larger.
    """
    both = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(both, low, np.nan), np.where(both, high, np.nan)
    return at_least(replica_mean((low + high) / 2), mean_over(high - low) / np.sqrt(12))


def _lattice_edges(strips: Strips, status: np.ndarray, calm: np.ndarray, loss: np.ndarray) -> tuple[Floats, Floats]:
    """Ends of the three criteria between neighbours on the lattice, (R, O, G, T, criterion)."""
    replicas, others, richness, _, times = status.shape
    low = np.full((replicas, others, richness, times, len(states.CRITERIA)), np.nan)
    high = low.copy()
    for place in np.ndindex(low.shape[:-1]):
        network = (*place[:3], slice(None), place[3])
        rates = strips.rates[place[1], place[2]]
        good, bad = states.edges(status[network], calm[network], loss[network]).T
        low[place] = np.where(good >= 0, rates[good], np.nan)
        high[place] = np.where(good >= 0, np.where(bad >= 0, rates[bad], np.inf), np.nan)
    return low, high


def _refine(strips: Strips, largest: tuple[Floats, Floats]) -> None:
    """Put the search's brackets in the place of the lattice's at the last step."""
    with np.errstate(invalid="ignore"):
        logarithm = np.log10(strips.values("bracket", "criterion", "side").astype(np.float64))
    good, bad = (np.fmax.reduce(logarithm[..., side], axis=3) for side in range(2))
    known = np.isfinite(good)
    low, high = largest
    low[..., -1, :] = np.where(known, good, low[..., -1, :])
    high[..., -1, :] = np.where(known, np.where(np.isfinite(bad), bad, np.inf), high[..., -1, :])


def _smallest(strips: Strips, status: np.ndarray) -> tuple[Floats, Floats]:
    """Smallest learning rate that has learned and the next one below that was tried, (R, O, G, T)."""
    rates = strips.rates[None, ..., None]
    learned = status >= states.TRAINED
    high = np.where(learned, rates, np.inf).min(axis=3)
    below = (status != states.UNTRIED) & (rates < high[:, :, :, None])
    low = np.where(below, rates, -np.inf).max(axis=3)
    none = ~learned.any(axis=3)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def _best_rates(strips: Strips, status: np.ndarray, loss: np.ndarray) -> tuple[Floats, Floats, Floats, np.ndarray]:
    """Best learning rates with their errors, those of single replicas, and their places."""
    learned = np.moveaxis(status >= states.TRAINED, 3, -1)
    values = np.moveaxis(np.where(status > states.NONFINITE, loss, np.nan), 3, -1).astype(np.float64)
    rates = np.broadcast_to(strips.rates[:, :, None], values.shape[1:])

    def best(losses: Floats, trained: np.ndarray) -> Floats:
        places = best_places(losses, trained)
        # A neighbour that one replica did not survive is none.
        return _vertex(rates, logarithm(losses).mean(axis=0), places)

    each = np.stack([best(values[[r]], learned[[r]]) for r in range(len(values))])
    known = np.isfinite(each)
    deviation = np.sqrt(mean_over((each - mean_over(each)) ** 2) * known.sum(0) / np.maximum(known.sum(0) - 1, 1))
    resampled = bootstrap(best, (values, learned), resamples=RESAMPLES)
    place = best_places(values, learned)
    error = np.fmax(np.fmax(deviation, resampled.error), _cell(strips.rates)[:, :, None] / 4)
    return resampled.value, np.where(np.isfinite(resampled.value), error, np.nan), each, place


def _vertex(rates: Floats, height: Floats, places: np.ndarray) -> Floats:
    """Rate at a place, moved to the vertex of the parabola through it and its neighbours where both are finite."""
    last = rates.shape[-1] - 1
    around = [np.clip(places + shift, 0, last)[..., None] for shift in (-1, 0, 1)]
    (x0, x1, x2), (y0, y1, y2) = (
        [np.take_along_axis(values, place, axis=-1)[..., 0] for place in around] for values in (rates, height)
    )
    left, right = (x1 - x0) * (y1 - y2), (x1 - x2) * (y1 - y0)
    shift = ((x1 - x0) * left - (x1 - x2) * right) / np.where(left != right, 2 * (left - right), np.nan)
    inside = (places > 0) & (places < last) & np.isfinite(shift) & (y0 > y1) & (y2 > y1)
    return np.where(places < 0, np.nan, np.where(inside, x1 - np.where(inside, shift, 0.0), x1))


def _cell(rates: Floats) -> Floats:
    """Width of the lattice's cells, (O, G); 0 with a single learning rate."""
    return np.ptp(rates, axis=-1) / max(rates.shape[-1] - 1, 1)


def _best(strips: Strips, edges: Edges) -> dict[str, tuple]:
    """Best learning rates and what is reached there."""
    own = ("richness", "step")
    words = ("learning rate of the least test loss", r"\log_{10}\eta^\ast")
    found = strips.described("log_best_rate", normal_estimate(edges.best, edges.best_error), words, *own)
    each = np.moveaxis(edges.best_of_replica, 0, 2)
    about = (f"{words[0]}, replica by replica", words[1])
    found |= strips.plain("log_best_rate_of_replica", each, about, "richness", "replica", "step")
    places = edges.best_place
    loss = np.stack(
        [at_places(strips.values("test_loss", "step")[..., t], places[..., t]) for t in range(places.shape[-1])],
        axis=-1,
    )
    found |= strips.described("best_test_loss", geometric(loss), ("least test loss", r"L_\mathrm{test}"), *own)
    if "test_accuracy" in strips.cube:
        accuracy = strips.values("test_accuracy", "step")
        there = np.stack([at_places(accuracy[..., t], places[..., t]) for t in range(places.shape[-1])], axis=-1)
        words = ("test accuracy at the least test loss", "a")
        found |= strips.described("best_test_accuracy", replica_mean(there), words, *own)
    return found


def _counts(strips: Strips) -> dict[str, tuple]:
    """How many networks of each value of the richness have come to what, over learning rates and replicas."""
    status = strips.values("status", "step")
    count = np.stack([(status == state).sum(axis=(0, 3)) for state in states.STATUS], axis=-1)
    words = ("networks by what has become of them", "n")
    return strips.plain("status_count", count, words, "richness", "step", "state")
