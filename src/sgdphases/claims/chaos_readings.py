"""Conditions and readings that belong to the claims of the chaos study, arXiv 2107.09437 and the papers around it."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import xarray as xr

from sgdphases.claims.claim import WHOLE, Fits, Measurement, Needs, NotReached
from sgdphases.claims.network import Point, network_at, where
from sgdphases.claims.readings import Measure, at, fitted, over_replicas
from sgdphases.storage.cube import clock_of
from sgdphases.theory.correlation_map import asymptotic_distance

on_fashion = partial(Needs, dataset="fashion_mnist", widths=(784, 784, 10))
"""What claims about training need at least: the paper's network and data."""

PLAIN = {"weight_decay": 0.0, "init_scale": 0.5, "coupling_ratio": 0.0, "samples": 60000.0, "label_noise": 0.0}
BASE = {"learning_rate": 0.02, "batch_size": 32, "momentum": 0.5} | PLAIN
"""The paper's base run."""

FIXED_TEMPERATURE = tuple(
    BASE | {"learning_rate": 0.02 * factor, "batch_size": round(32 * factor)} for factor in (0.25, 0.5, 1, 2, 4)
)
"""Figure 4: learning rate over batch size is the same."""

FIXED_BATCH = tuple(
    BASE | {"learning_rate": rate, "momentum": momentum}
    for rate, momentum in ((0.0025, 0.0), (0.005, 0.0), (0.01, 0.0), (0.01, 0.5), (0.02, 0.5))
)
"""Figure 5: learning rate over 1 - momentum goes from 0.0025 to 0.04."""

EDGE, FAR = 1.0, 1.5
"""J² up to which curves are one, and from which they are said to fan out."""

LEAST_STEPS = 100
"""Steps times 1 - momentum below which a run has not forgotten its first steps."""


def _hidden(variable: xr.DataArray) -> xr.DataArray:
    """A variable of the hidden square layer."""
    return variable.isel(layer=0, drop=True) if "layer" in variable.dims else variable


def curve(cube: xr.Dataset, name: str, point: Point) -> xr.DataArray:
    """An observable of the hidden layer of one network over replicas and recorded times.

    Args:
        cube: The cube.
        name: The observable.
        point: The network's hyperparameters.

    Returns:
        The values, with the clocks `epoch`, `flow_time` and `epoch_time` along the times.

    Raises:
        NotReached: If there is no such observable or no such network.
    """
    network = network_at(cube, point)
    if name not in network:
        raise NotReached(f"needs observable {name}")
    return _hidden(network[name])


def recorded(name: str, point: Point, *, power: int = 1, **when: float) -> Measure:
    """An observable of one network at a time, mean over replicas.

    Args:
        name: The observable.
        point: The network's hyperparameters.
        power: 2 for its square, replica by replica.
        **when: A clock (`epoch`, `epoch_time`) and the time.

    Returns:
        The reading.
    """

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        return Measurement(*over_replicas(record(curve(cube, name, point), **when) ** power))

    return measure


def record(values: xr.DataArray, **when: float) -> xr.DataArray:
    """The record at a time, within a thousandth of it; raises NotReached if there is none."""
    ((clock, time),) = when.items()
    times = values[clock].values
    place = int(np.abs(times - time).argmin())
    if abs(times[place] - time) > (1 - WHOLE) * time:
        raise NotReached(f"needs a record at {clock} {time:g}, the nearest is at {times[place]:.4g}")
    return values.isel({values[clock].dims[0]: place})


def at_start(name: str, *, power: int = 1) -> Measure:
    """An observable of the hidden layer before training, over all networks that start as the base run does."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        alike = where(cube, {"init_scale": BASE["init_scale"], "coupling_ratio": 0.0})
        start = _hidden(cube[name]).isel({clock_of(cube): 0}).where(alike)
        return Measurement(*over_replicas(start**power))

    return measure


def largest_size(name: str, point: Point, *, epochs: float) -> Measure:
    """Largest absolute value over replicas and the records of the first epochs."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        values = curve(cube, name, point)
        values = np.abs(values.isel({clock_of(cube): values["epoch"].values <= epochs / WHOLE}))
        # A replica that diverged was small as long as it was there.
        whole = values.isel(replica=np.isfinite(values).all(clock_of(cube)).values)
        if not whole.size:
            raise NotReached("no replica has all values")
        each = whole.max(clock_of(cube))
        return Measurement(
            float(each.max()), math.nan, f"replicas from {float(each.min()):.3f} to {float(each.max()):.3f}"
        )

    return measure


def with_single_records(measure: Measure, name: str, point: Point) -> Measure:
    """A largest smoothed value with the largest single record of a replica, which is what a plotted curve shows."""

    def both(cube: xr.Dataset, fits: Fits) -> Measurement:
        found, values = measure(cube, fits), curve(cube, name, point)
        mean, _ = over_replicas(values.max(clock_of(cube)))
        return Measurement(found.value, found.error, f"largest single record {mean:.4f}, mean over replicas")

    return both


def with_early_constant(measure: Measure, point: Point) -> Measure:
    """A reading with k of the early window as a remark: the growth is linear in parts only."""

    def both(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = measure(cube, fits)
        try:
            early = fitted("weight_growth", "early_growth_constant", point=point)(cube, fits)
        except NotReached:
            return found
        return Measurement(found.value, found.error, f"k is {early.value:.2f} over tau 0.00625 to 0.0375")

    return both


def spread(points: Sequence[Point], *, beyond_edge: bool) -> Measure:
    """Largest spread of J² over networks at common flow times, as a share of their mean.

    Args:
        points: The networks.
        beyond_edge: False: while the mean J² is at most 1, from the first record on; True: from J² = 1.5 on.

    Returns:
        The reading, of the means over replicas.
    """

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        curves = [curve(cube, "coupling", point) ** 2 for point in points]
        if clock_of(cube) != "flow_time":
            raise NotReached("needs records at common flow times, has them at common steps")
        squares = np.stack([values.mean("replica").values for values in curves])
        mean = squares.mean(axis=0)
        chosen = mean >= FAR if beyond_edge else (mean <= EDGE) & (cube["flow_time"].values > 0)
        if not chosen.any():
            raise NotReached(
                f"no record with a mean squared disorder of {'at least' if beyond_edge else 'at most'} "
                f"{FAR if beyond_edge else EDGE:g}"
            )
        spreads = np.where(chosen, np.ptp(squares, axis=0) / mean, -1.0)
        place = int(spreads.argmax())
        return Measurement(float(spreads[place]), math.nan, f"largest at a mean squared disorder of {mean[place]:.2f}")

    return measure


def least_loss_spread(points: Sequence[Point]) -> Measure:
    """Largest less smallest of the networks' least (smoothed) test losses."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = [fitted("collapse", "minimal_test_loss", point=point)(cube, fits) for point in points]
        ordered = sorted(found, key=lambda one: one.value)
        low, high = ordered[0], ordered[-1]
        words = f"from {low.value:.4f} to {high.value:.4f}"
        return Measurement(high.value - low.value, math.hypot(low.error, high.error), words)

    return measure


def long_enough(measure: Measure) -> Measure:
    """A reading that holds only where every network has made many steps beyond the memory of its momentum."""

    def checked(cube: xr.Dataset, fits: Fits) -> Measurement:
        scaled = cube["step"].isel({clock_of(cube): -1}) * (1 - cube["momentum"])
        if float(scaled.min()) < WHOLE * LEAST_STEPS:
            raise NotReached(f"needs {LEAST_STEPS}/(1 - momentum) steps of every network")
        return measure(cube, fits)

    return checked


def decided(point: Point) -> Measure:
    """The paired difference of test losses between J² = 0.8 and 1; where its interval holds 0, nothing is judged."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = fitted("optimum", "loss_difference", point=point)(cube, fits)
        network = network_at(fits["optimum"], point)
        low, high = (float(network[f"loss_difference_{end}"]) for end in ("low", "high"))
        interval = f"95 % interval {low:+.4f} to {high:+.4f}"
        if not (low > 0 or high < 0):
            raise NotReached(f"undecided: {found.value:+.4f}, {interval}")
        return Measurement(found.value, found.error, interval)

    return measure


def optimum_place(point: Point) -> Measure:
    """J² where the test loss is least, with the paired difference of losses as a remark: the minimum is flat."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = fitted("optimum", "optimum_squared_coupling", point=point)(cube, fits)
        try:
            words = f"{decided(point)(cube, fits).value:+.4f}"
        except NotReached as error:
            words = str(error)
        return Measurement(found.value, found.error, f"test loss at J² = 0.8 less that at 1: {words}")

    return measure


def with_median(measure: Measure, suffix: str) -> Measure:
    """A mean of growth constants with their median and their deviation over networks as a remark.

    Args:
        measure: The mean.
        suffix: Which networks, as the fit growth_exponents names them.

    Returns:
        The mean, remarked.
    """

    def both(cube: xr.Dataset, fits: Fits) -> Measurement:
        found, fit = measure(cube, fits), fits["growth_exponents"]
        numbers = (float(fit[f"growth_constant_{word}{suffix}"]) for word in ("median", "deviation"))
        median, deviation = numbers
        words = f"median {median:.2f}, deviation {deviation:.2f} over {int(fit[f'points{suffix}'])} networks"
        return Measurement(found.value, found.error, words)

    return both


def largest_ratio(fit: str, name: str, axis: str) -> Measure:
    """Largest ratio of a value to its neighbour before, along an axis by rising coordinate."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        values = fits[fit][name]
        if values.dims != (axis,) or not np.isfinite(values).all():
            raise NotReached(f"the fit {fit} does not give {name} along {axis} alone, and all of it")
        ordered = values.sortby(axis).values
        return Measurement(float((ordered[1:] / ordered[:-1]).max()), math.nan)

    return measure


def at_rest(measure: Measure, point: Point) -> Measure:
    """A reading of the resting state, with a remark where J² still moves at the end."""

    def both(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = measure(cube, fits)
        network = network_at(fits["decay"], point)
        drift = float(network["end_drift"])
        words = "" if int(network["stationary"]) == 1 else f"not at rest: {100 * drift:+.0f} % in the last fifth"
        return Measurement(found.value, found.error, words)

    return both


def share_below_zero(epoch: float, point: Point) -> Measure:
    """Share of replicas whose trained weights have a Lyapunov exponent below minus two of its standard errors."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = _finding(fits, epoch, point)
        count, of = int(found["finding_replicas"]), int(found["finding_measured"])
        mean = float(at(found["finding_lyapunov"], {"control_name": "trained"}))
        return Measurement(count / of, math.nan, f"{count} of {of} replicas, mean exponent {mean:+.3f}")

    return measure


def shuffled_difference(epoch: float, point: Point) -> Measure:
    """Lyapunov exponent of shuffled weights less that of Gaussian ones of the same size, mean over replicas."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = _finding(fits, epoch, point)
        return Measurement(*(float(found[f"shuffled_minus_gaussian{end}"]) for end in ("", "_error")))

    return measure


def _finding(fits: Fits, epoch: float, point: Point) -> xr.Dataset:
    """The fit edges at one network and epoch of the finding, where its weights were recorded and measured."""
    found = network_at(fits["edges"], point)
    if "finding_epoch" not in found.dims:
        raise NotReached("needs observable lyapunov")
    found = found.sel(finding_epoch=epoch)
    if not float(found["finding_measured"]):
        raise NotReached(f"needs weights measured near epoch {epoch:g}")
    return found


def cells(cube: xr.Dataset, name: str) -> xr.DataArray:
    """An observable of the random map without a mean, after the last iteration, over J and the matrices.

    Args:
        cube: A map over `init_scale` (J) and `coupling_ratio`.
        name: The observable.

    Returns:
        Values (init_scale, replica); NaN where an average has not converged.

    Raises:
        NotReached: If the map has no column without a mean.
    """
    column = network_at(cube, {"coupling_ratio": 0.0}).isel(step=-1)
    if "init_scale" not in column.dims:
        raise NotReached("needs an axis init_scale")
    return column[name].where(column["converged"] > 0).transpose("init_scale", "replica")


def worst_distance(least: float) -> Measure:
    """Largest relative deviation of the asymptotic distance, mean over matrices, from theory from J = `least` on."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        distance = cells(cube, "asymptotic_distance")
        distance = distance.isel(init_scale=distance["init_scale"].values >= least * (1 - 1e-9))
        mean = distance.mean("replica", skipna=False)
        mean = mean.isel(init_scale=np.isfinite(mean.values))
        if not mean.size:
            raise NotReached(f"no cell with J of at least {least:g} has converged")
        coupling = mean["init_scale"].values
        theory = asymptotic_distance(coupling, width=int(cube.attrs["widths"][0]))
        deviation = np.abs(mean.values / theory - 1)
        worst = int(deviation.argmax())
        words = f"largest at J = {coupling[worst]:.3g} of {mean.size} values"
        return Measurement(float(deviation[worst]), math.nan, words)

    return measure


def largest_distance(most: float) -> Measure:
    """Largest asymptotic distance over matrices and cells with J up to `most`."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        column = network_at(cube, {"coupling_ratio": 0.0})["asymptotic_distance"].isel(step=-1)
        chosen = column.where(column["init_scale"] <= most * (1 + 1e-9))
        if not np.isfinite(chosen).any():
            raise NotReached(f"no cell with J up to {most:g}")
        return Measurement(float(chosen.max()), math.nan)

    return measure


def in_map(name: str, coupling: float) -> Measure:
    """An observable of the random map at one J without a mean, over matrices."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        cell = network_at(cube, {"init_scale": coupling, "coupling_ratio": 0.0})
        return Measurement(*over_replicas(cell[name].isel(step=-1)))

    return measure
