"""Curvature and the learning rate that it allows."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

from made_richness import Toy, largest_rate, richness_cube
from made_richness_fits import curvature_fit, described, edges_fit, portrait_cube
from sgdphases.ensemble.status import TRAINED
from sgdphases.figures.sharpness import sharpness

RICHNESS = 10.0 ** np.arange(-4, 5)


@pytest.fixture(scope="module")
def curved() -> xr.Dataset:
    axes = {"depth": [2, 4], "richness": RICHNESS, "rates": [0.1, 4.0], "rate_axis": "scaled_learning_rate"}
    return described(richness_cube(Toy(), steps=(0, 100), replicas=1, **axes))


def points_of(ax: Axes, start: str) -> np.ndarray:
    (found,) = [part.lines[0].get_xydata() for part in ax.containers if str(part.get_label()).startswith(start)]
    return found


def power_of(ax: Axes, start: str) -> float:
    (line,) = [np.log(line.get_xydata()) for line in ax.lines if str(line.get_label()).startswith(start)]
    return float((line[1, 1] - line[0, 1]) / (line[1, 0] - line[0, 0]))


def test_eigenvalues_stand_beside_their_powers(curved: xr.Dataset) -> None:
    fit = curvature_fit(curved)
    figure = sharpness(curved, {"sharpness": fit})
    above = figure.axes[:2]
    assert [ax.get_title() for ax in above] == ["$L = 2$", "$L = 4$"]
    for depth, ax in zip((2, 4), above, strict=True):
        end = 2 / largest_rate(RICHNESS, depth)
        assert np.allclose(points_of(ax, r"largest, $N\lambda_\mathrm{max}$, at the end")[:, 1], end)
        start = points_of(ax, r"largest, $N\lambda_\mathrm{max}$, at the start")[:, 1]
        assert np.allclose(start[:5], end[:5] / 3)
        assert np.allclose(points_of(ax, "lowest")[:, 1], start * np.minimum(RICHNESS, 1))
        powers = [power_of(ax, rf"$\propto\gamma^{{{each}}}$") for each in ("-2", "-1", "-2/L")]
        assert powers == pytest.approx([-2, -1, -2 / depth])
    line = next(line for line in above[1].lines if str(line.get_label()).startswith(r"$\propto\gamma^{-1}$"))
    (low, high), x = np.log10(line.get_ydata()), np.log10(line.get_xdata())
    start = np.log10(fit["start_hessian_top"].sel(depth=4).values[RICHNESS >= 10])
    assert low + (2.5 - x[0]) * (high - low) / (x[1] - x[0]) == pytest.approx(start.mean())
    figure.draw_without_rendering()


def test_the_prediction_stands_beside_what_was_tried_and_measured(curved: xr.Dataset) -> None:
    fits = {"sharpness": curvature_fit(curved)}
    below = sharpness(curved, fits).axes[2:]
    for depth, ax in zip((2, 4), below, strict=True):
        assert np.allclose(points_of(ax, "predicted")[:, 1], largest_rate(RICHNESS, depth))
        assert power_of(ax, r"$\propto\gamma^2$") == pytest.approx(2)
        assert power_of(ax, r"$\propto\gamma^{2/L}$") == pytest.approx(2 / depth)
        status = curved["status"].sel(depth=depth).isel(step=-1, replica=0)
        crosses = [line.get_xydata() for line in ax.lines if str(line.get_label()).endswith("card: trained")]
        assert len(crosses[0]) == int((status >= TRAINED).sum())
        others = [line.get_xydata() for line in ax.lines if str(line.get_label()).endswith("not trained")]
        assert len(others[0]) == int((status < TRAINED).sum()) > 0
        assert not [part for part in ax.containers if str(part.get_label()).startswith("measured")]
    measured = edges_fit(portrait_cube(depth=[2, 4]))
    ax = sharpness(curved, fits | {"learning_rate_edges": measured}, criterion="finite").axes[3]
    shown = points_of(ax, "measured")
    assert np.allclose(shown[:, 1], 10**0.3 * largest_rate(shown[:, 0], 4))


def test_without_some_of_it(curved: xr.Dataset) -> None:
    fit = curvature_fit(curved).drop_vars(["start_ratio", "start_ratio_error"])
    fit["best_end_hessian_top"] = fit["best_end_hessian_top"].where(fit["richness"] < 1)
    figure = sharpness(curved.drop_vars("status"), {"sharpness": fit}, at={"depth": 4})
    above, below = figure.axes
    assert not [part for part in above.containers if str(part.get_label()).startswith("lowest")]
    assert not [line for line in above.lines if "2/L" in str(line.get_label())]
    assert not [line for line in below.lines if "card" in str(line.get_label())]
    with pytest.raises(ValueError, match="needs the fit 'sharpness'"):
        sharpness(curved, {})
