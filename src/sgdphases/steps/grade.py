"""Hold one experiment against the claims of its papers."""

import argparse
import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sgdphases.claims.claim import COLUMNS, graded
from sgdphases.claims.registry import PAPERS
from sgdphases.config import read_card
from sgdphases.files import writing
from sgdphases.steps.command import begin, events
from sgdphases.steps.words import function_of
from sgdphases.storage import cube


def main(argv: Sequence[str] | None = None) -> None:
    """Read cube and fits, judge every claim, write claims.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--card", required=True)
    parser.add_argument("--cube", required=True)
    parser.add_argument("--claims", required=True)
    parser.add_argument("--spool")
    parser.add_argument("fits", nargs="*")
    arguments = begin("grade", parser, argv)
    data = cube.read(arguments.cube)
    fits = {Path(path).stem: cube.read(path) for path in arguments.fits}
    papers = read_card(arguments.card).analysis.claims
    with events(arguments.spool, data.attrs["experiment"], "grade", data.attrs["experiment"]) as spool:
        rows = [row for paper in papers for row in graded(function_of(PAPERS[paper])(), paper, data, fits)]
        write_rows(arguments.claims, rows)
        spool.metrics({f"claims_{verdict}": n for verdict, n in Counter(r["verdict"] for r in rows).items()})
        spool.artifact(arguments.claims)


def write_rows(path: str | Path, rows: list[dict[str, object]]) -> None:
    """Write rows of claims as CSV, whole or not at all."""
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
