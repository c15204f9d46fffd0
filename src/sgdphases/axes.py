"""Axes of a grid that a card gives as a range."""

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from sgdphases.choices import one_of
from sgdphases.faults import explained
from sgdphases.quantities import HYPERPARAMETERS, QUANTITIES, RATE_AXES
from sgdphases.times import Strict, Whole, number

SETTABLE = (*HYPERPARAMETERS, "temperature", *RATE_AXES)
MOST_WHOLE = 10**12
"""The largest batch, depth or width: more is a slip of the pen, and does not fit in 64 bits."""


class Range(Strict):
    """Values of a grid axis: so many from one to another, evenly spaced in themselves, their logarithm or inverse."""

    first: Annotated[float, BeforeValidator(number)] = Field(alias="from", allow_inf_nan=False)
    to: Annotated[float, BeforeValidator(number), Field(allow_inf_nan=False)]
    count: Annotated[Whole, Field(ge=2, le=10_000)]
    spacing: Literal["even", "log", "inverse"] = "even"

    @model_validator(mode="after")
    def _positive(self) -> "Range":
        if self.spacing != "even" and min(self.first, self.to) <= 0:
            raise ValueError(f"spacing {self.spacing} needs positive ends, not {self.first:g} and {self.to:g}")
        return self

    @property
    def values(self) -> list[float]:
        """The values to 12 digits, so that 0.1 is 0.1 and zero is zero."""
        bend, back = {
            "even": (float, float),
            "log": (math.log, math.exp),
            "inverse": (lambda value: 1 / value, lambda value: 1 / value),
        }[self.spacing]
        last, ends = self.count - 1, (bend(self.first), bend(self.to))
        mixed = [((last - place) * ends[0] + place * ends[1]) / last for place in range(self.count)]
        return [float(f"{back(value):.12g}") for value in mixed]


def spread(grid: Any) -> Any:
    """The axes of a grid with the values that ranges stand for.

    Args:
        grid: What the card says; what is no mapping is left as it is.

    Returns:
        Axis to values.
    """
    if not isinstance(grid, dict):
        return grid
    return {key: _values_of(key, axis) if isinstance(axis, dict) else axis for key, axis in grid.items()}


def _values_of(key: str, axis: dict[str, Any]) -> list[float]:
    try:
        return Range.model_validate(axis).values
    except ValidationError as error:
        faults = (explained(Range, detail) for detail in error.errors(include_url=False))
        raise ValueError(f"axis {key}: {'; '.join(faults)}") from None


def typed_value(key: str, value: Any) -> int | float | str:
    """One value of a hyperparameter as a card says it, in the type of its quantity.

    Args:
        key: The hyperparameter.
        value: What the card says.

    Returns:
        The value.

    Raises:
        ValueError: If there is no such hyperparameter, or it cannot have this value.
    """
    quantity = QUANTITIES[one_of(key, SETTABLE, "hyperparameter")]
    try:
        typed = quantity.typed(value)
    except OverflowError:
        raise ValueError(f"{key} must be finite") from None
    if isinstance(typed, int) and abs(typed) > MOST_WHOLE:
        raise ValueError(f"{key} must be at most {MOST_WHOLE}, not {value!r}")
    return typed
