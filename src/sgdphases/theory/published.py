"""What the published figures show, as numbers: maps and curves of arXiv 2509.01349, read off its released plots.

Maps are means over 100 networks after 1e8 steps, accurate to about one per cent of their colour range; colours saturate
at the ends of that range (`CLIPPED`). Rows run over `TEMPERATURES`, columns over `INIT_SCALES`, both ascending. Curves
belong to one initial scale or temperature. What a figure does not give, and an independent simulation of the same
network does, is marked so.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TEMPERATURES: Floats = 2.0 ** np.arange(-5, 7)
"""Learning rate over batch size, ascending."""

INIT_SCALES: Floats = 2.0 ** np.arange(-3, 9)
"""Initial scale, ascending (the figures' axis is its inverse)."""

COLD_INIT_SCALE = 0.125
"""Initial scale of the curves over temperature (Fig. 4)."""


def _map(text: str) -> Floats:
    """Rows from hot to cold and columns by ascending inverse scale, as printed; both turned round."""
    return np.array([row.split() for row in text.strip().splitlines()], dtype=np.float64)[::-1, ::-1]


def _row(text: str) -> Floats:
    """Values by ascending inverse scale, as printed; turned round."""
    return np.array(text.split(), dtype=np.float64)[::-1]


OVERLAP: Floats = _map(
    """
    .27 .17 .09 .07 .03 .05 .04 .02 .02 .00 .00 .00
    .37 .26 .17 .09 .05 .03 .05 .03 .02 .00 .00 .00
    .44 .34 .23 .16 .09 .06 .06 .05 .04 .01 .00 .00
    .53 .42 .32 .22 .19 .10 .08 .06 .04 .01 .00 .00
    .60 .50 .39 .31 .23 .17 .11 .09 .05 .02 .00 .00
    .64 .55 .47 .39 .34 .25 .19 .11 .08 .04 .01 .00
    .67 .58 .53 .47 .41 .38 .30 .20 .11 .05 .02 .01
    .68 .60 .55 .50 .47 .43 .36 .27 .16 .08 .03 .01
    .71 .63 .56 .53 .48 .44 .38 .29 .17 .08 .04 .01
    .71 .64 .58 .52 .50 .45 .37 .27 .16 .08 .04 .01
    .70 .66 .59 .54 .50 .45 .37 .27 .15 .07 .03 .01
    .71 .67 .61 .56 .52 .47 .38 .25 .15 .07 .03 .01
    """
)
"""Overlap q of initial and final features (Fig. 5a)."""

ALIGNMENT: Floats = _map(
    """
    .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10
    .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10
    .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10
    .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10
    .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10
    .10 .10 .12 .10 .11 .11 .11 .10 .11 .10 .11 .11
    .11 .11 .11 .11 .11 .11 .12 .11 .12 .12 .13 .11
    .11 .10 .11 .12 .13 .14 .12 .12 .14 .13 .13 .13
    .10 .11 .11 .13 .13 .15 .14 .16 .16 .16 .19 .17
    .10 .11 .11 .12 .14 .14 .16 .18 .18 .22 .23 .24
    .10 .10 .11 .12 .12 .15 .16 .18 .20 .25 .25 .26
    .09 .10 .11 .12 .12 .14 .16 .18 .21 .24 .26 .26
    """
)
"""Alignment of features and field, 128 times the plotted h_s (Fig. 5b); T ≥ 4 was read as 0.09 to 0.11 throughout."""

LOG_SPREAD_GROWTH: Floats = _map(
    """
    3.7 5.0 6.4 7.7 9.3 10.6 11.8 13.4 14.9 16.3 17.5 19.0
    2.9 4.3 5.5 7.0 8.5 9.7 11.1 12.5 14.0 15.6 16.9 18.2
    2.1 3.4 4.7 6.1 7.5 8.9 10.4 11.8 13.2 14.6 16.0 17.5
    1.4 2.6 3.9 5.3 6.5 7.9 9.3 10.7 12.3 13.6 15.2 16.4
    0.8 1.7 2.9 4.2 5.3 6.8 8.0 9.4 11.1 12.5 14.0 15.5
    0.4 0.9 1.4 2.4 3.6 5.2 6.3 7.9 9.2 10.8 12.3 13.8
    0.0 0.1 0.3 0.8 1.6 2.6 3.8 5.6 7.0 8.2 10.0 11.0
    0 0 0 0 0 0.5 1.3 2.3 3.5 4.8 6.1 7.9
    0 0 0 0 0 0 0 0.3 1.2 2.8 3.7 5.3
    0 0 0 0 0 0 0 0 0.4 1.4 2.7 4.2
    0 0 0 0 0 0 0 0 0.2 1.1 2.4 3.9
    0 0 0 0 0 0 0 0 0.1 1.0 2.3 3.7
    """
)
"""ln of the final over the initial spread of levels, 1e5 times the plotted exponent; negative shown as 0 (Fig. 7)."""

TEST_LOSS: Floats = _map(
    """
    1.2e-2 1.3e-2 1.5e-2 1.1e-2 1.3e-2 1.4e-2 1.2e-2 1.6e-2 1.4e-2 1.6e-2 1.5e-2 1.6e-2
    1.0e-2 1.1e-2 9.6e-3 1.1e-2 1.1e-2 9.6e-3 1.0e-2 1.1e-2 1.3e-2 1.5e-2 1.4e-2 1.4e-2
    1.0e-2 9.6e-3 8.6e-3 9.1e-3 9.6e-3 8.1e-3 1.1e-2 9.6e-3 1.1e-2 1.1e-2 1.1e-2 1.3e-2
    1.1e-2 8.6e-3 8.1e-3 8.1e-3 6.2e-3 6.9e-3 6.6e-3 6.2e-3 9.6e-3 1.0e-2 1.2e-2 1.0e-2
    1.2e-2 7.7e-3 6.2e-3 5.3e-3 5.0e-3 4.0e-3 5.0e-3 5.0e-3 7.7e-3 7.3e-3 1.0e-2 1.0e-2
    1.5e-2 5.3e-3 4.0e-3 2.5e-3 1.8e-3 2.5e-3 1.6e-3 3.1e-3 4.0e-3 4.7e-3 6.2e-3 5.3e-3
    1.5e-2 4.3e-3 1.8e-3 9.4e-4 8.4e-4 4.9e-4 6.8e-4 5.2e-4 9.4e-4 1.9e-3 2.5e-3 1.2e-3
    1.6e-2 2.5e-3 4.2e-4 1.5e-4 7.0e-5 7.4e-5 5.7e-5 2.3e-5 3.1e-5 6.3e-5 3.7e-5 8.7e-5
    2.1e-2 2.9e-3 3.8e-4 4.8e-5 1.9e-5 8.6e-6 1.5e-6 1.1e-6 3.4e-6 1.9e-6 1.2e-6 6.8e-7
    3.3e-2 4.7e-3 5.2e-4 1.9e-4 1.6e-5 3.6e-6 8.9e-7 4.9e-7 2.0e-7 1.8e-7 1.8e-7 1.8e-7
    4.6e-2 8.1e-3 9.4e-4 1.6e-4 3.1e-5 5.0e-6 1.7e-6 4.2e-7 2.2e-7 1.9e-7 1.8e-7 1.6e-7
    5.4e-2 1.5e-2 2.1e-3 2.2e-4 4.8e-5 7.7e-6 1.7e-6 6.4e-7 2.4e-7 2.4e-7 2.4e-7 2.7e-7
    """
)
"""Test loss (Fig. 2)."""

CLIPPED: dict[str, tuple[float, float]] = {
    "overlap": (-np.inf, np.inf),
    "alignment": (0.064, 0.26),
    "log_spread_growth": (0.0, 20.0),
    "test_loss": (1e-7, 1e-1),
}
"""Ends of the colour range of each map."""

TRAIN_LOSS_CURVE: Floats = np.array([5.5e-8, 4e-8, 3.3e-8, 8e-8, 1e-6, 3e-5, 1e-3, 2.8e-3, 3e-3, 4e-3, 4.3e-3, 5.5e-3])
"""Final training loss over `TEMPERATURES` at `COLD_INIT_SCALE` (Fig. 4a)."""

GRADIENT_NORM_CURVE: Floats = np.array(
    [5.5e-8, 3e-8, 1.6e-8, 1.2e-8, 2.8e-8, 6e-7, 2.8e-5, 5.5e-5, 3.3e-5, 2.5e-5, 2e-5, 1.7e-5]
)
"""Norm of the final epoch's mean gradient over `TEMPERATURES` at `COLD_INIT_SCALE` (Fig. 4b)."""

INITIAL_GRADIENT_NORM: Floats = _row(".0105 .019 .043 .085 .14 .26 .53 .7 .85 .7 .72 .7")
"""Norm of the gradient before training over `INIT_SCALES` (Fig. 4c)."""

INITIAL_OVERLAP: Floats = _row(".993 .988 .975 .951 .905 .807 .645 .415 .199 .069 .019 .005")
"""Mean square of the initial features over `INIT_SCALES` (independent simulation)."""

BOUNDARY: Floats = np.array(
    [
        [0.0122, 64],
        [0.0156, 32],
        [0.030, 16],
        [0.030, 7.5],
        [0.06, 4.7],
        [0.12, 2.1],
        [0.25, 1.6],
        [0.5, 1.05],
        [1, 0.85],
        [2, 0.82],
        [4, 0.69],
        [8, 0.47],
    ]
)
"""(1/σ, T) along the 68 % contour of the published criterion, read off within 15 % (Fig. 9)."""

MIDPOINT_TEMPERATURE = 0.375
"""Boundary at `COLD_INIT_SCALE`: midpoint of the last learning rate that passes and the next (Fig. 8a)."""

GROWTH_TEMPERATURE: Floats = _row("4.9 2.2 1.5 1.1 .77 .59 .43 .32 .21 .21 .25 .23")
"""Temperature over `INIT_SCALES` above which the spread outgrows initial and target spread by e (from Fig. 7)."""

GROWTH_TEMPERATURE_MILLION: Floats = _row("11 4.1 2.3 1.3 .80 .63 .39 .33 .23 .30 .30 .24")
"""The same after 1e6 steps (independent simulation)."""

CORRECTED_TEMPERATURE_MILLION: Floats = np.append(_row("20 10 2.8 1.6 1.0 .59 .5 .5 .35 .33 .12"), np.nan)
"""50 % line of the corrected criterion over `INIT_SCALES` after 1e6 steps (independent simulation); none at 256."""

BATCH_SIZES: Floats = 2.0 ** np.arange(6)
"""Batch sizes of the two lines below."""

LOSS_LEARNING_RATE: Floats = np.array([0.37, 0.86, 1.28, 2.18, 2.93, 4.35])
"""Learning rate at which the median training loss passes 1e-4, at init_scale 1/4 after 1e5 steps over `BATCH_SIZES`
(independent simulation, 1000 batches of samples for each size)."""

GROWTH_LEARNING_RATE: Floats = np.array([0.63, 1.17, 2.1, 3.5, 4.9, 7.5])
"""Learning rate at which the growth of the spread passes 0.3, at init_scale 8 (as `LOSS_LEARNING_RATE`)."""

MAPS: dict[str, Floats] = {
    "overlap": OVERLAP,
    "alignment": ALIGNMENT,
    "log_spread_growth": LOG_SPREAD_GROWTH,
    "test_loss": TEST_LOSS,
}
"""The maps by the cube's word for what they show."""
