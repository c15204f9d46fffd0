import numpy as np
import pytest

from made_cubes import STEPS, grid_cube
from sgdphases.fits.fractions import fractions
from sgdphases.fits.intervals import wilson_interval

DIMS = ("learning_rate", "init_scale", "replica", "step")


def flagged(values, replicas=10):
    """A cube whose criterion is `values` (temperature, scale, replica) at the last step, and 0 before."""
    flags = np.zeros((2, 3, replicas, len(STEPS)), dtype=np.int8)
    flags[..., -1] = values
    axes = {"learning_rate": [1.0, 4.0], "init_scale": [0.5, 1.0, 2.0]}
    return grid_cube({"criterion_corrected": (DIMS, flags)}, axes=axes)


def test_share_and_interval_are_wilsons_at_the_last_step():
    values = np.zeros((2, 3, 10), dtype=np.int8)
    values[1, 2, :7] = 1
    found = fractions(flagged(values))
    one = found.isel(learning_rate=1, init_scale=2)
    expected = wilson_interval(7, 10)
    assert float(one["criterion_corrected_fraction"]) == 0.7
    assert float(one["criterion_corrected_fraction_low"]) == pytest.approx(float(expected.low))
    assert float(one["criterion_corrected_fraction_high"]) == pytest.approx(float(expected.high))
    assert float(found["criterion_corrected_fraction"].sum()) == pytest.approx(0.7)


def test_replicas_without_a_value_do_not_count():
    values = np.ones((2, 3, 10), dtype=np.int8)
    values[0, 0, :4] = -1
    values[0, 1, :] = -1
    found = fractions(flagged(values))["criterion_corrected_fraction"]
    assert float(found[0, 0]) == 1.0
    assert np.isnan(float(found[0, 1]))


def test_phases_with_majority_and_agreement():
    labels = np.zeros((2, 3, 10, len(STEPS)), dtype=np.int8)
    labels[0, 0, :, -1] = [1] * 6 + [3] * 4
    labels[0, 1, :, -1] = -1
    cube = flagged(np.ones((2, 3, 10), dtype=np.int8)).assign(phase=(DIMS, labels))
    cube["phase"].attrs = {
        "flag_values": np.arange(4, dtype=np.int8),
        "flag_meanings": "undecided ferro spin_glass para",
    }
    found = fractions(cube)
    assert float(found["ferro_fraction"][0, 0]) == 0.6
    assert float(found["para_fraction"][0, 0]) == 0.4
    assert int(found["phase_majority"][0, 0]) == 1
    assert float(found["phase_agreement"][0, 0]) == 0.6
    assert int(found["phase_majority"][0, 1]) == -1
    assert np.isnan(float(found["phase_agreement"][0, 1]))
    assert found["phase_majority"].attrs["flag_meanings"] == "undecided ferro spin_glass para"


def test_layers_stay_apart():
    flags = np.zeros((2, 3, 4, len(STEPS), 2), dtype=np.int8)
    flags[..., 1] = 1
    axes = {"learning_rate": [1.0, 4.0], "init_scale": [0.5, 1.0, 2.0]}
    found = fractions(grid_cube({"criterion_corrected": ((*DIMS, "layer"), flags)}, axes=axes))
    assert found["criterion_corrected_fraction"].dims == ("learning_rate", "init_scale", "layer")
    assert found["criterion_corrected_fraction"].mean(["learning_rate", "init_scale"]).values.tolist() == [0.0, 1.0]


def test_says_what_is_missing():
    cube = flagged(np.zeros((2, 3, 10), dtype=np.int8)).drop_vars("criterion_corrected")
    with pytest.raises(ValueError, match="criterion_published, criterion_corrected, phase"):
        fractions(cube)
