"""Flipped bits and cut ends in every kind of file: what notices, and what makes the file again."""

import json
import logging
import random
import shutil
import subprocess
import sys
import time
from collections import Counter

from faults.ground import CONFIG, digest_of, kill
from sgdphases.datasets.image_table import open_table
from sgdphases.datasets.table_folder import TableError
from sgdphases.ensemble.checkpoint import Checkpoints
from sgdphases.files import read_json
from sgdphases.steps import guard
from sgdphases.tracking import spool

log = logging.getLogger(__name__)

# Kind: a file of it, the step that reads it, the step that makes it. Where no step reads it, `guard` does.
KINDS = {
    "shard (.json)": ("results/faults/shards/*.json", "train", "resolve"),
    "manifest (.json)": ("results/datasets/teacher_student.json", "train", "download"),
    "records (.nc)": ("results/faults/records/*.nc", "measure", "train"),
    "measured (.nc)": ("results/faults/measured/*.nc", "merge", "measure"),
    "cube (.nc)": ("results/faults/cube.nc", "fit", "merge"),
    "fits (.nc)": ("results/faults/fits/fractions.nc", "draw", "fit"),
    "claims of an experiment (.csv)": ("results/faults/claims.csv", "ledger", "grade"),
    "figure (.png)": ("results/faults/figures/*.png", "track", "draw"),
    "figure (.svg)": ("results/faults/figures/*.svg", "guard", "draw"),
    "ledger (.csv)": ("results/claims.csv", "guard", "ledger"),
    "ledger (.md)": ("results/claims.md", "guard", "ledger"),
}


def damaged(whole, how, numbers):
    """A content with one bit flipped, or cut short."""
    if how == "cut":
        return whole[: numbers.randrange(len(whole))]
    content = bytearray(whole)
    place = numbers.randrange(len(content) * 8)
    content[place // 8] ^= 1 << place % 8
    return bytes(content)


def vouched(ground, kind, count, numbers):
    """Damage of a file that a step vouches for, `count` flips and cuts, each looked at by the check of the steps."""
    path = next(ground.folder.glob(KINDS[kind][0]))
    whole, counts = path.read_bytes(), Counter()
    for how in ("flip", "cut"):
        for _ in range(count):
            path.write_bytes(damaged(whole, how, numbers))
            fault = guard.damage(path)
            counts[how] += 1
            counts["unseen"] += fault is None
    path.write_bytes(whole)
    return counts


def rebuilt(ground, kind, numbers):
    """Damage a file, let Snakemake meet it, and let the same command make it again.

    Returns:
        Whether the first run named the file, and failed unless it had mended it; whether the file is as it was when the
        same command has ended.
    """
    pattern, reader, _ = KINDS[kind]
    path = next(ground.folder.glob(pattern))
    name, before = path.relative_to(ground.folder), digest_of([path])
    path.write_bytes(damaged(path.read_bytes(), "flip", numbers))
    if reader == "guard":  # nothing reads it: the program that checks everything finds it, and it is asked for by name
        status, text = guard_program(ground)
        path.unlink()
        command = [str(name)]
    else:
        command = ["--forcerun", reader]
        status, text = ground.copy.snakemake(*command, config=CONFIG, check=False)
    mended = status == 0 and any(
        f"{name} was damaged" in path.read_text() for path in ground.folder.glob("results/faults/logs/*.log")
    )
    named = mended or (status != 0 and f"{name} is damaged" in text)
    status, text = ground.copy.snakemake(*command, config=CONFIG, check=False)
    again = status == 0 and digest_of([path]) == before
    if not (named and again):
        log.warning("%s was not made again: %s", name, text[-3000:])
    return named, again


def guard_program(ground):
    """The program that checks every file under results."""
    done = subprocess.run(
        [sys.executable, "-m", "sgdphases.steps.guard", "results"], cwd=ground.folder, env=ground.environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def checkpoints(ground, count, numbers):
    """Damage of the newest checkpoint or of records beside it: training goes on from the one before, or from it."""
    stage = ground.stage("train")
    stage.reset()
    place = stage.command.index("--checkpoint-seconds") + 1
    process = stage.start(command=[*stage.command[:place], "0.02", *stage.command[place + 1 :]])
    while stage.saved() is None or stage.saved()[1] == 0 or len(list(stage.checkpoints.glob("state-*"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    kill(process)
    kept = stage.checkpoints.with_name("kept")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.move(stage.checkpoints, kept)
    steps = tuple(read_json(next(ground.folder.glob("results/faults/shards/*.json")))["record_steps"])
    sound = Checkpoints(shutil.copytree(kept, kept.with_name("look"), dirs_exist_ok=True)).resume(steps)
    counts = Counter()
    for how in ("flip", "cut"):
        for _ in range(count):
            folder = kept.with_name("look")
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)
            path = numbers.choice(sorted(folder.glob("*.npz")))
            path.write_bytes(damaged(path.read_bytes(), how, numbers))
            state = Checkpoints(folder).resume(steps)
            counts[how] += 1
            older = state is None or state.step < sound.step
            same = state is not None and state.step == sound.step and _equal(state, sound)
            counts["harmless"] += same
            counts["unseen"] += not (older or same)
    shutil.rmtree(kept)
    shutil.rmtree(kept.with_name("look"), ignore_errors=True)
    stage.reset()
    assert stage.end()[0] == 0  # the records are there again
    return counts


def _equal(one, other):
    same = one.arrays.keys() == other.arrays.keys() and (one.diverged_at == other.diverged_at).all()
    return same and all(one.arrays[name].tobytes() == other.arrays[name].tobytes() for name in one.arrays)


def spools(ground, count, numbers):
    """Damage of a spool: the damaged line is left out, every other event counts as it was written."""
    path = next(ground.folder.glob("results/faults/logs/train-*.jsonl"))
    whole, copy, counts = path.read_bytes(), ground.folder / "damaged.jsonl", Counter()
    known = [repr(event) for event in spool.read(path)]
    for how in ("flip", "cut"):
        for _ in range(count):
            copy.write_bytes(damaged(whole, how, numbers))
            found = [repr(event) for event in spool.read(copy)]
            counts[how] += 1
            counts["harmless"] += found == known
            counts["unseen"] += any(event not in known for event in found) or (
                how == "flip" and len(found) < len(known) - 2
            )
    copy.unlink()
    return counts


def tables(ground, count, numbers):
    """Damage of the files of a table of images, which every reader checks."""
    stage = ground.stage("download").learn()
    dataset = {"name": "tiny_imagenet", **json.loads(stage.command[stage.command.index("--parameters") + 1])}
    files = [path for path in stage.files() if path.parent.name.startswith("tiny_imagenet-")]
    counts = Counter()
    for how in ("flip", "cut"):
        for _ in range(count):
            path = numbers.choice(sorted(files))
            whole = path.read_bytes()
            path.write_bytes(damaged(whole, how, numbers))
            try:
                open_table(dataset, ground.folder / "data")
                counts["unseen"] += 1
            except (TableError, FileNotFoundError) as error:
                counts["unnamed"] += str(path.name) not in str(error)
            counts[how] += 1
            path.write_bytes(whole)
    path = numbers.choice(sorted(file for file in files if file.suffix == ".npy"))
    path.write_bytes(damaged(path.read_bytes(), "flip", numbers))
    stage.clear()
    status, text = stage.end()
    counts["rebuilt"] = status == 0 and stage.digest() == stage.reference and "making it again" in text
    return counts


def archives(ground, count, numbers):
    """Damage of a downloaded archive while the table is missing: it is fetched again."""
    stage = ground.stage("download").learn()
    archive = next(stage.kept.rglob("*.zip"))
    whole, counts = archive.read_bytes(), Counter()
    table = next(path for path in stage.kept.iterdir() if path.name.startswith("tiny_imagenet-"))
    for how in ("flip", "cut"):
        for _ in range(count):
            archive.write_bytes(damaged(whole, how, numbers))
            shutil.rmtree(table, ignore_errors=True)
            stage.clear()
            status, _ = stage.end()
            counts[how] += 1
            for bad in stage.kept.rglob("*.bad-*"):
                bad.unlink()
            counts["unseen"] += status != 0 or stage.digest() != stage.reference
    return counts


def run(ground, count, seed):
    """All kinds; yields the kind and its counts."""
    numbers = random.Random(f"damage {seed}")
    for kind in KINDS:
        yield kind, vouched(ground, kind, count, numbers)
    yield "checkpoint (.npz)", checkpoints(ground, count, numbers)
    yield "spool (.jsonl)", spools(ground, count, numbers)
    yield "table of images (.npy, .json)", tables(ground, count, numbers)
    yield "downloaded archive (.zip)", archives(ground, max(2, count // 10), numbers)
