"""Disturb every stage, count what went wrong, print the tables: `python -m faults` in the folder tests."""

import argparse
import logging
import random
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as tree
from collections import Counter
from pathlib import Path

from faults import damage, kills, places, signals
from faults.ground import PROJECT, STAGES, Ground
from faults.report import Results, tables, write_page

KINDS = ("kills", "signals", "damage", "places", "others")
SUITES = {
    "kill -9 of Snakemake and a step of a whole run": ["tests/workflow/test_faults.py"],
    "downloads: cut, wrong, HTML, 403, dead mirror, eight at once": [
        "tests/datasets/test_download.py", "tests/datasets/test_prepare.py", "tests/datasets/test_image_sources.py",
    ],
    "1000 wrong cards and configurations": ["tests/faults/test_cards.py"],
    "tracking: killed at any call, locked, down": ["tests/tracking/test_store.py", "tests/tracking/test_spool.py"],
}  # fmt: skip
log = logging.getLogger("faults")


def main():
    """Add to what was tried before until there are as many as wanted; status 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of each stage")
    parser.add_argument("--damages", type=int, default=40, help="flips, and as many cuts, of each kind of file")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--results", type=Path, default=PROJECT / "build/faults.json")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/reliability.md, too")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a script, by steps as well
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    results = Results(arguments.results)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        ground = Ground(Path(folder) / "ground")
        try:
            for kind in arguments.kinds:
                WORK[kind](ground, results, arguments)
        finally:
            ground.close()
    sys.stdout.write(tables(results))
    if arguments.page:
        write_page(results)
    log.info("%d things went wrong; counts are in %s", results.faults(), arguments.results)
    return int(results.faults() > 0)


def _kills(ground, results, arguments):
    for rule in arguments.stages:
        before = results.count("kills", rule, "kills")
        if before >= arguments.kills:
            continue
        begun = time.monotonic()
        for counts in kills.run(ground.stage(rule), arguments.kills - before, f"{arguments.seed} {before}"):
            results.add("kills", rule, counts)
        log.info("%s: kills took %.0f s", rule, time.monotonic() - begun)


def _signals(ground, results, arguments):
    for rule in arguments.stages:
        if rule not in results.rows("signals"):
            stage = ground.stage(rule).learn()
            results.replace("signals", rule, signals.run(stage, arguments.seed, repeats=3))
            log.info("%s: signals done", rule)


def _damage(ground, results, arguments):
    for kind, counts in damage.run(ground, arguments.damages, arguments.seed):
        results.replace("damage", kind, counts)
    numbers = random.Random(f"rebuilt {arguments.seed}")
    for kind in damage.KINDS:
        named, again = damage.rebuilt(ground, kind, numbers)
        results.add("damage", kind, {"rebuilt": int(named and again), "unnamed": int(not named)})
        log.info("%s: named %s, made again %s", kind, named, again)


def _places(ground, results, arguments):
    trials = {"file too large": places.file_limit, "orphan writer": places.orphan}
    if places.may_mount(ground.folder / "probe"):
        trials["disk full"] = places.disk_full
    if places.may_close(ground.folder / "probe"):
        trials["read-only folder"] = places.closed
        trials["permission lost"] = lambda stage: places.closed(stage, after=0.5 * stage.seconds)
    for rule in arguments.stages:
        if rule in ("download", "track"):
            continue  # their files are written by pooch and by SQLite; a kill is the harder test of them
        stage = ground.stage(rule).learn()
        for name, trial in trials.items():
            results.replace(name, rule, trial(stage))
        log.info("%s: places done", rule)


def _others(ground, results, arguments):
    results.replace("others", "cubes read while they are replaced", places.readers_and_writer(ground, 20.0))
    for name, files in SUITES.items():
        results.replace("others", name, _suite(files))
        log.info("%s: %s", name, dict(results.rows("others")[name]))


def _suite(files):
    """Run test files; how many tests passed, failed and were skipped."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as found:
        words = [sys.executable, "-m", "pytest", "-n", "0", "-q", f"--junit-xml={found.name}", *files]
        subprocess.run(words, cwd=PROJECT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        suite = tree.parse(found.name).getroot().find("testsuite")
    counts = Counter({word: int(suite.get(name)) for word, name in (("tests", "tests"), ("skipped", "skipped"))})
    counts["failed"] = int(suite.get("failures")) + int(suite.get("errors"))
    return counts


WORK = {"kills": _kills, "signals": _signals, "damage": _damage, "places": _places, "others": _others}


if __name__ == "__main__":
    sys.exit(main())
