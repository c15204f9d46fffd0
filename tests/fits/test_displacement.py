import numpy as np
import pytest
import xarray as xr

from made_diffusion import Landscape, ladder, log_steps, walk_cube
from sgdphases.fits.displacement import displacement
from sgdphases.fits.displacement_models import drift_ratio
from sgdphases.fits.exponents import PROTOCOLS, exponents, protocols_of, weights_by_length
from sgdphases.fits.walks import walks_of
from sgdphases.theory import momentum_displacement

ROBUST = {"protocol": PROTOCOLS.index("robust")}
FREE = Landscape(np.concatenate([[1.0], np.zeros(40)]), np.concatenate([[0.01], np.ones(40)]), modes=1)


@pytest.fixture(scope="module")
def free():
    grid = {"learning_rate": [0.01, 0.02, 0.05], "momentum": [0.5, 0.9], "batch_size": [16, 32]}
    return walk_cube(FREE, log_steps(4000, each_decade=20), replicas=8, **grid)


@pytest.fixture(scope="module")
def found(free):
    return displacement(free)


def test_free_diffusion_has_power_one_within_its_errors(found, free):
    steps = free["step"].values
    truth = []
    for point in range(12):
        walks = walks_of(free, "test")
        words = walks.words(point)
        curve = momentum_displacement.free_displacement(steps, 1.0, **words)
        truth.append(exponents(np.tile(curve, (12, 1)), protocols_of(walks).weight)[point])
    truth = np.reshape(truth, found["exponent"].shape)
    apart = (found["exponent"] - truth) / found["exponent_error"]
    robust = apart.isel(ROBUST)
    assert 0.5 < float(np.sqrt((robust**2).mean())) < 1.6
    assert float(found["exponent"].isel(ROBUST).mean()) == pytest.approx(1.015, abs=0.03)
    inside = (found["exponent_low"] < truth) & (truth < found["exponent_high"])
    assert float(inside.mean()) > 0.75
    spread = (found["exponent_scatter"] / np.sqrt(8)).isel(ROBUST).mean()
    assert float(found["exponent_error"].isel(ROBUST).mean()) == pytest.approx(float(spread), rel=0.25)


def test_free_diffusion_has_ratio_one_once_inertia_is_gone(found):
    late = found.sel(step=slice(300, None))
    assert float(late["free_ratio"].mean()) == pytest.approx(1.0, abs=0.04)
    first = found["free_ratio"].sel(step=2, momentum=0.9)
    assert (first < 0.1).all()
    apart = (found["free_ratio"].isel(step=-1) - 1) / found["free_ratio_error"].isel(step=-1)
    assert float(np.sqrt((apart**2).mean())) < 2.0
    assert float(late["local_exponent"].mean()) == pytest.approx(1.0, abs=0.05)
    assert np.isnan(found["free_ratio"].isel(step=0)).all()


def test_one_step_has_the_level_of_both_theories(found):
    exact, paper = (found["one_step_ratio"].isel(theory=place) for place in range(2))
    apart = (exact - 1) / found["one_step_ratio_error"].isel(theory=0)
    assert 0.5 < float(np.sqrt((apart**2).mean())) < 1.6
    assert float(abs(exact - 1).max()) < 0.05
    # Flat directions have no h, so that the paper's scaling holds; its constant is measured at one point.
    assert float(abs(paper - 1).max()) < 0.06
    assert found.attrs["reference_point"] == [1, 0, 0]
    reference = dict(zip(("learning_rate", "momentum", "batch_size"), (1, 0, 0), strict=True))
    assert float(paper.isel(reference)) == 1.0
    assert float(found["one_step_ratio_error"].isel(reference | {"theory": 1})) == 0.0
    growth = found["one_step_growth"] / found["one_step_growth_error"]
    assert float(np.sqrt((growth**2).mean())) < 2.2


def test_steps_that_grow_are_seen(free):
    grown = free["local_displacement"] * (1 + 0.3 * free["step"] / 4000)
    made = displacement(free.assign(local_displacement=grown).isel(batch_size=0))
    assert float(made["one_step_growth"].mean()) == pytest.approx(0.3 / 1.15, rel=0.15)
    assert (made["one_step_growth"] > 2 * made["one_step_growth_error"]).mean() > 0.8


def test_confined_networks_stop_and_drifting_ones_do_not():
    steps = log_steps(4000, each_decade=20)
    still = displacement(walk_cube(ladder(8), steps, replicas=6, learning_rate=[0.1]))
    assert float(still["exponent"].isel(ROBUST)) == pytest.approx(0, abs=0.2)
    assert float(still["free_ratio"].isel(step=-1)) < 0.1
    many = np.concatenate([[0.0], np.ones(200)])
    wind = Landscape(1 - many, np.concatenate([[0.01], np.ones(200)]), gradient=0.01 * many, modes=1)
    blown = displacement(walk_cube(wind, steps, replicas=6))
    time = np.rint(np.geomspace(500, 4000, 37)).astype(int)
    law = {"gradient": 0.01, "learning_rate": 0.05, "momentum": 0.9}
    course = momentum_displacement.displacement_from_rest(time, 0.0, 1 / 32, **law)
    truth = 100 * drift_ratio(time, np.log(course))[0]
    # V² = (ηg/(1 - β))² and D = η²s/(1 - β)² a step, and 100 steps to an epoch, but for the start from rest.
    assert truth == pytest.approx(100 * 0.01**2 * 32, rel=0.12)
    ratio, error = (float(blown[f"drift_ratio{end}"]) for end in ("", "_error"))
    assert abs(ratio - truth) < 3.5 * error < 0.6 * truth
    assert float(blown["drift_ratio_low"]) < ratio < float(blown["drift_ratio_high"])
    assert float(blown["drift_ratio_per_step"]) == pytest.approx(ratio / 100)
    assert int(blown["best_model"]) == 1
    assert float(blown["aic_gain"]) > 3 * float(blown["aic_gain_error"]) > 0
    assert float(blown["exponent"].isel(ROBUST)) > 1.6
    assert float(blown["free_ratio"].isel(step=-1)) > 5


def test_the_power_by_length_is_that_of_figure_7():
    """Oracle O12: Dt + V²t² with r = .00734338 per epoch, fitted as the released code fits runs of 20 to 100 epochs."""
    step = np.arange(0, 2001, 2)
    dims = ("replica", "step")
    cube = xr.Dataset(
        {"global_displacement": (dims, np.zeros((1, len(step))))},
        coords={"step": step, "replica": [0], "learning_rate": 0.1, "momentum": 0.9, "batch_size": 1}
        | {"weight_decay": 0.0, "samples": 40},
    )
    walks = walks_of(cube, "test", "global_displacement")
    epochs = step / 40
    found = exponents((epochs + 0.00734338 * epochs**2)[None], weights_by_length(walks))[0]
    chosen = np.searchsorted(epochs, [20, 30, 40, 50])
    assert found[chosen] == pytest.approx([1.086, 1.122, 1.155, 1.186], abs=6e-4)
    assert np.isnan(found[epochs < 1]).all()


def test_what_cannot_be_had_is_nan_and_said(free):
    free = free.isel(learning_rate=[0, 1], batch_size=0)
    bare = free.drop_vars(["noise_trace", "noise", "curvature"])
    made = displacement(bare)
    assert np.isnan(made["one_step_ratio"].isel(theory=0)).all()
    assert np.isfinite(made["one_step_ratio"].isel(theory=1)).all()
    assert "no noise_trace" in made.attrs["reason"]
    short = displacement(free.sel(step=slice(0, 100)))
    assert np.isnan(short["exponent"].isel(protocol=0)).all()
    assert "paper_fig1: runs are too short" in short.attrs["reason"]
    assert (short["best_model"].sel(momentum=0.9) == -1).all()
    single = displacement(free.isel(replica=[0]))
    assert np.isfinite(single["exponent"].isel(ROBUST)).all()
    assert np.isnan(single["exponent_error"]).all()
    assert np.isfinite(single["one_step_error"]).all()


def test_a_network_that_diverges_is_left_out(free):
    free = free.isel(learning_rate=[1], batch_size=0)
    late = (free["step"] > 1000) & (free["replica"] == 5)
    lost = free.assign({name: free[name].where(~late) for name in ("global_displacement", "local_displacement")})
    left = displacement(free.isel(replica=[0, 1, 2, 3, 4, 6, 7]))
    made = displacement(lost)
    np.testing.assert_allclose(made["exponent"], left["exponent"])
    np.testing.assert_allclose(made["one_step"], left["one_step"])
