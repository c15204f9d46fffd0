"""Is it the temperature or the learning rate: where the boundary lies for each batch size, and its exponent.

The linear scaling rule says that only learning_rate/batch_size matters: the critical learning rate grows as the batch
size. Linear stability (`theory.criterion.stability_learning_rate`) lets it saturate. Batch sizes are compared at the
same number of samples.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import estimated, labelled, replicas_first
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.boundaries import excess_growth
from sgdphases.fits.contour import boundary_line, boundary_values
from sgdphases.fits.intervals import Estimate
from sgdphases.fits.power_law import Average, fit_power_law, replica_average
from sgdphases.storage.temperature import temperature_dimension
from sgdphases.theory.criterion import stability_learning_rate

WINDOWS = {"small_batch": (1.0, 4.0), "large_batch": (8.0, 32.0)}
"""Batch sizes over which the exponent is fitted."""


@dataclass(frozen=True)
class Mark:
    """What marks the boundary: a variable over replicas and the level that its average passes."""

    name: str
    source: str
    level: float
    average: Average
    log_values: bool
    long_name: str


MARKS = (
    Mark("loss", "train_loss", 1e-4, "median", True, "median training loss passes 1e-4"),
    Mark("growth", "excess_growth", 0.3, "mean", False, "spread outgrows start and target by 0.3 e-folds"),
    Mark("criterion", "passing_corrected", 0.5, "mean", False, "half of the replicas fail the corrected criterion"),
)


def batch_boundary(cube: xr.Dataset) -> xr.Dataset:
    """Critical learning rates over batch sizes at the last step.

    Args:
        cube: With the axis `batch_size`, and learning_rate or temperature.

    Returns:
        `<mark>_learning_rate` and `<mark>_temperature` over batch_size and what else the grid has, for the marks
        `loss`, `growth` and `criterion`; `<mark>_small_batch_exponent` (batch sizes 1 to 4) and
        `<mark>_large_batch_exponent` (8 to 32), d ln(learning rate)/d ln(batch size), each with `_error`;
        `stability_learning_rate` of the theory.

    Raises:
        ValueError: If the cube has no axis of batch sizes or none of the variables.
    """
    if "batch_size" not in cube.dims:
        raise ValueError("fit batch_boundary needs a grid over batch_size")
    axis = temperature_dimension(cube)
    end = cube.isel(step=-1)
    if "eigenvalues" in cube:
        end = end.assign(excess_growth=excess_growth(cube).isel(step=-1))
    if "criterion_corrected" in end:
        passing = end["criterion_corrected"]
        # Failing rises with temperature, as the other marks do.
        end = end.assign(passing_corrected=(1.0 - passing).where(passing >= 0))
    found: dict[str, tuple] = {}
    for mark in MARKS:
        if mark.source in end:
            found |= _marked(mark, end[mark.source], cube, axis)
    if not found:
        raise ValueError("fit batch_boundary needs train_loss, eigenvalues or criterion_corrected")
    sizes = cube["batch_size"].values
    words = {"long_name": "learning rate at linear stability", "units": "1", "symbol": r"\eta_c"}
    found["stability_learning_rate"] = (("batch_size",), stability_learning_rate(sizes), words)
    return labelled(cube, found, "critical learning rate against batch size")


def _marked(mark: Mark, values: xr.DataArray, cube: xr.Dataset, axis: str) -> dict[str, tuple]:
    array, dims = replicas_first(values, "batch_size", axis)
    place, sizes = cube[axis].values.astype(float), cube["batch_size"].values.astype(float)
    per_rate = np.ones_like(sizes) if axis == "learning_rate" else sizes
    options = {"average": mark.average, "log_values": mark.log_values, "direction": "rising"}
    line = boundary_line(place, array, mark.level, resamples=300, **options)
    rate = Estimate(*(part * per_rate for part in (line.value, line.error, line.low, line.high)))
    temperature = Estimate(*(part / sizes for part in (rate.value, rate.error, rate.low, rate.high)))
    attrs = {"long_name": f"learning rate at which the {mark.long_name}", "symbol": r"\eta_c"}
    found = estimated(f"{mark.name}_learning_rate", rate, [*dims, "batch_size"], attrs=attrs)
    attrs = {"long_name": f"temperature at which the {mark.long_name}", "symbol": "T_c"}
    found |= estimated(f"{mark.name}_temperature", temperature, [*dims, "batch_size"], attrs=attrs)

    def exponents(sample: np.ndarray) -> np.ndarray:
        mean = replica_average(sample, mark.average)
        crossings = boundary_values(place, mean, mark.level, log_values=mark.log_values, direction="rising") * per_rate
        rows = crossings.reshape(-1, len(sizes))
        fitted = [[fit_power_law(sizes, row, window=w).exponent.value for w in WINDOWS.values()] for row in rows]
        return np.array(fitted).reshape(*crossings.shape[:-1], len(WINDOWS))

    slope = bootstrap(exponents, array, resamples=200, widened=mark.average != "median")
    for place_, name in enumerate(WINDOWS):
        attrs = {
            "long_name": f"exponent of the learning rate at which the {mark.long_name}, {name.replace('_', ' ')}es"
        }
        attrs["symbol"] = r"d\ln\eta_c/d\ln B"
        part = Estimate(*(value[..., place_] for value in (slope.value, slope.error, slope.low, slope.high)))
        found |= estimated(f"{mark.name}_{name}_exponent", part, dims, attrs=attrs)
    return found
