"""Modes that the tests of SGD's limiting dynamics share."""

import numpy as np
from hypothesis import strategies as st

RATES = {"learning_rate": 0.05, "momentum": 0.9}
HESSIAN = np.array([10.0, 1.0, 0.05])
CURVATURE = HESSIAN + 0.01
NOISE = 0.25 * HESSIAN / 32
"""Three underdamped modes, σ² = 1/4, S = 32, λ = 0.01; the third is just so."""


@st.composite
def modes(draw, largest_share=0.95):
    """Curvature, noise and rates of a stable mode: `share` is that of the stability bound."""
    rates = {"learning_rate": draw(st.floats(1e-3, 1.0)), "momentum": draw(st.just(0.0) | st.floats(0.05, 0.99))}
    share = draw(st.floats(1e-3, largest_share))
    curvature = share * 2 * (1 + rates["momentum"]) / rates["learning_rate"]
    return curvature, draw(st.floats(0.01, 10)), rates


def slope(steps, values):
    """Ordinary least squares of logarithms."""
    return np.polyfit(np.log(steps), np.log(values), 1)[0]
