"""Labels come from the data, files from one look, and nothing of either stays behind."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from sgdphases.figures import style


def array(**attrs: str) -> xr.DataArray:
    return xr.DataArray([1.0, 2.0], dims="speed", name="top_speed", attrs=attrs)


@pytest.mark.parametrize(
    ("attrs", "said"),
    [
        ({"long_name": "speed", "symbol": "v", "units": "m s-1"}, "speed $v$ [m s-1]"),
        ({"long_name": "speed", "symbol": "v", "units": "1"}, "speed $v$"),
        ({"long_name": "phase", "symbol": "phase", "units": "1"}, "phase"),
        ({"units": "s"}, "top speed [s]"),
        ({}, "top speed"),
    ],
)
def test_a_label_is_what_the_attributes_say(attrs: dict[str, str], said: str) -> None:
    assert style.label(array(**attrs)) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (8.0, "8"),
        (0.125, "0.125"),
        (1 / 256, "2^{-8}"),
        (1e-4, r"1\cdot 10^{-4}"),
        (0.0, "0"),
        (1234.0, "1234"),
        (256, "256"),
        (2**16, "2^{16}"),
        (10**3.5, "10^{3.5}"),
        (10**-0.5, "10^{-0.5}"),
        (3.16, "3.16"),
    ],
)
def test_numbers_are_short(value: float, said: str) -> None:
    assert style.number(value) == said


def test_a_value_is_named_by_its_symbol_or_its_word() -> None:
    assert style.value_label(array(symbol="v"), 2.0) == "$v = 2$"
    assert style.value_label(array(), 2.0) == r"$\mathrm{top_speed} = 2$"
    assert style.value_label(xr.DataArray(["a_b"], name="kind"), "a_b") == "a b"


def test_wrapping_never_breaks_a_formula() -> None:
    said = style.wrapped(r"one peak to two, $\langle h^2 \rangle = 0.343$", 20)
    assert said.split("\n") == ["one peak to two,", r"$\langle h^2 \rangle = 0.343$"]


def test_cells_meet_midway_on_either_scale() -> None:
    assert np.allclose(style.cell_borders(np.array([1.0, 4.0, 16.0]), logarithmic=True), [0.5, 2, 8, 32])
    assert np.allclose(style.cell_borders(np.array([1.0, 2.0, 4.0]), logarithmic=False), [0.5, 1.5, 3, 5])
    assert np.allclose(style.cell_borders(np.array([4.0]), logarithmic=True), [4 / 2**0.5, 4 * 2**0.5])


def test_an_axis_with_zero_or_infinity_is_not_logarithmic() -> None:
    good = xr.DataArray([1.0, 2.0], attrs={"axis_scale": "log"})
    assert style.is_logarithmic(good)
    assert not style.is_logarithmic(good.copy(data=[0.0, 1.0]).assign_attrs(good.attrs))
    assert not style.is_logarithmic(good.copy(data=[1.0, np.inf]).assign_attrs(good.attrs))
    assert not style.is_logarithmic(good.assign_attrs(axis_scale="linear"))


def test_ticks_are_powers_of_two_where_the_values_are() -> None:
    ax = Figure().subplots()
    ax.set_xscale("log")
    ax.set_xlim(2.0**-9, 2.0**4)
    style.log_ticks(ax.xaxis, 2.0 ** np.arange(-8, 4))
    assert [np.log2(tick) for tick in ax.get_xticks()] == [-8, -6, -4, -2, 0, 2]
    assert ax.xaxis.get_major_formatter()(0.25) == "$2^{-2}$"
    style.log_ticks(ax.xaxis, np.array([0.001, 0.01, 0.1]))
    assert 0.01 in ax.get_xticks()


def test_a_file_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    def written(name: str) -> tuple[bytes, bytes]:
        with style.theme():
            figure, axes = style.new_figure(1, 1, width=2, height=2)
            axes[0, 0].pcolormesh(np.arange(4.0).reshape(2, 2))
            axes[0, 0].plot([0, 1], [0, 1], path_effects=style.halo(), label="a line", clip_on=True)
            style.legend_below(figure, axes[0, 0])
        png, svg = tmp_path / f"{name}.png", tmp_path / f"{name}.svg"
        style.save(figure, png=png, svg=svg)
        return png.read_bytes(), svg.read_bytes()

    first, second = written("first"), written("second")
    assert first == second
    assert b"<dc:date>" not in first[1]
    assert b"a line" in first[1]
    assert first[0].startswith(b"\x89PNG")


def test_the_look_and_the_figures_leave_nothing_behind(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    with style.theme():
        figure, _ = style.new_figure(1, 1, width=1, height=1)
    style.save(figure, png=tmp_path / "a.png", svg=tmp_path / "a.svg")
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_an_unknown_colour_map_is_named() -> None:
    with pytest.raises(ValueError, match=r"'rainbow2'.*viridis"):
        style.colour_map("rainbow2")


def test_phases_differ_in_lightness_and_for_every_colour_vision() -> None:
    # Viénot, Brettel, Mollon (1999): what a deuteranope sees, in linear RGB.
    deuteranope = np.array([[0.2927, 0.7073, 0.0], [0.2927, 0.7073, 0.0], [-0.0223, 0.0223, 1.0]])
    colours = np.array([to_rgb(style.PHASE_COLOURS[word]) for word in ("ferro", "spin_glass", "para")]) ** 2.2
    for seen in (colours, colours @ deuteranope.T):
        grey = seen @ [0.2126, 0.7152, 0.0722]
        for first in range(3):
            for second in range(first):
                assert np.abs(seen[first] - seen[second]).max() > 0.1
                assert abs(grey[first] ** (1 / 3) - grey[second] ** (1 / 3)) > 0.05


def test_a_series_has_as_many_colours_as_lines() -> None:
    assert [len(style.series_colours(count)) for count in range(4)] == [0, 1, 2, 3]
    ends = style.series_colours(5)[:: len(style.series_colours(5)) - 1]
    assert np.allclose([style.series_map()(0.0)[:3], style.series_map()(1.0)[:3]], ends)


def test_cells_can_be_covered_or_hatched() -> None:
    figure, axes = style.new_figure(1, 1, width=2, height=2)
    borders = np.array([1.0, 2.0, 3.0])
    region = np.array([[True, False], [False, True]])
    style.hatch_cells(axes[0, 0], borders, borders, region, fill="#e9e9e9", said="lost")
    style.hatch_cells(axes[0, 0], borders, borders, ~region, fill="white", hatch=None)
    style.hatch_cells(axes[0, 0], borders, borders, region & False)
    strokes, cover = axes[0, 0].collections
    assert strokes.get_hatch() and not cover.get_hatch()
    assert tuple(strokes.get_facecolor()[0]) == pytest.approx(to_rgb("#e9e9e9") + (1,))
    assert cover.get_paths()[0].vertices[:, 0].max() == 3
    style.headline(figure, "")
    assert figure.get_suptitle() == ""
