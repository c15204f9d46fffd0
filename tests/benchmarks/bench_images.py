"""Speed of ResNet-18 on images, from the file to the update, against torchvision's loop. Run me: takes a minute.

SGDPHASES_MIRROR must name a folder with Tiny ImageNet. An argument says how many threads there are; one if not given.
The same images take two ways: our table, `Feed` and the project's own trainer, which gives each network one thread; and
JPEG files through ImageFolder, transforms and a DataLoader to torchvision's network, which takes all threads at once.
Both are measured in one run and in turns, so that their ratios mean something.
"""

import itertools
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18

from sgdphases.datasets.image_table import open_table
from sgdphases.datasets.prepare import make_ready
from sgdphases.datasets.table_tasks import flattened
from sgdphases.ensemble.device import choose_device, one_thread_each
from sgdphases.ensemble.feed import Feed
from sgdphases.ensemble.sampler import Sampler
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.state import initial_state
from sgdphases.ensemble.trainer import Trainer, without_graphs

CLASSES, SIDE, BATCH, WORKERS = 20, 64, 64, 2
ROUNDS, STEPS, WARM = 5, 18, 2  # as many steps at a time as the trainer does between two looks around
DATASET = {"name": "tiny_imagenet", "classes": CLASSES, "standardised": True, "targets": "classes"}


class Measured(NamedTuple):
    """Seconds of one step, all in all, and those of them in which it waited for its batch."""

    step: float
    waited: float


def make_tables(folder: Path) -> None:
    """Our table, and the files of the training images as the archive has them."""
    mirror = Path(os.environ["SGDPHASES_MIRROR"])
    make_ready("tiny_imagenet", folder, [str(mirror)], parameters={"classes": CLASSES}, threads=WORKERS)
    with zipfile.ZipFile(mirror / "tiny-imagenet" / f"tiny-imagenet-{CLASSES}.zip") as archive:
        archive.extractall(folder / "files", [name for name in archive.namelist() if "/train/" in name])


def our_feed(folder: Path, device: str) -> Feed:
    """Batches of the training images from the table, with random crops and flips."""
    task = flattened(DATASET, seed=0, directory=folder)
    sampler = Sampler("reshuffle", len(task.inputs), BATCH, 1)
    words = {"outputs": CLASSES, "device": device, "dtype": torch.float32, "augmentation": "crop"}
    return Feed(task.inputs, task.targets, sampler, **words)


def plain_loader(folder: Path, device: str) -> DataLoader:
    """The same from the files, as everybody writes it."""
    table = open_table(DATASET, folder)
    steps = [
        transforms.RandomCrop(SIDE, padding=SIDE // 8),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(table.mean, table.deviation),
    ]
    files = ImageFolder(str(next((folder / "files").rglob("train"))), transforms.Compose(steps))
    words = {"num_workers": WORKERS, "persistent_workers": True, "pin_memory": device == "cuda"}
    return DataLoader(files, BATCH, shuffle=True, drop_last=True, **words)


def our_batches(feed: Feed) -> Iterator[tuple[Tensor, Tensor]]:
    """Batch after batch of one stream."""
    return (feed.batch(0, step) for step in itertools.count())


def plain_batches(loader: DataLoader, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch."""
    while True:
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def rate(batches: Iterator[tuple[Tensor, Tensor]], count: int) -> float:
    """Images per second where nobody trains on them."""
    next(batches)
    settle()
    begin = time.perf_counter()
    for _ in range(count):
        next(batches)
    settle()
    return count * BATCH / (time.perf_counter() - begin)


def training(batches: Iterator[tuple[Tensor, Tensor]], device: str) -> Callable[[int], Measured]:
    """A ResNet-18 that is trained on batches: what does some steps and says how long one took."""
    torch.manual_seed(0)
    model = resnet18(num_classes=CLASSES).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    def train(steps: int) -> Measured:
        settle()
        waited, begin = 0.0, time.perf_counter()
        for _ in range(steps):
            asked = time.perf_counter()
            images, targets = next(batches)
            waited += time.perf_counter() - asked
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(images), targets).backward()
            optimiser.step()
        settle()
        return Measured((time.perf_counter() - begin) / steps, waited / steps)

    return train


def our_training(folder: Path, device: str, threads: int) -> Callable[[int], Measured]:
    """As many networks as threads by the project's trainer; seconds are those of one network's step."""
    task = flattened(DATASET, seed=0, directory=folder)
    numbers = list(range(threads))
    columns = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "init_scale": 2**0.5, "seed_task": 0}
    columns |= {"loss": "cross_entropy", "seed_noise": 0}
    network = {"kind": "resnet18", "widths": [3 * SIDE**2, 64, CLASSES], "channels": 3, "activation": "relu"}
    network |= {"norm": "batch", "stem": "imagenet", "bias": [True, True], "trained": [True, True]}
    seeds = {"replica": numbers, "seed_weights": numbers, "seed_order": numbers}
    shard = Shard.from_dict(
        {
            "dataset": DATASET,
            "network": network,
            "networks": {name: [value] * threads for name, value in columns.items()} | seeds,
            "steps": 10**6,
            "record_steps": [0, 10**6],
            "batch_size": BATCH,
            "sampler": "reshuffle",
            "dtype": "float32",
            "augmentation": "crop",
        }
    )
    workers = ThreadPoolExecutor(threads) if threads > 1 else None
    with without_graphs(shard):
        trainer = Trainer(shard, {0: task}, choose_device(device), workers, threads)
        state = initial_state(shard)
        trainer._load_all(state)

    def train(steps: int) -> Measured:
        settle()
        before, begin = trainer.data.waited, time.perf_counter()
        with without_graphs(shard), one_thread_each():
            trainer._advance(state, state.step + steps, accumulate=False)
        settle()
        took, waited = time.perf_counter() - begin, trainer.data.waited - before
        return Measured(took / steps / threads, waited / steps / threads)

    return train


def settle() -> None:
    """Wait until the device has done all that it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Measure and print."""
    device, threads = "cuda" if torch.cuda.is_available() else "cpu", int(sys.argv[1]) if len(sys.argv) > 1 else 1
    torch.set_num_threads(threads)
    out = sys.stdout.write
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tables(folder)
        feed, loader = our_feed(folder, device), plain_loader(folder, device)
        ours, plain = our_batches(feed), plain_batches(loader, device)
        rates = [(rate(ours, 100), rate(plain, 50)) for _ in range(3)]
        best = [max(column) for column in zip(*rates, strict=True)]
        out(f"{device}, {torch.get_num_threads()} threads; images/s, {BATCH} at a time, random crops: ")
        out(f"{best[0]:.0f} from the table, {best[1]:.0f} from files by {WORKERS} workers: ")
        out(f"ratio {max(a / b for a, b in rates):.1f}\n")
        trainings = our_training(folder, device, threads), training(plain, device)
        for train in trainings:
            train(WARM)
        turns = [[train(STEPS) for train in trainings] for _ in range(ROUNDS)]
        out(f"{'ResNet-18, ms a step':24}{'step':>8}{'waited':>8}{'stall':>8}\n")
        for title, column in zip(
            ("table and our trainer", "files and DataLoader"), zip(*turns, strict=True), strict=True
        ):
            step, waited = (median(values) for values in zip(*column, strict=True))
            stall = sum(one.waited for one in column) / sum(one.step for one in column)
            out(f"{title:24}{1e3 * step:8.0f}{1e3 * waited:8.2f}{stall:8.2%}\n")
        ratios = sorted(plain.step / ours.step for ours, plain in turns)
        out(f"plain over ours, turn by turn: median {median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f} ")
        out("(at least 1; stall of ours at most 5%)\n")
        feed.close()


if __name__ == "__main__":
    main()
