"""A shard: networks of equal shape that one job trains together, as plain data.

A shard says everything training depends on, and nothing else: its JSON text is what the records are named after.
Networks are rows of equally long columns; no column says where a network stands, so that no result can depend on it.
"""

import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from sgdphases.ensemble.geometry import Geometry, check_kind, convolutions
from sgdphases.ensemble.starting import DISPLACEMENT_WORDS, StartSettings, check_words

ACTIVATIONS = ("tanh", "relu", "erf", "linear")
LOSSES = ("half_squared_error", "squared_error", "mean_squared_error", "cross_entropy")
SAMPLERS = ("fixed_order", "reshuffle", "with_replacement", "one_pass")
UPDATES = ("sgd", "adam", "contrastive_divergence", "iteration")
GRADIENT_UPDATES = ("sgd", "adam")  # those that descend a loss
KINDS = ("mlp", "cnn")
PARAMETRISATIONS = ("standard", "mean_field")
INITS = ("gaussian", "glorot_uniform")
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
}  # what each update rule measures itself
RUNNING = (*GRADIENT_RUNNING, *ITERATION_RUNNING, *DISPLACEMENT_WORDS)
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
class Network:
    """The architecture that all networks of a shard share.

    Attributes:
        widths: Units per level, the input first: layer l maps widths[l] to widths[l + 1]. Of kind cnn: numbers of an
            image, channels of both convolutions, hidden units, outputs (`ensemble.geometry`).
        activation: Word of the hidden activation; the last layer is linear.
        bias: Per layer, whether it has a bias (starts at zero).
        trained: Per layer, whether it is trained; the weights of frozen layers come from the task.
        init: Per layer, how its weights start: gaussian (variance init_scale^2 / fan-in) or glorot_uniform, which no
            init_scale changes; all gaussian if not given.
        kind: Family of the network: mlp, or cnn (two convolutions and two dense layers).
        parametrisation: How scales depend on the widths. standard: a Gaussian weight starts with variance
            init_scale^2 / fan-in and moves by the learning rate times its gradient. mean_field (arXiv 2410.04642):
            weights are `unit` times parameters theta that start with variance init_scale^2, the read-out's unit is
            1 / fan-in, and theta moves by the hidden width times the learning rate times its gradient.
        centered: Whether the output of the network as it starts is subtracted from its output.
        channels: Channels of the images that a cnn reads.
    """

    widths: tuple[int, ...]
    activation: str
    bias: tuple[bool, ...]
    trained: tuple[bool, ...]
    init: tuple[str, ...] = ()
    kind: str = "mlp"
    parametrisation: str = "standard"
    centered: bool = False
    channels: int = 1

    def __post_init__(self) -> None:
        depth = len(self.widths) - 1
        if depth < 1 or min(self.widths) < 1:
            raise ValueError(f"widths {list(self.widths)}: at least two positive widths are needed")
        if len(self.bias) != depth or len(self.trained) != depth:
            raise ValueError(f"bias and trained need one value for each of the {depth} layers")
        if not any(self.trained):
            raise ValueError("no layer is trained")
        object.__setattr__(self, "init", tuple(self.init) or (INITS[0],) * depth)
        if len(self.init) != depth:
            raise ValueError(f"init needs one word for each of the {depth} layers")
        for word in self.init:
            _known("init", word, INITS)
        _known("kind", self.kind, KINDS)
        check_kind(self.kind, self.widths, self.channels, trained=self.trained, init=self.init)
        _known("activation", self.activation, ACTIVATIONS)
        _known("parametrisation", self.parametrisation, PARAMETRISATIONS)
        if (self.centered or self.parametrisation == "mean_field") and not all(self.trained):
            raise ValueError("a centered or mean_field network trains all its layers")
        if self.parametrisation == "mean_field" and set(self.init) != {"gaussian"}:
            raise ValueError("mean_field starts all layers from Gaussians")

    @property
    def layers(self) -> int:
        """Number of layers L; they are numbered 0 .. L - 1."""
        return len(self.trained)

    @property
    def trained_layers(self) -> tuple[int, ...]:
        """Numbers of the trained layers, ascending."""
        return tuple(layer for layer, trained in enumerate(self.trained) if trained)

    @cached_property
    def geometries(self) -> tuple[Geometry | None, ...]:
        """Per layer, how a convolution reads images and what it leaves; None for a dense layer."""
        read = convolutions(self.widths, self.channels) if self.kind == "cnn" else ()
        return (*read, *[None] * (self.layers - len(read)))

    def shape(self, layer: int) -> tuple[int, int]:
        """Shape (out, in) of the weights of one layer; a convolution's filters lie channel by channel, row by row."""
        geometry, below = self.geometries[layer], self.geometries[layer - 1] if layer else None
        if geometry is not None:
            return geometry.filters, geometry.patch
        return self.widths[layer + 1], self.widths[layer] if below is None else below.outputs

    @property
    def largest(self) -> int:
        """Numbers of the largest array that a layer makes of one sample."""
        each = enumerate(self.geometries)
        return max(self.shape(layer)[0] if geometry is None else geometry.largest for layer, geometry in each)

    def unit(self, layer: int) -> float:
        """The c in W = c theta, weights and bias of a layer alike; 1 where weights themselves are the parameters."""
        if self.parametrisation == "standard":
            return 1.0
        geometry = self.geometries[layer]
        # The released code divides by the root of the channels, not of all that a filter reads.
        fan_in = self.shape(layer)[1] if geometry is None else geometry.channels
        return 1 / fan_in if layer == self.layers - 1 else 1 / math.sqrt(fan_in)

    @property
    def rate_factor(self) -> float:
        """N, by which the learning rate is multiplied: under mean_field widths[1] (1 without hidden units), else 1."""
        return float(self.widths[1]) if self.parametrisation == "mean_field" and self.layers > 1 else 1.0

    def step_factor(self, layer: int) -> float:
        """Step of W per learning rate and gradient by W: N c^2, since theta steps by N times the learning rate."""
        return self.rate_factor * self.unit(layer) ** 2


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

    def __post_init__(self) -> None:
        _known("update", self.update, UPDATES)
        _known("sampler", self.sampler, SAMPLERS)
        _known("dtype", self.dtype, DTYPES)
        _known("last_batch", self.last_batch, LAST_BATCHES)
        for word in self.running:
            _known("running", word, RUNNING)
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
        for word in set(self.networks["loss"].tolist()):
            _known("loss", word, LOSSES)
        if self.search is not None and not {"test_loss", "batch_loss"} <= set(self.running):
            raise ValueError("a search needs test_loss and batch_loss in running")
        if self.network.kind == "cnn" and self.update not in GRADIENT_UPDATES:
            raise ValueError(f"networks of kind cnn are trained by {' or '.join(GRADIENT_UPDATES)}, not {self.update}")
        if self.network.parametrisation == "mean_field":
            self._check_mean_field()
        check_words(self)

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
        if self.network.channels != 1:
            network["channels"] = self.network.channels
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


def _known(name: str, word: str, words: tuple[str, ...]) -> None:
    """Refuse a word that is not in the list."""
    if word not in words:
        raise ValueError(f"{name} {word!r} is unknown; known are {', '.join(words)}")
