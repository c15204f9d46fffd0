"""What arXiv 1909.05176 says (L. Feng, L. Zhang, C. H. Lai, 2019): networks are best where the Jacobian's norm is 1.

The map of its multilayer network from the images to the third layer is iterated; norms are means over images, on the
attractor. Claim 20 of the chaos study. The values are read off figures; "near the epoch of the least test loss" is
taken as three epochs, half of the epoch at which the norm passes 1.
"""

import math

import numpy as np
import xarray as xr

from sgdphases.claims.chaos_readings import curve, record
from sgdphases.claims.claim import Claim, Fits, Measurement, Needs, NotReached, Statement, Tolerance, listed
from sgdphases.claims.readings import Measure, at, over_replicas

PAPER = "arXiv 1909.05176"
EPOCHS, REPEATS = 20, 2
PHASES = {3: ("fixed_point", "zero"), 6: ("cycle", "quasi_periodic"), 13: ("chaos",)}
"""Epoch of the paper's Poincaré sections to what the orbits do there."""


def statements() -> list[Statement]:
    """Claim 20 of the study."""
    norm = ("jacobian_norm",)
    rows = (
        ("Fig. 2a", "epoch at which it passes 1", math.nan, Tolerance("range", 3, 13), norm, crossing),
        (
            "Fig. 2a",
            "that epoch less the one of the least test loss",
            0.0,
            Tolerance("absolute", 3),
            (*norm, "test_loss"),
            crossing_after_optimum,
        ),
        ("Fig. 2a", "smallest value", math.nan, Tolerance("range", 0.2, 1), norm, extreme(largest=False)),
        ("Fig. 2a", "largest value", math.nan, Tolerance("range", 1, 3.85), norm, extreme(largest=True)),
        ("Fig. 2a", "least test loss", math.nan, Tolerance("range", 0.30, 0.33), ("test_loss",), least_loss),
        *(
            (
                "Fig. 2a, sections",
                f"share of replicas with {' or '.join(words)} at epoch {epoch}",
                math.nan,
                Tolerance("above", 0.5),
                ("dynamics",),
                share(epoch, words),
            )
            for epoch, words in PHASES.items()
        ),
    )
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, {figure}",
            quantity=quantity,
            expected=expected,
            tolerance=tolerance,
            needs=Needs(
                dataset="fashion_mnist",
                widths=(784, 784, 100, 784, 10),
                least_epochs=EPOCHS,
                least_replicas=REPEATS,
                variables=variables,
            ),
            measure=measure,
        )
        for figure, quantity, expected, tolerance, variables, measure in rows
    ]
    return [listed("chaos-20", "Jacobian norm of a multilayer network in training", parts)]


def _norm(cube: xr.Dataset) -> xr.DataArray:
    """Jacobian norm of the trained weights over replicas and recorded times."""
    values = at(curve(cube, "jacobian_norm", {}), {"control_name": "trained"}).mean("image")
    values = values.where(values["epoch"] <= EPOCHS + 0.5)
    values = values.isel(step=np.isfinite(values).any("replica").values)
    if not values.size:
        raise NotReached("the norm has no value at any recorded epoch")
    return values


def _crossings(cube: xr.Dataset) -> np.ndarray:
    """Epoch, interpolated, at which each replica's norm first rises through 1; NaN where it does not."""
    values = _norm(cube).transpose("replica", "step")
    epochs, found = values["epoch"].values, []
    for norm in values.values - 1:
        rises = np.flatnonzero((norm[:-1] < 0) & (norm[1:] >= 0))
        place = int(rises[0]) if rises.size else None
        if place is None:
            found.append(math.nan)
            continue
        share_passed = norm[place] / (norm[place] - norm[place + 1])
        found.append(epochs[place] + share_passed * (epochs[place + 1] - epochs[place]))
    return np.array(found)


def _mean(values: np.ndarray) -> tuple[float, float]:
    return over_replicas(xr.DataArray(values, dims="replica"))


def crossing(cube: xr.Dataset, fits: Fits) -> Measurement:
    """Mean epoch at which the norm first passes 1."""
    epochs = _crossings(cube)
    if not np.isfinite(epochs).any():
        return Measurement(math.nan, math.nan, "it does not pass 1 in any replica")
    return Measurement(*_mean(epochs), f"in {int(np.isfinite(epochs).sum())} of {epochs.size} replicas")


def crossing_after_optimum(cube: xr.Dataset, fits: Fits) -> Measurement:
    """Epochs from the least test loss to the crossing, replica by replica."""
    epochs = _crossings(cube)
    if not np.isfinite(epochs).any():
        return Measurement(math.nan, math.nan, "it does not pass 1 in any replica")
    loss = _losses(cube)
    return Measurement(*_mean(epochs - loss["epoch"].values[loss.fillna(np.inf).argmin("step").values]))


def _losses(cube: xr.Dataset) -> xr.DataArray:
    """Test losses of the first epochs, (replica, step)."""
    loss = curve(cube, "test_loss", {}).transpose("replica", "step")
    return loss.isel(step=loss["epoch"].values <= EPOCHS + 0.5)


def least_loss(cube: xr.Dataset, fits: Fits) -> Measurement:
    """Least test loss of a replica, mean over replicas."""
    return Measurement(*over_replicas(_losses(cube).min("step")))


def extreme(*, largest: bool) -> Measure:
    """Smallest or largest norm of the replicas' mean over the recorded epochs."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        mean = _norm(cube).mean("replica")
        return Measurement(float(mean.max() if largest else mean.min()), math.nan)

    return measure


def share(epoch: float, words: tuple[str, ...]) -> Measure:
    """Share of replicas whose trained weights have one of these dynamics at an epoch."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        flags = record(at(curve(cube, "dynamics", {}), {"control_name": "trained"}), epoch=epoch)
        meanings = flags.attrs["flag_meanings"].split()
        numbers = [value for value, word in zip(flags.attrs["flag_values"], meanings, strict=True) if word in words]
        if (flags == -1).all():
            raise NotReached(f"no weights were recorded at epoch {epoch:g}")
        return Measurement(float(flags.isin(numbers).mean()), math.nan)

    return measure
