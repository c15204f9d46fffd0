"""Training a shard: groups taken in turn from step to step, records and states handed to whoever asked.

The trainer writes nothing and looks at no clock.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from sgdphases.ensemble.contrastive import ContrastiveGroup
from sgdphases.ensemble.data import Data
from sgdphases.ensemble.device import Device, alone, choose_device, footprint, one_thread_each, plan, stride
from sgdphases.ensemble.groups import Group
from sgdphases.ensemble.image_data import ImageData
from sgdphases.ensemble.iteration import PERIOD, IterationGroup, first_state
from sgdphases.ensemble.modular import ModularGroup
from sgdphases.ensemble.projections import Frame, WalkingGroup, WalkingModularGroup
from sgdphases.ensemble.quadratic import QuadraticGroup, WalkingQuadraticGroup
from sgdphases.ensemble.running import Running
from sgdphases.ensemble.sgd import EPOCH_SUMS, GradientGroup
from sgdphases.ensemble.shard import GRADIENT_UPDATES, Shard
from sgdphases.ensemble.starting import STEPWISE_WORDS, SUMS, Start, check_start
from sgdphases.ensemble.state import State, check_state, initial_state

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """What is recorded of all networks at one step.

    Attributes:
        number: Place among the record steps.
        step: Number of updates done.
        weights: Per trained layer, (networks, out, in); of a network that diverged its last sound weights. Empty where
            the shard records no weights.
        biases: Per trained layer that has a bias, (networks, out).
        scalars: Running observables by word, float64 (networks,) or (networks, trained layers), see `running.Running`.
        diverged_at: (networks,) int64, -1 for networks that are alive.
    """

    number: int
    step: int
    weights: dict[int, np.ndarray]
    biases: dict[int, np.ndarray]
    scalars: dict[str, np.ndarray]
    diverged_at: np.ndarray


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: Updates done.
        steps: Updates in all.
        alive: Networks that have not diverged.
        networks: Networks in all.
    """

    step: int
    steps: int
    alive: int
    networks: int


def train(  # noqa: PLR0913 - all but two have defaults
    shard: Shard,
    tasks: Mapping[int, Any],
    *,
    device: str | Device = "auto",
    threads: int = 1,
    state: State | None = None,
    start: Start | None = None,
    on_record: Callable[[Record], None] = lambda record: None,
    on_checkpoint: Callable[[State], None] = lambda state: None,
    on_progress: Callable[[Progress], bool | None] = lambda progress: False,
) -> State:
    """Train all networks of a shard.

    On a CPU a network's bits depend on its own row of the shard and nothing else: not on the other networks, on its
    place, on groups, threads or interruptions.

    Args:
        shard: What to train.
        tasks: Task per task seed.
        device: auto, cpu or cuda, or a device with a memory limit.
        threads: Workers that take groups side by side, one thread each.
        state: Where to go on; None for the beginning. It is not changed.
        start: Weights that all networks start from, if the shard wants some.
        on_record: Called at every record step after the one the state stands at (and at 0 at the beginning).
        on_checkpoint: Called with the state whenever `on_progress` asked for it; it must copy what it keeps.
        on_progress: Called every few hundred steps, or fewer if they are long; a true answer asks for `on_checkpoint`.

    Returns:
        The final state.

    Raises:
        ValueError: If shard, tasks and state do not fit together.
    """
    device = choose_device(device) if isinstance(device, str) else device
    with without_graphs(shard), one_thread_each(), ThreadPoolExecutor(threads) as workers:
        trainer = Trainer(shard, tasks, device, workers if threads > 1 else None, threads, start)
        with closing(trainer):
            return trainer.run(state, on_record, on_checkpoint, on_progress)


def without_graphs(shard: Shard) -> Any:
    """The mode in which a shard is trained; tensors of inference could not be differentiated by.

    Args:
        shard: What is trained.

    Returns:
        A context.
    """
    return torch.no_grad() if shard.network.modular else torch.inference_mode()


class Trainer:
    """The groups of a shard and the walk through its steps.

    Args:
        shard: What to train.
        tasks: Task per task seed.
        device: Where.
        workers: Takes groups side by side; None for one after the other.
        threads: Number of workers.
        start: Weights that all networks start from; None where each has its own.
    """

    def __init__(
        self,
        shard: Shard,
        tasks: Mapping[int, Any],
        device: Device,
        workers: ThreadPoolExecutor | None,
        threads: int,
        start: Start | None = None,
    ) -> None:
        self.shard, self.tasks, self.device, self.workers, self.start = shard, tasks, device, workers, start
        check_start(shard, start)
        missing = set(shard.networks["seed_task"].tolist()) - set(tasks)
        if missing:
            raise ValueError(f"no task for the seeds {sorted(missing)[:3]}")
        if shard.update in GRADIENT_UPDATES:
            kind = ImageData if shard.network.kind == "resnet18" else Data
            self.data = kind(shard, tasks, device.torch)
            self.batches = self.data.sampler.batches
        else:
            self.data, self.batches = None, max(shard.steps, 1)
        self.stride = PERIOD if shard.update == "iteration" else stride(shard, device.word)
        self.running = Running(shard, tasks, self.batches, device.torch, start)
        walking = bool(set(shard.running) & set(STEPWISE_WORDS))
        self.frame = Frame(shard, start, device.torch) if walking else None
        self.groups = [self._group(rows) for rows in plan(shard, device, threads)]
        self.resident = device.memory is None or len(self.groups) == 1
        if not self.resident:
            log.warning("device memory of %d bytes: %d groups take turns on it", device.memory, len(self.groups))

    def close(self) -> None:
        """Let go of what reads images ahead."""
        if isinstance(self.data, ImageData):
            self.data.close()

    def run(
        self,
        state: State | None,
        on_record: Callable[[Record], None],
        on_checkpoint: Callable[[State], None],
        on_progress: Callable[[Progress], bool | None],
    ) -> State:
        """Walk from the state's step to the end; the arguments are those of `train`."""
        fresh = self._first_state()
        if state is None:
            state = fresh
            on_record(self._record(state))
        else:
            check_state(state, self.shard, fresh.arrays)
            state = State(state.step, {k: v.copy() for k, v in state.arrays.items()}, state.diverged_at.copy())
        if self.resident:
            self._load_all(state)
        due = set(self.shard.record_steps)
        for start, stop, fresh_epoch, accumulate in self._spans(state.step):
            self._clear(state, epoch=fresh_epoch, record=start in due)
            for step in range(start, stop, self.stride):
                self._advance(state, min(step + self.stride, stop), accumulate=accumulate)
                reached = state.step in due
                if reached:
                    self._save_all(state)
                    on_record(self._record(state))
                if on_progress(Progress(state.step, self.shard.steps, int(state.alive.sum()), len(self.shard))):
                    if not reached:
                        self._save_all(state)
                    on_checkpoint(state)
        self._save_all(state)
        return state

    def _spans(self, start: int) -> list[tuple[int, int, bool, bool]]:
        """Pieces of the walk from `start` on that end at every step that matters.

        Returns:
            (first step, last step, whether an epoch's sums begin there, whether the steps add to such sums).
        """
        records = [step for step in self.shard.record_steps if step > start]
        sums = EPOCH_SUMS & set(self.shard.running)
        last = {(step - 1) // self.batches * self.batches: step for step in records} if sums else {}
        marks = sorted({start, *records, *(step for step in last if step > start)})
        return [
            (step, stop, step in last, step < last.get(step // self.batches * self.batches, 0))
            for step, stop in pairwise(marks)
        ]

    def _group(self, rows: np.ndarray) -> Group:
        """A group for some networks."""
        if self.shard.update == "contrastive_divergence":
            return ContrastiveGroup(self.shard, rows, self.device.torch, tasks=self.tasks)
        if self.shard.update == "iteration":
            return IterationGroup(self.shard, rows, self.device.torch)
        known = {"alone": alone(self.shard), "data": self.data, "tasks": self.tasks}
        plain, walking = (
            (ModularGroup, WalkingModularGroup) if self.shard.network.modular else (GradientGroup, WalkingGroup)
        )
        if self.shard.update == "quadratic":
            known, plain, walking = {"tasks": self.tasks, "start": self.start}, QuadraticGroup, WalkingQuadraticGroup
        if self.frame is not None:
            return walking(self.shard, rows, self.device.torch, frame=self.frame, **known)
        return plain(self.shard, rows, self.device.torch, **known)

    def _first_state(self) -> State:
        """The state before the first update, with what the update rule keeps beside the weights or in their stead."""
        if self.shard.update == "iteration":
            return first_state(self.shard)
        state = initial_state(self.shard, self.start)
        if self.shard.update == "contrastive_divergence":
            state.arrays["persistent"] = ContrastiveGroup.first_batch(self.shard)
        return state

    def _load_all(self, state: State) -> None:
        """Bring all groups to the device; if its memory does not suffice, let them take turns."""
        try:
            for group in self.groups:
                group.load(state)
        except torch.cuda.OutOfMemoryError:
            for group in self.groups:
                group.release()
            self.resident = False
            log.warning("out of device memory: the groups take turns on it")

    def _save_all(self, state: State) -> None:
        if self.resident:
            for group in self.groups:
                group.save(state)

    def _advance(self, state: State, stop: int, *, accumulate: bool) -> None:
        """Take every group from the state's step to `stop`."""

        def turn(group: Group) -> list[Group]:
            with without_graphs(self.shard):
                if not self.resident:
                    try:
                        group.load(state)
                    except torch.cuda.OutOfMemoryError:
                        return [part for half in self._halves(group) for part in turn(half)]
                group.advance(state, stop, accumulate=accumulate)
                if not self.resident:
                    group.save(state)
                    group.release()
            return [group] if len(group.rows) else []

        turns = map(turn, self.groups) if self.workers is None else self.workers.map(turn, self.groups)
        self.groups = [group for groups in turns for group in groups]
        state.step = stop

    def _halves(self, group: Group) -> list[Group]:
        """Two groups of half the size, for a device on which one has no room; the host still has their state."""
        group.release()
        if len(group.rows) == 1:
            raise MemoryError(f"the device has no room for one network of {footprint(self.shard)} bytes")
        log.warning("out of device memory: %d networks are halved", len(group.rows))
        return [self._group(half) for half in np.array_split(group.rows, 2)]

    def _clear(self, state: State, *, epoch: bool, record: bool) -> None:
        """Start the running sums of an epoch, and those that follow a record."""
        chosen = [name for name in state.arrays if name in ("terms", "hits") or name.startswith("gradient_")]
        chosen = chosen * epoch + [name for name in SUMS if record and name in state.arrays]
        for table in [state.arrays] + [group.tensors for group in self.groups if self.resident]:
            for name in chosen:
                if name in table:
                    table[name][...] = 0

    def _record(self, state: State) -> Record:
        """What is recorded at the state's step."""
        layers = self.shard.network.trained_layers if state.step in self.shard.weight_steps else ()
        found = {
            kind: {
                layer: state.arrays[f"{kind}_{layer}"].copy() for layer in layers if f"{kind}_{layer}" in state.arrays
            }
            for kind in ("weights", "bias")
        }
        return Record(
            number=self.shard.record_steps.index(state.step),
            step=state.step,
            weights=found["weights"],
            biases=found["bias"],
            scalars=self.running.at(state),
            diverged_at=state.diverged_at.copy(),
        )
