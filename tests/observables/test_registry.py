import subprocess
import sys

import numpy as np
import pytest

from sgdphases.observables.registry import OBSERVABLES, selected
from sgdphases.storage.cube import NUMBERED


def test_words_are_their_functions_and_fully_described() -> None:
    for word, observable in OBSERVABLES.items():
        assert observable.name == word == observable.function.__name__
        plain = ((), ("layer",), ("layer", "mode"), ("probe", "output"), ("eigenvalue",))
        assert observable.axes in plain or "map" in observable.needs
        assert set(observable.axes) <= set(NUMBERED)
        assert observable.long_name and observable.symbol and observable.units
        assert observable.function.__doc__


def test_flags_are_cf_attributes() -> None:
    row = OBSERVABLES["criterion_corrected"]
    assert row.attributes["flag_values"].tolist() == [0, 1]
    assert row.attributes["flag_values"].dtype == row.dtype == np.int8
    assert row.attributes["flag_meanings"] == "repulsion_wins drift_wins"
    assert row.missing == row.attributes["_FillValue"] == -1
    assert row.attributes["_FillValue"].dtype == np.int8
    assert np.isnan(OBSERVABLES["overlap"].missing)
    assert OBSERVABLES["overlap"].attributes == {
        "long_name": "overlap of initial and present features",
        "units": "1",
        "symbol": "q",
    }


def test_selection_keeps_the_order_of_the_card() -> None:
    assert [row.name for row in selected(["overlap", "eigenvalues"])] == ["overlap", "eigenvalues"]


def test_an_unknown_word_is_told_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match="unknown observable 'eigenvalue'.*allowed: .*eigenvalues.*test_loss"):
        selected(["eigenvalue", "overlap"])
    with pytest.raises(ValueError, match="overlap are asked for more than once"):
        selected(["overlap", "overlap"])


def test_reading_the_words_costs_no_torch() -> None:
    code = "import sys, sgdphases.observables.registry; sys.exit('torch' in sys.modules or 'xarray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_few_cards_need_is_not_loaded_for_all() -> None:
    code = "import sys, sgdphases.observables.measurement; sys.exit('curvlinops' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
