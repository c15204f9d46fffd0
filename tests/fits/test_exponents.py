import numpy as np
import pytest

from made_diffusion import ladder, walk_cube
from sgdphases.fits.exponents import (
    PROTOCOLS,
    exponents,
    interpolated_logarithm,
    line_weights,
    local_exponents,
    protocols_of,
    robust_lattice,
    tangent_exponents,
    uneven_weights,
    whole_epochs,
)
from sgdphases.fits.walks import walks_of
from sgdphases.theory import published_diffusion

FIG1, FIG6, ROBUST, COMMON = range(4)


def walks_at(steps, **more):
    """Walks that were recorded at some steps; nobody has walked."""
    attrs = {name: more.pop(name) for name in ("samples", "sampler") if name in more}
    made = walk_cube(ladder(1), [0, 1], replicas=1, **more)
    made = made[["global_displacement"]].isel(step=np.zeros(len(steps), dtype=int))
    return walks_of(made.assign_coords(step=("step", np.asarray(steps))).assign_attrs(attrs), "test")


def test_drift_makes_the_published_powers_of_longer_runs():
    """y = t + r t² by the protocol of Figure 1 gives what the independent analysis has for 20 to 100 epochs."""
    expected = [1.086, 1.122, 1.155, 1.186, 1.214, 1.241, 1.266, 1.289, 1.310]
    for epochs, power in zip(published_diffusion.EPOCHS, expected, strict=True):
        walks = walks_at(np.arange(0, 5000 * epochs + 1, 250), samples=5000 * 32)
        time = walks.step / 5000
        found = exponents(time + published_diffusion.DRIFT_RATIO * time**2, protocols_of(walks).weight)
        assert found[0, FIG1] == pytest.approx(power, abs=6e-4)


def test_each_protocol_is_its_line_of_least_squares():
    steps = np.arange(0, 2001)
    walks = walks_at(steps, momentum=[0.8])
    protocols = protocols_of(walks)
    with np.errstate(divide="ignore"):
        logs = np.log(steps)
    curve = np.exp(0.3 * np.sin(logs[1:]) + logs[1:])
    found = exponents(np.concatenate([[0.0], curve])[None], protocols.weight)[0]
    # 100 steps an epoch: samples every 5 steps, from the 21st to the one before the end, last two thirds.
    chosen = 5 * np.arange(21, 400)[379 // 3 :]
    assert found[FIG1] == pytest.approx(np.polyfit(logs[chosen], np.log(curve[chosen - 1]), 1)[0], rel=1e-9)
    chosen = np.arange(101, 201)
    assert found[FIG6] == pytest.approx(np.polyfit(logs[chosen], np.log(curve[chosen - 1]), 1)[0], rel=1e-9)
    lattice = np.geomspace(250, 2000, int(np.ceil(40 * np.log10(8))) + 1)
    heights = np.interp(np.log(lattice), logs[1:], np.log(curve))
    assert found[ROBUST] == pytest.approx(np.polyfit(np.log(lattice), heights, 1)[0], rel=1e-9)
    assert found[COMMON] == pytest.approx(found[ROBUST])
    np.testing.assert_allclose(protocols.first[0], [735, 101, 250, 250])
    np.testing.assert_allclose(protocols.last[0], [1995, 200, 2000, 2000])


def test_a_power_law_is_found_wherever_it_was_recorded():
    random = np.random.default_rng(0)
    steps = np.concatenate([[0], np.unique(random.integers(1, 3000, 400)), [3000]])
    walks = walks_at(steps)
    found = exponents(3 * np.maximum(steps, 1e-9)[None] ** 1.37, protocols_of(walks).weight)
    np.testing.assert_allclose(found, 1.37, rtol=1e-9)


def test_windows_wait_for_the_velocity_and_common_ones_for_all():
    walks = walks_at(np.arange(0, 8001, 50), momentum=[0.0, 0.9, 0.99])
    protocols = protocols_of(walks)
    np.testing.assert_allclose(protocols.first[:, ROBUST], [50, 500, 2000])
    np.testing.assert_allclose(protocols.first[:, COMMON], 2000)
    np.testing.assert_allclose(protocols.last[:, COMMON], 8000)
    short = walks_at(np.arange(0, 1501, 50), momentum=[0.9, 0.99])
    weight = protocols_of(short).weight
    assert np.isfinite(weight[0, ROBUST]).all()
    assert np.isnan(weight[1, ROBUST]).all()
    assert np.isnan(weight[:, COMMON]).all()


def test_runs_too_short_or_without_epochs_have_no_published_protocol():
    short = protocols_of(walks_at([0, 10, 50, 100, 150], samples=3200))
    assert np.isnan(short.weight[0, FIG6]).all()
    endless = protocols_of(walks_at(np.arange(0, 3000, 10), samples=0))
    assert np.isnan(endless.weight[0, [FIG1, FIG6]]).all()
    assert np.isfinite(endless.weight[0, ROBUST]).all()
    rare = protocols_of(walks_at([0, 1, 1000, 2000], samples=32 * 500))
    assert (rare.records[0] < 3).any()
    assert np.isnan(rare.weight[0, FIG6]).all()


def test_without_replacement_whole_epochs_count_alone():
    steps = np.arange(0, 3001, 25)
    walks = walks_at(steps, sampler="reshuffle", samples=3200)
    np.testing.assert_array_equal(steps[whole_epochs(walks, 0)], np.arange(100, 3001, 100))
    weight = protocols_of(walks).weight[0, ROBUST]
    assert (weight[steps % 100 != 0] == 0).all()
    bridge = np.where(steps % 100 == 0, 1.0, 5.0) * np.maximum(steps, 1) ** 0.8
    assert exponents(bridge[None], protocols_of(walks).weight)[0, ROBUST] == pytest.approx(0.8, rel=1e-9)
    seldom = walks_at([0, 30, 60, 90, 130], sampler="reshuffle", samples=3200)
    assert whole_epochs(seldom, 0).sum() == 4
    assert whole_epochs(walks_at(steps), 0).sum() == len(steps) - 1


def test_unknown_values_only_matter_inside_the_window():
    walks = walks_at(np.arange(0, 3001, 10))
    curve = np.maximum(walks.step, 1.0)
    weight = protocols_of(walks).weight
    early, late = curve.copy(), curve.copy()
    early[0, 2], late[0, -1] = np.nan, -1.0
    assert np.isfinite(exponents(early, weight)[0, [FIG1, ROBUST]]).all()
    assert np.isnan(exponents(late, weight)[0, ROBUST])
    assert len(exponents(np.stack([curve, early]), weight)) == 2


def test_weights_of_a_line_and_interpolation():
    step, lattice = np.array([0.0, 1, 10, 100]), np.geomspace(1, 100, 21)
    weight = line_weights(step, step > 0, lattice)
    assert weight.sum() == pytest.approx(0, abs=1e-12)
    assert (weight[1:] * np.log(step[1:])).sum() == pytest.approx(1)
    made = interpolated_logarithm(step, step > 0, lattice, np.array([0.0, 1, 100, 100]))
    np.testing.assert_allclose(made, np.minimum(2 * np.log(lattice), np.log(100)))
    assert interpolated_logarithm(step, step > 0, np.empty(0), step).shape == (0,)
    assert not len(robust_lattice(walks_at([0, 1, 2]), 0))


def test_local_powers():
    step = np.concatenate([[0], np.unique(np.rint(np.geomspace(1, 1e4, 120)))])[None]
    curve = step**1.3
    found = local_exponents(step, curve)
    assert np.isnan(found[0, 0])
    np.testing.assert_allclose(found[0, 3:], 1.3, rtol=1e-8)
    bent = local_exponents(step, np.where(step < 100, step, step**2 / 100))
    assert bent[0, np.searchsorted(step[0], 20)] == pytest.approx(1, abs=1e-6)
    assert bent[0, np.searchsorted(step[0], 500)] == pytest.approx(2, abs=1e-6)
    lonely = local_exponents(np.array([[0.0, 1, 10, 100]]), np.array([[0.0, 1, 10, 100]]))
    assert np.isnan(lonely).all()
    assert len(PROTOCOLS) == 4


def test_records_that_do_not_count_do_not_bend_an_uneven_line():
    walks = walks_at(np.arange(0, 2001, 50), momentum=[0.0])
    weight = protocols_of(walks).weight[:, [ROBUST]]
    share = np.where(walks.step > 0, walks.step, 0.0)
    square = walks.step**1.7
    assert exponents(square, uneven_weights(walks.step, weight, share))[0, 0] == pytest.approx(1.7)
    inside = np.flatnonzero(weight[0, 0])
    share[0, inside[:2]], square[0, inside[:2]] = 0.0, -1.0
    uneven = uneven_weights(walks.step, weight, share)
    assert exponents(square, uneven)[0, 0] == pytest.approx(1.7)
    assert np.isnan(exponents(square, weight)).all()
    share[0, inside[1:]] = 0.0
    assert np.isnan(uneven_weights(walks.step, weight, share)).all()


def test_tangents_touch_and_go_on_where_logarithms_end():
    walks = walks_at(np.arange(0, 2001, 50), momentum=[0.0])
    weight, about = protocols_of(walks).weight[:, [ROBUST]], walks.step**1.0
    assert tangent_exponents(about, weight, about)[0, 0] == pytest.approx(1.0)
    moved = about * (1 + 1e-4 * np.sin(walks.step))
    expected = exponents(moved, weight)
    np.testing.assert_allclose(tangent_exponents(moved, weight, about), expected, atol=1e-6)
    moved[0, np.flatnonzero(weight[0, 0])[0]] *= -1.0
    assert np.isfinite(tangent_exponents(moved, weight, about)).all()
