import itertools

import numpy as np
import pytest
from scipy import stats

from made_diffusion import Landscape, log_steps, walk_cube
from sgdphases.fits.drift_split import drift_split
from sgdphases.fits.exponents import PROTOCOLS, exponents, protocols_of
from sgdphases.fits.walks import walks_of
from sgdphases.theory import momentum_displacement

ROBUST = {"protocol": PROTOCOLS.index("robust")}
CURVATURE = np.concatenate([np.geomspace(5, 0.5, 5), np.zeros(40)])
GRADIENT = np.concatenate([np.zeros(5), np.full(40, 0.01)])
PLACE = np.concatenate([np.zeros(5), np.full(20, 2.0), np.zeros(20)])
WIND = Landscape(CURVATURE, np.ones(45), gradient=GRADIENT, place=PLACE, modes=5)
STEPS = log_steps(2000, each_decade=12)


@pytest.fixture(scope="module")
def cube():
    return walk_cube(WIND, STEPS, replicas=8, learning_rate=[0.02, 0.05], batch_size=[8, 16, 32])


@pytest.fixture(scope="module")
def found(cube):
    return drift_split(cube)


def expected(cube):
    """Drift and diffusion at every record, in the cube's order."""
    drift, diffusion = [], []
    for rate, size in itertools.product(cube["learning_rate"].values, cube["batch_size"].values):
        words = {"learning_rate": rate, "momentum": 0.9}
        steps = np.array(STEPS)[:, None]
        laws = {"gradient": GRADIENT, **words}
        drift.append(momentum_displacement.displacement_from_rest(steps, CURVATURE, 0.0, **laws).sum(axis=-1))
        diffusion.append(momentum_displacement.displacement_from_rest(steps, CURVATURE, 1 / size, **words).sum(axis=-1))
    shape = (2, 3, len(STEPS))
    return np.reshape(drift, shape), np.reshape(diffusion, shape)


def rms(values):
    return float(np.sqrt(np.nanmean(np.asarray(values) ** 2)))


def test_drift_and_diffusion_come_apart_within_their_errors(found, cube):
    drift, diffusion = expected(cube)
    late = {"step": slice(5, None)}
    for name, truth in (("drift_square", drift), ("diffusion_square", diffusion)):
        apart = ((found[name] - truth) / found[f"{name}_error"]).isel(late)
        assert 0.4 < rms(apart) < 1.7, name
    share = drift[..., 1:] / (drift + diffusion)[..., 1:]
    apart = (found["drift_share"].isel(step=slice(1, None)) - share) / found["drift_share_error"].isel(
        step=slice(1, None)
    )
    assert rms(apart.isel(step=slice(5, None))) < 1.7
    assert (found["drift_significance"] > 5).all()
    assert (found["replicas"] == 8).all()


def test_powers_of_drift_are_two_and_of_diffusion_one(found):
    assert float(found["drift_power"].isel(ROBUST).mean()) == pytest.approx(2.05, abs=0.1)
    assert float(found["diffusion_power"].isel(ROBUST).mean()) == pytest.approx(1.0, abs=0.1)
    # Inertia of a start from rest makes both a little steeper.
    assert rms((found["drift_power"] - 2.03) / found["drift_power_error"].clip(min=0.01)) < 2.5
    whole, parts = found["whole_power"], (found["diffusion_power"], found["drift_power"])
    assert ((whole > parts[0] - 0.1) & (whole < parts[1] + 0.1)).isel(ROBUST).all()


def test_intervals_are_those_of_students_t_for_the_replicas(found):
    for name in ("drift_square", "split_drift_ratio", "drift_power", "diffusion_power"):
        reach = (found[f"{name}_high"] - found[f"{name}_low"]) / 2
        np.testing.assert_allclose(reach, stats.t.ppf(0.975, 7) * found[f"{name}_error"], rtol=1e-6)


def test_a_drift_that_is_lost_early_still_has_a_power():
    """Of a weak gradient squares early in the window are negative, and the late ones say what the power is."""
    weak = Landscape(np.zeros(40), np.ones(40), gradient=np.full(40, 0.006), modes=1)
    grid = {"init_scale": np.linspace(1, 2, 20).tolist(), "momentum": [0.0]}
    walks = walk_cube(weak, STEPS, replicas=8, learning_rate=[0.02], batch_size=[8], **grid)
    made, weight = drift_split(walks), protocols_of(walks_of(walks, "test")).weight
    plain = exponents(made["drift_square"].values.reshape(20, -1), weight)[:, ROBUST["protocol"]]
    assert np.isnan(plain).sum() > 2
    power, error = (made[name].isel(ROBUST) for name in ("drift_power", "drift_power_error"))
    assert np.isfinite(error).all()
    assert rms((power - 2) / error) < 1.6
    assert float(power.mean()) == pytest.approx(2.0, abs=0.25)


def test_the_ratio_is_that_of_drift_and_diffusion_per_epoch(found):
    """V²/D = (g²/s) per step, and per epoch N/S times that: of flat directions, the same at every S."""
    end = found.isel(step=-1)
    steady = 0.01**2 * 3200
    apart = (end["split_drift_ratio"] - steady) / end["split_drift_ratio_error"]
    assert float(end["split_drift_ratio"].mean()) == pytest.approx(steady, rel=0.1)
    assert rms(apart) < 2.0


def test_half_of_the_drift_is_along_the_start(found):
    """Weights go downhill, against the gradient; of 40 directions that drift the start has 20."""
    end = found.isel(step=-1)
    length = 0.01 * 2000 * np.array([0.02, 0.05])[:, None] / 0.1 * np.sqrt(20)
    assert rms((end["along_start"] + length) / end["along_start_error"]) < 2.5
    assert rms((end["along_start_share"] - 0.5) / end["along_start_share_error"]) < 2.0
    assert float(end["along_start_share"].mean()) == pytest.approx(0.5, abs=0.05)


def test_it_is_the_mean_over_pairs_and_leaves_out_one_replica_at_a_time(cube):
    one = cube.isel(learning_rate=0, batch_size=0, replica=slice(4), other_replica=slice(4))
    made = drift_split(one)
    gram = one["displacement_gram"].isel(step=-1).values

    def split(kept):
        inside = gram[np.ix_(kept, kept)]
        off = (inside.sum() - np.trace(inside)) / (len(kept) * (len(kept) - 1))
        return off, np.trace(inside) / len(kept) - off

    left = np.array([split([k for k in range(4) if k != out]) for out in range(4)])
    errors = np.sqrt(3 * left.var(axis=0))
    for place, name in enumerate(("drift_square", "diffusion_square")):
        assert float(made[name][-1]) == pytest.approx(split(range(4))[place], rel=1e-9)
        assert float(made[f"{name}_error"][-1]) == pytest.approx(errors[place], rel=1e-9)


def test_how_other_replicas_are_counted_does_not_matter(cube, found):
    gram = cube["displacement_gram"].values
    turned = np.stack([np.roll(gram[..., row, :, :], -row, axis=-1) for row in range(8)], axis=2)
    assert np.allclose(turned[..., 0], cube["global_displacement"])
    other = drift_split(cube.assign(displacement_gram=(cube["displacement_gram"].dims, turned)))
    np.testing.assert_allclose(other["drift_square"], found["drift_square"])
    np.testing.assert_allclose(other["drift_square_error"], found["drift_square_error"])


def test_pure_diffusion_has_no_drift():
    calm = Landscape(np.zeros(40), np.ones(40), modes=1)
    made = drift_split(walk_cube(calm, STEPS, replicas=6, batch_size=[8, 16, 32, 64]))
    assert (abs(made["drift_significance"]) < 4).all()
    assert rms(made["drift_significance"]) < 2.2
    assert float(abs(made["drift_share"].isel(step=-1)).max()) < 0.2


def test_two_replicas_have_no_errors_and_one_has_nothing(cube):
    two = drift_split(cube.isel(replica=slice(2), other_replica=slice(2)))
    assert np.isfinite(two["drift_square"].isel(step=-1)).all()
    assert np.isnan(two["drift_square_error"]).all()
    assert "no errors of two replicas" in two.attrs["reason"]
    with pytest.raises(ValueError, match="fit drift_split needs at least two replicas"):
        drift_split(cube.isel(replica=[0], other_replica=[0]))


def test_networks_that_diverge_and_starts_without_a_norm(cube, found):
    lost = cube.copy()
    for name in ("global_displacement", "displacement_along_start", "displacement_gram"):
        lost[name] = lost[name].where(lost["replica"] != 7)
    lost["displacement_gram"] = lost["displacement_gram"].where(lost["other_replica"] != 7)
    left = drift_split(cube.isel(replica=slice(7), other_replica=slice(7)))
    np.testing.assert_allclose(drift_split(lost)["drift_square"], left["drift_square"])
    np.testing.assert_allclose(drift_split(lost)["drift_power_error"], left["drift_power_error"])
    # The norm of the start may also be read off the first record.
    recorded = drift_split(cube.drop_vars("start_weight_norm"))
    np.testing.assert_allclose(recorded["along_start"], found["along_start"])
    bare = drift_split(cube.drop_vars(["weight_norm", "start_weight_norm"]))
    assert np.isnan(bare["along_start"]).all()
    assert "no norm of the start" in bare.attrs["reason"]


def bowl(gradient, curvature=CURVATURE):
    """A landscape all of whose directions are modes."""
    return Landscape(curvature, np.ones(len(curvature)), gradient=gradient, modes=len(curvature))


def test_the_gradient_at_the_start_foretells_the_drift(found):
    """Of modes that relax, and of flat ones that go on."""
    gradient = np.concatenate([np.full(5, 0.1), np.full(40, 0.01)])
    cube = walk_cube(bowl(gradient), STEPS, replicas=16, learning_rate=[0.02, 0.05], batch_size=[32, 320])
    made = drift_split(cube)
    x_0, end = gradient[:5] / CURVATURE[:5], STEPS[-1]
    flat = 0.01 * cube["learning_rate"].values / 0.1 * (end - 9)  # 1/(1 - β) - 1 steps are lost to gather speed
    theory = (x_0**2).sum() + 40 * flat**2
    np.testing.assert_allclose(made["drift_square_theory"].isel(step=-1).values, np.stack([theory] * 2, axis=1), 1e-3)
    late = made.isel(step=slice(8, None))
    assert 0.4 < rms((late["drift_square_ratio"] - 1) / late["drift_square_ratio_error"]) < 1.7
    assert float(made["drift_square_ratio"].isel(step=-1, batch_size=1, learning_rate=1)) == pytest.approx(1, abs=0.05)
    assert float(made["gradient_share"]) == pytest.approx(1)
    # Where the drift is along directions that are no modes nothing is foretold, and the share says so.
    assert float(found["gradient_share"]) == 0
    assert not found["drift_square_theory"].any()
    assert np.isnan(found["drift_square_ratio"]).all()


def test_half_of_the_gradient_is_known_by_half_of_the_modes():
    half = Landscape(np.full(20, 0.1), np.ones(20), gradient=np.full(20, 0.05), modes=10)
    made = drift_split(walk_cube(half, STEPS, replicas=16, batch_size=[320]))
    assert float(made["gradient_share"]) == pytest.approx(0.5)
    assert float(made["drift_square_ratio"].isel(step=-1)) == pytest.approx(2, rel=0.05)


def test_a_mode_that_curves_down_runs_away_and_one_that_is_no_eigenvector_counts_not():
    curvature = np.array([1.0, -0.02])
    cube = walk_cube(bowl(np.array([0.0, 0.01]), curvature), [0, 10, 100, 400], replicas=4, batch_size=[3200])
    made = drift_split(cube).squeeze()
    x = v = 0.0
    for _ in range(400):
        v = 0.9 * v - (-0.02 * x + 0.01)
        x += 0.05 * v
    assert float(made["drift_square_theory"][-1]) == pytest.approx(x**2, rel=1e-9)
    assert abs(x) > 10
    steep = cube.assign(curvature=("mode", [1.0, -30.0])).assign_coords(step=cube["step"] * 10)
    far = drift_split(steep).squeeze()
    assert np.isfinite(far["drift_square_theory"][0])
    assert np.isnan(far["drift_square_theory"][-1])
    mixed = cube.assign(curvature_residual=("mode", [0.0, 0.01]))
    assert not drift_split(mixed)["drift_square_theory"].any()
    bare = drift_split(cube.drop_vars("gradient"))
    assert np.isnan(bare["drift_square_theory"]).all()
    assert "no drift is predicted" in bare.attrs["reason"]


def test_a_polished_start_foretells_no_drift():
    calm = bowl(np.full(45, 1e-15))
    made = drift_split(walk_cube(calm, STEPS, replicas=4, weight_decay=[0.0, 0.01]))
    assert (made["drift_square_theory"] < 1e-20).all()
    assert np.isnan(made["drift_square_ratio"]).all()
    assert "the start's own one leaves" in made.attrs["reason"]
