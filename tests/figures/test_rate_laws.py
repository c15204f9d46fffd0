"""Lines of theory have the powers and the prefactors that they are said to have."""

import numpy as np
import pytest
import xarray as xr

from made_richness import drop_tau, largest_rate
from made_richness_fits import SHIFTS, edges_fit, portrait_cube
from sgdphases.figures.rate_laws import Law, fitted_laws, toy_laws
from sgdphases.theory.richness import largest_learning_rate
from sgdphases.theory.richness_flow import closing_richness, least_learning_rate

LIMITS = (-4.0, 4.0)
STEPS = 1e8


@pytest.fixture(scope="module")
def edges() -> xr.Dataset:
    """Exact edges of the toy, lazy and rich far from where they change."""
    richness = 10.0 ** np.concatenate([np.arange(-8, -5.9, 0.5), np.arange(6, 8.1, 0.5)])
    made = edges_fit(portrait_cube(richness=richness, depth=[2, 3, 4], rates=[1e-12, 1.0])).isel(step=-1)
    # So many steps that the strip stays open.
    return made.assign(log_smallest_rate=made["log_smallest_rate"] - np.log10(STEPS / 100))


def at(law: Law, place: float) -> float:
    return float(np.interp(place, law.richness, law.rates))


def laws_of(edges: xr.Dataset, depth: int, **said: object) -> dict[str, Law]:
    known = {"loss": "mean_squared_error", "steps": STEPS, "last": STEPS} | said
    found = fitted_laws(edges.sel(depth=depth), (-9.0, 9.0), depth=depth, **known)
    return {law.kind: law for law in found}


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_largest_rate_goes_through_the_edges_with_the_powers_of_theory(edges: xr.Dataset, depth: int) -> None:
    law = laws_of(edges, depth)["largest"]
    for place, power in ((-7.0, 2.0), (6.1, 2 / depth)):
        assert at(law, place) == pytest.approx(np.log10(largest_rate(10**place, depth)), abs=0.01)
        assert at(law, place + 0.5) - at(law, place) == pytest.approx(0.5 * power, abs=1e-9)
    middle = law.richness[np.flatnonzero(np.diff(law.rates, 2) < -1e-9)]
    assert np.abs(middle).max() < 0.2


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_smallest_rate_goes_as_one_over_the_steps(edges: xr.Dataset, depth: int) -> None:
    law, early = laws_of(edges, depth)["smallest"], laws_of(edges, depth, steps=STEPS / 10)["smallest"]
    drawn = np.isfinite(law.rates) & np.isfinite(early.rates)
    assert np.allclose(early.rates[drawn] - law.rates[drawn], 1)
    assert at(law, -6.5) - at(law, -7.0) == pytest.approx(1.0)
    if depth == 2:
        grown = np.log10(10**7.5 * np.log(2 + 10**7.5)) - np.log10(10**6 * np.log(2 + 10**6))
        assert at(law, 7.5) - at(law, 6.0) == pytest.approx(grown, abs=1e-9)
        assert "ln" in law.said
    assert at(law, 6.0) == pytest.approx(np.log10(10**6 * drop_tau(10**6, depth) / STEPS), abs=0.03)
    assert "T=1e+08" in law.said


def test_lines_end_where_they_meet(edges: xr.Dataset) -> None:
    found = laws_of(edges, 4, steps=1e3)
    last = [law.richness[np.isfinite(law.rates)][-1] for law in found.values()]
    assert last[0] == last[1] == pytest.approx(np.log10(closing_richness(1e3, 4)), abs=0.2)
    gap = at(found["largest"], last[0]) - at(found["smallest"], last[0])
    assert 0 <= gap < 0.5 * 18 / 240
    assert np.isfinite(laws_of(edges, 2)["largest"].rates).all()


def test_a_bounded_loss_has_three_powers(edges: xr.Dataset) -> None:
    found = laws_of(edges, 3, loss="cross_entropy")
    lazy = edges.sel(depth=3, richness=slice(1e-9, 1e-5))
    place = np.log10(lazy["richness"].values).mean()
    finite = lazy["log_largest_rate"].isel(criterion=0).values.mean()
    assert at(found["largest"], place) == pytest.approx(finite)
    assert at(found["largest"], place + 1) - finite == pytest.approx(1.0)
    calm = finite - SHIFTS["finite"] + SHIFTS["calm"]
    assert at(found["critical"], place) == pytest.approx(calm)
    assert at(found["critical"], place + 1) - calm == pytest.approx(2.0)
    assert np.isnan(found["critical"].rates[found["critical"].richness > 0.1]).all()
    assert set(laws_of(edges, 3)) == {"largest", "smallest"}


def test_what_has_no_edge_has_no_line(edges: xr.Dataset) -> None:
    lost = edges.copy()
    lost["log_smallest_rate"] = lost["log_smallest_rate"] * np.nan
    assert set(laws_of(lost, 3)) == {"largest"}
    rich = laws_of(edges.sel(richness=slice(1e5, None)), 3)["largest"]
    assert np.isnan(rich.rates[rich.richness < 0]).all() and np.isfinite(rich.rates[rich.richness > 0.2]).all()


@pytest.mark.parametrize(("loss", "word"), [("mean_squared_error", "half_squared_error"), ("cross_entropy",) * 2])
def test_the_toy_is_drawn_as_it_is(loss: str, word: str) -> None:
    largest, smallest = toy_laws(LIMITS, depth=4, loss=loss, steps=20)
    drawn = np.isfinite(largest.rates)
    x = 10 ** largest.richness[drawn]
    assert np.allclose(largest.rates[drawn], np.log10(largest_learning_rate(x, 4, loss=word)))
    assert np.allclose(smallest.rates[drawn], np.log10(least_learning_rate(20, x, 4, loss=word)))
    assert x[-1] <= closing_richness(20, 4, loss=word) <= x[-1] * 10 ** (8 / 240)
    assert "toy" in largest.said and "toy" in smallest.said
