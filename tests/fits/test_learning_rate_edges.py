import numpy as np
import pytest
import xarray as xr

from made_richness import LATTICE, RICHNESS, Toy, richness_cube, searched
from sgdphases.ensemble.status import CRITERIA, STATUS
from sgdphases.fits.learning_rate_edges import learning_rate_edges
from sgdphases.storage import cube

TOY = Toy(scatter=0.05)
CELL = 0.25


def true_edges(toy, made):
    """(richness, replica, criterion)."""
    points = [{"richness": value, "depth": 3} for value in made["richness"].values]
    return np.array([[toy.edges(point, replica) for replica in range(made.sizes["replica"])] for point in points])


@pytest.fixture(scope="module")
def made():
    return richness_cube(TOY)


@pytest.fixture(scope="module")
def found(made):
    return learning_rate_edges(made)


def test_edges_lie_between_neighbours_of_the_lattice(made, found, tmp_path):
    last = found.isel(step=-1)
    low, high = (
        last[f"log_largest_rate_{side}"].transpose("richness", "replica", "criterion") for side in ("low", "high")
    )
    true = true_edges(TOY, made)
    assert (low <= true).all()
    assert (high > true).all()
    np.testing.assert_allclose(high - low, CELL)
    np.testing.assert_allclose(last["log_largest_rate"], ((low + high) / 2).mean("replica"))
    assert (last["log_largest_rate_error"] >= CELL / np.sqrt(12) * (1 - 1e-9)).all()
    assert list(found["criterion_name"].values) == list(CRITERIA)
    assert found["log_largest_rate"].dims == ("richness", "step", "criterion")
    cube.write(found, tmp_path / "fit.nc")
    xr.testing.assert_allclose(cube.read(tmp_path / "fit.nc"), found)


def test_a_search_knows_the_edges_better_at_the_end(made):
    found = learning_rate_edges(searched(made, TOY))
    last = found.isel(step=-1)
    low, high = (
        last[f"log_largest_rate_{side}"].transpose("richness", "replica", "criterion") for side in ("low", "high")
    )
    np.testing.assert_allclose(high - low, 0.02)
    true = true_edges(TOY, made)
    assert ((low <= true) & (true <= high)).all()
    before = found.isel(step=-2)
    np.testing.assert_allclose(before["log_largest_rate_high"] - before["log_largest_rate_low"], CELL)
    # Seeds scatter by 0.05: that is the error now, not the lattice.
    scatter = true.std(axis=1, ddof=1) / np.sqrt(2)
    np.testing.assert_allclose(last["log_largest_rate_error"], np.maximum(scatter, 0.02 / np.sqrt(12)), atol=0.011)


def test_the_smallest_rate_is_the_first_to_train(made, found):
    for place, richness in enumerate(RICHNESS):
        for replica in range(2):
            drops = [TOY.drop({"richness": richness, "depth": 3, "learning_rate": rate}, replica) for rate in LATTICE]
            first = np.flatnonzero(np.array(drops) <= 400)[0]
            ends = found.isel(richness=place, replica=replica, step=-1)
            assert float(ends["log_smallest_rate_high"]) >= np.log10(LATTICE[first]) - 1e-9
            # The loss must still fall a little until it counts as learned.
            assert float(ends["log_smallest_rate_high"]) <= np.log10(LATTICE[first]) + CELL + 1e-9


def test_the_best_rate_is_where_the_parabola_is_lowest():
    """The toy's loss is a parabola in the logarithm of the rate, 0.35 decades under the edge."""
    made = richness_cube(Toy(), richness=[1e-3, 1e-2, 1e3], steps=(0, 2000), replicas=3)
    found = learning_rate_edges(made)
    best = true_edges(Toy(), made)[:, 0, 1] - 0.35
    last = found.isel(step=-1)
    np.testing.assert_allclose(last["log_best_rate"], best, atol=0.02)
    np.testing.assert_allclose(last["log_best_rate_error"], CELL / 4)
    np.testing.assert_allclose(last["log_best_rate_of_replica"].T - last["log_best_rate"], 0, atol=1e-12)
    np.testing.assert_allclose(last["best_test_accuracy"], 1 - last["best_test_loss"])


def test_the_best_rates_error_is_that_of_the_replicas_where_they_scatter(made):
    found = learning_rate_edges(richness_cube(Toy(scatter=0.4), replicas=4)).isel(step=-1)
    found = found.isel(richness=np.isfinite(found["log_best_rate"].values))
    deviation = found["log_best_rate_of_replica"].std("replica", ddof=1)
    assert found.sizes["richness"] > 10
    assert (found["log_best_rate_error"] >= deviation * (1 - 1e-9)).all()
    assert (found["log_best_rate_error"] > CELL / 4).mean() > 0.8


def test_a_neighbour_that_one_replica_did_not_survive_makes_no_parabola():
    made = richness_cube(Toy(), richness=[1e-2], steps=(0, 2000))
    whole = float(learning_rate_edges(made)["log_best_rate"].isel(step=-1, richness=0))
    place = int(np.abs(np.log10(LATTICE) - whole).argmin())
    for name, value in (("test_loss", np.nan), ("status", 0)):
        made[name][{"learning_rate": place + 1, "replica": 1, "step": -1}] = value
    found = learning_rate_edges(made).isel(step=-1, richness=0)
    assert whole != pytest.approx(np.log10(LATTICE[place]), abs=1e-3)
    assert float(found["log_best_rate"]) == pytest.approx(np.log10(LATTICE[place]))


def test_nothing_above_or_below_says_so():
    """A lattice inside the range of what trains: neither end was found bad, and no middle is made up."""
    found = learning_rate_edges(richness_cube(Toy(calm=0.1), richness=[1.0], rates=[0.03, 0.1])).isel(step=-1)
    for name in ("log_largest_rate", "log_smallest_rate"):
        assert np.isnan(found[name]).all()
    assert np.isnan(found["log_largest_rate_high"]).all()
    np.testing.assert_allclose(found["log_largest_rate_low"], -1)
    np.testing.assert_allclose(found["log_smallest_rate_high"], np.log10(0.03))
    assert np.isnan(found["log_smallest_rate_low"]).all()


def test_states_are_counted_and_what_never_learns_has_a_reason(made, found):
    count = found["status_count"].sum("state")
    assert (count == len(LATTICE) * 2).all()
    assert list(found["state_name"].values) == list(STATUS.values())
    dead = learning_rate_edges(richness_cube(Toy(), richness=[1.0, 1e6], rates=LATTICE[:30]))
    last = dead.isel(step=-1, richness=1)
    assert np.isnan(last["log_best_rate"])
    assert np.isnan(last["log_largest_rate"].sel(criterion=1))
    assert "1 of 2 values of the richness" in dead.attrs["reason"]
    untried = learning_rate_edges(searched(made, TOY))["status_count"].sum("state")
    assert (untried < count).all()


@pytest.mark.parametrize("missing", ["status", "test_loss", "batch_loss"])
def test_what_lacks_is_named(made, missing):
    with pytest.raises(ValueError, match=f"learning_rate_edges needs {missing}"):
        learning_rate_edges(made.drop_vars(missing))


def test_other_axes_of_learning_rates_and_of_the_grid_serve_as_well(made, found):
    share = LATTICE[20:50]
    again = learning_rate_edges(richness_cube(TOY, rates=share, rate_axis="scaled_learning_rate"))
    assert again.attrs["rate_axis"] == "scaled_learning_rate"
    apart = (again["log_largest_rate"] - found["log_largest_rate"]).isel(step=-1)
    assert np.abs(apart).max() < CELL
    lone = learning_rate_edges(made.sel(richness=1.0, drop=False))
    np.testing.assert_allclose(
        lone["log_best_rate"].squeeze("richness"), found["log_best_rate"].sel(richness=1.0), rtol=1e-12
    )
    width = xr.concat([made.sel(richness=1.0).drop_vars("richness")] * 2, "width").assign_coords(width=[32, 64])
    wide = learning_rate_edges(width)
    assert wide["log_best_rate"].dims == ("width", "richness", "step")
