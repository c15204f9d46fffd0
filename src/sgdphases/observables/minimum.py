"""The minimum of a full-batch loss plus weight decay, to round-off: L-BFGS, then Newton steps with exact products.

The decay is weight_decay / 2 times the squared weights; biases do not decay, as in training. Newton's equation is
solved by conjugate gradients. Where they meet a direction of negative curvature, the way goes on along it if it leads
down; else, and after steps that lead up, a multiple of the identity is added to the Hessian (Levenberg).
"""

import logging
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize

from sgdphases.observables.landscape import Landscape, alone

GATHERED = 1e-6
"""Largest component of the gradient at which Newton's steps take over."""

DESCENTS, NEWTON_STEPS, PRODUCTS = 20_000, 100, 3_000
"""Most steps of L-BFGS, of Newton, and products with the Hessian in one of these."""

SOLVED = 1e-6
"""Residual of Newton's equation over the gradient's norm."""

DENSE = 2000
"""Parameters up to which the whole Hessian is computed."""

FLAT = 1e-10
"""Curvature over the largest one up to which a direction counts as flat."""

Array = np.ndarray
Descend = Callable[[Array], tuple[float, Array]]
"""Loss and gradient at some parameters."""

log = logging.getLogger(__name__)


def polished(landscape: Landscape, weight_decay: float, tolerance: float) -> Landscape:
    """Go down to the nearest minimum.

    Args:
        landscape: The loss, where to begin.
        weight_decay: Coefficient in the gradient.
        tolerance: Norm of the gradient that is small enough.

    Returns:
        The loss around the minimum.

    Raises:
        ValueError: If the gradient stays larger.
    """
    decay = weight_decay * decaying(landscape)

    def descend(flat: Array) -> tuple[float, Array]:
        return value_and_gradient(landscape.moved(flat), decay)

    with alone():
        flat = _newton(landscape, descend, _gathered(descend, landscape.flat), decay, tolerance)
    return landscape.moved(flat)


def parabola_minimum(landscape: Landscape, decay: Array) -> Landscape:
    """Take one whole step of Newton's, along no flat direction: exact where the loss is a parabola.

    Args:
        landscape: The loss, where to begin.
        decay: Coefficient of the weight decay of each parameter, (parameters,).

    Returns:
        The loss around the minimum of the parabola that touches it here.

    Raises:
        ValueError: If there are too many parameters for a dense Hessian, or the parabola has no minimum.
    """
    flat = landscape.flat
    if len(flat) > DENSE:
        raise ValueError(f"noise.at: minimum needs at most {DENSE} parameters, not {len(flat)}")
    with alone():
        matrix = landscape.hessian().to_scipy().matmat(np.eye(len(flat)))
        curvature, vectors = np.linalg.eigh((matrix + matrix.T) / 2 + np.diag(decay))
        if curvature[0] < -FLAT * abs(curvature[-1]):
            raise ValueError(f"noise.at: there is no minimum, the lowest curvature is {curvature[0]:.3g}")
        curved = curvature > FLAT * curvature[-1]
        along = vectors[:, curved]
        gradient = value_and_gradient(landscape, decay)[1]
        return landscape.moved(flat - along @ (along.T @ gradient / curvature[curved]))


def decaying(landscape: Landscape) -> Array:
    """Which parameters decay: 1 for weights, 0 for biases, (parameters,)."""
    pairs = zip(landscape.weights, landscape.biases, strict=True)
    return np.concatenate([np.repeat([1.0, 0.0], [w.numel(), 0 if b is None else len(b)]) for w, b in pairs])


def value_and_gradient(landscape: Landscape, decay: Array) -> tuple[float, Array]:
    """Loss and gradient, with weight decay.

    Args:
        landscape: The loss, and where.
        decay: Coefficient of every parameter.

    Returns:
        Number, and (parameters,).
    """
    model, flat = landscape.model(), landscape.flat
    value, gradient = 0.0, np.zeros(len(flat))
    for inputs, targets in landscape.batches:
        loss = landscape.share_of_loss(model(inputs), targets)
        parts = torch.autograd.grad(loss, list(model.parameters()))
        value += float(loss.detach())
        gradient += torch.cat([part.flatten() for part in parts]).cpu().numpy()
    return value + float(decay @ flat**2) / 2, gradient + decay * flat


def _gathered(descend: Descend, flat: Array) -> Array:
    """Where L-BFGS ends."""
    options = {"maxiter": DESCENTS, "maxfun": 2 * DESCENTS, "maxcor": 30, "ftol": 0.0, "gtol": GATHERED}
    found = minimize(descend, flat, jac=True, method="L-BFGS-B", options=options)
    log.info("L-BFGS: gradient %.3g after %d steps", np.linalg.norm(found.jac), found.nit)
    return found.x


def _newton(landscape: Landscape, descend: Descend, flat: Array, decay: Array, tolerance: float) -> Array:
    """Newton's steps until the gradient is small enough."""
    damping, (value, gradient) = 0.0, descend(flat)
    for number in range(NEWTON_STEPS):
        norm = np.linalg.norm(gradient)
        if norm <= tolerance:
            log.info("Newton: gradient %.3g after %d steps", norm, number)
            return flat
        matrix = landscape.moved(flat).hessian().to_scipy()
        step, downhill = _solved(lambda v, m=matrix, d=damping: m.matvec(v) + (decay + d) * v, -gradient)
        if downhill is not None:
            below = _escape(descend, flat, value, downhill)
            damping = max(10 * damping, 1e-6) if below is None else 0.0
            flat = flat if below is None else _gathered(descend, below)
            value, gradient = descend(flat)
            continue
        trial = flat + step
        new_value, new_gradient = descend(trial)
        level = new_value <= value + 1e-13 * abs(value)  # near the minimum, the value is lost in round-off
        if new_value < value - 1e-13 * abs(value) or (level and np.linalg.norm(new_gradient) < norm):
            flat, value, gradient, damping = trial, new_value, new_gradient, damping / 10 * (damping > 1e-9)
        else:
            damping = max(10 * damping, 1e-6)
    raise ValueError(
        f"polish: the gradient's norm stays at {np.linalg.norm(gradient):.3g}, above {tolerance:g}; "
        "allow more, or give the loss a minimum by weight_decay"
    )


def _escape(descend: Descend, flat: Array, value: float, direction: Array) -> Array | None:
    """A lower place along a direction of negative curvature, both ways; None if there is none."""
    unit = direction / np.linalg.norm(direction)
    places = (flat + sign * length * unit for length in (1.0, 0.1, 0.01) for sign in (1, -1))
    return next((place for place in places if descend(place)[0] < value), None)


def _solved(product: Callable[[Array], Array], right: Array) -> tuple[Array, Array | None]:
    """Solution of a linear equation by conjugate gradients; and a direction of negative curvature, if one is met."""
    solution, residual = np.zeros_like(right), right.copy()
    direction, square = residual.copy(), residual @ residual
    goal = SOLVED**2 * square
    for _ in range(min(PRODUCTS, 10 * len(right))):
        image = product(direction)
        bend = direction @ image
        if bend <= 0:
            return solution, direction
        rate = square / bend
        solution += rate * direction
        residual -= rate * image
        before, square = square, residual @ residual
        if square <= goal:
            break
        direction = residual + square / before * direction
    return solution, None
