import numpy as np
import pytest

from made_cubes import grid_cube, paper_cube
from sgdphases.fits.power_laws import power_laws
from sgdphases.theory import published

STEPS = np.unique(np.concatenate([[0], np.geomspace(1, 10**6, 36).round()])).astype(int)
DIMS = ("learning_rate", "init_scale", "replica", "step")


@pytest.fixture(scope="module")
def fitted():
    random = np.random.default_rng(3)
    time = np.maximum(STEPS, 1.0)
    loss = time**-0.8 * np.exp(0.1 * random.standard_normal((12, 12, 10, len(STEPS))))
    each = 0.56 + 0.05 * random.standard_normal((1, 1, 10, 1))
    largest = time**each * np.ones((12, 12, 1, 1))
    levels = np.stack([largest, np.zeros_like(largest)], axis=-1)
    variables = {"train_loss": (DIMS, loss), "eigenvalues": ((*DIMS, "mode"), levels)}
    return power_laws(grid_cube(variables, steps=STEPS)), each.ravel()


def test_known_exponents_in_time(fitted):
    found, _ = fitted
    window = found.isel(window=int(np.flatnonzero(found["window_start"] == 10**4)[0]))
    pull = (window["train_loss_exponent"] + 0.8) / window["train_loss_exponent_error"]
    assert float(np.sqrt((pull**2).mean())) < 1.6
    assert float(window["train_loss_exponent_error"].mean()) == pytest.approx(0.1 / np.sqrt(10) / 4.6, rel=0.6)


def test_replicas_not_cells_give_the_error_of_a_region(fitted):
    """All cells of a replica share its exponent: sixteen cells are no sixteen measurements."""
    found, each = fitted
    last = found.isel(window=-1)
    assert float(last["hot_growth_exponent"]) == pytest.approx(each.mean())
    assert float(last["hot_growth_exponent_error"]) == pytest.approx(each.std(ddof=1) / np.sqrt(10))


def test_windows_are_two_decades_inside_the_schedule(fitted):
    found, _ = fitted
    assert found["window_start"].values.tolist() == [100, 1000, 10_000]
    assert found["window_end"].values.tolist() == [10_000, 100_000, 1_000_000]


def test_slopes_of_the_published_growth_map():
    found = power_laws(paper_cube(noise=0.0))
    hottest = found["inverse_init_scale_exponent"].sel(learning_rate=256.0)
    assert float(hottest) == pytest.approx(2.01, abs=0.02)
    assert float(found["temperature_exponent"].sel(init_scale=0.125)) == pytest.approx(1.23, abs=0.01)


def test_a_loss_of_zero_is_left_out():
    cube = paper_cube(noise=0.0)
    loss = cube["train_loss"].where(cube["step"] < 10**5, 0.0)
    found = power_laws(cube.assign(train_loss=loss))
    whole = power_laws(cube.isel(step=slice(0, -1)))
    shared = {"window": 0}
    np.testing.assert_allclose(
        found["train_loss_exponent"].isel(shared), whole["train_loss_exponent"].isel(shared), rtol=1e-12
    )
    assert np.isfinite(found["train_loss_exponent"]).all()


def test_short_schedules_have_no_window():
    cube = paper_cube().isel(step=slice(0, 3))
    found = power_laws(cube)
    assert found.sizes.get("window", 0) == 0
    assert "inverse_init_scale_exponent" in found


def test_temperatures_are_the_papers():
    assert published.TEMPERATURES[-4:].tolist() == [8, 16, 32, 64]
