"""What a card may say of a figure, and how it is told what it may not."""

import importlib
import inspect

import pytest

from sgdphases.choices import one_of
from sgdphases.figures.options import OPTIONS, options_of
from sgdphases.figures.registry import FIGURES


def test_every_kind_has_a_function_and_options() -> None:
    assert set(FIGURES) == set(OPTIONS)
    for kind, place in FIGURES.items():
        module, name = place.split(":")
        function = getattr(importlib.import_module(module), name)
        assert name == kind
        assert list(inspect.signature(function).parameters) == ["cube", "fits", "options"]
        assert function.__wrapped__.__annotations__["options"] is OPTIONS[kind]


def test_an_unknown_option_is_told_what_is_allowed() -> None:
    with pytest.raises(
        ValueError, match=r"option of the figure phase_map 'variabel' \(did you mean 'variable'\?\).*statistic"
    ):
        options_of("phase_map", {"variabel": "overlap"})


@pytest.mark.parametrize(
    ("kind", "said", "message"),
    [
        ("phase_map", {}, "variable: Field required"),
        ("phase_map", {"variable": "overlap", "colour": "pink"}, "colour: .*'auto', 'linear' or 'log'"),
        ("phase_map", {"variable": "overlap", "limits": [1]}, "limits: "),
        ("phase_map", {"variable": "overlap", "step": "middle"}, "step"),
        ("maps_overview", {"variables": []}, "variables: "),
        ("trajectories", {"cells": [{"temperature": "hot"}]}, "cells.0.temperature: "),
        ("phase_diagram", {"peak_lines": [-1]}, "peak_lines.0: "),
        ("curves", {"variables": [[]]}, "variables.0"),
        ("phase_plane", {"variable": "overlap"}, "variable: .*'asymptotic_distance', 'jacobian_norm' or 'lyapunov'"),
        ("phase_plane", {"cells": 1}, "cells: "),
        ("dynamics", {"variables": []}, "variables: "),
        ("poincare", {}, "times: Field required"),
        ("collapse", {"x": "step"}, "x: .*'epoch_time' or 'flow_time'"),
        ("decay", {"layer": -1}, "layer: "),
        ("rate_portrait", {"steps": []}, "steps: "),
        ("rate_portrait", {"theory": "guessed"}, "theory: .*'fitted', 'toy' or 'none'"),
        ("clock_curves", {"rate": "worst"}, "rate: "),
        ("catapult_peaks", {"largest": 0}, "largest: "),
        ("rate_exponents", {"others": ["largest"]}, "others.0: "),
        ("sharpness", {"criterion": "sharp"}, "criterion: "),
        ("orbits", {"modes": [-1]}, "modes.0: "),
        ("orbits", {"mean_over": 0}, "mean_over: "),
        ("plane", {"contours": 0}, "contours: "),
        ("displacements", {"protocol": "mine"}, "protocol: "),
        ("scaling", {"fit": "f", "y": ["a"], "x": "b", "predicted": {"a": []}}, "predicted"),
        ("curves", {"variables": ["a"], "x_scale": "linear"}, "x_scale: "),
    ],
)
def test_a_wrong_value_is_told_where_and_why(kind: str, said: dict, message: str) -> None:
    with pytest.raises(ValueError, match=rf"options of the figure {kind}: .*{message}"):
        options_of(kind, said)


def test_an_unknown_word_without_a_likeness_lists_all() -> None:
    with pytest.raises(ValueError, match="unknown kind 'xyz'; allowed: a, b"):
        one_of("xyz", ["b", "a"], "kind")


def test_a_place_is_a_number_wherever_it_can_be_one() -> None:
    options = options_of("rate_portrait", {"at": {"depth": 3, "richness": "1e-3", "loss": "cross_entropy"}})
    assert options.at == {"depth": 3.0, "richness": 0.001, "loss": "cross_entropy"}
