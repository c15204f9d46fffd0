"""Phase diagrams of stochastic gradient descent: train, measure, fit, judge, draw."""

import os
from contextlib import suppress

HEAD = 512
"""Bytes of Linux' description of the processors, in which the first one's maker stands."""


def _keep_bits() -> None:
    """Let torch's matrix products depend on their operands alone.

    On processors of other makers than Intel, MKL rounds by where in memory a matrix happens to lie, unless it is asked
    not to (Conditional Numerical Reproducibility in its manual); AUTO costs no time there. It looks at its first
    product, so this stands here, before all else.
    """
    maker = b""
    with suppress(OSError), open("/proc/cpuinfo", "rb") as stream:
        maker = stream.read(HEAD)
    if b"GenuineIntel" not in maker:
        os.environ.setdefault("MKL_CBWR", "AUTO")


_keep_bits()
