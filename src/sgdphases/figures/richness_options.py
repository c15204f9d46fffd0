"""What a card may say of the figures of the richness study. Light to import."""

from typing import Annotated, Literal

from pydantic import Field

from sgdphases.figures.option_parts import Limits, LogLimits, Placed, Step

Criterion = Literal["finite", "trained", "calm"]
"""What the largest learning rate is asked for."""


class RatePortrait(Placed):
    """Options of `rate_portrait`.

    Attributes:
        variable: The loss that is shown, over that of the best constant answer.
        steps: One panel each: "first", "last", or numbers of steps, for which the nearest recorded ones are taken.
        criteria: What the largest learning rate is asked for, one line each.
        theory: "fitted" draws powers of the richness with fitted prefactors, "toy" the toy model as it is.
        edges: Name of the fit with the edges of the learning rates that train.
        closing: Name of the fit with the richness where their strip closes, shown where it is there.
        limits: Least and largest value of the colours.
        palette: Name of a colour map.
    """

    variable: str = "test_loss"
    steps: Annotated[list[Step], Field(min_length=1)] = ["last"]
    criteria: list[Criterion] = ["trained"]
    theory: Literal["fitted", "toy", "none"] = "fitted"
    edges: str = "learning_rate_edges"
    closing: str = "richness_exponents"
    limits: LogLimits | None = None
    palette: str | None = None


class ClockCurves(Placed):
    """Options of `clock_curves`.

    Attributes:
        variables: One row of panels each, for every value of the axes that are left over; they change in time.
        clocks: One column each: `step`, `flow_time` (learning rate times steps), `early_time` (that over the
            richness), or `late_time` (learning rate times richness^(-2/L) times the steps since the first drop).
        series: Coordinate that tells lines apart.
        values: Values of `series` to draw; all if not given.
        rate: "best" takes at every richness the learning rate next to the best one.
        edges: Name of the fit with the best learning rates.
        drops: Name of the fit with the steps of the first drops.
        baseline: What the loss has dropped from, by a twentieth, when the late clock begins: its start, or the loss of
            the best constant answer, which lies behind the first stair where targets have a mean.
        smooth: Draw means over 8 updates of what every update has seen.
        linear: Variables whose axis is linear.
        limits: Variable to the ends of its axis.
        times: Clock to the ends of its axis.
    """

    variables: Annotated[list[str], Field(min_length=1)] = ["batch_loss"]
    clocks: Annotated[list[Literal["step", "flow_time", "early_time", "late_time"]], Field(min_length=1)] = ["step"]
    series: str = "richness"
    values: list[float] = []
    rate: Literal["best"] | None = None
    edges: str = "learning_rate_edges"
    drops: str = "first_drop"
    baseline: Literal["start", "constant"] = "start"
    smooth: bool = True
    linear: list[str] = []
    limits: dict[str, Limits] = {}
    times: dict[str, Limits] = {}


class CatapultPeaks(Placed):
    """Options of `catapult_peaks`.

    Attributes:
        fit: Name of the fit with the peaks.
        largest: Largest richness shown.
        power: Power of the richness to compare with.
    """

    fit: str = "catapults"
    largest: Annotated[float, Field(gt=0)] = 1.0
    power: float = -2.0


class RateExponents(Placed):
    """Options of `rate_exponents`.

    Attributes:
        fit: Name of the fit with the exponents.
        step: "first", "last", or a number of steps.
        criteria: What the largest learning rate is asked for.
        others: Further learning rates.
    """

    fit: str = "richness_exponents"
    step: Step = "last"
    criteria: list[Criterion] = ["finite", "trained", "calm"]
    others: list[Literal["best", "smallest"]] = ["best", "smallest"]


class Sharpness(Placed):
    """Options of `sharpness`.

    Attributes:
        fit: Name of the fit with the curvatures.
        edges: Name of the fit with the largest learning rates, shown beside the prediction where it is there.
        criterion: What the largest learning rate is asked for.
    """

    fit: str = "sharpness"
    edges: str = "learning_rate_edges"
    criterion: Criterion = "trained"
