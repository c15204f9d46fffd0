"""Shards of the network of arXiv 2509.01349: 3-32-16-1 with tanh, its middle layer trained on a teacher's answers."""

from typing import Any

from sgdphases.datasets.loading import load_tasks
from sgdphases.datasets.task import Task
from sgdphases.ensemble.shard import Shard


def paper_shard(networks: dict[str, list[Any]], *, steps: int, **settings: Any) -> Shard:
    """A shard at batch size 4 that records its first and its last step."""
    network = {
        "widths": [3, 32, 16, 1],
        "activation": "tanh",
        "bias": [False] * 3,
        "trained": [False, True, False],
    }
    common = {"dataset": {"name": "teacher_student", "samples": 4000}, "network": network, "batch_size": 4}
    return Shard.from_dict({**common, "steps": steps, "record_steps": [0, steps], "networks": networks, **settings})


def tasks_of(shard: Shard) -> dict[int, Task]:
    """The task of every task seed of a shard whose data are computed."""
    network = shard.network
    return load_tasks(
        shard.dataset,
        widths=network.widths,
        trained=network.trained,
        activation=network.activation,
        seeds=shard.networks["seed_task"].tolist(),
        directory="nowhere",
    )
