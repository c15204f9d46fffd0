import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_richness import Toy, richness_cube
from sgdphases.fits.plateaus import MOST, plateaus, plateaus_of
from sgdphases.storage import cube

UPDATES = np.arange(1600)


def stairs(*corners, updates=UPDATES):
    """Losses that run straight in doubly logarithmic axes between corners (update, loss)."""
    places, losses = np.array(corners).T
    return np.exp(np.interp(np.log(np.maximum(updates, 1)), np.log(places), np.log(losses)))


STAIRCASE = stairs((1, 0.1), (40, 0.1), (80, 0.09), (400, 0.09), (1600, 0.03))


def test_a_staircase_has_its_stairs():
    first, second = plateaus_of(STAIRCASE)
    assert first.level == pytest.approx(0.1, rel=0.01)
    assert second.level == pytest.approx(0.09, rel=0.01)
    assert first.end == pytest.approx(40, rel=0.2)
    assert (second.start, second.end) == (pytest.approx(80, rel=0.2), pytest.approx(400, rel=0.2))


def test_noise_blurs_the_ends_and_gives_levels_an_error():
    random = np.random.default_rng(0)
    levels, errors = [], []
    for _ in range(40):
        found = plateaus_of(STAIRCASE * (1 + 0.005 * random.standard_normal(UPDATES.size)))
        second = [each for each in found if 0.085 < each.level < 0.093]
        assert second
        longest = max(second, key=lambda each: each.end / each.start)
        levels.append(longest.level)
        errors.append(longest.error)
    assert np.mean(levels) == pytest.approx(0.09, rel=0.003)
    # Beside the noise, the ends bring in a little of the slopes.
    assert np.mean(errors) < np.std(levels) * 3
    assert np.mean(errors) == pytest.approx(0.09 * 0.005 / np.sqrt(300), rel=0.5)


@pytest.mark.parametrize(("decades", "count"), [(0.1, 0), (0.16, 0), (0.22, 1), (0.4, 1)])
def test_a_plateau_lasts_a_fifth_of_a_decade(decades, count):
    end = 100 * 10**decades
    curve = stairs((1, 1.0), (100, 0.1), (end, 0.1), (1600, 0.1 * (1600 / end) ** -0.8))
    assert len(plateaus_of(curve)) == count


@given(st.floats(0.06, 3), st.sampled_from([-1, 1]), st.floats(1e-6, 1e6))
def test_a_power_law_has_no_plateau(exponent, sign, unit):
    assert plateaus_of(unit * (1.0 + UPDATES) ** (sign * exponent)) == []


@given(st.floats(0, 0.04), st.floats(1e-6, 1e6))
def test_what_hardly_falls_is_one_plateau(exponent, unit):
    (only,) = plateaus_of(unit * (1.0 + UPDATES) ** -exponent)
    assert only.start < 15
    assert only.end > 1500


def test_too_little_to_see():
    assert plateaus_of(np.ones(5)) == []
    assert plateaus_of(np.ones(12)) == []
    assert plateaus_of(np.zeros(100)) == []


def test_what_comes_after_an_overflow_is_seen():
    curve = STAIRCASE.copy()
    curve[3:6] = np.inf
    assert [round(each.level, 2) for each in plateaus_of(curve)] == [0.1, 0.09]
    curve[60] = np.inf
    (only,) = plateaus_of(curve)
    np.testing.assert_allclose(only[:3], plateaus_of(STAIRCASE)[1][:3], rtol=0.02)


def test_stairs_of_networks_are_counted(tmp_path):
    made = richness_cube(
        Toy(stair=0.1, finite=0.2),
        rates=[1e-3, 1e-2, 1e3],
        depth=[3, 4],
        richness=[1.0, 10.0],
        steps=(0, 4000),
        replicas=3,
    )
    found = plateaus(made)
    assert found["stair_count"].dims == ("depth", "richness", "learning_rate", "replica")
    assert np.isnan(found["plateau_count"].isel(learning_rate=2)).all()
    assert "of 36 networks diverged" in found.attrs["reason"]
    slow = found.sel(learning_rate=1e-2, richness=10.0)
    np.testing.assert_array_equal(slow["stair_count"], 2)
    np.testing.assert_array_equal(slow["stair_mean_count"], 2)
    np.testing.assert_array_equal(slow["stair_mean_count_error"], 0)
    assert (slow["plateau_count"] >= slow["stair_count"]).all()
    np.testing.assert_allclose(slow["plateau_level"].isel(plateau=[0, 1]), np.tile([0.1, 0.09], (2, 3, 1)), rtol=0.01)
    np.testing.assert_allclose(
        slow["plateau_length"].isel(plateau=0), np.log10(slow["plateau_end"] / slow["plateau_start"]).isel(plateau=0)
    )
    assert found.sizes["plateau"] == MOST
    cube.write(found, tmp_path / "fit.nc")
    with pytest.raises(ValueError, match="plateaus needs batch_loss and constant_loss"):
        plateaus(made.drop_vars(["batch_loss", "constant_loss"]))
