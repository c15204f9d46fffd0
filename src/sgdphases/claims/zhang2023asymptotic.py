"""What the follow-up says (L. Zhang, L. Feng, K. Chen, C. H. Lai, DOI 10.1142/s2972335323500011): shuffled labels.

A network that weight decay holds at the edge of chaos fits the clean labels and avoids the shuffled ones. Only its
abstract was at hand: the shares of shuffled labels are the study's, and the bounds say in numbers what the words mean
(chance is 0.1 of ten classes, give or take 0.05; the training accuracy of the base run is 0.85 before it has learned
much). Claim 21 of the chaos study.
"""

import math

from sgdphases.claims.chaos_readings import on_fashion, recorded
from sgdphases.claims.claim import Claim, Statement, Tolerance, listed
from sgdphases.claims.network import Point
from sgdphases.claims.readings import Measure, difference
from sgdphases.claims.zhang2021decay import EDGE, EPOCH_TIME, WHOLE_RUN, with_strength

PAPER = "DOI 10.1142/s2972335323500011"
NOISE = (0.2, 0.4)


def statements() -> list[Statement]:
    """Claim 21 of the study."""
    parts = []
    for noise in NOISE:
        held, free = (with_strength(strength) | {"label_noise": noise} for strength in (EDGE, 0.0))
        rows = (
            ("training accuracy on shuffled labels", "shuffled_train_accuracy", 0.1, Tolerance("absolute", 0.05), None),
            ("training accuracy on clean labels", "clean_train_accuracy", math.nan, Tolerance("above", 0.85), None),
            ("test accuracy less that without decay", "test_accuracy", math.nan, Tolerance("above", 0), free),
        )
        parts += [
            Claim(
                name="",
                source=f"{PAPER}, abstract",
                quantity=f"{quantity}, {noise:g} of the labels shuffled",
                expected=expected,
                tolerance=tolerance,
                needs=on_fashion(
                    point=held,
                    least_flow_time=WHOLE_RUN,
                    least_replicas=3,
                    spans={"weight_decay": (0.0,)},
                    variables=(variable,),
                ),
                measure=_measure(variable, held, free=other),
            )
            for quantity, variable, expected, tolerance, other in rows
        ]
    return [listed("chaos-21", "a network held at the edge of chaos", parts)]


def _measure(variable: str, held: Point, *, free: Point | None) -> Measure:
    value = recorded(variable, held, epoch_time=EPOCH_TIME)
    return value if free is None else difference(value, recorded(variable, free, epoch_time=EPOCH_TIME))
