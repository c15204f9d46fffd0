"""docs/team.md, typed as it stands: every block in its order, with the page's own variables for folder and ports."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from copied_project import PROJECT, copy_project
from made_servers import ADMINISTRATOR, REQUIRE_SERVERS, Postgres, free_port, missing, programs
from sgdphases.config import read_config

pytestmark = pytest.mark.systems

PAGE = (PROJECT / "docs" / "team.md").read_text()
FENCE = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALLS = bool(os.environ.get(REQUIRE_SERVERS))
"""Whether what the page installs is installed as written, too; it is here already, and a registry may not be."""

REPLAY = """
import sys
from pathlib import Path
from sgdphases.tracking import store
from sgdphases.tracking.spool import Spool
Path("map.txt").write_text("a figure")
for key in sys.argv[2:]:
    with Spool(f"spools/{key}.jsonl", experiment="toy", rule="draw", key=key) as spool:
        spool.metrics({"train_loss": 0.5}, step=3)
        spool.artifact("map.txt", "figures")
print(store.replay(["spools"], sys.argv[1]).complete)
"""


@dataclass(frozen=True)
class Block:
    """Commands, where they are typed, and what the page says they print (None: nothing is said)."""

    text: str
    place: str
    prints: str | None


def blocks() -> list[Block]:
    """The page's commands in order."""
    found = [match.groups() for match in FENCE.finditer(PAGE)]
    return [
        Block(text, place or "", after[2] if after[0] == "text" else None)
        for (kind, place, text), after in zip(found, [*found[1:], ("", "", "")], strict=True)
        if kind == "sh"
    ]


@dataclass
class Typist:
    """Somebody who has read the page and types, in a folder of their own and with no other variables than these."""

    folder: Path
    variables: dict[str, str]

    @property
    def team(self) -> Path:
        """The page's folder."""
        return Path(self.variables["TEAM"])

    def type(self, text: str, place: str = "") -> str:
        """Type commands in a new terminal; what they print."""
        said, complaints, log = self.folder / "said", self.folder / "complaints", self.team / "server.log"
        with said.open("w") as out, complaints.open("w") as err:  # files: the server outlives the terminal
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text], cwd=self.folder / place, env=self.variables,
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=800, check=False,
            )  # fmt: skip
        told = [file.read_text()[-4000:] for file in (said, complaints, log) if file.exists()]
        assert done.returncode == 0, "\n".join([text, *told])
        return said.read_text()

    def replay(self, person: str, *keys: str) -> bool:
        """Replay spools with a file as somebody; whether the store took everything."""
        password = (self.team / "secrets" / person).read_text()
        own = self.variables | {"MLFLOW_TRACKING_USERNAME": person, "MLFLOW_TRACKING_PASSWORD": password}
        done = subprocess.run(
            [sys.executable, "-c", REPLAY, f"http://127.0.0.1:{self.variables['PORT']}", *keys],
            cwd=self.folder / "project", env=own, text=True, capture_output=True, timeout=120, check=True,
        )  # fmt: skip
        assert password not in done.stdout + done.stderr
        return done.stdout == "True\n"

    def stop(self) -> None:
        """End the server that was started last."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.team / "server.pid").read_text()), signal.SIGTERM)


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    """A person with a PostgreSQL server, a copy of the project, and an empty home."""
    path = f"{programs()}:{os.environ['PATH']}"
    for program in ("psql", "pg_dump", "pg_restore", "curl", "openssl"):
        if shutil.which(program, path=path) is None:
            missing(f"{program} is not installed")
    copy = copy_project(tmp_path / "project")
    (copy.folder / ".venv").symlink_to(sys.prefix)
    cluster = Postgres()
    kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "LANG", "PIP_INDEX_URL") if name in os.environ}
    own = {"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": str(copy.folder / "src")}
    page = {"TEAM": str(tmp_path / "team"), "PORT": str(free_port()), "PGPORT": str(cluster.port)}
    page |= {"ADMINISTRATOR": f"env PGUSER={ADMINISTRATOR}"}
    person = Typist(tmp_path, {**kept, **own, **page})
    try:
        cluster.start()
        yield person
    finally:
        person.stop()
        cluster.remove()


def test_the_page_names_keys_that_the_config_has():
    (text,) = [match.group(3) for match in FENCE.finditer(PAGE) if match.group(1) == "yaml"]
    config = read_config({"experiments": ["dyson_quick"], **yaml.safe_load(text)})
    assert config.tracking.uri == "http://127.0.0.1:5000"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_page_as_written(typist):
    first, *rest = blocks()
    assert len(rest) == 15
    if not INSTALLS:
        typist.team.mkdir()
        (typist.team / "venv").symlink_to(sys.prefix)
    for block in rest:
        if block.place == "install" and not INSTALLS:
            continue
        said = typist.type(first.text + block.text, "project" if block.place == "project" else "")
        if block.prints is not None:
            assert said.strip() == block.prints.strip(), block.text
        if "create_user" in block.text:
            assert typist.replay("ada", "one")
            assert typist.replay("ben", "two")  # a colleague, into the same experiment
            assert not typist.replay("guest", "three")  # may look, not write
            assert typist.replay("ada", "three")
    assert typist.replay("ben", "four")  # after backup, stop, upgrade and restore
    assert len(list((typist.team / "artifacts").rglob("map.txt"))) == 4
    assert {path.stat().st_mode & 0o077 for path in (typist.team / "secrets").iterdir()} == {0}
