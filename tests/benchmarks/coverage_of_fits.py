"""How often intervals of each estimator hold a known truth: `python coverage_of_fits.py [draws]`, about 90 s for 500.

Prints docs/coverage.md. Data are synthetic (`tests/made_coverage*.py`); an estimate holds the truth at 68 % where
value ± error does, at 95 % where its interval does (or ± 1.96 errors where it has none).
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
printed by `python tests/benchmarks/coverage_of_fits.py {draws}`. **68 %** is `value ± error`; **95 %** is the interval
that the fit gives, or `value ± 1.96 error` where it gives none; **by t** is what `value ± t error` would hold, in
percent, with the 95 % quantile of Student's t for the replicas that make the error. Errors in the table are binomial.
Bias is the mean deviation from the truth over the mean error; scatter the root mean square deviation over that of the
errors (1 if errors are right). Shares of 68.3 and 95 % are right; **bold** ones are off by more than three standard
deviations of chance. Lines with a number have a note below.

"""

COLUMNS = ("family", "estimator", "what is drawn", "draws", "68 %", "95 %", "by t", "bias", "scatter", "note")
HEADER = f"| {' | '.join(COLUMNS)} |\n|{'---|' * 3}{'--:|' * 7}\n"


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
    student = f"{100 * made.held_by_student(found, row.freedom):.1f}" if row.freedom else ""
    count = f"{counted.draws}" + (f" ({counted.missing} without an error)" if counted.missing else "")
    shares = [
        share(made, hits, counted.draws, nominal)
        for hits, nominal in ((counted.one_error, made.ONE_ERROR), (counted.interval, made.INTERVAL))
    ]
    bias = f"{counted.bias:+.2f} ± {counted.bias_error:.2f}"
    cells = (family, f"`{row.estimator}`", row.drawn, count, *shares, student, bias, f"{counted.scatter:.2f}", number)
    return "| " + " | ".join(map(str, cells)) + " |"


def share(made, hits: int, draws: int, nominal: float) -> str:
    """A share in percent with its binomial error, bold if it is not the nominal one."""
    part = hits / draws
    words = f"{100 * part:.1f} ± {100 * np.sqrt(part * (1 - part) / draws):.1f}"
    return f"**{words}**" if made.improbable(hits, draws, (nominal, nominal)) < ALARM else words


if __name__ == "__main__":
    main()
