"""Numbers against a coordinate."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from made_richness_fits import edges_fit, portrait_cube
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


TIMES = {"x": "epoch", "series": None, "at": {"layer": 0}, "scale": "linear"}


def labelled(ax: plt.Axes, start: str) -> list[np.ndarray]:
    return [line.get_xydata() for line in ax.lines if str(line.get_label()).startswith(start)]


def test_in_time_every_record_is_drawn_with_a_band(base_run: xr.Dataset) -> None:
    panels = ["coupling", ["test_loss", "epoch_train_loss"]]
    figure = curves(base_run, {}, variables=panels, squared=["coupling"], limits={"test_loss": [0.1, 0.5]}, **TIMES)
    square, losses = figure.axes
    expected = (base_run["coupling"].isel(layer=0) ** 2).median("replica")
    assert np.allclose(square.lines[0].get_xydata(), np.stack([base_run["epoch"], expected], axis=-1))
    band = square.collections[0].get_paths()[0].vertices
    low, high = np.percentile(base_run["coupling"].isel(layer=0, step=50) ** 2, [16, 84])
    assert np.allclose([band[band[:, 0] == 100, 1].min(), band[band[:, 0] == 100, 1].max()], [low, high])
    assert square.get_ylabel() == "square of the disorder of the\nweights $J^2$"
    assert losses.get_ylabel() == r"$L_\mathrm{test}$, $L$" and losses.get_ylim() == (0.1, 0.5)
    drawn = [line for line in losses.lines if len(line.get_xdata())]
    assert np.allclose(drawn[1].get_ydata(), base_run["epoch_train_loss"].median("replica")[1:])
    assert len({line.get_linestyle() for line in drawn}) == 2
    names = [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]
    assert names == [r"test loss $L_\mathrm{test}$", "training loss, mean over the epoch $L$"]
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_what_fits_found_is_marked(base_run: xr.Dataset, base_fits: dict[str, xr.Dataset]) -> None:
    marks = {"weight_growth": ["edge"], "optimum": ["optimum"]}
    said = {"variables": ["coupling", "test_loss"], "squared": ["coupling"], "levels": {"coupling": [1]}}
    figure = curves(base_run, base_fits, marks=marks, fitted={"coupling": "weight_growth"}, **said, **TIMES)
    for ax in figure.axes:
        assert [place[0, 0] for start in ("edge", "optimum") for place in labelled(ax, start)] == [54, 40]
    square = figure.axes[0]
    (law,) = labelled(square, "fitted, $k = 11.0")
    assert law[-1, 0] == 50 and np.allclose(law[:, 1], 0.25 + 11 * law[:, 0] * 0.00125)
    assert any(np.ptp(line.get_ydata()) == 0 and line.get_ydata()[0] == 1 for line in square.lines)
    assert [patch.get_x() for patch in square.patches] == [53, 36]
    lost = base_fits | {"optimum": base_fits["optimum"].assign(optimum_epoch=np.nan)}
    unmarked = curves(base_run, lost, variables=["test_loss"], marks={"optimum": ["optimum"]}, **TIMES)
    assert not labelled(unmarked.axes[0], "optimum")


def test_lines_in_time_are_told_apart_by_a_series(decaying: xr.Dataset) -> None:
    said = TIMES | {"x": "epoch_time", "series": "l2_strength"}
    figure = curves(decaying, {}, variables=[["test_loss", "test_accuracy"]], **said)
    ax = figure.axes[0]
    expected = decaying["test_loss"].median("replica").isel(weight_decay=3)
    assert any(np.allclose(line.get_ydata(), expected) for line in ax.lines if len(line.get_ydata()) == 51)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == r"$\lambda_{L_2}=\lambda/2 = 5\cdot 10^{-4}$"
    assert len(names) == 7


def test_a_clock_may_differ_between_points(rates: xr.Dataset) -> None:
    said = TIMES | {"series": "learning_rate", "at": {"layer": 0, "momentum": 0.9, "batch_size": 16}}
    ax = curves(rates, {}, variables=["coupling"], **said).axes[0]
    cell = rates.sel(momentum=0.9, batch_size=16, learning_rate=0.05)
    expected = np.stack([cell["epoch"], cell["coupling"].isel(layer=0).median("replica")], axis=-1)
    assert any(np.allclose(line.get_xydata(), expected) for line in ax.lines if len(line.get_xdata()) == 51)


def test_estimates_of_a_fit_have_their_errors(base_run: xr.Dataset, base_fits: dict[str, xr.Dataset]) -> None:
    words = [["measured_constant", "predicted_constant"]]
    said = {"x": "middle_epoch_time", "series": None, "scale": "linear"}
    ax = curves(base_run, base_fits, fit="balance", variables=words, **said).axes[0]
    fit = base_fits["balance"]
    drawn = [line.get_ydata() for line in ax.lines if len(line.get_ydata())]
    assert np.allclose(drawn[0], fit["measured_constant"][1:])
    assert np.allclose(drawn[1], fit["predicted_constant"][1:])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(float((1.02 * fit["measured_constant"]).max()))
    assert ax.get_ylabel() == r"$dJ^2/d\tau$"


def test_estimates_over_the_grid_have_bars(decaying: xr.Dataset, decay_fit: xr.Dataset) -> None:
    said = {"x": "l2_strength", "series": None, "scale": "linear"}
    ax = curves(decaying, {"decay": decay_fit}, fit="decay", variables=["end_squared_coupling"], **said).axes[0]
    ends = np.array(ax.collections[0].get_segments())[:, :, 1]
    assert np.allclose(ends.mean(axis=1), decay_fit["end_squared_coupling"])
    assert np.allclose(np.ptp(ends, axis=1), 2 * decay_fit["end_squared_coupling_error"])
    assert len(ax.lines[0].get_xdata()) == 5


def test_a_mark_or_a_fit_that_is_not_there_is_told(
    base_run: xr.Dataset, rates: xr.Dataset, base_fits: dict[str, xr.Dataset], growth_fits: dict[str, xr.Dataset]
) -> None:
    with pytest.raises(ValueError, match=r"unknown variable 'egde_epoch' \(did you mean 'edge_epoch'"):
        curves(base_run, base_fits, variables=["coupling"], marks={"weight_growth": ["egde"]}, **TIMES)
    with pytest.raises(ValueError, match="needs the fit 'growth'"):
        curves(base_run, base_fits, variables=["coupling"], fitted={"coupling": "growth"}, **TIMES)
    with pytest.raises(ValueError, match="needs the fit 'balance'"):
        curves(base_run, {}, fit="balance", variables=["measured_constant"], **TIMES)
    with pytest.raises(ValueError, match="unknown variable 'test_loss'"):
        curves(base_run.drop_vars("test_loss"), {}, variables=["test_loss"], **TIMES)
    with pytest.raises(ValueError, match="coupling also changes along layer"):
        curves(base_run, {}, variables=["coupling"], **(TIMES | {"at": {}}))
    growth = growth_fits["weight_growth"].rename(slope_per_epoch="edge_epoch", slope_per_epoch_error="edge_epoch_error")
    with pytest.raises(ValueError, match="edge_epoch changes along batch_size; choose with the option at"):
        at = {"layer": 0, "momentum": 0.9, "learning_rate": 0.05}
        said = TIMES | {"series": "batch_size", "at": at}
        curves(rates, {"weight_growth": growth}, variables=["coupling"], marks={"weight_growth": ["edge"]}, **said)
    with pytest.raises(ValueError, match="the fitted line needs one clock"):
        said = TIMES | {"series": "learning_rate", "at": {"layer": 0, "momentum": 0.9, "batch_size": 16}}
        curves(rates, base_fits, variables=["coupling"], fitted={"coupling": "weight_growth"}, **said)


def test_times_can_tell_lines_apart() -> None:
    strips = portrait_cube()
    fits = {"learning_rate_edges": edges_fit(strips)}
    said = {"x": "richness", "series": "step", "values": [50, 100], "at": {"depth": 3}, "scale": "linear"}
    figure = curves(strips, fits, fit="learning_rate_edges", variables=["best_test_accuracy"], **said)
    ax = figure.axes[0]
    lines = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 7]
    assert np.allclose(lines[0], 0.905) and np.allclose(lines[1], 0.91)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["$t = 100$", "$t = 50$"]
    assert figure.get_suptitle() == "$L = 3$"
    # Errors have the colours of the lines that are drawn, whatever else the fit knows.
    bars = {tuple(part.get_color()[0][:3]) for part in ax.collections}
    assert bars == {tuple(line.get_color()) for line in ax.lines if len(line.get_ydata()) == 7}


def test_a_logarithmic_time_leaves_out_the_start(cube: xr.Dataset) -> None:
    said = {"variables": ["train_loss"], "x": "step", "at": {"temperature": 1.0}, "values": [8]}
    plain, stretched = (curves(cube, {}, x_scale=scale, **said).axes[0] for scale in ("auto", "log"))
    assert (plain.get_xscale(), stretched.get_xscale()) == ("linear", "log")
    (whole,), (later,) = ([line for line in ax.lines if len(line.get_xdata())] for ax in (plain, stretched))
    assert np.array_equal(later.get_xydata(), whole.get_xydata()[1:])
    assert whole.get_xdata()[0] == 0
