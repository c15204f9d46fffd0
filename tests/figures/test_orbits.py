"""Trajectories in phase space."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.text import Annotation

from made_diffusion import ladder, walk_cube
from sgdphases.figures.orbits import orbits
from sgdphases.fits.stationary_moments import stationary_moments
from sgdphases.theory.momentum_sgd import stationary_covariance

HOT = {"learning_rate": 0.05}


@pytest.fixture(scope="module")
def cube():
    return walk_cube(ladder(), range(4001), replicas=4, learning_rate=[0.02, 0.05])


@pytest.fixture(scope="module")
def fits(cube):
    return {"stationary_moments": stationary_moments(cube)}


def path_of(ax):
    (strokes,) = [part for part in ax.collections if isinstance(part, LineCollection)]
    segments = np.array(strokes.get_segments())
    return np.concatenate([segments[:1, 0], segments[:, 1]]), strokes.get_array()


def ellipse(ax, word):
    (line,) = [line for line in ax.lines if word in str(line.get_label())]
    return line.get_xydata()


def test_one_replica_along_each_mode_with_the_step_as_colour(cube):
    figure = orbits(cube, {}, at=HOT, modes=[0, 7, 3, 4], replica=2, steps=[100, 300])
    panels = figure.axes[:4]
    for ax, mode in zip(panels, [0, 7, 3, 4], strict=True):
        path, steps = path_of(ax)
        walk = cube.sel(learning_rate=0.05, replica=2, mode=mode, step=slice(100, 300))
        assert np.array_equal(path, np.stack([walk["position"], walk["velocity"]], axis=-1))
        assert np.array_equal(steps, np.arange(100, 300))
        heads = [text for text in ax.texts if isinstance(text, Annotation)]
        assert len(heads) == 12
        assert ax.get_title("left") == f"$m = {mode}$"
    # 2 ζ = (1 - β)/√(η(1 + β)h/2)
    assert panels[0].get_title("right") == r"$\rho = 10$, $\zeta = 0.0725$"
    assert not figure.legends
    figure.draw_without_rendering()


def test_it_turns_clockwise(cube):
    ax = orbits(cube, {}, at=HOT, modes=[0]).axes[0]
    path, _ = path_of(ax)
    x, v = path.T / path.std(axis=0)[:, None]
    assert (x[:-1] * v[1:] - v[:-1] * x[1:]).mean() < -0.5


def test_ellipses_are_those_of_the_fit_and_of_the_exact_recursion(cube, fits):
    figure = orbits(cube, fits, at=HOT, modes=[0, 7], deviations=3)
    for ax, mode in zip(figure.axes[:2], [0, 7], strict=True):
        h, noise = (float(cube[word].sel(mode=mode)) for word in ("curvature", "noise"))
        covariance = stationary_covariance(h, noise / 32, learning_rate=0.05, momentum=0.9)
        law = ellipse(ax, "theory: exact")
        distance = np.einsum("ni,ij,nj->n", law, np.linalg.inv(covariance), law)
        assert np.allclose(distance, 9)
        own = fits["stationary_moments"].sel(learning_rate=0.05, mode=mode)
        measured = ellipse(ax, "measured")
        assert measured[:, 0].max() == pytest.approx(
            float(own["position_mean"] + 3 * np.sqrt(own["position_variance"])), rel=1e-3
        )
        assert measured[:, 1].max() == pytest.approx(3 * float(np.sqrt(own["velocity_variance"])), rel=1e-3)
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == ["3 standard deviations, measured", "3 standard deviations, theory: exact"]
    alone = orbits(cube, fits, at=HOT, modes=[0], theory="none")
    assert len(alone.legends[0].get_texts()) == 1


def test_a_moving_mean_shortens_the_path_and_is_told(cube, fits):
    figure = orbits(cube, fits, at=HOT, modes=[7], mean_over=20)
    path, steps = path_of(figure.axes[0])
    walk = cube.sel(learning_rate=0.05, replica=0, mode=7)
    assert len(path) == 4001 - 19
    assert path[5] == pytest.approx([float(walk[word][5:25].mean()) for word in ("position", "velocity")])
    assert steps[5] == pytest.approx(np.arange(5, 25).mean())
    assert figure.get_suptitle() == r"$\eta = 0.05$, mean over 20 records"
    assert "single records" in figure.legends[0].get_texts()[0].get_text()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "position also changes along learning_rate; choose with the option at"),
        ({"at": HOT, "modes": [8]}, "the grid has no mode = 8"),
        ({"at": HOT, "replica": 9}, "the grid has no replica = 9"),
        ({"at": HOT, "modes": [0], "steps": [10.2, 10.8]}, "steps: 0 records are no trajectory"),
        ({"at": HOT, "modes": [0], "mean_over": 5000}, "steps: 0 records are no trajectory"),
        ({"at": HOT, "modes": []}, "modes: "),
        ({"at": HOT, "theory": "guessed"}, "theory: .*'exact'"),
    ],
)
def test_what_cannot_be_drawn_is_told(cube, said, message):
    with pytest.raises(ValueError, match=message):
        orbits(cube, {}, **({"modes": [0]} | said))
