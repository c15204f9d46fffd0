import numpy as np
import pytest
import yaml

from made_portraits import MIXTURE, Portrait, rows_of, verdicts
from made_richness import richness_cube
from sgdphases.claims import atanasov2024richness
from sgdphases.claims.papers import CITATIONS
from sgdphases.claims.registry import PAPERS
from sgdphases.claims.richness_conditions import CENTRED, ONE_HOT, layers_of, targets_of
from sgdphases.steps.words import function_of


def test_every_claim_stands_once_and_by_number():
    names = [statement.name for statement in atanasov2024richness.statements()]
    assert names == [f"richness-{number:02d}" for number in range(1, 26)]
    parts = [claim.name for statement in atanasov2024richness.statements() for claim in statement.parts]
    assert len(parts) == len(set(parts))


def test_the_study_is_registered_and_cited():
    assert function_of(PAPERS["atanasov2024richness"]) is atanasov2024richness.statements
    assert "2410.04642" in CITATIONS["atanasov2024richness"]


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("01.1", 2, "±0.1"),
        ("01.3", 2, "±0.1"),
        ("02.1", 1, "±0.08"),
        ("02.2", 2 / 3, "±0.08"),
        ("02.3", 0.5, "±0.08"),
        ("03.1", np.nan, "≥ 0"),
        ("03.5", 0, "±2"),
        ("04.1", 2, "-0.05 to +0.05"),
        ("04.5", 2 / 3, "-0.05 to +0.12"),
        ("04.6", 0.5, "-0.05 to +0.23"),
        ("05.1", 2, "±0.15"),
        ("05.6", 1, "±0.15"),
        ("05.7", np.nan, "≤ 2"),
        ("06.1", 3, "±0.5"),
        ("06.2", 2, "±0.5"),
        ("07.1", 1, "±0.1"),
        ("07.2", 2, "±0.2"),
        ("08.2", 2, "±0.1"),
        ("08.5", np.nan, "[0, 1]"),
        ("08.8", -2, "±0.4"),
        ("09.1", np.nan, "≤ 0.05"),
        ("09.2", np.nan, "≤ 0.15"),
        ("09.3", np.nan, "≤ 0.35"),
        ("09.6", np.nan, "≥ 0.98"),
        ("09.7", np.nan, "≥ 4"),
        ("10.1", np.nan, "≥ 0.98"),
        ("10.2", np.nan, "[0.23, 0.34]"),
        ("10.3", np.nan, "[0.38, 0.51]"),
        ("11.1", -2, "±0.05"),
        ("11.5", -2 / 3, "±0.06"),
        ("11.6", -0.5, "±0.06"),
        ("12.1", -2, "±0.02"),
        ("12.6", -1, "±0.02"),
        ("12.7", -1, "±10 %"),
        ("14.1", np.nan, "≥ 2"),
        ("14.3", 0.1, "±0.005"),
        ("14.5", 0.09, "±0.005"),
        ("15", np.nan, "≥ 0.2"),
        ("16.1", np.nan, "[1.6, 2.2]"),
        ("16.4", np.nan, "[0.3, 0.6]"),
        ("16.6", np.nan, "[1.2, 1.8]"),
        ("17.1", np.nan, "≥ 0.95"),
        ("17.2", np.nan, "≤ 0.5"),
        ("18.1", np.nan, "≤ 0.03"),
        ("19", np.nan, "≥ -0.01"),
        ("21.1", 2, "±0.15"),
        ("21.2", 0.5, "±0.15"),
        ("22", np.nan, "≤ 0.25"),
        ("23.1", 1, "×/÷ 2"),
        ("24.1", np.nan, "≥ -0.01"),
        ("25", np.nan, "≤ 0"),
    ],
)
def test_numbers_stand_as_written_down(name, expected, tolerance):
    claims = {claim.name: claim for s in atanasov2024richness.statements() for claim in s.parts}
    claim = claims[f"richness-{name}"]
    assert claim.expected == pytest.approx(expected, nan_ok=True)
    assert str(claim.tolerance) == tolerance


def small(**settings):
    """The card richness_quick with few values and few steps."""
    settings = {"rates": 10.0 ** np.arange(-7, 3), "richness": [1e-3, 1e-2, 10, 100, 1e3], "steps": (0, 40)} | settings
    return richness_cube(Portrait(), **settings).assign_attrs(MIXTURE)


def test_what_a_card_cannot_say_is_named():
    rows = rows_of(small(), {})
    assert verdicts(rows, "pass") == verdicts(rows, "fail") == set()
    for name, reason in {
        "01.2": "needs fit richness_exponents; ",
        "03.1": "needs fit richness_exponents; ",
        "07.1": "needs fit richness_exponents; loss cross_entropy, has mean_squared_error",
        "09.1": "needs richness 316.228, 3162.28; fit first_drop; ",
        "11.2": "needs observable hessian_top; fit sharpness",
        "13.1": "needs data set fashion_mnist, has gaussian_mixture",
        "19": "needs CIFAR-5M",
        "20": "needs loss curves of a million samples",
        "21.1": "needs fit richness_exponents; ",
        "22": "needs width 32, 64, 128, 256",
    }.items():
        assert rows[f"richness-{name}"]["reason"].startswith(reason), rows[f"richness-{name}"]["reason"]
    assert rows["richness-01.2"]["reason"].endswith("steps, has 40")
    assert rows["richness-03.1"]["reason"].endswith("steps, has 40; 2, 4 layers, has 3")


def test_the_widths_say_the_depth_where_the_grid_does_not():
    cube = small()
    deep = cube.drop_vars("depth").assign_attrs(widths=[64, 128, 128, 128, 10])
    assert layers_of(deep) == [4]
    assert layers_of(deep.assign_coords(depth=0)) == [4]
    assert layers_of(cube) == [3]
    assert "4 layers" not in rows_of(deep, {}, 1)["richness-01.3"]["reason"]


def test_the_loss_at_the_start_says_what_the_targets_are():
    cube = small()
    assert targets_of(cube) == CENTRED
    cube["batch_loss"][..., 0] = 0.1
    assert targets_of(cube) == ONE_HOT
    assert "one-hot targets" not in rows_of(cube, {}, 10)["richness-10.2"]["reason"]
    entropy = small(loss=["cross_entropy"])
    reason = rows_of(entropy, {}, 10)["richness-10.2"]["reason"]
    assert reason.endswith("one-hot targets, has no batch loss of squared errors")


def test_every_card_of_the_study_is_graded(pytestconfig):
    folder = pytestconfig.rootpath / "workflow" / "experiments"
    cards = {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("richness_*.yaml")}
    assert len(cards) >= 9
    for card in cards.values():
        assert card["analysis"]["claims"] == ["atanasov2024richness"]
