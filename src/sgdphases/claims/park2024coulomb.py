"""What arXiv 2407.16427 says (G. Aarts, B. Lucini, C. Park, 2024): levels of two solvable models as a Coulomb gas.

Expected values and tolerances stand as they were written down before the runs.
"""

import math

import numpy as np
import xarray as xr

from sgdphases.claims.claim import Claim, Fits, Measurement, Needs, NotReached, Statement, Tolerance
from sgdphases.claims.readings import Measure, remarked
from sgdphases.theory.coulomb_gas import lattice_kernel, teacher_student_spacing_slope

PAPER = "arXiv 2407.16427"
LINEAR = Needs(dataset="linear_teacher", axes=("point",), least_replicas=3000, fits=("spacing",))
MACHINE = Needs(dataset="scalar_field", axes=("point",), least_steps=4000, least_replicas=250, fits=("spacing",))

POINTS = (
    *((0.1, 16, noise) for noise in (0.05, 0.06, 0.07, 0.08, 0.09, 0.1)),
    *((rate, 16, 0.1) for rate in (0.2, 0.3, 0.4, 0.5)),
    *((0.1, size, 0.1) for size in (4, 8, 32, 64)),
)
"""(learning rate, batch size, noise) of the published star of points."""

KERNEL = tuple(np.unique(lattice_kernel(10, 2.0).round(9)).tolist())
"""Distinct eigenvalues of the scalar field's kernel; the first and the last are single."""

MACHINE_SLOPES = {16: (2.18, 2.32, 2.34, 2.17), 64: (2.37, 2.55, 2.48, 2.35)}
"""Mean spacing over its unit by batch size, pairs by ascending kernel."""


def statements() -> list[Statement]:
    """Claims 20 to 25 of the study."""
    return [*_linear(), *_machine()]


def _linear() -> list[Statement]:
    """Claims 20 to 22: the linear teacher-student."""
    slopes = []
    for place, (rate, size, noise) in enumerate(POINTS, 1):
        quantity = f"spacing slope: learning rate {rate:g}, batch size {size}, noise {noise:g}"
        expected = round(float(teacher_student_spacing_slope(rate, size)), 4)
        measure = at_point("spacing_slope", learning_rate=rate, batch_size=size, noise_scale=noise)
        tolerance = Tolerance("relative", 0.03)
        slopes.append(Claim(f"dyson-20.{place}", PAPER, quantity, expected, tolerance, LINEAR, measure))
    variance, ratio = Tolerance("absolute", 0.015), Tolerance("relative", 0.03)
    shape = "variance of the normalised spacing (Wigner's surmise)"
    width = "spacing predicted by the fitted one-level density over the mean spacing"
    return [
        Statement("dyson-20", "spacing slope ⟨S⟩/√(ην²/B) of the linear student", tuple(slopes)),
        Statement(
            "dyson-21",
            shape,
            (Claim("dyson-21", PAPER, shape, 0.2732, variance, LINEAR, over_points("spacing_variance")),),
        ),
        Statement(
            "dyson-22", width, (Claim("dyson-22", PAPER, width, 1.0, ratio, LINEAR, over_points("width_ratio")),)
        ),
    ]


def _machine() -> list[Statement]:
    """Claims 23 to 25: the Gaussian Boltzmann machine."""
    pairs = [
        (size, level, value)
        for size, values in MACHINE_SLOPES.items()
        for level, value in zip(range(1, 5), values, strict=True)
    ]
    slopes = tuple(
        Claim(
            f"dyson-23.{place}",
            "simulation; limit 2.507",
            f"spacing slope of the machine: batch size {size}, kernel {KERNEL[level]:.3g}",
            value,
            Tolerance("relative", 0.06),
            MACHINE,
            at_point("spacing_slope", level=level, learning_rate=0.1, batch_size=size),
        )
        for place, (size, level, value) in enumerate(pairs, 1)
    )
    singles = tuple(
        Claim(
            f"dyson-25.{place}",
            PAPER,
            f"deviation of a single level over its unit: batch size {size}, kernel {KERNEL[level]:.3g}",
            round(math.sqrt(2), 4),
            Tolerance("relative", 0.07),
            MACHINE,
            remarked(
                at_point("deviation_slope", level=level, learning_rate=0.1, batch_size=size),
                lambda cube, fits, level=level, size=size: _overlap(fits["spacing"], level, 0.1 / size),
            ),
        )
        for place, (size, level) in enumerate(((16, 0), (16, 5), (64, 0), (64, 5)), 1)
    )
    return [
        Statement("dyson-23", "spacing slope ⟨S⟩/√(η(μ²−κ)/B) of the machine", slopes),
        Statement("dyson-24", "learned over true kernel ⟨λ⟩/κ", _ratios()),
        Statement("dyson-25", "deviation of single levels sd/√(ηx*/B)", singles),
    ]


def _ratios() -> tuple[Claim, ...]:
    """Claim 24: the kernel is learned with a bias that vanishes linearly in the temperature."""
    near = Tolerance("absolute", 0.01)
    found = [
        Claim(
            f"dyson-24.{place}",
            "simulation; 1.014 to 1.020" if size == 16 else "simulation; 1.004 to 1.006",
            f"learned over true kernel, mean over pairs: learning rate over batch size {0.1 / size:.2g}",
            expected,
            near,
            MACHINE,
            at_point("kernel_ratio", level=(1, 2, 3, 4), learning_rate=0.1, batch_size=size),
        )
        for place, (size, expected) in enumerate(((16, 1.017), (64, 1.005)), 1)
    ]
    quantity = "learned over true kernel, line in learning rate over batch size: height at 0"
    found.append(Claim("dyson-24.3", PAPER, quantity, 1.0, near, MACHINE, _intercept))
    return tuple(found)


def at_point(name: str, *, level: int | tuple[int, ...] = 0, **places: float) -> Measure:
    """A variable of the fit spacing at one point of the star, averaged over levels."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = fits["spacing"]
        chosen = np.ones(found.sizes["point"], dtype=bool)
        for word, value in places.items():
            chosen &= np.isclose(np.broadcast_to(found[word].values, chosen.shape), value, rtol=1e-6, atol=0)
        if not chosen.any():
            raise NotReached("needs the point " + ", ".join(f"{word} {value:g}" for word, value in places.items()))
        point = int(np.flatnonzero(chosen)[0])
        levels = [level] if isinstance(level, int) else list(level)
        value = found[name].isel(point=point, level=levels).values
        error = found[f"{name}_error"].isel(point=point, level=levels).values
        if not np.isfinite(value).all():
            raise NotReached("no record is late enough for this level to be stationary")
        return Measurement(float(value.mean()), float(np.sqrt((error**2).sum()) / len(levels)))

    return measure


def over_points(name: str) -> Measure:
    """A variable of the fit spacing, pooled over points, with its range over them as a remark."""

    def measure(cube: xr.Dataset, fits: Fits) -> Measurement:
        found = fits["spacing"]
        if f"pooled_{name}" not in found:
            raise NotReached("no record is late enough for the levels to be stationary")
        low, high = float(found[name].min()), float(found[name].max())
        value, error = float(found[f"pooled_{name}"]), float(found[f"pooled_{name}_error"])
        return Measurement(value, error, f"single points {low:.3f} to {high:.3f}")

    return measure


def _overlap(found: xr.Dataset, level: int, noise: float) -> str:
    """How far a level lies from its neighbours: sorted levels that overlap are no longer those of the target."""
    if "target_level" not in found.coords:
        return ""
    levels = found["target_level"].values
    gap = np.abs(np.delete(levels, level) - levels[level]).min()
    deviation = math.sqrt(2 * noise * levels[level])
    return f"next level {gap / deviation:.1f} expected deviations away"


def _intercept(cube: xr.Dataset, fits: Fits) -> Measurement:
    found = fits["spacing"]
    if "kernel_ratio_intercept" not in found:
        raise NotReached("needs three points at which all pairs are stationary")
    names = "kernel_ratio_intercept", "kernel_bias_exponent"
    (height, error), (power, spread) = ((float(found[name]), float(found[f"{name}_error"])) for name in names)
    return Measurement(height, error, f"bias grows as (η/B)^{power:.2f} ± {spread:.2f}")
