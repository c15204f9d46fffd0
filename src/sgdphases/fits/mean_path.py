"""Mean way back to a minimum that is far off, beside three theories of it: linear regression as a damped oscillator.

Kunin et al., arXiv 2107.09133, Fig. 2, start their Langevin equation at (x₀, v₀). The velocity of a step is the slope
between two positions, so that it belongs half a step earlier: a start at v₀(1 + β)/2 - hx₀/2, with v_k at the time
(k - ½)η, follows the mean of SGD more closely; the recursion itself is exact. From (x₀, 0) velocities come out as close
but positions half a step late. Linear regression with several outputs has eigenvalues many times over, whose
eigenvectors are any: of each eigenspace the way is taken along the direction of the minimum in it, which is a matter of
the data and the start alone. Eigenspaces without curvature, such as those of pixels that are never bright, are left
out. Shapes: R replicas, P points, T records, M modes, G eigenspaces; states (x, v) on a last axis, x over the initial
distance |x₀| and v over ω|x₀|.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, replica_mean
from sgdphases.fits.bootstrap import jackknife
from sgdphases.fits.grid import attributes_of
from sgdphases.fits.intervals import Estimate, normal_estimate, stacked
from sgdphases.fits.walks import Walks, named, walks_of
from sgdphases.theory import langevin, momentum_sgd

FIT = "mean_path"

THEORIES = ("exact", "paper", "half_step")
"""The recursion; the Langevin equation from (x₀, v₀); the same from half a step earlier."""

THEORY = named("theory", THEORIES, "what the mean path is compared with")
"""Coordinates of the dimension `theory`."""

EMPTY = 1e-9
"""Curvature over the largest one up to which a mode is that of a pixel that is never bright."""

EQUAL = 1e-6
"""Relative difference of curvatures that belong to one eigenspace."""

FAR = 100.0
"""Stationary standard deviations from which on a start is far from its minimum."""

GROUPS = 16
"""Of replicas, of which one at a time is left out for the error of a period."""

PLACES = {"position": ("position", "x/|x_0|"), "velocity": ("velocity", r"v/\omega|x_0|")}
"""What has a path: its long name and symbol."""

SOURCES = {"measured": "mean of the replicas", **{name: name.replace("_", " ") for name in THEORIES}}
"""Where a path comes from, in words."""

ERRORS = {
    "path_error": ("rms distance of the mean position from theory", r"\mathrm{rms}(\bar x-x_\mathrm{th})/|x_0|"),
    "path_worst": ("largest distance of the mean position from theory", r"\max|\bar x-x_\mathrm{th}|/|x_0|"),
    "velocity_error": ("rms distance of the mean velocity", r"\mathrm{rms}(\bar v-v_\mathrm{th})/\omega|x_0|"),
    "velocity_worst": ("largest distance of the mean velocity", r"\max|\bar v-v_\mathrm{th}|/\omega|x_0|"),
}
"""What a theory is judged by: long name and symbol."""


@dataclass(frozen=True)
class Path:
    """The way of one point.

    Attributes:
        states: Of every replica, (R, T, G, 2).
        expected: Of each theory, (theories, T, G, 2).
        amplitude: |x₀|, (G,).
        distance: The same over the standard deviation of the stationary state, (G,).
    """

    states: Floats
    expected: Floats
    amplitude: Floats
    distance: Floats


def mean_path(cube: xr.Dataset) -> xr.Dataset:
    """Mean path of every eigenspace, and its distance from each theory.

    Args:
        cube: With `position`, `velocity`, `curvature`, and `gradient`, in which the start decays as the networks do;
            `noise_matrix`, of the gradients at the minimum, and the attribute `sampler`, for the distance.

    Returns:
        Over grid, eigenspace and theory (exact recursion; the paper's mean; the same from a start half a step
        earlier), with `_error`: `path_error` and `path_worst` (root mean square and largest over the records, in units
        of |x₀|), `velocity_error` and `velocity_worst` (of ω|x₀|). Over grid and eigenspace: `period` in steps, with
        `_error` (NaN where the mean does not oscillate or records are not evenly spaced), `amplitude` |x₀|, `distance`
        (|x₀| in stationary standard deviations), the flag `far` (at least 100 of them), `path_noise` (what noise alone
        would make of `path_error`). Over grid, eigenspace and step, x and v in the same units: `measured_position`,
        with `_error`, `exact_position`, `paper_position`, `half_step_position`, and likewise `_velocity`;
        `deviation` over theory, of the position. Over eigenspace: `multiplicity`, `eigenspace_curvature`.

    Raises:
        ValueError: If a variable is missing, or nothing curves upwards.
    """
    walks = walks_of(cube, FIT, "position", "velocity", "curvature", "gradient")
    spaces = list(_eigenspaces(walks))
    if not spaces:
        raise ValueError(f"fit {FIT} needs eigenvectors along which the loss curves upwards")
    paths = [_path(walks, point, spaces) for point in range(walks.points)]
    reasons = [] if "noise_matrix" in cube else ["no noise_matrix: no stationary standard deviation"]
    periods = [_period(walks.step[point], path.states) for point, path in enumerate(paths)]
    if any(np.isnan(period.value).all() for period in periods):
        reasons.append("no period at some points: records are not evenly spaced, or nothing oscillates")
    found = _compared(walks, paths) | _courses(walks, paths) | _sizes(walks, paths)
    found |= walks.described("period", stacked(periods), ("period of the mean path", "T"), "eigenspace")
    curvature = walks.start("curvature")
    number = {"long_name": "eigenspace", "symbol": "g", "units": "1"}
    found["multiplicity"] = (("eigenspace",), [len(space) for space in spaces], attributes_of(("dimensions", "n")))
    means = [float(curvature[space].mean()) for space in spaces]
    found["eigenspace_curvature"] = (("eigenspace",), means, attributes_of(("curvature", r"\rho")))
    coordinates = THEORY | {"eigenspace": ("eigenspace", np.arange(len(spaces)), number)}
    return walks.finished(found, "mean path to the minimum", coordinates, reasons, far=FAR)


def _eigenspaces(walks: Walks) -> Iterator[np.ndarray]:
    """Numbers of the modes that have the same curvature, those of the largest curvature first."""
    rho = walks.start("curvature")
    usable = walks.confined().all(axis=0) & (rho > EMPTY * np.nanmax(rho))
    order = np.flatnonzero(usable)
    order = order[np.argsort(-rho[order], kind="stable")]
    if order.size:
        ends = np.flatnonzero(-np.diff(rho[order]) > EQUAL * rho[order][:-1]) + 1
        yield from np.split(order, ends)


def _path(walks: Walks, point: int, spaces: list[np.ndarray]) -> Path:
    """The path of one point along the direction of each eigenspace in which its minimum lies."""
    words, h = walks.words(point), walks.curvature()[point]
    away = walks.start("gradient") / np.where(h > 0, h, np.nan)  # start less minimum
    onto, amplitude = np.zeros((len(h), len(spaces))), np.empty(len(spaces))
    for place, space in enumerate(spaces):
        amplitude[place] = np.linalg.norm(away[space])
        onto[space, place] = away[space] / amplitude[place]
    used = np.concatenate(spaces)
    curvature = np.array([h[space].mean() for space in spaces])
    x = (walks.values("position")[point][..., used] + away[used]) @ onto[used] / amplitude
    omega = langevin.frequency(curvature, **words)
    v = walks.values("velocity")[point][..., used] @ onto[used] / (omega * amplitude)
    states = np.stack([x, v], axis=-1)
    return Path(
        states=states[np.isfinite(states).all(axis=(1, 2, 3))],
        expected=_expected(walks.step[point], curvature, omega, words),
        amplitude=amplitude,
        distance=amplitude / _stationary_deviation(walks, point, curvature, onto),
    )


def _expected(step: Floats, curvature: Floats, omega: Floats, words: dict[str, float]) -> Floats:
    """States of each theory from (1, 0) on, (theories, T, G, 2)."""
    start = np.array([1.0, 0.0])
    steps, time = step[:, None], words["learning_rate"] * step[:, None]
    half = langevin.half_step_start(start, curvature, momentum=words["momentum"])
    late = langevin.expected_state(time, half, curvature, **words)
    # The velocity of a step belongs to the middle between its positions.
    middle = langevin.expected_state(time - words["learning_rate"] / 2, half, curvature, **words)
    found = [
        momentum_sgd.expected_state(steps, start, curvature, **words),
        langevin.expected_state(time, start, curvature, **words),
        np.stack([late[..., 0], middle[..., 1]], axis=-1),
    ]
    return np.stack(found) / np.stack([np.ones_like(omega), omega], axis=-1)


def _stationary_deviation(walks: Walks, point: int, curvature: Floats, onto: Floats) -> Floats:
    """Standard deviation of the position along each direction in the stationary state, (G,); NaN if not known."""
    matrix = walks.start("noise_matrix")
    if not matrix.ndim:
        return np.full(len(curvature), np.nan)
    noise = walks.batch_noise(np.einsum("mg,mn,ng->g", onto, matrix, onto))[point]
    return np.sqrt(momentum_sgd.position_variance(curvature, noise, **walks.words(point)))


def _compared(walks: Walks, paths: list[Path]) -> dict[str, tuple]:
    """How far the mean paths are from each theory."""
    found: dict[str, tuple] = {}
    for name, words in ERRORS.items():
        place, measure = int(name.startswith("velocity")), _largest if name.endswith("worst") else _root_mean_square
        each = [
            stacked([measure(path.states[..., place], expected[..., place]) for expected in path.expected], axis=-1)
            for path in paths
        ]
        found |= walks.described(name, stacked(each), words, "eigenspace", "theory")
    return found


def _root_mean_square(values: Floats, expected: Floats) -> Estimate:
    """Of the mean's distances over the records, (G,), from (R, T, G) and (T, G); errors by each replica's share."""
    apart = replica_mean(values).value - expected
    size = np.sqrt((apart**2).mean(axis=0))
    weight = np.divide(apart, size * len(apart), out=np.zeros_like(apart), where=size > 0)
    return normal_estimate(size, replica_mean(np.einsum("rtg,tg->rg", values, weight)).error)


def _largest(values: Floats, expected: Floats) -> Estimate:
    """Of the mean's distances over the records, (G,), with the standard error of the mean at that record."""
    mean = replica_mean(values)
    apart = np.abs(mean.value - expected)
    record = apart.argmax(axis=0)[None]
    taken = (np.take_along_axis(each, record, axis=0)[0] for each in (apart, mean.error))
    return normal_estimate(*taken)


def _courses(walks: Walks, paths: list[Path]) -> dict[str, tuple]:
    """Mean paths, measured and of theories, over the steps."""
    clock, found = walks.grid.clock, {}
    for place, (name, (words, symbol)) in enumerate(PLACES.items()):
        mean = stacked([replica_mean(path.states[..., place]) for path in paths])
        about = (f"{words}, {SOURCES['measured']}", symbol)
        found |= walks.described(f"measured_{name}", mean, about, clock, "eigenspace")
        for number, theory in enumerate(THEORIES):
            values = np.stack([path.expected[number, ..., place] for path in paths])
            about = (f"{words}, {SOURCES[theory]}", symbol)
            found |= walks.plain(f"{theory}_{name}", values, about, clock, "eigenspace")
    apart = [replica_mean(path.states[..., 0]).value - path.expected[..., 0] for path in paths]
    about = ("mean position less theory", r"(\bar x-x_\mathrm{th})/|x_0|")
    return found | walks.plain("deviation", np.stack(apart), about, "theory", clock, "eigenspace")


def _sizes(walks: Walks, paths: list[Path]) -> dict[str, tuple]:
    """How far starts are from their minima, and what noise is left in the mean."""
    noise = [np.sqrt((replica_mean(path.states[..., 0]).error ** 2).mean(axis=0)) for path in paths]
    distance = np.stack([path.distance for path in paths])
    columns = {
        "amplitude": (np.stack([path.amplitude for path in paths]), ("initial distance from the minimum", "|x_0|")),
        "distance": (distance, ("initial distance in stationary standard deviations", r"|x_0|/\sqrt{\mathrm{Var}\,x}")),
        "far": ((distance >= FAR).astype(np.int8), ("whether the start is far from its minimum", r"\chi")),
        "path_noise": (
            np.stack(noise),
            ("rms standard error of the mean", r"\mathrm{rms}\,\delta\bar x/|x_0|"),
        ),
    }
    found: dict[str, tuple] = {}
    for name, (values, words) in columns.items():
        found |= walks.plain(name, values, words, "eigenspace")
    return found


def _period(step: Floats, states: Floats) -> Estimate:
    """Period in steps by the linear map from each record's mean state to the next one's, (G,); NaN of no rotation."""
    gaps = np.diff(step)
    if len(gaps) < 2 or (gaps != gaps[0]).any() or not len(states):
        return normal_estimate(*np.full((2, states.shape[2]), np.nan))

    def turning(values: Floats) -> Floats:
        mean = np.moveaxis(values.mean(axis=0), 1, 0)  # (G, T, 2)
        before, after = mean[:, :-1], mean[:, 1:]
        map_ = np.linalg.solve(before.mT @ before, before.mT @ after)
        phase = np.abs(np.angle(np.linalg.eigvals(map_))).max(axis=-1)
        return 2 * np.pi * gaps[0] / np.where((phase > 0) & (phase < np.pi), phase, np.nan)

    return jackknife(turning, states, groups=GROUPS)
