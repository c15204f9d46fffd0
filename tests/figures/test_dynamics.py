"""Measures of the iterated layer, trained weights beside their controls."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from sgdphases.figures.dynamics import dynamics, law, shown

CONTROLS = ["trained", "shuffled", "same spectrum", "outliers removed", "gaussian"]


def bars(ax: plt.Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Places of the marks and lengths of the bars by name."""
    return {
        part.get_label(): (
            part.lines[0].get_xydata(),
            np.ptp(np.array(part.lines[2][0].get_segments())[:, :, 1], axis=1),
        )
        for part in ax.containers
    }


def test_every_control_is_a_mean_over_replicas_against_the_square(
    base_run: xr.Dataset, base_fits: dict[str, xr.Dataset]
) -> None:
    figure = dynamics(base_run, base_fits)
    ax = figure.axes[0]
    drawn = bars(ax)
    assert list(drawn) == CONTROLS
    seen = base_run["lyapunov"].isel(control=1).dropna("step")
    square = (base_run["coupling"].isel(layer=0) ** 2).sel(step=seen["step"])
    places, lengths = drawn["shuffled"]
    assert np.allclose(places[:, 0], square.mean("replica"))
    assert np.allclose(places[:, 1], seen.mean("replica"))
    assert np.allclose(lengths, 2 * seen.std("replica"))
    assert [panel.get_ylabel().split(" ")[0] for panel in figure.axes] == ["largest", "norm", "asymptotic"]
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_mean_field_theory_and_the_edges_are_drawn(base_run: xr.Dataset, base_fits: dict[str, xr.Dataset]) -> None:
    ax, norms, distances = dynamics(base_run, base_fits).axes
    (curve,) = [line.get_xydata() for line in ax.lines if line.get_label() == "mean field, $J_0=0$"]
    ordered = curve[:, 0] < 1
    assert np.allclose(curve[ordered, 1], np.log(curve[ordered, 0]) / 2)
    assert np.interp(1.2**2, *curve.T) == pytest.approx(0.016476, rel=1e-2)  # dossier 5.4
    crossings = [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "|"]
    assert np.allclose(crossings, [[1.62, 0], [1.02, 0], [1.0, 0], [1.03, 0], [1.01, 0]])
    assert any(list(line.get_xdata()) == [1.55, 1.7] for line in ax.lines)
    assert not [line for line in norms.lines if line.get_marker() == "|"]
    (far,) = [line.get_xydata() for line in distances.lines if line.get_label() == "mean field, $J_0=0$"]
    assert far[0, 1] == -4


def test_distances_are_medians_over_images_in_the_papers_scale(base_run: xr.Dataset) -> None:
    drawn = bars(dynamics(base_run, {}, variables=["asymptotic_distance"], controls=["gaussian"]).axes[0])
    distance = base_run["asymptotic_distance"].isel(control=4).dropna("step", how="all")
    expected = np.log10(distance / 28 + 1e-4).median("image").mean("replica")
    assert np.allclose(drawn["gaussian"][0][:, 1], expected)
    assert shown(base_run["lyapunov"], base_run).identical(base_run["lyapunov"])


def test_one_replica_has_the_error_of_its_orbits(base_run: xr.Dataset) -> None:
    ax = dynamics(base_run.isel(replica=[0]), {}, variables=["lyapunov"], controls=["trained"]).axes[0]
    assert np.allclose(bars(ax)["trained"][1], 2 * 0.004)


def test_measures_in_time_stand_beside_the_optimum(base_run: xr.Dataset, base_fits: dict[str, xr.Dataset]) -> None:
    said = {
        "variables": ["lyapunov"],
        "x": "epoch",
        "marks": {"optimum": ["optimum"]},
        "limits": {"lyapunov": [-1, 0.1]},
    }
    ax = dynamics(base_run, base_fits, **said).axes[0]
    places, _ = bars(ax)["trained"]
    assert np.allclose(places[:, 0], [0, 20, 40, 60, 80, 100])
    assert ax.get_ylim() == (-1, 0.1)
    assert ax.get_xlabel() == r"epoch $t_\mathrm{ep}$"
    assert [line.get_xdata()[0] for line in ax.lines if line.get_label() == "optimum epoch $t^*$"] == [40]
    assert not [line for line in ax.lines if line.get_label().startswith("mean field")]
    dynamics(base_run.drop_vars("coupling"), {}, x="epoch")


def test_measures_without_controls_or_laws_are_drawn_too(base_run: xr.Dataset) -> None:
    radius = base_run["lyapunov"].isel(control=0, drop=True).assign_attrs(long_name="spectral radius", symbol=r"\rho")
    figure = dynamics(base_run.assign(spectral_radius=radius), {}, variables=["spectral_radius"])
    assert list(bars(figure.axes[0])) == ["trained"]
    assert not [line for line in figure.axes[0].lines if line.get_label().startswith("mean field")]


def test_what_lacks_is_told(base_run: xr.Dataset, decaying: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="unknown variable 'lyapunov'"):
        dynamics(base_run.drop_vars("lyapunov"), {})
    with pytest.raises(ValueError, match="unknown variable 'coupling'"):
        dynamics(base_run.drop_vars("coupling"), {})
    with pytest.raises(ValueError, match="lyapunov has no value; it is measured where the card records weights"):
        dynamics(base_run.assign(lyapunov=base_run["lyapunov"] * np.nan), {})
    with pytest.raises(ValueError, match="lyapunov also changes along weight_decay; choose with the option at"):
        dynamics(decaying, {})
    with pytest.raises(ValueError, match="unknown control 'shufled'"):
        dynamics(base_run, {}, controls=["shufled"])
    with pytest.raises(ValueError, match="unknown measure with a mean-field law 'spectral_radius'"):
        law("spectral_radius", 1.0)
    figure = dynamics(decaying, {}, variables=["lyapunov"], at={"l2_strength": 9e-5})
    assert len(figure.axes[0].containers) == 5
