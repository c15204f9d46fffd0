"""What a card may say of training: the data, the architecture, the grid, and how long, checked word by word."""

import itertools
import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sgdphases.axes import spread, typed_value
from sgdphases.choices import one_of
from sgdphases.datasets.registry import DATASETS, resolve
from sgdphases.ensemble.geometry import check_kind
from sgdphases.ensemble.pieces import check_ghosts, check_modular, check_pieces, is_modular
from sgdphases.ensemble.shard import (
    GRADIENT_UPDATES,
    HEAVY_BALL_RUNNING,
    MODULAR_RUNNING,
    NO_MEAN_FIELD,
    RUNNING,
    RUNNING_OF,
)
from sgdphases.quantities import DATA_AXES, QUANTITIES, RATE_AXES, SHAPE_AXES, SIZE_AXES
from sgdphases.starts import Start, check_start
from sgdphases.times import Records, Strict, Times, Whole, number

_RATE_WORDS = ("learning_rate", "batch_size", "temperature", *RATE_AXES)
MOST_NETWORKS, MOST_UNITS = 10**6, 10**7  # of one experiment, of one layer: more are a slip of the pen
_ITERATION_WORDS = ("init_scale", "coupling_ratio")


Init = Literal["gaussian", "glorot_uniform"]


class Network(Strict):
    """Architecture of the networks: widths from input to output, activation; bias, trained and init of each layer.

    The widths of kind cnn, and the channels of the images that it reads, are those of `ensemble.geometry`; those of
    kind resnet18, and what norm, ghosts and stem mean, of `ensemble.pieces`.
    """

    kind: Literal["mlp", "cnn", "resnet18"] = "mlp"
    widths: list[Annotated[Whole, Field(ge=1, le=MOST_UNITS)]] = Field(min_length=2)
    activation: Literal["tanh", "relu", "erf", "linear"] = "tanh"
    bias: list[bool] | bool = False
    trained: list[bool] | bool = True
    init: list[Init] | Init = "gaussian"
    parametrisation: Literal["standard", "mean_field"] = "standard"
    centered: bool = False
    channels: Annotated[Whole, Field(ge=1, le=MOST_UNITS)] = 1
    norm: Literal["none", "batch", "group", "layer"] = "none"
    ghosts: Annotated[Whole, Field(ge=1)] = 1
    stem: Literal["tiny", "imagenet"] = "tiny"

    @model_validator(mode="after")
    def _one_flag_a_layer(self) -> "Network":
        layers = len(self.widths) - 1
        for key in ("bias", "trained", "init"):
            flags = getattr(self, key)
            if isinstance(flags, list) and len(flags) != layers:
                raise ValueError(f"{key} must have one value for each of the {layers} layers, not {len(flags)}")
        if not any(self.flags("trained")):
            raise ValueError("trained: at least one layer must be trained")
        known = {"trained": self.flags("trained"), "init": self.flags("init")}
        check_pieces(self.kind, self.widths, norm=self.norm, ghosts=self.ghosts, stem=self.stem, channels=self.channels)
        check_kind(self.kind, self.widths, self.channels, **known)
        if self.modular and len(set(self.flags("bias"))) > 1:
            raise ValueError("bias: with a norm, and of kind resnet18, one value for all layers")
        if self.modular:
            check_modular(
                parametrisation=self.parametrisation, centered=self.centered, activation=self.activation, **known
            )
        if (self.centered or self.parametrisation == "mean_field") and not all(self.flags("trained")):
            raise ValueError("trained: a centered or mean_field network trains all its layers")
        if self.parametrisation == "mean_field" and set(self.flags("init")) != {"gaussian"}:
            raise ValueError("init: mean_field starts all layers gaussian")
        return self

    @property
    def modular(self) -> bool:
        """Whether it is trained by automatic differentiation (`ensemble.pieces`)."""
        return is_modular(self.kind, self.norm)

    def sized(self, depth: int, width: int) -> "Network":
        """The architecture with as many layers, and as wide between input and output; 0 leaves what the card says."""
        if not (depth or width):
            return self
        if self.kind == "resnet18":
            return self.model_copy(update={"widths": [self.widths[0], width, self.widths[-1]]})
        if self.kind == "cnn":  # the released code's N
            return self.model_copy(update={"widths": [self.widths[0], width, 2 * width, 8 * width, self.widths[-1]]})
        hidden = [width or self.widths[1]] * ((depth or len(self.widths) - 1) - 1)
        return self.model_copy(update={"widths": [self.widths[0], *hidden, self.widths[-1]]})

    def flags(self, key: str) -> list[Any]:
        """`bias`, `trained` or `init` as one value a layer."""
        value = getattr(self, key)
        return value if isinstance(value, list) else [value] * (len(self.widths) - 1)


class Streams(Strict):
    """Which random streams a replica shares across the grid (common random numbers), and which each point has own."""

    task: Literal["shared", "own"] = "shared"
    weights: Literal["shared", "own"] = "own"
    order: Literal["shared", "own"] = "shared"
    noise: Literal["shared", "own"] = "own"


class Search(Strict):
    """How the edges of the stable range of learning rates are searched for, in decades: see `ensemble.search`."""

    above: Annotated[float, BeforeValidator(number), Field(allow_inf_nan=False)]
    below: Annotated[float, BeforeValidator(number), Field(gt=0, allow_inf_nan=False)]
    refine: Annotated[float, BeforeValidator(number), Field(ge=1e-4)] | None = None


class Ensemble(Strict):
    """What is trained: a grid (or a list of points) of networks on a data set, each with replicas."""

    dataset: dict[str, Any]
    network: Network
    update: Literal["sgd", "adam", "contrastive_divergence", "iteration", "quadratic"] = "sgd"
    sampler: Literal["fixed_order", "fixed_shuffle", "reshuffle", "with_replacement", "one_pass"] = "fixed_order"
    last_batch: Literal["drop", "keep"] = "drop"
    dtype: Literal["float32", "float64"] = "float64"
    double_below: Annotated[float, Field(gt=0)] | None = None
    steps: Annotated[Whole, Field(ge=1, le=10**15)] | None = None
    flow_time: Annotated[float, BeforeValidator(number), Field(gt=0, le=1e15)] | None = None
    records: Records
    replicas: Annotated[Whole, Field(ge=1, le=MOST_NETWORKS)]
    fixed: dict[str, Any] = {}
    grid: Annotated[dict[str, list[Any]], BeforeValidator(spread)] = {}
    points: list[dict[str, Any]] = []
    job_axes: list[str] = []
    streams: Streams = Streams()
    search: Search | None = None
    start: Start | None = None
    augmentation: Literal["none", "flip", "crop", "resized_crop"] = "none"
    running: list[str] = []
    bound: Annotated[float, Field(gt=0)] | None = None
    threads: Annotated[Whole, Field(ge=1)] = 1
    checkpoint_seconds: Annotated[Whole, Field(ge=1)] = 60

    @field_validator("running")
    @classmethod
    def _known_running(cls, value: list[str]) -> list[str]:
        return once(one_of(word, RUNNING, "running observable") for word in value)

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, value: dict[str, Any]) -> dict[str, Any]:
        resolved = resolve(value)
        parameters = DATASETS[value["name"]].parameters
        for axis in DATA_AXES:
            if resolved.get(axis) is not None:
                QUANTITIES[axis].typed(resolved[axis])
        return {"name": value["name"]} | {k: v for k, v in resolved.items() if v != parameters[k].default}

    @field_validator("fixed")
    @classmethod
    def _typed_fixed(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {key: typed_value(key, single) for key, single in value.items()}

    @field_validator("grid")
    @classmethod
    def _typed_grid(cls, value: dict[str, list[Any]]) -> dict[str, list[Any]]:
        typed = {key: [typed_value(key, single) for single in axis] for key, axis in value.items()}
        for key, axis in typed.items():
            if not axis:
                raise ValueError(f"axis {key} is empty; give it at least one value")
            if len(set(axis)) != len(axis):
                raise ValueError(f"axis {key} names a value twice: {axis}")
        return typed

    @field_validator("points")
    @classmethod
    def _typed_points(cls, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: typed_value(key, single) for key, single in point.items()} for point in value]

    @model_validator(mode="after")
    def _countable(self) -> "Ensemble":
        networks = math.prod(len(axis) for axis in self.grid.values()) * max(1, len(self.points)) * self.replicas
        if networks > MOST_NETWORKS:
            raise ValueError(f"{networks} networks are asked for; one experiment has at most {MOST_NETWORKS}")
        return self

    @model_validator(mode="after")
    def _one_meaning(self) -> "Ensemble":
        if bool(self.grid) == bool(self.points):
            raise ValueError("give either grid or points (a list of combinations), one of them and not empty")
        keys = set(self.grid) or set().union(*self.points)
        for key in sorted(keys & set(self.fixed)):
            raise ValueError(f"{key} stands in fixed and in the grid; say it once")
        for point in [] if self.update == "iteration" else self.points or [self.grid]:
            named = {word for word in _RATE_WORDS if word in point or word in self.fixed}
            if len(named) != 2 or not ("batch_size" in named or named == {"learning_rate", "temperature"}):
                raise ValueError(
                    "set exactly two of learning_rate, batch_size, temperature (in place of learning_rate also "
                    f"{' or '.join(RATE_AXES)}); set are: {', '.join(sorted(named)) or 'none'}"
                )
            zero = 0 in (*self.grid.get("temperature", ()), point.get("temperature"), self.fixed.get("temperature"))
            if zero and "batch_size" not in named:
                raise ValueError("temperature: 0 leaves no batch_size, which is learning_rate over temperature")
        for place, point in enumerate(self.points):
            if point in self.points[:place]:
                raise ValueError(f"points names a point twice: {point}")
        for key in self.job_axes:
            one_of(key, [*sorted(keys), "replica", *(["point"] if self.points else [])], "job axis")
        return self

    @model_validator(mode="after")
    def _fitting_update(self) -> "Ensemble":
        for word in self.running:
            words = RUNNING_OF[self.update]
            if word not in words:
                raise ValueError(f"running: update {self.update} measures {', '.join(words) or 'nothing'}, not {word}")
        validated = [word for word in self.running if word.startswith("validation_")]
        if validated and "validation" not in self.dataset:
            raise ValueError(f"running: {', '.join(validated)} needs dataset.validation, the images to hold out")
        losses = {self.fixed.get("loss"), *self.grid.get("loss", ()), *(point.get("loss") for point in self.points)}
        if "cross_entropy" in losses and self.dataset.get("targets") == "centred":
            raise ValueError("loss cross_entropy needs targets that are shares of classes; dataset.targets is centred")
        if self.update == "iteration":
            self._check_iteration()
        elif self.dataset["name"] == "none":
            raise ValueError(f"the dataset none has no samples; update {self.update} needs some")
        return self

    def _check_iteration(self) -> None:
        """Refuse what the iterated map could only ignore."""
        if self.dataset["name"] != "none":
            raise ValueError("update iteration trains on nothing; say dataset: {name: none}")
        foreign = (set(self.fixed) | set(self.grid)).union(*self.points) - set(_ITERATION_WORDS)
        if foreign:
            raise ValueError(f"update iteration reads {', '.join(_ITERATION_WORDS)}, not {', '.join(sorted(foreign))}")
        shape = self.network
        if len(shape.widths) != 2 or shape.widths[0] != shape.widths[1] or any(shape.flags("bias")):
            raise ValueError("update iteration needs a network of one square layer without bias")
        if shape.activation != "tanh" or shape.flags("init") != ["gaussian"]:
            raise ValueError("update iteration iterates tanh(W x) with a Gaussian W")
        if self.streams.weights != "shared":
            raise ValueError("update iteration needs streams: {weights: shared}, one matrix for all cells of a replica")

    @model_validator(mode="after")
    def _defined_sizes(self) -> "Ensemble":
        network, named = self.network, (set(self.fixed) | set(self.grid)).union(*self.points)
        sized = sorted(named & set(SIZE_AXES))
        listed = [key for key in ("bias", "trained", "init") if isinstance(getattr(network, key), list)]
        if sized and (len(network.widths) < 3 or listed):
            raise ValueError(
                f"{', '.join(sized)} changes the hidden layers: give widths with at least one of them and "
                f"{', '.join(listed) or 'bias, trained and init'} as one value for all layers"
            )
        if network.kind == "cnn":
            self._check_cnn(named)
        if network.modular:
            self._check_modular(named)
        if self.augmentation != "none" and network.kind != "resnet18":
            raise ValueError("augmentation: networks of kind resnet18 read images; others need none")
        if network.centered and self.streams.weights != "shared":
            raise ValueError("network.centered needs streams: {weights: shared}, one start for all points of a replica")
        if network.parametrisation == "mean_field":
            foreign = sorted(named & set(NO_MEAN_FIELD))
            running = sorted(set(self.running) & set(HEAVY_BALL_RUNNING))
            if self.update != "sgd" or foreign or running:
                what = ", ".join([*foreign, *running]) or f"update {self.update}"
                raise ValueError(f"network.parametrisation mean_field is not defined with {what}")
        return self

    def _check_modular(self, named: set[str]) -> None:
        """Refuse what is not defined on networks that are trained by automatic differentiation."""
        undefined = {"noise_scale", "coupling_ratio", "richness"} | ({"depth"} if self.network.kind != "mlp" else set())
        foreign = sorted(named & undefined)
        running = [word for word in self.running if word not in MODULAR_RUNNING]
        if self.update != "sgd" or foreign or running:
            what = ", ".join([*foreign, *running]) or f"update {self.update}"
            raise ValueError(f"network: with a norm, and of kind resnet18, there is no {what}")
        if self.last_batch == "keep":
            raise ValueError("last_batch: networks with a norm, or of kind resnet18, need drop")
        if self.search is not None or self.dataset["name"] == "teacher_student":
            raise ValueError("network: with a norm, and of kind resnet18, there is no search and no teacher_student")
        network = self.network
        known = {key: getattr(network, key) for key in ("norm", "ghosts", "stem", "channels")}
        for point in self._together("depth", "width"):
            check_pieces(network.kind, network.sized(point.get("depth", 0), point.get("width", 0)).widths, **known)
        for point in self._together("batch_size", "learning_rate", "temperature") if network.norm == "batch" else ():
            size = point.get("batch_size") or round(point["learning_rate"] / point["temperature"])
            check_ghosts(size, network.ghosts)

    def _together(self, *words: str) -> list[dict[str, Any]]:
        """All combinations that the card gives some hyperparameters."""
        axes = {word: self.grid[word] for word in words if word in self.grid}
        chosen = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
        return [self.fixed | point | each for point in self.points or [{}] for each in chosen]

    def _check_cnn(self, named: set[str]) -> None:
        """Refuse what is defined on dense layers alone."""
        if "depth" in named:
            raise ValueError("depth: a network of kind cnn has four layers; its axis of sizes is width")
        if self.update not in GRADIENT_UPDATES:
            raise ValueError(f"network.kind cnn is trained by {' or '.join(GRADIENT_UPDATES)}, not {self.update}")
        if self.dataset["name"] == "teacher_student":
            raise ValueError("network.kind cnn: the teacher of the dataset teacher_student has dense layers")

    @model_validator(mode="after")
    def _one_clock(self) -> "Ensemble":
        if (self.steps is None) == (self.flow_time is None):
            raise ValueError("give one of steps and flow_time (learning rate times steps over 1 - momentum)")
        if self.flow_time is not None and self.update == "adam":
            raise ValueError("flow_time: update adam follows no gradient flow; give steps")
        if self.flow_time is not None and (self.records.log or (self.records.weights and self.records.weights.log)):
            raise ValueError("records.log counts steps; with flow_time give even, every or at")
        for times in (self.records, self.records.weights):
            fractions = [time for time in (times.at if times else []) if self.steps and time != int(time)]
            if fractions or (times and self.steps and times.every and times.every != int(times.every)):
                raise ValueError("records: at and every count whole steps")
        if not set(self.weight_times) <= set(self.times):
            raise ValueError("records.weights names times that are not recorded")
        return self

    @model_validator(mode="after")
    def _parameters_said_once(self) -> "Ensemble":
        parameters = DATASETS[self.dataset["name"]].parameters
        for axis in DATA_AXES:
            named = axis in self.fixed or axis in self.grid or any(axis in point for point in self.points)
            if named and axis not in parameters:
                raise ValueError(f"{axis} is no parameter of the dataset {self.dataset['name']}")
            if named and axis in self.dataset:
                raise ValueError(f"{axis} stands in dataset and among the hyperparameters; say it once")
        sizes = {*self.grid.get("samples", ()), *(point.get("samples", 0) for point in self.points)}
        if 0 in sizes and len(sizes) > 1:
            raise ValueError("samples: some networks are given a number and some all there are; give each its number")
        return self

    @model_validator(mode="after")
    def _searchable(self) -> "Ensemble":
        if self.search is None:
            return self
        if len(self.grid.get("learning_rate", ())) < 2:
            raise ValueError("search: the grid needs an axis learning_rate, the values to search through")
        if self.clock != "step":
            raise ValueError("search: learning rates are compared after equally many steps; give steps")
        if "learning_rate" in self.job_axes:
            raise ValueError("search: learning_rate is what one job searches through, and no job axis")
        missing = [word for word in ("test_loss", "batch_loss") if word not in self.running]
        if missing:
            raise ValueError(f"search: it decides by test_loss and batch_loss; {' and '.join(missing)} must be running")
        if self.records.weights is not None:
            raise ValueError("search: it records no weights; leave out records.weights")
        self._check_lattice()
        return self

    @model_validator(mode="after")
    def _startable(self) -> "Ensemble":
        check_start(self)
        return self

    def _check_lattice(self) -> None:
        """Refuse learning rates that a search cannot walk through."""
        rates = sorted(self.grid["learning_rate"])
        if rates[0] <= 0:
            raise ValueError("search: learning_rate must be positive")
        gaps = [math.log10(high) - math.log10(low) for low, high in itertools.pairwise(rates)]
        if max(gaps) - min(gaps) > 0.01 * min(gaps):
            raise ValueError("search: learning_rate must have equal steps in its logarithm")
        if self.search.refine is not None and self.search.refine >= min(gaps):
            raise ValueError(f"search: refine must be smaller than the step of learning_rate, {min(gaps):.3g} decades")

    @property
    def clock(self) -> str:
        """What the card's times count: step or flow_time."""
        return "step" if self.flow_time is None else "flow_time"

    @property
    def times(self) -> list[float]:
        """When something is recorded, in the card's clock."""
        return self._times(self.records)

    @property
    def weight_times(self) -> list[float]:
        """When weights are recorded, in the card's clock."""
        return self._times(self.records.weights or self.records)

    def _times(self, times: Times) -> list[float]:
        return times.steps(self.steps) if self.flow_time is None else times.flow_times(self.flow_time)

    @property
    def separate(self) -> tuple[str, ...]:
        """Axes whose values never share a shard: the card's job axes and those that change shapes."""
        return tuple(dict.fromkeys([*self.job_axes, *SHAPE_AXES]))


def once(words: Iterable[str]) -> list[str]:
    """The words, none of which may stand there twice."""
    words = list(words)
    for place, word in enumerate(words):
        if word in words[:place]:
            raise ValueError(f"{word} is named twice")
    return words
