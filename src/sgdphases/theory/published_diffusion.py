"""What is published of the limiting dynamics of SGD, as numbers: Kunin et al., arXiv 2107.09133.

Stated numbers stand in the text or in a legend; digitised ones were measured in figures of the released notebooks, to
the error that is given. Every run had one seed, and no error bars. All are of ImageNet with momentum 0.9 if not said
otherwise. Displacements are squared norms over all weights: of one step ‖δ‖², and ‖Δ‖² from the pre-trained weights.
The runs drew batches over 8 cores, so that a batch size of 84 was one of 80 (`true_batch_size`), with batch
normalisation over an eighth of a batch, in the same order in every epoch.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def _numbers(text: str) -> Floats:
    return np.array(text.split(), dtype=np.float64)


class Setting(NamedTuple):
    """What a network was trained with after pre-training.

    Attributes:
        learning_rate: η.
        batch_size: S.
        momentum: β.
        weight_decay: λ.
        epochs: How long.
    """

    learning_rate: float
    batch_size: int
    momentum: float
    weight_decay: float
    epochs: int


SAMPLES = 1281167
"""Training images of ImageNet."""

STEPS_PER_EPOCH = 5005
"""At batch size 256 (25025 steps are five epochs)."""

CORES = 8
"""Over which a batch was split."""

NETWORKS = ("resnet18", "resnet34", "vgg16", "vgg16_bn", "vgg11_bn")
"""Of Fig. 1, pre-trained."""

SETTINGS: dict[str, Setting] = {
    name: Setting(1e-4, 256, 0.9, 1e-4, 10) if name.startswith("resnet") else Setting(1e-5, 256, 0.9, 5e-4, 10)
    for name in NETWORKS
}
"""Of Fig. 1 (Table 1); those of ResNet-18 hold for Figs. 3 to 5 (5 epochs), are swept in Fig. 6 (2 epochs) and are not
stated for the 100 epochs of `EXPONENT_BY_EPOCHS`."""

ONE_STEP_DISPLACEMENT: dict[str, float] = dict(
    zip(NETWORKS, (1.27e-6, 1.56e-6, 2.81e-8, 1.74e-8, 1.63e-8), strict=True)
)
"""‖δ‖² (Fig. 1 left, digitised within 3 %); constant in time but for a rise of a few per cent of ResNet-18."""

EXPONENT: dict[str, float] = dict(zip(NETWORKS, (1.075, 1.085, 1.616, 1.370, 1.401), strict=True))
"""Power of ‖Δ‖² over steps (Fig. 1 right, stated), from the last two thirds of the samples at every 250 steps after the
first 21."""

DISPLACEMENT_STEPS: Floats = np.array([5250.0, 50000.0])
"""Steps of `DISPLACEMENT`."""

DISPLACEMENT: dict[str, tuple[float, float]] = dict(
    zip(NETWORKS, ((0.159, 1.59), (0.20, 2.02), (0.0037, 0.093), (0.0078, 0.157), (0.0073, 0.146)), strict=True)
)
"""‖Δ‖² at `DISPLACEMENT_STEPS` (Fig. 1 right, digitised within 5 %)."""


def true_batch_size(batch_size: ArrayLike) -> NDArray[np.int64]:
    """8 ⌊S/8⌋, what a nominal batch size S was on 8 cores.

    Args:
        batch_size: S.

    Returns:
        Batch size.
    """
    return np.asarray(batch_size, dtype=np.int64) // CORES * CORES


# The Hessian of ResNet-18 at its pre-trained weights, from 40000 training images.

HESSIAN_EIGENVALUES: Floats = _numbers(
    """
    52.82 36.92 33.43 35.24 30.90 29.62 24.18 27.79 21.46 19.11 17.22 18.88 18.08 15.05 14.29
    13.82 12.92 11.61 12.58 11.65 10.95 11.46 11.48 10.93 11.07 10.15 10.01 9.53 9.17 8.73
    """
)
"""Stated in the release, as found there: diagonals of subspace iteration, not sorted, within 5 to 20 % of those of
`OTHER_HESSIAN_EIGENVALUES`."""

OTHER_HESSIAN_EIGENVALUES: Floats = np.array([49.83, 41.10, 33.90, 30.43, 28.20, 27.37, 24.30, 24.24, 21.81, 18.27])
"""The same from another run with ten vectors."""

EXTENT: dict[str, tuple[float, float]] = {"position": (0.0043, 0.0050), "velocity": (2.7, 1.1)}
"""Half-widths along the first and the thirtieth eigenvector (Figs. 3 and 4, digitised); velocities in any unit."""

NOISE_STRENGTH = (0.35, 0.40)
"""σ² of Σ = σ²H along these two, by their extents: crude."""

# Linear regression on CIFAR-10: batch size 512, learning rate 1e-5, no weight decay, 392 steps.

REGRESSION_EIGENVALUES: Floats = np.array([916.0, 434, 345, 203, 137, 108])
"""Of the Hessian, each ten times (within 1 to 8 %)."""

REGRESSION_SETTING = Setting(1e-5, 512, 0.9, 0.0, 4)

REGRESSION_MOMENTA: Floats = np.array([0.9, 0.99, 0.999])
"""Of Fig. 2 and the release."""

REGRESSION_PERIODS: Floats = np.array([75.6, 65.4, 65.5])
"""Steps of an oscillation along the first eigenvector, for `REGRESSION_MOMENTA`."""

# Sweeps of ResNet-18 over one of its settings (Fig. 6), two epochs each. Powers are of steps within the second epoch.

LEARNING_RATES: Floats = np.linspace(1e-5, 1e-3, 20)
"""Of the sweep."""

EXPONENT_BY_LEARNING_RATE: Floats = _numbers(
    """
    1.324 1.029 .977 .959 .947 .940 .938 .931 .931 .926 .922 .919 .917 .912 .910 .905 .903 .901 .896 .894
    """
)
"""Over `LEARNING_RATES` (digitised within 0.002)."""

BATCH_SIZES: NDArray[np.int64] = np.linspace(32, 1024, 20).astype(np.int64)
"""Of the sweep, nominal."""

EXPONENT_BY_BATCH_SIZE: Floats = _numbers(
    """
    1.146 1.029 .971 .968 .968 .985 1.006 1.011 1.029 1.039
    1.060 1.090 1.092 1.106 1.118 1.134 1.139 1.141 1.179 1.169
    """
)
"""Over `BATCH_SIZES` (digitised within 0.002; neighbours scatter by 0.01)."""

MOMENTA: Floats = np.array([0.80, 0.82, 0.84, 0.86, 0.88, 0.90, 0.92, 0.94, 0.96, 0.98, 0.99])
"""Every other one of the sweep, and the last."""

EXPONENT_BY_MOMENTUM: Floats = np.array([1.053, 1.041, 1.027, 1.015, 1.001, 0.987, 0.973, 0.959, 0.947, 0.933, 0.912])
"""Over `MOMENTA` (digitised within 0.002; at 0.9 stated as 0.98737)."""

DEFAULT_ONE_STEP_DISPLACEMENT = 1.25e-6
"""‖δ‖² at the default setting, in the last step; the theory curves of Fig. 6 go through it."""

ONE_STEP_DISPLACEMENT_BY_LEARNING_RATE: Floats = np.array([[1e-3, 1.25e-4]])
"""Pairs of learning rate and ‖δ‖² (digitised)."""

ONE_STEP_DISPLACEMENT_BY_BATCH_SIZE: Floats = np.array(
    [[32, 1.14e-5], [84, 4.1e-6], [136, 2.33e-6], [188, 1.66e-6], [240, 1.33e-6], [501, 5.7e-7]]
)
"""Pairs of nominal batch size and ‖δ‖² (digitised); at 32 it is 14 % above η²/(S(1 − β²)), at 501 12 % below."""

ONE_STEP_DISPLACEMENT_BY_MOMENTUM: Floats = np.array([[0.98, 6.3e-6], [0.99, 1.28e-5]])
"""Pairs of momentum and ‖δ‖² (digitised); at 0.99 it is 7 % above η²/(S(1 − β²))."""

# Longer runs and the grid of the release, ResNet-18.

EPOCHS: Floats = np.arange(20.0, 101.0, 10.0)
"""Lengths of `EXPONENT_BY_EPOCHS`."""

EXPONENT_BY_EPOCHS: Floats = np.array([1.069, 1.117, 1.157, 1.190, 1.219, 1.245, 1.268, 1.288, 1.306])
"""Over `EPOCHS` of one run of 100 (Fig. 7, Fig. 9 of version 4; stated)."""

DRIFT_RATIO = 0.00734338
"""r = V²/D per epoch of ‖Δ‖² = Dt + V²t² that fits `EXPONENT_BY_EPOCHS` best (independent analysis)."""

GRID_LEARNING_RATES: Floats = np.array([1e-5, 1e-4, 1e-3])
GRID_BATCH_SIZES: NDArray[np.int64] = np.array([128, 256, 512])
GRID_MOMENTA: Floats = np.array([0.8, 0.9, 0.99])

GRID_EXPONENT: Floats = np.array(
    [
        [[1.335, 1.202, 0.983], [1.453, 1.326, 1.000], [1.593, 1.497, 1.087]],
        [[1.000, 0.976, 0.882], [1.054, 0.987, 0.915], [1.177, 1.063, 0.958]],
        [[0.924, 0.873, 0.530], [0.924, 0.895, 0.627], [0.945, 0.925, 0.750]],
    ]
)
"""Power over learning rate, batch size and momentum (stated in a legend of the release), of the second epoch of two."""

RESTORED_EXPONENT: dict[str, float] = {"resnet18": 0.730, "vgg16_bn": 0.783, "alexnet": 0.692, "googlenet": 1.926}
"""Power on CIFAR-100, trained on from where training stopped (stated in the release)."""

VELOCITY_RATIO: dict[float, float] = {0.99: 9.55, 0.999: 53.0}
"""‖v‖² over that at momentum 0.9 (release); 1/(1 − β²) has 9.55 and 95."""
