"""The exact balance of J²: work of the gradient, diffusion by the length of steps, weight decay; and what is measured.

For a square layer of N x N weights ||W||²/N = J² + J0²/N =: R. With heavy-ball momentum U = W + c momentum v, where
c = η/(1 - momentum), moves by c times the push -grad L - weight_decay W, so that exactly

    d||U||² = 2 d(weight_work) + d(weight_diffusion) - 2 weight_decay ||W||² ds,           2 weight_decay = 4 λ,

with `weight_work` the sum of -c <W, grad L> and `weight_diffusion` that of c² (||v'||² - momentum² ||v||²), v' being
the velocity after the step. Gradient flow has no diffusion. SGD has, and it is not small: in stiff directions the noise
drives the weights up and down a slope that drives them back, and that negative work cancels their diffusion. So
neither part alone scales with flow time, and their sum does. What is left over is the lag of W behind U, momentum
η/(1 - momentum)² of flow time, how the gain is spread between records, and rounding. What decay alone has
taken is the integral of a piecewise cubic through the recorded R.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.interpolate import PchipInterpolator
from scipy.special import exprel

from sgdphases.fits.arrays import Floats, replica_mean
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.curves import REACHED, finished, growth_window, mean_over, squared_coupling
from sgdphases.fits.decay import LAST
from sgdphases.fits.grid import Grid, described, grid_of, hidden
from sgdphases.fits.weight_growth import window_lines
from sgdphases.quantities import attributes

NEEDED = ("coupling", "mean_coupling", "weight_work")
RESAMPLES = 300

COURSES = {
    "measured_growth": ("measured growth of $J^2+J_0^2/N$", r"\Delta R"),
    "predicted_growth": ("predicted growth of $J^2+J_0^2/N$", r"\Delta R"),
    "work_growth": ("growth by the gradient's work", r"-(2/N)\int\langle W,\nabla L\rangle ds"),
    "diffusion_growth": ("growth by the diffusion of the weights", r"(1/N)\sum c^2\|g\|^2"),
    "decay_loss": ("loss by weight decay", r"4\lambda\int R\,ds"),
}
"""Growth since the start, by name: long name and symbol."""

RATES = {
    "measured_constant": ("measured_growth", "measured growth constant", r"S\,dR/ds"),
    "predicted_constant": ("predicted_growth", "predicted growth constant", r"S\,dR/ds"),
    "work_constant": ("work_growth", "growth constant by work alone", "k_W"),
    "diffusion_constant": ("diffusion_growth", "growth constant by diffusion alone", "k_D"),
    "decay_constant": ("decay_loss", "constant of the loss by decay", r"4S\lambda R"),
}
"""S times the slopes of courses: their name, long name and symbol."""


@dataclass(frozen=True)
class Terms:
    """The terms of the balance.

    Attributes:
        square: R = J² + J0²/N, (replicas, points, times).
        courses: Growth since the start for each of `COURSES`, same shape; the diffusion is NaN where it was not
            recorded, and is then not in the prediction.
    """

    square: Floats
    courses: dict[str, Floats]


def balance(cube: xr.Dataset) -> xr.Dataset:
    """Measured and predicted growth of J² + J0²/N, in all and between records.

    Args:
        cube: With `coupling`, `mean_coupling`, `weight_work` of a square hidden layer, and `weight_diffusion`: without
            it the prediction is of gradient flow, and the attribute `reason` says so.

    Returns:
        Over the grid and times, since the start: `measured_growth`, `predicted_growth`, `work_growth`,
        `diffusion_growth`, `decay_loss`; and between each record and the one before (at `middle_epoch_time`, NaN at the
        first) the slopes times S, `measured_constant`, `predicted_constant`, `work_constant`, `diffusion_constant`,
        `decay_constant`. Over the grid: `window_<constant>`, lines through the growth window as `weight_growth` draws
        them; `window_relative_error` (predicted/measured - 1), `work_relative_error` (of work less decay, without
        diffusion), `largest_relative_error` (of the constants between records in the window); `residual_share` and
        `lag_share` (measured less predicted growth, and what of it is the velocity's lag, over the growth at the end of
        the window); `end_relative_error` (predicted over measured R at the end, less 1), and over the last fifth
        of the run `end_<constant>` and `end_ratio`, work and diffusion over decay. `replicas`. With `_error`.

    Raises:
        ValueError: If one of the variables is missing or the hidden layer is not square.
    """
    missing = [name for name in NEEDED if name not in cube]
    if missing:
        raise ValueError(f"fit balance needs {', '.join(missing)} among the running observables")
    grid = grid_of(cube)
    terms = _terms(cube, grid)
    found = _in_time(grid, terms)
    found |= _window(grid, terms, growth_window(cube, grid))
    found |= _residual(cube, grid, terms, growth_window(cube, grid))
    found |= _end(grid, terms)
    words = {"long_name": "replicas that have not diverged", "units": "1", "symbol": "R"}
    found["replicas"] = (grid.dims, np.isfinite(terms.square[..., -1]).sum(axis=0).reshape(grid.shape), words)
    made = finished(cube, grid, found, "balance of the hidden layer's growth", _reasons(cube, found))
    middle = np.full_like(grid.epoch_time, np.nan)
    middle[:, 1:] = (grid.epoch_time[:, 1:] + grid.epoch_time[:, :-1]) / 2
    places = middle.reshape(*grid.shape, middle.shape[-1])
    return made.assign_coords(middle_epoch_time=((*grid.dims, grid.clock), places, attributes("epoch_time")))


def _side(cube: xr.Dataset) -> int:
    """N of the hidden layer."""
    layer = int(cube["layer"][0]) if "layer" in cube.coords else 0
    fan_in, fan_out = (int(width) for width in np.asarray(cube.attrs["widths"])[layer : layer + 2])
    if fan_in != fan_out:
        raise ValueError(f"fit balance needs a square hidden layer, not {fan_in} to {fan_out}")
    return fan_in


def _terms(cube: xr.Dataset, grid: Grid) -> Terms:
    side = _side(cube)
    square = squared_coupling(cube, grid) + grid.curves(hidden(cube["mean_coupling"])) ** 2 / side
    alive = np.isfinite(square)
    work = np.where(alive, grid.curves(hidden(cube["weight_work"])) * 2 / side, np.nan)
    diffusion = np.full_like(square, np.nan)
    if "weight_diffusion" in cube:
        diffusion = np.where(alive, grid.curves(hidden(cube["weight_diffusion"])) / side, np.nan)
    gain = work + (diffusion if "weight_diffusion" in cube else 0.0)
    rate = 2 * grid.on_points(cube["weight_decay"])
    predicted = _decaying(gain, square[..., 0], grid.flow_time, rate)
    decay = rate[:, None] * np.stack([_integral(t, square[:, point]) for point, t in enumerate(grid.flow_time)], axis=1)
    courses = (square - square[..., :1], predicted, work, diffusion, decay)
    return Terms(square, dict(zip(COURSES, courses, strict=True)))


def _decaying(gain: Floats, start: Floats, time: Floats, rate: Floats) -> Floats:
    """Growth of R by dR = d(gain) - rate R ds, the gain even between records.

    The decay acts on the predicted R, so that an error made between two records, as in the first ones, where R may
    change much, decays as it would in the network; summed over measured values of R it would stay for ever.

    Args:
        gain: What R has gained since the start, (replicas, points, times).
        start: R at the first record, (replicas, points).
        time: Flow time, (points, times).
        rate: 4 times the L2 strength, (points,).

    Returns:
        R less its start, (replicas, points, times).
    """
    exponents = rate[:, None] * np.diff(time, axis=-1)
    kept, share = np.exp(-exponents), exprel(-exponents)
    found = np.empty_like(gain)
    found[..., 0] = start + 0 * gain[..., 0]
    for place, gained in enumerate(np.moveaxis(np.diff(gain, axis=-1), -1, 0)):
        found[..., place + 1] = found[..., place] * kept[:, place] + gained * share[:, place]
    return found - start[..., None]


def _integral(time: Floats, values: Floats) -> Floats:
    """Integral from the start to each record, (replicas, times); NaN where a record is missing."""
    whole = np.isfinite(values).all(axis=-1)
    found = np.full(values.shape, np.nan)
    if whole.any() and time.size > 1:
        curve = PchipInterpolator(time, values[whole], axis=-1).antiderivative()
        found[whole] = curve(time) - curve(time[:1])
    return found


def _rates(grid: Grid, course: Floats) -> Floats:
    """S times the slope between each record and the one before."""
    found = np.full(course.shape, np.nan)
    found[..., 1:] = np.diff(course, axis=-1) / np.diff(grid.epoch_time, axis=-1)
    return found


def _in_time(grid: Grid, terms: Terms) -> dict[str, tuple]:
    """Courses and their slopes at every record."""
    found: dict[str, tuple] = {}
    for name, words in COURSES.items():
        estimate = replica_mean(terms.courses[name])
        found |= described(grid, name, estimate, words, grid.clock)
    for name, (course, *words) in RATES.items():
        estimate = replica_mean(_rates(grid, terms.courses[course]))
        found |= described(grid, name, estimate, tuple(words), grid.clock)
    return found


def _window(grid: Grid, terms: Terms, window: float) -> dict[str, tuple]:
    """Lines through the growth window, and how far the prediction is off."""
    lines = {name: window_lines(terms.courses[course], grid, window).slope for name, (course, *_) in RATES.items()}
    found: dict[str, tuple] = {}
    for name, (_, long_name, symbol) in RATES.items():
        estimate = replica_mean(lines[name])
        found |= described(grid, f"window_{name}", estimate, (f"{long_name}, growth window", symbol))

    def error(measured: Floats, predicted: Floats) -> Floats:
        return _ratio(mean_over(predicted), mean_over(measured)) - 1

    measured, without = lines["measured_constant"], lines["work_constant"] - lines["decay_constant"]
    estimate = bootstrap(error, (measured, lines["predicted_constant"]))
    words = ("predicted over measured growth constant, less 1", r"\delta k/k")
    found |= described(grid, "window_relative_error", estimate, words)
    words = ("growth constant of work less decay over the measured one, less 1", r"\delta k/k")
    found |= described(grid, "work_relative_error", bootstrap(error, (measured, without)), words)

    inside = (grid.flow_time > 0) & (grid.flow_time <= window / REACHED) & np.isfinite(measured).any(axis=0)[:, None]

    def largest(measured: Floats, predicted: Floats) -> Floats:
        share = np.abs(error(measured, predicted))
        return np.where(inside & np.isfinite(share), share, -1.0).max(axis=-1)

    rates = tuple(_rates(grid, terms.courses[name]) for name in ("measured_growth", "predicted_growth"))
    estimate = bootstrap(lambda *pair: _known(largest(*pair)), rates, resamples=RESAMPLES)
    words = ("largest relative error of the growth constant between records", r"\delta k/k")
    return found | described(grid, "largest_relative_error", estimate, words)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """A share; NaN where the whole does not change, as of a network that is not trained."""
    return part / np.where(whole == 0, np.nan, whole)


def _known(values: Floats) -> Floats:
    """Shares, NaN where there is none."""
    return np.where(values >= 0, values, np.nan)


def _residual(cube: xr.Dataset, grid: Grid, terms: Terms, window: float) -> dict[str, tuple]:
    """What the prediction leaves over at the end of the window, and what of it is the velocity's lag."""
    reached = grid.flow_time[:, -1] >= REACHED * window
    last = np.where(grid.flow_time <= window / REACHED, grid.flow_time, -1).argmax(axis=-1)

    def at_end(course: Floats) -> Floats:
        return np.where(reached, np.take_along_axis(course, last[None, :, None], axis=-1)[..., 0], np.nan)

    growth, predicted = (at_end(terms.courses[name]) for name in ("measured_growth", "predicted_growth"))
    rate, momentum = (grid.on_points(cube[name]) for name in ("learning_rate", "momentum"))
    delay = momentum * rate / (1 - momentum) ** 2 / grid.samples
    lag = -at_end(_rates(grid, terms.courses["work_growth"] - terms.courses["decay_loss"])) * delay

    def share(growth: Floats, part: Floats) -> Floats:
        return _ratio(mean_over(part), mean_over(growth))

    estimate = bootstrap(share, (growth, growth - predicted))
    words = ("share of the growth that the prediction leaves over", r"\delta R/\Delta R")
    found = described(grid, "residual_share", estimate, words)
    words = ("share of the growth that the velocity's lag leaves over", r"\delta R/\Delta R")
    return found | described(grid, "lag_share", bootstrap(share, (growth, lag)), words)


def _end(grid: Grid, terms: Terms) -> dict[str, tuple]:
    """The end of the run: R itself, and gain against loss over the last fifth."""
    samples = (terms.square[..., -1], terms.square[..., 0] + terms.courses["predicted_growth"][..., -1])
    estimate = bootstrap(lambda measured, predicted: mean_over(predicted) / mean_over(measured) - 1, samples)
    words = ("predicted over measured squared disorder at the end, less 1", r"\delta R/R")
    found = described(grid, "end_relative_error", estimate, words)
    start = np.abs(grid.flow_time - (1 - LAST) * grid.flow_time[:, -1:]).argmin(axis=-1)
    length = grid.epoch_time[:, -1] - np.take_along_axis(grid.epoch_time, start[:, None], axis=-1)[:, 0]

    def late(course: Floats) -> Floats:
        before = np.take_along_axis(course, start[None, :, None], axis=-1)[..., 0]
        return np.divide(course[..., -1] - before, length, out=np.full(before.shape, np.nan), where=length > 0)

    rates = {name: late(terms.courses[course]) for name, (course, *_) in RATES.items()}
    for name, (_, long_name, symbol) in RATES.items():
        estimate = replica_mean(rates[name])
        found |= described(grid, f"end_{name}", estimate, (f"{long_name}, last fifth of the run", symbol))
    loss = np.where(rates["decay_constant"] > 0, rates["decay_constant"], np.nan)
    gain = rates["work_constant"] + np.where(np.isnan(rates["diffusion_constant"]), 0.0, rates["diffusion_constant"])
    estimate = bootstrap(lambda up, down: mean_over(up) / mean_over(down), (gain, loss))
    words = ("gain by work and diffusion over loss by decay, last fifth of the run", r"k/4S\lambda R")
    return found | described(grid, "end_ratio", estimate, words)


def _reasons(cube: xr.Dataset, found: dict[str, tuple]) -> list[str]:
    reasons = []
    if "weight_diffusion" not in cube:
        reasons.append("no weight_diffusion was recorded: the prediction is that of gradient flow, without diffusion")
    missing = np.isnan(found["window_relative_error"][1])
    if missing.any():
        few = "growth window not reached, too few records in it, or diverged"
        reasons.append(f"{few}: {missing.sum()} of {missing.size} points")
    return reasons
