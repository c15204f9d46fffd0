"""Claims of arXiv 2410.04642 about learning rates: which are largest, best and least at each richness γ.

As the toy has it: the largest and the best go as γ² where networks are lazy and as γ^{2/L} where they are rich, the
least as γ²/T and γ/T. The paper states powers and fits none; "simulation" as a source is an independent one of small
networks, two seeds, T = 400 steps. Claims 1 to 7 of the study.
"""

import math
from functools import partial

import numpy as np

from sgdphases.claims.claim import Claim, Statement, Tolerance, listed
from sgdphases.claims.readings import Measure, difference
from sgdphases.claims.richness_conditions import ENTROPY, LAYERS, LAZY, PAPER, REPLICAS, RICH, OnStrips
from sgdphases.claims.richness_readings import (
    along_richness,
    fitted,
    in_errors,
    surest,
    with_hole,
    with_others,
)

EXPONENTS = "richness_exponents"
STEPS = 400
"""Schedule of the simulation."""

BIAS = {2: 0.0, 3: 0.07, 4: 0.18}
"""By how much few steps may raise the powers in the best learning rate."""

ENTROPY_LAYERS, ENTROPY_STEPS = 3, 300

on_strips = partial(OnStrips, least_steps=STEPS, least_replicas=REPLICAS, fits=(EXPONENTS,))


def statements() -> list[Statement]:
    """Claims 1 to 7."""
    return [_lazy(), _rich(), _depth(), _best(), _least(), _closing(), _entropy()]


def expected_power(regime: str, layers: int) -> float:
    """Power of γ in the largest learning rate."""
    return 2.0 if regime == "lazy" else 2 / layers


def grid(regime: str) -> dict[str, tuple[float, ...]]:
    """Values of the richness that a power must rest on."""
    return {"richness": LAZY if regime == "lazy" else RICH}


def largest(regime: str, layers: int, criterion: str = "trained", **loss: str) -> Measure:
    """Reading of the power of γ in the largest learning rate.

    Args:
        regime: lazy or rich.
        layers: Number of layers.
        criterion: Word of `ensemble.status.CRITERIA` that networks meet up to it.
        **loss: Word of the loss, if another than the squared error.

    Returns:
        The reading.
    """
    return fitted(EXPONENTS, "largest_exponent", layers, regime_name=regime, criterion_name=criterion, **loss)


def _powers(name: str, source: str, regime: str, width: float) -> Statement:
    """Claims 1 and 2. Judged where networks train; how far they are finite, or calm, is remarked."""
    parts = [
        Claim(
            name="",
            source=source,
            quantity=f"L = {layers}",
            expected=expected_power(regime, layers),
            tolerance=Tolerance("absolute", width),
            needs=on_strips(layers=(layers,), spans=grid(regime)),
            measure=with_others(
                largest(regime, layers),
                finite=largest(regime, layers, "finite"),
                calm=largest(regime, layers, "calm"),
            ),
        )
        for layers in LAYERS
    ]
    return listed(name, f"power of the richness in the largest learning rate that trains {regime} networks", parts)


def _lazy() -> Statement:
    return _powers("richness-01", f"{PAPER}, abstract, Fig. 1c", "lazy", 0.10)


def _rich() -> Statement:
    """Claim 2. The toy's exact formula has 1.011, 0.681 and 0.517 from γ = 10 to 10^4."""
    return _powers("richness-02", f"{PAPER}, abstract, Fig. 1c", "rich", 0.08)


def _depth() -> Statement:
    """Claim 3: the power falls with the depth, and is 2/L within two of its own errors."""
    needs = on_strips(layers=LAYERS, spans=grid("rich"))
    falling = [
        Claim(
            name="",
            source=f"{PAPER}, abstract",
            quantity=f"that of L = {one} less that of L = {other}",
            expected=math.nan,
            tolerance=Tolerance("above", 0),
            needs=needs,
            measure=difference(largest("rich", one), largest("rich", other)),
        )
        for one, other in ((2, 3), (3, 4))
    ]
    within = [
        Claim(
            name="",
            source=f"{PAPER}, abstract",
            quantity=f"distance from 2/L in standard errors, L = {layers}",
            expected=0.0,
            tolerance=Tolerance("absolute", 2),
            needs=needs,
            measure=in_errors(largest("rich", layers), 2 / layers),
        )
        for layers in LAYERS
    ]
    return listed("richness-03", "the power of rich networks falls with the depth", [*falling, *within])


def _best() -> Statement:
    """Claim 4. Within 0.05, and few steps raise the power: by 0.07 at L = 3, by 0.18 at L = 4."""
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, abstract",
            quantity=f"{regime}, L = {layers}",
            expected=expected_power(regime, layers),
            tolerance=Tolerance("offset", -0.05, 0.05 + BIAS[layers]),
            needs=on_strips(layers=(layers,), spans=grid(regime)),
            measure=fitted(EXPONENTS, "best_exponent", layers, regime_name=regime),
        )
        for regime in ("lazy", "rich")
        for layers in LAYERS
    ]
    return listed("richness-04", "power of the richness in the best learning rate", parts)


def _least() -> Statement:
    """Claim 5. Edges from below are known to a cell of the lattice: η_min T is judged by its median over richness."""
    powers = [
        Claim(
            name="",
            source=f"{PAPER}, Fig. 1, Table 1",
            quantity=f"power of the richness, {regime}, L = {layers}",
            expected=expected,
            tolerance=Tolerance("absolute", 0.15),
            needs=on_strips(layers=(layers,), spans=grid(regime)),
            measure=fitted(EXPONENTS, "smallest_exponent", layers, regime_name=regime),
        )
        for regime, expected in (("lazy", 2.0), ("rich", 1.0))
        for layers in LAYERS
    ]
    constant = [
        Claim(
            name="",
            source=f"{PAPER}, Fig. 1, Table 1",
            quantity=f"largest over smallest η_min T in the last decade of T, median over richness, L = {layers}",
            expected=math.nan,
            tolerance=Tolerance("below", 2),
            needs=on_strips(layers=(layers,), spans=grid("lazy") | grid("rich")),
            measure=along_richness(EXPONENTS, "budget_spread", layers, np.median),
        )
        for layers in LAYERS
    ]
    return listed("richness-05", "least learning rate that trains in T steps", [*powers, *constant])


def _closing() -> Statement:
    """Claim 6. Four times the steps, about 16 times the richness: a factor of two in that is 0.5 in the power."""
    # The strip is seen to close, or its ends' lines cross: what is better known counts.
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Fig. 1",
            quantity=f"L = {layers}",
            expected=layers / (layers - 2),
            tolerance=Tolerance("absolute", 0.5),
            needs=on_strips(layers=(layers,), spans=grid("rich")),
            measure=surest(
                seen=fitted(EXPONENTS, "closing_seen_exponent", layers),
                crossing=fitted(EXPONENTS, "closing_crossing_exponent", layers),
            ),
        )
        for layers in LAYERS[1:]
    ]
    return listed("richness-06", "power of the steps in the richness beyond which nothing trains", parts)


def _entropy() -> Statement:
    """Claim 7. The slope of the loss is bounded: nothing diverges up to η ∼ γ, beyond γ² it catapults."""
    rows = (
        ("largest finite", "finite", 1.0, 0.1),
        ("largest without a catapult", "calm", 2.0, 0.2),
    )
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Fig. 1d, Table 1",
            quantity=quantity,
            expected=expected,
            tolerance=Tolerance("absolute", width),
            needs=OnStrips(
                loss=ENTROPY,
                layers=(ENTROPY_LAYERS,),
                spans=grid("lazy"),
                least_steps=ENTROPY_STEPS,
                least_replicas=REPLICAS,
                fits=(EXPONENTS,),
            ),
            measure=with_hole(largest("lazy", ENTROPY_LAYERS, criterion, loss=ENTROPY)),
        )
        for quantity, criterion, expected, width in rows
    ]
    return listed("richness-07", "power of the richness in learning rates of lazy networks under cross-entropy", parts)
