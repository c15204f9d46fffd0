"""A synthetic cube of the dyson study: the published maps with scatter over replicas, and smooth spectra."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from sgdphases.observables.registry import OBSERVABLES, running_attributes
from sgdphases.quantities import HYPERPARAMETERS, QUANTITIES, attributes
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
    neutral = {name: QUANTITIES[name].default for name in HYPERPARAMETERS} | {"batch_size": 4}
    points = [neutral | {"learning_rate": rate, "init_scale": scale} for rate in rates for scale in scales]
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


CONTROLS = ("trained", "shuffled", "same_spectrum", "outliers_removed", "gaussian")
DYNAMICS = ("zero", "fixed_point", "cycle", "quasi_periodic", "chaos", "critical")
IMAGES, ITERATIONS = 6, 120


def square_coupling(times: np.ndarray, l2_strength: float) -> np.ndarray:
    """J² against epoch time, starting at 1/4: straight, bent above 1, and with decay on its way to 11/(4 S lambda)."""
    free = 0.25 + 11 * times
    free = np.where(free > 1, 1 + np.log(np.maximum(free, 1)), free)
    if not l2_strength:
        return free
    limit = 11 / (4 * 60_000 * l2_strength)
    return limit + (0.25 - limit) * np.exp(-4 * 60_000 * l2_strength * times)


def trained_shard(columns: dict[str, np.ndarray], steps: np.ndarray, weight_steps: list[int]) -> xr.Dataset:
    """What training and measuring leave of networks that follow the growth law, with a little scatter."""
    count = len(columns["replica"])
    generator = np.random.default_rng(int(1e4 * columns["learning_rate"][0]) + columns["batch_size"][0])
    rate = columns["learning_rate"] / (1 - columns["momentum"])
    times = rate[:, None] * steps / 60_000
    squares = np.stack([square_coupling(t, d / 2) for t, d in zip(times, columns["weight_decay"], strict=True)])
    squares = np.where(squares > 1, 1 + (1 - 3 * columns["learning_rate"][0]) * (squares - 1), squares)
    squares *= 1 + 0.01 * times / times.max() * generator.normal(size=(count, 1))
    loss = 0.34 + 0.06 * np.log(squares / 0.8) ** 2 + 0.003 * generator.normal(size=squares.shape)
    layers = np.stack([squares, 0.1 + 0 * squares], axis=-1)
    running = {
        "coupling": np.sqrt(layers),
        "mean_coupling": 0.02 * generator.normal(size=(count, 1, 2)) * (1 + layers),
        "weight_work": layers,
        "test_loss": loss,
        "test_accuracy": 0.95 - loss / 5,
        "epoch_train_loss": np.where(steps > 0, 0.5 / (1 + squares), np.nan),
        "epoch_train_accuracy": np.where(steps > 0, 1 - 0.1 / (1 + squares), np.nan),
    }
    data = {
        name: (("network", "step", "layer")[: values.ndim], values, running_attributes(name))
        for name, values in running.items()
    }
    seen = np.isin(steps, weight_steps)
    data |= {name: (dims, blank(values, seen), meta) for name, (dims, values, meta) in iterated(squares).items()}
    attrs = {"dataset": "fashion_mnist", "samples": 60_000, "widths": [784, 784, 10], "last_batch": "keep"}
    layers = {0: (784, 784), 1: (10, 784)}
    return measured(columns, data, steps=list(steps), layers=layers, attrs=attrs, controls=CONTROLS)


def blank(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Values at recorded weights only."""
    along = seen.reshape(1, -1, *[1] * (values.ndim - 2))
    return np.where(along, values, -1 if values.dtype.kind == "i" else np.nan).astype(values.dtype)


def iterated(squares: np.ndarray) -> dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]]:
    """Dynamics of the hidden map: controls follow mean-field theory, trained weights are ordered up to J² = 1.6."""
    generator = np.random.default_rng(13)
    coupling = np.sqrt(squares)
    growth = np.where(squares < 1, np.log(coupling), (2 / 3) * (coupling - 1) ** 2)
    exponent = np.stack([np.where((squares > 1) & (squares < 1.6), -0.09, growth), *[growth] * 4], axis=-1)
    exponent += 0.004 * generator.normal(size=exponent.shape)
    every = ("network", "step")
    images = np.exp(0.01 * generator.normal(size=(*exponent.shape, IMAGES)))
    turn = np.exp(2j * np.pi * generator.random((*squares.shape, IMAGES, 1)) + 1j * np.arange(ITERATIONS))
    orbit = np.where(squares > 1, np.sqrt(np.abs(squares - 1)), 0.0)[..., None, None] * turn.real
    exponents = {"long_name": "largest Lyapunov exponent", "symbol": r"\lambda_\mathrm{max}", "units": "1"}
    norms = {"long_name": "norm of the Jacobian along the orbit", "symbol": r"\|J^\ast\|_F/\sqrt{N}", "units": "1"}
    distances = {"long_name": "asymptotic distance", "symbol": r"d_\infty", "units": "1"}
    words = {"flag_values": np.arange(6, dtype=np.int8), "flag_meanings": " ".join(DYNAMICS)}
    return {
        "lyapunov": ((*every, "control"), exponent, exponents),
        "lyapunov_error": ((*every, "control"), np.full(exponent.shape, 0.004), {"units": "1"}),
        "jacobian_norm": ((*every, "control", "image"), np.exp(exponent)[..., None] * images, norms),
        "asymptotic_distance": (
            (*every, "control", "image"),
            28 * np.sqrt(np.clip(4 * exponent, 1e-20, 1))[..., None] * images,
            distances,
        ),
        "dynamics": ((*every, "control"), np.where(exponent > 0, 4, 0).astype(np.int8), {"long_name": "kind", **words}),
        "poincare": ((*every, "image", "iteration"), orbit, {"long_name": "mean of the state", "symbol": r"\bar X_t"}),
    }


def chaos_cube(axes: dict[str, list[float]], *, clock: str = "step", replicas: int = 3, **fixed: float) -> xr.Dataset:
    """Trained networks over a grid, merged as the pipeline merges."""
    neutral = {name: QUANTITIES[name].default for name in HYPERPARAMETERS} | {"loss": "cross_entropy"}
    neutral |= {"learning_rate": 0.02, "batch_size": 32, "momentum": 0.5, "init_scale": 0.5} | fixed
    grid = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    points = [neutral | {name: QUANTITIES[name].typed(value) for name, value in point.items()} for point in grid]
    times = list(1875 * np.arange(0, 101, 2)) if clock == "step" else list(np.linspace(0, 7500, 51))
    layout = Layout(axes, points, list(range(replicas)), times, clock=clock)
    shards = []
    for point in points:
        unit = 1 if clock == "step" else point["learning_rate"] / (1 - point["momentum"])
        steps = np.rint(np.array(times) / unit).astype(int)
        columns = {name: np.repeat(value, replicas) for name, value in point.items()} | {"replica": np.arange(replicas)}
        shards.append(("made", trained_shard(columns, steps, [int(step) for step in steps[::10]])))
    return merge(layout, shards).assign_attrs(experiment="chaos_made")


@pytest.fixture(scope="session")
def base_run() -> xr.Dataset:
    """Three replicas of the base run over 100 epochs."""
    return chaos_cube({"learning_rate": [0.02]})


@pytest.fixture(scope="session")
def decaying() -> xr.Dataset:
    """Five strengths of decay."""
    return chaos_cube({"weight_decay": [0.0, 9.2e-5, 1.8e-4, 3e-4, 1e-3]})


@pytest.fixture(scope="session")
def rates() -> xr.Dataset:
    """Learning rates, momenta and batch sizes against flow time."""
    axes = {"learning_rate": [0.01, 0.02, 0.05], "momentum": [0.5, 0.9], "batch_size": [16, 32]}
    return chaos_cube(axes, clock="flow_time")


@pytest.fixture(scope="session")
def gaussian_map() -> xr.Dataset:
    """Three Gaussian matrices over the plane of order and chaos, not converged near the edge."""
    ratios, inverse = np.linspace(-0.5, 1.5, 9), np.linspace(0.2, 2.0, 10)
    neutral = {name: QUANTITIES[name].default for name in HYPERPARAMETERS} | {"learning_rate": 1.0, "batch_size": 1}
    axes = {"coupling_ratio": list(ratios), "init_scale": list(1 / inverse)}
    points = [neutral | {"coupling_ratio": r, "init_scale": s} for r in ratios for s in axes["init_scale"]]
    columns = {name: np.repeat([point[name] for point in points], 3) for name in neutral}
    columns["replica"] = np.tile(np.arange(3), len(points))
    scale, ratio = columns["init_scale"], columns["coupling_ratio"]
    distance = np.where((scale > 1) & (ratio < 1.1), 28 * np.sqrt(np.maximum(1 - 1 / scale, 0)), 1e-9)
    exponents = {"long_name": "largest Lyapunov exponent", "symbol": r"\lambda_\mathrm{max}", "units": "1"}
    distances = {"long_name": "asymptotic distance", "symbol": r"d_\infty", "units": "1"}
    words = {"flag_values": np.arange(2, dtype=np.int8), "flag_meanings": "no yes", "long_name": "converged"}
    every = ("network", "step")
    settled = (np.abs(1 / scale - 1) > 0.15).astype(np.int8)
    data = {
        "asymptotic_distance": (every, np.stack([0 * distance, distance], axis=1), distances),
        "lyapunov": (every, np.stack([0 * scale, np.log(scale) / 3], axis=1), exponents),
        "converged": (every, np.stack([0 * settled, settled], axis=1), words),
    }
    attrs = {"dataset": "none", "samples": 1, "widths": [784, 784]}
    shard = measured(columns, data, steps=[0, 500], layers={0: (784, 784)}, attrs=attrs)
    return merge(Layout(axes, points, [0, 1, 2], [0, 500]), [("made", shard)]).assign_attrs(experiment="chaos_map")


def number_of(value: float, error: float | None, name: str, symbol: str) -> dict[str, Any]:
    """An estimate and its error as variables without dimensions."""
    found = {name: ((), value, {"long_name": name.replace("_", " "), "symbol": symbol, "units": "1"})}
    return found if error is None else found | {f"{name}_error": ((), error, {"units": "1"})}


@pytest.fixture(scope="session")
def base_fits(base_run: xr.Dataset) -> dict[str, xr.Dataset]:
    """What the fits of the base run give."""
    growth = number_of(11.0, 0.1, "growth_constant", "k") | number_of(0.25, 0.002, "intercept", "J^2(0)")
    growth |= number_of(54.0, 1.0, "edge_epoch", "t_e") | number_of(0.068, 0.001, "edge_epoch_time", r"\tau_e")
    best = number_of(40.0, 4.0, "optimum_epoch", "t^*") | number_of(0.05, 0.004, "optimum_epoch_time", r"\tau^*")
    best |= number_of(0.8, 0.05, "optimum_squared_coupling", "J^{*2}")
    attrs = {"window_flow_time": 3750.0}
    clock = ("replica", "step")
    squares = (base_run["coupling"].isel(layer=0) ** 2).mean("replica")
    constant = squares.diff("step") / squares["epoch_time"].diff("step")
    constant = constant.reindex(step=base_run["step"])
    words = {"long_name": "growth of the squared coupling", "symbol": r"dJ^2/d\tau", "units": "1"}
    balance = xr.Dataset(
        {
            "measured_constant": constant.assign_attrs(words),
            "measured_constant_error": 0.02 * constant,
            "predicted_constant": (1.01 * constant).assign_attrs(words | {"long_name": "growth from the balance"}),
            "predicted_constant_error": 0.02 * constant,
        }
    ).drop_vars(["flow_time", "epoch", *clock[:1]], errors="ignore")
    middle = {"long_name": "middle of the interval", "symbol": r"\tau", "units": "1"}
    balance = balance.assign_coords(middle_epoch_time=("step", balance["epoch_time"].values - 0.00125, middle))
    edges = xr.Dataset(
        {
            "lyapunov_edge": ("control", [1.62, 1.02, 1.0, 1.03, 1.01], {"long_name": "edge"}),
            "lyapunov_edge_low": ("control", [1.55, 1.0, 0.98, 1.0, 0.99]),
            "lyapunov_edge_high": ("control", [1.7, 1.05, 1.02, 1.06, 1.04]),
        }
    ).assign_coords({name: base_run[name] for name in ("control", "control_name")})
    return {
        "weight_growth": xr.Dataset(growth, attrs=attrs),
        "optimum": xr.Dataset(best, attrs=attrs),
        "balance": balance,
        "edges": edges,
    }


@pytest.fixture(scope="session")
def decay_fit(decaying: xr.Dataset) -> xr.Dataset:
    """What the fit of decay gives: rest at twice the law's disorder."""
    strength = decaying["l2_strength"]
    end = (decaying["coupling"].isel(layer=0, step=-1) ** 2).mean("replica")
    flag = xr.where(strength > 1e-4, 1, 0).astype(np.int8)
    words = number_of(4.6e-5, 1e-6, "l2_formula", r"\lambda^*=k/4S") | number_of(
        9e-5, 4e-6, "l2_empirical", r"\lambda_1"
    )
    made = xr.Dataset(words)
    made["end_squared_coupling"] = end.assign_attrs(long_name="squared disorder at the end", symbol="J^2", units="1")
    made["end_squared_coupling_error"] = 0.05 * end
    made["stationary"] = flag
    best = 0.889 - 0.02 * np.log10((strength + 1e-5) / 9e-5) ** 2
    made["end_test_accuracy"] = best.assign_attrs(long_name="test accuracy at the end", symbol="a", units="1")
    made["largest_test_accuracy"] = (best + 0.004).assign_attrs(long_name="largest test accuracy", symbol="a")
    for word in ("end", "largest"):
        made[f"{word}_test_accuracy_error"] = 0.001 + 0 * strength
    return made.drop_vars(["step", "flow_time", "epoch", "epoch_time"], errors="ignore")


@pytest.fixture(scope="session")
def growth_fits(rates: xr.Dataset) -> dict[str, xr.Dataset]:
    """What the fits of a grid of learning rates, momenta and batch sizes give."""
    size = rates["batch_size"] * (1 - rates["momentum"]) / rates["learning_rate"]
    slope = (11.0 / size).transpose("learning_rate", "momentum", "batch_size")
    grown = xr.Dataset({"slope_per_epoch": slope.assign_attrs(long_name="growth in an epoch", symbol="A", units="1")})
    grown["slope_per_epoch_error"] = 0.02 * slope
    exponents: dict[str, Any] = {}
    for word, value in (("learning_rate", 1.003), ("momentum", 1.006), ("batch_size", 1.005)):
        exponents |= number_of(value, 0.004, f"{word}_exponent", r"\alpha")
    square = (rates["coupling"].isel(layer=0) ** 2).mean(["replica", "learning_rate", "momentum", "batch_size"])
    one = xr.Dataset({"squared_coupling": square})
    one = one.assign_coords(epoch_time=("flow_time", square["flow_time"].values / 60_000, attributes("epoch_time")))
    one = one.assign(number_of(0.068, 0.001, "edge_epoch_time", r"\tau_e")).assign_attrs(window_flow_time=3750.0)
    return {"weight_growth": grown, "growth_exponents": xr.Dataset(exponents), "collapse": one}
