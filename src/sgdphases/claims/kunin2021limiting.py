"""What arXiv 2107.09133 says (D. Kunin et al., 2024): the limiting dynamics of SGD, and what the study asks beyond.

The paper's runs are of networks on ImageNet (their numbers stand in `kunin2021published`); what it says of any network
at a minimum is judged on small ones, with the noise measured there. Expected values and tolerances stand as they were
written down before the runs. "Prediction" as a source is the study's own question, "theory" what follows from the exact
recursion.
"""

import math
from functools import partial

import numpy as np
import xarray as xr

from sgdphases.claims import (
    kunin2021batches,
    kunin2021drift,
    kunin2021published,
    kunin2021quadratic,
    kunin2021regression,
    kunin2021starts,
)
from sgdphases.claims.claim import Claim, Fits, Measurement, Needs, NotReached, Statement, Tolerance, listed, single
from sgdphases.claims.diffusion_readings import MANY, MODE, MOMENTS, OnWalks, over_modes, velocity_over_curvature
from sgdphases.claims.kunin2021published import PAPER, unmeasured
from sgdphases.claims.kunin2021starts import drift_in_errors
from sgdphases.claims.network import Point, network_at
from sgdphases.claims.readings import fitted, theoretical
from sgdphases.theory import published_diffusion
from sgdphases.theory.phase_space import ornstein_uhlenbeck

STEPS = 20000

COOL: Point = {"learning_rate": 0.0125, "momentum": 0.9}
"""The network on which single modes are judged: cool enough for the loss to be a parabola."""

WARM: Point = {"learning_rate": 0.05, "momentum": 0.9}
"""The network that the study names for equipartition."""

COLD_MOMENTA = (0.0, 0.8, 0.9)


on_digits = partial(OnWalks, dataset="digits", widths=(64, 16, 10), least_steps=STEPS, least_replicas=8)


def statements() -> list[Statement]:
    """All claims of the paper that the study follows, and what it asks beyond them, by number."""
    found = [*kunin2021published.statements(), *_modes(), *_laws(), *_exponents(), *_beyond()]
    found += [*kunin2021quadratic.statements(), *kunin2021regression.statements(), *kunin2021starts.statements()]
    found += kunin2021drift.statements()
    found += kunin2021batches.statements()
    return sorted(found, key=lambda statement: statement.name)


def _modes() -> list[Statement]:
    """Claims 5 to 8: variances and rotation of single modes, and the speed."""
    needs = on_digits(point=COOL, fits=(MOMENTS,), variables=("curvature",))
    modes = partial(Claim, name="", needs=needs)
    rotation = [
        modes(
            source=f"{PAPER}, Fig. 5",
            quantity="largest over the modes (clockwise is negative)",
            expected=math.nan,
            tolerance=Tolerance("below", 0),
            measure=over_modes("rotation", np.max, COOL),
        ),
        modes(
            source=f"{PAPER}, Fig. 5",
            quantity="over theory, median of the modes",
            expected=1.0,
            tolerance=Tolerance("absolute", 0.15),
            measure=fitted(MOMENTS, "rotation_ratio_median", point=COOL),
        ),
    ]
    return [
        single(
            Claim(
                name="diffusion-05",
                source=f"{PAPER}, Fig. 3",
                quantity="variance of the position along the first over that along the thirtieth eigenvector",
                expected=1.0,
                tolerance=Tolerance("range", 0.6, 1.7),
                needs=needs,
                measure=fitted(MOMENTS, "position_contrast", point=COOL, mode=MODE),
            )
        ),
        single(
            Claim(
                name="diffusion-06",
                source=f"{PAPER}, Fig. 4",
                quantity="the same of the velocity, over the ratio of the curvatures",
                expected=1.0,
                tolerance=Tolerance("absolute", 0.15),
                needs=needs,
                measure=velocity_over_curvature(COOL),
            )
        ),
        listed("diffusion-07", "rotation in phase space per step", rotation),
        single(
            Claim(
                name="diffusion-08",
                source=f"{PAPER}, Eq. 12, Fig. 6",
                quantity="squared step over η² tr Σ/(S(1 - β²))",
                expected=1.0,
                tolerance=Tolerance("absolute", 0.05),
                needs=on_digits(point=COOL, fits=("displacement",)),
                measure=fitted("displacement", "one_step_ratio", point=COOL, theory_name="exact"),
            )
        ),
    ]


def _laws() -> list[Statement]:
    """Claims 16 and 17: the toy process, and equipartition."""
    return [
        single(
            Claim(
                name="diffusion-16",
                source=f"{PAPER}, toy process",
                quantity="frequency of the two-dimensional process with eigenvalues 4 and 1 and noise 4 and 1",
                expected=0.8207293547,
                tolerance=Tolerance("absolute", 1e-9),
                needs=Needs(),
                measure=theoretical(_toy_frequency),
            )
        ),
        single(
            Claim(
                name="diffusion-17",
                source=f"{PAPER}, equipartition",
                quantity="largest of |potential over kinetic energy - 1| less three standard errors, over the modes",
                expected=math.nan,
                tolerance=Tolerance("below", 0.02),
                needs=on_digits(point=WARM, fits=(MOMENTS,)),
                measure=_unequal,
            )
        ),
    ]


def _exponents() -> list[Statement]:
    """Claims 19 to 22: what decides the exponent, and whether drift makes it."""
    drift = [
        Claim(
            name="",
            source="prediction",
            quantity=f"momentum {momentum:g}",
            expected=0.0,
            tolerance=Tolerance("absolute", 2),
            needs=on_digits(point=COOL | {"momentum": momentum}, fits=("drift_split",)),
            measure=drift_in_errors(COOL | {"momentum": momentum}),
        )
        for momentum in COLD_MOMENTA
    ]
    return [
        single(
            Claim(
                name="diffusion-19",
                source="prediction",
                quantity="rms difference of exponents at equal η/(1 - β) over that at unequal",
                expected=math.nan,
                tolerance=Tolerance("below", 0.25),
                needs=on_digits(fits=("collapse_exponents",)),
                measure=fitted("collapse_exponents", "collapse_ratio", protocol_name="common"),
            )
        ),
        listed("diffusion-21", "squared drift from a polished minimum in standard errors, last record", drift),
        unmeasured(
            "20",
            "prediction",
            "squared drift over diffusion per epoch, ResNet-18",
            Tolerance("relative", 0.3),
            kunin2021published.NO_IMAGENET,
            expected=published_diffusion.DRIFT_RATIO,
        ),
    ]


def _beyond() -> list[Statement]:
    """Claims 23 to 26: the noise that was assumed, measured."""
    lines = [
        Claim(
            name="",
            source="theory",
            quantity=f"of the {what}, momentum {momentum:g}",
            expected=1.0,
            tolerance=Tolerance("absolute", 0.03),
            needs=on_digits(fits=(MOMENTS,), spans={"momentum": COLD_MOMENTA}),
            measure=fitted(MOMENTS, f"{what}_intercept", momentum=momentum, theory_name="exact"),
        )
        for what in ("position", "velocity")
        for momentum in COLD_MOMENTA
    ]
    return [
        single(
            Claim(
                name="diffusion-23",
                source=f"{PAPER}, assumption 5; arXiv 2602.05600",
                quantity="power of the curvature in the gradient noise along its eigenvectors",
                expected=math.nan,
                tolerance=Tolerance("range", 1, 2),
                needs=on_digits(fits=("noise_structure",)),
                measure=fitted("noise_structure", "noise_power"),
            )
        ),
        single(
            Claim(
                name="diffusion-24",
                source="theory",
                quantity="potential over kinetic energy in reshuffled order, median of the modes",
                expected=math.nan,
                tolerance=Tolerance("below", 0.4),
                needs=on_digits(point=WARM, fits=(MOMENTS,), sampler="reshuffle"),
                measure=fitted(MOMENTS, "equipartition_median", point=WARM),
            )
        ),
        single(
            Claim(
                name="diffusion-25",
                source="prediction",
                quantity="trace of the Hessian by the speed over the one measured",
                expected=1.0,
                tolerance=Tolerance("factor", 2),
                needs=on_digits(point=COOL, fits=("noise_structure",)),
                measure=fitted("noise_structure", "implied_trace_ratio", point=COOL),
            )
        ),
        listed("diffusion-26", "variance over theory with the noise measured, at zero temperature", lines),
    ]


def _unequal(cube: xr.Dataset, fits: Fits) -> Measurement:
    """How far equipartition is off beyond its errors, over the modes with many samples."""
    found = network_at(fits[MOMENTS], WARM)
    chosen = found["effective_samples"].values >= MANY
    if not chosen.any():
        raise NotReached(f"needs modes with {MANY:g} effective samples")
    value, error = (found[name].values[chosen] for name in ("equipartition", "equipartition_error"))
    off = np.abs(value - 1) - 3 * error
    worst = int(off.argmax())
    words = f"{chosen.sum()} modes; the worst {value[worst]:.3f} ± {error[worst]:.2g}"
    return Measurement(float(off[worst]), math.nan, words)


def _toy_frequency() -> tuple[float, float]:
    basis = np.array([[-1.0, 1.0], [1.0, 1.0]]) / math.sqrt(2)
    process = ornstein_uhlenbeck(basis @ np.diag([4.0, 1.0]) @ basis.T, np.diag([4.0, 1.0]))
    return float(np.max(process.frequencies)), math.nan
