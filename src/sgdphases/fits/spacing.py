"""Levels of the two solvable models: spacings of degenerate pairs, their law, and how they scale.

The linear teacher-student (levels are the singular values themselves) and the Gaussian Boltzmann machine (levels are
squared singular values) of arXiv 2407.16427. Which levels form a pair is known from the target, never read off.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, estimated, labelled, replicas_first
from sgdphases.fits.bootstrap import jackknife
from sgdphases.fits.intervals import Estimate
from sgdphases.fits.power_law import fit_power_law
from sgdphases.fits.spectrum import degenerate_level_fit
from sgdphases.theory import coulomb_gas

MASS_SQUARE = 9.0
"""Visible mass squared of the Boltzmann machine, fixed during training."""
FIELD_MASS = 2.0
"""Mass of the scalar field that it learns."""
RELAXATION_TIMES = 10.0
"""Records count from so many relaxation times of a level on."""
GROWTH_TIMES = 12.0
"""And, where levels grow from a small start, from so many e-folds of that growth on: the last level to grow has but one
hidden direction left, in which it may start as small as 1e-5 of its target."""
GROUPS = 50
"""Groups of replicas that the jackknife leaves out in turn."""
BINS = np.linspace(0.0, 4.0, 41)
"""Bins of the normalised spacing."""

Part = tuple[int, ...]


@dataclass(frozen=True)
class Target:
    """Distinct levels that a model learns, the largest first.

    Attributes:
        kernel: Eigenvalue κ of the field's kernel of each (NaN where the model has none).
        level: Where it goes.
        modes: Which modes (descending) become it.
        relaxation: Rate per unit of flow time near the target.
        growth: Rate per unit of flow time far below it (infinite where there is no such regime).
    """

    kernel: Floats
    level: Floats
    modes: list[list[int]]
    relaxation: Floats
    growth: Floats


def spacing(cube: xr.Dataset) -> xr.Dataset:
    """Statistics of the levels in the stationary state, over points and the target's distinct levels.

    Late records of all replicas are pooled; errors leave out groups of whole replicas.

    Args:
        cube: Of the data set linear_teacher or scalar_field, with `eigenvalues`.

    Returns:
        Over (points, level): `mean_spacing`, `spacing_variance` (of s = S/⟨S⟩), `level_centre` and `level_width` (fit
        of the one-level density), `width_ratio` √π σ/⟨S⟩ and `spacing_slope` ⟨S⟩/√(ηA/B) for pairs, with A = ν² or x*;
        `deviation_slope` sd/√(ηx*/B) for single levels; `level_mean`, and `kernel_ratio` (μ² − ⟨x⟩)/κ; each with
        `_error`; `expected_slope` of the theory; `spacing_density` with `_error` over the normalised `spacing`;
        `late_records`. `pooled_spacing_variance`, `pooled_width_ratio` and, of the machine,
        `kernel_ratio_intercept` at η/B → 0.

    Raises:
        ValueError: If the cube holds neither of the models.
    """
    target, levels = _model(cube)
    values, dims = replicas_first(levels, "step", "mode")
    shape = (*values.shape[1:-2], len(target.level))
    unit = _unit(cube, target, dims)
    late = _late(cube, target, dims)
    found = {name: np.full((4, *shape), np.nan) for name in _WORDS}
    density = np.full((2, *shape, len(BINS) - 1), np.nan)
    for part in product(*(range(size) for size in shape)):
        sample = values[(slice(None), *part[:-1])][:, late[part]][..., target.modes[part[-1]]]
        if not sample.size:
            continue
        for name, estimate in _statistics(sample, unit[part], target.kernel[part[-1]]).items():
            found[name][(slice(None), *part)] = estimate.value, estimate.error, estimate.low, estimate.high
        if sample.shape[-1] == 2:
            density[(slice(None), *part)] = _histogram(sample)
    every = [*dims, "level"]
    variables: dict[str, tuple] = {}
    for name, parts in found.items():
        variables |= estimated(name, Estimate(*parts), every, attrs=dict(zip(_META, _WORDS[name], strict=True)))
    variables |= estimated("spacing_density", Estimate(*density, *density), [*every, "spacing"], attrs=_DENSITY)
    variables["late_records"] = (every, late.sum(axis=-1), {"long_name": "stationary records", "units": "1"})
    variables["expected_slope"] = (every, _expected(cube, target, dims, shape), _SLOPE)
    variables |= _pooled(found) | _intercept(cube, target, found, dims)
    return _coordinates(labelled(cube, variables, "statistics of stationary levels"), target)


_META = ("long_name", "symbol")
_WORDS = {
    "mean_spacing": ("mean spacing of a pair of levels", r"\langle S\rangle"),
    "spacing_variance": ("variance of the normalised spacing", r"\mathrm{var}(s)"),
    "level_centre": ("centre of a pair of levels", "x_0"),
    "level_width": ("width of a pair of levels", r"\sigma"),
    "width_ratio": ("spacing predicted by the width over the mean spacing", r"\sqrt{\pi}\sigma/\langle S\rangle"),
    "spacing_slope": ("mean spacing over its unit", r"\langle S\rangle/\sqrt{\eta A/B}"),
    "deviation_slope": ("deviation of a single level over its unit", r"\mathrm{sd}/\sqrt{\eta x^*/B}"),
    "level_mean": ("mean level", r"\langle x\rangle"),
    "kernel_ratio": ("learned over true eigenvalue of the kernel", r"\langle\lambda\rangle/\kappa"),
}
_DENSITY = {"long_name": "density of the normalised spacing", "symbol": "P(s)"}
_SLOPE = {"long_name": "slope of the theory", "units": "1", "symbol": r"\langle S\rangle/\sqrt{\eta A/B}"}


def _model(cube: xr.Dataset) -> tuple[Target, xr.DataArray]:
    """The target of a cube's data set, and the levels that its paper looks at."""
    modes = cube.sizes["mode"]
    if cube.attrs["dataset"] == "linear_teacher":
        everything = [list(range(modes))]
        return Target(np.array([np.nan]), np.array([2.0]), everything, np.array([1.0]), np.array([np.inf])), np.sqrt(
            cube["eigenvalues"]
        )
    if cube.attrs["dataset"] != "scalar_field":
        raise ValueError(f"fit spacing is for linear_teacher and scalar_field, not {cube.attrs['dataset']}")
    kernel = coulomb_gas.lattice_kernel(modes, FIELD_MASS)
    distinct, owner = np.unique(kernel.round(9), return_inverse=True)
    members = [np.flatnonzero(owner == place).tolist() for place in range(len(distinct))]
    level = coulomb_gas.boltzmann_machine_level(distinct, MASS_SQUARE)
    rate = coulomb_gas.boltzmann_machine_relaxation(distinct, MASS_SQUARE, learning_rate=1.0)
    # From dx/dt = 2x [1/κ − 1/(μ² − x)] for x far below x*.
    growth = 2 * level / (MASS_SQUARE * distinct)
    return Target(distinct, level, members, rate, growth), cube["eigenvalues"]


def _coordinate(cube: xr.Dataset, name: str, dims: list[Hashable]) -> Floats:
    """A hyperparameter over all grid dimensions and one more for the levels."""
    sizes = {dim: cube.sizes[dim] for dim in dims}
    grid = cube[name].astype(float).broadcast_like(xr.DataArray(np.empty(tuple(sizes.values())), dims=dims))
    return grid.transpose(*dims).values[..., None]


def _unit(cube: xr.Dataset, target: Target, dims: list[Hashable]) -> Floats:
    """√(ηA/B) of every point and level."""
    rate, size = _coordinate(cube, "learning_rate", dims), _coordinate(cube, "batch_size", dims)
    strength = target.level if np.isfinite(target.kernel).all() else _coordinate(cube, "noise_scale", dims) ** 2
    return np.sqrt(rate / size * strength)


def _late(cube: xr.Dataset, target: Target, dims: list[Hashable]) -> np.ndarray:
    """Which records count, over points, levels and steps."""
    flow = _coordinate(cube, "learning_rate", dims)[..., None] * cube["step"].values
    wait = RELAXATION_TIMES / target.relaxation + GROWTH_TIMES / target.growth
    return flow >= wait[:, None]


def _expected(cube: xr.Dataset, target: Target, dims: list[Hashable], shape: tuple[int, ...]) -> Floats:
    """Slope of the spacing (pairs) or of the deviation (single levels) by the theory."""
    if not np.isfinite(target.kernel).all():
        rate, size = _coordinate(cube, "learning_rate", dims), _coordinate(cube, "batch_size", dims)
        return np.broadcast_to(coulomb_gas.teacher_student_spacing_slope(rate, size), shape)
    pair = np.array([len(modes) == 2 for modes in target.modes])
    return np.broadcast_to(np.where(pair, np.sqrt(2 * np.pi), np.sqrt(2)), shape)


def _statistics(sample: Floats, unit: float, kernel: float) -> dict[str, Estimate]:
    """Estimates from the levels of one target at one point, shape (replicas, records, levels)."""
    mean = jackknife(lambda x: x.mean(), sample, groups=GROUPS)
    found = {"level_mean": mean}
    if np.isfinite(kernel):
        found["kernel_ratio"] = jackknife(lambda x: MASS_SQUARE - x.mean(), sample, groups=GROUPS).times(1 / kernel)
    if sample.shape[-1] == 1:
        found["deviation_slope"] = jackknife(lambda x: x.std(), sample, groups=GROUPS).times(1 / unit)
        return found
    gap = sample[..., 0] - sample[..., -1]
    found["mean_spacing"] = jackknife(lambda s: s.mean(), gap, groups=GROUPS)
    found["spacing_slope"] = found["mean_spacing"].times(1 / unit)
    found["spacing_variance"] = jackknife(lambda s: s.var() / s.mean() ** 2, gap, groups=GROUPS)
    found["level_centre"], found["level_width"] = degenerate_level_fit(sample.reshape(len(sample), -1), groups=10)
    # Width and spacing come from the same levels; the width's own error is the larger part of the ratio's.
    ratio = np.sqrt(np.pi) / found["mean_spacing"].value
    found["width_ratio"] = found["level_width"].times(ratio)
    return found


def _histogram(sample: Floats) -> tuple[Floats, Floats]:
    """Density of the normalised spacing; its error is that of the replicas, whose records may be correlated."""
    gap = sample[..., 0] - sample[..., 1]
    place = np.digitize((gap / gap.mean()), BINS) - 1
    each = np.stack([(place == number).mean(axis=1) for number in range(len(BINS) - 1)], axis=-1)
    weight, replicas = 1 / np.diff(BINS), len(each)
    # An empty bin has seen less than one replica.
    error = np.maximum(each.std(axis=0, ddof=1) / np.sqrt(replicas), 1 / replicas)
    return each.mean(axis=0) * weight, error * weight


def _pooled(found: dict[str, Floats]) -> dict[str, tuple]:
    """Weighted means over points and levels."""
    variables: dict[str, tuple] = {}
    for name in ("spacing_variance", "width_ratio"):
        value, error = found[name][0].ravel(), found[name][1].ravel()
        known = np.isfinite(value) & (error > 0)
        if known.any():
            weight = error[known] ** -2
            mean, spread = np.average(value[known], weights=weight), weight.sum() ** -0.5
            words = dict(zip(_META, _WORDS[name], strict=True)) | {"long_name": f"{_WORDS[name][0]}, all points"}
            variables |= estimated(
                f"pooled_{name}", Estimate(*map(np.asarray, (mean, spread, mean, mean))), (), attrs=words
            )
    return variables


def _intercept(cube: xr.Dataset, target: Target, found: dict[str, Floats], dims: list[Hashable]) -> dict[str, tuple]:
    """The learned kernel's ratio, averaged over pairs, as a straight line in η/B: its height at 0 and its power."""
    pairs = [place for place, modes in enumerate(target.modes) if len(modes) == 2]
    value, error = found["kernel_ratio"][0][..., pairs], found["kernel_ratio"][1][..., pairs]
    noise = (_coordinate(cube, "learning_rate", dims) / _coordinate(cube, "batch_size", dims))[..., 0]
    complete = np.isfinite(value).all(axis=-1)
    if complete.sum() < 3:
        return {}
    height = value[complete].mean(axis=-1)
    spread = np.sqrt((error[complete] ** 2).sum(axis=-1)) / value.shape[-1]
    line, covariance = np.polyfit(noise[complete], height, 1, w=1 / spread, cov="unscaled")
    end = Estimate(*map(np.asarray, (line[1], np.sqrt(covariance[1, 1]), np.nan, np.nan)))
    words = {"long_name": "learned over true kernel without noise", "symbol": r"\langle\lambda\rangle/\kappa"}
    power = fit_power_law(noise[complete], height - 1, error=spread).exponent
    meaning = {"long_name": "exponent of the kernel's bias in the learning rate over the batch size", "symbol": "p"}
    return estimated("kernel_ratio_intercept", end, (), attrs=words) | estimated(
        "kernel_bias_exponent", power, (), attrs=meaning
    )


def _coordinates(made: xr.Dataset, target: Target) -> xr.Dataset:
    """Name the levels and the bins."""
    words = {
        "kernel": (target.kernel, "eigenvalue of the kernel", r"\kappa"),
        "target_level": (target.level, "level in the target", "x^*"),
        "degeneracy": (np.array([len(modes) for modes in target.modes]), "levels that are equal in the target", "n"),
    }
    made = made.assign_coords(
        {name: ("level", v, {"long_name": long, "units": "1", "symbol": s}) for name, (v, long, s) in words.items()}
    )
    centres = (BINS[1:] + BINS[:-1]) / 2
    return made.assign_coords(
        spacing=("spacing", centres, {"long_name": "normalised spacing", "units": "1", "symbol": "s"})
    )
