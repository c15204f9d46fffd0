import numpy as np
import pytest

from sgdphases.fits.displacement_models import MODELS, compared, drift_curves, drift_ratio, power_residual

TIME = np.geomspace(50, 5000, 81)
CURVES = {
    "power": 0.3 * TIME**0.7,
    "drift": 0.01 * (TIME + 1e-3 * TIME**2),
    "saturating": 1 - np.exp(-TIME / 300) + 1e-4 * TIME,
}


@pytest.mark.parametrize("ratio", [3e-5, 2e-4, 7.3e-3, 0.05])
def test_the_ratio_of_drift_to_diffusion_comes_back(ratio):
    logs = np.log(3 * (TIME + ratio * TIME**2))
    found, residual = drift_ratio(TIME, logs)
    assert found == pytest.approx(ratio, rel=2e-3)
    assert residual < 1e-6
    assert drift_ratio(TIME, logs, drift_curves(TIME)) == (found, residual)


def test_no_drift_is_none():
    assert drift_ratio(TIME, np.log(TIME)) == (0.0, pytest.approx(0.0, abs=1e-20))
    assert drift_ratio(TIME, 0.5 * np.log(TIME))[0] == 0.0
    assert drift_ratio(TIME, 2 * np.log(TIME))[0] == pytest.approx(1e3 / 5000)
    assert np.isnan(drift_ratio(TIME, np.full(81, np.nan))).all()
    assert np.isnan(drift_ratio(np.empty(0), np.empty(0))).all()


@pytest.mark.parametrize("truth", MODELS)
def test_each_model_wins_where_it_is_true(truth):
    noise = 0.003 * np.random.default_rng(0).standard_normal(81)
    found = compared(TIME, np.log(CURVES[truth]) + noise)
    place = MODELS.index(truth)
    assert found.validation.argmin() == place
    assert found.aic[place] < 6
    others = np.delete(np.arange(3), place)
    # A saturating sum that is nearly linear is diffusion without drift; nothing else comes close.
    assert (found.aic[others] > 20).all()
    assert 0.002 < found.residual[place] < 0.0035
    assert 0.002 < found.validation[place] < 0.006


def test_a_power_law_is_a_straight_line():
    assert power_residual(TIME, 0.7 * np.log(TIME) + 3) == pytest.approx(0, abs=1e-20)
    wave = 0.1 * (-1.0) ** np.arange(81)
    assert np.sqrt(power_residual(TIME, wave)) == pytest.approx(0.1, rel=0.01)
    few = compared(TIME[:5], np.zeros(5))
    assert np.isnan(few.aic).all()
