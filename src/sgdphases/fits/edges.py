"""Where the dynamics of the hidden map becomes chaotic on a network's way: of the trained matrix and of its controls.

In mean-field theory the edge lies at J² = 1 for all three measures. The test of arXiv 2107.09437's picture, which puts
the trained matrix into the diagram of Gaussian ones: at 60 and 80 epochs of the base run, where J² > 1, are trained
matrices still ordered (largest Lyapunov exponent below -2 standard errors), while their shuffled entries do as Gaussian
matrices of the same J and J0 do?
"""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, replica_mean
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.curves import finished, mean_over, rise, squared_coupling
from sgdphases.fits.grid import Grid, described, grid_of, part_of

MEASURES = {
    "lyapunov": (0.0, "largest Lyapunov exponent"),
    "jacobian_norm": (1.0, "norm of the Jacobian"),
    "spectral_radius": (1.0, "spectral radius"),
}
"""What passes which level at the edge, by name, with its long name."""

FINDING_EPOCHS = (60, 80)
NEAR = 2.0
"""How many epochs a record may lie from the one that is asked for."""

ORDERED = -2.0
"""Standard errors from 0 at which an exponent counts as negative."""

RESAMPLES = 500


def edges(cube: xr.Dataset) -> xr.Dataset:
    """J² at which each measure passes its edge, for every control, and the test of the finding.

    Between recorded matrices the measure is interpolated in J². Replicas are averaged before, and resampled for errors.

    Args:
        cube: With `coupling`, and any of `lyapunov` (with `lyapunov_error`), `jacobian_norm`, `spectral_radius` over
            `control`.

    Returns:
        For each measure, over the grid and control, with `_error`, `_low`, `_high`: `<measure>_edge`, J² at the last
        rise after which the measure stays beyond its level to the end, `<measure>_first_edge`, at the first rise,
        `<measure>_edge_epoch` and `<measure>_first_edge_epoch`; `<measure>_edge_of_replica`, also over replica. Over
        `finding_epoch` (60 and 80): `finding_used_epoch`, `finding_squared_coupling`, `finding_lyapunov` (also over
        control), `finding_replicas` (how many of them are ordered: trained exponent below -2 standard errors of its
        orbits) of `finding_measured`, `shuffled_minus_gaussian`, the difference of these controls' exponents. Over the
        recorded times `shuffled_minus_gaussian_at`. What is not reached is NaN.

    Raises:
        ValueError: If the cube has no `coupling` or none of the measures.
    """
    present = [name for name in MEASURES if name in cube]
    if not present:
        raise ValueError(f"fit edges needs one of {', '.join(MEASURES)} among the observables")
    grid = grid_of(cube)
    square = squared_coupling(cube, grid)
    epoch = grid.in_time(cube["epoch"])
    found: dict[str, tuple] = {}
    for name in present:
        found |= _edge(grid, name, square, epoch, measure_of(cube, grid, name))
    if "lyapunov" in cube:
        found |= _finding(cube, grid, square, epoch)
    made = finished(cube, grid, found, "edges of chaos of trained matrices and their controls", _reasons(found, cube))
    if "finding_epoch" not in made.dims:
        return made
    words = {"long_name": "epoch of the test", "units": "1", "symbol": "t"}
    return made.assign_coords(finding_epoch=("finding_epoch", np.array(FINDING_EPOCHS), words))


def measure_of(cube: xr.Dataset, grid: Grid, name: str) -> Floats:
    """A measure, (replicas, points, times, controls), averaged over images.

    Args:
        cube: With the measure.
        grid: Its points.
        name: The measure.

    Returns:
        Its values, NaN where no matrix was recorded.
    """
    values = cube[name]
    values = values.mean("image", skipna=True) if "image" in values.dims else values
    return grid.curves(values)


def _edge(grid: Grid, name: str, square: Floats, epoch: Floats, values: Floats) -> dict[str, tuple]:
    """Edges of one measure."""
    level, what = MEASURES[name]
    recorded = np.isfinite(values).any(axis=(0, 1, 3))
    values, square, epoch = values[:, :, recorded], square[..., recorded], epoch[..., recorded]

    def places(squares: Floats, measured: Floats) -> Floats:
        """(points, controls, 4): J² and epoch at the lasting, then at the first rise."""
        return np.array(
            [
                [[*rise(where, curve, level, lasting=True), *rise(where, curve, level)] for curve in curves]
                for where, curves in _curves(squares, epoch, measured)
            ]
        )

    estimate = bootstrap(places, (square, values), resamples=RESAMPLES)
    found: dict[str, tuple] = {}
    for place, (word, long_name, symbol) in enumerate(
        (
            ("edge", f"squared disorder from which the {what} stays beyond {level:g}", "J^2_c"),
            ("edge_epoch", f"epoch from which the {what} stays beyond {level:g}", "t_c"),
            ("first_edge", f"squared disorder at which the {what} first passes {level:g}", "J^2_c"),
            ("first_edge_epoch", f"epoch at which the {what} first passes {level:g}", "t_c"),
        )
    ):
        part = part_of(estimate, (..., place))
        found |= described(grid, f"{name}_{word}", part, (long_name, symbol), "control", interval=True)
    single = np.stack([places(square[[r]], values[[r]])[..., 0] for r in range(len(square))], axis=-1)
    words = {"long_name": f"squared disorder from which the {what} stays beyond {level:g}, replica by replica"}
    found[f"{name}_edge_of_replica"] = (
        (*grid.dims, "control", "replica"),
        single.reshape(*grid.shape, *single.shape[1:]),
        words | {"units": "1", "symbol": "J^2_c"},
    )
    return found


def _curves(square: Floats, epoch: Floats, values: Floats) -> Iterator[tuple[Floats, Floats]]:
    """For each point its abscissae (J² and epoch; times) and the replicas' mean (controls, times)."""
    mean, middle = mean_over(values), mean_over(square)
    for point, curve in enumerate(mean):
        yield np.stack([middle[point], epoch[point]]), curve.T


def _finding(cube: xr.Dataset, grid: Grid, square: Floats, epoch: Floats) -> dict[str, tuple]:
    """Order of trained matrices beyond J² = 1, and shuffled against Gaussian ones."""
    controls = [str(name) for name in cube["control_name"].values]
    exponents = measure_of(cube, grid, "lyapunov")
    own = grid.curves(cube["lyapunov_error"]) if "lyapunov_error" in cube else np.full_like(exponents, np.nan)
    trained = controls.index("trained")
    place, used = _nearest(epoch, np.isfinite(exponents[..., trained]).any(axis=0))

    def there(values: Floats) -> Floats:
        """(replicas, points, epochs of the test, ...)."""
        index = place.reshape(1, *place.shape, *[1] * (values.ndim - 3))
        chosen = np.take_along_axis(values, index, axis=2)
        return np.where(np.isfinite(used).reshape(1, *used.shape, *[1] * (values.ndim - 3)), chosen, np.nan)

    measured, error = there(exponents), there(own)
    ordered = measured[..., trained] < ORDERED * error[..., trained]
    count = (np.isfinite(measured[..., trained]) & np.isfinite(error[..., trained])).sum(axis=0)
    axis = "finding_epoch"
    found = _plain(grid, "finding_used_epoch", used, ("recorded epoch nearest to that of the test", "t"))
    replicas = np.where(count > 0, ordered.sum(axis=0), np.nan)
    found |= _plain(grid, "finding_replicas", replicas, ("replicas whose trained matrix is ordered", "R"))
    found |= _plain(grid, "finding_measured", count, ("replicas whose trained matrix was measured", "R"))
    estimate = replica_mean(there(square))
    found |= described(grid, "finding_squared_coupling", estimate, ("squared disorder at the test", "J^2"), axis)
    words = ("largest Lyapunov exponent at the test", r"\lambda_\mathrm{max}")
    found |= described(grid, "finding_lyapunov", replica_mean(measured), words, axis, "control")
    if {"shuffled", "gaussian"} <= set(controls):
        pair = controls.index("shuffled"), controls.index("gaussian")
        words = ("Lyapunov exponent of shuffled less that of Gaussian matrices", r"\Delta\lambda_\mathrm{max}")
        for name, values, dim in (("", measured, axis), ("_at", exponents, grid.clock)):
            difference = replica_mean(values[..., pair[0]] - values[..., pair[1]])
            found |= described(grid, f"shuffled_minus_gaussian{name}", difference, words, dim)
    return found


def _nearest(epoch: Floats, measured: np.ndarray) -> tuple[np.ndarray, Floats]:
    """Place and epoch of the measured record nearest to each epoch of the test, (points, epochs); NaN where none is."""
    distance = np.abs(epoch[:, None, :] - np.array(FINDING_EPOCHS)[:, None])
    distance = np.where(measured[:, None, :], distance, np.inf)
    place = distance.argmin(axis=-1)
    near = np.take_along_axis(distance, place[..., None], axis=-1)[..., 0] <= NEAR
    return place, np.where(near, np.take_along_axis(epoch, place, axis=-1), np.nan)


def _plain(grid: Grid, name: str, values: np.ndarray, words: tuple[str, str]) -> dict[str, tuple]:
    attrs = {"long_name": words[0], "symbol": words[1], "units": "1"}
    return {name: ((*grid.dims, "finding_epoch"), values.reshape(*grid.shape, len(FINDING_EPOCHS)), attrs)}


def _reasons(found: dict[str, tuple], cube: xr.Dataset) -> list[str]:
    """Why edges are missing."""
    reasons = []
    controls = cube["control_name"].values if "control_name" in cube.coords else []
    for name in MEASURES:
        if f"{name}_edge" in found:
            edge = found[f"{name}_edge"][1]
            missing = np.isnan(edge).reshape(-1, edge.shape[-1]).all(axis=0)
            words = [str(control) for control, absent in zip(controls, missing, strict=False) if absent]
            reasons += [f"{name} does not come to stay beyond its level: {', '.join(words)}"] if words else []
    if "finding_used_epoch" in found and np.isnan(found["finding_used_epoch"][1]).any():
        reasons.append(
            f"no matrix was recorded within {NEAR:g} epochs of epoch {' or '.join(map(str, FINDING_EPOCHS))}"
        )
    return reasons
