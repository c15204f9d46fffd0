"""Walks from a common start, seen along stored directions after every update.

Displacements of a few updates are kept side by side and projected together, since the directions are larger than the
cache. Where a step stands among them depends on its number alone, and every product has one shape: so a network's bits
depend neither on its neighbours nor on where windows begin. Nothing here waits for the device.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgdphases.ensemble.groups import Group
from sgdphases.ensemble.modular import ModularGroup
from sgdphases.ensemble.sgd import GradientGroup
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import MODE_WORDS, MOMENTS, Start

SLOTS, LARGE = 8, 2**20
"""Updates that are projected together; one by one past that many parameters, since displacements need their memory."""


class Frame:
    """theta* and the directions on the device, in the order in which a group's tensors lie.

    Args:
        shard: What is trained.
        start: Its start.
        device: Where.

    Attributes:
        names: Names of the tensors that hold the parameters.
        place: theta* as networks of the shard's type have it, per name (numbers,).
        directions: (parameters, modes), None where no word needs them.
    """

    def __init__(self, shard: Shard, start: Start, device: torch.device) -> None:
        network, first, orders = shard.network, 0, []
        self.names, self.place = [], {}
        for layer in range(network.layers):
            for kind, arrays in (("weights", start.weights), ("bias", start.biases)):
                if layer not in arrays:
                    continue
                numbers = np.arange(arrays[layer].size).reshape(arrays[layer].shape)
                if kind == "weights" and layer == 0 and not network.modular and network.geometries[0] is None:
                    numbers = numbers.T  # as `GradientGroup.lay` turns them
                values = arrays[layer].astype(shard.dtype).astype(np.float64).ravel()[numbers.ravel()]
                self.names.append(f"{kind}_{layer}")
                self.place[self.names[-1]] = torch.from_numpy(values).to(device)
                orders.append(first + numbers.ravel())
                first += arrays[layer].size
        self.directions = None
        if set(shard.running) & set(MODE_WORDS):
            directions = np.ascontiguousarray(start.directions[np.concatenate(orders)])
            self.directions = torch.from_numpy(directions).to(device)


class Walk:
    """Displacements of a group's networks since the start, and the sums that updates add to.

    Args:
        frame: Where they come from.
        tensors: The group's tensors.
        rates: learning_rate per row, (rows,).
        momenta: momentum per row, (rows,).
        local: Whether squares of displacements by one update are summed.
    """

    def __init__(
        self, frame: Frame, tensors: dict[str, Tensor], rates: np.ndarray, momenta: np.ndarray, *, local: bool
    ) -> None:
        self.tensors, self.local, device = tensors, local, tensors[frame.names[0]].device
        rows, sizes = len(rates), [len(frame.place[name]) for name in frame.names]
        made = {"dtype": torch.float64, "device": device}
        self.rows, self.size = rows, sum(sizes)
        self.slots = slots = SLOTS if self.size <= LARGE else 1
        self.gone = torch.zeros((rows, slots + 1, self.size), **made)
        self.displace = [self._displacing(frame, sizes, slot) for slot in range(slots + 1)]
        if local:
            self.moved = torch.zeros((rows, slots, self.size), **made)
            self.squares = torch.zeros((rows * slots, 1, 1), **made)
        self.directions = None
        if frame.directions is not None:
            modes = frame.directions.shape[1]
            self.directions = frame.directions.expand(rows, -1, -1)
            self.projected = torch.zeros((rows, slots, modes), **made)
            self.positions = torch.zeros((rows, slots + 1, modes), **made)
            self.velocities = torch.zeros((rows, slots + 1, modes), **made)
            self.terms = torch.zeros((rows, len(MOMENTS), slots, modes), **made)
            still = rates == 0  # nothing moves, and nothing is to be divided by
            self.rates = torch.as_tensor(np.where(still, 1.0, rates), **made)[:, None, None]
            self.momenta = torch.as_tensor(momenta, **made)[:, None, None]

    def _displacing(self, frame: Frame, sizes: list[int], slot: int) -> list[Any]:
        """What writes the present displacement to a slot."""
        found, first = [], 0
        for name, size in zip(frame.names, sizes, strict=True):
            own = self.gone[:, slot, first : first + size]
            found.append(partial(torch.sub, self.tensors[name].flatten(1), frame.place[name], out=own))
            first += size
        return found

    def begin(self, step: int) -> None:
        """Stand before an update, with the tensors as they are there."""
        self.first = self.step = step
        self._write(step % self.slots)

    def note(self) -> None:
        """Take note of an update that has been done."""
        self._write(self.step % self.slots + 1)
        self.step += 1
        if self.step % self.slots == 0:
            self.settle()
            self.gone[:, 0].copy_(self.gone[:, self.slots])

    def settle(self) -> None:
        """Add what the updates since the last time have done to the sums."""
        slots = range(self.first % self.slots, self.first % self.slots + self.step - self.first)
        if not slots:
            return
        self.first = self.step
        if self.local:
            torch.sub(self.gone[:, 1:], self.gone[:, :-1], out=self.moved)
            moved = self.moved.view(self.rows * self.slots, 1, self.size)
            torch.bmm(moved, moved.transpose(1, 2), out=self.squares)
            squares = self.squares.view(self.rows, self.slots, 1)
            for slot in slots:
                self.tensors["displacement_sum"].add_(squares[:, slot])
        if self.directions is not None:
            self._project(slots)

    def _project(self, slots: range) -> None:
        """Positions and velocities along the directions, and what is summed of them."""
        x, v, terms, first, last = self.positions, self.velocities, self.terms, slots[0], slots[-1] + 1
        position, velocity = self.tensors["projected_position"], self.tensors["projected_velocity"]
        torch.bmm(self.gone[:, 1:], self.directions, out=self.projected)
        x[:, 1:].copy_(self.projected)
        x[:, first].copy_(position)
        torch.sub(x[:, 1:], x[:, :-1], out=v[:, 1:])
        v[:, 1:].div_(self.rates)
        v[:, first].copy_(velocity)
        before, after = (x[:, :-1], v[:, :-1]), (x[:, 1:], v[:, 1:])
        push = terms[:, MOMENTS.index("force_mean")]
        torch.mul(before[1], self.momenta, out=push)
        push.sub_(after[1])
        values = {
            "position_mean": (before[0],),
            "position_square": (before[0], before[0]),
            "velocity_mean": (before[1],),
            "velocity_square": (before[1], before[1]),
            "position_velocity": (before[0], before[1]),
            "circulation": (before[0], after[1]),
            "force_square": (push, push),
            "force_position": (push, before[0]),
        }
        for place, name in enumerate(MOMENTS):
            match values.get(name, ()):
                case (one,):
                    terms[:, place].copy_(one)
                case (one, other):
                    torch.mul(one, other, out=terms[:, place])
        terms[:, MOMENTS.index("circulation")].sub_(before[1] * after[0])
        for slot in slots:
            self.tensors["projected_sums"].add_(terms[:, :, slot])
        position.copy_(x[:, last])
        velocity.copy_(v[:, last])

    def _write(self, slot: int) -> None:
        for operation in self.displace[slot]:
            operation()


class Walking(Group):
    """A group whose walk from the start is summed up as it goes.

    Args:
        shard: What is trained.
        rows: Places of this group's networks in the shard.
        device: Where the group computes.
        frame: The start and its directions.
        known: As for the group without.
    """

    def __init__(self, shard: Shard, rows: np.ndarray, device: torch.device, *, frame: Frame, **known: Any) -> None:
        self.frame = frame
        super().__init__(shard, rows, device, **known)

    def build(self) -> None:
        """As of the group without, and every update is taken note of."""
        super().build()
        local = "local_displacement" in self.shard.running
        columns = (self.column("learning_rate"), self.column("momentum"))
        self.walk = Walk(self.frame, self.tensors, *columns, local=local)
        self.follow(self.walk.note)

    def drop(self) -> None:
        """Let go of buffers and constants."""
        super().drop()
        self.walk = None

    def window(self, start: int, stop: int, *, accumulate: bool) -> None:
        """Do the updates start .. stop - 1 without looking."""
        self.walk.begin(start)
        super().window(start, stop, accumulate=accumulate)
        self.walk.settle()


class WalkingGroup(Walking, GradientGroup):
    """Networks with passes by hand."""


class WalkingModularGroup(Walking, ModularGroup):
    """Networks that are differentiated automatically."""
