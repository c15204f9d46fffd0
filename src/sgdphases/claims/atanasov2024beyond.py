"""What the study asks beyond arXiv 2410.04642: transfer in width, a prediction without parameters, many passes.

"Prediction" as a source is what the parametrisation or the paper's reasoning says of runs that it did not make;
"simulation" an independent one of small networks on the Gaussian mixture. Claims 22 to 25 of the study.
"""

import math
from functools import partial

import numpy as np
import xarray as xr

from sgdphases.claims.atanasov2024rates import grid
from sgdphases.claims.claim import Claim, Fits, Measurement, NotReached, Statement, Tolerance, listed, single
from sgdphases.claims.readings import Measure
from sgdphases.claims.richness_conditions import LAYERS, LAZY_END, REPLICAS, OnStrips
from sgdphases.claims.richness_readings import Over, along_richness, chosen, variable

DATA = "gaussian_mixture"
DEPTH = 3
WIDTHS = (32.0, 64.0, 128.0, 256.0)
CELL = 0.25
"""Decades between learning rates."""

LONG = 1600
RICH_START = 10.0
POINT = 0.01
"""One per cent of accuracy."""

PASSES = 10
"""Passes over the samples from which on training is not online."""

on_passes = partial(OnStrips, dataset=DATA, layers=(DEPTH,), least_steps=LONG, fits=("learning_rate_edges",))


def statements() -> list[Statement]:
    """Claims 22 to 25."""
    return [_width(), _prediction(), _online(), _offline()]


def _width() -> Statement:
    """Claim 22. One cell of the grid is what the best learning rate is known to."""
    return single(
        Claim(
            name="richness-22",
            source="prediction",
            quantity="decades from the smallest to the largest best learning rate, widths 32 to 256, L = 3, richness 1",
            expected=math.nan,
            tolerance=Tolerance("below", CELL),
            needs=OnStrips(
                layers=(DEPTH,),
                spans={"width": WIDTHS},
                least_steps=400,
                least_replicas=REPLICAS,
                fits=("learning_rate_edges",),
            ),
            measure=_over_widths("log_best_rate", DEPTH, np.ptp),
        )
    )


def _prediction() -> Statement:
    """Claim 23. No parameter is fitted: the curvature is the best network's at its end. A factor of two is close."""

    def ratio(regime: str, layers: int) -> Measure:
        ends = {"most": LAZY_END} if regime == "lazy" else {"least": RICH_START}
        return along_richness(
            "richness_exponents", "predicted_ratio", layers, _geometric, criterion_name="trained", **ends
        )

    parts = [
        Claim(
            name="",
            source="prediction",
            quantity=f"{regime}, L = {layers}",
            expected=1.0,
            tolerance=Tolerance("factor", 2),
            needs=OnStrips(
                layers=(layers,),
                spans=grid(regime),
                least_steps=400,
                variables=("hessian_top",),
                fits=("richness_exponents",),
            ),
            measure=ratio(regime, layers),
        )
        for regime in ("lazy", "rich")
        for layers in LAYERS
    ]
    return listed("richness-23", "largest learning rate that trains over 2/(N λ) at the end", parts)


def _geometric(values: np.ndarray) -> float:
    return float(np.exp(np.log(values).mean()))


def _online() -> Statement:
    """Claim 24: claim 19 on networks that a CPU can train. Lazy is "clearly lower" by two points and more."""
    needs = on_passes(least_replicas=REPLICAS, most_epochs=1, spans={"richness": (1e-2, 1.0, 1e1, 1e2, 1e3)})
    rows = (
        ("least over richness 1 and more", Tolerance("above", -POINT), _accuracy_gain(DEPTH, np.min, least=1.0)),
        ("mean of lazy networks", Tolerance("below", -2 * POINT), _accuracy_gain(DEPTH, np.mean, most=LAZY_END)),
    )
    parts = [
        Claim("", "simulation", f"{quantity}, L = {DEPTH}", math.nan, tolerance, needs, measure)
        for quantity, tolerance, measure in rows
    ]
    return listed("richness-24", "best test accuracy in one pass, less that of richness 1", parts)


def _offline() -> Statement:
    """Claim 25. Offline studies see lazy networks win (Petrini et al. 2022, Sclocchi et al. 2023)."""
    return single(
        Claim(
            name="richness-25",
            source="prediction",
            quantity=f"best test accuracy in many passes, richness 10 and more less richness 1, L = {DEPTH}",
            expected=math.nan,
            tolerance=Tolerance("below", 0),
            needs=on_passes(least_replicas=REPLICAS, least_epochs=PASSES, spans={"richness": (1.0, 1e1, 1e2, 1e3)}),
            measure=_accuracy_gain(DEPTH, np.mean, least=RICH_START),
        )
    )


def _accuracy_gain(layers: int, over: Over, *, least: float = 0.0, most: float = math.inf) -> Measure:
    """Best test accuracy at some values of the richness, less that at richness 1, of networks that have learned."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        array, error = (
            variable(cube, fits, "learning_rate_edges", name, layers)
            for name in ("best_test_accuracy", "best_test_accuracy_error")
        )
        (one,), (own,) = (chosen(each, 1.0, 1.0) for each in (array, error))
        values, errors = (chosen(each, least, most) for each in (array, error))
        known = np.isfinite(values)
        if not known.any() or not math.isfinite(one):
            raise NotReached("needs networks that have learned at richness 1 and there")
        # The error of an extreme is that of one value.
        spread = math.sqrt(np.mean(errors[known] ** 2) / (known.sum() if over is np.mean else 1))
        words = f"{known.sum()} of {values.size} values of the richness have learned, {one:.3f} at richness 1"
        return Measurement(float(over(values[known])) - float(one), math.hypot(spread, float(own)), words)

    return measure


def _over_widths(name: str, layers: int, over: Over) -> Measure:
    """What an edge of the learning rates comes to over the width, for networks that have learned at every width."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        array = variable(cube, fits, "learning_rate_edges", name, layers)
        if array.dims != ("width",):
            raise NotReached(f"needs values over the width alone, has {', '.join(map(str, array.dims)) or 'one'}")
        if not np.isfinite(array.values).all():
            raise NotReached("needs networks of every width that have learned")
        error = variable(cube, fits, "learning_rate_edges", f"{name}_error", layers).values
        words = ", ".join(f"{value:.2f}" for value in array.values)
        return Measurement(float(over(array.values)), float(math.sqrt(2) * np.median(error)), f"decades {words}")

    return measure
