"""What arXiv 2509.01349 says (C. Park, B. Lucini, G. Aarts, 2025): the phases of SGD by disorder and temperature.

Expected values and tolerances stand as they were written down before the runs. "Simulation" as a source is an
independent one of the same network, where the figures give no number. Claims 1 to 19, 26 and 27 of the study; those
that need no training stand in `park2025start`.
"""

import math

from sgdphases.claims import dyson_readings as readings
from sgdphases.claims import park2025start
from sgdphases.claims.claim import Claim, Statement, Tolerance, listed, single
from sgdphases.claims.dyson_readings import on_diagram
from sgdphases.claims.readings import averaged, fitted, remarked
from sgdphases.theory import published

PAPER = "arXiv 2509.01349"
SCALES = tuple(published.INIT_SCALES[::-1].tolist())
"""Initial scales as the figures have them, by ascending inverse."""
TEMPERATURES = tuple(published.TEMPERATURES.tolist())
COLDEST, HOTTEST, NARROWEST = TEMPERATURES[0], TEMPERATURES[-1], SCALES[-1]
HOT, NARROW = (8.0, 16.0, 32.0, 64.0), (0.125, 0.25, 0.5, 1.0)
GRID = {"temperature": TEMPERATURES, "init_scale": SCALES}
CORNER = {"temperature": (COLDEST,), "init_scale": (NARROWEST,)}
EARLY, MILLION, FULL = 10**5, 10**6, 10**8

UNCROSSED = "the share that passes does not fall through the level on the grid"


def statements() -> list[Statement]:
    """All claims of the paper that the study follows."""
    return [
        *park2025start.statements(),
        _curve("dyson-03", "4a", published.TRAIN_LOSS_CURVE),
        _curve("dyson-04", "4b", published.GRADIENT_NORM_CURVE),
        _jump(),
        _overlap_map(),
        _alignment_map(),
        _growth_map(),
        *_slopes(),
        _ferro_growth(),
        *_boundaries(),
        _corrected_boundary(),
        *_powers_of_time(),
        *_glass(),
    ]


def _curve(name: str, figure: str, values: published.Floats) -> Statement:
    """Claims 3 and 4. The published bars of the loss span three decades between T = 1/2 and 2."""
    loss = name == "dyson-03"
    variable = "epoch_train_loss" if loss else "epoch_gradient_norm"
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Fig. {figure}",
            quantity=f"T = {temperature:g}",
            expected=value,
            tolerance=Tolerance("factor", 30 if loss and 0.5 <= temperature <= 2 else 2),
            needs=on_diagram(
                least_steps=FULL,
                least_replicas=10,
                spans={"temperature": (temperature,), "init_scale": (NARROWEST,)},
                variables=(variable,),
                fits=("averages",),
            ),
            measure=fitted("averages", f"{variable}_median", temperature=temperature, init_scale=NARROWEST),
        )
        for temperature, value in zip(TEMPERATURES, values.tolist(), strict=True)
    ]
    return listed(name, f"final {'training loss' if loss else 'gradient norm'} at 1/σ = 8", parts)


def _jump() -> Statement:
    needs = on_diagram(least_steps=MILLION, spans=GRID, variables=("train_loss",), fits=("averages",))
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Fig. 3",
            quantity=f"{quantity} at init_scale {scale:g}",
            expected=expected,
            tolerance=tolerance,
            needs=needs,
            measure=measure(scale),
        )
        for quantity, expected, tolerance, measure in (
            ("decades between T = 1/4 and 2", math.nan, Tolerance("above", 3), readings.loss_decades),
            ("steepest octave", math.sqrt(0.5), Tolerance("factor", 2), readings.steepest_octave),
        )
        for scale in SCALES
        if scale <= 4
    ]
    return listed("dyson-05", "jump of the training loss in the temperature", parts)


def _overlap_map() -> Statement:
    words = {"source": f"{PAPER}, Fig. 5a", "expected": math.nan}
    needs = on_diagram(least_steps=EARLY, spans=GRID, variables=("overlap",), fits=("published",))
    alike, apart = (
        remarked(fitted("published", f"overlap_{word}"), readings.glass_ages) for word in ("correlation", "rms")
    )
    likeness = Claim(
        name="", quantity="correlation", tolerance=Tolerance("above", 0.98), needs=needs, measure=alike, **words
    )
    distance = Claim(
        name="",
        quantity="rms distance",
        tolerance=Tolerance("below", 0.09),
        needs=needs,
        measure=apart,
        stricter={MILLION: Tolerance("below", 0.06)},
        **words,
    )
    return listed("dyson-06", "map of the overlap against the published one", (likeness, distance))


def _alignment_map() -> Statement:
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Fig. 5b",
            quantity=quantity,
            expected=expected,
            tolerance=Tolerance("absolute", width),
            needs=on_diagram(least_replicas=20, spans=GRID, variables=("alignment",)),
            measure=averaged("alignment", region, drifting="still changing"),
        )
        for quantity, expected, width, region in (
            ("ferro corner, 1/σ ≥ 2 and T ≤ 1/8", 0.25, 0.04, readings.corner),
            ("outside, T ≥ 4 or 1/σ ≤ 1/64", 0.10, 0.015, readings.outside),
        )
    ]
    return listed("dyson-07", "mean alignment", parts)


def _growth_map() -> Statement:
    needs = on_diagram(least_steps=MILLION, spans=GRID, variables=("log_spread_growth",), fits=("published",))
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Fig. 7",
            quantity=quantity,
            expected=math.nan,
            tolerance=tolerance,
            needs=needs,
            measure=fitted("published", f"log_spread_growth_{word}"),
        )
        for quantity, word, tolerance in (
            ("correlation", "correlation", Tolerance("above", 0.99)),
            ("rms distance", "rms", Tolerance("below", 0.8)),
        )
    ]
    return listed("dyson-08", "map of the spread's growth against the published one", parts)


def _slopes() -> list[Statement]:
    """Claims 9 and 10: growth in the hot rows, linear in both logarithms."""
    measured = {"variables": ("log_spread_growth",), "fits": ("power_laws",)}
    in_scale = Claim(
        name="dyson-09",
        source=f"{PAPER}, Fig. 7",
        quantity="slope of the spread's growth in ln(1/σ) at T = 64",
        expected=2.0,
        tolerance=Tolerance("absolute", 0.1),
        needs=on_diagram(least_steps=MILLION, spans=GRID, **measured),
        measure=fitted("power_laws", "inverse_init_scale_exponent", temperature=HOTTEST),
    )
    spans = {"temperature": HOT, "init_scale": (NARROWEST,)}
    in_temperature = [
        Claim(
            name="",
            source=source,
            quantity=f"after {least:.0e} steps",
            expected=expected,
            tolerance=Tolerance("absolute", 0.2),
            needs=on_diagram(least_steps=least, most_steps=most, spans=spans, **measured),
            measure=fitted("power_laws", "temperature_exponent", init_scale=NARROWEST),
        )
        for source, least, most, expected in (
            (f"{PAPER}, Fig. 7", FULL, None, 1.23),
            ("simulation", MILLION, MILLION, 1.85),
        )
    ]
    quantity = "slope of the spread's growth in ln T at 1/σ = 8, T from 8 to 64"
    return [single(in_scale), listed("dyson-10", quantity, in_temperature)]


def _ferro_growth() -> Statement:
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Fig. 7",
            quantity=f"init_scale {scale:g}",
            expected=-2 * math.log(scale),
            tolerance=Tolerance("offset", -0.5, 0.1),
            needs=on_diagram(
                spans={"temperature": (COLDEST,), "init_scale": (scale,)}, variables=("log_spread_growth",)
            ),
            measure=readings.growth_in(COLDEST, scale),
        )
        for scale in (0.5, 0.25, 0.125)
    ]
    return listed("dyson-11", "growth of the spread in the coldest ferro cells, against ln(1/σ²)", parts)


def _boundaries() -> list[Statement]:
    """Claims 12 and 13: the published line, and the exponent of the corrected one."""
    published_line = Claim(
        name="dyson-12",
        source=f"{PAPER}, Fig. 8a",
        quantity="68 % line of the published criterion at 1/σ = 8",
        expected=published.MIDPOINT_TEMPERATURE,
        tolerance=Tolerance("factor", 2),
        needs=on_diagram(
            least_steps=EARLY,
            least_replicas=50,
            spans={"temperature": TEMPERATURES, "init_scale": (NARROWEST,)},
            variables=("criterion_published",),
            fits=("boundaries",),
        ),
        measure=fitted("boundaries", "published_midpoint_temperature", absent=UNCROSSED, init_scale=NARROWEST),
    )
    exponent = Claim(
        name="dyson-13",
        source=f"{PAPER}, Fig. 9",
        quantity="exponent of init_scale of the boundary (50 % line of the corrected criterion, init_scale from 8 on)",
        expected=1.1,
        tolerance=Tolerance("absolute", 0.2),
        needs=on_diagram(least_steps=MILLION, spans=GRID, variables=("criterion_corrected",), fits=("boundaries",)),
        measure=remarked(
            fitted("boundaries", "corrected_exponent", absent=UNCROSSED, least_init_scale=8.0),
            readings.other_exponents,
        ),
    )
    return [single(published_line), single(exponent)]


def _corrected_boundary() -> Statement:
    values = zip(published.INIT_SCALES.tolist(), published.CORRECTED_TEMPERATURE_MILLION.tolist(), strict=True)
    parts = [
        Claim(
            name="",
            source="simulation",
            quantity=f"init_scale {scale:g}",
            expected=value,
            tolerance=Tolerance("factor", 2),
            needs=on_diagram(
                least_steps=MILLION,
                most_steps=MILLION,
                spans={"temperature": TEMPERATURES, "init_scale": (scale,)},
                variables=("criterion_corrected",),
                fits=("boundaries",),
            ),
            measure=fitted("boundaries", "corrected_temperature", absent=UNCROSSED, init_scale=scale),
        )
        for scale, value in reversed(list(values))
        if math.isfinite(value)
    ]
    return listed("dyson-14", "50 % line of the corrected criterion after 1e6 steps", parts)


def _powers_of_time() -> list[Statement]:
    """Claims 15 and 16."""
    cold = {"temperature": COLDEST, "init_scale": NARROWEST}
    loss = [
        Claim(
            name="",
            source="simulation",
            quantity=f"{start:.0e} to {100 * start:.0e} steps",
            expected=expected,
            tolerance=Tolerance("absolute", 0.15),
            needs=on_diagram(least_steps=100 * start, spans=CORNER, variables=("train_loss",), fits=("power_laws",)),
            measure=fitted("power_laws", "train_loss_exponent", window_start=start, **cold),
        )
        for start, expected in ((10**4, -0.82), (MILLION, -0.76))
    ]
    levels = Claim(
        name="dyson-16",
        source="simulation",
        quantity="exponent of the largest hot level in time, 1e4 to 1e6 steps, init_scale ≤ 1 and T ≥ 8",
        expected=0.56,
        tolerance=Tolerance("absolute", 0.1),
        needs=on_diagram(
            least_steps=MILLION,
            spans={"temperature": HOT, "init_scale": NARROW},
            variables=("eigenvalues",),
            fits=("power_laws",),
        ),
        measure=fitted("power_laws", "hot_growth_exponent", window_start=10**4),
    )
    return [listed("dyson-15", "exponent of the training loss in time at 1/σ = 8, T = 1/32", loss), single(levels)]


def _glass() -> list[Statement]:
    """Claim 17."""
    spans = {"temperature": TEMPERATURES[:5], "init_scale": SCALES[:3]}
    still = Claim(
        name="dyson-17",
        source=f"{PAPER}, Fig. 7",
        quantity="largest change of ln spread in the glass, 1/σ ≤ 1/64 and T ≤ 1/2",
        expected=math.nan,
        tolerance=Tolerance("below", 0.05),
        needs=on_diagram(spans=spans, variables=("log_spread_growth",)),
        measure=readings.largest_glass_growth,
    )
    return [single(still)]
