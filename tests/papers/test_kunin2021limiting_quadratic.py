"""D. Kunin et al., arXiv 2107.09133, on an exact quadratic: equipartition to the digits, and by the house's trainer."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import solve_discrete_lyapunov

from sgdphases.datasets.quadratic import quadratic, samples_of
from sgdphases.datasets.registry import resolve
from sgdphases.ensemble.shard import Shard
from sgdphases.ensemble.starting import Start
from sgdphases.ensemble.trainer import train
from sgdphases.theory import langevin, momentum_sgd

BATCH, DECAY, REPLICAS = 32, 1e-3, 64
RATES, MOMENTA = (0.0125, 0.05), (0.0, 0.8, 0.9, 0.95)
CARD = resolve({"name": "quadratic", "modes": 60, "curvature": 10, "curvature_power": 1.5, "noise": 0.25})
SUMS = ("position_mean", "position_square", "velocity_square", "position_velocity", "circulation")
MOST = 1e-3
"""Chance of a false alarm that each test leaves, over all its comparisons together."""

COARSEST = 0.06
"""Relative standard error above which three of them would say little."""


def walks(task, points, *, steps, burn, decay=DECAY):
    """Means over the updates after `burn`, word to (points, replicas, modes), and |step|^2 (points, replicas)."""
    modes, count = task.inputs.shape[1], len(points) * REPLICAS
    columns = {name: [point[name] for point in points for _ in range(REPLICAS)] for name in points[0]}
    columns |= {"weight_decay": [decay] * count, "replica": list(range(REPLICAS)) * len(points)}
    columns |= {name: [1] * count for name in ("seed_task", "seed_weights", "seed_order")}
    network = {"widths": [modes, 1], "activation": "linear", "bias": [False], "trained": [True]}
    shard = Shard.from_dict(
        {
            "dataset": {"name": "quadratic"},
            "network": network,
            "networks": columns | {"seed_noise": list(range(count))},
            "update": "quadratic",
            "sampler": "with_replacement",
            "batch_size": BATCH,
            "steps": steps,
            "record_steps": [0, burn, steps],
            "running": [*SUMS, "local_displacement"],
            "start": {"name": "made", "modes": modes},
        }
    )
    records, start = [], Start("made", {0: np.zeros((1, modes))}, {}, np.eye(modes))
    train(shard, {1: task}, device="cpu", start=start, on_record=records.append)
    last = records[-1].scalars
    return {word: last[word].reshape(len(points), REPLICAS, *last[word].shape[1:]) for word in last}


def scores(values, expected):
    """Distances of means over replicas from what is expected, in standard errors, and those over what is expected."""
    error = values.std(axis=1, ddof=1) / np.sqrt(REPLICAS)
    return (values.mean(axis=1) - expected) / error, error / np.abs(expected)


def assert_chance(found):
    """Within three standard errors, but for as many as chance leaves out, and none beyond what all together allow."""
    found, student = np.ravel(found), stats.t(REPLICAS - 1)
    beyond = (np.abs(found) > 3).sum()
    assert beyond <= stats.binom.isf(MOST / 3, found.size, 2 * student.sf(3)), np.sort(found)
    assert np.abs(found).max() < student.isf(MOST / 3 / 2 / found.size)
    assert stats.kstest(found, student.cdf).pvalue > MOST / 3


def exactly(curvature, noise, rate, momentum):
    """Var x, Cov and Var v as P = MPM' + s nn' gives them in rational numbers, without a rounding."""
    h, s, eta, beta = (Fraction(float(value)) for value in (curvature, noise, rate, momentum))
    a, b, c, d = 1 - eta * h, eta * beta, -h, beta
    rows = [
        [1 - a * a, -2 * a * b, -b * b, s * eta * eta],
        [-a * c, 1 - a * d - b * c, -b * d, s * eta],
        [-c * c, -2 * c * d, 1 - d * d, s],
    ]
    for pivot in range(3):
        rows[pivot] = [entry / rows[pivot][pivot] for entry in rows[pivot]]
        for other in {0, 1, 2} - {pivot}:
            factor = rows[other][pivot]
            rows[other] = [entry - factor * own for entry, own in zip(rows[other], rows[pivot], strict=True)]
    return [row[3] for row in rows]


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("rate", [0.0125, 0.025, 0.05])
def test_closed_form_lyapunov_and_equipartition_agree_to_the_digits(rate, momentum):
    rho = 10 * np.arange(1, 61) ** -1.5
    curvature, noise, words = rho + DECAY, 0.25 * rho / BATCH, {"learning_rate": rate, "momentum": momentum}
    own = momentum_sgd.stationary_covariance(curvature, noise, **words)
    for h, s, found in zip(curvature, noise, own, strict=True):
        position, cross, velocity = exactly(h, s, rate, momentum)
        eta, beta = Fraction(rate), Fraction(momentum)
        assert Fraction(float(h)) * position == eta * (1 + beta) / 2 * velocity
        assert cross == eta * velocity / 2
        np.testing.assert_allclose(found[0], [float(position), float(cross)], rtol=1e-12)
        np.testing.assert_allclose(found[1, 1], float(velocity), rtol=1e-12)
        # In units in which both variances are one, so that no digit is lost between large and small numbers.
        unit = np.sqrt([found[0, 0], found[1, 1]])
        step = np.array([[1 - rate * h, rate * momentum], [-h, momentum]]) * unit / unit[:, None]
        kick = np.array([rate, 1]) / unit * np.sqrt(s)
        solved = solve_discrete_lyapunov(step, np.outer(kick, kick), method="direct")
        np.testing.assert_allclose(solved, found / np.outer(unit, unit), rtol=1e-12)
        ratio = langevin.equipartition_ratio(found[0, 0], found[1, 1], h, **words)
        assert ratio == pytest.approx(1, abs=1e-14)


@pytest.fixture(scope="module")
def measured():
    """The card's quadratic, its first twelve modes, at eight points: measured means, curvature and noise."""
    card = CARD | {"modes": 12}
    points = [{"learning_rate": rate, "momentum": momentum} for rate in RATES for momentum in MOMENTA]
    found = walks(quadratic(card), points, steps=6000, burn=2000)
    rho = card["curvature"] * np.arange(1, 13) ** -1.5
    words = {name: np.array([point[name] for point in points])[:, None] for name in ("learning_rate", "momentum")}
    return found, rho + DECAY, card["noise"] * rho / BATCH, words


@pytest.mark.parametrize(
    ("word", "places"),
    [("position_square", (0, 0)), ("velocity_square", (1, 1)), ("position_velocity", (0, 1))],
)
def test_measured_moments_of_every_mode_are_exact_within_three_standard_errors(measured, word, places):
    found, curvature, noise, words = measured
    exact = momentum_sgd.stationary_covariance(curvature, noise, **words)[..., *places]
    off, share = scores(found[word], exact)
    assert share.max() < COARSEST
    assert_chance(off)


def test_energy_is_shared_equally_by_every_mode_within_three_standard_errors(measured):
    found, curvature, noise, words = measured
    potential = curvature * found["position_square"].swapaxes(0, 1)
    kinetic = langevin.mass(**words) * found["velocity_square"].swapaxes(0, 1)
    one = langevin.mass(**words) * momentum_sgd.velocity_variance(curvature, noise, **words)
    # Both energies of one replica are correlated: their difference over the exact one has its own error.
    off, share = scores(1 + ((potential - kinetic) / one).swapaxes(0, 1), 1.0)
    assert share.max() < COARSEST
    assert_chance(off)
    ratio = potential.mean(axis=0) / kinetic.mean(axis=0)
    assert np.abs(ratio - 1)[share < 0.01].max() < 0.03
    assert (share < 0.01).sum() > 20


def test_positions_are_isotropic_velocities_follow_the_curvature_and_both_turn_clockwise(measured):
    found, curvature, noise, words = measured
    rotation = momentum_sgd.rotation_per_step(curvature, **words)
    scale = momentum_sgd.stationary_covariance(curvature, noise, **words)
    scale = np.sqrt(scale[..., 0, 0] * scale[..., 1, 1])
    off, _ = scores(found["circulation"], rotation * scale)
    assert_chance(off)
    assert (found["circulation"].mean(axis=1) < 0).all()
    cool = MOMENTA.index(0.9)  # at the first of the learning rates
    x, v = (found[f"{kind}_square"][cool].mean(axis=0) for kind in ("position", "velocity"))
    assert 0.9 < x[0] / x[-1] < 1.1
    assert v[0] / v[-1] == pytest.approx((curvature[0] - DECAY) / (curvature[-1] - DECAY), rel=0.15)


def test_oracle_o1_by_the_trainer():
    """Three modes, one near critical damping, at a step so large that the paper's Var x is 15 % off in the first."""
    rho = np.array([10.0, 1.0, 0.05])
    point = {"learning_rate": 0.05, "momentum": 0.9}
    found = walks(samples_of(rho, 0.25 * rho), [point], steps=12000, burn=2000, decay=0.01)
    expected = {
        "position_square": [0.00224714670085, 0.00195983226806, 0.00162889013256],
        "position_velocity": [0.0118389149871, 0.00104180557408, 5.14386357651e-05],
        "velocity_square": [0.473556599485, 0.0416722229631, 0.0020575454306],
    }
    spread = np.sqrt(np.prod([expected[word] for word in ("position_square", "velocity_square")], axis=0))
    expected["circulation"] = spread * [-1.1974527213087525, -0.4322422833, -0.1066864898]
    offs = [scores(found[word], np.array(values))[0].ravel() for word, values in expected.items()]
    offs.append(scores(found["local_displacement"], 0.0012932159196960879)[0].ravel())
    offs.append(scores(found["position_mean"], np.array([1e-300]))[0].ravel())
    limit = stats.t(REPLICAS - 1).isf(MOST / 2 / sum(map(len, offs)))
    assert np.abs(np.concatenate(offs)).max() < limit
    # The paper's limit of small steps is told apart.
    paper, _ = scores(found["position_square"], np.array([0.00195117382617, 0.00193378712871, 0.00162760416667]))
    assert paper[0, 0] > 10
