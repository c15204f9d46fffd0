"""Stochastic gradient descent with heavy-ball momentum, or Adam, on a group of multilayer or convolutional networks.

v <- momentum * v - (gradient + weight_decay * w + noise); w <- w + learning_rate * v. Weight decay acts on weights,
not on biases. Adam (arXiv 1412.6980, algorithm 1) takes its beta_1 from `momentum`. Without momentum, decay and noise
this is w <- w - learning_rate * gradient, and the learning rate is multiplied into the deltas, so that one batched
product updates a layer.

Networks too large to lie side by side are stepped alone, with the learning rate and its like as plain numbers.

Every elementwise operation here either rounds once or runs on whole padded buffers, and every product is one small
matrix product per network on one thread: so a network's bits do not depend on its neighbours.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from sgdphases.ensemble.adam import adapt
from sgdphases.ensemble.buffers import Buffer, halving_sum
from sgdphases.ensemble.convolution import Convolution
from sgdphases.ensemble.data import Batches, Data
from sgdphases.ensemble.groups import Group, finite_rows
from sgdphases.ensemble.kinds import array_names
from sgdphases.ensemble.layers import Layer, Operation, stretched
from sgdphases.ensemble.losses import gradient_factor, loss_factor, loss_terms, residual_in_place
from sgdphases.ensemble.networks import activation_operations
from sgdphases.ensemble.noise import SymmetricNoise
from sgdphases.ensemble.shard import Shard

EPOCH_SUMS = {"epoch_train_loss", "epoch_train_accuracy", "epoch_gradient_norm"}


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
        self.adam = shard.update == "adam"
        self.diffusing = "weight_diffusion" in shard.running
        self.scaled = bool(shard.output_factor[rows[0]] != 1)
        self.still = bool(first["learning_rate"][0] == 0) and not any(self.has.values())
        self.plain = not (any(self.has.values()) or self.adam)
        self.data, self.tasks = data, tasks
        super().__init__(shard, rows, array_names(shard, momentum=self.has["momentum"]), device, alone=alone)

    def build(self) -> None:
        """Allocate the layers' buffers and the constants of the networks."""
        shard, network = self.shard, self.shard.network
        columns = {name: column[self.places] for name, column in shard.networks.items()}
        columns["output_factor"] = shard.output_factor[self.places]
        self.batches: Batches = self.data.batches(columns, self.device)
        outputs = network.widths[-1]
        self.loss_factor = loss_factor(self.loss, shard.batch_size, outputs)
        slope = gradient_factor(self.loss, shard.batch_size, outputs)
        rate = columns["learning_rate"] if self.plain and not self.still else 1.0
        self.factor = self._constant(-rate * slope * columns["output_factor"])
        self.constants = {
            name: self._constant(columns[name])
            for name in ("learning_rate", "momentum", "weight_decay", "output_factor")
        }
        self.rates = {
            layer: self._constant(columns["learning_rate"] * shard.network.step_factor(layer))
            for layer in network.trained_layers
        }
        self.numbers = {name: float(columns[name][0]) for name in self.constants}
        self.single = self.alone and len(self.places) == 1
        self.layers = self._layers()
        self.last_batch = self._last_batch()
        self.square = torch.empty((len(self.places), 1, 1), dtype=self._dtype, device=self.device)
        self.worst = torch.zeros(len(self.places), dtype=torch.float64, device=self.device)
        self.noise = SymmetricNoise(shard, self.places, self.device) if self.has["noise_scale"] else None
        self.forward = self._forward()
        output = self.layers[-1].outputs.view
        squares = [self._keep_squares] if "batch_loss" in shard.running and self.loss != "cross_entropy" else []
        self.residual: list[Operation] = [
            partial(residual_in_place, output, self.batches.targets, self.loss),
            *squares,
            partial(output.mul_, self.factor),
        ]
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
            The tensor, (rows, in, out) for matrices of the lowest layer if that is dense.
        """
        tensor = super().lay(name, array)
        return tensor.transpose(1, 2).contiguous() if self._turns(name) else tensor

    def unlay(self, name: str, tensor: torch.Tensor) -> np.ndarray:
        """The inverse of `lay`."""
        return super().unlay(name, tensor.transpose(1, 2) if self._turns(name) else tensor)

    def _turns(self, name: str) -> bool:
        kind, _, layer = name.rpartition("_")
        matrix = kind in ("weights", "velocity", "square", "gradient")
        return matrix and int(layer) == self.data.lowest and self.shard.network.geometries[int(layer)] is None

    def follow(self, operation: Operation) -> None:
        """Let an operation be done after every update."""
        self.backward, self.quick_backward = ([*each, operation] for each in (self.backward, self.quick_backward))

    def drop(self) -> None:
        """Let go of buffers and constants."""
        self.layers, self.constants, self.quick_updates = [], {}, {}
        self.forward, self.residual, self.backward, self.quick_backward = [], [], [], []
        self.batches = self.noise = None

    def window(self, start: int, stop: int, *, accumulate: bool) -> None:
        """Do the updates start .. stop - 1 without looking."""
        self.batches.prepare(start, stop)
        self.worst.zero_()
        sums = set(self.shard.running) & EPOCH_SUMS if accumulate else set()
        self.summing = "epoch_gradient_norm" in sums
        if "batch_loss" in self.shard.running and self.loss == "cross_entropy":
            sums.add("batch_loss")
        observed = sums - {"epoch_gradient_norm"} or self.shard.bound is not None
        slow = self.summing or self.diffusing or not self.plain
        backward = self.backward if slow else self.quick_backward
        fetch, forward, residual = self.batches.fetch, self.forward, self.residual
        rest, batches = self.data.sampler.rest, self.data.sampler.batches
        for self.step in range(start, stop):
            fetch(self.step)
            self.smaller = rest > 0 and self.step % batches == batches - 1
            for operation in forward:
                operation()
            if observed:
                self._observe(sums)
            for operation in residual:
                operation()
            if self.smaller:
                self.layers[-1].outputs.view.mul_(self.last_batch)
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

    def _last_batch(self) -> torch.Tensor:
        """Weight of each sample in a smaller last batch, (1, batch, 1): none for what only fills it up."""
        size, rest = self.shard.batch_size, self.data.sampler.rest
        weight = torch.zeros((1, size, 1), dtype=self._dtype, device=self.device)
        weight[:, :rest] = size / max(rest, 1)
        return weight

    def _layers(self) -> list[Layer]:
        """The layers from the first trained one on."""
        network, layers = self.shard.network, []
        inputs = self.batches.inputs
        first, last = self.data.lowest, network.layers - 1
        for number in range(first, network.layers):
            geometry, out = network.geometries[number], network.shape(number)[0]
            shape = (len(self.places), self.shard.batch_size, out)
            if geometry is not None:
                shape = (len(self.places), out, geometry.positions * self.shard.batch_size)
            outputs = Buffer(shape, self._dtype, self.device)
            bent = number < last and network.activation != "linear"
            bias = self.tensors.get(f"bias_{number}")
            trained = network.trained[number]
            stored = self.tensors[f"weights_{number}"] if trained else self._frozen(number)
            turned = number == first and geometry is None
            working = trained and "weight_work" in self.shard.running
            parts = {
                "number": number,
                "weights": stored.transpose(1, 2) if turned else stored,
                "stored": stored,
                "inputs": inputs,
                "outputs": outputs,
                "slopes": Buffer(shape, self._dtype, self.device) if bent else None,
                "deltas": outputs if number == last else Buffer(shape, self._dtype, self.device),
                "fields": torch.empty_like(outputs.view) if working else None,
                "bias": None if bias is None else bias.unsqueeze(1 if geometry is None else 2),
                "scratch": torch.empty_like(stored) if trained else None,
                "turned": turned,
                "rate": network.step_factor(number),
            }
            layers.append(Layer(**parts) if geometry is None else Convolution(**parts, geometry=geometry))
            inputs = layers[-1].handed_on
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
            operations += layer.product()
            if layer.fields is not None:
                operations.append(partial(layer.fields.copy_, layer.outputs.view))
            if layer.bias is not None:
                operations.append(partial(layer.outputs.view.add_, layer.bias))
            if layer is not last:
                slopes = None if layer.slopes is None else layer.slopes.flat
                operations += activation_operations(layer.outputs.flat, slopes, self.shard.network.activation)
            operations += layer.hand_on()
        if self.batches.reference is not None:
            operations.append(partial(last.outputs.view.sub_, self.batches.reference))
        if self.scaled:
            operations.append(partial(last.outputs.view.mul_, self.constants["output_factor"]))
        return operations

    def _backward(self, *, quick: bool) -> list[Operation]:
        """What walks down from the output, updating each trained layer once its deltas have been handed down."""
        operations: list[Operation] = []
        for below, layer in reversed(list(zip([None, *self.layers[:-1]], self.layers, strict=True))):
            operations += [] if below is None else below.hand_down(layer)
            if layer.fields is not None:
                operations.append(partial(self._work, layer))
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
                *stretched(layer.scratch, layer.rate),
                partial(layer.stored.add_, layer.scratch),
            ]
        else:
            operations = [partial(layer.stored.baddbmm_, layer.left, layer.right, alpha=layer.rate)]
        if layer.bias is not None:
            push = torch.empty_like(layer.bias)
            operations.append(partial(torch.bmm, *layer.summands, out=push))
            operations += stretched(push, layer.rate)
            operations.append(partial(layer.bias.add_, push))
        return operations

    def _observe(self, sums: set[str]) -> None:
        """Add the batch loss and the right answers to the running sums, keep it by itself, and keep the worst."""
        output, targets = self.layers[-1].outputs.view, self.batches.targets
        terms = loss_terms(output, targets, self.loss)
        if self.smaller:
            terms.mul_(self.last_batch)
        if "epoch_train_loss" in sums:
            self.tensors["terms"].add_(terms)
        if "epoch_train_accuracy" in sums:
            hits = (output.argmax(-1) == targets.argmax(-1)).double()
            self.tensors["hits"].add_(hits * self.last_batch[..., 0] if self.smaller else hits)
        if "batch_loss" in sums or self.shard.bound is not None:
            loss = halving_sum(terms).mul_(self.loss_factor)
        if "batch_loss" in sums:
            self.tensors["batch_loss"][:, self.step] = loss
        if self.shard.bound is not None:
            torch.maximum(self.worst, loss, out=self.worst)

    def _keep_squares(self) -> None:
        """Keep the batch loss where it is a sum of squares of what `residual_in_place` has left.

        A product of one row with one column for each network, so that no sum depends on the neighbours.
        """
        error = self.layers[-1].outputs.view
        if self.smaller:
            error = error * self.last_batch.sqrt()
        rows = error.shape[0]
        torch.bmm(error.view(rows, 1, -1), error.view(rows, -1, 1), out=self.square)
        torch.mul(self.square[:, 0, 0], self.loss_factor, out=self.tensors["batch_loss"][:, self.step])

    def _work(self, layer: Layer) -> None:
        """Add <W, push>, from W h and the deltas: the sum over samples of delta (W h)^T has that trace.

        A product of one row with one column for each network, so that no sum depends on the neighbours.
        """
        rows = layer.fields.shape[0]
        product = torch.bmm(layer.fields.view(rows, 1, -1), layer.deltas.view.reshape(rows, -1, 1))
        self.tensors[f"work_{layer.number}"].add_(product[:, :, 0])

    def _diffuse(self, layer: Layer, velocity: torch.Tensor) -> None:
        """Add the velocity's square, (rows, ...), if it is asked for."""
        if self.diffusing:
            rows = velocity.shape[0]
            square = torch.bmm(velocity.view(rows, 1, -1), velocity.view(rows, -1, 1))
            self.tensors[f"squares_{layer.number}"].add_(square[:, :, 0])

    def _update(self, layer: Layer) -> None:
        """Update one layer's weights and bias, whatever its networks need."""
        if self.summing or self.adam or not (self.plain or self.single) or (self.plain and self.diffusing):
            torch.bmm(layer.left, layer.right, out=layer.scratch)
        if self.summing:
            self.tensors[f"gradient_{layer.number}"].add_(layer.scratch)
        if self.plain and self.diffusing:
            self._diffuse(layer, layer.scratch)
        if self.plain:
            for operation in self.quick_updates[layer.number]:
                operation()
            return
        if self.single and not self.adam:
            self._move_single(layer)
        else:
            self._move(layer, layer.scratch)
        if layer.bias is not None:
            self._move_bias(layer, torch.bmm(*layer.summands))

    def _move(self, layer: Layer, push: torch.Tensor) -> None:
        """Heavy ball on weights; `push` is minus the gradient and is overwritten."""
        if self.has["weight_decay"]:
            push.sub_(layer.stored * self.constants["weight_decay"])
        if self.noise is not None:
            push.sub_(self.noise.at(layer.number, self.step))
        if self.adam:
            self._adapt(push, self.tensors[f"velocity_{layer.number}"], self.tensors[f"square_{layer.number}"])
        elif self.has["momentum"]:
            velocity = self.tensors[f"velocity_{layer.number}"]
            velocity.mul_(self.constants["momentum"]).add_(push)
            self._diffuse(layer, velocity)
            torch.mul(velocity, self.rates[layer.number], out=push)
        else:
            self._diffuse(layer, push)
            push.mul_(self.rates[layer.number])
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
        self._diffuse(layer, velocity)
        layer.stored.add_(velocity, alpha=self.numbers["learning_rate"] * layer.rate)

    def _adapt(self, push: torch.Tensor, velocity: torch.Tensor, square: torch.Tensor) -> None:
        """Turn `push`, minus a gradient, into Adam's step, moving both moments on."""
        # Powers by Python: a vector's ragged end would be rounded otherwise than its body.
        columns = (self.column(name).tolist() for name in ("learning_rate", "momentum"))
        count = self.step + 1
        rate = self._constant(np.array([eta / (1 - beta**count) for eta, beta in zip(*columns, strict=True)]))
        adapt(push, velocity, square, first=self.constants["momentum"], rate=rate, count=count)

    def _move_bias(self, layer: Layer, push: torch.Tensor) -> None:
        """Heavy ball or Adam on a bias, which neither decays nor is shaken."""
        if self.adam:
            moments = (self.tensors[f"{name}_{layer.number}"] for name in ("bias_velocity", "bias_square"))
            self._adapt(push, *(moment.view(push.shape) for moment in moments))
            layer.bias.add_(push)
            return
        if self.has["momentum"]:
            velocity = self.tensors[f"bias_velocity_{layer.number}"].view(push.shape)
            velocity.mul_(self.constants["momentum"]).add_(push)
            push = velocity
        layer.bias.add_(push * self.rates[layer.number])
