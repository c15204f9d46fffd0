import numpy as np
import pytest

from made_cubes import STEPS, grid_cube
from sgdphases.fits.batch import batch_boundary
from sgdphases.theory.criterion import stability_learning_rate

SIZES = 2.0 ** np.arange(6)
RATES = 2.0 ** np.arange(-4, 6, 0.5)


def made(critical, axis="learning_rate"):
    """Networks whose loss passes 1e-4 at a critical learning rate for each batch size, with scatter."""
    random = np.random.default_rng(1)
    place = RATES if axis == "learning_rate" else RATES / 8
    rate = place[None, :] * (1 if axis == "learning_rate" else SIZES[:, None])
    scatter = np.exp(0.1 * random.standard_normal((len(SIZES), len(RATES), 1, 15, 1)))
    loss = 1e-4 * ((rate / critical[:, None]) ** 2)[..., None, None, None] * scatter * np.ones(len(STEPS))
    dims = ("batch_size", axis, "init_scale", "replica", "step")
    return grid_cube({"train_loss": (dims, loss)}, axes={"batch_size": SIZES, axis: place, "init_scale": [0.25]})


@pytest.mark.parametrize("axis", ["learning_rate", "temperature"])
def test_known_critical_rates_and_exponents(axis):
    critical = np.where(SIZES <= 4, 0.4 * SIZES**0.9, 0.4 * 4**0.9 * (SIZES / 4) ** 0.5)
    found = batch_boundary(made(critical, axis)).isel(init_scale=0)
    value, error = found["loss_learning_rate"].values, found["loss_learning_rate_error"].values
    assert (np.abs(value - critical) < 4 * error).all()
    np.testing.assert_allclose(found["loss_temperature"], value / SIZES)
    for window, true in (("small", 0.9), ("large", 0.5)):
        slope, spread = (float(found[f"loss_{window}_batch_exponent{end}"]) for end in ("", "_error"))
        assert abs(slope - true) < 4 * spread
        assert spread < 0.1


def test_theory_stands_beside():
    found = batch_boundary(made(SIZES))
    np.testing.assert_allclose(found["stability_learning_rate"], stability_learning_rate(SIZES))
    assert found["stability_learning_rate"].values == pytest.approx([0.26, 0.38, 0.49, 0.58, 0.63, 0.67], abs=0.01)


def test_needs_batch_sizes():
    cube = made(SIZES).isel(batch_size=0)
    with pytest.raises(ValueError, match="grid over batch_size"):
        batch_boundary(cube)
