"""Claims of arXiv 2410.04642 about the landscape: curvature at both ends, alignment before the drop, agreement.

Curvature is N times the largest eigenvalue of the Hessian by the parameters of unit variance, so that stability
compares it with 2/η. "Theory" as a source is the toy's; "simulation" an independent one of small networks on the
Gaussian mixture, L = 3 where no depth is said. Claims 11 to 13 and 15 to 18 of the study.
"""

import math
from functools import partial

import numpy as np
import xarray as xr

from sgdphases.claims.atanasov2024rates import expected_power, grid
from sgdphases.claims.claim import Claim, Fits, Measurement, NotReached, Statement, Tolerance, listed, single
from sgdphases.claims.readings import Measure, difference
from sgdphases.claims.richness_conditions import LAYERS, LAZY, LAZY_END, PAPER, RICH, OnStrips
from sgdphases.claims.richness_readings import chosen, edge_at_drop, fitted, variable, with_others

STEPS = 400
DEPTH = 3
"""Layers of the networks whose kernels, outputs and features are followed."""

on_curvature = partial(OnStrips, variables=("hessian_top",), fits=("sharpness",))
on_mixture = partial(OnStrips, dataset="gaussian_mixture", layers=(DEPTH,), least_steps=STEPS)


def statements() -> list[Statement]:
    """Claims 11 to 13 and 15 to 18."""
    return [_end(), _start(), _count(), _silent(), _edge(), _functions(), _features()]


def _end() -> Statement:
    """Claim 11. Of networks that have learned: on a plateau the curvature has not come to its end."""
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Figs. 3a, 4a",
            quantity=f"{regime}, L = {layers}",
            expected=-expected_power(regime, layers),
            tolerance=Tolerance("absolute", width),
            needs=on_curvature(layers=(layers,), spans=grid(regime), least_steps=STEPS),
            measure=fitted("sharpness", "best_end_hessian_top_exponent", layers, regime_name=regime),
        )
        for regime, width in (("lazy", 0.05), ("rich", 0.06))
        for layers in LAYERS
    ]
    return listed("richness-11", "power of the richness in the curvature of trained networks", parts)


def _start() -> Statement:
    """Claim 12. At the start the residual's part, which has no sign, is the larger one where networks are rich."""
    powers = [
        Claim(
            name="",
            source="theory",
            quantity=f"power of the richness in the largest eigenvalue, {regime}, L = {layers}",
            expected=expected,
            tolerance=Tolerance("absolute", 0.02),
            needs=on_curvature(layers=(layers,), spans=grid(regime)),
            measure=fitted("sharpness", "start_hessian_top_exponent", layers, regime_name=regime),
        )
        for regime, expected in (("lazy", -2.0), ("rich", -1.0))
        for layers in LAYERS
    ]
    ratios = [
        Claim(
            name="",
            source="theory",
            quantity=f"smallest over largest eigenvalue, rich, L = {layers}",
            expected=-1.0,
            tolerance=Tolerance("relative", 0.1),
            needs=OnStrips(
                layers=(layers,),
                spans=grid("rich"),
                variables=("hessian_top", "hessian_bottom"),
                fits=("sharpness",),
            ),
            measure=fitted("sharpness", "rich_start_ratio", layers),
        )
        for layers in LAYERS
    ]
    return listed("richness-12", "curvature before training", [*powers, *ratios])


def _count() -> Statement:
    """Claim 13: ten classes; "few" outliers are at most two a class."""
    # On images, as in the paper: 64 like directions of the mixture make 640 like eigenvalues.
    lazy, rich = (_large("best_end", regime) for regime in ("lazy", "rich"))
    rows = (
        ("lazy networks at the end", Tolerance("below", 20), lazy),
        ("rich less lazy networks at the end", Tolerance("above", 0), _more(rich, lazy)),
        ("rich networks, end less start", Tolerance("above", 0), _more(rich, _large("start", "rich"))),
    )
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Figs. 3c, 3d",
            quantity=f"{quantity}, L = {DEPTH}",
            expected=math.nan,
            tolerance=tolerance,
            needs=OnStrips(
                dataset="fashion_mnist",
                layers=(DEPTH,),
                spans={"richness": (*LAZY, *RICH)},
                least_steps=STEPS,
                variables=("hessian_spectrum",),
                fits=("sharpness",),
            ),
            measure=measure,
        )
        for quantity, tolerance, measure in rows
    ]
    return listed("richness-13", "eigenvalues of the Hessian above one per cent of the largest", parts)


def _large(when: str, regime: str) -> Measure:
    return fitted("sharpness", f"{when}_large_count_mean", DEPTH, regime_name=regime)


def _more(first: Measure, second: Measure) -> Measure:
    """One number of large eigenvalues less another, if not all that are known count on both sides."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        known = cube.sizes["eigenvalue"]
        if min(each(cube, fits).value for each in (first, second)) >= known:
            raise NotReached(f"needs more than the {known} largest eigenvalues, which all are large on both sides")
        return difference(first, second)(cube, fits)

    return measure


def _silent() -> Statement:
    return single(
        Claim(
            name="richness-15",
            source=f"{PAPER}, Figs. 4b, 5b",
            quantity="share of the kernel's final gain in alignment at the drop, rich networks, L = 3",
            expected=math.nan,
            tolerance=Tolerance("above", 0.2),
            needs=on_mixture(spans={"richness": (1e2,)}, variables=("ntk_alignment",), fits=("silent_alignment",)),
            measure=fitted("silent_alignment", "rich_silent_share", DEPTH),
        )
    )


def _edge() -> Statement:
    """Claim 16."""
    rows = [
        (f"{PAPER}, text", layers, "at the largest learning rate that trains", (1.6, 2.2), "largest", 1.0)
        for layers in LAYERS
    ]
    rows += [
        ("simulation", layers, "at half the best learning rate", width, "best", 0.5)
        for layers, width in ((2, (0.3, 0.6)), (3, (0.3, 0.6)), (4, (1.2, 1.8)))
    ]
    parts = [
        Claim(
            name="",
            source=source,
            quantity=f"{quantity}, L = {layers}",
            expected=math.nan,
            tolerance=Tolerance("range", *ends),
            needs=on_curvature(dataset="gaussian_mixture", layers=(layers,), spans=grid("rich"), least_steps=STEPS),
            measure=edge_at_drop(layers, of=of, share=share),
        )
        for source, layers, quantity, ends, of, share in rows
    ]
    return listed("richness-16", "learning rate times curvature at the drop, rich networks", parts)


def _functions() -> Statement:
    """Claim 17. Networks that have not learned are left out."""
    # The reference of a pair is the less rich one, as in the simulation: by the other one its 0.36 to 0.45 of lazy
    # and rich networks would be 0.64 to 0.68.
    rows = (
        ("least of pairs from richness 1 on", Tolerance("above", 0.95), "least_rich_agreement", "rich_agreement"),
        (
            "largest of a lazy and one of richness 1 and more",
            Tolerance("below", 0.5),
            "largest_lazy_rich_agreement",
            "lazy_rich_agreement",
        ),
    )
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Figs. 5a, 6a",
            quantity=f"{quantity}, L = {DEPTH}",
            expected=math.nan,
            tolerance=tolerance,
            needs=on_mixture(spans={"richness": (1e-2, 1.0, 1e2, 1e3)}, variables=("outputs",), fits=("agreement",)),
            measure=with_others(fitted("agreement", name, DEPTH), mean=fitted("agreement", mean, DEPTH)),
        )
        for quantity, tolerance, name, mean in rows
    ]
    return listed("richness-17", "R² between outputs of networks of different richness", parts)


def _features() -> Statement:
    """Claim 18. "Small" where lazy is less than half: the simulation has 0.165 against 0.79."""
    needs = on_mixture(spans={"richness": (1e-2, 1.0, 1e2, 1e3)}, variables=("feature_alignment",), fits=("agreement",))
    parts = [
        Claim(
            name="",
            source=source,
            quantity=f"{quantity}, L = {DEPTH}",
            expected=math.nan,
            tolerance=tolerance,
            needs=needs,
            measure=measure,
        )
        for source, quantity, tolerance, measure in (
            (
                f"{PAPER}, Figs. 5b, 6b",
                "largest less smallest from richness 1 on",
                Tolerance("below", 0.03),
                fitted("agreement", "alignment_spread", DEPTH),
            ),
            (
                "simulation",
                "lazy over richness 1 and more",
                Tolerance("below", 0.5),
                _alignment_of_lazy(DEPTH),
            ),
        )
    ]
    return listed("richness-18", "alignment of the last hidden features with the labels", parts)


def _alignment_of_lazy(layers: int) -> Measure:
    """Alignment of the last hidden features with the labels, lazy networks over those of richness 1 and more."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        array = variable(cube, fits, "agreement", "final_feature_alignment", layers)
        known = np.isfinite(array.transpose("layer", "richness").values).any(axis=1)
        array = array.isel(layer=int(np.flatnonzero(known)[-1]), drop=True) if known.any() else array.isel(layer=-1)
        means = [chosen(array, **ends) for ends in ({"most": LAZY_END}, {"least": 1.0})]
        lazy, rich = (float(np.nanmean(each)) if np.isfinite(each).any() else math.nan for each in means)
        if not math.isfinite(lazy / rich):
            raise NotReached("needs lazy networks and some of richness 1 and more that have learned")
        return Measurement(lazy / rich, math.nan, f"{lazy:.3f} against {rich:.3f}")

    return measure
