"""Shares of replicas: how many pass the criterion, how many are in which phase, with Wilson intervals."""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import estimated, flags, labelled, replicas_first
from sgdphases.fits.intervals import wilson_interval
from sgdphases.storage.cube import NO_VALUE

CRITERIA = {
    "criterion_published": "share of replicas whose drift beats repulsion, as published",
    "criterion_corrected": "share of replicas whose drift beats repulsion, corrected",
}


def fractions(cube: xr.Dataset) -> xr.Dataset:
    """Shares of replicas at the last step, for every point and layer.

    Args:
        cube: With any of `criterion_published`, `criterion_corrected` and `phase`.

    Returns:
        `criterion_published_fraction`, `criterion_corrected_fraction` and `<phase>_fraction`, each with `_error` (half
        the Wilson interval of one standard deviation), `_low` and `_high` (95 %); `phase_majority`, the most frequent
        label, and `phase_agreement`, the share of replicas that have it.

    Raises:
        ValueError: If the cube has none of the three.
    """
    end = cube.isel(step=-1)
    found: dict[str, tuple] = {}
    for word, long_name in CRITERIA.items():
        if word in end:
            attrs = {"long_name": long_name, "symbol": r"P(\mathrm{drift})"}
            found |= _shares(f"{word}_fraction", flags(end[word]), attrs)
    if "phase" in end:
        found |= _phases(end["phase"])
    if not found:
        raise ValueError(f"fit fractions needs one of {', '.join([*CRITERIA, 'phase'])} among the observables")
    return labelled(cube, found, "shares of replicas at the last step")


def _shares(name: str, passed: xr.DataArray, attrs: dict[str, str]) -> dict[str, tuple]:
    """Share of ones among the replicas that have a value."""
    values, dims = replicas_first(passed)
    estimate = wilson_interval(np.nansum(values, axis=0), np.isfinite(values).sum(axis=0))
    return estimated(name, estimate, dims, attrs=attrs, interval=True)


def _phases(phase: xr.DataArray) -> dict[str, tuple]:
    known = flags(phase)
    values = [int(value) for value in np.atleast_1d(phase.attrs["flag_values"])]
    words = phase.attrs["flag_meanings"].split()
    found: dict[str, tuple] = {}
    for value, word in zip(values, words, strict=True):
        named = word.replace("_", " ")
        attrs = {"long_name": f"share of replicas in the phase {named}", "symbol": rf"P(\mathrm{{{named}}})"}
        found |= _shares(f"{word}_fraction", (known == value).astype(float).where(known.notnull()), attrs)
    dims = found[f"{words[0]}_fraction"][0]
    shares = np.stack([np.nan_to_num(found[f"{word}_fraction"][1], nan=-1.0) for word in words])
    majority = np.array(values, dtype=np.int8)[shares.argmax(axis=0)]
    flag = {"flag_values": np.array(values, dtype=np.int8), "flag_meanings": " ".join(words)}
    flag["_FillValue"] = np.int8(NO_VALUE)
    found["phase_majority"] = (
        dims,
        np.where(shares.max(axis=0) < 0, NO_VALUE, majority).astype(np.int8),
        {"long_name": "most frequent phase", "units": "1", "symbol": "phase", **flag},
    )
    found["phase_agreement"] = (
        dims,
        np.where(shares.max(axis=0) < 0, np.nan, shares.max(axis=0)),
        {"long_name": "share of replicas in the most frequent phase", "units": "1", "symbol": r"P_\mathrm{max}"},
    )
    return found
