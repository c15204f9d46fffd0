"""Boundaries: where a curve crosses a level, and the line that this draws through a map.

Axes are read logarithmically (temperatures, learning rates). Values are read linearly (fractions) or logarithmically
(losses).
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.intervals import Estimate
from sgdphases.fits.power_law import Average, PowerLaw, fit_power_law, replica_average

Floats = NDArray[np.float64]
Direction = Literal["any", "falling", "rising"]


def crossing(
    axis: ArrayLike,
    values: ArrayLike,
    level: float,
    *,
    log_values: bool = False,
    direction: Direction = "any",
    which: Literal["first", "last"] = "first",
) -> float:
    """Place on a logarithmic axis where a curve crosses a level, interpolated between neighbouring points.

    Args:
        axis: Positive, ascending, shape (n,).
        values: Shape (n,); points that are NaN (or not positive with `log_values`) are skipped.
        level: The level.
        log_values: Interpolate the logarithm of the values.
        direction: Only crossings in this direction along the axis.
        which: The first or the last of several crossings.

    Returns:
        The place, NaN if the curve does not cross.
    """
    place, height = np.log(np.asarray(axis, dtype=np.float64)), np.asarray(values, dtype=np.float64)
    usable = np.isfinite(height) & ((height > 0) | (not log_values))
    place, height = place[usable], height[usable]
    height = np.log(height) - np.log(level) if log_values else height - level
    falls = (height[:-1] >= 0) & (height[1:] < 0)
    rises = (height[:-1] < 0) & (height[1:] >= 0)
    found = np.flatnonzero({"any": falls | rises, "falling": falls, "rising": rises}[direction])
    if not found.size:
        return float("nan")
    index = found[0 if which == "first" else -1]
    share = height[index] / (height[index] - height[index + 1])
    return float(np.exp(place[index] + share * (place[index + 1] - place[index])))


def midpoint_crossing(axis: ArrayLike, values: ArrayLike, level: float) -> float:
    """Arithmetic midpoint between the last point above a level and the next one, as the published analysis takes it.

    Args:
        axis: Ascending, shape (n,).
        values: Shape (n,).
        level: The level.

    Returns:
        The midpoint; NaN if no point, or the very last one, lies above.
    """
    place = np.asarray(axis, dtype=np.float64)
    above = np.flatnonzero(np.asarray(values, dtype=np.float64) > level)
    if not above.size or above[-1] == len(place) - 1:
        return float("nan")
    return float((place[above[-1]] + place[above[-1] + 1]) / 2)


def boundary_values(
    axis: ArrayLike, values: ArrayLike, level: float, *, log_values: bool = False, direction: Direction = "any"
) -> Floats:
    """Crossings of every row of a map.

    Args:
        axis: Positive, ascending, shape (n,).
        values: Shape (..., n).
        level: The level.
        log_values: Interpolate the logarithm of the values.
        direction: Only crossings in this direction along the axis.

    Returns:
        First crossing of each row, shape (...), NaN where there is none.
    """
    table = np.asarray(values, dtype=np.float64)
    rows = table.reshape(-1, table.shape[-1])
    places = [crossing(axis, row, level, log_values=log_values, direction=direction) for row in rows]
    return np.asarray(places, dtype=np.float64).reshape(table.shape[:-1])


def boundary_line(
    axis: ArrayLike,
    replicas: ArrayLike,
    level: float,
    *,
    average: Average = "mean",
    log_values: bool = False,
    direction: Direction = "any",
    resamples: int = 500,
    seed: int = 0,
) -> Estimate:
    """Crossings of the average over replicas, row by row, with errors by a bootstrap over replicas.

    Args:
        axis: Positive, ascending, shape (n,).
        replicas: Shape (replicas, ..., n): one curve or a map for each; NaN where a replica has no value.
        level: The level.
        average: How replicas are averaged (booleans averaged by `mean` are passing fractions).
        log_values: Interpolate the logarithm of the average.
        direction: Only crossings in this direction along the axis.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Shape (...). The value is NaN where the average does not cross, the error also where less than half of the
        resamples cross.
    """

    def line(sample: Floats) -> Floats:
        mean = replica_average(sample, average)
        return boundary_values(axis, mean, level, log_values=log_values, direction=direction)

    return bootstrap(line, replicas, resamples=resamples, widened=average != "median", seed=seed)


def boundary_exponent(control: ArrayLike, boundary: Estimate, *, window: tuple[float, float] | None = None) -> PowerLaw:
    """Exponent of a boundary line as a power law of its control parameter, weighted by the line's errors.

    Points without an error are left out; if no point has a positive one, all count alike.

    Args:
        control: Control parameter (initial scale, batch size), shape (m,).
        boundary: The line, shape (m,), as of `boundary_line`.
        window: Range of the control parameter to use, ends included.

    Returns:
        The fit. Its errors take the points as independent; where replicas share random numbers across the map use
        `replica_boundary_exponent`.
    """
    known = np.isfinite(boundary.error) & (boundary.error > 0)
    return fit_power_law(control, boundary.value, error=boundary.error if known.any() else None, window=window)


def replica_boundary_exponent(
    control: ArrayLike,
    axis: ArrayLike,
    replicas: ArrayLike,
    *,
    level: float,
    average: Average = "mean",
    log_values: bool = False,
    window: tuple[float, float] | None = None,
    seed: int = 0,
) -> Estimate:
    """Exponent of a boundary line with the whole chain, from average to fit, bootstrapped over replicas.

    Args:
        control: Control parameter, shape (m,).
        axis: Positive, ascending, shape (n,).
        replicas: Shape (replicas, m, n).
        level: The level.
        average: How replicas are averaged.
        log_values: Interpolate the logarithm of the average.
        window: Range of the control parameter to use, ends included.
        seed: Seed of the resampling.

    Returns:
        The exponent, all points of the line counting alike.
    """

    def exponent(sample: Floats) -> Floats:
        line = boundary_values(axis, replica_average(sample, average), level, log_values=log_values)
        return fit_power_law(control, line, window=window).exponent.value

    return bootstrap(exponent, replicas, resamples=300, widened=average != "median", seed=seed)
