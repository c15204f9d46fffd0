"""A group: some networks of a shard whose tensors lie side by side, stepped together in windows.

A window is stepped without looking. If some network came out of it with weights that are not finite, or with a batch
loss past the bound, the group goes back to where the window began and steps through it again in smaller and smaller
pieces: so a network's divergence is known to the step, costs nothing while nothing diverges, and never depends on where
windows begin. Dead networks leave the group. Windows are short at first, where most divergences are.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
import torch

from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.state import State

FIRST_WINDOW = 8
WINDOW = 256


class Group(ABC):
    """Networks that are stepped together.

    One network alone may meet other library kernels than two or more; so a group of small networks has at least two
    rows, the second a copy that nobody reads, while networks past half the footprint are always stepped alone.

    Args:
        shard: What is trained.
        rows: Places of this group's networks in the shard.
        names: Names of the state's arrays that this group needs.
        device: Where the group computes.
        alone: Whether networks of this size are always stepped alone.
    """

    def __init__(
        self, shard: Shard, rows: np.ndarray, names: Iterable[str], device: torch.device, *, alone: bool
    ) -> None:
        self.shard, self.rows, self.names = shard, rows, tuple(names)
        self.device, self.alone = device, alone
        self.tensors: dict[str, torch.Tensor] = {}
        self.kept: dict[str, torch.Tensor] = {}

    @property
    def places(self) -> np.ndarray:
        """Places in the shard of all rows, the copy of a lonely small network included."""
        return np.repeat(self.rows, 2) if len(self.rows) == 1 and not self.alone else self.rows

    def column(self, name: str) -> np.ndarray:
        """One of the shard's columns for all rows."""
        return self.shard.networks[name][self.places]

    def load(self, state: State) -> None:
        """Take the networks' arrays from the state to the device; those that have diverged stay behind.

        All lasting memory is taken here, so that a device too small says so before anything has moved.
        """
        self.rows = self.rows[state.alive[self.rows]]
        if len(self.rows):
            places = self.places
            self.tensors = {name: self.lay(name, state.arrays[name][places]) for name in self.names}
            self.kept = {name: torch.empty_like(tensor) for name, tensor in self.tensors.items()}
            self.build()

    def save(self, state: State) -> None:
        """Bring the networks' arrays back to the state."""
        for name, tensor in self.tensors.items():
            state.arrays[name][self.rows] = self.unlay(name, tensor[: len(self.rows)])

    def lay(self, name: str, array: np.ndarray) -> torch.Tensor:
        """A tensor of this group from rows of one of the state's arrays."""
        return torch.tensor(array, device=self.device)

    def unlay(self, name: str, tensor: torch.Tensor) -> np.ndarray:
        """The inverse of `lay`."""
        return tensor.cpu().numpy()

    def release(self) -> None:
        """Give the device's memory back."""
        self.tensors, self.kept = {}, {}
        self.drop()

    def advance(self, state: State, stop: int, *, accumulate: bool) -> None:
        """Step the networks from the state's step to `stop`.

        Args:
            state: Takes the networks that diverge; its step is not changed.
            stop: The step to reach.
            accumulate: Whether the steps add to the running observables.
        """
        step = state.step
        while step < stop and len(self.rows):
            end = min(stop, window_end(step))
            _copy(self.tensors, self.kept)
            self.window(step, end, accumulate=accumulate)
            if not bool(self.sound().all()):
                self._look(state, step, end, accumulate=accumulate)
            step = end

    def _look(self, state: State, start: int, stop: int, *, accumulate: bool) -> None:
        """Go through a window again in smaller and smaller pieces, and bury what diverges in it.

        Args:
            state: Takes the networks that diverge.
            start: First step of the window; the tensors stand there, and so does what is kept.
            stop: The window's end, which some networks do not reach soundly.
            accumulate: Whether the steps add to the running observables.
        """
        doomed = ~self.sound()
        _copy(self.kept, self.tensors)
        dead, step, late = torch.zeros_like(doomed), start, stop  # all that are not dead are sound until `step`
        while step < stop and (left := int((doomed & ~dead).sum())):
            end = step + max(1, (late - step) // (left + 1))
            self.window(step, end, accumulate=accumulate)
            fresh = ~self.sound() & ~dead
            if bool(fresh.any()) and end > step + 1:
                late = end
                _copy(self.kept, self.tensors)
                continue
            self._bury(state, end, fresh)
            dead |= fresh
            step, late = end, late if end < late else stop
            _copy(self.tensors, self.kept)
        if step < stop:
            self.window(step, stop, accumulate=accumulate)
        self._save_alive(state)
        self.load(state)

    def _bury(self, state: State, step: int, fresh: torch.Tensor) -> None:
        """Note the networks that a step has made diverge, with their arrays from before it."""
        for place in np.flatnonzero(fresh[: len(self.rows)].cpu().numpy()):
            row = self.rows[place]
            state.diverged_at[row] = step
            for name, tensor in self.kept.items():
                state.arrays[name][row] = self.unlay(name, tensor[place : place + 1])[0]

    def _save_alive(self, state: State) -> None:
        """Bring back the arrays of the networks that have not diverged."""
        kept = np.flatnonzero(state.alive[self.rows])
        for name, tensor in self.tensors.items():
            state.arrays[name][self.rows[kept]] = self.unlay(name, tensor[: len(self.rows)])[kept]

    @abstractmethod
    def build(self) -> None:
        """Make everything beside the tensors that stepping needs."""

    @abstractmethod
    def drop(self) -> None:
        """Let go of what `build` made."""

    @abstractmethod
    def window(self, start: int, stop: int, *, accumulate: bool) -> None:
        """Do the updates start .. stop - 1 without looking."""

    @abstractmethod
    def sound(self) -> torch.Tensor:
        """Which rows came soundly out of the last window, (rows,)."""


def window_end(step: int) -> int:
    """Where the window that holds a step ends: windows are short at first, since most divergences are early ones.

    Args:
        step: The step.

    Returns:
        FIRST_WINDOW, twice that and so on up to WINDOW, then the multiples of WINDOW.
    """
    end = FIRST_WINDOW
    while end <= step and end < WINDOW:
        end *= 2
    return end if step < end else (step // WINDOW + 1) * WINDOW


def finite_rows(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """Rows of which every number in every tensor is finite.

    Args:
        tensors: Each (rows, ...).

    Returns:
        Boolean tensor (rows,).
    """
    verdict = None
    for tensor in tensors:
        finite = torch.isfinite(tensor).flatten(1).all(dim=1)
        verdict = finite if verdict is None else verdict & finite
    return verdict


def _copy(source: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> None:
    for name, tensor in source.items():
        target[name].copy_(tensor)
