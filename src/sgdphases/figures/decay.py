"""Weight decay: the ways of J², where they end, and what that does to the accuracy."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis as Ruler
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from sgdphases.choices import one_of
from sgdphases.figures import selection
from sgdphases.figures.curves import curves
from sgdphases.figures.marks import MARKS, draw_levels, draw_mark, scalar
from sgdphases.figures.options import Decay
from sgdphases.figures.style import (
    INK,
    PAPER,
    THEORY,
    kind,
    label,
    legend_below,
    new_figure,
    number,
    series_colours,
    value_label,
    wrapped,
)

ACCURACIES = ("end_test_accuracy", "largest_test_accuracy")
STRENGTHS = ("l2_formula", "l2_empirical")
"""Where the law puts the edge, and where it was found."""


@kind
def decay(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Decay) -> Figure:
    """J² in time for every strength of decay; J² at the end beside the laws; accuracies (arXiv 2107.09437, Fig. 6).

    Args:
        cube: The cube, with the axis weight_decay.
        fits: Fits by name; `options.fit` is read.
        options: What the card says.

    Returns:
        The figure.
    """
    fit = selection.fit_of(fits, options.fit)
    cell = selection.at_values(cube, options.at)
    found = selection.at_values(fit, {word: value for word, value in options.at.items() if word in fit.coords})
    figure, axes = new_figure(1, 3, width=9.6, height=4.0)
    _draw_ways(axes[0, 0], cell, options)
    _draw_ends(axes[0, 1], found, options)
    _draw_accuracies(axes[0, 2], found, options)
    legend_below(figure, *axes[0])
    return figure
