"""Cubes of the chaos study that are true to its claims, to be made wrong one number at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from made_cubes import CONTROLS, chaos_cube
from sgdphases.claims import zhang2019optimality, zhang2021edge, zhang2023asymptotic
from sgdphases.claims.claim import Row, graded
from sgdphases.claims.zhang2021beyond import GOLDEN
from sgdphases.fits.registry import FITS
from sgdphases.steps.words import function_of

PAPERS = {
    "zhang2021edge": zhang2021edge,
    "zhang2019optimality": zhang2019optimality,
    "zhang2023asymptotic": zhang2023asymptotic,
}
FASHION_STEPS = 1875 * np.arange(101)


def fitted(cube: xr.Dataset, *names: str) -> dict[str, xr.Dataset]:
    """Fits as the pipeline makes them."""
    return {name: function_of(FITS[name])(cube) for name in names}


def rows_of(
    cube: xr.Dataset, fits: dict[str, xr.Dataset], *numbers: int, paper: str = "zhang2021edge"
) -> dict[str, Row]:
    """Rows of claims.csv by claim; of some claims, or of all of the paper."""
    statements = [s for s in PAPERS[paper].statements() if not numbers or int(s.name.partition("-")[2]) in numbers]
    return {row["claim"]: row for row in graded(statements, paper, cube, fits)}


def base_square(s: np.ndarray) -> np.ndarray:
    """J² of the dossier's base run; past 100 epochs it creeps to 4."""
    epochs, squares = [0, *GOLDEN], [0.25, *GOLDEN.values()]
    late = 1.799 + 2.2 * (1 - np.exp(-(s - 7500) / 12000))
    return np.where(s <= 7500, np.interp(s / 75, epochs, squares), late)


def base_loss(square: np.ndarray) -> np.ndarray:
    """Test loss, least at J² = 0.8."""
    return np.minimum(0.345 + 0.1 * (square - 0.8) ** 2 + 0.002 * np.maximum(square - 2, 0), 0.75)


def base_course(**wrong: Any) -> Callable[..., dict[str, np.ndarray]]:
    """The base run; `wrong` factors or shifts by name of the observable."""
    factor = {"coupling": 1.0, "accuracy": 0.0, "train": 0.0, "drift": -0.05, "work": 1.0, "diffusion": 0.02} | wrong

    def course(point: dict[str, Any], replica: int, s: np.ndarray) -> dict[str, np.ndarray]:
        square = factor["coupling"] ** 2 * base_square(s)
        mean = 0.005 * replica + factor["drift"] * s / s[-1]
        growth = 784 * (square + mean**2 / 784 - square[0] - mean[0] ** 2 / 784)
        train = np.interp(s / 75, [0, 50, 90], [0.5, 0.93, 0.962]) + factor["train"]
        accuracy = np.interp(square, [0.25, 1.0, 1.6], [0.85, 0.886, 0.893]) + factor["accuracy"]
        return {
            "coupling": np.sqrt(square),
            "mean_coupling": mean,
            "weight_work": factor["work"] * (1 - factor["diffusion"]) * growth / 2,
            "weight_diffusion": factor["diffusion"] * growth,
            "test_loss": base_loss(square) + 1e-5 * replica * square,
            "test_accuracy": accuracy,
            "epoch_train_accuracy": np.where(s > 0, train, np.nan),
        }

    return course


def exponents(square: np.ndarray, *, trained: float = 0.0, shuffled: float = 0.0) -> np.ndarray:
    """Lyapunov exponents (times, controls) along J²: trained weights turn chaotic at 1.72, Gaussian ones at 1.1."""
    known, measured = [0.25, 0.8, 0.96, 1.12, 1.46, 1.72, 1.9], [-0.67, -0.11, -0.015, -0.087, -0.095, 0.0, 0.03]
    gaussian = np.interp(square, [0.25, 1.1, 1.9], [-0.67, 0.0, 0.03])
    columns = dict.fromkeys(CONTROLS, gaussian)
    columns["trained"] = np.interp(square, known, measured) + trained * (square > 1)
    columns["shuffled"] = gaussian + shuffled
    return np.stack([columns[name] for name in CONTROLS], axis=-1)


def fashion_course(
    *, trained: float = 0.0, shuffled: float = 0.0, radius: float = 1.0, **wrong: Any
) -> Callable[..., dict[str, np.ndarray]]:
    """The base run with the dynamics of its weights, recorded every tenth epoch."""
    plain = base_course(**wrong)

    def course(point: dict[str, Any], replica: int, s: np.ndarray) -> dict[str, np.ndarray]:
        found = plain(point, replica, s)
        square = found["coupling"] ** 2
        seen = (np.round(s / 75) % 10 == 0)[:, None]
        radii = np.repeat(radius * np.sqrt(square)[:, None], len(CONTROLS), axis=1)
        measured = {
            "lyapunov": exponents(square, trained=trained, shuffled=shuffled) + 1e-4 * replica,
            "lyapunov_error": np.full(radii.shape, 0.002),
            "spectral_radius": radii,
        }
        return found | {name: np.where(seen, values, np.nan) for name, values in measured.items()}

    return course


def fashion(course: Callable | None = None, *, epochs: int = 100, replicas: int = 5, **wrong: Any) -> xr.Dataset:
    """The card chaos_fashion."""
    steps = FASHION_STEPS[: epochs + 1]
    course = course or fashion_course(**wrong)
    return chaos_cube(course, grid={"learning_rate": [0.02]}, times=steps, clock="step", replicas=replicas)
