"""The phase of a network from the edges of its spectrum: undecided, ferro, spin glass or para (arXiv 2509.01349).

Pure functions over arrays, applied to the whole cube; every argument broadcasts. The thresholds hold for 1e5 to 1e8
steps on the paper's grid.
"""

from dataclasses import dataclass

import numpy as np

UNDECIDED, FERRO, SPIN_GLASS, PARA, DIVERGED = 0, 1, 2, 3, 4

PHASES = {UNDECIDED: "undecided", FERRO: "ferro", SPIN_GLASS: "spin_glass", PARA: "para", DIVERGED: "diverged"}
"""CF flag values and meanings; `classify` gives all but `diverged`, which needs the record of the training."""

EDGE_FACTOR = 3.0
"""How often the largest level must exceed the larger of its initial and its target value to have run away."""
EXCESS_GROWTH = 1.0
"""Growth of the spread, in e-folds beyond what reaching the target needs, that marks a runaway."""
FROZEN_GROWTH = 0.7
"""Largest change of the spread, in e-folds, of a frozen spectrum."""
TARGET_DISTANCE = 1.1
"""Largest distance of the largest level from its target, in e-folds, of a spectrum that has learned."""
LEARNED_DECADES = 2.0
"""Decades by which the loss of a network that learned has fallen."""
FROZEN_OVERLAP = 0.4
"""Least q/q(0) that confirms a frozen state."""

Array = np.ndarray


@dataclass(frozen=True)
class Classification:
    """Labels and what they rest on, all of the broadcast shape.

    Attributes:
        label: int8, one of `PHASES`.
        runaway: ln of x_max over its para threshold; positive for para.
        excess_growth: Growth of the spread beyond what reaching the target needs, in e-folds.
        target_distance: ln of x_max over the target's.
        loss_decades: Decades by which the loss fell (NaN where no loss was given).
        confirmed: For spin-glass labels whether q/q(0) agrees; True where no overlap was given.
    """

    label: Array
    runaway: Array
    excess_growth: Array
    target_distance: Array
    loss_decades: Array
    confirmed: Array


def classify(
    largest: Array,
    smallest: Array,
    *,
    initial_largest: Array,
    initial_smallest: Array,
    target: tuple[Array, Array],
    loss: tuple[Array, Array] | None = None,
    overlap_ratio: Array | None = None,
) -> Classification:
    """Label spectra by their largest and smallest level; the first rule that holds decides.

    1. para: x_max above three times the larger of its initial and its target value, or a growth of the spread of more
       than one e-fold beyond what reaching the target needs;
    2. spin glass: x_max(0) above three times the target's, and a spread that changed by less than 0.7 e-folds;
    3. ferro: x_max(0) up to three times the target's, and x_max within 1.1 e-folds of it or a loss down by two decades;
    4. undecided, also wherever a level is not finite. At init_scale 1 to 2 the initial and the target spectrum
       coincide: there the levels cannot tell ferro from spin glass.

    Args:
        largest: x_max(t), squared singular values.
        smallest: x_min(t).
        initial_largest: x_max(0).
        initial_smallest: x_min(0).
        target: x_max and spread x_max - x_min of the target, a teacher's or `target_spectrum`'s.
        loss: Training loss now and at the start.
        overlap_ratio: q/q(0).

    Returns:
        Labels and diagnostics.
    """
    largest, initial_largest = np.asarray(largest, dtype=np.float64), np.asarray(initial_largest, dtype=np.float64)
    aim, aim_spread = (np.asarray(value, dtype=np.float64) for value in target)
    spread, initial_spread = largest - smallest, initial_largest - initial_smallest
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.log(spread / initial_spread)
        excess = growth - np.maximum(0.0, np.log(aim_spread / initial_spread))
        runaway = np.log(largest / (EDGE_FACTOR * np.maximum(initial_largest, aim)))
        distance = np.log(largest / aim)
        fallen = np.nan if loss is None else np.asarray(loss[1], dtype=np.float64) / loss[0]
        decades = np.log10(fallen)
        wide = initial_largest > EDGE_FACTOR * aim
        learned = (np.abs(distance) < TARGET_DISTANCE) | (decades >= LEARNED_DECADES)
        para = (runaway > 0) | (excess > EXCESS_GROWTH)
        rules = [para, wide & (np.abs(growth) < FROZEN_GROWTH), ~wide & learned]
        confirmed = np.asarray(True) if overlap_ratio is None else np.asarray(overlap_ratio) > FROZEN_OVERLAP
    known = np.isfinite(largest) & np.isfinite(spread) & np.isfinite(initial_largest) & np.isfinite(aim)
    rules = np.broadcast_arrays(*[rule & known for rule in rules])
    label = np.select(rules, [PARA, SPIN_GLASS, FERRO], default=UNDECIDED).astype(np.int8)
    rest = (np.broadcast_to(value, label.shape) for value in (runaway, excess, distance, decades))
    return Classification(label, *rest, confirmed=np.broadcast_to(confirmed, label.shape) | (label != SPIN_GLASS))


def learned(loss: Array, initial_loss: Array, *, decades: float = LEARNED_DECADES) -> Array:
    """Whether the loss fell by at least `decades`.

    Args:
        loss: Training loss now.
        initial_loss: What it is held against: training loss at the start, or of the best constant answer.
        decades: Powers of ten.

    Returns:
        Boolean, False where a loss is not finite.
    """
    loss, initial_loss = np.broadcast_arrays(np.asarray(loss, dtype=np.float64), initial_loss)
    with np.errstate(invalid="ignore"):
        return np.isfinite(loss) & np.isfinite(initial_loss) & (loss * 10**decades <= initial_loss)


def target_spectrum(largest: Array, smallest: Array, *, learned: Array) -> tuple[float, float]:
    """The target of data that have no teacher: median over the replicas that learned.

    Args:
        largest: x_max at the end, any shape.
        smallest: x_min at the end, same shape.
        learned: Which of them learned, same shape.

    Returns:
        x_max and spread of the target; NaN (all labels undecided) if none learned.
    """
    chosen = np.asarray(learned, dtype=bool) & np.isfinite(largest) & np.isfinite(smallest)
    if not chosen.any():
        return float("nan"), float("nan")
    largest, smallest = np.asarray(largest)[chosen], np.asarray(smallest)[chosen]
    return float(np.median(largest)), float(np.median(largest - smallest))
