"""A claim as data, what it needs, and the honest verdict."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import xarray as xr

COLUMNS = (
    "claim",
    "paper",
    "source",
    "quantity",
    "expected",
    "tolerance",
    "measured",
    "error",
    "verdict",
    "reason",
    "experiment",
    "steps",
    "replicas",
)

Fits = Mapping[str, xr.Dataset]


class NotReached(Exception):
    """The experiment cannot measure this claim; the message says what is missing."""


@dataclass(frozen=True)
class Tolerance:
    """How far a measured value may lie from the expected one.

    Attributes:
        kind: "absolute" (|m - e| <= value), "relative" (|m/e - 1| <= value), "factor" (max(m/e, e/m) <= value),
            "range" (value <= m <= upper), "above" (m >= value) or "below" (m <= value).
        value: The number.
        upper: Upper end of a range.
    """

    kind: Literal["absolute", "relative", "factor", "range", "above", "below"]
    value: float
    upper: float = math.inf

    def holds(self, measured: float, expected: float) -> bool:
        """Whether the measured value passes; a value that is not finite does not."""
        if not math.isfinite(measured):
            return False
        if self.kind == "absolute":
            return abs(measured - expected) <= self.value
        if self.kind == "relative":
            return abs(measured / expected - 1) <= self.value
        if self.kind == "factor":
            return measured > 0 and abs(math.log(measured / expected)) <= math.log(self.value)
        if self.kind == "above":
            return measured >= self.value
        if self.kind == "below":
            return measured <= self.value
        return self.value <= measured <= self.upper

    def __str__(self) -> str:
        text = {
            "absolute": f"±{self.value:g}",
            "relative": f"±{100 * self.value:g} %",
            "factor": f"×/÷ {self.value:g}",
            "above": f"≥ {self.value:g}",
            "below": f"≤ {self.value:g}",
            "range": f"[{self.value:g}, {self.upper:g}]",
        }
        return text[self.kind]


@dataclass(frozen=True)
class Needs:
    """What an experiment must have so that a claim can be judged on it.

    Attributes:
        dataset: Data set that the claim is about.
        least_steps: Shortest schedule.
        least_replicas: Fewest replicas.
        spans: Coordinate to values that must be among the grid's.
        fits: Fits that must have been made.
    """

    dataset: str = "teacher_student"
    least_steps: int = 0
    least_replicas: int = 1
    spans: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    fits: tuple[str, ...] = ()

    def missing(self, cube: xr.Dataset, fits: Fits) -> str:
        """What an experiment lacks, in words; empty if nothing."""
        lacks = []
        if cube.attrs.get("dataset") != self.dataset:
            lacks.append(f"data set {self.dataset}, has {cube.attrs.get('dataset')}")
        if int(cube["step"][-1]) < self.least_steps:
            lacks.append(f"{self.least_steps:g} steps, has {int(cube['step'][-1]):g}")
        if cube.sizes["replica"] < self.least_replicas:
            lacks.append(f"{self.least_replicas} replicas, has {cube.sizes['replica']}")
        for name, values in self.spans.items():
            have = set(cube[name].values.ravel().tolist()) if name in cube.coords else set()
            absent = [value for value in values if value not in have]
            if absent:
                lacks.append(f"{name} {', '.join(f'{value:g}' for value in absent)}")
        lacks.extend(f"fit {name}" for name in self.fits if name not in fits)
        return "; ".join(lacks)


@dataclass(frozen=True)
class Measurement:
    """A measured number with its standard error, and a remark for the ledger."""

    value: float
    error: float
    remark: str = ""


@dataclass(frozen=True)
class Claim:
    """One thing a paper says that a run can check.

    Attributes:
        name: "dyson-06", or "dyson-03.1" for an element of a list.
        source: Where the paper says so.
        quantity: What is claimed, in words.
        expected: The value (NaN where the claim is an inequality).
        tolerance: How far from it still passes.
        needs: Conditions on the experiment.
        measure: From cube and fits to a measurement; raises `NotReached` where it cannot.
    """

    name: str
    source: str
    quantity: str
    expected: float
    tolerance: Tolerance
    needs: Needs
    measure: Callable[[xr.Dataset, Fits], Measurement]


def judge(claim: Claim, paper: str, cube: xr.Dataset, fits: Fits) -> dict[str, Any]:
    """Hold one claim against one experiment.

    Returns:
        A row of claims.csv with the keys `COLUMNS`. The verdict is "pass", "fail", or "not_measured" with the reason.
    """
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    row |= {
        "claim": claim.name,
        "paper": paper,
        "source": claim.source,
        "quantity": claim.quantity,
        "expected": claim.expected,
        "tolerance": str(claim.tolerance),
        "experiment": cube.attrs["experiment"],
        "steps": int(cube["step"][-1]),
        "replicas": cube.sizes["replica"],
    }
    reason = claim.needs.missing(cube, fits)
    if reason:
        return row | {"verdict": "not_measured", "reason": f"needs {reason}"}
    try:
        found = claim.measure(cube, fits)
    except NotReached as error:
        return row | {"verdict": "not_measured", "reason": str(error)}
    verdict = "pass" if claim.tolerance.holds(found.value, claim.expected) else "fail"
    return row | {"measured": found.value, "error": found.error, "verdict": verdict, "reason": found.remark}


def summary(name: str, quantity: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One row for a claim that is a list: it passes if every element passes.

    The measured value is the share of elements that pass among those that were measured.
    """
    measured = [row for row in rows if row["verdict"] != "not_measured"]
    failed = [row["claim"] for row in measured if row["verdict"] == "fail"]
    row = {**rows[0], "claim": name, "quantity": quantity, "expected": 1.0, "tolerance": "all", "error": ""}
    if not measured:
        return row | {"measured": "", "verdict": "not_measured", "reason": rows[0]["reason"]}
    share = 1 - len(failed) / len(measured)
    if failed:
        return row | {"measured": share, "verdict": "fail", "reason": f"fails at {', '.join(failed)}"}
    if len(measured) < len(rows):
        lacking = len(rows) - len(measured)
        return row | {"measured": share, "verdict": "not_measured", "reason": f"{lacking} of {len(rows)} not measured"}
    return row | {"measured": share, "verdict": "pass", "reason": f"{len(rows)} of {len(rows)} pass"}
