"""Estimates beside their laws."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from made_richness_fits import drops_fit, edges_fit, portrait_cube
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


GROWTH = {"fit": "weight_growth", "y": ["slope_per_epoch"], "exponents": "growth_exponents", "scale": "log"}


def test_exponents_stand_beside_a_power_of_one(rates: xr.Dataset, growth_fits: dict[str, xr.Dataset]) -> None:
    figure = scaling(rates, growth_fits, x=["learning_rate", "momentum", "batch_size"], **GROWTH)
    for ax, power in zip(figure.axes, (1.003, 1.006, 1.005), strict=True):
        for start, slope in ((r"$", power), ("exponent 1", 1)):
            (law,) = [line.get_xydata() for line in ax.lines if str(line.get_label()).startswith(start)]
            assert np.diff(np.log(law[:, 1])) / np.diff(np.log(law[:, 0])) == pytest.approx(slope)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[1:] == [
        r"$1/(1-\beta)$: exponent $1.006\pm0.004$",
        r"$1/B$: exponent $1.005\pm0.004$",
        "exponent 1",
    ] or set(words) >= {r"$\eta$: exponent $1.003\pm0.004$", "exponent 1"}
    assert [ax.get_ylabel() for ax in figure.axes] == ["growth in an epoch $A$", "", ""]
    assert figure.axes[1].get_xlabel() == r"gain by momentum $1/(1-\beta)$"
    figure.draw_without_rendering()


def test_points_that_differ_in_nothing_else_are_joined(rates: xr.Dataset, growth_fits: dict[str, xr.Dataset]) -> None:
    figure = scaling(rates, growth_fits, x=["learning_rate", "momentum", "batch_size"], **GROWTH)
    slopes = growth_fits["weight_growth"]["slope_per_epoch"]
    joined = [part.lines[0].get_xydata() for part in figure.axes[2].containers]
    assert len(joined) == 6
    expected = slopes.sel(learning_rate=0.05, momentum=0.9).values[::-1]
    assert any(np.allclose(line, np.stack([[1 / 32, 1 / 16], expected], axis=-1)) for line in joined)
    assert [text.get_text() for text in figure.axes[2].get_xticklabels()] == ["$2^{-5}$", "$2^{-4}$"]


def test_of_a_star_each_panel_shows_its_own_ray(growth_fits: dict[str, xr.Dataset]) -> None:
    rate = np.array([0.01, 0.02, 0.04, 0.01, 0.01])
    size = np.array([32, 32, 32, 8, 128])
    star = xr.Dataset(
        {"slope_per_epoch": ("point", 2 * rate / size), "slope_per_epoch_error": ("point", 0.1 * rate / size)},
        coords={"learning_rate": ("point", rate), "batch_size": ("point", size)},
    )
    star = star.assign_coords(
        {word: star[word].assign_attrs(symbol=word[0]) for word in ("learning_rate", "batch_size")}
    )
    fits = growth_fits | {"weight_growth": star}
    rates, sizes = scaling(star, fits, x=["learning_rate", "batch_size"], **GROWTH).axes
    assert [len(part.lines[0].get_xdata()) for part in rates.containers] == [3]
    assert np.allclose(sizes.containers[0].lines[0].get_xdata(), [1 / 128, 1 / 32, 1 / 8])
    (law,) = [line.get_xydata() for line in rates.lines if str(line.get_label()).startswith("$l$: exponent")]
    assert np.exp(np.interp(np.log(0.02), *np.log(law).T)) == pytest.approx(2 * 0.02 / 32)


def test_an_exponent_that_was_not_found_is_not_drawn(rates: xr.Dataset, growth_fits: dict[str, xr.Dataset]) -> None:
    lost = growth_fits["growth_exponents"].assign(learning_rate_exponent=np.nan)
    figure = scaling(rates, growth_fits | {"growth_exponents": lost}, x="learning_rate", **GROWTH)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["exponent 1"]
    assert len(figure.axes[0].containers) == 1
    with pytest.raises(ValueError, match="unknown estimate of the fit growth_exponents 'momentum_exponent'"):
        few = growth_fits["growth_exponents"].drop_vars("momentum_exponent")
        scaling(rates, growth_fits | {"growth_exponents": few}, x="momentum", **GROWTH)
    with pytest.raises(ValueError, match="needs the fit 'growth_exponents'"):
        scaling(rates, {"weight_growth": growth_fits["weight_growth"]}, x="momentum", **GROWTH)


def test_one_panel_an_abscissa_or_an_estimate(cube: xr.Dataset, spacings: xr.Dataset) -> None:
    said = {"fit": "spacing", "y": ["spacing_slope", "expected_slope"]}
    figure = scaling(cube, {"spacing": spacings}, x=["learning_rate", "temperature"], **said)
    assert [ax.get_xlabel().split(" ")[0] for ax in figure.axes] == ["learning", "temperature"]
    with pytest.raises(ValueError, match=r"2 estimates \(y\) and 3 abscissae \(x\) make no panels"):
        scaling(cube, {"spacing": spacings}, x=["learning_rate"] * 3, **said)


def test_powers_go_through_the_middle_of_their_points() -> None:
    drops = drops_fit(portrait_cube(), "learning_rate").isel(learning_rate=[4])
    said = {"fit": "first_drop", "y": ["drop_step"], "x": "richness", "at": {"level": 0.95, "baseline": 1}}
    drops = drops.assign(drop_step=drops["drop_step"] * drops["richness"])
    figure = scaling(drops, {"first_drop": drops}, scale="log", powers={"drop_step": [2]}, **said)
    (law,) = [line for line in figure.axes[0].lines if line.get_label() == "power 2"]
    x, y = law.get_xdata(), law.get_ydata()
    points = drops["drop_step"].isel(level=1, baseline=1).squeeze()
    assert np.log(y[1] / y[0]) / np.log(x[1] / x[0]) == pytest.approx(2)
    assert np.interp(0, np.log(x), np.log(y)) == pytest.approx(float(np.log(points).mean()))
    assert figure.get_suptitle() == "$q = 0.95$, baseline: constant"
    few = scaling(drops, {"first_drop": drops}, scale="log", powers={"drop_step": [1]}, powers_range=[1, 1e9], **said)
    (law,) = [line for line in few.axes[0].lines if line.get_label() == "power 1"]
    assert law.get_xdata()[0] == pytest.approx(10 / 1.2)
    none = scaling(
        drops, {"first_drop": drops}, scale="log", powers={"drop_step": [1]}, powers_range=[1e8, 1e9], **said
    )
    assert not none.legends


def test_each_group_may_have_its_own_power() -> None:
    strips = portrait_cube()
    fits = {"learning_rate_edges": edges_fit(strips)}
    said = {"fit": "learning_rate_edges", "y": ["log_best_rate"], "x": "richness", "group": "depth", "scale": "log"}
    powers = {"log_best_rate": [1, 2 / 3]}
    figure = scaling(strips, fits, at={"step": 100}, powers=powers, powers_range=[9, 1e4], **said)
    ax = figure.axes[0]
    laws = {line.get_label(): line for line in ax.lines if str(line.get_label()).startswith("power")}
    assert set(laws) == {"power 1", "power 0.667"}
    for place, word in enumerate(laws):
        assert laws[word].get_color() == ax.containers[place].lines[0].get_color()


def test_decades_are_drawn_as_what_they_are_decades_of() -> None:
    strips = portrait_cube()
    fits = {"learning_rate_edges": edges_fit(strips)}
    said = {"fit": "learning_rate_edges", "y": ["log_best_rate"], "x": "richness", "at": {"step": 100, "depth": 3}}
    ax = scaling(strips, fits, scale="log", **said).axes[0]
    expected = fits["learning_rate_edges"]["log_best_rate"].sel(step=100, depth=3)
    assert np.allclose(ax.containers[0].lines[0].get_ydata(), 10**expected)
    heights = np.log10(np.array(ax.containers[0].lines[2][0].get_segments())[:, :, 1])
    assert np.allclose(np.ptp(heights, axis=1), 0.1)
    assert ax.get_ylabel() == r"learning rate $\eta^\ast$"
    plain = scaling(strips, fits, scale="semilog", **said).axes[0]
    assert (plain.get_xscale(), plain.get_yscale()) == ("log", "linear")
    assert np.allclose(plain.containers[0].lines[0].get_ydata(), expected)


def moments_fit() -> xr.Dataset:
    """Two estimates with two laws each, along a variable that is no axis, for two named groups."""
    curvature, half = np.array([0.1, 1.0, 0.3]), np.array([1.0, 0.5])
    words = {"long_name": "square", "symbol": "s"}
    data = {
        "square": (("group", "mode"), half[:, None] * curvature**2, words),
        "square_error": (("group", "mode"), 0.1 * half[:, None] * curvature**2),
        "root": (("group", "mode"), half[:, None] * np.sqrt(curvature), {"long_name": "root", "symbol": "r"}),
        "curvature": ("mode", curvature, {"long_name": "curvature", "symbol": "h"}),
    }
    for name, power in (("square", 2), ("root", 0.5)):
        for law, factor in (("exact", 1.1), ("rough", 1.5)):
            about = {"long_name": f"{law} law", "symbol": name[0]}
            data[f"{name}_{law}"] = (("group", "mode"), factor * half[:, None] * curvature**power, about)
    names = ("group", ["first_one", "second_one"])
    return xr.Dataset(data, coords={"group": ("group", [0, 1]), "group_name": names})


def test_each_estimate_may_have_several_laws(cube: xr.Dataset) -> None:
    laws = {name: [f"{name}_exact", f"{name}_rough"] for name in ("square", "root")}
    said = {"fit": "made", "y": ["square", "root"], "x": "curvature", "group": "group", "scale": "log"}
    figure = scaling(cube, {"made": moments_fit()}, predicted=laws, **said)
    for ax, power in zip(figure.axes, (2, 0.5), strict=True):
        drawn = [line.get_xydata() for line in ax.lines if len(line.get_xdata()) == 3 and line.get_marker() == ""]
        expected = [(factor, half) for half in (1.0, 0.5) for factor in (1.1, 1.5)]
        found = {
            (factor, half)
            for factor, half in expected
            for line in drawn
            if np.allclose(line[:, 1], factor * half * np.array([0.1, 0.3, 1.0]) ** power)
        }
        assert found == set(expected)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "exact law",
        "rough law",
        "first one",
        "second one",
    ]
    with pytest.raises(ValueError, match=r"unknown estimate \(y\) of the option predicted 'cube'"):
        scaling(cube, {"made": moments_fit()}, predicted={"cube": ["square_exact"]}, **said)
    with pytest.raises(ValueError, match="unknown variable 'square_exakt'"):
        scaling(cube, {"made": moments_fit()}, predicted={"square": ["square_exakt"]}, **said)


def test_points_may_be_joined_and_compared_with_what_they_should_equal(cube: xr.Dataset) -> None:
    said = {"fit": "made", "y": ["square"], "x": "square_exact", "group": "group"}
    ax = scaling(cube, {"made": moments_fit()}, equal=True, joined=True, **said).axes[0]
    (diagonal,) = [line for line in ax.lines if line.get_label() == "equal"]
    assert np.allclose(diagonal.get_xdata(), diagonal.get_ydata())
    assert diagonal.get_xdata()[[0, -1]] == pytest.approx([0.005, 1.1])
    assert all(part.lines[0].get_linestyle() == "-" for part in ax.containers)
    plain = scaling(cube, {"made": moments_fit()}, **said).axes[0]
    assert all(part.lines[0].get_linestyle() == "None" for part in plain.containers)
