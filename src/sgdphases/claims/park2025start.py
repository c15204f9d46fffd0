"""Claims of arXiv 2509.01349 that need no training: the state before it, theory, and what no card reaches."""

import math

from sgdphases.claims import dyson_readings as readings
from sgdphases.claims.claim import Claim, Needs, Statement, Tolerance, listed, single
from sgdphases.claims.dyson_readings import on_diagram
from sgdphases.claims.readings import fitted, theoretical, unreachable
from sgdphases.theory import marchenko_pastur, published

PAPER = "arXiv 2509.01349"
SCALES = tuple(published.INIT_SCALES[::-1].tolist())
GRID = {"temperature": tuple(published.TEMPERATURES.tolist()), "init_scale": SCALES}


def statements() -> list[Statement]:
    """Claims 1, 2, 18, 19, 26 and 27 of the study."""
    return [*_start(), *_without_training()]


def _start() -> list[Statement]:
    """Claims 1 and 2: before training."""
    found = []
    for name, source, quantity, variable, tolerance, values, measure in (
        (
            "dyson-01",
            f"{PAPER}, Fig. 4c",
            "gradient norm before training",
            "gradient_norm",
            Tolerance("relative", 0.25),
            published.INITIAL_GRADIENT_NORM,
            readings.initial_gradient,
        ),
        (
            "dyson-02",
            "simulation",
            "overlap before training, the mean square of the features",
            "overlap",
            Tolerance("absolute", 0.02),
            published.INITIAL_OVERLAP,
            lambda scale: fitted("averages", "initial_overlap", init_scale=scale),
        ),
    ):
        pairs = zip(SCALES, values[::-1].tolist(), strict=True)
        kinds = {"variables": (variable,), "fits": ("averages",)}
        parts = [
            Claim(
                "",
                source,
                f"init_scale {scale:g}",
                value,
                tolerance,
                on_diagram(spans={"init_scale": (scale,)}, **kinds),
                measure(scale),
            )
            for scale, value in pairs
        ]
        found.append(listed(name, quantity, parts))
    return found


def _without_training() -> list[Statement]:
    """Claims 18, 19, 26 and 27: theory, initial spectra, and what no card reaches."""
    peak = Claim(
        name="dyson-18",
        source=f"{PAPER}, Fig. 1",
        quantity="variance at which tanh of a Gaussian turns from one peak to two",
        expected=0.5,
        tolerance=Tolerance("absolute", 1e-12),
        needs=on_diagram(axes=None),
        measure=theoretical(readings.peak_variance),
    )
    transformer = Claim(
        name="dyson-27",
        source="arXiv 2411.13512",
        quantity="nano-GPT: spectra go from Marchenko-Pastur to Marchenko-Pastur with a tail",
        expected=math.nan,
        tolerance=Tolerance("above", 0),
        needs=Needs(),
        measure=unreachable("needs a transformer, which no card trains; the claim is qualitative"),
    )
    return [single(peak), _identity(), _initial_spectrum(), single(transformer)]


def _identity() -> Statement:
    free, runs = (
        on_diagram(axes=None),
        on_diagram(spans=GRID, variables=("train_loss", "alignment", "alignment_identity")),
    )
    rows_ = (
        ("simulation; published 0.26", "teacher's features", 0.229, free, theoretical(readings.teacher_features)),
        ("simulation; published 0.10", "jammed features", 0.104, free, theoretical(readings.jammed_features)),
        ("identity", "mean distance of alignment to it in runs", 0.0, runs, readings.identity_gap),
    )
    tolerance = Tolerance("absolute", 0.02)
    parts = [Claim("", source, word, value, tolerance, needs, measure) for source, word, value, needs, measure in rows_]
    return listed("dyson-19", "alignment at zero loss, |y|/(|Z||s|)", parts)


def _initial_spectrum() -> Statement:
    lower, upper = (float(edge) for edge in marchenko_pastur.edges(0.5))
    free = on_diagram(axes=None)
    spectra = on_diagram(spans={"init_scale": (1.0,)}, variables=("eigenvalues",), fits=("averages",))
    rows_ = (
        ("Marchenko-Pastur", "lower edge", 0.0858, free, theoretical(lambda: (lower, 0.0))),
        ("Marchenko-Pastur", "upper edge", 2.914, free, theoretical(lambda: (upper, 0.0))),
        ("simulation", "mean largest level", 2.588, spectra, fitted("averages", "initial_largest_level")),
        ("simulation", "mean smallest level", 0.122, spectra, fitted("averages", "initial_smallest_level")),
        ("simulation", "mean width", 2.466, spectra, fitted("averages", "initial_width")),
    )
    tolerance = Tolerance("relative", 0.01)
    parts = [Claim("", source, word, value, tolerance, needs, measure) for source, word, value, needs, measure in rows_]
    return listed("dyson-26", "initial spectrum in units of σ²", parts)
