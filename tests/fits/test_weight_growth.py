import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_cubes import chaos_cube
from sgdphases.fits.weight_growth import growth_exponents, weight_growth
from sgdphases.storage import cube
from sgdphases.theory import weight_growth as law

GRID = {"learning_rate": [0.01, 0.02, 0.05], "momentum": [0.5, 0.8, 0.9], "batch_size": [16, 32, 64]}
WINDOW = np.linspace(0, 3750, 26)


def line(k=11.0, scatter=0.01, start=0.25, samples=60_000, seed=0):
    """J² = start + k τ, each network with a k of its own."""
    random = np.random.default_rng(seed)

    def course(point, replica, s):
        own = k(point) if callable(k) else k
        square = start + own * (1 + scatter * random.standard_normal()) * s / samples
        return {"coupling": np.sqrt(square), "mean_coupling": 0.01 * np.sin(s)}

    return course


@pytest.fixture(scope="module")
def grown():
    return weight_growth(chaos_cube(line(), grid=GRID, times=WINDOW, replicas=5))


def test_known_slopes_come_back_within_their_errors(grown):
    pull = (grown["growth_constant"] - 11) / grown["growth_constant_error"]
    # Student's t of 5 replicas has a deviation of 1.41; a bootstrap that were not widened would give 1.58.
    assert 0.9 < float(np.sqrt((pull**2).mean())) < 2.0
    assert float(grown["growth_constant_error"].mean()) == pytest.approx(0.11 / np.sqrt(5), rel=0.2)
    inside = (grown["growth_constant_low"] <= 11) & (grown["growth_constant_high"] >= 11)
    assert float(inside.mean()) > 0.7
    np.testing.assert_allclose(grown["intercept"], 0.25, atol=1e-3)
    assert (grown["window_points"] == 25).all()
    assert (grown["replicas"] == 5).all()
    assert grown.attrs["reason"] == ""


def test_slopes_in_all_units_are_one_slope(grown):
    constant = grown["growth_constant"]
    np.testing.assert_allclose(grown["growth_rate"], constant / 60_000)
    rate, momentum, size = (grown[name] for name in GRID)
    np.testing.assert_allclose(grown["slope_per_epoch"], constant * rate / ((1 - momentum) * size))
    first = {"learning_rate": 0.01, "momentum": 0.5, "batch_size": 16}
    slope = law.growth_per_epoch(0.01, 16, momentum=0.5, growth_constant=float(constant.sel(first)))
    assert float(grown["slope_per_epoch"].sel(first)) == pytest.approx(float(slope))
    np.testing.assert_allclose(grown["early_growth_constant"], constant, rtol=1e-6)


def test_a_single_replica_has_no_error():
    found = weight_growth(chaos_cube(line(scatter=0), grid={"learning_rate": [0.02]}, times=WINDOW, replicas=1))
    assert float(found["growth_constant"]) == pytest.approx(11, rel=1e-9)
    assert np.isnan(found["growth_constant_error"])


def test_the_base_run_is_fitted_at_its_even_epochs():
    """Epochs 0, 2, ... 48 of 60, as the authors do: with a bent curve another choice is another number."""

    def bent(point, replica, s):
        tau = s / 60_000
        return {"coupling": np.sqrt(0.25 + 9 * tau + 40 * tau**2 + 0.01 * (1 - np.exp(-tau / 1e-3)))}

    made = chaos_cube(bent, grid={"learning_rate": [0.02]}, times=1875 * np.arange(61), clock="step")
    found = weight_growth(made)
    square = made["coupling"].isel(replica=0, layer=0).values[:50:2] ** 2
    slope, height = np.polyfit(np.arange(0, 50, 2) * 0.00125, square, 1)
    assert float(found["growth_constant"]) == pytest.approx(slope, rel=1e-9)
    assert float(found["slope_per_epoch"]) == pytest.approx(slope * 0.00125, rel=1e-9)
    residual = square - height - slope * np.arange(0, 50, 2) * 0.00125
    assert float(found["largest_residual"]) == pytest.approx(np.abs(residual).max(), rel=1e-9)


def test_the_edge_is_the_first_recorded_epoch_and_an_interpolated_time():
    found = weight_growth(chaos_cube(line(scatter=0), grid={"learning_rate": [0.02]}, times=75 * np.arange(61)))
    assert float(found["edge_epoch"]) == np.ceil(law.edge_epoch(0.02, 32, momentum=0.5))
    assert float(found["edge_epoch_time"]) == pytest.approx(0.75 / 11, rel=1e-6)


def test_without_all_replicas_at_the_edge_there_is_no_time_of_it():
    slow = line(scatter=0)

    def course(point, replica, s):
        return {"coupling": slow(point, replica, s if replica else s / 2)["coupling"]}

    found = weight_growth(chaos_cube(course, grid={"learning_rate": [0.02]}, times=75 * np.arange(61)))
    assert np.isnan(found["edge_epoch"])
    assert np.isnan(found["edge_epoch_time"])


def test_diverged_replicas_are_left_out_and_counted():
    straight = line(scatter=0)

    def course(point, replica, s):
        square = straight(point, replica, s)["coupling"]
        return {"coupling": np.where((replica == 1) & (s > 2000), np.nan, square * (1 + replica * (replica == 1)))}

    found = weight_growth(chaos_cube(course, grid={"learning_rate": [0.01, 0.02]}, times=75 * np.arange(61)))
    assert (found["replicas"] == 2).all()
    np.testing.assert_allclose(found["growth_constant"], 11)
    np.testing.assert_allclose(found["edge_epoch_time"], 0.75 / 11, rtol=1e-6)


@pytest.mark.parametrize("times", [[0.0], [0.0, 3750.0], np.linspace(0, 3000, 41)], ids=["start", "ends", "short"])
def test_what_is_too_short_has_no_slope_and_a_reason(times, tmp_path):
    made = chaos_cube(line(), grid={"learning_rate": [0.01, 0.02]}, times=times)
    for fit in (weight_growth, growth_exponents):
        found = fit(made)
        assert "growth window" in found.attrs["reason"]
        cube.write(found, tmp_path / "fit.nc")
    assert np.isnan(weight_growth(made)["growth_constant"]).all()
    assert np.isfinite(weight_growth(made)["end_squared_coupling"]).all()


@pytest.mark.parametrize(("dataset", "window"), [("fashion_mnist", 3750), ("digits", 20), ("gaussian_mixture", 30)])
def test_the_window_is_that_of_the_data_set(dataset, window):
    times = np.linspace(0, window if dataset != "gaussian_mixture" else 30, 51)
    course = line(samples=1000, scatter=0)
    found = weight_growth(chaos_cube(course, grid={"momentum": [0.0, 0.5]}, times=times, dataset=dataset, samples=1000))
    assert found.attrs["window_flow_time"] == pytest.approx(window)
    np.testing.assert_allclose(found["growth_constant"], 11, rtol=1e-9)


def test_a_smaller_training_set_does_not_move_the_window():
    def course(point, replica, s):
        return {"coupling": np.sqrt(0.25 + 2e-4 * s)}

    found = weight_growth(chaos_cube(course, grid={"samples": [6000, 60_000]}, times=WINDOW))
    np.testing.assert_allclose(found["growth_rate"], 2e-4, rtol=1e-6)
    np.testing.assert_allclose(found["growth_constant"], [1.2, 12], rtol=1e-6)


@settings(max_examples=25)
@given(
    st.floats(0.1, 30), st.floats(0.05, 2), st.sampled_from([0.003, 0.02, 0.1]), st.sampled_from([0.0, 0.5, 0.9, 0.95])
)
def test_a_straight_line_is_found_exactly_whatever_the_steps(k, start, rate, momentum):
    """Flow times are rounded to whole steps; the fit must use those that were run."""
    grid = {"learning_rate": [rate], "momentum": [momentum]}
    made = chaos_cube(line(k, scatter=0, start=start), grid=grid, times=np.linspace(0, 3777.7, 38), replicas=1)
    assert float(weight_growth(made)["growth_constant"]) == pytest.approx(k, rel=1e-7)


def power(point):
    """k that makes the exponents 1.02, 1.05 and 0.97."""
    size, pace = point["batch_size"] / 32, point["learning_rate"] / 0.02
    return 11 * pace**0.02 * (1 - point["momentum"]) ** -0.05 * size**0.03


def test_known_exponents_come_back():
    found = growth_exponents(chaos_cube(line(power, scatter=0.005), grid=GRID, times=WINDOW, replicas=4))
    for name, true in (("learning_rate", 1.02), ("momentum", 1.05), ("batch_size", 0.97)):
        value, error = float(found[f"{name}_exponent"]), float(found[f"{name}_exponent_error"])
        assert abs(value - true) < 4 * error
        assert error < 0.004
        assert float(found[f"{name}_exponent_all"]) == value
    assert int(found["points"]) == 27


def test_the_law_in_momentum_is_fitted_up_to_nine_tenths():
    def odd(point):
        return 11 * (1.1 if point["momentum"] > 0.9 else 1.0)

    grid = {"momentum": [0.0, 0.5, 0.8, 0.9, 0.95]}
    found = growth_exponents(chaos_cube(line(odd, scatter=0), grid=grid, times=WINDOW))
    assert float(found["momentum_exponent"]) == pytest.approx(1, abs=1e-9)
    assert float(found["momentum_exponent_all"]) > 1.01
    assert (int(found["points"]), int(found["points_all"])) == (4, 5)
    assert np.isnan(found["learning_rate_exponent"])
    assert "no learning_rate_exponent from 4 points" in found.attrs["reason"]
    assert float(found["growth_constant_median_all"]) == pytest.approx(11)
    assert float(found["growth_constant_deviation_all"]) == pytest.approx(1.1 / np.sqrt(5))


def test_networks_as_cold_as_the_paper_s_are_fitted_by_themselves():
    def heat(point):
        return point["learning_rate"] / ((1 - point["momentum"]) * point["batch_size"])

    def hot(point):
        return 11 * (1.1 if heat(point) > 0.1 / 32 * (1 + 1e-9) else 1.0)

    grid = {"learning_rate": [0.005, 0.01, 0.02, 0.05], "momentum": [0.0, 0.5, 0.8, 0.9], "batch_size": [16, 32]}
    found = growth_exponents(chaos_cube(line(hot, scatter=0), grid=grid, times=WINDOW))
    for name in ("learning_rate", "momentum", "batch_size"):
        assert float(found[f"{name}_exponent_cold"]) == pytest.approx(1, abs=1e-9)
        assert float(found[f"{name}_exponent"]) > 1.01
    assert float(found["growth_constant_mean_cold"]) == pytest.approx(11)
    assert (int(found["points_cold"]), int(found["points"])) == (23, 32)


def test_a_star_of_points_serves_as_well_and_other_hyperparameters_stay_out():
    star = [{"learning_rate": rate} for rate in (0.01, 0.02, 0.04)] + [{"batch_size": size} for size in (16, 64)]
    star += [{"weight_decay": 1e-4}, {"init_scale": 0.8}]
    found = growth_exponents(chaos_cube(line(power, scatter=0), grid=star, times=WINDOW))
    assert float(found["learning_rate_exponent"]) == pytest.approx(1.02, abs=1e-6)
    assert float(found["batch_size_exponent"]) == pytest.approx(0.97, abs=1e-6)
    assert int(found["points"]) == 5


def test_what_always_changes_together_has_no_exponents():
    star = [{"learning_rate": 0.01 * factor, "batch_size": 16 * factor} for factor in (1, 2, 4)]
    found = growth_exponents(chaos_cube(line(scatter=0), grid=star, times=WINDOW))
    assert np.isnan(found["learning_rate_exponent"])
    assert np.isnan(found["batch_size_exponent"])


def test_needs_couplings():
    made = chaos_cube(lambda point, replica, s: {"test_loss": 1 + s}, grid={"momentum": [0.0, 0.5]}, times=WINDOW)
    with pytest.raises(ValueError, match="coupling"):
        weight_growth(made)
