"""Drift and diffusion apart: replicas share the one and not the other.

With ⟨Δ_r, Δ_s⟩ of replicas that differ in nothing but their noise, the mean over pairs is the square of the common
drift, without bias, and what is left of the mean square displacement is diffusion; two replicas are enough of a large
network. Errors leave out one replica at a time. Derived; the open question of Kunin et al., arXiv 2107.09133, is
whether powers above 1 are drift.

Beside it stands the drift that the gradient at the start makes along the eigenvectors stored there, by the exact
recursion: modes relax to their minimum, flat ones gather speed up to a constant one, and those of negative curvature
run away.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats
from sgdphases.fits.exponents import PROTOCOL, exponents, protocols_of, tangent_exponents, uneven_weights
from sgdphases.fits.grid import attributes_of
from sgdphases.fits.intervals import Estimate, student_estimate
from sgdphases.fits.walks import Walks, epochs_of, walks_of
from sgdphases.theory.momentum_displacement import displacement_from_rest

FIT = "drift_split"

COURSES = {
    "drift_square": ("square of the common drift", r"\|E\Delta\|^2"),
    "diffusion_square": ("mean square of the diffusion", r"E\|\Delta\|^2-\|E\Delta\|^2"),
    "drift_share": ("share of the drift in the displacement", r"\|E\Delta\|^2/E\|\Delta\|^2"),
    "split_drift_ratio": ("drift over diffusion, per epoch", "r=V^2/D"),
    "along_start": ("mean displacement along the start", r"E\langle\Delta,\theta^\ast\rangle/\|\theta^\ast\|"),
    "along_start_share": ("share of the drift along the start", r"\langle E\Delta,\theta^\ast\rangle^2/\ldots"),
}
"""What is had at every record: long name and symbol."""


@dataclass(frozen=True)
class Products:
    """What is needed of the Gram matrix, and of displacements along the start.

    Attributes:
        own: |Δ_r|², (R, P, T); NaN once a network has diverged.
        others: Sum of ⟨Δ_r, Δ_s⟩ over the other replicas s, (R, P, T).
        along: ⟨Δ_r, θ*⟩/|θ*|, (R, P, T); NaN where it was not recorded.
    """

    own: Floats
    others: Floats
    along: Floats

    @property
    def replicas(self) -> int:
        """R."""
        return len(self.own)

    def courses(self, epochs: Floats, without: int | None = None) -> dict[str, Floats]:
        """`COURSES`, (P, T), of all replicas or without one of them."""
        alive = np.isfinite(self.own)
        if without is not None:
            alive = alive & (np.arange(self.replicas) != without)[:, None, None]
        count = alive.sum(axis=0)
        pairs = np.where(count > 1, count * (count - 1.0), np.nan)
        total = np.where(alive, self.others, 0.0).sum(axis=0)
        if without is not None:
            # Of the pairs that are left each row has lost the one with the replica that is out.
            total = total - np.where(np.isfinite(self.own[without]), self.others[without], 0.0)
        square = _mean(self.own, alive, count)
        drift = total / pairs
        diffusion = square - drift
        along = _mean(self.along, alive, count)
        part = ((count * along) ** 2 - _mean(self.along**2, alive, count) * count) / pairs
        return {
            "drift_square": drift,
            "diffusion_square": diffusion,
            "drift_share": _over(drift, square),
            "split_drift_ratio": _over(drift, diffusion * np.where(epochs > 0, epochs, np.nan)),
            "along_start": along,
            "along_start_share": _over(part, drift),
        }


def drift_split(cube: xr.Dataset) -> xr.Dataset:
    """Squares of drift and diffusion at every record, their powers, and how much of the drift is along the start.

    Args:
        cube: With `displacement_gram` and `global_displacement`; `displacement_along_start` and
            `start_weight_norm` (or `weight_norm` at the first record) for the share along θ*; `curvature` and
            `gradient` for the drift that is predicted, `start_gradient_norm` for how much of it that is.

    Returns:
        With `_error`, `_low`, `_high` (jackknife over replicas; NaN with fewer than three), over grid and times:
        `drift_square`, `diffusion_square`, `drift_share`, `split_drift_ratio` (drift over diffusion over epochs: V²/D
        where both are steady), `along_start` (mean of ⟨Δ, θ*⟩/|θ*|; negative where weights shrink), `along_start_share`
        (its square without bias over that of the drift; only meaningful where the drift is significant). Over grid and
        protocol: `diffusion_power`, `whole_power` (of diffusion, and of drift and diffusion; NaN where a square is
        negative in the window), `drift_power`, by a line through the records of the window that have a drift, each
        counting by the square of its `drift_share`. Over the grid: `drift_significance` (the drift's square at the end
        over its error) and `replicas`. Over grid and times `drift_square_theory` (without errors), and with interval
        `drift_square_ratio` (measured over predicted; NaN where the prediction is not above the drift's error).
        `gradient_share`: of the squared gradient at the start, what lies along the eigenvectors that the prediction
        knows.

    Raises:
        ValueError: If a variable is missing, or there is a single replica.
    """
    walks = walks_of(cube, FIT, "displacement_gram", "global_displacement")
    if cube.sizes["replica"] < 2:
        raise ValueError(f"fit {FIT} needs at least two replicas")
    products, epochs = products_of(walks), epochs_of(walks)
    weight = protocols_of(walks).weight
    whole = products.courses(epochs)
    # Early drift is lost in the diffusion, and its logarithm must not count as much as that of late drift.
    uneven = uneven_weights(walks.step, weight, np.maximum(whole["drift_share"], 0.0) ** 2)

    def everything(without: int | None = None) -> dict[str, Floats]:
        found = products.courses(epochs, without)
        drift, diffusion = found["drift_square"], found["diffusion_square"]
        found["drift_power"] = tangent_exponents(drift, uneven, whole["drift_square"])
        return found | {
            "diffusion_power": exponents(diffusion, weight),
            "whole_power": exponents(drift + diffusion, weight),
        }

    alive = np.isfinite(products.own)
    estimates = replica_jackknife(everything(), [everything(replica) for replica in range(products.replicas)], alive)
    found: dict[str, tuple] = {}
    for name, words in COURSES.items():
        found |= walks.described(name, estimates[name], words, walks.grid.clock, interval=True)
    for name, about in (("drift", "drift"), ("diffusion", "diffusion"), ("whole", "mean square displacement")):
        words = (f"power of the {about}", "c")
        found |= walks.described(f"{name}_power", estimates[f"{name}_power"], words, "protocol", interval=True)
    end = estimates["drift_square"]
    significance = _over(np.asarray(end.value)[:, -1], np.asarray(end.error)[:, -1])
    found |= walks.plain("drift_significance", significance, ("drift at the end in errors", r"\|E\Delta\|^2/\delta"))
    found |= _predicted(walks, end)
    found |= walks.plain("replicas", alive[..., -1].sum(axis=0), ("replicas that have not diverged", "R"))
    return walks.finished(found, "drift and diffusion by products of replicas", PROTOCOL, _reasons(walks, found))


def _predicted(walks: Walks, measured: Estimate) -> dict[str, tuple]:
    """The drift from the gradient at the start, beside the measured one, and how much of the gradient it knows."""
    theory, share = np.full(walks.step.shape, np.nan), np.nan
    if {"curvature", "gradient"} <= set(walks.cube):
        own = walks.eigenvectors()
        gradient, curvature = walks.start("gradient")[own], walks.curvature()[:, own]
        share = float(_over((gradient**2).sum(), walks.start("start_gradient_norm") ** 2))
        steps = walks.step.astype(np.int64)[..., None]
        with np.errstate(over="ignore", invalid="ignore"):  # of modes that run away
            for point in range(walks.points):
                words = {"gradient": gradient, **walks.words(point)}
                theory[point] = displacement_from_rest(steps[point], curvature[point], 0.0, **words).sum(axis=-1)
        theory[~np.isfinite(theory)] = np.nan
    told = np.where(theory > measured.error, theory, np.nan)
    ratio = measured.times(1 / told)
    words = ("square of the drift by the gradient at the start", r"\|E\Delta\|^2_\mathrm{theory}")
    found = walks.plain("drift_square_theory", theory, words, walks.grid.clock)
    words = ("square of the drift over theory", r"\|E\Delta\|^2/\|E\Delta\|^2_\mathrm{theory}")
    found |= walks.described("drift_square_ratio", ratio, words, walks.grid.clock, interval=True)
    about = attributes_of(("share of the gradient along the eigenvectors", r"|Q^Tg|^2/|g|^2"))
    return found | {"gradient_share": ((), share, about)}


def _reasons(walks: Walks, found: Mapping[str, tuple]) -> list[str]:
    reasons = []
    if walks.cube.sizes["replica"] < 3:
        reasons.append("no errors of two replicas")
    if np.isnan(found["along_start"][1][..., -1]).any():
        reasons.append("no displacement_along_start, or no norm of the start")
    if not {"curvature", "gradient"} <= set(walks.cube):
        reasons.append("no curvature and gradient: no drift is predicted")
    if np.ptp(walks.weight_decay):
        reasons.append("at every weight decay the gradient is taken that the start's own one leaves")
    if np.isnan(found["drift_power_error"][1]).any():
        reasons.append("no power of the drift where fewer than two records of a window have one")
    return reasons


def products_of(walks: Walks) -> Products:
    """What replicas' displacements have in common.

    Args:
        walks: With `displacement_gram` and `global_displacement`, and `displacement_along_start` if there is one.

    Returns:
        The products.
    """
    own = _runs(walks, "global_displacement")
    gram = _runs(walks, "displacement_gram")
    # Whichever way the other replicas are counted, a row holds the network itself once.
    others = np.where(np.isfinite(gram), gram, 0.0).sum(axis=-1) - own
    along = np.full(own.shape, np.nan)
    if "displacement_along_start" in walks.cube and {"start_weight_norm", "weight_norm"} & set(walks.cube):
        along = _runs(walks, "displacement_along_start") / np.sqrt(_start_norm(walks))
    return Products(own, others, along)


def _start_norm(walks: Walks) -> Floats:
    """|θ*|²: as measured at the start, or (R, P, 1) as the first record has it."""
    if "start_weight_norm" in walks.cube:
        return walks.start("start_weight_norm")
    return _runs(walks, "weight_norm")[..., :1]


def _runs(walks: Walks, name: str) -> Floats:
    """A variable, (R, P, T, own...)."""
    return np.moveaxis(walks.values(name).astype(np.float64), 1, 0)


def replica_jackknife(
    whole: Mapping[str, Floats],
    parts: list[Mapping[str, Floats]],
    alive: np.ndarray,
    courses: Collection[str] = tuple(COURSES),
) -> dict[str, Estimate]:
    """Errors by leaving out one replica at a time, error² = (A - 1)/A Σ (θ_r - ⟨θ⟩)² over those that are alive.

    Args:
        whole: Estimates of all replicas, name to (P, ...).
        parts: The same without each replica in turn.
        alive: Which networks have not diverged, (R, P, T).
        courses: Names of those that have a value at every record, (P, T, ...).

    Returns:
        Name to estimate, with the interval of Student's t for the replicas that are alive.
    """
    found = {}
    for name, value in whole.items():
        left = np.stack([part[name] for part in parts])
        own = alive if name in courses else alive[..., -1:]
        own = np.broadcast_to(np.expand_dims(own, tuple(range(own.ndim, left.ndim))), left.shape)
        count = own.sum(axis=0)
        mean = _mean(left, own, count)
        square = np.where(own, left - mean, 0.0) ** 2
        error = np.sqrt((count - 1) / np.maximum(count, 1) * square.sum(axis=0))
        found[name] = student_estimate(value, np.where(count > 1, error, np.nan), freedom=count - 1)
    return found


def _mean(values: Floats, alive: np.ndarray, count: np.ndarray) -> Floats:
    total = np.where(alive, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _over(above: Floats, below: Floats) -> Floats:
    """Ratio; NaN where the denominator is not positive."""
    return np.divide(above, below, out=np.full(np.broadcast_shapes(above.shape, below.shape), np.nan), where=below > 0)
