"""Draw one figure of an experiment, as a picture (PNG) and as a drawing (SVG)."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sgdphases.config import read_card
from sgdphases.figures.registry import FIGURES
from sgdphases.figures.style import save
from sgdphases.steps.command import begin, events
from sgdphases.steps.words import function_of
from sgdphases.storage import cube


def main(argv: Sequence[str] | None = None) -> None:
    """Read cube and fits, draw, write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--card", required=True)
    parser.add_argument("--figure", required=True)
    parser.add_argument("--cube", required=True)
    parser.add_argument("--png", required=True)
    parser.add_argument("--svg", required=True)
    parser.add_argument("--spool")
    parser.add_argument("fits", nargs="*")
    arguments = begin("draw", parser, argv)
    chosen = read_card(arguments.card).analysis.figures[arguments.figure]
    data = cube.read(arguments.cube)
    fits = {Path(path).stem: cube.read(path) for path in arguments.fits}
    with events(arguments.spool, data.attrs["experiment"], "draw", arguments.figure) as spool:
        figure = function_of(FIGURES[chosen.kind])(data, fits, **chosen.options)
        save(figure, png=arguments.png, svg=arguments.svg)
        spool.params({"figure": arguments.figure, "kind": chosen.kind, **chosen.options})
        spool.artifact(arguments.png, folder="figures")


if __name__ == "__main__":
    main()
