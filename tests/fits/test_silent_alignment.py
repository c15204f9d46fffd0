import numpy as np
import pytest

from made_richness import Toy, richness_cube
from sgdphases.fits.drops import LEVELS
from sgdphases.fits.silent_alignment import LEAST_GAIN, silent_alignment
from sgdphases.storage import cube

STEPS = (0, 10, 20, 50, 100, 200, 600)
START, GAIN = 0.3, 0.4


class Aligning(Toy):
    """Alignment grows by a quarter of its gain until the drop, then by the rest until twice the drop."""

    def __call__(self, point, replica, steps):
        dropped = self.drop(point, replica)
        share = np.interp(steps, [0, dropped, 2 * dropped], [0, 0.25, 1])
        gain = GAIN if point["richness"] > 0.5 else LEAST_GAIN / 2
        return dict(super().__call__(point, replica, steps)) | {"ntk_alignment": START + gain * share}


def made_cube(toy=None, **axes):
    axes = {"richness": [1e-2, 10.0, 30.0, 100.0], "rates": [0.02], "steps": STEPS} | axes
    return richness_cube(toy or Aligning(scatter=0.02), rate_axis="scaled_learning_rate", **axes)


def test_the_share_at_the_drop_comes_back(tmp_path):
    """With every step recorded there is nothing to interpolate but the fall of five per cent."""
    found = silent_alignment(made_cube(steps=tuple(range(601)), replicas=3)).isel(scaled_learning_rate=0)
    rich = found.sel(richness=slice(10, None))
    np.testing.assert_allclose(rich["silent_share"], 0.26, atol=0.015)
    np.testing.assert_allclose(rich["alignment_gain"], GAIN)
    np.testing.assert_allclose(rich["alignment_at_drop"], START + GAIN * rich["silent_share"])
    assert (rich["silent_share_before"] <= rich["silent_share"]).all()
    assert float(found["rich_silent_share"]) == pytest.approx(float(rich["silent_share"].mean()))
    assert found["rich_silent_share_error"] > 0
    assert np.isnan(found["silent_share"].isel(richness=0))
    assert float(found["alignment_gain"].isel(richness=0)) == pytest.approx(LEAST_GAIN / 2)
    cube.write(found, tmp_path / "fit.nc")


def test_between_records_the_truth_lies_after_the_last_one():
    exact = silent_alignment(made_cube(Aligning(), steps=tuple(range(601))))["silent_share"]
    found = silent_alignment(made_cube(Aligning()))
    rich = np.isfinite(exact)
    assert (found["silent_share_before"].where(rich, 0) <= exact.where(rich, 0) + 1e-9).all()
    dropped = [Aligning().drop({"richness": 100.0, "depth": 3, "learning_rate": 0.02 * 100 ** (2 / 3)}, 0)]
    np.testing.assert_allclose(found["silent_step"].sel(richness=100), np.array(dropped) * 1.02, rtol=0.03)
    assert 0.95 in LEVELS


def test_networks_that_do_not_drop_have_no_share():
    found = silent_alignment(made_cube(steps=(0, 50, 100)))
    assert np.isnan(found["silent_share"].sel(richness=100)).all()
    assert "of 4 values of the richness" in found.attrs["reason"]
    late = silent_alignment(made_cube(steps=(10, 300, 600)))
    assert np.isnan(late["silent_share"]).all()


@pytest.mark.parametrize("missing", ["ntk_alignment", "batch_loss", "constant_loss", "status"])
def test_what_lacks_is_named(missing):
    with pytest.raises(ValueError, match=f"silent_alignment needs {missing}"):
        silent_alignment(made_cube(steps=(0, 10)).drop_vars(missing))
