"""What was tried so far, kept in a file, and the table in docs/reliability.md that is made of it."""

from collections import Counter
from pathlib import Path

from faults.ground import PROJECT
from sgdphases.files import read_json, write_json, write_text

PAGE = PROJECT / "docs/reliability.md"
BEGIN, END = "<!-- printed by `make faults`, from here -->", "<!-- to here -->"


class Results:
    """Counts by kind of fault and by what it was done to, and the longest training lost.

    Args:
        path: Where they are kept, so that a run may be stopped and continued.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.known = read_json(self.path) if self.path.exists() else {}

    def add(self, kind, name, counts):
        """Add counts; of `lost` the largest is kept. Written at once."""
        row = self.known.setdefault(kind, {}).setdefault(name, {})
        for word, value in counts.items():
            row[word] = max(row.get(word, 0), value) if word == "lost" else row.get(word, 0) + value
        write_json(self.path, self.known)

    def count(self, kind, name, word):
        """How many there are so far."""
        return self.known.get(kind, {}).get(name, {}).get(word, 0)

    def replace(self, kind, name, counts):
        """Counts of what is tried as a whole."""
        self.known.setdefault(kind, {})[name] = dict(counts)
        write_json(self.path, self.known)

    def rows(self, kind):
        """Name to counts of one kind of fault."""
        return {name: Counter(row) for name, row in self.known.get(kind, {}).items()}

    def faults(self):
        """How many things went wrong in all."""
        bad = ("failed", "wrong", "half_written", "left_behind", "missing", "double", "forgotten", "unseen", "unnamed")
        bad += ("untrue", "survived", "orphan_wrong")
        rows = (row for rows in self.known.values() for row in rows.values())
        return sum(row.get(word, 0) for row in rows for word in bad)


def tables(results):
    """All tables as Markdown."""
    parts = [_kills(results), _signals(results), _damage(results), _places(results), _others(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_page(results):
    """Put the tables into the page, between its two marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    write_text(PAGE, f"{before}{BEGIN}\n\n{tables(results)}\n{END}{after}")


def _table(title, heads, rows):
    if not rows:
        return ""
    line = "|" + "|".join(" --- " for _ in heads) + "|"
    body = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join([f"### {title}", "", "| " + " | ".join(heads) + " |", line, *body])


def _kills(results):
    rows = [
        [
            name,
            row["kills"],
            row["amid"],
            row["trials"],
            row["resumed"] or "",
            f"{row['lost']:.2f}" if row["lost"] else "",
        ]
        + [row[word] for word in ("half_written", "wrong", "left_behind", "forgotten")]
        + ([row["missing"], row["double"]] if name == "track" else ["", ""])
        for name, row in results.rows("kills").items()
    ]
    heads = ["stage", "kills", "of them while it wrote", "runs compared", "resumed", "training lost at most (s)"]
    heads += ["half-written files", "wrong hashes", "left behind", "checkpoints not used", "rows missing", "rows twice"]
    return _table("kill -9", heads, rows)


def _signals(results):
    rows = [
        [name]
        + [row[word] for word in ("signals", "interrupted", "told", "untrue", "half_written", "wrong", "left_behind")]
        for name, row in results.rows("signals").items()
    ]
    heads = [
        "stage",
        "signals",
        "ended by them",
        "with a diary",
        "untrue statuses",
        "half-written files",
        "wrong hashes",
        "left behind",
    ]
    return _table("SIGTERM and SIGINT, to the process and to its group", heads, rows)


def _damage(results):
    rows = [
        [name, row["flip"], row["cut"], row["harmless"] or "", row["unseen"], _yes(row, "rebuilt")]
        for name, row in results.rows("damage").items()
    ]
    heads = ["file", "flipped bits", "cuts", "without effect", "not detected", "made again by the same command"]
    return _table("Damaged files", heads, rows)


def _places(results):
    words = ("tried", "refused", "said", "half_written", "failed", "wrong")
    rows = [
        [name, *(int(row[word]) if word in row else "" for word in words)]
        for kind in ("disk full", "file too large", "read-only folder", "permission lost", "orphan writer")
        for name, row in ((f"{kind}: {stage}", row) for stage, row in results.rows(kind).items())
    ]
    heads = [
        "fault: stage",
        "tried",
        "job ended",
        "said why",
        "half-written files",
        "failed afterwards",
        "wrong hashes",
    ]
    return _table("Disks, permissions, orphans", heads, rows)


def _others(results):
    rows = [
        [name, ", ".join(f"{int(value)} {word}" for word, value in sorted(row.items()))]
        for name, row in results.rows("others").items()
    ]
    return _table("The rest", ["what", "counts"], rows)


def _yes(row, word):
    return {True: "yes", False: "no"}[bool(row[word])] if word in row else ""
