"""Cubes with a known truth: the paper's digitised maps as if measured, levels of the solvable models, chaos courses."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.quantities import HYPERPARAMETERS, QUANTITIES, attributes
from sgdphases.storage.cube import Layout, measured, merge
from sgdphases.theory import published

STEPS = np.array([0, 1, 10, 100, 1000, 10_000, 100_000])


def grid_cube(
    variables: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
    *,
    axes: Mapping[str, Any] | None = None,
    steps: Any = STEPS,
    batch_size: int = 4,
    **attrs: Any,
) -> xr.Dataset:
    """A cube over learning_rate and init_scale (or other axes) as merging would leave it."""
    axes = axes or {"learning_rate": published.TEMPERATURES * batch_size, "init_scale": published.INIT_SCALES}
    sizes = {dim: size for dims, values in variables.values() for dim, size in zip(dims, values.shape, strict=True)}
    coordinates = {name: (name, np.asarray(values, dtype=float), attributes(name)) for name, values in axes.items()}
    coordinates["replica"] = ("replica", np.arange(sizes["replica"]))
    coordinates["step"] = ("step", np.asarray(steps))
    cube = xr.Dataset(dict(variables), coords=coordinates)
    if "batch_size" not in cube.coords:
        cube = cube.assign_coords(batch_size=batch_size)
    if "learning_rate" not in cube.coords:
        cube = cube.assign_coords(learning_rate=cube["temperature"] * cube["batch_size"])
    temperature = cube["learning_rate"] / cube["batch_size"]
    if "temperature" not in cube.coords:
        cube = cube.assign_coords(temperature=temperature.assign_attrs(attributes("temperature")))
    if "init_scale" in cube.coords:
        cube = cube.assign_coords(inverse_init_scale=1 / cube["init_scale"])
    cube = cube.assign_coords(flow_time=cube["learning_rate"] * cube["step"])
    return cube.assign_attrs(
        {"experiment": "made", "dataset": "teacher_student", "samples": 4000, "feature_samples": 128} | attrs
    )


def paper_cube(*, replicas: int = 10, steps: Any = STEPS, noise: float = 0.01, seed: int = 0) -> xr.Dataset:
    """The digitised maps as if every replica had them at the last step, with a little noise."""
    random = np.random.default_rng(seed)
    dims = ("learning_rate", "init_scale", "replica", "step")
    shape = (12, 12, replicas, len(steps))
    grown = np.linspace(0, 1, len(steps))
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for name, values in published.MAPS.items():
        if name == "test_loss":
            every = values[..., None, None] ** grown * np.exp(noise * random.standard_normal(shape))
        else:
            every = values[..., None, None] * grown + noise * random.standard_normal(shape)
        found[name] = (dims, every)
    found["train_loss"] = (dims, found["test_loss"][1] / 2)
    return grid_cube(found, steps=steps)


def passing(
    temperature: np.ndarray, boundary: np.ndarray, *, replicas: int, width: float = 0.3, seed: int = 0
) -> np.ndarray:
    """0/1 flags (temperature, boundary, replica, step); the share of ones falls through a half at the boundary."""
    random = np.random.default_rng(seed)
    chance = 1 / (1 + (temperature[:, None] / boundary[None, :]) ** (1 / width))
    flags = random.random((*chance.shape, replicas, 1)) < chance[..., None, None]
    return np.repeat(flags, len(STEPS), axis=-1).astype(np.int8)


def pair_levels(shape: tuple[int, ...], *, centre: float, variance: float, seed: int = 0) -> np.ndarray:
    """Eigenvalues (*shape, 2), descending, of 2 x 2 symmetric Gaussian blocks, off-diagonal variance as given."""
    random = np.random.default_rng(seed)
    diagonal = centre + np.sqrt(2 * variance) * random.standard_normal((*shape, 2))
    off = np.sqrt(variance) * random.standard_normal(shape)
    middle, half = diagonal.mean(axis=-1), np.hypot((diagonal[..., 0] - diagonal[..., 1]) / 2, off)
    return np.stack([middle + half, middle - half], axis=-1)


Course = Callable[[Mapping[str, Any], int, np.ndarray], Mapping[str, np.ndarray]]
"""From a point, a replica and flow times to the values of each variable, times first."""

OWN_AXES = {
    **dict.fromkeys(("coupling", "mean_coupling", "weight_work", "weight_diffusion"), ("layer",)),
    **dict.fromkeys(("lyapunov", "lyapunov_error", "spectral_radius"), ("control",)),
    "jacobian_norm": ("control", "image"),
}
"""Axes of the chaos study's variables after the times."""

CONTROLS = ("trained", "shuffled", "same_spectrum", "outliers_removed", "gaussian")


def chaos_cube(
    course: Course,
    *,
    grid: Mapping[str, list[Any]] | list[dict[str, Any]],
    times: Any,
    clock: str = "flow_time",
    replicas: int = 3,
    widths: tuple[int, ...] = (784, 784, 10),
    **attrs: Any,
) -> xr.Dataset:
    """A cube of the chaos study, merged as the pipeline merges: a grid or a list of points that say what differs."""
    neutral = {name: QUANTITIES[name].default for name in HYPERPARAMETERS}
    neutral |= {"learning_rate": 0.02, "batch_size": 32, "momentum": 0.5, "init_scale": 0.5, "loss": "cross_entropy"}
    star = isinstance(grid, list)
    chosen = grid if star else [dict(zip(grid, each, strict=True)) for each in itertools.product(*grid.values())]
    points = [neutral | point for point in chosen]
    axes = {"point": list(range(len(points)))} if star else dict(grid)
    layout = Layout(axes, points, list(range(replicas)), list(times), clock)
    known = {"samples": 60_000, "feature_samples": 128, "dataset": "fashion_mnist", "last_batch": "keep"}
    shards = [
        (str(place), _shard(point, course, layout, known | {"widths": widths} | attrs))
        for place, point in enumerate(points)
    ]
    return merge(layout, shards).assign_attrs(experiment="made", study="chaos")


def _shard(point: dict[str, Any], course: Course, layout: Layout, attrs: dict[str, Any]) -> xr.Dataset:
    """The replicas of one point."""
    rate = point["learning_rate"] / (1 - point["momentum"])
    steps = [round(time / rate) if layout.clock == "flow_time" else int(time) for time in layout.times]
    rows = [course(point, replica, rate * np.array(steps)) for replica in layout.replicas]
    variables = {}
    for name in rows[0]:
        own = OWN_AXES.get(name, ())
        values = np.stack([np.asarray(row[name], dtype=float) for row in rows])
        # One number a time is that of the hidden layer; the read-out is not looked at.
        whole = np.stack([values, values], axis=-1) if own == ("layer",) else values
        variables[name] = (("network", "step", *own), whole, {"long_name": name, "units": "1", "symbol": name})
    columns = {name: [value] * len(rows) for name, value in point.items()} | {"replica": layout.replicas}
    layers = {number: pair[::-1] for number, pair in enumerate(itertools.pairwise(attrs["widths"]))}
    return measured(columns, variables, steps=steps, layers=layers, attrs=attrs, controls=CONTROLS)
