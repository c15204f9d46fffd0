"""Estimates beside their laws."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from sgdphases.figures.scaling import batch_collapse, scaling


def test_points_of_a_group_share_a_mark_and_a_law(cube: xr.Dataset, spacings: xr.Dataset) -> None:
    said = {"fit": "spacing", "y": ["spacing_slope"], "x": "learning_rate"}
    figure = scaling(cube, {"spacing": spacings}, group="batch_size", predicted="expected_slope", **said)
    ax = figure.axes[0]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(names) == sorted(["slope of the theory", *(f"$B = {size}$" for size in (4, 8, 16, 32, 64))])
    laws = [line.get_xydata() for line in ax.lines if len(line.get_xdata()) == 4]
    assert any(np.allclose(law, [[0.2, 1.88], [0.3, 1.92], [0.4, 1.96], [0.5, 2.0]]) for law in laws)
    assert ax.get_ylabel() == r"mean spacing over its unit $\langle S\rangle/\sqrt{\eta A/B}$"
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_without_group_and_law(cube: xr.Dataset, spacings: xr.Dataset) -> None:
    lost = spacings.copy(deep=True)
    lost["spacing_slope"][0] = np.nan
    figure = scaling(cube, {"spacing": lost}, fit="spacing", y=["spacing_slope"], x="temperature", scale="log")
    assert len(figure.axes[0].lines[0].get_xdata()) == 7
    assert not figure.legends


def test_wrong_words_are_refused(cube: xr.Dataset, spacings: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="needs the fit 'spacing'; the card asks for: none"):
        scaling(cube, {}, fit="spacing", y=["spacing_slope"], x="temperature")
    with pytest.raises(ValueError, match="unknown estimate of the fit spacing 'slope'"):
        scaling(cube, {"spacing": spacings}, fit="spacing", y=["slope"], x="temperature")


def test_if_only_the_temperature_matters_is_a_line_of_slope_one(cube: xr.Dataset, batches: xr.Dataset) -> None:
    figure = batch_collapse(cube, {"batch_boundary": batches})
    rates, temperatures = figure.axes
    rule = rates.lines[-1].get_xydata()
    assert np.allclose(np.diff(np.log(rule[:, 1])) / np.diff(np.log(rule[:, 0])), 1)
    assert np.ptp(temperatures.lines[-1].get_ydata()) == 0
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert r"$\sigma_W = 0.125$; slope small $0.90\pm0.03$, large $0.50\pm0.03$" in said[0]
    assert len(said) == 6
    figure.draw_without_rendering()


def test_a_grid_without_groups_and_one_with_too_many(cube: xr.Dataset, batches: xr.Dataset) -> None:
    batch_collapse(cube, {"batch_boundary": batches.isel(init_scale=0)}, marks=["loss"])
    layered = batches.expand_dims(layer=[0, 1])
    with pytest.raises(ValueError, match="choose with the options group and at"):
        batch_collapse(cube, {"batch_boundary": layered})
    with pytest.raises(ValueError, match=r"'lost_learning_rate' \(did you mean 'loss_learning_rate'"):
        batch_collapse(cube, {"batch_boundary": batches}, marks=["lost"])
