"""Weight decay: ways, ends, accuracies."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from sgdphases.figures.decay import decay


def test_ways_ends_and_accuracies_are_those_of_cube_and_fit(decaying: xr.Dataset, decay_fit: xr.Dataset) -> None:
    figure = decay(decaying, {"decay": decay_fit})
    ways, ends, accuracies = figure.axes
    square = (decaying["coupling"].isel(layer=0) ** 2).median("replica")
    drawn = {line.get_label(): line.get_xydata() for line in ways.lines}
    way = drawn[r"$\lambda_{L_2}=\lambda/2 = 9\cdot 10^{-5}$"]
    assert np.allclose(way, np.stack([decaying["epoch_time"], square.isel(weight_decay=2)], axis=-1))
    marks = {part.get_label(): part.lines[0].get_xydata() for part in ends.containers}
    strength, final = decaying["l2_strength"].values, decay_fit["end_squared_coupling"].values
    assert np.allclose(marks["at the end"], np.stack([strength, final], -1)[3:])
    assert np.allclose(marks["at the end, still moving"], np.stack([strength, final], -1)[:3])
    best = {part.get_label(): part.lines[0].get_ydata() for part in accuracies.containers}
    assert np.allclose(best["largest test accuracy $a$"], decay_fit["largest_test_accuracy"])
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_both_laws_pass_one_at_their_strength(decaying: xr.Dataset, decay_fit: xr.Dataset) -> None:
    _, ends, accuracies = decay(decaying, {"decay": decay_fit}).axes
    for name, strength in ((r"$J^2 = \lambda^*/\lambda_{L_2}$", 4.6e-5), (r"$J^2 = \lambda_1/\lambda_{L_2}$", 9e-5)):
        (law,) = [line.get_xydata() for line in ends.lines if line.get_label() == name]
        assert np.allclose(law[:, 0] * law[:, 1], strength)
    marked = [line.get_xdata()[0] for line in accuracies.lines if len(set(line.get_xdata())) == 1]
    assert np.allclose(sorted(marked), [4.6e-5, 9e-5])
    assert ends.get_xlim()[0] < 0 and 0 in ends.get_xticks()


def test_a_strength_that_was_not_found_is_not_drawn(decaying: xr.Dataset, decay_fit: xr.Dataset) -> None:
    lost = decay_fit.assign(l2_empirical=decay_fit["l2_empirical"] * np.nan)
    lost = lost.isel(weight_decay=slice(1, None)).drop_vars(["stationary", "end_test_accuracy"])
    _, ends, accuracies = decay(decaying.isel(weight_decay=slice(1, None)), {"decay": lost}).axes
    assert len([line for line in ends.lines if str(line.get_label()).startswith("$J^2")]) == 1
    assert len(accuracies.containers) == 1
    assert ends.get_xlim()[0] > 0


def test_of_a_star_those_points_are_drawn_that_the_fit_took(decaying: xr.Dataset, decay_fit: xr.Dataset) -> None:
    star = decaying.rename_dims(weight_decay="point").reset_index("weight_decay")
    other = star.isel(point=[0]).assign_coords(learning_rate=("point", [0.5]))
    star = star.assign_coords(learning_rate=("point", np.full(5, 0.02)))
    both = xr.concat([star, other], dim="point", data_vars="all", coords="different", compat="equals", join="outer")
    ways = decay(both, {"decay": decay_fit}).axes[0]
    assert len([line for line in ways.lines if len(line.get_xdata()) == 51]) == 5


def test_what_lacks_is_told(decaying: xr.Dataset, base_run: xr.Dataset, decay_fit: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="needs the fit 'decay'"):
        decay(decaying, {})
    with pytest.raises(ValueError, match="unknown coordinate 'l2_strength'"):
        decay(base_run, {"decay": decay_fit})
    with pytest.raises(ValueError, match="unknown variable 'end_squared_coupling'"):
        decay(decaying, {"decay": decay_fit.drop_vars("end_squared_coupling")})
    with pytest.raises(ValueError, match="unknown estimate of the fit decay 'end_test_accuracy'"):
        decay(decaying, {"decay": decay_fit.drop_vars(["end_test_accuracy", "largest_test_accuracy"])})
    several = decaying.expand_dims(label_noise=[0.0, 0.2])
    with pytest.raises(ValueError, match="coupling also changes along label_noise"):
        decay(several, {"decay": decay_fit})
