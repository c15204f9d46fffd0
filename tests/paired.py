"""Two things timed in turns: what a benchmark says of the pairs."""

import math
import statistics
from collections.abc import Sequence


def percent(logarithms: Sequence[float]) -> str:
    """How much longer one of two things takes.

    Args:
        logarithms: Of the ratio of their times, a number for each pair of turns; two at least.

    Returns:
        Their mean and its standard error, in per cent.
    """
    error = statistics.stdev(logarithms) / math.sqrt(len(logarithms))
    return f"{100 * statistics.mean(logarithms):+.2f} ± {100 * error:.2f} %"
