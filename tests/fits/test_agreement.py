import numpy as np
import pytest
import xarray as xr

from made_richness import Toy, richness_cube
from sgdphases.fits.agreement import agreement
from sgdphases.storage import cube

GRID = 10.0 ** np.arange(-3, 4)
PROBES = (60, 10)
SHARE = 0.6
"""Weight of the common function in lazy outputs."""


def functions(point, replica, steps):
    """Rich outputs are one function of the replica; lazy ones are 0.6 of it and 0.8 of another."""
    made = Toy()(point, replica, steps)
    common, other = np.random.default_rng([replica, 1]).standard_normal((2, *PROBES))
    lazy = point["richness"] < 0.5
    outputs = SHARE * common + 0.8 * other if lazy else common
    features = np.array([0.1, 0.2 + 0.001 * replica, 0.2 if lazy else 0.8 + 0.001 * np.log10(point["richness"])])
    if int(point["depth"]) == 2:
        features[2] = np.nan
    late = np.concatenate([np.zeros(len(steps) - 1), [1]])
    return made | {
        "outputs": late[:, None, None] * outputs,
        "feature_alignment": np.tile(features, (len(steps), 1)),
        "ntk_alignment": np.full(len(steps), 0.3 if lazy else 0.7),
    }


def made_cube(**axes):
    axes = {"richness": GRID, "depth": [2, 3], "rates": [0.1, 0.3], "steps": (0, 100, 1000), "replicas": 3} | axes
    return richness_cube(functions, rate_axis="scaled_learning_rate", **axes)


@pytest.fixture(scope="module")
def found():
    return agreement(made_cube())


def test_agreement_is_the_coefficient_of_determination(found, tmp_path):
    lazy = GRID < 0.5
    table = found["output_agreement"].isel(depth=0).transpose("richness", "reference_richness").values
    np.testing.assert_allclose(table[np.ix_(lazy, lazy)], 1)
    np.testing.assert_allclose(table[np.ix_(~lazy, ~lazy)], 1)
    # |f - g|² = 0.4² + 0.8², over |g|² = 1.
    np.testing.assert_allclose(table[np.ix_(lazy, ~lazy)], 1 - 0.8, atol=0.1)
    correlation = found["output_correlation"].isel(depth=0).transpose("richness", "reference_richness").values
    np.testing.assert_allclose(correlation, correlation.T)
    np.testing.assert_allclose(correlation[np.ix_(lazy, ~lazy)], SHARE**2, atol=0.08)
    np.testing.assert_allclose(found["reference_richness"], found["richness"])
    cube.write(found, tmp_path / "fit.nc")
    xr.testing.assert_allclose(cube.read(tmp_path / "fit.nc"), found)


def test_numpy_agrees(found):
    made = made_cube()
    first, second = (
        made["outputs"].isel(step=-1, depth=0, replica=0, scaled_learning_rate=0).sel(richness=value).values.ravel()
        for value in (0.01, 100)
    )
    expected = 1 - ((first - second) ** 2).sum() / ((second - second.mean()) ** 2).sum()
    single = agreement(made.isel(replica=[0]))
    place = {"depth": 0, "richness": 1, "reference_richness": 5}
    assert float(single["output_agreement"].isel(place)) == pytest.approx(expected)
    assert float(single["output_correlation"].isel(place)) == pytest.approx(np.corrcoef(first, second)[0, 1] ** 2)
    assert np.isnan(single["output_agreement_error"]).all()
    assert found["output_agreement_error"].isel(place) > 0


def test_summaries_are_over_pairs(found):
    np.testing.assert_allclose(found["rich_agreement"], 1)
    np.testing.assert_allclose(found["least_rich_agreement"], 1)
    np.testing.assert_allclose(found["lazy_rich_agreement"], 0.2, atol=0.1)
    assert (found["largest_lazy_rich_agreement"] >= found["lazy_rich_agreement"] - 1e-12).all()
    assert (found["lazy_rich_agreement_error"] > 0).all()


def test_features_of_the_last_hidden_layer_are_compared(found):
    assert found["final_feature_alignment"].dims == ("depth", "richness", "layer")
    two, three = (float(found["alignment_spread"].isel(depth=place)) for place in (0, 1))
    assert two == pytest.approx(0, abs=1e-12)
    assert three == pytest.approx(0.003)
    np.testing.assert_allclose(found["final_ntk_alignment"].isel(depth=0), np.where(GRID < 0.5, 0.3, 0.7))


def test_networks_that_have_not_learned_are_left_out():
    found = agreement(made_cube(steps=(0, 20), depth=[4]))
    open_ = np.isfinite(found["final_ntk_alignment"].values)
    assert 0 < open_.sum() < len(GRID)
    table = found["output_agreement"].values
    assert (np.isfinite(table) == (open_[:, None] & open_)).all()
    assert f"nothing has learned at {(~open_).sum()} of {len(GRID)}" in found.attrs["reason"]


def test_what_lacks_is_named():
    made = made_cube(depth=[3], richness=[1.0, 10.0])
    with pytest.raises(ValueError, match="agreement needs status"):
        agreement(made.drop_vars("status"))
    with pytest.raises(ValueError, match="outputs, feature_alignment or ntk_alignment"):
        agreement(made.drop_vars(["outputs", "feature_alignment", "ntk_alignment"]))
    assert "output_agreement" not in agreement(made.drop_vars("outputs"))
