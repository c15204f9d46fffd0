"""Curves of many settings on one clock."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from sgdphases.figures.collapse import collapse


def test_every_point_is_a_curve_and_its_distance_from_the_mean(
    rates: xr.Dataset, growth_fits: dict[str, xr.Dataset]
) -> None:
    figure = collapse(rates, growth_fits, group="learning_rate")
    above, below = figure.axes
    mean = growth_fits["collapse"]["squared_coupling"].values
    point = {"learning_rate": 1, "momentum": 0, "batch_size": 1}
    square = (rates["coupling"].isel(layer=0, **point) ** 2).mean("replica").values
    times = rates["epoch_time"].isel(learning_rate=1, momentum=0).values
    curves = [line for line in above.lines if len(line.get_xdata()) == 51]
    assert len(curves) == 3 * 2 * 2 + 1
    assert any(np.allclose(line.get_xydata(), np.stack([times, square], -1)) for line in curves)
    shifts = [line.get_ydata() for line in below.lines if len(line.get_xdata()) == 51]
    assert any(np.allclose(shift, 100 * (square / mean - 1), atol=1e-6) for shift in shifts)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"mean of all points", r"$\eta = 0.05$", r"$\pm3\,\%$", "window of the growth law"} <= set(names)
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_window_and_edge_are_marked_in_the_clock_of_the_axis(
    rates: xr.Dataset, growth_fits: dict[str, xr.Dataset]
) -> None:
    above, below = collapse(rates, growth_fits, residuals=[-0.1, 0.1]).axes
    (window,) = [patch for patch in above.patches if patch.get_label() == "window of the growth law"]
    assert window.get_width() == pytest.approx(3750 / 60_000)
    assert below.get_ylim() == pytest.approx((-10, 10))
    assert any(np.allclose(line.get_xdata(), 0.068) for line in above.lines)
    fit = growth_fits["collapse"].rename(edge_epoch_time="edge_flow_time", edge_epoch_time_error="edge_flow_time_error")
    above, _ = collapse(rates, {"collapse": fit}, x="flow_time").axes
    (window,) = [patch for patch in above.patches if patch.get_label() == "window of the growth law"]
    assert window.get_width() == pytest.approx(3750)


def test_residuals_show_the_ordered_phase_whole(rates: xr.Dataset, growth_fits: dict[str, xr.Dataset]) -> None:
    _, below = collapse(rates, growth_fits, tolerance=0.0001).axes
    ordered = growth_fits["collapse"]["squared_coupling"].values <= 1
    largest = max(np.abs(line.get_ydata()[ordered]).max() for line in below.lines if len(line.get_xdata()) == 51)
    assert below.get_ylim()[1] == pytest.approx(1.6 * largest)


def test_points_with_decay_are_left_out(rates: xr.Dataset, growth_fits: dict[str, xr.Dataset]) -> None:
    star = rates.isel(momentum=0, batch_size=0).rename_dims(learning_rate="point")
    star = star.reset_index("learning_rate").assign_coords(weight_decay=("point", [0.0, 1e-4, 0.0]))
    above, _ = collapse(star, growth_fits).axes
    curves = [line.get_ydata() for line in above.lines if len(line.get_xdata()) == 51]
    expected = (star["coupling"].isel(layer=0) ** 2).mean("replica")
    assert len(curves) == 3
    assert np.allclose(curves[:2], expected.isel(point=[0, 2]))


def test_what_lacks_is_told(rates: xr.Dataset, growth_fits: dict[str, xr.Dataset]) -> None:
    with pytest.raises(ValueError, match="needs the fit 'collapse'; the card asks for: none"):
        collapse(rates, {})
    with pytest.raises(ValueError, match="unknown variable 'squared_coupling'"):
        collapse(rates, {"collapse": growth_fits["collapse"].drop_vars("squared_coupling")})
    with pytest.raises(ValueError, match="unknown variable 'coupling'"):
        collapse(rates.drop_vars("coupling"), growth_fits)
    with pytest.raises(ValueError, match="unknown coordinate 'rate'"):
        collapse(rates, growth_fits, group="rate")
