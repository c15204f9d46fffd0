"""What live tracking costs a whole workflow: `--logger mlflow` beside none, in turns. Run me: 7 minutes, idle machine.

Each turn runs the dyson card `reduced` by Snakemake in a folder of its own, from downloads to the ledger, with as many
jobs at a time as there are cores: the writer of the plugin has no core to itself. Wall time is that of the command,
the writer's last words included; processor time is that of Snakemake and all that it started. The mean over pairs of
the logarithm of the ratio is printed with its standard error, and the cubes must be the same, byte for byte.
"""

import argparse
import math
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this is run as a program, and shares what tests are made of

from copied_project import copy_project
from paired import percent

LOGGER = ("--logger", "mlflow")
CONFIG = ("experiments=[reduced]",)


def turn(folder: Path, words: tuple[str, ...]) -> tuple[float, float, bytes]:
    """Wall time, processor time and the cube of one run.

    Args:
        folder: Where to run; made.
        words: What the command line says more.

    Returns:
        Seconds, seconds, and the file.
    """
    copy = copy_project(folder)
    before, begin = _used(), time.perf_counter()
    copy.snakemake("--cores", str(os.cpu_count()), *words, config=CONFIG)
    took, used = time.perf_counter() - begin, _used() - before
    return took, used, (folder / "results/reduced/cube.nc").read_bytes()


def _used() -> float:
    """Processor seconds of the processes that have ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--pairs", type=int, default=4, help="pairs of runs (default 4)")
    pairs = parser.parse_args().pairs
    walls, processors, out = [], [], sys.stdout.write
    with tempfile.TemporaryDirectory() as name:
        for pair in range(pairs):
            runs = {}
            for words in (LOGGER, ()) if pair % 2 else ((), LOGGER):
                runs[bool(words)] = turn(Path(name) / f"{pair}{len(words)}", words)
            (plain, plain_used, plain_cube), (live, live_used, live_cube) = runs[False], runs[True]
            out(f"plain {plain:6.1f} s ({plain_used:5.0f} of processors), live {live:6.1f} s ({live_used:5.0f})\n")
            sys.stdout.flush()
            if plain_cube != live_cube:
                sys.exit("the cubes differ")
            walls.append(math.log(live / plain))
            processors.append(math.log(live_used / plain_used))
    if pairs > 1:
        out(f"live over plain: wall time {percent(walls)}, processor time {percent(processors)}\n")


if __name__ == "__main__":
    main()
