"""The observables by name: what a card may ask for, and what the cube says about it. Light to import."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdphases.choices import one_of
from sgdphases.observables import curvature, drift, dynamics, kernels, signal, spectra

if TYPE_CHECKING:
    from sgdphases.observables.snapshot import Snapshot

LEVELS = ("layer", "mode")
LAYERS = ("layer",)
EIGENVALUES = ("eigenvalue",)

CONTROLLED = ("control",)
IMAGES = ("control", "image")
OUTPUTS = ("probe", "output")

DENSE = {"map", "outer"}
"""What some observables need and dense layers alone have, see `Observable.needs`."""

DRIFT_FLAGS = {0: "repulsion_wins", 1: "drift_wins"}
"""CF flag values and meanings of the two criteria."""


@dataclass(frozen=True)
class Observable:
    """One measurement.

    Attributes:
        name: The word, as it stands in cards and cubes.
        function: Takes a snapshot of r networks, gives (r, ...axes).
        axes: Axes after the network's: `layer` (trained layers, ascending), `mode` (descending levels, padded),
            `control` (of `controls.CONTROLS`), `image` (first test images), `iteration` (of the square map), `probe`
            (first test samples), `output` and `eigenvalue` (of the Hessian, descending).
        long_name: What a figure and a CF attribute call it.
        symbol: Its symbol, LaTeX without dollars.
        units: CF units; "1" for pure numbers.
        dtype: Type of the values; integers have -1 where there is no value.
        flags: Value to meaning, for labels.
        needs: What must be evaluated beside the weights: `test`, `train`, `features` (a hidden layer), `teacher`,
            `map` (first layers that lead back to the width of the input), `outer` (each sample's gradient by a layer as
            one outer product).
    """

    name: str
    function: Callable[["Snapshot"], np.ndarray]
    axes: tuple[str, ...]
    long_name: str
    symbol: str
    units: str = "1"
    dtype: type = np.float64
    flags: dict[int, str] | None = None
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> float:
        """The value that stands for none."""
        return -1 if np.issubdtype(self.dtype, np.integer) else float("nan")

    @property
    def attributes(self) -> dict[str, Any]:
        """CF attributes."""
        found: dict[str, Any] = {"long_name": self.long_name, "units": self.units, "symbol": self.symbol}
        if self.flags is not None:
            found["flag_values"] = np.array(list(self.flags), dtype=self.dtype)
            found["flag_meanings"] = " ".join(self.flags.values())
            found["_FillValue"] = self.dtype(self.missing)
        return found


def _weights(function: Callable[["Snapshot"], np.ndarray], axes: tuple[str, ...], *names: str) -> Observable:
    return Observable(function.__name__, function, axes, *names)


def _features(function: Callable[["Snapshot"], np.ndarray], *names: str) -> Observable:
    return Observable(function.__name__, function, (), *names, needs=("test", "features"))


def _on_test(function: Callable[["Snapshot"], np.ndarray], axes: tuple[str, ...], *names: str) -> Observable:
    return Observable(function.__name__, function, axes, *names, needs=("test",))


def _force(function: Callable[["Snapshot"], np.ndarray], axes: tuple[str, ...], *names: str, **more: Any) -> Observable:
    return Observable(function.__name__, function, axes, *names, needs=("test", "outer"), **more)


def _criterion(function: Callable[["Snapshot"], np.ndarray], *names: str) -> Observable:
    return _force(function, LAYERS, *names, dtype=np.int8, flags=DRIFT_FLAGS)


def _map(function: Callable[["Snapshot"], np.ndarray], axes: tuple[str, ...], *names: str, **more: Any) -> Observable:
    return Observable(function.__name__, function, axes, *names, needs=("test", "map"), **more)


_ROWS = (
    _weights(spectra.eigenvalues, LEVELS, "squared singular value", "x"),
    _weights(spectra.log_spread_growth, LAYERS, "growth of the spectrum's spread", r"\ln\Delta x/\Delta x(0)"),
    _weights(spectra.gap_ratio, LAYERS, "mean gap ratio of the bulk", r"\tilde r"),
    _weights(spectra.bulk_scale, LAYERS, "scale of the Marchenko-Pastur bulk", r"\sigma_\mathrm{bulk}"),
    _weights(spectra.bulk_lower_edge, LAYERS, "lower edge of the bulk", "x_-"),
    _weights(spectra.bulk_upper_edge, LAYERS, "upper edge of the bulk", "x_+"),
    _weights(spectra.outlier_count, LAYERS, "levels above the bulk", r"n_\mathrm{out}"),
    Observable(
        "teacher_eigenvalues",
        spectra.teacher_eigenvalues,
        LEVELS,
        "squared singular value of the teacher",
        r"x^\ast",
        needs=("teacher",),
    ),
    Observable("train_loss", signal.train_loss, (), "training loss", "L", needs=("train",)),
    Observable("gradient_norm", signal.gradient_norm, (), "gradient norm", r"\|\nabla L\|", needs=("train",)),
    Observable("test_loss", signal.test_loss, (), "test loss", r"L_\mathrm{test}", needs=("test",)),
    Observable("test_accuracy", signal.test_accuracy, (), "test accuracy", "a", needs=("test",)),
    Observable(
        "clean_train_accuracy",
        signal.clean_train_accuracy,
        (),
        "accuracy on clean training labels",
        r"a_\mathrm{clean}",
        needs=("train",),
    ),
    Observable(
        "shuffled_train_accuracy",
        signal.shuffled_train_accuracy,
        (),
        "accuracy on shuffled training labels",
        r"a_\mathrm{shuffled}",
        needs=("train",),
    ),
    Observable(
        "corrected_train_accuracy",
        signal.corrected_train_accuracy,
        (),
        "accuracy on the true labels of shuffled ones",
        r"a_\mathrm{true}",
        needs=("train",),
    ),
    _features(signal.overlap, "overlap of initial and present features", "q"),
    _features(signal.overlap_initial, "overlap of the initial features with themselves", "q(0)"),
    _features(signal.overlap_ratio, "overlap relative to its start", "q/q(0)"),
    _features(signal.alignment, "alignment of features with the field", r"\cos(h, s)"),
    _features(signal.alignment_feature, "alignment averaged over features", "h_s^d"),
    _features(signal.alignment_identity, "alignment expected at zero loss", r"\|y\|/(\|Z\|\|s\|)"),
    _features(signal.saturated_fraction, "share of saturated features", r"P(|s|>0.99)"),
    _force(drift.drift, LEVELS, "drift of a level", "K_{ii}"),
    _force(drift.noise, LEVELS, "noise of a level", "V_{ii}"),
    _force(drift.repulsion, LEVELS, "repulsion of a level", r"\sum_j V_{ij}/(x_i-x_j)"),
    _force(drift.ito_term, LEVELS, "Itô term of a level", r"E[gg^T]_{ii}"),
    _force(drift.predicted_velocity, LEVELS, "predicted velocity of a level", r"dx_i/dt"),
    _force(drift.peclet, LAYERS, "share of levels that one step moves too far", r"\mathrm{Pe}"),
    _criterion(drift.criterion_published, "drift beats repulsion, as published", r"P(\mathrm{drift})"),
    _criterion(drift.criterion_corrected, "drift beats repulsion, corrected", r"P(\mathrm{drift})"),
    _weights(dynamics.excess_kurtosis, LAYERS, "excess kurtosis of the weights", r"\kappa"),
    _map(dynamics.spectral_radius, CONTROLLED, "spectral radius of the map's matrix", r"\rho"),
    _map(dynamics.top_singular_values, (*CONTROLLED, "mode"), "singular value of the map's matrix", "s"),
    _map(dynamics.asymptotic_distance, IMAGES, "asymptotic distance of perturbed orbits", r"d_\infty"),
    _map(dynamics.jacobian_norm, IMAGES, "asymptotic norm of the Jacobian", r"\|J^\ast\|_F/\sqrt{N}"),
    _map(dynamics.lyapunov, CONTROLLED, "largest Lyapunov exponent", r"\lambda_\mathrm{max}"),
    _map(dynamics.lyapunov_error, CONTROLLED, "standard error of the Lyapunov exponent", r"\Delta\lambda_\mathrm{max}"),
    _map(dynamics.dynamics, CONTROLLED, "phase of the dynamics", r"\phi", dtype=np.int8, flags=dynamics.PHASES),
    _on_test(curvature.hessian_top, (), "largest eigenvalue of the Hessian", r"N\lambda_\mathrm{max}"),
    _on_test(curvature.hessian_bottom, (), "lowest eigenvalue of the Hessian", r"N\lambda_\mathrm{min}"),
    _on_test(
        curvature.gauss_newton_top,
        (),
        "largest eigenvalue of the Gauss-Newton matrix",
        r"N\lambda_\mathrm{GN}",
    ),
    _on_test(curvature.hessian_spectrum, EIGENVALUES, "eigenvalue of the Hessian", r"N\lambda_m"),
    _on_test(kernels.ntk_alignment, (), "alignment of the tangent kernel with the targets", r"\mathrm{CKA}(K, YY^T)"),
    _on_test(kernels.ntk_movement, (), "turn of the tangent kernel from its start", r"1-\cos(K, K(0))"),
    _on_test(kernels.ntk_growth, (), "growth of the tangent kernel", r"\|K\|/\|K(0)\|"),
    _on_test(
        kernels.feature_alignment, LAYERS, "alignment of a layer's input with the targets", r"\mathrm{CKA}(hh^T, YY^T)"
    ),
    _weights(kernels.weight_movement, LAYERS, "relative change of the weights", r"\|\Delta W\|/\|W(0)\|"),
    _on_test(kernels.outputs, OUTPUTS, "output", "f"),
    _map(dynamics.poincare, IMAGES[1:] + ("iteration",), "projection on the mean image", r"\bar X_t"),
)

_RUNNING = {
    "epoch_train_loss": ("training loss, mean over the epoch", "L"),
    "epoch_train_accuracy": ("training accuracy, mean over the epoch", r"a_\mathrm{train}"),
    "epoch_gradient_norm": ("norm of the gradient's mean over the epoch", r"\|\nabla L\|"),
    "weight_work": ("work of the gradient on the weights", r"-\int\langle W,\nabla L\rangle\,ds"),
    "weight_diffusion": ("growth of the weights' norm by fluctuations", r"\sum_t c^2(|v_{t+1}|^2-\beta^2|v_t|^2)"),
    "coupling": ("disorder of the weights", "J"),
    "mean_coupling": ("mean of the weights", "J_0"),
    "test_loss": ("test loss", r"L_\mathrm{test}"),
    "test_accuracy": ("test accuracy", "a"),
    "validation_loss": ("validation loss", r"L_\mathrm{val}"),
    "batch_loss": ("loss of the batch before the update", r"L_B"),
    "validation_accuracy": ("validation accuracy", r"a_\mathrm{val}"),
    "asymptotic_distance": ("asymptotic distance of perturbed orbits", r"d_\infty"),
    "lyapunov": ("largest Lyapunov exponent", r"\lambda_\mathrm{max}"),
    "jacobian_norm": ("asymptotic norm of the Jacobian", r"\|J^\ast\|_F/\sqrt{N}"),
    "local_displacement": ("squared length of an update", r"\|\delta\|^2"),
    "global_displacement": ("squared distance from the start", r"\|\Delta\|^2"),
    "displacement_along_start": ("displacement times the start", r"\Delta\cdot\theta^*"),
    "layer_displacement": ("squared distance of a layer's weights from the start", r"|\Delta W_l|^2"),
    "layer_displacement_along_start": (
        "displacement of a layer's weights along those at the start",
        r"\langle\Delta W_l,W_l^\ast\rangle",
    ),
    "layer_weight_norm": ("squared norm of a layer's weights", r"|W_l|^2"),
    "weight_norm": ("squared norm of the parameters", r"\|\theta\|^2"),
    "displacement_gram": ("product of displacements of two replicas", r"\Delta_r\cdot\Delta_{r'}"),
    "position": ("position along a direction", "x"),
    "velocity": ("velocity along a direction", "v"),
    "position_mean": ("mean position", r"\bar x"),
    "position_square": ("mean squared position", r"\overline{x^2}"),
    "velocity_mean": ("mean velocity", r"\bar v"),
    "velocity_square": ("mean squared velocity", r"\overline{v^2}"),
    "position_velocity": ("mean position times velocity", r"\overline{xv}"),
    "circulation": ("mean rotation in phase space", r"\overline{x_k v_{k+1}-v_k x_{k+1}}"),
    "force_mean": ("mean batch gradient along a direction, with decay", r"\bar u"),
    "force_square": ("mean squared batch gradient along a direction", r"\overline{u^2}"),
    "force_position": ("mean batch gradient times position", r"\overline{ux}"),
    "converged": ("whether the asymptotic distance is reached", r"\chi_\infty"),
}
"""Long names and symbols of what training itself measures (`ensemble.running`)."""

OBSERVABLES: dict[str, Observable] = {row.name: row for row in _ROWS}


def running_attributes(word: str) -> dict[str, str]:
    """CF attributes of a running observable.

    Args:
        word: Its name.

    Returns:
        long_name, units and symbol.
    """
    long_name, symbol = _RUNNING[word]
    return {"long_name": long_name, "units": "1", "symbol": symbol}


def selected(words: Iterable[str]) -> list[Observable]:
    """The observables of a card.

    Args:
        words: Names; each once.

    Returns:
        Rows of `OBSERVABLES` in the order of the words.

    Raises:
        ValueError: If a word is unknown or stands twice; the message lists the allowed ones.
    """
    words = [one_of(word, OBSERVABLES, "observable") for word in words]
    twice = sorted({word for word in words if words.count(word) > 1})
    if twice:
        raise ValueError(f"observables {', '.join(twice)} are asked for more than once")
    return [OBSERVABLES[word] for word in words]
