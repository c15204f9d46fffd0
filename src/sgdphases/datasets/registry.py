"""The data sets by name: what each may be asked for. Light to import: a config can be checked without torch."""

import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args, get_origin

from sgdphases.choices import one_of


class Parameter(NamedTuple):
    """One thing that a card may say about a data set.

    Attributes:
        type: int, float, bool, a union with None, or a Literal of words. Whole numbers are at least 1, floats positive.
        default: The value where the card says nothing.
        meaning: One line for people.
    """

    type: Any
    default: Any
    meaning: str


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        name: The word in an experiment card, and the name of the folder under the data directory.
        title: What it is, in one line.
        licence: Under which terms the data come.
        loader: "package.module:function" that makes the task from the parameters; what it must know beside them
            (`widths`, `trained`, `activation`, `seed`, `directory`) it names as arguments.
        parameters: What a card may say beside the name.
        seeded: Whether it is drawn anew for each task seed (`depends_on_seed` also knows of seeded subsets).
        folder: The folder of its files on a mirror (`remote.remote_files`); empty where there is nothing to download.
    """

    name: str
    title: str
    licence: str
    loader: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    seeded: bool = True
    folder: str = ""


_SAMPLES = "number of training samples"
_TARGETS = Parameter(
    Literal["one_hot", "classes", "centred"],
    "one_hot",
    "rows of zeros and a one, class numbers, or such rows less 1/classes, which sum to 0",
)
_FIXED_IMAGES = {
    "targets": _TARGETS,
    "samples": Parameter(int | None, None, "how many training images, classes in equal shares; all if not given"),
    "subset": Parameter(Literal["fixed", "seeded"], "fixed", "the same training images for all, or drawn by the seed"),
    "validation": Parameter(
        int | None, None, "how many training images are held out, drawn by the seed; none if not given"
    ),
    "label_noise": Parameter(float | None, None, "share of training labels that are shuffled among themselves"),
    "standardised": Parameter(bool, False, "grey levels less the training set's mean, over its standard deviation"),
}

# Data sets to come (tiny_imagenet, imagenette, a user's own imagenet folder) take a row here, their files a function
# in remote.py, their arrays a function in a module of their own. What was trained on a data set depends on its row and
# its loader's module alone (`provenance.fingerprint`): a new row or a new module trains nothing again.
_ENTRIES = (
    Entry(
        "teacher_student",
        "answers of a random network with the student's architecture to Gaussian inputs, without noise",
        "generated",
        "sgdphases.datasets.synthetic:teacher_student",
        {"samples": Parameter(int, 4000, _SAMPLES)},
    ),
    Entry(
        "linear_teacher",
        "a multiple of the identity, to be learned by one square linear layer from Gaussian inputs",
        "generated",
        "sgdphases.datasets.synthetic:linear_teacher",
        {
            "samples": Parameter(int, 8000, _SAMPLES),
            "teacher_scale": Parameter(float, 2.0, "the teacher's singular value"),
            "shared_inputs": Parameter(bool, False, "the same inputs for all seeds"),
        },
    ),
    Entry(
        "scalar_field",
        "kernel of a free scalar field on a periodic chain, the target of a Gaussian Boltzmann machine",
        "generated",
        "sgdphases.datasets.synthetic:scalar_field",
        {"sites": Parameter(int, 10, "lattice sites"), "mass": Parameter(float, 2.0, "mass of the field")},
        seeded=False,
    ),
    Entry(
        "none",
        "no data, for what is not trained",
        "nothing to license",
        "sgdphases.datasets.synthetic:no_samples",
        seeded=False,
    ),
    Entry(
        "gaussian_mixture",
        "classes made of Gaussian clusters with random centres",
        "generated",
        "sgdphases.datasets.synthetic:gaussian_mixture",
        {
            "targets": _TARGETS,
            "samples": Parameter(int, 25600, _SAMPLES),
            "classes": Parameter(int, 10, "number of classes"),
            "clusters": Parameter(int, 2, "clusters in each class"),
            "dim": Parameter(int, 64, "number of inputs"),
            "separation": Parameter(float, 0.5, "standard deviation of the centres over that within a cluster"),
        },
    ),
    Entry(
        "digits",
        "handwritten digits, 8x8 grey levels, 1797 images (scikit-learn's copy of UCI optdigits)",
        "CC BY 4.0",
        "sgdphases.datasets.images:digits",
        dict(_FIXED_IMAGES),
        seeded=False,
    ),
    Entry(
        "fashion_mnist",
        "Zalando's articles of clothing, 28x28 grey levels, 60000 training and 10000 test images",
        "MIT",
        "sgdphases.datasets.images:fashion_mnist",
        dict(_FIXED_IMAGES),
        seeded=False,
        folder="fashion-mnist",
    ),
)
DATASETS: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def find(name: str) -> Entry:
    """Look a data set up.

    Args:
        name: The word in an experiment card.

    Returns:
        Its entry.

    Raises:
        ValueError: If there is none of that name; the message suggests the nearest.
    """
    return DATASETS[one_of(name, DATASETS, "dataset")]


def resolve(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Check what a card says about its data set and fill in the rest.

    Args:
        dataset: `name` and any of that data set's parameters.

    Returns:
        All parameters, without the name; floats given as whole numbers are floats.

    Raises:
        ValueError: If the name or a parameter is unknown, or a value has the wrong type or range.
    """
    if not isinstance(dataset.get("name"), str):
        raise ValueError(f"dataset has no name: {dict(dataset)!r}")
    entry = find(dataset["name"])
    given = {key: value for key, value in dataset.items() if key != "name"}
    for key in given:
        one_of(key, entry.parameters, f"parameter of the dataset {entry.name}:")
    return {
        key: _checked(f"dataset {entry.name}: {key}", given[key], parameter.type) if key in given else parameter.default
        for key, parameter in entry.parameters.items()
    }


def depends_on_seed(dataset: Mapping[str, Any]) -> bool:
    """Whether networks with different task seeds see different data (frozen layers aside).

    Args:
        dataset: As for `resolve`.

    Returns:
        True if the arrays change with the seed.
    """
    entry, values = find(dataset["name"]), resolve(dataset)
    drawn = values.get("subset") == "seeded" and values.get("samples") is not None
    return entry.seeded or drawn or any(values.get(word) is not None for word in ("validation", "label_noise"))


def _checked(where: str, value: Any, kind: Any) -> Any:
    """Return the value as its type, or raise a ValueError that says what was wanted."""
    if get_origin(kind) is Literal:
        if isinstance(value, str) and value in get_args(kind):
            return value
        raise ValueError(f"{where} must be one of {', '.join(get_args(kind))}, not {value!r}")
    kinds = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if bool in kinds or isinstance(value, bool):
        if bool in kinds and isinstance(value, bool):
            return value
        raise ValueError(f"{where} must be {_words(kinds)}, not {value!r}")
    if value is None and type(None) in kinds:
        return None
    if int in kinds and isinstance(value, int) and value >= 1:
        return value
    if float in kinds and isinstance(value, int | float) and 0 < value < math.inf:
        return float(value)
    raise ValueError(f"{where} must be {_words(kinds)}, not {value!r}")


def _words(kinds: tuple[Any, ...]) -> str:
    """Types in words."""
    words = {int: "a whole number of at least 1", float: "a positive number", bool: "true or false"}
    return " or ".join(words.get(kind, "nothing") for kind in kinds)
