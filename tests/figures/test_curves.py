"""Numbers against a coordinate."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from sgdphases.figures.curves import curves


def test_a_line_is_the_median_of_the_replicas(cube: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    told = {"train_loss": "train_loss_curve"}
    figure = curves(cube, fits, variables=["train_loss", "gradient_norm"], values=[8, 0.125], published=told)
    ax = figure.axes[0]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    expected = cube["train_loss"].isel(step=-1).sel(init_scale=0.125).median("replica").values
    lines = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 12]
    assert any(np.allclose(line, expected) for line in lines)
    assert any(np.allclose(line, fits["published"]["train_loss_curve"]) for line in lines)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["$1/\\sigma_W = 8$", "$1/\\sigma_W = 0.125$", "published: training\nloss, published"]
    assert figure.axes[1].get_ylabel() == "gradient norm $\\|\\nabla L\\|$"
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_bars_span_the_middle_of_the_replicas(cube: xr.Dataset) -> None:
    ax = curves(cube, {}, variables=["overlap"], values=[1], scale="linear").axes[0]
    values = cube["overlap"].isel(step=-1).sel(init_scale=1.0, learning_rate=0.125).values
    low, high = ax.collections[0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx(tuple(np.percentile(values, [16, 84])))


def test_an_axis_can_be_pooled_with_the_replicas(cube: xr.Dataset) -> None:
    said = {"x": "inverse_init_scale", "series": None, "step": "first"}
    figure = curves(cube, {}, variables=["gradient_norm"], pool=["learning_rate"], **said)
    expected = cube["gradient_norm"].isel(step=0).median(["replica", "learning_rate"]).values[::-1]
    assert np.allclose(figure.axes[0].lines[0].get_ydata(), expected)
    with pytest.raises(ValueError, match="also changes along learning_rate; use the options at or pool"):
        curves(cube, {}, variables=["gradient_norm"], **said)


def test_nothing_to_draw_is_an_empty_panel(cube: xr.Dataset) -> None:
    lost = cube.assign(train_loss=cube["train_loss"] * np.nan)
    curves(lost, {}, variables=["train_loss"]).draw_without_rendering()


def test_wrong_words_are_refused(cube: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    with pytest.raises(ValueError, match="the grid has no inverse_init_scale = 3"):
        curves(cube, {}, variables=["train_loss"], values=[3])
    with pytest.raises(ValueError, match="needs the fit 'published'"):
        curves(cube, {}, variables=["train_loss"], published={"train_loss": "train_loss_curve"})
    with pytest.raises(ValueError, match="published growth_temperature lies along init_scale, not along"):
        curves(cube, fits, variables=["train_loss"], published={"train_loss": "growth_temperature"})
