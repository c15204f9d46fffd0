"""Claims about small batches and the order of the data, on cubes of the exact recursion."""

from dataclasses import replace

import numpy as np
import pytest

from made_diffusion import Landscape, log_steps, walk_cube
from sgdphases.claims.claim import graded
from sgdphases.claims.kunin2021batches import step_share
from sgdphases.claims.kunin2021limiting import statements
from sgdphases.fits.displacement import displacement
from sgdphases.fits.drift_split import drift_split

SAMPLES = 1442
PERIOD = SAMPLES // 32
STEPS = 75 * PERIOD
FLAT = Landscape(np.zeros(40), np.full(40, 0.05), modes=1, samples=SAMPLES)


def cube_of(landscape=FLAT, *, batch_size=(32, 128, 256), **more):
    grid = {"learning_rate": [0.01], "momentum": [0.9], "batch_size": list(batch_size)}
    cube = walk_cube(landscape, log_steps(STEPS, lattice=PERIOD), replicas=8, **grid, **more)
    return cube.assign_attrs(dataset="digits", widths=[64, 4, 10])


def rows_of(cube):
    fits = {fit.__name__: fit(cube) for fit in (displacement, drift_split)}
    rows = graded(statements(), "kunin2021limiting", cube, fits)
    return {row["claim"].removeprefix("diffusion-"): row for row in rows}


def lifted(cube, factor):
    """A cube whose steps at S = 32 are longer than those of the noise of the others."""
    small = cube["batch_size"] == 32
    scaled = cube["local_displacement"].where(~small, factor * cube["local_displacement"])
    return cube.assign(local_displacement=scaled.transpose(*cube["local_displacement"].dims))


@pytest.fixture(scope="module")
def free():
    return cube_of()


@pytest.fixture(scope="module")
def plain(free):
    return rows_of(free)


def orders(sampler, said=None):
    """Rows of noise in one order, said to be another."""
    cube = cube_of(replace(FLAT, samples=32 * PERIOD), sampler=sampler, batch_size=(32,))
    return rows_of(cube.assign_attrs(sampler=said or sampler))


def parts(rows, claim):
    """Verdicts of the elements of a list, by their number."""
    return {name.split(".")[1]: row["verdict"] for name, row in rows.items() if name.startswith(f"{claim}.")}


def test_without_a_norm_the_law_holds(plain):
    assert float(plain["43.1"]["measured"]) == pytest.approx(1, abs=0.05)
    assert plain["43.1"]["verdict"] == "pass"
    assert {plain[name]["verdict"] for name in ("35", "36", "42", "44", "45")} == {"not_measured"}


@pytest.mark.parametrize(("factor", "verdict"), [(1.14, "pass"), (1.0, "fail"), (3.0, "fail")])
def test_parts_of_a_batch_must_lift_the_step_as_in_the_paper(free, factor, verdict):
    rows = rows_of(lifted(free, factor).assign_attrs(norm="batch", ghosts=8))
    assert rows["35"]["verdict"] == verdict
    assert float(rows["35"]["measured"]) == pytest.approx(factor, rel=0.03)
    assert "needs norm none of 1 parts, has batch of 8" in rows["43.1"]["reason"]


def test_a_batch_normalised_as_a_whole_has_a_claim_of_its_own(free):
    rows = rows_of(lifted(free, 1.2).assign_attrs(norm="batch", ghosts=1))
    assert rows["42.1"]["verdict"] == rows["42"]["verdict"] == "fail"
    assert {rows[name]["verdict"] for name in ("35", "43")} == {"not_measured"}


def test_the_power_rises_where_small_batches_drift_more(free):
    """At S = 32 what is left of diffusion is confined by nothing, at S = 128 by a minimum."""
    small = free["batch_size"] == 32
    time = free["step"].clip(min=1).astype(float)
    for factor, verdict in ((time**0.3, "pass"), (time**-0.3, "fail")):
        bent = free["global_displacement"].where(~small, factor * free["global_displacement"])
        cube = free.assign(global_displacement=bent.transpose(*free["global_displacement"].dims))
        rows = rows_of(cube.assign_attrs(norm="batch", ghosts=8))
        assert rows["36"]["verdict"] == verdict
        assert abs(float(rows["36"]["measured"])) == pytest.approx(0.3, abs=4 * float(rows["36"]["error"]))


def test_each_order_has_its_own_law():
    words = {"learning_rate": 0.01, "momentum": 0.9, "samples": SAMPLES}
    whole = (SAMPLES - 32) / (SAMPLES - 1)
    assert step_share("with_replacement", **words) == pytest.approx(1)
    assert step_share("reshuffle", **words) == pytest.approx(1 - 2 * 9 / 45, abs=0.08)
    assert step_share("fixed_shuffle", **words) < step_share("reshuffle", **words)
    for sampler in ("reshuffle", "fixed_shuffle"):
        # Without momentum velocities are single noises, which know of no others.
        assert step_share(sampler, **(words | {"momentum": 0.0})) == pytest.approx(whole, rel=1e-9)
        # Stiff modes forget within an epoch what came before.
        flat, stiff = step_share(sampler, np.array([0.0, 30.0]), **words)
        assert flat < 0.7 < stiff


def test_with_replacement_nothing_is_lost(plain):
    assert parts(plain, "37") == dict.fromkeys("123", "pass")
    assert float(plain["37.1"]["measured"]) == pytest.approx(1, abs=0.05)
    assert float(plain["37.2"]["measured"]) == pytest.approx(1, abs=0.2)


def test_in_reshuffled_order_epochs_cancel():
    rows = orders("reshuffle")
    assert parts(rows, "44") == dict.fromkeys("123", "pass")
    assert {rows[name]["verdict"] for name in ("37", "45")} == {"not_measured"}
    assert float(rows["44.1"]["measured"]) == pytest.approx(1, abs=0.05)
    assert "of the law with replacement, theory 0.66" in rows["44.1"]["reason"]
    assert float(rows["44.2"]["measured"]) < 0.01


@pytest.mark.parametrize(
    ("sampler", "said", "failing"),
    [
        ("with_replacement", "reshuffle", {"44.1", "44.2"}),
        ("reshuffle", "fixed_shuffle", {"45"}),
        ("reshuffle", "with_replacement", {"37.1"}),
    ],
)
def test_noise_of_another_order_fails(sampler, said, failing):
    rows = orders(sampler, said)
    assert failing <= {name for name, row in rows.items() if row["verdict"] == "fail"}
