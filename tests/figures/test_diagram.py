"""The phase diagram counts votes, and says who won by how much."""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb

from sgdphases.figures.diagram import is_label, phase_diagram, vote
from sgdphases.figures.style import PHASE_COLOURS

WORDS = {"flag_values": np.arange(4, dtype=np.int8), "flag_meanings": "undecided ferro spin_glass para"}


def ballots(*rows: list[int]) -> xr.DataArray:
    return xr.DataArray(np.array(rows, dtype=np.int8), dims=("cell", "replica"), name="phase", attrs=WORDS)


def test_the_most_frequent_label_wins() -> None:
    votes = vote(ballots([1, 1, 3], [2, 2, 2], [0, 0, 3]))
    assert votes.majority.values.tolist() == [1, 2, 0]
    assert np.allclose(votes.share, [2 / 3, 1, 2 / 3])


def test_undecided_wins_no_tie_and_takes_what_is_missing() -> None:
    votes = vote(ballots([0, 0, 3, 3], [-1, -1, -1, 1]))
    assert votes.majority.values.tolist() == [3, 0]
    assert np.allclose(votes.share, [0.5, 0.75])


def test_one_network_is_its_own_majority() -> None:
    votes = vote(ballots([3]).isel(replica=0))
    assert votes.majority.item() == 3 and votes.share.item() == 1


def test_two_words_are_a_number_three_a_label(cube: xr.Dataset) -> None:
    assert is_label(cube["phase"])
    assert not is_label(cube["criterion_corrected"])
    assert not is_label(cube["overlap"])


def test_colours_are_full_where_all_agree_and_pale_where_few(cube: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    figure = phase_diagram(cube, fits, peak_lines=[1, 0.343])
    ax = figure.axes[0]
    picture = ax.collections[0].get_array()
    assert np.allclose(picture[0, 0], to_rgb(PHASE_COLOURS["spin_glass"]))
    assert np.allclose(picture[-1, -1], to_rgb(PHASE_COLOURS["para"]))
    share = vote(cube["phase"].isel(step=-1)).share.transpose("learning_rate", "init_scale").values[:, ::-1]
    split = np.unravel_index(share.argmin(), share.shape)
    assert picture[split].min() > min(to_rgb(PHASE_COLOURS["ferro"]))
    assert {text.get_text() for text in ax.texts} == {"ferro", "spin glass", "para"}
    vertical = [
        line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2
    ]
    assert np.allclose(sorted(vertical), [(2 * 0.343) ** 0.5, 2**0.5])
    names = [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]
    assert names[:3] == ["ferro", "spin glass", "para"]
    assert {"68 % of runs pass, as published", "68 % pass (Park et al.)"} <= set(names)
    figure.draw_without_rendering()
    assert plt.get_fignums() == []


def test_the_published_points_are_where_they_were_read(cube: xr.Dataset, fits: dict[str, xr.Dataset]) -> None:
    ax = phase_diagram(cube, fits, boundaries=False).axes[0]
    points = {line.get_label(): line.get_xydata() for line in ax.lines}
    assert [8, 0.47] in points["68 % pass (Park et al.)"].tolist()
    assert points["exceeds by e (Park et al.)"][0].tolist() == [2.0**-8, 4.9]
    assert len(phase_diagram(cube, fits, boundaries=False, published=False).axes[0].lines) == 0


@pytest.mark.parametrize("phase", [-1, 0, 1])
def test_one_phase_everywhere(phase: int, tiny: Callable[..., xr.Dataset]) -> None:
    for shape in (([1.0], [2.0]), ([1.0, 2.0], [1.0, 2.0])):
        figure = phase_diagram(tiny(*shape, phase=phase), {})
        figure.draw_without_rendering()
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ferro" if phase == 1 else "undecided"]


def test_batch_sizes_are_rows_and_layers_columns(tiny: Callable[..., xr.Dataset]) -> None:
    figure = phase_diagram(tiny([1, 2], [1, 2], batches=2, layers=3), {})
    assert [ax.get_title() for ax in figure.axes][3] == r"$B = 8$, $\ell = 0$"
    assert len(figure.axes) == 6
    assert len(phase_diagram(tiny([1, 2], [1, 2], layers=2), {}, at={"layer": 1}).axes) == 1


def test_numbers_are_no_labels(cube: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="overlap is no label; the figure phase_map"):
        phase_diagram(cube, {}, variable="overlap")
