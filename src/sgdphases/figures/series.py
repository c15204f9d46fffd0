"""Names of the lines of a series: one by one, or by a ruler of their colours."""

import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdphases.figures.style import (
    is_logarithmic,
    label,
    legend_below,
    log_ticks,
    series_colours,
    series_map,
    value_label,
    wrapped,
)

MOST = 10
"""Lines that a legend names one by one; more have a ruler of colours."""


def name_series(figure: Figure, axes: np.ndarray, along: xr.DataArray) -> None:
    """Name the lines, in the colours of `series_colours`, and all else that has a name, outside the panels.

    Args:
        figure: The figure.
        axes: Its axes.
        along: What the lines stand for, ascending, with attributes.
    """
    handles, words = [], []
    if along.size > MOST and is_logarithmic(along):
        norm = LogNorm(float(along.min()), float(along.max()))
        bar = figure.colorbar(ScalarMappable(norm, series_map()), ax=axes, pad=0.02, aspect=28 * len(axes))
        bar.set_label(label(along))
        log_ticks(bar.ax.yaxis, along.values)
        bar.outline.set_visible(False)
        legend_below(figure, *axes.flat)
        return
    for value, colour in list(zip(along.values, series_colours(along.size), strict=True))[::-1]:
        handles.append(Line2D([], [], color=colour))
        words.append(value_label(along, value))
    for ax in axes.flat:
        for handle, said in zip(*ax.get_legend_handles_labels(), strict=True):
            if wrapped(said, 24) not in words:
                handles.append(handle)
                words.append(wrapped(said, 24))
    if handles:
        figure.legend(handles, words, loc="outside right upper", alignment="left")
