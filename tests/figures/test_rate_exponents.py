"""Exponents of learning rates by depth."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

from made_richness_fits import exponents_fit
from sgdphases.figures.rate_exponents import rate_exponents

CUBE = xr.Dataset(attrs={"widths": [64, 128, 128, 10]})


def points_of(ax: Axes, start: str) -> np.ndarray:
    (found,) = [part.lines[0].get_xydata() for part in ax.containers if str(part.get_label()).startswith(start)]
    return found


def laws_of(ax: Axes, name: str) -> list[np.ndarray]:
    return [line.get_xydata() for line in ax.lines if line.get_label() == name]


def test_exponents_stand_beside_those_of_theory() -> None:
    figure = rate_exponents(CUBE, {"richness_exponents": exponents_fit()})
    lazy, rich = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["lazy", "rich"]
    for word, shift in (("largest that stays finite", 0.1), ("largest that trains", 0), ("largest without", -0.1)):
        start = rf"$\eta_\mathrm{{max}}$: {word}"
        assert np.allclose(points_of(rich, start)[:, 1], [1 + shift, 2 / 3 + shift, 0.5 + shift])
        assert np.allclose(points_of(lazy, start)[:, 1], 2 + shift)
    assert np.allclose(points_of(rich, r"$\eta^\ast$")[:, 1], [1.05, 2 / 3 + 0.05, 0.55])
    laws = laws_of(rich, r"theory of $\eta_\mathrm{max}$")
    assert np.allclose([law[0, 1] for law in laws], [1, 2 / 3, 0.5])
    assert np.allclose([law[:, 0].mean() for law in laws], [2, 3, 4])
    assert np.allclose([law[0, 1] for law in laws_of(rich, r"theory of $\eta_\mathrm{min}$")], 1)
    assert np.allclose([law[0, 1] for law in laws_of(lazy, r"theory of $\eta_\mathrm{min}$")], 2)
    figure.draw_without_rendering()


def test_points_of_one_depth_stand_apart_and_have_errors() -> None:
    ax = rate_exponents(CUBE, {"richness_exponents": exponents_fit()}).axes[1]
    places = np.array([part.lines[0].get_xdata() for part in ax.containers])
    assert np.diff(places, axis=0).min() > 0.1
    assert np.abs(places - [2, 3, 4]).max() < 0.4
    bars = np.array([part.lines[2][0].get_segments() for part in ax.containers])
    assert np.allclose(np.ptp(bars[..., 1], axis=-1), 0.04)
    lost = exponents_fit()
    lost["best_exponent_error"] = lost["best_exponent_error"] * np.nan
    assert len(rate_exponents(CUBE, {"richness_exponents": lost}).axes[1].containers) == 5


def test_losses_are_rows_and_cross_entropy_has_its_own_theory() -> None:
    fit = exponents_fit()
    both = xr.concat([fit, fit.assign_coords(loss="cross_entropy")], "loss")
    figure = rate_exponents(CUBE, {"richness_exponents": both})
    assert [ax.get_title() for ax in figure.axes][2:] == ["lazy, cross entropy", "rich, cross entropy"]
    lazy = figure.axes[2]
    assert {law[0, 1] for law in laws_of(lazy, r"theory of $\eta_\mathrm{max}$")} == {1}
    assert {law[0, 1] for law in laws_of(lazy, r"theory of $\eta_\mathrm{max}$ without a catapult")} == {2}
    assert not laws_of(figure.axes[0], r"theory of $\eta_\mathrm{max}$ without a catapult")
    one = rate_exponents(CUBE, {"richness_exponents": both}, at={"loss": "cross_entropy"})
    assert len(one.axes) == 2


def test_a_single_depth_is_that_of_the_card() -> None:
    fit = exponents_fit((3,)).squeeze("depth").assign_coords(depth=0)
    ax = rate_exponents(CUBE, {"richness_exponents": fit}, criteria=["trained"], others=[]).axes[1]
    assert np.allclose(points_of(ax, r"$\eta_\mathrm{max}$")[:, 0], 3)
    assert laws_of(ax, r"theory of $\eta_\mathrm{max}$")[0][0, 1] == pytest.approx(2 / 3)
    assert not laws_of(ax, r"theory of $\eta_\mathrm{min}$")


def test_what_lacks_is_told() -> None:
    with pytest.raises(ValueError, match="needs the fit 'richness_exponents'"):
        rate_exponents(CUBE, {})
    wide = exponents_fit().expand_dims(width=[64, 128])
    with pytest.raises(ValueError, match="largest_exponent also changes along width; choose with the option at"):
        rate_exponents(CUBE, {"richness_exponents": wide})
