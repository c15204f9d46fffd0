"""A claim as data, what it needs, and the honest verdict."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from sgdphases.claims.network import NotReached, Point, close, network_at
from sgdphases.storage.cube import NUMBERED
from sgdphases.storage.temperature import on_temperature

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
Row = dict[str, Any]

NO_AXES = frozenset({"replica", "step", "flow_time", *NUMBERED})
"""Dimensions of a cube that are no axes of its grid."""

WHOLE = 1 - 1e-3
"""Share of a schedule in flow time or epochs that must be there: times are rounded to whole steps."""

ROUNDING = 1e-9
"""Relative error of arithmetic that must not decide a verdict: an octave off is within one octave."""


@dataclass(frozen=True)
class Tolerance:
    """How far a measured value may lie from the expected one.

    Attributes:
        kind: "absolute" (|m - e| <= value), "relative" (|m/e - 1| <= value), "factor" (max(m/e, e/m) <= value),
            "offset" (value <= m - e <= upper), "range" (value <= m <= upper), "above" (m >= value) or "below"
            (m <= value).
        value: The number.
        upper: Upper end of a range or an offset.
    """

    kind: Literal["absolute", "relative", "factor", "offset", "range", "above", "below"]
    value: float
    upper: float = math.inf

    def holds(self, measured: float, expected: float) -> bool:
        """Whether the measured value passes; a value that is not finite does not."""
        if not math.isfinite(measured):
            return False
        return {
            "absolute": lambda: abs(measured - expected) <= self.value,
            "relative": lambda: abs(measured / expected - 1) <= self.value,
            "factor": lambda: (
                measured > 0 and abs(math.log(measured / expected)) <= math.log(self.value) * (1 + ROUNDING)
            ),
            "offset": lambda: self.value <= measured - expected <= self.upper,
            "range": lambda: self.value <= measured <= self.upper,
            "above": lambda: measured >= self.value,
            "below": lambda: measured <= self.value,
        }[self.kind]()

    def __str__(self) -> str:
        return {
            "absolute": f"±{self.value:g}",
            "relative": f"±{100 * self.value:g} %",
            "factor": f"×/÷ {self.value:g}",
            "offset": f"{self.value:+g} to {self.upper:+g}",
            "range": f"[{self.value:g}, {self.upper:g}]",
            "above": f"≥ {self.value:g}",
            "below": f"≤ {self.value:g}",
        }[self.kind]


@dataclass(frozen=True)
class Needs:
    """What an experiment must have so that a claim can be judged on it.

    Attributes:
        dataset: Data set that the claim is about; None: any.
        widths: Units per level of the networks, the input first; None: any.
        axes: Axes of the grid (the temperature stands for the learning rate at one batch size); None: any.
        point: Hyperparameters of the one network that the claim is about; empty: it is about the grid.
        least_steps: Shortest schedule.
        most_steps: Longest schedule, of claims about a state at a given time.
        least_epochs: Shortest schedule in passes over the data, of the claim's network or of the longest.
        least_flow_time: Shortest schedule in gradient-flow time, likewise.
        least_replicas: Fewest replicas.
        spans: Coordinate to values that must be among the grid's.
        extends: Coordinate to values that only a larger grid has: as with the schedule, a list may stand without the
            elements that need them.
        variables: What the cube must hold.
        fits: Fits that must have been made.
    """

    dataset: str | None = None
    widths: tuple[int, ...] | None = None
    axes: tuple[str, ...] | None = None
    point: Point = field(default_factory=dict)
    least_steps: int = 0
    most_steps: int | None = None
    least_epochs: float = 0
    least_flow_time: float = 0
    least_replicas: int = 1
    spans: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    extends: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    fits: tuple[str, ...] = ()

    def missing(self, cube: xr.Dataset, fits: Fits) -> str:
        """What an experiment lacks, in words; empty if nothing."""
        return "; ".join([*self._kind(cube, fits), *self._schedule(cube), *self._replicas(cube)])

    def only_size(self, cube: xr.Dataset, fits: Fits) -> bool:
        """Whether the experiment is of the right kind, and at most its schedule or its replicas do not suffice."""
        return not self._kind(cube, fits)

    def beyond(self, cube: xr.Dataset) -> bool:
        """Whether the claim is about another schedule than the experiment's, or a larger grid."""
        return bool(self._schedule(cube))

    def steps(self, cube: xr.Dataset) -> int:
        """Steps of the claim's network, or of the longest where it is about the grid."""
        return int(self._network(cube)["step"].max())

    def _network(self, cube: xr.Dataset) -> xr.Dataset:
        """Coordinates of the claim's network, or of the whole grid."""
        coordinates = cube.drop_vars(list(cube.data_vars))
        try:
            return network_at(coordinates, self.point)
        except NotReached:
            return coordinates

    def _schedule(self, cube: xr.Dataset) -> list[str]:
        lacks, last, network = [], self.steps(cube), self._network(cube)
        if last < self.least_steps:
            lacks.append(f"{self.least_steps:.3g} steps, has {last:.3g}")
        if self.most_steps is not None and last > self.most_steps:
            lacks.append(f"at most {self.most_steps:.3g} steps, has {last:.3g}")
        for word, least, coordinate in (
            ("epochs", self.least_epochs, "epoch"),
            ("of flow time", self.least_flow_time, "flow_time"),
        ):
            reached = float(network[coordinate].max()) if least and coordinate in network.coords else 0.0
            if reached < WHOLE * least:
                lacks.append(f"{least:g} {word}, has {reached:.4g}")
        return [*lacks, *_absent(cube, self.extends)]

    def _not_one(self, cube: xr.Dataset) -> list[str]:
        """Why the claim's point is not one network of the grid; empty if it is, or if there is no such point."""
        if not self.point:
            return []
        try:
            network = network_at(cube.drop_vars(list(cube.data_vars)), self.point)
        except NotReached as error:
            return [str(error).removeprefix("needs ")]
        axes = sorted(set(map(str, network.dims)) - NO_AXES)
        return [f"one network, has the axes {', '.join(axes)} too"] if axes else []

    def _replicas(self, cube: xr.Dataset) -> list[str]:
        have = cube.sizes["replica"]
        return [f"{self.least_replicas} replicas, has {have}"] if have < self.least_replicas else []

    def _kind(self, cube: xr.Dataset, fits: Fits) -> list[str]:
        if self.dataset is not None and cube.attrs.get("dataset") != self.dataset:
            return [f"data set {self.dataset}, has {cube.attrs.get('dataset')}"]
        widths = tuple(np.atleast_1d(cube.attrs.get("widths", ())).tolist())
        if self.widths is not None and widths != self.widths:
            return [f"the widths {_joined(self.widths)}, has {_joined(widths) or 'none'}"]
        have = sorted(set(on_temperature(cube).dims) - NO_AXES) if "temperature" in cube.coords else []
        if self.axes is not None and have != sorted(self.axes):
            return [f"the axes {', '.join(sorted(self.axes))}, has {', '.join(map(str, have)) or 'none'}"]
        lacks = [*self._not_one(cube), *_absent(cube, self.spans)]
        lacks.extend(f"observable {name}" for name in self.variables if name not in cube)
        lacks.extend(f"fit {name}" for name in self.fits if name not in fits)
        return lacks


def _absent(cube: xr.Dataset, spans: Mapping[str, tuple[float, ...]]) -> list[str]:
    """Which of some values the grid does not have."""
    lacks = []
    for name, values in spans.items():
        there = [value for value in values if name in cube.coords and close(cube[name], value).any()]
        absent = [value for value in values if value not in there]
        if absent:
            lacks.append(f"{name} {', '.join(f'{value:g}' for value in absent)}")
    return lacks


def _joined(widths: Iterable[int]) -> str:
    return "-".join(map(str, widths))


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
        stricter: Tolerances that hold instead from so many steps on.
    """

    name: str
    source: str
    quantity: str
    expected: float
    tolerance: Tolerance
    needs: Needs
    measure: Callable[[xr.Dataset, Fits], Measurement]
    stricter: Mapping[int, Tolerance] = field(default_factory=dict)

    def tolerance_at(self, steps: int) -> Tolerance:
        """The tolerance of a schedule."""
        reached = [least for least in self.stricter if least <= steps]
        return self.stricter[max(reached)] if reached else self.tolerance


@dataclass(frozen=True)
class Statement:
    """A numbered claim: one claim, or a list of them that stands or falls together.

    Attributes:
        name: "dyson-03".
        quantity: What is claimed, in words.
        parts: The claim, or the elements of the list.
    """

    name: str
    quantity: str
    parts: tuple[Claim, ...]


def single(claim: Claim) -> Statement:
    """A statement of one claim."""
    return Statement(claim.name, claim.quantity, (claim,))


def listed(name: str, quantity: str, parts: Iterable[Claim]) -> Statement:
    """A statement whose parts are numbered, their quantities completed by its own.

    Args:
        name: "dyson-03".
        quantity: What is claimed, in words.
        parts: Claims without a name, their quantities saying which element they are.

    Returns:
        The statement.
    """
    numbered = (
        replace(part, name=f"{name}.{place}", quantity=f"{quantity}: {part.quantity}")
        for place, part in enumerate(parts, 1)
    )
    return Statement(name, quantity, tuple(numbered))


def judge(claim: Claim, paper: str, cube: xr.Dataset, fits: Fits) -> Row:
    """Hold one claim against one experiment.

    Returns:
        A row of claims.csv with the keys `COLUMNS`. The verdict is "pass", "fail", or "not_measured" with the reason;
        where only the schedule or the number of replicas is too small, the reason also says what is seen so far.
    """
    steps = claim.needs.steps(cube)
    tolerance = claim.tolerance_at(steps)
    row = _row(claim.name, paper, claim.quantity, cube) | {
        "steps": steps,
        "source": claim.source,
        "expected": "" if math.isnan(claim.expected) else claim.expected,
        "tolerance": str(tolerance),
    }
    reason = claim.needs.missing(cube, fits)
    if reason:
        return row | {"verdict": "not_measured", "reason": f"needs {reason}{_preview(claim, cube, fits)}"}
    try:
        found = claim.measure(cube, fits)
    except NotReached as error:
        return row | {"verdict": "not_measured", "reason": str(error)}
    passes = tolerance.holds(found.value, claim.expected)
    error = found.error if math.isfinite(found.error) else ""
    reason = found.remark if passes else "; ".join(filter(None, [_near(claim, tolerance, found), found.remark]))
    return row | {"measured": found.value, "error": error, "verdict": "pass" if passes else "fail", "reason": reason}


def graded(statements: Iterable[Statement], paper: str, cube: xr.Dataset, fits: Fits) -> list[Row]:
    """Hold statements against one experiment.

    Args:
        statements: The paper's.
        paper: Citation key.
        cube: The experiment's cube.
        fits: Its fits by name.

    Returns:
        Rows of claims.csv: one for a statement of one claim; for a list one for every element, then a summary.
    """
    rows: list[Row] = []
    for statement in statements:
        parts = [judge(claim, paper, cube, fits) for claim in statement.parts]
        rows += parts
        if len(parts) > 1:
            beyond = {claim.name for claim in statement.parts if claim.needs.beyond(cube)}
            rows.append(summary(statement, parts, paper, cube, beyond=beyond))
    return rows


def summary(statement: Statement, rows: list[Row], paper: str, cube: xr.Dataset, *, beyond: Iterable[str] = ()) -> Row:
    """One row for a claim that is a list.

    It fails if an element fails, and passes if every element passes that is about this schedule and grid. What is about
    others is named; anything else that is not measured leaves the whole not measured.

    Args:
        statement: The claim.
        rows: The rows of its elements.
        paper: Citation key.
        cube: The experiment's cube.
        beyond: Elements that are about another schedule or a larger grid.

    Returns:
        The row; its measured value is the share of the measured elements that pass.
    """
    measured = [row for row in rows if row["verdict"] != "not_measured"]
    failed = [row["claim"] for row in measured if row["verdict"] == "fail"]
    lacking = [row["claim"] for row in rows if row["verdict"] == "not_measured"]
    row = _row(statement.name, paper, statement.quantity, cube)
    row |= {"source": rows[0]["source"], "expected": 1.0, "tolerance": "all"}
    row |= {"steps": max(part["steps"] for part in rows)}
    if not measured:
        return row | {"verdict": "not_measured", "reason": rows[0]["reason"]}
    share = 1 - len(failed) / len(measured)
    count = f"{len(measured) - len(failed)} of {len(rows)} pass"
    absent = f"; not measured: {', '.join(lacking)}" if lacking else ""
    if failed:
        reason = f"{count}; fails at {', '.join(failed)}{absent}"
        return row | {"measured": share, "verdict": "fail", "reason": reason}
    if set(lacking) <= set(beyond):
        absent = f"; of another schedule or grid: {', '.join(lacking)}" if lacking else ""
        return row | {"measured": share, "verdict": "pass", "reason": f"{count}{absent}"}
    return row | {"verdict": "not_measured", "reason": f"{count}{absent}"}


def _row(name: str, paper: str, quantity: str, cube: xr.Dataset) -> Row:
    return dict.fromkeys(COLUMNS, "") | {
        "claim": name,
        "paper": paper,
        "quantity": quantity,
        "experiment": cube.attrs["experiment"],
        "replicas": cube.sizes["replica"],
    }


def _near(claim: Claim, tolerance: Tolerance, found: Measurement) -> str:
    """Whether a failure is within the measurement's own error."""
    for reach, words in ((1, "one standard error"), (2, "two standard errors")):
        ends = (found.value - reach * found.error, found.value + reach * found.error)
        if any(tolerance.holds(end, claim.expected) for end in ends):
            return f"within {words} of passing"
    return ""


def _preview(claim: Claim, cube: xr.Dataset, fits: Fits) -> str:
    """What the claim's quantity is so far, where only schedule or replicas are lacking."""
    if not claim.needs.only_size(cube, fits):
        return ""
    try:
        found = claim.measure(cube, fits)
    except NotReached:
        return ""
    if not math.isfinite(found.value):
        return ""
    spread = f" ± {found.error:.1g}" if math.isfinite(found.error) else ""
    return f" (so far {found.value:.3g}{spread})"
