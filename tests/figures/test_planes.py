"""The loss and the modified loss over a plane."""

import numpy as np
import pytest

from made_diffusion import ladder, walk_cube
from sgdphases.figures.planes import plane
from sgdphases.theory.momentum_sgd import position_variance
from sgdphases.theory.structured_noise import correlated_covariance

HOT = {"learning_rate": 0.05}
FIRST, SECOND = 1, 6


@pytest.fixture(scope="module")
def cube():
    """Walks on a quadratic loss, and that loss over the plane of two modes."""
    made = walk_cube(ladder(power=1.2), range(0, 4001, 4), replicas=4, learning_rate=[0.02, 0.05])
    h, side = made["curvature"].values, np.linspace(-0.2, 0.2, 21)
    loss = 1.5 + (h[FIRST] * side[:, None] ** 2 + h[SECOND] * side**2) / 2
    about = {"long_name": "loss over a plane", "symbol": "L", "units": "1"}
    losses = {"plane_loss": (("plane_first", "plane_second"), loss, about)}
    losses["plane_modes"] = ("plane_side", [float(FIRST), float(SECOND)])
    return made.assign(losses).assign_coords(plane_first=side, plane_second=side)


def lines_at(ax):
    """Points of the contours of one panel by height."""
    (lines,) = [part for part in ax.collections if not part.filled]
    return {level: np.concatenate(part) for level, part in zip(lines.levels, lines.allsegs, strict=True) if part}


def test_contours_are_those_of_the_loss_and_of_the_modified_loss(cube):
    figure = plane(cube, {}, at=HOT)
    loss, modified = figure.axes[:2]
    h = cube["curvature"].values[[FIRST, SECOND]]
    for level, points in lines_at(loss).items():
        assert np.allclose((points**2 * h).sum(axis=-1) / 2, level, atol=0.02 * 0.04 * h[0])
    noise = cube["noise"].values[[FIRST, SECOND]] / 32
    variance = position_variance(h, noise, learning_rate=0.05, momentum=0.9)
    heights = lines_at(modified)
    assert list(heights)[:3] == [0.5, 2, 4.5]
    for level, points in heights.items():
        assert np.allclose((points**2 / variance).sum(axis=-1) / 2, level, rtol=0.02, atol=0.01)
    assert loss.get_aspect() == modified.get_aspect() == 1
    ratio = h[0] / h[1]
    assert loss.get_title("left").endswith(f"= {ratio:.3g}$")
    assert modified.get_title("left").endswith(f"= {variance[1] / variance[0]:.3g}$")
    figure.draw_without_rendering()


def test_positions_of_all_replicas_lie_on_both(cube):
    figure = plane(cube, {}, at=HOT, steps=[1000, 1100], points=10_000)
    there = cube["position"].sel(learning_rate=0.05, step=slice(1000, 1100))
    expected = np.stack([there.isel(mode=mode).values.T.ravel() for mode in (FIRST, SECOND)], axis=-1)
    for ax in figure.axes[:2]:
        dots = ax.lines[0].get_xydata()
        assert np.array_equal(dots, expected)
    few = plane(cube, {}, at=HOT, points=100)
    assert 100 <= len(few.axes[0].lines[0].get_xydata()) < 110
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == [r"start $\theta^*$", "positions of 4 replicas"]


def test_axes_say_along_which_modes_they_go(cube):
    axes = plane(cube, {}, at=HOT).axes
    assert axes[0].get_xlabel().endswith(f"$m = {FIRST}$")
    assert axes[0].get_ylabel().endswith(f"$m = {SECOND}$")


def test_noise_that_does_not_commute_tilts_the_modified_loss(cube):
    both = cube["noise_matrix"].copy(deep=True)
    both[FIRST, SECOND] = both[SECOND, FIRST] = 0.8 * np.sqrt(float(both[FIRST, FIRST] * both[SECOND, SECOND]))
    straight, tilted = (plane(each, {}, at=HOT).axes[1] for each in (cube, cube.assign(noise_matrix=both)))
    deviations = np.abs(lines_at(straight)[2]).max(axis=0) / 2
    circle, ellipse = (lines_at(ax)[2] / deviations for ax in (straight, tilted))
    assert np.allclose(np.linalg.norm(circle, axis=-1), 2, rtol=0.01)
    radius = np.linalg.norm(ellipse, axis=-1)
    far = ellipse[radius.argmax()]
    assert far.prod() > 0
    pair = np.ix_([FIRST, SECOND], [FIRST, SECOND])
    words = {"learning_rate": 0.05, "momentum": 0.9}
    positions = correlated_covariance(cube["curvature"].values[pair[1][0]], both.values[pair] / 32, **words)[..., 0, 0]
    correlation = positions[0, 1] / np.sqrt(positions[0, 0] * positions[1, 1])
    assert correlation > 0.02
    assert radius.max() ** 2 / 4 == pytest.approx(1 + correlation, rel=0.005)


@pytest.mark.parametrize(
    ("change", "said", "message"),
    [
        (lambda cube: cube.drop_vars("plane_loss"), {"at": HOT}, "unknown variable 'plane_loss'"),
        (lambda cube: cube, {}, "learning_rate changes along learning_rate; choose with the option at"),
        (lambda cube: cube.assign_attrs(sampler="reshuffle"), {"at": HOT}, "plane: batches of reshuffle know"),
        (lambda cube: cube.assign(curvature=-cube["curvature"]), {"at": HOT}, "curvature must be greater than 0"),
        (lambda cube: cube, {"at": HOT, "variables": []}, "variables: "),
        (lambda cube: cube, {"at": HOT, "palette": "pink flamingo"}, "unknown colour map"),
    ],
)
def test_what_cannot_be_drawn_is_told(cube, change, said, message):
    with pytest.raises(ValueError, match=message):
        plane(change(cube), {}, **said)
