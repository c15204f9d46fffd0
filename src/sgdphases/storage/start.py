"""The start of an experiment's networks, one NetCDF-4 file.

Dimensions `parameter`, `mode`, `other_mode`, and per layer `out_<l>` and `in_<l>`. Variables `weights_<l>`, `bias_<l>`,
`directions` (parameter, mode) and what is measured there once (`MEANINGS`), also over a plane (`PLANE`, with dimensions
of its own), float64. Attributes: `start_name`, the digest of how it was made, `start_<word>`, numbers that say it for
people and claims, `parameters` and `samples`, their numbers, and `complete`. All data carry Fletcher-32 sums.
"""

from collections.abc import Mapping
from pathlib import Path

import netCDF4
import numpy as np

from sgdphases.ensemble.starting import Start
from sgdphases.files import writing

MODES = ("mode",)
MEANINGS = {
    "curvature": (MODES, "curvature of the training loss along a direction", r"\rho"),
    "curvature_residual": (MODES, "what the Hessian makes of a direction, off it", r"|Hq-\rho q|"),
    "gradient": (MODES, "gradient of loss and weight decay at the start", r"q^T\nabla L"),
    "noise": (MODES, "variance of a sample's gradient along a direction", r"\Sigma_{mm}"),
    "noise_matrix": (("mode", "other_mode"), "covariance of a sample's gradient", r"\Sigma_{mm'}"),
    "noise_trace": ((), "variance of a sample's gradient, summed over all parameters", r"\mathrm{tr}\,\Sigma"),
    "curvature_trace": ((), "trace of the Hessian of the training loss", r"\mathrm{tr}\,H"),
    "curvature_trace_error": ((), "standard error of the trace, 0 where it is exact", r"\Delta\,\mathrm{tr}\,H"),
    "curvature_bottom": ((), "lowest eigenvalue of the Hessian, NaN where it is not found", r"\rho_\mathrm{min}"),
    "start_loss": ((), "training loss at the start, without weight decay", "L^*"),
    "start_gradient_norm": ((), "norm of the gradient of loss and weight decay at the start", r"|\nabla L^*|"),
    "start_weight_norm": ((), "squared norm of the parameters at the start", r"|\theta^*|^2"),
}
"""Axes, long name and symbol of what is measured at a start, which the cube takes over."""

PLANE_SIDES = ("plane_first", "plane_second")
PLANE = {
    "plane_first": (PLANE_SIDES[:1], "displacement along the first direction of the plane", "x"),
    "plane_second": (PLANE_SIDES[1:], "displacement along the second direction of the plane", "x'"),
    "plane_modes": (("plane_side",), "modes along both sides of the plane", "m"),
    "plane_loss": (PLANE_SIDES, "training loss with weight decay over a plane", r"L_\lambda"),
    "plane_test_loss": (PLANE_SIDES, "test loss over a plane, without weight decay", r"L_\mathrm{test}"),
}
"""The same of what is measured over a plane through the start, where the card asks for one."""


def write_start(
    path: str | Path, start: Start, found: Mapping[str, np.ndarray], *, samples: int, made: Mapping[str, float]
) -> None:
    """Write a start, whole or not at all.

    Args:
        path: Where.
        start: Weights, biases and directions.
        found: What was measured there, by the names of `MEANINGS` and `PLANE`.
        samples: Training samples it was measured on.
        made: How it was made, by word.
    """
    with writing(path) as temporary, netCDF4.Dataset(temporary, "w", format="NETCDF4") as file:
        parameters, modes = start.directions.shape
        for name, size in (("parameter", parameters), ("mode", modes), ("other_mode", modes)):
            file.createDimension(name, size)
        for name in (name for name in PLANE_SIDES if name in found):
            file.createDimension(name, len(found[name]))
        if "plane_modes" in found:
            file.createDimension("plane_side", len(PLANE_SIDES))
        for layer, matrix in start.weights.items():
            sides = (f"out_{layer}", f"in_{layer}")
            for side, size in zip(sides, matrix.shape, strict=True):
                file.createDimension(side, size)
            _write(file, f"weights_{layer}", sides, matrix)
            if layer in start.biases:
                _write(file, f"bias_{layer}", sides[:1], start.biases[layer])
        _write(file, "directions", ("parameter", "mode"), start.directions)
        for name, values in found.items():
            axes, long_name, symbol = (MEANINGS | PLANE)[name]
            variable = _write(file, name, axes, values)
            variable.long_name, variable.units, variable.symbol = long_name, "1", symbol
        file.start_name, file.parameters, file.samples = start.name, np.int64(parameters), np.int64(samples)
        file.setncatts({f"start_{word}": np.float64(value) for word, value in made.items()})
        file.complete = np.int64(1)


def read_start(path: str | Path) -> Start:
    """Read weights, biases and directions of a start.

    Args:
        path: The file.

    Returns:
        The start.

    Raises:
        ValueError: If the file is damaged or was not finished.
    """
    try:
        with netCDF4.Dataset(path) as file:
            file.set_auto_mask(False)
            if getattr(file, "complete", 0) != 1:
                raise ValueError(f"{path} is incomplete; delete it and run again to rebuild it")
            arrays = {name: variable[...] for name, variable in file.variables.items()}
            return Start(
                name=file.start_name,
                weights=_layers(arrays, "weights_"),
                biases=_layers(arrays, "bias_"),
                directions=arrays["directions"],
            )
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again to rebuild it") from error


def _layers(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[int, np.ndarray]:
    """Layer to array, of those with a prefix."""
    return {int(name.removeprefix(prefix)): array for name, array in arrays.items() if name.startswith(prefix)}


def _write(file: netCDF4.Dataset, name: str, dimensions: tuple[str, ...], values: np.ndarray) -> netCDF4.Variable:
    checked = {"fletcher32": True} if dimensions else {}
    variable = file.createVariable(name, np.float64, dimensions, fill_value=False, **checked)
    variable[...] = values
    return variable
