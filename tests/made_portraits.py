"""Cubes of the richness study that obey the claims of arXiv 2410.04642, to be made wrong one power at a time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr

from made_chaos import fitted
from sgdphases.claims import atanasov2024richness
from sgdphases.claims.claim import Row, graded
from sgdphases.fits import (
    agreement,
    bootstrap,
    catapults,
    first_drop,
    interval_lines,
    learning_rate_edges,
    richness_exponents,
    sharpness,
    silent_alignment,
)

BASELINE = 0.09
MIXTURE = {"dataset": "gaussian_mixture"}
CENTRE, FINITE, CALM = 0.35, 0.3, -0.2
"""Decades from the best learning rate to the largest that trains, and from there to the other edges."""


def rows_of(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], *numbers: int) -> dict[str, Row]:
    """Rows of claims.csv by claim; of some claims, or of all."""
    statements = [s for s in atanasov2024richness.statements() if not numbers or int(s.name[-2:]) in numbers]
    return {row["claim"]: row for row in graded(statements, "atanasov2024richness", cube, fits)}


def verdicts(rows: Mapping[str, Row], verdict: str) -> set[str]:
    """Numbers of the claims and of their parts that have a verdict."""
    return {name.removeprefix("richness-") for name, row in rows.items() if row["verdict"] == verdict}


@contextmanager
def few_resamples() -> Iterator[None]:
    """Bootstraps of five resamples: verdicts rest on values. No broken power laws."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (
            agreement,
            catapults,
            first_drop,
            interval_lines,
            learning_rate_edges,
            sharpness,
            silent_alignment,
        ):
            patch.setattr(
                module, "bootstrap", lambda *data, **more: bootstrap.bootstrap(*data, **more | {"resamples": 5})
            )
        patch.setattr(richness_exponents, "_broken", lambda strips, edges: {})
        yield


def quickly(cube: xr.Dataset, *names: str) -> dict[str, xr.Dataset]:
    """Fits as the pipeline makes them, with rough errors."""
    with few_resamples():
        return fitted(cube, *names)


@dataclass(frozen=True)
class Portrait:
    """Networks whose edges are powers of the richness, broken at 1; every shift is that of a power.

    Attributes:
        lazy: Power of the largest learning rate below 1.
        rich: The same beyond 1 by depth; None: 2/L.
        best: What is added to those two powers for the best learning rate.
        least: Powers of the smallest learning rate that trains.
        drift: By how much more than -1 its power of the steps is.
        offset: Decades of that at richness 1 and one step.
        finite: Decades from the largest that trains to the largest finite one.
        peak: Power of the richness in a catapult's peak at one η/γ².
        entropy: Under cross-entropy networks stay finite up to this power of the richness; None: squared error.
        accuracy: From decades of the richness to what is taken off the test accuracy.
    """

    lazy: float = 2.0
    rich: Callable[[int], float] | None = None
    best: tuple[float, float] = (0.0, 0.0)
    least: tuple[float, float] = (2.0, 1.0)
    drift: float = 0.0
    offset: float = 0.07
    finite: float = FINITE
    peak: float = -2.0
    entropy: float | None = None
    calm: float = 2.0
    accuracy: Callable[[float], float] = lambda decades: 0.0

    def __call__(self, point: Mapping[str, Any], replica: int, steps: np.ndarray) -> dict[str, Any]:
        decades, rate = np.log10(point["richness"]), np.log10(point["learning_rate"])
        rich = 2 / point["depth"] if self.rich is None else self.rich(int(point["depth"]))

        def power(below: float, beyond: float) -> float:
            return below * min(decades, 0) + beyond * max(decades, 0)

        top = 0.11 + power(self.lazy, rich)
        best = top - CENTRE + power(*self.best)
        finite, calm = top + self.finite, top + CALM + power(self.calm - 2, 0)
        if self.entropy is not None:
            finite = top + self.finite + power(self.entropy - self.lazy, 0)

        def loss(time: np.ndarray) -> np.ndarray:
            least = power(*self.least) + self.offset - (1 - self.drift) * np.log10(np.maximum(time, 1e-9))
            return np.where((rate <= top) & (rate >= least), 0.02 + 0.001 * (rate - best) ** 2, BASELINE)

        batch = np.full(steps[-1], BASELINE)
        if rate > calm:
            batch[3] *= 3 + 10 ** (self.peak * decades + rate - 2 * decades)
        lost = 5 if rate > finite else -1
        if lost >= 0:
            batch[lost:] = np.nan
        test = np.where((lost >= 0) & (steps >= lost), np.nan, loss(steps.astype(float)))
        accuracy = 1 - test - self.accuracy(float(decades))
        return {"test_loss": test, "test_accuracy": accuracy, "batch_loss": batch, "diverged_at": lost}


@dataclass(frozen=True)
class Drop:
    """Networks that drop their loss at ηt/γ = τ(γ, L).

    Attributes:
        tau: The law.
        stair: Loss of the first stair, until a third of the drop; the baseline: there is none.
        second: Loss of the second stair.
    """

    tau: Callable[[float, int], float]
    stair: float = BASELINE
    second: float = BASELINE

    def __call__(self, point: Mapping[str, Any], replica: int, steps: np.ndarray) -> dict[str, Any]:
        dropped = point["richness"] * self.tau(float(point["richness"]), int(point["depth"])) / point["learning_rate"]
        updates = np.arange(steps[-1])
        before = np.where(updates < dropped / 3, self.stair, self.second)
        batch = np.where(updates < dropped, before, 0.02 * (1 + 1e-3 * replica))
        test = np.where(steps < dropped, BASELINE, 0.02)
        return {"test_loss": test, "test_accuracy": 1 - test, "batch_loss": batch, "diverged_at": -1}


@dataclass(frozen=True)
class Landscape:
    """Networks with the curvature of the toy: γ^-2 and γ^-1 at the start, 2 over the largest learning rate at the end.

    Attributes:
        start: What is added to those powers at the start, below and beyond 1.
        end: The same at the end.
        bottom: Smallest over largest eigenvalue at the start.
        edge: From depth and decades of the learning rate over the largest one to their product with curvature, times 2.
        gained: Share of the kernel's gain in alignment at the drop.
        agree: R² of rich networks with each other; the worse, the farther apart they are in richness.
        lazy_agree: R² of lazy networks with rich ones.
        features: Alignment of the last features by decades of the richness.
    """

    start: tuple[float, float] = (0.0, 0.0)
    end: tuple[float, float] = (0.0, 0.0)
    bottom: float = -1.0
    edge: Callable[[int, float], float] = lambda depth, decades: 1.05 * 10**decades
    gained: float = 0.3
    agree: float = 0.98
    lazy_agree: float = 0.4
    features: Callable[[float], float] = lambda decades: 0.79 if decades > -1 else 0.165

    def __call__(self, point: Mapping[str, Any], replica: int, steps: np.ndarray) -> dict[str, Any]:
        richness, depth = float(point["richness"]), int(point["depth"])
        decades, rate = np.log10(richness), float(point["learning_rate"])

        def power(below: float, beyond: float) -> float:
            return below * min(decades, 0) + beyond * max(decades, 0)

        top = 10 ** power(2, 2 / depth)
        place = np.log10(rate / top)
        trains = place <= 0
        curvature = np.full(steps.size, 2 * self.edge(depth, place) / rate * 10 ** power(*self.end))
        curvature[0] = 10 ** power(self.start[0] - 2, self.start[1] - 1)
        dropped = steps[-1] // 2
        updates = np.arange(steps[-1])
        batch = np.where((updates < dropped) | (not trains), BASELINE, 0.02)
        test = np.where((steps < dropped) | (not trains), BASELINE, 0.02 + 0.001 * (place + 0.35) ** 2)
        gain = np.interp(steps, [0, dropped, steps[-1]], [0.0, self.gained, 1.0])
        last = np.where(steps > 0, self.features(float(decades)), 0.1)
        return {
            "test_loss": test,
            "test_accuracy": 1 - test,
            "batch_loss": batch,
            "diverged_at": -1,
            "hessian_top": curvature,
            "hessian_bottom": np.where(steps == 0, self.bottom * curvature, -0.1 * curvature),
            "ntk_alignment": 0.29 + 0.4 * gain,
            "feature_alignment": np.stack([np.full(steps.size, 0.1), last], axis=-1),
            "outputs": np.repeat(self._outputs(float(decades))[None], steps.size, axis=0),
        }

    def _outputs(self, decades: float) -> np.ndarray:
        """Outputs that lack half of R² with the common function; lazy ones explain `lazy_agree` of themselves by it."""
        common = np.random.default_rng(0).standard_normal((200, 10))
        own = np.random.default_rng(round(100 + 10 * decades)).standard_normal((200, 10))
        lacking = (1 - self.agree) / 2 if decades > -1 else (1 - self.lazy_agree) / self.lazy_agree
        return common + np.sqrt(lacking) * own
