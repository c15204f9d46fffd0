import logging

import numpy as np
import pytest

from sgdphases.ensemble.checkpoint import Checkpoints
from sgdphases.ensemble.state import State

STEPS = (0, 1, 5, 10, 20, 40)


def state(step):
    arrays = {"weights_0": np.full((2, 3), float(step)), "bias_0": np.full(2, step, dtype=np.float32)}
    return State(step, arrays, np.array([-1, step]))


def record(number):
    return {"weights_0": np.full((2, 3), number / 7), "epoch_train_loss": np.array([number, np.nan])}


def fill(folder, *, chunk_bytes=2**20):
    """Records 0..5 with states at 5, 12 and 30."""
    checkpoints = Checkpoints(folder, chunk_bytes=chunk_bytes)
    for number, step in enumerate(STEPS):
        for at in (12, 30):
            if STEPS[number - 1] < at <= step and number:
                checkpoints.save(state(at))
        checkpoints.add(number, record(number))
        if step == 5:
            checkpoints.save(state(5))
    return checkpoints


def assert_records(found, count):
    found = list(found)
    assert len(found) == count
    for number, arrays in enumerate(found):
        assert arrays.keys() == record(number).keys()
        for name, array in arrays.items():
            assert np.array_equal(array, record(number)[name], equal_nan=True)


@pytest.mark.parametrize("chunk_bytes", [1, 100, 2**20])
def test_round_trip(tmp_path, chunk_bytes):
    assert_records(fill(tmp_path / "job", chunk_bytes=chunk_bytes).records(), 6)
    again = Checkpoints(tmp_path / "job")
    found = again.resume(STEPS)
    assert found.step == 30
    assert np.array_equal(found.arrays["weights_0"], state(30).arrays["weights_0"])
    assert found.arrays["bias_0"].dtype == np.float32
    assert found.diverged_at.tolist() == [-1, 30]
    assert_records(again.records(), 5)  # what came after the state comes again
    again.add(5, record(5))
    assert_records(again.records(), 6)


def test_two_states_are_kept(tmp_path):
    fill(tmp_path)
    assert [path.stem for path in sorted(tmp_path.glob("state-*"))] == [f"state-{12:015d}", f"state-{30:015d}"]


@pytest.mark.parametrize("how", ["cut", "flip", "empty"])
def test_damaged_state_falls_back(tmp_path, how, caplog):
    fill(tmp_path)
    newest = max(tmp_path.glob("state-*"))
    data = bytearray(newest.read_bytes())
    if how == "flip":
        data[len(data) // 3] ^= 1
    newest.write_bytes({"cut": data[:-40], "flip": data, "empty": b""}[how])
    with caplog.at_level(logging.WARNING):
        again = Checkpoints(tmp_path)
        assert again.resume(STEPS).step == 12
    assert newest.name in caplog.text
    assert_records(again.records(), 4)


def test_damaged_records_fall_back(tmp_path):
    fill(tmp_path)
    newest = max(tmp_path.glob("records-*"))
    newest.write_bytes(newest.read_bytes()[:-30])
    again = Checkpoints(tmp_path)
    assert again.resume(STEPS).step == 12
    assert_records(again.records(), 4)


def test_missing_records_fall_back_to_the_beginning(tmp_path):
    fill(tmp_path)
    min(tmp_path.glob("records-*")).unlink()
    again = Checkpoints(tmp_path)
    assert again.resume(STEPS) is None
    assert list(again.records()) == []


def test_every_single_flip_is_seen(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for number in range(3):
        checkpoints.add(number, record(number))
    checkpoints.save(state(5))
    path = next(tmp_path.glob("state-*"))
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        data = bytearray(whole)
        data[place] ^= 4
        path.write_bytes(data)
        found = Checkpoints(tmp_path).resume(STEPS)
        if found is not None:  # a byte that says nothing about the content
            assert found.step == 5
            for name, array in state(5).arrays.items():
                assert np.array_equal(found.arrays[name], array)
        path.write_bytes(whole)
        if not list(tmp_path.glob("records-*")):
            for number in range(3):
                checkpoints.add(number, record(number))
            checkpoints.save(state(5))
            whole = path.read_bytes()


def test_remove(tmp_path):
    checkpoints = fill(tmp_path / "job")
    (tmp_path / "job" / ".state-1.abc.npz").write_bytes(b"")  # a killed job's
    checkpoints.remove()
    assert not (tmp_path / "job").exists()
    checkpoints.remove()
