"""Digests of content, seeds, fingerprints of code, versions."""

import ast
import functools
import hashlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sgdphases.files import read_json, write_json

PACKAGE = Path(__file__).parent
STREAMS = ("task", "weights", "order", "noise")
DATASETS = "sgdphases.datasets.registry"
MEMORY = Path(".snakemake", "sgdphases.code.json")
"""Where Snakemake runs: what its jobs have learned of the code, which takes each of them a second to read anew."""
MOST = 2000
"""Versions of modules that are kept there."""
_BESIDE_THE_SCIENCE = (
    "sgdphases.tracking",
    "sgdphases.provenance",
    "sgdphases.config",
    "sgdphases.training",
    "sgdphases.starts",
    "sgdphases.steps.command",
)


def digest(content: Any) -> str:
    """Name of a content: the first 12 hexadecimal digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:12]


def canonical(content: Any) -> str:
    """One text per content: keys sorted, no spaces, floats by their shortest repr."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def seed(stream: str, replica: int, point: Mapping[str, Any] | None) -> int:
    """Seed of one random stream of one network, a 63-bit integer.

    Args:
        stream: One of "task", "weights", "order", "noise".
        replica: Which replica.
        point: The network's typed hyperparameters that differ from neutral, or None where the stream is shared by all
            points of the grid (common random numbers).

    Returns:
        A seed that depends on nothing else: no shard, no place, no grid.
    """
    text = canonical([stream, replica, dict(point) if point is not None else None])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@functools.cache
def fingerprint(rule: str, dataset: str = "") -> str:
    """Digest of all code that the step of a rule can reach, comments and docstrings left out.

    Snakemake does not look into imported modules; a rule that carries this value as a parameter is run again when, and
    only when, code that can change its result has changed. Tracking is left out: it cannot. So is the reading of
    cards: what a card says enters a rule's parameters by its own digest.

    Args:
        rule: The rule's and its step's name.
        dataset: The data set that the job works on; the rows of all others, and loaders that only they name, do not
            count. Empty: all count.

    Returns:
        Twelve hexadecimal digits.
    """
    before = len(_memory())
    modules = sorted(reachable(f"sgdphases.steps.{rule}", dataset))
    pieces = [f"{module}:{_told(module, dataset if module == DATASETS else '')[1]}" for module in modules]
    if len(_memory()) > before:
        _keep()
    return hashlib.sha256("\n".join(pieces).encode()).hexdigest()[:12]


@functools.cache
def reachable(module: str, dataset: str = "") -> frozenset[str]:
    """Modules of this package that `module` can reach by its import statements, itself included; see `fingerprint`."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name.startswith(_BESIDE_THE_SCIENCE) or _source(name) is None:
            continue
        seen.add(name)
        waiting.extend(_told(name, dataset if name == DATASETS else "")[0])
    return frozenset(seen)


def release() -> str:
    """Version of this package."""
    return importlib.metadata.version("sgdphases")


def version() -> str:
    """Version of this package, with the commit and "+changes" where it runs from a changed checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+changes"],
            cwd=PACKAGE, capture_output=True, text=True, check=True, timeout=10,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return release()
    return f"{release()} ({described})"


def _source(module: str) -> Path | None:
    """File of a module of this package, or None."""
    if module.split(".")[0] != "sgdphases":
        return None
    base = PACKAGE.joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def _memory() -> dict[str, list[Any]]:
    """What `_told` says, by digests of what it was told of: a dictionary that grows, of `MEMORY` at first."""
    try:
        kept = read_json(MEMORY)
        return kept["code"] if kept["sum"] == digest(kept["code"]) else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _keep() -> None:
    """Write the memory down where Snakemake runs; elsewhere, and where nothing can be written, it ends here."""
    newest = dict(list(_memory().items())[-MOST:])
    with suppress(OSError):
        if MEMORY.parent.is_dir():
            write_json(MEMORY, {"code": newest, "sum": digest(newest)})


@functools.cache
def _told(module: str, dataset: str) -> list[Any]:
    """Of a module, where a data set is named without the rows of others: what it could import, digest of its code."""
    text = _source(module).read_bytes()
    key = hashlib.sha256(b"\0".join([_reader(), dataset.encode(), text])).hexdigest()
    if key not in _memory():
        tree = _parsed(text, dataset)
        _memory()[key] = [_imports(tree), hashlib.sha256(_bare(tree).encode()).hexdigest()]
    return _memory()[key]


@functools.cache
def _reader() -> bytes:
    """What else syntax trees and their digests depend on: Python, and this module."""
    return sys.version.encode() + Path(__file__).read_bytes()


def _parsed(text: bytes, dataset: str) -> ast.Module:
    """The syntax tree of a module; where a data set is named, without the rows of others."""
    tree = ast.parse(text)
    for node in ast.walk(tree) if dataset else ():
        if isinstance(node, ast.Tuple):
            node.elts = [row for row in node.elts if not _of_another(row, dataset)]
    return tree


def _of_another(row: ast.expr, dataset: str) -> bool:
    """Whether an element of a table is the row of another data set."""
    is_row = isinstance(row, ast.Call) and ast.unparse(row.func) == "Entry"
    return is_row and [ast.literal_eval(name) for name in row.args[:1]] != [dataset]


def _imports(tree: ast.Module) -> list[str]:
    """Every name that import statements and registries of a module could mean as a module, at any depth of it."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names.extend(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("sgdphases."):
            names.append(node.value.split(":")[0])  # a registry names what it offers as "package.module:function"
    return list(dict.fromkeys(names))


def _bare(tree: ast.Module) -> str:
    """A module's syntax tree without docstrings; comments and formatting are not part of a tree."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _documented(body):
            node.body = body[1:] or [ast.Pass()]
    return ast.dump(tree)


def _documented(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
