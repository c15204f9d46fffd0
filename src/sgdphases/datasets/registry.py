"""The data sets by name: what each may be asked for. Light to import: a config can be checked without torch."""

import hashlib
import json
import math
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args, get_origin

from sgdphases.choices import one_of
from sgdphases.datasets.wordnet import IMAGENETTE, TINY_IMAGENET


class Parameter(NamedTuple):
    """One thing that a card may say about a data set.

    Attributes:
        type: int, float, bool, list[str], a union of them or with None, or a Literal of words. Whole numbers are at
            least 1, floats positive; lists name something, each thing once, and are sorted.
        default: The value where the card says nothing.
        meaning: One line for people.
        names: What a list may name, in the order in which a number takes them; empty where anything may be named.
        most: The largest whole number; None where there is none.
    """

    type: Any
    default: Any
    meaning: str
    names: tuple[str, ...] = ()
    most: int | None = None


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
        table: Whether its images are decoded once into a table (`image_table`), one for each choice of `stored`.
    """

    name: str
    title: str
    licence: str
    loader: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    seeded: bool = True
    folder: str = ""
    table: bool = False


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
    "standardised": Parameter(
        bool, False, "grey levels (each of three colours) less the training set's mean, over its standard deviation"
    ),
}
_CLASSES = "how many classes, or the names of those wanted; all if not given"
_RESOLUTION = "height and width in pixels: the middle square, made smaller"

# A new data set takes a row here, its files a function in remote.py, its arrays a function in a module of their own.
# What was trained on a data set depends on its row and its loader's module alone (`provenance.fingerprint`): a new row
# or a new module trains nothing again.
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
        "quadratic",
        "pairs of samples whose loss on one linear unit is an exact quadratic, and the covariance of its gradients too",
        "generated",
        "sgdphases.datasets.quadratic:quadratic",
        {
            "modes": Parameter(int, 60, "number of inputs, each a mode of the loss"),
            "curvature": Parameter(float, 1.0, "largest curvature"),
            "curvature_power": Parameter(float, 1.0, "power of the rank with which curvatures fall"),
            "noise": Parameter(float, 1.0, "variance of a sample's gradient where the curvature is 1"),
            "noise_power": Parameter(float, 1.0, "power of the curvature in that variance"),
        },
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
    Entry(
        "tiny_imagenet",
        "Stanford's Tiny ImageNet, 64x64 colours, of each of 200 classes 500 training and 50 test images (its val)",
        "ImageNet's terms of access: research and teaching, not commercial",
        "sgdphases.datasets.table_tasks:tiny_imagenet",
        _FIXED_IMAGES
        | {
            "classes": Parameter(int | list[str] | None, None, _CLASSES, names=TINY_IMAGENET),
            "resolution": Parameter(int, 64, _RESOLUTION, most=64),
        },
        seeded=False,
        folder="tiny-imagenet",
        table=True,
    ),
    Entry(
        "imagenette",
        "fast.ai's Imagenette, ten classes of ImageNet that are told apart easily, 9469 training and 3925 test images",
        "Apache 2.0; of the images ImageNet's terms of access",
        "sgdphases.datasets.table_tasks:imagenette",
        _FIXED_IMAGES
        | {
            "classes": Parameter(int | list[str] | None, None, _CLASSES, names=IMAGENETTE),
            "resolution": Parameter(int, 160, f"{_RESOLUTION}; up to 160 from the archive 160px, else 320px", most=320),
        },
        seeded=False,
        folder="imagenette",
        table=True,
    ),
    Entry(
        "imagenet",
        "images of a user's own folder in ImageNet's layout, train/<class>/ and val/<class>/ (its test images)",
        "ImageNet's terms of access, or those of the user's own images",
        "sgdphases.datasets.table_tasks:imagenet",
        _FIXED_IMAGES
        | {
            "classes": Parameter(int | list[str] | None, None, _CLASSES),
            "resolution": Parameter(int, 64, _RESOLUTION, most=512),
        },
        seeded=False,
        table=True,
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
        key: _checked(f"dataset {entry.name}: {key}", given[key], parameter) if key in given else parameter.default
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


def stored(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """What of a card decides the bytes that are kept on the disk.

    Args:
        dataset: As for `resolve`.

    Returns:
        Of a table of images `classes` and `resolution`; of other data sets nothing. Classes are sorted names, unless
        which there are is known to the user's folder only.
    """
    entry, values = find(dataset["name"]), resolve(dataset)
    if not entry.table:
        return {}
    names, classes = entry.parameters["classes"].names, values["classes"]
    known = sorted(names[:classes]) if names and not isinstance(classes, list) else classes
    return {"classes": known, "resolution": values["resolution"]}


def stored_name(dataset: Mapping[str, Any]) -> str:
    """What a data set is called on the disk.

    Args:
        dataset: As for `resolve`.

    Returns:
        Its name; of a table of images with a digest of what decides its bytes, twelve hexadecimal digits.
    """
    parameters = stored(dataset)
    if not parameters:
        return dataset["name"]
    text = json.dumps({"name": dataset["name"], **parameters}, sort_keys=True)
    return f"{dataset['name']}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _checked(where: str, value: Any, parameter: Parameter) -> Any:
    """Return the value as its type, or raise a ValueError that says what was wanted."""
    kind = parameter.type
    if get_origin(kind) is Literal:
        if isinstance(value, str) and value in get_args(kind):
            return value
        raise ValueError(f"{where} must be one of {', '.join(get_args(kind))}, not {value!r}")
    kinds = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if isinstance(value, list) and list[str] in kinds:
        return _names(where, value, parameter.names)
    if bool in kinds or isinstance(value, bool):
        if bool in kinds and isinstance(value, bool):
            return value
        raise ValueError(f"{where} must be {_words(kinds)}, not {value!r}")
    if value is None and type(None) in kinds:
        return None
    if int in kinds and isinstance(value, int) and value >= 1:
        return _at_most(where, value, parameter.most or len(parameter.names))
    if float in kinds and isinstance(value, int | float) and 0 < value < math.inf:
        return float(value)
    raise ValueError(f"{where} must be {_words(kinds)}, not {value!r}")


def _at_most(where: str, value: int, most: int) -> int:
    """Return a whole number, or raise a ValueError if it is too large; 0 stands for no bound."""
    if most and value > most:
        raise ValueError(f"{where} must be at most {most}, not {value}")
    return value


def _names(where: str, value: list[Any], allowed: tuple[str, ...]) -> list[str]:
    """Return names in order, or raise a ValueError; what may be the name of a folder is one plain word."""
    if not value:
        raise ValueError(f"{where} is an empty list; name at least one, or leave it out for all")
    for place, name in enumerate(value):
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"{where} must list names of letters, digits, _, . and -, not {name!r}")
        if allowed:
            one_of(name, allowed, f"name in {where}:")
        if name in value[:place]:
            raise ValueError(f"{where} names {name} twice")
    return sorted(value)


def _words(kinds: tuple[Any, ...]) -> str:
    """Types in words."""
    words = {
        int: "a whole number of at least 1",
        float: "a positive number",
        bool: "true or false",
        list[str]: "a list of names",
    }
    return " or ".join(words.get(kind, "nothing") for kind in kinds)
