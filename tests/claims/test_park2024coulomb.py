import numpy as np
import pytest
import xarray as xr

from sgdphases.claims import park2024coulomb
from sgdphases.claims.claim import graded
from sgdphases.theory.coulomb_gas import teacher_student_spacing_slope


def star(points, *, dataset, replicas, steps=4000):
    rates, sizes, noises = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    cube = xr.Dataset(coords={"step": [0, steps], "replica": np.arange(replicas), "point": np.arange(len(points))})
    cube = cube.assign_coords(
        learning_rate=("point", rates),
        batch_size=("point", sizes),
        noise_scale=("point", noises),
        temperature=("point", rates / sizes),
    )
    return cube.assign_attrs(experiment="made", dataset=dataset)


def fit(cube, **variables):
    """A fit spacing with given values (point, level) and errors of a thousandth."""
    names = {}
    for name, values in variables.items():
        dims = ("point", "level") if np.ndim(values) == 2 else ()
        names[name], names[f"{name}_error"] = (dims, values), (dims, np.full(np.shape(values), 1e-3))
    coordinates = ("learning_rate", "batch_size", "noise_scale", "point")
    return xr.Dataset(names).assign_coords({name: cube[name] for name in coordinates})


def rows_of(cube, spacing):
    rows = graded(park2024coulomb.statements(), "park2024coulomb", cube, {"spacing": spacing})
    return {row["claim"]: row for row in rows}


def linear(factor=1.0, variance=0.2732, ratio=1.0):
    cube = star(park2024coulomb.POINTS, dataset="linear_teacher", replicas=3000, steps=500)
    slope = factor * teacher_student_spacing_slope(cube["learning_rate"], cube["batch_size"])[:, None]
    full = {"spacing_variance": np.full((14, 1), variance), "width_ratio": np.full((14, 1), ratio)}
    pooled = {"pooled_spacing_variance": variance, "pooled_width_ratio": ratio}
    return cube, fit(cube, spacing_slope=np.asarray(slope), **full, **pooled)


def test_claims_20_to_25_stand_once():
    assert [s.name for s in park2024coulomb.statements()] == [f"dyson-{number}" for number in range(20, 26)]
    parts = [claim.name for s in park2024coulomb.statements() for claim in s.parts]
    assert len(parts) == len(set(parts)) == 14 + 1 + 1 + 8 + 3 + 4


def test_expected_slopes_are_those_written_down():
    expected = {c.quantity: c.expected for s in park2024coulomb.statements() for c in s.parts}
    assert expected["spacing slope: learning rate 0.1, batch size 16, noise 0.1"] == pytest.approx(1.828, abs=1e-3)
    assert expected["spacing slope: learning rate 0.5, batch size 16, noise 0.1"] == pytest.approx(2.114, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({}, set()),
        ({"factor": 1.029}, set()),
        ({"factor": 1.031}, {"dyson-20"}),
        ({"variance": 0.30}, {"dyson-21"}),
        ({"ratio": 0.96}, {"dyson-22"}),
    ],
)
def test_linear_student(change, failing):
    rows = rows_of(*linear(**change))
    for name in ("dyson-20", "dyson-21", "dyson-22"):
        assert rows[name]["verdict"] == ("fail" if name in failing else "pass"), rows[name]
    assert rows["dyson-23.1"]["reason"].startswith("needs data set scalar_field, has linear_teacher")


def machine(slope=1.0, ratio=1.0, deviation=1.37, replicas=250):
    points = [(0.1, size, 0.0) for size in (4, 8, 16, 32, 64)]
    cube = star(points, dataset="scalar_field", replicas=replicas)
    slopes = np.full((5, 6), np.nan)
    slopes[2, 1:5], slopes[4, 1:5] = (2.18, 2.32, 2.34, 2.17), (2.37, 2.55, 2.48, 2.35)
    deviations = np.full((5, 6), np.nan)
    deviations[:, [0, 5]] = deviation
    ratios = ratio * np.repeat((1 + 2.7 * np.asarray(cube["temperature"]))[:, None], 6, axis=1)
    found = fit(
        cube,
        spacing_slope=slope * slopes,
        deviation_slope=deviations,
        kernel_ratio=ratios,
        kernel_ratio_intercept=ratio,
        kernel_bias_exponent=1.0,
    )
    return cube, found


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({}, set()),
        ({"slope": 1.07}, {"dyson-23"}),
        ({"ratio": 1.012}, {"dyson-24"}),
        ({"deviation": 1.30}, {"dyson-25"}),
    ],
)
def test_machine(change, failing):
    rows = rows_of(*machine(**change))
    for name in ("dyson-23", "dyson-24", "dyson-25"):
        assert rows[name]["verdict"] == ("fail" if name in failing else "pass"), rows[name]


def test_what_the_star_lacks_is_named():
    cube, found = machine()
    rows = rows_of(cube.isel(point=slice(0, 4)), found.isel(point=slice(0, 4)))
    assert rows["dyson-23.5"]["reason"] == "needs the point learning_rate 0.1, batch_size 64"
    assert rows["dyson-23"]["verdict"] == "not_measured"
    rows = rows_of(*machine(replicas=100))
    assert rows["dyson-23.1"]["reason"].startswith("needs 250 replicas, has 100 (so far 2.18")


def test_levels_that_are_not_stationary_are_not_judged():
    cube, found = machine()
    early = found.assign(deviation_slope=found["deviation_slope"].where(found["level"] < 5))
    rows = rows_of(cube, early)
    assert rows["dyson-25.2"]["reason"] == "no record is late enough for this level to be stationary"
