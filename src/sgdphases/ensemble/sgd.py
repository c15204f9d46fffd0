"""Stochastic gradient descent with heavy-ball momentum on a group of multilayer networks.

v <- momentum * v - (gradient + weight_decay * w + noise); w <- w + learning_rate * v. Weight decay acts on weights,
not on biases. Without momentum, decay and noise this is w <- w - learning_rate * gradient, and the learning rate is
multiplied into the deltas, so that one batched product updates a layer.

Networks too large to lie side by side are stepped alone, with the learning rate and its like as plain numbers.

Every elementwise operation here either rounds once or runs on whole padded buffers, and every product is one small
matrix product per network on one thread: so a network's bits do not depend on its neighbours.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from sgdphases.ensemble.buffers import Buffer, halving_sum
from sgdphases.ensemble.data import Batches, Data
from sgdphases.ensemble.groups import Group, finite_rows
from sgdphases.ensemble.losses import gradient_factor, loss_factor, loss_terms, residual_in_place
from sgdphases.ensemble.networks import activation_operations
from sgdphases.ensemble.noise import SymmetricNoise
from sgdphases.ensemble.shard import Shard

Operation = Callable[[], Any]  # one piece of a step, with everything it works on; a step is a list of them


@dataclass
class Layer:
    """One layer of all networks of a group, with the buffers it works in.

    Attributes:
        number: The layer's number.
        weights: (rows, out, in); maybe a view of `stored`.
        stored: The weights as they lie in memory: (rows, out, in), or (rows, in, out) if `turned`.
        inputs: Its input of the current batch, (rows, batch, in).
        outputs: Preactivations, then activations; of the last layer outputs, then deltas.
        slopes: f'(z); None where nothing below needs it or it is 1.
        deltas: Derivatives by the preactivations, in `outputs` for the last layer.
        bias: (rows, 1, out), or None.
        scratch: A gradient, shaped like `stored`; None for frozen layers.
        turned: Whether `stored` has the inputs before the outputs.
    """

    number: int
    weights: torch.Tensor
    stored: torch.Tensor
    inputs: torch.Tensor
    outputs: Buffer
    deltas: Buffer
    slopes: Buffer | None = None
    bias: torch.Tensor | None = None
    scratch: torch.Tensor | None = None
    turned: bool = False
    transposed: torch.Tensor = field(init=False)
    left: torch.Tensor = field(init=False)
    right: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.transposed = self.weights.transpose(1, 2)
        if self.scratch is None:  # frozen: a copy that stays right
            self.transposed = self.transposed.contiguous()
        left, right = (self.inputs, self.deltas.view) if self.turned else (self.deltas.view, self.inputs)
        self.left, self.right = left.transpose(1, 2), right


class GradientGroup(Group):
    """A group trained by stochastic gradient descent.

    Its networks share the loss and which of momentum, weight decay, noise and output scale are neutral, and whether
    the learning rate is zero: see `kind_of_row`.

    Args:
        shard: What is trained.
        rows: Places of this group's networks in the shard.
        device: Where the group computes.
        alone: Whether networks of this size are always stepped alone.
        data: Data of all tasks.
        tasks: Task per seed, for the frozen layers.
    """

    def __init__(
        self,
        shard: Shard,
        rows: np.ndarray,
        device: torch.device,
        *,
        alone: bool,
        data: Data,
        tasks: Mapping[int, Any],
    ) -> None:
        first = shard.select(rows[0]).networks
        self.loss = str(first["loss"][0])
        self.has = {name: bool(first[name][0] != 0) for name in ("momentum", "weight_decay", "noise_scale")}
        self.scaled = bool(first["output_scale"][0] != 1)
        self.still = bool(first["learning_rate"][0] == 0) and not any(self.has.values())
        self.plain = not any(self.has.values())
        self.data, self.tasks = data, tasks
        super().__init__(shard, rows, _names(shard, momentum=self.has["momentum"]), device, alone=alone)

    def build(self) -> None:
        """Allocate the layers' buffers and the constants of the networks."""
        shard, network = self.shard, self.shard.network
        columns = {name: column[self.places] for name, column in shard.networks.items()}
        self.batches: Batches = self.data.batches(columns, self.device)
        outputs = network.widths[-1]
        self.loss_factor = loss_factor(self.loss, shard.batch_size, outputs)
        slope = gradient_factor(self.loss, shard.batch_size, outputs)
        if self.plain and not self.still:
            factor = -columns["learning_rate"] * slope * columns["output_scale"]
        else:
            factor = -slope * columns["output_scale"]
        self.factor = self._constant(factor)
        self.constants = {
            name: self._constant(columns[name])
            for name in ("learning_rate", "momentum", "weight_decay", "output_scale")
        }
        self.numbers = {name: float(columns[name][0]) for name in self.constants}
        self.single = self.alone and len(self.places) == 1
        self.layers = self._layers()
        self.ones = torch.ones((len(self.places), 1, shard.batch_size), dtype=self._dtype, device=self.device)
        self.worst = torch.zeros(len(self.places), dtype=torch.float64, device=self.device)
        self.noise = SymmetricNoise(shard, self.places, self.device) if self.has["noise_scale"] else None
        self.forward = self._forward()
        self.backward, self.quick_backward = self._backward(quick=False), self._backward(quick=True)
        trained = [layer for layer in self.layers if layer.scratch is not None]
        self.quick_updates = {layer.number: self._quick_update(layer) for layer in trained}

    def lay(self, name: str, array: np.ndarray) -> torch.Tensor:
        """A tensor of this group; the lowest layer's matrices are turned, which makes the forward product faster.

        In the layers above, whose deltas are handed down through them, that product would lose what this one wins.

        Args:
            name: Name of the array.
            array: Rows of the state's array.

        Returns:
            The tensor, (rows, in, out) for matrices of the lowest layer.
        """
        tensor = super().lay(name, array)
        return tensor.transpose(1, 2).contiguous() if self._turns(name) else tensor

    def unlay(self, name: str, tensor: torch.Tensor) -> np.ndarray:
        """The inverse of `lay`."""
        return super().unlay(name, tensor.transpose(1, 2) if self._turns(name) else tensor)

    def _turns(self, name: str) -> bool:
        kind, _, layer = name.rpartition("_")
        return kind in ("weights", "velocity", "gradient") and int(layer) == self.data.lowest

    def drop(self) -> None:
        """Let go of buffers and constants."""
        self.layers, self.constants, self.quick_updates = [], {}, {}
        self.forward, self.backward, self.quick_backward = [], [], []
        self.batches = self.noise = None

    def window(self, start: int, stop: int, *, accumulate: bool) -> None:
        """Do the updates start .. stop - 1 without looking."""
        self.batches.prepare(start, stop)
        self.worst.zero_()
        running = self.shard.running if accumulate else ()
        self.summing = "epoch_gradient_norm" in running
        observed = "epoch_train_loss" in running or self.shard.bound is not None
        backward = self.backward if self.summing or not self.plain else self.quick_backward
        fetch, forward = self.batches.fetch, self.forward
        for self.step in range(start, stop):
            fetch(self.step)
            for operation in forward:
                operation()
            if observed:
                self._observe(wanted="epoch_train_loss" in running)
            for operation in backward:
                operation()

    def sound(self) -> torch.Tensor:
        """Rows whose weights are finite and whose batch losses stayed within the bound."""
        names = [f"{kind}_{layer}" for layer in self.shard.network.trained_layers for kind in ("weights", "bias")]
        verdict = finite_rows(self.tensors[name] for name in names if name in self.tensors)
        if self.shard.bound is not None:
            verdict &= self.worst <= self.shard.bound
        return verdict

    @property
    def _dtype(self) -> torch.dtype:
        return getattr(torch, self.shard.dtype)

    def _constant(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=self._dtype, device=self.device)[:, None, None]

    def _layers(self) -> list[Layer]:
        """The layers from the first trained one on."""
        network, layers = self.shard.network, []
        inputs = self.batches.inputs
        first, last = self.data.lowest, network.layers - 1
        for number in range(first, network.layers):
            shape = (len(self.places), self.shard.batch_size, network.widths[number + 1])
            outputs = Buffer(shape, self._dtype, self.device)
            bent = number < last and network.activation != "linear"
            bias = self.tensors.get(f"bias_{number}")
            trained = network.trained[number]
            stored = self.tensors[f"weights_{number}"] if trained else self._frozen(number)
            turned = number == first
            layer = Layer(
                number=number,
                weights=stored.transpose(1, 2) if turned else stored,
                stored=stored,
                inputs=inputs,
                outputs=outputs,
                slopes=Buffer(shape, self._dtype, self.device) if bent else None,
                deltas=outputs if number == last else Buffer(shape, self._dtype, self.device),
                bias=None if bias is None else bias[:, None, :],
                scratch=torch.empty_like(stored) if trained else None,
                turned=turned,
            )
            layers.append(layer)
            inputs = outputs.view
        return layers

    def _frozen(self, number: int) -> torch.Tensor:
        """Weights of a frozen layer for all rows."""
        stacked = np.stack([self.tasks[seed].frozen[number] for seed in self.column("seed_task").tolist()])
        return torch.as_tensor(stacked, dtype=self._dtype, device=self.device)

    def _forward(self) -> list[Operation]:
        """What fills the activations and slopes of all layers from the batch."""
        operations: list[Operation] = []
        last = self.layers[-1]
        for layer in self.layers:
            operations.append(partial(torch.bmm, layer.inputs, layer.transposed, out=layer.outputs.view))
            if layer.bias is not None:
                operations.append(partial(layer.outputs.view.add_, layer.bias))
            if layer is not last:
                slopes = None if layer.slopes is None else layer.slopes.flat
                operations += activation_operations(layer.outputs.flat, slopes, self.shard.network.activation)
        if self.scaled:
            operations.append(partial(last.outputs.view.mul_, self.constants["output_scale"]))
        return operations

    def _backward(self, *, quick: bool) -> list[Operation]:
        """What walks down from the output, updating each trained layer once its deltas have been handed down."""
        output = self.layers[-1].outputs.view
        operations = [
            partial(residual_in_place, output, self.batches.targets, self.loss),
            partial(output.mul_, self.factor),
        ]
        for below, layer in reversed(list(zip([None, *self.layers[:-1]], self.layers, strict=True))):
            if below is not None:
                down = torch.mul if layer.weights.shape[1] == 1 else torch.bmm
                operations.append(partial(down, layer.deltas.view, layer.weights, out=below.deltas.view))
                if below.slopes is not None:
                    operations.append(partial(below.deltas.flat.mul_, below.slopes.flat))
            if layer.scratch is not None:
                operations += self._quick_update(layer) if quick else [partial(self._update, layer)]
        return operations

    def _quick_update(self, layer: Layer) -> list[Operation]:
        """What updates one layer without momentum, decay, noise and running sums."""
        if self.still:
            return []
        if self.shard.batch_size == 1:  # a product of rank one is exact; fused with the sum it rounds differently
            operations = [
                partial(torch.bmm, layer.left, layer.right, out=layer.scratch),
                partial(layer.stored.add_, layer.scratch),
            ]
        else:
            operations = [partial(layer.stored.baddbmm_, layer.left, layer.right)]
        if layer.bias is not None:
            push = torch.empty_like(layer.bias)
            operations.append(partial(torch.bmm, self.ones, layer.deltas.view, out=push))
            operations.append(partial(layer.bias.add_, push))
        return operations

    def _observe(self, *, wanted: bool) -> None:
        """Add the batch loss to the running sums and keep the worst one."""
        terms = loss_terms(self.layers[-1].outputs.view, self.batches.targets, self.loss)
        if wanted:
            self.tensors["terms"].add_(terms)
        if self.shard.bound is not None:
            torch.maximum(self.worst, halving_sum(terms).mul_(self.loss_factor), out=self.worst)

    def _update(self, layer: Layer) -> None:
        """Update one layer's weights and bias, whatever its networks need."""
        if self.summing or not (self.plain or self.single):
            torch.bmm(layer.left, layer.right, out=layer.scratch)
        if self.summing:
            self.tensors[f"gradient_{layer.number}"].add_(layer.scratch)
        if self.plain:
            for operation in self.quick_updates[layer.number]:
                operation()
            return
        if self.single:
            self._move_single(layer)
        else:
            self._move(layer, layer.scratch)
        if layer.bias is not None:
            self._move_bias(layer, torch.bmm(self.ones, layer.deltas.view))

    def _move(self, layer: Layer, push: torch.Tensor) -> None:
        """Heavy ball on weights; `push` is minus the gradient and is overwritten."""
        if self.has["weight_decay"]:
            push.sub_(layer.stored * self.constants["weight_decay"])
        if self.noise is not None:
            push.sub_(self.noise.at(layer.number, self.step))
        if self.has["momentum"]:
            velocity = self.tensors[f"velocity_{layer.number}"]
            velocity.mul_(self.constants["momentum"]).add_(push)
            torch.mul(velocity, self.constants["learning_rate"], out=push)
        else:
            push.mul_(self.constants["learning_rate"])
        layer.stored.add_(push)

    def _move_single(self, layer: Layer) -> None:
        """The same for the weights of one large network, in as few passes over the memory as there can be."""
        velocity = layer.scratch
        if self.has["momentum"]:
            velocity = self.tensors[f"velocity_{layer.number}"]
            velocity.baddbmm_(layer.left, layer.right, beta=self.numbers["momentum"])
        else:
            torch.bmm(layer.left, layer.right, out=velocity)
        if self.has["weight_decay"]:
            velocity.add_(layer.stored, alpha=-self.numbers["weight_decay"])
        if self.noise is not None:
            velocity.sub_(self.noise.at(layer.number, self.step))
        layer.stored.add_(velocity, alpha=self.numbers["learning_rate"])

    def _move_bias(self, layer: Layer, push: torch.Tensor) -> None:
        """Heavy ball on a bias, which neither decays nor is shaken."""
        if self.has["momentum"]:
            velocity = self.tensors[f"bias_velocity_{layer.number}"][:, None, :]
            velocity.mul_(self.constants["momentum"]).add_(push)
            push = velocity
        layer.bias.add_(push * self.constants["learning_rate"])


def kind_of_row(shard: Shard, row: int) -> tuple[Any, ...]:
    """What networks of one group must have in common, so that each does exactly the operations that it needs.

    Args:
        shard: What is trained.
        row: Place of a network.

    Returns:
        A key; networks with equal keys may be stepped together.
    """
    columns = shard.networks
    neutral = tuple(bool(columns[name][row] == 0) for name in ("momentum", "weight_decay", "noise_scale"))
    return (
        str(columns["loss"][row]),
        *neutral,
        bool(columns["output_scale"][row] == 1),
        bool(columns["learning_rate"][row] == 0),
    )


def gradient_unit(shard: Shard) -> np.ndarray:
    """What the sums in gradient_<l> are multiples of: minus the learning rate where it is multiplied into the deltas.

    Args:
        shard: What is trained.

    Returns:
        Factor per network, (networks,).
    """
    columns = shard.networks
    plain = (columns["momentum"] == 0) & (columns["weight_decay"] == 0) & (columns["noise_scale"] == 0)
    return np.where(plain & (columns["learning_rate"] != 0), -columns["learning_rate"], -1.0)


def _names(shard: Shard, *, momentum: bool) -> Iterable[str]:
    """Names of the state's arrays that a group needs."""
    network, names = shard.network, []
    for layer in network.trained_layers:
        kinds = ["weights"] + ["velocity"] * momentum + ["gradient"] * ("epoch_gradient_norm" in shard.running)
        kinds += (["bias"] + ["bias_velocity"] * momentum) if network.bias[layer] else []
        names += [f"{kind}_{layer}" for kind in kinds]
    return names + ["terms"] * ("epoch_train_loss" in shard.running)
