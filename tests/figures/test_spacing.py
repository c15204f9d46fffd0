"""The law of spacings."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from sgdphases.figures.spacing import spacing


def test_the_average_over_points_lies_on_the_surmise(cube: xr.Dataset, spacings: xr.Dataset) -> None:
    figure = spacing(cube, {"spacing": spacings})
    ax = figure.axes[0]
    values = ax.patches[0].get_data().values
    assert np.allclose(values, spacings["spacing_density"].mean(["point", "level"]))
    assert np.allclose(ax.patches[0].get_data().edges[[0, 1, -1]], [0, 0.1, 4])
    (law,) = [line for line in ax.lines if line.get_label() == "Wigner, orthogonal"]
    assert np.interp(1.0, law.get_xdata(), law.get_ydata()) == pytest.approx(np.pi / 2 * np.exp(-np.pi / 4), rel=1e-3)
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_groups_are_lines_and_lost_points_count_nothing(cube: xr.Dataset, spacings: xr.Dataset) -> None:
    lost = spacings.copy(deep=True)
    lost["spacing_density"][0] = np.nan
    ax = spacing(cube, {"spacing": lost}, group="batch_size", surmises=[]).axes[0]
    assert len(ax.patches) == 5
    several = spacings["spacing_density"].isel(point=slice(4, 8)).mean(["point", "level"])
    assert any(np.allclose(patch.get_data().values, several) for patch in ax.patches)


def test_wrong_words_are_refused(cube: xr.Dataset, spacings: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="needs the fit 'spacing'"):
        spacing(cube, {})
    with pytest.raises(ValueError, match="unknown estimate of the fit spacing 'density'"):
        spacing(cube, {"spacing": spacings}, density="density")
