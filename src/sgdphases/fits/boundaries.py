"""Both boundary lines of the hot phase, the criterion's and the spectrum's, with errors and exponents."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import estimated, flags, labelled, replicas_first
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.contour import Direction, boundary_line, boundary_values, midpoint_crossing
from sgdphases.fits.intervals import Estimate
from sgdphases.fits.power_law import fit_power_law, replica_average
from sgdphases.storage.temperature import temperature_dimension

PUBLISHED_LEVEL = 0.68
"""Share of replicas at the published boundary."""

LEAST_INIT_SCALES = (2.0, 8.0)
"""From where on the boundary is fitted as a power of init_scale: the published line is one from 2 on."""


@dataclass(frozen=True)
class Line:
    """One boundary: a variable over replicas, the level that its mean crosses, and in which direction."""

    name: str
    source: str
    level: float
    direction: Direction
    long_name: str


LINES = (
    Line("published", "criterion_published", PUBLISHED_LEVEL, "falling", "68 % line of the published criterion"),
    Line("published_half", "criterion_published", 0.5, "falling", "50 % line of the published criterion"),
    Line("corrected", "criterion_corrected", 0.5, "falling", "50 % line of the corrected criterion"),
    Line("growth", "excess_growth", 1.0, "rising", "line where the spread outgrows start and target by e"),
)


def boundaries(cube: xr.Dataset) -> xr.Dataset:
    """Boundary temperatures at the last step, for every initial scale, batch size and layer.

    Crossings are interpolated in the logarithm of the temperature; the first one from the cold side counts. Errors are
    the deviation over a bootstrap of whole replicas.

    Args:
        cube: With an axis of temperature (or learning rate) and any of the criteria, or `eigenvalues`.

    Returns:
        `<line>_temperature` with `_error` for the lines `published` (68 %), `published_half`, `corrected` and `growth`;
        `published_midpoint_temperature` as the released analysis takes it; and `<line>_exponent` with `_error` over
        `least_init_scale`, the exponent of init_scale from there on.

    Raises:
        ValueError: If the cube has no axis of temperature, or nothing that a boundary can be read from.
    """
    axis = temperature_dimension(cube)
    end = cube.isel(step=-1)
    if "eigenvalues" in cube:
        end = end.assign(excess_growth=excess_growth(cube).isel(step=-1))
    found: dict[str, tuple] = {}
    for line in LINES:
        if line.source not in end:
            continue
        values = end[line.source]
        found |= _line(line, flags(values) if values.dtype.kind in "iu" else values, cube, axis)
    if not found:
        raise ValueError("fit boundaries needs criterion_published, criterion_corrected or eigenvalues")
    made = labelled(cube, found, "temperatures at the boundary of the hot phase")
    meaning = {"long_name": "least initial scale of the fit", "units": "1", "symbol": r"\sigma_W", "axis_scale": "log"}
    return made.assign_coords(least_init_scale=("least_init_scale", list(LEAST_INIT_SCALES), meaning))


def excess_growth(cube: xr.Dataset) -> xr.DataArray:
    """Growth of the spread beyond what reaching the target needs: ln of the spread over the larger of start and target.

    Args:
        cube: With `eigenvalues`; the target's spread is `target_width`, else that of the teacher's levels, else none.

    Returns:
        Over the grid, replicas and steps.
    """
    levels = cube["eigenvalues"]
    spread = levels.max("mode") - levels.min("mode")
    start = spread.isel(step=0, drop=True)
    if "target_width" in cube:
        start = np.maximum(start, cube["target_width"].fillna(0.0))
    elif "teacher_eigenvalues" in cube:
        teacher = cube["teacher_eigenvalues"].isel(step=0, drop=True)
        start = np.maximum(start, (teacher.max("mode") - teacher.min("mode")).fillna(0.0))
    # Levels that do not move have grown by exactly zero; a spread of zero has no growth.
    return np.log(spread.where(spread > 0)) - np.log(start.where(start > 0))


def per_batch(cube: xr.Dataset, axis: str) -> xr.DataArray:
    """What a place on the axis is divided by to be a temperature: the batch size, or one."""
    return (
        cube["batch_size"].astype(float) if axis == "learning_rate" else xr.ones_like(cube["batch_size"], dtype=float)
    )


def _line(line: Line, values: xr.DataArray, cube: xr.Dataset, axis: str) -> dict[str, tuple]:
    """The variables of one boundary line."""
    array, dims = replicas_first(values, axis)
    place = cube[axis].values.astype(float)
    measured = boundary_line(place, array, line.level, direction=line.direction)
    scale = per_batch(cube, axis)
    template = xr.DataArray(measured.value, dims=dims)
    divisor = (scale if set(scale.dims) <= set(dims) else scale.isel(dict.fromkeys(scale.dims, 0))).broadcast_like(
        template
    )
    size = divisor.transpose(*dims).values if dims else float(divisor)
    attrs = {"long_name": f"temperature at the {line.long_name}", "symbol": "T_c"}
    parts = (measured.value, measured.error, measured.low, measured.high)
    found = estimated(f"{line.name}_temperature", Estimate(*(part / size for part in parts)), dims, attrs=attrs)
    if line.name == "published":
        rows = replica_average(array).reshape(-1, len(place))
        middle = np.array([midpoint_crossing(place, row, line.level) for row in rows]).reshape(array.shape[1:-1])
        words = {"long_name": "midpoint of the last passing temperature and the next", "units": "1", "symbol": "T_c"}
        found["published_midpoint_temperature"] = (tuple(dims), middle / size, words)
    if "init_scale" in dims:
        found |= _exponent(line, values, cube, axis)
    return found


def _exponent(line: Line, values: xr.DataArray, cube: xr.Dataset, axis: str) -> dict[str, tuple]:
    """Exponents of init_scale of one line, the whole chain from share to fit bootstrapped over replicas."""
    array, dims = replicas_first(values, "init_scale", axis)
    control, place = cube["init_scale"].values, cube[axis].values.astype(float)

    def exponents(sample: np.ndarray) -> np.ndarray:
        line_ = boundary_values(place, replica_average(sample), line.level, direction=line.direction)
        return np.array(
            [fit_power_law(control, line_, window=(least, np.inf)).exponent.value for least in LEAST_INIT_SCALES]
        )

    shape = array.shape[1:-2]
    parts = np.full((4, *shape, len(LEAST_INIT_SCALES)), np.nan)
    for index in product(*(range(size) for size in shape)):
        fitted = bootstrap(exponents, array[(slice(None), *index)], resamples=200)
        parts[(slice(None), *index)] = fitted.value, fitted.error, fitted.low, fitted.high
    attrs = {"long_name": f"exponent of init_scale of the {line.long_name}", "symbol": r"d\ln T_c/d\ln\sigma_W"}
    return estimated(f"{line.name}_exponent", Estimate(*parts), [*dims, "least_init_scale"], attrs=attrs)
