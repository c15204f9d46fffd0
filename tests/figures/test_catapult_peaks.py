"""Peaks of the loss against richness."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from made_richness_fits import BOUNDS, described, portrait_cube
from sgdphases.ensemble.status import CATAPULTED, UNTRAINED
from sgdphases.figures.catapult_peaks import catapult_peaks

LATTICE = 10.0 ** np.arange(-10, 3, 0.25)


@pytest.fixture(scope="module")
def strips() -> xr.Dataset:
    return portrait_cube(rates=LATTICE, richness=10.0 ** np.arange(-4, 1.1, 0.5))


@pytest.fixture(scope="module")
def peaks(strips: xr.Dataset) -> xr.Dataset:
    """What `catapults` gives where the peak is exactly 1000 (η/γ²)²/γ² on a band of a decade; outside it is small."""
    scaled = np.log10(strips["learning_rate"]) - 2 * np.log10(strips["richness"])
    peak = 3 + 2 * scaled - 2 * np.log10(strips["richness"])
    peak = xr.where((scaled > -0.9) & (scaled < -0.1), peak, 0.1).broadcast_like(strips["diverged_at"])
    made = xr.Dataset({"log_peak": peak + 0.1 * peak["replica"]})
    exponent = xr.DataArray([-2.0, np.nan], dims="depth")
    made = made.assign(scaled_peak_exponent=exponent, scaled_peak_exponent_error=0.03 + 0 * exponent)
    return described(made.assign_coords(learning_rate=strips["learning_rate"])).assign_attrs(
        BOUNDS, rate_axis="learning_rate"
    )


def lines_of(figure: Figure, place: int) -> list[np.ndarray]:
    lines = [line for line in figure.axes[place].lines if line.get_linestyle() == "-"]
    return [line.get_xydata() for line in lines if len(line.get_xdata())]


def test_one_line_for_every_rate_over_squared_richness(strips: xr.Dataset, peaks: xr.Dataset) -> None:
    figure = catapult_peaks(strips, {"catapults": peaks})
    assert [ax.get_title() for ax in figure.axes] == [r"$L = 2$, exponent $-2.00\pm0.03$", "$L = 3$"]
    found = lines_of(figure, 0)
    assert len(found) == 3
    for scaled, line in zip((-0.75, -0.5, -0.25), found, strict=True):
        x = np.log10(line[:, 0])
        assert x.max() <= 1e-9 and len(x) == 9
        shown = 3 + 2 * scaled - 2 * x + 0.05
        assert np.allclose(np.log10(line[:, 1]), shown)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len([name for name in names if r"\eta/\gamma^2" in name]) == 3
    figure.draw_without_rendering()


def test_a_power_goes_through_the_middle(strips: xr.Dataset, peaks: xr.Dataset) -> None:
    wild = peaks.copy(deep=True)
    wild["log_peak"][{"richness": 0, "learning_rate": 7}] = 24.0
    figure = catapult_peaks(strips, {"catapults": wild}, power=-2)
    (law,) = [line for line in figure.axes[0].lines if "propto" in str(line.get_label())]
    (left, right), (low, high) = np.log10(law.get_xdata()), np.log10(law.get_ydata())
    assert (high - low) / (right - left) == pytest.approx(-2)
    assert low + 2 * left == pytest.approx(3 - 1 + 0.05)


def test_marks_say_who_has_learned(strips: xr.Dataset, peaks: xr.Dataset) -> None:
    status = xr.where(strips["richness"] < 0.01, CATAPULTED, UNTRAINED).broadcast_like(strips["status"])
    figure = catapult_peaks(strips.assign(status=status), {"catapults": peaks}, largest=0.1, at={"depth": 2})
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o" and len(line.get_xdata())]
    full = [line.get_xdata() for line in marks if line.get_markerfacecolor() == line.get_markeredgecolor()]
    empty = [line.get_xdata() for line in marks if line.get_markerfacecolor() == "white"]
    assert len(full) == len(empty) == 3
    assert max(map(max, full)) < 0.01 <= min(map(min, empty))
    assert max(map(max, empty)) == pytest.approx(0.1)
    assert figure.get_suptitle() == "$L = 2$"


def test_nothing_to_show_is_an_empty_panel(strips: xr.Dataset, peaks: xr.Dataset) -> None:
    catapult_peaks(strips, {"catapults": peaks.assign(log_peak=0 * peaks["log_peak"])}).draw_without_rendering()
    with pytest.raises(ValueError, match="needs the fit 'catapults'"):
        catapult_peaks(strips, {})
