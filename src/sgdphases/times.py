"""When something is recorded, as a card says it: in the card's clock, which counts steps or gradient-flow time."""

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def number(value: Any) -> Any:
    """YAML reads 1e5 as a string; here it is a number. True and false, which Python counts as 1 and 0, are none."""
    if isinstance(value, bool):
        raise ValueError(f"a number is expected, not {str(value).lower()}")
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(number)]


class Strict(BaseModel):
    """A block of a card: unknown keys are refused, values are fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


MOST = 100_000
"""Records of one run: more are a slip of the pen, and would not fit in memory."""


class Times(Strict):
    """Times in the card's clock: log-spaced, evenly spaced, every so many, at given ones, or several of these."""

    log: Annotated[Whole, Field(ge=1, le=MOST)] | None = None
    even: Annotated[Whole, Field(ge=1, le=MOST)] | None = None
    every: Annotated[float, BeforeValidator(number), Field(gt=0, allow_inf_nan=False)] | None = None
    at: list[Annotated[float, BeforeValidator(number), Field(ge=0, allow_inf_nan=False)]] = []

    def chosen(self, last: float) -> set[float]:
        """The times up to `last`, with 0 and `last` themselves.

        Args:
            last: The end of the run, in the card's clock.

        Returns:
            Times in no order.

        Raises:
            ValueError: If there are more than `MOST`.
        """
        times = {0.0, float(last), *self.at}
        if self.even:
            times.update(np.linspace(0, last, self.even + 1).tolist())
        if self.every and last / self.every > MOST:
            raise ValueError(f"records: every {self.every:g} up to {last:g} makes more than {MOST} records")
        if self.every:
            times.update((self.every * np.arange(int(last / self.every * (1 + 1e-12)) + 1)).tolist())
        # To 15 digits, so that 7 times 0.7 is 4.9 and 3 times 0.1 is 0.3, whichever block of the card names them.
        times = {float(f"{time:.15g}") for time in times if time < last}
        return {float(last), *(time for time in times if time < last)}

    def steps(self, last: int) -> list[int]:
        """Steps of a run of `last` steps, ascending, with 0 and `last`."""
        times = self.chosen(last)
        if self.log:
            times.update(np.geomspace(1, last, self.log).tolist())
        return sorted({int(np.rint(time)) for time in times})

    def flow_times(self, last: float) -> list[float]:
        """Gradient-flow times of a run up to `last`, ascending, with 0 and `last`."""
        return sorted(self.chosen(last))


class Records(Times):
    """When something is recorded, and, where not always, when weights are; 0 and the end always."""

    weights: Times | None = None
