"""Imports go one way: every room sees the rooms below it only, and each library is at home in few of them.

The floor plan is read from the syntax trees alone, so an import counts wherever it stands: at the top, in a function,
under TYPE_CHECKING, and as the text "sgdphases.room.module:function" of a registry.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src"
PACKAGE = "sgdphases"

# Lowest first; rooms on one line do not see each other.
FLOORS = (
    ("files", "choices", "times", "devices"),
    ("quantities", "faults", "leases"),
    ("axes", "invocation"),
    ("theory", "datasets", "ensemble"),
    ("observables",),
    ("storage",),
    ("fits", "claims"),
    ("figures",),
    ("provenance", "starts", "tracking"),
    ("training",),
    ("config",),
    ("shards",),
    ("estimates",),
    ("project",),
    ("steps",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Rooms, or single modules, where a library may be imported; a library that is not named here is at home everywhere.
HOMES = {
    "torch": ("ensemble", "datasets", "observables", "steps"),
    "torchvision": ("datasets",),
    "curvlinops": ("observables",),
    "xarray": ("storage", "fits", "claims", "figures", "steps"),
    "seaborn": ("figures",),
    "matplotlib": ("figures",),
    "mlflow": ("tracking.store",),
    "snakemake": ("tracking", "invocation"),
    "snakemake_interface_logger_plugins": ("tracking",),
}
# Rooms that make do with the standard library and these.
FRUGAL = {
    "files": ("psutil",),
    "choices": (),
    "times": ("numpy", "pydantic"),
    "devices": (),
    "leases": (),
    "quantities": ("numpy",),
    "theory": ("numpy", "scipy"),
}

# All that step `train` may reach: an edit of anything else never trains again.
TRAIN_REACHES = ("files", "choices", "ensemble", "datasets", "storage.records", "storage.start", "provenance", "steps")
TRAIN_REACHES += ("tracking.spool", "tracking.address", "devices", "leases")

# What Snakemake itself, and every job it starts, imports while it reads the rules: must not take seconds.
HEAVY = ("torch", "torchvision", "mlflow", "matplotlib", "seaborn", "xarray", "sklearn", "pandas")


@dataclass(frozen=True)
class Import:
    """One import: which module does it, in which line, of what; `now` where it runs as the module is imported."""

    module: str
    line: int
    target: str
    now: bool = True


class Tree:
    """The modules under a folder `src` and what each of them imports."""

    def __init__(self, source: Path, package: str = PACKAGE) -> None:
        self.package = package
        self.paths = {}
        for path in sorted((source / package).rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            self.paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        self.imports = {name: list(self._read(name)) for name in self.paths}

    def _read(self, name: str) -> Iterator[Import]:
        tree = ast.parse(self.paths[name].read_text(encoding="utf-8"))
        late = {id(inner) for node in ast.walk(tree) if _runs_later(node) for inner in ast.walk(node)}
        for node in ast.walk(tree):
            for target in self._targets(node, registry=name.endswith(".registry")):
                yield Import(name, node.lineno, target, now=id(node) not in late and not isinstance(node, ast.Constant))

    def _targets(self, node: ast.AST, *, registry: bool) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.level:
            return ["." * node.level + (node.module or "")]
        if isinstance(node, ast.ImportFrom):
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            return [name if name in self.paths else node.module for name in named]
        if registry and isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            return [name] if re.fullmatch(r"\w+(\.\w+)+", name) and name in self.paths else []
        return []

    def room(self, module: str) -> str:
        """First word after the package's name; empty for the package itself."""
        return module.removeprefix(self.package).lstrip(".").split(".")[0]

    def own(self, target: str) -> bool:
        """Whether a name is of this package."""
        return target.split(".")[0] == self.package

    def reach(self, start: str, *, now: bool = False) -> dict[str, tuple[Import, ...]]:
        """Everything that `start` can reach, each with the chain of imports that leads there.

        With `now`, only what is imported in the same moment as `start`. The faces of the packages on the way count.
        """
        chains: dict[str, tuple[Import, ...]] = {start: ()}
        waiting = [start]
        while waiting:
            module = waiting.pop(0)
            for step in self.imports.get(module, []):
                for name in self._passed(step.target) if step.now or not now else []:
                    if name not in chains:
                        chains[name] = (*chains[module], step)
                        waiting.append(name)
        return chains

    def _passed(self, target: str) -> list[str]:
        """Modules that are imported on the way to `target`, itself last."""
        words = target.split(".")
        return [".".join(words[: n + 1]) for n in range(len(words))] if self.own(target) else [target]


def _runs_later(node: ast.AST) -> bool:
    function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    return function or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))


def _within(module: str, homes: tuple[str, ...], package: str = PACKAGE) -> bool:
    inner = module.removeprefix(package).lstrip(".")
    return any(inner == home or inner.startswith(f"{home}.") for home in homes)


def faults(tree: Tree) -> list[str]:
    """Every broken rule of the floor plan, as one line that names module, line and rule."""
    found = [
        f"{name}: no room of the floor plan" for name in tree.paths if tree.room(name) and tree.room(name) not in FLOOR
    ]
    for name, steps in tree.imports.items():
        for step in steps:
            where = f"{name}:{step.line}: "
            found.extend(where + fault for check in (_direction, _library, _face) for fault in check(tree, step))
    return found


def _direction(tree: Tree, step: Import) -> Iterator[str]:
    here, there = tree.room(step.module), tree.room(step.target)
    if step.target.startswith("."):
        yield "relative import"
    elif tree.own(step.target) and there not in ("", here) and FLOOR.get(there, 99) >= FLOOR.get(here, -1):
        yield f"{here or 'the package itself'} does not see {there} ({step.target})"


def _library(tree: Tree, step: Import) -> Iterator[str]:
    library, room = step.target.split(".")[0], tree.room(step.module)
    if tree.own(step.target) or not library:
        return
    if library in HOMES and not _within(step.module, HOMES[library], tree.package):
        yield f"{library} is at home in {', '.join(HOMES[library])} only"
    if room in FRUGAL and library not in (*sys.stdlib_module_names, *FRUGAL[room]):
        yield f"{room} makes do without {library}"


def _face(tree: Tree, step: Import) -> Iterator[str]:
    if tree.paths[step.module].name == "__init__.py" and step.target.split(".")[0] not in sys.stdlib_module_names:
        yield f"the face of a package imports nothing, least of all {step.target}"


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree(SOURCE)


def test_the_floor_plan_is_the_folder(tree):
    assert set(FLOOR) == {tree.room(name) for name in tree.paths} - {""}


def test_imports_go_one_way_and_libraries_are_at_home(tree):
    assert faults(tree) == []


def test_train_reaches_only_what_training_needs(tree):
    start = f"{PACKAGE}.steps.train"
    assert start in tree.paths
    strangers = {
        name: " > ".join(f"{step.module}:{step.line}" for step in chain)
        for name, chain in tree.reach(start).items()
        if tree.own(name) and name in tree.paths and tree.paths[name].name != "__init__.py"
        if not _within(name, TRAIN_REACHES)
    }
    assert strangers == {}


def test_reading_the_rules_imports_nothing_heavy(tree):
    for start in ("config", "provenance", "project"):
        chains = tree.reach(f"{PACKAGE}.{start}", now=True)
        heavy = {
            name: " > ".join(f"{step.module}:{step.line}" for step in chain)
            for name, chain in chains.items()
            if name.split(".")[0] in HEAVY
        }
        assert heavy == {}, start


def test_faces_load_nothing_heavy(tree):
    faces = [name for name, path in tree.paths.items() if path.name == "__init__.py"]
    assert len(faces) > 5
    program = f"import sys, {', '.join(faces)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert PACKAGE in loaded
    assert not {"numpy", *HEAVY} & set(loaded)


def test_only_common_smk_holds_imports():
    rules = [PROJECT / "Snakefile", *(PROJECT / "workflow").rglob("*.smk")]
    assert len(rules) > 1
    for path in rules:
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"^[ \t]*(?:from|import)[ \t]+([\w.]+)", text, flags=re.MULTILINE)
        assert all(name.split(".")[0] not in HEAVY for name in found), path
        if path.name != "common.smk":
            assert all(name.startswith("snakemake.") for name in found), path
        rooms = {name.split(".")[1] for name in found if name.startswith(f"{PACKAGE}.")}
        assert rooms <= {"config", "provenance", "tracking", "shards", "project", "invocation", "steps"}, path


# The checker must be able to find fault: small trees, each with one.


def plant(folder: Path, files: dict[str, str]) -> Tree:
    """Write a small package, with a face in every folder, and read it."""
    for name, text in files.items():
        path = folder / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for inner in [folder / PACKAGE, *(p for p in (folder / PACKAGE).rglob("*") if p.is_dir())]:
        (inner / "__init__.py").touch()
    return Tree(folder)


GOOD = {
    "files.py": "import json\n",
    "quantities.py": "from sgdphases import files\n",
    "theory/dyson.py": "import numpy as np\nfrom sgdphases.theory import edges\nfrom sgdphases.quantities import x\n",
    "theory/edges.py": "from scipy import special\n",
    "ensemble/sgd.py": "import torch\nfrom sgdphases.files import y\n",
    "storage/records.py": "def read():\n    import xarray\n    import sgdphases.observables.signal\n",
    "observables/signal.py": "",
    "figures/maps.py": "import seaborn\n",
    "figures/registry.py": "FIGURES = {'map': 'sgdphases.figures.maps:draw'}\n",
    "tracking/store.py": "import mlflow\n",
    "config.py": "from sgdphases.figures.registry import FIGURES\n",
    "steps/draw.py": "from sgdphases.config import Card\nimport sgdphases.figures.maps\n",
    "steps/track.py": "from sgdphases.tracking import store\n",
}


def test_a_good_tree_has_no_fault(tmp_path):
    assert faults(plant(tmp_path, GOOD)) == []


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("files.py", "from sgdphases.theory.dyson import law", "files does not see theory"),
        ("quantities.py", "import sgdphases.observables.signal", "quantities does not see observables"),
        ("theory/dyson.py", "from sgdphases.ensemble import sgd", "theory does not see ensemble"),
        ("theory/dyson.py", "from sgdphases import ensemble", "theory does not see ensemble"),
        ("ensemble/sgd.py", "import sgdphases.datasets", "ensemble does not see datasets"),
        ("datasets/digits.py", "def f():\n    from sgdphases.theory.dyson import x", "datasets does not see theory"),
        ("observables/signal.py", "from sgdphases.storage.records import x", "observables does not see storage"),
        ("fits/power.py", "from sgdphases.claims import x", "fits does not see claims"),
        ("figures/maps.py", "from sgdphases.config import Card", "figures does not see config"),
        ("storage/cube.py", "from sgdphases.tracking import spool", "storage does not see tracking"),
        ("claims/registry.py", "LAW = 'sgdphases.figures.maps:draw'", "claims does not see figures"),
        ("figures/maps.py", "from sgdphases.steps.draw import x", "figures does not see steps"),
        ("storage/cube.py", "from . import records", "relative import"),
        ("storage/cube.py", "from ..figures import maps", "relative import"),
        ("theory/dyson.py", "import pandas", "theory makes do without pandas"),
        ("theory/dyson.py", "import torch", "torch"),
        ("files.py", "import numpy", "files makes do without numpy"),
        ("fits/power.py", "from torch import nn", "torch is at home in"),
        ("ensemble/sgd.py", "import torchvision.datasets", "torchvision is at home in"),
        ("observables/signal.py", "import xarray as xr", "xarray is at home in"),
        ("fits/power.py", "from matplotlib import pyplot", "matplotlib is at home in"),
        ("steps/draw.py", "import seaborn", "seaborn is at home in"),
        ("tracking/spool.py", "def f():\n    import mlflow", "mlflow is at home in"),
        ("steps/draw.py", "from snakemake.api import x", "snakemake is at home in"),
        ("helpers.py", "", "no room of the floor plan"),
        ("misc/words.py", "", "no room of the floor plan"),
    ],
)
def test_one_fault_is_found(tmp_path, name, text, fault):
    found = faults(plant(tmp_path, {**GOOD, name: text}))
    assert found
    assert all(fault in line for line in found), found


def test_a_face_that_imports_is_found(tmp_path):
    plant(tmp_path, GOOD)
    (tmp_path / PACKAGE / "figures" / "__init__.py").write_text("from sgdphases.figures.maps import draw\n")
    assert ["figures" in line and "face" in line for line in faults(Tree(tmp_path))] == [True]


def test_reach_follows_every_kind_of_import(tmp_path):
    tree = plant(tmp_path, {**GOOD, "steps/train.py": "def main():\n    from sgdphases.storage import records\n"})
    chains = tree.reach(f"{PACKAGE}.steps.train")
    assert f"{PACKAGE}.observables.signal" in chains  # through a function of a function
    assert f"{PACKAGE}.observables" in chains  # the face on the way
    assert [step.line for step in chains[f"{PACKAGE}.observables.signal"]] == [2, 3]
    assert set(tree.reach(f"{PACKAGE}.steps.train", now=True)) == {f"{PACKAGE}.steps.train"}
    assert f"{PACKAGE}.figures.maps" in tree.reach(f"{PACKAGE}.config")  # through the text of a registry
    assert "seaborn" in tree.reach(f"{PACKAGE}.config")
    assert "seaborn" not in tree.reach(f"{PACKAGE}.config", now=True)
