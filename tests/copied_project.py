"""The real workflow on toy cards, in a copy of the project so that code can be edited."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
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
        text = self.snakemake("--dry-run", **options)
        assert "Nothing to be done" in text or "This was a dry-run" in text, text[-3000:]
        return dict(Counter(re.findall(r"^(?:local)?rule (?!all)(\w+):$", text, re.MULTILINE)))

    def edit(self, name, old, new):
        """Replace text in one file of the copy (append it if `old` is empty); return what takes the edit back."""
        path = self.folder / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new, 1) if old else text + new)
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
