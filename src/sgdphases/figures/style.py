"""How figures look, are labelled and are saved. Figures hold no words or scales of their own: the data bring them."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis as Ruler
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, NullFormatter, NullLocator

from sgdphases.figures.options import options_of
from sgdphases.files import writing

PHASE_COLOURS = {"ferro": "#35a7cc", "spin_glass": "#6b3f94", "para": "#f5a54a", "undecided": "#c4c4c4"}
"""Apart in hue for every colour vision, and apart in lightness (36, 64, 75, 79) for print in grey."""
SEQUENTIAL = "viridis"
SERIES_END = 0.85
"""Where the ramp of lines ends: what is paler is lost on paper."""
DIVERGING = "vlag"
NOTHING = "#e9e9e9"
"""Where there is no value."""
INK = "#262626"
THEORY = "#c0392b"
"""Lines of laws on plain ground."""
PAPER = "white"
HATCH = "#8a8a8a"
"""Strokes over cells of which nothing is known for certain."""
DOTS_PER_INCH = 200

_OWN: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "axes.grid": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "savefig.transparent": False,
    "axes.unicode_minus": True,
    # Text stays text, and names inside a drawing are the same whenever it is drawn.
    "svg.fonttype": "none",
    "svg.hashsalt": "sgdphases",
}


@contextmanager
def theme() -> Iterator[None]:
    """The project's look, for the length of a block; nothing of it remains."""
    settings = {**sns.axes_style("ticks"), **sns.plotting_context("paper"), **_OWN}
    with mpl.rc_context(settings):
        yield


def save(figure: Figure, *, png: str | Path, svg: str | Path) -> None:
    """Write a figure as a picture and as a drawing, each whole or not at all, the same bytes for the same data.

    Args:
        figure: The figure; it belongs to no window and needs no closing.
        png: Where the picture goes, 200 dots per inch.
        svg: Where the drawing goes; its text stays text.
    """
    with theme():
        engine = figure.get_layout_engine()
        if engine is not None:
            # Once for both files: the arrangement costs more than the drawing.
            engine.execute(figure)
            figure.set_layout_engine("none")
        with writing(png) as temporary:
            figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        with writing(svg) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def new_figure(rows: int, columns: int, *, width: float, height: float, **shared: Any) -> tuple[Figure, np.ndarray]:
    """A figure outside pyplot with a table of axes.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        width: Inches.
        height: Inches.
        **shared: Options of `Figure.subplots`.

    Returns:
        Figure and axes, shape (rows, columns).
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    return figure, axes


def label(array: xr.DataArray, *, short: bool = False) -> str:
    """What an axis of this array says, from its attributes: long name, symbol, units.

    Args:
        array: Variable or coordinate with the attributes long_name, symbol and units.
        short: Only the symbol, where there is one.

    Returns:
        "long name $symbol$ [units]"; pure numbers have no units, and without a long name the array's name serves.
    """
    name = str(array.attrs.get("long_name") or str(array.name).replace("_", " "))
    symbol = str(array.attrs.get("symbol", ""))
    units = str(array.attrs.get("units", "1"))
    formula = f"${symbol}$" if symbol and symbol != name else ""
    if short and formula:
        return formula
    return " ".join(part for part in (name, formula, f"[{units}]" if units not in ("1", "") else "") if part)


def value_label(array: xr.DataArray, value: float) -> str:
    """A value of a coordinate as a title or legend says it: its symbol, "=", the number."""
    if not np.issubdtype(array.dtype, np.number):
        return str(value).replace("_", " ")
    symbol = array.attrs.get("symbol") or rf"\mathrm{{{array.name}}}"
    return f"${symbol} = {number(value)}$"


def number(value: float) -> str:
    """A number in a formula: large and small powers of two, half powers of ten as such, others with three digits."""
    value = float(value)
    decades = 2 * np.log10(value) if value > 0 and np.isfinite(value) else 0.0
    if abs(decades - round(decades)) < 1e-6 and round(decades) % 2:
        return f"10^{{{round(decades) / 2:g}}}"
    exponent = np.log2(value) if value > 0 and np.isfinite(value) else 0.5
    if abs(exponent - round(exponent)) < 1e-9 and (exponent > 12 or exponent < -3):
        return f"2^{{{round(exponent)}}}"
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        mantissa, power = f"{value:.2e}".split("e")
        return rf"{float(mantissa):g}\cdot 10^{{{int(power)}}}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:g}"


def log_ticks(ruler: Ruler, values: np.ndarray, *, most: int = 7) -> None:
    """Ticks of a logarithmic axis: powers of two where the values are such, otherwise powers of ten.

    Args:
        ruler: The x or y axis, already logarithmic.
        values: Positive values that are shown along it.
        most: Largest number of labels.
    """
    exponents = np.log2(np.asarray(values, dtype=np.float64))
    whole = np.unique(np.rint(exponents))
    on_powers = np.abs(exponents[:, None] - whole).min(axis=1) < 1e-3
    if on_powers.sum() < max(2, exponents.size / 2) and exponents.size > 1:
        ruler.set_major_locator(LogLocator(base=10, numticks=most))
        return
    every = max(1, int(np.ceil((whole.max() - whole.min() + 1) / most)))
    shown = whole[whole % every == 0]
    ruler.set_major_locator(FixedLocator(list(2.0**shown)))
    ruler.set_major_formatter(_PowersOfTwo())
    ruler.set_minor_locator(FixedLocator(list(2.0**whole)) if len(whole) < 40 else NullLocator())
    ruler.set_minor_formatter(NullFormatter())


def value_ticks(ruler: Ruler, values: np.ndarray, *, most: int = 7, decades: float = np.inf) -> None:
    """Ticks of a logarithmic axis at the values themselves, where they are few and near; otherwise as `log_ticks`.

    Args:
        ruler: The x or y axis, already logarithmic.
        values: Positive values, ascending.
        most: Largest number of labels.
        decades: Range from which on powers of ten say enough.
    """
    if len(values) > most or (len(values) and np.log10(values[-1] / max(values[0], 1e-300)) >= decades):
        log_ticks(ruler, values, most=most)
        return
    ruler.set_major_locator(FixedLocator(list(values)))
    ruler.set_major_formatter(FixedFormatter([f"${number(value)}$" for value in values]))
    ruler.set_minor_locator(NullLocator())


def rule_axes(ax: Axes, x: xr.DataArray, y: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Set scale, limits, ticks and labels of a map's axes from its coordinates.

    Args:
        ax: Where the map will be.
        x: Coordinate along the columns, ascending.
        y: Coordinate along the rows, ascending.

    Returns:
        Borders of the cells along x and along y.
    """
    borders = []
    for coordinate, ruler, name in ((x, ax.xaxis, "x"), (y, ax.yaxis, "y")):
        values = np.asarray(coordinate.values, dtype=float)
        logarithmic = is_logarithmic(coordinate)
        if logarithmic:
            ax.set(**{f"{name}scale": "log"})
            log_ticks(ruler, values)
        elif coordinate.attrs.get("axis_scale") in ("log", "category") or not np.isfinite(values).all():
            # Values that no scale can hold stand side by side.
            ruler.set_ticks(np.arange(len(values)), [f"{value:g}" for value in values])
            values = np.arange(len(values))
        borders.append(cell_borders(values, logarithmic=logarithmic))
        ax.set(**{f"{name}lim": borders[-1][[0, -1]], f"{name}label": label(coordinate)})
    return borders[0], borders[1]


def cover(axes: Sequence[Axes], coordinates: Sequence[tuple[xr.DataArray, xr.DataArray]]) -> None:
    """Make axes that are shared show all of what their maps hold, where the maps' coordinates differ.

    Args:
        axes: The axes of the maps.
        coordinates: x and y of each map.
    """
    for place, name in enumerate("xy"):
        arrays = [pair[place] for pair in coordinates]
        if not all(is_logarithmic(array) for array in arrays):
            continue
        borders = [cell_borders(np.asarray(array.values, dtype=float), logarithmic=True)[[0, -1]] for array in arrays]
        for ax in axes:
            ax.set(**{f"{name}lim": (np.min(borders), np.max(borders))})
            log_ticks(getattr(ax, f"{name}axis"), np.concatenate([array.values for array in arrays]))


def hatch_cells(
    ax: Axes,
    columns: np.ndarray,
    rows: np.ndarray,
    region: np.ndarray,
    *,
    said: str | None = None,
    fill: str = "none",
    hatch: str | None = "////",
) -> None:
    """Draw strokes over some cells of a map, or cover them.

    Args:
        ax: Where the map is.
        columns: Borders of its cells along x, (n + 1,).
        rows: Borders along y, (m + 1,).
        region: Which cells, (m, n).
        said: What a legend says.
        fill: Colour below the strokes.
        hatch: The strokes, as matplotlib names them; None for none.
    """
    cells = [
        [(columns[j], rows[i]), (columns[j + 1], rows[i]), (columns[j + 1], rows[i + 1]), (columns[j], rows[i + 1])]
        for i, j in np.argwhere(region)
    ]
    if cells:
        strokes = PolyCollection(cells, facecolor=fill, edgecolor=HATCH, lw=0, hatch=hatch, label=said)
        ax.add_collection(strokes, autolim=False)


def is_logarithmic(array: xr.DataArray) -> bool:
    """Whether an axis of this coordinate is drawn logarithmically: its attribute says so and its values allow it."""
    values = np.asarray(array.values, dtype=float)
    return array.attrs.get("axis_scale") == "log" and bool((np.isfinite(values) & (values > 0)).all())


def cell_borders(values: np.ndarray, *, logarithmic: bool) -> np.ndarray:
    """Borders of the cells around ascending values: midway between neighbours, geometrically on a logarithmic axis.

    Args:
        values: Shape (n,); a single one gets a cell of one octave or of width one.
        logarithmic: Whether the axis is.

    Returns:
        Shape (n + 1,).
    """
    places = np.log2(values) if logarithmic else np.asarray(values, dtype=float)
    half = np.diff(places) / 2 if len(places) > 1 else np.array([0.5])
    inner = places[:-1] + half[: len(places) - 1]
    borders = np.concatenate([[places[0] - half[0]], inner, [places[-1] + half[-1]]])
    return 2.0**borders if logarithmic else borders


def octave_ticks(ruler: Ruler) -> None:
    """Ticks at powers of two, for a logarithmic axis of few decades whatever its values."""
    ruler.set_major_locator(LogLocator(base=2, numticks=9))
    ruler.set_major_formatter(_PowersOfTwo())
    ruler.set_minor_locator(NullLocator())


class _PowersOfTwo(mpl.ticker.Formatter):
    """Every value as 2^k."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"$2^{{{round(np.log2(x))}}}$"


def phase_colours(words: Mapping[int, str]) -> dict[int, tuple[float, float, float]]:
    """Colours of phase labels: fixed ones for the known words, a colour-blind safe palette for others."""
    spare = iter(sns.color_palette("colorblind", len(words)))
    return {value: to_rgb(PHASE_COLOURS.get(word, next(spare))) for value, word in words.items()}


def colour_map(name: str) -> Colormap:
    """A colour map by name, with a colour for missing values.

    Args:
        name: A name that matplotlib or seaborn knows.

    Returns:
        The map.

    Raises:
        ValueError: If there is no such map.
    """
    try:
        return mpl.colormaps[name].with_extremes(bad=NOTHING)
    except KeyError:
        known = f"{SEQUENTIAL}, cividis, mako, {DIVERGING}"
        raise ValueError(f"unknown colour map {name!r}; for example: {known}") from None


def series_colours(count: int) -> list[tuple[float, float, float]]:
    """Colours of ordered lines: a lightness ramp that no colour vision mixes up and that stays visible on paper."""
    ramp = mpl.colormaps[SEQUENTIAL](np.linspace(0.0, SERIES_END, count)) if count > 1 else [to_rgb("#31518c")] * count
    return [tuple(float(part) for part in colour[:3]) for colour in ramp]


def series_map() -> Colormap:
    """The ramp of `series_colours` as a colour map, for the ruler of many lines."""
    return ListedColormap(mpl.colormaps[SEQUENTIAL](np.linspace(0.0, SERIES_END, 256)))


def wrapped(text: str, width: int) -> str:
    """Break a text into lines of about `width` letters, never inside a formula."""
    lines = [""]
    for part in re.findall(r"(?:\$[^$]*\$|\S)+", text):
        if lines[-1] and _letters(f"{lines[-1]} {part}") > width:
            lines.append(part)
        else:
            lines[-1] = f"{lines[-1]} {part}".strip()
    return "\n".join(lines)


def headline(figure: Figure, said: str) -> None:
    """Write one line above all panels, if there is anything to say."""
    if said:
        figure.suptitle(said, fontsize=mpl.rcParams["axes.titlesize"])


def legend_below(figure: Figure, *axes: Axes) -> None:
    """One legend of the lines of some axes, below all axes, as many columns as the figure's width holds."""
    named = {word: handle for ax in axes for handle, word in zip(*ax.get_legend_handles_labels(), strict=True)}
    if not named:
        return
    words = [wrapped(word, 46) for word in named]
    longest = max(_letters(line) for word in words for line in word.split("\n"))
    columns = max(1, min(len(named), int(figure.get_figwidth() / (0.55 + 0.064 * longest))))
    figure.legend(list(named.values()), words, loc="outside lower center", ncols=columns)


def _letters(text: str) -> int:
    """About how many letters wide a text is, formulas counted without their commands."""
    return len(re.sub(r"\\[A-Za-z]+|[${}_^]", "", text))


def halo(width: float = 2.5, colour: str = PAPER) -> list[AbstractPathEffect]:
    """A rim around lines and letters, so that they can be read on any ground."""
    return [withStroke(linewidth=width, foreground=colour)]


def kind(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Make a function a kind of figure: options checked by `options.options_of`, drawn in the project's look.

    Args:
        draw: Takes cube, fits by name, and the options of the kind that is named like the function.

    Returns:
        Takes cube, fits, and what a card says, as keywords.
    """

    @wraps(draw)
    def checked(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], **said: Any) -> Figure:
        options = options_of(draw.__name__, said)
        with theme():
            return draw(cube, fits, options)

    return checked
