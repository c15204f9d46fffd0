import numpy as np
import pytest

from made_cubes import STEPS, grid_cube, paper_cube
from sgdphases.fits.averages import averages

DIMS = ("learning_rate", "init_scale", "replica", "step")


def test_medians_and_percentiles_of_the_last_step():
    cube = paper_cube(noise=0.3, replicas=11)
    found = averages(cube)
    expected = np.median(cube["train_loss"].isel(step=-1).values, axis=2)
    np.testing.assert_allclose(found["train_loss_median"], expected)
    assert (found["train_loss_median_low"] <= found["train_loss_median"]).all()
    assert (found["train_loss_median_high"] >= found["train_loss_median"]).all()
    # The median of n normal deviates scatters by 1.25/√n of their deviation, here of the logarithm.
    relative = (found["train_loss_median_error"] / found["train_loss_median"]).mean()
    assert float(relative) == pytest.approx(1.25 * 0.3 / np.sqrt(11), rel=0.3)


def test_initial_state_pools_the_networks_of_one_scale():
    random = np.random.default_rng(0)
    task = random.standard_normal((1, 1, 10, 1))
    gradient = np.exp(0.2 * task + 0.01 * random.standard_normal((12, 12, 10, len(STEPS))))
    found = averages(grid_cube({"gradient_norm": (DIMS, gradient), "overlap": (DIMS, gradient)}))
    assert int(found["initial_networks"]) == 120
    np.testing.assert_allclose(
        found["initial_gradient_norm"], np.median(gradient[..., 0].transpose(1, 0, 2).reshape(12, -1), axis=1)
    )
    # Replicas, not networks, are independent: the error is that of ten draws.
    error = float(found["initial_overlap_error"].mean())
    assert error == pytest.approx(np.exp(0.2 * task.ravel()).std() / np.sqrt(10), rel=0.3)


def test_initial_spectra_of_gaussian_matrices():
    random = np.random.default_rng(1)
    weights = random.standard_normal((6, 3, 20, 16, 32)) / np.sqrt(32)
    levels = np.linalg.svd(weights, compute_uv=False) ** 2
    scales = np.array([0.5, 1.0, 4.0])
    levels = levels * scales[None, :, None, None] ** 2
    whole = np.repeat(levels[:, :, :, None], len(STEPS), axis=3)
    axes = {"learning_rate": 2.0 ** np.arange(6), "init_scale": scales}
    found = averages(grid_cube({"eigenvalues": ((*DIMS, "mode"), whole)}, axes=axes))
    for name, true, deviation in (("largest_level", 2.588, 0.27), ("smallest_level", 0.122, 0.034)):
        value, error = (float(found[f"initial_{name}{end}"]) for end in ("", "_error"))
        assert abs(value - true) < 4 * error
        assert error == pytest.approx(deviation / np.sqrt(360), rel=0.15)
