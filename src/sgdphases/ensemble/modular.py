"""Stochastic gradient descent with heavy-ball momentum on a group of modular networks, by automatic differentiation.

v <- momentum * v - (gradient + weight_decay * w); w <- w + learning_rate * v. Weight decay acts on weights, those of a
normalisation (its gain) among them, not on biases. The derivative of the loss by the output is the house's own, so that
losses, their factors and the output scale are those of `ensemble.losses`; what is differentiated is the sum of all
networks' losses, which has each network's own gradient.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from sgdphases.ensemble.buffers import Buffer, halving_sum
from sgdphases.ensemble.groups import Group, finite_rows
from sgdphases.ensemble.kinds import array_names
from sgdphases.ensemble.layers import Operation
from sgdphases.ensemble.losses import gradient_factor, loss_factor, loss_terms, residual_in_place
from sgdphases.ensemble.modules import outputs
from sgdphases.ensemble.shard import Shard


class ModularGroup(Group):
    """A group of networks that share the loss and which of momentum and weight decay are neutral: see `kind_of_row`.

    Args:
        shard: What is trained.
        rows: Places of this group's networks in the shard.
        device: Where the group computes.
        alone: Whether networks of this size are always stepped alone.
        data: Data of all tasks, `data.Data` or `images.ImageData`.
        tasks: Task per seed; not used.
    """

    def __init__(
        self, shard: Shard, rows: np.ndarray, device: torch.device, *, alone: bool, data: Any, tasks: Mapping[int, Any]
    ) -> None:
        first = shard.select(rows[0]).networks
        self.loss = str(first["loss"][0])
        self.has = {name: bool(first[name][0] != 0) for name in ("momentum", "weight_decay")}
        self.data, self.after = data, []
        super().__init__(shard, rows, array_names(shard, momentum=self.has["momentum"]), device, alone=alone)

    def build(self) -> None:
        """Allocate what a step needs beside the weights."""
        shard, network = self.shard, self.shard.network
        columns = {name: column[self.places] for name, column in shard.networks.items()}
        self.batches = self.data.batches(columns, self.device)
        size, count = network.widths[-1], len(self.places)
        dtype = getattr(torch, shard.dtype)
        self.output = Buffer((count, shard.batch_size, size), dtype, self.device)
        self.loss_factor = loss_factor(self.loss, shard.batch_size, size)
        factor = shard.output_factor[self.places]
        constant = partial(torch.as_tensor, dtype=dtype, device=self.device)
        self.scale = constant(factor)[:, None, None]
        self.factor = constant(-gradient_factor(self.loss, shard.batch_size, size) * factor)[:, None, None]
        self.constants = {
            name: constant(columns[name]) for name in ("learning_rate", "momentum", "weight_decay") if name in columns
        }
        self.numbers = {name: float(columns[name][0]) for name in self.constants}
        self.single = self.alone and count == 1
        self.worst = torch.zeros(count, dtype=torch.float64, device=self.device)
        self.after = []
        self._find_leaves()
        if self.device.type == "cuda":
            self.rehearse()

    def rehearse(self) -> None:
        """Take the memory of a step, and change nothing: a lack of it can be met by smaller groups now, not later."""
        self.batches.prepare(0, 1)
        self.batches.fetch(0)
        output = self._forward()
        torch.autograd.grad(output, list(self.leaves.values()), grad_outputs=torch.zeros_like(output))

    def _find_leaves(self) -> None:
        """What is differentiated by: the tensors themselves, which the updates change where they lie."""
        leaves = {}
        for name, tensor in self.tensors.items():
            kind, _, layer = name.rpartition("_")
            if kind in ("weights", "bias"):
                leaves[kind, int(layer)] = tensor.detach().requires_grad_(True)
        self.leaves = leaves
        self.weights, self.biases = (
            {layer: leaf for (kind, layer), leaf in leaves.items() if kind == wanted} for wanted in ("weights", "bias")
        )

    def follow(self, operation: Operation) -> None:
        """Let an operation be done after every update."""
        self.after.append(operation)

    def drop(self) -> None:
        """Let go of buffers and constants."""
        self.leaves, self.weights, self.biases, self.constants, self.after = {}, {}, {}, {}, []
        self.batches = self.output = None

    def window(self, start: int, stop: int, *, accumulate: bool) -> None:
        """Do the updates start .. stop - 1 without looking."""
        del accumulate  # no sums over epochs
        self.batches.prepare(start, stop)
        self.worst.zero_()
        for step in range(start, stop):
            self.batches.fetch(step)
            self._step(step)
            for operation in self.after:
                operation()

    def sound(self) -> torch.Tensor:
        """Rows whose weights are finite and whose batch losses stayed within the bound."""
        if self.single:  # in one pass over the memory: what is not finite shows in the largest or the smallest
            ends = [end for leaf in self.leaves.values() for end in torch.aminmax(leaf.detach())]
            verdict = torch.isfinite(torch.stack(ends)).all()[None]
        else:
            verdict = finite_rows(leaf.detach() for leaf in self.leaves.values())
        if self.shard.bound is not None:
            verdict &= self.worst <= self.shard.bound
        return verdict

    def _step(self, step: int) -> None:
        """One update of all networks."""
        output = self._forward()
        residual, targets = self.output.view, self.batches.targets
        torch.mul(output.detach(), self.scale, out=residual)
        self._observe(residual, targets, step)
        residual_in_place(residual, targets, self.loss)
        residual.mul_(self.factor)
        pushes = torch.autograd.grad(output, list(self.leaves.values()), grad_outputs=residual)
        for (kind, layer), push in zip(self.leaves, pushes, strict=True):
            self._move(kind, layer, push)

    def _forward(self) -> torch.Tensor:
        """Outputs of all networks, with what is needed to differentiate them."""
        with torch.enable_grad():
            return outputs(self.shard.network, self.weights, self.biases, self.batches.inputs)

    def _observe(self, output: torch.Tensor, targets: torch.Tensor, step: int) -> None:
        """Keep the batch loss, and the worst, where they are asked for."""
        wanted = "batch_loss" in self.shard.running
        if not wanted and self.shard.bound is None:
            return
        loss = halving_sum(loss_terms(output, targets, self.loss)).mul_(self.loss_factor)
        if wanted:
            self.tensors["batch_loss"][:, step] = loss
        if self.shard.bound is not None:
            torch.maximum(self.worst, loss, out=self.worst)

    def _move(self, kind: str, layer: int, push: torch.Tensor) -> None:
        """Heavy ball; `push` is minus the gradient and is overwritten."""
        stored, decay = self.tensors[f"{kind}_{layer}"], kind == "weights" and self.has["weight_decay"]
        velocity = None
        if self.has["momentum"]:
            velocity = self.tensors[f"{'velocity' if kind == 'weights' else 'bias_velocity'}_{layer}"]
        if self.single:  # numbers, so that no pass over the memory is needed for what they multiply
            numbers = self.numbers
            if decay:
                push.add_(stored, alpha=-numbers["weight_decay"])
            if velocity is not None:
                push = velocity.mul_(numbers["momentum"]).add_(push)
            stored.add_(push, alpha=numbers["learning_rate"])
            return
        shape = (-1, *(1,) * (stored.ndim - 1))
        if decay:
            push.sub_(stored * self.constants["weight_decay"].view(shape))
        if velocity is not None:
            push = velocity.mul_(self.constants["momentum"].view(shape)).add_(push)
        stored.add_(push * self.constants["learning_rate"].view(shape))
