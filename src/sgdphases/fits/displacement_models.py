"""Three courses of the mean square displacement, compared: a power law, diffusion with drift, and a saturating sum.

All are fitted to logarithms at steps that are even in their logarithm. The steps of one curve are not independent, so
that Akaike's numbers only rank; cross-validation leaves out a fifth of the (logarithmic) window in turn.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from sgdphases.fits.arrays import Floats

MODELS = ("power", "drift", "saturating")
"""a t^c; Dt + V²t²; a(1 - e^(-t/τ)) + Dt."""

PARAMETERS = {"power": 2, "drift": 2, "saturating": 3}

FOLDS = 5

SHARES = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 241)])
"""Values tried for r t at the end of the window, r = V²/D; the largest stands for pure drift."""

TINY = 1e-6
"""Share of free diffusion that counts as none."""


@dataclass(frozen=True)
class Comparison:
    """How well each of `MODELS` describes a curve.

    Attributes:
        residual: Root mean square of the residuals, (3,).
        aic: Akaike's number less the least one, (3,).
        validation: Root mean square of the residuals where the curve was left out, (3,).
    """

    residual: Floats
    aic: Floats
    validation: Floats


def drift_curves(time: Floats) -> Floats:
    """ln(t + r t²) less its mean for every r t_end of `SHARES`, (G, n)."""
    curves = np.log(time) + np.log1p(SHARES[:, None] * time / time[-1])
    return curves - curves.mean(axis=-1, keepdims=True)


def drift_ratio(time: Floats, logarithm: Floats, curves: Floats | None = None) -> tuple[float, float]:
    """Least squares of logarithms for r = V²/D of Dt + V²t².

    Args:
        time: t > 0, ascending, (n,).
        logarithm: ln E‖Δ‖², (n,).
        curves: `drift_curves` of the times, if they are at hand.

    Returns:
        r per unit of time, 0 where there is no drift, and the mean square of the residuals; NaN for a NaN.
    """
    if not len(time) or not np.isfinite(logarithm).all():
        return np.nan, np.nan
    tried = drift_curves(time) if curves is None else curves
    square = ((logarithm - logarithm.mean() - tried) ** 2).mean(axis=-1)
    best = int(square.argmin())
    if not 1 < best < len(SHARES) - 1:
        return SHARES[best] / time[-1], float(square[best])
    below, here, above = square[best - 1 : best + 2]
    shift = 0.5 * (below - above) / max(below - 2 * here + above, 1e-300)
    spacing = np.log(SHARES[-1] / SHARES[-2])
    least = here - 0.25 * (below - above) * shift
    return SHARES[best] * np.exp(shift * spacing) / time[-1], float(max(least, 0.0))


def power_residual(time: Floats, logarithm: Floats) -> float:
    """Mean square of the residuals of a straight line in logarithms."""
    arm, height = np.log(time) - np.log(time).mean(), logarithm - logarithm.mean()
    return float(((height - (arm * height).sum() / (arm**2).sum() * arm) ** 2).mean())


def compared(time: Floats, logarithm: Floats) -> Comparison:
    """Fit all models.

    Args:
        time: t > 0, ascending, (n,).
        logarithm: ln E‖Δ‖², (n,).

    Returns:
        The comparison; NaN where the curve is not known or has fewer than ten places.
    """
    count = len(time)
    if count < 2 * FOLDS or not np.isfinite(logarithm).all():
        return Comparison(*(np.full(len(MODELS), np.nan) for _ in range(3)))
    everything = np.ones(count, dtype=bool)
    folds = np.array_split(np.arange(count), FOLDS)
    squares, validation = [], []
    for model in MODELS:
        squares.append(((logarithm - _FITS[model](time, logarithm, everything)) ** 2).mean())
        missed = np.empty(count)
        for fold in folds:
            kept = everything.copy()
            kept[fold] = False
            missed[fold] = (logarithm - _FITS[model](time, logarithm, kept))[fold]
        validation.append(np.sqrt((missed**2).mean()))
    square = np.maximum(squares, 1e-300)
    aic = count * np.log(square) + 2 * np.array([PARAMETERS[model] for model in MODELS])
    return Comparison(np.sqrt(square), aic - aic.min(), np.array(validation))


def _power(time: Floats, logarithm: Floats, kept: np.ndarray) -> Floats:
    """The fitted curve at all times, from those that are kept."""
    return np.polynomial.Polynomial.fit(np.log(time[kept]), logarithm[kept], 1)(np.log(time))


def _drift(time: Floats, logarithm: Floats, kept: np.ndarray) -> Floats:
    ratio, _ = drift_ratio(time[kept], logarithm[kept])
    shape = np.log(time) + np.log1p(ratio * time)
    return shape + (logarithm - shape)[kept].mean()


def _saturating(time: Floats, logarithm: Floats, kept: np.ndarray) -> Floats:
    tau = np.geomspace(time[0] / 3, 3 * time[-1], 40)[:, None, None]
    free = np.concatenate([[TINY], np.geomspace(1e-3, 1e3, 25)])[:, None]
    tried = np.log(-np.expm1(-time / tau) + free * time / tau)
    apart = (logarithm - tried)[..., kept]
    place = np.unravel_index((apart - apart.mean(axis=-1, keepdims=True)).var(axis=-1).argmin(), tried.shape[:-1])
    start = np.log([tau[place[0], 0, 0], free[place[1], 0]])

    def shape(parameters: Floats) -> Floats:
        scaled = time / np.exp(parameters[0])
        return np.log(-np.expm1(-scaled) + np.exp(parameters[1]) * scaled)

    def residual(parameters: Floats) -> Floats:
        left = (logarithm - shape(parameters))[kept]
        return left - left.mean()

    reach = np.array([[np.log(time[0] / 10), np.log(TINY / 10)], [np.log(10 * time[-1]), np.log(1e4)]])
    best = shape(optimize.least_squares(residual, start, bounds=reach).x)
    return best + (logarithm - best)[kept].mean()


_FITS: dict[str, Callable[[Floats, Floats, np.ndarray], Floats]] = {
    "power": _power,
    "drift": _drift,
    "saturating": _saturating,
}
