"""Boundaries find their place on a map by name and by label."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from sgdphases.figures.boundaries import boundary_words, draw_boundaries, draw_peak_lines
from sgdphases.figures.options import OnGrid
from sgdphases.figures.selection import Panel, panels


@pytest.fixture
def panel(cube: xr.Dataset) -> Panel:
    return panels(cube["overlap"].isel(step=-1).mean("replica"), "inverse_init_scale", "temperature")[0]


def test_only_what_ends_in_the_rows_word_is_a_boundary(fits: dict[str, xr.Dataset]) -> None:
    every = ["criterion_published_temperature", "criterion_corrected_temperature", "growth_temperature"]
    assert boundary_words(fits["boundaries"], True, "temperature") == every
    assert boundary_words(fits["boundaries"], False, "temperature") == []
    assert boundary_words(fits["boundaries"], True, "learning_rate") == []
    assert boundary_words(None, True, "temperature") == []
    with pytest.raises(ValueError, match="unknown boundary over temperature"):
        boundary_words(None, ["growth_temperature"], "temperature")


def test_a_line_along_the_initial_scale_is_drawn_over_its_inverse(panel: Panel, fits: dict[str, xr.Dataset]) -> None:
    ax = Figure().subplots()
    ax.set(xlim=(1, 2), ylim=(3, 4))
    draw_boundaries(ax, fits, panel, OnGrid(boundaries=["growth_temperature"]))
    line = ax.lines[0]
    assert np.allclose(line.get_xdata(), panel.x)
    assert np.allclose(line.get_ydata(), 0.25 * panel.x.values**-0.55)
    assert ax.get_xlim() == (1, 2) and ax.get_ylim() == (3, 4)


def test_what_is_not_known_to_a_factor_two_is_no_line(panel: Panel, fits: dict[str, xr.Dataset]) -> None:
    made = fits["boundaries"][["growth_temperature"]]
    error = 0.5 * made["growth_temperature"].values
    error[0], error[1] = 10, np.nan
    made["growth_temperature_error"] = ("init_scale", error)
    ax = Figure().subplots()
    draw_boundaries(ax, {"boundaries": made}, panel, OnGrid(boundaries=True))
    line, crosses = (part for part in ax.lines if len(part.get_xdata()))
    assert np.isnan(line.get_ydata()).tolist() == [False] * 10 + [True] * 2
    assert crosses.get_xdata().tolist() == [4, 8]
    assert line.get_label() == "spread exceeds by e (×: error above a factor 2)"


def test_errors_never_reach_zero_on_a_logarithmic_axis(panel: Panel, fits: dict[str, xr.Dataset]) -> None:
    wide = fits["boundaries"][["growth_temperature"]]
    wide["growth_temperature_error"] = 1.0 * wide["growth_temperature"]
    wide["growth_temperature_error"][0] = np.nan
    ax = Figure().subplots()
    draw_boundaries(ax, {"boundaries": wide}, panel, OnGrid(boundaries=True))
    low = np.array([segment[0, 1] for segment in ax.collections[0].get_segments() if len(segment)])
    assert (low > 0).all()


def test_a_line_of_every_layer_shows_that_of_its_panel(cube: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    layered = xr.concat([cube["overlap"], cube["overlap"]], xr.DataArray([1, 2], dims="layer", name="layer"))
    found = panels(layered.isel(step=-1).mean("replica"), "inverse_init_scale", "temperature")
    line = fits["boundaries"]["growth_temperature"]
    fit = {
        "boundaries": xr.Dataset(
            {"growth_temperature": xr.concat([line, 2 * line], xr.DataArray([1, 2], dims="layer", name="layer"))}
        )
    }
    heights = []
    for panel in found:
        ax = Figure().subplots()
        draw_boundaries(ax, fit, panel, OnGrid(boundaries=True))
        heights.append(ax.lines[0].get_ydata())
    assert np.allclose(heights[1], 2 * heights[0])


def test_a_boundary_of_another_grid_is_left_out(panel: Panel) -> None:
    strange = xr.Dataset({"growth_temperature": ("width", [1.0, 2.0])})
    ax = Figure().subplots()
    draw_boundaries(ax, {"boundaries": strange, "published": strange}, panel, OnGrid(boundaries=True, published=True))
    assert not ax.lines


def test_peaks_change_at_the_published_place_and_only_on_initial_scales(panel: Panel) -> None:
    ax = Figure().subplots()
    draw_peak_lines(ax, panel, [1.0])
    assert ax.lines[0].get_xdata() == pytest.approx([2**0.5] * 2)
    turned = Panel(panel.values, panel.y, panel.x, "", {})
    draw_peak_lines(ax, turned, [1.0])
    assert len(ax.lines) == 1
