"""Trajectories in phase space, along single directions, with the ellipse of the stationary state.

Positions and velocities turn clockwise, as in Fig. 5 of Kunin et al., arXiv 2107.09133: a positive velocity leads to a
larger position.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sgdphases.choices import one_of
from sgdphases.figures import selection
from sgdphases.figures.diffusion_options import Orbits
from sgdphases.figures.style import (
    INK,
    THEORY,
    headline,
    kind,
    label,
    legend_below,
    new_figure,
    number,
    series_map,
    value_label,
)
from sgdphases.theory.langevin import damping_ratio

COLUMNS = 3
ANGLES = np.linspace(0, 2 * np.pi, 181)


@kind
def orbits(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Orbits) -> Figure:
    """Velocity against position of one network, one panel a direction, the colour says when.

    Ellipses have half-axes of some standard deviations: dashed the theory's around the start, solid the measured one
    around the measured mean.

    Args:
        cube: With `position` and `velocity`.
        fits: Fits by name; `options.fit` is read if it is there.
        options: What the card says.

    Returns:
        The figure.

    Raises:
        ValueError: If an axis of the grid is left open, or too few records are within the steps.
    """
    walk = selection.at_values(cube, {**options.at, "replica": options.replica})
    paths = [_path(walk, mode, options) for mode in options.modes]
    times = _moving_mean(_times(walk, options), options.mean_over)
    columns = min(len(paths), COLUMNS)
    rows = -(-len(paths) // columns)
    size = {"width": 0.9 + 3.0 * columns, "height": 0.8 + 2.7 * rows}
    figure, axes = new_figure(rows, columns, **size)
    for ax in axes.flat[len(paths) :]:
        ax.remove()
    fit = fits.get(options.fit)
    norm = Normalize(times[0], times[-1])
    for place, (path, mode) in enumerate(zip(paths, options.modes, strict=True)):
        ax = axes.flat[place]
        if fit is not None:
            _draw_ellipses(ax, selection.at_values(fit, {**options.at, "mode": mode}), options)
        drawn = _draw_path(ax, path, times, norm, options)
        ax.set_title(value_label(cube["mode"], mode), loc="left")
        ax.set_title(_words(walk, mode), loc="right")
        ax.set_xlabel(label(cube["position"]))
        ax.set_ylabel(label(cube["velocity"]) if place % columns == 0 else "")
    bar = figure.colorbar(drawn, ax=list(axes.flat[: len(paths)]), pad=0.02, aspect=30)
    bar.set_label(label(cube["step"]))
    bar.outline.set_visible(False)
    mean = [f"mean over {options.mean_over} records"] if options.mean_over > 1 else []
    headline(figure, ", ".join([*filter(None, [selection.place_words(cube, options.at)]), *mean]))
    legend_below(figure, axes.flat[0])
    return figure


def _times(walk: xr.Dataset, options: Orbits) -> np.ndarray:
    """Steps that are drawn."""
    return selection.coordinate_of(_between(walk["position"], options), "step").values.astype(float)


def _between(array: xr.DataArray, options: Orbits) -> xr.DataArray:
    """The records within the chosen steps."""
    if options.steps is None:
        return array
    step = selection.coordinate_of(array, "step")
    return array.isel({step.dims[0]: np.flatnonzero((step >= options.steps[0]) & (step <= options.steps[1]))})


def _path(walk: xr.Dataset, mode: int, options: Orbits) -> np.ndarray:
    """Positions and velocities of one direction, (records, 2)."""
    sides = []
    for word in ("position", "velocity"):
        along = selection.at_values(_between(selection.variable_of(walk, word), options), {"mode": mode})
        if along.ndim != 1:
            rest = [str(dim) for dim in along.dims if dim != "step"]
            raise ValueError(f"{word} also changes along {', '.join(rest)}; choose with the option at")
        sides.append(_moving_mean(along.values.astype(float), options.mean_over))
    path = np.stack(sides, axis=-1)
    if len(path) < 2:
        raise ValueError(f"steps: {len(path)} records are no trajectory; the option steps or mean_over leaves too few")
    return path


def _moving_mean(values: np.ndarray, count: int) -> np.ndarray:
    """Means over neighbouring records; fewer by count - 1 than the values, empty if there are not as many."""
    return np.convolve(values, np.full(count, 1 / count), mode="valid") if len(values) >= count else values[:0]


def _draw_path(ax: Axes, path: np.ndarray, times: np.ndarray, norm: Normalize, options: Orbits) -> LineCollection:
    """Draw a trajectory coloured by time, with arrow heads."""
    strokes = LineCollection(
        np.stack([path[:-1], path[1:]], axis=1), cmap=series_map(), norm=norm, lw=0.9, array=times[:-1], zorder=2
    )
    ax.add_collection(strokes)
    ax.autoscale_view()
    places = np.linspace(0, len(path) - 2, options.arrows + 2).astype(int)[1:-1]
    for place in np.unique(places):
        tail, head = path[place], path[place + 1]
        if (tail != head).any():
            colour = strokes.to_rgba(times[place])
            look = {"arrowstyle": "-|>", "mutation_scale": 9, "color": colour, "lw": 0.9, "shrinkA": 0, "shrinkB": 0}
            ax.annotate("", xy=head, xytext=tail, arrowprops=look, zorder=3)
    for ruler in (ax.xaxis, ax.yaxis):
        ruler.set_major_locator(MaxNLocator(5))
    return strokes


def _draw_ellipses(ax: Axes, fit: xr.Dataset, options: Orbits) -> None:
    """Draw where the stationary state is, as measured and as a theory has it."""
    x, v, cross = (
        _scalar(fit, word) for word in ("position_variance", "velocity_variance", "position_velocity_covariance")
    )
    what = "standard deviations of single records" if options.mean_over > 1 else "standard deviations"
    said = f"{options.deviations:g} {what}, "
    centre = np.array([_scalar(fit, "position_mean"), 0.0])
    measured = _ellipse(np.array([[x, cross], [cross, v]]), options.deviations)
    ax.plot(*(centre[:, None] + measured), color=INK, lw=1.2, label=f"{said}measured", zorder=4)
    if options.theory == "none":
        return
    words = list(map(str, selection.coordinate_of(fit, "theory_name").values))
    row = words.index(one_of(options.theory, words, "theory of the fit"))
    x, v = (
        value / _scalar(fit.isel(theory=row), f"{word}_ratio") for word, value in (("position", x), ("velocity", v))
    )
    # Cov(x, v) = η Var v/2 whatever the noise, since x moves by η v.
    cross = float(selection.coordinate_of(fit, "learning_rate")) * v / 2
    law = _ellipse(np.array([[x, cross], [cross, v]]), options.deviations)
    named = options.theory.replace("_", " ")
    ax.plot(*law, color=THEORY, lw=1.3, ls=(0, (4, 1.6)), label=f"{said}theory: {named}", zorder=4)


def _scalar(fit: xr.Dataset, word: str) -> float:
    """One number of the fit."""
    variable = selection.variable_of(fit, word)
    if variable.ndim:
        raise ValueError(f"{word} also changes along {', '.join(map(str, variable.dims))}; choose with the option at")
    return float(variable)


def _ellipse(covariance: np.ndarray, deviations: float) -> np.ndarray:
    """Points at so many standard deviations, (2, angles); NaN where there is no such state."""
    if not (np.isfinite(covariance).all() and np.linalg.det(covariance) > 0):
        return np.full((2, len(ANGLES)), np.nan)
    return deviations * np.linalg.cholesky(covariance) @ np.stack([np.cos(ANGLES), np.sin(ANGLES)])


def _words(walk: xr.Dataset, mode: int) -> str:
    """Curvature of a direction, and how strongly its oscillation is damped."""
    if "curvature" not in walk:
        return ""
    rho = float(selection.at_values(walk["curvature"], {"mode": mode}))
    said = rf"$\rho = {number(rho)}$"
    words = {name: float(walk[name]) for name in ("learning_rate", "momentum")}
    h = rho + float(walk["weight_decay"])
    return rf"{said}, $\zeta = {number(float(damping_ratio(h, **words)))}$" if h > 0 else said
