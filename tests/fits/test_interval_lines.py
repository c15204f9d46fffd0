import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from sgdphases.fits.interval_lines import LEAST_SCATTER, bootstrapped_lines, interval_lines
from sgdphases.fits.power_law import fit_power_law

GRID = np.arange(-3.5, -1.0, 0.5)


def on_lattice(values, cell, phase=0.0):
    low = phase + np.floor((values - phase) / cell) * cell
    return low, low + cell


def made(slope, *, replicas=2, places=GRID, scatter=0.0, cell=0.02, sets=200, seed=0):
    """Intervals (replicas, points, sets) of lines with heights of their own at 0, and those heights."""
    random = np.random.default_rng(seed)
    height = random.uniform(0, 1, sets)
    values = height + slope * places[:, None] + scatter * random.standard_normal((replicas, len(places), sets))
    return *on_lattice(values, cell, random.uniform(0, cell, sets)), height


def test_tight_intervals_give_least_squares():
    random = np.random.default_rng(1)
    values = 2 * GRID[:, None] + 0.1 * random.standard_normal((5, 40))
    found = interval_lines(GRID, values - 1e-4, values + 1e-4)
    for column in range(40):
        law = fit_power_law(10**GRID, 10 ** values[:, column])
        assert found.slope[column] == pytest.approx(law.exponent.value, abs=1e-4)
        assert found.height[column] == pytest.approx(np.log10(law.prefactor.value), abs=3e-4)
    assert (found.points == 5).all()
    residuals = values - found.height - found.slope * GRID[:, None]
    np.testing.assert_allclose(found.scatter, residuals.std(axis=0), rtol=1e-3)


def test_the_likelihood_is_largest():
    """Against a general minimiser, with one-sided intervals among the others."""
    low, high, _ = made(0.667, scatter=0.1, cell=0.25, sets=12, seed=3)
    low, high = low.reshape(-1, 12), high.reshape(-1, 12)
    high[-1], low[0] = np.inf, -np.inf
    x = np.tile(GRID, 2)
    found = interval_lines(x, low, high)
    for column in range(12):
        both = np.isfinite(low[:, column]) & np.isfinite(high[:, column])
        least = LEAST_SCATTER * (high - low)[both, column].mean()

        def loss(p, column=column, least=least):
            scatter, line = max(np.exp(p[2]), least), p[0] + p[1] * x
            ends = [stats.norm.cdf((end[:, column] - line) / scatter) for end in (low, high)]
            return -np.log(np.maximum(ends[1] - ends[0], 1e-300)).sum()

        mine = [found.height[column], found.slope[column], np.log(found.scatter[column])]
        other = optimize.minimize(loss, mine, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10})
        assert loss(mine) <= other.fun + 1e-5


@given(st.floats(-3, 3), st.floats(-5, 5), st.floats(0.2, 4))
def test_lines_move_with_what_they_are_fitted_to(tilt, shift, unit):
    low, high, _ = made(0.5, scatter=0.08, cell=0.1, sets=3, seed=2)
    x, low, high = np.tile(GRID, 2), low.reshape(-1, 3), high.reshape(-1, 3)
    once = interval_lines(x, low, high)
    moved = tilt * x[:, None] + shift
    again = interval_lines(x * unit, low + moved, high + moved)
    np.testing.assert_allclose(again.slope * unit, once.slope + tilt, atol=2e-3)
    np.testing.assert_allclose(again.scatter, once.scatter, rtol=2e-2)


def test_what_was_never_found_bad_does_not_tilt_the_line():
    """The lattice ends at 0.2: leaving out what is good to its end keeps the low ones only, which flattens the line."""
    random = np.random.default_rng(4)
    x = np.repeat(np.arange(1.0, 4.5, 0.5), 3)
    values = 0.667 * (x[:, None] - 3) + 0.15 * random.standard_normal((len(x), 1000))
    low, high = on_lattice(values, 0.02, random.uniform(0, 0.02, 1000))
    seen = high < 0.2
    low, high = np.minimum(low, 0.2), np.where(seen, high, np.inf)
    found = interval_lines(x, low, high)
    plain = [np.polyfit(x[row], (low + high)[row, n] / 2, 1)[0] for n, row in enumerate(seen.T)]
    assert np.mean(plain) - 0.667 < -0.02
    assert np.mean(found.slope) == pytest.approx(0.667, abs=0.005)


def test_a_lattice_biases_its_last_good_values_and_not_the_line():
    low, high, height = made(0.667, cell=0.25, scatter=0.05, sets=1000)
    x = np.tile(GRID, 2)
    found = interval_lines(x, low.reshape(-1, 1000), high.reshape(-1, 1000))
    last_good = np.polynomial.polynomial.polyfit(x, low.reshape(-1, 1000), 1)
    assert np.mean(last_good[0] - height) == pytest.approx(-0.125, abs=0.02)
    assert np.mean(found.height - height) == pytest.approx(0.0, abs=0.02)
    assert np.mean(found.slope) == pytest.approx(0.667, abs=0.005)
    # Without scatter the intervals pin the line much better than their middles do.
    low, high, _ = made(0.667, cell=0.25, sets=1000, seed=1)
    found = interval_lines(x, low.reshape(-1, 1000), high.reshape(-1, 1000))
    middle = np.polynomial.polynomial.polyfit(x, (low + high).reshape(-1, 1000) / 2, 1)[1]
    assert np.sqrt(np.mean((found.slope - 0.667) ** 2)) < 0.5 * np.sqrt(np.mean((middle - 0.667) ** 2))


@pytest.mark.parametrize(
    ("replicas", "scatter", "cell", "slope", "least"),
    [(2, 0.1, 0.02, 0.667, 0.85), (1, 0.05, 0.02, 2.0, 0.85), (3, 0.03, 0.25, 0.5, 0.95)],
    ids=["searched", "one replica", "lattice"],
)
def test_errors_cover_as_often_as_they_say(replicas, scatter, cell, slope, least):
    low, high, height = made(slope, replicas=replicas, scatter=scatter, cell=cell, sets=150, seed=6)
    found, _, there = bootstrapped_lines(GRID, low, high, place=-2.5)
    assert least <= np.mean((found.low <= slope) & (slope <= found.high)) <= 1
    true = height - 2.5 * slope
    assert np.mean((there.low <= true) & (true <= there.high)) > 0.8
    spread = np.sqrt(np.mean((found.value - slope) ** 2))
    assert 0.8 * spread < found.error.mean() < (3.5 if cell > 0.1 else 1.6) * spread


def test_a_line_along_the_lattice_has_an_error_nevertheless():
    """Two decades a decade on a lattice of quarters: all resamples agree, and yet a quarter hides a slope."""
    low = np.tile((2 * GRID)[None, :, None], (2, 1, 1))
    found, height, _ = bootstrapped_lines(GRID, low, low + 0.25)
    assert found.value[0] == pytest.approx(2, abs=1e-6)
    assert found.error[0] == pytest.approx(0.25 / 2 / np.sqrt(6))
    assert height.error[0] == pytest.approx(0.25 * np.sqrt(1 / 12 + 1.25**2 / 6))


def test_slopes_that_a_lattice_hides_are_within_the_interval():
    """Without scatter, slopes near 2 look like 2 over two and a half decades; which one it is, nothing tells."""
    places, slopes = np.arange(-4, -1, 0.5), np.random.default_rng(9).uniform(1.85, 2.15, 300)
    low, high, height = made(slopes, places=places, cell=0.25, sets=300, seed=8)
    found, _, there = bootstrapped_lines(places, low, high, place=-2.75, resamples=60)
    assert np.mean((found.low <= slopes) & (slopes <= found.high)) >= 0.93
    assert np.mean(np.abs(there.value - height + 2.75 * slopes) < 2 * there.error) >= 0.93


def test_own_errors_of_points_count():
    values = (2 * GRID)[None, :, None]
    found, _, _ = bootstrapped_lines(GRID, values, values, error=np.full((5, 1), 0.1))
    assert found.error[0] == pytest.approx(0.1 / np.sqrt(((GRID - GRID.mean()) ** 2).sum()), rel=1e-3)


def test_too_little_says_nothing():
    nan = np.full((5, 1), np.nan)
    nothing = interval_lines(GRID, nan, nan)
    assert np.isnan(nothing.slope[0])
    assert nothing.points[0] == 0
    one_sided = interval_lines(GRID, GRID[:, None], np.full((5, 1), np.inf))
    assert np.isnan(one_sided.slope[0])
    same = interval_lines(np.ones(5), GRID[:, None], GRID[:, None] + 0.1)
    assert np.isnan(same.height[0])
    slope, height, _ = bootstrapped_lines(GRID, nan[None], nan[None])
    assert np.isnan([slope.value, slope.error, height.value, height.error]).all()
    empty, _, _ = bootstrapped_lines(GRID[:0], np.empty((2, 0, 3)), np.empty((2, 0, 3)))
    assert np.isnan([empty.value, empty.error]).all()


def test_two_values_make_a_line_and_only_intervals_give_it_an_error():
    values = np.where(np.isin(GRID, [-3, -2]), 2 * GRID, np.nan)[None, :, None]
    exact, _, _ = bootstrapped_lines(GRID, values, values)
    assert exact.value[0] == pytest.approx(2)
    assert np.isnan(exact.error[0])
    interval, _, _ = bootstrapped_lines(GRID, values, values + 0.25)
    assert interval.error[0] == pytest.approx(0.25 / np.sqrt(6))
