"""What has become of a network: whether it is finite, has learned, went through a catapult; and the edges of a strip.

A strip is a row of networks that differ in nothing but the learning rate, which ascends along it. Its stable range
ends differently for three criteria: where networks are no longer finite, where they no longer learn, where the loss
first shoots up before it falls. Pure functions of arrays; letters in shapes: S recorded steps, U updates, P places.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray

UNTRAINED_SHARE = 0.8
"""Share of the best constant answer's loss above which a network has learned nothing."""

CATAPULT = 2.0
"""How many times its first batch loss a network's batch loss reaches in a catapult."""

STATUS = {0: "nonfinite", 1: "finite_untrained", 2: "trained", 3: "catapult"}
"""CF flag values and meanings of a network's status."""

NONFINITE, UNTRAINED, TRAINED, CATAPULTED = STATUS
UNTRIED = -1

CRITERIA = ("finite", "trained", "calm")
"""What the largest learning rate may be asked for: the paper's NaN test, the useful one, the one without a catapult."""

SIDES = ("largest good", "smallest bad")
"""The two ends of what brackets an edge."""

NONE = -1
"""Place of an edge that is not there."""


def loss_growth(batch_loss: Array, steps: Sequence[int]) -> Array:
    """Largest batch loss so far over the first one.

    Args:
        batch_loss: (..., U), the loss of the batch that each update sees; NaN from where a network is no more.
        steps: S steps, ascending.

    Returns:
        Array (..., S), over the updates before each step; NaN where there are none.
    """
    found = np.full((*batch_loss.shape[:-1], len(steps)), -np.inf)
    peak, before = np.full(batch_loss.shape[:-1], -np.inf), 0
    for place, step in enumerate(steps):
        peak = np.fmax(peak, np.fmax.reduce(batch_loss[..., before:step], axis=-1, initial=-np.inf))
        found[..., place], before = peak, step
    found[found == -np.inf] = np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        return found / batch_loss[..., :1]


def status(test_loss: Array, constant_loss: Array, diverged_at: Array, growth: Array, steps: Sequence[int]) -> Array:
    """What has become of networks by each step.

    Args:
        test_loss: (..., S), the loss that is trained, on the test set.
        constant_loss: (...), that of the best constant answer.
        diverged_at: (...), the update that was not survived, -1 for alive.
        growth: (..., S), see `loss_growth`.
        steps: S steps.

    Returns:
        Keys of `STATUS`, int8 (..., S).
    """
    over = (diverged_at[..., None] >= 0) & (diverged_at[..., None] <= np.asarray(steps))
    lost = over | ~np.isfinite(test_loss)
    useless = test_loss > UNTRAINED_SHARE * constant_loss[..., None]
    found = np.select([lost, useless, growth > CATAPULT], [NONFINITE, UNTRAINED, CATAPULTED], TRAINED)
    return found.astype(np.int8)


def calm(status: Array, growth: Array) -> Array:
    """Whether networks are finite and their batch loss never shot up, of any shape."""
    return (status > NONFINITE) & ~(growth > CATAPULT)


def edges(status: Array, calm: Array, loss: Array) -> Array:
    """Where a strip's stable range ends at one step, criterion by criterion.

    `finite`: the largest learning rate whose network is finite. `trained`: from the least loss upwards as far as all
    that were tried have learned. `calm`: as far as all that were tried, from the smallest on, are calm.

    Args:
        status: (P,), keys of `STATUS`, or -1 where nothing was tried.
        calm: (P,), whether the network is calm.
        loss: (P,), test loss; anything where nothing was tried.

    Returns:
        Places (criterion, side): the last good one and the one tried next above it. Both are `NONE` where no network
        is good, the second also where nothing above was tried.
    """
    tried = np.flatnonzero(status != UNTRIED)
    learned = status[tried] >= TRAINED
    found = np.full((len(CRITERIA), len(SIDES)), NONE)
    finite = np.flatnonzero(status[tried] > NONFINITE)
    last = [finite[-1] if len(finite) else NONE, NONE, _run(calm[tried], 0)]
    if learned.any():
        last[1] = _run(learned, int(np.argmin(np.where(learned, loss[tried], np.inf))))
    for criterion, place in enumerate(last):
        if place != NONE:
            found[criterion, : len(tried) - place] = tried[place : place + len(SIDES)]
    return found


def _run(good: Array, first: int) -> int:
    """Last place of the run of true values that begins at `first`; `NONE` if there is none."""
    bad = np.flatnonzero(~good[first:])
    last = first + (int(bad[0]) if len(bad) else len(good) - first) - 1
    return last if last >= first else NONE


def constant_loss(targets: Array, loss: str) -> float:
    """Loss of the best answer that ignores the input: what a network that has learned must beat.

    Args:
        targets: Training targets (n, o), or class numbers (n,).
        loss: The word of the loss.

    Returns:
        The mean loss of the best constant output; for cross-entropy the entropy of the class frequencies.
    """
    if loss == "cross_entropy":
        classes = targets if targets.ndim == 1 else targets.argmax(axis=1)
        shares = np.unique(classes, return_counts=True)[1] / len(classes)
        return float(-(shares * np.log(shares)).sum())
    rows = np.eye(int(targets.max()) + 1)[targets] if targets.ndim == 1 else np.asarray(targets, dtype=np.float64)
    spread = rows.var(axis=0)
    return float({"half_squared_error": spread.sum() / 2, "squared_error": spread.sum()}.get(loss, spread.mean()))


def constant_losses(networks: Mapping[str, Array], tasks: Mapping[int, Any]) -> Array:
    """Loss of the best constant answer for every network.

    Args:
        networks: A shard's columns.
        tasks: Task per task seed.

    Returns:
        Array (networks,).
    """
    pairs = list(zip(networks["seed_task"].tolist(), networks["loss"].tolist(), strict=True))
    values = {pair: constant_loss(tasks[pair[0]].targets, pair[1]) for pair in set(pairs)}
    return np.array([values[pair] for pair in pairs])
