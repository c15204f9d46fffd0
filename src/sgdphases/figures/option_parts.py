"""What the options of several kinds of figure have in common. Light to import."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Step = Literal["first", "last"] | float
Limits = Annotated[list[float], Field(min_length=2, max_length=2)]
LogLimits = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]
Chosen = bool | list[str]
"""All of them, none, or those named."""
Place = dict[str, Annotated[float | str, Field(union_mode="left_to_right")]]
"""Coordinate to value: a number, or the word of one that holds words."""


class Placed(BaseModel):
    """What all kinds understand.

    Attributes:
        at: Coordinate to value, for axes of which one value is shown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    at: Place = {}


class Options(Placed):
    """What kinds understand that show one time.

    Attributes:
        step: "first", "last", or a number in the card's clock, for which the nearest recorded time is taken.
    """

    step: Step = "last"


class OfFit(Placed):
    """What the kinds that read one fit understand.

    Attributes:
        fit: Name of the fit.
    """

    fit: str
