"""How batches reach the device: images on the disk are read ahead of the training, all else lies on the device.

Inputs that have `bytes_of` (`datasets.image_inputs`) are read by a thread of their own, sent as bytes, and made numbers
on the device. All other inputs are brought there once. What a batch holds follows from its seed and step alone.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgdphases.ensemble.architecture import known_word
from sgdphases.ensemble.augmentation import AUGMENTATIONS, augmented, boxes, pixels
from sgdphases.ensemble.losses import as_numbers
from sgdphases.ensemble.sampler import Sampler

AHEAD = 2
"""Batches of one stream that are read before they are asked for."""


class Feed:
    """The batches of one data set, for networks with any seeds of the order.

    Args:
        inputs: Training inputs: (samples, width) numbers, or with `bytes_of` images on the disk.
        targets: (samples, outputs), or class numbers (samples,).
        sampler: The order of the data.
        outputs: Outputs of the network.
        device: Where batches go.
        dtype: Floating-point type of batches.
        augmentation: What is done to images, of `augmentation.AUGMENTATIONS`.
        channels: Makes images of inputs that are numbers, (channels, side, side); None leaves them vectors. Images on
            the disk have as many.

    Attributes:
        sampler: As given.
        waited: Seconds that `batch` has waited for images from the disk.

    Raises:
        ValueError: If targets do not fit the outputs or the inputs, the augmentation is unknown, or inputs are no
            images and should be augmented.
    """

    def __init__(
        self,
        inputs: Any,
        targets: np.ndarray,
        sampler: Sampler,
        *,
        outputs: int,
        device: torch.device | str,
        dtype: torch.dtype,
        augmentation: str = "none",
        channels: int | None = None,
    ) -> None:
        known_word("augmentation", augmentation, AUGMENTATIONS)
        if not len(inputs) == len(targets) == sampler.samples:
            raise ValueError(f"{len(inputs)} inputs, {len(targets)} targets and an order of {sampler.samples} samples")
        self.sampler, self.waited = sampler, 0.0
        self._device, self._dtype, self._augmentation = torch.device(device), dtype, augmentation
        shape = _shape(inputs, channels)
        self._side = shape[1:] if len(shape) == 3 else None
        if self._side is None and augmentation != "none":
            raise ValueError(f"augmentation {augmentation} needs images: say how many channels the inputs have")
        kind = _Mapped if hasattr(inputs, "bytes_of") else _Held
        self._source = kind(self, inputs, targets, shape, outputs)

    @torch.inference_mode(mode=False)
    def prepare(self, seed: int, start: int, stop: int) -> None:
        """Say which batches will be asked for next: no more than a hint, by which nothing but time changes.

        Args:
            seed: Seed of the stream of data orders.
            start: Number of the first update.
            stop: One more than that of the last.
        """
        self._source.prepare(int(seed), start, stop)

    @torch.inference_mode(mode=False)
    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """The batch of one update of one stream.

        Args:
            seed: Seed of the stream of data orders.
            step: Number of the update.

        Returns:
            Inputs (batch, channels, height, width), or (batch, width) where they are no images; and targets
            (batch, outputs). A smaller last batch of an epoch is filled up, as the sampler says.
        """
        return self._source.batch(int(seed), step)

    def close(self) -> None:
        """Let go of the thread that reads, and of what it read."""
        self._source.close()

    def rows(self, seed: int, step: int, orders: dict[int, tuple[int, np.ndarray]]) -> np.ndarray:
        """Sample numbers (batch,) of one update; `orders` keeps each seed's latest epoch and its order."""
        epoch, batch = divmod(step, self.sampler.batches)
        known = orders.get(seed)
        if known is None or known[0] != epoch:
            orders[seed] = known = (epoch, self.sampler.order(seed, epoch))
        return known[1][batch]

    def drawn(self, seed: int, step: int) -> np.ndarray | None:
        """What is done to the images of one update, (batch, 5), see `augmentation.boxes`; None for nothing."""
        if self._augmentation == "none":
            return None
        return boxes(self._augmentation, seed, step, self.sampler.batch_size, self._side)

    def changed(self, images: Tensor, drawn: Tensor | None) -> Tensor:
        """Images, bytes or numbers, after what was drawn for them; both on the device."""
        return images if drawn is None else augmented(self._augmentation, images, drawn)

    @property
    def blends(self) -> bool:
        """Whether augmentation makes new grey levels of those there are, so that it needs numbers, not bytes."""
        return self._augmentation == "resized_crop"


class _Held:
    """Inputs and targets in the memory of the device."""

    def __init__(
        self, feed: Feed, inputs: np.ndarray, targets: np.ndarray, shape: tuple[int, ...], outputs: int
    ) -> None:
        self._feed, self._device = feed, feed._device
        with torch.inference_mode(mode=False):
            self._inputs = torch.tensor(inputs, dtype=feed._dtype, device=self._device).view(-1, *shape)
            self._targets = torch.tensor(as_numbers(targets, outputs), dtype=feed._dtype, device=self._device)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}
        self._ready: dict[int, tuple[int, Tensor]] = {}

    def prepare(self, seed: int, start: int, stop: int) -> None:
        """Bring the sample numbers of some updates to the device."""
        self._ready[seed] = start, self._rows(seed, start, stop)

    def _rows(self, seed: int, start: int, stop: int) -> Tensor:
        """Sample numbers (updates, batch) on the device."""
        rows = [self._feed.rows(seed, step, self._orders) for step in range(start, stop)]
        return torch.as_tensor(np.array(rows, dtype=np.int64), device=self._device)

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """See `Feed.batch`."""
        start, known = self._ready.get(seed, (step, ()))
        rows = known[step - start] if 0 <= step - start < len(known) else self._rows(seed, step, step + 1)[0]
        drawn = self._feed.drawn(seed, step)
        drawn = None if drawn is None else torch.as_tensor(drawn, device=self._device)
        images = self._feed.changed(self._inputs.index_select(0, rows), drawn)
        return images, self._targets.index_select(0, rows)

    def close(self) -> None:
        """Let go of what was prepared."""
        self._ready = {}


class _Mapped:
    """Images on the disk, read as bytes by a thread that is `AHEAD` batches before the training."""

    def __init__(self, feed: Feed, inputs: Any, targets: np.ndarray, shape: tuple[int, ...], outputs: int) -> None:
        self._feed, self._inputs, self._shape = feed, inputs, shape
        self._device, self._dtype = feed._device, feed._dtype
        # Class numbers become rows batch by batch: the rows of all samples of many classes are larger than memory.
        as_numbers(targets[[targets.argmin(), targets.argmax()]] if targets.ndim == 1 else targets, outputs)
        self._targets = targets
        self._classes = as_numbers(np.arange(outputs), outputs)
        with torch.inference_mode(mode=False):
            self._normalise = normaliser(inputs, self._device, self._dtype)
        self._beside = self._device.type == "cpu"
        self._orders: dict[int, tuple[int, np.ndarray]] = {}  # of the reading thread alone
        self._reader: ThreadPoolExecutor | None = None
        self._read: dict[tuple[int, int], Future] = {}

    def prepare(self, seed: int, start: int, stop: int) -> None:
        """Read the first batches, and forget what will not be asked for."""
        others = [key for key in list(self._read) if key[0] == seed and not start <= key[1] < stop + AHEAD]
        for key in others:
            self._read.pop(key, None)  # not cancelled: another thread may wait for it
        for step in range(start, min(stop, start + AHEAD)):
            self._ask(seed, step)

    def _ask(self, seed: int, step: int) -> Future:
        """Let a batch be read, if it is not."""
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="images")
        found = self._read.get((seed, step))
        if found is None:
            self._read[seed, step] = found = self._reader.submit(self._gather, seed, step)
        return found

    def _gather(self, seed: int, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Read one batch: bytes of the images, targets, and what will be done to the images.

        Where the device is the CPU, bytes are made numbers here, beside the training.

        Returns:
            The three of them; of numbers nothing is left to be done.
        """
        pinned = self._device.type == "cuda"  # only then are copies made beside the computation
        rows = self._feed.rows(seed, step, self._orders)
        images = torch.empty((len(rows), *self._shape), dtype=torch.uint8, pin_memory=pinned)
        self._inputs.bytes_of(rows, out=images.numpy())
        targets = self._targets[rows]
        targets = torch.as_tensor(self._classes[targets] if targets.ndim == 1 else targets, dtype=self._dtype)
        drawn = self._feed.drawn(seed, step)
        drawn = None if drawn is None else torch.as_tensor(drawn)
        if self._beside:
            return self._numbers(images, drawn), targets, None
        if pinned:
            targets, drawn = targets.pin_memory(), None if drawn is None else drawn.pin_memory()
        return images, targets, drawn

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """See `Feed.batch`."""
        asked, *_ = [self._ask(seed, later) for later in range(step, step + 1 + AHEAD)]
        self._read.pop((seed, step), None)
        begin = time.perf_counter()
        images, targets, drawn = asked.result()
        self._feed.waited += time.perf_counter() - begin
        if self._beside:
            return images, targets
        images, targets = (part.to(self._device, non_blocking=True) for part in (images, targets))
        drawn = None if drawn is None else drawn.to(self._device, non_blocking=True)
        return self._numbers(images, drawn), targets

    def _numbers(self, images: Tensor, drawn: Tensor | None) -> Tensor:
        """Bytes as the network reads them, changed as drawn."""
        if self._feed.blends:
            return self._feed.changed(self._normalise(images), drawn)
        return self._normalise(self._feed.changed(images, drawn))  # a byte is moved faster than a number

    def close(self) -> None:
        """End the thread."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)
        self._reader, self._read = None, {}


def normaliser(inputs: Any, device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """What makes bytes numbers on the device, the same as NumPy makes them.

    Args:
        inputs: Images on the disk, with their `mean`, `deviation` and `numbers`.
        device: Where the bytes will be.
        dtype: Floating-point type of the numbers.

    Returns:
        A function of images (..., channels, height, width) uint8.
    """
    mean, deviation = (torch.tensor(part, device=device) for part in (inputs.mean, inputs.deviation))
    return lambda images: inputs.numbers(images, mean, deviation).to(dtype)


def chunks(
    inputs: Any,
    targets: np.ndarray,
    size: int,
    *,
    outputs: int,
    device: torch.device | str,
    dtype: torch.dtype,
    channels: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """A whole data set, part by part, so that it is never in memory as numbers.

    Args:
        inputs: As for `Feed`.
        targets: As for `Feed`.
        size: Samples of a part; the last one may have fewer.
        outputs: Outputs of the network.
        device: Where parts go.
        dtype: Their floating-point type.
        channels: As for `Feed`.

    Yields:
        Inputs and targets of some samples, as of `Feed.batch`.
    """
    shape, device = _shape(inputs, channels), torch.device(device)
    for begin in range(0, len(inputs), size):
        part = slice(begin, begin + size)
        with torch.inference_mode(mode=False):
            if hasattr(inputs, "bytes_of"):
                images = torch.from_numpy(inputs.bytes_of(part)).to(device)
                numbers = normaliser(inputs, device, dtype)(images)
            else:
                numbers = torch.tensor(inputs[part], dtype=dtype, device=device).view(-1, *shape)
            aims = torch.tensor(as_numbers(targets[part], outputs), dtype=dtype, device=device)
        yield numbers, aims


def _shape(inputs: Any, channels: int | None) -> tuple[int, ...]:
    """Shape of one sample as batches hold it."""
    if hasattr(inputs, "bytes_of"):
        if channels not in (None, inputs.image_shape[0]):
            raise ValueError(f"channels: the images have {inputs.image_shape[0]}, not {channels}")
        return inputs.image_shape
    return (inputs.shape[1],) if channels is None else pixels(inputs.shape[1], channels)
