"""From a card to its points, networks and shards; each shard named by the digest of its content."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sgdphases.config import Card, Ensemble
from sgdphases.provenance import STREAMS, canonical, digest, seed
from sgdphases.quantities import HYPERPARAMETERS, QUANTITIES, deviations

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
    """

    content: dict[str, Any]
    values: dict[str, Any]
    points: list[dict[str, Any]]
    replicas: list[int]

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
    return [_complete({**ensemble.fixed, **point}) for point in chosen]


def parts(card: Card) -> list[Part]:
    """The shards of a card, in the order of its axes."""
    ensemble = card.ensemble
    common = _common(ensemble)
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for index, point in enumerate(points(ensemble)):
        named = {**point, "point": index, "temperature": point["learning_rate"] / point["batch_size"]}
        key = tuple((axis, named[axis]) for axis in ensemble.separate if axis != "replica")
        found.setdefault(key, []).append(point)
    groups = (
        [[r] for r in range(ensemble.replicas)] if "replica" in ensemble.separate else [[*range(ensemble.replicas)]]
    )
    return [
        Part(
            content={**common, "points": sorted(map(deviations, chosen), key=canonical), "replicas": group},
            values=dict(key) | ({"replica": group[0]} if len(groups) > 1 else {}),
            points=chosen,
            replicas=group,
        )
        for key, chosen in found.items()
        for group in groups
    ]


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
    network = ensemble.network
    return {
        "dataset": ensemble.dataset,
        "network": {
            **network.model_dump(),
            "bias": network.flags("bias"),
            "trained": network.flags("trained"),
        },
        "update": ensemble.update,
        "sampler": ensemble.sampler,
        "batch_size": part.points[0]["batch_size"],
        "dtype": ensemble.dtype,
        "steps": ensemble.steps,
        "record_steps": ensemble.records.steps(ensemble.steps),
        "bound": ensemble.bound,
        "running": ensemble.running,
        "networks": columns,
    }


def _networks(part: Part) -> Iterator[tuple[dict[str, Any], int]]:
    return itertools.product(part.points, part.replicas)


def _complete(point: dict[str, Any]) -> dict[str, Any]:
    """Add defaults, and the one of learning_rate and batch_size that temperature stands in for."""
    point = dict(point)
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
    beside = {"grid", "points", "fixed", "replicas", "job_axes", "threads", "checkpoint_seconds", "records"}
    content = ensemble.model_dump(exclude=beside, exclude_defaults=True)
    return {**content, "record_steps": ensemble.records.steps(ensemble.steps), "format": FORMAT}
