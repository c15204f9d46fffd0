"""Records: the weights and running scalars that training leaves, one NetCDF-4 file per shard.

Dimensions `record` and `network`, and per trained layer `out_<l>` and `in_<l>`. Variables `step` (record),
`weights_<l>` (record, network, out, in), `bias_<l>` (record, network, out), running scalars (record, network) and
`diverged_at` (network), -1 for alive. Attributes: `shard`, its JSON text, and `complete`. All data carry Fletcher-32
sums, so damage is seen when it is read.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import netCDF4
import numpy as np

from sgdphases.files import writing

UNITS = {"epoch_train_loss": "loss", "epoch_gradient_norm": "loss per weight"}
MEANINGS = {
    "epoch_train_loss": "mean batch loss over the epoch so far",
    "epoch_gradient_norm": "Frobenius norm of the mean batch gradient over the epoch so far",
}


def write_records(
    path: str | Path,
    shard: Mapping[str, Any],
    records: Iterable[Mapping[str, np.ndarray]],
    diverged_at: np.ndarray,
) -> None:
    """Write a whole records file, one record at a time.

    Args:
        path: Where; an existing file is replaced when the new one is whole.
        shard: The shard's JSON object.
        records: Per record step, in their order: arrays by variable name, each with the networks first.
        diverged_at: The update that each network did not survive, -1 for alive, (networks,).

    Raises:
        ValueError: If there are not as many records as record steps.
    """
    steps = np.asarray(shard["record_steps"], dtype=np.int64)
    with writing(path) as temporary, netCDF4.Dataset(temporary, "w", format="NETCDF4") as file:
        file.createDimension("record", len(steps))
        file.createDimension("network", len(diverged_at))
        _variable(file, "step", ("record",), np.int64)[:] = steps
        _variable(file, "diverged_at", ("network",), np.int64)[:] = diverged_at
        count = 0
        for number, record in enumerate(records):
            for name, array in record.items():
                if name not in file.variables:
                    _create(file, name, array)
                file.variables[name][number] = array
            count += 1
        if count != len(steps):
            raise ValueError(f"{count} records for {len(steps)} record steps")
        file.shard = json.dumps(shard, sort_keys=True)
        file.complete = np.int64(1)


class Records:
    """A records file, open for reading; nothing is read before it is asked for.

    Args:
        path: The file.

    Attributes:
        shard: The shard's JSON object.
        steps: Recorded steps.
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
        self.diverged_at = self._read("diverged_at", slice(None))

    def weights(self, layer: int, record: int) -> np.ndarray:
        """Weights of a trained layer at one record, (networks, out, in)."""
        return self._read(f"weights_{layer}", record)

    def bias(self, layer: int, record: int) -> np.ndarray:
        """Bias of a trained layer at one record, (networks, out)."""
        return self._read(f"bias_{layer}", record)

    def scalar(self, name: str) -> np.ndarray:
        """A running observable at all records, (records, networks)."""
        return self._read(name, slice(None))

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of the running observables in the file."""
        return tuple(name for name, variable in self._file.variables.items() if variable.dimensions[1:] == ("network",))

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
    kind, _, layer = name.rpartition("_")
    sides = (f"out_{layer}", f"in_{layer}")[: array.ndim - 1] if kind in ("weights", "bias") else ()
    for side, size in zip(sides, array.shape[1:], strict=True):
        if side not in file.dimensions:
            file.createDimension(side, size)
    variable = _variable(file, name, ("record", "network", *sides), array.dtype, chunks=(1, *array.shape))
    if name in MEANINGS:
        variable.long_name, variable.units = MEANINGS[name], UNITS[name]


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
