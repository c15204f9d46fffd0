"""Lines of theory over the richness: the largest and the smallest learning rate, and where their strip closes.

Source: Atanasov, Meterez, Simon, Pehlevan, arXiv 2410.04642, Fig. 1 and Table 1; the toy of `theory.richness`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sgdphases.theory.richness import largest_learning_rate, learning_rate_exponents
from sgdphases.theory.richness_flow import least_learning_rate

Floats = NDArray[np.float64]
Line = Callable[[Floats], Floats]

DASHES: dict[str, Any] = {"largest": (0, (4, 1.4)), "critical": (0, (1, 1.1)), "smallest": (0, (5, 1.4, 1, 1.4))}
PLACES = 241


@dataclass(frozen=True)
class Law:
    """One line.

    Attributes:
        kind: largest, critical (where lazy networks begin to catapult) or smallest.
        richness: Decades, (n,).
        rates: Decades of the learning rate, (n,); NaN where there is no line.
        said: What a legend says.
    """

    kind: str
    richness: Floats
    rates: Floats
    said: str


def toy_laws(limits: tuple[float, float], *, depth: int, loss: str, steps: float) -> list[Law]:
    """The toy model's lines as they are, nothing fitted.

    Args:
        limits: Ends of the richness in decades.
        depth: Layers L.
        loss: Word of the loss.
        steps: T.

    Returns:
        Largest and smallest learning rate, up to where they meet.
    """
    x = np.linspace(*limits, PLACES)
    word = "cross_entropy" if loss == "cross_entropy" else "half_squared_error"
    largest = largest_learning_rate(10**x, depth, loss=word)
    smallest = least_learning_rate(max(steps, 1), 10**x, depth, loss=word)
    said = (r"toy model: $\eta_\mathrm{max}$", r"toy model: $\eta_\mathrm{min}$ at this step")
    return _closed([Law("largest", x, np.log10(largest), said[0]), Law("smallest", x, np.log10(smallest), said[1])])


def fitted_laws(
    edges: xr.Dataset, limits: tuple[float, float], *, depth: int, loss: str, steps: float, last: float
) -> list[Law]:
    """Powers of the richness whose prefactors are fitted to the edges at the last step.

    Args:
        edges: The fit `learning_rate_edges` over richness and criterion, at the last step.
        limits: Ends of the richness in decades.
        depth: Layers L.
        loss: Word of the loss.
        steps: T of the panel; the smallest learning rate goes as 1/T.
        last: The last step.

    Returns:
        Largest learning rate, critical one where it has another power, smallest one, the rich ones up to where they
        meet; nothing of what has no edge.
    """
    x = np.linspace(*limits, PLACES)
    lazy, rich = (learning_rate_exponents(depth, loss=loss, regime=word) for word in ("lazy", "rich"))
    bounded = lazy.largest != lazy.critical
    tops = {name: _edge(edges, "log_largest_rate", name) for name in ("finite", "trained", "calm")}
    # Where the loss is bounded, lazy networks that learn nothing stay finite far beyond those that catapult.
    first = _line(edges, tops["finite" if bounded else "trained"], "lazy", lazy.largest)
    largest = _broken(x, edges, first, _line(edges, tops["trained"], "rich", rich.largest))
    words = r"\gamma" if bounded else r"\gamma^2"
    found = [Law("largest", x, largest, rf"$\eta_\mathrm{{max}}\propto {words},\ \gamma^{{2/L}}$ (prefactors fitted)")]
    if bounded:
        critical = np.where(x <= 0, _line(edges, tops["calm"], "lazy", lazy.critical)(x), np.nan)
        found.append(Law("critical", x, critical, r"$\eta_\mathrm{crit}\propto\gamma^2$ (prefactor fitted)"))
    low = _edge(edges, "log_smallest_rate")
    grown = np.log10 if depth != 2 else _with_logarithm
    parts = _line(edges, low, "lazy", lazy.least), _line(edges, low, "rich", rich.least, grown)
    smallest = _broken(x, edges, *parts) - np.log10(max(steps, 1) / last)
    words = r"\gamma\,\ln\gamma" if depth == 2 else r"\gamma"
    said = rf"$\eta_\mathrm{{min}}\propto\gamma^2/T,\ {words}/T$ (prefactors fitted at $T={last:g}$)"
    found.append(Law("smallest", x, smallest, said))
    return _closed([law for law in found if np.isfinite(law.rates).any()])


def _with_logarithm(richness: Floats) -> Floats:
    """Decades of γ ln γ, which two layers have in place of γ; of γ ln(2 + γ), as in the toy, to hold down to 1."""
    return np.log10(richness * np.log(2 + richness))


def _edge(edges: xr.Dataset, word: str, criterion: str | None = None) -> xr.DataArray:
    edge = edges[word]
    if criterion is None or "criterion" not in edge.dims:
        return edge
    return edge.isel(criterion=[str(name) for name in edges["criterion_name"].values].index(criterion))


def _line(edges: xr.Dataset, edge: xr.DataArray, regime: str, power: float, grown: Line = np.log10) -> Line:
    """A power of the richness through the mean of one regime's edges; NaN where there are none."""
    x = np.log10(edge["richness"].values)
    there = x <= _bound(edges, "lazy") if regime == "lazy" else x >= _bound(edges, "rich")
    there &= np.isfinite(edge.values)
    height = (edge.values - power * grown(10**x))[there].mean() if there.any() else np.nan
    return lambda place: height + power * grown(10**place)


def _bound(edges: xr.Dataset, regime: str) -> float:
    """Decades of the richness where a regime ends or begins, with room for round-off."""
    bound = np.log10(edges.attrs[f"{regime}_richness"])
    return float(bound + 1e-6 if regime == "lazy" else bound - 1e-6)


def _broken(x: Floats, edges: xr.Dataset, lazy: Line, rich: Line) -> Floats:
    """The lazy line, and the rich one from where they cross, or from richness 1 if that is in neither's realm."""
    apart = lazy(x) - rich(x)
    inside = (x >= _bound(edges, "lazy")) & (x <= _bound(edges, "rich"))
    crossings = x[inside][np.flatnonzero(np.diff(np.sign(apart[inside])) > 0)] if inside.any() else x[:0]
    middle = crossings[0] if crossings.size else 0.0
    line = np.where(x <= middle, lazy(x), rich(x))
    # Lines that do not meet are not joined.
    return line if crossings.size else np.where(np.abs(x - middle) < np.ptp(x) / len(x), np.nan, line)


def _closed(laws: list[Law]) -> list[Law]:
    """The laws up to the richness, above 1, where the smallest learning rate exceeds the largest."""
    by_kind = {law.kind: law for law in laws}
    if not {"largest", "smallest"} <= set(by_kind):
        return laws
    over = (by_kind["smallest"].rates > by_kind["largest"].rates) & (by_kind["largest"].richness > 0)
    if not over.any():
        return laws
    kept = np.arange(over.size) < np.argmax(over)
    return [replace(law, rates=np.where(kept, law.rates, np.nan)) for law in laws]
