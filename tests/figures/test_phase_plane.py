"""The plane of order and chaos: what is measured or calculated, the lines of theory, and ways through it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from sgdphases.figures.phase_plane import phase_plane
from sgdphases.theory.correlation_map import asymptotic_distance
from sgdphases.theory.edge_of_chaos import critical_coupling


def line_named(ax: plt.Axes, name: str) -> np.ndarray:
    (found,) = [line for line in ax.lines if line.get_label() == name]
    return found.get_xydata()


def test_a_measured_map_is_shown_in_the_papers_scale(gaussian_map: xr.Dataset) -> None:
    figure = phase_plane(gaussian_map, {})
    ax = figure.axes[0]
    mesh = ax.collections[0]
    distance = gaussian_map["asymptotic_distance"].isel(step=-1).median("replica").values
    expected = np.log10(distance / 28 + 1e-4).T
    expected = expected[np.argsort(gaussian_map["inverse_init_scale"].values)]
    assert np.allclose(np.asarray(mesh.get_array()).reshape(expected.shape), expected)
    assert mesh.get_clim() == (-4, 0.2)
    assert ax.get_xlabel() == "mean over disorder of the weights $J_0/J$"
    assert ax.get_yscale() == "linear"
    assert "median of 3 replicas" in figure.axes[1].get_ylabel()
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_the_edge_is_that_of_theory_and_bends(gaussian_map: xr.Dataset) -> None:
    ax = phase_plane(gaussian_map, {}).axes[0]
    edge = line_named(ax, "edge of chaos $\\chi_1=1$")
    assert np.allclose(edge[:, 1], 1 / critical_coupling(edge[:, 0]))
    assert np.allclose(edge[edge[:, 0] <= 1, 1], 1)
    assert np.interp(1.2, *edge.T) == pytest.approx(0.52308, abs=2e-4)
    border = line_named(ax, "para to ferro $|J_0|=1$")
    assert np.allclose(border[:, 0], border[:, 1])
    assert {text.get_text() for text in ax.texts} == {"para", "ferro", "chaos"}


def test_what_has_not_converged_is_hatched(gaussian_map: xr.Dataset) -> None:
    ax = phase_plane(gaussian_map, {}).axes[0]
    (strokes,) = [part for part in ax.collections if part.get_hatch()]
    settled = gaussian_map["converged"].isel(step=-1).all("replica")
    assert len(strokes.get_paths()) == int((~settled).sum())
    heights = [path.vertices[:, 1].mean() for path in strokes.get_paths()]
    assert min(heights) > 0.8 and max(heights) < 1.2
    bare = phase_plane(gaussian_map.drop_vars("converged"), {}, variable="lyapunov")
    assert not [part for part in bare.axes[0].collections if part.get_hatch()]


def test_trained_weights_stand_on_mean_field_theory(base_run: xr.Dataset, base_fits: dict[str, xr.Dataset]) -> None:
    figure = phase_plane(base_run, base_fits, cells=12)
    ax = figure.axes[0]
    values = np.asarray(ax.collections[0].get_array()).reshape(12, 12)
    x, y = -1 + (np.arange(12) + 0.5) / 4, (np.arange(12) + 0.5) * 2.2 / 12
    distance = asymptotic_distance(1 / y[:, None], x / y[:, None])
    assert np.allclose(values, np.log10(distance + 1e-4))
    assert (values[y > 1.1][:, np.abs(x) < 1] == -4).all()
    assert "mean field" in figure.axes[1].get_ylabel()
    assert ax.get_ylim() == (0, 2.2)


def test_a_way_is_that_of_one_replica_coloured_by_time(base_run: xr.Dataset, base_fits: dict[str, xr.Dataset]) -> None:
    figure = phase_plane(base_run, base_fits, cells=4)
    ax = figure.axes[0]
    ways = [part for part in ax.collections if hasattr(part, "get_segments")]
    assert len(ways) == 3
    coupling = base_run["coupling"].sel(replica=1, layer=0)
    ratio = base_run["mean_coupling"].sel(replica=1, layer=0) / coupling
    segments = np.array(ways[1].get_segments())
    assert np.allclose(segments[:, 1], np.stack([ratio[1:], 1 / coupling[1:]], axis=-1))
    assert np.allclose(ways[1].get_array(), base_run["epoch_time"][1:])
    assert figure.axes[2].get_ylabel().startswith("gradient-flow time per sample")
    (star,) = line_named(ax, "best test loss")
    mean = (1 / base_run["coupling"].isel(layer=0)).mean("replica")
    assert star[1] == pytest.approx(float(np.interp(0.05, base_run["epoch_time"], mean)))


def test_ways_can_be_told_apart_by_a_coordinate(decaying: xr.Dataset) -> None:
    best = xr.Dataset({"optimum_epoch_time": ("weight_decay", [0.05, np.nan, np.nan, np.nan, np.nan])})
    figure = phase_plane(decaying, {"optimum": best}, series="l2_strength", cells=4, y_limits=[0.5, 4])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert r"$\lambda_{L_2}=\lambda/2 = 5\cdot 10^{-4}$" in names
    ax = figure.axes[0]
    assert ax.get_ylim() == (0.5, 4)
    assert len([line for line in ax.lines if line.get_label() == "best test loss"]) == 1
    assert len(figure.axes) == 2


def test_a_card_may_look_closer(base_run: xr.Dataset) -> None:
    ax = phase_plane(base_run, {}, cells=4, x_limits=[-0.5, 0.5], variable="lyapunov", at={"layer": 0}).axes[0]
    assert ax.get_xlim() == (-0.5, 0.5)
    assert "para to ferro $|J_0|=1$" not in {line.get_label() for line in ax.lines}
    assert {text.get_text() for text in ax.texts} == {"para", "chaos"}


def test_what_lacks_is_told(base_run: xr.Dataset, gaussian_map: xr.Dataset, decaying: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="unknown variable 'mean_coupling'"):
        phase_plane(base_run.drop_vars("mean_coupling"), {})
    with pytest.raises(ValueError, match="unknown variable 'coupling'"):
        phase_plane(gaussian_map.drop_vars("lyapunov"), {}, variable="lyapunov")
    with pytest.raises(ValueError, match="unknown coordinate 'epochs'"):
        phase_plane(base_run, {}, time="epochs")
    best = xr.Dataset({"optimum_epoch_time": 0.05})
    with pytest.raises(ValueError, match="the fit optimum lacks the axis weight_decay"):
        phase_plane(decaying, {"optimum": best}, cells=4)
