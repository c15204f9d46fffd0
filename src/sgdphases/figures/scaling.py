"""Estimates against what they should scale with, beside the law."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdphases.choices import one_of
from sgdphases.figures import selection
from sgdphases.figures.options import BatchCollapse, Scaling
from sgdphases.figures.style import (
    INK,
    PAPER,
    THEORY,
    headline,
    kind,
    label,
    legend_below,
    log_ticks,
    new_figure,
    octave_ticks,
    series_colours,
    value_label,
    value_ticks,
    wrapped,
)

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
Entry = tuple[Any, str]
"""What a legend shows and says."""
FACTORS = {
    "momentum": (lambda momentum: 1 / (1 - momentum), {"long_name": "gain by momentum", "symbol": r"1/(1-\beta)"}),
    "batch_size": (lambda size: 1 / size, {"long_name": "inverse batch size", "symbol": "1/B"}),
}
"""What growth is a power of, for coordinates of which it is none (arXiv 2107.09437, Eq. 5): function and words."""
LINES = ("-", (0, (4, 1.6)), (0, (1, 1.4)), (0, (5, 2, 1, 2)))


@kind
def scaling(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: Scaling) -> Figure:
    """Estimates with errors against a variable, points of one group alike, and the law's line.

    Args:
        cube: Not read; the fit holds all.
        fits: Fits by name.
        options: What the card says.

    Returns:
        The figure.
    """
    fit = selection.at_values(selection.fit_of(fits, options.fit), options.at)
    pairs = _pairs(options)
    count = len(pairs)
    figure, axes = new_figure(1, count, width={1: 4.8, 2: 7.2}.get(count, 3.0 * count), height=3.6)
    for (word, x), ax in zip(pairs, axes.flat, strict=True):
        one_of(word, map(str, fit.data_vars), f"estimate of the fit {options.fit}")
        along = _abscissa(fit, x, options)
        groups = list(_groups(fit, word, along, options))
        if options.exponents is not None:
            # A point that nothing joins says nothing of the exponent.
            groups = [group for group in groups if group[1].sizes["row"] > 1] or groups
        for place, (said, part) in enumerate(groups):
            _draw_group(ax, part, place, said, joined=options.joined or options.exponents is not None)
        for row, law in enumerate(_laws(fit, word, options)):
            ax.plot([], [], color=INK, lw=1, ls=LINES[1 + row % 3], label=_law_label(fit[law], options))
        scales = {"semilog": ("log", "linear")}.get(options.scale, (options.scale, options.scale))
        ax.set(xlabel=label(along), xscale=scales[0], yscale=scales[1])
        # Panels of one estimate say once what it is.
        said = label(_raised(fit[word], options))
        ax.set_ylabel("" if ax is not axes.flat[0] and len(options.y) == 1 else wrapped(said, 36))
        ax.margins(0.08)
        if scales[0] == "log":
            value_ticks(ax.xaxis, np.unique(np.concatenate([part["x"].values for _, part in groups])), decades=2)
        if options.equal:
            _draw_equal(ax, [part for _, part in groups])
        _draw_powers(ax, [part for _, part in groups], options.powers.get(word, []), options.powers_range)
        if options.exponents is not None:
            drawn = xr.concat([part for _, part in groups], dim="row", combine_attrs="override")
            _draw_exponent(ax, selection.fit_of(fits, options.exponents), f"{x}_exponent", drawn, options)
    headline(figure, selection.place_words(fit, options.at))
    legend_below(figure, *axes.flat)
    return figure


def _pairs(options: Scaling) -> list[tuple[str, str]]:
    """Estimate and abscissa of every panel."""
    along = [options.x] if isinstance(options.x, str) else options.x
    longest = max(len(along), len(options.y))
    if {len(along), len(options.y)} - {1, longest}:
        raise ValueError(
            f"{len(options.y)} estimates (y) and {len(along)} abscissae (x) make no panels; give one of one"
        )
    return list(zip(options.y * (longest // len(options.y)), along * (longest // len(along)), strict=True))


def _draw_group(ax: Axes, part: xr.Dataset, place: int, said: str, *, joined: bool) -> None:
    """Draw the points of one group with errors, and their law."""
    colour = series_colours(part.attrs["groups"])[place]
    look = {"color": colour, "ms": 4.5, "elinewidth": 1, "markeredgecolor": PAPER, "markeredgewidth": 0.4}
    look |= {"fmt": MARKERS[place % len(MARKERS)], "label": said or None}
    if joined:
        look |= {"ls": "-", "lw": 0.6}
    bars = [part["y"] - part["low"], part["high"] - part["y"]] if "low" in part else part["error"]
    ax.errorbar(part["x"], part["y"], yerr=bars, **look)
    mark = "_" if part.sizes["row"] == 1 else ""
    for row, law in enumerate(name for name in part.data_vars if str(name).startswith("predicted")):
        ax.plot(part["x"], part[law], color=colour, lw=1, ls=LINES[1 + row % 3], marker=mark, ms=14, zorder=1)


def _laws(fit: xr.Dataset, word: str, options: Scaling) -> list[str]:
    """Variables with what laws say of an estimate."""
    said = options.predicted
    if isinstance(said, dict):
        for name in said:
            one_of(name, options.y, "estimate (y) of the option predicted")
        found = said.get(word, [])
    else:
        found = [] if said is None else [said]
    return [one_of(law, map(str, fit.data_vars), "variable") for law in found]


def _law_label(law: xr.DataArray, options: Scaling) -> str:
    """What a legend says of a law; one of several is named alike in all panels."""
    return str(law.attrs.get("long_name", law.name)) if isinstance(options.predicted, dict) else label(law)


def _draw_equal(ax: Axes, parts: list[xr.Dataset]) -> None:
    """Draw the diagonal over all points."""
    both = np.concatenate([part[name].values for part in parts for name in ("x", "y")])
    both = both[np.isfinite(both) & ((both > 0) | (ax.get_xscale() != "log"))]
    if both.size:
        ends = [both.min(), both.max()]
        ax.plot(ends, ends, color=INK, lw=1, ls=LINES[2], label="equal", zorder=1)


def _draw_exponent(ax: Axes, fit: xr.Dataset, name: str, drawn: xr.Dataset, options: Scaling) -> None:
    """Draw the fitted power through the middle of the points, and a power of one below."""
    one_of(name, map(str, fit.data_vars), f"estimate of the fit {options.exponents}")
    x, y = drawn["x"].values, drawn["y"].values
    known = (x > 0) & (y > 0)
    middle, height = np.exp(np.log(x[known]).mean()), np.exp(np.log(y[known]).mean())
    ends = np.array([x[known].min() / 1.2, x[known].max() * 1.2])
    power, error = float(fit[name]), float(fit[f"{name}_error"])
    if np.isfinite(power):
        words = rf"${drawn['x'].attrs['symbol']}$: exponent ${power:.3f}\pm{error:.3f}$"
        ax.plot(ends, height * (ends / middle) ** power, color=THEORY, lw=1.4, label=words, zorder=1)
    lower = 0.6 * height
    ax.plot(ends, lower * ends / middle, color=INK, lw=1.2, ls=LINES[1], label="exponent 1", zorder=1)


def _draw_powers(ax: Axes, parts: list[xr.Dataset], powers: list[float], limits: list[float] | None) -> None:
    """Draw powers of x through the middle of all points, or of each group's where every group has its own power."""
    own = len(powers) == len(parts) > 1
    low, high = limits or (0.0, np.inf)
    for place, power in enumerate(powers):
        chosen = [parts[place]] if own else parts
        x, y = (np.concatenate([part[name].values for part in chosen]) for name in ("x", "y"))
        known = (x > low) & (x <= high) & (y > 0)
        if not known.any():
            continue
        middle, height = np.exp(np.log(x[known]).mean()), np.exp(np.log(y[known]).mean())
        ends = np.array([x[known].min() / 1.2, x[known].max() * 1.2])
        colour = series_colours(len(parts))[place] if own else THEORY
        look = {"color": colour, "lw": 1.2, "ls": LINES[1 if own else 1 + place % 3], "zorder": 1}
        ax.plot(ends, height * (ends / middle) ** power, label=f"power {power:.3g}".replace("-", "\u2212"), **look)


def _in_decades(word: str, options: Scaling) -> bool:
    return options.scale == "log" and "log_" in word


def _raised(array: xr.DataArray, options: Scaling) -> xr.DataArray:
    """What decades are decades of, on a logarithmic axis; other arrays as they are."""
    if not _in_decades(str(array.name), options):
        return array
    words = {"symbol": str(array.attrs.get("symbol", "")).removeprefix(r"\log_{10}")}
    return (10.0**array).assign_attrs(array.attrs | words)


def _abscissa(fit: xr.Dataset, word: str, options: Scaling) -> xr.DataArray:
    """What a panel's points are drawn against."""
    along = fit[one_of(word, map(str, fit.variables), "variable or coordinate")]
    if options.exponents is None or word not in FACTORS:
        return along
    function, words = FACTORS[word]
    return function(along).assign_attrs(words)


@kind
def batch_collapse(cube: xr.Dataset, fits: Mapping[str, xr.Dataset], options: BatchCollapse) -> Figure:
    """Critical learning rate and critical temperature against batch size.

    If only the temperature matters, the first rises with slope one and the second is flat.

    Args:
        cube: Not read; the fit holds all.
        fits: Fits by name.
        options: What the card says.

    Returns:
        The figure.
    """
    fit = selection.at_values(selection.fit_of(fits, options.fit), options.at)
    figure, axes = new_figure(1, 2, width=7.2, height=4.4, sharex=True)
    said = _draw_collapse(axes[0, 0], fit, "learning_rate", options)
    _draw_collapse(axes[0, 1], fit, "temperature", options)
    figure.legend(*zip(*said, strict=True), loc="outside lower center", ncols=1)
    return figure


def _draw_collapse(ax: Axes, fit: xr.Dataset, quantity: str, options: BatchCollapse) -> list[Entry]:
    """Draw all marks' learning rates or temperatures, the theory's, and the rule; return what a legend says."""
    sizes = fit["batch_size"].values.astype(float)
    power = 1 if quantity == "learning_rate" else 0
    ax.set(xscale="log", yscale="log", xlabel=label(fit["batch_size"]))
    entries: list[Entry] = []
    for place, mark in enumerate(options.marks):
        word = one_of(f"{mark}_{quantity}", map(str, fit.data_vars), f"estimate of the fit {options.fit}")
        entries += _draw_boundary(ax, fit, word, place, options)
        ax.set_ylabel(f"${fit[word].attrs.get('symbol', quantity)}$")
    if options.theory in fit:
        law = ax.plot(sizes, fit[options.theory].values / sizes ** (1 - power), color=THEORY)
        entries.append((law[0], label(fit[options.theory])))
    middle = np.sqrt(np.prod(ax.get_ylim()))
    rule = ax.plot(sizes, middle * (sizes / np.sqrt(sizes[0] * sizes[-1])) ** power, color=INK, lw=1, ls=LINES[2])
    log_ticks(ax.xaxis, sizes)
    octave_ticks(ax.yaxis)
    return [*entries, (rule[0], "if only the temperature matters")]


def _draw_boundary(ax: Axes, fit: xr.Dataset, word: str, place: int, options: BatchCollapse) -> list[Entry]:
    """Draw one mark's boundary against batch size, a line for each value of the group; return what a legend says."""
    line, error = fit[word], fit[f"{word}_error"]
    grouped = options.group in line.dims
    if set(line.dims) - {"batch_size", options.group}:
        axes = ", ".join(map(str, line.dims))
        raise ValueError(f"{word} has the axes {axes}; choose with the options group and at")
    colour = series_colours(len(options.marks) + 1)[place]
    entries: list[Entry] = []
    for index in range(line.sizes[options.group] if grouped else 1):
        at = {options.group: index} if grouped else {}
        height = line.isel(at).values
        spread = np.minimum(np.nan_to_num(error.isel(at).values), 0.9 * np.nan_to_num(height))
        said = [value_label(fit[options.group], fit[options.group].values[index])] if grouped else []
        text = ", ".join([str(line.attrs.get("long_name", word)), *said]) + _slopes(fit, word, at)
        look = {"color": colour, "ls": LINES[index % len(LINES)], "marker": MARKERS[place], "elinewidth": 1}
        entries.append((ax.errorbar(fit["batch_size"].values, height, yerr=spread, **look), text))
    return entries


def _slopes(fit: xr.Dataset, word: str, place: Mapping[str, int]) -> str:
    """Fitted exponents of one line in words."""
    mark = word.removesuffix("_learning_rate")
    words = map(str, fit.data_vars)
    found = [name for name in words if name.startswith(f"{mark}_") and name.endswith("_exponent")]
    parts = []
    for name in found:
        value, error = (float(fit[one].isel(place)) for one in (name, f"{name}_error"))
        parts.append(f"{name.removeprefix(f'{mark}_').split('_')[0]} ${value:.2f}\\pm{error:.2f}$")
    return "; slope " + ", ".join(parts) if found else ""


def _groups(fit: xr.Dataset, word: str, along: xr.DataArray, options: Scaling) -> Iterator[tuple[str, xr.Dataset]]:
    """Points of one estimate, group by group: x, y, error and, where there is a law, predicted."""
    parts = {"y": _raised(fit[word], options), "x": along}
    parts["error"] = fit[f"{word}_error"] if f"{word}_error" in fit else xr.zeros_like(fit[word])
    if _in_decades(word, options):
        known = parts["error"].fillna(0.0)
        parts |= {"low": 10.0 ** (fit[word] - known), "high": 10.0 ** (fit[word] + known)}
    for row, law in enumerate(_laws(fit, word, options)):
        parts[f"predicted_{row}"] = fit[law]
    if options.group is not None:
        parts["group"] = fit[one_of(options.group, map(str, fit.variables), "variable or coordinate")]
    elif options.exponents is not None:
        parts["group"] = _likeness(fit, along, options)
    flat = [np.ravel(array.values) for array in xr.broadcast(*parts.values())]
    table = xr.Dataset({name: ("row", values, parts[name].attrs) for name, values in zip(parts, flat, strict=True)})
    table = table.isel(row=np.isfinite(table["y"].values) & np.isfinite(table["x"].values)).sortby("x")
    groups = np.unique(table["group"].values) if "group" in table else [None]
    for group in groups:
        part = table if group is None else table.isel(row=table["group"].values == group)
        said = "" if options.group is None else _group_label(fit, options.group, group)
        yield said, part.assign_attrs(groups=len(groups))


def _group_label(fit: xr.Dataset, word: str, value: Any) -> str:
    """A group's name where groups have names, else its symbol and value."""
    names = fit.coords.get(f"{word}_name")
    if names is None or names.dims != fit[word].dims:
        return value_label(fit[word], value)
    return str(names.values[fit[word].values == value][0]).replace("_", " ")


def _likeness(fit: xr.Dataset, along: xr.DataArray, options: Scaling) -> xr.DataArray:
    """Number of the group of points that differ in nothing but the abscissa."""
    words = [options.x] if isinstance(options.x, str) else options.x
    others = [fit[word] for word in words if word != along.name]
    columns = xr.broadcast(along, *others)
    keys = np.stack([column.values.ravel() for column in columns[1:]] or [np.zeros(columns[0].size)])
    numbers = np.unique(keys, axis=1, return_inverse=True)[1]
    return columns[0].copy(data=np.reshape(numbers, columns[0].shape))
