import numpy as np
import pytest

from made_richness import LATTICE, RICHNESS, Toy, richness_cube, searched
from sgdphases.fits.catapults import catapults
from sgdphases.storage import cube

LAZY = slice(None, 10**-1.5 * 1.001)


@pytest.fixture(scope="module")
def found():
    toy = Toy()
    return catapults(searched(richness_cube(toy, depth=[2, 4]), toy))


def test_the_band_is_between_the_edges(found, tmp_path):
    np.testing.assert_allclose(found["finite_band"], 0.5, atol=0.021)
    np.testing.assert_allclose(found["trained_band"], 0.2, atol=0.021)
    # Two ends, each known to 0.02 decades.
    assert (found["finite_band_error"] >= 0.04 / np.sqrt(12) * (1 - 1e-6)).all()
    assert found["finite_band_error"].max() < 0.02
    cube.write(found, tmp_path / "fit.nc")


def test_the_peak_goes_as_the_toys(found):
    """η/γ^4: the power is -2 at the edge, which goes as γ², and at given η/γ²."""
    for name in ("edge_peak_exponent", "scaled_peak_exponent"):
        np.testing.assert_allclose(found[name], -2, atol=0.05)
        low, high = found[f"{name}_low"], found[f"{name}_high"]
        assert ((low <= -1.98) & (high >= -2.02)).all()
    np.testing.assert_array_equal(found["edge_peak_points"], 10)
    assert (found["scaled_peak_points"] >= found["edge_peak_points"]).all()
    edge = found["edge_log_peak"].sel(richness=LAZY)
    assert (edge > 1).all()
    assert (np.diff(edge) < 0).all()


def test_peaks_are_those_of_finite_networks_over_the_start():
    made = richness_cube(Toy(), richness=RICHNESS[:3])
    found = catapults(made)
    alive = (made["status"].isel(step=-1) > 0).transpose(*found["log_peak"].dims)
    assert (np.isfinite(found["log_peak"]) == alive).all()
    peak = made["batch_loss"].max("update") / made["batch_loss"].isel(update=0)
    np.testing.assert_allclose(found["log_peak"].where(alive), np.log10(peak).where(alive).transpose(*alive.dims))
    shot = (peak > 2).where(alive, False).sum(["learning_rate", "replica"])
    np.testing.assert_array_equal(found["catapult_count"], shot)


def test_a_peak_that_has_overflowed_is_none():
    made = richness_cube(Toy(), richness=RICHNESS[:3])
    whole = catapults(made)
    place = int(np.isfinite(whole["log_peak"].isel(richness=0, replica=0)).values.nonzero()[0][-1])
    made["batch_loss"][{"richness": 0, "learning_rate": place, "replica": 0, "update": 3}] = np.inf
    found = catapults(made)
    assert np.isnan(found["log_peak"].isel(richness=0, learning_rate=place, replica=0))
    assert int(found["catapult_count"][0]) == int(whole["catapult_count"][0]) - 1
    assert float(found["edge_log_peak"][1]) == float(whole["edge_log_peak"][1])


def test_errors_of_the_power_cover_scatter():
    """Peaks that scatter by a third of a decade from strip to strip, in 16 made sets."""

    class Scattered(Toy):
        def __call__(self, point, replica, steps):
            made = dict(super().__call__(point, replica, steps))
            key = [3, replica, int(point["batch_size"]), round(1000 + 10 * np.log10(point["richness"]))]
            if made["batch_loss"][3] > 2 * made["batch_loss"][0]:
                made["batch_loss"][3] *= 10 ** (0.3 * np.random.default_rng(key).standard_normal())
            return made

    axes = {"batch_size": 1 + np.arange(16), "richness": RICHNESS[:5], "rates": LATTICE[:32], "steps": (0, 50)}
    found = catapults(richness_cube(Scattered(), **axes))
    for name in ("edge_peak_exponent", "scaled_peak_exponent"):
        pull = (found[name] + 2) / found[f"{name}_error"]
        assert 0.6 < float(np.sqrt((pull**2).mean())) < 1.6, name


def test_where_nothing_shoots_up_there_is_no_law(tmp_path):
    found = catapults(richness_cube(Toy(calm=0.3), richness=RICHNESS[:5]))
    assert (found["catapult_count"] == 0).all()
    assert np.isnan(found["edge_peak_exponent"])
    assert np.isnan(found["scaled_peak_exponent"])
    assert "no catapults of lazy networks at the largest finite learning rate" in found.attrs["reason"]
    np.testing.assert_allclose(found["finite_band"], 0, atol=0.3)
    cube.write(found, tmp_path / "fit.nc")
    rich = catapults(richness_cube(Toy(), richness=[1.0, 10.0]))
    assert np.isnan(rich["edge_peak_exponent"])
    with pytest.raises(ValueError, match="catapults needs status"):
        catapults(richness_cube(Toy(), richness=[1.0]).drop_vars("status"))
