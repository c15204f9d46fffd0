"""What a job will need, from what its card says: memory, minutes, a device. For schedulers, which ask beforehand.

The numbers follow from shapes and counts alone, with constants measured on the project's own cards (`make usage` sets
what was asked beside what was used). Memory and minutes are limits, on the safe side; `seconds` is what is expected.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sgdphases.config import Card
from sgdphases.datasets.registry import DATASETS, depends_on_seed
from sgdphases.ensemble.architecture import Network
from sgdphases.ensemble.footprint import CACHE, touched_bytes
from sgdphases.ensemble.starting import DISPLACEMENT_WORDS
from sgdphases.shards import Part, dtype
from sgdphases.starts import Start

MEBIBYTE = 2**20
CPU = {"float32": 1.5e10, "float64": 8e9}  # products a second of one core, passes backward included
CUDA = {"float32": 2e11, "float64": 5e10}  # not measured: a tenth of what such devices promise, and less
LOOK = 8e-5  # seconds that a step of networks that are stepped together takes beside its products
MODULAR_LOOK = 3e-5  # the same for each layer that is differentiated automatically, of each network
DISPLACED = 4e-5  # seconds of a network's step for its displacements along directions
RECORD = 0.02  # seconds to write a record, beside what is measured for it
BEGIN = 15.0  # seconds to start Python, load the data and save the records
SLACK, LEAST_MINUTES = 4.0, 10  # a limit is so many times what is expected, and so much more
PROCESS, CONTEXT = 1250, 700  # MiB of Python with its libraries, two Snakemakes around it, and of a CUDA context
COPIES = 6  # of weights, with gradients, velocities and windows
LARGEST_RECORDS = 2**30  # bytes of records that are written together
KEPT = 4  # numbers kept for each one of the data: as read, as used, and passing through the networks' evaluation
SAMPLES = {
    "digits": (1_500, 297),
    "fashion_mnist": (60_000, 10_000),
    "imagenet": (1_281_167, 50_000),
    "imagenette": (9_469, 3_925),
    "none": (1, 1),
    "quadratic": (200, 0),
    "tiny_imagenet": (100_000, 10_000),
}
MANY_SAMPLES = (30_000, 5_000)  # of all other data sets, where no key says it
MAPPED = 2**32  # bytes of a table of images that a system keeps for a job, and may take back
SEARCHED = 0.3  # of the networks of a search: few train to the end, and few rounds train many
PASSED = 256  # images that pass through a convolutional network together
EXACT = 3_000  # passes over the data that polishing takes, at most


@dataclass(frozen=True)
class Needs:
    """What one job needs.

    Attributes:
        seconds: How long it is expected to take.
        minutes: The limit of its time.
        memory: The limit of its memory, MiB.
        device_memory: MiB on a device, should it use one.
    """

    seconds: float
    minutes: int
    memory: int
    device_memory: int


def train_needs(card: Card, part: Part, *, device: str = "cpu") -> Needs:
    """What training a shard needs.

    Args:
        card: Its card.
        part: The shard.
        device: Where, auto, cpu or cuda.

    Returns:
        The needs; of auto those of a CPU.
    """
    ensemble, network, kind = card.ensemble, _network(card, part.points), dtype(card.ensemble, part.points[0])
    load = _load(card, part, network)
    speed = (CUDA if device == "cuda" else CPU)[kind]
    together = load.number if device == "cuda" else max(1, min(load.number, CACHE // load.touched))
    looks = len(part.record_steps) if {"test_loss", "test_accuracy"} & set(ensemble.running) else 0
    each = 3 * load.batch * network.products / speed + _beside(card, network, together)
    looking = looks * load.tested * network.products / speed
    own_time = load.number * (part.record_steps[-1] * each + looking)
    seconds = BEGIN + len(part.record_steps) * RECORD + own_time / min(ensemble.threads, load.number)
    passing = load.wide * max(load.batch, PASSED if network.kind == "cnn" else 1) * _outputs(network)
    kept = ensemble.threads if ensemble.update == "iteration" else load.number
    centre = part.networks * load.trained * network.widths[-1] * load.wide if network.centered else 0
    memory = load.data + centre + COPIES * (kept * load.wide * _weights(network) + passing * ensemble.threads)
    memory += 2 * min(load.records, LARGEST_RECORDS)
    on_device = load.data + COPIES * load.number * (load.wide * _weights(network) + passing)
    return _needs(seconds, memory, on_device)


def start_needs(card: Card, start: Start, *, device: str = "cpu") -> Needs:
    """What making the start of an experiment needs: training one network, then Hessian products around it.

    Args:
        card: Its card.
        start: What the card says of the start.
        device: Where, auto, cpu or cuda.

    Returns:
        The needs.
    """
    network, (samples, _) = _network(card, []), _samples(card.ensemble.dataset)
    speed = (CUDA if device == "cuda" and network.modular else CPU)[card.ensemble.dtype]
    epochs, batch = (0, 1) if start.train is None else (start.train.epochs, start.train.batch_size)
    around = start.samples or samples
    passes = (EXACT if start.polish else 0) + 6 * start.directions.modes + 2 * (start.probes or 0) + 50
    products = 3 * network.products * (epochs * samples + 2 * passes * around)
    seconds = BEGIN + products / speed + epochs * samples / batch * network.layers * MODULAR_LOOK
    vectors = 8 * _weights(network) * (4 * start.directions.modes + COPIES)
    passing = COPIES * 8 * min(around, PASSED if network.kind == "resnet18" else around) * _outputs(network)
    memory = vectors + passing + _data(card.ensemble.dataset, network, 8)
    return _needs(seconds, memory, vectors + passing)


@dataclass(frozen=True)
class _Load:
    """Counts and bytes of one shard."""

    number: int
    batch: int
    wide: int
    touched: int
    trained: int
    tested: int
    data: int
    records: int


def _load(card: Card, part: Part, network: Network) -> _Load:
    point = part.points[0]
    wide, batch = 4 if dtype(card.ensemble, point) == "float32" else 8, point["batch_size"]
    number = part.networks if card.ensemble.search is None else max(1, round(SEARCHED * part.networks))
    dataset = card.ensemble.dataset
    trained, tested = _samples(dataset)
    iterated = card.ensemble.update == "iteration"  # random matrices are made, iterated and forgotten one by one
    copies = len(part.replicas) if depends_on_seed(dataset) else 1
    return _Load(
        number,
        batch,
        wide,
        touched=touched_bytes(network, batch, wide),
        trained=trained,
        tested=tested,
        data=copies * _data(dataset, network, wide),
        records=0 if iterated else number * len(part.weight_steps) * _weights(network) * wide,
    )


def _beside(card: Card, network: Network, together: int) -> float:
    """Seconds of one network's step beside its products."""
    seconds = network.layers * MODULAR_LOOK if network.modular else LOOK / together
    return seconds + (DISPLACED if set(card.ensemble.running) & set(DISPLACEMENT_WORDS) else 0.0)


def _needs(seconds: float, memory: float, on_device: float) -> Needs:
    """Limits on round numbers, so that neighbours in a grid ask for the same."""
    minutes = LEAST_MINUTES + math.ceil(SLACK * seconds / 60 / 5) * 5
    mebibytes = (PROCESS + memory / MEBIBYTE, CONTEXT + on_device / MEBIBYTE)
    return Needs(seconds, minutes, *(math.ceil(number / 250) * 250 for number in mebibytes))


def _network(card: Card, points: list[dict[str, Any]]) -> Network:
    """The architecture of a shard."""
    point = points[0] if points else {"depth": 0, "width": 0}
    network = card.ensemble.network.sized(point["depth"], point["width"])
    known = network.model_dump(include={"kind", "activation", "channels", "norm", "ghosts", "stem"})
    flags = {word: tuple(network.flags(word)) for word in ("bias", "trained", "init")}
    return Network(widths=tuple(network.widths), **known, **flags)


def _weights(network: Network) -> int:
    """Weights of one network."""
    return sum(math.prod(network.shape(layer)) for layer in range(network.layers))


def _outputs(network: Network) -> int:
    """Numbers that all layers make of one sample, and what they read of it."""
    read = [network.shape(layer)[1] if network.kind == "cnn" else 0 for layer in range(network.layers)]
    made = ((network.shape(layer)[0] + read[layer]) * network.places[layer] for layer in range(network.layers))
    return network.widths[0] + sum(made)


def _data(dataset: Mapping[str, Any], network: Network, wide: int) -> int:
    """Bytes of a data set in memory."""
    numbers = sum(_samples(dataset)) * network.widths[0]
    return min(numbers, MAPPED) if DATASETS[dataset["name"]].table else KEPT * wide * numbers


def _samples(dataset: Mapping[str, Any]) -> tuple[int, int]:
    """Samples of a data set that are trained on and those held out, or a guess."""
    trained, tested = SAMPLES.get(dataset["name"], MANY_SAMPLES)
    return dataset.get("samples") or trained, tested
