"""Curves against several clocks."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from made_richness import richness_cube
from made_richness_fits import described, drops_fit, edges_fit, portrait_cube
from sgdphases.figures.clock_curves import clock_curves

RICHNESS = [10.0, 100.0, 1000.0]
STEPS = [0, 1, 10, 100, 300]


def course(point: dict[str, Any], replica: int, steps: np.ndarray) -> dict[str, Any]:
    """A loss and an alignment that are functions of ηt/γ alone, different in every replica."""
    pace = point["learning_rate"] / point["richness"] * (1 + 0.1 * replica)
    updates, times = np.arange(steps[-1]), np.asarray(steps)
    return {
        "batch_loss": 0.1 * np.exp(-updates * pace),
        "test_loss": 0.1 * np.exp(-times * pace),
        "diverged_at": -1,
        "ntk_alignment": 0.3 + 0.4 * np.tanh(times * pace),
        "feature_alignment": np.stack([np.full(len(times), 0.1), 0.2 + times * pace], axis=-1),
    }


@pytest.fixture(scope="module")
def reduced() -> xr.Dataset:
    """Rich networks at one reduced learning rate, two depths, three replicas."""
    axes = {"depth": [2, 4], "richness": RICHNESS, "rates": [2.0], "rate_axis": "reduced_learning_rate"}
    made = described(richness_cube(course, steps=STEPS, replicas=3, **axes))
    return made.assign_coords(layer=("layer", [0, 1], {"symbol": r"\ell"}))


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]


def lines_of(ax: plt.Axes) -> list[np.ndarray]:
    """Without the level of the best constant answer."""
    return [line.get_xydata() for line in ax.lines if len(line.get_xdata()) > 2]


def test_a_line_is_the_median_of_smoothed_replicas(reduced: xr.Dataset) -> None:
    figure = clock_curves(reduced, {}, clocks=["step", "early_time"])
    assert [ax.get_title() for ax in figure.axes] == ["$L = 2$"] * 2 + ["$L = 4$"] * 2
    batch = reduced["batch_loss"].isel(depth=1, richness=2).transpose("replica", "update").values
    means = np.array([batch[:, place : place + 8].mean(axis=1) for place in range(293)])
    raw = lines_of(figure.axes[2])[2]
    assert np.allclose(raw[:, 0], np.arange(293) + 3.5)
    assert np.allclose(raw[:, 1], np.median(means, axis=1))
    assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_the_early_clock_brings_lines_together(reduced: xr.Dataset) -> None:
    figure = clock_curves(reduced, {}, clocks=["step", "flow_time", "early_time"], smooth=False)
    raw, flow, early = (lines_of(ax) for ax in figure.axes[3:6])
    rates = reduced["learning_rate"].sel(depth=4).values
    for place, (richness, rate) in enumerate(zip(RICHNESS, rates, strict=True)):
        assert np.allclose(flow[place][:, 0], rate * raw[place][:, 0])
        assert np.allclose(early[place][:, 0], rate / richness * raw[place][:, 0])
        assert np.allclose(early[place][:, 1], 0.1 * np.exp(-1.1 * early[place][:, 0]))
    assert not np.allclose(raw[0][:, 1], raw[2][:, 1], rtol=0.1)
    assert figure.axes[-1].get_xlabel() == r"early clock $\tau=\eta t/\gamma$"


@pytest.mark.parametrize(("baseline", "factor"), [("start", 1), ("constant", 2)])
def test_the_late_clock_counts_from_the_first_drop(reduced: xr.Dataset, baseline: str, factor: int) -> None:
    drops = drops_fit(reduced, "reduced_learning_rate")
    figure = clock_curves(reduced, {"first_drop": drops}, clocks=["step", "late_time"], smooth=False, baseline=baseline)
    raw, late = (lines_of(ax) for ax in figure.axes[:2])
    for place, richness in enumerate(RICHNESS):
        first = factor * 10.0 * richness / float(reduced["learning_rate"].isel(depth=0, richness=place))
        after = raw[place][:, 0] > first
        assert after.any() and np.isnan(late[place][~after, 0]).all()
        assert np.allclose(late[place][after, 0], 2.0 * (raw[place][after, 0] - first))
    with pytest.raises(ValueError, match="needs the fit 'first_drop'"):
        clock_curves(reduced, {}, clocks=["late_time"])


def test_variables_are_rows_with_their_own_scales(reduced: xr.Dataset) -> None:
    words = ["batch_loss", "ntk_alignment", "feature_alignment"]
    said = {"at": {"depth": 4, "layer": 1}, "linear": words[1:], "limits": {"ntk_alignment": [0, 1]}}
    figure = clock_curves(reduced, {}, variables=words, times={"step": [1, 300]}, **said)
    loss, kernel, features = figure.axes
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "linear", "linear"]
    assert kernel.get_ylim() == (0, 1) and features.get_xlim() == (1, 300)
    median = reduced["feature_alignment"].sel(depth=4, layer=1, richness=10).median("replica")
    drawn = lines_of(features)[0]
    assert np.allclose(drawn[:, 0], STEPS) and np.allclose(drawn[:, 1], median)
    levels = [line.get_ydata()[0] for line in loss.lines if len(line.get_xdata()) == 2]
    assert levels == pytest.approx([0.09])
    assert not [line for line in kernel.lines if len(line.get_xdata()) == 2]
    assert figure.get_suptitle() == r"$L = 4$, $\ell = 1$"
    assert legend_of(figure) == [
        r"$\gamma = 1000$",
        r"$\gamma = 100$",
        r"$\gamma = 10$",
        "loss of the best constant answer",
    ]


def test_the_best_learning_rate_is_that_of_every_richness() -> None:
    strips = portrait_cube()
    edges = edges_fit(strips)
    figure = clock_curves(strips, {"learning_rate_edges": edges}, rate="best", smooth=False, values=[0.001, 10])
    best = edges["log_best_rate"].isel(step=-1)
    for depth, ax in enumerate(figure.axes):
        for line, richness in zip(lines_of(ax), (0.001, 10), strict=True):
            apart = np.abs(np.log10(strips["learning_rate"]) - best.isel(depth=depth).sel(richness=richness))
            part = (
                strips["batch_loss"]
                .isel(depth=depth, learning_rate=int(np.argmin(apart.values)))
                .sel(richness=richness)
            )
            assert np.allclose(line[:, 1], part.median("replica"))
    lost = edges.assign(log_best_rate=edges["log_best_rate"].where(edges["richness"] != 10))
    bare = clock_curves(strips, {"learning_rate_edges": lost}, rate="best", values=[0.001, 10])
    assert len(lines_of(bare.axes[0])) == 1
    with pytest.raises(ValueError, match="needs the fit 'learning_rate_edges'"):
        clock_curves(strips, {}, rate="best")


def test_learning_rates_of_one_strip_have_a_ruler_of_those_tried() -> None:
    strips = portrait_cube(rates=10.0 ** np.arange(-8, 4, 0.25))
    figure = clock_curves(strips, {}, series="learning_rate", at={"depth": 3, "richness": 0.01}, smooth=False)
    tried = (strips["status"].sel(depth=3, richness=0.01).isel(step=-1) >= 0).all("replica")
    alive = strips["batch_loss"].sel(depth=3, richness=0.01).notnull().any(["replica", "update"])
    assert len(lines_of(figure.axes[0])) == int((tried & alive).sum()) > 10
    known = strips["learning_rate"].values[(tried & alive).values]
    assert figure.axes[1].get_ylabel() == r"learning rate $\eta$"
    assert np.allclose(figure.axes[1].get_ylim(), [known.min(), known.max()])
    assert legend_of(figure) == ["loss of the best constant answer"]
    figure.draw_without_rendering()


def test_long_curves_are_thinned_but_not_cut(reduced: xr.Dataset) -> None:
    long = reduced.reindex(update=np.arange(3000), method="nearest")
    drawn = lines_of(clock_curves(long, {}).axes[0])[0]
    assert len(drawn) <= 400 and drawn[0, 0] == 3.5 and drawn[-1, 0] == 2995.5
    assert len(lines_of(clock_curves(long, {}, smooth=False).axes[0])[0]) == 3000


def test_wrong_words_are_refused(reduced: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=r"unknown variable 'batch_los' \(did you mean 'batch_loss'"):
        clock_curves(reduced, {}, variables=["batch_los"])
    with pytest.raises(ValueError, match="options of the figure clock_curves: clocks.0"):
        clock_curves(reduced, {}, clocks=["epoch"])
    with pytest.raises(ValueError, match="the grid has no richness = 7"):
        clock_curves(reduced, {}, values=[7])


def test_nothing_to_draw_is_an_empty_panel(reduced: xr.Dataset) -> None:
    clock_curves(reduced.assign(batch_loss=np.nan * reduced["batch_loss"]), {}).draw_without_rendering()
    drops = drops_fit(reduced, "reduced_learning_rate")
    drops["drop_step"] = drops["drop_step"] * np.nan
    said = {"clocks": ["step", "late_time"], "variables": ["batch_loss", "ntk_alignment"]}
    never = clock_curves(reduced, {"first_drop": drops}, **said)
    assert [len(lines_of(ax)) for ax in never.axes] == [3, 0] * 4
    never.draw_without_rendering()
