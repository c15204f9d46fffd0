"""How far neighbouring levels are apart, beside Wigner's surmise."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sgdphases.choices import one_of
from sgdphases.figures import selection
from sgdphases.figures.options import Spacing
from sgdphases.figures.style import INK, THEORY, kind, label, new_figure, series_colours, value_label
from sgdphases.theory.random_matrix import spacing_density

LAWS = {
    "orthogonal": ("Wigner, orthogonal", "-"),
    "unitary": ("Wigner, unitary", (0, (4, 1.6))),
    "poisson": ("Poisson", (0, (1, 1.4))),
}
"""Name and dashes of each law."""


@kind
def spacing(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Spacing) -> Figure:
    """Density of the normalised spacing of neighbouring levels, with the error of counting, and the laws.

    Args:
        cube: Not read; the fit holds all.
        fits: Fits by name.
        options: What the card says.

    Returns:
        The figure.
    """
    fit = selection.at_values(selection.fit_of(fits, options.fit), options.at)
    density = fit[one_of(options.density, map(str, fit.data_vars), f"estimate of the fit {options.fit}")]
    error = fit[f"{options.density}_error"]
    figure, axes = new_figure(1, 1, width=4.8, height=3.4)
    ax = axes[0, 0]
    places = fit[options.x].values
    borders = np.concatenate([[0.0], (places[:-1] + places[1:]) / 2, [2 * places[-1] - (places[-1] + places[-2]) / 2]])
    whole = options.group is None
    for said, height, spread, colour in _lines(density, error, options):
        ax.stairs(height, borders, color=colour, lw=1.2, label=said, fill=whole)
        ax.errorbar(places, height, yerr=spread, fmt="none", color=INK if whole else colour, elinewidth=0.8)
    fine = np.linspace(0, borders[-1], 400)
    for law in options.surmises:
        name, dashes = LAWS[law]
        ax.plot(fine, spacing_density(fine, law), color=THEORY, ls=dashes, lw=1.3, label=name)
    ax.set(xlabel=label(fit[options.x]), ylabel=label(density), xlim=(0, borders[-1]))
    ax.set_ylim(bottom=0)
    ax.legend()
    return figure


def _lines(density: xr.DataArray, error: xr.DataArray, options: Spacing) -> list[tuple]:
    """Name, heights, errors and colour of every line, averaged over all that is no group."""
    dims = [dim for dim in density.dims if dim != options.x]
    if options.group is None:
        return [("measured", *_average(density, error, dims), "#9fb4d6")]
    along = selection.coordinate_of(density, options.group)
    values = np.unique(along.values)
    found = []
    for value, colour in zip(values, series_colours(len(values)), strict=True):
        chosen = along == value
        part = _average(density.where(chosen), error.where(chosen), dims)
        found.append((value_label(along, value), *part, colour))
    return found


def _average(density: xr.DataArray, error: xr.DataArray, dims: list) -> tuple[np.ndarray, np.ndarray]:
    """Mean over dimensions where there are values, with its error."""
    known = density.notnull()
    count = known.sum(dims)
    mean = density.where(known, 0.0).sum(dims) / count.where(count > 0)
    spread = np.sqrt((error.where(known, 0.0) ** 2).sum(dims)) / count.where(count > 0)
    return mean.values, spread.values
