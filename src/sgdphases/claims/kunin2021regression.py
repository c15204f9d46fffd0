"""Claim 4 of arXiv 2107.09133 (D. Kunin et al., 2024): linear regression falls to its minimum as a damped oscillator.

Fig. 2 is of CIFAR-10; what it shows depends on momentum and ηρ₁ alone (learning rate times first curvature), so that
digits at the same product must do the same. What the study adds: the paper's mean starts half a step late
(`fits.mean_path`), and its largest error is beyond what the mean from half a step earlier keeps within.
"""

import math
from dataclasses import dataclass

import xarray as xr

from sgdphases.claims.claim import Claim, Fits, Measurement, Needs, NotReached, Statement, Tolerance, listed
from sgdphases.claims.diffusion_readings import OnWalks
from sgdphases.claims.kunin2021published import PAPER
from sgdphases.claims.network import network_at
from sgdphases.claims.readings import Measure, at, fitted
from sgdphases.theory import published_diffusion as published

FIT = "mean_path"

STEP_CURVATURE = published.REGRESSION_SETTING.learning_rate * float(published.REGRESSION_EIGENVALUES[0])
"""ηρ₁ of Fig. 2."""

STEP_CURVATURE_ERROR = 0.02
"""Relative difference of ηρ₁ that changes a period by a hundredth."""

WITHIN = 0.015
"""Share of the initial distance that the mean path stays within, and that the paper's mean misses."""

RAW = 0.05
"""The same of the root mean square of the paper's."""

STEPS = 392
"""Of Fig. 2."""


@dataclass(frozen=True)
class OnRegression(OnWalks):
    """What an experiment must have to be linear regression on digits.

    Attributes:
        loss: Half the squared error: its Hessian is that of the inputs.
    """

    loss: str = "half_squared_error"

    def _kind(self, cube: xr.Dataset, fits: Fits) -> list[str]:
        lacks = super()._kind(cube, fits)
        if lacks or (cube["loss"] == self.loss).all():
            return lacks
        return [f"loss {self.loss}"]


def statements() -> list[Statement]:
    """Claim 4: the period, the paper's mean, and the mean from half a step earlier, at each momentum."""
    periods = zip(published.REGRESSION_MOMENTA.tolist(), published.REGRESSION_PERIODS.tolist(), strict=True)
    momenta = published.REGRESSION_MOMENTA.tolist()
    parts = [_period(momentum, period) for momentum, period in periods]
    figure, within = f"{PAPER}, Fig. 2", "largest distance of the mean from"
    for said in (
        (figure, "rms distance of the mean from the paper's", "path_error", "paper", Tolerance("below", RAW)),
        ("theory", f"{within} theory half a step earlier", "path_worst", "half_step", Tolerance("below", WITHIN)),
        ("theory", f"{within} the paper's", "path_worst", "paper", Tolerance("above", WITHIN)),
    ):
        parts += [_distance(momentum, *said) for momentum in momenta]
    return [listed("diffusion-04", "linear regression", parts)]


def _needs(momentum: float) -> Needs:
    return OnRegression(
        dataset="digits",
        widths=(64, 10),
        point={"momentum": momentum},
        least_steps=STEPS,
        least_replicas=16,
        fits=(FIT,),
    )


def _period(momentum: float, period: float) -> Claim:
    return Claim(
        name="",
        source=f"{PAPER}, Fig. 2",
        quantity=f"period in steps along the first eigenvectors, momentum {momentum:g}",
        expected=period,
        tolerance=Tolerance("relative", 0.05),
        needs=_needs(momentum),
        measure=_at_the_papers_rate(fitted(FIT, "period", point={"momentum": momentum}, eigenspace=0)),
    )


def _distance(momentum: float, source: str, what: str, name: str, theory: str, tolerance: Tolerance) -> Claim:
    return Claim(
        name="",
        source=source,
        quantity=f"{what}, over the initial one, momentum {momentum:g}",
        expected=math.nan,
        tolerance=tolerance,
        needs=_needs(momentum),
        measure=_at_the_papers_rate(_over_far(name, theory, momentum)),
    )


def _at_the_papers_rate(measure: Measure) -> Measure:
    """The reading, where learning rate times first curvature is that of the paper."""

    def checked(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = fits[FIT]["learning_rate"] * fits[FIT]["eigenspace_curvature"][0]
        if float(abs(found / STEP_CURVATURE - 1).max()) > STEP_CURVATURE_ERROR:
            raise NotReached(f"needs learning rate times first curvature {STEP_CURVATURE:.3g}")
        return measure(cube, fits)

    return checked


def _over_far(name: str, theory: str, momentum: float) -> Measure:
    """The largest over the eigenspaces in which the start is far from its minimum, with its error."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = network_at(fits[FIT], {"momentum": momentum})
        far = found["far"].values == 1
        if not far.any():
            raise NotReached(f"needs a start at least {float(found.attrs['far']):g} stationary deviations away")
        values, errors = (at(found[word], {"theory_name": theory}).values[far] for word in (name, f"{name}_error"))
        worst = int(values.argmax())
        least = float(found["distance"].values[far].min())
        words = f"{far.sum()} of {far.size} eigenspaces, from {least:.0f} stationary deviations on"
        return Measurement(float(values[worst]), float(errors[worst]), words)

    return measure
