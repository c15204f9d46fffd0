import json

import netCDF4
import numpy as np
import pytest

from sgdphases.storage.records import open_records, write_records

SHARD = {"record_steps": [0, 2, 9], "networks": {"replica": [0, 1]}, "value": 0.1}


def arrays(number):
    numbers = np.random.default_rng(number)
    return {
        "weights_1": numbers.standard_normal((2, 4, 3)),
        "weights_2": numbers.standard_normal((2, 5, 4)).astype(np.float32),
        "bias_2": numbers.standard_normal((2, 5)).astype(np.float32),
        "epoch_train_loss": np.array([number, np.nan]),
    }


def write(path):
    write_records(path, SHARD, (arrays(number) for number in range(3)), np.array([-1, 7]))
    return path


def test_round_trip(tmp_path):
    with open_records(write(tmp_path / "a" / "b.nc")) as records:
        assert records.shard == SHARD
        assert records.steps.tolist() == [0, 2, 9]
        assert records.diverged_at.tolist() == [-1, 7]
        assert records.scalars == ("epoch_train_loss",)
        for number in range(3):
            assert np.array_equal(records.weights(1, number), arrays(number)["weights_1"])
            assert np.array_equal(records.weights(2, number), arrays(number)["weights_2"])
            assert np.array_equal(records.bias(2, number), arrays(number)["bias_2"])
        assert records.weights(2, 0).dtype == np.float32
        assert np.array_equal(
            records.scalar("epoch_train_loss"), [[0, np.nan], [1, np.nan], [2, np.nan]], equal_nan=True
        )
        with pytest.raises(KeyError, match="has no weights_7"):
            records.weights(7, 0)


def test_layout(tmp_path):
    with netCDF4.Dataset(write(tmp_path / "r.nc")) as file:
        assert file.variables["weights_1"].dimensions == ("weight_record", "network", "out_1", "in_1")
        assert file.variables["bias_2"].dimensions == ("weight_record", "network", "out_2")
        assert file.variables["epoch_train_loss"].dimensions == ("record", "network")
        filters = file.variables["weights_1"].filters()
        assert filters["fletcher32"]
        assert not filters["zlib"]
        assert file.complete == 1
        assert json.loads(file.shard) == SHARD


def test_weights_may_be_fewer_than_records(tmp_path):
    sparse = [arrays(0), {"epoch_train_loss": arrays(1)["epoch_train_loss"]}, arrays(2)]
    layers = [{**record, "coupling": np.full((2, 3), number)} for number, record in enumerate(sparse)]
    shard = SHARD | {"weight_steps": [0, 9]}
    write_records(tmp_path / "r.nc", shard, layers, np.array([-1, -1]))
    with open_records(tmp_path / "r.nc") as records:
        assert records.weight_steps.tolist() == [0, 9]
        assert np.array_equal(records.weights(1, 1), arrays(2)["weights_1"])
        assert records.scalar("epoch_train_loss").shape == (3, 2)
        assert records.scalar("coupling").shape == (3, 2, 3)
        assert set(records.scalars) == {"epoch_train_loss", "coupling"}
    with pytest.raises(ValueError, match="2 weights_1 for 3 record steps"):
        write_records(tmp_path / "s.nc", SHARD, sparse, np.array([-1, -1]))


def test_writing_twice_gives_the_same_bytes(tmp_path):
    assert write(tmp_path / "a.nc").read_bytes() == write(tmp_path / "b.nc").read_bytes()


def test_too_few_records_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="2 records for 3 record steps"):
        write_records(tmp_path / "r.nc", SHARD, (arrays(number) for number in range(2)), np.array([-1, -1]))
    assert list(tmp_path.iterdir()) == []


def test_unfinished_files_are_refused(tmp_path):
    with netCDF4.Dataset(tmp_path / "r.nc", "w") as file:
        file.createDimension("record", 3)
    with pytest.raises(ValueError, match="r.nc is incomplete"):
        open_records(tmp_path / "r.nc")


def test_damaged_files_are_refused(tmp_path):
    path = write(tmp_path / "r.nc")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="r.nc"):
        open_records(path)
    path.write_bytes(b"not a file")
    with pytest.raises(ValueError, match="r.nc is no readable records file"):
        open_records(path)
    with pytest.raises(FileNotFoundError, match="none.nc"):
        open_records(tmp_path / "none.nc")


def test_a_flipped_bit_is_seen(tmp_path):
    path = write(tmp_path / "r.nc")
    data = bytearray(path.read_bytes())
    data[data.index(arrays(1)["weights_1"].tobytes()) + 11] ^= 1
    path.write_bytes(data)
    with open_records(path) as records:
        records.weights(1, 0)
        with pytest.raises(ValueError, match="damaged: weights_1"):
            records.weights(1, 1)
