"""Maps show the right numbers at the right places, whatever the grid."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from sgdphases.figures.maps import maps_overview, norm_of, phase_map


def meshes(figure: Figure) -> list[QuadMesh]:
    """Cells of the maps, without those of colour bars."""
    found = [mesh for ax in figure.axes for mesh in ax.collections if isinstance(mesh, QuadMesh)]
    return [mesh for mesh in found if mesh.get_array().shape[0] < 200]


def test_losses_are_medians_on_a_logarithmic_scale(cube: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    figure = phase_map(cube, fits, variable="test_loss", boundaries=True)
    (mesh,) = meshes(figure)
    assert isinstance(mesh.norm, LogNorm)
    expected = np.median(cube["test_loss"].isel(step=-1).transpose("learning_rate", "init_scale", "replica"), axis=-1)
    assert np.allclose(mesh.get_array(), expected[:, ::-1])
    ax, bar = figure.axes
    assert ax.get_xlabel() == "inverse initial scale $1/\\sigma_W$"
    assert bar.get_ylabel() == "test loss $L_\\mathrm{test}$\n(median of 10 replicas)"
    assert np.allclose(ax.get_xlim(), [2**-8.5, 2**3.5])
    assert np.allclose(ax.get_ylim(), [2**-5.5, 2**6.5])
    assert [line.get_label() for line in ax.lines][0] == "68 % of runs pass, as published"
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_what_the_card_says_goes_before_what_the_values_suggest(cube: xr.Dataset) -> None:
    said = {"statistic": "mean", "colour": "linear", "limits": [0, 1], "palette": "cividis"}
    (mesh,) = meshes(phase_map(cube, {}, variable="test_loss", step="first", **said))
    assert (mesh.norm.vmin, mesh.norm.vmax, mesh.cmap.name) == (0, 1, "cividis")
    expected = cube["test_loss"].isel(step=0).mean("replica").transpose("learning_rate", "init_scale").values
    assert np.allclose(mesh.get_array(), expected[:, ::-1])


def test_limits_from_zero_make_colours_linear(cube: xr.Dataset) -> None:
    (mesh,) = meshes(phase_map(cube, {}, variable="test_loss", limits=[0, 1]))
    overview = maps_overview(cube, {}, variables=["test_loss", "overlap"], limits={"test_loss": [0, 1]})
    for norm in (mesh.norm, meshes(overview)[0].norm):
        assert (type(norm), norm.vmin, norm.vmax) == (Normalize, 0, 1)
    with pytest.raises(ValueError, match="colour: log needs limits above zero"):
        phase_map(cube, {}, variable="test_loss", colour="log", limits=[0, 1])


def test_the_published_map_stands_beside_the_measured_one(cube: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    figure = phase_map(cube, fits, variable="overlap", published=True)
    measured, told = meshes(figure)
    assert np.allclose(told.get_array()[-1, 0], 0.27)
    assert told.norm is measured.norm
    assert np.corrcoef(measured.get_array().ravel(), told.get_array().ravel())[0, 1] > 0.97
    assert [ax.get_title() for ax in figure.axes[:2]] == ["measured", "published"]
    assert len(phase_map(cube, {}, variable="overlap", published=True).axes) == 2


def test_a_share_is_a_mean_over_replicas_with_a_value(tiny: Callable[..., xr.Dataset]) -> None:
    data = tiny([1, 2], [1, 2])
    flags = np.zeros(data["overlap"].shape, dtype=np.int8)
    flags[0, 0, 0], flags[0, 0, 1], flags[1, 1] = 1, -1, -1
    attrs = {"flag_values": np.array([0, 1], dtype=np.int8), "flag_meanings": "no yes", "long_name": "share"}
    data["passes"] = (data["overlap"].dims, flags, attrs)
    (mesh,) = meshes(phase_map(data, {}, variable="passes"))
    assert np.ma.allequal(mesh.get_array(), np.ma.masked_invalid([[0, 1], [np.nan, 0]]))


@pytest.mark.parametrize("shape", [([1.0], [2.0]), ([1.0, 2.0], [2.0]), ([1.0, 2.0], [1.0, 2.0])])
def test_small_grids_and_missing_values(shape: tuple, tiny: Callable[..., xr.Dataset]) -> None:
    data = tiny(*shape)
    data["overlap"][{"init_scale": 0}] = np.nan
    phase_map(data, {}, variable="overlap").draw_without_rendering()
    phase_map(data, {}, variable="overlap", colour="log")


def test_initial_scale_zero_stands_beside_the_others(tiny: Callable[..., xr.Dataset]) -> None:
    figure = phase_map(tiny([1, 2], [0.0001, 1]), {}, variable="overlap", x="init_scale")
    assert figure.axes[0].get_xscale() == "log"
    data = tiny([1, 2], [1, 2]).assign_coords(init_scale=("init_scale", [0.0, 2.0], {"axis_scale": "log"}))
    ax = phase_map(data, {}, variable="overlap", x="init_scale").axes[0]
    assert ax.get_xscale() == "linear"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "2"]


def test_shared_axes_show_every_temperature(tiny: Callable[..., xr.Dataset]) -> None:
    figure = phase_map(tiny([1, 2, 4], [1, 2], batches=2, layers=2), {}, variable="overlap")
    assert len(meshes(figure)) == 4
    assert np.allclose([ax.get_ylim() for ax in figure.axes[:4]], [0.125 / 2**0.5, 2**0.5])
    figure.draw_without_rendering()


def test_colours_are_symmetric_where_values_have_both_signs() -> None:
    assert (
        norm_of([np.array([-1.0, 0.5])], "linear", None).vmin,
        norm_of([np.array([-1.0, 0.5])], "linear", None).vmax,
    ) == (-1, 1)
    assert norm_of([np.array([-0.01, 0.5])], "linear", None).vmin == -0.01
    assert norm_of([np.array([np.nan])], "log", None).vmin > 0


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"variable": "ovrlap"}, r"unknown variable 'ovrlap' \(did you mean 'overlap'\?\)"),
        ({"variable": "phase"}, "label.*phase_diagram"),
        ({"variable": "eigenvalues"}, "every mode.*trajectories"),
        ({"variable": "overlap", "x": "width"}, "unknown coordinate 'width'"),
        ({"variable": "overlap", "palette": "grue"}, "unknown colour map 'grue'"),
        ({"variable": "overlap", "boundaries": ["nowhere"]}, "unknown boundary over temperature"),
    ],
)
def test_what_cannot_be_drawn_is_refused(said: dict, message: str, cube: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=message):
        phase_map(cube, {}, **said)
    assert plt.get_fignums() == []


def test_the_overview_shows_each_variable_by_its_nature(cube: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    words = ["test_loss", "criterion_corrected", "phase"]
    figure = maps_overview(cube, fits, variables=words, columns=2, boundaries=["growth_temperature"])
    maps = meshes(figure)
    assert len(maps) == 3
    assert isinstance(maps[0].norm, LogNorm)
    assert (maps[1].norm.vmin, maps[1].norm.vmax) == (0, 1)
    assert maps[2].get_array().shape == (12, 12, 3)
    assert figure.axes[0].get_title() == "test loss $L_\\mathrm{test}$"


def test_the_overview_wants_one_map_a_variable(tiny: Callable[..., xr.Dataset]) -> None:
    data = tiny([1, 2], [1, 2], layers=2)
    with pytest.raises(ValueError, match="overlap has 2 maps, over layer"):
        maps_overview(data, {}, variables=["overlap"])
    maps_overview(data, {}, variables=["overlap", "phase"], at={"layer": 1})


def test_a_map_may_be_that_of_a_fit(cube: xr.Dataset) -> None:
    richness = np.array([0.1, 1.0, 10.0])
    words = {"axis_scale": "log", "symbol": r"\gamma"}
    table = np.arange(9.0).reshape(3, 3) / 8
    fit = xr.Dataset(
        {"output_agreement": (("richness", "reference_richness"), table)},
        coords={name: (name, richness, words) for name in ("richness", "reference_richness")},
    )
    said = {"variable": "output_agreement", "x": "richness", "y": "reference_richness"}
    (mesh,) = meshes(phase_map(cube, {"agreement": fit}, fit="agreement", **said))
    assert np.allclose(mesh.get_array(), table.T)
    with pytest.raises(ValueError, match="needs the fit 'agreement'"):
        phase_map(cube, {}, fit="agreement", **said)
