"""The published maps, curves and boundaries as labelled data, and how near the cube's own maps come to them."""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import estimated, labelled, replicas_first
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.power_law import replica_average
from sgdphases.quantities import attributes
from sgdphases.storage.temperature import on_temperature
from sgdphases.theory import published as paper

LOGARITHMIC = ("test_loss",)
"""Maps that are compared by their logarithm to base 10."""


def published(cube: xr.Dataset) -> xr.Dataset:
    """What arXiv 2509.01349 shows, beside the comparison of the cube's last step with it.

    Args:
        cube: Any; maps of the variables that it shares with the paper are compared on the cells that both have.

    Returns:
        Maps `overlap`, `alignment`, `log_spread_growth`, `test_loss` over (temperature, init_scale); curves
        `train_loss_curve`, `gradient_norm_curve`, `initial_gradient_norm`, `initial_overlap`; the boundary
        `boundary_inverse_init_scale`, `boundary_temperature` over boundary_point, `growth_temperature`,
        `growth_temperature_million`, `corrected_temperature_million`. For every map that the cube has
        `<map>_correlation` (Pearson) and `<map>_rms` with `_error`, the means of replicas clipped as the published
        colours are, test losses by their decimal logarithm; `compared_cells`.
    """
    made = labelled(cube, _comparison(cube), "published maps, curves and boundaries")
    made = made.drop_vars([name for name in made.coords if name in ("temperature", "init_scale", "inverse_init_scale")])
    coordinates = {
        "temperature": ("temperature", paper.TEMPERATURES, attributes("temperature")),
        "init_scale": ("init_scale", paper.INIT_SCALES, attributes("init_scale")),
        "inverse_init_scale": ("init_scale", 1 / paper.INIT_SCALES, attributes("inverse_init_scale")),
    }
    return made.assign({**_maps(), **_curves()}).assign_coords(coordinates)


def _maps() -> dict[str, tuple]:
    words = {
        "overlap": ("overlap of initial and final features", "q"),
        "alignment": ("alignment of features with the field", r"\cos(h, s)"),
        "log_spread_growth": ("growth of the spectrum's spread", r"\ln\Delta x/\Delta x(0)"),
        "test_loss": ("test loss", r"L_\mathrm{test}"),
    }
    return {
        name: (("temperature", "init_scale"), values, _words(*words[name], ", published"))
        for name, values in paper.MAPS.items()
    }


def _curves() -> dict[str, tuple]:
    point, scale, temperature = ("boundary_point",), ("init_scale",), ("temperature",)
    boundary = paper.BOUNDARY
    return {
        "train_loss_curve": (temperature, paper.TRAIN_LOSS_CURVE, _words("training loss at 1/σ = 8", "L")),
        "gradient_norm_curve": (temperature, paper.GRADIENT_NORM_CURVE, _words("gradient norm at 1/σ = 8", "g")),
        "initial_gradient_norm": (scale, paper.INITIAL_GRADIENT_NORM, _words("gradient norm at the start", "g_0")),
        "initial_overlap": (scale, paper.INITIAL_OVERLAP, _words("overlap at the start", "q(0)", ", simulated")),
        "boundary_inverse_init_scale": (point, boundary[:, 0], attributes("inverse_init_scale")),
        "boundary_temperature": (point, boundary[:, 1], _words("68 % line of the criterion", "T_c", ", published")),
        "growth_temperature": (scale, paper.GROWTH_TEMPERATURE, _words("growth line", "T_c", ", published")),
        "growth_temperature_million": (
            scale,
            paper.GROWTH_TEMPERATURE_MILLION,
            _words("growth line after 1e6 steps", "T_c", ", simulated"),
        ),
        "corrected_temperature_million": (
            scale,
            paper.CORRECTED_TEMPERATURE_MILLION,
            _words("50 % line of the corrected criterion after 1e6 steps", "T_c", ", simulated"),
        ),
    }


def _words(long_name: str, symbol: str, rest: str = "") -> dict[str, str]:
    return {"long_name": long_name + rest, "units": "1", "symbol": symbol}


def _comparison(cube: xr.Dataset) -> dict[str, tuple]:
    """Correlation and root mean square difference of every map that the cube shares with the paper."""
    end = on_temperature(cube.isel(step=-1))
    if not {"temperature", "init_scale"} <= set(end.dims) or set(end.dims) & {"batch_size", "layer"}:
        return {}
    rows, own_rows = _shared(paper.TEMPERATURES, end["temperature"].values)
    columns, own_columns = _shared(paper.INIT_SCALES, end["init_scale"].values)
    found: dict[str, tuple] = {"compared_cells": ((), len(rows) * len(columns), _words("cells compared", "n"))}
    if len(rows) * len(columns) < 3:
        return found
    for name, values in paper.MAPS.items():
        if name in end:
            own, _ = replicas_first(end[name], "temperature", "init_scale")
            found |= _likeness(name, own[:, own_rows][:, :, own_columns], values[np.ix_(rows, columns)])
    return found


def _shared(theirs: np.ndarray, ours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the values that both axes have."""
    equal = np.isclose(theirs[:, None], ours[None, :], rtol=1e-6, atol=0)
    return np.nonzero(equal)


def _likeness(name: str, replicas: np.ndarray, theirs: np.ndarray) -> dict[str, tuple]:
    low, high = paper.CLIPPED[name]
    scaled = (lambda v: np.log10(v)) if name in LOGARITHMIC else (lambda v: v)

    def compared(sample: np.ndarray) -> np.ndarray:
        ours = scaled(np.clip(replica_average(sample), low, high))
        known = np.isfinite(ours)
        first, second = ours[known], scaled(theirs)[known]
        if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
            return np.full(2, np.nan)
        return np.array([np.corrcoef(first, second)[0, 1], np.sqrt(np.mean((first - second) ** 2))])

    both = bootstrap(compared, replicas, resamples=300)
    found: dict[str, tuple] = {}
    for place, (word, long_name) in enumerate((("correlation", "correlation"), ("rms", "root mean square distance"))):
        part = type(both)(*(value[place] for value in (both.value, both.error, both.low, both.high)))
        attrs = {
            "long_name": f"{long_name} of the map of {name} and the published one",
            "symbol": "r" if not place else "d",
        }
        found |= estimated(f"{name}_{word}", part, (), attrs=attrs)
    return found
