"""Runs that a tracking store does not take as they are: they must not keep back those behind them."""

from collections.abc import Iterable
from typing import Protocol

from sgdphases.tracking.address import shown
from sgdphases.tracking.runs import Run

REFUSED = "INVALID_PARAMETER_VALUE"
"""MLflow's word for what it will not take, however often it is asked."""

LONGEST = 2000


class Writer(Protocol):
    """What `store.Experiment` is here."""

    def write(self, run: Run) -> None:
        """Write one run."""

    def look_again(self, identity: str) -> None:
        """Learn what became of a run."""


def take(writer: Writer, run: Run) -> str:
    """Write one run.

    A run that was deleted meanwhile is refused as well, and so is all of a deleted experiment: those are made again.

    Args:
        writer: What writes it.
        run: The run.

    Returns:
        Why the store will never take it as it is; empty where it did.
    """
    for again in (True, False):
        try:
            writer.write(run)
        except Exception as error:
            if getattr(error, "error_code", "") != REFUSED:
                raise
            if not again:
                return f"{run.name}: {shown(error)}"
            writer.look_again(run.identity)
        else:
            break
    return ""


def listed(refused: Iterable[str]) -> str:
    """What is refused and why, on one line that has an end."""
    return "; ".join(refused)[:LONGEST]
