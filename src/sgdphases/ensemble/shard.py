"""A shard: networks of equal shape that one job trains together, as plain data.

A shard says everything training depends on, and nothing else: its JSON text is what the records are named after.
Networks are rows of equally long columns; no column says where a network stands, so that no result can depend on it.
"""

from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from sgdphases.ensemble.architecture import Network, known_word
from sgdphases.ensemble.pieces import check_ghosts
from sgdphases.ensemble.starting import DISPLACEMENT_WORDS, StartSettings, check_words

LOSSES = ("half_squared_error", "squared_error", "mean_squared_error", "cross_entropy")
SAMPLERS = ("fixed_order", "fixed_shuffle", "reshuffle", "with_replacement", "one_pass")
UPDATES = ("sgd", "adam", "contrastive_divergence", "iteration", "quadratic")
GRADIENT_UPDATES = ("sgd", "adam")  # those that descend a loss
LAST_BATCHES = ("drop", "keep")
GRADIENT_RUNNING = (
    "epoch_train_loss",
    "epoch_train_accuracy",
    "epoch_gradient_norm",
    "batch_loss",
    "weight_work",
    "weight_diffusion",
    "coupling",
    "mean_coupling",
    "test_loss",
    "test_accuracy",
    "validation_loss",
    "validation_accuracy",
)
ITERATION_RUNNING = ("asymptotic_distance", "lyapunov", "jacobian_norm", "converged")
HEAVY_BALL_RUNNING = ("weight_work", "weight_diffusion")  # sums that mean something under that update alone
RUNNING_OF = {
    "sgd": (*GRADIENT_RUNNING, *DISPLACEMENT_WORDS),
    "adam": tuple(word for word in GRADIENT_RUNNING if word not in HEAVY_BALL_RUNNING),
    "contrastive_divergence": (),
    "iteration": ITERATION_RUNNING,
    "quadratic": DISPLACEMENT_WORDS,
}  # what each update rule measures itself
RUNNING = (*GRADIENT_RUNNING, *ITERATION_RUNNING, *DISPLACEMENT_WORDS)
MODULAR_RUNNING = (
    *DISPLACEMENT_WORDS,
    *(word for word in GRADIENT_RUNNING if word.startswith(("test_", "validation_", "batch_", "coupling", "mean_"))),
)  # what networks that are trained by automatic differentiation measure
WHOLE_RUNNING = ("batch_loss",)  # one value an update: said once, not at each record
DTYPES = ("float32", "float64")

NUMBER_COLUMNS = {
    "learning_rate": None,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "init_scale": 1.0,
    "coupling_ratio": 0.0,
    "output_scale": 1.0,
    "noise_scale": 0.0,
    "samples": 0.0,
    "label_noise": 0.0,
    "richness": 1.0,
    "depth": 0.0,
    "width": 0.0,
}
NO_MEAN_FIELD = ("weight_decay", "noise_scale", "coupling_ratio")
"""Columns that are not defined on the parameters of mean_field networks."""
SEED_COLUMNS = ("seed_task", "seed_weights", "seed_order", "seed_noise")


@dataclass(frozen=True)
class SearchSettings:
    """How the edges of the stable range of learning rates are searched for, see `ensemble.search`.

    Attributes:
        above: Decades over the first guess at which the search begins.
        below: Decades under the first network that has learned at which it ends.
        refine: Largest width of a bracket in decades; None for what the lattice gives.
    """

    above: float
    below: float
    refine: float | None = None


@dataclass(frozen=True, eq=False)
class Shard:
    """What one job trains. The attributes have the names and the meaning of the JSON keys.

    Attributes:
        dataset: Data set and its parameters, as the data sets read them.
        network: Architecture shared by all networks.
        networks: Columns of equal length, one value per network.
        steps: Number of updates.
        record_steps: Ascending steps at which something is recorded; 0 and `steps` are among them.
        weight_steps: Those of them at which weights are recorded; 0 and `steps` are among them; all if not given.
        batch_size: Samples per batch.
        update: Word of the update rule.
        sampler: Word of the order of the data.
        last_batch: Whether samples that fill no batch form a smaller last one of each epoch (keep) or wait (drop).
        dtype: Floating-point type of the weights.
        bound: Batch loss past which a network counts as diverged; None for no bound.
        running: Words of the running observables that training computes itself.
        search: How learning rates are searched through; None where every network is trained.
        start: Which weights all networks start from; None where each has its own.
        augmentation: What is done to images before kind resnet18 reads them, see `ensemble.augmentation`.
    """

    dataset: dict[str, Any]
    network: Network
    networks: dict[str, np.ndarray]
    steps: int
    record_steps: tuple[int, ...]
    batch_size: int
    update: str = "sgd"
    sampler: str = "fixed_order"
    dtype: str = "float64"
    bound: float | None = None
    running: tuple[str, ...] = field(default=())
    last_batch: str = "drop"
    weight_steps: tuple[int, ...] = ()
    search: SearchSettings | None = None
    start: StartSettings | None = None
    augmentation: str = "none"

    def __post_init__(self) -> None:
        known_word("update", self.update, UPDATES)
        known_word("sampler", self.sampler, SAMPLERS)
        known_word("dtype", self.dtype, DTYPES)
        known_word("last_batch", self.last_batch, LAST_BATCHES)
        for word in self.running:
            known_word("running", word, RUNNING)
            if word not in RUNNING_OF[self.update]:
                raise ValueError(f"{self.update} has no running observable {word}")
        if self.batch_size < 1 or self.steps < 0:
            raise ValueError(f"batch_size {self.batch_size} and steps {self.steps} must be positive")
        steps = self.record_steps
        if not steps or steps[0] != 0 or steps[-1] != self.steps or any(a >= b for a, b in pairwise(steps)):
            raise ValueError(f"record_steps must ascend strictly from 0 to steps ({self.steps})")
        object.__setattr__(self, "weight_steps", tuple(self.weight_steps) or steps)
        if not {0, self.steps} <= set(self.weight_steps) <= set(steps):
            raise ValueError(f"weight_steps must be among the record_steps, with 0 and {self.steps}")
        self._check_networks()
        check_words(self)

    def _check_networks(self) -> None:
        """Refuse what is not defined on networks of their kind."""
        for word in set(self.networks["loss"].tolist()):
            known_word("loss", word, LOSSES)
        if self.search is not None and not {"test_loss", "batch_loss"} <= set(self.running):
            raise ValueError("a search needs test_loss and batch_loss in running")
        if self.network.kind == "cnn" and self.update not in GRADIENT_UPDATES:
            raise ValueError(f"networks of kind cnn are trained by {' or '.join(GRADIENT_UPDATES)}, not {self.update}")
        if self.network.modular:
            self._check_modular()
        if self.augmentation != "none" and self.network.kind != "resnet18":
            raise ValueError(f"augmentation {self.augmentation}: networks of kind resnet18 read images")
        if self.network.parametrisation == "mean_field":
            self._check_mean_field()

    def _check_modular(self) -> None:
        """Refuse what is not defined on networks that are trained by automatic differentiation."""
        foreign = [word for word in self.running if word not in MODULAR_RUNNING]
        if self.update != "sgd" or foreign:
            what = ", ".join(foreign) or f"update {self.update}"
            raise ValueError(f"networks with a norm, or of kind resnet18, have no {what}")
        if np.any(self.networks["noise_scale"] != 0) or np.any(self.networks["coupling_ratio"] != 0):
            raise ValueError("networks with a norm, or of kind resnet18, have no noise_scale and no coupling_ratio")
        if self.network.norm == "batch":
            check_ghosts(self.batch_size, self.network.ghosts)
        if self.last_batch == "keep":
            raise ValueError("networks with a norm, or of kind resnet18, need last_batch drop")

    def _check_mean_field(self) -> None:
        """Refuse what is not defined on the parameters theta."""
        if self.update != "sgd" or set(self.running) & set(HEAVY_BALL_RUNNING):
            raise ValueError(f"mean_field networks are trained by sgd, without {' and '.join(HEAVY_BALL_RUNNING)}")
        for name in NO_MEAN_FIELD:
            if np.any(self.networks[name] != 0):
                raise ValueError(f"mean_field networks have no {name}")

    @property
    def output_factor(self) -> np.ndarray:
        """What the output is multiplied by, output_scale over richness, (networks,)."""
        return self.networks["output_scale"] / self.networks["richness"]

    def __len__(self) -> int:
        return len(self.networks["replica"])

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Shard":
        """Read a shard from the object of its JSON file.

        Args:
            value: The object; unknown keys are refused, columns that are left out take their neutral value.

        Returns:
            The shard.

        Raises:
            ValueError: If a key is unknown or missing, or a value makes no sense.
        """
        value = dict(value)
        try:
            shape = dict(value.pop("network"))
            for key in ("widths", "bias", "trained", "init"):
                shape[key] = tuple(shape.get(key, ()) if key == "init" else shape[key])
            network = Network(**shape)
            networks = _columns(value.pop("networks"))
            value["record_steps"] = tuple(int(step) for step in value["record_steps"])
            value["running"] = tuple(value.get("running", ()))
            value["weight_steps"] = tuple(int(step) for step in value.get("weight_steps", ()))
            value["search"] = SearchSettings(**value["search"]) if value.get("search") else None
            value["start"] = StartSettings(**value["start"]) if value.get("start") else None
            return cls(network=network, networks=networks, **value)
        except KeyError as error:
            raise ValueError(f"shard without {error.args[0]!r}") from error
        except TypeError as error:
            raise ValueError(f"shard: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """The object that `from_dict` reads, of plain JSON types."""
        network = {
            "kind": self.network.kind,
            "widths": list(self.network.widths),
            "activation": self.network.activation,
            "bias": list(self.network.bias),
            "trained": list(self.network.trained),
            "init": list(self.network.init),
        }
        if self.network.parametrisation != "standard":
            network["parametrisation"] = self.network.parametrisation
        if self.network.centered:
            network["centered"] = True
        for name in ("channels", "norm", "ghosts", "stem"):
            if getattr(self.network, name) != getattr(Network, name):
                network[name] = getattr(self.network, name)
        parts = {"search": self.search, "start": self.start}
        optional = {name: asdict(part) for name, part in parts.items() if part is not None}
        return {
            "dataset": self.dataset,
            "network": network,
            "update": self.update,
            "sampler": self.sampler,
            "last_batch": self.last_batch,
            "batch_size": self.batch_size,
            "dtype": self.dtype,
            "steps": self.steps,
            "record_steps": list(self.record_steps),
            "weight_steps": list(self.weight_steps),
            "bound": self.bound,
            "running": list(self.running),
            **optional,
            **({} if self.augmentation == "none" else {"augmentation": self.augmentation}),
            "networks": {name: column.tolist() for name, column in self.networks.items()},
        }

    def select(self, rows: Any) -> "Shard":
        """The shard of some of the networks.

        Args:
            rows: Anything that indexes a numpy array.

        Returns:
            A shard with the same settings and those networks.
        """
        columns = {name: np.atleast_1d(column[rows]) for name, column in self.networks.items()}
        settings = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Shard(**(settings | {"networks": columns}))


def _columns(value: dict[str, Any]) -> dict[str, np.ndarray]:
    """Typed columns of equal length, with neutral values where a column is left out."""
    value = dict(value)
    count = len(value["seed_weights"])
    columns = {"replica": np.asarray(value.pop("replica", range(count)), dtype=np.int64)}
    for name, neutral in NUMBER_COLUMNS.items():
        if name not in value and neutral is None:
            raise KeyError(name)
        columns[name] = np.asarray(value.pop(name, [neutral] * count), dtype=np.float64)
    columns["loss"] = np.asarray(value.pop("loss", [LOSSES[0]] * count), dtype=np.str_)
    for name in SEED_COLUMNS:
        columns[name] = np.asarray(value.pop(name), dtype=np.int64)
    if value:
        raise ValueError(f"unknown columns {sorted(value)}")
    wrong = sorted(name for name, column in columns.items() if column.shape != (count,))
    if wrong or count == 0:
        raise ValueError(f"columns {wrong} do not have one value for each of the {count} networks")
    return columns
