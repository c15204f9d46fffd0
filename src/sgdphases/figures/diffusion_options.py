"""What a card may say of the figures of the diffusion study. Light to import."""

from typing import Annotated, Literal

from pydantic import Field

from sgdphases.figures.option_parts import Limits, Placed

Mode = Annotated[int, Field(ge=0)]


class Orbits(Placed):
    """Options of `orbits`.

    Attributes:
        modes: Directions, one panel each.
        replica: The network that is drawn.
        steps: First and last step drawn; the whole run if not given.
        mean_over: Records that a moving mean is taken over; 1 draws what was recorded.
        fit: Name of the fit with stationary moments, whose ellipses are shown where it is there.
        theory: Which of the fit's theories; "none" for the measured ellipse alone.
        deviations: Half-axes of the ellipses, in standard deviations.
        arrows: Arrow heads along each trajectory.
    """

    modes: Annotated[list[Mode], Field(min_length=1)] = [0, 29]
    replica: int = 0
    steps: Limits | None = None
    mean_over: Annotated[int, Field(ge=1)] = 1
    fit: str = "stationary_moments"
    theory: Literal["exact", "paper", "exact_proportional", "paper_proportional", "sampler", "none"] = "exact"
    deviations: Annotated[float, Field(gt=0)] = 2.0
    arrows: Annotated[int, Field(ge=0)] = 12


class Plane(Placed):
    """Options of `plane`.

    Attributes:
        variables: Losses over the plane, one panel each, before that of the modified loss.
        steps: First and last step whose positions are drawn; the whole run if not given.
        points: About how many positions are drawn, spread over replicas and times.
        contours: Steps between the contours of a loss; those of the modified loss are at 1, 2, ... standard deviations.
        palette: Name of a colour map.
    """

    variables: Annotated[list[str], Field(min_length=1)] = ["plane_loss"]
    steps: Limits | None = None
    points: Annotated[int, Field(ge=1)] = 2000
    contours: Annotated[int, Field(ge=1)] = 5
    palette: str = "Blues"


class Displacements(Placed):
    """Options of `displacements`.

    Attributes:
        series: Coordinate that tells lines apart.
        values: Values of `series` to draw; all if not given.
        protocol: How the exponent that is drawn was fitted; "none" for no fitted law.
        methods: Ways to predict the displacement that are drawn.
        fit: Name of the fit with displacements and exponents.
        prediction: Name of the fit with predictions.
    """

    series: str = "momentum"
    values: list[float] = []
    protocol: Literal["paper_fig1", "paper_fig6", "robust", "common", "none"] = "robust"
    methods: list[Literal["exact", "tail", "paper"]] = []
    fit: str = "displacement"
    prediction: str = "prediction"
