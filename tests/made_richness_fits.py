"""Cubes and fits of the richness study as figures read them, with attributes, whose numbers are known."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from made_richness import Toy, drop_tau, largest_rate, richness_cube
from sgdphases.ensemble import status as states
from sgdphases.observables.registry import OBSERVABLES, running_attributes
from sgdphases.quantities import QUANTITIES, attributes

RUNNING = ("test_loss", "test_accuracy", "batch_loss")
CRITERIA = {
    "criterion": ("criterion", np.arange(3), {"long_name": "criterion"}),
    "criterion_name": ("criterion", list(states.CRITERIA)),
}
REGIMES = {
    "regime": ("regime", np.arange(2), {"long_name": "regime"}),
    "regime_name": ("regime", ["lazy", "rich"]),
}
BOUNDS = {"lazy_richness": 10**-1.5, "rich_richness": 10.0}
SHIFTS = {"finite": 0.3, "trained": 0.0, "calm": -0.2}
"""Decades from where training ends to where each criterion ends."""


def described(cube: xr.Dataset) -> xr.Dataset:
    """The cube with the attributes that merging leaves."""
    for name in cube.variables:
        if name in QUANTITIES:
            cube[name].attrs = attributes(str(name))
        elif name in OBSERVABLES:
            cube[name].attrs = dict(OBSERVABLES[str(name)].attributes)
        elif name in RUNNING:
            cube[name].attrs = running_attributes(str(name))
    return cube


def portrait_cube(**axes: Sequence) -> xr.Dataset:
    """Strips of two depths, one network in ten not tried: those below the least rate that a search would come to."""
    chosen = {"depth": [2, 3], "richness": 10.0 ** np.arange(-3, 4), "rates": 10.0 ** np.arange(-8, 4, 0.5)} | axes
    cube = described(richness_cube(Toy(), steps=(0, 50, 100), **chosen))
    low = np.log10(cube["learning_rate"]) < np.log10(largest_rate(cube["richness"], cube["depth"])) - 2.5
    untried = low.broadcast_like(cube["diverged_at"])
    cube["status"] = cube["status"].where(~untried, states.UNTRIED).astype(np.int8)
    for name in RUNNING:
        cube[name] = cube[name].where(~untried)
    return cube


def edges_fit(cube: xr.Dataset, error: float = 0.05) -> xr.Dataset:
    """What `learning_rate_edges` gives where the toy's laws hold exactly."""
    richness, depth, step = cube["richness"], cube["depth"], cube["step"]
    top = np.log10(largest_rate(richness, depth))
    largest = xr.concat([top + shift for shift in SHIFTS.values()], "criterion").broadcast_like(step)
    taus = [xr.DataArray(drop_tau(richness.values, int(each)), dims="richness") for each in np.atleast_1d(depth.values)]
    tau = (xr.concat(taus, "depth") if depth.ndim else taus[0]).assign_coords(richness=richness)
    smallest = np.log10(richness * tau / step.where(step > 0))
    found = {
        "log_largest_rate": (largest.where(step > 0), r"\log_{10}\eta_\mathrm{max}"),
        "log_best_rate": ((top - 0.35).broadcast_like(smallest).where(step > 0), r"\log_{10}\eta^\ast"),
        "log_smallest_rate": (smallest, r"\log_{10}\eta_\mathrm{min}"),
    }
    made = xr.Dataset()
    for name, (values, symbol) in found.items():
        made[name] = values.assign_attrs(symbol=symbol, long_name="learning rate", units="1")
        made[f"{name}_error"] = error + 0 * values
    made["best_test_accuracy"] = (0.9 + 0 * smallest + 1e-4 * step).assign_attrs(long_name="accuracy", symbol="a")
    made["best_test_accuracy_error"] = 0.01 + 0 * smallest
    return made.assign_coords(CRITERIA).assign_attrs(BOUNDS, rate_axis="learning_rate")


def exponents_fit(depths: Sequence[int] = (2, 3, 4), steps: Sequence[int] = (0, 100), **extra: float) -> xr.Dataset:
    """What `richness_exponents` gives: theory's exponents, those of the criteria a tenth apart."""
    largest = xr.DataArray([[2.0] * len(depths), [2 / depth for depth in depths]], dims=("regime", "depth"))
    least = xr.DataArray([[2.0] * len(depths), [1.0] * len(depths)], dims=("regime", "depth"))
    offsets = xr.DataArray([0.1, 0.0, -0.1], dims="criterion")
    along = xr.DataArray(np.zeros(len(steps)), dims="step")
    made = xr.Dataset(
        {
            "largest_exponent": largest + offsets + along,
            "best_exponent": largest + 0.05 + along,
            "smallest_exponent": least + along,
            "closing": 0 * least.isel(regime=0, drop=True) + along + extra.get("closing", np.nan),
        }
    )
    made = made.assign({f"{name}_error": 0.02 + 0 * made[name] for name in made.data_vars})
    depth = ("depth", np.array(depths), attributes("depth"))
    made = made.assign_coords(depth=depth, step=("step", np.array(steps), attributes("step")))
    return made.assign_coords(loss="mean_squared_error", **CRITERIA, **REGIMES).assign_attrs(BOUNDS)


def curvature_fit(cube: xr.Dataset, growth: float = 3.0) -> xr.Dataset:
    """What `sharpness` gives: the end as the toy has it, the start lower by a factor and, rich, steeper."""
    richness, depth = cube["richness"], cube["depth"]
    end = 2 / largest_rate(richness, depth)
    start = xr.where(richness < 1, end, end * richness ** (2 / depth - 1)) / growth
    found = {
        "start_hessian_top": start,
        "best_end_hessian_top": end,
        "best_predicted_log_rate": np.log10(2 / end),
        "start_ratio": -xr.where(richness < 1, richness, 1.0) + 0 * start,
    }
    made = xr.Dataset(found)
    made = made.assign({f"{name}_error": 0.05 * abs(made[name]) for name in found})
    return made.assign_attrs(BOUNDS, rate_axis="scaled_learning_rate")


def drops_fit(cube: xr.Dataset, rate_axis: str) -> xr.Dataset:
    """What `first_drop` gives: steps of the drop, later by a factor of two behind the second baseline."""
    learning = cube["learning_rate"]
    steps = xr.concat([10.0 * cube["richness"] / learning * (1 + each) for each in range(2)], "baseline")
    steps = steps.expand_dims(rate_axis) if rate_axis not in steps.dims else steps
    steps = steps.expand_dims(level=[0.99, 0.95])
    steps["level"].attrs = {"symbol": "q", "long_name": "share of the baseline"}
    steps = steps.assign_coords(baseline=("baseline", [0, 1]), baseline_name=("baseline", ["start", "constant"]))
    steps.attrs = {"long_name": "updates until the loss drops", "symbol": "t_q"}
    return xr.Dataset({"drop_step": steps, "drop_step_error": 0.1 * steps}).assign_attrs(BOUNDS, rate_axis=rate_axis)
