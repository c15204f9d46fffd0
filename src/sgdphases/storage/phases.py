"""The phase label of every network, layer and step of a cube, from the edges of its spectra."""

import numpy as np
import xarray as xr

from sgdphases.observables.phases import DIVERGED, PHASES, classify, learned, target_spectrum

LEARNED_SHARE = 0.2
"""Largest share of the best constant answer's loss that a network may keep and count as having learned."""


def with_phases(cube: xr.Dataset) -> xr.Dataset:
    """Add `phase`, and the target that it was measured against, to a cube that holds eigenvalues.

    The target is the teacher's spectrum where the data set has a teacher; otherwise, layer by layer, the median over
    the networks that learned, that is whose training loss fell under a fifth of the best constant answer's. A network
    that diverged is labelled so from that step on.

    Args:
        cube: A merged cube; without `eigenvalues`, `train_loss` and the clock `step` it is returned as it is.

    Returns:
        The cube with `phase` (int8, CF flags), `target_largest` and `target_width`.
    """
    if not {"eigenvalues", "train_loss"} <= set(cube.data_vars) or "step" not in cube.dims:
        return cube
    levels = cube["eigenvalues"]
    largest, smallest = levels.max("mode"), levels.min("mode")
    loss = cube["train_loss"]
    aim, spread = _target(cube, largest, smallest)
    arguments = [largest, smallest, largest.isel(step=0), smallest.isel(step=0), aim, spread, loss, loss.isel(step=0)]
    if "overlap_ratio" in cube:
        arguments.append(cube["overlap_ratio"])
    label = xr.apply_ufunc(_label, *[argument.drop_vars("step", errors="ignore") for argument in arguments])
    if "diverged_at" in cube:
        over = (cube["diverged_at"] >= 0) & (cube["diverged_at"] <= cube["step"])
        label = label.assign_coords(step=cube["step"]).where(~over, DIVERGED)
    label = label.transpose(*largest.dims).astype(np.int8)
    label.attrs = {
        "long_name": "phase",
        "units": "1",
        "symbol": "phase",
        "flag_values": np.array(sorted(PHASES), dtype=np.int8),
        "flag_meanings": " ".join(PHASES[value] for value in sorted(PHASES)),
    }
    words = {"units": "1", "symbol": r"x^*_{\max}"}
    return cube.assign(
        phase=label,
        target_largest=aim.assign_attrs(words, long_name="largest squared singular value of the target"),
        target_width=spread.assign_attrs(words, long_name="width of the target's spectrum", symbol=r"w^*"),
    )


def _label(*arrays: np.ndarray) -> np.ndarray:
    largest, smallest, initial_largest, initial_smallest, aim, spread, loss, initial_loss, *ratio = arrays
    return classify(
        largest,
        smallest,
        initial_largest=initial_largest,
        initial_smallest=initial_smallest,
        target=(aim, spread),
        loss=(loss, initial_loss),
        overlap_ratio=ratio[0] if ratio else None,
    ).label


def _target(cube: xr.Dataset, largest: xr.DataArray, smallest: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Largest level and width of the target spectrum, on the dimensions that it depends on."""
    if "teacher_eigenvalues" in cube:
        target = cube["teacher_eigenvalues"].isel(step=0, drop=True)
        return target.max("mode"), target.max("mode") - target.min("mode")
    good = learned(
        cube["train_loss"].isel(step=-1).values, cube["constant_loss"].values, decades=-np.log10(LEARNED_SHARE)
    )
    ends = xr.broadcast(largest.isel(step=-1, drop=True), smallest.isel(step=-1, drop=True))
    layers = [ends] if "layer" not in largest.dims else [
        tuple(end.isel(layer=i) for end in ends) for i in range(largest.sizes["layer"])
    ]  # fmt: skip
    pairs = [target_spectrum(high.values, low.values, learned=good) for high, low in layers]
    if "layer" not in largest.dims:
        return xr.DataArray(pairs[0][0]), xr.DataArray(pairs[0][1])
    return tuple(xr.DataArray([pair[i] for pair in pairs], dims="layer") for i in (0, 1))
