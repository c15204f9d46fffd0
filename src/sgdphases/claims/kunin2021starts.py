"""Drift and diffusion of networks that do not start at a minimum: what the study asks of arXiv 2107.09133 beyond it.

A start that was moved away from its minimum drifts back by a known law; one that was trained at a larger learning rate
drifts wherever the smaller one lets it; and at a minimum, where it is cold enough for a parabola, there is no drift.
Claims 33, 34 and 41 of the study; claim 21 asks the last at a higher temperature.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.claims.claim import Claim, Fits, Measurement, NotReached, Statement, Tolerance, listed
from sgdphases.claims.diffusion_readings import OnWalks
from sgdphases.claims.network import Point, network_at
from sgdphases.claims.readings import Measure, fitted

SPLIT = "drift_split"

COLD: tuple[Point, ...] = tuple({"learning_rate": 0.0025, "momentum": momentum} for momentum in (0.0, 0.9))
"""Networks on which the loss is a parabola."""

LOWERED: Point = {"learning_rate": 0.02, "momentum": 0.9}

MEMORIES = 50.0
"""Memories 1/(1 - β) after which a start from rest no longer bends the displacement."""


@dataclass(frozen=True)
class FromStart(OnWalks):
    """What an experiment must have so that a claim about networks off their minimum can be judged on it.

    Attributes:
        start: "displaced" from a minimum, "polished": at it, or "lowered": trained at a larger learning rate than the
            claim's.
    """

    start: str = "displaced"

    def _kind(self, cube: xr.Dataset, fits: Fits) -> list[str]:
        away, trained, polish = (
            cube.attrs.get(f"start_{word}", 0) for word in ("displacement", "learning_rate", "polish")
        )
        if self.start == "displaced" and not away > 0:
            return ["a start that was moved away from its minimum"]
        if self.start == "polished" and (away or not polish > 0):
            return ["a start at its minimum"]
        if self.start == "lowered" and (away or polish or not trained > self.point["learning_rate"]):
            return ["a start that was trained at a larger learning rate"]
        return super()._kind(cube, fits)


on_digits = partial(FromStart, dataset="digits", widths=(64, 16, 10), least_replicas=8)


def statements() -> list[Statement]:
    """All three."""
    return [_planted(), _lowered(), _polished()]


def _planted() -> Statement:
    """Claim 33: replicas find a drift that is known."""
    found = {"expected": 1.0, "tolerance": Tolerance("relative", 0.1)}
    parts = [_cold(point, _at_the_end("drift_square_ratio", point), **found) for point in COLD]
    return listed("diffusion-33", "squared drift of a displaced start over theory, last record", parts)


def _polished() -> Statement:
    """Claim 41: as cold as the displaced ones, networks at their minimum have no drift."""
    none = {"expected": 0.0, "tolerance": Tolerance("absolute", 2)}
    parts = [_cold(point, drift_in_errors(point), start="polished", **none) for point in COLD]
    return listed("diffusion-41", "squared drift of a cold polished start in standard errors, last record", parts)


def _cold(point: Point, measure: Measure, *, start: str = "displaced", **verdict: Any) -> Claim:
    """What is asked of one momentum where the loss is a parabola."""
    needs = on_digits(point=point, start=start, fits=(SPLIT,), least_steps=4000)
    quantity = f"momentum {point['momentum']:g}"
    return Claim(name="", source="prediction", quantity=quantity, needs=needs, measure=measure, **verdict)


def _lowered() -> Statement:
    """Claim 34: at a lower rate there is a drift, and without it the displacement grows no faster than time."""
    needs = on_digits(point=LOWERED, start="lowered", least_steps=20000, fits=(SPLIT, "displacement"))
    part = partial(Claim, name="", source="prediction", expected=math.nan, needs=needs)
    parts = [
        part(
            quantity="squared drift in standard errors, last record",
            tolerance=Tolerance("above", 2),
            measure=_drift_when_lowered,
        ),
        part(
            quantity="power of the diffusion less two standard errors",
            tolerance=Tolerance("below", 1.01),
            measure=_diffusion_power,
        ),
    ]
    return listed("diffusion-34", "trained, then at a tenth of the learning rate", parts)


def _at_the_end(name: str, point: Point) -> Measure:
    """A course of the split at the last record."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = network_at(fits[SPLIT], point).isel(step=-1)
        value, error = (float(found[word]) for word in (name, f"{name}_error"))
        if not math.isfinite(value):
            raise NotReached(f"the fit {SPLIT} gives no {name} at the end")
        share = float(found["gradient_share"])
        return Measurement(value, error, f"{share:.1%} of the squared gradient is along the eigenvectors")

    return measure


def drift_in_errors(point: Point) -> Measure:
    """Squared common drift over its standard error at the last record.

    Args:
        point: The network.

    Returns:
        The reading.
    """

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = network_at(fits[SPLIT], point).isel(step=-1)
        value, error = (float(found[name]) for name in ("drift_square", "drift_square_error"))
        if not error > 0:
            raise NotReached("needs a standard error of the drift, from several replicas")
        return Measurement(value / error, 1.0, f"{value:.2g} ± {error:.1g}")

    return measure


def _drift_when_lowered(cube: xr.Dataset, fits: Fits) -> Measurement:
    """Squared drift over its standard error; how much of the displacement it is, and V²/D per epoch."""
    found = network_at(fits[SPLIT], LOWERED).isel(step=-1)
    names = ("drift_square", "drift_share", "split_drift_ratio", "drift_square_ratio", "gradient_share")
    value, share, ratio, over, along = (float(found[name]) for name in names)
    error = float(found["drift_square_error"])
    if not error > 0:
        raise NotReached("needs a standard error of the drift, from several replicas")
    words = [f"{value:.3g} ± {error:.1g}, {share:.1%} of the squared displacement", f"V²/D = {ratio:.2g} per epoch"]
    if math.isfinite(over):
        words.append(f"{over:.3g} times that of the eigenvectors, which have {along:.1%} of the squared gradient")
    return Measurement(value / error, 1.0, "; ".join(filter(None, [*words, _largest_power(fits)])))


def _diffusion_power(cube: xr.Dataset, fits: Fits) -> Measurement:
    """Lower end of the power of what is left without the drift."""
    found = fitted(SPLIT, "diffusion_power", point=LOWERED, protocol_name="robust")(cube, fits)
    return Measurement(found.value - 2 * found.error, found.error, f"{found.value:.3f} ± {found.error:.1g}")


def _largest_power(fits: Fits) -> str:
    """Largest local power of the displacement once the start from rest is forgotten, and how much is drift there."""
    # The largest of many has no honest error, so it is said and not judged.
    found, split = (network_at(fits[name], LOWERED) for name in ("displacement", SPLIT))
    late = found["step"].values >= MEMORIES / (1 - LOWERED["momentum"])
    power = np.where(late, found["local_exponent"].values, np.nan)
    if not np.isfinite(power).any():
        return ""
    place = int(np.nanargmax(power))
    step, share = int(found["step"][place]), float(split["drift_share"][place])
    error = float(found["local_exponent_error"][place])
    return f"largest local power {power[place]:.2f} ± {error:.1g} at step {step}, where {share:.1%} is drift"
