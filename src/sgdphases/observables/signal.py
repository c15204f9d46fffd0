"""What a network says and how its features stand: losses, overlap with the start, alignment with the field.

Features are the activations s of the last hidden layer, on the first test inputs (`snapshot.FEATURE_SAMPLES`); losses
are over the whole sets. Definitions follow the released analysis of arXiv 2509.01349; each function takes a snapshot of
r networks and returns one value a network, (r,). Letters in shapes: r network, n sample, o output, i feature.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sgdphases.observables.snapshot import Snapshot

SATURATED = 0.99
"""|s| beyond which a feature counts as saturated."""

Array = np.ndarray


def train_loss(snapshot: "Snapshot") -> Array:
    """The card's loss over the whole training set at the recorded weights (r,)."""
    return snapshot.train.loss


def gradient_norm(snapshot: "Snapshot") -> Array:
    """Frobenius norm of the training loss's gradient over all trained weights, without weight decay (r,)."""
    return np.sqrt(sum(np.sum(gradient**2, axis=(1, 2)) for gradient in snapshot.train.gradients.values()))


def test_loss(snapshot: "Snapshot") -> Array:
    """Mean test error: squares summed over outputs, without the half; cross-entropy where that is trained (r,)."""
    return snapshot.test_evaluation.loss


def test_accuracy(snapshot: "Snapshot") -> Array:
    """Share of test samples whose largest output is that of their class.

    Args:
        snapshot: The networks.

    Returns:
        In [0, 1] (r,).

    Raises:
        ValueError: If the targets are no classes.
    """
    if not snapshot.has_classes:
        raise ValueError("test_accuracy needs a data set with classes")
    return snapshot.test_evaluation.correct


def clean_train_accuracy(snapshot: "Snapshot") -> Array:
    """Accuracy on the training samples whose labels were left alone (r,)."""
    return snapshot.labels_learned("clean")


def shuffled_train_accuracy(snapshot: "Snapshot") -> Array:
    """Share of the samples with shuffled labels that get the shuffled label: what is learned by heart (r,)."""
    return snapshot.labels_learned("shuffled")


def corrected_train_accuracy(snapshot: "Snapshot") -> Array:
    """Share of the samples with shuffled labels that get their true label all the same (r,)."""
    return snapshot.labels_learned("corrected")


def overlap(snapshot: "Snapshot") -> Array:
    """Overlap q: initial times present feature, mean over samples and features (r,); not normalised."""
    return np.mean(snapshot.initial_features * snapshot.features, axis=(1, 2))


def overlap_initial(snapshot: "Snapshot") -> Array:
    """Overlap q(0), mean square of the initial features (r,)."""
    return np.mean(snapshot.initial_features**2, axis=(1, 2))


def overlap_ratio(snapshot: "Snapshot") -> Array:
    """Overlap q / q(0): 1 for features that never moved; NaN where the initial features vanish (r,)."""
    return _ratio(overlap(snapshot), overlap_initial(snapshot))


def alignment(snapshot: "Snapshot") -> Array:
    """Cosine between the features and the field Z^T y over all samples and features at once, 128 hs.

    Args:
        snapshot: The networks; the field uses the present last layer and the test targets, classes as one-hot rows.

    Returns:
        In [-1, 1] (r,).
    """
    return _cosine(snapshot.field, snapshot.features, axes=(1, 2))


def alignment_feature(snapshot: "Snapshot") -> Array:
    """Mean over features of the cosine over samples between feature and field, hsd.

    Args:
        snapshot: The networks.

    Returns:
        In [-1, 1] (r,); features that vanish on every sample are left out, NaN if all do.
    """
    cosine = _cosine(snapshot.field, snapshot.features, axes=(1,))
    known = np.isfinite(cosine)
    return _ratio(np.where(known, cosine, 0.0).sum(axis=1), known.sum(axis=1))


def alignment_identity(snapshot: "Snapshot") -> Array:
    r"""The alignment that these features would have at zero loss, :math:`\|y\|^2 / (\|Z^T y\| \|s\|)`.

    Args:
        snapshot: The networks.

    Returns:
        With one output ||y|| / (||Z|| ||s||) (r,). Equals `alignment` at zero loss, without an output bias.
    """
    norm = np.sqrt(np.sum(snapshot.field**2, axis=(1, 2)) * np.sum(snapshot.features**2, axis=(1, 2)))
    return _ratio(np.sum(snapshot.targets**2, axis=(1, 2)), norm)


def saturated_fraction(snapshot: "Snapshot") -> Array:
    """Share of features with |s| > 0.99, over samples and features (r,)."""
    return np.mean(np.abs(snapshot.features) > SATURATED, axis=(1, 2))


def _cosine(first: Array, second: Array, *, axes: tuple[int, ...]) -> Array:
    norm = np.sqrt(np.sum(first**2, axis=axes) * np.sum(second**2, axis=axes))
    return _ratio(np.sum(first * second, axis=axes), norm)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Quotient, NaN where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, dtype=np.float64), denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)
