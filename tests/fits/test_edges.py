import numpy as np
import pytest

from made_cubes import CONTROLS, chaos_cube
from sgdphases.fits.edges import edges
from sgdphases.storage import cube

BASE = 1875 * np.arange(0, 105, 5)
TRUE = {"trained": 1.7, "shuffled": 1.0, "same_spectrum": 1.0, "outliers_removed": 1.2, "gaussian": 1.02}
IMAGES = 4


def walk(dip=0.1, noise=0.0, every=2, seed=0):
    """Exponents that rise through 0 at a J² of their own; the trained ones touch 0 at 1 and dip back before."""
    random = np.random.default_rng(seed)

    def course(point, replica, s):
        square = 0.25 + (13 + 0.2 * replica) * s / 60_000
        recorded = np.arange(s.size) % every == 0
        slopes = np.array([square - edge for edge in TRUE.values()]).T * 0.2
        if dip:
            early = np.where(square < 1.12, 0.2 * (square - 1), -dip)
            slopes[:, 0] = np.where(square < 1.65, early, slopes[:, 0])
        measured = slopes + noise * random.standard_normal(slopes.shape)
        measured[~recorded] = np.nan
        norm = np.repeat(1 + measured[..., None], IMAGES, axis=-1) + np.linspace(-0.1, 0.1, IMAGES)
        return {
            "coupling": np.sqrt(square),
            "lyapunov": measured,
            "lyapunov_error": np.where(np.isnan(measured), np.nan, 0.01),
            "jacobian_norm": norm,
            "spectral_radius": 1 + measured,
        }

    return course


def fitted(course=None, times=BASE, replicas=5, grid=None):
    return edges(
        chaos_cube(
            course or walk(), grid=grid or {"learning_rate": [0.02]}, times=times, clock="step", replicas=replicas
        )
    )


@pytest.mark.parametrize("measure", ["lyapunov", "jacobian_norm", "spectral_radius"])
def test_known_edges_come_back(measure):
    found = fitted(walk(dip=0))
    np.testing.assert_allclose(found[f"{measure}_edge"], list(TRUE.values()), atol=1e-6)
    np.testing.assert_allclose(found[f"{measure}_first_edge"], found[f"{measure}_edge"])
    mean = 13.4
    np.testing.assert_allclose(
        found[f"{measure}_edge_epoch"], (np.array([*TRUE.values()]) - 0.25) / mean / 0.00125, atol=0.1
    )
    assert found[f"{measure}_edge"].dims == ("control",)
    assert found["control_name"].values.tolist() == list(CONTROLS)
    np.testing.assert_allclose(
        found[f"{measure}_edge_of_replica"], np.repeat([[*TRUE.values()]], 5, axis=0).T, atol=1e-6
    )


def test_scatter_widens_the_interval_around_the_edge():
    found = fitted(walk(dip=0, noise=0.02), replicas=8)
    pull = (found["lyapunov_edge"] - list(TRUE.values())) / found["lyapunov_edge_error"]
    assert float(np.abs(pull).max()) < 4
    assert (found["lyapunov_edge_low"] <= found["lyapunov_edge"]).all()
    assert 0.01 < float(found["lyapunov_edge_error"].mean()) < 0.2


def test_a_touch_is_not_the_lasting_edge():
    """As in the pilot of the trained matrices: 0 is passed near J² = 1, and again for good only near 1.7."""
    found = fitted(walk(every=1))
    assert float(found["lyapunov_first_edge"][0]) == pytest.approx(1.0, abs=0.01)
    # Between the record in the dip and the next, 0.085 further on, the line is not the truth.
    assert float(found["lyapunov_edge"][0]) == pytest.approx(1.7, abs=0.085)
    assert float(found["lyapunov_first_edge_epoch"][0]) < 60 < float(found["lyapunov_edge_epoch"][0])


def test_the_finding_counts_ordered_replicas_beyond_the_edge():
    found = fitted()
    assert found["finding_epoch"].values.tolist() == [60, 80]
    assert found["finding_used_epoch"].values.tolist() == [60, 80]
    assert found["finding_replicas"].values.tolist() == [5, 5]
    assert found["finding_measured"].values.tolist() == [5, 5]
    assert (found["finding_squared_coupling"] > 1).all()
    np.testing.assert_allclose(found["finding_lyapunov"].isel(control=0), -0.1, atol=1e-9)
    np.testing.assert_allclose(found["shuffled_minus_gaussian"], 0.2 * 0.02, atol=1e-9)
    at = found["shuffled_minus_gaussian_at"]
    assert np.isfinite(at).values.tolist() == [place % 2 == 0 for place in range(BASE.size)]


def test_only_exponents_clearly_below_zero_count():
    def course(point, replica, s):
        made = walk()(point, replica, s)
        made["lyapunov"][:, 0] = np.where(np.isnan(made["lyapunov"][:, 0]), np.nan, -0.01 - 0.005 * replica)
        return made

    found = fitted(course)
    # Beyond two standard errors of 0.01: replicas 3 and 4.
    assert found["finding_replicas"].values.tolist() == [2, 2]


def test_a_run_that_ends_before_has_no_finding_there(tmp_path):
    found = fitted(times=BASE[:13])
    assert found["finding_replicas"].values.tolist()[0] == 5
    assert np.isnan(found["finding_replicas"][1])
    assert np.isnan(found["finding_lyapunov"].isel(finding_epoch=1)).all()
    assert "epoch 60 or 80" in found.attrs["reason"]
    assert "lyapunov does not come to stay beyond its level: trained" in found.attrs["reason"]
    cube.write(found, tmp_path / "fit.nc")


def test_diverged_replicas_and_grids():
    plain = walk(dip=0)

    def course(point, replica, s):
        made = plain(point, replica, s)
        lost = (replica == 0) & (s > 2000)
        return {name: np.where(lost.reshape(-1, *[1] * (v.ndim - 1)), np.nan, v) for name, v in made.items()}

    found = fitted(course, grid={"learning_rate": [0.02, 0.021]})
    assert found["lyapunov_edge"].dims == ("learning_rate", "control")
    np.testing.assert_allclose(found["lyapunov_edge"], [[*TRUE.values()]] * 2, atol=0.02)
    assert (found["finding_measured"].isel(learning_rate=0) == 4).all()


@pytest.mark.parametrize("records", [1, 2])
def test_one_matrix_has_no_edge(records, tmp_path):
    found = fitted(times=BASE[:records], replicas=1)
    assert np.isnan(found["lyapunov_edge"]).all()
    cube.write(found, tmp_path / "fit.nc")


def test_needs_a_measure():
    made = chaos_cube(lambda point, replica, s: {"coupling": 1 + s}, grid={"momentum": [0.0, 0.5]}, times=[0.0, 10.0])
    with pytest.raises(ValueError, match="lyapunov"):
        edges(made)
