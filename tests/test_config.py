import copy
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.config import Card, ConfigError, read_card, read_config
from sgdphases.times import Times

CARDS = sorted((Path(__file__).parents[1] / "workflow" / "experiments").glob("*.yaml"))
QUICK, MAP = (
    yaml.safe_load(next(path for path in CARDS if path.stem == name).read_text())
    for name in ("dyson_quick", "chaos_map")
)


@pytest.fixture
def refused(tmp_path):
    """Write a changed card, read it, return the message that it is refused with."""

    def refuse(change):
        values = copy.deepcopy(QUICK)
        change(values)
        path = tmp_path / "card.yaml"
        path.write_text(yaml.safe_dump(values))
        with pytest.raises(ConfigError) as caught:
            read_card(path)
        assert str(path) in str(caught.value)
        return str(caught.value)

    return refuse


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_every_card_of_the_project_is_valid(path):
    card = read_card(path)
    assert card.ensemble.times[0] == 0
    assert card.ensemble.times[-1] == (card.ensemble.steps or card.ensemble.flow_time)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (
            "ensemble.stepps",
            3,
            "ensemble.stepps: unknown key 'stepps' (did you mean 'steps'?); allowed: augmentation, bound,",
        ),
        ("ensemble.steps", "many", "ensemble.steps: input should be a valid integer"),
        ("ensemble.steps", 0, "ensemble.steps: input should be greater than or equal to 1, not 0"),
        ("ensemble.replicas", 0, "ensemble.replicas:"),
        ("ensemble.dataset.name", "mnist", "ensemble.dataset: unknown dataset 'mnist'"),
        (
            "ensemble.dataset.sample",
            7,
            "ensemble.dataset: unknown parameter of the dataset teacher_student: 'sample' (did you mean 'samples'?)",
        ),
        ("ensemble.grid.learning_rat", [1], "unknown hyperparameter 'learning_rat' (did you mean 'learning_rate'?)"),
        ("ensemble.grid.learning_rate", [-1], "learning_rate must be at least 0, not -1"),
        ("ensemble.grid.learning_rate", [], "axis learning_rate is empty"),
        ("ensemble.grid.learning_rate", [1, 1.0], "names a value twice"),
        ("ensemble.grid.learning_rate", [float("inf")], "learning_rate must be finite"),
        ("ensemble.grid", {}, "give either grid or points"),
        ("ensemble.grid.temperature", [1], "set exactly two of learning_rate, batch_size, temperature"),
        ("ensemble.fixed.loss", "hinge", "loss must be one of half_squared_error"),
        ("ensemble.fixed.init_scale", 1, "init_scale stands in fixed and in the grid"),
        ("ensemble.sampler", "fixed", "ensemble.sampler: input should be 'fixed_order', 'fixed_shuffle', 'reshuffle'"),
        ("ensemble.running", ["test_los"], "unknown running observable 'test_los' (did you mean 'test_loss'?)"),
        ("ensemble.flow_time", 10, "give one of steps and flow_time"),
        ("ensemble.records", {"at": [1.5]}, "records: at and every count whole steps"),
        (
            "ensemble.records",
            {"every": 10, "weights": {"at": [15]}},
            "records.weights names times that are not recorded",
        ),
        ("ensemble.network.init", ["gaussian"], "init must have one value for each of the 3 layers, not 1"),
        ("ensemble.fixed.momentum", 1, "momentum must be less than 1, not 1"),
        ("ensemble.fixed.label_noise", 0.2, "label_noise is no parameter of the dataset teacher_student"),
        ("ensemble.job_axes", ["eta"], "unknown job axis 'eta'; allowed: init_scale, learning_rate"),
        ("ensemble.network.trained", [True], "trained must have one value for each of the 3 layers, not 1"),
        ("ensemble.network.trained", False, "at least one layer must be trained"),
        ("ensemble.network.activation", "tan", "ensemble.network.activation: input should be 'tanh'"),
        ("ensemble.streams.task", "both", "ensemble.streams.task: input should be 'shared' or 'own'"),
        ("analysis.observables", ["eigenvalue"], "unknown observable 'eigenvalue' (did you mean 'eigenvalues'?)"),
        ("ensemble.dataset", {"name": "none"}, "the dataset none has no samples; update sgd needs some"),
        ("ensemble.running", ["lyapunov"], "running: update sgd measures epoch_train_loss"),
        ("ensemble.grid.init_scale", {"from": 1, "to": 2}, "axis init_scale: count: this key is missing"),
        ("ensemble.grid.init_scale", {"from": 1, "to": 2, "cout": 3}, "unknown key 'cout' (did you mean 'count'?)"),
        ("ensemble.grid.init_scale", {"from": 1, "to": 1, "count": 2}, "names a value twice"),
        (
            "ensemble.grid.init_scale",
            {"from": 0, "to": 1, "count": 3, "spacing": "inverse"},
            "axis init_scale: spacing inverse needs positive ends, not 0 and 1",
        ),
        ("ensemble.steps", float("inf"), "ensemble.steps: input should be a finite number"),
        ("ensemble.records", {"every": float("inf")}, "ensemble.records.every: input should be a finite number"),
        ("ensemble.running", ["coupling", "coupling"], "ensemble.running: coupling is named twice"),
        ("analysis.observables", ["drift", "drift"], "analysis.observables: drift is named twice"),
        ("ensemble.running", ["validation_loss"], "running: validation_loss needs dataset.validation"),
        ("ensemble.dataset", {"name": "digits", "label_noise": 1.5}, "label_noise must be less than 1, not 1.5"),
        ("analysis.fits", ["fractals"], "unknown fit 'fractals'"),
        ("analysis.claims", ["nobody1900"], "unknown paper 'nobody1900'"),
        ("analysis.figures", {"one": {"kind": "pie"}}, "unknown kind of figure 'pie'"),
        (
            "ensemble.fixed.width",
            16,
            "width changes the hidden layers: give widths with at least one of them and trained",
        ),
        ("ensemble.network.parametrisation", "mean_field", "a centered or mean_field network trains all its layers"),
        ("ensemble.network.centered", True, "a centered or mean_field network trains all its layers"),
        ("ensemble.fixed.rate_over_richness", 1, "set exactly two of learning_rate, batch_size, temperature"),
        ("ensemble.fixed.richness", 0, "richness must be greater than 0"),
        ("study", "alchemy", "study: input should be 'dyson', 'chaos', 'diffusion' or 'richness'"),
    ],
)
def test_bad_input_meets_one_clear_error(refused, where, value, message):
    def change(values):
        *folders, key = where.split(".")
        for folder in folders:
            values = values[folder]
        values[key] = value

    found = refused(change)
    assert message in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ({"from": -1, "to": 2, "count": 4}, [-1, 0, 1, 2]),
        ({"from": -1, "to": 2, "count": 31}, [place / 10 for place in range(-10, 21)]),
        ({"from": "1e-2", "to": 1, "count": 3, "spacing": "log"}, [0.01, 0.1, 1]),
        ({"from": 50, "to": 0.5, "count": 100, "spacing": "inverse"}, [1 / (place / 50) for place in range(1, 101)]),
    ],
)
def test_a_range_stands_for_its_values(tmp_path, axis, values):
    card = copy.deepcopy(MAP)
    card["ensemble"]["grid"]["coupling_ratio" if axis["from"] == -1 else "init_scale"] = axis
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(card))
    found = read_card(path).ensemble.grid["coupling_ratio" if axis["from"] == -1 else "init_scale"]
    assert found == [float(f"{value:.12g}") for value in values]


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("dataset", {"name": "digits"}, "update iteration trains on nothing; say dataset: {name: none}"),
        ("fixed", {"learning_rate": 1}, "update iteration reads init_scale, coupling_ratio, not learning_rate"),
        ("points", [{"init_scale": 1, "momentum": 0.5}], "reads init_scale, coupling_ratio, not momentum"),
        ("network", {"widths": [8, 9]}, "one square layer without bias"),
        ("network", {"widths": [8, 8], "activation": "relu"}, "iterates tanh(W x) with a Gaussian W"),
        ("streams", {}, "update iteration needs streams: {weights: shared}"),
        ("running", ["test_loss"], "running: update iteration measures asymptotic_distance, lyapunov"),
        ("running", [], "analysis.observables: nothing is measured"),
    ],
)
def test_what_the_iterated_map_could_only_ignore_is_refused(tmp_path, where, value, message):
    card = copy.deepcopy(MAP)
    card["ensemble"][where] = value
    if where == "points":
        del card["ensemble"]["grid"]
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(card))
    with pytest.raises(ConfigError) as caught:
        read_card(path)
    assert message in str(caught.value)
    card = copy.deepcopy(MAP)
    card["analysis"]["observables"] = ["eigenvalues"]
    path.write_text(yaml.safe_dump(card))
    with pytest.raises(ConfigError, match="update iteration leaves no weights"):
        read_card(path)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([{"momentum": 0.5}, {"momentum": 0}, {"momentum": 0.5}], "points names a point twice: {'momentum': 0.5}"),
        ([{"samples": 500}, {"momentum": 0.5}], "samples: some networks are given a number and some all there are"),
    ],
)
def test_points_that_would_be_one_or_have_no_epoch_are_refused(refused, points, message):
    def change(values):
        del values["ensemble"]["grid"]
        values["ensemble"] |= {"job_axes": [], "points": points, "fixed": {"learning_rate": 0.1, "batch_size": 8}}

    assert message in refused(change)


@pytest.mark.parametrize(("last", "every", "weights"), [(4.9, 0.7, 0.7), (3.0, 0.1, 0.3), (0.3, 0.1, 0.3)])
def test_flow_times_meet_whatever_their_rounding(last, every, weights):
    times, chosen = (Times(every=step).flow_times(last) for step in (every, weights))
    assert len(times) == round(last / every) + 1
    assert set(chosen) <= set(times)
    assert times[-1] == last


def test_missing_key_is_named(refused):
    assert "ensemble.records: this key is missing" in refused(lambda values: values["ensemble"].pop("records"))


def test_absent_and_unreadable_cards_are_named(tmp_path):
    (tmp_path / "dyson_quick.yaml").write_text("a: [1")
    with pytest.raises(
        ConfigError, match=r"dyson_quik\.yaml: no such experiment card \(did you mean 'dyson_quick'\?\)"
    ):
        read_card(tmp_path / "dyson_quik.yaml")
    with pytest.raises(ConfigError, match=r"dyson_quick\.yaml: cannot be read as YAML"):
        read_card(tmp_path / "dyson_quick.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match=r"list\.yaml: a card is a mapping with the keys title, study"):
        read_card(tmp_path / "list.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match=r"binary\.yaml: cannot be read as YAML"):
        read_card(tmp_path / "binary.yaml")


@settings(max_examples=200)
@given(st.data())
def test_no_card_ends_in_a_traceback(tmp_path_factory, data):
    """Any value in any place is taken or refused with a message, never with another exception."""
    values = copy.deepcopy(QUICK)
    place, folder = values, values
    while isinstance(place, dict) and place:
        folder, key = place, data.draw(st.sampled_from(sorted(place)))
        place = folder[key]
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    folder[key] = data.draw(scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=5), scalars))
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(yaml.safe_dump(values))
    try:
        assert isinstance(read_card(path), Card)
    except ConfigError as error:
        assert str(path) in str(error)


def test_command_line_lists_are_lists():
    assert read_config({"experiments": "[dyson_fashion]"}).experiments == ["dyson_fashion"]
    assert read_config({"experiments": "one, two"}).experiments == ["one", "two"]


def test_unknown_key_of_the_configuration_is_refused():
    with pytest.raises(ConfigError, match=r"config\.yaml: experimets: unknown key .*did you mean 'experiments'"):
        read_config({"experiments": ["a"], "experimets": []})
    with pytest.raises(ConfigError, match="data.mirror: unknown key 'mirror'"):
        read_config({"experiments": ["a"], "data": {"mirror": []}})


@pytest.mark.parametrize("mirror", ["https://me:secret@host/data", "https://host/data?token=secret"])
def test_a_mirrors_password_is_refused_and_not_shown(mirror):
    with pytest.raises(ConfigError, match=r"data\.mirrors: one has a password .* SGDPHASES_MIRROR") as caught:
        read_config({"experiments": ["toy"], "data": {"mirrors": ["https://host", mirror]}})
    assert "secret" not in str(caught.value)


def test_record_steps_hold_the_first_and_the_last():
    card = read_card(next(path for path in CARDS if path.stem == "dyson_quick"))
    steps = card.ensemble.records.steps(1000)
    assert steps == sorted(set(steps))
    assert steps[0] == 0
    assert steps[-1] == 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"streams": {"weights": "own"}}, "network.centered needs streams: {weights: shared}"),
        ({"running": ["batch_loss", "weight_work"]}, "mean_field is not defined with weight_work"),
        ({"update": "adam"}, "mean_field is not defined with update adam"),
        ({"fixed": {"loss": "mean_squared_error", "weight_decay": 0.1}}, "mean_field is not defined with weight_decay"),
    ],
)
def test_what_mean_field_networks_cannot_do_is_refused(change, message):
    values = yaml.safe_load((CARDS[0].parent / "richness_quick.yaml").read_text())
    values["ensemble"] |= {key: value for key, value in change.items() if key != "fixed"}
    values["ensemble"]["fixed"] = values["ensemble"]["fixed"] | change.get("fixed", {})
    with pytest.raises(ValueError, match=re.escape(message)):
        Card.model_validate(values)
