"""What arXiv 2107.09133 says of SGD in the limiting phase, where everything that it assumes is made true.

On an exact quadratic with white Gaussian noise proportional to the curvature nothing is left of a network but its
modes, so that tolerances are narrower than on networks. They stand as they were written down before the runs; that of
claim 31 is that of 27. Claims 27 to 32 of the study.
"""

import math
from functools import partial

import numpy as np

from sgdphases.claims.claim import Claim, Statement, Tolerance, listed, single
from sgdphases.claims.diffusion_readings import (
    MODE,
    MOMENTS,
    OnWalks,
    over_modes,
    scatter_of_equipartition,
    scatter_of_regression,
    velocity_over_curvature,
    worst_equipartition,
)
from sgdphases.claims.kunin2021published import PAPER
from sgdphases.claims.network import Point
from sgdphases.claims.readings import fitted

COOL: Point = {"learning_rate": 0.0125, "momentum": 0.9}
"""The network on which single modes are judged: cool enough for the paper's limit of small steps."""

on_quadratic = partial(OnWalks, dataset="quadratic", update="quadratic", least_steps=20000, least_replicas=8)


def statements() -> list[Statement]:
    """The claims by number."""
    return [*_energies(), *_modes(), *_displacements()]


def _energies() -> list[Statement]:
    """Claim 27: equipartition, mode by mode."""
    energies = partial(
        Claim, name="", source=f"{PAPER}, equipartition", needs=on_quadratic(fits=(MOMENTS,), variables=("curvature",))
    )
    parts = [
        energies(
            quantity="largest distance from 1 over all points and modes with 20000 effective samples",
            expected=math.nan,
            tolerance=Tolerance("below", 0.03),
            measure=worst_equipartition,
        ),
        energies(
            quantity="root mean square distance from 1 in standard errors over all points and identified modes",
            expected=1.0,
            tolerance=Tolerance("absolute", 0.2),
            measure=scatter_of_equipartition,
        ),
    ]
    return [listed("diffusion-27", "potential over kinetic energy on an exact quadratic", parts)]


def _modes() -> list[Statement]:
    """Claims 28 to 30: variances and rotation of single modes."""
    modes = partial(Claim, needs=on_quadratic(point=COOL, fits=(MOMENTS,), variables=("curvature",)))
    rotation = [
        modes(
            name="",
            source=f"{PAPER}, Fig. 5",
            quantity="largest over the modes (clockwise is negative)",
            expected=math.nan,
            tolerance=Tolerance("below", 0),
            measure=over_modes("rotation", np.max, COOL),
        ),
        *(
            modes(
                name="",
                source=f"{PAPER}, Fig. 5",
                quantity=f"over theory, {what} eigenvector",
                expected=1.0,
                tolerance=Tolerance("absolute", 0.1),
                measure=fitted(MOMENTS, "rotation_ratio", point=COOL, mode=mode),
            )
            for what, mode in (("first", 0), ("thirtieth", MODE))
        ),
    ]
    return [
        single(
            modes(
                name="diffusion-28",
                source=f"{PAPER}, Fig. 3",
                quantity="variance of the position along the first over that along the thirtieth eigenvector, exact "
                "quadratic",
                expected=1.0,
                tolerance=Tolerance("range", 0.9, 1.1),
                measure=fitted(MOMENTS, "position_contrast", point=COOL, mode=MODE),
            )
        ),
        single(
            modes(
                name="diffusion-29",
                source=f"{PAPER}, Fig. 4",
                quantity="the same of the velocity, over the ratio of the curvatures, exact quadratic",
                expected=1.0,
                tolerance=Tolerance("absolute", 0.15),
                measure=velocity_over_curvature(COOL),
            )
        ),
        listed("diffusion-30", "rotation in phase space per step on an exact quadratic", rotation),
    ]


def _displacements() -> list[Statement]:
    """Claims 31 and 32: the quadratic found again from forces and positions, and displacements foretold."""
    foretold = [
        Claim(
            name="",
            source="theory",
            quantity=what,
            expected=math.nan,
            tolerance=Tolerance("below", width),
            needs=on_quadratic(fits=("prediction",)),
            measure=fitted("prediction", name, method_name="exact"),
        )
        for what, name, width in (
            ("distance of the logarithms of the displacement", "total_log_distance", 0.1),
            ("distance of the logarithms of the squared step", "total_one_step_distance", 0.01),
        )
    ]
    regressed = [
        Claim(
            name="",
            source="theory",
            quantity=f"of the {what}",
            expected=1.0,
            tolerance=Tolerance("absolute", 0.2),
            needs=on_quadratic(fits=("curvature_regression",)),
            measure=scatter_of_regression(name),
        )
        for what, name in (("curvature", "curvature_ratio"), ("noise", "noise_ratio"))
    ]
    return [
        listed("diffusion-31", "root mean square error of a regression in standard errors, exact quadratic", regressed),
        listed("diffusion-32", "measured against the exact recursion on an exact quadratic", foretold),
    ]
