"""The loss and the modified loss over a plane, and where networks walk in it.

The loss is steep along one direction and flat along the other; positions spread alike along both, since the noise goes
with the curvature: they feel the modified loss (Kunin et al., arXiv 2107.09133, Eq. 8 and Fig. 3).
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sgdphases.figures import selection
from sgdphases.figures.diffusion_options import Plane
from sgdphases.figures.style import (
    INK,
    THEORY,
    colour_map,
    headline,
    kind,
    label,
    legend_below,
    new_figure,
    number,
    wrapped,
)
from sgdphases.theory.phase_space import modified_loss
from sgdphases.theory.structured_noise import correlated_covariance

MODIFIED = {"long_name": "modified loss", "symbol": r"\kappa\Psi", "units": "1"}
"""κΨ = xᵀC⁻¹x/2 of the positions' stationary covariance C, minus the logarithm of their density."""
SIDES = ("plane_first", "plane_second")
FINE = 161
"""Points along each side over which the modified loss is calculated, which is no grid of losses."""


@kind
def plane(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Plane) -> Figure:
    """Contours of losses and of the modified loss over one plane, with the positions of all replicas.

    The modified loss is that of the exact recursion on the quadratic loss of the measured curvatures, with the measured
    covariance of gradients, for positions in the plane whatever those outside it.

    Args:
        cube: With `plane_loss` or others, `plane_modes`, `curvature`, `noise_matrix` and `position`.
        fits: Not read.
        options: What the card says.

    Returns:
        The figure.

    Raises:
        ValueError: If the cube has no such plane, an axis of the grid is left open, batches are drawn without
            replacement, or there is no stationary state.
    """
    cell = selection.at_values(cube, options.at)
    panels = [_excess(selection.variable_of(cell, word)) for word in options.variables]
    modes = selection.variable_of(cell, "plane_modes").values.astype(int)
    panels.append(_modified(cell, modes))
    places = _positions(cell, modes, options)
    replicas = cell.sizes.get("replica", 1)
    count = f"{replicas} replicas" if replicas > 1 else "the network"
    figure, axes = new_figure(1, len(panels), width=0.4 + 3.4 * len(panels), height=4.9, sharex=True, sharey=True)
    for ax, array in zip(axes.flat, panels, strict=True):
        _draw_panel(figure, ax, array, options)
        ax.plot(*places, ls="none", marker="o", ms=1.6, mew=0, color=THEORY, alpha=0.35, rasterized=True, zorder=3)
        ax.plot(0, 0, ls="none", marker="+", ms=8, mew=1.4, color=INK, label=r"start $\theta^*$", zorder=4)
        ax.plot([], [], ls="none", marker="o", ms=3.5, mew=0, color=THEORY, label=f"positions of {count}")
        ax.set_title(_steepness(array, modes), loc="left")
        ax.set_xlabel(_side_label(cell, modes[0]))
    axes[0, 0].set_ylabel(_side_label(cell, modes[1]))
    headline(figure, selection.place_words(cube, options.at))
    legend_below(figure, axes[0, 0])
    return figure


def _excess(array: xr.DataArray) -> xr.DataArray:
    """A loss less that at the start, in the middle of the plane."""
    array = array.transpose(*SIDES)
    middle = array.isel({side: array.sizes[side] // 2 for side in SIDES})
    words = {"long_name": f"{array.attrs['long_name']}, less that at the start"}
    words["symbol"] = f"{array.attrs['symbol']}-{array.attrs['symbol']}(\\theta^*)"
    return (array - middle.values).rename(array.name).assign_attrs(array.attrs | words)


def _side_label(cell: xr.Dataset, mode: int) -> str:
    """What an axis along a direction says."""
    return f"{label(cell['position'])}, ${cell['mode'].attrs['symbol']} = {mode}$"


def _modified(cell: xr.Dataset, modes: np.ndarray) -> xr.DataArray:
    """κΨ over the plane, from the measured curvatures and the measured noise along both directions."""
    if cell.attrs.get("sampler", "with_replacement") != "with_replacement":
        raise ValueError(f"plane: batches of {cell.attrs['sampler']} know of each other, and have no modified loss")
    words = {word: _number(cell, word) for word in ("learning_rate", "momentum")}
    curvature, noise = (selection.variable_of(cell, word).values for word in ("curvature", "noise_matrix"))
    h = curvature[modes] + _number(cell, "weight_decay")
    noise = noise[np.ix_(modes, modes)] / _number(cell, "batch_size")
    covariance = correlated_covariance(h, noise, **words)[..., 0, 0]
    sides = {side: np.linspace(float(cell[side].min()), float(cell[side].max()), FINE) for side in SIDES}
    values = modified_loss(np.stack(np.meshgrid(*sides.values(), indexing="ij"), axis=-1), covariance)
    return xr.DataArray(values, sides, SIDES, name="modified_loss", attrs=MODIFIED)


def _number(cell: xr.Dataset, word: str) -> float:
    """A hyperparameter of the cell."""
    along = selection.coordinate_of(cell, word)
    if along.ndim:
        raise ValueError(f"{word} changes along {', '.join(map(str, along.dims))}; choose with the option at")
    return float(along)


def _positions(cell: xr.Dataset, modes: np.ndarray, options: Plane) -> np.ndarray:
    """Some positions in the plane, of all replicas, (2, positions)."""
    array = selection.variable_of(cell, "position")
    rest = [str(dim) for dim in array.dims if dim not in ("replica", "step", "mode")]
    if rest:
        raise ValueError(f"position also changes along {', '.join(rest)}; choose with the option at")
    if options.steps is not None:
        step = selection.coordinate_of(array, "step")
        array = array.isel(step=np.flatnonzero((step >= options.steps[0]) & (step <= options.steps[1])))
    flat = array.isel(mode=modes).transpose("mode", "step", "replica").values.reshape(2, -1)
    return flat[:, :: max(1, flat.shape[1] // options.points)]


def _levels(array: xr.DataArray, contours: int) -> np.ndarray:
    """Heights of lines at equal distances on a parabola: of the modified loss at 1, 2, ... standard deviations."""
    low, high = float(array.min()), float(array.max())
    if array.name == "modified_loss":
        return np.arange(np.ceil(np.sqrt(2 * high)) + 1) ** 2 / 2
    return low + (high - low) * (np.arange(contours + 1) / contours) ** 2


def _draw_panel(figure: Figure, ax: Axes, array: xr.DataArray, options: Plane) -> None:
    """Draw one quantity over the plane: colours, lines, and its ruler below."""
    levels = _levels(array, options.contours)
    grid = [array[side].values for side in SIDES]
    limits = {"vmin": levels[0], "vmax": levels[-1] + 0.6 * (levels[-1] - levels[0])}
    filled = ax.contourf(*grid, array.values.T, levels=levels, cmap=colour_map(options.palette), **limits)
    ax.contour(*grid, array.values.T, levels=levels[1:-1], colors=INK, linewidths=0.6)
    bar = figure.colorbar(filled, ax=ax, location="bottom", pad=0.03, aspect=28)
    decade = int(np.floor(np.log10(max(np.abs(levels).max(), 1e-300))))
    decade = decade if abs(decade) > 1 else 0
    bar.set_ticks(levels, labels=[f"${number(level / 10.0**decade)}$" for level in levels])
    bar.set_label(wrapped(label(array) + (f" [$10^{{{decade}}}$]" if decade else ""), 46))
    bar.outline.set_visible(False)
    ax.set(aspect="equal", xlim=grid[0][[0, -1]], ylim=grid[1][[0, -1]])
    for ruler in (ax.xaxis, ax.yaxis):
        ruler.set_major_locator(MaxNLocator(5))


def _steepness(array: xr.DataArray, modes: np.ndarray) -> str:
    """Ratio of the curvatures along both directions, from the differences around the start."""
    middle = {side: array.sizes[side] // 2 for side in SIDES}
    bend = []
    for side in SIDES:
        around = array.isel({**middle, side: slice(middle[side] - 1, middle[side] + 2)}).values
        bend.append(around[0] - 2 * around[1] + around[2])
    first, second = modes
    return rf"curvatures $\partial^2_{{{first}}}/\partial^2_{{{second}}} = {number(bend[0] / bend[1])}$"
