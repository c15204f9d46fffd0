"""Small batches and the order of the data: what the study asks of Fig. 6 of arXiv 2107.09133 beyond it.

The paper's squared step at S = 32 is 14 % above the law 1/S, and its power rises below S = 136. Its batches were
normalised in eight parts, of four samples each at S = 32, and came in one order in every epoch. Each of them is tried
by itself on a small network that, as the paper's, is far from fitting its data. Nothing is compared across
experiments: the common measures are the law itself and noise that was measured at the start.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.claims.claim import Claim, Fits, Measurement, NotReached, Statement, Tolerance, listed, single
from sgdphases.claims.diffusion_readings import OnWalks
from sgdphases.claims.kunin2021published import PAPER
from sgdphases.claims.network import Point, network_at
from sgdphases.claims.readings import Measure, at, difference, fitted
from sgdphases.theory import langevin_displacement, momentum_displacement, reshuffled_noise

SMALL, MIDDLE, LARGE = 32, 128, 256
"""S of the paper's excess, the one next to its least power, and its default, through which it draws the law."""

GHOSTS = 8

EXCESS = 1.14
"""The paper's squared step at S = 32 over the law."""

PROTOCOL = "common"

ORDERS = ("with_replacement", "reshuffle", "fixed_shuffle")

POINT: Point = {"batch_size": SMALL}


@dataclass(frozen=True)
class OnBatches(OnWalks):
    """What an experiment must have so that a claim about small batches can be judged on it.

    Attributes:
        norm: Normalisation of the hidden layers.
        ghosts: Parts of a batch that are normalised each by itself.
    """

    norm: str = "none"
    ghosts: int = 1

    def _kind(self, cube: xr.Dataset, fits: Fits) -> list[str]:
        have = _normalisation(cube)
        if have != (self.norm, self.ghosts):
            return [f"norm {self.norm} of {self.ghosts} parts, has {have[0]} of {have[1]}"]
        return super()._kind(cube, fits)


def _normalisation(cube: xr.Dataset) -> tuple[str, int]:
    """Norm and ghosts of a cube's networks."""
    return str(cube.attrs.get("norm", "none")), int(cube.attrs.get("ghosts", 1))


on_digits = partial(OnBatches, dataset="digits", widths=(64, 4, 10), least_steps=3000, least_replicas=8)


def statements() -> list[Statement]:
    """Claims 35 to 37 and 42 to 45; each is judged on one card."""
    ghosts, whole, free = ({"norm": "batch", "ghosts": GHOSTS}, {"norm": "batch"}, {})
    law = f"squared step at S = {SMALL} over the law 1/S through S = {LARGE}"
    rise = f"power of the displacement at S = {SMALL} less that at S = {MIDDLE}"
    found: list[Statement] = [
        # No excess must not pass for the paper's.
        single(_excess(f"{law}, batches normalised in {GHOSTS} parts", ghosts, EXCESS, 0.1, name="diffusion-35")),
        single(_rise(f"{rise}, batches normalised in {GHOSTS} parts", ghosts, "above", name="diffusion-36")),
    ]
    for number, norm, words in ((42, whole, "batches normalised as a whole"), (43, free, "networks not normalised")):
        parts = [_excess(law, norm, 1.0, 0.05), _rise(rise, norm, "below")]
        found.append(listed(f"diffusion-{number}", words, parts))
    for number, sampler in zip((37, 44), ORDERS, strict=False):
        words = f"order of the data at S = {SMALL}: {sampler.replace('_', ' ')}"
        found.append(listed(f"diffusion-{number}", words, [_steps(sampler), *_apart(sampler)]))
    # Replicas part by their orders there, which is no diffusion.
    return [*found, single(_steps(ORDERS[-1], name="diffusion-45"))]


def _excess(quantity: str, norm: Mapping[str, Any], expected: float, tolerance: float, *, name: str = "") -> Claim:
    """What lifts the squared step of small batches above the law."""
    return Claim(
        name=name,
        source=f"{PAPER}, Fig. 6" if expected != 1 else "prediction",
        quantity=quantity,
        expected=expected,
        tolerance=Tolerance("relative", tolerance),
        needs=on_digits(spans={"batch_size": (SMALL, LARGE)}, fits=("displacement",), **norm),
        measure=_above_law,
    )


def _rise(quantity: str, norm: Mapping[str, Any], side: str, *, name: str = "") -> Claim:
    """Whether the power rises towards small batches."""
    return Claim(
        name=name,
        source=f"{PAPER}, Fig. 6" if side == "above" else "prediction",
        quantity=quantity,
        expected=math.nan,
        tolerance=Tolerance(side, 0),
        needs=on_digits(spans={"batch_size": (SMALL, MIDDLE)}, fits=("displacement",), **norm),
        measure=difference(*(_power(size) for size in (SMALL, MIDDLE))),
    )


def _steps(sampler: str, *, name: str = "") -> Claim:
    """What the order of the data does to steps."""
    words = f", {sampler.replace('_', ' ')}" if name else ""
    return Claim(
        name=name,
        source="theory",
        quantity=f"squared step over theory with the noise measured{words}",
        expected=1.0,
        tolerance=Tolerance("relative", 0.05),
        needs=on_digits(point=POINT, sampler=sampler, fits=("displacement",)),
        measure=_step(sampler),
    )


def _apart(sampler: str) -> list[Claim]:
    """What the order does to how far replicas part, and to the power of that."""
    needs = on_digits(point=POINT, sampler=sampler, fits=("displacement", "drift_split"))
    part = partial(Claim, name="", source="prediction", expected=math.nan, needs=needs)
    return [
        part(
            quantity="diffusion over that of flat directions with replacement",
            tolerance=Tolerance("below", 1.0 if sampler == "with_replacement" else 0.5),
            measure=_spread,
        ),
        part(
            quantity="power of the diffusion",
            tolerance=Tolerance("below", 1.01),
            measure=fitted("drift_split", "diffusion_power", point=POINT, protocol_name="robust"),
        ),
    ]


def step_share(
    sampler: str, curvature: np.ndarray | float = 0.0, *, learning_rate: float, momentum: float, samples: int
) -> np.ndarray:
    """Mean square of one step along modes over the law of flat ones with replacement, in an epoch after many.

    Args:
        sampler: Order of the data.
        curvature: h of each mode, 0 of flat directions.
        learning_rate: η.
        momentum: β.
        samples: N, of which batches have S = 32.

    Returns:
        As the curvature: along flat directions 1 with replacement, less without, as noises of an epoch sum to zero.
    """
    h = np.asarray(curvature, dtype=np.float64)
    laws: dict[str, Callable[..., np.ndarray]] = {
        "reshuffle": reshuffled_noise.reshuffled_covariance,
        "fixed_shuffle": reshuffled_noise.fixed_order_covariance,
    }
    words = {"learning_rate": learning_rate, "momentum": momentum}
    law = langevin_displacement.one_step_displacement(1.0, **words)
    if sampler not in laws:
        return momentum_displacement.one_step_displacement(h, 1.0, **words) / law
    period = samples // SMALL
    noise = reshuffled_noise.batch_noise(1.0, batch_size=SMALL, samples=samples) * SMALL
    epochs = math.ceil(100 / (period * (1 - momentum)))
    steps = period * epochs + np.arange(period)
    velocity = laws[sampler](steps, h[..., None], noise, steps_per_epoch=period, **words)[..., 1, 1]
    return learning_rate**2 * velocity.mean(axis=-1) / law


def _above_law(cube: xr.Dataset, fits: Fits) -> Measurement:
    """S times the squared step at the small batch over that at the large one."""
    found = [network_at(fits["displacement"], {"batch_size": size}) for size in (SMALL, LARGE)]
    levels = [float(each["one_step"]) for each in found]
    if not all(map(math.isfinite, levels)):
        raise NotReached("the fit displacement gives no squared step here")
    value = levels[0] * SMALL / (levels[1] * LARGE)
    error = value * math.hypot(*(float(each["one_step_error"]) / float(each["one_step"]) for each in found))
    words = f"training loss {float(cube['start_loss']):.2g} at the start" if "start_loss" in cube else ""
    return Measurement(value, error, words)


def _power(batch_size: int) -> Measure:
    """Power of the displacement in the window that all batch sizes share."""
    return fitted("displacement", "exponent", point={"batch_size": batch_size}, protocol_name=PROTOCOL)


def _step(sampler: str) -> Measure:
    """Squared step over that of the noise at the start in an order, stiff modes each by itself."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found, words = network_at(fits["displacement"], POINT), _words(cube)
        law = float(langevin_displacement.one_step_displacement(_noise(cube), **words))
        share = partial(step_share, sampler, samples=int(cube.attrs["samples"]), **words)
        theory = float(share())
        if {"curvature", "noise"} <= set(cube):
            decay = float(network_at(cube, POINT)["weight_decay"])
            own = cube["noise"].values / float(cube["noise_trace"])
            theory += float(own @ (share(np.maximum(cube["curvature"].values + decay, 0.0)) - theory))
        value, error = (float(found[name]) / law for name in ("one_step", "one_step_error"))
        growth, power = float(found["one_step_growth"]), float(at(found["exponent"], {"protocol_name": "robust"}))
        remarks = [f"{value:.3f} ± {error:.1g} of the law with replacement, theory {theory:.3f}"]
        remarks += [f"changes by {growth:+.0%} in the run", f"power of the displacement {power:.3f}"]
        return Measurement(value / theory, error / theory, "; ".join(remarks))

    return measure


def _spread(cube: xr.Dataset, fits: Fits) -> Measurement:
    """How far replicas have parted by the last record, over η² tr Σ t/(S(1 - β)²)."""
    found = network_at(fits["drift_split"], POINT).isel(step=-1)
    words = _words(cube)
    free = words["learning_rate"] ** 2 * _noise(cube) * int(found["step"]) / (1 - words["momentum"]) ** 2
    value, error = (float(found[name]) / free for name in ("diffusion_square", "diffusion_square_error"))
    share = float(found["drift_share"])
    return Measurement(value, error, f"{share:.1%} of the squared displacement is drift that replicas share")


def _noise(cube: xr.Dataset) -> float:
    """Trace of the noise of one batch at the start."""
    if "noise_trace" not in cube:
        raise NotReached("needs noise_trace, measured at the start")
    return float(cube["noise_trace"]) / SMALL


def _words(cube: xr.Dataset) -> dict[str, float]:
    """Learning rate and momentum of the claim's network."""
    network = network_at(cube, POINT)
    return {name: float(network[name]) for name in ("learning_rate", "momentum")}
