"""What must not be possible: code that runs because of a file, paths that lead out, servers that others reach."""

import ast
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from sgdphases.config import ConfigError
from sgdphases.datasets.image_files import ImageError, TarFiles, ZipFiles
from sgdphases.datasets.remote import mirror_list
from sgdphases.project import Project
from sgdphases.tracking import serve

PROJECT = Path(__file__).parents[1]
SOURCES = sorted((PROJECT / "src").rglob("*.py"))

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "pty", "telnetlib", "code"}
CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
UNSAFE = {"read_pickle", "to_pickle", "unsafe_load", "full_load", "load_all", "extractall", "system", "popen", "mktemp"}
YAML_LOADERS = {"SafeLoader", "CSafeLoader"}


def name_of(node):
    """The dotted name of what is called; empty where it has none."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def faults(text):
    """What in a module could run code from a file, or a command line from a word."""
    tree = ast.parse(text)
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for name in names.values():
        if name.split(".")[0] in MODULES:
            yield f"imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _call(node, names)
        elif isinstance(node, ast.Attribute) and node.attr in UNSAFE:
            yield f"uses {node.attr}"


def _call(node, names):
    first, _, rest = name_of(node.func).partition(".")
    name = names.get(first, first) + (f".{rest}" if rest else "")
    words = {word.arg: word.value for word in node.keywords}
    if None in words and (name.startswith("subprocess.") or name in ("torch.load", "numpy.load", "yaml.load")):
        yield f"{name} is given words that nobody sees"
    if name in CALLS or name.removeprefix("builtins.") in CALLS:
        yield f"calls {name}"
    if name == "torch.load" and not _is(words.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if name in ("numpy.load", "numpy.lib.format.read_array") and not _is(
        words.get("allow_pickle", ast.Constant(False)), False
    ):
        yield "numpy.load with pickles"
    if name == "yaml.load" and name_of(words.get("Loader")).rpartition(".")[2] not in YAML_LOADERS:
        yield "yaml.load with a loader that is not safe"
    if "shell" in words and not _is(words["shell"], False):
        yield "a command for a shell"
    if name.split(".")[-1] in ("create_subprocess_shell", "getoutput", "getstatusoutput"):
        yield "a command for a shell"


def _is(node, value):
    return isinstance(node, ast.Constant) and node.value is value


IMPORTERS = {"src/sgdphases/datasets/loading.py", "src/sgdphases/steps/words.py"}
"""Modules that import by name: the names stand in registries of this package, from which the words of cards choose."""


def test_modules_are_imported_by_name_in_two_places_only():
    found = {str(path.relative_to(PROJECT)) for path in SOURCES if "import_module(" in path.read_text(encoding="utf-8")}
    assert found == IMPORTERS


def test_nothing_in_the_sources_runs_what_a_file_says():
    assert len(SOURCES) > 150
    found = {str(path.relative_to(PROJECT)): list(faults(path.read_text(encoding="utf-8"))) for path in SOURCES}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import load as read\nread(f)",
        "def f():\n    import joblib",
        "import torch\ntorch.load(p)",
        "import torch as t\nt.load(p, weights_only=False)",
        "from torch import load\nload(p)",
        "import torch\ntorch.load(p, **words)",
        "import numpy as np\nnp.load(p, allow_pickle=True)",
        "import numpy\nnumpy.load(p, allow_pickle=flag)",
        "import yaml\nyaml.load(t)",
        "import yaml\nyaml.load(t, Loader=yaml.Loader)",
        "import yaml\nyaml.unsafe_load(t)",
        "eval(text)",
        "import builtins\nbuiltins.exec(text)",
        "import subprocess\nsubprocess.run(t, shell=True)",
        "import subprocess as s\ns.Popen(t, shell=flag)",
        "import os\nos.system(t)",
        "import pandas as pd\npd.read_pickle(p)",
        "archive.extractall(folder)",
        "import asyncio\nasyncio.create_subprocess_shell(t)",
    ],
)
def test_the_audit_finds(text):
    assert list(faults(text))


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.load(p, weights_only=True)",
        "import numpy as np\nnp.load(p)\nnp.load(p, allow_pickle=False)",
        "import yaml\nyaml.safe_load(t)\nyaml.load(t, Loader=yaml.SafeLoader)",
        "import subprocess\nsubprocess.run(['ls'])",
        "model.eval()",
    ],
)
def test_the_audit_lets_pass(text):
    assert list(faults(text)) == []


def tar_with(path, member, target="", kind=tarfile.REGTYPE):
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(member)
        entry.type, entry.linkname = kind, target
        archive.addfile(entry)
    return TarFiles(path)


def zip_with(path, member, mode=0o100644):
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo(member)
        entry.external_attr = mode << 16
        archive.writestr(entry, b"../../outside")
    return ZipFiles(path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "a/../../outside", "C:/outside", "a\\..\\..\\outside"])
def test_archives_with_names_that_lead_out_are_refused(tmp_path, name):
    for files in (tar_with(tmp_path / "a.tgz", name), zip_with(tmp_path / "a.zip", name)):
        with pytest.raises(ImageError, match="leads out of its folder"):
            files.names()
    assert {path.name for path in tmp_path.iterdir()} == {"a.tgz", "a.zip"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_archives_with_links_and_devices_are_refused(tmp_path, kind):
    with pytest.raises(ImageError, match="link or a device"):
        tar_with(tmp_path / "a.tgz", "inside", "/etc/passwd", kind).names()
    with pytest.raises(ImageError, match="link or a device"):
        zip_with(tmp_path / "a.zip", "inside", 0o120777).names()


def card_in(folder, **changes):
    text = (PROJECT / "tests/workflow/cards/toy.yaml").read_text(encoding="utf-8")
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    (folder / "card.yaml").write_text(text, encoding="utf-8")
    return {"experiments": ["card"], "cards": str(folder)}


OUTWARD = [
    "../outside",
    "/etc/outside",
    "a/../../outside",
    "..",
    ".",
    "~/outside",
    "a b",
    "a;b",
    "$(x)",
    "a\nb",
    "",
    "-x",
]


@pytest.mark.parametrize("name", OUTWARD)
def test_names_of_experiments_cannot_lead_out(tmp_path, name):
    (tmp_path / "outside.yaml").write_text((PROJECT / "tests/workflow/cards/toy.yaml").read_text())
    cards = tmp_path / "cards"
    cards.mkdir()
    with pytest.raises(ConfigError):
        Project(card_in(cards) | {"experiments": [name]}, tmp_path)


@pytest.mark.parametrize("name", OUTWARD)
def test_names_of_figures_cannot_lead_out(tmp_path, name):
    with pytest.raises(ConfigError):
        Project(card_in(tmp_path, figure=("phase_diagram: {", f"{ascii(name)}: {{")), tmp_path)


@pytest.mark.parametrize("name", OUTWARD)
def test_names_of_data_sets_fits_and_papers_cannot_lead_out(tmp_path, name):
    for old, new in (
        ("name: teacher_student", f"name: {ascii(name)}"),
        ("fits: [fractions, boundaries]", f"fits: [{ascii(name)}]"),
        ("claims: [park2025phase]", f"claims: [{ascii(name)}]"),
        ("- overlap\n", f"- {ascii(name)}\n"),
    ):
        with pytest.raises(ConfigError):
            Project(card_in(tmp_path, one=(old, new)), tmp_path)


@pytest.mark.parametrize("mirror", ["ftp://host/data", "javascript:alert://x", "gopher://host", "http://host:port/x"])
def test_mirrors_are_web_or_files(mirror):
    with pytest.raises(ValueError, match="mirror"):
        mirror_list([mirror])


def test_the_store_is_served_to_this_machine_alone(tmp_path):
    words = serve.command(f"sqlite:///{tmp_path / 'mlflow.db'}", 5000)
    assert words[words.index("--host") + 1] == "127.0.0.1"
    hosts = words[words.index("--allowed-hosts") + 1].split(",")
    assert {host.partition(":")[0] for host in hosts} == {"127.0.0.1", "localhost"}
    assert serve.environment({}, "sqlite:///x")["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_nothing_in_the_project_listens_everywhere():
    paths = [*SOURCES, PROJECT / "Makefile", *(path for path in (PROJECT / "profiles").rglob("*") if path.is_file())]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert "0.0.0.0" not in text, path
        assert "bind(('', " not in text and 'bind(("", ' not in text, path


@pytest.mark.slow
def test_no_dependency_has_a_known_fault():
    """Where the network is there: every entry of the lock against the registry of faults."""
    words = ["--disable-pip", "--require-hashes", "-r", str(PROJECT / "envs/requirements.lock"), "--format=json"]
    program = [sys.executable, "-m", "uv", "tool", "run", "--quiet", "pip-audit"]
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=False, timeout=300)
    try:
        entries = json.loads(done.stdout)["dependencies"]
    except ValueError:
        pytest.skip(f"the list of known faults cannot be reached: {done.stderr[-300:]}")
    looked_at = [entry for entry in entries if "skip_reason" not in entry]
    if len(looked_at) < 0.8 * len(entries):
        pytest.skip(f"the list of known faults knows only {len(looked_at)} of {len(entries)} packages here")
    assert {entry["name"]: entry["vulns"] for entry in looked_at if entry["vulns"]} == {}
