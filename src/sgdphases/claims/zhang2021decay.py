"""Claims of arXiv 2107.09437 about weight decay: where J² comes to rest, and the guideline for the edge.

λ is the paper's strength of the penalty, the coordinate `l2_strength`, half of `weight_decay`. Figures are of the base
run; the simulations behind single numbers have learning rate 0.05, up to the same flow time.
"""

import math

from sgdphases.claims import chaos_readings as readings
from sgdphases.claims.chaos_readings import BASE, on_fashion
from sgdphases.claims.claim import Claim, Needs, Statement, Tolerance, listed
from sgdphases.claims.network import Point
from sgdphases.claims.readings import Measure, difference, fitted

PAPER = "arXiv 2107.09437"
WHOLE_RUN = 37500.0
"""Flow time of 500 epochs of the base run, 0.625 of 60000 samples."""
EPOCH_TIME = 0.625
EDGE, STRONG, GUIDELINE = 9e-5, 5e-4, 4.6e-5
"""λ that the figures say to end at J = 1, the largest that they show, and the one of the formula."""


def with_strength(strength: float) -> Point:
    """The base run under a weight decay, at the learning rate of the figures or of the simulations."""
    return BASE | {"learning_rate": (0.02, 0.05), "weight_decay": 2 * strength}


def statements() -> list[Statement]:
    """Claims 15 to 17, and 26, the law of the resting state."""
    return [_levels(), _accuracy(), _guideline(), _law()]


def _levels() -> Statement:
    falling = Claim(
        name="",
        source=f"{PAPER}, Fig. 6a",
        quantity="largest ratio of neighbours, by rising λ",
        expected=math.nan,
        tolerance=Tolerance("below", 1),
        needs=on_fashion(
            spans={"weight_decay": (0.0, 2 * EDGE, 2 * STRONG)}, least_flow_time=WHOLE_RUN, fits=("decay",)
        ),
        measure=readings.largest_ratio("decay", "end_squared_coupling", "weight_decay"),
    )
    rows = (
        (f"{PAPER}, Fig. 6a", EDGE, 1.0, Tolerance("absolute", 0.1), "spans"),
        ("simulation", STRONG, 0.157, Tolerance("absolute", 0.01), "spans"),
        ("simulation, extrapolated", GUIDELINE, math.nan, Tolerance("range", 1.6, 1.9), "extends"),
    )
    parts = [
        Claim(
            name="",
            source=source,
            quantity=f"λ = {strength:g}",
            expected=expected,
            tolerance=tolerance,
            needs=on_fashion(
                **{grid: {"weight_decay": (2 * strength,)}}, least_flow_time=WHOLE_RUN, variables=("coupling",)
            ),
            measure=readings.recorded("coupling", with_strength(strength), power=2, epoch_time=EPOCH_TIME),
        )
        for source, strength, expected, tolerance, grid in rows
    ]
    return listed("chaos-15", f"J² at tau = {EPOCH_TIME:g} under weight decay", [falling, *parts])


def _accuracy() -> Statement:
    """Claim 16. The optimum and the gain need the authors' ten replicas, the levels are those of one run."""

    def needs(replicas: int, *strengths: float) -> Needs:
        return on_fashion(
            spans={"weight_decay": tuple(2 * strength for strength in strengths)},
            least_flow_time=WHOLE_RUN,
            least_replicas=replicas,
            variables=("test_accuracy",),
            fits=("decay",),
        )

    def accuracy(strength: float) -> Measure:
        return fitted("decay", "end_test_accuracy", point=with_strength(strength))

    rows = (
        # The published strengths inside are 5e-5, 9e-5 and 1.5e-4, and the formula's 4.6e-5 stands for the first.
        (
            f"{PAPER}, Fig. 6b",
            "λ of the largest",
            Tolerance("range", 4.5e-5, 1.6e-4),
            needs(10, 0.0, EDGE, STRONG),
            fitted("decay", "best_l2"),
        ),
        ("simulation", f"λ = {EDGE:g}", Tolerance("range", 0.884, 0.889), needs(1, EDGE), accuracy(EDGE)),
        ("simulation", f"λ = {STRONG:g}", Tolerance("range", 0.861, 0.867), needs(1, STRONG), accuracy(STRONG)),
        (
            f"{PAPER}, Fig. 6b",
            f"λ = {EDGE:g} less λ = 0",
            Tolerance("above", 0),
            needs(10, 0.0, EDGE),
            difference(accuracy(EDGE), accuracy(0.0)),
        ),
    )
    parts = [
        Claim("", source, quantity, math.nan, tolerance, conditions, measure)
        for source, quantity, tolerance, conditions, measure in rows
    ]
    return listed("chaos-16", "final test accuracy under weight decay", parts)


def _guideline() -> Statement:
    spans = {"weight_decay": (0.0, 2 * EDGE)}
    formula = Claim(
        name="",
        source=f"{PAPER}, Eqs. 8, 9",
        quantity="λ of the formula, k/(4S)",
        expected=4.6e-5,
        tolerance=Tolerance("relative", 0.03),
        needs=on_fashion(spans=spans, least_flow_time=3750, fits=("decay",)),
        measure=fitted("decay", "l2_formula"),
    )
    ratio = Claim(
        name="",
        source="simulation",
        quantity="λ that ends at J = 1 over λ of the formula",
        expected=2.0,
        tolerance=Tolerance("absolute", 0.4),
        needs=on_fashion(spans=spans, least_flow_time=WHOLE_RUN, fits=("decay",)),
        measure=fitted("decay", "l2_ratio"),
    )
    return listed("chaos-17", "guideline for the edge", [formula, ratio])


def _law() -> Statement:
    """Claim 26. "(8-9)e-5" is one digit: the runs behind it have 7.9e-5 and 8.75e-5."""
    parts = [
        Claim(
            name="",
            source="simulation",
            quantity=f"λ = {strength:g}",
            expected=math.nan,
            tolerance=Tolerance("range", 7.5e-5, 9.5e-5),
            needs=on_fashion(**{grid: {"weight_decay": (2 * strength,)}}, least_flow_time=WHOLE_RUN, fits=("decay",)),
            measure=readings.at_rest(
                fitted("decay", "l2_times_squared_coupling", point=with_strength(strength)), with_strength(strength)
            ),
        )
        for strength, grid in (
            (EDGE, "spans"),
            (1.5e-4, "spans"),
            (STRONG, "spans"),
            (3e-4, "extends"),
            (1e-3, "extends"),
        )
    ]
    return listed("chaos-26", "λJ² at rest", parts)
