"""How the quantities of the richness study's claims are read from fits over strips."""

import math
from collections.abc import Callable

import numpy as np
import xarray as xr

from sgdphases.claims.claim import Fits, Measurement, NotReached
from sgdphases.claims.readings import Measure, at
from sgdphases.claims.richness_conditions import RICH, SQUARED, layers_of, losses_of, same
from sgdphases.ensemble.status import TRAINED, UNTRIED

NEAR = 0.15
"""Decades within which a learning rate stands for another."""

HOLE = 7.5
"""Lazy networks under cross-entropy that T steps leave finite and untrained: from about γ² to 7.5 γ/√T, in theory."""

Over = Callable[[np.ndarray], float]


def part_of(cube: xr.Dataset, labelled: xr.Dataset, layers: int, loss: str = SQUARED) -> xr.Dataset:
    """A cube, or a fit of it, at one depth and one loss.

    Args:
        cube: The cube.
        labelled: What is wanted of it.
        layers: Number of layers.
        loss: Word of the loss.

    Returns:
        The same without those two axes.

    Raises:
        NotReached: If there are no such networks.
    """
    wanted = {"depth": (layers_of(cube).tolist(), layers, f"{layers} layers")}
    wanted |= {"loss": (losses_of(cube), loss, f"loss {loss}")}
    for dim, (have, value, words) in wanted.items():
        if value not in have:
            raise NotReached(f"needs {words}")
        labelled = labelled.isel({dim: have.index(value)}) if dim in labelled.dims else labelled
    return labelled


def variable(
    cube: xr.Dataset, fits: Fits, fit: str, name: str, layers: int, *, loss: str = SQUARED, **places: float | str
) -> xr.DataArray:
    """A variable of a fit at one depth and loss, at the last step, without axes of one value.

    Args:
        cube: The cube.
        fits: Its fits.
        fit: Name of the fit.
        name: Name of the variable.
        layers: Number of layers.
        loss: Word of the loss.
        **places: Coordinate to value.

    Returns:
        The values over what is left.

    Raises:
        NotReached: If there is no such variable or value.
    """
    found = part_of(cube, fits[fit], layers, loss)
    if name not in found:
        raise NotReached(f"the fit {fit} gives no {name} here")
    array = at(found[name], places)
    array = array.isel(step=-1) if "step" in array.dims else array
    return array.isel({dim: 0 for dim, size in array.sizes.items() if size == 1 and dim != "replica"})


def fitted(fit: str, name: str, layers: int, *, loss: str = SQUARED, **places: float | str) -> Measure:
    """A number that a fit gives at one depth and loss, with its error.

    Args:
        fit: Name of the fit.
        name: Name of the variable.
        layers: Number of layers.
        loss: Word of the loss.
        **places: Coordinate to value.

    Returns:
        The reading.
    """

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        array = variable(cube, fits, fit, name, layers, loss=loss, **places)
        if array.ndim:
            raise NotReached(f"the fit {fit} gives {name} of several networks, over {', '.join(map(str, array.dims))}")
        if not math.isfinite(float(array)):
            raise NotReached(f"the fit {fit} gives no value of {name} here{_why(fits, fit)}")
        error = f"{name}_error"
        known = error in fits[fit]
        spread = float(variable(cube, fits, fit, error, layers, loss=loss, **places)) if known else math.nan
        return Measurement(float(array), spread)

    return measure


def _why(fits: Fits, fit: str) -> str:
    return f" ({fits[fit].attrs['reason']})" if fits[fit].attrs.get("reason") else ""


def along_richness(
    fit: str,
    name: str,
    layers: int,
    over: Over,
    *,
    least: float = 0.0,
    most: float = math.inf,
    **places: float | str,
) -> Measure:
    """What a fit's values over the richness come to.

    Args:
        fit: Name of the fit.
        name: Name of the variable.
        layers: Number of layers.
        over: From the values that there are to a number; of a mean the error is that of their scatter.
        least: Least richness.
        most: Largest richness.
        **places: Coordinate to value.

    Returns:
        The reading.
    """

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        values = chosen(variable(cube, fits, fit, name, layers, **places), least, most)
        known = values[np.isfinite(values)]
        if not known.size:
            raise NotReached(f"the fit {fit} gives no value of {name} here{_why(fits, fit)}")
        error = known.std(ddof=1) / math.sqrt(known.size) if over is np.mean and known.size > 1 else math.nan
        words = f"{known.size} of {values.size} values of the richness, from {known.min():.3g} to {known.max():.3g}"
        return Measurement(float(over(known)), float(error), words)

    return measure


def chosen(array: xr.DataArray, least: float = 0.0, most: float = math.inf) -> np.ndarray:
    """Values of an array over the richness, between two of its values; raises NotReached if it has other axes."""
    if array.dims != ("richness",):
        raise NotReached(f"needs values over the richness alone, has {', '.join(map(str, array.dims)) or 'one'}")
    richness = array["richness"].values
    return array.values[(richness >= least * (1 - 1e-6)) & (richness <= most * (1 + 1e-6))]


def surest(**measures: Measure) -> Measure:
    """Of some readings of one number the one with the least error, with all of them as a remark."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found, reasons = {}, []
        for name, reading in measures.items():
            try:
                found[name] = reading(cube, fits)
            except NotReached as error:
                reasons.append(str(error))
        if not found:
            raise NotReached("; ".join(reasons))
        words = ", ".join(f"{name} {one.value:.2f} ± {one.error:.1g}" for name, one in found.items())
        best = min(found.values(), key=lambda one: one.error if math.isfinite(one.error) else math.inf)
        return Measurement(best.value, best.error, words)

    return measure


def in_errors(measure: Measure, expected: float) -> Measure:
    """How many of its standard errors a reading lies above what is expected."""

    def scaled(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = measure(cube, fits)
        if not found.error > 0:
            raise NotReached("needs a standard error")
        return Measurement((found.value - expected) / found.error, 1.0, f"{found.value:.3f} ± {found.error:.2g}")

    return scaled


def with_others(measure: Measure, **others: Measure) -> Measure:
    """A reading with others as a remark, where there are any."""

    def both(cube: xr.Dataset, fits: Fits) -> Measurement:
        found, words = measure(cube, fits), []
        for name, other in others.items():
            try:
                words.append(f"{name} {other(cube, fits).value:.2f}")
            except NotReached:
                continue
        return Measurement(found.value, found.error, "; ".join(filter(None, [found.remark, ", ".join(words)])))

    return both


def with_hole(measure: Measure) -> Measure:
    """A reading of lazy networks under cross-entropy, with the learning rates that are left finite and untrained."""

    def both(cube: xr.Dataset, fits: Fits) -> Measurement:
        found, steps = measure(cube, fits), int(cube["step"].max())
        words = f"in theory {steps} steps leave γ² to {HOLE / math.sqrt(steps):.2g} γ finite but untrained"
        return Measurement(found.value, found.error, "; ".join(filter(None, [found.remark, words])))

    return both


def with_axis(measure: Measure) -> Measure:
    """A reading of drops, with a remark where networks of different richness do not make steps of one τ = ηt/γ."""

    def both(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = measure(cube, fits)
        words = "" if same(cube, "rate_over_richness") else "steps of different η/γ"
        return Measurement(found.value, found.error, "; ".join(filter(None, [found.remark, words])))

    return both


def stair_level(layers: int, least: float, *, last: bool) -> Measure:
    """Batch loss on the first or last stair of networks with at least two, from some richness on."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        count, level = (
            variable(cube, fits, "plateaus", name, layers).transpose("replica", "richness", ...)
            for name in ("stair_count", "plateau_level")
        )
        if count.ndim > 2:
            raise NotReached(f"needs one learning rate for each richness, has the axis {count.dims[-1]}")
        place = np.clip(count.fillna(1).astype(int) - 1, 0, level.sizes["plateau"] - 1) if last else 0
        there = level.isel(plateau=place).where((count >= 2) & (count["richness"] >= least * (1 - 1e-6)))
        each = there.mean("richness", skipna=True).values
        each = each[np.isfinite(each)]
        if not each.size:
            raise NotReached("no network has two stairs")
        error = each.std(ddof=1) / math.sqrt(each.size) if each.size > 1 else math.nan
        return Measurement(float(each.mean()), float(error))

    return measure


def edge_at_drop(layers: int, *, of: str, share: float) -> Measure:
    """Learning rate times curvature at the drop of rich networks, at a share of a learning rate; mean over richness.

    Args:
        layers: Number of layers.
        of: `largest`, the largest learning rate that trains, if the one tried next above it does not; `best`, that of
            the least test loss.
        share: The share.

    Returns:
        The reading.
    """

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        edge = variable(cube, fits, "sharpness", "drop_edge", layers)
        if edge.ndim != 2:
            raise NotReached(f"needs several learning rates for each richness to find the {of} one")
        rate_axis = next(str(dim) for dim in edge.dims if dim != "richness")
        order = ("richness", rate_axis)
        strips = part_of(cube, cube, layers).isel(step=-1).sortby(list(order))
        status = strips["status"].transpose("replica", *order).values
        loss = np.log(strips["test_loss"].transpose("replica", *order).values.astype(np.float64))
        rates = np.log10(strips["learning_rate"].broadcast_like(strips["status"].isel(replica=0)).transpose(*order))
        rich = edge["richness"].values >= RICH[0] * (1 - 1e-6)
        found = []
        for row in np.flatnonzero(rich):
            place = _place(status[:, row], loss[:, row].mean(axis=0), of)
            if place < 0:
                continue
            aim = np.abs(rates.values[row] - rates.values[row, place] - math.log10(share))
            if aim.min() <= NEAR:
                found.append(float(edge.transpose(*order).values[row, int(aim.argmin())]))
        each = np.array(found)[np.isfinite(found)]
        if not each.size:
            raise NotReached(f"needs a learning rate near {share:g} of the {of} one that trains")
        error = each.std(ddof=1) / math.sqrt(each.size) if each.size > 1 else math.nan
        return Measurement(float(each.mean()), float(error), f"{each.size} values of the richness")

    return measure


def _place(status: np.ndarray, loss: np.ndarray, of: str) -> int:
    """Place of the largest or best learning rate on a strip (R, E); -1 if it is not known."""
    tried = np.flatnonzero((status != UNTRIED).all(axis=0))
    learned = (status[:, tried] >= TRAINED).all(axis=0)
    if not learned.any():
        return -1
    best = int(np.where(learned, loss[tried], np.inf).argmin())
    if of == "best":
        return int(tried[best])
    bad = np.flatnonzero(~learned[best:])
    return int(tried[best + bad[0] - 1]) if bad.size else -1
