"""What every project has: lock, licence, citation, changelog, documents; and the budgets of size."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from sgdphases.claims.papers import CITATIONS
from sgdphases.claims.registry import PAPERS as CLAIMED

PROJECT = Path(__file__).parents[1]
PAPERS = {
    "2509.01349": ("Phase diagram and eigenvalue dynamics", "Park"),
    "2107.09437": ("Edge of chaos as a guiding principle", "Zhang"),
    "2107.09133": ("The Limiting Dynamics of SGD", "Kunin"),
    "2410.04642": ("The Optimization Landscape of SGD", "Atanasov"),
}
AROUND = {
    "2407.16427": ("Stochastic weight matrix dynamics", "Aarts"),
    "1909.05176": ("Optimal Machine Intelligence", "Feng"),
    "10.1142/s2972335323500011": ("Asymptotic Edge of Chaos", "Zhang"),
}
"""Papers before and after them."""


def read(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def pins(text: str) -> list[Requirement]:
    """The requirements of a lock, in its order."""
    return [Requirement(line.rstrip(" \\")) for line in text.splitlines() if re.match(r"\w", line)]


def blocks(text: str) -> dict[str, str]:
    """Text of each requirement of a lock, hashes and comments included, by name (all versions of one name together)."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if re.match(r"\w", line):
            name = line.partition("==")[0]
        found[name] = found.get(name, "") + line
    return found


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads(read("pyproject.toml"))["project"]


@pytest.fixture(scope="module")
def lock() -> str:
    return read("envs/requirements.lock")


# The lock.


@pytest.mark.parametrize("name", ["envs/requirements.lock", "envs/installer.lock"])
def test_every_pin_is_exact_and_has_hashes(name):
    text = read(name)
    assert pins(text)
    assert all(re.fullmatch(r"==[^*]+", str(pin.specifier)) for pin in pins(text))
    lines = text.splitlines()
    for here, line in enumerate(lines):
        if re.match(r"\w", line):
            assert line.endswith(" \\"), line
            assert re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}( \\)?", lines[here + 1]), line


def test_lock_holds_what_the_project_asks_for(project, lock):
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    locked = {}
    for pin in pins(lock):
        locked.setdefault(pin.name, []).append(str(pin.specifier).removeprefix("=="))
    for requirement in map(Requirement, asked):
        versions = locked.get(requirement.name.lower(), [])
        assert versions, requirement
        assert all(requirement.specifier.contains(version) for version in versions), requirement
    assert "setuptools" in locked, "the project is installed without build isolation"


def test_no_registry_address_in_any_file():
    hosts = ["py" + "pi.org", "python" + "hosted", "download.py" + "torch.org", "anaconda" + ".org"]
    options = ["index" + "-url", "find" + "-links ="]
    for path in tracked():
        text = path.read_text(encoding="utf-8", errors="replace")
        found = [host for host in hosts if host in text]
        if path.suffix in {".lock", ".in", ".toml", ".yaml"}:
            found += [option for option in options if option in text]
        assert not found, f"{path}: {found}"
    assert "://" not in read("envs/requirements.lock") + read("envs/installer.lock") + read("envs/python.yaml")


def test_cpu_build_leaves_out_exactly_the_cuda_packages(lock):
    program = re.search(r"awk '(.*?)'", read("envs/create.sh"), flags=re.DOTALL)[1]
    kept = subprocess.run(["awk", program], input=lock, capture_output=True, text=True, check=True).stdout
    dropped = set(blocks(lock)) - set(blocks(kept))
    assert {"torch", "torchvision", "triton"} < dropped
    assert not re.search(r"nvidia|cuda|triton", "\n".join(blocks(kept)))
    # What was dropped is needed by nothing that was kept, and what was kept is whole.
    for name in dropped - {"torch", "torchvision"}:
        needed_by = set(re.findall(r"^ +#(?: +via)? +(\S+)$", blocks(lock)[name], flags=re.MULTILINE)) - {"via"}
        assert needed_by, name
        assert needed_by <= dropped, name
    assert all(blocks(kept)[name] == blocks(lock)[name] for name in blocks(kept))


def test_conda_file_has_the_pins_of_the_lock(lock):
    environment = yaml.safe_load(read("envs/python.yaml"))
    (inner,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert [str(Requirement(entry)) for entry in inner] == [str(pin) for pin in pins(lock)]
    assert "python >=3.11" in environment["dependencies"]
    written = subprocess.check_output(["sh", "envs/conda.sh"], cwd=PROJECT, input=lock, text=True)
    assert written == read("envs/python.yaml")


# Licence, citation, changelog, documents.


def test_licence(project):
    assert project["license"] == "MIT"
    assert read("LICENSE").startswith("MIT License\n\nCopyright (c) 2026 The sgdphases developers\n")


def test_citation_lists_the_papers(project):
    citation = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert (citation["title"], citation["version"], citation["license"]) == ("sgdphases", project["version"], "MIT")
    assert citation["authors"] == project["authors"]
    references = {entry["identifiers"][0]["value"].removeprefix("arXiv:"): entry for entry in citation["references"]}
    assert set(references) == {*PAPERS, *AROUND}
    for number, (title, author) in {**PAPERS, **AROUND}.items():
        entry = references[number]
        assert entry["title"].startswith(title)
        assert entry["authors"][0]["family-names"] == author
        assert entry["url"].endswith(number)
        assert entry["type"] in {"article", "conference-paper"}
        assert all(set(person) == {"given-names", "family-names"} for person in entry["authors"])
        assert int(entry["year"]) in range(2019, 2027)


def test_files_cite_papers_as_the_citation_file_does():
    entries = {entry["url"]: entry for entry in yaml.safe_load(read("CITATION.cff"))["references"]}
    cards = [yaml.safe_load(path.read_text()) for path in (PROJECT / "workflow" / "experiments").glob("*.yaml")]
    assert {*CLAIMED, *(card["paper"] for card in cards)} <= set(CITATIONS)
    for text in CITATIONS.values():
        entry = entries[text.rpartition(", ")[2]]
        assert f": {entry['title']} ({entry['year']}), " in text
        people = [
            " ".join([*(f"{name[0]}." for name in person["given-names"].split()), person["family-names"]])
            for person in entry["authors"]
        ]
        assert text.startswith(f"{', '.join(people)}: ")
        assert entry.get("doi", "") in text


def test_changelog_has_a_place_for_what_comes_next():
    headings = re.findall(r"^## (.*)$", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])


def test_readme_has_the_two_commands_the_flag_and_the_papers():
    text = read("README.md")
    assert all(word in text for word in ["make run", "make test", "CPU=1", *PAPERS])
    for target in re.findall(r"`make ([a-z]+)", text):
        assert re.search(rf"^{target}:", read("Makefile"), flags=re.MULTILINE), target


def test_readme_shows_figures_that_exist():
    for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", read("README.md")):
        assert (PROJECT / name).is_file(), name


def test_every_make_target_says_what_it_does_and_how_long_it_takes():
    makefile = read("Makefile")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)[1].split()
    for target in targets:
        line, recipe = re.search(rf"^{target}:(.*)\n((?:\t.*\n)*)", makefile, flags=re.MULTILINE).groups()
        assert "## " in line, target
        assert target in {"help", "environment"} or f"printf 'make {target}: " in recipe, target
        assert target == "help" or re.search(r"\(.*(minute|second|instant)", line), target


def test_ignored_folders_are_those_at_the_root_only():
    lines = read(".gitignore").splitlines()
    assert {"/results/", "/data/", "/.venv/"} <= set(lines)
    assert not {"results/", "data/"} & set(lines)


# Budgets of size.


def tracked() -> Iterator[Path]:
    """Files of the project that are or could be committed."""
    folders = ["envs", "src", "tests", "workflow", "profiles", "docs", ".ci"]
    for path in [*PROJECT.glob("*"), *(path for folder in folders for path in (PROJECT / folder).rglob("*"))]:
        text = path.suffix not in {".png", ".pdf", ".nc", ".gz", ".pyc"} and "egg-info" not in str(path)
        if path.is_file() and text:
            yield path


def test_files_and_functions_stay_small():
    long = []
    for path in (PROJECT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        if lines > 400:
            long.append(f"{path.name}: {lines} lines, at most 400")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60:
                long.append(f"{path.name}: {node.name} has {node.end_lineno - node.lineno + 1} lines, at most 60")
    assert long == []


# The tests' own rules.

SUITE = """
import os
import pytest

@pytest.mark.mirror
def test_marked():
    pass

def test_fixture(mirror):
    assert mirror.is_dir()

@pytest.mark.skipif("SGDPHASES_MIRROR" not in os.environ, reason="SGDPHASES_MIRROR is not set")
def test_by_hand():
    pass

def test_other_skip():
    pytest.skip("no CUDA device")
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "4 skipped"),
        ({"SGDPHASES_REQUIRE_MIRROR": "1"}, "1 skipped, 3 errors"),
        ({"SGDPHASES_REQUIRE_MIRROR": "1", "SGDPHASES_MIRROR": "."}, "3 passed, 1 skipped"),
    ],
)
def test_a_required_mirror_cannot_be_skipped(tmp_path, environment, expected):
    shutil.copy(PROJECT / "tests" / "conftest.py", tmp_path)
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    (tmp_path / "test_suite.py").write_text(SUITE, encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SGDPHASES", "PYTEST"))}
    command = [sys.executable, "-m", "pytest", "-q", "-o", "testpaths=.", "test_suite.py"]
    done = subprocess.run(command, cwd=tmp_path, env={**clean, **environment}, capture_output=True, text=True)
    assert expected in done.stdout.splitlines()[-1], done.stdout


ALONE = """
import pathlib
import time
import pytest

@pytest.mark.parametrize("n", range(4))
def test_others(n):
    start = time.time()
    time.sleep(0.15)
    with open("log", "a") as log:
        log.write(f"other {start} {time.time()}\\n")
"""


def test_a_test_marked_alone_has_no_company(tmp_path):
    shutil.copy(PROJECT / "tests" / "conftest.py", tmp_path)
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    (tmp_path / "test_others.py").write_text(ALONE, encoding="utf-8")
    lonely = ALONE.replace("@pytest", "@pytest.mark.alone\n@pytest", 1).replace('"other', '"alone')
    (tmp_path / "test_alone.py").write_text(lonely, encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-o", "testpaths=.", "."]
    subprocess.run(command, cwd=tmp_path, env=clean, check=True, capture_output=True, timeout=120)
    spans = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len(spans) == 8
    for _, start, end in (span for span in spans if span[0] == "alone"):
        company = [other for other in spans if float(other[1]) < float(end) and float(other[2]) > float(start)]
        assert len(company) == 1, company
