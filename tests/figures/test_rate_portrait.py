"""The portrait over richness and learning rate."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from made_richness import Toy, richness_cube
from made_richness_fits import SHIFTS, edges_fit, exponents_fit, portrait_cube
from sgdphases.ensemble.status import CATAPULTED, NONFINITE, UNTRIED
from sgdphases.figures.rate_portrait import rate_portrait
from sgdphases.figures.style import NOTHING, PAPER


@pytest.fixture(scope="module")
def portrait() -> xr.Dataset:
    return portrait_cube()


@pytest.fixture(scope="module")
def fits(portrait: xr.Dataset) -> dict[str, xr.Dataset]:
    return {"learning_rate_edges": edges_fit(portrait)}


def mesh_of(ax: plt.Axes) -> QuadMesh:
    return next(part for part in ax.collections if isinstance(part, QuadMesh))


def covered(ax: plt.Axes, colour: str) -> list[PolyCollection]:
    patches = [part for part in ax.collections if isinstance(part, PolyCollection) and len(part.get_facecolor())]
    return [part for part in patches if tuple(part.get_facecolor()[0]) == to_rgba(colour)]


def series_named(figure: Figure, start: str) -> list[np.ndarray]:
    found = []
    for ax in figure.axes:
        found += [part.lines[0].get_xydata() for part in ax.containers if str(part.get_label()).startswith(start)]
        found += [line.get_xydata() for line in ax.lines if str(line.get_label()).startswith(start)]
    return found


def words_of(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]


def test_cells_show_the_loss_over_the_baseline_where_there_is_one(
    portrait: xr.Dataset, fits: dict[str, xr.Dataset]
) -> None:
    figure = rate_portrait(portrait, fits, theory="none")
    for place, ax in enumerate(figure.axes[:2]):
        part = portrait.isel(depth=place, step=-1)
        status = part["status"].transpose("learning_rate", "richness", "replica")
        loss = (part["test_loss"] / part["constant_loss"]).transpose("learning_rate", "richness", "replica")
        expected = np.where((status > NONFINITE).all("replica"), loss.median("replica"), np.nan)
        assert np.allclose(mesh_of(ax).get_array().filled(np.nan), expected, equal_nan=True)
        assert ax.get_title() == f"$L = {place + 2}$"
        assert ax.get_xscale() == ax.get_yscale() == "log"
    assert mesh_of(figure.axes[0]).norm.vmax == 1
    assert figure.axes[2].get_ylabel().replace("\n", " ").endswith("(median of 2 replicas, $t = 100$)")
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_lost_and_untried_cells_differ_in_more_than_colour(portrait: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    figure = rate_portrait(portrait, fits, at={"depth": 3})
    ax = figure.axes[0]
    status = portrait["status"].sel(depth=3).isel(step=-1)
    (lost,), (untried,) = covered(ax, NOTHING), covered(ax, PAPER)
    assert lost.get_hatch() and not untried.get_hatch()
    assert len(lost.get_paths()) == int((status == NONFINITE).all("replica").sum())
    assert len(untried.get_paths()) == int((status == UNTRIED).all("replica").sum())
    assert words_of(figure)[:2] == ["not finite", "not tried"]
    assert figure.get_suptitle() == "$L = 3$"
    whole = rate_portrait(portrait.assign(status=portrait["status"].where(portrait["status"] >= 0, 1)), fits)
    assert "not tried" not in words_of(whole)


def test_half_of_the_replicas_decide(portrait: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    one = portrait.isel(depth=0).copy(deep=True)
    row = {"richness": 3, "step": 2}
    rates = np.flatnonzero((one["status"].isel(row) >= 2).all("replica"))
    one["status"][{**row, "learning_rate": rates[0], "replica": 0}] = NONFINITE
    one["status"][{**row, "learning_rate": rates[1], "replica": 0}] = CATAPULTED
    ax = rate_portrait(one, fits, at={}, theory="none").axes[0]
    before = int((portrait["status"].isel(depth=0, step=2) == NONFINITE).all("replica").sum())
    assert len(covered(ax, NOTHING)[0].get_paths()) == before + 1
    (dots,) = [line.get_xydata() for line in ax.lines if line.get_label() == "trained after a catapult"]
    spot = [one["richness"][3], one["learning_rate"][rates[1]]]
    assert np.isclose(dots, spot).all(axis=1).any()


def test_catapults_are_marked(portrait: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    figure = rate_portrait(portrait, fits, theory="none", at={"depth": 3})
    status = portrait["status"].sel(depth=3).isel(step=-1)
    jumped = (status == CATAPULTED).all("replica")
    (dots,) = series_named(figure, "trained after a catapult")
    assert len(dots) == int(jumped.sum()) > 0
    rates, places = np.nonzero(jumped.transpose("learning_rate", "richness").values)
    expected = np.stack([portrait["richness"].values[places], portrait["learning_rate"].values[rates]], axis=-1)
    assert np.allclose(dots, expected)


def test_edges_stand_where_the_fit_has_them(portrait: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    edges = fits["learning_rate_edges"].sel(depth=3).isel(step=-1)
    figure = rate_portrait(portrait, fits, criteria=["finite", "calm"], theory="none", at={"depth": 3})
    for word, shift in (("that stays finite", "finite"), ("without a catapult", "calm")):
        (drawn,) = series_named(figure, rf"$\eta_\mathrm{{max}}$: largest {word}")
        top = edges["log_largest_rate"].isel(criterion=1) + SHIFTS[shift]
        assert np.allclose(drawn, np.stack([edges["richness"], 10**top], axis=-1))
    assert not series_named(figure, r"$\eta_\mathrm{max}$: largest that trains")
    (best,), (least,) = series_named(figure, r"$\eta^\ast$"), series_named(figure, r"$\eta_\mathrm{min}$")
    assert np.allclose(best[:, 1], 10 ** edges["log_best_rate"])
    assert np.allclose(least[:, 1], 10 ** edges["log_smallest_rate"])
    bars = figure.axes[0].containers[0].lines[2][0].get_segments()
    heights = np.log10(np.array(bars)[:, :, 1])
    assert np.allclose(np.ptp(heights, axis=1), 0.1)


def test_each_step_has_a_panel_with_its_own_least_rate(portrait: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    figure = rate_portrait(portrait, fits, steps=[50, "last"], at={"depth": 3})
    assert [ax.get_title() for ax in figure.axes[:2]] == ["$t = 50$", "$t = 100$"]
    early, late = series_named(figure, r"$\eta_\mathrm{min}$: smallest")
    assert np.allclose(early[:, 1] / late[:, 1], 2)
    lines = series_named(figure, r"$\eta_\mathrm{min}\propto")
    known = np.isfinite(lines[0][:, 1]) & np.isfinite(lines[1][:, 1])
    assert known.any() and np.allclose(lines[0][known, 1] / lines[1][known, 1], 2)
    assert r"(prefactors fitted at $T=100$)" in " ".join(words_of(figure))


def test_the_legend_says_where_lines_come_from(portrait: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    assert sum("fitted" in word for word in words_of(rate_portrait(portrait, fits))) == 3
    assert sum("toy model" in word for word in words_of(rate_portrait(portrait, fits, theory="toy"))) == 2
    bare = words_of(rate_portrait(portrait, fits, theory="none"))
    assert not any("fitted" in word or "toy" in word for word in bare)


def test_the_closing_is_marked_where_a_fit_knows_it(portrait: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    closed = fits | {"richness_exponents": exponents_fit((2, 3), (0, 50, 100), closing=2.5)}
    spots = series_named(rate_portrait(portrait, closed), "the strip closes")
    assert len(spots) == 2 and np.allclose([spot[0, 0] for spot in spots], 10**2.5)
    for place in (np.nan, 7.0):
        beyond = fits | {"richness_exponents": exponents_fit((2, 3), (0, 50, 100), closing=place)}
        assert not series_named(rate_portrait(portrait, beyond), "the strip closes")


def test_rates_that_were_tried_nowhere_are_left_out(portrait: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    tried = (portrait["status"].isel(step=-1) >= 0).any(["depth", "richness", "replica"])
    known = portrait["learning_rate"].values[tried.values]
    low, high = rate_portrait(portrait, fits).axes[0].get_ylim()
    assert np.allclose([low, high], [known.min() * 10**-0.25, known.max() * 10**0.25])


def test_a_loss_without_a_depth_axis_takes_the_layers_of_the_card(portrait: xr.Dataset) -> None:
    one = portrait.sel(depth=2).assign_coords(depth=0)
    fits = {"learning_rate_edges": edges_fit(portrait.sel(depth=2)).assign_coords(depth=0)}
    assert any("ln" in word for word in words_of(rate_portrait(one, fits)))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"variable": "tst_loss"}, r"unknown variable 'tst_loss' \(did you mean 'test_loss'"),
        ({"criteria": ["calmest"]}, "options of the figure rate_portrait: criteria.0"),
        ({"edges": "borders"}, "needs the fit 'borders'"),
        ({"at": {"depth": 9}}, "the grid has no depth = 9"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    said: dict, message: str, portrait: xr.Dataset, fits: dict[str, xr.Dataset]
) -> None:
    with pytest.raises(ValueError, match=message):
        rate_portrait(portrait, fits, **said)
    with pytest.raises(ValueError, match="unknown variable 'status'"):
        rate_portrait(portrait.drop_vars("status"), fits)


def test_learning_rates_in_units_of_the_richness_are_refused() -> None:
    cube = richness_cube(Toy(), depth=[2, 3], rate_axis="scaled_learning_rate", rates=10 ** np.linspace(0, 2, 40))
    with pytest.raises(ValueError, match="learning_rate changes along both scaled"):
        rate_portrait(cube, {})
