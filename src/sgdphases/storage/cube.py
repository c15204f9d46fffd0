"""The labelled cube: measured values of shards, merged by value over the whole grid, in CF NetCDF."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.ensemble.status import CRITERIA, SIDES
from sgdphases.files import writing
from sgdphases.quantities import DATA_AXES, HYPERPARAMETERS, QUANTITIES, RATE_AXES, SIZE_AXES, attributes, derived_rates

NO_VALUE = -1
"""What an integer flag holds where nothing could be measured (NaN's place)."""

NUMBERED = (
    "layer",
    "mode",
    "control",
    "image",
    "iteration",
    "update",
    "probe",
    "output",
    "criterion",
    "side",
    "eigenvalue",
    "other_mode",
    "other_replica",
)
"""Dimensions of single variables."""

OPTIONAL = (*DATA_AXES, *SIZE_AXES, "richness")
"""Hyperparameters that a cube only names where some network has them."""

NAMES = ("layer_name", "rank", "control_name", "criterion_name", "side_name")
"""Coordinates that say more about them."""


@dataclass(frozen=True)
class Layout:
    """Where every network of an experiment belongs.

    Attributes:
        axes: Dimension name to its values, in the card's order. A star of points has the one axis `point`.
        points: Typed hyperparameters of every combination, row-major over `axes`.
        replicas: Replica numbers.
        times: Recorded times, in the card's clock.
        layers: Layers of the card's network, where a point says no depth.
        clock: What they count: `step`, or `flow_time`, which is another step for every learning rate and momentum.
    """

    axes: dict[str, list[Any]]
    points: list[dict[str, Any]]
    replicas: list[int]
    times: list[float]
    clock: str = "step"
    layers: int = 1
    _places: dict[tuple[Any, ...], int] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for place, point in enumerate(self.points):
            self._places[_key(point)] = place

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(len(values) for values in self.axes.values())

    def place(self, point: Mapping[str, Any], replica: int) -> int:
        """Flat index of one network in (axes..., replica).

        Args:
            point: Its typed hyperparameters.
            replica: Its replica.

        Returns:
            The index.

        Raises:
            KeyError: If the point or the replica is none of this experiment.
        """
        key = _key(point)
        if key not in self._places or replica not in self.replicas:
            raise KeyError(f"replica {replica} of point {dict(zip(HYPERPARAMETERS, key, strict=True))}")
        return self._places[key] * len(self.replicas) + self.replicas.index(replica)


def clock_of(cube: xr.Dataset | xr.DataArray) -> str:
    """The dimension along which records follow each other: `flow_time` where the card counts in it, else `step`."""
    return "flow_time" if "flow_time" in cube.dims else "step"


def measured(
    columns: Mapping[str, Sequence[Any]],
    variables: Mapping[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]],
    *,
    steps: Sequence[int],
    layers: Mapping[int, tuple[int, int]],
    attrs: Mapping[str, Any],
    controls: Sequence[str] = (),
) -> xr.Dataset:
    """Label what was measured on one shard.

    Args:
        columns: Hyperparameters and replica, one value a network.
        variables: Name to (dimensions beginning with "network", values, CF attributes).
        steps: Recorded steps.
        layers: Number of each trained layer to the shape (out, in) of its weights.
        attrs: Attributes of the file.
        controls: Names of the values of `control`, where a variable has that dimension.

    Returns:
        Dataset with the dimensions network, step and, where needed, those of `NUMBERED`.
    """
    data = {name: (dims, values, meta) for name, (dims, values, meta) in variables.items()}
    coordinates: dict[str, Any] = {name: ("network", np.asarray(values)) for name, values in columns.items()}
    coordinates["step"] = ("step", np.asarray(steps, dtype=np.int64))
    if any("layer" in dims for dims, _, _ in variables.values()):
        names = [f"layer {number} ({fan_in} to {fan_out})" for number, (fan_out, fan_in) in layers.items()]
        coordinates["layer"] = ("layer", np.array(list(layers), dtype=np.int64))
        coordinates["layer_name"] = ("layer", names, {"long_name": "name of a layer"})
        ranks = np.array([min(shape) for shape in layers.values()], dtype=np.int64)
        coordinates["rank"] = ("layer", ranks, {"long_name": "number of modes of a layer", "units": "1"})
    for name in NUMBERED[1:]:
        sizes = [values.shape[dims.index(name)] for dims, values, _ in variables.values() if name in dims]
        if sizes:
            coordinates[name] = (name, np.arange(sizes[0]))
    if "control" in coordinates:
        coordinates["control_name"] = ("control", list(controls), {"long_name": "what was done to the weights"})
    if "criterion" in coordinates:
        coordinates["criterion_name"] = ("criterion", list(CRITERIA), {"long_name": "what ends the stable range"})
        coordinates["side_name"] = ("side", list(SIDES), {"long_name": "side of an edge"})
    return xr.Dataset(data, coords=coordinates, attrs=dict(attrs))


def merge(layout: Layout, shards: Iterable[tuple[str, xr.Dataset]]) -> xr.Dataset:
    """Fill one preallocated cube with the measured values of all shards, each network by its own labels.

    Args:
        layout: Where networks belong.
        shards: (Name for messages, measured dataset) of every shard.

    Returns:
        The cube: dimensions are the axes with more than one value, `replica`, the clock, and those of `NUMBERED` where
        a variable has them; what is constant over the grid is a scalar coordinate.

    Raises:
        ValueError: If a shard holds a network that is none of the experiment's, holds other steps or variables than
            the rest, or if a network is missing.
    """
    cells = len(layout.points) * len(layout.replicas)
    filled = np.zeros(cells, dtype=bool)
    values: dict[str, np.ndarray] = {}
    first: xr.Dataset | None = None
    widest: xr.Dataset | None = None
    for name, shard in shards:
        places = _places(layout, name, shard)
        first = _agreeing(first, name, shard, layout)
        for word, variable in shard.data_vars.items():
            values[word] = _roomy(values.get(word), variable, cells)
            values[word][(places, *map(slice, variable.shape[1:]))] = variable.values
        filled[places] = True
        widest = shard if widest is None or _numbered(shard) > _numbered(widest) else widest
    if first is None or not filled.all():
        missing = [_described(layout, index) for index in np.flatnonzero(~filled)[:5]]
        raise ValueError(f"{int((~filled).sum())} of {cells} networks are missing, among them: {'; '.join(missing)}")
    return _labelled(layout, first, widest, values)


def write(dataset: xr.Dataset, path: str | Path) -> None:
    """Write a dataset as compressed, checksummed NetCDF-4, whole or not at all.

    zlib and fletcher32 make every flipped bit an error on reading; `complete` proves that the writer came to its end.
    """
    encoding: dict[str, dict[str, Any]] = {name: {"_FillValue": None} for name in dataset.coords}
    for name, variable in dataset.variables.items():
        if variable.ndim and variable.dtype.kind in "fiub":
            packed = {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True}
            encoding[name] = {**encoding.get(name, {}), **packed}
    marked = dataset.assign_attrs(Conventions="CF-1.11", complete=np.int8(1))
    with writing(path) as temporary:
        marked.to_netcdf(temporary, engine="netcdf4", format="NETCDF4", encoding=encoding)


def read(path: str | Path) -> xr.Dataset:
    """Read a dataset written by `write` into memory, checked.

    Args:
        path: The file.

    Returns:
        The dataset as it was written: flags are whole numbers, `NO_VALUE` where they have none. (Plain xarray makes
        floats of a flag that declares `_FillValue`, NaN where it has no value.)

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is damaged or incomplete; the message names it.
    """
    try:
        with xr.open_dataset(path, engine="netcdf4", mask_and_scale=False) as opened:
            dataset = opened.load()
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again to rebuild it") from error
    if dataset.attrs.get("complete") != 1:
        raise ValueError(f"{path} is incomplete; delete it and run again to rebuild it")
    for variable in dataset.variables.values():
        if variable.dtype.kind == "f":
            variable.attrs.pop("_FillValue", None)  # NaN says it already
    return dataset


def _key(point: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(point[name].item() if isinstance(point[name], np.generic) else point[name] for name in HYPERPARAMETERS)


def _places(layout: Layout, name: str, shard: xr.Dataset) -> np.ndarray:
    columns = {word: shard[word].values for word in (*HYPERPARAMETERS, "replica")}
    places = []
    for index in range(shard.sizes["network"]):
        point = {word: columns[word][index] for word in HYPERPARAMETERS}
        try:
            places.append(layout.place(point, int(columns["replica"][index])))
        except KeyError as error:
            raise ValueError(f"{name} holds a network that is not in the experiment: {error.args[0]}") from None
    return np.array(places)


def _agreeing(first: xr.Dataset | None, name: str, shard: xr.Dataset, layout: Layout) -> xr.Dataset:
    """Check a shard against the card's times and the first shard's variables; return the first shard."""
    steps = np.broadcast_to(
        _steps(layout, shard["learning_rate"].values, shard["momentum"].values),
        (shard.sizes["network"], len(layout.times)),
    )
    if steps.shape[1] != shard.sizes["step"] or (steps != shard["step"].values).any():
        raise ValueError(f"{name} was recorded at other steps than the card says")
    first = shard if first is None else first
    if set(first.data_vars) != set(shard.data_vars):
        unlike = set(first.data_vars) ^ set(shard.data_vars)
        raise ValueError(f"{name} and another shard differ in the variables {', '.join(sorted(unlike))}")
    return first


def _steps(layout: Layout, learning_rate: np.ndarray, momentum: np.ndarray) -> np.ndarray:
    """Steps at which networks are recorded, (times,) or (..., times) where they differ."""
    times = np.asarray(layout.times)
    if layout.clock == "step":
        return times.astype(np.int64)
    return np.rint(times / (learning_rate / (1 - momentum))[..., None]).astype(np.int64)


def _blank(shape: tuple[int, ...], dtype: np.dtype, cells: int) -> np.ndarray:
    fill = np.nan if dtype.kind == "f" else NO_VALUE
    return np.full((cells, *shape), fill, dtype=dtype)


def _described(layout: Layout, index: int) -> str:
    place, replica = divmod(int(index), len(layout.replicas))
    point = layout.points[place]
    varying = {name: point[name] for name in HYPERPARAMETERS if name in layout.axes} or point
    return f"replica {layout.replicas[replica]} of {varying}"


def _numbered(shard: xr.Dataset) -> int:
    """Sum of the lengths of the numbered dimensions: networks of several depths have as many layers each."""
    return sum(shard.sizes.get(name, 0) for name in NUMBERED)


def _roomy(array: np.ndarray | None, variable: xr.DataArray, cells: int) -> np.ndarray:
    """An array for all networks that has room for a shard's values: of a length with no value, or the array so far."""
    if array is None:
        return _blank(variable.shape[1:], variable.dtype, cells)
    shape = tuple(max(pair) for pair in zip(array.shape[1:], variable.shape[1:], strict=True))
    if shape == array.shape[1:]:
        return array
    wider = _blank(shape, array.dtype, cells)
    wider[(slice(None), *map(slice, array.shape[1:]))] = array
    return wider


def _labelled(layout: Layout, first: xr.Dataset, widest: xr.Dataset, values: dict[str, np.ndarray]) -> xr.Dataset:
    """The merged values with their coordinates; numbered dimensions are as long as in the shard that has most of it."""
    many = [axis for axis, chosen in layout.axes.items() if len(chosen) > 1]
    grid_shape = tuple(len(layout.axes[axis]) for axis in many)
    data = {}
    for name, array in values.items():
        rest = (layout.clock if dim == "step" else dim for dim in first[name].dims[1:])
        shaped = array.reshape(*grid_shape, len(layout.replicas), *array.shape[1:])
        data[name] = ((*many, "replica", *rest), shaped, first[name].attrs)
    coordinates = _coordinates(layout, many, grid_shape)
    for name in NUMBERED:
        if name in widest.coords:
            coordinates[name] = (name, widest[name].values, attributes(name))
    coordinates |= {name: widest[name].variable for name in NAMES if name in widest.coords}
    cube = xr.Dataset(data, coords=coordinates, attrs=first.attrs)
    return _timed(cube, layout)


def _coordinates(layout: Layout, many: list[str], shape: tuple[int, ...]) -> dict[str, Any]:
    """Every hyperparameter on just those axes along which it changes."""
    coordinates: dict[str, Any] = {
        "replica": ("replica", np.asarray(layout.replicas, dtype=np.int64), attributes("replica")),
        layout.clock: (layout.clock, np.asarray(layout.times), attributes(layout.clock)),
    }
    if "point" in many:
        coordinates["point"] = ("point", np.arange(len(layout.points)), attributes("point"))
    neutral = {name for name in OPTIONAL if all(p[name] == QUANTITIES[name].neutral for p in layout.points)}
    columns = {name: [p[name] for p in layout.points] for name in HYPERPARAMETERS if name not in neutral}
    if any(p["weight_decay"] for p in layout.points):
        columns["l2_strength"] = [p["weight_decay"] / 2 for p in layout.points]
    columns["temperature"] = [p["learning_rate"] / p["batch_size"] for p in layout.points]
    if any(p["richness"] != 1 for p in layout.points):
        rates = [derived_rates(p, layout.layers) for p in layout.points]
        columns |= {name: [rate[name] for rate in rates] for name in RATE_AXES}
    columns["inverse_init_scale"] = [1 / p["init_scale"] if p["init_scale"] else np.inf for p in layout.points]
    for name, column in columns.items():
        if name in many:  # as the card has it: what is derived from it would bring round-off
            coordinates[name] = (name, np.array(layout.axes[name]), attributes(name))
            continue
        grid = np.array(column).reshape(shape)
        dims = []
        for axis, dim in reversed(list(enumerate(many))):
            start = np.take(grid, [0], axis=axis)
            if (grid == start).all():
                grid = np.take(grid, 0, axis=axis)
            else:
                dims.insert(0, dim)
        coordinates[name] = (tuple(dims), grid, attributes(name))
    return coordinates


def _timed(cube: xr.Dataset, layout: Layout) -> xr.Dataset:
    """Add the other clocks of a run: steps, gradient-flow time, and, where there are samples, passes over them."""
    if layout.clock == "flow_time":
        rate, momentum, times = xr.broadcast(cube["learning_rate"], cube["momentum"], cube["flow_time"])
        steps = np.rint(times / (rate / (1 - momentum))).astype(np.int64)
        cube = cube.assign_coords(step=steps.assign_attrs(attributes("step")))
    clocks = {"flow_time": cube["learning_rate"] * cube["step"] / (1 - cube["momentum"])}
    if "samples" in cube.attrs:
        samples = cube.coords["samples"] if "samples" in cube.coords else cube.attrs["samples"]
        clocks["epoch"] = _epochs(cube, samples)
        clocks["epoch_time"] = clocks["flow_time"] / samples
    if cube.attrs.get("update") == "adam":  # its momentum is beta_1, and its steps follow no gradient flow
        clocks = {name: clock for name, clock in clocks.items() if name == "epoch"}
    if layout.clock == "flow_time":
        clocks.pop("flow_time", None)
    return cube.assign_coords(
        {name: clock.astype(float).assign_attrs(attributes(name)) for name, clock in clocks.items()}
    )


def _epochs(cube: xr.Dataset, samples: xr.DataArray | int) -> xr.DataArray:
    """Passes over the data; where a smaller last batch is kept, whole ones end with it."""
    shown = cube["step"] * cube["batch_size"] / samples
    if cube.attrs.get("last_batch") != "keep":
        return shown
    batches = np.ceil(samples / cube["batch_size"])
    return cube["step"] // batches + cube["step"] % batches * cube["batch_size"] / samples
