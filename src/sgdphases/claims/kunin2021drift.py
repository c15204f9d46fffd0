"""Whether a drift makes the power of the displacement, and weight decay the drift: what the study asks of 2107.09133.

Judged on a network with a normalised hidden layer that was trained at a larger learning rate; expected values and
tolerances stand as they were written down before it ran. Claims 22 and 38 to 40 of the study.
"""

import math
from functools import partial

import numpy as np
import xarray as xr

from sgdphases.claims.claim import Claim, Fits, Measurement, NotReached, Statement, Tolerance, listed, single
from sgdphases.claims.diffusion_readings import OnWalks
from sgdphases.claims.kunin2021published import PAPER
from sgdphases.claims.network import network_at
from sgdphases.claims.readings import Measure, fitted

SPLIT, LAYERS = "drift_split", "layer_drift"
DECAYS = (0.0, 1e-4, 5e-4)
STRONG = {"weight_decay": DECAYS[-1]}

on_fashion = partial(
    OnWalks,
    dataset="fashion_mnist",
    widths=(784, 64, 10),
    least_epochs=30,
    least_replicas=8,
    variables=("layer_weight_norm",),
)


def statements() -> list[Statement]:
    """All four."""
    return [_ratio(), _models(), _lengths(), _share()]


def _ratio() -> Statement:
    """Claim 22: without weight decay there is less drift."""
    return single(
        Claim(
            name="diffusion-22",
            source="prediction",
            quantity="squared drift over diffusion, without weight decay over with 0.0005",
            expected=math.nan,
            tolerance=Tolerance("below", 1),
            needs=on_fashion(fits=(SPLIT,), spans={"weight_decay": DECAYS}),
            measure=_drift_without_decay,
        )
    )


def _models() -> Statement:
    """Claim 38: diffusion with a drift describes the displacement better than a power law."""
    parts = [
        Claim(
            name="",
            source="prediction",
            quantity=f"weight decay {decay:g}",
            expected=math.nan,
            tolerance=Tolerance("above", 0),
            needs=on_fashion(point={"weight_decay": decay}, fits=("displacement",)),
            measure=_gain(decay),
        )
        for decay in DECAYS
    ]
    return listed("diffusion-38", "Akaike's number of a power law less that of Dt + V²t²", parts)


def _lengths() -> Statement:
    """Claim 39: the power grows with the length of the run."""
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Fig. 7",
            quantity=f"weight decay {decay:g}",
            expected=math.nan,
            tolerance=Tolerance("above", 0),
            needs=on_fashion(point={"weight_decay": decay}, fits=("displacement",)),
            measure=_growth(decay),
        )
        for decay in DECAYS
    ]
    return listed("diffusion-39", "power of the displacement in the whole run less that in its first quarter", parts)


def _share() -> Statement:
    """Claim 40: the drift is mostly that of the scale-invariant layer along -λθ."""
    return single(
        Claim(
            name="diffusion-40",
            source="prediction",
            quantity="share of the squared drift along the weights of the scale-invariant layer, weight decay 0.0005",
            expected=math.nan,
            tolerance=Tolerance("above", 0.5),
            needs=on_fashion(point=STRONG, fits=(LAYERS,)),
            measure=_along_the_layer,
        )
    )


def _drift_without_decay(cube: xr.Dataset, fits: Fits) -> Measurement:
    """V²/D at the last record, of no weight decay over that of the strongest."""
    value, error = [], []
    for decay in DECAYS:
        found = network_at(fits[SPLIT], {"weight_decay": decay}).isel(step=-1)
        value.append(float(found["split_drift_ratio"]))
        error.append(float(found["split_drift_ratio_error"]))
    if not value[-1] > 0:
        raise NotReached("needs a drift with the strongest weight decay")
    ratio = value[0] / value[-1]
    spread = abs(ratio) * math.hypot(error[0] / value[0], error[-1] / value[-1])
    words = ", ".join(f"{one:.3g} ± {by:.1g}" for one, by in zip(value, error, strict=True))
    return Measurement(ratio, spread, f"V²/D per epoch with weight decay {', '.join(map(str, DECAYS))}: {words}")


def _gain(decay: float) -> Measure:
    """How much better the drift describes the course, and how large it then is."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        gain = fitted("displacement", "aic_gain", point={"weight_decay": decay})(cube, fits)
        found = network_at(fits["displacement"], {"weight_decay": decay})
        value, error = float(found["drift_ratio"]), float(found["drift_ratio_error"])
        return Measurement(gain.value, gain.error, f"V²/D = {value:.3g} ± {error:.1g} per epoch")

    return measure


def _growth(decay: float) -> Measure:
    """By how much the power of the whole run is above that of a quarter of it."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = network_at(fits["displacement"], {"weight_decay": decay})
        power, error, step = (found[name].values for name in ("exponent_by_length", "exponent_by_length_error", "step"))
        quarter = int(np.abs(step - step[-1] / 4).argmin())
        if not np.isfinite(power[[quarter, -1]]).all():
            raise NotReached("needs the power in a quarter of the run")
        words = f"{power[quarter]:.3f} after {step[quarter]:.0f} steps, {power[-1]:.3f} after {step[-1]:.0f}"
        return Measurement(float(power[-1] - power[quarter]), float(np.hypot(error[-1], error[quarter])), words)

    return measure


def _along_the_layer(cube: xr.Dataset, fits: Fits) -> Measurement:
    """Share of the drift along the weights below the normalisation, and how much of it decay alone would make."""
    found = network_at(fits[LAYERS], STRONG).isel(step=-1, layer=0)
    over, error = float(found["decay_ratio"]), float(found["decay_ratio_error"])
    words = f"{over:.3f} ± {error:.1g} of what weight decay alone would make"
    return Measurement(float(found["layer_share"]), float(found["layer_share_error"]), words)
