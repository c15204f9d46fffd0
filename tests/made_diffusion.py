"""Cubes of the diffusion study, by the exact recursion v ← βv - (hx + g + ξ), x ← x + ηv of many modes at once."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from sgdphases.quantities import HYPERPARAMETERS, QUANTITIES
from sgdphases.storage.cube import Layout, measured, merge

OWN_AXES = {
    **dict.fromkeys(
        (
            *("position", "velocity", "position_mean", "position_square", "velocity_mean", "velocity_square"),
            *("position_velocity", "circulation", "force_mean", "force_square", "force_position"),
        ),
        ("mode",),
    ),
    "displacement_gram": ("other_replica",),
}


@dataclass(frozen=True)
class Landscape:
    """A quadratic loss around a start: its eigenvectors, the first of which a cube has as modes.

    Attributes:
        curvature: ρ of every direction, (K,).
        noise: Per-example variance of the gradient along each, (K,).
        gradient: Mean gradient at the start, with that of weight decay, (K,).
        place: θ* along each, (K,).
        modes: How many directions are modes of the cube.
        samples: N.
        excess: By how much the noise grows with the temperature η/(S(1 - β)), relative.
    """

    curvature: np.ndarray
    noise: np.ndarray
    gradient: np.ndarray = field(default_factory=lambda: np.zeros(1))
    place: np.ndarray = field(default_factory=lambda: np.ones(1))
    modes: int = 8
    samples: int = 3200
    excess: float = 0.0

    @property
    def directions(self) -> int:
        """K."""
        return len(self.curvature)

    def along(self, name: str) -> np.ndarray:
        """`gradient` or `place` of every direction."""
        return np.broadcast_to(getattr(self, name), (self.directions,))


def ladder(modes: int = 8, *, flat: int = 0, sigma: float = 0.5, power: float = 1.0, **more: Any) -> Landscape:
    """Curvatures from 10 down to 0.3 with noise sigma² ρ^power, and flat directions with noise that are no modes."""
    curvature = np.geomspace(10, 0.3, modes)
    noise = np.concatenate([sigma**2 * curvature**power, np.full(flat, sigma**2)])
    return Landscape(np.concatenate([curvature, np.zeros(flat)]), noise, modes=modes, **more)


def log_steps(end: int, *, each_decade: int = 10, lattice: int = 0) -> list[int]:
    """0, whole numbers even in their logarithm up to the end, and every multiple of `lattice`."""
    chosen = np.rint(np.geomspace(1, end, int(each_decade * np.log10(end)) + 1))
    chosen = np.concatenate([[0], chosen, np.arange(lattice, end + 1, lattice) if lattice else []])
    return np.unique(chosen).astype(int).tolist()


def walk_cube(
    landscape: Landscape,
    steps: Sequence[int],
    *,
    replicas: int = 8,
    sampler: str = "with_replacement",
    seed: int = 0,
    **grid: Sequence[float],
) -> xr.Dataset:
    """A cube over learning_rate, momentum, batch_size and weight_decay (those that are given) as merging leaves it."""
    axes = {"learning_rate": [0.05], "momentum": [0.9], "batch_size": [32], "weight_decay": [0.0]} | grid
    typed = {name: [QUANTITIES[name].typed(value) for value in values] for name, values in axes.items()}
    neutral = {name: QUANTITIES[name].default for name in HYPERPARAMETERS}
    points = [neutral | dict(zip(typed, each, strict=True)) for each in itertools.product(*typed.values())]
    found = _walk(landscape, points, list(steps), replicas, sampler, np.random.default_rng(seed))
    layout = Layout(typed, points, list(range(replicas)), list(steps))
    columns = {name: [point[name] for point in points for _ in range(replicas)] for name in points[0]}
    columns["replica"] = list(range(replicas)) * len(points)
    variables = {}
    for name, values in found.items():
        about = {"long_name": name, "units": "1", "symbol": name}
        flat = values.reshape(len(points) * replicas, *values.shape[2:])
        variables[name] = (("network", "step", *OWN_AXES.get(name, ())), flat, about)
    attrs = {"samples": landscape.samples, "sampler": sampler, "last_batch": "drop", "dataset": "made"}
    made = merge(layout, [("made", measured(columns, variables, steps=steps, layers={}, attrs=attrs))])
    return made.assign(started(landscape)).assign_attrs(experiment="made", study="diffusion")


def started(landscape: Landscape) -> dict[str, tuple]:
    """What is measured once at the start."""
    own = slice(landscape.modes)
    noise, gradient = landscape.noise, landscape.along("gradient")
    return {
        "curvature": (("mode",), landscape.curvature[own]),
        "curvature_residual": (("mode",), 1e-6 * landscape.curvature[own]),
        "noise": (("mode",), noise[own]),
        "noise_matrix": (("mode", "other_mode"), np.diag(noise[own])),
        "gradient": (("mode",), gradient[own]),
        "curvature_trace": ((), landscape.curvature.sum()),
        "curvature_trace_error": ((), 0.0),
        "noise_trace": ((), noise.sum()),
        "start_gradient_norm": ((), np.linalg.norm(gradient)),
        "start_weight_norm": ((), (landscape.along("place") ** 2).sum()),
    }


def _walk(
    landscape: Landscape,
    points: list[dict[str, Any]],
    steps: list[int],
    replicas: int,
    sampler: str,
    random: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Variables (points, replicas, times, own...)."""
    column = {
        name: np.array([point[name] for point in points], dtype=float)[:, None, None]
        for name in ("learning_rate", "momentum", "batch_size", "weight_decay")
    }
    rate, momentum = column["learning_rate"], column["momentum"]
    temperature = rate / (column["batch_size"] * (1 - momentum))
    size, whole = column["batch_size"], landscape.samples
    share = 1.0 if sampler == "with_replacement" else (whole - size) / (whole - 1)
    spread = np.sqrt(landscape.noise / size * share * (1 + landscape.excess * temperature))
    shape = (len(points), replicas, landscape.directions)
    force = (landscape.curvature + column["weight_decay"], landscape.along("gradient"))
    kicks = _Kicks(shape, spread, whole / size, sampler, random)
    x, v = np.zeros(shape), np.zeros(shape)
    found: dict[str, list[np.ndarray]] = {}
    for start, end in zip([0, *steps[:-1]], steps, strict=True):
        positions, velocities = np.empty((2, end - start + 1, *shape))
        positions[0], velocities[0] = x, v
        for place, kick in enumerate(kicks.draw(end - start), start=1):
            v = momentum * v - force[0] * x - force[1] - kick
            x = x + rate * v
            positions[place], velocities[place] = x, v
        record = _moments(positions, velocities, momentum, landscape.modes)
        record |= _norms(positions[-1], velocities[1:], rate, landscape.along("place"))
        for name, values in record.items():
            found.setdefault(name, []).append(values)
    return {name: np.stack(values, axis=2) for name, values in found.items()}


class _Kicks:
    """Noise of every step: independent, or of epochs in which the same batches sum to zero."""

    def __init__(
        self, shape: tuple[int, ...], spread: np.ndarray, period: np.ndarray, sampler: str, random: np.random.Generator
    ) -> None:
        self.shape, self.spread, self.random = shape, spread, random
        self.period = 0 if sampler == "with_replacement" else int(period.flat[0])
        assert not self.period or (period == self.period).all(), "epochs must have one length"
        self.left = np.empty((0, *shape))

    def draw(self, number: int) -> np.ndarray:
        """Noises of the next steps, (number, ...)."""
        if not self.period:
            return self.spread * self.random.standard_normal((number, *self.shape))
        while len(self.left) < number:
            epoch = self.random.standard_normal((self.period, *self.shape))
            epoch = (epoch - epoch.mean(axis=0)) * np.sqrt(self.period / (self.period - 1))
            self.left = np.concatenate([self.left, self.spread * epoch])
        drawn, self.left = self.left[:number], self.left[number:]
        return drawn


def _moments(x: np.ndarray, v: np.ndarray, momentum: np.ndarray, modes: int) -> dict[str, np.ndarray]:
    """Projections at the record and means over the updates that led to it, from states (updates + 1, ...)."""
    x, v = x[..., :modes], v[..., :modes]
    before, after = (x[:-1], v[:-1]), (x[1:], v[1:])
    push = momentum * before[1] - after[1]
    means = {
        "position_mean": before[0],
        "position_square": before[0] ** 2,
        "velocity_mean": before[1],
        "velocity_square": before[1] ** 2,
        "position_velocity": before[0] * before[1],
        "circulation": before[0] * after[1] - before[1] * after[0],
        "force_mean": push,
        "force_square": push**2,
        "force_position": push * before[0],
    }
    found = {name: values.mean(axis=0) if len(values) else np.zeros(x.shape[1:]) for name, values in means.items()}
    return {"position": x[-1], "velocity": v[-1]} | found


def _norms(x: np.ndarray, v: np.ndarray, rate: np.ndarray, place: np.ndarray) -> dict[str, np.ndarray]:
    """Squared lengths, products and the Gram matrix over all directions, (P, R, ...)."""
    one_step = (rate**2 * v**2).sum(axis=-1)
    return {
        "local_displacement": one_step.mean(axis=0) if len(v) else np.zeros(x.shape[:2]),
        "global_displacement": (x**2).sum(axis=-1),
        "displacement_gram": np.einsum("prk,psk->prs", x, x),
        "displacement_along_start": x @ place,
        "weight_norm": ((x + place) ** 2).sum(axis=-1),
    }
