import threading
from concurrent.futures import wait

import numpy as np
import pytest
import torch

from sgdphases.datasets.image_inputs import ImageInputs
from sgdphases.ensemble.feed import AHEAD, Feed, chunks
from sgdphases.ensemble.sampler import Sampler

SAMPLES, BATCH, SIDE = 30, 4, 16
TABLE = np.random.default_rng(0).integers(256, size=(50, 3, SIDE, SIDE), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(5, size=SAMPLES)
MOMENTS = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
WORDS = ("none", "flip", "crop", "resized_crop")


class Watched(ImageInputs):
    """Images that know who read which of them, and can fail to be read."""

    def __init__(self, *words):
        super().__init__(*words)
        self.read, self.fault = [], None

    def bytes_of(self, rows, out=None):
        self.read.append((threading.current_thread(), np.array(rows).tolist()))
        if self.fault:
            raise self.fault
        return super().bytes_of(rows, out)


def images(kind=ImageInputs):
    return kind(TABLE, np.random.default_rng(2).permutation(50)[:SAMPLES], *MOMENTS)


def make(inputs=None, targets=LABELS, *, word="reshuffle", batch=BATCH, **words):
    inputs = images() if inputs is None else inputs
    known = {"outputs": 5, "device": "cpu", "dtype": torch.float32} | words
    return Feed(inputs, targets, Sampler(word, len(inputs), batch, 1), **known)


def same(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("held", [False, True], ids=["disk", "held"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("word", ["fixed_order", "reshuffle", "with_replacement"])
def test_batches_are_those_of_the_sampler(word, dtype, held):
    inputs, dtype = images(), getattr(torch, dtype)
    vectors = np.asarray(inputs)
    feed = make(vectors if held else inputs, word=word, dtype=dtype, channels=3 if held else None)
    for seed, step in ((7, 0), (7, 1), (3, 6), (7, 6), (7, 7), (7, 20), (7, 2)):
        epoch, batch = divmod(step, SAMPLES // BATCH)
        rows = Sampler(word, SAMPLES, BATCH, 1).order(seed, epoch)[batch]
        found, targets = feed.batch(seed, step)
        expected = torch.tensor(vectors[rows], dtype=dtype).view(BATCH, 3, SIDE, SIDE)
        assert same((found, targets), (expected, torch.tensor(np.eye(5)[LABELS[rows]], dtype=dtype)))


def test_inputs_without_channels_are_vectors():
    vectors, targets = np.random.default_rng(3).standard_normal((SAMPLES, 7)), np.ones((SAMPLES, 2))
    feed = make(vectors, targets, outputs=2, word="fixed_order", dtype=torch.float64)
    found = feed.batch(0, 1)
    assert same(found, (torch.tensor(vectors[BATCH : 2 * BATCH]), torch.ones(BATCH, 2, dtype=torch.float64)))


def test_targets_that_are_numbers_are_taken_as_they_are():
    targets = np.random.default_rng(4).standard_normal((SAMPLES, 5)).astype(np.float32)
    found = make(targets=targets, word="fixed_order").batch(0, 2)[1]
    assert torch.equal(found, torch.tensor(targets[2 * BATCH : 3 * BATCH]))


@pytest.mark.parametrize("held", [False, True], ids=["disk", "held"])
@pytest.mark.parametrize("word", WORDS)
def test_nothing_depends_on_what_was_prepared(word, held):
    def fresh():
        inputs = images()
        return make(np.asarray(inputs) if held else inputs, augmentation=word, channels=3 if held else None)

    asked = [(seed, step) for step in range(12) for seed in (5, 9)]
    alone = {key: fresh().batch(*key) for key in asked}
    whole, parts, wrong = fresh(), fresh(), fresh()
    for seed in (5, 9):
        whole.prepare(seed, 0, 12)
    for seed, step in asked:
        if step in (0, 5, 6):
            parts.prepare(seed, step, {0: 5, 5: 6, 6: 12}[step])
        wrong.prepare(seed, step + 3, step + 4)
        for feed in (whole, parts, wrong):
            assert same(feed.batch(seed, step), alone[seed, step])
    for seed, step in reversed(asked):  # as after a return to an earlier step
        assert same(whole.batch(seed, step), alone[seed, step])


@pytest.mark.parametrize("word", WORDS[1:])
def test_the_disk_and_the_device_are_augmented_alike(word):
    inputs = ImageInputs(TABLE, np.arange(SAMPLES))  # 0 is black in both
    mapped, held = make(inputs, augmentation=word), make(np.asarray(inputs), augmentation=word, channels=3)
    plain = make(inputs)
    for step in range(10):
        found = mapped.batch(1, step)
        assert found[0].shape == (BATCH, 3, SIDE, SIDE)
        assert same(found, held.batch(1, step))
        assert torch.equal(found[1], plain.batch(1, step)[1])
    assert not torch.equal(found[0], plain.batch(1, step)[0])


def test_the_frame_of_a_crop_is_black_before_images_are_standardised():
    white = ImageInputs(np.full((40, 3, SIDE, SIDE), 255, np.uint8), np.arange(SAMPLES), *MOMENTS)
    feed = make(white, augmentation="crop")
    levels = torch.cat([feed.batch(0, step)[0] for step in range(7)]).transpose(0, 1).flatten(1)
    for channel, mean, deviation in zip(levels, *MOMENTS, strict=True):
        expected = torch.tensor([-mean / deviation, (1 - mean) / deviation], dtype=torch.float32)
        torch.testing.assert_close(channel.unique(), expected)


@pytest.mark.parametrize("held", [False, True], ids=["disk", "held"])
def test_batches_made_under_inference_can_be_differentiated(held):
    inputs = np.asarray(images()) if held else images()
    with torch.inference_mode():
        feed = make(inputs, augmentation="resized_crop", channels=3 if held else None)
        feed.prepare(0, 0, 4)
        found, targets = feed.batch(0, 0)
        part, aims = next(chunks(inputs, LABELS, 3, outputs=5, device="cpu", dtype=torch.float32, channels=3))
    assert not any(tensor.is_inference() for tensor in (found, targets, part, aims))
    weights = torch.ones(5, found[0].numel(), requires_grad=True)
    ((found.flatten(1) @ weights.T) * targets).sum().backward()
    torch.testing.assert_close(weights.grad, targets.T @ found.flatten(1))


def test_images_are_read_ahead_by_a_thread():
    inputs = images(Watched)
    feed = make(inputs)
    feed.prepare(0, 0, 9)
    wait(feed._source._read.values())
    order = Sampler("reshuffle", SAMPLES, BATCH, 1).order(0, 0).tolist()
    assert [rows for _, rows in inputs.read] == order[:AHEAD]
    for step in range(3):
        feed.batch(0, step)
        wait(feed._source._read.values())
        assert [rows for _, rows in inputs.read] == order[: step + 1 + AHEAD]  # each once
    (reader,) = {thread for thread, _ in inputs.read}
    assert reader is not threading.current_thread()
    assert reader.is_alive()
    feed.close()
    assert not reader.is_alive()
    assert torch.equal(feed.batch(0, 3)[0], make().batch(0, 3)[0])


def test_what_will_not_be_asked_for_is_forgotten():
    feed = make()
    for seed in range(3):
        feed.prepare(seed, 0, 9)
    feed.prepare(1, 20, 30)
    assert set(feed._source._read) == {(0, 0), (0, 1), (1, 20), (1, 21), (2, 0), (2, 1)}


def test_a_fault_in_reading_reaches_the_training_and_does_not_last():
    inputs = images(Watched)
    feed = make(inputs)
    inputs.fault = OSError("the disk is gone")
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is gone"):
            feed.batch(0, 0)
    wait(feed._source._read.values())
    inputs.fault = None
    feed.prepare(0, 5, 6)
    assert same(feed.batch(0, 5), make().batch(0, 5))


def test_networks_of_one_order_do_not_forget_what_others_wait_for():
    inputs, free = images(Watched), threading.Event()
    read = inputs.bytes_of
    inputs.bytes_of = lambda rows, out=None: free.wait(10) and read(rows, out)
    feed = make(inputs)
    feed.prepare(0, 0, 9)
    ask = feed._source._ask

    def asked(seed, step):
        """Another thread, that is further on, comes between asking and waiting."""
        found = ask(seed, step)
        if step == 1:
            feed._source._ask = ask
            feed.prepare(0, 20, 30)
            free.set()
        return found

    feed._source._ask = asked
    assert same(feed.batch(0, 1), make().batch(0, 1))


def test_a_disk_that_is_slow_is_seen():
    inputs = images(Watched)
    go, read = threading.Event(), inputs.bytes_of
    inputs.bytes_of = lambda rows, out=None: (go.wait(), read(rows, out))[1]
    feed = make(inputs)
    threading.Timer(0.2, go.set).start()
    feed.batch(0, 0)
    assert 0.1 < feed.waited < 5


@pytest.mark.parametrize("held", [False, True], ids=["disk", "held"])
@pytest.mark.parametrize("size", [1, 7, 30, 100])
def test_chunks_are_the_whole_data_set(size, held):
    inputs = images()
    vectors = np.asarray(inputs)
    known = {"outputs": 5, "device": "cpu", "dtype": torch.float64, "channels": 3}
    found = list(chunks(vectors if held else inputs, LABELS, size, **known))
    assert [len(part) for part, _ in found] == [min(size, SAMPLES - begin) for begin in range(0, SAMPLES, size)]
    parts, targets = (torch.cat(tensors) for tensors in zip(*found, strict=True))
    expected = torch.tensor(vectors, dtype=torch.float64).view(SAMPLES, 3, SIDE, SIDE)
    assert same((parts, targets), (expected, torch.tensor(np.eye(5)[LABELS])))
    some = list(chunks(inputs[:9], LABELS[:9], 5, **known))
    assert torch.equal(torch.cat([part for part, _ in some]), expected[:9])


def test_chunks_of_vectors():
    vectors = np.random.default_rng(3).standard_normal((9, 7))
    (one, _), (two, _) = chunks(vectors, LABELS[:9], 5, outputs=5, device="cpu", dtype=torch.float64)
    assert torch.equal(torch.cat([one, two]), torch.tensor(vectors))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augmentation": "crops"}, "augmentation 'crops' is unknown; known are none, flip, crop, resized_crop"),
        ({"inputs": np.ones((30, 48)), "augmentation": "flip"}, "augmentation flip needs images: say how many"),
        ({"inputs": np.ones((30, 50)), "channels": 3}, "width 50 are no square images of 3 channels"),
        ({"targets": LABELS[1:]}, "30 inputs, 29 targets and an order of 30 samples"),
        ({"outputs": 3}, "class numbers 0 to 4 do not fit 3 outputs"),
        ({"inputs": np.ones((30, 48)), "outputs": 3}, "class numbers 0 to 4 do not fit 3 outputs"),
        ({"targets": np.ones((30, 2))}, "targets of width 2 do not fit 5 outputs"),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        make(**changes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("word", WORDS)
def test_a_graphics_processor_gets_the_same(word):
    here, there = make(augmentation=word), make(augmentation=word, device="cuda")
    there.prepare(0, 0, 20)
    for step in range(20):
        for a, b in zip(here.batch(0, step), there.batch(0, step), strict=True):
            assert b.device.type == "cuda"
            torch.testing.assert_close(a, b.cpu(), rtol=1e-5, atol=1e-5)
