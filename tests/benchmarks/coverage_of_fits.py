"""How often intervals of each estimator hold a known truth: `python coverage_of_fits.py [draws]`, about 90 s for 500.

Prints docs/coverage.md. Data are synthetic (`tests/made_coverage*.py`); an estimate holds the truth at 95 % where its
interval does (or ± 1.96 errors where it has none), at one error where value ± error does.
"""

import importlib
import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

DRAWS = 500
TESTS = Path(__file__).resolve().parents[1]

ALARM = 0.00135
"""Probability below which a share is no chance: three standard deviations of a normal distribution, on either side."""

INTRODUCTION = """# Coverage of the fits

Share of draws of synthetic data in which an estimator's intervals hold the known truth, {draws} draws for each line,
printed by `python tests/benchmarks/coverage_of_fits.py {draws}`. An error is one standard error; `fits/intervals.py`
makes the interval of it, by Student's t for the replicas, groups or points that make the error, whose degrees of
freedom stand under **freedom** (none: the error is as good as known).

**95 %** is the interval that the fit gives, or `value ± 1.96 error` where it gives none; 95 % is right. **1 error** is
`value ± error`, and **must** is what one right error holds: 68.3 %, and less of few degrees of freedom. Errors in the
table are binomial. Bias is the mean deviation from the truth over the mean error; scatter the root mean square
deviation over that of the errors (1 if errors are right). **Bold** shares are off by more than three standard
deviations of chance. Lines with a number have a note below.

"""

WORDS = ("family", "estimator", "what is drawn")
NUMBERS = ("draws", "freedom", "95 %", "1 error", "must", "bias", "scatter", "note")
HEADER = f"| {' | '.join(WORDS + NUMBERS)} |\n|{'---|' * len(WORDS)}{'--:|' * len(NUMBERS)}\n"


def main() -> None:
    """Draw, count and print."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | one)
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    sys.path.insert(0, str(TESTS))
    made = importlib.import_module("made_coverage")
    families = {
        name: family
        for module in ("made_coverage_samples", "made_coverage_cubes")
        for name, family in importlib.import_module(module).FAMILIES.items()
    }
    out, notes = sys.stdout.write, []
    out(INTRODUCTION.format(draws=draws) + HEADER)
    for word, family in tqdm(families.items(), unit="family", disable=None):
        found = family.draw(draws)
        for name, row in family.rows.items():
            if row.finding and row.finding not in notes:
                notes.append(row.finding)
            number = notes.index(row.finding) + 1 if row.finding else ""
            out(line(made, word, row, found[name], number) + "\n")
    out("\n## Notes\n\n")
    for number, note in enumerate(notes, start=1):
        out(f"{number}. {note}\n")


def line(made, family: str, row, found, number: int | str) -> str:
    """One line of the table."""
    counted = made.coverage(found)
    count = f"{counted.draws}" + (f" ({counted.missing} without an error)" if counted.missing else "")
    inside = share(made, counted.interval, counted.draws, made.INTERVAL)
    one = share(made, counted.one_error, counted.draws, row.must)
    freedom = f"{row.freedom:.0f}" if np.isfinite(row.freedom) else ""
    must = f"{100 * row.must:.1f}"
    bias = f"{counted.bias:+.2f} ± {counted.bias_error:.2f}"
    scatter = f"{counted.scatter:.2f}"
    cells = (family, f"`{row.estimator}`", row.drawn, count, freedom, inside, one, must, bias, scatter, number)
    return "| " + " | ".join(map(str, cells)) + " |"


def share(made, hits: int, draws: int, nominal: float) -> str:
    """A share in percent with its binomial error, bold if it is not the nominal one."""
    part = hits / draws
    words = f"{100 * part:.1f} ± {100 * np.sqrt(part * (1 - part) / draws):.1f}"
    return f"**{words}**" if made.improbable(hits, draws, (nominal, nominal)) < ALARM else words


if __name__ == "__main__":
    main()
