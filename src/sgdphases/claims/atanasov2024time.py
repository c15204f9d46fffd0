"""Claims of arXiv 2410.04642 about the course of training: catapults, the clock τ = ηt/γ, plateaus and stairs.

"Simulation" as a source is an independent one of small networks on the Gaussian mixture; the paper gives no numbers.
One-hot targets have a mean, and its learning is the first stair, from 0.1 to 0.09 for ten classes. Claims 8 to 10, 14
and 20 of the study.
"""

import math
from functools import partial

import numpy as np

from sgdphases.claims.claim import Claim, Needs, Statement, Tolerance, listed, single
from sgdphases.claims.readings import Measure, unreachable
from sgdphases.claims.richness_conditions import CENTRED, LAYERS, LAZY, LAZY_END, ONE_HOT, PAPER, REPLICAS, OnStrips
from sgdphases.claims.richness_readings import along_richness, fitted, stair_level, with_axis, with_others

DATA = "gaussian_mixture"
STEPS = 400
DECADES = {"richness": (1e2, 10**2.5, 1e3, 10**3.5)}
"""Richness over which the first drop is compared."""

LINEAR = Tolerance("above", 0.98)
"""Explained variance of a law of the drop's time."""

STAIRS = 100.0
"""Richness from which on there are stairs."""

on_mixture = partial(OnStrips, dataset=DATA, least_steps=STEPS, least_replicas=REPLICAS)


def statements() -> list[Statement]:
    """Claims 8 to 10, 14 and 20."""
    return [_catapult(), _clock(), _plateau(), _stairs(), _loss_powers()]


def _catapult() -> Statement:
    """Claim 8. The peak is that at one η/γ², as in theory; an outside portrait has -2.15 at the largest finite η."""
    rows = (
        (
            "power of the richness in the largest calm learning rate",
            2.0,
            Tolerance("absolute", 0.10),
            "richness_exponents",
            lambda layers: fitted(
                "richness_exponents", "largest_exponent", layers, regime_name="lazy", criterion_name="calm"
            ),
        ),
        (
            "decades from there to the largest finite one",
            math.nan,
            Tolerance("range", 0, 1),
            "catapults",
            lambda layers: along_richness("catapults", "finite_band", layers, np.mean, most=LAZY_END),
        ),
        (
            "power of the richness in the peak of the loss",
            -2.0,
            Tolerance("absolute", 0.4),
            "catapults",
            lambda layers: with_others(
                fitted("catapults", "scaled_peak_exponent", layers),
                **{"at the largest finite learning rate": fitted("catapults", "edge_peak_exponent", layers)},
            ),
        ),
    )
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Fig. 4a",
            quantity=f"{quantity}, L = {layers}",
            expected=expected,
            tolerance=tolerance,
            needs=OnStrips(
                layers=(layers,),
                spans={"richness": LAZY},
                least_steps=STEPS,
                least_replicas=REPLICAS,
                fits=(fit,),
            ),
            measure=measure(layers),
        )
        for quantity, expected, tolerance, fit, measure in rows
        for layers in LAYERS
    ]
    return listed("richness-08", "catapults of lazy networks, squared error", parts)


def _drop(name: str, layers: int, level: float = 0.95) -> Measure:
    return with_axis(fitted("first_drop", name, layers, level=level, baseline_name="start"))


def _clock() -> Statement:
    """Claim 9. Until the first drop there is one clock; its limit is judged as the line at L = 2 is."""
    rows = (
        (4, CENTRED, "relative spread of τ", Tolerance("below", 0.05), "tau_spread"),
        (4, ONE_HOT, "relative spread of τ", Tolerance("below", 0.15), "tau_spread"),
        (3, ONE_HOT, "relative spread of τ", Tolerance("below", 0.35), "tau_spread"),
        (3, None, "share of the variance of τ that a limit less γ^-(1/3) explains", LINEAR, "limit_explained"),
        (4, None, "share of the variance of τ that a limit less γ^-(1/2) explains", LINEAR, "limit_explained"),
        (2, None, "share of the variance of τ that ln γ explains", LINEAR, "logarithmic_explained"),
        *(
            (layers, None, "largest over smallest time at one learning rate", Tolerance("above", 4), "flow_ratio")
            for layers in LAYERS
        ),
    )
    parts = [
        Claim(
            name="",
            source="simulation" if name == "tau_spread" else f"{PAPER}, text",
            quantity=f"{quantity}, L = {layers}{f', {targets} targets' if targets else ''}",
            expected=math.nan,
            tolerance=tolerance,
            needs=on_mixture(layers=(layers,), targets=targets, spans=DECADES, fits=("first_drop",)),
            measure=_drop(name, layers),
        )
        for layers, targets, quantity, tolerance, name in rows
    ]
    return listed("richness-09", "first drop of the loss at one τ = ηt/γ, richness 10^2 to 10^3.5", parts)


def _plateau() -> Statement:
    """Claim 10. Powers 1 - 2/L, less at most 0.1 where γ is finite; the drop is that to three quarters."""
    rows = (
        (2, "share of the variance that ln γ explains", LINEAR, "logarithmic_explained"),
        (3, "power of the richness", Tolerance("range", 0.23, 0.34), "steps_exponent"),
        (4, "power of the richness", Tolerance("range", 0.38, 0.51), "steps_exponent"),
    )
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, text",
            quantity=f"{quantity}, L = {layers}",
            expected=math.nan,
            tolerance=tolerance,
            needs=on_mixture(
                layers=(layers,),
                targets=ONE_HOT,
                equal="reduced_learning_rate",
                spans=DECADES,
                fits=("first_drop",),
            ),
            measure=fitted("first_drop", name, layers, level=0.75, baseline_name="start"),
        )
        for layers, quantity, tolerance, name in rows
    ]
    return listed("richness-10", "steps until the loss drops where η goes as γ^(2/L)", parts)


def _stairs() -> Statement:
    """Claim 14. The levels have two decimals, so that half of the last one is their width."""
    rows = (
        (
            "least mean number over the richness",
            math.nan,
            Tolerance("above", 2),
            lambda layers: along_richness("plateaus", "stair_mean_count", layers, np.min, least=STAIRS),
        ),
        (
            "loss on the first",
            0.10,
            Tolerance("absolute", 0.005),
            lambda layers: stair_level(layers, STAIRS, last=False),
        ),
        ("loss on the last", 0.09, Tolerance("absolute", 0.005), lambda layers: stair_level(layers, STAIRS, last=True)),
    )
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Figs. 2a, 4b" if math.isnan(expected) else "simulation",
            quantity=f"{quantity}, L = {layers}",
            expected=expected,
            tolerance=tolerance,
            needs=on_mixture(layers=(layers,), targets=ONE_HOT, spans={"richness": (1e2, 1e3)}, fits=("plateaus",)),
            measure=measure(layers),
        )
        for quantity, expected, tolerance, measure in rows
        for layers in LAYERS[1:]
    ]
    return listed("richness-14", "stairs before the loss drops, richness 100 and more", parts)


def _loss_powers() -> Statement:
    """Claim 20. The paper gives no exponents."""
    return single(
        Claim(
            name="richness-20",
            source=f"{PAPER}, Fig. 2a",
            quantity="power of the steps in the loss, rich less lazy networks",
            expected=math.nan,
            tolerance=Tolerance("below", 0),
            needs=Needs(),
            measure=unreachable(
                "needs loss curves of a million samples and more, hours of a GPU, and a fit of their powers"
            ),
        )
    )
