"""What training asked a scheduler for beside what it used, by the benchmark files: are the estimates right?"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sgdphases.config import Card, read_card
from sgdphases.estimates import Needs, start_needs, train_needs
from sgdphases.shards import parts

HEAD = ("experiment", "rule", "jobs", "minutes", "asked", "MiB", "asked", "over")


@dataclass(frozen=True)
class Usage:
    """One job.

    Attributes:
        rule: train or start.
        minutes: Wall time of its last attempt.
        memory: Largest resident memory, MiB.
        asked: What it asked for.
    """

    rule: str
    minutes: float
    memory: float
    asked: Needs

    @property
    def over(self) -> bool:
        """Whether a scheduler would have killed it."""
        return self.minutes > self.asked.minutes or self.memory > self.asked.memory


def main(argv: Sequence[str] | None = None) -> None:
    """Write one line per experiment and rule; what used more than it asked for is marked."""
    parser = argparse.ArgumentParser(prog="python -m sgdphases.steps.usage", description=__doc__)
    parser.add_argument("--results", default="results", help="folder of results (default results)")
    parser.add_argument("--cards", default="workflow/experiments", help="folder of cards")
    arguments = parser.parse_args(argv)
    rows = [HEAD]
    for card in sorted(Path(arguments.cards).glob("*.yaml")):
        found = list(usages(read_card(card), Path(arguments.results) / card.stem / "benchmarks"))
        for rule in sorted({usage.rule for usage in found}):
            rows.append(_row(card.stem, [usage for usage in found if usage.rule == rule]))
    if len(rows) == 1:
        parser.exit(1, f"{arguments.results} holds no benchmark file of a card in {arguments.cards}; run one first.\n")
    wide = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        sys.stdout.write("  ".join(word.ljust(width) for word, width in zip(row, wide, strict=True)).rstrip() + "\n")


def usages(card: Card, folder: Path) -> Iterator[Usage]:
    """The jobs of an experiment that left a benchmark file, and are still jobs of its card.

    Args:
        card: The card.
        folder: Its folder of benchmark files.

    Yields:
        One a job.
    """
    for part in parts(card):
        yield from _usage(folder / f"train-{part.name}.tsv", "train", train_needs(card, part))
    if card.ensemble.start is not None:
        yield from _usage(folder / "start.tsv", "start", start_needs(card, card.ensemble.start))


def _usage(path: Path, rule: str, asked: Needs) -> Iterator[Usage]:
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as stream:
            last = list(csv.DictReader(stream, delimiter="\t"))[-1]
        # A job that ended before Snakemake looked at it once has no number.
        memory = 0.0 if last["max_rss"] in ("NA", "-") else float(last["max_rss"])
        yield Usage(rule, float(last["s"]) / 60, memory, asked)


def _row(experiment: str, found: Sequence[Usage]) -> tuple[str, ...]:
    """One line: the longest and the largest of several jobs beside the limits of those."""
    longest = max(found, key=lambda usage: usage.minutes / usage.asked.minutes)
    largest = max(found, key=lambda usage: usage.memory / usage.asked.memory)
    over = sum(usage.over for usage in found)
    numbers = (f"{longest.minutes:.1f}", str(longest.asked.minutes), f"{largest.memory:.0f}", str(largest.asked.memory))
    return (experiment, found[0].rule, str(len(found)), *numbers, str(over) if over else "none")


if __name__ == "__main__":
    main()
