"""Claims of arXiv 2107.09437 about Gaussian matrices: the edge of chaos by theory, and the iterated map.

The authors' edge is a mask on a grid of 0.02 in 1/J, edited by hand; the table is an independent root finder's.
"""

import math
from functools import partial

from sgdphases.claims import chaos_readings as readings
from sgdphases.claims.claim import Claim, Needs, Statement, Tolerance, listed, single
from sgdphases.claims.readings import theoretical
from sgdphases.theory.edge_of_chaos import critical_coupling
from sgdphases.theory.meanfield import lyapunov_exponent

PAPER = "arXiv 2107.09437"
ITERATIONS = 500

on_map = partial(Needs, dataset="none", widths=(784, 784), variables=("converged",))
"""What these claims need at least: the map of random matrices at the width of the paper's networks."""

EDGE = {
    -1.0: 1.0,
    0.0: 1.0,
    0.5: 1.0,
    1.0: 1.0,
    1.05: 0.76338,
    1.1: 0.66279,
    1.2: 0.52308,
    1.3: 0.42085,
    1.4: 0.34026,
    1.5: 0.27503,
    1.6: 0.22170,
    1.8: 0.14226,
    2.0: 0.08948,
}
"""1/J at the edge of chaos by J0/J."""

RELEASED_EDGE = {1.2: 0.53, 1.3: 0.42, 1.4: 0.34, 1.5: 0.28, 1.6: 0.22, 1.7: 0.18, 1.8: 0.14}
"""The same in the authors' stored grid; at 1.2 the middle of two cells."""

FINITE = {
    0.8: (0.0, -0.191, 0.7997, 0.028),
    2.0: (28.67, 0.1528, 1.171, 0.01),
    3.0: (33.05, 0.3065, 1.363, 0.01),
}
"""J to distance, Lyapunov exponent and Jacobian norm of four 784 x 784 matrices, and the exponent's tolerance.

That is 0.01, and at J = 0.8, where the exponent is the logarithm of one matrix's spectral radius and scatters by 0.014,
twice that."""


def statements() -> list[Statement]:
    """Claims 18 and 19, and 27 to 29."""
    return [_edge(), _distances(), _exponents(), _finite_size(), _digits()]


def inverse_edge(coupling_ratio: float) -> float:
    """1/J at the edge of chaos by theory."""
    return 1 / float(critical_coupling(coupling_ratio))


def largest_deviation() -> tuple[float, float]:
    """How far theory lies from the table at most."""
    return max(abs(inverse_edge(ratio) - value) for ratio, value in EDGE.items()), 0.0


def _edge() -> Statement:
    parts = [
        Claim(
            name="",
            source=source,
            quantity=f"J0/J = {ratio:g}{words}",
            expected=value,
            tolerance=Tolerance("absolute", width),
            needs=on_map(),
            measure=theoretical(lambda ratio=ratio: (inverse_edge(ratio), 0.0)),
        )
        for source, words, table, width in (
            (f"{PAPER}, Fig. 1b", "", EDGE, 0.005),
            (f"{PAPER}, released grid", ", in the authors' grid", RELEASED_EDGE, 0.02),
        )
        for ratio, value in table.items()
    ]
    return listed("chaos-18", "1/J at the edge of chaos by theory", parts)


def _distances() -> Statement:
    needs = on_map(least_steps=ITERATIONS, spans={"coupling_ratio": (0.0,)})
    parts = [
        Claim("", f"{PAPER}, Fig. 1b", quantity, math.nan, tolerance, needs, measure)
        for quantity, tolerance, measure in (
            ("largest relative deviation from theory, J ≥ 1.5", Tolerance("below", 0.02), readings.worst_distance(1.5)),
            ("largest value, J ≤ 0.9", Tolerance("below", 1e-10), readings.largest_distance(0.9)),
        )
    ]
    return listed("chaos-19", "asymptotic distance of random matrices with J0 = 0", parts)


def _cell(coupling: float) -> Needs:
    return on_map(point={"init_scale": coupling, "coupling_ratio": 0.0}, least_steps=ITERATIONS)


def _exponents() -> Statement:
    parts = [
        Claim(
            name="",
            source="theory",
            quantity=f"J = {coupling:g}",
            expected=round(float(lyapunov_exponent(coupling)), 6),
            tolerance=Tolerance("absolute", 0.005),
            needs=_cell(coupling),
            measure=readings.in_map("lyapunov", coupling),
        )
        for coupling in (2.0, 3.0)
    ]
    return listed("chaos-27", "Lyapunov exponent of random matrices against ½ ln χ₁", parts)


def _finite_size() -> Statement:
    parts = []
    for coupling, (distance, exponent, norm, width) in FINITE.items():
        rows = [
            ("Lyapunov exponent", "lyapunov", exponent, Tolerance("absolute", width)),
            ("Jacobian norm", "jacobian_norm", norm, Tolerance("relative", 0.02)),
        ]
        if distance:
            rows.append(("distance", "asymptotic_distance", distance, Tolerance("relative", 0.02)))
        parts += [
            Claim(
                name="",
                source="simulation",
                quantity=f"{quantity} at J = {coupling:g}",
                expected=expected,
                tolerance=tolerance,
                needs=_cell(coupling),
                measure=readings.in_map(name, coupling),
            )
            for quantity, name, expected, tolerance in rows
        ]
    return listed("chaos-28", f"784 x 784 matrices after {ITERATIONS} iterations", parts)


def _digits() -> Statement:
    return single(
        Claim(
            name="chaos-29",
            source="simulation",
            quantity="largest deviation of the edge by theory from a table of five digits",
            expected=math.nan,
            tolerance=Tolerance("below", 5e-6),
            needs=on_map(),
            measure=theoretical(largest_deviation),
        )
    )
