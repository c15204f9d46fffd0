"""One row per claim over all experiments: the longest schedule, then the most replicas, counts; never the best verdict."""

import argparse
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from sgdphases.steps.command import begin, events
from sgdphases.steps.grade import write_rows


def main(argv: Sequence[str] | None = None) -> None:
    """Read every claims.csv that stands under the results, choose, write the ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--spool")
    parser.add_argument("claims", nargs="+", help="claims.csv of the experiments that must be there")
    arguments = begin("ledger", parser, argv)
    # Experiments that were run by hand earlier count as well, though this invocation does not ask for them.
    paths = sorted({*map(Path, arguments.claims), *Path(arguments.results).glob("*/claims.csv")})
    with events(arguments.spool, "workflow", "ledger", "ledger") as spool:
        rows = chosen(row for path in paths for row in _rows(path))
        write_rows(arguments.ledger, rows)
        spool.params({"experiments": len(paths), "claims": len(rows)})
        spool.artifact(arguments.ledger)


def chosen(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """One row per claim.

    A row that was measured goes before one that was not; among measured ones the longest schedule, then the most
    replicas, then the experiment's name decides. The verdict never does.

    Args:
        rows: Rows of several experiments.

    Returns:
        One row per claim, ordered by its name.
    """
    best: dict[str, dict[str, str]] = {}
    for row in rows:
        held = best.get(row["claim"])
        if held is None or _weight(row) > _weight(held):
            best[row["claim"]] = row
    return [best[name] for name in sorted(best, key=_order)]


def _weight(row: dict[str, str]) -> tuple[bool, int, int, str]:
    return row["measured"] != "", int(row["steps"]), int(row["replicas"]), row["experiment"]


def _order(name: str) -> tuple[str, float, int]:
    study, _, number = name.partition("-")
    whole, _, part = number.partition(".")
    return study, int(whole), int(part or 0)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    main()
