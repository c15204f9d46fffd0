"""What arXiv 2107.09437 says (L. Zhang, L. Feng, K. Chen, C. H. Lai, 2021): training walks to the edge of chaos.

Expected values and tolerances stand as they were written down before the runs. "Released slopes" are numbers stored in
the authors' program; "simulation" as a source is an independent one of the same network, of a single seed, where
neither the figures nor the program give a number. Here the growth of J², its scaling, and the optimum: claims 1 to 14
of the study. Weight decay stands in `zhang2021decay`, theory and random matrices in `zhang2021map`, what the paper did
not test in `zhang2021beyond`; claim 20 is its predecessor's, claim 21 its follow-up's.
"""

import math
from dataclasses import replace

from sgdphases.claims import chaos_readings as readings
from sgdphases.claims import zhang2021beyond, zhang2021decay, zhang2021map
from sgdphases.claims.chaos_readings import BASE, FIXED_BATCH, FIXED_TEMPERATURE, on_fashion
from sgdphases.claims.claim import Claim, Statement, Tolerance, listed, single
from sgdphases.claims.network import Point
from sgdphases.claims.readings import fitted

PAPER = "arXiv 2107.09437"
WINDOW = 3750.0
"""Flow time of the growth window, 50 epochs of the base run."""
WHOLE_RUN = 500
"""Epochs of the base run."""

WHOLE, COLD = (
    "over the whole grid",
    "where learning_rate/((1 - momentum) batch_size) is at most 0.1/32, as in the paper's sweeps",
)
RATES, MOMENTA, SIZES = (0.01, 0.02, 0.05, 0.1), (0.5, 0.8, 0.9), (16, 32, 64, 128)
"""Values that an exponent must rest on at least; the published sweeps hold them."""
SWEPT = ("learning_rate", "momentum", "batch_size")

NO_EDGE = "the squared disorder does not come to 1 in every replica"


def statements() -> list[Statement]:
    """All claims of the paper that the study follows, and what it asks beyond them."""
    return [
        _start(),
        _slope(),
        _edge_epoch(),
        *_exponents(),
        _constant(),
        *_collapse(),
        _path(),
        _optimum(),
        _levels(),
        _far(),
        *zhang2021decay.statements(),
        *zhang2021map.statements(),
        *zhang2021beyond.statements(),
    ]


def _start() -> Statement:
    """Claim 1. Tolerances are three standard deviations of one matrix."""
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, released program",
            quantity=quantity,
            expected=expected,
            tolerance=Tolerance("absolute", width),
            needs=on_fashion(spans={"init_scale": (0.5,)}, variables=(variable,)),
            measure=readings.at_start(variable, power=power),
        )
        for quantity, variable, power, expected, width in (
            ("J²", "coupling", 2, 0.25, 0.0014),
            ("J0", "mean_coupling", 1, 0.0, 0.054),
        )
    ]
    return listed("chaos-01", "before training", parts)


def _slope() -> Statement:
    """Claim 2. The window matters: J² grows twice as fast in the first epoch and bends upwards later."""
    parts = [
        Claim(
            name="",
            source=source,
            quantity=quantity,
            expected=expected,
            tolerance=tolerance,
            needs=on_fashion(point=BASE, least_flow_time=WINDOW, fits=("weight_growth",)),
            measure=measure,
        )
        for source, quantity, expected, tolerance, measure in (
            (
                f"{PAPER}, Fig. 3a",
                "growth in an epoch",
                0.0138,
                Tolerance("relative", 0.03),
                readings.with_early_constant(fitted("weight_growth", "slope_per_epoch", point=BASE), BASE),
            ),
            (
                "simulation",
                "height of the line at the start",
                0.252,
                Tolerance("absolute", 0.01),
                fitted("weight_growth", "intercept", point=BASE),
            ),
            (
                "simulation",
                "largest distance from the line",
                math.nan,
                Tolerance("below", 0.02),
                fitted("weight_growth", "largest_residual", point=BASE),
            ),
        )
    ]
    return listed("chaos-02", "linear growth of J² in the base run, epochs 0 to 48", parts)


def _edge_epoch() -> Statement:
    return single(
        Claim(
            name="chaos-03",
            source=f"{PAPER}, Fig. 3a",
            quantity="first epoch of the base run with J² ≥ 1",
            expected=54.0,
            tolerance=Tolerance("absolute", 4),
            needs=on_fashion(point=BASE, least_epochs=60, fits=("weight_growth",)),
            measure=fitted("weight_growth", "edge_epoch", absent=NO_EDGE, point=BASE),
        )
    )


def _exponent(source: str, quantity: str, variable: str, spans: dict[str, tuple[float, ...]], *, suffix: str) -> Claim:
    return Claim(
        name="",
        source=source,
        quantity=quantity,
        expected=1.0,
        tolerance=Tolerance("absolute", 0.02),
        needs=on_fashion(spans=spans, least_flow_time=WINDOW, fits=("growth_exponents",)),
        measure=fitted("growth_exponents", f"{variable}_exponent{suffix}"),
    )


def _exponents() -> list[Statement]:
    """Claims 4 to 6: Figures 3b to 3d."""
    quantity = "exponent of the growth in an epoch in"
    rates, momenta, sizes = {"learning_rate": RATES}, {"momentum": MOMENTA}, {"batch_size": SIZES}
    rate, momentum, size = (
        [
            _exponent(f"{PAPER}, Fig. 3{panel}", what, variable, spans, suffix=suffix)
            for what, suffix in ((whole, ""), (COLD, "_cold"))
        ]
        for panel, whole, variable, spans in (
            ("b", WHOLE, "learning_rate", rates),
            ("c", "momentum up to 0.9", "momentum", momenta),
            ("d", WHOLE, "batch_size", sizes),
        )
    )
    strongest = BASE | {"learning_rate": 0.01, "momentum": 0.95}
    exponent, constant = (
        fitted("growth_exponents", "momentum_exponent_all"),
        fitted("weight_growth", "growth_constant", point=strongest),
    )
    beyond = [
        Claim(
            name="",
            source=f"{PAPER}, released slopes",
            quantity=words,
            expected=expected,
            tolerance=Tolerance("absolute", width),
            needs=on_fashion(extends={"momentum": (0.95,)}, least_flow_time=WINDOW, fits=(fit,)),
            measure=measure,
        )
        for words, expected, width, fit, measure in (
            ("momentum up to 0.95", 1.03, 0.03, "growth_exponents", exponent),
            ("k at momentum 0.95", 12.2, 0.4, "weight_growth", constant),
        )
    ]
    return [
        listed("chaos-04", f"{quantity} the learning rate", rate),
        listed("chaos-05", f"{quantity} 1/(1 - momentum)", [momentum[0], *beyond, momentum[1]]),
        listed("chaos-06", f"{quantity} 1/(batch size)", size),
    ]


def _constant() -> Statement:
    """Claim 7: the mean over all networks up to momentum 0.9."""
    needs = on_fashion(
        spans={"learning_rate": RATES, "momentum": MOMENTA, "batch_size": SIZES},
        least_flow_time=WINDOW,
        fits=("growth_exponents",),
    )
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, released slopes",
            quantity=what,
            expected=11.0,
            tolerance=Tolerance("absolute", 0.3),
            needs=needs,
            measure=readings.with_median(fitted("growth_exponents", f"growth_constant_mean{suffix}"), suffix),
        )
        for what, suffix in ((WHOLE, ""), (COLD, "_cold"))
    ]
    return listed("chaos-07", "k, growth per epoch times B(1 - momentum)/(learning rate), mean over the sweeps", parts)


def _collapse() -> list[Statement]:
    """Claims 8 to 10: Figures 4 and 5, each judged on its own five networks."""
    one_curve, equal = Tolerance("below", 0.03), "largest difference of the least test losses"
    temperature = [
        _of_family(FIXED_TEMPERATURE, "4", "spread of J² up to J² = 1", one_curve, 4500),
        _of_family(FIXED_TEMPERATURE, "4", equal, Tolerance("below", 0.01), 4500),
    ]
    batch = [
        # The authors' inset ends a little after the edge, at tau = 0.068.
        _of_family(FIXED_BATCH, "5a", "spread of J² up to J² = 1", one_curve, 0.068 * 60000),
        _of_family(FIXED_BATCH, "5a", "spread of J² from J² = 1.5 on", Tolerance("above", 0.05), 0.12 * 60000),
    ]
    minima = _of_family(FIXED_BATCH, "5b", equal, Tolerance("below", 0.015), 4500)
    quantity = f"{minima.quantity}, all learning rates and momenta"
    return [
        listed("chaos-08", "one curve for all networks with the same learning rate over batch size", temperature),
        listed("chaos-09", "one curve for all learning rates and momenta in the ordered phase, several beyond", batch),
        single(replace(minima, name="chaos-10", quantity=quantity)),
    ]


def _of_family(points: tuple[Point, ...], figure: str, quantity: str, tolerance: Tolerance, least: float) -> Claim:
    """A claim about the five networks of a figure."""
    loss = "test losses" in quantity
    measure = (
        readings.least_loss_spread(points) if loss else readings.spread(points, beyond_edge=tolerance.kind == "above")
    )
    return Claim(
        name="",
        source=f"{PAPER}, Fig. {figure}",
        quantity=quantity,
        expected=math.nan,
        tolerance=tolerance,
        needs=on_fashion(
            spans={word: tuple(sorted({point[word] for point in points})) for word in SWEPT},
            least_flow_time=least,
            variables=("test_loss",) if loss else ("coupling",),
            fits=("collapse",) if loss else (),
        ),
        measure=measure,
    )


def _path() -> Statement:
    """Claim 11: the way through the diagram is vertical."""
    parts = [
        Claim(
            name="",
            source=source,
            quantity=f"{epochs} epochs",
            expected=math.nan,
            tolerance=Tolerance("below", 0.15),
            needs=on_fashion(point=BASE, least_epochs=epochs, variables=("mean_coupling",)),
            measure=readings.largest_size("mean_coupling", BASE, epochs=epochs),
        )
        for source, epochs in (("simulation", 100), (f"{PAPER}, Fig. 2a", WHOLE_RUN))
    ]
    return listed("chaos-11", "largest |J0| in the base run", parts)


def _optimum() -> Statement:
    """Claim 12. The minimum is flat and single epochs scatter by a part of its depth: ten replicas."""
    return single(
        Claim(
            name="chaos-12",
            source=f"{PAPER}, Fig. 2",
            quantity="J² where the test loss of the base run is least",
            expected=math.nan,
            tolerance=Tolerance("range", 0.6, 1.2),
            needs=on_fashion(point=BASE, least_epochs=100, least_replicas=10, fits=("optimum",)),
            measure=readings.optimum_place(BASE),
        )
    )


def _levels() -> Statement:
    """Claim 13. For the two training accuracies only the values are given; 0.01 is their last digit's worth."""
    hundred = {"point": BASE, "least_epochs": 100}
    loss, edge, largest = (
        fitted("optimum", name, point=BASE)
        for name in ("optimum_test_loss", "edge_test_accuracy", "largest_test_accuracy")
    )
    largest = readings.with_single_records(largest, "test_accuracy", BASE)
    rows = (
        ("least test loss (smoothed)", Tolerance("range", 0.335, 0.35), loss),
        ("test accuracy at J² = 1", Tolerance("range", 0.88, 0.89), edge),
        ("largest test accuracy (smoothed)", Tolerance("range", 0.89, 0.90), largest),
    )
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Figs. 2b, 2c",
            quantity=quantity,
            expected=math.nan,
            tolerance=tolerance,
            needs=on_fashion(**hundred, fits=("optimum",)),
            measure=measure,
        )
        for quantity, tolerance, measure in rows
    ]
    parts += [
        Claim(
            name="",
            source="simulation",
            quantity=f"training accuracy during epoch {epoch}",
            expected=expected,
            tolerance=Tolerance("absolute", 0.01),
            needs=on_fashion(**hundred, variables=("epoch_train_accuracy",)),
            measure=readings.recorded("epoch_train_accuracy", BASE, epoch=epoch),
        )
        for epoch, expected in ((50, 0.93), (90, 0.962))
    ]
    late = Claim(
        name="",
        source=f"{PAPER}, Fig. 2b, axis limits",
        quantity=f"test loss after {WHOLE_RUN} epochs",
        expected=math.nan,
        tolerance=Tolerance("range", 0.7, 0.8),
        needs=on_fashion(point=BASE, least_epochs=WHOLE_RUN, variables=("test_loss",)),
        measure=readings.recorded("test_loss", BASE, epoch=WHOLE_RUN),
    )
    return listed("chaos-13", "losses and accuracies of the base run", [*parts, late])


def _far() -> Statement:
    return single(
        Claim(
            name="chaos-14",
            source=f"{PAPER}, Figs. 5a, 6a, axis ticks",
            quantity=f"J² of the base run after {WHOLE_RUN} epochs",
            expected=math.nan,
            tolerance=Tolerance("range", 3.3, 4.5),
            needs=on_fashion(point=BASE, least_epochs=WHOLE_RUN, variables=("coupling",)),
            measure=readings.recorded("coupling", BASE, power=2, epoch=WHOLE_RUN),
        )
    )
