"""Do networks of different richness come to the same function and the same features?

Networks share start and data within a replica; of each richness one is compared (`strips.compared_places`).
Expected: rich networks agree with each other, lazy with rich ones do not. Sources: Atanasov, Meterez, Simon, Pehlevan,
arXiv 2410.04642, Figs. 5 and 6.
"""

import numpy as np
import xarray as xr

from sgdphases.fits.arrays import Floats, replica_mean
from sgdphases.fits.bootstrap import bootstrap
from sgdphases.fits.grid import part_of
from sgdphases.fits.strips import REGIMES, TOLERANCE, Strips, at_places, compared_places, strips_of

FIT = "agreement"
LEARNING = 0.0
"""Decades of the richness from which on features are learned: networks of richness 1 agree with richer ones."""

SUMMARIES = {
    "rich_agreement": ("agreement of networks of richness 1 and more", "R^2"),
    "least_rich_agreement": ("least agreement of networks of richness 1 and more", "R^2"),
    "lazy_rich_agreement": ("agreement of lazy networks with those of richness 1 and more", "R^2"),
    "largest_lazy_rich_agreement": ("largest agreement of lazy networks with those of richness 1 and more", "R^2"),
}


def agreement(cube: xr.Dataset) -> xr.Dataset:
    """Outputs compared between values of the richness, and the features' alignment with the labels.

    Args:
        cube: With `status`, `test_loss`, and `outputs` or any of `feature_alignment`, `ntk_alignment`.

    Returns:
        With `_error` over replicas. With outputs, over the other axes, richness and `reference_richness`:
        `output_agreement`, the coefficient of determination R² = 1 - |f - g|²/|g - mean g|² with the reference g, and
        `output_correlation`, the squared correlation; of the former, the reference being the less rich:
        `rich_agreement` and `least_rich_agreement` (mean and least of pairs from richness 1 on), `lazy_rich_agreement`
        and `largest_lazy_rich_agreement` (lazy with those). Over richness `final_feature_alignment` (also over layer)
        and `final_ntk_alignment`; `alignment_spread`, largest less smallest of the last hidden layer from richness 1
        on. Networks that have not learned by the last step are left out.

    Raises:
        ValueError: If the cube lacks one of the variables.
    """
    strips = strips_of(cube, FIT, "status", "test_loss")
    if not {"outputs", "feature_alignment", "ntk_alignment"} & set(cube.data_vars):
        raise ValueError(f"fit {FIT} needs outputs, feature_alignment or ntk_alignment in the cube")
    places = compared_places(strips)
    found: dict[str, tuple] = {}
    if "outputs" in cube:
        found |= _outputs(strips, places)
    if "ntk_alignment" in cube:
        last = at_places(strips.values("ntk_alignment", "step")[..., -1], places)
        words = ("final alignment of the tangent kernel with the labels", r"A_\mathrm{NTK}")
        found |= strips.described("final_ntk_alignment", replica_mean(last), words, "richness")
    if "feature_alignment" in cube:
        found |= _features(strips, places)
    missing = int((places < 0).sum())
    reasons = [f"nothing has learned at {missing} of {places.size} values of the richness"] if missing else []
    second = {"reference_richness": ("reference_richness", 10.0**strips.richness, _words())}
    return strips.finished(found, "functions and features of different richness", second, reasons)


def _words() -> dict[str, str]:
    return {"long_name": "richness of the reference", "units": "1", "symbol": r"\gamma'", "axis_scale": "log"}


def _outputs(strips: Strips, places: np.ndarray) -> dict[str, tuple]:
    """Agreement of the outputs of all pairs."""
    outputs = at_places(strips.values("outputs", "step", "probe", "output")[..., -1, :, :], places)
    outputs = outputs.reshape(*outputs.shape[:3], -1)
    determined, correlated = (np.full((*outputs.shape[:3], outputs.shape[2]), np.nan) for _ in range(2))
    centred = outputs - outputs.mean(axis=-1, keepdims=True)
    norm = (centred**2).sum(axis=-1)
    for reference in range(outputs.shape[2]):
        own = norm[:, :, [reference]]
        apart = ((outputs - outputs[:, :, [reference]]) ** 2).sum(axis=-1)
        common = (centred * centred[:, :, [reference]]).sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            determined[..., reference] = 1 - apart / own
            correlated[..., reference] = common**2 / (norm * own)
    found: dict[str, tuple] = {}
    for name, values, words in (
        ("output_agreement", determined, ("agreement of the outputs", "R^2")),
        ("output_correlation", correlated, ("squared correlation of the outputs", "r^2")),
    ):
        found |= strips.described(name, replica_mean(values), words, "richness", "reference_richness")
    return found | _summaries(strips, determined)


def _summaries(strips: Strips, determined: Floats) -> dict[str, tuple]:
    """Means and extremes over pairs of which the reference is the less rich."""
    learning, lazy = strips.richness >= LEARNING - TOLERANCE, strips.richness <= REGIMES["lazy"][1]
    richer = np.tril(np.ones((len(learning), len(learning)), dtype=bool), -1)
    both, mixed = richer & learning[:, None] & learning, richer & learning[:, None] & lazy

    def read(each: Floats) -> Floats:
        mean = replica_mean(each).value
        rows = [mean[:, pairs] for pairs in (both, mixed)]
        rows = [np.where(np.isfinite(row), row, np.nan) for row in rows]
        return np.stack(
            [
                replica_mean(rows[0].T).value,
                np.fmin.reduce(rows[0], axis=1, initial=np.nan),
                replica_mean(rows[1].T).value,
                np.fmax.reduce(rows[1], axis=1, initial=np.nan),
            ]
        )

    estimate = bootstrap(read, determined)
    found: dict[str, tuple] = {}
    for place, (name, words) in enumerate(SUMMARIES.items()):
        found |= strips.described(name, part_of(estimate, place), words)
    return found


def _features(strips: Strips, places: np.ndarray) -> dict[str, tuple]:
    """Alignment of features with the labels at the last step, and its spread where features are learned."""
    last = at_places(strips.values("feature_alignment", "step", "layer")[..., -1, :], places)
    words = ("final alignment of the features with the labels", r"A_\ell")
    found = strips.described("final_feature_alignment", replica_mean(last), words, "richness", "layer")
    learning = strips.richness >= LEARNING - TOLERANCE
    known = np.isfinite(last).any(axis=(0, 2))
    deepest = known.shape[-1] - 1 - known[:, ::-1].argmax(axis=-1)

    def read(each: Floats) -> Floats:
        mean = replica_mean(each).value[:, learning]
        row = np.take_along_axis(mean, deepest[:, None, None], axis=-1)[..., 0]
        if row.shape[1] < 2:
            return np.full(len(row), np.nan)
        return np.fmax.reduce(row, axis=1) - np.fmin.reduce(row, axis=1)

    about = ("largest less smallest alignment of the last hidden layer from richness 1 on", r"\Delta A")
    return found | strips.described("alignment_spread", bootstrap(read, last), about)
