import numpy as np
import pytest

from sgdphases.fits.cells import cells, mean_error, variance

STEP = np.arange(0, 101, 5, dtype=float)


def made(values, *, replicas=None, first=0.0, stretches=10):
    """Cells of one mode and the mean of values (R, B)."""
    alive = np.ones(len(values), dtype=bool) if replicas is None else replicas
    within = cells(STEP, alive, np.array([first]), np.array([stretches]))
    return within, within.mean(values[..., None])


def test_blocks_after_the_burn_in_weigh_as_much_as_their_steps():
    step = np.array([0.0, 1, 3, 10])
    within = cells(step, np.array([True, True, False]), np.array([1.0, 0.0]), np.array([2, 2]))
    np.testing.assert_allclose(within.weight[0, :, 0], np.array([0, 2, 7]) / 18)
    np.testing.assert_allclose(within.weight[1, :, 1], np.array([1, 2, 7]) / 20)
    assert (within.weight[2] == 0).all()
    np.testing.assert_array_equal(within.steps, [18, 20])
    np.testing.assert_array_equal(within.stretch[:, 1], [0, 0, 1])
    early = cells(step, np.array([True]), np.zeros(1), np.array([1]), np.array([3.0]))
    np.testing.assert_allclose(early.weight[0, :, 0], np.array([1, 2, 0]) / 3)


def test_nothing_is_nan():
    within, mean = made(np.ones((2, 20)), first=1000.0)
    assert np.isnan(mean.value).all()
    assert np.isnan(within.estimate(mean).error).all()


def test_errors_of_independent_blocks_cover_the_truth():
    random = np.random.default_rng(0)
    pulls, errors = [], []
    for _ in range(300):
        within, mean = made(random.standard_normal((6, 20)))
        estimate = within.estimate(mean)
        pulls.append(estimate.value[0] / estimate.error[0])
        errors.append(within.stretch_error(mean.influence)[0])
    assert np.mean(errors) == pytest.approx(1 / np.sqrt(120), rel=0.05)
    assert 0.7 < np.std(pulls) < 1.05


def test_replicas_that_differ_for_good_make_the_error():
    random = np.random.default_rng(1)
    values = random.standard_normal((8, 1)) + 0.01 * random.standard_normal((8, 20))
    within, mean = made(values)
    truth = values.mean(axis=1).std(ddof=1) / np.sqrt(8)
    assert within.estimate(mean).error[0] == pytest.approx(truth, rel=1e-6)
    assert within.stretch_error(mean.influence)[0] < truth / 2


def test_one_replica_has_the_error_of_its_stretches():
    random = np.random.default_rng(2)
    values = random.standard_normal((1, 20))
    within, mean = made(values)
    halves = values.reshape(10, 2).mean(axis=1)
    assert within.estimate(mean).error[0] == pytest.approx(halves.std(ddof=1) / np.sqrt(10))
    within, mean = made(values, stretches=1)
    assert np.isnan(within.estimate(mean).error[0])


def test_functions_of_means_have_the_error_of_their_derivative():
    random = np.random.default_rng(3)
    a, b = 2 + 0.05 * random.standard_normal((5, 20)), 3 + 0.05 * random.standard_normal((5, 20))
    within, first = made(a)
    second = within.mean(b[..., None])
    ratio = first * second.power(-1.0)
    left = [np.delete(a, r, 0).mean() / np.delete(b, r, 0).mean() for r in range(5)]
    assert ratio.value[0] == pytest.approx(a.mean() / b.mean())
    assert within.replica_error(ratio.influence)[0] == pytest.approx(np.sqrt(4 * np.var(left)), rel=0.02)
    both = (first - second).times(2.0)
    assert both.value[0] == pytest.approx(2 * (a.mean() - b.mean()))
    assert np.isnan(first.times(-1.0).power(0.5).value[0])


def test_variance_has_no_bias_of_its_mean():
    """Blocks that are nearly constant within a replica: the mean of 4 of them is known to half their deviation only."""
    random = np.random.default_rng(4)
    plain, kept = [], []
    for _ in range(400):
        values = np.repeat(random.standard_normal((4, 1)), 20, axis=1)
        within, mean = made(values)
        square = within.mean(values[..., None] ** 2)
        plain.append(square.value[0] - mean.value[0] ** 2)
        kept.append(variance(square, mean, mean_error(within, mean)).value[0])
    assert np.mean(plain) == pytest.approx(0.75, abs=0.1)
    assert np.mean(kept) == pytest.approx(1.0, abs=0.12)


def test_means_of_each_replica():
    values = np.arange(40.0).reshape(2, 20)
    within, _ = made(values, replicas=np.array([True, False]), first=50.0)
    found = within.by_replica(values[..., None])
    assert found[0, 0] == pytest.approx(values[0, 10:].mean())
    assert np.isnan(found[1, 0])
