"""What of a cube is shown."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from sgdphases.figures import selection
from sgdphases.quantities import attributes


def test_steps_by_word_and_by_number(cube: xr.Dataset) -> None:
    array = cube["train_loss"]
    assert selection.at_step(array, "first")["step"] == 0
    assert selection.at_step(array, "last")["step"] == 100_000
    assert selection.at_step(array, 900)["step"] == 1000
    plain = array.isel(step=0, drop=True)
    assert selection.at_step(plain, "last") is plain


def test_places_by_any_coordinate(cube: xr.Dataset) -> None:
    cell = selection.at_values(cube, {"inverse_init_scale": 8, "temperature": 0.25})
    assert cell["init_scale"] == 0.125
    assert cell["learning_rate"] == 1.0
    assert set(cell["train_loss"].dims) == {"replica", "step"}


def test_a_place_off_the_grid_is_told_what_there_is(cube: xr.Dataset, tiny: Callable[..., xr.Dataset]) -> None:
    with pytest.raises(ValueError, match=r"no temperature = 3.*0.03125, 0.0625"):
        selection.at_values(cube, {"temperature": 3})
    with pytest.raises(ValueError, match=r"unknown coordinate 'temprature' \(did you mean 'temperature'"):
        selection.at_values(cube, {"temprature": 3})
    several = tiny([1, 2], [1, 2], batches=2)
    with pytest.raises(ValueError, match="temperature changes along"):
        selection.at_values(several, {"temperature": 0.25})
    assert selection.at_values(several, {"temperature": 0.25, "batch_size": 8})["learning_rate"] == 2


def test_averages_leave_out_what_is_missing() -> None:
    values = xr.DataArray([[1.0, np.nan, 4.0, 100.0], [np.nan] * 4], dims=("cell", "replica"), name="x", attrs={"a": 1})
    assert np.allclose(selection.averaged(values, "mean"), [35, np.nan], equal_nan=True)
    assert np.allclose(selection.averaged(values, "median"), [4, np.nan], equal_nan=True)
    assert selection.averaged(values, "mean").attrs == {"a": 1}
    low, high = selection.quantiles(values, "replica", 0, 1)
    assert low[0] == 1 and high[0] == 100 and np.isnan(low[1])


def test_a_flag_without_value_is_missing() -> None:
    flag = xr.DataArray(np.array([1, 0, -1], dtype=np.int8), attrs={"flag_values": np.array([0, 1])})
    assert np.allclose(selection.as_numbers(flag), [1, 0, np.nan], equal_nan=True)


def test_decades_are_seen_in_medians() -> None:
    def values(*numbers: float) -> xr.DataArray:
        return xr.DataArray([numbers], dims=("replica", "cell"), name="x")

    assert selection.spans_decades(values(1e-5, 1e-2))
    assert not selection.spans_decades(values(1e-5, 9e-4))
    assert not selection.spans_decades(values(-1.0, 1e3))
    assert not selection.spans_decades(values(np.nan, np.nan))
    one_negative = xr.DataArray([[1e-5, 1e-5, -1e-9], [1e-2, 1e-2, 1e-2]], dims=("point", "replica"))
    assert not selection.spans_decades(one_negative)  # a quantity of two signs, though no median shows it
    assert selection.spans_decades(abs(one_negative))


def test_panels_are_ascending_and_hold_the_right_cells(cube: xr.Dataset) -> None:
    array = cube["overlap"].isel(step=-1).mean("replica")
    (panel,) = selection.panels(array, "inverse_init_scale", "temperature")
    assert (np.diff(panel.x) > 0).all() and (np.diff(panel.y) > 0).all()
    assert panel.values[3, 11] == array.sel(init_scale=0.125, learning_rate=1.0)
    assert panel.title == "" and panel.place == {}


def test_further_axes_become_panels_in_order(tiny: Callable[..., xr.Dataset]) -> None:
    array = tiny([1, 2, 4], [1, 2], batches=2, layers=3)["overlap"].isel(step=0, replica=0)
    found = selection.panels(array, "inverse_init_scale", "temperature")
    assert selection.arranged(found) == (2, 3)
    assert [panel.title for panel in found][:4] == [
        *(rf"$B = 4$, $\ell = {layer}$" for layer in range(3)),
        r"$B = 8$, $\ell = 0$",
    ]
    assert found[0].y.values.tolist() == [0.25, 0.5, 1.0]
    assert found[3].y.values.tolist() == [0.125, 0.25, 0.5]
    assert selection.arranged(found[:1]) == (1, 3) or len(found[0].place) == 2
    named = array.assign_coords(layer_name=("layer", ["first", "middle", "last"]))
    assert selection.panels(named, "inverse_init_scale", "temperature")[1].title == "$B = 4$, middle"


def test_a_constant_coordinate_is_an_axis_of_one_value(tiny: Callable[..., xr.Dataset]) -> None:
    array = tiny([1, 2], [4])["overlap"].isel(step=0, replica=0, init_scale=0)
    (panel,) = selection.panels(array, "inverse_init_scale", "temperature")
    assert panel.values.shape == (2, 1)
    assert panel.x.attrs["symbol"] == attributes("inverse_init_scale")["symbol"]


def test_two_coordinates_of_one_axis_are_no_map(cube: xr.Dataset) -> None:
    array = cube["overlap"].isel(step=-1).mean("replica")
    with pytest.raises(ValueError, match="same axis"):
        selection.panels(array, "init_scale", "inverse_init_scale")


def test_a_star_of_points_is_no_map() -> None:
    star = xr.DataArray([1.0, 2.0], dims="point", coords={"a": ("point", [1, 2]), "b": ("point", [1, 1])})
    with pytest.raises(ValueError, match="star of points"):
        selection.panels(star, "a", "b")


def test_a_missing_fit_is_named() -> None:
    with pytest.raises(ValueError, match="needs the fit 'langevin'; the card asks for: boundaries"):
        selection.fit_of({"boundaries": xr.Dataset()}, "langevin")


def test_majority_of_a_cell(cube: xr.Dataset) -> None:
    frozen = selection.at_values(cube, {"inverse_init_scale": 1 / 256, "temperature": 1 / 32})
    assert selection.majority_word(frozen, "phase") == "spin glass"
    assert selection.majority_word(frozen, "nothing") == ""


def test_the_cards_clock_is_found(rates: xr.Dataset, base_run: xr.Dataset) -> None:
    assert selection.clock_of(rates) == "flow_time" and selection.clock_of(base_run) == "step"
    assert selection.at_step(rates["test_loss"], 160.0)["flow_time"] == 150
    assert selection.at_step(rates["test_loss"], "last")["flow_time"] == 7500
    _, column = selection.on_grid(rates["test_loss"], "epoch")
    assert column == "flow_time"


def test_squares_and_layers(base_run: xr.Dataset) -> None:
    square = selection.squared(base_run["coupling"])
    assert np.allclose(square, base_run["coupling"] ** 2)
    assert square.attrs["symbol"] == "J^2" and square.attrs["units"] == "1"
    assert selection.squared(square.assign_attrs(units="m")).attrs["units"] == "(m)2"
    assert "layer" not in selection.layer_of(square, 1).dims
    assert selection.layer_of(base_run["test_loss"], 1).identical(base_run["test_loss"])
    with pytest.raises(ValueError, match="the grid has no layer = 7"):
        selection.layer_of(square, 7)


def named() -> xr.Dataset:
    """Losses are words, and regimes numbers with names."""
    coords = {
        "loss": ["cross_entropy", "mean_squared_error"],
        "regime": ("regime", [0, 1], {"long_name": "regime"}),
        "regime_name": ("regime", ["lazy", "rich"]),
        "layer": ("layer", [0, 1], {"long_name": "layer"}),
        "layer_name": ("layer", ["layer 0 (4 to 3)", "layer 1 (3 to 2)"]),
        "depth": ("depth", [2, 0], {"symbol": "L"}),
    }
    values = np.arange(16.0).reshape(2, 2, 2, 2)
    return xr.Dataset({"x": (("loss", "regime", "layer", "depth"), values)}, coords, {"widths": [4, 3, 3, 2]})


def test_places_may_be_words() -> None:
    assert selection.at_values(named(), {"loss": "mean_squared_error", "regime": 1})["x"].min() == 12
    with pytest.raises(ValueError, match="no loss = 'hinge'; it has cross_entropy, mean_squared_error"):
        selection.at_values(named(), {"loss": "hinge"})
    with pytest.raises(ValueError, match="no regime = 'rich'; it has 0, 1"):
        selection.at_values(named(), {"regime": "rich"})


def test_titles_name_what_has_a_name() -> None:
    at = {"loss": "cross_entropy", "regime": 1, "layer": 0, "depth": 2}
    said = "cross entropy, regime: rich, layer 0 (4 to 3), $L = 2$"
    assert selection.place_words(named(), at) == said
    assert selection.place_words(selection.at_values(named(), at), at) == said
    assert selection.place_words(named(), at, skip=("layer", "loss")) == "regime: rich, $L = 2$"
    assert selection.place_words(named(), {}) == ""


def test_layers_are_the_depth_or_those_of_the_card() -> None:
    assert selection.layers_of(named().isel(depth=0)) == 2
    assert selection.layers_of(named().isel(depth=1)) == 3
    assert selection.layers_of(named().drop_vars("depth")) == 3
    assert selection.layers_of(named(), 5) == 5
