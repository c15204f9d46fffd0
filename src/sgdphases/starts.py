"""What a card may say of weights that all its networks start from, as training in the limiting phase does."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from sgdphases.datasets.registry import depends_on_seed
from sgdphases.ensemble.starting import DISPLACEMENT_WORDS, MODE_WORDS
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


class Directions(Strict):
    """How many directions are stored with the start: leading eigenvectors of the Hessian there, then random ones."""

    hessian: Annotated[Whole, Field(ge=0)] = 0
    random: Annotated[Whole, Field(ge=0)] = 0

    @property
    def modes(self) -> int:
        """How many there are."""
        return self.hessian + self.random


class Noise(Strict):
    """From how many batches, of which size, the covariance of gradients is estimated; 0: exactly, from all samples."""

    batches: Annotated[Whole, Field(ge=0)] = 0
    batch_size: Annotated[Whole, Field(ge=1)] = 32

    @model_validator(mode="after")
    def _several(self) -> "Noise":
        if self.batches == 1:
            raise ValueError("batches: one batch has no covariance; give 0 or at least 2")
        return self


class Start(Strict):
    """Weights that all networks start from: initial ones, trained (if `train`), polished (if `polish`).

    Polishing ends at the minimum of the full-batch loss plus weight_decay / 2 times the squared weights (biases do not
    decay), where the gradient's norm is below `polish`.
    """

    train: PreTraining | None = None
    polish: Positive | None = None
    weight_decay: Share = 0.0
    seed: Annotated[Whole, Field(ge=0)] = 0
    directions: Directions = Directions()
    noise: Noise = Noise()


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
    if start is None:
        return
    if "displacement_gram" in asked and "replica" in ensemble.job_axes:
        raise ValueError("running: displacement_gram compares replicas, so replica is no job axis")
    _check_training(ensemble)
    _check_data(ensemble)
    parameters = _parameters(ensemble.network)
    if ensemble.network.kind == "mlp" and start.directions.modes > parameters:
        raise ValueError(f"start.directions: {start.directions.modes} of them are more than {parameters} parameters")


def _check_training(ensemble: Any) -> None:
    """Refuse what is not defined from a start."""
    network = ensemble.network
    if ensemble.update != "sgd":
        raise ValueError(f"start: update sgd starts from given weights, not {ensemble.update}")
    if ensemble.search is not None:
        raise ValueError("start: a search begins at the initial weights; leave out search or start")
    if network.centered or network.parametrisation != "standard":
        raise ValueError("start: networks that are centered or mean_field begin at their initial weights")
    if not all(network.flags("trained")):
        raise ValueError("start: frozen layers differ from replica to replica; all layers must be trained")


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
    """Weights and biases of a multilayer network."""
    pairs = zip(network.widths[:-1], network.widths[1:], network.flags("bias"), strict=True)
    return sum(math.prod((out, fan_in + bias)) for fan_in, out, bias in pairs)
