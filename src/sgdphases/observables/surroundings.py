"""What surrounds a start: directions of the Hessian there, curvature along them, and the noise of gradients.

Float64, over all training samples, of the loss without weight decay, which is added where the name says gradient.
"""

import logging
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.func import functional_call, grad, vmap

from sgdphases.ensemble.losses import as_numbers
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import Start
from sgdphases.ensemble.streams import generator
from sgdphases.observables.landscape import Landscape, alone, extreme, leading
from sgdphases.observables.minimum import decaying, value_and_gradient

DENSE = 2000
"""Parameters up to which the whole Hessian is computed."""

RESIDUAL = 1e-6
"""Share of an eigenvalue that is allowed to its residual."""

PROBES = 100
"""Random vectors of the estimate of a trace."""

CHUNK = 2**24
"""Numbers of gradients of single samples that are held at once."""

DIRECTIONS, TRACE, BATCHES = 3001, 3002, 3003
"""Tags of streams (`ensemble.streams`)."""

Array = np.ndarray
log = logging.getLogger(__name__)


def landscape_of(shard: Shard, task: Any, start: Start) -> Landscape:
    """The training loss around a start.

    Args:
        shard: One network; its loss and architecture count.
        task: What it is trained on.
        start: Where.

    Returns:
        The loss.
    """
    network = shard.network
    layers = range(network.layers)
    tensors = [torch.from_numpy(start.weights[layer]) for layer in layers]
    return Landscape(
        weights=tensors,
        biases=[torch.from_numpy(start.biases[layer]) if layer in start.biases else None for layer in layers],
        units=[network.unit(layer) for layer in layers],
        trained=list(network.trained),
        activation=network.activation,
        output_factor=float(shard.output_factor[0]),
        inputs=torch.tensor(task.inputs, dtype=torch.float64),
        targets=torch.tensor(as_numbers(task.targets, network.widths[-1]), dtype=torch.float64),
        reference=None,
        loss=str(shard.networks["loss"][0]),
        geometries=list(network.geometries),
    )


def surroundings(
    landscape: Landscape, *, hessian: int, random: int, weight_decay: float, noise: dict[str, int], seed: int
) -> tuple[Array, dict[str, Array]]:
    """Directions at a start, and what is measured there once.

    Args:
        landscape: The loss around the start.
        hessian: How many leading eigenvectors of the Hessian are directions.
        random: How many random vectors, orthogonal to these, follow.
        weight_decay: Coefficient in the gradient.
        noise: batches and batch_size: from how many the covariance is estimated; exact for 0 batches.
        seed: Of random vectors.

    Returns:
        Orthonormal columns (parameters, modes), and the variables of `storage.start.MEANINGS`.

    Raises:
        ValueError: If there are fewer parameters than directions, or the iterations do not settle.
    """
    flat, decay = landscape.flat, weight_decay * decaying(landscape)
    if hessian + random > len(flat):
        raise ValueError(f"directions: {hessian + random} are more than {len(flat)} parameters")
    value, gradient = value_and_gradient(landscape, decay)
    found: dict[str, Any] = {
        "start_loss": value - float(decay @ flat**2) / 2,
        "start_gradient_norm": np.linalg.norm(gradient),
        "start_weight_norm": flat @ flat,
    }
    known, spectrum = _spectrum(landscape, hessian, seed)
    directions = _completed(known, random, seed)
    found |= spectrum | _along(landscape, directions) | {"gradient": directions.T @ gradient}
    if spectrum["curvature_bottom"] + weight_decay < 0:
        log.warning("the start is no minimum: the Hessian's lowest eigenvalue is %.3g", spectrum["curvature_bottom"])
    if noise["batches"]:
        found |= _noise_of_batches(landscape, directions, noise["batches"], noise["batch_size"], seed)
    else:
        found |= _noise_of_samples(landscape, directions)
    return directions, {name: np.asarray(values) for name, values in found.items()}


def _spectrum(landscape: Landscape, count: int, seed: int) -> tuple[Array, dict[str, float]]:
    """Leading eigenvectors (parameters, count), and trace and lowest eigenvalue of the Hessian."""
    operator = landscape.hessian()
    size = operator.shape[0]
    with alone():
        if size <= DENSE:
            matrix = operator.to_scipy().matmat(np.eye(size))
            values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
            trace = {"curvature_trace": np.trace(matrix), "curvature_trace_error": 0.0, "curvature_bottom": values[0]}
            return vectors[:, ::-1][:, :count], trace
        vectors = np.empty((size, 0))
        if count:
            values, vectors, _ = leading(operator, count, seed, residual=RESIDUAL)
            if not np.isfinite(values).all():
                raise ValueError(f"directions: the {count} leading eigenvectors of the Hessian are not found")
        signs = generator(seed, TRACE, 0).integers(2, size=(size, PROBES)) * 2.0 - 1
        terms = (signs * operator.to_scipy().matmat(signs)).sum(axis=0)
        trace = {"curvature_trace": terms.mean(), "curvature_trace_error": terms.std(ddof=1) / math.sqrt(PROBES)}
        return vectors, trace | {"curvature_bottom": extreme(operator, "bottom", seed)}


def _completed(vectors: Array, random: int, seed: int) -> Array:
    """Columns turned so that the largest entry of each is positive, and random ones orthonormal to them."""
    drawn = generator(seed, DIRECTIONS, 0).standard_normal((len(vectors), random))
    for _ in range(2):  # once leaves round-off
        drawn = np.linalg.qr(drawn - vectors @ (vectors.T @ drawn))[0]
    columns = np.concatenate([vectors, drawn], axis=1)
    largest = np.take_along_axis(columns, np.abs(columns).argmax(axis=0)[None], axis=0)
    return columns * np.sign(largest)


def _along(landscape: Landscape, directions: Array) -> dict[str, Array]:
    """Curvature q^T H q along directions, and |H q - rho q|."""
    if not directions.shape[1]:
        return {"curvature": np.empty(0), "curvature_residual": np.empty(0)}
    with alone():
        images = landscape.hessian().to_scipy().matmat(directions)
    curvature = (directions * images).sum(axis=0)
    return {
        "curvature": curvature,
        "curvature_residual": np.linalg.norm(images - directions * curvature, axis=0),
    }


def _noise_of_samples(landscape: Landscape, directions: Array) -> dict[str, Array]:
    """Covariance of the gradients of single samples along directions, and its whole trace."""
    model = landscape.model()
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor], inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return landscape.loss_of(functional_call(model, parameters, (inputs[None],)), targets[None])

    gradients_of = vmap(grad(loss), in_dims=(None, 0, 0))
    columns = torch.from_numpy(np.ascontiguousarray(directions))
    size, samples = len(directions), len(landscape.inputs)
    mean, square, projected = torch.zeros(size, dtype=torch.float64), 0.0, []
    with alone():
        for inputs, targets in zip(*(part.split(max(1, CHUNK // size)) for part in _data(landscape)), strict=True):
            parts = gradients_of(parameters, inputs, targets)
            gradients = torch.cat([part.flatten(1) for part in parts.values()], dim=1)
            mean += gradients.sum(0) / samples
            square += float((gradients**2).sum()) / samples
            projected.append((gradients @ columns).numpy())
        return _covariance(np.concatenate(projected), freedom=0) | {"noise_trace": square - float(mean @ mean)}


def _noise_of_batches(landscape: Landscape, directions: Array, batches: int, size: int, seed: int) -> dict[str, Array]:
    """The same from the gradients of random batches, times their size."""
    inputs, targets = _data(landscape)
    chosen = generator(seed, BATCHES, 0).integers(len(inputs), size=(batches, size))
    mean, square, projected, none = np.zeros(len(directions)), 0.0, [], np.zeros(len(directions))
    with alone():
        for rows in map(torch.from_numpy, chosen):
            _, gradient = value_and_gradient(replace(landscape, inputs=inputs[rows], targets=targets[rows]), none)
            mean += gradient / batches
            square += gradient @ gradient / batches
            projected.append(gradient @ directions)
    found = _covariance(np.stack(projected), freedom=1)
    found = {name: size * values for name, values in found.items()}
    return found | {"noise_trace": size * (square - mean @ mean) * batches / (batches - 1)}


def _covariance(projected: Array, *, freedom: int) -> dict[str, Array]:
    """noise_matrix and its diagonal, of (gradients, modes)."""
    deviation = projected - projected.mean(axis=0)
    matrix = deviation.T @ deviation / (len(projected) - freedom)
    return {"noise_matrix": matrix, "noise": np.diag(matrix).copy()}


def _data(landscape: Landscape) -> tuple[torch.Tensor, torch.Tensor]:
    return landscape.inputs, landscape.targets
