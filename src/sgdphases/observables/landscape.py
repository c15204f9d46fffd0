"""The loss of one network around its weights: the ends of the spectrum of its Hessian and of the Gauss-Newton matrix.

The parameters are theta: weights and biases of trained layers over the layer's unit c (`Network.unit`), so that the
Hessian is C H_W C with H_W the Hessian by what is stored. Products with it are exact (two backward passes, float64).
Lanczos iterations find the ends: power iteration would not, since early in training the lowest eigenvalue of a rich
network is about minus the top one. Weight decay is no part of the loss.
"""

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from sgdphases.ensemble.architecture import Network
from sgdphases.ensemble.device import one_thread_each
from sgdphases.ensemble.geometry import Geometry
from sgdphases.ensemble.passes import Stack
from sgdphases.ensemble.streams import generator
from sgdphases.observables.landscape_models import Loss, Model, Modular


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning about torch.jit.script that PyTorch's forward mode, and a package of curvlinops, set off."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.script", FutureWarning)
        yield


with _quiet():
    from curvlinops import GGNLinearOperator, HessianLinearOperator

LIBRARIES = ThreadpoolController()
"""Of linear algebra; SciPy's is loaded here and knows of no limit that a program has set before. Vectors are too short
to be shared: where cores are busy, threads that wait for each other make everything five times slower."""

START = 2021
"""Tag of the stream (`ensemble.streams`) of the vectors that Lanczos iterations start from."""


@dataclass(frozen=True)
class End:
    """How one end of a spectrum is looked for.

    Attributes:
        which: What the library calls it.
        place: Where it stands among ascending eigenvalues.
        basis: Lanczos vectors that are kept.
        restarts: Of the iterations, until the eigenvalue counts as not found.
        residual: Largest ||A v - lambda v|| / |lambda|. The error of lambda is far smaller where it stands alone: about
            the square, over the relative gap.
    """

    which: str
    place: int
    basis: int
    restarts: int
    residual: float


ENDS = {
    "top": End("LA", -1, basis=12, restarts=60, residual=1e-3),
    "bottom": End("SA", 0, basis=40, restarts=3, residual=1e-2),
}
"""The top takes some 20 products. The bottom of a lazy network is a thousandth of the top and has close neighbours:
without a limit, more would be spent on it than on all the rest."""


LEADING_RESTARTS = 30
"""Of the iterations that look for many eigenvalues at once."""


@dataclass(frozen=True, eq=False)
class Landscape:
    """One network, and the samples that its loss is measured on.

    Attributes:
        weights: Per layer (out, in), float64, as stored.
        biases: Per layer (out,), or None for a layer without.
        units: Per layer the c in W = c theta.
        trained: Per layer, whether its weights and its bias are parameters.
        activation: Word of the hidden activation.
        output_factor: What the output is multiplied by.
        inputs: What the first of the layers reads (n, in).
        targets: (n, o), classes as rows of zeros and a one.
        reference: What is subtracted from the output before it is multiplied (n, o), or None.
        loss: Word of the loss.
        geometries: Per layer, how a convolution reads images; None for a dense layer.
        architecture: Of a modular network (`ensemble.pieces`), which reads `inputs` as images where its kind does; None
            for others.
        chunk: Samples that a modular network reads at once: a batch, as far as norm batch is concerned.
    """

    weights: list[Tensor]
    biases: list[Tensor | None]
    units: list[float]
    trained: list[bool]
    activation: str
    output_factor: float
    inputs: Tensor
    targets: Tensor
    reference: Tensor | None
    loss: str
    geometries: list[Geometry | None]
    architecture: Network | None = None
    chunk: int = 0

    @property
    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Inputs and targets as they are read: all at once, or chunk by chunk."""
        if self.architecture is None:
            return [(self.inputs, self.targets)]
        return list(zip(self.inputs.split(self.chunk), self.targets.split(self.chunk), strict=True))

    @property
    def flat(self) -> np.ndarray:
        """The trained parameters theta, layer by layer, the weights of each row by row and then its bias."""
        return np.concatenate([parameter.detach().cpu().numpy().ravel() for parameter in self.model().parameters()])

    def moved(self, flat: np.ndarray) -> "Landscape":
        """The same loss around other parameters, of networks all of whose layers are trained."""
        weights, biases, rest = [], [], torch.from_numpy(np.array(flat)).to(self.weights[0])
        for matrix, bias, unit in zip(self.weights, self.biases, self.units, strict=True):
            weights.append(unit * rest[: matrix.numel()].view(matrix.shape))
            rest = rest[matrix.numel() :]
            biases.append(None if bias is None else unit * rest[: len(bias)])
            rest = rest if bias is None else rest[len(bias) :]
        return replace(self, weights=weights, biases=biases)

    def model(self) -> nn.Module:
        """The scaled output as a function of the inputs and, by `parameters()`, of theta."""
        return Model(self) if self.architecture is None else Modular(self)

    def loss_of(self, output: Tensor, targets: Tensor) -> Tensor:
        """The loss of some samples' outputs."""
        return Loss(self.loss)(output, targets)

    def share_of_loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """What some samples' outputs add to the loss of all."""
        return Loss(self.loss, len(self.inputs))(output, targets)

    def hessian(self) -> HessianLinearOperator:
        """The Hessian of the loss by the parameters, as an operator."""
        return self._operator(_Hessian)

    def gauss_newton(self) -> GGNLinearOperator:
        """J^T L'' J, of the outputs' derivative J by the parameters and the loss's second derivative L'' by outputs."""
        return self._operator(GGNLinearOperator)

    def _operator(self, kind: type) -> "HessianLinearOperator | GGNLinearOperator":
        model = self.model()
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # The check for determinism is for data loaders and dropout, and costs as much as four products.
        known = {"check_deterministic": False, "num_data": len(self.inputs)}
        return kind(model, Loss(self.loss, len(self.inputs)), parameters, self.batches, **known)


def landscapes(snapshot: Any, samples: int, rows: Iterable[int]) -> Iterator[Landscape]:
    """The loss of single networks of a snapshot.

    Args:
        snapshot: The networks, a `snapshot.Snapshot`: not imported, so that what a start is made of does not reach it.
        samples: Test samples that the loss is taken over, from the first on; fewer if there are fewer.
        rows: Which networks.

    Yields:
        The landscape of each.
    """
    network, data, stack = snapshot.shard.network, snapshot.part.feature_data, snapshot.stack(torch.float64)
    layers, samples = range(stack.first, network.layers), min(samples, data.samples)
    for row in rows:
        inputs, targets, reference = (
            None if array is None else array[row if len(array) > 1 else 0][:samples]
            for array in (data.inputs, data.targets, data.reference)
        )
        yield Landscape(
            weights=[weights[row] for weights in stack.weights],
            biases=[_bias(stack, layer, row, present=network.bias[layer]) for layer in layers],
            units=[network.unit(layer) for layer in layers],
            trained=[network.trained[layer] for layer in layers],
            activation=stack.activation,
            output_factor=float(stack.output_scale[row]),
            inputs=inputs,
            targets=targets,
            reference=reference,
            loss=snapshot.part.loss,
            geometries=[network.geometries[layer] for layer in layers],
        )


def extreme(operator: "HessianLinearOperator | GGNLinearOperator", end: str, seed: int) -> float:
    """One end of the spectrum of a symmetric operator.

    Args:
        operator: Of `Landscape`.
        end: top or bottom.
        seed: Of the vector that the iterations start from.

    Returns:
        The eigenvalue; NaN if the operator overflows or the iterations do not settle (`ENDS`).
    """
    how = ENDS[end]
    with alone():
        if operator.shape[0] <= how.basis:
            return _dense(operator, how)
        settings = {"which": how.which, "ncv": how.basis, "maxiter": how.restarts, "tol": how.residual}
        value, _, residual = _lanczos(operator, 1, seed, settings)
    return float(value[0]) if residual[0] <= how.residual * abs(value[0]) else math.nan


def leading(
    operator: "HessianLinearOperator | GGNLinearOperator", count: int, seed: int, *, residual: float = 1e-3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The largest eigenvalues of a symmetric operator and their vectors, by restarted Lanczos iterations.

    Args:
        operator: Of `Landscape`.
        count: How many.
        seed: Of the vector that the iterations start from.
        residual: Share of an eigenvalue that is allowed to its residual.

    Returns:
        Eigenvalues in descending order (count,), vectors of length one (parameters, count) and residuals
        ||A v - lambda v|| (count,); all NaN if the operator overflows or the iterations do not settle, and past the
        number of parameters.
    """
    size = operator.shape[0]
    with alone():
        if size <= 2 * count:
            return _padded(operator, count)
        settings = {"which": "LA", "ncv": min(size, 2 * count + 1), "maxiter": LEADING_RESTARTS, "tol": residual / 10}
        values, vectors, residuals = _lanczos(operator, count, seed, settings)
    order = np.argsort(-values)
    return values[order], vectors[:, order], residuals[order]


@contextmanager
def alone() -> Iterator[None]:
    """One thread, no warnings of the library, and on a GPU convolutions as exact as their numbers.

    These are made with ten bits else, a thousandth, and eigenvectors need more.
    """
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        with _quiet(), one_thread_each(), LIBRARIES.limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _lanczos(
    operator: "HessianLinearOperator | GGNLinearOperator", count: int, seed: int, settings: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues (count,), vectors (parameters, count), residuals (count,); NaN where there are none, 0 of nothing."""
    matrix, size = operator.to_scipy(), operator.shape[0]
    none = np.full(count, math.nan), np.full((size, count), math.nan), np.full(count, math.nan)
    start = generator(seed, START, 0).standard_normal(size)
    scale = np.linalg.norm(matrix.matvec(start)) / np.linalg.norm(start)
    if scale == 0:
        return np.zeros(count), none[1], np.zeros(count)
    if not math.isfinite(scale):
        return none
    # Below 4e-11 the library's test of convergence is an absolute one, so it gets a matrix of order one.
    whole = LinearOperator(matrix.shape, matvec=lambda vector: matrix.matvec(vector) / scale, dtype=np.float64)
    try:
        values, vectors = eigsh(whole, k=count, v0=start, **settings)
    except ArpackError:  # no convergence is one of them
        return none
    images = np.stack([whole.matvec(vector) for vector in vectors.T], axis=1)
    return values * scale, vectors, np.linalg.norm(images - vectors * values, axis=0) * scale


def _padded(
    operator: "HessianLinearOperator | GGNLinearOperator", count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `leading` gives, of a small matrix."""
    size = operator.shape[0]
    values, vectors = np.full(count, math.nan), np.full((size, count), math.nan)
    matrix = operator.to_scipy().matmat(np.eye(size))
    if np.isfinite(matrix).all():
        known = min(count, size)
        found, basis = np.linalg.eigh((matrix + matrix.T) / 2)
        values[:known], vectors[:, :known] = found[::-1][:known], basis[:, ::-1][:, :known]
    return values, vectors, np.linalg.norm(matrix @ vectors - vectors * values, axis=0)


def _bias(stack: Stack, layer: int, row: int, *, present: bool) -> Tensor | None:
    """A layer's bias (out,): zeros, which biases start from, where there is one that nobody gave."""
    weights, bias = stack.weights[layer - stack.first], stack.biases[layer - stack.first]
    if bias is not None:
        return bias[row]
    return weights.new_zeros(weights.shape[1]) if present else None


def _dense(operator: "HessianLinearOperator | GGNLinearOperator", how: End) -> float:
    """One end of the spectrum of a small matrix."""
    matrix = operator.to_scipy().matmat(np.eye(operator.shape[0]))
    if not np.isfinite(matrix).all():
        return math.nan
    return float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[how.place])


class _Hessian(HessianLinearOperator):
    """The library's operator with the gradient's graph kept from product to product: four times as fast.

    The library builds it anew for every vector; here that is done for every batch, unless there is one alone.
    """

    _known: tuple[Tensor, ...] | None = None

    def _matmat_batch(self, inputs: Tensor, targets: Tensor, columns: list[Tensor]) -> list[Tensor]:
        gradient = self._known
        if gradient is None:
            loss = self._loss_func(self._model_func(inputs), targets)
            gradient = torch.autograd.grad(loss, self._params, create_graph=True)
        if len(inputs) == self._N_data:
            self._known = gradient
        chosen = {"retain_graph": True, "materialize_grads": True}
        products = [
            torch.autograd.grad(gradient, self._params, [column[..., place] for column in columns], **chosen)
            for place in range(columns[0].shape[-1])
        ]
        return [torch.stack(parts, dim=-1) for parts in zip(*products, strict=True)]
