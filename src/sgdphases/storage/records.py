"""Records: the weights and running scalars that training leaves, one NetCDF-4 file per shard.

Dimensions `record`, `weight_record` (those records that hold weights), `network`, `layer` (the trained ones), and per
trained layer `out_<l>` and `in_<l>`. Variables `step` (record), `weight_step` (weight_record), `weights_<l>`
(weight_record, network, out, in), `bias_<l>` (weight_record, network, out), running observables (record, network),
(record, network, layer) or with the axes of `ensemble.starting.OWN_AXES`, `diverged_at` (network), -1 for alive, and
what training says once of each network, such as `batch_loss` (network, update). Attributes: `shard`, its JSON text, and
`complete`.
All data carry Fletcher-32 sums, so damage is seen when it is read.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import netCDF4
import numpy as np

from sgdphases.ensemble.starting import OWN_AXES
from sgdphases.files import writing

MEANINGS = {
    "epoch_train_loss": ("mean batch loss over the epoch so far", "1"),
    "epoch_train_accuracy": ("mean batch accuracy over the epoch so far", "1"),
    "epoch_gradient_norm": ("Frobenius norm of the mean batch gradient over the epoch so far", "1"),
    "weight_work": ("sum of -<W, gradient> learning_rate / (1 - momentum) over all steps so far", "1"),
    "weight_diffusion": ("sum over all steps so far of what the squared norm gains beyond the work", "1"),
    "coupling": ("standard deviation of all weights times the square root of the fan-in", "1"),
    "mean_coupling": ("mean of all weights times the fan-in", "1"),
    "test_loss": ("loss over the test set", "1"),
    "test_accuracy": ("accuracy over the test set", "1"),
    "validation_loss": ("loss over the validation set", "1"),
    "validation_accuracy": ("accuracy over the validation set", "1"),
    "batch_loss": ("loss of the batch that an update sees, before the update", "1"),
    "tried": ("1 where the search has trained the network, 0 where it has left it out", "1"),
    "bracket": ("learning rates on both sides of a strip's edge, at its last good network", "1"),
    "asymptotic_distance": ("mean distance of two orbits over the last fifth of the iterations", "1"),
    "lyapunov": ("largest Lyapunov exponent per iteration", "1"),
    "jacobian_norm": ("geometric mean of the Jacobian's Frobenius norm over sqrt(N), over the same states", "1"),
    "local_displacement": ("squared length of an update, mean over those since the record before", "1"),
    "global_displacement": ("squared distance from the start", "1"),
    "displacement_along_start": ("product of the displacement from the start with the start", "1"),
    "weight_norm": ("squared norm of all parameters", "1"),
    "displacement_gram": ("product of displacements of two replicas of a point", "1"),
    "position": ("displacement from the start along a direction", "1"),
    "velocity": ("the last update over the learning rate, along a direction", "1"),
    "converged": ("1 where the distance is the asymptotic one, 0 where more iterations are needed to tell", "1"),
}
"""Long name and units of running observables."""


def write_records(
    path: str | Path,
    shard: Mapping[str, Any],
    records: Iterable[Mapping[str, np.ndarray]],
    diverged_at: np.ndarray,
    whole: Mapping[str, tuple[tuple[str, ...], np.ndarray]] | None = None,
) -> None:
    """Write a whole records file, one record at a time.

    Args:
        path: Where; an existing file is replaced when the new one is whole.
        shard: The shard's JSON object.
        records: Per record step, in their order: arrays by variable name, each with the networks first; those of
            weights at the shard's `weight_steps` only.
        diverged_at: The update that each network did not survive, -1 for alive, (networks,).
        whole: What is said once of each network: name to (dimensions, the first of them "network", array).

    Raises:
        ValueError: If there are not as many records, or weights, as there are steps for them.
    """
    steps = np.asarray(shard["record_steps"], dtype=np.int64)
    weight_steps = np.asarray(shard.get("weight_steps") or steps, dtype=np.int64)
    with writing(path) as temporary, netCDF4.Dataset(temporary, "w", format="NETCDF4") as file:
        file.createDimension("record", len(steps))
        file.createDimension("weight_record", len(weight_steps))
        file.createDimension("network", len(diverged_at))
        _variable(file, "step", ("record",), np.int64)[:] = steps
        _variable(file, "weight_step", ("weight_record",), np.int64)[:] = weight_steps
        _variable(file, "diverged_at", ("network",), np.int64)[:] = diverged_at
        for name, (dimensions, array) in (whole or {}).items():
            _create_whole(file, name, dimensions, array)
        counts = Counter({"records": 0})
        for record in records:
            counts["records"] += 1
            for name, array in record.items():
                if name not in file.variables:
                    _create(file, name, array)
                file.variables[name][counts[name]] = array
                counts[name] += 1
        for name, count in counts.items():
            expected = len(weight_steps if _holds_weights(name) else steps)
            if count != expected:
                raise ValueError(f"{count} {name} for {expected} record steps")
        file.shard = json.dumps(shard, sort_keys=True)
        file.complete = np.int64(1)


class Records:
    """A records file, open for reading; nothing is read before it is asked for.

    Args:
        path: The file.

    Attributes:
        shard: The shard's JSON object.
        steps: Recorded steps.
        weight_steps: Those of them at which weights were recorded.
        diverged_at: The update that each network did not survive, -1 for alive.

    Raises:
        ValueError: If the file is damaged or was not finished.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path} does not exist")
        try:
            self._file = netCDF4.Dataset(self.path)
        except OSError as error:
            raise ValueError(f"{self.path} is no readable records file: {error}") from error
        if "complete" not in self._file.ncattrs() or int(self._file.complete) != 1:
            self._file.close()
            raise ValueError(f"{self.path} is incomplete")
        self._file.set_auto_mask(False)
        self.shard: dict[str, Any] = json.loads(self._file.shard)
        self.steps = self._read("step", slice(None))
        self.weight_steps = self._read("weight_step", slice(None))
        self.diverged_at = self._read("diverged_at", slice(None))

    def weights(self, layer: int, record: int) -> np.ndarray:
        """Weights of a trained layer at one of `weight_steps`, (networks, out, in)."""
        return self._read(f"weights_{layer}", record)

    def bias(self, layer: int, record: int) -> np.ndarray:
        """Bias of a trained layer at one of `weight_steps`, (networks, out)."""
        return self._read(f"bias_{layer}", record)

    def scalar(self, name: str) -> np.ndarray:
        """A running observable at all records, (records, networks) or (records, networks, trained layers)."""
        return self._read(name, slice(None))

    def whole(self, name: str) -> np.ndarray:
        """What is said once of each network, (networks, ...)."""
        return self._read(name, slice(None))

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of the running observables in the file."""
        return tuple(
            name for name, variable in self._file.variables.items() if variable.dimensions[:2] == ("record", "network")
        )

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of all that is in the file."""
        return tuple(self._file.variables)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, name: str, place: int | slice) -> np.ndarray:
        if name not in self._file.variables:
            raise KeyError(f"{self.path} has no {name}")
        try:
            return self._file.variables[name][place]
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{self.path} is damaged: {name} cannot be read ({error})") from error


def open_records(path: str | Path) -> Records:
    """Open a records file.

    Args:
        path: The file.

    Returns:
        The open file, also a context manager.
    """
    return Records(path)


def _create(file: netCDF4.Dataset, name: str, array: np.ndarray) -> None:
    """Make the variable of one kind of array, chunked by record."""
    layer = name.rpartition("_")[2]
    weights = _holds_weights(name)
    sides = OWN_AXES.get(name, ("layer",)[: array.ndim - 1])
    if weights:
        sides = (f"out_{layer}", f"in_{layer}")[: array.ndim - 1]
    for side, size in zip(sides, array.shape[1:], strict=True):
        if side not in file.dimensions:
            file.createDimension(side, size)
    dimensions = ("weight_record" if weights else "record", "network", *sides)
    variable = _variable(file, name, dimensions, array.dtype, chunks=(1, *array.shape))
    if name in MEANINGS:
        variable.long_name, variable.units = MEANINGS[name]


def _create_whole(file: netCDF4.Dataset, name: str, dimensions: tuple[str, ...], array: np.ndarray) -> None:
    """Write a variable that has no records."""
    for side, size in zip(dimensions, array.shape, strict=True):
        if side not in file.dimensions:
            file.createDimension(side, size)
    variable = _variable(file, name, dimensions, array.dtype)
    variable[:] = array
    if name in MEANINGS:
        variable.long_name, variable.units = MEANINGS[name]


def _holds_weights(name: str) -> bool:
    """Whether a variable is weights or biases of a layer."""
    kind, _, layer = name.rpartition("_")
    return kind in ("weights", "bias") and layer.isdigit()


def _variable(
    file: netCDF4.Dataset,
    name: str,
    dimensions: tuple[str, ...],
    dtype: Any,
    *,
    chunks: tuple[int, ...] | None = None,
) -> netCDF4.Variable:
    """A variable with checksums and without fill values: everything in it is written."""
    return file.createVariable(name, dtype, dimensions, fletcher32=True, fill_value=False, chunksizes=chunks)
