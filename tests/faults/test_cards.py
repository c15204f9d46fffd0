"""A thousand wrong cards and configurations: each is read, or refused in words; none ends in a traceback."""

import copy
import math
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgdphases.config import read_card, read_config
from sgdphases.faults import ConfigError
from sgdphases.project import Project

PROJECT = Path(__file__).parents[2]
CARDS = [
    path for folder in ("workflow/experiments", "tests/workflow/cards") for path in (PROJECT / folder).glob("*.yaml")
]
CARDS = sorted(CARDS, key=lambda path: (path.stat().st_size, path.name))[:30]  # small ones are planned in milliseconds
VALUES = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in CARDS]
WORDS = st.sampled_from(
    [
        "learning_rate",
        "batch_size",
        "temperature",
        "log",
        "../../etc/passwd",
        "",
        " ",
        "nan",
        "1e400",
        "0x10",
        "ä\n",
        "~",
    ]
)
NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2, 10**6, 10**12, 10**30, -(10**18), 1e-320, 1e300, math.nan, math.inf, -math.inf, 0.5]),
    st.integers(),
    st.floats(),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.text(max_size=8), st.dates())
THINGS = st.one_of(
    LEAVES,
    st.lists(LEAVES, max_size=4),
    st.dictionaries(st.one_of(WORDS, st.integers(), st.none()), LEAVES, max_size=3),
    st.just(list(range(300))),
    st.just([[[[]]]]),
    st.just({"log": {"from": 1e-6, "to": 1e6, "count": 10**9}}),
)


def places(value, path=()):
    """Paths of every block, key and element."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


@st.composite
def mutated(draw):
    """A real card with one to three of its values replaced, removed, renamed or added."""
    values = copy.deepcopy(draw(st.sampled_from(VALUES)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(values) if path]))
        block = values
        for key in path[:-1]:
            block = block[key]
        how = draw(st.sampled_from(["replace", "replace", "remove", "rename", "add"]))
        if how == "replace":
            block[path[-1]] = copy.deepcopy(draw(THINGS))
        elif how == "add" and isinstance(block, dict):
            block[draw(st.one_of(WORDS, st.text(max_size=6), st.integers(), st.none()))] = copy.deepcopy(draw(THINGS))
        elif how == "rename" and isinstance(block, dict):
            block[f"{path[-1]}s"] = block.pop(path[-1])
        else:
            block.pop(path[-1])
    return values


def understood(folder, text, experiments=("card",), **values):
    """Read a card and plan its experiment; True if it can be run, False if it was refused in words that name it."""
    (folder / "card.yaml").write_text(text, encoding="utf-8")
    begun = time.monotonic()
    try:
        Project({"experiments": list(experiments), "cards": str(folder), **values}, folder)
    except ConfigError as error:
        assert "card.yaml" in str(error) or "config.yaml" in str(error), error
        assert "Traceback" not in str(error)
        return False
    finally:
        assert time.monotonic() - begun < 20, text
    return True


COUNTS = {True: 0, False: 0}


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=mutated())
def _check_card(folder, values):
    COUNTS[understood(folder, yaml.safe_dump(values, allow_unicode=True))] += 1


@pytest.mark.slow
def test_a_thousand_wrong_cards(tmp_path):
    _check_card(tmp_path)
    assert COUNTS[True] + COUNTS[False] >= 1000
    assert COUNTS[False] > 300  # they were wrong indeed


CONFIG_KEYS = st.sampled_from(["experiments", "cards", "device", "data", "tracking", "exp", "directory", "uri"])


@settings(max_examples=300, deadline=None)
@given(values=st.dictionaries(CONFIG_KEYS, THINGS, max_size=4))
def test_wrong_configurations(values):
    try:
        read_config(values)
    except ConfigError as error:
        assert "config.yaml" in str(error)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
)
def test_what_is_no_card(tmp_path, content):
    path = tmp_path / "card.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="card.yaml"):
        read_card(path)


TOY = (Path(__file__).parents[1] / "workflow/cards/toy.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "value", [".nan", ".inf", "-.inf", "1.0e+400", "-1", "true", "''", "[]", "{}", "null", "2020-01-01"]
)
@pytest.mark.parametrize("key", ["learning_rate: [0.5, 2]", "init_scale: [0.5, 4]", "steps: 200", "replicas: 2"])
def test_numbers_that_are_none(tmp_path, key, value):
    name, _, old = key.partition(": ")
    new = f"[0.5, {value}]" if old.startswith("[") else value
    assert not understood(tmp_path, TOY.replace(key, f"{name}: {new}")), (name, value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("replicas: 2", "replicas: 1000000000000"),
        ("widths: [3, 8, 4, 1]", "widths: [3, 80000000000000000000, 4, 1]"),
        ("steps: 200", "steps: 1000000000000000000000"),
        ("records: {log: 6}", "records: {every: 1.0e-9}"),
        ("batch_size: 4", "batch_size: 100000000000000000000"),
    ],
)
def test_absurd_sizes_are_refused_and_take_no_time(tmp_path, old, new):
    assert old in TOY
    assert not understood(tmp_path, TOY.replace(old, new))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "&a [*a]",
        "a: &a {b: *a}",
        "!!python/object/apply:os.system ['true']",
        "? [1, 2]\n: 3",
        "? {a: b}\n: 3",
        "a: b: c",
        "\t",
        "%YAML 9.9\n---\n{}",
        "a: 1\n---\nb: 2",
        "[" * 3000,
        "{a: " * 3000,
        "\ufeff" + TOY.replace("steps: 200", "steps: many"),
        TOY.replace("title:", "<<:"),
        "x: !!timestamp 2020-13-45",
        "x: !!int abc",
        "\x00",
    ],
)
def test_yaml_oddities(tmp_path, text):
    assert not understood(tmp_path, text)
