"""Poincaré sections at chosen times."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from sgdphases.figures.poincare import poincare


def test_each_iteration_is_shown_against_the_one_before(base_run: xr.Dataset) -> None:
    figure = poincare(base_run, {}, times=[0, 60, 100], replica=1, images=4)
    rest, loop, _ = figure.axes
    orbits = [line for line in loop.lines if line.get_marker() == "o"]
    assert len(orbits) == 4
    values = base_run["poincare"].sel(replica=1, image=2).isel(step=30).values
    assert np.allclose(orbits[2].get_xydata(), np.stack([values[:-1], values[1:]], axis=-1))
    square = float(base_run["coupling"].sel(replica=1, layer=0).isel(step=30) ** 2)
    kind = ["zero", "chaos"][int(base_run["lyapunov"].sel(replica=1, control=0).isel(step=30) > 0)]
    assert loop.get_title("left") == f"$t_\\mathrm{{ep}} = 60$, $J^2 = {square:.3g}$\n{kind}"
    assert loop.get_xlim() == loop.get_ylim()
    assert rest.get_xlim()[1] == pytest.approx(0.02 * float(np.abs(base_run["poincare"].sel(replica=1)).max()), rel=0.1)
    assert rest.get_ylabel() == r"$\bar X_{t+1}$" and loop.get_ylabel() == ""
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_five_times_make_two_rows_and_titles_do_without_more(base_run: xr.Dataset) -> None:
    bare = base_run.drop_vars(["dynamics", "coupling", "mean_coupling"])
    figure = poincare(bare, {}, times=[0, 37500, 75000, 112500, 150000], x="step")
    assert len(figure.axes) == 5
    assert figure.axes[1].get_title("left") == "$t = 37500$"
    assert [ax.get_xlabel() != "" for ax in figure.axes] == [False, True, True, True, True]


def test_what_lacks_is_told(base_run: xr.Dataset, decaying: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="poincare was not measured at epoch = 10; it was at 0, 20, 40, 60, 80, 100"):
        poincare(base_run, {}, times=[10])
    with pytest.raises(ValueError, match="unknown variable 'poincare'"):
        poincare(base_run.drop_vars("poincare"), {}, times=[0])
    with pytest.raises(ValueError, match="poincare has the axes weight_decay, step.*choose with the option at"):
        poincare(decaying, {}, times=[0])
    with pytest.raises(ValueError, match="lyapunov has the axes step, control"):
        poincare(base_run, {}, times=[0], variable="lyapunov")
    with pytest.raises(ValueError, match="the grid has no replica = 9"):
        poincare(base_run, {}, times=[0], replica=9)


def test_orbits_that_escape_do_not_hide_the_others(base_run: xr.Dataset) -> None:
    """One orbit of a map without bound goes beyond all numbers; the rest is drawn on its own scale."""
    wild = base_run.copy(deep=True)
    wild["poincare"].loc[{"image": wild["image"][0]}] = 1e200
    figure = poincare(wild, {}, times=[0, 60, 100], images=4)
    assert max(abs(limit) for ax in figure.axes for limit in ax.get_xlim()) < 1e3
    assert all(ax.get_title("left").endswith("1 of 4 escape") for ax in figure.axes)
