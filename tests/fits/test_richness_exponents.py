import numpy as np
import pytest

from made_richness import Toy, drop_tau, largest_rate, richness_cube, searched
from sgdphases.fits.closing import KINDS
from sgdphases.fits.richness_exponents import broken_law, richness_exponents
from sgdphases.storage import cube

DEPTHS = [2, 3, 4]
LAZY = 10.0 ** np.arange(-4, -1, 0.5)
RICH = 10.0 ** np.arange(1, 4.5, 0.5)
WHOLE = 10.0 ** np.arange(-4, 4.5, 0.5)
RATES = 10.0 ** np.arange(-12, 5, 0.25)
TRAINED = {"criterion": 1}


@pytest.fixture(scope="module")
def found():
    """A search on the toy itself, without scatter."""
    toy = Toy()
    made = richness_cube(toy, depth=DEPTHS, richness=WHOLE, rates=RATES, steps=(0, 100, 200, 400))
    return richness_exponents(searched(made, toy, below=3.5))


def test_the_toys_exponents_are_those_of_its_formula(found, tmp_path):
    """Slopes of the exact law on these grids, dossier 5.3: its bend counts, and each lies in the interval."""
    last = found["largest_exponent"].isel(step=-1, **TRAINED)
    low, high = (found[f"largest_exponent_{side}"].isel(step=-1, **TRAINED) for side in ("low", "high"))
    for regime, slopes in enumerate(((1.9954, 1.9938, 1.9931), (1.0111, 0.6814, 0.5166))):
        np.testing.assert_allclose(last.isel(regime=regime), slopes, atol=0.003)
        assert ((low.isel(regime=regime) <= slopes) & (high.isel(regime=regime) >= slopes)).all()
    assert found["largest_exponent_error"].isel(step=-1).max() < 0.012
    assert list(found["regime_name"].values) == ["lazy", "rich"]
    assert found["largest_exponent"].dims == ("depth", "regime", "step", "criterion")
    np.testing.assert_array_equal(found["largest_points"].isel(step=-1, **TRAINED), [[12, 14]] * 3)
    cube.write(found, tmp_path / "fit.nc")


def test_all_criteria_and_the_best_rate_go_alike(found):
    """In the toy they are factors apart; the heights tell which."""
    largest = found["largest_exponent"].isel(step=-1)
    np.testing.assert_allclose(largest, largest.isel(**TRAINED).broadcast_like(largest), atol=0.006)
    height = found["largest_height"].isel(step=-1)
    np.testing.assert_allclose(height - height.isel(**TRAINED), np.broadcast_to([0.3, 0, -0.2], (3, 2, 3)), atol=0.02)
    np.testing.assert_allclose(height.isel(regime=0, **TRAINED), np.log10(2 / np.array(DEPTHS)), atol=0.03)
    best = found["best_exponent"].isel(step=-1)
    assert (np.abs(best - largest.isel(**TRAINED)) < 3 * found["best_exponent_error"].isel(step=-1)).all()


def test_the_smallest_rate_goes_as_the_law_of_the_drop(found):
    """γ τ(γ)/T: the exponents are those of the formula, 2 and a little more than 1, in the step -1."""
    for regime, richness in enumerate((LAZY, RICH)):
        for place, depth in enumerate(DEPTHS):
            true = np.polyfit(np.log10(richness), np.log10(richness * drop_tau(richness, depth)), 1)[0]
            one = found.isel(depth=place, regime=regime, step=-1)
            assert abs(float(one["smallest_exponent"]) - true) < 2 * float(one["smallest_exponent_error"])
    np.testing.assert_allclose(found["rich_budget_exponent"], -1, atol=0.12)
    assert (np.abs(found["rich_budget_exponent"] + 1) < 3 * found["rich_budget_exponent_error"]).all()
    # T from 100 to 400, on a lattice of quarters.
    assert found["budget_spread"].max() < 10**0.25
    # Of the deepest and richest networks nothing learns in 100 steps.
    known = np.isfinite(found["budget_spread"])
    assert int((~known).sum()) == 1
    assert not known.isel(depth=2, richness=-1)
    assert (found["budget_spread_error"].where(known, 1) > 0.1).all()


def test_the_break_is_at_one(found):
    for name in ("largest_break", "best_break"):
        value, error = (found[f"{name}{suffix}"].isel(step=-1) for suffix in ("", "_error"))
        assert (np.abs(value) < np.maximum(3 * error, 0.05)).all()
    np.testing.assert_allclose(found["broken_log_richness"], 0, atol=0.05)
    np.testing.assert_allclose(found["broken_lazy_exponent"], 2, atol=0.02)
    np.testing.assert_allclose(found["broken_rich_exponent"].T, np.tile(2 / np.array(DEPTHS), (3, 1)), atol=0.02)
    assert (found["broken_rich_exponent_error"] > 0).all()


def test_the_broken_law_is_the_toys():
    decades = np.linspace(-3, 3, 13)
    for depth in DEPTHS:
        law = broken_law(decades, np.array([2, 2 / depth, 0.0, np.log10(2 / depth)]))
        np.testing.assert_allclose(law, np.log10(largest_rate(10**decades, depth)), atol=1e-12)
    assert np.isfinite(broken_law(np.array([-400.0, 400.0]), np.array([2, 1, 0.0, 0.0]))).all()


def test_errors_cover_the_scatter_of_replicas():
    """24 made sets side by side, two replicas each: six values of the richness and 0.08 decades of scatter."""
    toy = Toy(scatter=0.08)
    sizes = 1 + np.arange(24)
    axes = {"batch_size": sizes, "richness": LAZY, "rates": RATES[:48], "steps": (0, 400)}
    found = richness_exponents(searched(richness_cube(toy, **axes), toy)).isel(step=-1, regime=0)
    true = np.polyfit(np.log10(LAZY), np.log10(largest_rate(LAZY, 3)), 1)[0]
    value, error = found["largest_exponent"].isel(**TRAINED), found["largest_exponent_error"].isel(**TRAINED)
    pull = (value - true) / error
    assert 0.6 < float(np.sqrt((pull**2).mean())) < 1.5
    covered = (found["largest_exponent_low"] <= true) & (true <= found["largest_exponent_high"])
    assert float(covered.isel(**TRAINED).mean()) >= 0.8
    expected = 0.08 / np.sqrt(2 * ((np.log10(LAZY) + 2.75) ** 2).sum())
    assert float(error.mean()) == pytest.approx(expected, rel=0.25)
    best = np.abs(found["best_exponent"] - true) / found["best_exponent_error"]
    assert float((best < 2).mean()) >= 0.8


@pytest.mark.parametrize(("depth", "steps"), [(3, (0, 10, 20, 40)), (4, (0, 10, 20, 40, 80, 160))])
def test_the_strip_closes_as_a_power_of_the_budget(depth, steps):
    """γ_c ∝ T^{L/(L - 2)}: seen where nothing learns any more, and where the lines meet."""
    richness = 10.0 ** np.arange(0, 5.5, 0.5)
    made = richness_cube(Toy(), depth=[depth], richness=richness, rates=10.0 ** np.arange(-2, 5, 0.1), steps=steps)
    found = richness_exponents(made)
    power = depth / (depth - 2)
    for name in ("closing_seen_exponent", "closing_crossing_exponent"):
        value, error = float(found[name]), float(found[f"{name}_error"])
        assert abs(value - power) < 2.5 * error
        assert error < 0.35 * power
    kinds = found["closing_kind"].values[1:]
    assert set(kinds) <= {1, 2}
    assert KINDS[kinds[0]] == "seen"
    seen = found["closing_seen"].values[1:]
    for place, step in enumerate(steps[1:]):
        open_ = largest_rate(richness, depth) > 1.1 * richness * drop_tau(richness, depth) / step
        last = np.log10(richness[open_][-1])
        if kinds[place] == 1:
            assert seen[place] == pytest.approx(last + 0.25, abs=0.51)
            assert float(found["closing"][place + 1]) == seen[place]
        else:
            assert last == 5


def test_the_curvature_predicts_the_edge_without_a_parameter():
    toy = Toy()

    def course(point, replica, steps):
        made = toy(point, replica, steps)
        top = 2 / largest_rate(float(point["richness"]), int(point["depth"]))
        return made | {"hessian_top": np.full(len(steps), top * (1 + 0.02 * replica))}

    made = searched(richness_cube(course, depth=[2, 4], steps=(0, 400)), toy)
    found = richness_exponents(made).isel(**TRAINED)
    np.testing.assert_allclose(found["predicted_ratio"], 1.01, atol=0.04)
    assert (np.abs(found["predicted_ratio"] - 1.01) < 4 * found["predicted_ratio_error"]).all()
    assert "predicted_ratio" not in richness_exponents(made.drop_vars("hessian_top"))


def test_what_cannot_be_fitted_is_not(tmp_path):
    made = richness_cube(Toy(), richness=[1e-3, 1.0, 10.0], rates=RATES, steps=(0, 400))
    found = richness_exponents(made)
    for regime in ("lazy", "rich"):
        assert f"no largest of {regime} networks" in found.attrs["reason"]
    for name in ("largest_exponent", "best_exponent", "largest_break", "broken_log_richness", "closing"):
        assert np.isnan(found[name]).all()
        assert np.isnan(found[f"{name}_error"]).all()
    cube.write(found, tmp_path / "fit.nc")
    with pytest.raises(ValueError, match="several values of the richness"):
        richness_exponents(made.isel(richness=0))
    with pytest.raises(ValueError, match="richness_exponents needs batch_loss"):
        richness_exponents(made.drop_vars("batch_loss"))
