"""From a card to its points, networks and shards; each shard named by the digest of its content."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sgdphases.config import Card
from sgdphases.faults import ConfigError
from sgdphases.provenance import STREAMS, canonical, digest, seed
from sgdphases.quantities import DATA_AXES, HYPERPARAMETERS, QUANTITIES, derived_rates, deviations, rate_units
from sgdphases.starts import LANDSCAPE, Directions, Noise, Start
from sgdphases.training import Ensemble, Network, Streams

FORMAT = 1
"""Raised when the way from a card to seeds and columns changes: what was trained before then has another digest."""


@dataclass(frozen=True)
class Part:
    """The networks that one job trains together: points times replicas, and what they have in common.

    Attributes:
        content: Everything that decides the result, canonical; its digest is the shard's name.
        values: The job axes' values of this part, for people.
        points: The points (typed hyperparameters) of this part.
        replicas: The replicas of this part.
        record_steps: Steps at which something is recorded; the last is the end.
        weight_steps: Those at which weights are recorded.
    """

    content: dict[str, Any]
    values: dict[str, Any]
    points: list[dict[str, Any]]
    replicas: list[int]
    record_steps: list[int]
    weight_steps: list[int]

    @property
    def name(self) -> str:
        """The shard's digest."""
        return digest(self.content)

    @property
    def networks(self) -> int:
        """How many networks are trained together."""
        return len(self.points) * len(self.replicas)


def points(ensemble: Ensemble) -> list[dict[str, Any]]:
    """All points of a card as typed hyperparameters, in the order of its axes.

    Two of learning_rate, batch_size and temperature are given; learning_rate and batch_size are stored.

    Args:
        ensemble: What the card trains.

    Returns:
        One mapping a point, hyperparameter to value.
    """
    if ensemble.points:
        chosen = [dict(point) for point in ensemble.points]
    else:
        chosen = [
            dict(zip(ensemble.grid, values, strict=True)) for values in itertools.product(*ensemble.grid.values())
        ]
    rates = {"learning_rate": 0.0, "batch_size": 1} if ensemble.update == "iteration" else {}
    return [_complete({**rates, **ensemble.fixed, **point}, len(ensemble.network.widths) - 1) for point in chosen]


def parts(card: Card) -> list[Part]:
    """The shards of a card, in the order of its axes; networks of one shard are recorded at the same steps."""
    ensemble = card.ensemble
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for index, point in enumerate(points(ensemble)):
        named = {**point, "point": index, **derived_rates(point, len(ensemble.network.widths) - 1)}
        key = (*((axis, named[axis]) for axis in ensemble.separate if axis != "replica"), dtype(ensemble, point))
        found.setdefault((key, tuple(record_steps(ensemble, point))), []).append(point)
    groups = (
        [[r] for r in range(ensemble.replicas)] if "replica" in ensemble.separate else [[*range(ensemble.replicas)]]
    )
    return [
        _part(ensemble, dict(key[:-1]), chosen, group, alone=len(groups) > 1)
        for (key, _), chosen in found.items()
        for group in groups
    ]


def record_steps(ensemble: Ensemble, point: Mapping[str, Any]) -> list[int]:
    """Steps at which the networks of one point are recorded.

    Args:
        ensemble: What the card trains.
        point: Typed hyperparameters.

    Returns:
        Ascending steps, one for each of the card's times.

    Raises:
        ConfigError: If two times fall on one step, or gradient-flow time stands still.
    """
    return _on_clock(ensemble, point, ensemble.times)


def dtype(ensemble: Ensemble, point: Mapping[str, Any]) -> str:
    """Floating-point type in which a point is trained: double where the output is divided by a small richness.

    (F(x) - F_0(x)) / richness loses digits to round-off as richness falls (arXiv 2410.04642's code changes at 0.01).

    Args:
        ensemble: What the card trains.
        point: Typed hyperparameters.

    Returns:
        float32 or float64.
    """
    small = ensemble.double_below is not None and point["richness"] < ensemble.double_below
    return "float64" if small else ensemble.dtype


def _on_clock(ensemble: Ensemble, point: Mapping[str, Any], times: Sequence[float]) -> list[int]:
    if ensemble.clock == "step":
        return list(times)
    rate = point["learning_rate"] / (1 - point["momentum"])
    if rate == 0:
        raise ConfigError("ensemble.flow_time: gradient-flow time stands still where learning_rate is 0")
    steps = [round(time / rate) for time in times]
    if len(set(steps)) < len(steps):
        raise ConfigError(
            f"ensemble.records: times closer than one step of learning_rate {point['learning_rate']:g} and momentum "
            f"{point['momentum']:g}, which is {rate:g}"
        )
    return steps


def _part(
    ensemble: Ensemble, values: dict[str, Any], chosen: list[dict[str, Any]], group: list[int], *, alone: bool
) -> Part:
    """One shard: the points of one set of job axes and the replicas that train together."""
    steps = record_steps(ensemble, chosen[0])
    weights = _on_clock(ensemble, chosen[0], ensemble.weight_times)
    content = {**_common(ensemble), "record_steps": steps}
    if weights != steps:
        content["weight_steps"] = weights
    if dtype(ensemble, chosen[0]) != ensemble.dtype:
        content["dtype"] = dtype(ensemble, chosen[0])
    content |= {"points": sorted(map(deviations, chosen), key=canonical), "replicas": group}
    values = values | ({"replica": group[0]} if alone else {})
    return Part(content, values, chosen, group, steps, weights)


def shard_content(card: Card, part: Part) -> dict[str, Any]:
    """What step train reads: the common settings, and one column per hyperparameter and seed with a row a network."""
    ensemble = card.ensemble
    columns: dict[str, list[Any]] = {"replica": []}
    for point, replica in _networks(part):
        columns["replica"].append(replica)
        for name in HYPERPARAMETERS:
            if name != "batch_size":
                columns.setdefault(name, []).append(point[name])
        own = deviations(point)
        for stream in STREAMS:
            shared = getattr(ensemble.streams, stream) == "shared"
            columns.setdefault(f"seed_{stream}", []).append(seed(stream, replica, None if shared else own))
    network = ensemble.network.sized(part.points[0]["depth"], part.points[0]["width"])
    axes = {name: part.points[0][name] for name in DATA_AXES if part.points[0][name] != QUANTITIES[name].neutral}
    return {
        "dataset": ensemble.dataset | axes,
        "network": {
            **network.model_dump(exclude=_unsaid(network)),
            "bias": network.flags("bias"),
            "trained": network.flags("trained"),
            "init": network.flags("init"),
        },
        "update": ensemble.update,
        "sampler": ensemble.sampler,
        "last_batch": ensemble.last_batch,
        "batch_size": part.points[0]["batch_size"],
        "dtype": dtype(ensemble, part.points[0]),
        "steps": part.record_steps[-1],
        "record_steps": part.record_steps,
        "weight_steps": part.weight_steps,
        "bound": ensemble.bound,
        "running": ensemble.running,
        **({} if ensemble.augmentation == "none" else {"augmentation": ensemble.augmentation}),
        **({} if ensemble.search is None else {"search": ensemble.search.model_dump()}),
        **({} if ensemble.start is None else {"start": _start(card)}),
        "networks": columns,
    }


def start_name(card: Card) -> str | None:
    """Digest of what decides the weights that a card's networks start from; None for a card without a start."""
    ensemble = card.ensemble
    if ensemble.start is None:
        return None
    own = {word: value for word, value in deviations(points(ensemble)[0]).items() if word in LANDSCAPE}
    parts = {key: getattr(ensemble, key).model_dump(exclude_defaults=True) for key in ("start", "network")}
    if ensemble.augmentation != "none":
        parts["augmentation"] = ensemble.augmentation
    if ensemble.network.modular:
        parts["dtype"] = ensemble.dtype
    return digest({**parts, "dataset": ensemble.dataset, "point": own, "format": FORMAT})


def start_content(card: Card) -> dict[str, Any]:
    """What step start reads.

    Args:
        card: A card with a start.

    Returns:
        name, the start's digest; shard, one network as a shard of no steps; start, what the card says.
    """
    ensemble, start = card.ensemble, card.ensemble.start
    least = 2 * ensemble.network.ghosts if ensemble.network.norm == "batch" else 1
    train = {"learning_rate": 0.0, "momentum": 0.0, "weight_decay": 0.0, "batch_size": least}
    if start.train is not None:
        train = start.train.model_dump(exclude={"epochs"})
    own = {word: value for word, value in points(ensemble)[0].items() if word in LANDSCAPE}
    part = Part({}, {}, [_complete(own | train, len(ensemble.network.widths) - 1)], [start.seed], [0], [0])
    # Networks whose minimum is found to round-off need float64; a residual network would take twice as long.
    dtype = ensemble.dtype if ensemble.network.modular else "float64"
    plain = {"start": None, "running": [], "sampler": "reshuffle", "last_batch": "drop", "dtype": dtype}
    plain |= {"bound": None, "streams": Streams(weights="shared", noise="shared"), "update": "sgd"}
    alone = card.model_copy(update={"ensemble": ensemble.model_copy(update=plain)})
    return {"name": start_name(card), "shard": shard_content(alone, part), "start": _wanted(start)}


def _unsaid(network: Network) -> set[str]:
    """Words of an architecture that came later, and leave no trace unless they are said."""
    later = ("channels", "norm", "ghosts", "stem")
    return {word for word in later if getattr(network, word) == Network.model_fields[word].default}


def _wanted(start: Start) -> dict[str, Any]:
    """What a card says of a start; words that came later leave no trace unless they are said."""
    wanted = start.model_dump()
    for word in ("displaced", "plane", "samples", "probes"):
        if getattr(start, word) is None:
            del wanted[word]
    if start.directions.method == Directions().method:
        del wanted["directions"]["method"]
    if start.noise.at == Noise().at:
        del wanted["noise"]["at"]
    return wanted


def _start(card: Card) -> dict[str, Any]:
    """What a shard says about its start."""
    return {"name": start_name(card), "modes": card.ensemble.start.directions.modes}


def _networks(part: Part) -> Iterator[tuple[dict[str, Any], int]]:
    return itertools.product(part.points, part.replicas)


def _complete(point: dict[str, Any], layers: int) -> dict[str, Any]:
    """Add defaults, and the learning_rate or batch_size that another word stands in for."""
    point = dict(point)
    richness = point.get("richness", QUANTITIES["richness"].default)
    for axis, unit in rate_units(richness, point.get("depth") or layers).items():
        if axis in point:
            point["learning_rate"] = point.pop(axis) * unit
    temperature = point.pop("temperature", None)
    if temperature is not None and "learning_rate" not in point:
        point["learning_rate"] = temperature * point["batch_size"]
    elif temperature is not None:
        point["batch_size"] = QUANTITIES["batch_size"].typed(point["learning_rate"] / temperature)
    for name in HYPERPARAMETERS:
        point.setdefault(name, QUANTITIES[name].default)
    return {name: QUANTITIES[name].typed(point[name]) for name in HYPERPARAMETERS}


def _common(ensemble: Ensemble) -> dict[str, Any]:
    """What all shards of a card share and what decides their results; a default value leaves no trace."""
    beside = {
        "grid",
        "points",
        "fixed",
        "replicas",
        "job_axes",
        "threads",
        "checkpoint_seconds",
        "records",
        "double_below",
    }
    content = ensemble.model_dump(exclude=beside, exclude_defaults=True)
    return {**content, "format": FORMAT}
