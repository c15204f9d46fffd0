"""Speed and displacement beside laws."""

import numpy as np
import pytest

from made_diffusion import ladder, log_steps, walk_cube
from sgdphases.figures.displacements import displacements
from sgdphases.fits.displacement import displacement
from sgdphases.fits.prediction import prediction

COLD = {"learning_rate": 0.02}


@pytest.fixture(scope="module")
def cube():
    grid = {"learning_rate": [0.02, 0.05], "momentum": [0.5, 0.9], "weight_decay": [0.001]}
    return walk_cube(ladder(flat=40), log_steps(3000, each_decade=15, lattice=50), replicas=8, **grid)


@pytest.fixture(scope="module")
def fits(cube):
    return {"displacement": displacement(cube), "prediction": prediction(cube)}


def test_speed_and_displacement_are_the_means_of_the_replicas(cube, fits):
    figure = displacements(cube, fits, at=COLD, protocol="none")
    speed, place = figure.axes
    for row, momentum in enumerate([0.5, 0.9]):
        own = cube.sel(momentum=momentum, **COLD).isel(step=slice(1, None))
        assert np.allclose(place.lines[row].get_ydata(), own["global_displacement"].mean("replica"))
        assert np.array_equal(place.lines[row].get_xdata(), own["step"])
        line = speed.lines[row].get_ydata()
        assert line[0] == pytest.approx(float(own["local_displacement"][:, 0].mean()))
        assert line[-5:].mean() == pytest.approx(float(own["local_displacement"][:, -30:].mean()), rel=0.05)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [r"$\beta = 0.9$", r"$\beta = 0.5$"]
    assert figure.get_suptitle() == r"$\eta = 0.02$"
    figure.draw_without_rendering()


def test_the_fitted_power_has_its_exponent_and_its_window(cube, fits):
    figure = displacements(cube, fits, at=COLD)
    own = fits["displacement"].sel(**COLD)
    row = list(own["protocol_name"].values).index("robust")
    laws = [line for line in figure.axes[1].lines if len(line.get_xdata()) == 2]
    assert len(laws) == 2
    for law, momentum in zip(laws, [0.5, 0.9], strict=True):
        x, y = law.get_xdata(), law.get_ydata()
        at = own.sel(momentum=momentum).isel(protocol=row)
        assert np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(float(at["exponent"]))
        assert x[0] == pytest.approx(float(at["window_start"]))
        middle = np.sqrt(x.prod())
        measured = np.interp(np.log(middle), np.log(at["step"][1:]), np.log(at["mean_displacement"][1:]))
        assert np.sqrt(y.prod()) == pytest.approx(np.exp(measured), rel=0.3)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    power = float(own["exponent"].sel(momentum=0.9).isel(protocol=row))
    assert names[0].startswith(rf"$\beta = 0.9$, $c = {power:.2f}"[:-1])
    assert names[-1] == "fitted power (robust)"


def test_predictions_stand_in_both_panels(cube, fits):
    figure = displacements(cube, fits, at=COLD, protocol="none", methods=["exact", "paper"], values=[0.9])
    speed, place = figure.axes
    told = fits["prediction"].sel(momentum=0.9, **COLD)
    for line, level, row in zip(place.lines[1:], speed.lines[1:], (0, 2), strict=True):
        at = told.isel(method=row)
        assert np.allclose(line.get_ydata(), at["predicted_displacement"][1:])
        assert level.get_ydata()[0] == pytest.approx(float(at["predicted_one_step"]))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [r"$\beta = 0.9$", "predicted: exact", "predicted: paper"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "also changes along learning_rate; choose with the option at"),
        ({"at": COLD, "values": [0.3]}, "the grid has no momentum = 0.3"),
        ({"at": COLD, "fit": "displacements"}, "needs the fit 'displacements'"),
        ({"at": COLD, "methods": ["guess"]}, "methods.0: .*'exact', 'tail' or 'paper'"),
        ({"at": COLD, "protocol": "mine"}, "protocol: "),
    ],
)
def test_what_cannot_be_drawn_is_told(cube, fits, said, message):
    with pytest.raises(ValueError, match=message):
        displacements(cube, fits, **said)
