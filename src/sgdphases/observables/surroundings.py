"""What surrounds a start: directions of the Hessian there, curvature along them, and the noise of gradients.

Float64, over all training samples, of the loss without weight decay, which is added where the name says gradient.
"""

import logging
import math
from collections.abc import Iterator
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
from sgdphases.observables.minimum import DENSE, decaying, parabola_minimum, value_and_gradient
from sgdphases.observables.subspace import subspace

RESIDUALS = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Share of an eigenvalue that is allowed to its residual, by the type in which products are made."""

PROBES = 100
"""Random vectors of the estimate of a trace."""

COLUMNS = 2**27
"""Numbers of such vectors that are held at once."""

CHUNK = 2**24
"""Numbers of gradients of single samples that are held at once."""

AT_ONCE = 128
"""Samples that a modular network reads at once."""

DIRECTIONS, TRACE, BATCHES, AWAY = 3001, 3002, 3003, 3004
"""Tags of streams (`ensemble.streams`)."""

Array = np.ndarray
log = logging.getLogger(__name__)


def landscape_of(
    shard: Shard,
    task: Any,
    start: Start,
    *,
    samples: int | None = None,
    together: int = AT_ONCE,
    device: str = "cpu",
) -> Landscape:
    """The training loss around a start.

    Args:
        shard: One network; its loss and architecture count.
        task: What it is trained on.
        start: Where.
        samples: Training samples, the first ones, that it is the loss of; all if not given.
        together: Samples of a batch, as far as norm batch is concerned.
        device: Where the network and the samples are.

    Returns:
        The loss, of modular networks in the shard's floating-point type, of others in float64.
    """
    network = shard.network
    layers, made = range(network.layers), {"dtype": torch.float64, "device": device}
    modular = {}
    if network.norm == "batch":  # whole batches alone
        samples = min(samples or len(task.inputs), len(task.inputs)) // together * together
    if network.modular:
        made["dtype"] = getattr(torch, shard.dtype)
        modular = {"architecture": network, "chunk": together if network.norm == "batch" else AT_ONCE}
    inputs, targets = (part[:samples] for part in (task.inputs, task.targets))
    return Landscape(
        weights=[torch.tensor(start.weights[layer], **made) for layer in layers],
        biases=[torch.tensor(start.biases[layer], **made) if layer in start.biases else None for layer in layers],
        units=[network.unit(layer) for layer in layers],
        trained=list(network.trained),
        activation=network.activation,
        output_factor=float(shard.output_factor[0]),
        inputs=torch.tensor(np.asarray(inputs), **made),
        targets=torch.tensor(as_numbers(targets, network.widths[-1]), **made),
        reference=None,
        loss=str(shard.networks["loss"][0]),
        geometries=list(network.geometries),
        **modular,
    )


def surroundings(
    landscape: Landscape,
    *,
    hessian: int,
    random: int,
    weight_decay: float,
    noise: dict[str, Any],
    seed: int,
    method: str = "lanczos",
    probes: int = PROBES,
) -> tuple[Array, dict[str, Array]]:
    """Directions at a start, and what is measured there once.

    Args:
        landscape: The loss around the start.
        hessian: How many leading eigenvectors of the Hessian are directions.
        random: How many random vectors, orthogonal to these, follow.
        weight_decay: Coefficient in the gradient.
        noise: batches and batch_size: from how many the covariance is estimated; exact for 0 batches. at: "minimum" for
            the noise at the minimum of the parabola around the start; else it is that at the start.
        seed: Of random vectors.
        method: lanczos, or subspace for eigenvectors as the paper has them.
        probes: Random vectors of the estimate of the trace; 0 for neither trace nor lowest eigenvalue, NaN then.

    Returns:
        Orthonormal columns (parameters, modes), and the variables of `storage.start.MEANINGS`.

    Raises:
        ValueError: If there are fewer parameters than directions, or the iterations do not settle.
    """
    flat, decay = landscape.flat.astype(np.float64), weight_decay * decaying(landscape)
    if hessian + random > len(flat):
        raise ValueError(f"directions: {hessian + random} are more than {len(flat)} parameters")
    with alone():
        value, gradient = value_and_gradient(landscape, decay)
    found: dict[str, Any] = {
        "start_loss": value - float(decay @ flat**2) / 2,
        "start_gradient_norm": np.linalg.norm(gradient),
        "start_weight_norm": flat @ flat,
    }
    known, spectrum = _spectrum(landscape, hessian, seed, probes)
    if method == "subspace" and hessian:
        with alone():
            known = subspace(landscape.hessian().to_scipy().matmat, len(flat), hessian, seed).vectors
    directions = _completed(known, random, seed)
    found |= spectrum | _along(landscape, directions) | {"gradient": directions.T @ gradient}
    if spectrum["curvature_bottom"] + weight_decay < 0:
        log.warning("the start is no minimum: the Hessian's lowest eigenvalue is %.3g", spectrum["curvature_bottom"])
    place = parabola_minimum(landscape, decay) if noise.get("at") == "minimum" else landscape
    if noise["batches"]:
        found |= _noise_of_batches(place, directions, noise["batches"], noise["batch_size"], seed)
    else:
        found |= _noise_of_samples(place, directions)
    return directions, {name: np.asarray(values) for name, values in found.items()}


def displaced(landscape: Landscape, *, length: float, modes: int, seed: int) -> Landscape:
    """Move away along leading eigenvectors of the Hessian, by a combination of them that is drawn at random.

    Args:
        landscape: The loss around a minimum.
        length: How far.
        modes: How many eigenvectors are combined.
        seed: Of the combination.

    Returns:
        The loss around the new place.

    Raises:
        ValueError: If there are fewer parameters than modes, or the iterations do not settle.
    """
    if modes > len(landscape.flat):
        raise ValueError(f"displaced: {modes} modes are more than {len(landscape.flat)} parameters")
    known, _ = _spectrum(landscape, modes, seed)
    drawn = generator(seed, AWAY, 0).standard_normal(modes)
    way = _completed(known, 0, seed) @ (drawn / np.linalg.norm(drawn))
    return landscape.moved(landscape.flat + length * way)


def _spectrum(landscape: Landscape, count: int, seed: int, probes: int = PROBES) -> tuple[Array, dict[str, float]]:
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
            values, vectors, _ = leading(operator, count, seed, residual=RESIDUALS[landscape.inputs.dtype])
            if not np.isfinite(values).all():
                raise ValueError(f"directions: the {count} leading eigenvectors of the Hessian are not found")
        if not probes:
            words = ("curvature_trace", "curvature_trace_error", "curvature_bottom")
            return vectors, dict.fromkeys(words, math.nan)
        terms = np.concatenate(list(_trace_terms(operator.to_scipy(), probes, seed)))
        trace = {"curvature_trace": terms.mean(), "curvature_trace_error": terms.std(ddof=1) / math.sqrt(probes)}
        return vectors, trace | {"curvature_bottom": extreme(operator, "bottom", seed)}


def _trace_terms(matrix: Any, probes: int, seed: int) -> Iterator[Array]:
    """z^T H z of random signs z (Hutchinson), as many at once as the memory allows."""
    size, most = matrix.shape[0], max(1, COLUMNS // matrix.shape[0])
    for number, first in enumerate(range(0, probes, most)):
        count = min(most, probes - first)
        signs = generator(seed, TRACE, number).integers(2, size=(size, count)) * 2.0 - 1
        yield (signs * matrix.matmat(signs)).sum(axis=0)


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
    columns = torch.tensor(directions, device=landscape.inputs.device)
    size, samples = len(directions), len(landscape.inputs)
    mean, square, projected = torch.zeros(size, dtype=torch.float64, device=columns.device), 0.0, []
    with alone():
        for inputs, targets in zip(*(part.split(max(1, CHUNK // size)) for part in _data(landscape)), strict=True):
            parts = gradients_of(parameters, inputs, targets)
            gradients = torch.cat([part.flatten(1) for part in parts.values()], dim=1).double()
            mean += gradients.sum(0) / samples
            square += float((gradients**2).sum()) / samples
            projected.append((gradients @ columns).cpu().numpy())
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
