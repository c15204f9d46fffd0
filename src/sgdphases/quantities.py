"""The dictionary: name, symbol, units, scale, type and neutral value of every coordinate.

Every key of a grid, every coordinate of a cube and every axis of a figure is a row here. What is measured
(observables) carries its own row in `observables.registry`; what stands here is what is set.
"""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Quantity:
    """One coordinate.

    Attributes:
        name: The word, as it stands in cards, code and cubes.
        long_name: What a figure and a CF attribute call it.
        symbol: Its symbol in formulas, LaTeX without dollars.
        units: CF units; "1" for pure numbers.
        scale: "log", "linear" or "category": how an axis of it is drawn.
        type: Python type of one value; a card's values are converted to it.
        neutral: The value at which it is as if absent; it then enters no digest and no seed.
        minimum: Least allowed value (None: any).
        open_minimum: Whether the minimum itself is excluded.
        maximum: Least number that is too large (None: any is allowed).
        default: Value used when a card does not say (None: the card must say).
        allowed: The allowed words of a `str` quantity.
    """

    name: str
    long_name: str
    symbol: str
    units: str = "1"
    scale: str = "linear"
    type: type = float
    neutral: Any = None
    minimum: float | None = None
    open_minimum: bool = False
    maximum: float | None = None
    default: Any = None
    allowed: tuple[str, ...] = ()

    def typed(self, value: Any) -> Any:
        """Convert one value of a card to this quantity's type, checked.

        Args:
            value: What the card says; a string such as "1e-3" (YAML's reading of it) is a number here.

        Returns:
            The value as `int`, `float` or `str`.

        Raises:
            ValueError: If the value has the wrong type, is not finite, or lies outside the allowed range.
        """
        if self.type is str:
            return self._word(value)
        if isinstance(value, bool):
            raise ValueError(f"{self.name} must be a number, not {value!r}")
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{self.name} must be a number, not {value!r}") from None
        if not math.isfinite(number):
            raise ValueError(f"{self.name} must be finite, not {value!r}")
        if self.minimum is not None and (number < self.minimum or (self.open_minimum and number == self.minimum)):
            bound = "greater than" if self.open_minimum else "at least"
            raise ValueError(f"{self.name} must be {bound} {self.minimum:g}, not {value!r}")
        if self.maximum is not None and number >= self.maximum:
            raise ValueError(f"{self.name} must be less than {self.maximum:g}, not {value!r}")
        if self.type is int:
            if number != int(number):
                raise ValueError(f"{self.name} must be a whole number, not {value!r}")
            return int(number)
        return number

    def _word(self, value: Any) -> str:
        if self.allowed and value not in self.allowed:
            raise ValueError(f"{self.name} must be one of {', '.join(self.allowed)}, not {value!r}")
        return str(value)


LOSSES = ("half_squared_error", "squared_error", "mean_squared_error", "cross_entropy")

_ROWS = (
    Quantity("learning_rate", "learning rate", r"\eta", scale="log", minimum=0.0),
    Quantity("batch_size", "batch size", "B", scale="log", type=int, minimum=1),
    Quantity("temperature", "temperature", r"T=\eta/B", scale="log", minimum=0.0),
    Quantity("rate_over_richness", "learning rate over richness", r"\eta/\gamma", scale="log", minimum=0.0),
    Quantity("reduced_learning_rate", "reduced learning rate", r"\eta\gamma^{-2/L}", scale="log", minimum=0.0),
    Quantity(
        "scaled_learning_rate",
        "scaled learning rate",
        r"\eta/\min(\gamma^2,\gamma^{2/L})",
        scale="log",
        minimum=0.0,
    ),
    Quantity("init_scale", "initial scale", r"\sigma_W", scale="log", minimum=0.0, default=1.0),
    Quantity("coupling_ratio", "initial mean over disorder", "J_0/J", neutral=0.0, default=0.0),
    Quantity("momentum", "momentum", r"\beta", minimum=0.0, maximum=1.0, neutral=0.0, default=0.0),
    Quantity("weight_decay", "weight decay", r"\lambda", scale="log", minimum=0.0, neutral=0.0, default=0.0),
    Quantity(
        "output_scale", "output scale", "a", scale="log", minimum=0.0, open_minimum=True, neutral=1.0, default=1.0
    ),
    Quantity("noise_scale", "gradient noise", r"\nu", scale="log", minimum=0.0, neutral=0.0, default=0.0),
    Quantity("samples", "training samples", "S", scale="log", type=int, minimum=0, neutral=0, default=0),
    Quantity("label_noise", "shuffled labels", r"\epsilon", minimum=0.0, maximum=1.0, neutral=0.0, default=0.0),
    Quantity(
        "richness",
        "feature-learning strength",
        r"\gamma",
        scale="log",
        minimum=0.0,
        open_minimum=True,
        neutral=1.0,
        default=1.0,
    ),
    Quantity("depth", "layers", "L", type=int, minimum=0, neutral=0, default=0),
    Quantity("width", "hidden width", "N", scale="log", type=int, minimum=0, neutral=0, default=0),
    Quantity("loss", "loss", r"\mathcal{L}", scale="category", type=str, allowed=LOSSES, default="half_squared_error"),
    Quantity("replica", "replica", "r", scale="category", type=int, minimum=0),
    Quantity("step", "SGD step", "t", scale="log", type=int, minimum=0),
    Quantity("epoch", "epoch", r"t_\mathrm{ep}", scale="log", minimum=0.0),
    Quantity("flow_time", "gradient-flow time", r"s=\eta t/(1-\beta)", scale="log", minimum=0.0),
    Quantity("epoch_time", "gradient-flow time per sample", r"\tau=s/S", minimum=0.0),
    Quantity("l2_strength", "strength of the L2 penalty", r"\lambda_{L_2}=\lambda/2", scale="log", minimum=0.0),
    Quantity("inverse_init_scale", "inverse initial scale", r"1/\sigma_W", scale="log", minimum=0.0),
    Quantity("layer", "layer", r"\ell", scale="category", type=int, minimum=0),
    Quantity("mode", "mode", "m", type=int, minimum=0),
    Quantity("eigenvalue", "number of the eigenvalue", "m", type=int, minimum=0),
    Quantity("other_mode", "other mode", "m'", type=int, minimum=0),
    Quantity("other_replica", "other replica", "r'", scale="category", type=int, minimum=0),
    Quantity("control", "control", "c", scale="category", type=int, minimum=0),
    Quantity("image", "test image", "n", type=int, minimum=0),
    Quantity("iteration", "iteration of the map", "t", type=int, minimum=0),
    Quantity("update", "update", "t", type=int, minimum=0),
    Quantity("probe", "probe", "n", type=int, minimum=0),
    Quantity("output", "output", "o", type=int, minimum=0),
    Quantity("criterion", "criterion", "c", scale="category", type=int, minimum=0),
    Quantity("side", "side of an edge", "s", scale="category", type=int, minimum=0),
    Quantity("point", "point", "p", scale="category", type=int, minimum=0),
)

QUANTITIES: dict[str, Quantity] = {row.name: row for row in _ROWS}

HYPERPARAMETERS = (
    "learning_rate",
    "batch_size",
    "init_scale",
    "coupling_ratio",
    "momentum",
    "weight_decay",
    "output_scale",
    "noise_scale",
    "samples",
    "label_noise",
    "richness",
    "depth",
    "width",
    "loss",
)
"""What one point sets. In a card `temperature` may stand in for one of learning_rate and batch_size, and
one of `RATE_AXES` for learning_rate."""

DATA_AXES = ("samples", "label_noise")
"""Hyperparameters that are parameters of the data set."""

RATE_AXES = ("rate_over_richness", "reduced_learning_rate", "scaled_learning_rate")
"""What a card may say in place of learning_rate: that in units of a power of the richness (`rate_units`)."""

SIZE_AXES = ("depth", "width")
"""Hyperparameters that change the widths that a card gives."""

SHAPE_AXES = ("batch_size", *DATA_AXES, *SIZE_AXES)
"""Hyperparameters that change tensor shapes or data: networks that differ in one never share a shard."""


def attributes(name: str) -> dict[str, str]:
    """CF attributes of the coordinate `name`: long_name, units, symbol and the scale of its axis."""
    row = QUANTITIES[name]
    return {"long_name": row.long_name, "units": row.units, "symbol": row.symbol, "axis_scale": row.scale}


def deviations(values: dict[str, Any]) -> dict[str, Any]:
    """The typed values that differ from their neutral value: what digests and seeds are made of."""
    typed = {name: QUANTITIES[name].typed(value) for name, value in values.items()}
    return {name: value for name, value in typed.items() if value != QUANTITIES[name].neutral}


def rate_units(richness: float, layers: int) -> dict[str, float]:
    """What the words of `RATE_AXES` count learning rates in (arXiv 2410.04642).

    Args:
        richness: Feature-learning strength.
        layers: Number of layers L.

    Returns:
        richness (early in training only learning_rate / richness matters), richness^(2/L) (by which the homogeneity
        of the network rescales it), and the smaller of richness^2 and richness^(2/L) (as the largest stable one goes).
    """
    homogeneous = richness ** (2 / layers)
    return {
        "rate_over_richness": richness,
        "reduced_learning_rate": homogeneous,
        "scaled_learning_rate": min(richness**2, homogeneous),
    }


def derived_rates(point: dict[str, Any], layers: int) -> dict[str, float]:
    """What a card may say in place of a learning rate.

    Args:
        point: Typed hyperparameters.
        layers: Layers of the card's network, where the point says no depth.

    Returns:
        temperature and the words of `RATE_AXES`.
    """
    rate = point["learning_rate"]
    units = rate_units(point["richness"], point["depth"] or layers)
    return {"temperature": rate / point["batch_size"], **{name: rate / unit for name, unit in units.items()}}
