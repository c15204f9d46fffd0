"""What arXiv 2107.09133 measured on ImageNet, CIFAR-10 and CIFAR-100, number by number.

Most are digitised from figures or stood in the authors' release (`theory.published_diffusion`); tolerances are those of
a run by the same protocol. Claims 1 to 3, 9 to 15 and 18 of the study (4: `kunin2021regression`).
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from sgdphases.claims.claim import Claim, Needs, Statement, Tolerance, listed, single
from sgdphases.claims.readings import unreachable
from sgdphases.theory import published_diffusion as published

PAPER = "arXiv 2107.09133"

NO_IMAGENET = "needs residual and VGG networks on ImageNet, on a GPU"
NO_CIFAR = "needs networks on CIFAR-10 or CIFAR-100, on a GPU"

Part = tuple[str, float]


class Row(NamedTuple):
    """One claim: its number, where it is, what it says, its elements, how far off they may be, why none is measured."""

    number: str
    where: str
    quantity: str
    parts: Iterable[Part]
    tolerance: Tolerance
    reason: str = NO_IMAGENET


def statements() -> list[Statement]:
    """The claims by number."""
    return [_statement(row) for row in _rows()]


def _rows() -> list[Row]:
    exponents = Tolerance("absolute", 0.03)
    sweeps = (
        ("09", "η", published.LEARNING_RATES, published.EXPONENT_BY_LEARNING_RATE, exponents),
        ("10", "S", published.BATCH_SIZES, published.EXPONENT_BY_BATCH_SIZE, Tolerance("absolute", 0.05)),
        ("11", "β", published.MOMENTA, published.EXPONENT_BY_MOMENTUM, exponents),
    )
    epochs = zip(published.EPOCHS, published.EXPONENT_BY_EPOCHS, strict=True)
    velocity = published.VELOCITY_RATIO.items()
    return [
        Row("01", "Fig. 1", "squared step", published.ONE_STEP_DISPLACEMENT.items(), Tolerance("relative", 0.1)),
        Row("02", "Fig. 1", "exponent of the displacement", published.EXPONENT.items(), exponents),
        Row("03", "Fig. 1", "squared displacement", _displacements(), Tolerance("relative", 0.15)),
        *(
            Row(number, "Fig. 6", "exponent of ResNet-18 in its second epoch", _along(symbol, *pair), width)
            for number, symbol, *pair, width in sweeps
        ),
        Row(
            "12",
            "Fig. 7",
            "exponent of ResNet-18 over so many epochs",
            [(f"{length:g}", value) for length, value in epochs],
            exponents,
        ),
        Row("13", "release", "exponent of ResNet-18 in its second epoch", _grid(), exponents),
        Row(
            "14",
            "release",
            "exponent of ResNet-18 on CIFAR-10",
            [("β = 0.8", 1.26), ("β = 0.99", 1.80), ("S = 32", 1.11)],
            Tolerance("absolute", 0.1),
            NO_CIFAR,
        ),
        Row(
            "15",
            "release",
            "exponent on CIFAR-100",
            published.RESTORED_EXPONENT.items(),
            Tolerance("absolute", 0.1),
            NO_CIFAR,
        ),
        Row(
            "18",
            "release",
            "squared velocity over that at momentum 0.9",
            [(f"β = {momentum:g}", ratio) for momentum, ratio in velocity],
            Tolerance("relative", 0.1),
            NO_CIFAR,
        ),
    ]


def _displacements() -> list[Part]:
    return [
        (f"{name} after {steps:g} steps", value)
        for name, values in published.DISPLACEMENT.items()
        for steps, value in zip(published.DISPLACEMENT_STEPS, values, strict=True)
    ]


def _along(symbol: str, places: np.ndarray, values: np.ndarray) -> list[Part]:
    return [(f"{symbol} = {place:.3g}", float(value)) for place, value in zip(places, values, strict=True)]


def _grid() -> list[Part]:
    axes = published.GRID_LEARNING_RATES, published.GRID_BATCH_SIZES, published.GRID_MOMENTA
    return [
        (f"η = {axes[0][i]:g}, S = {axes[1][j]}, β = {axes[2][k]:g}", float(published.GRID_EXPONENT[i, j, k]))
        for i, j, k in np.ndindex(published.GRID_EXPONENT.shape)
    ]


def _statement(row: Row) -> Statement:
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, {row.where}",
            quantity=what,
            expected=float(expected),
            tolerance=row.tolerance,
            needs=Needs(),
            measure=unreachable(row.reason),
        )
        for what, expected in row.parts
    ]
    return listed(f"diffusion-{row.number}", row.quantity, parts)


def unmeasured(
    number: str, source: str, quantity: str, tolerance: Tolerance, reason: str, *, expected: float = math.nan
) -> Statement:
    """A question of the study that no experiment answers yet.

    Args:
        number: Two digits.
        source: Who asks.
        quantity: What is asked.
        tolerance: What would pass.
        reason: What is needed.
        expected: The value, if one is expected.

    Returns:
        The statement.
    """
    return single(Claim(f"diffusion-{number}", source, quantity, expected, tolerance, Needs(), unreachable(reason)))
