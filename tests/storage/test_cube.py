import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.quantities import HYPERPARAMETERS, QUANTITIES
from sgdphases.storage import cube
from sgdphases.storage.cube import Layout

STEPS = [0, 1, 10]


def layout_of(axes, replicas, fixed):
    grids = np.meshgrid(*axes.values(), indexing="ij")
    points = []
    for values in zip(*[grid.ravel() for grid in grids], strict=True):
        point = {name: QUANTITIES[name].default for name in HYPERPARAMETERS} | fixed
        point |= {name: QUANTITIES[name].typed(value) for name, value in zip(axes, values, strict=True)}
        points.append(point)
    return Layout(axes=axes, points=points, replicas=list(range(replicas)), times=STEPS)


def number_of(point, replica):
    return point["learning_rate"] * 1000 + point["init_scale"] * 10 + replica


def shard_of(pairs, extra=()):
    """A measured shard whose values say which network they belong to."""
    columns = {name: [point[name] for point, _ in pairs] for name in HYPERPARAMETERS}
    columns["replica"] = [replica for _, replica in pairs]
    numbers = np.array([number_of(point, replica) for point, replica in pairs])
    variables = {
        "value": (("network", "step"), numbers[:, None] + np.arange(3), {"long_name": "value", "units": "1"}),
        "levels": (("network", "step", "mode"), np.ones((len(pairs), 3, 4)), {}),
        "flag": (("network", "step"), np.tile(np.int8([1, 0, -1]), (len(pairs), 1)), {"_FillValue": np.int8(-1)}),
    }
    variables |= dict.fromkeys(extra, variables["value"])
    return cube.measured(
        columns, variables, steps=STEPS, layers={1: (4, 8)}, attrs={"samples": 40, "dataset": "digits"}
    )


LAYOUT = layout_of({"learning_rate": [0.1, 0.2], "init_scale": [1.0, 2.0, 4.0]}, 2, {"batch_size": 4})
PAIRS = [(point, replica) for point in LAYOUT.points for replica in LAYOUT.replicas]


@settings(max_examples=20)
@given(st.permutations(range(len(PAIRS))), st.integers(1, 5))
def test_values_find_their_place_whatever_the_sharding(order, size):
    chunks = [order[start : start + size] for start in range(0, len(order), size)]
    shards = [(str(i), shard_of([PAIRS[index] for index in chunk])) for i, chunk in enumerate(chunks)]
    merged = cube.merge(LAYOUT, shards)
    assert merged["value"].dims == ("learning_rate", "init_scale", "replica", "step")
    for point, replica in PAIRS:
        cell = merged["value"].sel(
            learning_rate=point["learning_rate"], init_scale=point["init_scale"], replica=replica, step=10
        )
        assert cell == number_of(point, replica) + 2


def test_coordinates_stand_on_the_axes_along_which_they_change():
    merged = cube.merge(LAYOUT, [("all", shard_of(PAIRS))])
    assert merged["batch_size"].ndim == 0
    assert merged["temperature"].dims == ("learning_rate",)
    assert merged["inverse_init_scale"].dims == ("init_scale",)
    assert merged["momentum"] == 0
    np.testing.assert_allclose(merged["epoch"], [0, 0.1, 1])
    assert set(merged["flow_time"].dims) == {"learning_rate", "step"}
    assert merged["flow_time"].sel(learning_rate=0.2, step=10) == 2


def test_without_samples_there_is_no_epoch():
    shard = shard_of(PAIRS)
    del shard.attrs["samples"]
    merged = cube.merge(LAYOUT, [("all", shard)])
    assert "epoch" not in merged.coords
    assert merged["flow_time"].sel(learning_rate=0.2, step=10) == 2


def test_axis_with_one_value_is_a_scalar():
    layout = layout_of({"learning_rate": [0.1], "init_scale": [1.0, 2.0]}, 1, {"batch_size": 4})
    merged = cube.merge(layout, [("all", shard_of([(point, 0) for point in layout.points]))])
    assert merged["value"].dims == ("init_scale", "replica", "step")
    assert merged["learning_rate"] == 0.1


def test_temperature_axis_puts_the_learning_rate_on_both():
    axes = {"batch_size": [2, 4], "temperature": [0.1, 0.2]}
    base = layout_of({"batch_size": [2, 4]}, 1, {"learning_rate": 1.0})
    points = [p | {"learning_rate": t * p["batch_size"]} for p in base.points for t in axes["temperature"]]
    layout = Layout(axes=axes, points=points, replicas=[0], times=STEPS)
    merged = cube.merge(layout, [("all", shard_of([(point, 0) for point in points]))])
    assert merged["learning_rate"].dims == ("batch_size", "temperature")
    assert merged["temperature"].dims == ("temperature",)


def test_star_of_points_merges_on_point():
    points = [LAYOUT.points[0], LAYOUT.points[4]]
    layout = Layout(axes={"point": [0, 1]}, points=points, replicas=[0], times=STEPS)
    merged = cube.merge(layout, [("all", shard_of([(points[1], 0), (points[0], 0)]))])
    assert merged["value"].dims == ("point", "replica", "step")
    assert merged["learning_rate"].dims == ("point",)
    assert merged["value"].isel(point=1, step=0, replica=0) == number_of(points[1], 0)


def test_missing_and_unknown_networks_are_refused():
    with pytest.raises(ValueError, match=r"1 of 12 networks are missing, among them: replica 1 of .*'init_scale': 4"):
        cube.merge(LAYOUT, [("most", shard_of(PAIRS[:-1]))])
    stranger = (PAIRS[0][0] | {"momentum": 0.9}, 0)
    with pytest.raises(ValueError, match="odd holds a network that is not in the experiment: replica 0 of point"):
        cube.merge(LAYOUT, [("odd", shard_of([stranger]))])


def test_shards_that_disagree_are_refused():
    with pytest.raises(ValueError, match="differ in the variables other"):
        cube.merge(LAYOUT, [("a", shard_of(PAIRS[:6])), ("b", shard_of(PAIRS[6:], extra=["other"]))])
    late = shard_of(PAIRS).assign_coords(step=[0, 1, 11])
    with pytest.raises(ValueError, match="recorded at other steps"):
        cube.merge(LAYOUT, [("late", late)])


def test_write_and_read_are_inverse(tmp_path):
    merged = cube.merge(LAYOUT, [("all", shard_of(PAIRS))])
    cube.write(merged, tmp_path / "cube.nc")
    xr.testing.assert_identical(cube.read(tmp_path / "cube.nc").drop_attrs(deep=False), merged.drop_attrs(deep=False))
    assert cube.read(tmp_path / "cube.nc").attrs["Conventions"] == "CF-1.11"


def test_a_flag_without_a_value_is_missing_to_others_and_a_whole_number_here(tmp_path):
    cube.write(cube.merge(LAYOUT, [("all", shard_of(PAIRS))]), tmp_path / "cube.nc")
    ours = cube.read(tmp_path / "cube.nc")["flag"]
    assert (ours.dtype, ours.isel(step=2).values.max()) == (np.int8, cube.NO_VALUE)
    with xr.open_dataset(tmp_path / "cube.nc") as theirs:
        assert theirs["flag"].isel(step=2).isnull().all()
        assert float(theirs["flag"].isel(learning_rate=0, init_scale=0, replica=0).mean()) == 0.5


def test_same_content_same_bytes(tmp_path):
    merged = cube.merge(LAYOUT, [("all", shard_of(PAIRS))])
    for name in ("one.nc", "two.nc"):
        cube.write(merged, tmp_path / name)
    assert (tmp_path / "one.nc").read_bytes() == (tmp_path / "two.nc").read_bytes()


def test_damage_is_never_silent(tmp_path):
    rng = np.random.default_rng(0)
    merged = cube.merge(LAYOUT, [("all", shard_of(PAIRS))])
    merged["noise"] = ("step", rng.normal(size=3))
    path = tmp_path / "cube.nc"
    cube.write(merged, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cube\.nc is (damaged|incomplete)"):
        cube.read(path)


def test_incomplete_file_is_named(tmp_path):
    xr.Dataset({"value": 1}).to_netcdf(tmp_path / "half.nc")
    with pytest.raises(ValueError, match=r"half\.nc is incomplete"):
        cube.read(tmp_path / "half.nc")


def test_networks_of_several_depths_share_a_cube():
    """A shallow network has no value where a deeper one has a layer more."""
    fixed = {"learning_rate": 1.0, "batch_size": 4}
    layout = layout_of({"depth": [2, 3]}, 1, fixed)
    shards = []
    for point in layout.points:
        depth = point["depth"]
        columns = {name: [value] for name, value in point.items()} | {"replica": [0]}
        values = (("network", "step", "layer"), np.full((1, 3, depth), float(depth)), {})
        flags = (("network", "step", "layer"), np.full((1, 3, depth), depth, dtype=np.int8), {})
        layers = dict.fromkeys(range(depth), (4, 4))
        found = cube.measured(columns, {"x": values, "flag": flags}, steps=STEPS, layers=layers, attrs={})
        shards.append((str(depth), found))
    for order in (shards, shards[::-1]):
        made = cube.merge(layout, order).isel(replica=0, step=-1)
        assert made["layer"].values.tolist() == [0, 1, 2]
        np.testing.assert_array_equal(made["x"].sel(depth=2), [2, 2, np.nan])
        np.testing.assert_array_equal(made["flag"].sel(depth=2), [2, 2, -1])
        np.testing.assert_array_equal(made["x"].sel(depth=3), [3, 3, 3])
