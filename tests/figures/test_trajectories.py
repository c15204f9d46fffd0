"""Levels against time."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from sgdphases.figures.trajectories import trajectories

COLD, HOT = {"inverse_init_scale": 8, "temperature": 1 / 32}, {"inverse_init_scale": 8, "temperature": 4}


def test_every_mode_of_one_replica_against_flow_time(cube: xr.Dataset) -> None:
    figure = trajectories(cube, {}, cells=[COLD, HOT], replica=3)
    ax = figure.axes[0]
    lines = [line for line in ax.lines if len(line.get_xdata()) == 6]
    assert len(lines) == 16
    chosen = cube["eigenvalues"].sel(init_scale=0.125, learning_rate=0.125, replica=3).isel(mode=0).values[1:]
    assert np.allclose(lines[0].get_ydata(), chosen)
    assert np.allclose(lines[0].get_xdata(), 0.125 * cube["step"].values[1:])
    assert ax.get_title("left") == "ferro"
    assert ax.get_title("right") == r"$1/\sigma_W = 8$, $T=\eta/B = 2^{-5}$"
    assert figure.axes[1].get_title("left") == "para"
    assert ax.get_ylabel() == "squared singular value $x$"
    target = [line.get_ydata()[0] for line in ax.lines if len(line.get_xdata()) == 2]
    assert np.allclose(target, np.linspace(2.6, 0.12, 16))
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_predictions_stand_below_and_on_the_levels(cube: xr.Dataset, langevin: xr.Dataset) -> None:
    figure = trajectories(cube, {"langevin": langevin}, cells=[COLD])
    above, below = figure.axes
    (strokes,) = [part for part in above.collections if part.get_label().startswith("predicted")]
    start, end = strokes.get_segments()[0]
    assert start[0] == pytest.approx(12.5) and end[0] == pytest.approx(125)
    levels = cube["eigenvalues"].sel(init_scale=0.125, learning_rate=0.125, replica=0).isel(mode=0)
    assert end[1] == pytest.approx(float(levels[3] + 0.3 * (levels[4] - levels[3])))
    drawn = {(len(line.get_ydata()), float(line.get_ydata()[0])) for line in below.lines}
    assert drawn >= {(5, 1.0), (3, 1.5), (5, 0.9)}
    assert below.get_ylim() == (-0.5, 4)
    figure.draw_without_rendering()


def test_padding_and_lost_networks_are_left_out(cube: xr.Dataset) -> None:
    few = cube.isel(replica=slice(0, 2))
    few = few.assign(eigenvalues=few["eigenvalues"].where(few["mode"] < 3).where(few["step"] < 5000)).drop_vars(
        "teacher_eigenvalues"
    )
    figure = trajectories(few, {}, cells=[COLD], x="step")
    assert len([line for line in figure.axes[0].lines if len(line.get_xdata()) == 6]) == 3
    trajectories(few.isel(replica=[0]), {}, cells=[COLD])


def test_an_open_axis_is_named(cube: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=r"eigenvalues has the axes init_scale.*say in cells"):
        trajectories(cube, {}, cells=[{"temperature": 4}])
    with pytest.raises(ValueError, match="overlap has the axes replica, step"):
        trajectories(cube, {}, cells=[COLD], variable="overlap")
    with pytest.raises(ValueError, match="the grid has no replica = 77"):
        trajectories(cube, {}, cells=[COLD], replica=77)
