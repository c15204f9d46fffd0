import numpy as np
import pytest
import xarray as xr

from made_cubes import pair_levels
from sgdphases.fits.spacing import spacing
from sgdphases.theory import coulomb_gas

STEPS = np.array([0, 100, 600, 8000])


def star(levels, *, dataset, rates, sizes, noise=0.1):
    """A star of points; levels (point, replica, mode) stand at every step but the first."""
    whole = np.repeat(levels[:, :, None], len(STEPS), axis=2)
    whole[:, :, 0] = 1e-3
    cube = xr.Dataset({"eigenvalues": (("point", "replica", "step", "mode"), whole)})
    cube = cube.assign_coords(
        point=np.arange(len(rates)),
        step=STEPS,
        learning_rate=("point", np.asarray(rates)),
        batch_size=("point", np.asarray(sizes)),
        noise_scale=noise,
        temperature=("point", np.asarray(rates) / np.asarray(sizes)),
    )
    return cube.assign_attrs(experiment="made", dataset=dataset, samples=2000)


@pytest.fixture(scope="module")
def linear():
    rates, sizes = np.array([0.1, 0.5, 0.1]), np.array([16, 16, 64])
    slope = coulomb_gas.teacher_student_spacing_slope(rates, sizes)
    unit = np.sqrt(rates * 0.1**2 / sizes)
    off = (slope * unit) ** 2 / (2 * np.pi)
    singular = [pair_levels((3000,), centre=2.0, variance=v, seed=i) for i, v in enumerate(off)]
    return spacing(star(np.stack(singular) ** 2, dataset="linear_teacher", rates=rates, sizes=sizes)), slope


def test_slope_of_the_linear_student_is_recovered(linear):
    found, slope = linear
    value, error = (found[f"spacing_slope{end}"].values[:, 0] for end in ("", "_error"))
    assert (np.abs(value - slope) < 4 * error).all()
    np.testing.assert_allclose(error / value, 0.5227 / np.sqrt(3000), rtol=0.5)
    np.testing.assert_allclose(found["expected_slope"].values[:, 0], slope)


def test_spacings_follow_wigners_surmise(linear):
    found, _ = linear
    assert abs(float(found["pooled_spacing_variance"]) - (4 / np.pi - 1)) < 4 * float(
        found["pooled_spacing_variance_error"]
    )
    assert float(found["pooled_width_ratio"]) == pytest.approx(1.0, abs=0.02)
    density = found["spacing_density"].isel(point=0, level=0)
    s = density["spacing"].values
    expected = np.pi / 2 * s * np.exp(-np.pi * s**2 / 4)
    error = found["spacing_density_error"].isel(point=0, level=0).values
    assert np.mean(((density.values - expected) / error) ** 2) < 2


def test_uncorrelated_levels_are_told_apart():
    random = np.random.default_rng(0)
    free = np.sort(2 + 0.01 * random.standard_normal((1, 3000, 2)), axis=-1)[..., ::-1]
    found = spacing(star(free**2, dataset="linear_teacher", rates=[0.1], sizes=[16]))
    assert abs(float(found["pooled_spacing_variance"]) - 0.2732) > 10 * float(found["pooled_spacing_variance_error"])


@pytest.fixture(scope="module")
def machine():
    rates, sizes = np.array([0.1, 0.1, 0.1, 0.05]), np.array([16, 32, 64, 64])
    kernel = np.unique(coulomb_gas.lattice_kernel(10, 2.0).round(9))
    random = np.random.default_rng(5)
    points = []
    for rate, size in zip(rates, sizes, strict=True):
        noise = rate / size / 30  # small, so that neighbouring pairs never mix
        levels = []
        for k in kernel:
            centre = 9 - k * (1 + 0.8 * rate / size)
            variance = noise * (9 - k)
            if k in (kernel[0], kernel[-1]):
                levels.append((centre + np.sqrt(2 * variance) * random.standard_normal(400))[:, None])
            else:
                levels.append(pair_levels((400,), centre=centre, variance=variance, seed=int(1e3 * k + size)))
        points.append(np.concatenate(levels, axis=1))
    return spacing(star(np.stack(points), dataset="scalar_field", rates=rates, sizes=sizes)), kernel


def test_levels_of_the_machine_are_grouped_by_the_known_kernel(machine):
    found, kernel = machine
    np.testing.assert_allclose(found["kernel"], kernel)
    assert found["degeneracy"].values.tolist() == [1, 2, 2, 2, 2, 1]
    pairs, single = found.isel(level=slice(1, 5)), found.isel(level=[0, 5])
    assert np.isnan(found["spacing_slope"].isel(level=[0, 5])).all()
    early = (pairs["spacing_slope"] - np.sqrt(2 * np.pi / 30)) / pairs["spacing_slope_error"]
    assert float(np.abs(early).max()) < 4.5
    late = (single["deviation_slope"] - np.sqrt(2 / 30)) / single["deviation_slope_error"]
    assert float(np.abs(late).max()) < 4.5


def test_bias_of_the_kernel_vanishes_linearly(machine):
    found, _ = machine
    assert abs(float(found["kernel_ratio_intercept"]) - 1) < 4 * float(found["kernel_ratio_intercept_error"])
    assert abs(float(found["kernel_bias_exponent"]) - 1) < 4 * float(found["kernel_bias_exponent_error"])
    np.testing.assert_allclose(found["kernel_ratio"].mean("level"), 1 + 0.8 * found["temperature"], atol=5e-4)


def test_only_stationary_records_count(machine):
    found, _ = machine
    # κ = 4 grows at 2·5/36 and relaxes at 2·5/16 per unit of flow time: twelve and ten times are 59 units, so 592
    # steps at rate 0.1.
    assert found["late_records"].isel(point=0).values.tolist() == [2, 1, 1, 1, 1, 1]
    # κ = 8 needs 432 + 320 units; 8000 steps at rate 0.05 are 400.
    assert int(found["late_records"].isel(point=3, level=5)) == 0
    assert np.isnan(float(found["kernel_ratio"].isel(point=3, level=5)))


def test_other_data_sets_are_refused():
    cube = star(np.ones((1, 5, 2)), dataset="digits", rates=[0.1], sizes=[4])
    with pytest.raises(ValueError, match="linear_teacher and scalar_field, not digits"):
        spacing(cube)
