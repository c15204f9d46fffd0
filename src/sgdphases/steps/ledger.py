"""One row per claim over all experiments.

The longest schedule, then the most replicas, counts; never the best verdict.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from sgdphases.files import write_text
from sgdphases.steps.command import begin, events
from sgdphases.steps.grade import write_rows


def main(argv: Sequence[str] | None = None) -> None:
    """Read every claims.csv that stands under the results, choose, write the ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--page", required=True, help="the same as a Markdown table")
    parser.add_argument("--spool")
    parser.add_argument("claims", nargs="+", help="claims.csv of the experiments that must be there")
    arguments = begin("ledger", parser, argv)
    # Experiments that were run by hand earlier count as well, though this invocation does not ask for them.
    paths = sorted({*map(Path, arguments.claims), *Path(arguments.results).glob("*/claims.csv")})
    with events(arguments.spool, "workflow", "ledger", "ledger") as spool:
        rows = chosen(row for path in paths for row in _rows(path))
        write_rows(arguments.ledger, rows)
        write_text(arguments.page, page(rows))
        spool.params({"experiments": len(paths), "claims": len(rows)})
        spool.artifact(arguments.ledger)


def chosen(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """One row per claim.

    A row that was measured goes before one that was not, and among these the one whose experiment came nearest to it;
    then the longest schedule, the most replicas, and the experiment's name decide. The verdict never does.

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


def page(rows: list[dict[str, str]]) -> str:
    """The ledger as Markdown: counts, then a table with a row per claim; elements of lists are left to the CSV.

    Args:
        rows: Rows of the ledger.

    Returns:
        The text.
    """
    whole = [row for row in rows if "." not in row["claim"]]
    counts = Counter(row["verdict"].replace("_", " ") for row in whole)
    lines = [
        "# Ledger of claims",
        "",
        f"{len(whole)} claims: "
        + ", ".join(f"{counts[word]} {word}" for word in ("pass", "fail", "not measured"))
        + ".",
        "A claim that is a list passes if every element does; `results/claims.csv` has the elements.",
        "",
        "| claim | quantity | expected | measured | verdict | experiment | remark |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in whole:
        expected = f"{_short(row['expected'])} {row['tolerance']}".strip()
        measured = " ± ".join(_short(row[key]) for key in ("measured", "error") if row[key] != "")
        cells = [row["claim"], row["quantity"], expected, measured, row["verdict"].replace("_", " ")]
        cells += [f"{row['experiment']} ({int(row['steps']):g} steps × {row['replicas']})", row["reason"]]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _short(number: str) -> str:
    return f"{float(number):.4g}" if number != "" else ""


def _weight(row: dict[str, str]) -> tuple[bool, int, int, int, str]:
    nearness = 0 if row["measured"] != "" else _nearness(row["reason"])
    return row["measured"] != "", nearness, int(row["steps"]), int(row["replicas"]), row["experiment"]


def _nearness(reason: str) -> int:
    """How near an experiment came to measuring a claim: of the right kind, with a first value, or of another kind."""
    return 2 if not reason.startswith("needs ") else int("(so far " in reason)


def _order(name: str) -> tuple[str, float, int]:
    study, _, number = name.partition("-")
    whole, _, part = number.partition(".")
    return study, int(whole), int(part or 0)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    main()
