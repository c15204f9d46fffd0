"""Does the power of the mean square displacement depend on learning rate and momentum by η/(1 - β) alone?

Not claimed by Kunin et al., arXiv 2107.09133; seen in the grid of 27 runs that the authors released, where powers at
one η/(1 - β) and batch size differ by 0.020 (root mean square) and range from 0.53 to 1.59 over all.
"""

import itertools

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats
from sgdphases.fits.bootstrap import jackknife
from sgdphases.fits.exponents import PROTOCOL, PROTOCOLS, mean_exponents, protocols_of
from sgdphases.fits.grid import attributes_of, numbers
from sgdphases.fits.intervals import Estimate
from sgdphases.fits.walks import Walks, walks_of

FIT = "collapse_exponents"
ALIKE = 1e-6
"""Relative difference up to which two η/(1 - β) are one."""

KINDS = ("equal", "unequal")


def collapse_exponents(cube: xr.Dataset) -> xr.Dataset:
    """Root mean square difference of powers between points of one batch size and weight decay.

    Args:
        cube: With `global_displacement`, over learning_rate and momentum.

    Returns:
        Over protocol, with `_error` (jackknife over replicas): `equal_difference` and `unequal_difference`, of pairs of
        points with the same and with different η/(1 - β); `equal_excess` and `unequal_excess`, the same without what
        the errors of powers alone would make (0 where they make more); `collapse_ratio`, the former over the latter
        difference. `equal_pairs`, `unequal_pairs`: how many pairs with known powers there are. Over grid and protocol
        `exponent` with `_error`; over the grid `effective_rate`, η/(1 - β).

    Raises:
        ValueError: If there is no variable, or no two points share η/(1 - β).
    """
    walks = walks_of(cube, FIT, "global_displacement")
    pairs = _pairs(walks)
    if not len(pairs["equal"]):
        raise ValueError(f"fit {FIT} needs points with one learning_rate/(1 - momentum) and different momenta")
    weight, square = protocols_of(walks).weight, walks.whole_runs("global_displacement")
    single = jackknife(lambda sample: mean_exponents(sample, weight), square)
    variance = np.asarray(single.error) ** 2

    def differences(sample: Floats) -> Floats:
        power = mean_exponents(sample, weight)
        plain = np.stack([_spread(power, pairs[kind]) for kind in KINDS])
        chance = np.stack([_chance(variance, power, pairs[kind]) for kind in KINDS])
        excess = np.sqrt(np.maximum(plain**2 - chance, 0.0))
        ratio = np.divide(plain[0], plain[1], out=np.full(plain[0].shape, np.nan), where=plain[1] > 0)
        return np.concatenate([plain, excess, ratio[None]])

    made = jackknife(differences, square)
    found: dict[str, tuple] = {}
    for place, (name, words) in enumerate(_words().items()):
        each = Estimate(*(np.asarray(part)[place] for part in (made.value, made.error, made.low, made.high)))
        found |= numbers(name, each, words, "protocol", interval=True)
    for kind in KINDS:
        known = np.isfinite(_apart(np.asarray(single.value), pairs[kind])).sum(axis=0)
        found[f"{kind}_pairs"] = (("protocol",), known, attributes_of((f"pairs of {kind} effective rate", "n")))
    found |= walks.described("exponent", single, ("power of the mean square displacement", "c"), "protocol")
    rate = walks.learning_rate / (1 - walks.momentum)
    found |= walks.plain("effective_rate", rate, ("effective learning rate", r"\eta/(1-\beta)"))
    reasons = [
        f"{name}: no pair of known powers"
        for name, value in zip(PROTOCOLS, np.asarray(made.value)[0], strict=True)
        if np.isnan(value)
    ]
    return walks.finished(found, "powers of displacement by effective learning rate", PROTOCOL, reasons)


def _words() -> dict[str, tuple[str, str]]:
    found = {}
    for name, about in (("difference", "difference of powers"), ("excess", "difference of powers beyond their errors")):
        for kind in KINDS:
            found[f"{kind}_{name}"] = (f"{about} at {kind} effective rate", r"\Delta c")
    return found | {"collapse_ratio": ("difference of powers at equal over that at unequal effective rate", "R")}


def _pairs(walks: Walks) -> dict[str, np.ndarray]:
    """Pairs of points that differ in learning rate and momentum only, with one η/(1 - β) or with two, (n, 2)."""
    rate = walks.learning_rate / (1 - walks.momentum)
    found: dict[str, list[tuple[int, int]]] = {kind: [] for kind in KINDS}
    others = np.stack([walks.batch_size, walks.weight_decay, np.nan_to_num(walks.samples)])
    for first, second in itertools.combinations(range(walks.points), 2):
        if (others[:, first] == others[:, second]).all():
            alike = abs(rate[first] / rate[second] - 1) <= ALIKE
            found["equal" if alike else "unequal"].append((first, second))
    return {kind: np.array(pairs, dtype=np.int64).reshape(-1, 2) for kind, pairs in found.items()}


def _apart(power: Floats, pairs: np.ndarray) -> Floats:
    """Differences of powers (P, K) of pairs, (n, K)."""
    return power[pairs[:, 0]] - power[pairs[:, 1]]


def _spread(power: Floats, pairs: np.ndarray) -> Floats:
    """Root mean square difference over the pairs with known powers, (K,)."""
    apart = _apart(power, pairs)
    known = np.isfinite(apart)
    total, count = (np.where(known, apart, 0.0) ** 2).sum(axis=0), known.sum(axis=0)
    return np.sqrt(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))


def _chance(variance: Floats, power: Floats, pairs: np.ndarray) -> Floats:
    """Mean square difference that the errors of powers make, (K,)."""
    known = np.isfinite(_apart(power, pairs))
    each = np.nan_to_num(variance[pairs[:, 0]] + variance[pairs[:, 1]])
    total, count = np.where(known, each, 0.0).sum(axis=0), known.sum(axis=0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
