"""A synthetic cube of the dyson study: the published maps with scatter over replicas, and smooth spectra."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from sgdphases.observables.registry import OBSERVABLES
from sgdphases.quantities import attributes
from sgdphases.storage.cube import Layout, measured, merge
from sgdphases.storage.phases import with_phases
from sgdphases.theory import published

OCTAVES = 2.0 ** np.arange(-3, 9)
STEPS = [0, 1, 10, 100, 1000, 10_000, 100_000]


def variable(name: str, values: np.ndarray) -> tuple[tuple[str, ...], np.ndarray, dict[str, Any]]:
    """One measured variable with its attributes."""
    row = OBSERVABLES[name]
    return (
        ("network", "step", *[axis for axis in row.axes if values.ndim > 2 and axis == "mode"]),
        values,
        row.attributes,
    )


@pytest.fixture(scope="session")
def cube() -> xr.Dataset:
    """12 x 12 x 10 networks over seven records, merged as the pipeline merges."""
    generator = np.random.default_rng(7)
    rates, scales = OCTAVES, OCTAVES
    neutral = {"batch_size": 4, "momentum": 0.0, "weight_decay": 0.0, "output_scale": 1.0, "noise_scale": 0.0}
    neutral["loss"] = "half_squared_error"
    points = [{"learning_rate": rate, "init_scale": scale, **neutral} for rate in rates for scale in scales]
    replicas = list(range(10))
    layout = Layout({"learning_rate": list(rates), "init_scale": list(scales)}, points, replicas, STEPS)
    columns = {name: np.repeat([point[name] for point in points], 10) for name in points[0]}
    columns["replica"] = np.tile(replicas, len(points))

    def spread(name: str, sigma: float) -> np.ndarray:
        return np.repeat(published.MAPS[name].ravel(), 10) + sigma * generator.normal(size=1440)

    ramp = np.linspace(0, 1, len(STEPS))
    growth = spread("log_spread_growth", 0.15)[:, None] * ramp
    loss = np.exp(
        np.log(0.3) + np.log(spread("test_loss", 0) * generator.lognormal(0, 0.5, 1440) / 0.3)[:, None] * ramp
    )
    quantiles = np.sort(generator.chisquare(4, (1440, 1, 16)) / 5, axis=-1)[..., ::-1]
    levels = quantiles * (columns["init_scale"] ** 2)[:, None, None] * np.exp(growth)[..., None]
    overlap = np.repeat(spread("overlap", 0.03)[:, None], len(STEPS), axis=1)
    rate, scale = columns["learning_rate"] / 4, columns["init_scale"]
    threshold = np.log2(rate / np.maximum(0.33 * scale, 0.6))[:, None] + generator.normal(size=(1440, len(STEPS)))
    values = {
        "eigenvalues": levels,
        "teacher_eigenvalues": np.broadcast_to(np.linspace(2.6, 0.12, 16), levels.shape),
        "train_loss": loss,
        "test_loss": loss * 1.1,
        "gradient_norm": loss * 0.3,
        "overlap": overlap,
        "overlap_ratio": overlap / 0.9,
        "alignment": 0.1 + 0.15 / (1 + loss / 1e-5),
        "log_spread_growth": growth,
        "criterion_published": np.where(generator.random((1440, 7)) < 0.5, 1, threshold < 0).astype(np.int8),
        "criterion_corrected": (threshold < 0).astype(np.int8),
    }
    attrs = {"experiment": "dyson_synthetic", "samples": 4000}
    data = {name: variable(name, array) for name, array in values.items()}
    shard = measured(columns, data, steps=STEPS, layers=[1], attrs=attrs)
    whole = merge(layout, [("synthetic", shard)])
    return with_phases(whole)


@pytest.fixture(scope="session")
def fits(cube: xr.Dataset) -> dict[str, xr.Dataset]:
    """Boundaries as a fit would give them, and what is published."""
    scale = ("init_scale", OCTAVES, attributes("init_scale"))
    line = np.maximum(0.33 * OCTAVES, 0.6)
    lines = xr.Dataset(
        {
            "criterion_published_temperature": ("init_scale", line, {"long_name": "68 % of runs pass, as published"}),
            "criterion_published_temperature_error": ("init_scale", 0.3 * line),
            "criterion_corrected_temperature": ("init_scale", 0.6 * line, {"long_name": "50 % pass, corrected"}),
            "growth_temperature": ("init_scale", 0.25 * OCTAVES**0.55, {"long_name": "spread exceeds by e"}),
        },
        coords={"init_scale": scale},
    )
    told = xr.Dataset(
        {
            "boundary_temperature": (
                "boundary_point",
                published.BOUNDARY[:, 1],
                {"long_name": "68 % pass (Park et al.)"},
            ),
            "boundary_inverse_init_scale": ("boundary_point", published.BOUNDARY[:, 0]),
            "growth_temperature": (
                "init_scale",
                published.GROWTH_TEMPERATURE,
                {"long_name": "exceeds by e (Park et al.)"},
            ),
            "overlap": (("temperature", "init_scale"), published.MAPS["overlap"], cube["overlap"].attrs),
        },
        coords={
            "init_scale": scale,
            "temperature": ("temperature", OCTAVES / 4, attributes("temperature")),
            "inverse_init_scale": ("init_scale", 1 / OCTAVES, attributes("inverse_init_scale")),
        },
    )
    told["train_loss_curve"] = ("temperature", published.TRAIN_LOSS_CURVE, {"long_name": "training loss, published"})
    return {"boundaries": lines, "published": told}


@pytest.fixture(scope="session")
def langevin(cube: xr.Dataset) -> xr.Dataset:
    """Expected levels for the later records, velocities as predicted and a noise one and a half times that."""
    moves = cube["eigenvalues"].diff("step", label="lower")
    start = cube["eigenvalues"].isel(step=slice(None, -1))
    ahead = start + 0.3 * moves.where(moves["step"] > 10)
    made = xr.Dataset({"predicted_eigenvalues": ahead.assign_attrs(long_name="predicted level", symbol="x")})
    one = xr.ones_like(start.isel(replica=0, mode=0, drop=True))
    made["velocity_ratio"] = one.assign_attrs(long_name="velocities compared", symbol="v/v_0")
    made["velocity_ratio_error"] = 0.1 * one
    made["noise_ratio"] = 1.5 * one.where(one["step"] < 1000)
    made["noise_ratio_error"] = np.nan * one
    made["valid_share"] = 0.9 * one
    return made.drop_vars("flow_time", errors="ignore")


@pytest.fixture(scope="session")
def spacings() -> xr.Dataset:
    """What the fit of spacings gives for eight points and one level."""
    generator = np.random.default_rng(3)
    centres = np.linspace(0.05, 3.95, 40)
    density = np.pi / 2 * centres * np.exp(-np.pi * centres**2 / 4)
    shape = (8, 1, 40)
    rate = np.array([0.1, 0.1, 0.1, 0.1, 0.2, 0.3, 0.4, 0.5])
    size = np.array([4, 8, 32, 64, 16, 16, 16, 16])
    slope = 1.8 + 0.4 * rate
    every = ("point", "level")
    words = {"long_name": "mean spacing over its unit", "symbol": r"\langle S\rangle/\sqrt{\eta A/B}"}
    return xr.Dataset(
        {
            "spacing_density": (
                (*every, "spacing"),
                density * (1 + 0.05 * generator.normal(size=shape)),
                {"symbol": "P(s)"},
            ),
            "spacing_density_error": ((*every, "spacing"), np.full(shape, 0.02)),
            "spacing_slope": (every, (slope + 0.02 * generator.normal(size=8))[:, None], words),
            "spacing_slope_error": (every, np.full((8, 1), 0.02)),
            "expected_slope": (every, slope[:, None], {"long_name": "slope of the theory"}),
        },
        coords={
            "learning_rate": ("point", rate, attributes("learning_rate")),
            "batch_size": ("point", size, attributes("batch_size")),
            "temperature": ("point", rate / size, attributes("temperature")),
            "spacing": ("spacing", centres, {"long_name": "normalised spacing", "units": "1", "symbol": "s"}),
        },
    )


@pytest.fixture(scope="session")
def batches() -> xr.Dataset:
    """What the fit of batch sizes gives (numbers of an independent run)."""
    sizes = np.array([1, 2, 4, 8, 16, 32])
    rates = {"loss": [0.37, 0.86, 1.28, 2.18, 2.93, 4.35], "growth": [0.63, 1.17, 2.1, 3.5, 4.9, 7.5]}
    data: dict[str, Any] = {"stability_learning_rate": ("batch_size", [0.26, 0.38, 0.49, 0.58, 0.63, 0.67])}
    for mark, rate in rates.items():
        for word, values in (("learning_rate", np.array(rate)), ("temperature", rate / sizes)):
            words = {"long_name": f"{word} at which the {mark} jumps", "symbol": r"\eta_c" if word[0] == "l" else "T_c"}
            both = np.stack([values, 1.2 * values])
            data[f"{mark}_{word}"] = (("init_scale", "batch_size"), both, words)
            data[f"{mark}_{word}_error"] = (("init_scale", "batch_size"), 0.05 * both)
        for window, slope in (("small_batch", 0.9), ("large_batch", 0.5)):
            data[f"{mark}_{window}_exponent"] = ("init_scale", [slope, slope], {"symbol": r"d\ln\eta_c/d\ln B"})
            data[f"{mark}_{window}_exponent_error"] = ("init_scale", [0.03, 0.03])
    scale = ("init_scale", [0.125, 4.0], attributes("init_scale"))
    return xr.Dataset(data, coords={"init_scale": scale, "batch_size": ("batch_size", sizes, attributes("batch_size"))})


@pytest.fixture
def tiny() -> Callable[..., xr.Dataset]:
    """Make a cube of any grid with constant or given phases."""

    def make(
        rates: list[float], scales: list[float], *, replicas: int = 2, layers: int = 0, batches: int = 0, phase: int = 1
    ) -> xr.Dataset:
        dims = (
            ["batch_size"] * bool(batches)
            + ["learning_rate", "init_scale", "replica", "step"]
            + ["layer"] * bool(layers)
        )
        sizes = {"batch_size": batches, "learning_rate": len(rates), "init_scale": len(scales), "replica": replicas}
        sizes |= {"step": 2, "layer": layers}
        shape = [sizes[dim] for dim in dims]
        words = {"flag_values": np.arange(4, dtype=np.int8), "flag_meanings": "undecided ferro spin_glass para"}
        data = {
            "overlap": (dims, np.random.default_rng(0).random(shape), {"long_name": "agreement", "symbol": "Q"}),
            "phase": (dims, np.full(shape, phase, dtype=np.int8), {"long_name": "phase", **words}),
        }
        batch = 4.0 * 2.0 ** np.arange(max(batches, 1))
        rate = xr.DataArray(rates, dims="learning_rate")
        coords = {
            "learning_rate": ("learning_rate", rates, attributes("learning_rate")),
            "init_scale": ("init_scale", scales, attributes("init_scale")),
            "inverse_init_scale": ("init_scale", 1 / np.asarray(scales), attributes("inverse_init_scale")),
            "step": ("step", [0, 10], attributes("step")),
        }
        dataset = xr.Dataset(data, coords=coords)
        width = xr.DataArray(batch, dims="batch_size") if batches else xr.DataArray(4.0)
        dataset = dataset.assign_coords(batch_size=width.assign_attrs(attributes("batch_size")))
        dataset = dataset.assign_coords(temperature=(rate / width).assign_attrs(attributes("temperature")))
        if layers:
            dataset = dataset.assign_coords(layer=("layer", np.arange(layers), attributes("layer")))
        return dataset

    return make
