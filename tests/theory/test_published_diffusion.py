import numpy as np
import pytest

from sgdphases.theory import langevin_displacement
from sgdphases.theory import published_diffusion as paper


def law(learning_rate=1e-4, batch_size=256, momentum=0.9):
    """‖δ‖² by the paper's scaling through its default run."""
    unit = langevin_displacement.one_step_displacement(1 / 256, learning_rate=1e-4, momentum=0.9)
    own = langevin_displacement.one_step_displacement(
        1 / np.asarray(batch_size, dtype=float), learning_rate=learning_rate, momentum=momentum
    )
    return paper.DEFAULT_ONE_STEP_DISPLACEMENT * own / unit


def test_batch_sizes_were_multiples_of_eight():
    expected = [32, 80, 136, 184, 240, 288, 344, 392, 448, 496, 552, 600, 656, 704, 760, 808, 864, 912, 968, 1024]
    assert paper.true_batch_size(paper.BATCH_SIZES).tolist() == expected
    # Steps per epoch that the release prints.
    assert np.ceil(paper.SAMPLES / paper.true_batch_size([32, 84, 256])).tolist() == [40037, 16015, 5005]
    assert paper.STEPS_PER_EPOCH == 5005


def test_tables_have_the_shape_of_their_axes():
    assert paper.EXPONENT_BY_LEARNING_RATE.shape == paper.LEARNING_RATES.shape == (20,)
    assert paper.EXPONENT_BY_BATCH_SIZE.shape == paper.BATCH_SIZES.shape == (20,)
    assert paper.EXPONENT_BY_MOMENTUM.shape == paper.MOMENTA.shape
    assert paper.EXPONENT_BY_EPOCHS.shape == paper.EPOCHS.shape == (9,)
    axes = (paper.GRID_LEARNING_RATES, paper.GRID_BATCH_SIZES, paper.GRID_MOMENTA)
    assert paper.GRID_EXPONENT.shape == tuple(len(axis) for axis in axes)
    assert set(paper.NETWORKS) == set(paper.EXPONENT) == set(paper.DISPLACEMENT) == set(paper.ONE_STEP_DISPLACEMENT)
    np.testing.assert_allclose(paper.LEARNING_RATES[[1, 2, 9]], [6.2e-5, 1.14e-4, 4.8e-4], rtol=3e-3)


def test_trends_of_the_exponents():
    assert (np.diff(paper.EXPONENT_BY_LEARNING_RATE) <= 0).all()
    assert np.interp(9e-5, paper.LEARNING_RATES, paper.EXPONENT_BY_LEARNING_RATE) == pytest.approx(1, abs=0.01)
    assert (np.diff(paper.EXPONENT_BY_MOMENTUM) < 0).all()
    assert paper.EXPONENT_BY_MOMENTUM[paper.MOMENTA == 0.88] == pytest.approx(1, abs=2e-3)
    least = paper.BATCH_SIZES[paper.EXPONENT_BY_BATCH_SIZE.min() == paper.EXPONENT_BY_BATCH_SIZE]
    assert least.tolist() == [188, 240]
    assert (np.diff(paper.EXPONENT_BY_EPOCHS) > 0).all()
    # More noise, less power; the grid agrees with the sweeps where they meet.
    assert (np.diff(paper.GRID_EXPONENT, axis=2) < 0).all()
    assert paper.GRID_EXPONENT[1, 1, 1] == pytest.approx(0.987)
    assert paper.GRID_EXPONENT[0, 1, 1] == pytest.approx(paper.EXPONENT_BY_LEARNING_RATE[0], abs=4e-3)
    assert paper.GRID_EXPONENT[2, 1, 1] == pytest.approx(paper.EXPONENT_BY_LEARNING_RATE[-1], abs=4e-3)
    assert paper.GRID_EXPONENT[1, 1, 2] == pytest.approx(paper.EXPONENT_BY_MOMENTUM[-1], abs=4e-3)


def test_eigenvalues():
    levels = paper.HESSIAN_EIGENVALUES
    assert levels.sum() == pytest.approx(561, abs=0.1)
    assert levels[0] / levels[-1] == pytest.approx(6.05, abs=5e-3)
    # Two runs of subspace iteration differ.
    errors = np.sort(levels)[::-1][:10] / paper.OTHER_HESSIAN_EIGENVALUES - 1
    assert 0.05 < np.abs(errors).max() < 0.25
    # Velocities follow the Hessian, positions do not.
    position, velocity = paper.EXTENT["position"], paper.EXTENT["velocity"]
    assert velocity[0] / velocity[1] == pytest.approx(np.sqrt(6.05), rel=0.01)
    assert 0.6 < (position[0] / position[1]) ** 2 < 1.7


def test_speeds_and_their_scaling():
    for rate, speed in paper.ONE_STEP_DISPLACEMENT_BY_LEARNING_RATE:
        assert speed / law(learning_rate=rate) == pytest.approx(1, abs=0.02)
    sizes, speeds = paper.ONE_STEP_DISPLACEMENT_BY_BATCH_SIZE.T
    ratio = speeds / law(batch_size=paper.true_batch_size(sizes))
    assert ratio[0] == pytest.approx(1.14, abs=5e-3)
    np.testing.assert_allclose(ratio[1:5], 1, atol=0.05)
    assert ratio[5] == pytest.approx(0.884, abs=1e-3)
    momenta, speeds = paper.ONE_STEP_DISPLACEMENT_BY_MOMENTUM.T
    np.testing.assert_allclose(speeds / law(momentum=momenta), [1.05, 1.07], atol=6e-3)
    assert paper.VELOCITY_RATIO[0.99] == pytest.approx(0.19 / (1 - 0.99**2), rel=2e-3)
    assert paper.VELOCITY_RATIO[0.999] < 0.6 * 0.19 / (1 - 0.999**2)


def test_collapse_of_the_grid():
    # Equal η/(1 − β) and S, other η and β: 1e-4 at 0.99 and 1e-3 at 0.9, 1e-5 at 0.99 and 1e-4 at 0.9.
    grid = paper.GRID_EXPONENT
    differences = np.concatenate([grid[1, :, 2] - grid[2, :, 1], grid[0, :, 2] - grid[1, :, 1]])
    assert 0.006 < np.abs(differences).min() < np.abs(differences).max() < 0.035
    assert np.sqrt((differences**2).mean()) == pytest.approx(0.020, abs=2e-3)
    assert (grid.min(), grid.max()) == (0.530, 1.593)
