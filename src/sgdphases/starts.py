"""What a card may say of weights that all its networks start from, as training in the limiting phase does."""

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from sgdphases.datasets.registry import depends_on_seed
from sgdphases.ensemble.pieces import pieces
from sgdphases.ensemble.starting import DISPLACEMENT_WORDS, MODE_WORDS, STARTED_UPDATES
from sgdphases.quantities import DATA_AXES, QUANTITIES
from sgdphases.times import Strict, Whole, number

Positive = Annotated[float, BeforeValidator(number), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(number), Field(ge=0, allow_inf_nan=False)]

LANDSCAPE = ("depth", "width", *DATA_AXES, "loss", "init_scale", "coupling_ratio", "output_scale", "richness")
"""Hyperparameters that the loss, or the weights that training begins with, depend on."""


class PreTraining(Strict):
    """How the start is trained: one network, in a new order of the data each epoch."""

    learning_rate: Positive
    momentum: Annotated[float, BeforeValidator(number), Field(ge=0, lt=1)] = 0.0
    weight_decay: Share = 0.0
    batch_size: Annotated[Whole, Field(ge=1)]
    epochs: Annotated[Whole, Field(ge=1)]


class Displaced(Strict):
    """How far the start is moved away from where training and polishing ended, so that its networks drift back.

    The way is a combination of the `modes` leading eigenvectors of the Hessian there, drawn by the start's seed.
    """

    length: Positive
    modes: Annotated[Whole, Field(ge=1)]


class Directions(Strict):
    """How many directions are stored with the start: leading eigenvectors of the Hessian there, then random ones.

    The eigenvectors are converged, by Lanczos iterations, or what ten steps of the paper's subspace iteration leave.
    """

    hessian: Annotated[Whole, Field(ge=0)] = 0
    random: Annotated[Whole, Field(ge=0)] = 0
    method: Literal["lanczos", "subspace"] = "lanczos"

    @property
    def modes(self) -> int:
        """How many there are."""
        return self.hessian + self.random


class Noise(Strict):
    """From how many batches, of which size, the covariance of gradients is estimated; 0: exactly, from all samples.

    It is that at the start, or at the minimum of the parabola that the loss is around the start: where a linear network
    comes to rest, however far off it starts.
    """

    batches: Annotated[Whole, Field(ge=0)] = 0
    batch_size: Annotated[Whole, Field(ge=1)] = 32
    at: Literal["start", "minimum"] = "start"

    @model_validator(mode="after")
    def _several(self) -> "Noise":
        if self.batches == 1:
            raise ValueError("batches: one batch has no covariance; give 0 or at least 2")
        return self


class Plane(Strict):
    """A plane through the start, along two of its directions, over which the loss is measured on a square grid.

    It reaches as far as `extent` to all sides; with a temperature η/(S(1 - β)) that counts standard deviations, in the
    stationary state, of the wider of both positions.
    """

    modes: Annotated[list[Annotated[Whole, Field(ge=0)]], Field(min_length=2, max_length=2)]
    extent: Positive
    temperature: Positive | None = None
    points: Annotated[Whole, Field(ge=3)] = 21

    @model_validator(mode="after")
    def _around(self) -> "Plane":
        if self.modes[0] == self.modes[1]:
            raise ValueError("modes: two different ones span a plane")
        if self.points % 2 == 0:
            raise ValueError("points: give an odd number, so that the start is one of them")
        return self


class Start(Strict):
    """Weights that all networks start from: initial ones, trained (`train`), polished (`polish`), moved (`displaced`).

    Polishing ends at the minimum of the full-batch loss plus weight_decay / 2 times the squared weights (biases do not
    decay), where the gradient's norm is below `polish`. What surrounds the start is measured on `samples` training
    samples, the first ones, or on all; the trace of the Hessian by `probes` random vectors, 0 for none.
    """

    train: PreTraining | None = None
    polish: Positive | None = None
    displaced: Displaced | None = None
    samples: Annotated[Whole, Field(ge=1)] | None = None
    probes: Annotated[Whole, Field(ge=0)] | None = None
    weight_decay: Share = 0.0
    seed: Annotated[Whole, Field(ge=0)] = 0
    directions: Directions = Directions()
    noise: Noise = Noise()
    plane: Plane | None = None

    @model_validator(mode="after")
    def _along(self) -> "Start":
        if self.probes == 1:
            raise ValueError("probes: one random vector has no error; give 0 or at least 2")
        if self.displaced is not None and self.displaced.modes > self.directions.hessian:
            raise ValueError("displaced.modes: at most directions.hessian, along which the drift is foretold")
        if self.plane is not None and max(self.plane.modes) >= self.directions.modes:
            raise ValueError(f"plane.modes: there are {self.directions.modes} directions, counted from 0")
        return self


def check_start(ensemble: Any) -> None:
    """Refuse a start that a card's networks cannot have, and running words that want another one.

    Args:
        ensemble: What the card trains.

    Raises:
        ValueError: In words that name the key.
    """
    start, asked = ensemble.start, [word for word in ensemble.running if word in DISPLACEMENT_WORDS]
    along = [word for word in asked if word in MODE_WORDS]
    if asked and start is None:
        raise ValueError(f"running: {', '.join(asked)} needs ensemble.start, the weights that all networks start from")
    if along and not start.directions.modes:
        raise ValueError(f"running: {', '.join(along)} needs start.directions, along which it is taken")
    if ensemble.update == "quadratic":
        _check_quadratic(ensemble)
    if start is None:
        return
    if "displacement_gram" in asked and "replica" in ensemble.job_axes:
        raise ValueError("running: displacement_gram compares replicas, so replica is no job axis")
    _check_training(ensemble)
    _check_data(ensemble)
    parameters = _parameters(ensemble.network.sized(*(ensemble.fixed.get(axis, 0) for axis in ("depth", "width"))))
    if ensemble.network.kind != "cnn" and start.directions.modes > parameters:
        raise ValueError(f"start.directions: {start.directions.modes} of them are more than {parameters} parameters")


def _check_quadratic(ensemble: Any) -> None:
    """Refuse what an exact quadratic with white noise is not defined with, or could only ignore."""
    network = ensemble.network
    if ensemble.start is None:
        raise ValueError("update quadratic needs ensemble.start, where its noise is that of single samples")
    if len(network.widths) != 2 or network.widths[-1] != 1 or any(network.flags("bias")):
        raise ValueError("update quadratic needs a network of one layer with one output and no bias")
    if ensemble.sampler != "with_replacement" or ensemble.bound is not None:
        raise ValueError("update quadratic: its noise is that of sampler with_replacement, and there is no bound")
    named = (set(ensemble.fixed) | set(ensemble.grid)).union(*ensemble.points)
    foreign = named & {"noise_scale", "output_scale", "richness", "depth", "width"}
    losses = {ensemble.fixed.get("loss", QUANTITIES["loss"].default)} | set(ensemble.grid.get("loss", ()))
    losses |= {point["loss"] for point in ensemble.points if "loss" in point}
    if foreign or losses != {"half_squared_error"}:
        words = ", ".join(sorted(foreign)) or "another loss than half_squared_error"
        raise ValueError(f"update quadratic is not defined with {words}")


def _check_training(ensemble: Any) -> None:
    """Refuse what is not defined from a start."""
    network, start = ensemble.network, ensemble.start
    if ensemble.update not in STARTED_UPDATES:
        raise ValueError(f"start: update sgd starts from given weights, and quadratic, not {ensemble.update}")
    if ensemble.search is not None:
        raise ValueError("start: a search begins at the initial weights; leave out search or start")
    if network.centered or network.parametrisation != "standard":
        raise ValueError("start: networks that are centered or mean_field begin at their initial weights")
    if network.norm == "batch" and not start.noise.batches:
        raise ValueError("start.noise.batches: norm batch has no gradients of single samples; give at least 2")
    if network.norm == "batch":
        _check_normalised(network, start)
    if network.modular and start.noise.at == "minimum":
        raise ValueError("start.noise.at: the loss of networks with a norm, or of kind resnet18, is no parabola")
    if network.modular and start.polish is not None and ensemble.dtype != "float64":
        raise ValueError("start.polish: a minimum to round-off needs ensemble.dtype float64")
    if not all(network.flags("trained")):
        raise ValueError("start: frozen layers differ from replica to replica; all layers must be trained")


def _check_normalised(network: Any, start: Start) -> None:
    """Refuse batches at a start that norm batch cannot normalise."""
    sizes = {"train": start.train.batch_size if start.train else None, "noise": start.noise.batch_size}
    for key, size in sizes.items():
        if size is not None and (size % network.ghosts or size < 2 * network.ghosts):
            raise ValueError(
                f"start.{key}.batch_size: {size} has not {network.ghosts} equal parts of two samples or more "
                "(network.ghosts)"
            )
    if start.samples is not None and start.samples < start.noise.batch_size:
        raise ValueError(
            f"start.samples: {start.samples} make no batch of start.noise.batch_size {start.noise.batch_size}, as norm "
            "batch reads them"
        )


def _check_data(ensemble: Any) -> None:
    """Refuse a loss that is another one for some of the networks."""
    points = ensemble.points or [{}]
    for word in LANDSCAPE:
        default = ensemble.fixed.get(word, QUANTITIES[word].default)
        values = {value for point in points for value in ensemble.grid.get(word, [point.get(word, default)])}
        if len(values) > 1:
            raise ValueError(f"start: all networks need one loss to start from, so {word} is no axis")
    named = {axis: ensemble.fixed[axis] for axis in DATA_AXES if ensemble.fixed.get(axis)}
    if depends_on_seed(ensemble.dataset | named) or any(ensemble.grid.get("label_noise", ())):
        name = ensemble.dataset["name"]
        raise ValueError(f"start: all networks need the same data, and those of {name} are drawn for each replica")


def _parameters(network: Any) -> int:
    """Weights and biases of a network whose sizes its card tells."""
    if network.modular:
        known = {"norm": network.norm, "stem": network.stem, "channels": network.channels}
        found = pieces(network.kind, network.widths, **known, bias=network.flags("bias")[-1])
        return sum(piece.out * (piece.fan_in + piece.bias) for piece in found)
    pairs = zip(network.widths[:-1], network.widths[1:], network.flags("bias"), strict=True)
    return sum(math.prod((out, fan_in + bias)) for fan_in, out, bias in pairs)
