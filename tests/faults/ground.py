"""A finished run of one small card in a copy of the project, and each of its steps as a command to be disturbed."""

import contextlib
import functools
import hashlib
import http.server
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from copied_project import PROJECT, copy_project
from made_images import CLASSES, tiny_files, write_zip

NAME = "faults"
CONFIG = ("experiments=[faults]",)
SAVE_SECONDS = 0.5  # between two checkpoints of the training that is killed
PATIENCE = 300.0
STAGES = ("download", "train", "measure", "merge", "fit", "draw", "track")


def digest_of(paths):
    """One digest of files and their names; a missing one has a word of its own."""
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(path.name.encode())
        found.update(path.read_bytes() if path.is_file() else b"missing")
    return found.hexdigest()


class Slow(http.server.SimpleHTTPRequestHandler):
    """A mirror that sends slowly, so that a kill finds a download under way."""

    def copyfile(self, source, outputfile):
        while chunk := source.read(8192):
            outputfile.write(chunk)
            time.sleep(0.004)

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # the one that asked was killed


class Stage:
    """One step's command, what it writes, and how its folder is brought back to the moment before it."""

    def __init__(self, ground, rule, command, outputs):
        self.ground, self.rule, self.command = ground, rule, command
        self.outputs = [ground.folder / name for name in outputs]
        self.reference, self.parts, self.seconds = "", {}, 0.0

    def start(self, *, shell=False, command=None, **options):
        """Start the step, in a session of its own; with `shell` as Snakemake starts it."""
        words = command or self.command
        if shell:
            log = shlex.quote(str(self.ground.folder / "step.log"))
            words = ["bash", "-c", f"set -euo pipefail; {shlex.join(words)} 2> {log}"]
        with self.log.open("ab") as stream:
            return subprocess.Popen(
                words, cwd=self.ground.folder, env=self.ground.environment, start_new_session=True,
                stdout=stream, stderr=stream, **options,
            )  # fmt: skip

    @property
    def log(self):
        return self.ground.folder / f"{self.rule}.trial.log"

    def end(self, **options):
        """Run the step to its end; its status, and what it said."""
        self.log.write_bytes(b"")
        status = self.start(**options).wait(PATIENCE)
        return status, self.log.read_text(errors="replace")

    def clear(self):
        """Remove the outputs, as Snakemake does when a job failed."""
        for path in self.outputs:
            path.unlink(missing_ok=True)

    def reset(self):
        """As before the step ever ran; diaries and the logs stay."""
        self.clear()
        for path in self.outputs:
            (path.parent / ".guard" / f"{path.name}.json").unlink(missing_ok=True)

    def learn(self):
        """Run undisturbed: the hash that all others must have, Snakemake's run among them, and how long it takes."""
        digests = {self.digest()} if self.known() else set()
        self.reset()
        begun = time.monotonic()
        status, text = self.end()
        self.seconds = time.monotonic() - begun
        assert status == 0, text
        digests.add(self.digest())
        assert len(digests) == 1, f"{self.rule} differs from one undisturbed run to the next"
        self.reference = digests.pop()
        self.parts = {path: digest_of([path]) for path in self.outputs}
        return self

    def known(self):
        """Whether the step was run to its end before, on the same input."""
        return all(path.exists() for path in self.outputs)

    def digest(self):
        """The digest of all that the step leaves."""
        return digest_of(self.outputs)

    def half_written(self):
        """Files under their final names that are not what they must be."""
        return [path for path, known in self.parts.items() if path.exists() and digest_of([path]) != known]

    def writing(self):
        """Whether something is being written just now: a temporary file is there."""
        return any(next(folder.glob(".[!g]*"), None) is not None for folder in {path.parent for path in self.outputs})

    def left_behind(self):
        """Temporary files that nobody has removed."""
        return [path for folder in {path.parent for path in self.outputs} for path in folder.glob(".[!g]*")]

    def compare(self):
        """Rows that are missing, and rows that are there too often: of a database only."""
        return 0, 0


class Train(Stage):
    """Training: its checkpoints stay between attempts."""

    @property
    def checkpoints(self):
        return self.ground.folder / self.command[self.command.index("--checkpoints") + 1]

    def reset(self):
        super().reset()
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def writing(self):
        return super().writing() or next(self.checkpoints.glob(".*"), None) is not None

    def left_behind(self):
        return [*super().left_behind(), *self.checkpoints.glob("*")]

    def saved(self):
        """When the newest checkpoint was written (seconds since 1970) and its step; None where there is none."""
        states = sorted(self.checkpoints.glob("state-*.npz"))
        return (states[-1].stat().st_mtime, int(states[-1].stem.partition("-")[2])) if states else None


class Download(Stage):
    """A data set from a slow mirror: archive, table of images, manifest."""

    def __init__(self, ground, command, kept, manifest):
        super().__init__(ground, "download", command, [manifest])
        self.kept = ground.folder / kept

    def reset(self):
        super().reset()
        shutil.rmtree(self.kept, ignore_errors=True)

    def files(self):
        return [path for path in self.kept.rglob("*") if path.is_file() and path.name != ".lock"]

    def digest(self):
        return digest_of([*self.outputs, *self.files()])

    def learn(self):
        super().learn()
        self.parts |= {
            path: digest_of([path]) for path in self.files() if path.name not in ("sources.json", "parts.json")
        }
        return self

    def writing(self):
        return super().writing() or any(True for pattern in ("*.part", "**/.[!l]*") for _ in self.kept.rglob(pattern))

    def left_behind(self):
        return [
            path for path in self.files() if path.name.startswith(".") or ".part" in path.name or ".bad" in path.name
        ]


class Track(Stage):
    """The replay into the store; the store is brought back to what step `store` leaves."""

    def __init__(self, ground, command, outputs):
        super().__init__(ground, "track", command, outputs)
        self.store = ground.folder / "results/tracking"
        self.empty, self.rows = ground.folder / "empty-store", Counter()
        if not self.empty.exists():
            shutil.rmtree(self.store)
            status, text = Stage(ground, "store", ground.commands["store"], []).end()
            assert status == 0, text
            shutil.copytree(self.store, self.empty)

    def reset(self):
        super().reset()
        shutil.rmtree(self.store)
        shutil.copytree(self.empty, self.store)

    def learn(self):
        super().learn()
        self.rows = self.stored()
        return self

    def known(self):
        return False  # the cube's time is in the store, and trials of step merge have changed it

    def digest(self):
        return hashlib.sha256(json.dumps(sorted(map(str, self.stored().items()))).encode()).hexdigest()

    def stored(self):
        """Every live run, parameter, metric, tag and artifact in the store, without MLflow's random numbers."""
        rows, runs = Counter(), {}
        with sqlite3.connect(self.store / "mlflow.db") as store:
            live = "select run_uuid, name, status, start_time, end_time from runs where lifecycle_stage = 'active'"
            names = dict(store.execute("select run_uuid, value from tags where key = 'sgdphases.identity'"))
            for run, *words in store.execute(live):
                runs[run] = names.get(run, "?")
                rows[("run", runs[run], *words)] += 1
            for table, columns in (("metrics", "key, value, step, timestamp"), ("params", "key, value")):
                for run, *words in store.execute(f"select run_uuid, {columns} from {table}"):
                    rows[(table, runs.get(run), *words)] += run in runs
            for run, key, value in store.execute("select run_uuid, key, value from tags"):
                rows[("tags", runs.get(run), key, runs.get(value, value))] += run in runs
        for path in (self.store / "artifacts").glob("*/*/artifacts/**/*"):
            run = path.relative_to(self.store / "artifacts").parts[1]
            if path.is_file() and run in runs:
                rows[("file", runs[run], path.name, digest_of([path]))] += 1
        return +rows

    def half_written(self):
        return []  # a transaction is half-way or not: SQLite's own business; the rows are compared at the end

    def writing(self):
        return (self.store / "mlflow.db-journal").exists()

    def left_behind(self):
        return list(self.store.glob("*-journal"))

    def compare(self):
        found = self.stored()
        return sum((self.rows - found).values()), sum((found - self.rows).values())


class Ground:
    """A folder in which the card has been run to its end, undisturbed, and a mirror on this machine.

    Args:
        folder: Where; it must not exist.
    """

    def __init__(self, folder):
        self.copy = copy_project(folder)
        self.folder = folder
        shutil.copy(Path(__file__).with_name("card.yaml"), folder / f"tests/workflow/cards/{NAME}.yaml")
        self.copy.snakemake(config=CONFIG)
        self.commands = dict(self._commands())
        self.mirror = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Slow, directory=str(folder / "mirror"))
        )
        self.mirror.daemon_threads = True
        threading.Thread(target=self.mirror.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def environment(self):
        """The copy's own code; no variable of the user's decides what happens."""
        kept = {name: value for name, value in self.copy.environment.items() if not name.startswith("SGDPHASES_")}
        return {**kept, "no_proxy": "*", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}

    def close(self):
        self.mirror.shutdown()
        self.mirror.server_close()

    def _commands(self):
        """Rule to the command that Snakemake gave, as its log's first line has it."""
        for log in sorted(self.folder.glob("results/**/logs/*.log")):
            first = log.read_text().partition("\n")[0]
            words = shlex.split(first.partition("repeat with: ")[2])
            yield log.stem.partition("-")[0], words

    def stage(self, rule):
        """One stage, ready to be disturbed."""
        if rule == "download":
            return self._download()
        words = self.commands[rule]
        outputs = [words[words.index(option) + 1] for option in self._options(rule)]
        if rule == "track":
            return Track(self, words, outputs)
        if rule == "train":
            place = words.index("--checkpoint-seconds") + 1
            return Train(self, rule, [*words[:place], str(SAVE_SECONDS), *words[place + 1 :]], outputs)
        return Stage(self, rule, words, outputs)

    def _options(self, rule):
        from sgdphases.steps.guard import WRITES

        return [f"--{option}" for option in WRITES.get(rule, ("stamp",))]

    def _download(self):
        archive = self.folder / "mirror/tiny-imagenet/tiny-imagenet-3.zip"
        if not archive.exists():
            write_zip(archive, tiny_files(train=60, test=10))
            known = hashlib.sha256(archive.read_bytes()).hexdigest()
            archive.with_name("SHA256SUMS").write_text(f"{known}  {archive.name}\n")
        manifest = "results/datasets/tiny.json"
        words = [sys.executable, "-m", "sgdphases.steps.download", "--dataset", "tiny_imagenet", "--directory", "data"]
        words += ["--parameters", json.dumps({"classes": list(CLASSES)}), "--manifest", manifest]
        words += ["--mirrors", f"http://127.0.0.1:{self.mirror.server_port}", "--spool", "results/logs/tiny.jsonl"]
        return Download(self, words, "data/tiny_imagenet", manifest)


def kill(process):
    """End a process and all that it started, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait(PATIENCE)


def version():
    """The version of the code that is tried."""
    words = ["git", "describe", "--always", "--dirty=+changes"]
    return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
