import numpy as np
import pytest
import xarray as xr

from made_cubes import chaos_cube
from sgdphases.fits.decay import decay
from sgdphases.storage import cube
from sgdphases.theory import weight_growth as law

STRENGTHS = np.array([0.0, 1e-5, 4.6e-5, 9e-5, 1.5e-4, 5e-4])
TIMES = np.linspace(0, 37_500, 201)
GRID = {"weight_decay": (2 * STRENGTHS).tolist()}


def decaying(under=11.0, scatter=0.01, seed=0):
    """The law of growth and decay, with another constant wherever there is decay."""
    random = np.random.default_rng(seed)

    def course(point, replica, s):
        strength = point["weight_decay"] / 2
        k = (under if strength else 11.0) * (1 + scatter * random.standard_normal())
        square = law.squared_coupling(s, samples=60_000, l2_strength=strength, growth_constant=k)
        accuracy = 0.89 - 0.01 * (np.log(np.maximum(strength, 1e-6) / 9e-5)) ** 2 - 0.01 * np.exp(-s / 500)
        return {"coupling": np.sqrt(square), "test_accuracy": accuracy, "test_loss": 1 - accuracy}

    return course


def test_the_guideline_holds_where_the_constant_does():
    found = decay(chaos_cube(decaying(), grid=GRID, times=TIMES, replicas=6))
    for name, true in (("growth_constant", 11.0), ("l2_formula", 11 / 240_000)):
        assert abs(float(found[name]) - true) < 4 * float(found[f"{name}_error"])
    # At a finite time J² is not yet at rest, so that a little less decay puts it at 1.
    assert 0.9 < float(found["l2_ratio"]) < 1.02
    assert float(found["l2_ratio_error"]) < 0.03
    np.testing.assert_allclose(found["l2_strength"], STRENGTHS)


def test_a_larger_constant_under_decay_shows_as_the_ratio():
    found = decay(chaos_cube(decaying(under=21.6, scatter=0.003), grid=GRID, times=TIMES, replicas=6))
    assert float(found["l2_ratio"]) == pytest.approx(21.6 / 11, rel=0.02)
    assert float(found["l2_empirical"]) == pytest.approx(9e-5, rel=0.02)
    strong = found.isel(weight_decay=[3, 4, 5])
    np.testing.assert_allclose(strong["end_growth_constant"], 21.6, rtol=0.02)
    np.testing.assert_allclose(strong["l2_times_squared_coupling"], 9e-5, rtol=0.02)
    assert found["stationary"].values.tolist() == [0, 0, 1, 1, 1, 1]
    assert float(found["end_drift"][0]) == pytest.approx(0.2 * 11 * 0.625 / (0.25 + 11 * 0.625), rel=0.05)


def test_squared_couplings_at_given_times():
    found = decay(chaos_cube(decaying(scatter=0), grid=GRID, times=TIMES))
    at = found["squared_coupling_at"]
    assert at.dims == ("weight_decay", "at_epoch_time")
    s = at["at_epoch_time"].values * 60_000
    expected = [law.squared_coupling(s, samples=60_000, l2_strength=strength) for strength in STRENGTHS]
    np.testing.assert_allclose(at, expected, rtol=2e-3)


def test_accuracy_is_best_at_its_strength():
    found = decay(chaos_cube(decaying(), grid=GRID, times=TIMES))
    assert float(found["best_l2"]) == pytest.approx(9e-5)
    assert float(found["end_test_accuracy"][3]) == pytest.approx(0.89, abs=1e-6)
    assert float(found["largest_test_accuracy"][3]) == pytest.approx(0.89, abs=1e-6)


def test_a_star_of_points_gives_its_line():
    star = [{"weight_decay": value} for value in reversed(GRID["weight_decay"])] + [{"learning_rate": 0.05}]
    found = decay(chaos_cube(decaying(scatter=0), grid=star, times=TIMES))
    line = decay(chaos_cube(decaying(scatter=0), grid=GRID, times=TIMES))
    np.testing.assert_allclose(found["end_squared_coupling"], line["end_squared_coupling"], rtol=1e-6)
    assert float(found["l2_ratio"]) == pytest.approx(float(line["l2_ratio"]))


def test_of_a_larger_grid_one_line_is_taken():
    grid = {"label_noise": [0.0, 0.2], **GRID}
    found = decay(chaos_cube(decaying(scatter=0), grid=grid, times=TIMES))
    assert found["end_squared_coupling"].dims == ("weight_decay",)
    assert float(found["label_noise"]) == 0


def test_a_diverged_replica_is_left_out():
    plain = decaying(scatter=0)

    def course(point, replica, s):
        made = dict(plain(point, replica, s))
        return {name: np.where((replica == 0) & (s > 1e4), np.nan, values) for name, values in made.items()}

    whole = decay(chaos_cube(plain, grid=GRID, times=TIMES))
    found = decay(chaos_cube(course, grid=GRID, times=TIMES))
    for name in ("end_squared_coupling", "l2_ratio", "end_test_accuracy"):
        xr.testing.assert_allclose(found[name], whole[name])


@pytest.mark.parametrize("times", [[0.0], np.linspace(0, 500, 8)], ids=["start", "short"])
def test_short_runs_and_missing_strengths_have_reasons(times, tmp_path):
    found = decay(chaos_cube(decaying(), grid=GRID, times=times))
    assert np.isnan(found["l2_formula"])
    assert np.isnan(found["l2_empirical"])
    assert "no l2_formula" in found.attrs["reason"]
    assert "no l2_empirical" in found.attrs["reason"]
    cube.write(found, tmp_path / "fit.nc")
    without = decay(chaos_cube(decaying(), grid={"weight_decay": [6e-5, 1e-3]}, times=TIMES))
    assert "no run without weight decay" in without.attrs["reason"]
    assert np.isfinite(without["l2_empirical"])


def test_needs_several_strengths():
    made = chaos_cube(decaying(), grid={"learning_rate": [0.01, 0.02]}, times=TIMES)
    with pytest.raises(ValueError, match="weight_decay"):
        decay(made)
