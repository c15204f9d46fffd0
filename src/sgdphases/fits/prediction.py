"""Displacements predicted without a free constant, from curvature and noise that were measured once at the start.

Three ways (`predicted`): the exact recursion with what no mode has in flat directions, the same with it in a tail of
curvatures, and the paper's (Kunin et al., arXiv 2107.09133, Eqs. 12 and 13), calibrated by the speed at one point.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, logarithm, replica_mean
from sgdphases.fits.bootstrap import jackknife
from sgdphases.fits.curves import mean_over
from sgdphases.fits.exponents import (
    PROTOCOL,
    Protocols,
    exponents,
    interpolated_logarithm,
    protocols_of,
    robust_lattice,
    whole_epochs,
)
from sgdphases.fits.grid import attributes_of, numbers
from sgdphases.fits.intervals import Estimate, normal_estimate
from sgdphases.fits.one_step import one_step
from sgdphases.fits.predicted import exact, paper, tail
from sgdphases.fits.walks import Walks, named, walks_of

FIT = "prediction"
METHODS = ("exact", "tail", "paper")
METHOD = named("method", METHODS, "how the displacement is predicted")
NEEDS = ("global_displacement", "local_displacement", "curvature", "noise", "noise_trace")


def prediction(cube: xr.Dataset) -> xr.Dataset:
    """Predicted displacements and powers of every point beside the measured ones.

    Args:
        cube: With `global_displacement`, `local_displacement`, `curvature`, `noise`, `noise_trace` and the attribute
            `sampler`; `gradient` and `start_gradient_norm` (none count as 0); `curvature_trace` for the paper's way
            and, with the attribute `parameters`, for the tail.

    Returns:
        Over grid, times and method: `predicted_displacement`; over grid and times, and grid and protocol, with `_error`
        what was measured: `measured_displacement` (by replicas), `measured_exponent`. Over grid and method:
        `predicted_one_step`, and with `_error` (jackknife over replicas) `log_distance` (root mean square of
        ln(measured/predicted) over the robust window) and `one_step_log_ratio` (ln of measured over predicted). Over
        grid, protocol and method:
        `predicted_exponent`, and with `_error` `exponent_difference` (predicted less measured). Over all points but the
        reference point, with `_error`: `total_log_distance` and `total_one_step_distance` over method,
        `total_exponent_difference` over protocol and method, root mean squares over points; `held_out_points`. Flag
        `reference` over the grid.

    Raises:
        ValueError: If a variable is missing, or the cube does not say what its sampler is.
    """
    walks = walks_of(cube, FIT, *NEEDS)
    levels = one_step(walks)
    ways = (exact(walks), tail(walks), paper(walks, levels.level.value))
    curves, one = (np.stack(parts, axis=-1) for parts in zip(*ways, strict=True))
    protocols = protocols_of(walks)
    power = np.stack([exponents(curves[..., k], protocols.weight) for k in range(len(METHODS))], axis=-1)
    found = walks.plain(
        "predicted_displacement",
        curves,
        ("predicted mean square displacement", r"E\|\Delta\|^2"),
        walks.grid.clock,
        "method",
    )
    found |= walks.plain("predicted_one_step", one, ("predicted square of one step", r"E\|\delta\|^2"), "method")
    found |= walks.plain("predicted_exponent", power, ("predicted power", "c"), "protocol", "method")
    found |= _errors(walks, levels.replicas, protocols, {"curves": curves, "one": one, "power": power})
    flag = (np.arange(walks.points) == walks.reference).astype(np.int8)
    found |= walks.plain("reference", flag, ("whether the paper's constant is fixed there", r"\chi"))
    reasons = [f"no {name}: taken as 0" for name in ("gradient", "start_gradient_norm") if name not in cube]
    if np.ptp(walks.weight_decay):
        reasons.append("at every weight decay the gradient is taken that the start's own one leaves")
    if "curvature_trace" not in cube:
        reasons.append("no curvature_trace: no prediction in the paper's way")
    if np.isnan(one[:, METHODS.index("tail")]).all():
        reasons.append("curvature_trace, parameters and eigenvectors make no tail")
    if walks.points < 2:
        reasons.append("a single point: none is held out")
    return walks.finished(found, "displacements predicted from the start", PROTOCOL | METHOD, reasons)


def _errors(walks: Walks, levels: Floats, protocols: Protocols, predicted: Mapping[str, Floats]) -> dict[str, tuple]:
    """How far predictions are off, point by point and over all held-out points."""
    square = walks.whole_runs("global_displacement")
    lattices = [(robust_lattice(walks, point), whole_epochs(walks, point)) for point in range(walks.points)]
    out = np.arange(walks.points) != walks.reference
    logs = [
        interpolated_logarithm(step, used, lattice, np.moveaxis(curve, -1, 0))
        for step, (lattice, used), curve in zip(walks.step, lattices, predicted["curves"], strict=True)
    ]
    ways = len(METHODS)
    each_point, all_points = (walks.points, ways), (ways,)
    power = predicted["power"].shape
    shapes = [each_point, each_point, power, all_points, all_points, power[1:]]

    def everything(sample: Floats, each: Floats) -> Floats:
        mean, level = mean_over(sample), mean_over(each)
        course = np.full(each_point, np.nan)
        for point, (step, (lattice, used)) in enumerate(zip(walks.step, lattices, strict=True)):
            if len(lattice):
                apart = interpolated_logarithm(step, used, lattice, mean[point]) - logs[point]
                course[point] = np.sqrt((apart**2).mean(axis=-1))
        one = logarithm(level)[:, None] - np.log(predicted["one"])
        power = predicted["power"] - exponents(mean, protocols.weight)[..., None]
        parts = (course, one, power, *(_root_mean_square(part[out]) for part in (course, one, power)))
        return np.concatenate([part.ravel() for part in parts])

    made = jackknife(everything, (square, levels))
    ends = np.cumsum([0, *map(np.prod, shapes)])
    cut = [
        Estimate(*(np.asarray(p)[a:b].reshape(shape) for p in (made.value, made.error, made.low, made.high)))
        for a, b, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
    ]
    found = walks.described("log_distance", cut[0], ("distance of the logarithms in the window", r"\epsilon"), "method")
    words = ("ln of measured over predicted square of one step", r"\ln R")
    found |= walks.described("one_step_log_ratio", cut[1], words, "method")
    found |= walks.described(
        "exponent_difference", cut[2], ("predicted less measured power", r"\Delta c"), "protocol", "method"
    )
    about = "over all held-out points"
    here = METHODS.index("exact")  # the law is known, so that the error is that of what was measured
    measured = normal_estimate(predicted["power"][..., here] - cut[2].value[..., here], cut[2].error[..., here])
    found |= walks.described("measured_exponent", measured, ("measured power", "c"), "protocol")
    words = ("measured mean square displacement", r"E\|\Delta\|^2")
    found |= walks.described("measured_displacement", replica_mean(square), words, walks.grid.clock)
    found |= numbers("total_log_distance", cut[3], (f"distance of the logarithms {about}", r"\epsilon"), "method")
    found |= numbers("total_one_step_distance", cut[4], (f"error of one step {about}", r"\epsilon"), "method")
    words = (f"error of the power {about}", r"\Delta c")
    found |= numbers("total_exponent_difference", cut[5], words, "protocol", "method")
    return found | {"held_out_points": ((), int(out.sum()), attributes_of(("points that are held out", "n")))}


def _root_mean_square(values: Floats) -> Floats:
    """Over the first axis, of what is known; NaN of nothing."""
    return np.sqrt(mean_over(values**2))
