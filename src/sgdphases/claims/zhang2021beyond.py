"""What the study asks beyond arXiv 2107.09437: the dynamics of trained weights, the balance, other starts and data.

"Simulation" as a source is an independent one of a single seed; "prediction" is what the paper's guideline says of runs
that it did not make. Rows 22 to 25 and 30 to 37 of the study.
"""

import math
from dataclasses import replace

from sgdphases.claims import chaos_readings as readings
from sgdphases.claims.chaos_readings import BASE, on_fashion
from sgdphases.claims.claim import Claim, Needs, Statement, Tolerance, listed, single
from sgdphases.claims.network import Point
from sgdphases.claims.readings import difference, fitted
from sgdphases.claims.zhang2021decay import EDGE, STRONG, WHOLE_RUN, with_strength

WINDOW = 3750.0
TRAINED, SHUFFLED = {"control_name": "trained"}, {"control_name": "shuffled"}
AT_ONE = Tolerance("range", 0.6, 1.2)
"""J² at which claim 12 expects the least test loss."""

GOLDEN = {1: 0.278, 5: 0.330, 10: 0.392, 20: 0.520, 30: 0.657, 40: 0.804, 50: 0.958, 60: 1.119, 80: 1.458, 100: 1.799}
"""J² of the base run by epoch."""

FAST = BASE | {"learning_rate": 0.05}
"""The base run at the learning rate of runs that change something else."""


def statements() -> list[Statement]:
    """All of them."""
    return [
        _finding(),
        *_balances(),
        _radius(),
        _sustained(),
        _on_digits(),
        _starts(),
        _sizes(),
        _paired(),
        _held_out(),
        _golden(),
    ]


def _finding() -> Statement:
    """The finding: past J = 1 trained weights are not chaotic, and shuffled ones follow the Gaussian diagram."""
    parts = [
        Claim(
            name="",
            source="simulation",
            quantity=f"{quantity}, epoch {epoch}",
            expected=expected,
            tolerance=tolerance,
            needs=on_fashion(point=BASE, least_epochs=epoch, least_replicas=5, fits=("edges",)),
            measure=measure(epoch, BASE),
        )
        for epoch in (60, 80)
        for quantity, expected, tolerance, measure in (
            ("share of replicas below minus two errors", math.nan, Tolerance("above", 0.8), readings.share_below_zero),
            ("shuffled less Gaussian weights", 0.0, Tolerance("absolute", 0.02), readings.shuffled_difference),
        )
    ]
    return listed("chaos-22", "Lyapunov exponent of trained weights past J = 1", parts)


def _balanced(source: str, rows: tuple[tuple[str, float, str, Point, float], ...], *variables: str) -> list[Claim]:
    """Claims on the fit balance: quantity, expected value, its name, the network and its least flow time."""
    return [
        Claim(
            name="",
            source=source,
            quantity=quantity,
            expected=expected,
            tolerance=Tolerance("absolute", 0.03),
            needs=on_fashion(point=point, least_flow_time=least, variables=variables, fits=("balance",)),
            measure=fitted("balance", name, point=point),
        )
        for quantity, expected, name, point, least in rows
    ]


def _balances() -> list[Statement]:
    """Rows 23, 36 and 37: the exact identity, with and without decay, and gradient flow, which has no diffusion."""
    growth, end = (
        "predicted over measured growth in the window, less 1",
        "predicted over measured J² at the end, less 1",
    )
    plain = (
        (growth, 0.0, "window_relative_error", BASE, WINDOW),
        ("the same between records, largest", 0.0, "largest_relative_error", BASE, WINDOW),
        (end, 0.0, "end_relative_error", BASE, WINDOW),
    )
    edge, strong = with_strength(EDGE), with_strength(STRONG)
    decaying = (
        (f"{end}: λ = {EDGE:g}", 0.0, "end_relative_error", edge, WHOLE_RUN),
        (f"{end}: λ = {STRONG:g}", 0.0, "end_relative_error", strong, WHOLE_RUN),
        (f"gain over decay in the last fifth: λ = {STRONG:g}", 1.0, "end_ratio", strong, WHOLE_RUN),
    )
    work = ((growth, 0.0, "work_relative_error", BASE, WINDOW),)
    words = "J² by the work of the gradient and the diffusion of the weights"
    (alone,) = _balanced("prediction", work, "weight_work")
    alone = replace(alone, name="chaos-37", quantity=f"J² by the work of the gradient alone: {growth}")
    return [
        listed("chaos-23", words, _balanced("identity", plain, "weight_work", "weight_diffusion")),
        listed("chaos-36", f"{words}, less decay", _balanced("identity", decaying, "weight_work", "weight_diffusion")),
        single(alone),
    ]


def _radius() -> Statement:
    return single(
        Claim(
            name="chaos-24",
            source="simulation",
            quantity="J² where the spectral radius of trained weights passes 1",
            expected=1.0,
            tolerance=Tolerance("absolute", 0.1),
            needs=on_fashion(point=BASE, least_epochs=60, fits=("edges",)),
            measure=fitted("edges", "spectral_radius_edge", absent="it does not pass 1", point=BASE, **TRAINED),
        )
    )


def _sustained() -> Statement:
    """The shuffled exponent rises so flatly that its zero is known to a bracket of two records only."""
    rows = (
        ("trained weights", 1.7, Tolerance("absolute", 0.2), TRAINED),
        ("shuffled weights", math.nan, Tolerance("range", 0.95, 1.45), SHUFFLED),
    )
    parts = [
        Claim(
            name="",
            source="simulation",
            quantity=quantity,
            expected=expected,
            tolerance=tolerance,
            needs=on_fashion(point=BASE, least_epochs=100, fits=("edges",)),
            measure=fitted("edges", "lyapunov_edge", absent="no lasting rise through zero", point=BASE, **control),
        )
        for quantity, expected, tolerance, control in rows
    ]
    return listed("chaos-25", "J² from which on the Lyapunov exponent stays positive", parts)


def _on_digits() -> Statement:
    """The scaling of claims 4 to 6 and 9 on other data; the growth itself is not linear there."""
    exponent = Tolerance("absolute", 0.02)
    rows = (
        ("exponent in the learning rate", 1.0, exponent, "growth_exponents", "learning_rate_exponent"),
        ("exponent in 1/(1 - momentum)", 1.0, exponent, "growth_exponents", "momentum_exponent"),
        ("exponent in 1/(batch size)", 1.0, exponent, "growth_exponents", "batch_size_exponent"),
        ("spread of J² in the window", math.nan, Tolerance("below", 0.03), "collapse", "spread_window"),
    )
    parts = [
        Claim(
            name="",
            source="prediction",
            quantity=quantity,
            expected=expected,
            tolerance=tolerance,
            needs=Needs(dataset="digits", widths=(64, 64, 10), least_flow_time=20, fits=(fit,)),
            measure=readings.long_enough(fitted(fit, name)),
        )
        for quantity, expected, tolerance, fit, name in rows
    ]
    return listed("chaos-30", "growth of J² on digits depends on flow time alone", parts)


def _optimum(name: str, quantity: str, varied: dict[str, Point]) -> Statement:
    parts = [
        Claim(
            name="",
            source="prediction",
            quantity=words,
            expected=math.nan,
            tolerance=AT_ONE,
            needs=on_fashion(point=FAST | change, least_replicas=2, fits=("optimum",)),
            measure=readings.optimum_place(FAST | change),
        )
        for words, change in varied.items()
    ]
    return listed(name, quantity, parts)


def _starts() -> Statement:
    starts = {f"start at J = {scale:g}": {"init_scale": scale} for scale in (0.25, 0.5, 0.8, 1.1)}
    return _optimum("chaos-31", "J² where the test loss is least, by start", starts)


def _sizes() -> Statement:
    sizes = {f"{count} training images": {"samples": count} for count in (6000, 20000)}
    return _optimum("chaos-32", "J² where the test loss is least, by training images", sizes)


def _paired() -> Statement:
    """Undecided is an answer: the row is then not measured, and says so."""
    return single(
        Claim(
            name="chaos-33",
            source="prediction",
            quantity="test loss of the base run at J² = 0.8 less that at J² = 1, paired",
            expected=math.nan,
            tolerance=Tolerance("above", 0),
            needs=on_fashion(point=BASE, least_epochs=60, least_replicas=2, fits=("optimum",)),
            measure=readings.decided(BASE),
        )
    )


def _held_out() -> Statement:
    """The paper's optimum is chosen on the test set; 0.01 is its tolerance for equal least losses."""
    point = FAST | {"samples": 55000}
    needs = on_fashion(point=point, least_replicas=10, variables=("validation_loss",), fits=("optimum",))
    place = fitted("optimum", "validation_optimum_squared_coupling", point=point)
    losses = (fitted("optimum", name, point=point) for name in ("validation_optimum_test_loss", "optimum_test_loss"))
    parts = [
        Claim("", "prediction", "J² there", math.nan, AT_ONE, needs, place),
        Claim(
            name="",
            source="simulation",
            quantity="test loss there less the least one",
            expected=math.nan,
            tolerance=Tolerance("below", 0.01),
            needs=needs,
            measure=difference(*losses),
        ),
    ]
    return listed("chaos-34", "where the loss of held-out images is least", parts)


def _golden() -> Statement:
    parts = [
        Claim(
            name="",
            source="simulation",
            quantity=f"epoch {epoch}",
            expected=value,
            tolerance=Tolerance("relative", 0.02),
            needs=on_fashion(point=BASE, least_epochs=epoch, variables=("coupling",)),
            measure=readings.recorded("coupling", BASE, power=2, epoch=epoch),
        )
        for epoch, value in GOLDEN.items()
    ]
    return listed("chaos-35", "J² of the base run", parts)
