"""The real workflow on toy cards, in a copy of the project so that code can be edited."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
SEARCHED = ("src", "workflow", "profiles", "Snakefile", "config.yaml", "envs", "tests/workflow/cards")


@dataclass
class Copy:
    """A copy of the project in a folder of its own, and Snakemake in it."""

    folder: Path

    @property
    def environment(self):
        """Variables under which the copy's own code is imported."""
        return {**os.environ, "PYTHONPATH": str(self.folder / "src")}

    def command(self, *arguments, config=("experiments=[toy]",)):
        """Snakemake's command line for the copy."""
        cards = "cards=tests/workflow/cards"
        return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--config", cards, *config]

    def snakemake(self, *arguments, config=("experiments=[toy]",), check=True):
        """Run Snakemake; return what it printed."""
        done = subprocess.run(
            self.command(*arguments, config=config), cwd=self.folder, env=self.environment, text=True, timeout=500,
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout[-6000:]
        return done.stdout if check else (done.returncode, done.stdout)

    def planned(self, **options):
        """Rule to number of jobs that Snakemake would run now."""
        text = self.snakemake("--dry-run", "--quiet", "progress", **options)
        table = re.search(r"^job +count\n[- ]+\n(.*?)\n\n", text + "\n\n", re.MULTILINE | re.DOTALL)
        if table is None:
            assert "Nothing to be done" in text, text[-3000:]
            return {}
        rows = dict(re.findall(r"^(\w+) +(\d+)$", table.group(1), re.MULTILINE))
        return {rule: int(count) for rule, count in rows.items() if rule not in ("all", "total")}

    def edit(self, name, old, new):
        """Replace text in one file of the copy; return a function that takes the edit back."""
        path = self.folder / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new, 1))
        return lambda: path.write_text(text)


def copy_project(folder):
    """The parts of the project that a run needs, in `folder`."""
    for name in SEARCHED:
        source, target = PROJECT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return Copy(folder)
